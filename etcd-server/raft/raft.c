/*
 * raft.c - see raft.h: construction, the events, and the rules of terms; raft_internal.h lists the
 * other parts.
 *
 *                     timeout                quorum of pre-votes         quorum of votes
 *  FOLLOWER -------------------> PRE_CANDIDATE -----------> CANDIDATE ----------> LEADER
 *      ^  ^                           |   |                     |                    |
 *      |  +---- lost, a leader -------+   +-- lost, a leader ---+                    |
 *      +---------- a higher term, no quorum heard for E ticks, disk stalled ---------+
 *
 * A higher term makes a follower of everybody. Without pre-vote, and when leadership is handed
 * over, FOLLOWER goes to CANDIDATE at once. A sole voter passes through all of them in one step.
 */
#include "common/base/base.h"
#include "etcd-server/raft/raft_internal.h"

/* Seeds are often small and close to each other; ids too. */
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15U; /* splitmix64 */
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
}

static void load_log(struct raft *raft, const struct raft_config *config)
{
    struct raft_log *log = &raft->log;

    raft_log_init(log, config->snapshot.index, config->snapshot.term);
    for (size_t i = 0; i < config->entry_count; i++) {
        must(config->entries[i].index == log->last_index + 1);
        raft_log_append(log, config->entries[i].type, config->entries[i].term,
                        config->entries[i].data);
    }
    log->stable = log->appended = log->last_index;
    raft_log_commit(log, MIN(config->hard_state.commit, log->last_index));
    log->change_first = log->change_last = 0; /* the disk says so */
    must(config->applied >= config->snapshot.index && config->applied <= log->committed);
    log->handed = config->applied;
}

struct raft *raft_new(const struct raft_config *config)
{
    struct raft *raft = xalloc(sizeof(*raft));

    must(config->id != 0 && config->election_ticks != 0);
    raft->id = config->id;
    raft->election_ticks = config->election_ticks;
    raft->heartbeat_ticks = MAX(config->heartbeat_ticks, 1);
    raft->pre_vote = config->pre_vote;
    raft->random = mix(mix(config->seed) ^ config->id) | 1;
    raft->next_context = mix(raft->random);
    raft->hard_state = config->hard_state;
    raft->conf = config->snapshot.conf_state;
    load_log(raft, config);
    raft->hard_state.commit = raft->log.committed;
    raft->saved = raft->hard_state;
    raft_become_follower(raft, raft->hard_state.term, 0);
    return raft;
}

void raft_free(struct raft *raft)
{
    if (raft == NULL)
        return;
    raft_members_drop(raft);
    raft_log_fini(&raft->log);
    readonly_fini(&raft->reads);
    outbox_fini(&raft->outbox);
    free(raft->incoming_data);
    free(raft->sending);
    free(raft->sending_entries);
    free(raft);
}

static bool is_answer(enum raft_message_type type)
{
    return type == RAFT_MSG_APP_RESP || type == RAFT_MSG_VOTE_RESP ||
           type == RAFT_MSG_HEARTBEAT_RESP || type == RAFT_MSG_PRE_VOTE_RESP;
}

static bool is_known(const struct raft *raft, uint64_t id)
{
    return quorum_is_voter(&raft->conf, id) || quorum_is_learner(&raft->conf, id);
}

/* raft.md 7.4. Only what is forwarded on behalf of a caller has no term. */
static bool is_acceptable(const struct raft *raft, const struct raft_message *message)
{
    bool forwarded = message->type == RAFT_MSG_PROP || message->type == RAFT_MSG_READ_INDEX;

    if (message->to != raft->id || message->from == 0 || message->term > RAFT_NUMBER_MAX)
        return false;
    if (message->from == raft->id && message->type != RAFT_MSG_TRANSFER_LEADER)
        return false;
    if (is_answer(message->type) && !is_known(raft, message->from))
        return false;
    return forwarded || message->term != 0;
}

