/*
 * mvcc.h - the multi-version store: revisions of keys, ranges at a revision, compaction, hashes.
 *
 * Pure and deterministic: what apply does is a function of (state, request). Values live in the
 * view (batches, then backend), only the key index is in memory (keyindex.h). Semantics: api.md 6
 * and 10.1, formats.md 2.1 and 11, checked against a real etcd.
 * Thread: core. Refusals are rows of errors.def and change nothing.
 */
#ifndef ETCD_SERVER_STATE_MVCC_H
#define ETCD_SERVER_STATE_MVCC_H

#include "common/base/arena.h"
#include "common/base/shared.h"
#include "common/schema/rpc.pb-c.h"
#include "etcd-server/state/view.h"

struct mvcc;

/* What the store needs from above; all borrowed for its life. */
struct mvcc_env {
    void *arg;
    struct view *(*view)(void *arg);   /* the current view, borrowed for this turn */
    struct batch *(*batch)(void *arg); /* the open batch; changes go there */
    /* leases: does it exist; attach and detach follow puts and deletions */
    bool (*lease_exists)(void *arg, int64_t lease);
    void (*lease_attach)(void *arg, int64_t lease, struct slice key);
    void (*lease_detach)(void *arg, int64_t lease, struct slice key);
    /* each change as it happens, for watchers; `key_value` as stored; NULL = nobody cares */
    void (*changed)(void *arg, struct revision revision, bool tombstone, struct slice key_value);
    /* the changes since the last such call are `revision` now; NULL = nobody cares */
    void (*revision_ended)(void *arg, int64_t revision);
};

struct mvcc *mvcc_new(const struct mvcc_env *env);
void mvcc_free(struct mvcc *mvcc);

/*
 * Rebuild the index from bucket `key` and the compaction marks of bucket `meta` (formats.md 11.1,
 * 12.1 step 8); attaches leases of living keys through env. ERR_DAMAGED names the revision.
 */
int mvcc_restore(struct mvcc *mvcc, struct backend_read *read, struct err *err) MUST_CHECK;

int64_t mvcc_revision(const struct mvcc *mvcc);         /* current; 1 when empty */
int64_t mvcc_compact_revision(const struct mvcc *mvcc); /* -1 when never compacted */
int64_t mvcc_key_count(const struct mvcc *mvcc);        /* living keys */

/* ---- reads ---- */

/*
 * The stored key-value of `key` as a reader at `revision` saw it; false when there was none or
 * `revision` is compacted. Borrowed while the current view lives.
 */
bool mvcc_kv_at(const struct mvcc *mvcc, struct slice key, int64_t revision,
                struct slice *key_value) MUST_CHECK;

/*
 * An answer to a range: header facts at once, key-values pulled one by one as the reader has room.
 * Works lazily: it walks the index in slices of RANGE_SLICE_KEYS and reads values from the view it
 * pinned, so its memory does not grow with the answer (sorted ranges hold their revisions).
 * While it lives, compaction of the index past its revision waits.
 */
struct mvcc_range; /* owned by the caller, ends in mvcc_range_free() */

/*
 * Start a range at the store's current state. Checks revisions (ERR_COMPACTED, ERR_FUTURE_REV) and
 * sort options (ERR_INVALID_SORT_OPTION); everything else of `request` is checked by the service.
 * Copies what it needs of `request`.
 */
enum err_code mvcc_range_start(struct mvcc *mvcc, const Etcdserverpb__RangeRequest *request,
                               struct mvcc_range **range) MUST_CHECK;
int64_t mvcc_range_count(const struct mvcc_range *range);
/*
 * `more` is true when the limit cut something off. Known at the start but for filtered ranges,
 * where it is known when mvcc_range_next() has returned false.
 */
bool mvcc_range_more(const struct mvcc_range *range);
/*
 * All of a short range at once, if it was asked for before and has not changed since: its
 * key-values as fields `kvs` of a RangeResponse, in pieces (runs.h). For a range in order of keys,
 * without filters, of the newest revision, before anything else is asked of it; `request` is the
 * one it was started with. False: mvcc_range_next() it is. They live as long as the range does.
 */
bool mvcc_range_pieces(struct mvcc_range *range, const Etcdserverpb__RangeRequest *request,
                       struct shared_pieces *pieces, size_t *key_values) MUST_CHECK;
/* Next encoded mvccpb.KeyValue (without its value for keys_only); borrowed until the next call.
 * False at the end. */
bool mvcc_range_next(struct mvcc_range *range, struct slice *key_value) MUST_CHECK;
/* Keep its history until it is freed, so that it may begin again: the same key-values once more. */
void mvcc_range_hold(struct mvcc_range *range);
void mvcc_range_rewind(struct mvcc_range *range);
void mvcc_range_free(struct mvcc_range *range); /* NULL is fine */

/* ---- writes: called by apply only, in log order ---- */

/*
 * Each applies one request and builds its answer in `arena`, borrowing from the view until the turn
 * ends; `arena` NULL means nobody waits: no answer is built and *response is NULL. The header of
 * the answers inside is filled as api.md 5 says for nested ones; the outer header's revision only.
 * ERR_NO_MEMORY: the answer did not fit in `arena`; the change took place, as on other members, and
 * *response is NULL. Any other error changed nothing. A txn must have passed mvcc_check_txn().
 */
