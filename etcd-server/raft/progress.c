/*
 * progress.c - see progress.h.
 *
 *               accepted                       entries it needs are gone
 *      PROBE ------------> REPLICATE       PROBE, REPLICATE ------------> SNAPSHOT
 *        ^  rejected, unreachable |                                           |
 *        +------------------------+       PROBE <---- sent, or failed --------+
 *                                         REPLICATE <- it has what follows ---+
 *
 * PROBE sends one MsgApp per answer, REPLICATE sends ahead of the answers up to the limits of
 * flight, SNAPSHOT sends nothing.
 */
#include "common/base/base.h"
#include "etcd-server/raft/progress.h"

struct progress *progress_new(uint64_t id, uint64_t match, uint64_t next)
{
    struct progress *progress = xalloc(sizeof(*progress));

    progress->id = id;
    progress->match = match;
    progress->next = MAX(next, match + 1);
    progress->state = PROGRESS_PROBE;
    return progress;
}

void progress_free(struct progress *progress)
{
    if (progress == NULL)
        return;
    free(progress->inflight);
    free(progress);
}

static void enter(struct progress *progress, enum progress_state state)
{
    progress->state = state;
    progress->probe_sent = false;
    progress->inflight_first = progress->inflight_count = progress->inflight_bytes = 0;
}

void progress_probe(struct progress *progress)
{
    enter(progress, PROGRESS_PROBE);
    progress->next = progress->match + 1;
}

void progress_replicate(struct progress *progress)
{
    enter(progress, PROGRESS_REPLICATE);
    progress->next = progress->match + 1;
}

void progress_snapshot(struct progress *progress)
{
    enter(progress, PROGRESS_SNAPSHOT);
}

void progress_snapshot_done(struct progress *progress, uint64_t index)
{
    must(progress->state == PROGRESS_SNAPSHOT);
    progress_probe(progress);
    progress->next = MAX(progress->next, index + 1);
    progress->probe_sent = true;
}

static bool flight_is_full(const struct progress *progress)
{
    return progress->inflight_count == RAFT_INFLIGHT_MAX ||
           progress->inflight_bytes >= RAFT_INFLIGHT_MAX_BYTES;
}

bool progress_paused(const struct progress *progress)
{
    switch (progress->state) {
    case PROGRESS_PROBE:
        return progress->probe_sent;
    case PROGRESS_REPLICATE:
        return flight_is_full(progress);
    case PROGRESS_SNAPSHOT:
        return true;
    }
    return true;
}

static void land_oldest(struct progress *progress)
{
    progress->inflight_bytes -= progress->inflight[progress->inflight_first].bytes;
    progress->inflight_first = (progress->inflight_first + 1) % RAFT_INFLIGHT_MAX;
    progress->inflight_count--;
}

static void land(struct progress *progress, uint64_t index)
{
    while (progress->inflight_count != 0 &&
           progress->inflight[progress->inflight_first].last_index <= index)
        land_oldest(progress);
}

void progress_sent(struct progress *progress, uint64_t last_index, size_t bytes)
{
    must(!progress_paused(progress) && last_index >= progress->next);
    if (progress->state == PROGRESS_PROBE) {
        progress->probe_sent = true;
        return;
    }
    if (progress->inflight == NULL)
        progress->inflight = xalloc(RAFT_INFLIGHT_MAX * sizeof(*progress->inflight));
    progress->inflight[(progress->inflight_first + progress->inflight_count) % RAFT_INFLIGHT_MAX] =
        (struct inflight){last_index, bytes};
    progress->inflight_count++;
    progress->inflight_bytes += bytes;
    progress->next = last_index + 1;
}

bool progress_accepted(struct progress *progress, uint64_t index)
{
    bool news = index > progress->match;

    if (news) {
        progress->match = index;
        progress->probe_sent = false;
    }
    progress->next = MAX(progress->next, index + 1);
    if (news && progress->state == PROGRESS_PROBE)
        progress_replicate(progress);
    if (progress->state == PROGRESS_REPLICATE)
        land(progress, index);
    return news;
}

bool progress_rejected(struct progress *progress, uint64_t index, uint64_t hint)
{
    if (progress->state == PROGRESS_REPLICATE) {
        if (index <= progress->match)
            return false;
        progress_probe(progress);
        return true;
    }
    if (progress->next - 1 != index)
        return false;
    progress->next = MAX(MIN(index, hint + 1), progress->match + 1);
    progress->probe_sent = false;
    return true;
}

void progress_heard(struct progress *progress)
{
    progress->recent_active = true;
    progress->probe_sent = false;
    if (progress->state == PROGRESS_REPLICATE && flight_is_full(progress))
        land_oldest(progress); /* what was lost there must not block for ever */
}
