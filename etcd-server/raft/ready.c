/*
 * ready.c - what the caller must do now; and the one place where "durable before promised" holds.
 *
 * Every message passes raft_send(). One that promises something (raft.md 8.14) is tagged, when the
 * request to the log writer that covers everything known at that time has been made, with that
 * request's id, and leaves when it is done. Entries are handed out to be applied when they are
 * committed and durable here. A leader says nothing before its term is durable: after a crash it
 * could lead that term a second time, with other entries.
 */
#include "common/base/base.h"
#include "common/base/plants.h"
#include "etcd-server/raft/raft_internal.h"

static bool term_is_durable(const struct raft *raft)
{
    return raft->saved.term == raft->hard_state.term && raft->term_write_id <= raft->log.written_id;
}

static bool promises(const struct raft *raft, const struct raft_message *message)
{
    switch (message->type) {
    case RAFT_MSG_VOTE: /* "I voted for myself" */
        return true;
    case RAFT_MSG_VOTE_RESP: /* "I voted for you" */
        return !message->reject && !PLANTED(TERM_UNSAVED);
    case RAFT_MSG_APP_RESP: /* "I have everything up to here"; index 0 only tells the term */
        return !message->reject && message->index != 0 && !PLANTED(APPEND_EARLY);
    case RAFT_MSG_APP:
    case RAFT_MSG_SNAP:
    case RAFT_MSG_HEARTBEAT:
    case RAFT_MSG_TIMEOUT_NOW:
    case RAFT_MSG_READ_INDEX_RESP: /* "I lead this term" */
        return !term_is_durable(raft);
    case RAFT_MSG_PROP:
    case RAFT_MSG_HEARTBEAT_RESP:
    case RAFT_MSG_TRANSFER_LEADER:
    case RAFT_MSG_READ_INDEX:
    case RAFT_MSG_PRE_VOTE:
    case RAFT_MSG_PRE_VOTE_RESP:
    case RAFT_MSG_HUP:
    case RAFT_MSG_BEAT:
    case RAFT_MSG_UNREACHABLE:
    case RAFT_MSG_SNAP_STATUS:
    case RAFT_MSG_CHECK_QUORUM:
        return false;
    }
    return false;
}

void raft_send(struct raft *raft, struct raft_message message)
{
    bool forwarded = message.type == RAFT_MSG_PROP || message.type == RAFT_MSG_READ_INDEX;

    if (message.from == 0)
        message.from = raft->id;
    if (message.term == 0 && !forwarded)
        message.term = raft->hard_state.term;
    outbox_put(&raft->outbox, &message, promises(raft, &message));
}

/* ---- what raft_ready() gives, until it is given back ---- */

static struct raft_message *next_sending(struct raft *raft)
{
    if (raft->sending_count == raft->sending_capacity) {
        raft->sending_capacity = MAX(raft->sending_capacity * 2, 16);
        raft->sending = xrealloc(raft->sending, raft->sending_capacity * sizeof(*raft->sending));
    }
    return &raft->sending[raft->sending_count++];
}

void raft_send_entries(struct raft *raft, const struct raft_message *message, uint64_t first,
                       size_t count)
{
    struct raft_message *out = next_sending(raft);

    must(term_is_durable(raft));
    *out = *message;
    out->from = raft->id;
    out->term = raft->hard_state.term;
    out->entry_count = count;
    if (raft->sending_entry_count + count > raft->sending_entry_capacity) {
        raft->sending_entry_capacity =
            MAX(raft->sending_entry_capacity * 2, raft->sending_entry_count + count);
        raft->sending_entries = xrealloc(raft->sending_entries, raft->sending_entry_capacity *
                                                                    sizeof(*raft->sending_entries));
    }
    for (size_t i = 0; i < count; i++)
        raft->sending_entries[raft->sending_entry_count++] = *raft_log_at(&raft->log, first + i);
}

/* The array of entries has moved while it grew: say now where each message's lie. */
static void place_entries(struct raft *raft, size_t first_message)
{
    struct raft_entry *at = raft->sending_entries;

    for (size_t i = first_message; i < raft->sending_count; i++) {
        raft->sending[i].entries = at;
        at += raft->sending[i].entry_count;
    }
}

void raft_give_back(struct raft *raft)
{
    struct readonly *reads = &raft->reads;
    size_t given = raft->snapshot_members_given;

    outbox_give_back(&raft->outbox);
    raft->sending_count = raft->sending_entry_count = 0;
    if (raft->reads_given != 0) {
        reads->answer_count -= raft->reads_given;
        memmove(reads->answers, reads->answers + raft->reads_given,
                reads->answer_count * sizeof(*reads->answers));
        raft->reads_given = 0;
    }
    if (given != 0) {
        raft->snapshot_member_count -= given;
        memmove(raft->snapshot_members, raft->snapshot_members + given,
                raft->snapshot_member_count * sizeof(*raft->snapshot_members));
        raft->snapshot_members_given = 0;
    }
}

