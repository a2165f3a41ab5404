/*
 * mvcc_lend.c - short ranges of the newest revision out of runs (runs.h).
 *
 *   leaves of the index that the range reaches --stamp--> runs --> pieces
 *
 * All or nothing: if a leaf has no run, and is asked for the first time, the records are read one
 * by one, as for every other range. A range much shorter than a leaf makes no run of it.
 */
#include "etcd-server/state/mvcc_internal.h"

#include "common/base/limits.h"

#define PIECES_MAX 128U /* leaves that hold next to nothing but deletions are passed, too */

static size_t living_before(const struct keyindex_leaf *leaf, size_t position)
{
    uint64_t bits = leaf->living;

    if (position < KEYINDEX_LEAF_MAX)
        bits &= (UINT64_C(1) << position) - 1;
    return (size_t)__builtin_popcountll(bits);
}

/* The first position that the range does not reach. */
static size_t end_in(const struct key_range *range, const struct keyindex_leaf *leaf)
{
    size_t low = leaf->position, high = leaf->count;

    if (key_range_reaches(range, keyindex_key(leaf->entries[high - 1])))
        return high;
    while (low < high) {
        size_t middle = (low + high) / 2;

        if (key_range_reaches(range, keyindex_key(leaf->entries[middle])))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const struct run *make_run(struct mvcc *mvcc, struct view *view,
                                  const struct keyindex_leaf *leaf)
{
    struct revision revisions[KEYINDEX_LEAF_MAX];
    struct slice key_values[KEYINDEX_LEAF_MAX];
    size_t count = 0;
    bool found;

    for (size_t i = 0; i < leaf->count; i++)
        if ((leaf->living >> i & 1) != 0)
            revisions[count++] = keyindex_newest(leaf->entries[i]);
    found = view_get_all(view, revisions, count, key_values);
    must(found);
    return runs_add(mvcc->runs, leaf->stamp, key_values, count);
}

static const struct run *run_of(struct mvcc *mvcc, struct view *view,
                                const struct keyindex_leaf *leaf, size_t keys)
{
    const struct run *run = runs_find(mvcc->runs, leaf->stamp);

    if (run != NULL || !runs_asked_before(mvcc->runs, leaf->stamp) ||
        keys < living_before(leaf, leaf->count) / 2)
        return run;
    return make_run(mvcc, view, leaf);
}

static void take(struct mvcc_lent *lent, const struct run *run, size_t from, size_t to)
{
    size_t begin = from == 0 ? 0 : run->ends[from - 1], end = run->ends[to - 1];

    lent->pieces[lent->count++] = (struct shared_slice){
        .owner = shared_ref(run->bytes), .bytes = slice_of(run->bytes->data + begin, end - begin)};
    lent->bytes += end - begin;
    lent->held_bytes += run->bytes->size;
}

bool mvcc_lend(struct mvcc *mvcc, struct view *view, const struct key_range *range, size_t keys,
               struct mvcc_lent *lent)
{
    struct keyindex_cursor cursor;
    struct keyindex_leaf leaf;
    size_t left = keys;
    bool whole = true;

    if (mvcc->lent_bytes > RUNS_LENT_BYTES)
        return false;
    lent->pieces = xrealloc(NULL, PIECES_MAX * sizeof(*lent->pieces));
    keyindex_seek(mvcc->index, range->from, &cursor);
    for (size_t leaves = 0; left != 0 && leaves < PIECES_MAX; leaves++) {
        size_t from, to;
        const struct run *run;

        must(keyindex_next_leaf(&cursor, &leaf)); /* so many keys are there */
        from = living_before(&leaf, leaf.position);
        to = MIN(living_before(&leaf, end_in(range, &leaf)), from + left);
        if (to == from)
            continue;
        left -= to - from;
        run = run_of(mvcc, view, &leaf, keys);
        if (run != NULL)
            take(lent, run, from, to);
        else
            whole = false; /* the others are asked for all the same */
    }
    mvcc->lent_bytes += lent->held_bytes;
    if (whole && left == 0)
        return true;
    mvcc_lent_free(mvcc, lent);
    return false;
}

void mvcc_lent_free(struct mvcc *mvcc, struct mvcc_lent *lent)
{
    for (size_t i = 0; i < lent->count; i++)
        shared_unref(lent->pieces[i].owner);
    free(lent->pieces);
    mvcc->lent_bytes -= lent->held_bytes;
    *lent = (struct mvcc_lent){.pieces = NULL};
}
