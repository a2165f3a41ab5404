/*
 * watch_load.c - watchers on a real server, ours or etcd: are all events there, in order, and when?
 *
 *   watch_load PORT idle CONNECTIONS WATCHERS      makes watchers of a key each, says "ready", and
 *                                                  holds them until its input ends
 *   watch_load PORT events CONNECTIONS WATCHERS RATE S
 *                                                  the same, and puts on those keys for S seconds:
 *                                                  figures as one line of JSON
 *   watch_load PORT behind REVISIONS RATE ROUNDS   puts, alone and beside a watcher that reads
 *                                                  the newest REVISIONS, in short turns: figures of
 *                                                  each such round as a list in JSON
 */
#include "common/schema/pbwire.h"
#include "common/schema/rpc.pb-c.h"
#include "tests/bench/load_puts.h"
#include "tests/bench/stalls.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define S_NS 1000000000ULL
#define LATE_NS (20 * S_NS) /* events that have not come by then are missing */
#define CATCH_UP_NS (30 * S_NS)
#define TURN_NS (S_NS / 2)    /* what the machine does by itself is about the same in two turns */
#define SWITCH_NS (S_NS / 50) /* puts at the beginning of a turn do not count */
#define STRIDE 7919           /* puts go to the watched keys in an order of no use to a cache */

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
};

static void stop_with(const char *what)
{
    (void)fprintf(stderr, "watch_load: %s\n", what);
    exit(1);
}

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

/* ---- the reader: a process of its own, so that what it decodes delays no put of ours ---- */

/* What was read of a history so far, in all its turns. */
struct caught {
    uint64_t behind, events, messages, ns;
    bool in_step;
};

struct reader {
    struct caught caught;
    int64_t current;  /* revision of the store, by the newest message */
    int64_t revision; /* of the newest event */
    bool created, disordered;
};

/* It stands for a client on another machine: the server's threads and the putter come first. */
static void step_back(void)
{
    struct sched_param param;

    must(sched_getparam(0, &param) == 0);
    if (sched_getscheduler(0) == SCHED_RR && param.sched_priority > 1) {
        param.sched_priority--;
        must(sched_setscheduler(0, SCHED_RR, &param) == 0);
    } else {
        param.sched_priority = 0;
        must(sched_setscheduler(0, SCHED_IDLE, &param) == 0);
    }
}

static int64_t revision_of(struct slice header)
{
    struct pb_reader reader = pb_reader_of(header, "ResponseHeader");
    struct pb_field field;
    struct err err = ERR_INIT;
    int64_t revision = 0;

    while (pb_next(&reader, &field, &err) == 1)
        if (field.number == 3)
            revision = (int64_t)field.value;
    return revision;
}

/* Each revision of the store is one put: one event each, and the last one is the newest. */
static void on_history(struct load_call *call, struct slice message)
{
    struct reader *history = call->arg;
    struct pb_reader reader = pb_reader_of(message, "WatchResponse");
    struct slice last = SLICE_EMPTY;
    struct pb_field field;
    struct err err = ERR_INIT;

    while (pb_next(&reader, &field, &err) == 1) {
        if (field.number == 1)
            history->current = revision_of(field.bytes);
        if (field.number != 11)
            continue;
        last = field.bytes;
        history->revision++;
        history->caught.events++;
    }
    if (last.data == NULL) {
        history->created = true;
        return;
    }
    history->caught.messages++;
    history->disordered |= event_of(last).mod_revision != history->revision;
    history->caught.in_step = history->revision == history->current;
}

static void await_created(struct load *load, struct reader *history)
{
    for (history->created = false; !history->created;)
        load_turn(load, load_now_ns() + S_NS);
}

/* Before the first turn: it is `behind` revisions behind now. */
static void choose_history(struct load *load, unsigned port, uint64_t behind,
                           struct reader *history)
{
    struct load_call call = {.arg = history, .message = on_history};

    *history = (struct reader){.caught.behind = behind};
    load_call_start(&call, load_connect(load, port), "/etcdserverpb.Watch/Watch");
    watch(&call, SLICE_LITERAL("nothing"), SLICE_EMPTY, 0); /* tells the store's revision */
    await_created(load, history);
    history->revision = history->current - (int64_t)behind;
    must(history->revision > 0);
    load_call_reset(&call);
    load_turn(load, 0);
    load_call_free(&call);
}

/* Read on for a turn, or until there is nothing more. */
static void read_history(struct load *load, unsigned port, struct reader *history)
{
    struct load_call call = {.arg = history, .message = on_history};
    uint64_t began = load_now_ns(), end = began + SWITCH_NS + TURN_NS;

    load_call_start(&call, load_connect(load, port), "/etcdserverpb.Watch/Watch");
    watch(&call, SLICE_LITERAL("\0"), SLICE_LITERAL("\0"), history->revision + 1);
    while (!history->caught.in_step && load_now_ns() < end)
        load_turn(load, end);
    history->caught.ns += load_now_ns() - began;
    if (history->disordered)
        stop_with("events are missing or out of order");
    load_call_reset(&call);
    load_turn(load, 0);
    load_call_free(&call);
}

