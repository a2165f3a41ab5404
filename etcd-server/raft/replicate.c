/*
 * replicate.c - the leader's side of the log (Raft 5.3, 5.4.2; raft.md 8.4, 8.6, 8.7).
 *
 * Entries are not sent when they are proposed but when effects are collected: everything that came
 * in one turn of the caller goes out together, at the same time as it goes to the own log writer.
 * The own copy counts for a commit only when it is durable here.
 */
#include "common/base/base.h"
#include "common/base/plants.h"
#include "etcd-server/raft/raft_internal.h"

struct progress *raft_member(const struct raft *raft, uint64_t id)
{
    for (size_t i = 0; i < raft->member_count; i++)
        if (raft->members[i]->id == id)
            return raft->members[i];
    return NULL;
}

void raft_members_drop(struct raft *raft)
{
    for (size_t i = 0; i < raft->member_count; i++)
        progress_free(raft->members[i]);
    raft->member_count = 0;
    raft->snapshot_member_count = raft->snapshot_members_given = 0;
}

/* Own match = what is durable here. */
static void update_own(struct raft *raft)
{
    struct progress *own = raft_member(raft, raft->id);

    if (own == NULL)
        return;
    own->match = PLANTED(APPLY_EARLY) ? raft->log.last_index : raft->log.stable;
    own->next = own->match + 1;
    own->recent_active = true;
}

void raft_members_follow(struct raft *raft)
{
    uint64_t ids[QUORUM_IDS_MAX];
    struct progress *next[QUORUM_IDS_MAX];
    size_t count = quorum_members(&raft->conf, ids);
    bool first = raft->member_count == 0;
    uint64_t last = raft->log.last_index;

    for (size_t i = 0; i < count; i++) {
        next[i] = raft_member(raft, ids[i]);
        if (next[i] != NULL)
            continue;
        next[i] = progress_new(ids[i], 0, first ? last + 1 : MAX(last, 1));
        next[i]->recent_active = !first; /* a new one is not judged before it could answer */
        next[i]->send_empty = true;
    }
    for (size_t i = 0; i < raft->member_count; i++)
        if (quorum_position(ids, count, raft->members[i]->id) == count)
            progress_free(raft->members[i]);
    memcpy(raft->members, next, count * sizeof(*next));
    raft->member_count = count;
    update_own(raft);
}

static uint64_t match_of(const void *arg, uint64_t id)
{
    const struct progress *member = raft_member(arg, id);

    return member != NULL ? member->match : 0;
}

bool raft_advance_commit(struct raft *raft)
{
    uint64_t index;

    update_own(raft);
    index = quorum_reached(&raft->conf, match_of, raft);
    if (index > raft->log.last_index || index <= raft->log.committed ||
        (raft_log_term(&raft->log, index) != raft->hard_state.term && /* 5.4.2 */
         !PLANTED(COMMIT_OLD_TERM)))
        return false;
    raft_log_commit(&raft->log, index);
    raft->hard_state.commit = index;
    for (size_t i = 0; i < raft->member_count; i++)
        raft->members[i]->send_empty = true;
    raft_reads_release(raft);
    return true;
}

static void want_snapshot(struct raft *raft, struct progress *member)
{
    if (!member->recent_active)
        return; /* it could not take it now */
    progress_snapshot(member);
    must(raft->snapshot_member_count < QUORUM_IDS_MAX);
    raft->snapshot_members[raft->snapshot_member_count++] = member->id;
}

/* How many entries from `first` on fit into one message; at least one if there is one. */
static size_t entries_that_fit(const struct raft *raft, uint64_t first, size_t *bytes)
{
    size_t count = 0;

    *bytes = 0;
    for (uint64_t index = first; index <= raft->log.last_index; index++) {
        size_t one = raft_entry_encoded_bytes(raft_log_at(&raft->log, index));

        if (count != 0 && *bytes + one > RAFT_APPEND_MAX_BYTES)
            break;
        *bytes += one;
        count++;
    }
    return count;
}

