/*
 * watch_load.c - watchers on a real server, ours or etcd: are all events there, in order, and when?
 *
 *   watch_load PORT idle CONNECTIONS WATCHERS            makes watchers of a key each, says
 * "ready", and holds them until its input ends watch_load PORT events CONNECTIONS WATCHERS RATE S
 * the same, and puts on those keys for S seconds: figures as one line of JSON watch_load PORT
 * behind REVISIONS RATE ROUNDS         puts, without and with a watcher that reads the store's
 * REVISIONS from the first on, in turns: their p99
 */
#include "common/schema/pbwire.h"
#include "common/schema/rpc.pb-c.h"
#include "tests/bench/load_puts.h"

#include <stdio.h>
#include <stdlib.h>

#define S_NS 1000000000ULL
#define LATE_NS (20 * S_NS) /* events that have not come by then are missing */
#define CATCH_UP_NS (10 * S_NS)
#define STRIDE 7919 /* puts go to the watched keys in an order of no use to a cache */

struct world {
    struct load *load;
    struct load_puts puts;
    size_t watchers;
    struct load_call *streams;
    size_t stream_count;
    size_t created;
    int64_t *last; /* per key: newest mod revision seen */
    uint64_t events, disordered;
    struct load_times times;
    uint64_t revision; /* newest seen */
    uint64_t history;  /* events of the watcher that is behind */
};

/* ---- answers ---- */

struct seen {
    int64_t mod_revision;
    struct slice key, value;
};

/* By hand: a load generator must not need more of the machine than the server. */
static struct seen event_of(struct slice event)
{
    struct pb_reader reader = pb_reader_of(event, "Event");
    struct pb_field field;
    struct err err = ERR_INIT;
    struct seen seen = {0};

    while (pb_next(&reader, &field, &err) == 1) {
        struct pb_reader inner;

        if (field.number != 2)
            continue;
        inner = pb_reader_of(field.bytes, "KeyValue");
        while (pb_next(&inner, &field, &err) == 1) {
            if (field.number == 1)
                seen.key = field.bytes;
            else if (field.number == 3)
                seen.mod_revision = (int64_t)field.value;
            else if (field.number == 5)
                seen.value = field.bytes;
        }
    }
    return seen;
}

static void take_event(struct world *world, struct slice event)
{
    struct seen seen = event_of(event);
    uint64_t stamp[2];
    size_t key;

    must(seen.key.size == 10 && seen.value.size >= sizeof(stamp));
    key = strtoul((const char *)seen.key.data + 2, NULL, 10);
    must(key < world->watchers);
    memcpy(stamp, seen.value.data, sizeof(stamp));
    world->events++;
    world->disordered += seen.mod_revision <= world->last[key];
    world->last[key] = seen.mod_revision;
    load_times_add(&world->times, load_now_ns() - stamp[1]);
}

static void on_watch(struct load_call *call, struct slice message)
{
    struct world *world = call->arg;
    struct pb_reader reader = pb_reader_of(message, "WatchResponse");
    struct pb_field field;
    struct err err = ERR_INIT;

    while (pb_next(&reader, &field, &err) == 1) {
        if (field.number == 3 && field.value != 0)
            world->created++;
        else if (field.number == 11)
            take_event(world, field.bytes);
    }
}

static void on_history(struct load_call *call, struct slice message)
{
    struct world *world = call->arg;
    struct pb_reader reader = pb_reader_of(message, "WatchResponse");
    struct pb_field field;
    struct err err = ERR_INIT;

    while (pb_next(&reader, &field, &err) == 1)
        world->history += field.number == 11;
}

/* ---- making watchers ---- */

static size_t key_of(void *arg, uint64_t number, char *key, size_t room)
{
    const struct world *world = arg;

    return (size_t)snprintf(key, room, "w/%08u",
                            (unsigned)(number * STRIDE % MAX(world->watchers, 1)));
}

