/*
 * candidate.c - see candidate.h. One subcall at a time.
 *
 *   line up: create or find the own key; is it the oldest under NAME/ ?
 *     yes, a lock is held    else -> look
 *   look: which is the youngest of the older keys under NAME/ ?
 *     none -> verify    K -> parked: a watcher waits for K's deletion -> woken -> look
 *
 * So each waits for the one before it, and a deletion concerns one, however many wait.
 *
 * Where the own key stands:
 *   NONE -> ASKED -> MADE     created by this call
 *              `---> FOUND    the lease had one under this name: it may be held already
 *
 * Who leaves, or is refused, while MADE gives the key up at once, or the queue would wait for its
 * lease; so does FOUND once it has waited for others. While ASKED the txn's answer is waited for
 * without the caller, to know which of the two it is. The key goes on condition that its create
 * revision is still that one.
 */
#include "common/base/base.h"
#include "common/base/plants.h"
#include "common/schema/pbbytes.h"
#include "etcd-server/service/candidate.h"
#include "etcd-server/service/authorise.h"

#include <stdio.h>

#define OLDEST_AT 1        /* of the operations with which it lines up */
#define LEASE_HEX_BYTES 19 /* a slash, a sign, sixteen digits and an end */

/* A subcall's request lives until its answer; there is one at a time, however often it asks. */
struct txn_memory {
    Etcdserverpb__TxnRequest txn;
    Etcdserverpb__Compare compare;
    Etcdserverpb__Compare *compares[1];
    Etcdserverpb__RequestOp ops[3];
    Etcdserverpb__RequestOp *success[2], *failure[2];
    Etcdserverpb__PutRequest put;
    Etcdserverpb__RangeRequest range, oldest;
};

enum place { PLACE_NONE, PLACE_ASKED, PLACE_MADE, PLACE_FOUND };

struct candidate {
    struct candidate *next, *previous; /* of all candidates of the service */
    struct service *service;
    struct call *call; /* NULL: the caller has left while ASKED */
    void (*won)(struct call *call, const struct candidate_won *won);
    struct subcall subcall;
    struct txn_memory memory;
    uint8_t *bytes;            /* owned; what the slices below lie in */
    struct slice value, key;   /* NAME/<lease in hex> */
    struct slice prefix, past; /* NAME/ and its range end */
    struct slice name;         /* of the request */
    int64_t lease, create_revision;
    Etcdserverpb__ResponseHeader first, newest;
    bool overwrite;
    enum place place;
    struct watch_stream *parked; /* owned; NULL: it does not wait */
    bool waited;                 /* it was parked once */
    bool woken;                  /* it is in the service's list of those ... */
    struct candidate *next_woken;
};

/* A key on its way out. Its request is borrowed by the engine until it is applied. */
struct departure {
    struct departure *next, *previous; /* of the service */
    struct service *service;
    uint64_t proposal;
    Etcdserverpb__InternalRaftRequest request;
    Etcdserverpb__RequestHeader header;
    Etcdserverpb__TxnRequest txn;
    Etcdserverpb__Compare compare;
    Etcdserverpb__Compare *compares[1];
    Etcdserverpb__RequestOp op;
    Etcdserverpb__RequestOp *ops[1];
    Etcdserverpb__DeleteRangeRequest delete_range;
    uint8_t key[];
};

void candidate_refuse(struct call *call, const char *text)
{
    call->cancel = NULL;
    call->ops->finish(call, ERR_PASSED_ON, text);
}

/* NAME/<lease in hex> at `bytes`; as etcd writes it, the id -5 is "-5". */
static struct slice put_key(uint8_t *bytes, struct slice name, int64_t lease)
{
    uint64_t magnitude = lease < 0 ? 0 - (uint64_t)lease : (uint64_t)lease;
    int written;

    if (name.size != 0)
        memcpy(bytes, name.data, name.size);
    written = snprintf((char *)bytes + name.size, LEASE_HEX_BYTES, "/%s%" PRIx64,
                       lease < 0 ? "-" : "", magnitude);
    return slice_of(bytes, name.size + (size_t)written);
}

/* ---- waiting ---- */

/* From within the watchers' hub: the rest is done at the end of the turn. */
static void wake(struct candidate *candidate)
{
    struct service *service = candidate->service;

    if (candidate->woken)
        return;
    candidate->woken = true;
    candidate->next_woken = service->woken;
    service->woken = candidate;
}

