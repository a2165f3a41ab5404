/*
 * raft_cluster.h - members that are only raft, in memory: a network that keeps, drops, doubles and
 * reorders messages, disks that lose what was not synced, and the invariants of Raft checked on
 * every step (raft.md 11: R1, R2, R4 to R11, R14). Used by the scripts and by the model test.
 */
#ifndef TESTS_LIB_RAFT_CLUSTER_H
#define TESTS_LIB_RAFT_CLUSTER_H

#include "etcd-server/raft/raft.h"

#define CLUSTER_MEMBERS_MAX 8
#define CLUSTER_INDEX_MAX 4096
#define CLUSTER_TERM_MAX 4096
#define CLUSTER_TICKS 10 /* E */

struct cluster_entry { /* payloads are short texts */
    enum raft_entry_type type;
    uint64_t term, index;
    size_t size;
    uint8_t data[40];
};

struct cluster_write { /* a request to the log writer */
    uint64_t id;
    bool has_state, has_snapshot;
    struct raft_hard_state state;
    struct raft_snapshot_meta snapshot;
    uint64_t snapshot_hash;
    struct cluster_entry *entries; /* owned */
    size_t entry_count;
};

struct cluster_disk {
    struct raft_hard_state state;
    struct raft_snapshot_meta snapshot;
    uint64_t snapshot_hash;        /* of everything applied up to it */
    struct cluster_entry *entries; /* owned; behind the snapshot */
    size_t entry_count, entry_capacity;
};

struct cluster_read {
    uint64_t read_id;
    uint64_t at_least; /* what somebody had applied when it was asked */
};

struct cluster_member {
    uint64_t id;
    struct raft *raft; /* NULL = crashed */
    struct cluster_disk disk;
    struct cluster_write *writes; /* owned; under way, in order */
    size_t write_count, write_capacity;
    bool stalled; /* the disk does not answer */
    uint64_t applied, hash;
    uint64_t term_seen, commit_seen; /* within this life */
    struct cluster_read reads[64];
    size_t read_count;
    uint64_t seed;
};

struct cluster_packet {
    struct buf bytes;
    uint64_t from, to, snapshot_index; /* not 0: a MsgSnap */
    enum raft_message_type type;
};

struct cluster;
typedef void cluster_note_fn(struct cluster *cluster, const char *text);

struct cluster {
    struct cluster_member members[CLUSTER_MEMBERS_MAX]; /* id = position + 1 */
    size_t member_count;
    struct cluster_packet *packets; /* owned; oldest first */
    size_t packet_count, packet_capacity;
    bool cut[CLUSTER_MEMBERS_MAX + 1][CLUSTER_MEMBERS_MAX + 1];   /* [from][to] */
    uint64_t leaders[CLUSTER_TERM_MAX];                           /* who led a term */
    uint64_t votes[CLUSTER_MEMBERS_MAX + 1][CLUSTER_TERM_MAX];    /* whom a member voted for */
    uint64_t hashes[CLUSTER_INDEX_MAX], terms[CLUSTER_INDEX_MAX]; /* of what was applied */
    uint64_t applied_max;
    bool pre_vote;
    cluster_note_fn *note; /* reads, refusals; may be NULL */
    void *note_arg;
    char failure[256]; /* the first broken invariant */
};

/* `conf` holds at index 1, term 1; members that are not in it start empty. Pre-vote is on but for
 * every fourth seed. */
void cluster_init(struct cluster *cluster, size_t member_count, const struct raft_conf_state *conf,
                  uint64_t seed);
void cluster_fini(struct cluster *cluster);

struct cluster_member *cluster_member(struct cluster *cluster, uint64_t id);
enum err_code cluster_step(struct cluster *cluster, uint64_t id, struct raft_event *event);
void cluster_write_done(struct cluster *cluster, uint64_t id); /* the oldest */
/* Power off; the first `writes_kept` requests reached the disk, and of the next `entries_kept`
 * entries. */
void cluster_crash(struct cluster *cluster, uint64_t id, size_t writes_kept, size_t entries_kept);
void cluster_restart(struct cluster *cluster, uint64_t id);
void cluster_deliver(struct cluster *cluster, size_t packet); /* when its way is not cut */
void cluster_drop(struct cluster *cluster, size_t packet);
void cluster_duplicate(struct cluster *cluster, size_t packet); /* to the end */
/* Everything on the way arrives and every disk that is not stalled answers, until it is quiet. */
void cluster_settle(struct cluster *cluster);
/* A snapshot at the applied index; the log before `keep` entries of it is dropped. */
void cluster_compact(struct cluster *cluster, uint64_t id, uint64_t keep);
void cluster_check_logs(struct cluster *cluster); /* R4 */

#endif
