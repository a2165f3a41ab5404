/*
 * mvcc_internal.h - what the files of the store share: mvcc.c (changes), mvcc_range.c (reads),
 * mvcc_lend.c (what was read before),
 * mvcc_txn.c, mvcc_check.c, mvcc_compact.c, mvcc_hash.c. Nobody else includes this.
 * Thread: core.
 */
#ifndef ETCD_SERVER_STATE_MVCC_INTERNAL_H
#define ETCD_SERVER_STATE_MVCC_INTERNAL_H

#include "etcd-server/state/keyindex.h"
#include "etcd-server/state/mvcc.h"
#include "etcd-server/state/runs.h"
#include "etcd-server/state/stored.h"

/* Somebody reads the index at `at` over several turns: compaction past it waits. */
struct mvcc_pin {
    struct mvcc_pin *previous, *next;
    int64_t at;
};

enum compaction_phase {
    COMPACTION_IDLE,
    COMPACTION_INDEX,  /* the history goes from the index, once no pin is below */
    COMPACTION_RECORDS /* the records go from the bucket */
};

struct compaction {
    enum compaction_phase phase;
    int64_t to;       /* compacting to here */
    int64_t previous; /* compact revision before; -1 = none */
    bool whole;       /* the one before had finished: the hash may be remembered */
    bool picked;      /* the index kept something at or below `to` */
    uint8_t *from;    /* owned: key where the index pass goes on */
    size_t from_bytes;
    struct revision last; /* record looked at last */
    uint32_t hash;
    bool lives;       /* some key does at `to` */
    uint32_t history; /* if none does (struct mvcc_history) */
};

struct remembered_hash {
    int64_t revision, compact_revision;
    uint32_t hash;
    bool living;
    uint32_t history; /* if none is */
};

#define COMPACTIONS_WAITING_MAX 64U /* ordered while one runs; more are joined into the last */

struct mvcc {
    struct mvcc_env env;
    struct keyindex *index;
    int64_t current;       /* revision */
    int64_t compacted;     /* revision, -1 = never */
    int64_t changes;       /* made by the request being applied, not yet a revision */
    bool answer_too_large; /* its answer did not fit in the arena */
    struct mvcc_pin pins;  /* head of a ring */
    struct runs *runs;     /* owned */
    size_t lent_bytes;     /* of runs that ranges hold, in each of them */
    struct mvcc_range *spare_ranges;
    size_t spare_range_count;
    struct compaction compaction;
    int64_t waiting[COMPACTIONS_WAITING_MAX]; /* revisions ordered behind it, ascending */
    size_t waiting_count;
    int64_t scheduled, finished;                    /* as in bucket meta; -1 = not there */
    struct remembered_hash remembered[HASHES_KEPT]; /* ascending revisions */
    size_t remembered_count;
    struct mvcc_stats stats;
};

/* ---- ranges of keys (api.md 6.2) ---- */

struct key_range {
    struct slice from;
    struct slice to; /* exclusive; empty: no end, if not `one` */
    bool one;        /* only `from` */
};

struct key_range key_range_of(ProtobufCBinaryData key, ProtobufCBinaryData range_end);
bool key_range_is_empty(const struct key_range *range);
/* Is `key`, which is not below from, still inside? */
static inline bool key_range_reaches(const struct key_range *range, struct slice key)
{
    return range->one ? slice_equal(key, range->from)
                      : range->to.size == 0 || slice_compare(key, range->to) < 0;
}

/* ---- reading ---- */

/* The revision a read sees now: that of the request being applied once it has changed something. */
static inline int64_t mvcc_visible(const struct mvcc *mvcc)
{
    return mvcc->current + (mvcc->changes > 0);
}

/* What is stored at `revision`, which the index says is there; borrowed while the view lives. */
struct stored mvcc_read_stored(struct view *view, struct revision revision);

void mvcc_pin_add(struct mvcc *mvcc, struct mvcc_pin *pin, int64_t at);
void mvcc_pin_remove(struct mvcc_pin *pin);
bool mvcc_pinned_below(const struct mvcc *mvcc, int64_t revision);

/* Pieces of runs, and whose they are. */
struct mvcc_lent {
    struct shared_slice *pieces; /* owned, a reference each */
    size_t count, bytes;
    size_t held_bytes; /* of the runs: a small piece holds all of its run */
};

/* Take `keys` at most of the newest revision's; false: they are not to be had so. */
bool mvcc_lend(struct mvcc *mvcc, struct view *view, const struct key_range *range, size_t keys,
               struct mvcc_lent *lent) MUST_CHECK;
void mvcc_lent_free(struct mvcc *mvcc, struct mvcc_lent *lent);

/* ---- answers: NULL, and answer_too_large, when the arena is full ---- */

void *mvcc_answer_alloc(struct mvcc *mvcc, struct arena *arena, size_t bytes);
Etcdserverpb__ResponseHeader *mvcc_answer_header(struct mvcc *mvcc, struct arena *arena,
                                                 int64_t revision);
Mvccpb__KeyValue *mvcc_answer_kv(struct mvcc *mvcc, struct arena *arena, struct slice key_value);
Etcdserverpb__RangeResponse *mvcc_answer_range(struct mvcc *mvcc, struct arena *arena,
                                               const Etcdserverpb__RangeRequest *request);
/* End of a request: ERR_NO_MEMORY when its answer was too large. */
enum err_code mvcc_answer_end(struct mvcc *mvcc);

/* ---- changing: mvcc_write_end() makes the changes since the last one a revision ---- */

enum err_code mvcc_check_lease(const struct mvcc *mvcc, const Etcdserverpb__PutRequest *request);
enum err_code mvcc_check_present(const struct mvcc *mvcc, const Etcdserverpb__PutRequest *request);
Etcdserverpb__PutResponse *mvcc_put(struct mvcc *mvcc, const Etcdserverpb__PutRequest *request,
                                    struct arena *arena);
Etcdserverpb__DeleteRangeResponse *
mvcc_delete_range(struct mvcc *mvcc, const Etcdserverpb__DeleteRangeRequest *request,
                  struct arena *arena);
void mvcc_write_end(struct mvcc *mvcc);

/* ---- compaction, hashes ---- */

/* Marks as found at the start; resumes a compaction that has not finished. */
void mvcc_compact_restore(struct mvcc *mvcc, int64_t finished, int64_t scheduled);
void mvcc_range_free_spares(struct mvcc *mvcc);

#endif
