/*
 * raft_internal.h - raft's state, and what its parts call of each other. For etcd-server/raft only.
 *
 *   raft.c        construction, events, the rules of terms
 *   election.c    roles, votes, the timer
 *   ready.c       effects; durable before promised
 *   replicate.c   the leader's side of the log
 *   follow.c      the follower's side
 *   proposal.c    what enters the log; transfer
 *   confchange.c  configuration changes
 *   readindex.c   linearizable reads
 *
 * Thread: core.
 */
#ifndef ETCD_SERVER_RAFT_RAFT_INTERNAL_H
#define ETCD_SERVER_RAFT_RAFT_INTERNAL_H

#include "etcd-server/raft/outbox.h"
#include "etcd-server/raft/progress.h"
#include "etcd-server/raft/quorum.h"
#include "etcd-server/raft/raft.h"
#include "etcd-server/raft/raft_log.h"
#include "etcd-server/raft/readonly.h"

/* A term or index above this is a mistake: counting on would wrap. */
#define RAFT_NUMBER_MAX (UINT64_MAX / 4)
#define RAFT_TRANSFER_CONTEXT "CampaignTransfer" /* in Vote: the lease does not count */

struct raft_vote {
    uint64_t id;
    bool granted;
};

struct raft_standing { /* what leader_changed compares */
    enum raft_role role;
    uint64_t leader;
    uint64_t term; /* of the leader, 0 without one */
};

struct raft {
    uint64_t id;
    unsigned election_ticks, heartbeat_ticks;
    bool pre_vote;
    uint64_t random;
    uint64_t next_context; /* names the next read index */

    enum raft_role role;
    uint64_t leader;
    struct raft_standing told;
    struct raft_hard_state hard_state; /* commit equals log.committed */
    struct raft_hard_state saved;      /* as last given to the log writer */
    uint64_t term_write_id;            /* the request that has the present term and vote */
    struct raft_log log;

    unsigned elapsed_ticks; /* since the leader was heard; leader: since the check of the quorum */
    unsigned timeout_ticks; /* of the election, random */
    unsigned heartbeat_elapsed_ticks;
    uint64_t stall_write_id; /* the oldest request under way, and for how long it has been that */
    unsigned stall_ticks;

    struct raft_conf_state conf;
    uint64_t pending_conf_index; /* newest conf change in the log; one at a time */
    size_t confs_unapplied;      /* handed out, CONF_APPLIED not heard yet */

    struct raft_vote votes[QUORUM_IDS_MAX]; /* answers to the present campaign */
    size_t vote_count;
    bool transfer_campaign;

    struct progress *members[QUORUM_IDS_MAX]; /* leader: everybody, itself too; owned */
    size_t member_count;
    uint64_t transferee;
    uint64_t snapshot_members[QUORUM_IDS_MAX]; /* asked for, not handed out */
    size_t snapshot_member_count, snapshot_members_given;

    struct readonly reads;
    size_t reads_given;

    struct raft_snapshot incoming; /* received, not yet installed; index 0 = none */
    void *incoming_data;           /* owned */
    uint64_t incoming_write_id;    /* the request that has it; 0 = not handed out */

    struct outbox outbox;
    struct raft_message *sending; /* owned: what the last raft_ready() gave */
    size_t sending_count, sending_capacity;
    struct raft_entry *sending_entries; /* owned */
    size_t sending_entry_count, sending_entry_capacity;
};

/* ready.c */
/* Queue a message: `from`, and `term` where 0, are filled in. */
void raft_send(struct raft *raft, struct raft_message message);
/* One MsgApp of entries [first, first + count), for the effects being collected. */
void raft_send_entries(struct raft *raft, const struct raft_message *message, uint64_t first,
                       size_t count);
void raft_give_back(struct raft *raft); /* what was borrowed dies */

/* election.c */
void raft_become_follower(struct raft *raft, uint64_t term, uint64_t leader);
void raft_tick(struct raft *raft);
void raft_skip(struct raft *raft, unsigned ticks);
void raft_campaign(struct raft *raft, bool transfer);
void raft_vote_asked(struct raft *raft, const struct raft_message *message);
void raft_vote_answered(struct raft *raft, const struct raft_message *message);
bool raft_lease_holds(const struct raft *raft); /* a leader was heard within E ticks */

/* replicate.c */
struct progress *raft_member(const struct raft *raft, uint64_t id); /* NULL: unknown, no leader */
void raft_members_follow(struct raft *raft); /* leader: `members` becomes those of `conf` */
void raft_members_drop(struct raft *raft);
bool raft_advance_commit(struct raft *raft);
void raft_collect_appends(struct raft *raft);
void raft_broadcast_heartbeat(struct raft *raft);
void raft_append_answered(struct raft *raft, const struct raft_message *message);
void raft_heartbeat_answered(struct raft *raft, const struct raft_message *message);
void raft_unreachable(struct raft *raft, uint64_t member);
void raft_snapshot_sent(struct raft *raft, uint64_t member, uint64_t index);

/* follow.c */
enum err_code raft_append_received(struct raft *raft, const struct raft_message *message);
enum err_code raft_heartbeat_received(struct raft *raft, const struct raft_message *message);
enum err_code raft_snapshot_received(struct raft *raft, const struct raft_message *message);

/* proposal.c */
enum err_code raft_propose(struct raft *raft, const struct raft_entry *entries, size_t count,
                           uint64_t from);
enum err_code raft_transfer(struct raft *raft, uint64_t member);
void raft_hand_over(struct raft *raft); /* the transferee has everything: let it campaign */

/* readindex.c */
enum err_code raft_read_asked(struct raft *raft, uint64_t read_id);
void raft_read_forwarded(struct raft *raft, const struct raft_message *message);
void raft_read_answered(struct raft *raft, const struct raft_message *message);
void raft_read_acked(struct raft *raft, struct progress *member, struct slice context);
void raft_reads_release(struct raft *raft); /* the first commit of the term, or fewer voters */
struct slice raft_read_context(const struct raft *raft); /* of the newest pending read */

/* confchange.c */
enum err_code raft_conf_applied(struct raft *raft, const struct raft_event *event);
bool raft_conf_waits_for_apply(const struct raft *raft); /* committed, not applied */
void raft_leave_joint_when_due(struct raft *raft);
/* May the leader append this change now? ERR_FORMAT: it does not decode. */
enum err_code raft_conf_may_change(const struct raft *raft, const struct raft_entry *entry,
                                   bool *may);

#endif