static bool on_deleted(void *arg, const struct watch_message *message)
{
    (void)message; /* the only kind of event that it lets through */
    wake(arg);
    return true;
}

static bool on_compacted(void *arg, int64_t watch_id, int64_t revision)
{
    (void)watch_id;
    (void)revision;
    wake(arg); /* the deletion may have been in what is gone */
    return true;
}

static const struct watch_stream_ops watch_ops = {.events = on_deleted, .compacted = on_compacted};

/* Wait until `key`, which was there at `revision`, is deleted. */
static void park(struct candidate *candidate, struct slice key, int64_t revision)
{
    struct watch_request request = {
        .key = key, .start_revision = revision + 1 + PLANTED(LOCK_ASLEEP), .no_put = true};
    int64_t id;

    candidate->waited = true;
    candidate->parked =
        watch_stream_new(engine_watches(candidate->service->engine), &watch_ops, candidate);
    must(watch_create(candidate->parked, &request, &id) == WATCH_MADE); /* one key, one watcher */
}

static void unpark(struct candidate *candidate)
{
    struct candidate **at = &candidate->service->woken;

    watch_stream_free(candidate->parked);
    candidate->parked = NULL;
    if (!candidate->woken)
        return;
    while (*at != candidate)
        at = &(*at)->next_woken;
    *at = candidate->next_woken;
    candidate->woken = false;
}

/* ---- the end ---- */

static void end(struct candidate *candidate)
{
    struct service *service = candidate->service;

    if (candidate->previous != NULL)
        candidate->previous->next = candidate->next;
    else
        service->candidates = candidate->next;
    if (candidate->next != NULL)
        candidate->next->previous = candidate->previous;
    if (candidate->call != NULL)
        candidate->call->cancel = NULL;
    unpark(candidate);
    subcall_fini(&candidate->subcall);
    free(candidate->bytes);
    free(candidate);
}

/* ---- departures ---- */

static void departure_free(struct departure *departure)
{
    if (departure->previous != NULL)
        departure->previous->next = departure->next;
    else
        departure->service->departures = departure->next;
    if (departure->next != NULL)
        departure->next->previous = departure->previous;
    free(departure);
}

static void departed(void *arg, const struct engine_result *result)
{
    (void)result; /* the lease takes the key with it in the end */
    departure_free(arg);
}

static void fill_departure(struct departure *departure, int64_t create_revision)
{
    etcdserverpb__txn_request__init(&departure->txn);
    etcdserverpb__compare__init(&departure->compare);
    etcdserverpb__request_op__init(&departure->op);
    departure->compare.key = departure->delete_range.key;
    departure->compare.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE;
    departure->compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION;
    departure->compare.create_revision = create_revision;
    departure->op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    departure->op.request_delete_range = &departure->delete_range;
    departure->compares[0] = &departure->compare;
    departure->ops[0] = &departure->op;
    departure->txn.compare = departure->compares;
    departure->txn.n_compare = 1;
    departure->txn.success = departure->ops;
    departure->txn.n_success = 1;
}

/* The own key goes, if it is there to be given up. As root: who made it might do so no more. */
static void depart(struct candidate *candidate)
{
    struct service *service = candidate->service;
    struct departure *departure;
    enum err_code refusal;

    if (PLANTED(LOCK_LEFT))
        return;
    if (candidate->place != PLACE_MADE && (candidate->place != PLACE_FOUND || !candidate->waited))
        return;
    departure = xalloc(sizeof(*departure) + candidate->key.size);
    departure->service = service;
    memcpy(departure->key, candidate->key.data, candidate->key.size);
    etcdserverpb__delete_range_request__init(&departure->delete_range);
    departure->delete_range.key = pb_bytes(slice_of(departure->key, candidate->key.size));
    fill_departure(departure, candidate->create_revision);
    etcdserverpb__internal_raft_request__init(&departure->request);
    auth_header_as_root(engine_auth(service->engine), &departure->header);
    departure->request.header = &departure->header;
    departure->request.txn = &departure->txn;
    departure->proposal =
        engine_propose(service->engine, &departure->request, NULL, departed, departure, &refusal);
    if (departure->proposal == 0) {
        free(departure); /* the lease will do it */
        return;
    }
    departure->next = service->departures;
    if (departure->next != NULL)
        departure->next->previous = departure;
    service->departures = departure;
}

