/*
 * raftmsg.h - raft's own records as plain structs, and their bytes (raftpb, walpb, snappb).
 *
 * Shared by raft (pure), the log, snapshot files and the peer protocol. Encoding is byte-equal to
 * etcd 3.5: starred fields of formats.md 8.1 are written even when zero. Decoding takes a missing
 * field as 0, skips unknown fields, accepts packed lists, and never trusts a length.
 * Decoded structs borrow byte fields from the input; lists of entries come from the arena. Pure;
 * thread: any.
 */
#ifndef COMMON_SCHEMA_RAFTMSG_H
#define COMMON_SCHEMA_RAFTMSG_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/limits.h"

enum raft_entry_type {
    RAFT_ENTRY_NORMAL = 0,
    RAFT_ENTRY_CONF_CHANGE = 1,
    RAFT_ENTRY_CONF_CHANGE_V2 = 2
};

struct raft_entry {
    enum raft_entry_type type;
    uint64_t term;
    uint64_t index;
    struct slice data; /* borrowed from whoever holds the entry */
};

struct raft_hard_state {
    uint64_t term;
    uint64_t vote; /* member id, 0 = none */
    uint64_t commit;
};

struct raft_conf_state {
    uint64_t voters[RAFT_MEMBERS_MAX]; /* ascending */
    uint64_t learners[RAFT_MEMBERS_MAX];
    uint64_t voters_outgoing[RAFT_MEMBERS_MAX];
    uint64_t learners_next[RAFT_MEMBERS_MAX];
    size_t voter_count, learner_count, voter_outgoing_count, learner_next_count;
    bool auto_leave;
};

struct raft_snapshot_meta {
    struct raft_conf_state conf_state;
    uint64_t index;
    uint64_t term;
};

struct raft_snapshot {
    struct slice data; /* v2 JSON text (formats.md 6.2); borrowed */
    struct raft_snapshot_meta meta;
};

enum raft_conf_change_type {
    RAFT_CONF_ADD_NODE = 0,
    RAFT_CONF_REMOVE_NODE = 1,
    RAFT_CONF_UPDATE_NODE = 2,
    RAFT_CONF_ADD_LEARNER = 3,
};

struct raft_conf_change {
    uint64_t id;
    enum raft_conf_change_type type;
    uint64_t node_id;
    struct slice context; /* JSON of formats.md 8.2; borrowed */
};

struct raft_conf_change_single {
    enum raft_conf_change_type type;
    uint64_t node_id;
};

enum raft_conf_transition {
    RAFT_CONF_AUTO = 0,
    RAFT_CONF_JOINT_IMPLICIT = 1,
    RAFT_CONF_JOINT_EXPLICIT = 2
};

struct raft_conf_change_v2 {
    enum raft_conf_transition transition;
    struct raft_conf_change_single changes[RAFT_MEMBERS_MAX];
    size_t change_count;
    struct slice context;
};

/* formats.md 8.1; the numbers are the wire's. */
enum raft_message_type {
    RAFT_MSG_HUP = 0,
    RAFT_MSG_BEAT = 1,
    RAFT_MSG_PROP = 2,
    RAFT_MSG_APP = 3,
    RAFT_MSG_APP_RESP = 4,
    RAFT_MSG_VOTE = 5,
    RAFT_MSG_VOTE_RESP = 6,
    RAFT_MSG_SNAP = 7,
    RAFT_MSG_HEARTBEAT = 8,
    RAFT_MSG_HEARTBEAT_RESP = 9,
    RAFT_MSG_UNREACHABLE = 10,
    RAFT_MSG_SNAP_STATUS = 11,
    RAFT_MSG_CHECK_QUORUM = 12,
    RAFT_MSG_TRANSFER_LEADER = 13,
    RAFT_MSG_TIMEOUT_NOW = 14,
    RAFT_MSG_READ_INDEX = 15,
    RAFT_MSG_READ_INDEX_RESP = 16,
    RAFT_MSG_PRE_VOTE = 17,
    RAFT_MSG_PRE_VOTE_RESP = 18,
};

struct raft_message {
    enum raft_message_type type;
    uint64_t to, from, term, log_term, index;
    struct raft_entry *entries; /* borrowed */
    size_t entry_count;
    uint64_t commit;
    struct raft_snapshot *snapshot; /* NULL = none; borrowed */
    bool reject;
    uint64_t reject_hint;
    struct slice context;
    uint64_t vote;
};

/* Each appends to `out`; false when out->max is passed. */
bool raft_entry_encode(const struct raft_entry *entry, struct buf *out);
bool raft_hard_state_encode(const struct raft_hard_state *state, struct buf *out);
bool raft_conf_state_encode(const struct raft_conf_state *state, struct buf *out);
bool raft_snapshot_encode(const struct raft_snapshot *snapshot, struct buf *out);
bool raft_conf_change_encode(const struct raft_conf_change *change, struct buf *out);
bool raft_conf_change_v2_encode(const struct raft_conf_change_v2 *change, struct buf *out);
bool raft_message_encode(const struct raft_message *message, struct buf *out);
/* How many bytes raft_entry_encode() would append. */
size_t raft_entry_encoded_bytes(const struct raft_entry *entry);

/* ERR_FORMAT with the field that does not parse, ERR_NO_MEMORY past the arena's maximum. */
int raft_entry_decode(struct slice bytes, struct raft_entry *entry, struct err *err) MUST_CHECK;
int raft_hard_state_decode(struct slice bytes, struct raft_hard_state *state,
                           struct err *err) MUST_CHECK;
int raft_conf_state_decode(struct slice bytes, struct raft_conf_state *state,
                           struct err *err) MUST_CHECK;
int raft_snapshot_decode(struct slice bytes, struct raft_snapshot *snapshot,
                         struct err *err) MUST_CHECK;
int raft_conf_change_decode(struct slice bytes, struct raft_conf_change *change,
                            struct err *err) MUST_CHECK;
int raft_conf_change_v2_decode(struct slice bytes, struct raft_conf_change_v2 *change,
                               struct err *err) MUST_CHECK;
int raft_message_decode(struct slice bytes, struct arena *arena, struct raft_message *message,
                        struct err *err) MUST_CHECK;

#endif
