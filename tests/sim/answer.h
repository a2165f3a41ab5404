/* answer.h - answers as texts: the model and the door write the same words for the same answer. */
#ifndef TESTS_SIM_ANSWER_H
#define TESTS_SIM_ANSWER_H

#include "common/base/buf.h"
#include "common/schema/rpc.pb-c.h"

void answer_key_value(struct buf *out, const Mvccpb__KeyValue *kv);
void answer_range_head(struct buf *out, int64_t revision, int64_t count, bool more);
void answer_put_head(struct buf *out, int64_t revision);
void answer_delete_head(struct buf *out, int64_t revision, int64_t deleted);
void answer_txn_head(struct buf *out, int64_t revision, bool succeeded);
void answer_txn_tail(struct buf *out);

void answer_range(struct buf *out, const Etcdserverpb__RangeResponse *response);
void answer_put(struct buf *out, const Etcdserverpb__PutResponse *response);
void answer_delete(struct buf *out, const Etcdserverpb__DeleteRangeResponse *response);
void answer_txn(struct buf *out, const Etcdserverpb__TxnResponse *response);

#endif