void candidates_free(struct service *service)
{
    for (struct candidate *next, *candidate = service->candidates; candidate != NULL;
         candidate = next) {
        next = candidate->next;
        must(candidate->call == NULL); /* doors have taken the others back */
        subcall_cancel(service, &candidate->subcall);
        end(candidate);
    }
    for (struct departure *next, *departure = service->departures; departure != NULL;
         departure = next) {
        next = departure->next;
        engine_forget(service->engine, departure->proposal);
        free(departure);
    }
    service->departures = NULL;
}

/* ---- ends ---- */

static void refuse(struct candidate *candidate, const char *text)
{
    struct call *call = candidate->call;
    char copy[ERR_TEXT_MAX];

    (void)snprintf(copy, sizeof(copy), "%s", text); /* it may lie in the subcall's arena */
    depart(candidate);
    end(candidate);
    candidate_refuse(call, copy);
}

/* The caller went away: its place in the queue must not block the others. */
static void leave(struct call *call)
{
    struct candidate *candidate = call->state;

    if (candidate->place == PLACE_ASKED) {
        candidate->call = NULL; /* lined_up() goes on without */
        candidate->subcall.call.token = NULL;
        candidate->subcall.call.common_name = NULL;
        return;
    }
    subcall_cancel(candidate->service, &candidate->subcall);
    depart(candidate);
    end(candidate);
}

/* ---- requests ---- */

static struct txn_memory *txn_new(struct candidate *candidate)
{
    struct txn_memory *memory = &candidate->memory;

    etcdserverpb__txn_request__init(&memory->txn);
    etcdserverpb__compare__init(&memory->compare);
    etcdserverpb__put_request__init(&memory->put);
    etcdserverpb__range_request__init(&memory->range);
    etcdserverpb__range_request__init(&memory->oldest);
    for (size_t i = 0; i < ARRAY_LEN(memory->ops); i++)
        etcdserverpb__request_op__init(&memory->ops[i]);
    memory->compares[0] = &memory->compare;
    memory->success[0] = &memory->ops[0];
    memory->failure[0] = &memory->ops[1];
    memory->success[1] = memory->failure[1] = &memory->ops[2];
    return memory;
}

static void put_op(struct txn_memory *memory, struct candidate *candidate)
{
    memory->put.key = pb_bytes(candidate->key);
    memory->put.value = pb_bytes(candidate->value);
    memory->put.lease = candidate->lease;
    memory->ops[0].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    memory->ops[0].request_put = &memory->put;
    memory->txn.success = memory->success;
    memory->txn.n_success = 1;
}

static void compare_create(struct txn_memory *memory, struct slice key, int64_t revision)
{
    memory->compare.key = pb_bytes(key);
    memory->compare.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE;
    memory->compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION;
    memory->compare.create_revision = revision;
    memory->txn.compare = memory->compares;
    memory->txn.n_compare = 1;
}

/* The answer of an operation as a range; NULL when it was none. */
static const Etcdserverpb__RangeResponse *range_answer_at(const Etcdserverpb__TxnResponse *response,
                                                          size_t position)
{
    if (position >= response->n_responses || response->responses[position]->response_case !=
                                                 ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE)
        return NULL;
    return response->responses[position]->response_range;
}

static const Etcdserverpb__RangeResponse *range_answer(const Etcdserverpb__TxnResponse *response)
{
    return range_answer_at(response, 0);
}

static void start_txn(struct candidate *candidate, struct txn_memory *memory, subcall_done_fn *done)
{
    subcall_start(candidate->service, &candidate->subcall, candidate->call, RPC_KV_Txn,
                  &memory->txn.base, done, candidate);
}

static void keep_header(Etcdserverpb__ResponseHeader *to, const Etcdserverpb__ResponseHeader *from)
{
    etcdserverpb__response_header__init(to);
    to->cluster_id = from->cluster_id;
    to->member_id = from->member_id;
    to->revision = from->revision;
    to->raft_term = from->raft_term;
}

/* ---- the steps ---- */

static void look(struct candidate *candidate);

static void win(struct candidate *candidate)
{
    struct candidate_won won = {.key = candidate->key,
                                .lease = candidate->lease,
                                .create_revision = candidate->create_revision,
                                .first = &candidate->first,
                                .newest = &candidate->newest};
    struct call *call = candidate->call;

    call->cancel = NULL;
    candidate->call = NULL;
    candidate->won(call, &won); /* ends the call; the candidate's memory is its own */
    end(candidate);
}