static void watch(struct load_call *call, struct slice key, struct slice end, int64_t revision)
{
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;

    create.key = (ProtobufCBinaryData){key.size, (uint8_t *)(uintptr_t)key.data};
    create.range_end = (ProtobufCBinaryData){end.size, (uint8_t *)(uintptr_t)end.data};
    create.start_revision = revision;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = &create;
    load_call_send(call, &request.base, false);
}

static void make_watchers(struct world *world, unsigned port, size_t connections)
{
    world->streams = xalloc(connections * sizeof(*world->streams));
    world->last = xalloc(world->watchers * sizeof(*world->last));
    for (size_t i = 0; i < connections; i++) {
        world->streams[i] = (struct load_call){.arg = world, .message = on_watch};
        load_call_start(&world->streams[i], load_connect(world->load, port),
                        "/etcdserverpb.Watch/Watch");
    }
    world->stream_count = connections;
    for (size_t i = 0; i < world->watchers; i++) {
        char key[16];

        (void)snprintf(key, sizeof(key), "w/%08u", (unsigned)i);
        watch(&world->streams[i % connections], slice_text(key), SLICE_EMPTY, 0);
        if (i % 1000 == 999)
            load_turn(world->load, 0);
    }
    while (world->created < world->watchers)
        load_turn(world->load, load_now_ns() + S_NS);
}

/* ---- the three kinds of run ---- */

static void hold(void)
{
    (void)printf("ready\n");
    (void)fflush(stdout);
    while (getchar() != EOF)
        continue;
}

static void put_for(struct world *world, uint64_t ns)
{
    uint64_t end = load_now_ns() + ns, now;

    load_puts_resume(&world->puts);
    while ((now = load_now_ns()) < end) {
        uint64_t due = load_puts_due(&world->puts, now);

        load_turn(world->load, MIN(due, end));
    }
}

static void settle(struct world *world)
{
    uint64_t end = load_now_ns() + LATE_NS;

    while (load_now_ns() < end && world->puts.answered < world->puts.sent)
        load_turn(world->load, end);
}

static void run_events(struct world *world, unsigned port, double rate, double seconds)
{
    uint64_t end, missing, began;

    world->puts = (struct load_puts){.arg = world, .key = key_of, .value_bytes = 64, .rate = rate};
    load_puts_start(&world->puts, world->load, port);
    load_times_init(&world->times);
    put_for(world, S_NS / 2); /* warm */
    settle(world);
    load_times_reset(&world->puts.times);
    load_times_reset(&world->times);
    began = world->puts.sent;
    put_for(world, (uint64_t)(seconds * 1e9));
    settle(world);
    end = load_now_ns() + LATE_NS;
    while (world->events < world->puts.sent && load_now_ns() < end)
        load_turn(world->load, end);
    missing = world->puts.sent - MIN(world->events, world->puts.sent);
    (void)printf("{\"puts\": %" PRIu64
                 ", \"rate\": %.1f, \"put_p50_ms\": %.3f, \"put_p99_ms\": %.3f, "
                 "\"events\": %" PRIu64 ", \"missing\": %" PRIu64 ", \"disordered\": %" PRIu64
                 ", \"event_p50_ms\": %.3f, \"event_p99_ms\": %.3f, \"event_worst_ms\": %.3f}\n",
                 world->puts.sent, (double)(world->puts.sent - began) / seconds,
                 load_times_ms(&world->puts.times, 0.5), load_times_ms(&world->puts.times, 0.99),
                 world->events, missing, world->disordered, load_times_ms(&world->times, 0.5),
                 load_times_ms(&world->times, 0.99), (double)world->times.worst_ns / 1e6);
    load_times_free(&world->times);
    load_puts_free(&world->puts);
}

static size_t own_key(void *arg, uint64_t number, char *key, size_t room)
{
    (void)arg;
    return (size_t)snprintf(key, room, "p/%08u", (unsigned)(number % 1000));
}