/* raft.md 8.2. False: the message goes no further. */
static bool newer_term(struct raft *raft, const struct raft_message *message)
{
    bool from_leader = message->type == RAFT_MSG_APP || message->type == RAFT_MSG_HEARTBEAT ||
                       message->type == RAFT_MSG_SNAP;

    if (message->type == RAFT_MSG_VOTE || message->type == RAFT_MSG_PRE_VOTE) {
        bool transfer = slice_equal(message->context, SLICE_LITERAL(RAFT_TRANSFER_CONTEXT));

        if (raft_lease_holds(raft) && !transfer)
            return false;
    }
    if (message->type == RAFT_MSG_PRE_VOTE ||
        (message->type == RAFT_MSG_PRE_VOTE_RESP && !message->reject))
        return true;
    raft_become_follower(raft, message->term, from_leader ? message->from : 0);
    return true;
}

static void older_term(struct raft *raft, const struct raft_message *message)
{
    /* A leader that was cut off learns of the term; a member stuck in a higher one is heard. */
    if (message->type == RAFT_MSG_APP || message->type == RAFT_MSG_HEARTBEAT)
        raft_send(raft, (struct raft_message){.type = RAFT_MSG_APP_RESP, .to = message->from});
    if (message->type == RAFT_MSG_PRE_VOTE)
        raft_send(raft, (struct raft_message){
                            .type = RAFT_MSG_PRE_VOTE_RESP, .to = message->from, .reject = true});
}

static enum err_code take_message(struct raft *raft, const struct raft_message *message)
{
    switch (message->type) {
    case RAFT_MSG_PROP:
        return raft_propose(raft, message->entries, message->entry_count, message->from);
    case RAFT_MSG_APP:
        return raft_append_received(raft, message);
    case RAFT_MSG_APP_RESP:
        raft_append_answered(raft, message);
        return ERR_OK;
    case RAFT_MSG_VOTE:
    case RAFT_MSG_PRE_VOTE:
        raft_vote_asked(raft, message);
        return ERR_OK;
    case RAFT_MSG_VOTE_RESP:
    case RAFT_MSG_PRE_VOTE_RESP:
        raft_vote_answered(raft, message);
        return ERR_OK;
    case RAFT_MSG_SNAP:
        return raft_snapshot_received(raft, message);
    case RAFT_MSG_HEARTBEAT:
        return raft_heartbeat_received(raft, message);
    case RAFT_MSG_HEARTBEAT_RESP:
        raft_heartbeat_answered(raft, message);
        return ERR_OK;
    case RAFT_MSG_TRANSFER_LEADER:
        return raft_transfer(raft, message->from);
    case RAFT_MSG_TIMEOUT_NOW:
        if (raft->role == RAFT_FOLLOWER)
            raft_campaign(raft, true);
        return ERR_OK;
    case RAFT_MSG_READ_INDEX:
        raft_read_forwarded(raft, message);
        return ERR_OK;
    case RAFT_MSG_READ_INDEX_RESP:
        raft_read_answered(raft, message);
        return ERR_OK;
    case RAFT_MSG_HUP: /* these never come from outside */
    case RAFT_MSG_BEAT:
    case RAFT_MSG_UNREACHABLE:
    case RAFT_MSG_SNAP_STATUS:
    case RAFT_MSG_CHECK_QUORUM:
        return ERR_OK;
    }
    return ERR_OK;
}

static enum err_code step_message(struct raft *raft, const struct raft_message *message)
{
    enum err_code code;

    if (!is_acceptable(raft, message))
        return ERR_OK;
    if (message->term > raft->hard_state.term) {
        if (!newer_term(raft, message))
            return ERR_OK;
    } else if (message->term != 0 && message->term < raft->hard_state.term) {
        older_term(raft, message);
        return ERR_OK;
    }
    code = take_message(raft, message);
    if (message->type == RAFT_MSG_PROP)
        return code; /* the caller may keep it for the next leader */
    /* A refusal is for the caller; another member learns it by its own time-out. */
    return code == ERR_DAMAGED || code == ERR_FORMAT ? code : ERR_OK;
}

/* The log says for good that configuration changes are committed: go on behind them. */
static void changes_written(struct raft *raft)
{
    struct raft_log *log = &raft->log;
    bool more = log->change_last > log->change_written; /* committed since that request was made */

    log->change_first = more ? log->change_written + 1 : 0;
    log->change_last = more ? log->change_last : 0;
    log->change_write_id = 0;
    for (size_t i = 0; i < raft->member_count; i++)
        raft->members[i]->send_empty = true;
}