/* Send one MsgApp if one is due. False: nothing more for now. */
static bool append_to(struct raft *raft, struct progress *member)
{
    uint64_t previous = member->next - 1;
    struct raft_message message = {.type = RAFT_MSG_APP, .to = member->id};
    size_t count, bytes;

    if (progress_paused(member) || (member->next > raft->log.last_index && !member->send_empty))
        return false;
    if (previous < raft->log.base_index) {
        want_snapshot(raft, member);
        return false;
    }
    message.index = previous;
    message.log_term = raft_log_term(&raft->log, previous);
    message.commit = raft_log_commit_told(&raft->log);
    count = entries_that_fit(raft, member->next, &bytes);
    raft_send_entries(raft, &message, member->next, count);
    member->send_empty = false;
    if (count != 0)
        progress_sent(member, previous + count, bytes);
    return true;
}

void raft_collect_appends(struct raft *raft)
{
    for (size_t i = 0; i < raft->member_count; i++) {
        struct progress *member = raft->members[i];

        if (member->id == raft->id)
            continue;
        while (append_to(raft, member))
            ;
        member->send_empty = false; /* when it is paused, its answer asks again */
    }
}

void raft_broadcast_heartbeat(struct raft *raft)
{
    struct raft_message message = {.type = RAFT_MSG_HEARTBEAT, .context = raft_read_context(raft)};

    for (size_t i = 0; i < raft->member_count; i++) {
        const struct progress *member = raft->members[i];

        if (member->id == raft->id)
            continue;
        message.to = member->id;
        message.commit = PLANTED(HEARTBEAT_COMMIT)
                             ? raft_log_commit_told(&raft->log)
                             : MIN(member->match, raft_log_commit_told(&raft->log));
        raft_send(raft, message);
    }
    raft->reads.round_due = false;
}

static void append_rejected(struct raft *raft, struct progress *member,
                            const struct raft_message *message)
{
    uint64_t hint = message->reject_hint;

    if (message->log_term > 0)
        hint = raft_log_find_conflict(&raft->log, hint, message->log_term);
    if (progress_rejected(member, message->index, MIN(hint, raft->log.last_index)))
        member->send_empty = true;
}

void raft_append_answered(struct raft *raft, const struct raft_message *message)
{
    struct progress *member = raft_member(raft, message->from);
    bool paused;

    if (raft->role != RAFT_LEADER || member == NULL)
        return;
    member->recent_active = true;
    if (message->reject) {
        append_rejected(raft, member, message);
        return;
    }
    if (message->index > raft->log.last_index)
        return; /* it cannot have what we never sent */
    paused = progress_paused(member);
    if (!progress_accepted(member, message->index))
        return;
    if (member->state == PROGRESS_SNAPSHOT && member->match >= raft->log.base_index)
        progress_replicate(member); /* the log goes on from there */
    if (!raft_advance_commit(raft) && paused)
        member->send_empty = true;
    if (raft->transferee == member->id)
        raft_hand_over(raft);
}

void raft_heartbeat_answered(struct raft *raft, const struct raft_message *message)
{
    struct progress *member = raft_member(raft, message->from);

    if (raft->role != RAFT_LEADER || member == NULL)
        return;
    progress_heard(member);
    if (member->match < raft->log.last_index)
        member->send_empty = true; /* if something was lost on the way, the answer tells */
    if (message->context.size != 0)
        raft_read_acked(raft, member, message->context);
}

void raft_unreachable(struct raft *raft, uint64_t id)
{
    struct progress *member = raft_member(raft, id);

    if (member != NULL && member->id != raft->id && member->state == PROGRESS_REPLICATE)
        progress_probe(member);
}

void raft_snapshot_sent(struct raft *raft, uint64_t id, uint64_t index)
{
    struct progress *member = raft_member(raft, id);

    if (member != NULL && member->state == PROGRESS_SNAPSHOT)
        progress_snapshot_done(member, MIN(index, raft->log.last_index));
}
