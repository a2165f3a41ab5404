/* answer.c - see answer.h. Values are told by length and checksum. */
#include "tests/sim/answer.h"
#include "common/base/crc32c.h"

void answer_key_value(struct buf *out, const Mvccpb__KeyValue *kv)
{
    buf_printf(out,
               " [%.*s c=%" PRId64 " m=%" PRId64 " v=%" PRId64 " l=%" PRIx64 " %zu:%08" PRIx32 "]",
               (int)kv->key.len, kv->key.len != 0 ? (const char *)kv->key.data : "",
               kv->create_revision, kv->mod_revision, kv->version, (uint64_t)kv->lease,
               kv->value.len, kv->value.len != 0 ? crc32c(0, kv->value.data, kv->value.len) : 0);
}

void answer_range_head(struct buf *out, int64_t revision, int64_t count, bool more)
{
    buf_printf(out, " range rev=%" PRId64 " count=%" PRId64 "%s", revision, count,
               more ? " more" : "");
}

void answer_put_head(struct buf *out, int64_t revision)
{
    buf_printf(out, " put rev=%" PRId64, revision);
}

void answer_delete_head(struct buf *out, int64_t revision, int64_t deleted)
{
    buf_printf(out, " delete rev=%" PRId64 " deleted=%" PRId64, revision, deleted);
}

void answer_txn_head(struct buf *out, int64_t revision, bool succeeded)
{
    buf_printf(out, " txn rev=%" PRId64 " %s {", revision, succeeded ? "yes" : "no");
}

void answer_txn_tail(struct buf *out)
{
    buf_append_text(out, " }");
}

static int64_t revision_of(const Etcdserverpb__ResponseHeader *header)
{
    return header != NULL ? header->revision : 0;
}

void answer_range(struct buf *out, const Etcdserverpb__RangeResponse *response)
{
    answer_range_head(out, revision_of(response->header), response->count, response->more);
    for (size_t i = 0; i < response->n_kvs; i++)
        answer_key_value(out, response->kvs[i]);
}

void answer_put(struct buf *out, const Etcdserverpb__PutResponse *response)
{
    answer_put_head(out, revision_of(response->header));
    if (response->prev_kv != NULL)
        answer_key_value(out, response->prev_kv);
}

void answer_delete(struct buf *out, const Etcdserverpb__DeleteRangeResponse *response)
{
    answer_delete_head(out, revision_of(response->header), response->deleted);
    for (size_t i = 0; i < response->n_prev_kvs; i++)
        answer_key_value(out, response->prev_kvs[i]);
}

void answer_txn(struct buf *out, const Etcdserverpb__TxnResponse *response)
{
    answer_txn_head(out, revision_of(response->header), response->succeeded);
    for (size_t i = 0; i < response->n_responses; i++) {
        const Etcdserverpb__ResponseOp *op = response->responses[i];

        switch (op->response_case) {
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE:
            answer_range(out, op->response_range);
            break;
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT:
            answer_put(out, op->response_put);
            break;
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE:
            answer_delete(out, op->response_delete_range);
            break;
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_TXN:
            answer_txn(out, op->response_txn); /* requests nest TXN_DEPTH_MAX deep at most */
            break;
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE__NOT_SET:
        case _ETCDSERVERPB__RESPONSE_OP__RESPONSE__CASE_IS_INT_SIZE:
            buf_append_text(out, " nothing");
            break;
        }
    }
    answer_txn_tail(out);
}
