/*
 * raft_model_test.c - raft alone under a random network, random disks and random wishes; every
 * invariant of raft_cluster.h after each step, and an end in which all are healed and must agree.
 * RAFT_MODEL_SEED=N runs one seed, RAFT_MODEL_SEEDS=N that many.
 */
#include "common/base/base.h"
#include "tests/lib/raft_cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define SEEDS 2000
#define STEPS 2500

struct model {
    struct cluster cluster;
    uint64_t random;
    uint64_t next_value, next_read;
    bool without_leader;
};

static uint64_t pick(struct model *model, uint64_t below)
{
    uint64_t x = model->random;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    model->random = x;
    return (x >> 11) % below;
}

static uint64_t any_member(struct model *model)
{
    return 1 + pick(model, model->cluster.member_count);
}

/* One that thinks it leads, or anybody. */
static uint64_t a_leader(struct model *model)
{
    uint64_t first = any_member(model);

    for (uint64_t at = 0; at < model->cluster.member_count; at++) {
        uint64_t id = 1 + (first + at) % model->cluster.member_count;
        const struct raft *raft = cluster_member(&model->cluster, id)->raft;

        if (raft != NULL && raft_role(raft) == RAFT_LEADER)
            return id;
    }
    return first;
}

static void propose(struct model *model)
{
    char text[32];
    int size = snprintf(text, sizeof(text), "v%" PRIu64, model->next_value++);
    struct raft_event event = {.type = RAFT_EVENT_PROPOSE, .data = slice_of(text, (size_t)size)};

    (void)cluster_step(&model->cluster, any_member(model), &event); /* may be refused */
}

/* Any other set of voters at once, or the way out of a joint configuration. */
static void wish_other_voters(struct model *model, const struct raft_conf_state *conf,
                              struct raft_conf_change_v2 *change)
{
    uint64_t keep = any_member(model);

    if (conf->voter_outgoing_count != 0)
        return;
    change->transition = (enum raft_conf_transition)(1 + pick(model, 2));
    for (uint64_t id = 1; id <= model->cluster.member_count; id++) {
        struct raft_conf_change_single *one = &change->changes[change->change_count++];
        uint64_t what = id == keep ? 0 : pick(model, 5);

        one->node_id = id;
        one->type = what < 2   ? RAFT_CONF_ADD_NODE
                    : what < 4 ? RAFT_CONF_REMOVE_NODE
                               : RAFT_CONF_ADD_LEARNER;
    }
}

static void propose_change(struct model *model)
{
    uint64_t id = a_leader(model);
    struct cluster_member *leader = cluster_member(&model->cluster, id);
    struct buf bytes = BUF_INIT(BUF_UNLIMITED);
    struct raft_event event = {.type = RAFT_EVENT_PROPOSE};

    if (leader->raft == NULL || raft_role(leader->raft) != RAFT_LEADER)
        return;
    bool few = raft_conf_state(leader->raft)->voter_count <= 2;
    if (pick(model, 2) == 0) {
        struct raft_conf_change change = {.node_id = any_member(model)};

        change.type = few || pick(model, 2) == 0 ? RAFT_CONF_ADD_NODE : RAFT_CONF_REMOVE_NODE;
        if (!few && pick(model, 4) == 0)
            change.type = RAFT_CONF_ADD_LEARNER;
        event.entry_type = RAFT_ENTRY_CONF_CHANGE;
        must(raft_conf_change_encode(&change, &bytes));
    } else {
        struct raft_conf_change_v2 change = {0};

        wish_other_voters(model, raft_conf_state(leader->raft), &change);
        event.entry_type = RAFT_ENTRY_CONF_CHANGE_V2;
        must(raft_conf_change_v2_encode(&change, &bytes));
    }
    event.data = buf_slice(&bytes);
    (void)cluster_step(&model->cluster, id, &event); /* may be refused */
    buf_free(&bytes);
}

