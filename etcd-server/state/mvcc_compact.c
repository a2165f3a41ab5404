/*
 * mvcc_compact.c - dropping history (api.md 6.7, formats.md 11.4).
 *
 *   IDLE --order--> INDEX --all keys--> RECORDS --all records <= to--> IDLE, or the next ordered
 *
 * An order takes effect at once for readers (older revisions are refused) and is written down; the
 * work follows in steps. INDEX waits until nobody reads below `to`, then thins the index. RECORDS
 * walks the bucket, hashes what it sees and deletes what the index no longer names. Both go by
 * position, not by pointer, so anything may happen between two steps.
 */
#include "common/base/plants.h"
#include "etcd-server/state/mvcc_hash.h"

#define INDEX_KEYS_PER_REVISION 8U /* a key of the index costs that much less than a record */

static const char scheduled_name[] = "scheduledCompactRev";
static const char finished_name[] = "finishedCompactRev";

static void write_mark(struct mvcc *mvcc, const char *name, int64_t revision)
{
    uint8_t bytes[REVISION_BYTES_MAX];
    size_t size = revision_encode((struct revision){.main = revision}, false, bytes);

    batch_put(mvcc->env.batch(mvcc->env.arg), BUCKET_META, slice_text(name), slice_of(bytes, size));
}

static void begin(struct mvcc *mvcc, int64_t to, int64_t previous, bool whole)
{
    struct compaction *compaction = &mvcc->compaction;

    must(compaction->phase == COMPACTION_IDLE);
    free(compaction->from);
    *compaction = (struct compaction){
        .phase = COMPACTION_INDEX, .to = to, .previous = previous, .whole = whole};
}

/* One more order while one is being worked on. When too many wait, the last is carried further. */
static void wait(struct mvcc *mvcc, int64_t to)
{
    if (mvcc->waiting_count == COMPACTIONS_WAITING_MAX)
        mvcc->waiting_count--;
    mvcc->waiting[mvcc->waiting_count++] = to;
}

enum err_code mvcc_apply_compact(struct mvcc *mvcc, int64_t revision)
{
    bool whole = mvcc->scheduled == mvcc->finished;
    int64_t previous = mvcc->compacted;

    if (revision <= mvcc->compacted)
        return ERR_COMPACTED;
    if (revision > mvcc->current)
        return ERR_FUTURE_REV;
    mvcc->compacted = mvcc->scheduled = revision;
    if (!PLANTED(COMPACTION_MARK))
        write_mark(mvcc, scheduled_name, revision);
    if (mvcc->compaction.phase == COMPACTION_IDLE)
        begin(mvcc, revision, previous, whole);
    else
        wait(mvcc, revision);
    return ERR_OK;
}

void mvcc_compact_restore(struct mvcc *mvcc, int64_t finished, int64_t scheduled)
{
    mvcc->compacted = mvcc->finished = finished;
    mvcc->scheduled = scheduled;
    if (scheduled <= finished)
        return;
    mvcc->compacted = scheduled;
    begin(mvcc, scheduled, finished, false);
}

bool mvcc_compacting(const struct mvcc *mvcc)
{
    return mvcc->compaction.phase != COMPACTION_IDLE;
}

int64_t mvcc_compact_finished(const struct mvcc *mvcc)
{
    return mvcc->finished;
}

/* The greatest HASHES_KEPT revisions stay. Compactions only go forward. */
static void remember(struct mvcc *mvcc)
{
    const struct compaction *compaction = &mvcc->compaction;

    if (mvcc->remembered_count == HASHES_KEPT) {
        mvcc->remembered_count--;
        memmove(mvcc->remembered, mvcc->remembered + 1,
                mvcc->remembered_count * sizeof(mvcc->remembered[0]));
    }
    mvcc->remembered[mvcc->remembered_count++] = (struct remembered_hash){
        .revision = compaction->to,
        .compact_revision = compaction->previous,
        .hash = compaction->hash,
        .living = compaction->lives,
        .history = compaction->history,
    };
}

