/* queue.c - what will happen, as a heap; at the same time in the order in which it was planned. */
#include "tests/sim/sim.h"

static bool is_before(const struct sim_event *a, const struct sim_event *b)
{
    if (a->at_ms != b->at_ms)
        return a->at_ms < b->at_ms;
    return a->late != b->late ? a->late : a->order < b->order;
}

static void sift_up(struct sim *sim, size_t at)
{
    struct sim_event *event = sim->events[at];

    while (at > 0 && is_before(event, sim->events[(at - 1) / 2])) {
        sim->events[at] = sim->events[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    sim->events[at] = event;
}

static void sift_down(struct sim *sim, size_t at)
{
    struct sim_event *event = sim->events[at];

    for (;;) {
        size_t child = 2 * at + 1;

        if (child >= sim->event_count)
            break;
        if (child + 1 < sim->event_count && is_before(sim->events[child + 1], sim->events[child]))
            child++;
        if (!is_before(sim->events[child], event))
            break;
        sim->events[at] = sim->events[child];
        at = child;
    }
    sim->events[at] = event;
}

void queue_again(struct sim *sim, struct sim_event *event)
{
    if (sim->event_count == sim->event_capacity) {
        sim->event_capacity = MAX(sim->event_capacity * 2, 256);
        sim->events = xrealloc(sim->events, sim->event_capacity * sizeof(*sim->events));
    }
    event->order = sim->event_order++;
    sim->events[sim->event_count++] = event;
    sift_up(sim, sim->event_count - 1);
}

struct sim_event *sim_after(struct sim *sim, struct node *node, uint64_t delay_ms,
                            sim_event_fn *run, void *arg)
{
    struct sim_event *event = xalloc(sizeof(*event));

    *event =
        (struct sim_event){.at_ms = sim->now_ms + delay_ms, .node = node, .run = run, .arg = arg};
    queue_again(sim, event);
    return event;
}

struct sim_event *queue_next(struct sim *sim)
{
    struct sim_event *event;

    if (sim->event_count == 0)
        return NULL;
    event = sim->events[0];
    sim->events[0] = sim->events[--sim->event_count];
    if (sim->event_count != 0)
        sift_down(sim, 0);
    return event;
}

/* Dropping one may plan others: again until there is none. */
void queue_drop(struct sim *sim, struct node *node)
{
    for (;;) {
        struct sim_event **dropped = xalloc((sim->event_count + 1) * sizeof(struct sim_event *));
        size_t kept = 0, count = 0;

        for (size_t i = 0; i < sim->event_count; i++)
            if (sim->events[i]->node == node)
                dropped[count++] = sim->events[i];
            else
                sim->events[kept++] = sim->events[i];
        sim->event_count = kept;
        for (size_t i = kept / 2; i-- > 0;)
            sift_down(sim, i);
        for (size_t i = 0; i < count; i++) {
            if (dropped[i]->drop != NULL)
                dropped[i]->drop(sim, dropped[i]->arg);
            free(dropped[i]);
        }
        free(dropped);
        if (count == 0)
            return;
    }
}

void queue_free(struct sim *sim)
{
    for (struct sim_event *event; (event = queue_next(sim)) != NULL; free(event))
        if (event->drop != NULL)
            event->drop(sim, event->arg);
    free(sim->events);
    sim->events = NULL;
}
