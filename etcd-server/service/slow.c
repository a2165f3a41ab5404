/*
 * slow.c - see slow.h.
 *
 *   slow_measured(), slow_applied(), slow_call_ended()
 *       count, compare -> slow? -> struct slow_pace: may it be told? -> text -> log
 *
 * Everything behind the comparisons may take its time.
 */
#include "etcd-server/service/slow.h"

#include "common/base/duration.h"
#include "common/base/limits.h"
#include "common/schema/rpc.pb-c.h"
#include "etcd-server/service/request_text.h"
#include "etcd-server/state/mvcc.h"

#include <stdio.h>
#include <time.h>

#define TEXT_BYTES (REQUEST_TEXT_MAX_BYTES + KIB) /* the last field may pass the maximum */
#define NUMBERS_BYTES 64

/* What etcd tells of a call; -1 where it counts nothing. */
struct stats {
    int64_t requests, request_bytes, responses, response_bytes;
    struct buf content;
};

static const char *duration_text(uint64_t ns, struct buf *out)
{
    buf_init(out, NUMBERS_BYTES);
    (void)duration_write((int64_t)MIN(ns, (uint64_t)INT64_MAX), out); /* fits */
    return buf_text(out);
}

static int64_t packed_bytes(const ProtobufCMessage *message)
{
    return message != NULL ? (int64_t)protobuf_c_message_get_packed_size(message) : 0;
}

static bool may_tell(struct slow *slow, struct slow_pace *pace)
{
    uint64_t second = host_now_ms(slow->host) / 1000;

    if (second != pace->second)
        *pace = (struct slow_pace){.second = second};
    pace->lines++;
    return pace->lines <= SLOW_LINES_MAX || pace->lines % SLOW_LINES_MAX == 0;
}

/* ---- apply ---- */

static bool may_tell_apply(struct slow *slow)
{
    slow->metrics->slow_apply++;
    return may_tell(slow, &slow->applies);
}

static void warn_apply(struct slow *slow, uint64_t took_ns, const char *prefix, struct buf *request,
                       struct buf *response, const char *error)
{
    struct buf took, expected;
    struct log_field fields[] = {
        log_str("took", duration_text(took_ns, &took)),
        log_str("expected-duration", duration_text(slow->apply_ns, &expected)),
        log_str("prefix", prefix),
        log_str("request", buf_text(request)),
        log_str("response", buf_text(response)),
        {.kind = LOG_KIND_END},
        {.kind = LOG_KIND_END}};

    if (error != NULL)
        fields[ARRAY_LEN(fields) - 2] = log_str("error", error);
    slow->host->ops->note(slow->host, LOG_WARN, "apply request took too long", fields);
    buf_free(&took);
    buf_free(&expected);
}

/* As etcd has it: the header first, it names the call; ids of leases as clients show them. */
static void entry_text(const Etcdserverpb__InternalRaftRequest *request, struct buf *out)
{
    Etcdserverpb__InternalRaftRequest rest = *request;

    rest.header = NULL;
    if (request->header != NULL) {
        buf_append_text(out, "header:<");
        request_text(&request->header->base, out);
        buf_append_text(out, "> ");
    }
    if (request->lease_grant != NULL)
        buf_printf(out, "lease_grant:<ttl:%" PRId64 "-second id:%016" PRIx64 ">",
                   request->lease_grant->ttl, (uint64_t)request->lease_grant->id);
    else if (request->lease_revoke != NULL)
        buf_printf(out, "lease_revoke:<id:%016" PRIx64 ">", (uint64_t)request->lease_revoke->id);
    else
        request_text(&rest.base, out);
}

static enum metrics_apply operation_of(const Etcdserverpb__InternalRaftRequest *request)
{
    if (request->put != NULL)
        return METRICS_APPLY_PUT;
    if (request->txn != NULL)
        return METRICS_APPLY_TXN;
    if (request->delete_range != NULL)
        return METRICS_APPLY_DELETE_RANGE;
    if (request->range != NULL)
        return METRICS_APPLY_RANGE;
    if (request->compaction != NULL)
        return METRICS_APPLY_COMPACTION;
    if (request->lease_grant != NULL)
        return METRICS_APPLY_LEASE_GRANT;
    if (request->lease_revoke != NULL)
        return METRICS_APPLY_LEASE_REVOKE;
    if (request->lease_checkpoint != NULL)
        return METRICS_APPLY_LEASE_CHECKPOINT;
    if (request->alarm != NULL)
        return METRICS_APPLY_ALARM;
    if (request->cluster_version_set != NULL)
        return METRICS_APPLY_CLUSTER_VERSION_SET;
    if (request->cluster_member_attr_set != NULL)
        return METRICS_APPLY_CLUSTER_MEMBER_ATTR_SET;
    if (request->downgrade_info_set != NULL)
        return METRICS_APPLY_DOWNGRADE_INFO_SET;
    return METRICS_APPLY_AUTH;
}

