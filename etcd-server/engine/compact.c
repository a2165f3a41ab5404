/* compact.c - the work of compactions, a slice a turn (mvcc_compact.c), and how long it takes. */
#include "common/base/base.h"
#include "etcd-server/engine/engine_internal.h"

static void tell_measured(struct engine *engine, enum engine_measure what, uint64_t since_ns,
                          uint64_t now_ns)
{
    engine->config.measured(engine->config.measured_arg, what, now_ns - since_ns);
}

/* One slice of a compaction, measured for those who want to know; true: it was the last. */
static bool compact_step(struct engine *engine)
{
    struct mvcc_stats before, after;
    uint64_t began_ns, now_ns;
    bool ended;

    if (engine->config.measured == NULL)
        return mvcc_compact_step(engine->mvcc, engine->config.compaction_batch);
    before = mvcc_stats(engine->mvcc);
    began_ns = host_now_ns(engine->host);
    ended = mvcc_compact_step(engine->mvcc, engine->config.compaction_batch);
    now_ns = host_now_ns(engine->host);
    after = mvcc_stats(engine->mvcc);
    if (after.index_steps != before.index_steps) {
        tell_measured(engine, ENGINE_COMPACT_INDEX, began_ns, now_ns);
        engine->compact_began_ns = after.record_steps != before.record_steps ? began_ns : now_ns;
    }
    if (after.record_steps != before.record_steps)
        tell_measured(engine, ENGINE_COMPACT_RECORDS, began_ns, now_ns);
    if (ended)
        tell_measured(engine, ENGINE_COMPACTED, engine->compact_began_ns, now_ns);
    return ended;
}

void compact_turn(struct engine *engine, uint64_t now_ms)
{
    if (!mvcc_compacting(engine->mvcc) || now_ms < engine->compact_after_ms)
        return;
    if (!compact_step(engine)) {
        engine->compact_after_ms = now_ms + engine->config.compaction_sleep_ms;
        return;
    }
    engine->compact_after_ms = now_ms;
    compact_waiters_seal(engine);
    engine->commit_wanted = true;
}
