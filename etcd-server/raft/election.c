/*
 * election.c - roles, votes and the timer (Raft 5.2, 5.4.1; pre-vote: 9.6; raft.md 8.1 to 8.3).
 *
 * A member that hears a leader within E ticks takes part in no election (the lease), so a member
 * that comes back cannot disturb. A leader that does not hear a quorum within E ticks steps down.
 * A leader whose disk hangs for E ticks hands over to whoever is furthest: its heartbeats would
 * keep the others from electing one that can write.
 */
#include "common/base/base.h"
#include "common/base/plants.h"
#include "etcd-server/raft/raft_internal.h"

static uint64_t next_random(struct raft *raft)
{
    uint64_t x = raft->random; /* xorshift64: never 0 */

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return raft->random = x;
}

/* Every change of role or term. */
static void reset(struct raft *raft, uint64_t term)
{
    must(term >= raft->hard_state.term);
    if (term != raft->hard_state.term) {
        raft->hard_state.term = term;
        raft->hard_state.vote = 0;
    }
    raft->leader = 0;
    raft->elapsed_ticks = raft->heartbeat_elapsed_ticks = 0;
    raft->timeout_ticks =
        raft->election_ticks + (unsigned)(next_random(raft) % raft->election_ticks);
    raft->transferee = 0;
    raft->vote_count = 0;
    raft_members_drop(raft);
    readonly_fail_all(&raft->reads, raft->id);
}

void raft_become_follower(struct raft *raft, uint64_t term, uint64_t leader)
{
    reset(raft, term);
    raft->role = RAFT_FOLLOWER;
    raft->leader = leader;
}

static void become_leader(struct raft *raft)
{
    reset(raft, raft->hard_state.term);
    raft->role = RAFT_LEADER;
    raft->leader = raft->id;
    raft->pending_conf_index = raft->log.last_index; /* a change may be in the tail: be careful */
    raft_members_follow(raft);
    raft_log_append(&raft->log, RAFT_ENTRY_NORMAL, raft->hard_state.term, SLICE_EMPTY);
}

static bool has_other_voters(const struct raft *raft)
{
    const struct raft_conf_state *conf = &raft->conf;

    return conf->voter_count > 1 || conf->voter_outgoing_count > 1 ||
           (conf->voter_count == 1 && conf->voters[0] != raft->id) ||
           (conf->voter_outgoing_count == 1 && conf->voters_outgoing[0] != raft->id);
}

bool raft_lease_holds(const struct raft *raft)
{
    return raft->leader != 0 && raft->elapsed_ticks < raft->election_ticks;
}

static bool disk_is_stalled(const struct raft *raft)
{
    return raft->stall_ticks >= raft->election_ticks && has_other_voters(raft);
}

static bool may_campaign(const struct raft *raft)
{
    return raft->role != RAFT_LEADER && quorum_is_voter(&raft->conf, raft->id) &&
           raft->incoming.meta.index == 0 && !raft_conf_waits_for_apply(raft) &&
           !disk_is_stalled(raft);
}

static void record_vote(struct raft *raft, uint64_t id, bool granted)
{
    for (size_t i = 0; i < raft->vote_count; i++)
        if (raft->votes[i].id == id)
            return; /* the first answer counts */
    if (quorum_is_voter(&raft->conf, id) && raft->vote_count < QUORUM_IDS_MAX)
        raft->votes[raft->vote_count++] = (struct raft_vote){id, granted};
}

static enum quorum_answer vote_of(const void *arg, uint64_t id)
{
    const struct raft *raft = arg;

    for (size_t i = 0; i < raft->vote_count; i++)
        if (raft->votes[i].id == id)
            return raft->votes[i].granted ? QUORUM_YES : QUORUM_NO;
    return QUORUM_NO_ANSWER;
}

static void ask_votes(struct raft *raft, enum raft_message_type type, uint64_t term)
{
    uint64_t ids[QUORUM_IDS_MAX];
    size_t count = quorum_members(&raft->conf, ids);
    struct raft_message ask = {.type = type,
                               .term = term,
                               .index = raft->log.last_index,
                               .log_term = raft_log_term(&raft->log, raft->log.last_index)};

    if (raft->transfer_campaign)
        ask.context = SLICE_LITERAL(RAFT_TRANSFER_CONTEXT);
    for (size_t i = 0; i < count; i++) {
        ask.to = ids[i];
        if (ids[i] != raft->id && quorum_is_voter(&raft->conf, ids[i]))
            raft_send(raft, ask);
    }
}

/* Ask for real votes; a sole voter has won by its own. */
static void stand(struct raft *raft)
{
    reset(raft, raft->hard_state.term + 1);
    raft->role = RAFT_CANDIDATE;
    raft->hard_state.vote = raft->id;
    record_vote(raft, raft->id, true);
    if (quorum_tally(&raft->conf, vote_of, raft) == QUORUM_WON)
        become_leader(raft);
    else
        ask_votes(raft, RAFT_MSG_VOTE, raft->hard_state.term);
}