static void warn_failure(struct slow *slow, uint64_t took_ns, struct buf *request,
                         struct buf *response, const char *error)
{
    struct buf took;

    host_note(slow->host, LOG_WARN, "failed to apply request",
              log_str("took", duration_text(took_ns, &took)), log_str("request", buf_text(request)),
              log_str("response", buf_text(response)), log_str("error", error));
    buf_free(&took);
}

void slow_applied(void *arg, const Etcdserverpb__InternalRaftRequest *request, enum err_code code,
                  const ProtobufCMessage *response, uint64_t took_ns)
{
    struct slow *slow = arg;
    bool success = code == ERR_OK || code == ERR_COMPACTED, told_slow, told_failed;
    struct buf asked, answered;

    metrics_observe_apply(slow->metrics, operation_of(request), success, (double)took_ns / 1e9);
    told_slow = took_ns > slow->apply_ns && may_tell_apply(slow);
    told_failed = !success && may_tell(slow, &slow->failures);
    if (!told_slow && !told_failed)
        return;
    buf_init(&asked, TEXT_BYTES);
    buf_init(&answered, NUMBERS_BYTES);
    entry_text(request, &asked);
    if (response != NULL)
        buf_printf(&answered, "size:%" PRId64, packed_bytes(response));
    if (told_slow)
        warn_apply(slow, took_ns, "", &asked, &answered, code != ERR_OK ? err_text(code) : NULL);
    if (told_failed)
        warn_failure(slow, took_ns, &asked, &answered, err_text(code));
    buf_free(&asked);
    buf_free(&answered);
}

void slow_measured(void *arg, enum engine_measure what, uint64_t ns)
{
    struct slow *slow = arg;
    double ms = (double)ns / NS_PER_MS;
    uint64_t unix_s;

    switch (what) {
    case ENGINE_COMPACT_INDEX:
        metrics_observe(slow->metrics, METRICS_INDEX_PAUSE, ms);
        break;
    case ENGINE_COMPACT_RECORDS:
        metrics_observe(slow->metrics, METRICS_COMPACTION_PAUSE, ms);
        break;
    case ENGINE_COMPACTED:
        metrics_observe(slow->metrics, METRICS_COMPACTION_TOTAL, ms);
        unix_s = slow->host->ops->unix_ms(slow->host) / 1000;
        slow->metrics->compaction_last_s = (double)unix_s;
        break;
    }
}

/* ---- calls ---- */

static const Etcdserverpb__TxnRequest *txn_of(const struct call *call)
{
    return (const Etcdserverpb__TxnRequest *)(const void *)call->request;
}

/* "read-only range ", "read-only txn ", or NULL: it went through the log, or is about no keys. */
static const char *read_prefix(const struct call *call)
{
    if (call->request == NULL)
        return NULL;
    if (call->row->id == RPC_KV_Range)
        return "read-only range ";
    if (call->row->id == RPC_KV_Txn && mvcc_txn_is_read_only(txn_of(call)))
        return "read-only txn ";
    return NULL;
}

static void read_text(const struct call *call, const struct call_end *end, struct buf *out)
{
    const Etcdserverpb__TxnResponse *txn =
        (const Etcdserverpb__TxnResponse *)(const void *)end->response;
    int64_t bytes = packed_bytes(end->response) + (int64_t)end->bytes;

    if (end->code != GRPC_OK)
        return;
    if (call->row->id == RPC_KV_Range) {
        buf_printf(out, "range_response_count:%" PRIu64, end->key_values);
    } else {
        buf_append_text(out, "responses:<");
        for (size_t i = 0; txn != NULL && i < txn->n_responses; i++)
            if (txn->responses[i]->response_case ==
                ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE)
                buf_printf(out, "%srange_response_count:%zu", i != 0 ? " " : "",
                           txn->responses[i]->response_range->n_kvs);
        buf_append_text(out, ">");
    }
    buf_printf(out, " size:%" PRId64, bytes);
}