static void wish(struct model *model)
{
    struct raft_event event = {0};

    switch (pick(model, 6)) {
    case 0:
        event.type = RAFT_EVENT_TRANSFER;
        event.member = any_member(model);
        break;
    case 1:
        event.type = RAFT_EVENT_UNREACHABLE;
        event.member = any_member(model);
        break;
    case 2:
        propose_change(model);
        return;
    case 3:
        cluster_compact(&model->cluster, any_member(model), pick(model, 4));
        return;
    default:
        event.type = RAFT_EVENT_READ;
        event.read_id = model->next_read++;
        break;
    }
    (void)cluster_step(&model->cluster, any_member(model), &event); /* may be refused */
}

static void disturb(struct model *model)
{
    struct cluster *cluster = &model->cluster;
    uint64_t id = any_member(model);
    struct cluster_member *member = cluster_member(cluster, id);

    switch (pick(model, 8)) {
    case 0:
        if (member->raft != NULL)
            cluster_crash(cluster, id, pick(model, member->write_count + 1), pick(model, 3));
        break;
    case 1:
    case 2:
    case 3:
        for (size_t i = 0; i < cluster->member_count; i++)
            if (cluster->members[i].raft == NULL)
                cluster_restart(cluster, i + 1);
        break;
    case 4:
        cluster->cut[id][any_member(model)] = true;
        break;
    case 5:
        for (uint64_t other = 1; other <= cluster->member_count; other++)
            cluster->cut[id][other] = cluster->cut[other][id] = other != id;
        break;
    default:
        memset(cluster->cut, 0, sizeof(cluster->cut));
        break;
    }
}

static void step(struct model *model)
{
    struct cluster *cluster = &model->cluster;
    struct raft_event tick = {.type = RAFT_EVENT_TICK};
    uint64_t what = pick(model, 100);

    if (what < 50 && cluster->packet_count != 0) {
        /* mostly in order, sometimes not */
        size_t at = pick(model, 4) != 0 ? 0 : pick(model, cluster->packet_count);
        if (pick(model, 12) == 0)
            cluster_drop(cluster, at);
        else if (pick(model, 12) == 0)
            cluster_duplicate(cluster, at);
        else
            cluster_deliver(cluster, at);
    } else if (what < 75) {
        cluster_write_done(cluster, any_member(model));
    } else if (what < 86) {
        (void)cluster_step(cluster, any_member(model), &tick); /* never refused */
    } else if (what < 93) {
        propose(model);
    } else if (what < 98) {
        wish(model);
    } else {
        disturb(model);
    }
}

static const struct cluster_member *the_leader(const struct cluster *cluster)
{
    const struct cluster_member *leader = NULL;

    for (size_t i = 0; i < cluster->member_count; i++)
        if (raft_role(cluster->members[i].raft) == RAFT_LEADER &&
            (leader == NULL || raft_term(cluster->members[i].raft) > raft_term(leader->raft)))
            leader = &cluster->members[i];
    return leader;
}

/* R15: everybody up, nothing cut: one leader, and all voters and learners have the same. */
static void heal(struct model *model)
{
    struct cluster *cluster = &model->cluster;
    struct raft_event tick = {.type = RAFT_EVENT_TICK};

    memset(cluster->cut, 0, sizeof(cluster->cut));
    for (size_t i = 0; i < cluster->member_count; i++)
        if (cluster->members[i].raft == NULL)
            cluster_restart(cluster, i + 1);
    cluster_settle(cluster);
    /* Without pre-vote it is a race, and sometimes only one member can win it: give it
     * more time. */
    for (int ticks = 0;
         ticks < 20 * CLUSTER_TICKS || (ticks < 100 * CLUSTER_TICKS && the_leader(cluster) == NULL);
         ticks++) {
        for (size_t i = 0; i < cluster->member_count; i++)
            (void)cluster_step(cluster, i + 1, &tick); /* never refused */
        cluster_settle(cluster);
    }
}

