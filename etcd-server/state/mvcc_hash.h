/*
 * mvcc_hash.h - the rule of formats.md 11.3 step 3: which records a HashKV takes in. Shared by
 * mvcc_hash.c and by compaction, which hashes what it walks over. Internal to the store.
 * Thread: core.
 */
#ifndef ETCD_SERVER_STATE_MVCC_HASH_H
#define ETCD_SERVER_STATE_MVCC_HASH_H

#include "etcd-server/state/mvcc_internal.h"
#include "etcd-server/state/mvcc_records.h"

struct hash_rule {
    int64_t at;        /* revision hashed */
    int64_t compacted; /* assumed compact revision, -1 = none */
    bool keep_any;     /* compaction to `at` would keep something */
};

uint32_t hash_begin(void);
uint32_t hash_record(uint32_t hash, const struct record *record);

/* Does the record enter? `kept`: it is among what compaction to `at` keeps; only looked at where
 * the rule keeps any, and up to its compacted revision. */
bool hash_takes(const struct hash_rule *rule, const struct record *record, bool kept);

/* Does compaction to `at` keep the record? The index knows: no set is made. */
bool mvcc_keeps(const struct mvcc *mvcc, const struct record *record, int64_t at);
/* Does a reader at `at` see the record? The same, but for a key that was deleted and put again at
 * that very revision: the put is seen, the deletion is kept. */
bool mvcc_sees(const struct mvcc *mvcc, const struct record *record, int64_t at);

#endif
