/* quorum.c - see quorum.h. Lists of ids are ascending, without duplicates. */
#include "common/base/base.h"
#include "etcd-server/raft/quorum.h"

size_t quorum_position(const uint64_t *ids, size_t count, uint64_t id)
{
    for (size_t i = 0; i < count; i++)
        if (ids[i] == id)
            return i;
    return count;
}

bool quorum_is_voter(const struct raft_conf_state *conf, uint64_t id)
{
    return quorum_position(conf->voters, conf->voter_count, id) < conf->voter_count ||
           quorum_position(conf->voters_outgoing, conf->voter_outgoing_count, id) <
               conf->voter_outgoing_count;
}

bool quorum_is_learner(const struct raft_conf_state *conf, uint64_t id)
{
    return quorum_position(conf->learners, conf->learner_count, id) < conf->learner_count;
}

static void take_out(uint64_t *ids, size_t *count, uint64_t id)
{
    size_t at = quorum_position(ids, *count, id);

    if (at == *count)
        return;
    memmove(ids + at, ids + at + 1, (*count - at - 1) * sizeof(*ids));
    (*count)--;
}

static bool put_in(uint64_t *ids, size_t *count, uint64_t id)
{
    size_t at = 0;

    if (quorum_position(ids, *count, id) < *count)
        return true;
    if (*count == RAFT_MEMBERS_MAX)
        return false;
    while (at < *count && ids[at] < id)
        at++;
    memmove(ids + at + 1, ids + at, (*count - at) * sizeof(*ids));
    ids[at] = id;
    (*count)++;
    return true;
}

bool quorum_change(struct raft_conf_state *conf, enum raft_conf_change_type type, uint64_t id)
{
    struct raft_conf_state next = *conf;

    switch (type) {
    case RAFT_CONF_ADD_NODE:
        take_out(next.learners, &next.learner_count, id);
        if (!put_in(next.voters, &next.voter_count, id))
            return false;
        break;
    case RAFT_CONF_ADD_LEARNER:
        take_out(next.voters, &next.voter_count, id);
        if (!put_in(next.learners, &next.learner_count, id))
            return false;
        break;
    case RAFT_CONF_REMOVE_NODE:
        take_out(next.voters, &next.voter_count, id);
        take_out(next.learners, &next.learner_count, id);
        break;
    case RAFT_CONF_UPDATE_NODE:
        break;
    }
    if (next.voter_count == 0 && conf->voter_count != 0)
        return false;
    *conf = next;
    return true;
}
