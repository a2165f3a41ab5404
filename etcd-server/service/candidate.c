/* candidate.c - see candidate.h. One subcall at a time; `parked` means: waiting for a deletion. */
#include "common/base/base.h"
#include "etcd-server/service/candidate.h"
#include "etcd-server/service/authorise.h"

#include <stdio.h>

/* A subcall's request lives until its answer; there is one at a time, however often it asks. */
struct txn_memory {
    Etcdserverpb__TxnRequest txn;
    Etcdserverpb__Compare compare;
    Etcdserverpb__Compare *compares[1];
    Etcdserverpb__RequestOp ops[3];
    Etcdserverpb__RequestOp *success[1], *failure[1];
    Etcdserverpb__PutRequest put;
    Etcdserverpb__RangeRequest range;
};

struct candidate {
    struct candidate *next, *previous; /* of all candidates of the service */
    struct service *service;
    struct call *call;
    void (*won)(struct call *call, const struct candidate_won *won);
    struct subcall subcall;
    struct txn_memory memory;
    struct slice name, value, key; /* in the call's arena */
    struct slice prefix, past;     /* NAME/ and its range end, there too */
    int64_t lease, create_revision;
    Etcdserverpb__ResponseHeader first, newest;
    bool overwrite;
    bool created; /* the key is in the store, or on its way: delete it when the caller leaves */
    bool parked;
};

void candidate_refuse(struct call *call, const char *text)
{
    call->cancel = NULL;
    call->ops->finish(call, ERR_PASSED_ON, text);
}

struct slice candidate_key(struct arena *arena, struct slice name, int64_t lease)
{
    uint8_t *key = arena_alloc(arena, name.size + 18);
    int written;

    if (key == NULL)
        return SLICE_EMPTY;
    if (name.size != 0)
        memcpy(key, name.data, name.size);
    written = snprintf((char *)key + name.size, 18, "/%" PRIx64, (uint64_t)lease);
    return slice_of(key, name.size + (size_t)written);
}

static void end(struct candidate *candidate)
{
    struct service *service = candidate->service;

    if (candidate->previous != NULL)
        candidate->previous->next = candidate->next;
    else
        service->candidates = candidate->next;
    if (candidate->next != NULL)
        candidate->next->previous = candidate->previous;
    candidate->call->cancel = NULL;
    subcall_fini(&candidate->subcall);
    free(candidate);
}

static void refuse(struct candidate *candidate, const char *text)
{
    struct call *call = candidate->call;
    char copy[ERR_TEXT_MAX];

    (void)snprintf(copy, sizeof(copy), "%s", text); /* it may lie in the subcall's arena */
    end(candidate);
    candidate_refuse(call, copy);
}

static void ignore(void *arg, const struct engine_result *result)
{
    (void)arg;
    (void)result; /* the lease takes the key with it in the end */
}

/* The caller went away: its place in the queue must not block the others. */
static void leave(struct call *call)
{
    struct candidate *candidate = call->state;
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__DeleteRangeRequest delete_range = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    enum err_code refusal;

    subcall_cancel(candidate->service, &candidate->subcall);
    if (candidate->created) {
        delete_range.key =
            (ProtobufCBinaryData){candidate->key.size, (uint8_t *)(uintptr_t)candidate->key.data};
        request.delete_range = &delete_range;
        if (authorise_header(candidate->service, call, &request) != ERR_OK ||
            engine_propose(candidate->service->engine, &request, NULL, ignore, NULL, &refusal) == 0)
            ignore(NULL, NULL);
    }
    end(candidate);
}

/* ---- requests ---- */

static ProtobufCBinaryData bytes_of(struct slice slice)
{
    return (ProtobufCBinaryData){slice.size, (uint8_t *)(uintptr_t)slice.data}; /* only read */
}

static struct txn_memory *txn_new(struct candidate *candidate)
{
    struct txn_memory *memory = &candidate->memory;

    etcdserverpb__txn_request__init(&memory->txn);
    etcdserverpb__compare__init(&memory->compare);
    etcdserverpb__put_request__init(&memory->put);
    etcdserverpb__range_request__init(&memory->range);
    for (size_t i = 0; i < ARRAY_LEN(memory->ops); i++)
        etcdserverpb__request_op__init(&memory->ops[i]);
    memory->compares[0] = &memory->compare;
    memory->success[0] = &memory->ops[0];
    memory->failure[0] = &memory->ops[1];
    return memory;
}

static void put_op(struct txn_memory *memory, struct candidate *candidate)
{
    memory->put.key = bytes_of(candidate->key);
    memory->put.value = bytes_of(candidate->value);
    memory->put.lease = candidate->lease;
    memory->ops[0].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    memory->ops[0].request_put = &memory->put;
    memory->txn.success = memory->success;
    memory->txn.n_success = 1;
}

