/*
 * quorum.c - see quorum.h. Lists of ids are ascending, without duplicates.
 *
 *               changes > 1, or a transition is asked for
 *     SIMPLE ----------------------------------------------> JOINT
 *       voters, learners  <------------------------------      voters = incoming, voters_outgoing,
 *                               the empty change               learners, learners_next
 *
 * A voter that is to become a learner and still counts in the outgoing half waits in learners_next:
 * nobody is voter and learner at once.
 */
#include "common/base/base.h"
#include "common/base/plants.h"
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
    return quorum_position(conf->learners, conf->learner_count, id) < conf->learner_count ||
           quorum_position(conf->learners_next, conf->learner_next_count, id) <
               conf->learner_next_count;
}

bool quorum_is_joint(const struct raft_conf_state *conf)
{
    return conf->voter_outgoing_count != 0;
}

static size_t merge(uint64_t *into, size_t count, const uint64_t *ids, size_t more)
{
    for (size_t i = 0; i < more; i++) {
        size_t at = 0;

        while (at < count && into[at] < ids[i])
            at++;
        if (at < count && into[at] == ids[i])
            continue;
        must(count < QUORUM_IDS_MAX);
        memmove(into + at + 1, into + at, (count - at) * sizeof(*into));
        into[at] = ids[i];
        count++;
    }
    return count;
}

size_t quorum_members(const struct raft_conf_state *conf, uint64_t *ids)
{
    size_t count = merge(ids, 0, conf->voters, conf->voter_count);

    count = merge(ids, count, conf->voters_outgoing, conf->voter_outgoing_count);
    return merge(ids, count, conf->learners, conf->learner_count);
}

static enum quorum_result tally_half(const uint64_t *ids, size_t count, quorum_answer_fn *answer,
                                     const void *arg)
{
    size_t yes = 0, no = 0, needed = count / 2 + 1;

    if (count == 0)
        return QUORUM_WON; /* the outgoing half of a configuration that is not joint */
    for (size_t i = 0; i < count; i++) {
        enum quorum_answer given = answer(arg, ids[i]);

        yes += given == QUORUM_YES;
        no += given == QUORUM_NO;
    }
    if (yes >= needed)
        return QUORUM_WON;
    return count - no < needed ? QUORUM_LOST : QUORUM_PENDING;
}

enum quorum_result quorum_tally(const struct raft_conf_state *conf, quorum_answer_fn *answer,
                                const void *arg)
{
    enum quorum_result incoming = tally_half(conf->voters, conf->voter_count, answer, arg);
    enum quorum_result outgoing =
        tally_half(conf->voters_outgoing, conf->voter_outgoing_count, answer, arg);

    if (incoming == QUORUM_LOST || outgoing == QUORUM_LOST)
        return QUORUM_LOST;
    return incoming == QUORUM_WON && outgoing == QUORUM_WON ? QUORUM_WON : QUORUM_PENDING;
}

static uint64_t reached_by_half(const uint64_t *ids, size_t count, quorum_number_fn *number,
                                const void *arg)
{
    uint64_t sorted[RAFT_MEMBERS_MAX]; /* descending */

    if (count == 0)
        return UINT64_MAX;
    for (size_t i = 0; i < count; i++) {
        uint64_t own = number(arg, ids[i]);
        size_t at = i;

        for (; at > 0 && sorted[at - 1] < own; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = own;
    }
    return sorted[count / 2];
}

uint64_t quorum_reached(const struct raft_conf_state *conf, quorum_number_fn *number,
                        const void *arg)
{
    uint64_t incoming = reached_by_half(conf->voters, conf->voter_count, number, arg);
    uint64_t outgoing =
        reached_by_half(conf->voters_outgoing, conf->voter_outgoing_count, number, arg);

    if (PLANTED(LEARNER_COUNTS) && conf->learner_count != 0) {
        uint64_t ids[QUORUM_IDS_MAX];

        incoming = reached_by_half(ids, quorum_members(conf, ids), number, arg);
    }
    return MIN(incoming, outgoing);
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

    if (quorum_is_joint(conf))
        return false;
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

static bool change_incoming(struct raft_conf_state *next,
                            const struct raft_conf_change_single *change)
{
    uint64_t id = change->node_id;
    bool outgoing = quorum_position(next->voters_outgoing, next->voter_outgoing_count, id) <
                    next->voter_outgoing_count;

    if (change->type == RAFT_CONF_UPDATE_NODE)
        return true;
    take_out(next->voters, &next->voter_count, id);
    take_out(next->learners, &next->learner_count, id);
    take_out(next->learners_next, &next->learner_next_count, id);
    if (change->type == RAFT_CONF_ADD_NODE)
        return put_in(next->voters, &next->voter_count, id);
    if (change->type == RAFT_CONF_REMOVE_NODE)
        return true;
    return outgoing ? put_in(next->learners_next, &next->learner_next_count, id)
                    : put_in(next->learners, &next->learner_count, id);
}

static bool enter_joint(struct raft_conf_state *conf, const struct raft_conf_change_v2 *change)
{
    struct raft_conf_state next = *conf;

    if (quorum_is_joint(conf) || conf->voter_count == 0)
        return false;
    memcpy(next.voters_outgoing, conf->voters, sizeof(next.voters_outgoing));
    next.voter_outgoing_count = conf->voter_count;
    for (size_t i = 0; i < change->change_count; i++)
        if (change->changes[i].node_id != 0 && !change_incoming(&next, &change->changes[i]))
            return false;
    if (next.voter_count == 0)
        return false;
    next.auto_leave = change->transition != RAFT_CONF_JOINT_EXPLICIT;
    *conf = next;
    return true;
}

static bool leave_joint(struct raft_conf_state *conf)
{
    struct raft_conf_state next = *conf;

    if (!quorum_is_joint(conf))
        return false;
    for (size_t i = 0; i < conf->learner_next_count; i++)
        if (!put_in(next.learners, &next.learner_count, conf->learners_next[i]))
            return false;
    next.voter_outgoing_count = next.learner_next_count = 0;
    next.auto_leave = false;
    *conf = next;
    return true;
}

bool quorum_change_v2(struct raft_conf_state *conf, const struct raft_conf_change_v2 *change)
{
    if (change->change_count == 0 && change->transition == RAFT_CONF_AUTO)
        return leave_joint(conf);
    if (change->change_count > 1 || change->transition != RAFT_CONF_AUTO)
        return enter_joint(conf, change);
    if (change->changes[0].node_id == 0)
        return true;
    return quorum_change(conf, change->changes[0].type, change->changes[0].node_id);
}
