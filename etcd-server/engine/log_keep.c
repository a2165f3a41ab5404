/*
 * log_keep.c - how much of the log stays in memory (raft.md 9.5).
 *
 *   first ....... match of b .......... match of c ....... applied - catchup_entries ..... applied
 *                 |<- kept while b is heard, or begins anew with a snapshot of ours ---------->|
 *
 * Who needs an entry that is gone gets a snapshot: the whole database, and a new start. So a leader
 * keeps what a member needs that was heard shortly ago; under load a moment's pause is many
 * entries. And while a snapshot is on its way, and being installed, or the next one would follow it
 * at once. LOG_KEPT_MAX_BYTES ends both: then only `catchup_entries` stay, and when they are large
 * not even those.
 */
#include "common/base/base.h"
#include "etcd-server/engine/engine_internal.h"

static void keep_for(struct log_keep *keep, uint64_t member, uint64_t until_ms)
{
    size_t i = 0;

    while (i < keep->count && keep->items[i].member != member)
        i++;
    if (i == RAFT_MEMBERS_MAX)
        return;
    if (i == keep->count) {
        keep->items[i].member = member;
        keep->items[i].until_ms = 0;
        keep->count++;
    }
    keep->items[i].until_ms = MAX(keep->items[i].until_ms, until_ms);
}

void log_keep_sent_snapshot(struct engine *engine, uint64_t member)
{
    keep_for(&engine->log_keep, member, host_now_ms(engine->host) + LOG_KEPT_SNAPSHOT_MS);
}

void log_keep_tick(struct engine *engine, uint64_t now_ms)
{
    struct log_keep *keep = &engine->log_keep;
    struct raft_peer peer;

    for (size_t i = 0; i < keep->count;) { /* gone, silent for too long, or we lead no more */
        if (keep->items[i].until_ms > now_ms &&
            raft_peer(engine->raft, keep->items[i].member, &peer))
            i++;
        else
            keep->items[i] = keep->items[--keep->count];
    }
    for (size_t i = 0; i < member_count(engine->members); i++) {
        uint64_t member = member_at(engine->members, i)->id;

        if (member != engine->config.member_id && raft_peer(engine->raft, member, &peer) &&
            peer.recent_active)
            keep_for(keep, member, now_ms + LOG_KEPT_MS);
    }
}

/* The last entry that nobody needs for whom the log is kept. */
static uint64_t last_unneeded(const struct engine *engine)
{
    const struct log_keep *keep = &engine->log_keep;
    uint64_t index = UINT64_MAX;
    struct raft_peer peer;

    for (size_t i = 0; i < keep->count; i++)
        if (raft_peer(engine->raft, keep->items[i].member, &peer))
            index = MIN(index, peer.match);
    return index;
}

/* For anybody, who may be new. If they are large, about as many as LOG_KEPT_MAX_BYTES hold. */
static uint64_t kept_for_all(const struct engine *engine)
{
    uint64_t count = raft_last_index(engine->raft) - raft_first_index(engine->raft) + 1;
    size_t bytes = raft_log_bytes(engine->raft), max = engine->config.log_kept_bytes;

    return bytes / 2 <= max ? engine->config.catchup_entries
                            : MIN(engine->config.catchup_entries, count * max / bytes);
}

/* Some of what may go: to drop a million entries in one turn would hold up everybody. */
void log_keep_turn(struct engine *engine)
{
    uint64_t keep = kept_for_all(engine), first = raft_first_index(engine->raft);
    struct raft_event event = {.type = RAFT_EVENT_COMPACT};

    if (engine->applied_index < first || (engine->applied_index - first + 1) / 2 < keep)
        return;
    event.index = engine->applied_index - keep;
    if (raft_log_bytes(engine->raft) <= engine->config.log_kept_bytes) {
        if (raft_snapshot_pending(engine->raft))
            return;
        if (!engine->config.catchup_only)
            event.index = MIN(event.index, last_unneeded(engine));
    }
    event.index = MIN(event.index, first + LOG_CUT_ENTRIES - 1);
    if (event.index >= first)
        must(raft_step(engine->raft, &event) == ERR_OK);
}