static void end(struct mvcc *mvcc)
{
    struct compaction *compaction = &mvcc->compaction;

    if (compaction->whole)
        remember(mvcc);
    mvcc->finished = compaction->to;
    write_mark(mvcc, finished_name, compaction->to);
    compaction->phase = COMPACTION_IDLE;
    if (mvcc->waiting_count == 0)
        return;
    begin(mvcc, mvcc->waiting[0], compaction->to, false);
    mvcc->waiting_count--;
    memmove(mvcc->waiting, mvcc->waiting + 1, mvcc->waiting_count * sizeof(mvcc->waiting[0]));
}

static void step_index(struct mvcc *mvcc, size_t keys)
{
    struct compaction *compaction = &mvcc->compaction;
    struct slice next;
    uint8_t *from;

    if (mvcc_pinned_below(mvcc, compaction->to))
        return;
    mvcc->stats.index_steps++;
    if (keyindex_compact(mvcc->index, slice_of(compaction->from, compaction->from_bytes), keys,
                         compaction->to, &compaction->picked, &next)) {
        compaction->phase = COMPACTION_RECORDS;
        compaction->last = (struct revision){.main = -1};
        compaction->hash = compaction->history = hash_begin();
        return;
    }
    from = xrealloc(NULL, next.size + 1);
    memcpy(from, next.data, next.size);
    free(compaction->from);
    compaction->from = from;
    compaction->from_bytes = next.size;
}

/*
 * One txn may delete a key and put it again. Compacting at its revision then keeps the deletion
 * (formats.md 11.4, and the hash wants that), but a reader at `to` sees the put: it must stay too.
 */
static bool is_read(const struct mvcc *mvcc, const struct record *record, int64_t to)
{
    return record->revision.main == to && mvcc_sees(mvcc, record, to);
}

/* True when all records not above `to` have been walked. */
static bool step_records(struct mvcc *mvcc, size_t count)
{
    struct compaction *compaction = &mvcc->compaction;
    struct hash_rule rule = {
        .at = compaction->to, .compacted = compaction->previous, .keep_any = compaction->picked};
    struct batch *batch = mvcc->env.batch(mvcc->env.arg);
    struct records records;
    struct record record;
    bool more = true;

    mvcc->stats.record_steps++;
    records_init(&records, mvcc->env.view(mvcc->env.arg), compaction->last);
    for (size_t i = 0; i < count; i++) {
        bool kept;

        more = records_next(&records, &record) && record.revision.main <= compaction->to;
        if (!more)
            break;
        compaction->last = record.revision;
        kept = mvcc_keeps(mvcc, &record, compaction->to);
        compaction->lives = compaction->lives || (kept && !record.tombstone);
        if (compaction->whole && hash_takes(&rule, &record, kept))
            compaction->hash = hash_record(compaction->hash, &record);
        if (!kept && is_read(mvcc, &record, compaction->to)) {
            compaction->history = hash_record(compaction->history, &record);
        } else if (!kept) {
            batch_delete(batch, BUCKET_KEY, record.key);
            mvcc->stats.compacted_keys++;
        }
    }
    records_fini(&records);
    return !more;
}

bool mvcc_compact_step(struct mvcc *mvcc, size_t revisions)
{
    must(revisions > 0);
    switch (mvcc->compaction.phase) {
    case COMPACTION_IDLE:
        break;
    case COMPACTION_INDEX:
        step_index(mvcc, revisions * INDEX_KEYS_PER_REVISION);
        if (mvcc->compaction.phase != COMPACTION_RECORDS || mvcc->compaction.from != NULL)
            break;
        /* the index was one slice: a small store is done at once */
        /* fall through */
    case COMPACTION_RECORDS:
        if (step_records(mvcc, revisions)) {
            end(mvcc);
            return true;
        }
        break;
    }
    return false;
}
