/*
 * confchange.c - changes of the configuration (Raft 4, 4.3; raft.md 8.11).
 *
 * A change counts from the moment the caller has applied its entry and said so, on every member
 * alike. One at a time: until then the leader puts an empty entry in the place of a further one.
 * What that costs: a voter that was removed or demoted by a change the others have, but do not yet
 * know to be committed, cannot stand; if they still need its vote and its log is longer, nobody can
 * be elected (etcd alike). So remove a leader by handing over first, and keep it up for a while.
 * A follower forgets a leader that was removed: what it forwards to it would be lost, while what
 * waits for a leader is given to the next one.
 * What leads out of a joint configuration is the only change taken while it is joint.
 */
#include "common/base/base.h"
#include "common/base/plants.h"
#include "etcd-server/raft/raft_internal.h"

/* A change is in the log, not applied. */
static bool is_pending(const struct raft *raft)
{
    return raft->pending_conf_index > raft->log.handed || raft->confs_unapplied != 0;
}

bool raft_conf_waits_for_apply(const struct raft *raft)
{
    if (raft->confs_unapplied != 0)
        return true;
    for (uint64_t index = raft->log.handed + 1; index <= raft->log.committed; index++)
        if (raft_log_at(&raft->log, index)->type != RAFT_ENTRY_NORMAL)
            return true;
    return false;
}

enum err_code raft_conf_may_change(const struct raft *raft, const struct raft_entry *entry,
                                   bool *may)
{
    bool joint = quorum_is_joint(&raft->conf);
    struct err err = ERR_INIT;

    if (entry->type > RAFT_ENTRY_CONF_CHANGE_V2)
        return ERR_FORMAT;
    if (entry->type == RAFT_ENTRY_CONF_CHANGE_V2) {
        struct raft_conf_change_v2 change;
        bool leave;

        if (raft_conf_change_v2_decode(entry->data, &change, &err) < 0)
            return ERR_FORMAT;
        leave = change.change_count == 0 && change.transition == RAFT_CONF_AUTO;
        *may = !is_pending(raft) && joint == leave;
    } else {
        struct raft_conf_change change;

        if (raft_conf_change_decode(entry->data, &change, &err) < 0)
            return ERR_FORMAT;
        *may = (!is_pending(raft) || PLANTED(TWO_CHANGES)) && !joint;
    }
    return ERR_OK;
}

static bool change_conf(struct raft_conf_state *conf, const struct raft_event *event)
{
    if (event->conf_change_v2 != NULL)
        return quorum_change_v2(conf, event->conf_change_v2);
    if (event->conf_change == NULL || event->conf_change->node_id == 0)
        return true;
    return quorum_change(conf, event->conf_change->type, event->conf_change->node_id);
}

static void lead_on(struct raft *raft)
{
    raft_members_follow(raft);
    (void)raft_advance_commit(raft); /* fewer voters may agree at once; new ones are probed */
    raft_reads_release(raft);
    if (raft->transferee != 0 && !quorum_is_voter(&raft->conf, raft->transferee))
        raft->transferee = 0;
}

static bool removes(const struct raft_event *event, uint64_t member)
{
    const struct raft_conf_change *change = event->conf_change;

    return change != NULL && change->type == RAFT_CONF_REMOVE_NODE && change->node_id != 0 &&
           change->node_id == member;
}

enum err_code raft_conf_applied(struct raft *raft, const struct raft_event *event)
{
    if (raft->confs_unapplied == 0)
        return ERR_OK; /* a snapshot has overtaken it */
    if (!change_conf(&raft->conf, event))
        return ERR_DAMAGED;
    raft->confs_unapplied--;
    if (raft->role == RAFT_LEADER)
        lead_on(raft);
    else if (removes(event, raft->leader))
        raft->leader = 0;
    return ERR_OK;
}

void raft_leave_joint_when_due(struct raft *raft)
{
    if (raft->role != RAFT_LEADER || !quorum_is_joint(&raft->conf) || !raft->conf.auto_leave ||
        is_pending(raft))
        return;
    raft_log_append(&raft->log, RAFT_ENTRY_CONF_CHANGE_V2, raft->hard_state.term, SLICE_EMPTY);
    raft->pending_conf_index = raft->log.last_index;
}
