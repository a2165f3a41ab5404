/*
 * raft_log.h - the entries raft holds in memory: a contiguous run behind `base`, payloads owned;
 * and which of them the log writer has been given and has made durable.
 * Pure; knows indexes and terms, not what a payload means. Thread: core.
 */
#ifndef ETCD_SERVER_RAFT_RAFT_LOG_H
#define ETCD_SERVER_RAFT_RAFT_LOG_H

#include "common/schema/raftmsg.h"

struct raft_log_write { /* a request to the log writer */
    uint64_t id;
    uint64_t last_index; /* entries up to here are durable once it is done */
};

struct raft_log {
    struct raft_entry *ring; /* owned; capacity is a power of two; entry i lies at ring[i & mask] */
    size_t capacity;
    /* the last index that is not in here any more (of the snapshot, at first) */
    uint64_t base_index;
    uint64_t base_term;
    uint64_t last_index;
    uint64_t appended;  /* given to the log writer up to this index */
    uint64_t stable;    /* durable here up to this index */
    uint64_t committed; /* Raft's commitIndex */
    uint64_t handed;    /* given out to be applied */
    /* configuration changes that are committed, but the log does not yet say so for good;
     * 0 = none */
    uint64_t change_first, change_last;
    /* the request that says so, 0 = not yet made; of those up to here */
    uint64_t change_write_id, change_written;
    size_t uncommitted_bytes;                      /* of the payloads behind `committed` */
    size_t bytes;                                  /* of all entries, with their payloads */
    struct raft_log_write writes[RAFT_WRITES_MAX]; /* ring, in order: under way */
    size_t write_first, write_count;
    uint64_t given_id;   /* of the newest request, 0 = none so far */
    uint64_t written_id; /* of the newest one that is done */
};

void raft_log_init(struct raft_log *log, uint64_t base_index, uint64_t base_term);
void raft_log_fini(struct raft_log *log);
void raft_log_append(struct raft_log *log, enum raft_entry_type type, uint64_t term,
                     struct slice data); /* copies */
/* Forget what is behind; never what is committed. */
void raft_log_truncate(struct raft_log *log, uint64_t last_index);
/* Forget up to `index`; at most what was handed out. A ring that gets mostly empty gets small. */
void raft_log_compact(struct raft_log *log, uint64_t index);
void raft_log_commit(struct raft_log *log, uint64_t index); /* committed = max; at most the last */
/*
 * Committed as far as others may be told and entries be applied: a configuration change only when
 * its commit is durable. Who forgot that with a crash would go on asking members for their votes
 * that learned of it, and are gone.
 */
uint64_t raft_log_commit_told(const struct raft_log *log);
/* A snapshot takes the place of every entry; it counts as committed, stable and handed out. */
void raft_log_restore(struct raft_log *log, uint64_t index, uint64_t term);

/* Must be in (base, last]; borrowed until the log is changed. Its payload stays until it is
 * dropped.
 */
const struct raft_entry *raft_log_at(const struct raft_log *log, uint64_t index);
uint64_t raft_log_term(const struct raft_log *log, uint64_t index); /* 0 when unknown */
bool raft_log_has(const struct raft_log *log, uint64_t index, uint64_t term);
/* Is a log that ends in (index, term) at least as new as this one (Raft 5.4.1)? */
bool raft_log_up_to_date(const struct raft_log *log, uint64_t index, uint64_t term);
/* The first index at or below `index` whose term is not above `term`, or is not known. */
uint64_t raft_log_find_conflict(const struct raft_log *log, uint64_t index, uint64_t term);

/*
 * A new request to the log writer that holds everything up to the last entry. Returns its id.
 * Precondition: raft_log_may_write().
 */
uint64_t raft_log_write(struct raft_log *log) MUST_CHECK;
bool raft_log_may_write(const struct raft_log *log);
/* Requests up to `id` are done. Entries that were cut off in the meantime do not count. */
void raft_log_written(struct raft_log *log, uint64_t id);

#endif
