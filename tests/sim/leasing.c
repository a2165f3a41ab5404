/*
 * leasing.c - clients that renew leases: a renewal that is answered is one of a lease that lives,
 * and the server does not end a lease before the time it gave a client (api.md 8).
 */
#include "tests/sim/sim.h"

#define ARENA_BYTES (1 * MIB)
#define LINGER_MS 100
#define TROUBLE_MS 30000 /* renewals may time out so long after something was wrong */

struct sim_keeper {
    struct call call; /* first */
    struct sim_keeper *next;
    struct sim *sim;
    struct node *node;
    uint64_t asked_ms;
    int64_t id;
    bool asking; /* the message is on its way in: rights are asked for now */
    bool ended, refused;
};

/* The leader renewed it after the client asked; its clock may be faster than true time. */
void leasing_promised(struct sim *sim, int64_t id, int64_t ttl_s, uint64_t asked_ms)
{
    uint64_t fast = 1000 + sim->options.clock_skew_1000, until_ms;

    if (id <= 0 || id >= SIM_LEASES || asked_ms <= sim->lease_ended_ms[id])
        return; /* none of ours, or of the one of this id that has ended */
    until_ms = asked_ms + (uint64_t)ttl_s * 1000 * 1000 / fast;
    sim->lease_until_ms[id] = MAX(sim->lease_until_ms[id], until_ms - (fast != 1000 ? 2 : 0));
    sim_trace(sim, "promised", (uint64_t)id, sim->lease_until_ms[id]);
}

static bool is_ours(int64_t id)
{
    return id > 0 && id < SIM_LEASES;
}

void leasing_asked(struct sim *sim, int64_t id)
{
    if (is_ours(id))
        sim->lease_revokes[id]++;
}

void leasing_refused(struct sim *sim, int64_t id)
{
    if (is_ours(id) && sim->lease_revokes[id] != 0)
        sim->lease_revokes[id]--;
}

void leasing_ended(struct sim *sim, int64_t id)
{
    if (!is_ours(id))
        return;
    sim->lease_until_ms[id] = 0;
    sim->lease_ended_ms[id] = sim->now_ms;
}

bool leasing_is_early(struct sim *sim, int64_t id)
{
    if (!is_ours(id))
        return false;
    if (sim->lease_revokes[id] != 0) { /* it may well be a client's */
        sim->lease_revokes[id]--;
        return false;
    }
    return sim->now_ms < sim->lease_until_ms[id];
}

static void keeper_free(struct sim *sim, void *arg)
{
    struct sim_keeper *keeper = arg, **at = &sim->keepers;

    while (*at != keeper)
        at = &(*at)->next;
    *at = keeper->next;
    arena_free(&keeper->call.arena);
    free(keeper);
}

static void free_later(struct sim_keeper *keeper)
{
    keeper->ended = true;
    sim_after(keeper->sim, keeper->node, LINGER_MS, keeper_free, keeper)->drop = keeper_free;
}

/* May he renew it, now? */
static enum err_code rights_of(struct sim_keeper *keeper)
{
    node_advance(keeper->node);
    return rights_check_renewal(&keeper->node->model, keeper->call.token, keeper->id);
}

static void finish(struct call *call, enum err_code code, const char *text)
{
    struct sim_keeper *keeper = CONTAINER_OF(call, struct sim_keeper, call);
    struct sim *sim = keeper->sim;

    (void)text;
    sim_trace(sim, "renewals end", (uint64_t)code, sim->now_ms);
    if (login_matters(code))
        login_check_code(keeper->node, keeper->call.token, "a renewal", code, rights_of(keeper));
    else
        sim_check(sim,
                  code == ERR_OK || code == ERR_NOT_SUPPORTED_FOR_LEARNER || keeper->node->dying ||
                      keeper->node->stopped || sim->now_ms < sim->trouble_ms + TROUBLE_MS,
                  "a renewal fails: %s, though nothing was wrong", err_text(code));
    sim_check(sim, keeper->asking || !login_matters(code), "a renewal that waits is refused: %s",
              err_text(code));
    keeper->refused = code == ERR_NOT_SUPPORTED_FOR_LEARNER;
    free_later(keeper);
}