/* ---- collecting ---- */

/* A change of commit alone travels with the next entries: after a crash it is learnt again. But
 * that a configuration change is committed must not be forgotten (raft_log.h). */
static void collect_persist(struct raft *raft, struct raft_effects *effects)
{
    struct raft_log *log = &raft->log;
    bool entries = log->last_index > log->appended;
    bool snapshot = raft->incoming.meta.index != 0 && raft->incoming_write_id == 0;
    bool vote_changed =
        raft->hard_state.term != raft->saved.term || raft->hard_state.vote != raft->saved.vote;
    bool changes = log->change_last != 0 && log->change_write_id == 0;
    bool state = vote_changed || snapshot || changes ||
                 (entries && raft->hard_state.commit != raft->saved.commit);

    if (entries || state) {
        if (!raft_log_may_write(log))
            return; /* what is promised since then stays untagged */
        effects->persist_first = log->appended + 1;
        effects->persist_last = log->last_index;
        effects->persist_id = raft_log_write(log);
        effects->hard_state_changed = state;
        effects->hard_state = raft->hard_state;
        effects->must_sync = entries || vote_changed || snapshot || changes;
        raft->saved = raft->hard_state;
        if (changes) {
            log->change_write_id = effects->persist_id;
            log->change_written = log->change_last;
        }
        if (vote_changed)
            raft->term_write_id = effects->persist_id;
        if (snapshot) {
            raft->incoming_write_id = effects->persist_id;
            effects->snapshot = &raft->incoming;
        }
    }
    outbox_tag(&raft->outbox, log->given_id);
}

static void collect_messages(struct raft *raft, struct raft_effects *effects)
{
    size_t first_append;

    outbox_release(&raft->outbox, raft->log.written_id);
    for (size_t i = 0; i < raft->outbox.given_count; i++)
        *next_sending(raft) = raft->outbox.given[i].message;
    first_append = raft->sending_count;
    if (raft->role == RAFT_LEADER && term_is_durable(raft))
        raft_collect_appends(raft);
    place_entries(raft, first_append);
    effects->messages = raft->sending;
    effects->message_count = raft->sending_count;
}

static void collect_apply(struct raft *raft, struct raft_effects *effects)
{
    struct raft_log *log = &raft->log;
    uint64_t applicable =
        PLANTED(APPLY_EARLY) ? log->committed : MIN(raft_log_commit_told(log), log->stable);

    if (applicable <= log->handed || raft->incoming.meta.index != 0)
        return;
    effects->apply_first = log->handed + 1;
    effects->apply_last = applicable;
    for (uint64_t index = effects->apply_first; index <= applicable; index++)
        raft->confs_unapplied += raft_log_at(log, index)->type != RAFT_ENTRY_NORMAL;
    log->handed = applicable;
}

static void collect_answers(struct raft *raft, struct raft_effects *effects)
{
    effects->reads = raft->reads.answers;
    effects->read_count = raft->reads_given = raft->reads.answer_count;
    effects->snapshot_members = raft->snapshot_members;
    effects->snapshot_member_count = raft->snapshot_members_given = raft->snapshot_member_count;
}

static bool standing_changed(struct raft *raft)
{
    struct raft_standing now = {raft->role, raft->leader,
                                raft->leader != 0 ? raft->hard_state.term : 0};
    bool changed = now.role != raft->told.role || now.leader != raft->told.leader ||
                   now.term != raft->told.term;

    raft->told = now;
    return changed;
}

bool raft_ready(struct raft *raft, struct raft_effects *effects)
{
    *effects = (struct raft_effects){.persist_first = 1, .apply_first = 1};
    raft_give_back(raft);
    raft_leave_joint_when_due(raft);
    if (raft->role == RAFT_LEADER && raft->reads.round_due)
        raft_broadcast_heartbeat(raft);
    collect_persist(raft, effects);
    collect_messages(raft, effects);
    collect_apply(raft, effects);
    collect_answers(raft, effects);
    effects->leader_changed = standing_changed(raft);
    return effects->persist_id != 0 || effects->message_count != 0 ||
           effects->apply_last >= effects->apply_first || effects->read_count != 0 ||
           effects->snapshot_member_count != 0 || effects->leader_changed;
}
