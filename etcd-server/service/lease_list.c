/*
 * lease_list.c - LeaseLeases (api.md 8): every lease, the one with least time left first; answered
 * by any member at once.
 *
 *   core: which there are, may the caller see them -> pool: sorted, packed -> core: the answer
 *
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
    struct call *call; /* NULL: the caller went away */
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

static void done(struct host_job *job)
{
    struct lease_listing *listing = CONTAINER_OF(job, struct lease_listing, job);
    struct call *call = listing->call;

    if (call != NULL) {
        call->cancel = NULL;
        call_reply_packed(call, buf_slice(&listing->out));
    }
    free(listing->places);
    buf_free(&listing->out);
    free(listing);
}

static void leave(struct call *call)
{
    ((struct lease_listing *)call->state)->call = NULL; /* the job ends by itself */
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

void lease_leases(struct service *service, struct call *call)
{
    const struct lease_store *leases = engine_leases(service->engine);
    struct host *host = engine_host(service->engine);
    struct lease_listing *listing = xalloc(sizeof(*listing));
    enum err_code code;

    listing->job = (struct host_job){.run = run, .done = done};
    listing->call = call;
    listing->count = lease_count(leases);
    listing->places = xalloc(MAX(listing->count, 1) * sizeof(*listing->places));
    buf_init(&listing->out, BUF_UNLIMITED); /* as many as there are leases */
    lease_collect(leases, listing->places);
    code = may_list(service, call, listing);
    if (code != ERR_OK) {
        listing->call = NULL;
        done(&listing->job);
        call_refuse(call, code);
        return;
    }
    put_header(service, &listing->out);
    if (listing->count <= SHORT_LIST) {
        run(&listing->job);
        done(&listing->job);
        return;
    }
    call->state = listing;
    call->cancel = leave;
    host->ops->run_job(host, &listing->job);
}