static void hang_up(struct sim *sim, void *arg)
{
    struct sim_keeper *keeper = arg;

    (void)sim;
    if (!keeper->ended)
        keeper->call.message(&keeper->call, NULL);
}

static bool send(struct call *call, const ProtobufCMessage *response)
{
    struct sim_keeper *keeper = CONTAINER_OF(call, struct sim_keeper, call);
    const Etcdserverpb__LeaseKeepAliveResponse *answer = (const void *)response;
    struct sim *sim = keeper->sim;

    sim_trace(sim, "renewed", (uint64_t)answer->id, (uint64_t)answer->ttl);
    if (raft_role(engine_raft(keeper->node->engine)) == RAFT_LEADER) {
        const struct model *model = &keeper->node->model;

        node_advance(keeper->node);
        sim_check(sim, (answer->ttl > 0) == model_has_lease(model, answer->id),
                  "the renewal of lease %" PRId64 " gives %" PRId64 " s, and it is %s", answer->id,
                  answer->ttl, model_has_lease(model, answer->id) ? "there" : "gone");
    }
    if (answer->ttl > 0)
        leasing_promised(sim, answer->id, answer->ttl, keeper->asked_ms);
    (void)sim_after(sim, keeper->node, sim_draw(sim, LINGER_MS), hang_up, keeper);
    return true;
}

/* Mostly one that lives. */
static int64_t some_lease(struct node *node)
{
    struct sim *sim = node->sim;
    int64_t id = 0;

    if (node->model.lease_count != 0 && sim_chance(sim, 700))
        id = node->model.leases[sim_draw(sim, node->model.lease_count)];
    return is_ours(id) ? id : 1 + (int64_t)sim_draw(sim, SIM_LEASES - 1);
}

void leasing_renew(struct node *node)
{
    struct sim *sim = node->sim;
    static const struct call_ops ops = {.send = send, .finish = finish};
    Etcdserverpb__LeaseKeepAliveRequest request = ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;
    struct sim_keeper *keeper = xalloc(sizeof(*keeper));
    const char *token = login_token(node);
    bool over;

    keeper->sim = sim;
    keeper->node = node;
    keeper->asked_ms = sim->now_ms;
    keeper->call.row = rpc_row(RPC_Lease_LeaseKeepAlive);
    keeper->call.ops = &ops;
    arena_init(&keeper->call.arena, ARENA_BYTES);
    keeper->next = sim->keepers;
    sim->keepers = keeper;
    request.id = keeper->id = some_lease(node);
    if (token != NULL)
        keeper->call.token = arena_strndup(&keeper->call.arena, token, strlen(token));
    over = login_is_over(node, token);
    login_shown(node, token);
    keeper->asking = true;
    service_start(node->service, &keeper->call);
    sim_check(sim, keeper->refused == roster_is_learner(&node->model.roster, node->id),
              "renewals at member %u are %s", node->number,
              keeper->refused ? "refused" : "taken, and it has no vote");
    if (keeper->ended)
        return;
    keeper->call.message(&keeper->call, &request.base);
    keeper->asking = false;
    if (!keeper->ended)
        login_check_taken(node, keeper->call.token, "a renewal", over, rights_of(keeper));
}

/* Who renews what is over waits for its revoke, which alarm CORRUPT refuses for as long as
 * it is. */
bool leasing_busy(const struct sim *sim)
{
    const struct model *model = &sim->nodes[0]->model;

    for (size_t i = 1; i < sim->node_count; i++)
        if (sim->nodes[i]->model.index > model->index)
            model = &sim->nodes[i]->model;
    for (size_t i = 0; i < model->alarm_count; i++)
        if (model->alarms[i].alarm == ETCDSERVERPB__ALARM_TYPE__CORRUPT)
            return false;
    for (const struct sim_keeper *keeper = sim->keepers; keeper != NULL; keeper = keeper->next)
        if (!keeper->ended)
            return true;
    return false;
}

void leasing_cancel_all(struct node *node)
{
    struct sim *sim = node->sim;

    for (struct sim_keeper *keeper = sim->keepers; keeper != NULL; keeper = keeper->next)
        if (keeper->node == node && !keeper->ended) {
            service_cancel(node->service, &keeper->call);
            free_later(keeper);
        }
}