enum order { ORDER_BEGIN, ORDER_GO_ON };

/* In the child: each order on `from` asks for one turn, told on `to`. */
static void be_reader(unsigned port, uint64_t behind, int from, int to)
{
    struct reader history = {0};
    uint8_t order;

    step_back();
    while (read(from, &order, 1) == 1) {
        struct load *load = load_new(); /* its connections end with it */

        if (order == ORDER_BEGIN)
            choose_history(load, port, behind, &history);
        read_history(load, port, &history);
        load_free(load);
        must(write(to, &history.caught, sizeof(history.caught)) == (ssize_t)sizeof(history.caught));
    }
    _exit(0);
}

struct reader_process {
    pid_t pid;
    int orders, results;
};

static struct reader_process start_reader(unsigned port, uint64_t behind)
{
    int orders[2], results[2];
    struct reader_process reader;

    must(pipe2(orders, O_CLOEXEC) == 0 && pipe2(results, O_CLOEXEC | O_NONBLOCK) == 0);
    reader = (struct reader_process){fork(), orders[1], results[0]};
    must(reader.pid >= 0);
    if (reader.pid == 0) {
        (void)close(orders[1]);
        be_reader(port, behind, orders[0], results[1]);
    }
    (void)close(orders[0]);
    (void)close(results[1]);
    return reader;
}

static void stop_reader(const struct reader_process *reader)
{
    (void)close(reader->orders);
    (void)close(reader->results);
    must(waitpid(reader->pid, NULL, 0) == reader->pid);
}

/* ---- puts beside it ---- */

struct put_time {
    uint64_t sent_ns, answered_ns;
};

enum kind { ALONE, BESIDE, ALONE_AGAIN, KINDS };

struct turn {
    uint64_t from_ns, to_ns;
    enum kind kind;
};

/* The puts of a round, until it is known which of them the machine delayed. */
struct round {
    struct put_time *puts; /* owned */
    size_t put_count, put_capacity;
    struct turn *turns; /* owned; in order */
    size_t turn_count, turn_capacity;
    struct caught caught;
};

struct beside {
    struct world world;
    struct reader_process reader;
    struct stalls *stalls; /* NULL: not known */
    struct round round;
};

static size_t own_key(void *arg, uint64_t number, char *key, size_t room)
{
    (void)arg;
    return (size_t)snprintf(key, room, "p/%08u", (unsigned)(number % 1000));
}

static void put_took(void *arg, uint64_t sent_ns, uint64_t answered_ns)
{
    struct round *round = &((struct beside *)arg)->round;

    if (round->put_count == round->put_capacity) {
        round->put_capacity = MAX(round->put_capacity * 2, 16384);
        round->puts = xrealloc(round->puts, round->put_capacity * sizeof(*round->puts));
    }
    round->puts[round->put_count++] = (struct put_time){sent_ns, answered_ns};
}

static void add_turn(struct round *round, struct turn turn)
{
    if (round->turn_count == round->turn_capacity) {
        round->turn_capacity = MAX(round->turn_capacity * 2, 64);
        round->turns = xrealloc(round->turns, round->turn_capacity * sizeof(*round->turns));
    }
    round->turns[round->turn_count++] = turn;
}

/* Puts until the reader's turn is over. */
static void put_beside(struct beside *beside)
{
    struct world *world = &beside->world;
    struct caught *caught = &beside->round.caught;
    ssize_t bytes;

    while ((bytes = read(beside->reader.results, caught, sizeof(*caught))) < 0 && errno == EAGAIN)
        load_turn(world->load, load_puts_due(&world->puts, load_now_ns()));
    if (bytes != (ssize_t)sizeof(*caught))
        stop_with("the reader ended");
}

static void take_turn(struct beside *beside, enum kind kind)
{
    uint8_t order = beside->round.caught.ns == 0 ? ORDER_BEGIN : ORDER_GO_ON;
    struct turn turn = {.kind = kind};

    if (kind == BESIDE)
        must(write(beside->reader.orders, &order, 1) == 1);
    put_for(&beside->world, SWITCH_NS);
    turn.from_ns = load_now_ns();
    if (kind == BESIDE)
        put_beside(beside);
    else
        put_for(&beside->world, TURN_NS);
    turn.to_ns = load_now_ns();
    add_turn(&beside->round, turn);
}

static bool is_over(const struct caught *caught)
{
    return caught->in_step || caught->ns > CATCH_UP_NS;
}

static void begin_round(struct round *round)
{
    round->put_count = round->turn_count = 0;
    round->caught = (struct caught){0};
}

