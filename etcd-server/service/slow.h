/*
 * slow.h - what took long: a line in the log, and the metrics that count and measure it.
 *
 *   "apply request took too long"  an entry's request, or a Range or Txn that only reads; took more
 *                                  than --warning-apply-duration
 *   "failed to apply request"      an entry's request that was refused when it was applied, for any
 *                                  reason but ERR_COMPACTED
 *   "request stats"                a unary call, at any door; took more than
 *                                  --warning-unary-request-duration, or the log has level debug
 *
 * Messages and fields are etcd's. Of a request keys are shown, values, passwords and tokens never
 * (request_text.h). What is fast costs a comparison; of many slow ones in a second a part is told
 * (SLOW_LINES_MAX), all are counted. Thread: core.
 */
#ifndef ETCD_SERVER_SERVICE_SLOW_H
#define ETCD_SERVER_SERVICE_SLOW_H

#include "common/schema/raft_internal.pb-c.h"
#include "etcd-server/engine/engine.h"
#include "etcd-server/host/host.h"
#include "etcd-server/service/call.h"
#include "etcd-server/service/metrics.h"

/* Lines of one kind in one second: when all is slow, the log must not be what makes it so. */
struct slow_pace {
    uint64_t second;
    uint64_t lines;
};

struct slow {
    struct host *host;       /* borrowed: clock and log */
    struct metrics *metrics; /* borrowed */
    uint64_t apply_ns;       /* more than that is slow; 0: everything is */
    uint64_t unary_ns;
    bool all; /* unary calls that are not slow are told too, at level debug */

    struct slow_pace applies, failures, calls;
};

/* For engine_config.measured; `arg` is the struct slow. */
void slow_measured(void *arg, enum engine_measure what, uint64_t ns);
/* For engine_config.applied; `arg` is the struct slow. */
void slow_applied(void *arg, const Etcdserverpb__InternalRaftRequest *request, enum err_code code,
                  const ProtobufCMessage *response, uint64_t took_ns);
/* Of a call with call->began_ns. */
void slow_call_ended(struct slow *slow, const struct call *call, const struct call_end *end);

#endif