static void read_own(void *arg, enum err_code code, const char *text,
                     const ProtobufCMessage *message)
{
    struct candidate *candidate = arg;
    const Etcdserverpb__TxnResponse *response =
        (const Etcdserverpb__TxnResponse *)(const void *)message;
    const Etcdserverpb__RangeResponse *range = code == ERR_OK ? range_answer(response) : NULL;

    if (code != ERR_OK)
        refuse(candidate, text);
    else if (range == NULL || range->n_kvs == 0 ||
             range->kvs[0]->create_revision != candidate->create_revision)
        refuse(candidate, "mutex: session is expired");
    else
        win(candidate);
}

static void verify(struct candidate *candidate)
{
    struct txn_memory *memory = txn_new(candidate);

    memory->range.key = pb_bytes(candidate->key);
    memory->ops[0].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    memory->ops[0].request_range = &memory->range;
    memory->txn.success = memory->success;
    memory->txn.n_success = 1;
    start_txn(candidate, memory, read_own);
}

static void looked(void *arg, enum err_code code, const char *text, const ProtobufCMessage *message)
{
    struct candidate *candidate = arg;
    const Etcdserverpb__TxnResponse *response =
        (const Etcdserverpb__TxnResponse *)(const void *)message;
    const Etcdserverpb__RangeResponse *range = code == ERR_OK ? range_answer(response) : NULL;

    if (code != ERR_OK) {
        refuse(candidate, text);
    } else if (range != NULL && range->n_kvs != 0) {
        park(candidate, pb_slice(range->kvs[0]->key), response->header->revision);
    } else {
        keep_header(&candidate->newest, response->header);
        if (PLANTED(LOCK_UNCHECKED))
            win(candidate);
        else
            verify(candidate);
    }
}

/* The youngest of the older keys under NAME/. */
static void look(struct candidate *candidate)
{
    struct txn_memory *memory = txn_new(candidate);

    memory->range.key = pb_bytes(candidate->prefix);
    memory->range.range_end = pb_bytes(candidate->past);
    memory->range.max_create_revision = candidate->create_revision - 1 - PLANTED(LOCK_PREDECESSOR);
    memory->range.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
    memory->range.sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__CREATE;
    memory->range.limit = 1;
    memory->range.keys_only = true;
    memory->ops[0].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    memory->ops[0].request_range = &memory->range;
    memory->txn.success = memory->success;
    memory->txn.n_success = 1;
    start_txn(candidate, memory, looked);
}

static void overwritten(void *arg, enum err_code code, const char *text,
                        const ProtobufCMessage *message)
{
    struct candidate *candidate = arg;

    if (code != ERR_OK)
        refuse(candidate, text);
    else if (!((const Etcdserverpb__TxnResponse *)(const void *)message)->succeeded)
        refuse(candidate, err_text(ERR_ELECTION_NOT_LEADER));
    else
        look(candidate);
}

static void overwrite(struct candidate *candidate)
{
    struct txn_memory *memory = txn_new(candidate);

    compare_create(memory, candidate->key, candidate->create_revision);
    put_op(memory, candidate);
    start_txn(candidate, memory, overwritten);
}

/* A lock is held at once by whose key is the oldest: the txn itself has looked (api.md 14). */
static void go_on(struct candidate *candidate, const Etcdserverpb__TxnResponse *response)
{
    const Etcdserverpb__RangeResponse *oldest = range_answer_at(response, OLDEST_AT);

    if (oldest != NULL && oldest->n_kvs == 1 &&
        oldest->kvs[0]->create_revision == candidate->create_revision)
        win(candidate);
    else
        look(candidate);
}

static void lined_up(void *arg, enum err_code code, const char *text,
                     const ProtobufCMessage *message)
{
    struct candidate *candidate = arg;
    const Etcdserverpb__TxnResponse *response =
        (const Etcdserverpb__TxnResponse *)(const void *)message;
    const Etcdserverpb__RangeResponse *own;

    candidate->place = PLACE_NONE;
    if (code == ERR_OK && response->succeeded) {
        candidate->place = PLACE_MADE;
        candidate->create_revision = response->header->revision;
    }
    if (candidate->call == NULL) {
        depart(candidate);
        end(candidate);
        return;
    }
    if (code != ERR_OK) { /* if the key was made all the same, its lease ends it */
        refuse(candidate, text);
        return;
    }
    keep_header(&candidate->first, response->header);
    keep_header(&candidate->newest, response->header);
    if (candidate->place == PLACE_MADE) {
        go_on(candidate, response);
        return;
    }
    own = range_answer(response);
    if (own == NULL || own->n_kvs != 1) {
        refuse(candidate, "mutex: session is expired");
        return;
    }
    candidate->place = PLACE_FOUND;
    candidate->create_revision = own->kvs[0]->create_revision;
    if (candidate->overwrite && !slice_equal(pb_slice(own->kvs[0]->value), candidate->value))
        overwrite(candidate);
    else
        go_on(candidate, response);
}

