/*
 * lease_list.c - LeaseLeases (api.md 8): every lease, the one with least time left first; answered
 * by any member at once.
 *
 *   core: which there are, may the caller see them -> pool: sorted, packed -> core: the answer
 *
 * One long list is made at a time, however many ask: those that came meanwhile share the next one.
 * A short list makes no way over the pool.
 */
#include "common/base/base.h"
#include "common/schema/pbwire.h"
#include "etcd-server/service/authorise.h"

#define SHORT_LIST 500                           /* leases */
#define LEASES_FIELD 2                           /* of LeaseLeasesResponse */
#define STATUS_ID_FIELD 1                        /* of LeaseStatus */
#define STATUS_BYTES_MAX (2 + 1 + PB_VARINT_MAX) /* of one in the list */

struct lease_listing {
    struct host_job job;
    struct service *service; /* NULL: it has gone */
    struct wishes wishes;    /* whom it answers */
    struct lease_place *places;
    size_t count;
    struct buf out; /* the packed answer; the header is in it already */
};

static void put_leases(struct lease_listing *listing)
{
    uint8_t *room = buf_reserve(&listing->out, listing->count * STATUS_BYTES_MAX), *at = room;

    must(room != NULL || listing->count == 0);
    lease_places_sort(listing->places, listing->count);
    for (size_t i = 0; i < listing->count; i++) {
        uint64_t id = (uint64_t)listing->places[i].id;

        at = pb_put_header(at, LEASES_FIELD, 1 + pb_varint_bytes(id));
        at = pb_put_u64(at, STATUS_ID_FIELD, id);
    }
    if (listing->count != 0)
        buf_advance(&listing->out, (size_t)(at - room));
}

static void run(struct host_job *job)
{
    put_leases(CONTAINER_OF(job, struct lease_listing, job));
}

static enum err_code may_list(struct service *service, struct call *call,
                              const struct lease_listing *listing)
{
    struct auth_identity caller;
    enum err_code code = authorise_identify(service, call, &caller);

    for (size_t i = 0; i < listing->count && code == ERR_OK; i++)
        code = auth_check_lease(engine_auth(service->engine), engine_leases(service->engine),
                                caller, AUTH_READ, listing->places[i].id);
    return code;
}

static void put_header(struct service *service, struct buf *out)
{
    Etcdserverpb__LeaseLeasesResponse response = ETCDSERVERPB__LEASE_LEASES_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    size_t bytes;
    uint8_t *room;

    engine_fill_header(service->engine, &header);
    response.header = &header;
    bytes = etcdserverpb__lease_leases_response__get_packed_size(&response);
    room = buf_reserve(out, bytes);
    must(room != NULL && etcdserverpb__lease_leases_response__pack(&response, room) == bytes);
    buf_advance(out, bytes);
}

/* ---- one list for many ---- */

static void listing_free(struct lease_listing *listing)
{
    free(listing->places);
    buf_free(&listing->out);
    free(listing);
}

static struct lease_listing *listing_new(struct service *service)
{
    const struct lease_store *leases = engine_leases(service->engine);
    struct lease_listing *listing = xalloc(sizeof(*listing));

    listing->service = service;
    listing->count = lease_count(leases);
    listing->places = xalloc(MAX(listing->count, 1) * sizeof(*listing->places));
    buf_init(&listing->out, BUF_UNLIMITED); /* as many as there are leases */
    lease_collect(leases, listing->places);
    put_header(service, &listing->out);
    return listing;
}

/* Those that may not see the list are answered at once. */
static void take_wishes(struct service *service, struct lease_listing *listing)
{
    struct wish *next;

    for (struct wish *wish = service->lease_wishes.first; wish != NULL; wish = next) {
        enum err_code code = may_list(service, wish->call, listing);

        next = wish->next;
        if (code == ERR_OK) {
            wish_move(wish, &listing->wishes);
        } else {
            call_refuse(wish_end(wish), code);
        }
    }
}

static void done(struct host_job *job);

static void list_for_all(struct service *service)
{
    struct host *host = engine_host(service->engine);
    struct lease_listing *listing = listing_new(service);

    take_wishes(service, listing);
    if (listing->wishes.first == NULL) {
        listing_free(listing);
        return;
    }
    listing->job = (struct host_job){.run = run, .done = done};
    service->lease_listing = listing;
    host->ops->run_job(host, &listing->job);
}

static void done(struct host_job *job)
{
    struct lease_listing *listing = CONTAINER_OF(job, struct lease_listing, job);
    struct service *service = listing->service;

    while (listing->wishes.first != NULL)
        call_reply_packed(wish_end(listing->wishes.first), buf_slice(&listing->out));
    listing_free(listing);
    if (service == NULL)
        return;
    service->lease_listing = NULL;
    if (service->lease_wishes.first != NULL)
        list_for_all(service);
}

void lease_lists_free(struct service *service)
{
    if (service->lease_listing != NULL)
        service->lease_listing->service = NULL;
}

static void list_now(struct service *service, struct call *call)
{
    struct lease_listing *listing = listing_new(service);
    enum err_code code = may_list(service, call, listing);

    if (code != ERR_OK) {
        call_refuse(call, code);
    } else {
        put_leases(listing);
        call_reply_packed(call, buf_slice(&listing->out));
    }
    listing_free(listing);
}

void lease_leases(struct service *service, struct call *call)
{
    if (lease_count(engine_leases(service->engine)) <= SHORT_LIST)
        list_now(service, call);
    else if (wishes_add(&service->lease_wishes, call) && service->lease_listing == NULL)
        list_for_all(service);
}