static void persisted(struct raft *raft, uint64_t persist_id)
{
    raft_log_written(&raft->log, persist_id);
    if (raft->log.change_write_id != 0 && raft->log.change_write_id <= raft->log.written_id)
        changes_written(raft);
    if (raft->incoming_write_id != 0 && raft->incoming_write_id <= raft->log.written_id) {
        free(raft->incoming_data);
        raft->incoming_data = NULL;
        raft->incoming = (struct raft_snapshot){0};
        raft->incoming_write_id = 0;
    }
    if (raft->role == RAFT_LEADER)
        (void)raft_advance_commit(raft); /* nothing new is an answer too */
}

enum err_code raft_step(struct raft *raft, const struct raft_event *event)
{
    struct raft_entry entry = {.type = event->entry_type, .data = event->data};

    raft_give_back(raft);
    switch (event->type) {
    case RAFT_EVENT_TICK:
        raft_tick(raft);
        return ERR_OK;
    case RAFT_EVENT_CAMPAIGN:
        raft_campaign(raft, false);
        return ERR_OK;
    case RAFT_EVENT_SKIP:
        raft_skip(raft, event->ticks);
        return ERR_OK;
    case RAFT_EVENT_MESSAGE:
        return step_message(raft, event->message);
    case RAFT_EVENT_PROPOSE:
        return raft_propose(raft, &entry, 1, raft->id);
    case RAFT_EVENT_PERSISTED:
        persisted(raft, event->persist_id);
        return ERR_OK;
    case RAFT_EVENT_READ:
        return raft_read_asked(raft, event->read_id);
    case RAFT_EVENT_CONF_APPLIED:
        return raft_conf_applied(raft, event);
    case RAFT_EVENT_COMPACT:
        raft_log_compact(&raft->log, event->index);
        return ERR_OK;
    case RAFT_EVENT_TRANSFER:
        return raft_transfer(raft, event->member);
    case RAFT_EVENT_UNREACHABLE:
        raft_unreachable(raft, event->member);
        return ERR_OK;
    case RAFT_EVENT_SNAPSHOT_SENT:
        raft_snapshot_sent(raft, event->member, event->ok ? event->index : 0);
        return ERR_OK;
    }
    return ERR_OK;
}

struct raft_message raft_snapshot_message(const struct raft *raft, uint64_t member)
{
    return (struct raft_message){
        .type = RAFT_MSG_SNAP, .to = member, .from = raft->id, .term = raft->hard_state.term};
}

const struct raft_entry *raft_entry_at(const struct raft *raft, uint64_t index)
{
    return raft_log_at(&raft->log, index);
}

uint64_t raft_first_index(const struct raft *raft)
{
    return raft->log.base_index + 1;
}

uint64_t raft_last_index(const struct raft *raft)
{
    return raft->log.last_index;
}

size_t raft_log_bytes(const struct raft *raft)
{
    return raft->log.bytes;
}

uint64_t raft_term_at(const struct raft *raft, uint64_t index)
{
    return raft_log_term(&raft->log, index);
}

uint64_t raft_term(const struct raft *raft)
{
    return raft->hard_state.term;
}

uint64_t raft_leader(const struct raft *raft)
{
    return raft->leader;
}

enum raft_role raft_role(const struct raft *raft)
{
    return raft->role;
}

uint64_t raft_commit_index(const struct raft *raft)
{
    return raft->log.committed;
}

struct raft_hard_state raft_hard_state(const struct raft *raft)
{
    return raft->hard_state;
}

struct raft_hard_state raft_saved_state(const struct raft *raft)
{
    return raft->saved;
}

const struct raft_conf_state *raft_conf_state(const struct raft *raft)
{
    return &raft->conf;
}

uint64_t raft_transferee(const struct raft *raft)
{
    return raft->transferee;
}

bool raft_peer(const struct raft *raft, uint64_t member, struct raft_peer *peer)
{
    const struct progress *progress = raft_member(raft, member);

    if (progress == NULL)
        return false;
    *peer = (struct raft_peer){.match = progress->match,
                               .next = progress->next,
                               .probing = progress->state == PROGRESS_PROBE,
                               .recent_active = progress->recent_active,
                               .snapshot = progress->state == PROGRESS_SNAPSHOT};
    return true;
}

bool raft_snapshot_pending(const struct raft *raft)
{
    for (size_t i = 0; i < raft->member_count; i++)
        if (raft->members[i]->state == PROGRESS_SNAPSHOT)
            return true;
    return false;
}
