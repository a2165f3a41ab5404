/*
 * raft_log.h - the entries raft holds in memory: a contiguous run behind `base`, payloads owned.
 * Pure; knows indexes and terms, not what a payload means. Thread: core.
 */
#ifndef ETCD_SERVER_RAFT_RAFT_LOG_H
#define ETCD_SERVER_RAFT_RAFT_LOG_H

#include "common/schema/raftmsg.h"

struct raft_log {
    struct raft_entry *ring; /* owned; capacity is a power of two; entry i lies at ring[i & mask] */
    size_t capacity;
    uint64_t
        base_index; /* the last index that is not in here any more (of the snapshot, at first) */
    uint64_t base_term;
    uint64_t last_index;
    uint64_t stable;    /* durable here up to this index */
    uint64_t committed; /* Raft's commitIndex */
    uint64_t handed;    /* given out to be applied */
    size_t bytes;       /* of all payloads */
};

void raft_log_init(struct raft_log *log, uint64_t base_index, uint64_t base_term);
void raft_log_fini(struct raft_log *log);
void raft_log_append(struct raft_log *log, enum raft_entry_type type, uint64_t term,
                     struct slice data); /* copies */
void raft_log_truncate(struct raft_log *log,
                       uint64_t last_index); /* forget what is behind; never what is committed */
void raft_log_compact(struct raft_log *log,
                      uint64_t index); /* forget up to `index`; at most what was handed out */
const struct raft_entry *raft_log_at(const struct raft_log *log,
                                     uint64_t index);               /* must be in (base, last] */
uint64_t raft_log_term(const struct raft_log *log, uint64_t index); /* 0 when unknown */

#endif
