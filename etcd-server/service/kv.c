/* kv.c - Range, Put, DeleteRange, Txn, Compact (api.md 6). Quota first, then the shape, then the
 * log or a read. */
#include "common/base/base.h"
#include "common/schema/pbbytes.h"
#include "etcd-server/service/authorise.h"

#define PUT_OVERHEAD_BYTES 256 /* of the quota's estimate (api.md 10.3) */

/* ---- Range ---- */

struct range_source {
    struct kv_source source;
    struct mvcc_range *range;
    const Etcdserverpb__RangeRequest *request; /* the call's */
};

static bool source_next(struct kv_source *source, struct slice *key_value)
{
    return mvcc_range_next(CONTAINER_OF(source, struct range_source, source)->range, key_value);
}

static bool source_more(struct kv_source *source)
{
    return mvcc_range_more(CONTAINER_OF(source, struct range_source, source)->range);
}

static void source_rewind(struct kv_source *source)
{
    mvcc_range_rewind(CONTAINER_OF(source, struct range_source, source)->range);
}

static bool source_pieces(struct kv_source *source, struct shared_pieces *pieces,
                          size_t *key_values)
{
    struct range_source *own = CONTAINER_OF(source, struct range_source, source);

    return mvcc_range_pieces(own->range, own->request, pieces, key_values);
}

static void source_free(struct kv_source *source)
{
    struct range_source *own = CONTAINER_OF(source, struct range_source, source);

    mvcc_range_free(own->range); /* the source itself lies in the call's arena */
    own->range = NULL;
}

static void range_now(struct service *service, struct call *call)
{
    const Etcdserverpb__RangeRequest *request =
        (const Etcdserverpb__RangeRequest *)(const void *)call->request;
    Etcdserverpb__RangeResponse head = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    struct range_source *source = call_alloc(call, sizeof(*source));
    enum err_code code;

    if (source == NULL)
        return;
    code = authorise_keys(service, call, AUTH_READ, pb_slice(request->key),
                          pb_slice(request->range_end));
    if (code == ERR_OK)
        code = mvcc_range_start(engine_mvcc(service->engine), request, &source->range);
    if (code != ERR_OK) {
        call_refuse(call, code);
        return;
    }
    source->source = (struct kv_source){.next = source_next,
                                        .more = source_more,
                                        .rewind = source_rewind,
                                        .pieces = source_pieces,
                                        .lasting = !request->keys_only,
                                        .free = source_free};
    source->request = request;
    mvcc_range_hold(source->range);
    engine_fill_header(service->engine, &header);
    head.header = &header;
    head.count = mvcc_range_count(source->range);
    call->ops->reply_range(call, (const ProtobufCMessage *)&head, &source->source);
}

void kv_range(struct service *service, struct call *call)
{
    const Etcdserverpb__RangeRequest *request =
        (const Etcdserverpb__RangeRequest *)(const void *)call->request;
    enum err_code code = mvcc_check_range(request);

    if (code != ERR_OK)
        call_refuse(call, code);
    else if (request->serializable)
        range_now(service, call);
    else
        call_read(service, call, range_now);
}

/* ---- Put, DeleteRange, Compact ---- */

static uint64_t put_cost(const Etcdserverpb__PutRequest *put)
{
    return PUT_OVERHEAD_BYTES + put->key.len + put->value.len;
}

void kv_put(struct service *service, struct call *call)
{
    Etcdserverpb__PutRequest *put = (Etcdserverpb__PutRequest *)(void *)call->request;
    Etcdserverpb__InternalRaftRequest *request;
    enum err_code code;

    if (!quota_check(service, call, put_cost(put)))
        return;
    code = mvcc_check_put(put);
    if (code != ERR_OK) {
        call_refuse(call, code);
        return;
    }
    request = call_raft_request(call);
    if (request == NULL)
        return;
    request->put = put;
    call_propose(service, call, request);
}

void kv_delete_range(struct service *service, struct call *call)
{
    Etcdserverpb__DeleteRangeRequest *delete_range =
        (Etcdserverpb__DeleteRangeRequest *)(void *)call->request;
    enum err_code code = mvcc_check_delete_range(delete_range);
    Etcdserverpb__InternalRaftRequest *request;

    if (code != ERR_OK) {
        call_refuse(call, code);
        return;
    }
    request = call_raft_request(call);
    if (request == NULL)
        return;
    request->delete_range = delete_range;
    call_propose(service, call, request);
}

void kv_compact(struct service *service, struct call *call)
{
    Etcdserverpb__InternalRaftRequest *request = call_raft_request(call);

    if (request == NULL)
        return;
    request->compaction = (Etcdserverpb__CompactionRequest *)(void *)call->request;
    call_propose(service, call, request);
}

/* ---- Txn ---- */

static uint64_t branch_cost(Etcdserverpb__RequestOp *const *ops, size_t count)
{
    uint64_t cost = 0;

    for (size_t i = 0; i < count; i++)
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT)
            cost += put_cost(ops[i]->request_put);
    return cost;
}

static void read_txn_now(struct service *service, struct call *call)
{
    const Etcdserverpb__TxnRequest *txn =
        (const Etcdserverpb__TxnRequest *)(const void *)call->request;
    Etcdserverpb__TxnResponse *response = NULL;
    enum err_code code = authorise_txn(service, call, txn);

    if (code == ERR_OK)
        code = mvcc_read_txn(engine_mvcc(service->engine), txn, &call->arena, &response);
    if (code == ERR_NO_MEMORY || (code == ERR_OK && response == NULL))
        code = ERR_ANSWER_TOO_LARGE;
    if (code != ERR_OK) {
        call_refuse(call, code);
        return;
    }
    engine_fill_header(service->engine, response->header);
    call->ops->reply(call, (const ProtobufCMessage *)response);
}

void kv_txn(struct service *service, struct call *call)
{
    Etcdserverpb__TxnRequest *txn = (Etcdserverpb__TxnRequest *)(void *)call->request;
    uint64_t cost =
        MAX(branch_cost(txn->success, txn->n_success), branch_cost(txn->failure, txn->n_failure));
    Etcdserverpb__InternalRaftRequest *request;
    enum err_code code;

    if (!quota_check(service, call, cost))
        return;
    code = mvcc_check_txn(txn, service->config.max_txn_ops);
    if (code != ERR_OK) {
        call_refuse(call, code);
    } else if (mvcc_txn_is_read_only(txn)) {
        if (mvcc_txn_is_serializable(txn))
            read_txn_now(service, call);
        else
            call_read(service, call, read_txn_now);
    } else {
        request = call_raft_request(call);
        if (request == NULL)
            return;
        request->txn = txn;
        call_propose(service, call, request);
    }
}
