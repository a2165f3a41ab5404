/* autocompact.c - see autocompact.h. Samples are a ring over one retention. */
#include "common/base/base.h"
#include "etcd-server/service/autocompact.h"

#define SAMPLE_MAX_MS (6 * 60 * 1000)
#define COMPACT_MAX_MS (60 * 60 * 1000)
#define REVISION_INTERVAL_MS (5 * 60 * 1000)

struct sample {
    uint64_t at_ms;
    int64_t revision;
};

struct autocompact {
    struct engine *engine;
    enum autocompact_mode mode;
    uint64_t retention;
    uint64_t sample_ms; /* between samples */
    uint64_t next_sample_ms, next_compact_ms;
    struct sample *samples; /* owned ring */
    size_t capacity, first, count;
};

struct autocompact *autocompact_new(struct engine *engine, enum autocompact_mode mode,
                                    uint64_t retention)
{
    struct autocompact *own = xalloc(sizeof(*own));

    own->engine = engine;
    own->mode = mode;
    own->retention = MAX(retention, 1);
    own->sample_ms = MAX(MIN(own->retention / 10, SAMPLE_MAX_MS), 1);
    own->capacity = (size_t)MIN(own->retention / own->sample_ms + 2, 100000);
    own->samples =
        mode == AUTOCOMPACT_PERIODIC ? xalloc(own->capacity * sizeof(*own->samples)) : NULL;
    return own;
}

void autocompact_free(struct autocompact *own)
{
    if (own == NULL)
        return;
    free(own->samples);
    free(own);
}

static void ignore(void *arg, const struct engine_result *result)
{
    (void)arg;
    (void)result; /* compacted already, or the next round tries again */
}

static void compact(struct autocompact *own, int64_t revision)
{
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__CompactionRequest compaction = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    enum err_code refusal;

    if (revision <= 0 || revision <= mvcc_compact_revision(engine_mvcc(own->engine)) ||
        raft_role(engine_raft(own->engine)) != RAFT_LEADER)
        return;
    compaction.revision = revision;
    request.compaction = &compaction;
    if (engine_propose(own->engine, &request, NULL, ignore, NULL, &refusal) != 0)
        host_note(engine_host(own->engine), LOG_INFO, "auto compaction",
                  log_i64("revision", revision));
}

static void tick_periodic(struct autocompact *own, uint64_t now_ms)
{
    struct sample *oldest;

    if (own->next_sample_ms == 0)
        own->next_compact_ms = now_ms + own->retention;
    if (now_ms >= own->next_sample_ms) {
        own->next_sample_ms = now_ms + own->sample_ms;
        if (own->count == own->capacity) {
            own->first = (own->first + 1) % own->capacity;
            own->count--;
        }
        own->samples[(own->first + own->count++) % own->capacity] =
            (struct sample){now_ms, mvcc_revision(engine_mvcc(own->engine))};
    }
    if (now_ms < own->next_compact_ms)
        return;
    own->next_compact_ms = now_ms + MIN(own->retention, COMPACT_MAX_MS);
    oldest = &own->samples[own->first];
    while (own->count > 1 &&
           own->samples[(own->first + 1) % own->capacity].at_ms + own->retention <= now_ms) {
        own->first = (own->first + 1) % own->capacity;
        own->count--;
        oldest = &own->samples[own->first];
    }
    compact(own, oldest->revision);
}

void autocompact_tick(struct autocompact *own, uint64_t now_ms)
{
    switch (own->mode) {
    case AUTOCOMPACT_OFF:
        return;
    case AUTOCOMPACT_PERIODIC:
        tick_periodic(own, now_ms);
        return;
    case AUTOCOMPACT_REVISION:
        if (own->next_compact_ms == 0)
            own->next_compact_ms = now_ms + REVISION_INTERVAL_MS;
        if (now_ms < own->next_compact_ms)
            return;
        own->next_compact_ms = now_ms + REVISION_INTERVAL_MS;
        compact(own, mvcc_revision(engine_mvcc(own->engine)) - (int64_t)own->retention);
        return;
    }
}