void raft_campaign(struct raft *raft, bool transfer)
{
    if (!may_campaign(raft))
        return;
    raft->transfer_campaign = transfer;
    if (!raft->pre_vote || transfer || !has_other_voters(raft)) {
        stand(raft);
        return;
    }
    raft->role = RAFT_PRE_CANDIDATE; /* term and vote stay as they are */
    raft->leader = 0;
    raft->vote_count = 0;
    readonly_fail_all(&raft->reads, raft->id);
    record_vote(raft, raft->id, true);
    ask_votes(raft, RAFT_MSG_PRE_VOTE, raft->hard_state.term + 1);
}

void raft_vote_asked(struct raft *raft, const struct raft_message *message)
{
    bool pre = message->type == RAFT_MSG_PRE_VOTE;
    bool can = raft->hard_state.vote == message->from ||
               (raft->hard_state.vote == 0 && raft->leader == 0) ||
               (pre && message->term > raft->hard_state.term);
    struct raft_message answer = {.type = pre ? RAFT_MSG_PRE_VOTE_RESP : RAFT_MSG_VOTE_RESP,
                                  .to = message->from};

    if (!can || (!PLANTED(STALE_VOTE) &&
                 !raft_log_up_to_date(&raft->log, message->index, message->log_term))) {
        answer.reject = true;
        raft_send(raft, answer);
        return;
    }
    answer.term = message->term;
    if (!pre) {
        raft->hard_state.vote = message->from;
        raft->elapsed_ticks = 0;
    }
    raft_send(raft, answer);
}

void raft_vote_answered(struct raft *raft, const struct raft_message *message)
{
    bool pre = message->type == RAFT_MSG_PRE_VOTE_RESP;

    if (raft->role != (pre ? RAFT_PRE_CANDIDATE : RAFT_CANDIDATE))
        return;
    if (pre && !message->reject && message->term != raft->hard_state.term + 1)
        return; /* of an older campaign */
    record_vote(raft, message->from, !message->reject);
    switch (quorum_tally(&raft->conf, vote_of, raft)) {
    case QUORUM_WON:
        if (pre)
            stand(raft);
        else
            become_leader(raft);
        return;
    case QUORUM_LOST:
        raft_become_follower(raft, raft->hard_state.term, 0);
        return;
    case QUORUM_PENDING:
        return;
    }
}

static enum quorum_answer heard_from(const void *arg, uint64_t id)
{
    const struct raft *raft = arg;
    const struct progress *member = raft_member(raft, id);

    return id == raft->id || (member != NULL && member->recent_active) ? QUORUM_YES : QUORUM_NO;
}

/* raft.md 8.7. False: not the leader any more. */
static bool check_quorum(struct raft *raft)
{
    if (quorum_tally(&raft->conf, heard_from, raft) != QUORUM_WON) {
        raft_become_follower(raft, raft->hard_state.term, 0);
        return false;
    }
    for (size_t i = 0; i < raft->member_count; i++)
        raft->members[i]->recent_active = false;
    return true;
}

static void give_up_for_disk(struct raft *raft)
{
    const struct progress *best = NULL;

    for (size_t i = 0; i < raft->member_count; i++) {
        const struct progress *member = raft->members[i];

        if (member->id != raft->id && quorum_is_voter(&raft->conf, member->id) &&
            member->match != 0 && (best == NULL || member->match > best->match))
            best = member;
    }
    if (best != NULL)
        raft_send(raft, (struct raft_message){.type = RAFT_MSG_TIMEOUT_NOW, .to = best->id});
    raft_become_follower(raft, raft->hard_state.term, 0);
}

static void leader_tick(struct raft *raft)
{
    raft->heartbeat_elapsed_ticks++;
    raft->elapsed_ticks++;
    if (disk_is_stalled(raft)) {
        give_up_for_disk(raft);
        return;
    }
    if (raft->elapsed_ticks >= raft->election_ticks) {
        raft->elapsed_ticks = 0;
        if (!check_quorum(raft))
            return;
        raft->transferee = 0; /* it had its time */
    }
    if (raft->heartbeat_elapsed_ticks >= raft->heartbeat_ticks) {
        raft->heartbeat_elapsed_ticks = 0;
        raft_broadcast_heartbeat(raft);
    }
}

static void watch_disk(struct raft *raft)
{
    uint64_t oldest = raft->log.write_count != 0 ? raft->log.writes[raft->log.write_first].id : 0;

    raft->stall_ticks = oldest != 0 && oldest == raft->stall_write_id ? raft->stall_ticks + 1 : 0;
    raft->stall_write_id = oldest;
}

void raft_tick(struct raft *raft)
{
    watch_disk(raft);
    if (raft->role == RAFT_LEADER) {
        leader_tick(raft);
        return;
    }
    raft->elapsed_ticks++;
    if (raft->elapsed_ticks >= raft->timeout_ticks && may_campaign(raft)) {
        raft->elapsed_ticks = 0;
        raft_campaign(raft, false);
    }
}

void raft_skip(struct raft *raft, unsigned ticks)
{
    unsigned left = raft->timeout_ticks - raft->elapsed_ticks;

    if (raft->role == RAFT_FOLLOWER && raft->leader == 0 &&
        raft->elapsed_ticks < raft->timeout_ticks)
        raft->elapsed_ticks += MIN(ticks, left - 1); /* it is a tick that begins an election */
}
