/*
 * follow.c - the follower's side of the log: entries, heartbeats and snapshots of the leader
 * (Raft 5.3, 7; raft.md 8.5, 8.10). A committed entry is never cut: a leader that wants that has
 * another history, and the member must not go on.
 */
#include "common/base/base.h"
#include "common/base/plants.h"
#include "etcd-server/raft/raft_internal.h"

/* The sender leads the present term. False: we do, so the message makes no sense. */
static bool hear_leader(struct raft *raft, uint64_t leader)
{
    if (raft->role == RAFT_LEADER)
        return false;
    if (raft->role != RAFT_FOLLOWER || raft->leader != leader)
        raft_become_follower(raft, raft->hard_state.term, leader);
    raft->elapsed_ticks = 0;
    return true;
}

static bool commit_to(struct raft *raft, uint64_t index)
{
    if (index > raft->log.last_index)
        return false;
    raft_log_commit(&raft->log, index);
    raft->hard_state.commit = raft->log.committed;
    return true;
}

static void accept(struct raft *raft, uint64_t to, uint64_t index)
{
    raft_send(raft, (struct raft_message){.type = RAFT_MSG_APP_RESP, .to = to, .index = index});
}

static bool entries_make_sense(const struct raft_message *message)
{
    uint64_t term = message->log_term;

    if (message->index > RAFT_NUMBER_MAX)
        return false;
    for (size_t i = 0; i < message->entry_count; i++) {
        const struct raft_entry *entry = &message->entries[i];

        if (entry->index != message->index + 1 + i || entry->term < term ||
            entry->term > message->term || entry->type > RAFT_ENTRY_CONF_CHANGE_V2)
            return false;
        term = entry->term;
    }
    return true;
}

/* Take what is missing or differs. Entries that are there already are not touched: an old, shorter
 * message must not shorten the log. */
static void take_entries(struct raft *raft, const struct raft_message *message)
{
    struct raft_log *log = &raft->log;
    size_t at = 0;

    while (at < message->entry_count &&
           raft_log_has(log, message->entries[at].index, message->entries[at].term))
        at++;
    if (at == message->entry_count)
        return;
    raft_log_truncate(log, message->entries[at].index - 1);
    for (; at < message->entry_count; at++)
        raft_log_append(log, message->entries[at].type, message->entries[at].term,
                        message->entries[at].data);
}

/* Every leader has what is committed (5.4.3): this one has something else there, so one of us lost
 * what it had synced. */
static bool contradicts(const struct raft_log *log, const struct raft_message *message)
{
    return message->index <= log->committed && message->index >= log->base_index &&
           raft_log_term(log, message->index) != message->log_term;
}

static void reject(struct raft *raft, const struct raft_message *message)
{
    uint64_t hint = raft_log_find_conflict(&raft->log, MIN(message->index, raft->log.last_index),
                                           message->log_term);

    raft_send(raft, (struct raft_message){.type = RAFT_MSG_APP_RESP,
                                          .to = message->from,
                                          .index = message->index,
                                          .reject = true,
                                          .reject_hint = hint,
                                          .log_term = raft_log_term(&raft->log, hint)});
}

enum err_code raft_append_received(struct raft *raft, const struct raft_message *message)
{
    uint64_t last = message->index + message->entry_count;

    if (!entries_make_sense(message))
        return ERR_FORMAT;
    if (!hear_leader(raft, message->from))
        return ERR_OK;
    if (contradicts(&raft->log, message))
        return ERR_DAMAGED;
    if (message->index < raft->log.committed) {
        accept(raft, message->from, raft->log.committed);
        return ERR_OK;
    }
    if (!raft_log_has(&raft->log, message->index, message->log_term)) {
        reject(raft, message);
        return ERR_OK;
    }
    take_entries(raft, message);
    must(commit_to(raft, MAX(raft->log.committed, MIN(message->commit, last))));
    accept(raft, message->from, last);
    return ERR_OK;
}

enum err_code raft_heartbeat_received(struct raft *raft, const struct raft_message *message)
{
    if (!hear_leader(raft, message->from))
        return ERR_OK;
    /* The leader has heard that we have it: if not, it was lost here. */
    if (!commit_to(raft, MAX(raft->log.committed, PLANTED(HEARTBEAT_COMMIT)
                                                      ? MIN(message->commit, raft->log.last_index)
                                                      : message->commit)))
        return ERR_DAMAGED;
    raft_send(raft, (struct raft_message){.type = RAFT_MSG_HEARTBEAT_RESP,
                                          .to = message->from,
                                          .context = message->context});
    return ERR_OK;
}

static bool conf_has(const struct raft_conf_state *conf, uint64_t id)
{
    return quorum_is_voter(conf, id) || quorum_is_learner(conf, id);
}

static void restore(struct raft *raft, const struct raft_snapshot *snapshot)
{
    raft_log_restore(&raft->log, snapshot->meta.index, snapshot->meta.term);
    raft->hard_state.commit = snapshot->meta.index;
    raft->conf = snapshot->meta.conf_state;
    raft->confs_unapplied = 0; /* what was handed out is overtaken */
    raft->incoming = *snapshot;
    raft->incoming_data = NULL;
    if (snapshot->data.size != 0) {
        raft->incoming_data = xalloc(snapshot->data.size);
        memcpy(raft->incoming_data, snapshot->data.data, snapshot->data.size);
    }
    raft->incoming.data = slice_of(raft->incoming_data, snapshot->data.size);
    raft->incoming_write_id = 0;
}

enum err_code raft_snapshot_received(struct raft *raft, const struct raft_message *message)
{
    const struct raft_snapshot *snapshot = message->snapshot;
    const struct raft_snapshot_meta *meta;

    if (snapshot == NULL || snapshot->meta.index == 0 || snapshot->meta.index > RAFT_NUMBER_MAX ||
        snapshot->meta.term > message->term || snapshot->meta.conf_state.voter_count == 0)
        return ERR_FORMAT;
    if (!hear_leader(raft, message->from) || raft->incoming.meta.index != 0)
        return ERR_OK; /* one at a time: the leader tries again */
    meta = &snapshot->meta;
    if (meta->index <= raft->log.committed || !conf_has(&meta->conf_state, raft->id)) {
        accept(raft, message->from, raft->log.committed);
        return ERR_OK;
    }
    if (raft_log_has(&raft->log, meta->index, meta->term)) {
        must(commit_to(raft, meta->index));
        accept(raft, message->from, raft->log.committed);
        return ERR_OK;
    }
    restore(raft, snapshot);
    accept(raft, message->from, meta->index);
    return ERR_OK;
}