/* Puts while a watcher reads all revisions from the first on; for how long that was. */
static double catch_up(struct world *world, unsigned port, uint64_t revisions)
{
    struct load_call call = {.arg = world, .message = on_history};
    uint64_t began = load_now_ns(), target = revisions + world->puts.answered, now;

    world->history = 0;
    load_call_start(&call, load_connect(world->load, port), "/etcdserverpb.Watch/Watch");
    watch(&call, SLICE_LITERAL("\0"), SLICE_LITERAL("\0"), 1);
    load_puts_resume(&world->puts);
    do {
        now = load_now_ns();
        load_turn(world->load, load_puts_due(&world->puts, now));
    } while (world->history < target && now < began + CATCH_UP_NS);
    now = load_now_ns();
    settle(world);
    load_call_reset(&call);
    load_turn(world->load, 0);
    load_call_free(&call);
    return (double)(now - began) / 1e9;
}

/* Latencies of what `run` puts go to `times`: the putter's own are swapped for them. */
static void swap_times(struct world *world, struct load_times *times)
{
    struct load_times own = world->puts.times;

    world->puts.times = *times;
    *times = own;
}

static void run_behind(struct world *world, unsigned port, uint64_t revisions, double rate,
                       unsigned rounds)
{
    struct load_times alone, beside;
    double seconds = 1, total = 0;
    uint64_t read = 0;

    world->puts = (struct load_puts){.arg = world, .key = own_key, .value_bytes = 64, .rate = rate};
    load_puts_start(&world->puts, world->load, port);
    load_times_init(&alone);
    load_times_init(&beside);
    put_for(world, S_NS);
    settle(world);
    for (unsigned i = 0; i < rounds; i++) {
        swap_times(world, &alone);
        put_for(world, (uint64_t)(MAX(seconds, 0.2) * 1e9));
        settle(world);
        swap_times(world, &alone);
        swap_times(world, &beside);
        seconds = catch_up(world, port, revisions);
        total += seconds;
        read += world->history;
        swap_times(world, &beside);
    }
    (void)printf("{\"revisions_a_second\": %.0f, \"alone_p50_ms\": %.3f, \"alone_p99_ms\": %.3f, "
                 "\"beside_p50_ms\": %.3f, \"beside_p99_ms\": %.3f, \"puts\": %" PRIu64 "}\n",
                 (double)read / total, load_times_ms(&alone, 0.5), load_times_ms(&alone, 0.99),
                 load_times_ms(&beside, 0.5), load_times_ms(&beside, 0.99), beside.count);
    load_times_free(&alone);
    load_times_free(&beside);
    load_puts_free(&world->puts);
}

static double number(int argc, char **argv, int at)
{
    double value = at < argc ? strtod(argv[at], NULL) : 0;

    if (value <= 0) {
        (void)fprintf(stderr,
                      "watch_load: argument %d must be a number above 0; see watch_load.c\n", at);
        exit(2);
    }
    return value;
}

int main(int argc, char **argv)
{
    struct world world = {.load = load_new()};
    unsigned port = (unsigned)number(argc, argv, 1);
    const char *kind = argc > 2 ? argv[2] : "";

    if (strcmp(kind, "behind") == 0) {
        run_behind(&world, port, (uint64_t)number(argc, argv, 3), number(argc, argv, 4),
                   (unsigned)number(argc, argv, 5));
    } else {
        world.watchers = (size_t)number(argc, argv, 4);
        make_watchers(&world, port, (size_t)number(argc, argv, 3));
        if (strcmp(kind, "events") == 0)
            run_events(&world, port, number(argc, argv, 5), number(argc, argv, 6));
        else
            hold();
    }
    for (size_t i = 0; i < world.stream_count; i++)
        load_call_free(&world.streams[i]);
    free(world.streams);
    free(world.last);
    load_free(world.load);
    return 0;
}