static void compare_create(struct txn_memory *memory, struct slice key, int64_t revision)
{
    memory->compare.key = bytes_of(key);
    memory->compare.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE;
    memory->compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION;
    memory->compare.create_revision = revision;
    memory->txn.compare = memory->compares;
    memory->txn.n_compare = 1;
}

/* The answer of the only operation as a range; NULL when it was none. */
static const Etcdserverpb__RangeResponse *range_answer(const Etcdserverpb__TxnResponse *response)
{
    if (response->n_responses != 1 ||
        response->responses[0]->response_case != ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE)
        return NULL;
    return response->responses[0]->response_range;
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

static void read_own(void *arg, enum err_code code, const char *text,
                     const ProtobufCMessage *message)
{
    struct candidate *candidate = arg;
    const Etcdserverpb__TxnResponse *response =
        (const Etcdserverpb__TxnResponse *)(const void *)message;
    const Etcdserverpb__RangeResponse *range = code == ERR_OK ? range_answer(response) : NULL;
    struct candidate_won won;
    void (*callback)(struct call *, const struct candidate_won *) = candidate->won;
    struct call *call = candidate->call;

    if (code != ERR_OK) {
        refuse(candidate, text);
        return;
    }
    if (range == NULL || range->n_kvs == 0 ||
        range->kvs[0]->create_revision != candidate->create_revision) {
        refuse(candidate, "mutex: session is expired");
        return;
    }
    won = (struct candidate_won){.key = candidate->key,
                                 .lease = candidate->lease,
                                 .create_revision = candidate->create_revision,
                                 .first = &candidate->first,
                                 .newest = &candidate->newest};
    call->cancel = NULL;
    callback(call, &won); /* ends the call; the candidate's memory is its own */
    end(candidate);
}

static void verify(struct candidate *candidate)
{
    struct txn_memory *memory = txn_new(candidate);

    memory->range.key = bytes_of(candidate->key);
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
        candidate->parked = true; /* an older key is there: wait for deletions */
    } else {
        keep_header(&candidate->newest, response->header);
        verify(candidate);
    }
}

/* Is an older key left under NAME/ ? */
static void look(struct candidate *candidate)
{
    struct txn_memory *memory = txn_new(candidate);

    memory->range.key = bytes_of(candidate->prefix);
    memory->range.range_end = bytes_of(candidate->past);
    memory->range.max_create_revision = candidate->create_revision - 1;
    memory->range.limit = 1;
    memory->range.keys_only = true;
    memory->ops[0].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    memory->ops[0].request_range = &memory->range;
    memory->txn.success = memory->success;
    memory->txn.n_success = 1;
    candidate->parked = false;
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

static void lined_up(void *arg, enum err_code code, const char *text,
                     const ProtobufCMessage *message)
{
    struct candidate *candidate = arg;
    const Etcdserverpb__TxnResponse *response =
        (const Etcdserverpb__TxnResponse *)(const void *)message;
    const Etcdserverpb__RangeResponse *own;

    if (code != ERR_OK) {
        candidate->created = false;
        refuse(candidate, text);
        return;
    }
    keep_header(&candidate->first, response->header);
    keep_header(&candidate->newest, response->header);
    if (response->succeeded) {
        candidate->create_revision = response->header->revision;
        look(candidate);
        return;
    }
    own = range_answer(response);
    if (own == NULL || own->n_kvs != 1) {
        refuse(candidate, "mutex: session is expired");
        return;
    }
    candidate->create_revision = own->kvs[0]->create_revision;
    if (candidate->overwrite &&
        !slice_equal(slice_of(own->kvs[0]->value.data, own->kvs[0]->value.len), candidate->value))
        overwrite(candidate);
    else
        look(candidate);
}

/* False: the arena is full. */
static bool make_keys(struct candidate *candidate)
{
    size_t size = candidate->name.size + 1;
    uint8_t *past = arena_alloc(&candidate->call->arena, size);

    candidate->key = candidate_key(&candidate->call->arena, candidate->name, candidate->lease);
    if (past == NULL || candidate->key.size == 0)
        return false;
    memcpy(past, candidate->key.data, size);
    past[size - 1] = '/' + 1;
    candidate->prefix = slice_of(candidate->key.data, size); /* NAME/ */
    candidate->past = slice_of(past, size);
    return true;
}

static void line_up(struct candidate *candidate)
{
    struct txn_memory *memory = txn_new(candidate);

    if (!make_keys(candidate)) {
        refuse(candidate, err_text(ERR_REQUEST_TOO_LARGE));
        return;
    }
    compare_create(memory, candidate->key, 0);
    put_op(memory, candidate);
    memory->range.key = bytes_of(candidate->key);
    memory->ops[1].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    memory->ops[1].request_range = &memory->range;
    memory->txn.failure = memory->failure;
    memory->txn.n_failure = 1;
    candidate->created = true;
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

void candidates_wake(struct service *service)
{
    for (struct candidate *next, *candidate = service->candidates; candidate != NULL;
         candidate = next) {
        next = candidate->next;
        if (candidate->parked)
            look(candidate);
    }
}
