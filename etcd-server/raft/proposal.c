/* proposal.c - what enters the log, and handing leadership over (Raft 3.10; raft.md 8.9, 8.12). */
#include "common/base/base.h"
#include "etcd-server/raft/raft_internal.h"

static enum err_code forward(struct raft *raft, const struct raft_entry *entries, size_t count,
                             uint64_t from)
{
    struct raft_message message = {.type = RAFT_MSG_PROP, .to = raft->leader, .entry_count = count};

    if (raft->leader == 0 || raft->leader == from)
        return ERR_NO_LEADER;
    message.entries = (struct raft_entry *)(uintptr_t)entries; /* it is copied */
    raft_send(raft, message);
    return ERR_OK;
}

static enum err_code may_propose(const struct raft *raft)
{
    if (!quorum_is_voter(&raft->conf, raft->id))
        return ERR_NO_LEADER; /* removed or demoted, and leading only until the others know */
    if (raft->transferee != 0)
        return ERR_LEADER_CHANGED;
    if (raft->log.uncommitted_bytes > RAFT_UNCOMMITTED_MAX_BYTES)
        return ERR_REQUEST_TOO_MANY_REQUESTS;
    return ERR_OK;
}

static void append(struct raft *raft, const struct raft_entry *entry, bool change, bool may)
{
    struct raft_log *log = &raft->log;

    if (change && !may) {
        raft_log_append(log, RAFT_ENTRY_NORMAL, raft->hard_state.term, SLICE_EMPTY);
        return;
    }
    if (change)
        raft->pending_conf_index = log->last_index + 1;
    raft_log_append(log, entry->type, raft->hard_state.term, entry->data);
}

enum err_code raft_propose(struct raft *raft, const struct raft_entry *entries, size_t count,
                           uint64_t from)
{
    enum err_code code;
    bool may = false;

    if (raft->role != RAFT_LEADER)
        return forward(raft, entries, count, from);
    code = may_propose(raft);
    for (size_t i = 0; i < count && code == ERR_OK; i++)
        if (entries[i].data.size > WAL_ENTRY_MAX_BYTES) /* the log would stop */
            code = ERR_REQUEST_TOO_LARGE;
        else if (entries[i].type != RAFT_ENTRY_NORMAL)
            code = raft_conf_may_change(raft, &entries[i], &may);
    if (code != ERR_OK)
        return code;
    for (size_t i = 0; i < count; i++) {
        bool change = entries[i].type != RAFT_ENTRY_NORMAL;

        if (change)
            code = raft_conf_may_change(raft, &entries[i], &may); /* the one before counts */
        append(raft, &entries[i], change, may);
    }
    return code;
}

void raft_hand_over(struct raft *raft)
{
    const struct progress *member = raft_member(raft, raft->transferee);

    if (member != NULL && member->match == raft->log.last_index)
        raft_send(raft, (struct raft_message){.type = RAFT_MSG_TIMEOUT_NOW, .to = member->id});
}

enum err_code raft_transfer(struct raft *raft, uint64_t member)
{
    if (raft->role != RAFT_LEADER) {
        if (raft->leader == 0)
            return ERR_NO_LEADER;
        raft_send(raft, (struct raft_message){
                            .type = RAFT_MSG_TRANSFER_LEADER, .to = raft->leader, .from = member});
        return ERR_OK;
    }
    if (!quorum_is_voter(&raft->conf, member))
        return ERR_BAD_LEADER_TRANSFEREE;
    if (member == raft->id || member == raft->transferee)
        return ERR_OK;
    raft->transferee = member;
    raft->elapsed_ticks = 0; /* it has E ticks */
    raft_member(raft, member)->send_empty = true;
    raft_hand_over(raft);
    return ERR_OK;
}