enum err_code mvcc_apply_put(struct mvcc *mvcc, const Etcdserverpb__PutRequest *request,
                             struct arena *arena, Etcdserverpb__PutResponse **response) MUST_CHECK;
enum err_code mvcc_apply_delete_range(struct mvcc *mvcc,
                                      const Etcdserverpb__DeleteRangeRequest *request,
                                      struct arena *arena,
                                      Etcdserverpb__DeleteRangeResponse **response) MUST_CHECK;
enum err_code mvcc_apply_txn(struct mvcc *mvcc, const Etcdserverpb__TxnRequest *request,
                             struct arena *arena, Etcdserverpb__TxnResponse **response) MUST_CHECK;
/* The same evaluation for a read-only txn, outside the log. */
enum err_code mvcc_read_txn(struct mvcc *mvcc, const Etcdserverpb__TxnRequest *request,
                            struct arena *arena, Etcdserverpb__TxnResponse **response) MUST_CHECK;
/* Delete `keys` (sorted by the caller) in one revision, as an expired or revoked lease does. */
void mvcc_apply_delete_keys(struct mvcc *mvcc, const struct slice *keys, size_t count);

/* ---- shape of requests, before anything is proposed (api.md 6.1, 6.6) ---- */

/* ERR_EMPTY_KEY, ERR_INVALID_SORT_OPTION; looks at nothing but the request, as all of these. */
enum err_code mvcc_check_range(const Etcdserverpb__RangeRequest *request);
enum err_code mvcc_check_put(const Etcdserverpb__PutRequest *request);
enum err_code mvcc_check_delete_range(const Etcdserverpb__DeleteRangeRequest *request);
/* Also ERR_TOO_MANY_OPS for nesting deeper than TXN_DEPTH_MAX. */
enum err_code mvcc_check_txn(const Etcdserverpb__TxnRequest *request, size_t max_txn_ops);
bool mvcc_txn_is_read_only(const Etcdserverpb__TxnRequest *request);
bool mvcc_txn_is_serializable(const Etcdserverpb__TxnRequest *request); /* every range in it is */

/* ---- compaction ---- */

/*
 * Order a compaction to `revision` (ERR_COMPACTED, ERR_FUTURE_REV); scheduledCompactRev goes to the
 * open batch. The work is done in slices: call mvcc_compact_step() while mvcc_compacting().
 */
enum err_code mvcc_apply_compact(struct mvcc *mvcc, int64_t revision) MUST_CHECK;
bool mvcc_compacting(const struct mvcc *mvcc);
/* The work is done up to this revision; -1 = never any. */
int64_t mvcc_compact_finished(const struct mvcc *mvcc);
/* Drop at most `revisions` of history. True when this ended the compaction (finishedCompactRev is
 * in the open batch). */
bool mvcc_compact_step(struct mvcc *mvcc, size_t revisions);

/* ---- HashKV (formats.md 11.3, 11.4) ---- */

struct mvcc_hash; /* one hash being made; owned by the caller */
/*
 * What all who hold the same have the same of, whatever has been deleted yet: all changes above the
 * compact revision, and below what a reader there sees. Not a rule of etcd: only for stores without
 * a key that lives, where etcd's leaves open what counts.
 */
struct mvcc_history {
    bool known; /* no key lives, and no compaction was ordered while the hash was made */
    uint32_t hash;
    int64_t compact_revision; /* of a hash that a compaction left behind: that very revision */
};
struct mvcc_hash_result {
    uint32_t hash;
    int64_t compact_revision; /* -1 when never compacted */
    int64_t hash_revision;
    int64_t current_revision;
    bool living; /* some key does at that revision */
    /* None does, so by the rule history below the compact revision counts, as much of it as a
     * member has not deleted yet: members that hold the same may differ. A key that was deleted and
     * put again at that very revision lives not, by the rule. */
    bool vague;
    struct mvcc_history history;
};
/*
 * Begin a hash at `revision` (0 = current): ERR_COMPACTED, ERR_FUTURE_REV. A remembered hash is
 * ready at once. Otherwise call mvcc_hash_step() until it returns true: it reads at most `entries`
 * of the pinned view per call, and the index pass is sliced the same way.
 */
enum err_code mvcc_hash_start(struct mvcc *mvcc, int64_t revision,
                              struct mvcc_hash **hash) MUST_CHECK;
bool mvcc_hash_step(struct mvcc_hash *hash, size_t entries);
struct mvcc_hash_result mvcc_hash_result(const struct mvcc_hash *hash);
void mvcc_hash_free(struct mvcc_hash *hash); /* NULL is fine */
/* What mvcc_hash_start() would answer now; on ERR_OK `ready` says that the hash is remembered. */
enum err_code mvcc_hash_check(const struct mvcc *mvcc, int64_t revision, bool *ready) MUST_CHECK;
/* The newest revision whose hash a compaction left behind; -1 = none. */
int64_t mvcc_hash_remembered(const struct mvcc *mvcc);

/* ---- counters for metrics ---- */
struct mvcc_stats {
    uint64_t puts, deletes, ranges, txns, put_bytes, compacted_keys;
    uint64_t index_steps, record_steps; /* of compactions; those that had to wait do not count */
};
struct mvcc_stats mvcc_stats(const struct mvcc *mvcc);

#endif
