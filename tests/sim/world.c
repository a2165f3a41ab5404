/*
 * world.c - the run: members start, clients call while things go wrong, then faults end, and all
 * must come to its end and be whole: at rest, after an orderly stop, after a crash of all.
 */
#include "tests/sim/sim.h"

#include <errno.h>

#define QUIET_LIMIT_MS 120000 /* without faults everything ends within */
#define IDLE_MS 20            /* a client who finds nobody comes back later */
#define OBSERVE_1000 60       /* of each call, where names are locked */
#define SHORT_TTL_S 8         /* leases that must be seen to end */

/* ---- faults ---- */

static void disk_has_room(struct sim *sim, void *arg)
{
    struct node *node = arg;

    sim_trace(sim, "room", node->number, 0);
    node->disk_full = false;
    sim->trouble_ms = MAX(sim->trouble_ms, sim->now_ms);
}

static void disk_fault(struct node *node)
{
    struct sim *sim = node->sim;

    switch (sim_draw(sim, 5)) {
    case 0:
        sim_trace(sim, "full", node->number, 0);
        node->disk_full = true;
        (void)sim_after(sim, NULL, sim_draw(sim, 12000), disk_has_room, node);
        break;
    case 1:
        node->backend_fails = true;
        break;
    case 2:
        node->fail_in = 1 + sim_draw(sim, 30);
        node->fail_sys = node->fail_in % 2 == 0 ? EIO : ENOSPC; /* final all the same, for a sync */
        break;
    default: /* the power goes in the middle of what the disk does */
        node->fail_in = 1 + sim_draw(sim, 30);
        node->fail_sys = 0;
        break;
    }
}

/* The process is suspended, or its machine: everything is late at once. */
static void stand_still(struct node *node)
{
    struct sim *sim = node->sim;

    node->still_until_ms = sim->now_ms + sim_draw(sim, sim_chance(sim, 300) ? 20000 : 4000);
    sim->trouble_ms = MAX(sim->trouble_ms, node->still_until_ms);
    sim_trace(sim, "stand still", node->number, node->still_until_ms);
}

/* ---- clients ---- */

static void client_acts(struct node *node)
{
    struct sim *sim = node->sim;

    traffic_call(node);
    if (sim_chance(sim, 20))
        door_cancel_some(node);
    if (sim_chance(sim, 80))
        watching_act(node);
    if (sim_chance(sim, 60))
        leasing_renew(node);
    if (sim_chance(sim, sim->options.lock_1000))
        locking_act(node);
    if (sim->options.lock_1000 != 0 && sim_chance(sim, OBSERVE_1000))
        observing_act(node);
    if (sim_chance(sim, sim->options.auth_1000))
        admin_act(node);
}

static void arrival(struct sim *sim, void *arg)
{
    const struct sim_options *options = &sim->options;
    struct node *node = sim->nodes[sim_draw(sim, sim->node_count)];
    uint64_t idle_ms = 0;

    (void)arg;
    if (node_acts(node)) {
        client_acts(node);
        if (sim_chance(sim, options->fault_1000))
            disk_fault(node);
        if (sim_chance(sim, options->crash_1000))
            node->stopped = true;
        else if (sim_chance(sim, options->still_1000))
            stand_still(node);
        node_turn(node);
    } else {
        sim->idle_arrivals++;
        idle_ms = IDLE_MS;
    }
    if (sim_chance(sim, options->partition_1000))
        network_fault(sim);
    if (sim_chance(sim, options->change_1000))
        operator_act(sim);
    if (sim->started + sim->idle_arrivals / 8 < options->calls)
        (void)sim_after(sim, NULL, idle_ms + sim_draw(sim, options->call_gap_ms + 1), arrival,
                        NULL);
    else
        sim->calls_over = true;
}

/* ---- time ---- */

void world_step(struct sim *sim)
{
    struct sim_event *event = queue_next(sim);
    struct node *node;

    sim_check(sim, event != NULL, "nothing will ever happen any more");
    node = event->node;
    sim->now_ms = MAX(sim->now_ms, event->at_ms);
    if (node != NULL && node->still_until_ms > sim->now_ms) {
        event->at_ms = node->still_until_ms;
        event->late = true;
        queue_again(sim, event);
        return;
    }
    if (event->run != NULL)
        event->run(sim, event->arg);
    free(event);
    if (node != NULL)
        node_turn(node);
}

/* ---- the end ---- */

static bool belongs(const struct node *node)
{
    return !node->gone && !node->removed;
}

struct node *world_furthest(struct sim *sim)
{
    struct node *best = sim->nodes[0];

    for (size_t i = 1; i < sim->node_count; i++)
        if (belongs(sim->nodes[i]) &&
            (!belongs(best) || sim->nodes[i]->model.index > best->model.index))
            best = sim->nodes[i];
    return best;
}