/* Of its own memory: the caller's may go before the answer comes. */
static void make_keys(struct candidate *candidate)
{
    size_t prefix = candidate->name.size + 1, value = candidate->value.size;
    uint8_t *past, *bytes = xalloc(2 * prefix + LEASE_HEX_BYTES + value);

    candidate->bytes = bytes;
    candidate->key = put_key(bytes, candidate->name, candidate->lease);
    candidate->prefix = slice_of(bytes, prefix);
    past = bytes + candidate->key.size;
    memcpy(past, bytes, prefix);
    past[prefix - 1] = '/' + 1;
    candidate->past = slice_of(past, prefix);
    if (value != 0)
        memcpy(past + prefix, candidate->value.data, value);
    candidate->value = slice_of(past + prefix, value);
}

/* Of all keys under NAME/, the own one included: in the same txn, so that what it says and the
 * header's revision belong together. */
static void ask_for_oldest(struct txn_memory *memory, struct candidate *candidate)
{
    memory->oldest.key = pb_bytes(candidate->prefix);
    memory->oldest.range_end = pb_bytes(candidate->past);
    memory->oldest.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND;
    memory->oldest.sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__CREATE;
    memory->oldest.limit = 1;
    memory->oldest.keys_only = true;
    memory->ops[2].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    memory->ops[2].request_range = &memory->oldest;
    memory->txn.n_success = memory->txn.n_failure = OLDEST_AT + 1;
}

static void line_up(struct candidate *candidate)
{
    struct txn_memory *memory = txn_new(candidate);

    make_keys(candidate);
    compare_create(memory, candidate->key, 0);
    put_op(memory, candidate);
    memory->range.key = pb_bytes(candidate->key);
    memory->ops[1].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    memory->ops[1].request_range = &memory->range;
    memory->txn.failure = memory->failure;
    memory->txn.n_failure = 1;
    if (!candidate->overwrite)
        ask_for_oldest(memory, candidate);
    candidate->place = PLACE_ASKED;
    start_txn(candidate, memory, lined_up);
}

static void granted(void *arg, enum err_code code, const char *text,
                    const ProtobufCMessage *message)
{
    struct candidate *candidate = arg;

    if (code != ERR_OK) {
        refuse(candidate, text);
        return;
    }
    candidate->lease = ((const Etcdserverpb__LeaseGrantResponse *)(const void *)message)->id;
    line_up(candidate);
}

void candidate_start(struct service *service, struct call *call, struct slice name, int64_t lease,
                     struct slice value, bool overwrite_own,
                     void (*won)(struct call *call, const struct candidate_won *won))
{
    struct candidate *candidate = xalloc(sizeof(*candidate));
    Etcdserverpb__LeaseGrantRequest *grant;

    *candidate = (struct candidate){.next = service->candidates,
                                    .service = service,
                                    .call = call,
                                    .won = won,
                                    .name = name,
                                    .value = value,
                                    .lease = lease,
                                    .overwrite = overwrite_own};
    if (service->candidates != NULL)
        service->candidates->previous = candidate;
    service->candidates = candidate;
    call->state = candidate;
    call->cancel = leave;
    if (lease != 0) {
        line_up(candidate);
        return;
    }
    grant = arena_alloc(&call->arena, sizeof(*grant));
    if (grant == NULL) {
        refuse(candidate, err_text(ERR_REQUEST_TOO_LARGE));
        return;
    }
    etcdserverpb__lease_grant_request__init(grant);
    grant->ttl = CANDIDATE_LEASE_TTL_S;
    subcall_start(service, &candidate->subcall, call, RPC_Lease_LeaseGrant, &grant->base, granted,
                  candidate);
}

void candidates_turn(struct service *service)
{
    while (service->woken != NULL) {
        struct candidate *candidate = service->woken;

        unpark(candidate);
        look(candidate);
    }
}