static bool in_turns_of(const struct round *round, const struct put_time *put, enum kind kind)
{
    for (size_t i = 0; i < round->turn_count; i++) {
        const struct turn *turn = &round->turns[i];

        if (put->sent_ns >= turn->from_ns && put->sent_ns < turn->to_ns)
            return turn->kind == kind;
    }
    return false;
}

/* Figures of all puts of a kind, and of those no stall of the machine was near. */
static void tell_puts(const struct beside *beside, enum kind kind, const char *name)
{
    const struct round *round = &beside->round;
    struct load_times all, undisturbed;

    load_times_init(&all);
    load_times_init(&undisturbed);
    for (size_t i = 0; i < round->put_count; i++) {
        const struct put_time *put = &round->puts[i];

        if (!in_turns_of(round, put, kind))
            continue;
        load_times_add(&all, put->answered_ns - put->sent_ns);
        if (beside->stalls == NULL ||
            !stalls_between(beside->stalls, put->sent_ns, put->answered_ns))
            load_times_add(&undisturbed, put->answered_ns - put->sent_ns);
    }
    (void)printf("\"%s\": {\"puts\": %" PRIu64 ", \"stalled\": %" PRIu64
                 ", \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"worst_ms\": %.3f"
                 ", \"all_p99_ms\": %.3f, \"all_worst_ms\": %.3f}, ",
                 name, all.count, all.count - undisturbed.count, load_times_ms(&undisturbed, 0.5),
                 load_times_ms(&undisturbed, 0.99), (double)undisturbed.worst_ns / 1e6,
                 load_times_ms(&all, 0.99), (double)all.worst_ns / 1e6);
    load_times_free(&all);
    load_times_free(&undisturbed);
}

/* While the reader catches up once: alone, beside, alone, alone, beside, alone, ... So each turn
 * beside has one alone right before and one right after it, and these two can be compared, too. */
static void run_round(struct beside *beside)
{
    static const char *const names[KINDS] = {"alone", "beside", "again"};
    struct timespec stalls_known = {.tv_nsec = 5000000};
    const struct caught *caught = &beside->round.caught;

    for (begin_round(&beside->round); !is_over(caught);)
        for (enum kind kind = ALONE; kind < KINDS; kind++)
            take_turn(beside, kind);
    settle(&beside->world);
    (void)nanosleep(&stalls_known, NULL);
    (void)printf("{");
    for (enum kind kind = ALONE; kind < KINDS; kind++)
        tell_puts(beside, kind, names[kind]);
    (void)printf("\"behind\": %" PRIu64 ", \"events\": %" PRIu64 ", \"messages\": %" PRIu64
                 ", \"seconds\": %.3f}",
                 caught->behind, caught->events, caught->messages, (double)caught->ns / 1e9);
}

static void run_behind(unsigned port, uint64_t behind, double rate, unsigned rounds)
{
    struct beside beside = {.reader = start_reader(port, behind), .stalls = stalls_watch()};
    struct world *world = &beside.world;

    world->puts = (struct load_puts){.arg = &beside,
                                     .key = own_key,
                                     .value_bytes = 64,
                                     .rate = rate,
                                     .scattered = true,
                                     .took = put_took};
    world->load = load_new(); /* none of it is the reader's */
    load_puts_start(&world->puts, world->load, port);
    put_for(world, S_NS);
    for (begin_round(&beside.round); !is_over(&beside.round.caught);)
        take_turn(&beside, BESIDE); /* warm */
    settle(world);
    for (unsigned i = 0; i < rounds; i++) {
        (void)printf(i == 0 ? "[" : ",\n");
        run_round(&beside);
        (void)fflush(stdout);
    }
    (void)printf("]\n");
    stop_reader(&beside.reader);
    stalls_free(beside.stalls);
    free(beside.round.puts);
    free(beside.round.turns);
    load_puts_free(&world->puts);
    load_free(world->load);
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
    struct world world = {0};
    unsigned port = (unsigned)number(argc, argv, 1);
    const char *kind = argc > 2 ? argv[2] : "";

    if (strcmp(kind, "behind") == 0) {
        run_behind(port, (uint64_t)number(argc, argv, 3), number(argc, argv, 4),
                   (unsigned)number(argc, argv, 5));
        return 0;
    }
    world.load = load_new();
    world.watchers = (size_t)number(argc, argv, 4);
    make_watchers(&world, port, (size_t)number(argc, argv, 3));
    if (strcmp(kind, "events") == 0)
        run_events(&world, port, number(argc, argv, 5), number(argc, argv, 6));
    else
        hold();
    for (size_t i = 0; i < world.stream_count; i++)
        load_call_free(&world.streams[i]);
    free(world.streams);
    free(world.last);
    load_free(world.load);
    return 0;
}
