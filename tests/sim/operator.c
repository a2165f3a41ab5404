/*
 * operator.c - who runs the cluster: adds members, starts them when the log says that they belong
 * to it, promotes and removes them, and moves the lead.
 */
#include "tests/sim/sim.h"

#include <stdio.h>

#define LEARNERS_MAX 1

static char *text_in(struct call *call, const char *text)
{
    char *copy = arena_zalloc(&call->arena, strlen(text) + 1);

    must(copy != NULL);
    memcpy(copy, text, strlen(text));
    return copy;
}

static struct node *some_node(struct sim *sim)
{
    struct node *node = sim->nodes[sim_draw(sim, sim->node_count)];

    return node_acts(node) ? node : NULL;
}

static struct node *leader(struct sim *sim)
{
    for (size_t i = 0; i < sim->node_count; i++)
        if (node_acts(sim->nodes[i]) &&
            raft_role(engine_raft(sim->nodes[i]->engine)) == RAFT_LEADER)
            return sim->nodes[i];
    return NULL;
}

/* The next member to be made gets its URL from its number: see node_new(). */
static void add(struct sim *sim, struct node *node)
{
    struct sim_call *made;
    struct call *call;
    Etcdserverpb__MemberAddRequest *request;
    char url[32];

    if (sim->node_count == SIM_NODES_MAX || node->model.roster.count > sim->options.members + 1)
        return;
    (void)snprintf(url, sizeof(url), "http://10.0.0.%zu:2380", sim->node_count + 1);
    made = door_call(node, RPC_Cluster_MemberAdd);
    call = door_inner(made);
    request = (void *)call->request;
    request->peerurls = arena_zalloc(&call->arena, sizeof(*request->peerurls));
    must(request->peerurls != NULL);
    request->peerurls[0] = text_in(call, url);
    request->n_peerurls = 1;
    request->islearner = sim_chance(sim, 600);
    door_start(made);
}

static void remove_one(struct sim *sim, struct node *node)
{
    const struct model *model = &node->model;
    uint64_t id = model->roster.members[sim_draw(sim, model->roster.count)].id;
    struct sim_call *made;

    if (model->roster.count < 2 || model->roster.count < (sim->options.members + 1) / 2 ||
        sim_chance(sim, 300))
        return;
    if (model->roster.count == 2 && id == raft_leader(engine_raft(node->engine)))
        return; /* it should hand over first */
    made = door_call(node, RPC_Cluster_MemberRemove);
    ((Etcdserverpb__MemberRemoveRequest *)(void *)door_inner(made)->request)->id = id;
    door_start(made);
}

static void promote(struct sim *sim, struct node *node)
{
    const struct model *model = &node->model;
    struct sim_call *made;
    uint64_t id = model->roster.members[sim_draw(sim, model->roster.count)].id;

    for (size_t i = 0; i < model->roster.count; i++)
        if (model->roster.members[i].learner)
            id = model->roster.members[i].id;
    made = door_call(node, RPC_Cluster_MemberPromote);
    ((Etcdserverpb__MemberPromoteRequest *)(void *)door_inner(made)->request)->id = id;
    door_start(made);
}

static void move_lead(struct sim *sim, struct node *node)
{
    const struct model *model = &node->model;
    struct sim_call *made = door_call(node, RPC_Maintenance_MoveLeader);

    ((Etcdserverpb__MoveLeaderRequest *)(void *)door_inner(made)->request)->targetid =
        model->roster.members[sim_draw(sim, model->roster.count)].id;
    door_start(made);
}

void operator_act(struct sim *sim)
{
    struct node *node = sim_chance(sim, 600) ? leader(sim) : some_node(sim);

    if (node == NULL || node->model.roster.count == 0)
        return;
    switch (sim_draw(sim, 6)) {
    case 0:
        add(sim, node);
        break;
    case 1:
        remove_one(sim, node);
        break;
    case 2:
    case 3:
        promote(sim, node);
        break;
    default:
        move_lead(sim, node);
        break;
    }
    if (sim_chance(sim, 200)) /* and in a hurry */
        operator_act(sim);
    else
        node_turn(node);
}

/*
 * Told once per member and life of a model: the first time it is started. The first entries name
 * those that the cluster began with, of which one may not have come up yet and have no id.
 */
void operator_added(struct sim *sim, uint64_t id, uint64_t index)
{
    struct node *node;

    if (sim->options.members == 1 || truth_node(sim, id) != NULL || id == 0 ||
        index <= sim->options.members)
        return;
    if (sim->node_count == SIM_NODES_MAX)
        return;
    node = node_new(sim);
    node->id = id;
    node->join = (struct boot_join){id, sim->cluster_id};
    sim->changes++;
    sim_trace(sim, "new member", node->number, id);
    node_start_later(node);
}