static bool contains(const uint64_t *ids, size_t count, uint64_t id)
{
    for (size_t i = 0; i < count; i++)
        if (ids[i] == id)
            return true;
    return false;
}

static bool change_is_half_known(const struct cluster *cluster)
{
    for (size_t i = 1; i < cluster->member_count; i++)
        if (memcmp(raft_conf_state(cluster->members[0].raft),
                   raft_conf_state(cluster->members[i].raft), sizeof(struct raft_conf_state)) != 0)
            return true;
    return false;
}

static void check_end(struct model *model)
{
    struct cluster *cluster = &model->cluster;
    const struct cluster_member *leader = the_leader(cluster);

    if (cluster->failure[0] != '\0')
        return;
    if (leader == NULL && change_is_half_known(cluster)) {
        model->without_leader = true; /* confchange.c says why */
        return;
    }
    if (leader == NULL) {
        (void)snprintf(cluster->failure, sizeof(cluster->failure), "R15: no leader");
        return;
    }
    const struct raft_conf_state *conf = raft_conf_state(leader->raft);
    for (size_t i = 0; i < cluster->member_count; i++) {
        const struct cluster_member *member = &cluster->members[i];

        if ((contains(conf->voters, conf->voter_count, member->id) ||
             contains(conf->learners, conf->learner_count, member->id)) &&
            (member->applied != raft_last_index(leader->raft) || member->hash != leader->hash))
            (void)snprintf(cluster->failure, sizeof(cluster->failure),
                           "R15: member %" PRIu64 " has %" PRIu64 " of %" PRIu64, member->id,
                           member->applied, raft_last_index(leader->raft));
    }
}

static bool run(uint64_t seed, uint64_t *applied, uint64_t *without_leader)
{
    struct model *model = xalloc(sizeof(*model));
    struct raft_conf_state conf = {.voters = {1, 2, 3, 4, 5}};
    bool ok;

    model->random = seed * 0x9e3779b97f4a7c15U | 1;
    (void)pick(model, 2);
    conf.voter_count = 1 + pick(model, 5);
    conf.learner_count = pick(model, 6 - conf.voter_count);
    for (size_t i = 0; i < conf.learner_count; i++)
        conf.learners[i] = conf.voter_count + 1 + i;
    cluster_init(&model->cluster, 5, &conf, seed);
    for (int i = 0; i < STEPS && model->cluster.failure[0] == '\0'; i++) {
        step(model);
        if (i % 50 == 0)
            cluster_check_logs(&model->cluster);
    }
    if (model->cluster.failure[0] == '\0') {
        heal(model);
        cluster_check_logs(&model->cluster);
        check_end(model);
    }
    *applied += model->cluster.applied_max;
    *without_leader += model->without_leader;
    ok = model->cluster.failure[0] == '\0';
    if (!ok)
        print_error("seed %" PRIu64 ": %s\n", seed, model->cluster.failure);
    cluster_fini(&model->cluster);
    free(model);
    return ok;
}

static void test_invariants_hold(void **state)
{
    const char *one = getenv("RAFT_MODEL_SEED"), *many = getenv("RAFT_MODEL_SEEDS");
    uint64_t first = one != NULL ? strtoull(one, NULL, 10) : 1;
    uint64_t count = one != NULL ? 1 : many != NULL ? strtoull(many, NULL, 10) : SEEDS;
    uint64_t applied = 0, without_leader = 0, failures = 0;

    (void)state;
    for (uint64_t seed = first; seed < first + count && failures < 5; seed++)
        failures += !run(seed, &applied, &without_leader);
    print_message("raft model: %" PRIu64 " seeds, %" PRIu64 " entries applied, %" PRIu64
                  " left without a leader by a change half known\n",
                  count, applied, without_leader);
    assert_true(without_leader <= 1 + count / 500);
    assert_int_equal(failures, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_invariants_hold)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
