/*
 * raft.h - consensus as a pure state machine: events in, effects out.
 *
 * raft_step() takes one event and changes state only; raft_ready() then says, once for everything
 * that happened since, what the caller must do: make durable, send, apply, answer reads. The rule
 * "durable before promised" (Raft 5.1, figure 2) is enforced in here: a message that promises a
 * vote or an entry, and an entry to apply, are held back until RAFT_EVENT_PERSISTED covers them. No
 * clock (ticks come in), no randomness (a seed comes in), no I/O, no log lines. Thread: core.
 *
 * Snapshots are the caller's. To send one: raft_ready() names in `snapshot_members` who needs one;
 * the caller makes it at its applied index, completes raft_snapshot_message(), streams it, and ends
 * with RAFT_EVENT_SNAPSHOT_SENT (always, else that member is never served again). To receive one:
 * the transport stores the database first, then hands MsgSnap in; raft takes it or not, and
 * `snapshot` of raft_ready() asks to save and install it; RAFT_EVENT_PERSISTED says that is done.
 */
#ifndef ETCD_SERVER_RAFT_RAFT_H
#define ETCD_SERVER_RAFT_RAFT_H

#include "common/schema/raftmsg.h"

struct raft;

enum raft_role { RAFT_FOLLOWER, RAFT_PRE_CANDIDATE, RAFT_CANDIDATE, RAFT_LEADER };

struct raft_config {
    uint64_t id; /* this member, not 0 */
    /* E: ticks without a leader before an election, randomised to E .. 2E-1 */
    unsigned election_ticks;
    unsigned heartbeat_ticks; /* 1 */
    bool pre_vote;
    uint64_t seed; /* of the random sequence: election timeouts, names of read indexes; another one
                      at each start */
    /* what the disk held, borrowed for raft_new() only */
    struct raft_hard_state hard_state;
    struct raft_snapshot_meta snapshot; /* newest one; index 0 = none */
    const struct raft_entry *entries;   /* behind the snapshot, contiguous; payloads are copied */
    size_t entry_count;
    uint64_t applied; /* entries up to here are not handed out again; at least snapshot.index; what
                         they changed of the configuration must be in snapshot.conf_state */
};

enum raft_event_type {
    RAFT_EVENT_TICK,     /* one heartbeat interval has passed */
    RAFT_EVENT_CAMPAIGN, /* do not wait for the election timeout */
    RAFT_EVENT_SKIP,     /* `ticks` of the wait for a leader are over, but for the last one; nothing
                            where a leader is known */
    RAFT_EVENT_MESSAGE,  /* from a peer, decoded and size-checked */
    RAFT_EVENT_PROPOSE,  /* `data` wanted in the log as an entry of `entry_type` */
    RAFT_EVENT_PERSISTED, /* what raft_ready() gave with `persist_id` is durable here */
    RAFT_EVENT_READ,      /* a linearizable read asks which index to wait for; `read_id` names it */
    RAFT_EVENT_CONF_APPLIED, /* the caller applied a configuration change entry: `conf_change` or
                                `conf_change_v2`; both NULL = it was refused. Once per such entry,
                                in order */
    RAFT_EVENT_COMPACT,      /* entries up to `index` are covered by a snapshot: drop them */
    RAFT_EVENT_TRANSFER,     /* hand leadership to `member`; a follower asks its leader to */
    RAFT_EVENT_UNREACHABLE,  /* a message to `member` was lost on the way */
    RAFT_EVENT_SNAPSHOT_SENT /* the snapshot to `member` arrived (`ok`; `index` = the snapshot's) or
                                did not */
};

struct raft_event {
    enum raft_event_type type;
    const struct raft_message *message;
    enum raft_entry_type entry_type;
    struct slice data; /* copied */
    uint64_t persist_id;
    uint64_t read_id;
    const struct raft_conf_change *conf_change;
    const struct raft_conf_change_v2 *conf_change_v2;
    uint64_t index;
    uint64_t member;
    unsigned ticks;
    bool ok;
};