/* A lease that nobody renews ends; alarm CORRUPT keeps all. */
static bool lease_lives(struct sim *sim)
{
    struct node *node = world_furthest(sim);

    if (sim->leases_ended || node->model.alarm_count != 0)
        return false;
    for (size_t i = 0; i < node->model.lease_count; i++) {
        const struct lease *lease = lease_find(engine_leases(node->engine), node->model.leases[i]);

        if (lease != NULL && lease->ttl_s <= SHORT_TTL_S)
            return true;
    }
    return false;
}

static const char *unsettled(struct sim *sim)
{
    uint64_t last = sim->committed_count;

    for (size_t i = 0; i < sim->node_count; i++) {
        struct node *node = sim->nodes[i];

        if (!belongs(node))
            continue;
        if (node->disk_full)
            return "a full disk";
        if (node->engine == NULL || !node->serving)
            return "a start";
        if (node->model.index < last)
            return "a member that is behind";
        if (!engine_idle(node->engine))
            return "a write";
    }
    if (sim->auth_ends && admin_busy(sim))
        return "auth";
    if (sim->calls != NULL)
        return door_inner(sim->calls)->row->method;
    if (locking_busy(sim) != NULL)
        return locking_busy(sim);
    if (watching_behind(sim))
        return "a watch";
    if (observing_behind(sim, NULL))
        return "an observer";
    if (leasing_busy(sim))
        return "a renewal";
    return lease_lives(sim) ? "a lease" : NULL;
}

static void run_until_settled(struct sim *sim)
{
    uint64_t limit_ms = sim->now_ms + QUIET_LIMIT_MS;
    const char *what;

    while ((what = unsettled(sim)) != NULL && !sim->stranded) {
        sim_check(sim, sim->now_ms < limit_ms, "something never ends: %s", what);
        world_step(sim);
    }
}

void world_quiet(struct sim *sim)
{
    if (!sim->quiet)
        sim->trouble_ms = MAX(sim->trouble_ms, sim->now_ms);
    sim->quiet = true;
    network_heal(sim);
    for (size_t i = 0; i < sim->node_count; i++) {
        sim->nodes[i]->fail_in = 0;
        sim->nodes[i]->backend_fails = false;
    }
}

/* Faults are over: whatever waits must come to its end, and the state be whole, and the same
 * everywhere. */
static void settle(struct sim *sim)
{
    world_quiet(sim);
    run_until_settled(sim);
    for (size_t i = 0; i < sim->node_count && !sim->stranded; i++)
        if (belongs(sim->nodes[i]))
            node_check_state(sim->nodes[i]);
    sim->auth_ends = true;
    run_until_settled(sim);
    sim->leases_ended = true; /* they have been seen to: once is enough */
    for (size_t i = 0; i < sim->node_count && !sim->stranded; i++)
        if (belongs(sim->nodes[i])) {
            node_check_state(sim->nodes[i]);
            traffic_check(sim->nodes[i]);
            traffic_read(sim->nodes[i]);
            node_turn(sim->nodes[i]);
        }
    run_until_settled(sim);
    must(sim->stranded || world_furthest(sim)->model.index == sim->committed_count);
}

/* An orderly stop loses nothing, not even from the backend. */
static void stop_in_order(struct sim *sim, struct node *node)
{
    uint64_t limit_ms = sim->now_ms + QUIET_LIMIT_MS;

    if (node->engine == NULL)
        return;
    engine_flush(node->engine);
    while (!engine_idle(node->engine)) {
        sim_check(sim, sim->now_ms < limit_ms, "an orderly stop does not end");
        world_step(sim);
        if (node->engine == NULL) /* news of an earlier fault came first: it crashed */
            return;
    }
    node_take_down(node);
    node->memfs.cut = false;
    node_start_later(node);
}

/* What was at rest must be whole after an orderly stop, and after a crash of all. */
static void stop_all(struct sim *sim)
{
    for (size_t i = 0; i < sim->node_count && !sim->stranded; i++)
        stop_in_order(sim, sim->nodes[i]);
    if (!sim->stranded)
        settle(sim);
    for (size_t i = 0; i < sim->node_count && !sim->stranded; i++)
        if (sim->nodes[i]->engine != NULL)
            node_crash(sim->nodes[i]);
    if (!sim->stranded)
        settle(sim);
}

void world_run(struct sim *sim)
{
    locking_begin(sim);
    login_begin(sim);
    while (sim->node_count < sim->options.members)
        (void)node_new(sim);
    for (size_t i = 0; i < sim->options.members; i++)
        node_start_later(sim->nodes[i]);
    (void)sim_after(sim, NULL, 0, arrival, NULL);
    while (!sim->calls_over)
        world_step(sim);
    if (!sim->stranded)
        settle(sim);
    if (!damage_run(sim))
        stop_all(sim);
    for (size_t i = 0; i < sim->node_count; i++) {
        sim->nodes[i]->memfs.cut = true;
        if (sim->nodes[i]->engine != NULL)
            node_take_down(sim->nodes[i]);
    }
    queue_free(sim);
    locking_free(sim);
    login_free(sim);
    for (size_t i = 0; i < sim->node_count; i++)
        node_free(sim->nodes[i]);
    truth_free(sim);
}