static void warn_read(struct slow *slow, const struct call *call, const struct call_end *end,
                      const char *prefix, uint64_t took_ns)
{
    struct buf asked, answered;

    buf_init(&asked, TEXT_BYTES);
    buf_init(&answered, TEXT_BYTES);
    request_text(call->request, &asked);
    read_text(call, end, &answered);
    warn_apply(slow, took_ns, prefix, &asked, &answered, end->error);
    buf_free(&asked);
    buf_free(&answered);
}

/* Of a txn what was asked for is the branch that was taken. */
static void count_txn(const Etcdserverpb__TxnRequest *request,
                      const Etcdserverpb__TxnResponse *response, struct stats *stats)
{
    Etcdserverpb__RequestOp *const *ops = response->succeeded ? request->success : request->failure;

    stats->requests = (int64_t)(response->succeeded ? request->n_success : request->n_failure);
    for (int64_t i = 0; i < stats->requests; i++)
        stats->request_bytes += packed_bytes(&ops[i]->base);
    request_text(&request->base, &stats->content);
}

static void count_call(const struct call *call, const struct call_end *end, struct stats *stats)
{
    const void *response = end->response;

    buf_init(&stats->content, TEXT_BYTES);
    stats->response_bytes = packed_bytes(end->response) + (int64_t)end->bytes;
    switch ((int)call->row->id) { /* others: as etcd, nothing is told */
    case RPC_KV_Range:
        stats->responses =
            response != NULL ? ((const Etcdserverpb__RangeResponse *)response)->count : end->count;
        break;
    case RPC_KV_Put:
        stats->requests = 1;
        break;
    case RPC_KV_DeleteRange:
        if (response != NULL)
            stats->responses = ((const Etcdserverpb__DeleteRangeResponse *)response)->deleted;
        break;
    case RPC_KV_Txn:
        if (response != NULL)
            count_txn(txn_of(call), response, stats);
        return;
    default:
        stats->requests = stats->request_bytes = stats->responses = stats->response_bytes = -1;
        return;
    }
    stats->request_bytes = packed_bytes(call->request);
    request_text(call->request, &stats->content);
}

/* "2026-11-22T09:45:12.195Z" */
static const char *time_text(uint64_t unix_ms, char text[NUMBERS_BYTES])
{
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm utc = {0};
    char whole[32];

    (void)gmtime_r(&seconds, &utc); /* fails only far outside our time */
    (void)strftime(whole, sizeof(whole), "%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(text, NUMBERS_BYTES, "%s.%03uZ", whole, (unsigned)(unix_ms % 1000));
    return text;
}

static void tell_call(struct slow *slow, const struct call *call, const struct call_end *end,
                      uint64_t took_ns)
{
    uint64_t now_ms = slow->host->ops->unix_ms(slow->host);
    enum log_level level = took_ns > slow->unary_ns ? LOG_WARN : LOG_DEBUG;
    struct stats stats = {0};
    struct buf spent;
    char start[NUMBERS_BYTES];

    count_call(call, end, &stats);
    host_note(slow->host, level, "request stats",
              log_str("start time", time_text(now_ms - took_ns / NS_PER_MS, start)),
              log_str("time spent", duration_text(took_ns, &spent)),
              log_str("remote", call->remote != NULL ? call->remote : "No remote client info."),
              log_str("response type", call->row->grpc), log_i64("request count", stats.requests),
              log_i64("request size", stats.request_bytes),
              log_i64("response count", stats.responses),
              log_i64("response size", stats.response_bytes),
              log_str("request content", buf_text(&stats.content)));
    buf_free(&spent);
    buf_free(&stats.content);
}

void slow_call_ended(struct slow *slow, const struct call *call, const struct call_end *end)
{
    uint64_t took_ns, waited_ns = end->waited_ms * (uint64_t)NS_PER_MS;
    const char *prefix;

    if (call->began_ns == 0 || (call->row->kind != RPC_UNARY && !slow->metrics->extensive))
        return;
    took_ns = host_now_ns(slow->host) - call->began_ns;
    metrics_observe_call(slow->metrics, call->row, (double)took_ns / 1e9);
    if (call->row->kind != RPC_UNARY)
        return;
    took_ns = took_ns > waited_ns ? took_ns - waited_ns : 1; /* the waits are in whole ms */
    if (took_ns > slow->apply_ns && (prefix = read_prefix(call)) != NULL && may_tell_apply(slow))
        warn_read(slow, call, end, prefix, took_ns);
    if ((took_ns > slow->unary_ns || slow->all) && may_tell(slow, &slow->calls))
        tell_call(slow, call, end, took_ns);
}