/*
 * Take one event. A follower forwards proposals and reads to its leader: ERR_OK then means that
 * they are on the way. A proposed configuration change that may not be now (another one is not
 * applied yet) goes into the log as an empty entry: the caller's wait ends by its own time.
 *
 * returns  ERR_OK, or a refusal that changed nothing: ERR_NO_LEADER, ERR_LEADER_CHANGED (leadership
 *          is being handed over), ERR_REQUEST_TOO_MANY_REQUESTS, ERR_BAD_LEADER_TRANSFEREE,
 *          ERR_REQUEST_TOO_LARGE (no log takes it, whatever its proposer allows). Of a
 *          MESSAGE only when it forwards a proposal: the caller may propose it again;
 *          ERR_FORMAT: a message or a configuration change that makes no sense, not taken;
 *          ERR_DAMAGED: the member must not go on. MESSAGE: the leader's log contradicts what is
 *          committed here, or one of the two lost synced entries. CONF_APPLIED: the change leaves
 *          no voters, passes RAFT_MEMBERS_MAX, or does not fit a joint configuration
 */
enum err_code raft_step(struct raft *raft, const struct raft_event *event) MUST_CHECK;

struct raft_read {
    uint64_t read_id;
    uint64_t index; /* answer once this index is applied; 0 = it failed, no leader confirmed it. An
                       answer covers all reads asked before it: one of them may come without its own
                       only when its message was lost */
};

/*
 * What the caller must now do, in this order. Everything is borrowed until the next raft_step() or
 * raft_ready(): take what is needed of `messages` and `reads` before applying entries, for a
 * configuration change is told back by raft_step().
 */
struct raft_effects {
    uint64_t persist_id; /* 0 = nothing to make durable */
    bool hard_state_changed;
    bool must_sync; /* entries, or term or vote changed; otherwise the write may wait for the next
                       sync */
    struct raft_hard_state hard_state;
    uint64_t persist_first, persist_last; /* entries to append, by index; first > last = none */
    /* received from the leader: make durable before the entries of the same request, install,
     * then report persist_id; its configuration is in force already; nothing behind it is handed
     * out to be applied before. NULL = none */
    const struct raft_snapshot *snapshot;
    const struct raft_message *messages; /* send them now */
    size_t message_count;
    /* committed and durable here: apply in order; first > last = none */
    uint64_t apply_first, apply_last;
    const struct raft_read *reads;
    size_t read_count;
    const uint64_t *snapshot_members; /* each needs a snapshot: see above; asked once */
    size_t snapshot_member_count;
    bool leader_changed; /* raft_leader() or raft_role() is not what it was, or of another term */
};

/* Collect the effects since the last call. False: there are none. */
bool raft_ready(struct raft *raft, struct raft_effects *effects) MUST_CHECK;

/* A MsgSnap to `member`, complete but for `snapshot`. */
struct raft_message raft_snapshot_message(const struct raft *raft, uint64_t member);

struct raft *raft_new(const struct raft_config *config);
void raft_free(struct raft *raft); /* NULL is fine */

/* Entry `index`, which must lie in [raft_first_index, raft_last_index]; borrowed until the next
 * raft_step(). */
const struct raft_entry *raft_entry_at(const struct raft *raft, uint64_t index);
uint64_t raft_first_index(const struct raft *raft); /* of the log in memory */
uint64_t raft_last_index(const struct raft *raft);
size_t raft_log_bytes(const struct raft *raft);                 /* of all of them, in memory */
uint64_t raft_term_at(const struct raft *raft, uint64_t index); /* 0 when not known any more */

uint64_t raft_term(const struct raft *raft);
uint64_t raft_leader(const struct raft *raft); /* member id, 0 = none known */
enum raft_role raft_role(const struct raft *raft);
uint64_t raft_commit_index(const struct raft *raft);
struct raft_hard_state raft_hard_state(const struct raft *raft);  /* as it is now, saved or not */
struct raft_hard_state raft_saved_state(const struct raft *raft); /* as last given to the log */
const struct raft_conf_state *raft_conf_state(const struct raft *raft);
uint64_t raft_transferee(const struct raft *raft); /* who leadership is being handed to, 0 = none */

/* What the leader knows of a member: for promotion checks, health, and holding back compaction. */
struct raft_peer {
    uint64_t match;     /* its log agrees with ours up to here */
    uint64_t next;      /* the next entry to send it */
    bool recent_active; /* heard from within the last election timeout */
    bool probing;       /* how far its log agrees is being found out */
    bool snapshot;      /* waits for a snapshot to arrive */
};
/* False: not the leader, or no such member. */
bool raft_peer(const struct raft *raft, uint64_t member, struct raft_peer *peer) MUST_CHECK;
bool raft_snapshot_pending(const struct raft *raft); /* some member waits for one */

#endif
