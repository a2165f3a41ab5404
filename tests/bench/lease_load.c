/*
 * lease_load.c - leases on a real server, ours or etcd: granted, kept alive, and all of them
 * running out within one second. Prints its figures as one line of JSON.
 *
 *   lease_load PORT LEASES RATE PUTS SECONDS TTL    RATE renewals a second, PUTS puts a second
 *
 *   grants, a key each | renewals at RATE, beside puts | puts alone | the end of all, beside puts
 *
 * In the second round of renewals each lease is renewed once, and those that have their turn later
 * have a TTL as much shorter: so all deadlines lie within one second. TTL is the shortest: it must
 * be longer than the grants and a round of renewals take.
 */
#include "common/schema/rpc.pb-c.h"
#include "tests/bench/load_puts.h"

#include <stdio.h>
#include <stdlib.h>

#define S_NS 1000000000ULL
#define CALLS 256     /* grants and puts of keys under way */
#define STREAMS 16    /* that keep leases alive */
#define CONNECTIONS 4 /* of those */

/* One of many equal calls; when it ends, the next one begins. */
struct caller {
    struct load_call call;
    struct world *world;
};

struct stream {
    struct load_call call;
    struct world *world;
    uint64_t *sent_ns; /* owned ring: of renewals without an answer */
    size_t first, count, capacity;
};

struct world {
    struct load *load;
    unsigned port;
    struct load_puts puts;
    uint64_t leases, done, begun;
    double rate, seconds;
    int64_t ttl_s, groups;
    void (*begin)(struct caller *caller, uint64_t number);
    struct caller callers[CALLS];
    struct stream streams[STREAMS];
    struct load_times renewals;
    uint64_t gone; /* renewals of leases that were not there */
    size_t listed;
};

/* ---- granting ---- */

static int64_t id_of(uint64_t number)
{
    return (int64_t)(number + 1) * 1000003;
}

/* Leases whose turn comes in the same second of a round. */
static int64_t group_of(const struct world *world, uint64_t number)
{
    return (int64_t)((double)number / world->rate);
}

static void grant(struct caller *caller, uint64_t number)
{
    struct world *world = caller->world;
    Etcdserverpb__LeaseGrantRequest request = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;

    request.id = id_of(number);
    request.ttl = world->ttl_s + world->groups - 1 - group_of(world, number);
    load_call_start(&caller->call, caller->call.conn, "/etcdserverpb.Lease/LeaseGrant");
    load_call_send(&caller->call, &request.base, true);
}

static void attach(struct caller *caller, uint64_t number)
{
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    char key[32];

    request.key = (ProtobufCBinaryData){
        (size_t)snprintf(key, sizeof(key), "/registry/events/%07u", (unsigned)number),
        (uint8_t *)key};
    request.lease = id_of(number);
    load_call_start(&caller->call, caller->call.conn, "/etcdserverpb.KV/Put");
    load_call_send(&caller->call, &request.base, true);
}

static void ended(struct load_call *call)
{
    struct caller *caller = call->arg;
    struct world *world = caller->world;

    load_call_free(call);
    world->done++;
    if (world->begun < world->leases)
        world->begin(caller, world->begun++);
}

/* One call for each lease; how long it takes. */
static double for_each(struct world *world, void (*begin)(struct caller *caller, uint64_t number))
{
    uint64_t began = load_now_ns();

    world->begin = begin;
    world->done = world->begun = 0;
    for (size_t i = 0; i < CALLS && world->begun < world->leases; i++)
        begin(&world->callers[i], world->begun++);
    while (world->done < world->leases)
        load_turn(world->load, load_now_ns() + S_NS);
    return (double)(load_now_ns() - began) / 1e9;
}

/* ---- keeping alive ---- */

static void renewed(struct load_call *call, struct slice message)
{
    struct stream *stream = call->arg;
    Etcdserverpb__LeaseKeepAliveResponse *answer =
        etcdserverpb__lease_keep_alive_response__unpack(NULL, message.size, message.data);

    must(stream->count != 0 && answer != NULL);
    load_times_add(&stream->world->renewals, load_now_ns() - stream->sent_ns[stream->first]);
    stream->first = (stream->first + 1) % stream->capacity;
    stream->count--;
    stream->world->gone += answer->ttl == 0;
    etcdserverpb__lease_keep_alive_response__free_unpacked(answer, NULL);
}

static void renew(struct stream *stream, uint64_t number, uint64_t now_ns)
{
    Etcdserverpb__LeaseKeepAliveRequest request = ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;

    must(stream->count < stream->capacity);
    stream->sent_ns[(stream->first + stream->count++) % stream->capacity] = now_ns;
    request.id = id_of(number);
    load_call_send(&stream->call, &request.base, false);
}

static size_t unanswered(const struct world *world)
{
    size_t count = 0;

    for (size_t i = 0; i < STREAMS; i++)
        count += world->streams[i].count;
    return count;
}

/* Each lease `rounds` times, beside the puts; how long it takes. */
static double keep_alive(struct world *world, unsigned rounds)
{
    uint64_t began = load_now_ns(), total = rounds * world->leases, sent = 0, now;

    load_puts_resume(&world->puts);
    while (sent < total || unanswered(world) != 0) {
        uint64_t next, due;

        now = load_now_ns();
        due = (uint64_t)((double)(now - began) / 1e9 * world->rate) + 1;
        for (; sent < MIN(due, total); sent++)
            renew(&world->streams[sent % STREAMS], sent % world->leases, now);
        next = load_puts_due(&world->puts, now);
        load_turn(world->load, MIN(next, now + S_NS / 1000));
    }
    return (double)(load_now_ns() - began) / 1e9;
}

/* ---- the list ---- */

static void take_list(struct load_call *call, struct slice message)
{
    struct world *world = call->arg;
    Etcdserverpb__LeaseLeasesResponse *list =
        etcdserverpb__lease_leases_response__unpack(NULL, message.size, message.data);

    must(list != NULL);
    world->listed = list->n_leases;
    etcdserverpb__lease_leases_response__free_unpacked(list, NULL);
}

static void list_ended(struct load_call *call)
{
    ((struct world *)call->arg)->done = 1;
}

/* How long the list takes; how many there are: world->listed. */
static double list(struct world *world, struct load_conn *conn)
{
    struct load_call call = {.arg = world, .message = take_list, .ended = list_ended};
    Etcdserverpb__LeaseLeasesRequest request = ETCDSERVERPB__LEASE_LEASES_REQUEST__INIT;
    uint64_t began = load_now_ns();

    world->done = 0;
    load_call_start(&call, conn, "/etcdserverpb.Lease/LeaseLeases");
    load_call_send(&call, &request.base, true);
    while (world->done == 0) {
        uint64_t now = load_now_ns();

        load_turn(world->load, load_puts_due(&world->puts, now));
    }
    load_call_free(&call);
    return (double)(load_now_ns() - began) / 1e6;
}

/* ---- the run ---- */

static size_t key_of(void *arg, uint64_t number, char *key, size_t room)
{
    (void)arg;
    return (size_t)snprintf(key, room, "p/%08u", (unsigned)(number % 1000));
}

static void put_until(struct world *world, uint64_t end_ns)
{
    uint64_t now;

    load_puts_resume(&world->puts);
    while ((now = load_now_ns()) < end_ns) {
        uint64_t due = load_puts_due(&world->puts, now);

        load_turn(world->load, MIN(due, end_ns));
    }
    end_ns = now + 10 * S_NS;
    while (world->puts.answered < world->puts.sent && load_now_ns() < end_ns)
        load_turn(world->load, end_ns);
}

static void print_puts(struct world *world, const char *name)
{
    (void)printf("\"%s_p50_ms\": %.3f, \"%s_p99_ms\": %.3f, \"%s_worst_ms\": %.3f, ", name,
                 load_times_ms(&world->puts.times, 0.5), name,
                 load_times_ms(&world->puts.times, 0.99), name,
                 (double)world->puts.times.worst_ns / 1e6);
    load_times_reset(&world->puts.times);
}

static void prepare(struct world *world)
{
    struct load_conn *conns[CONNECTIONS];

    for (size_t i = 0; i < CONNECTIONS; i++)
        conns[i] = load_connect(world->load, world->port);
    for (size_t i = 0; i < CALLS; i++) {
        world->callers[i].world = world;
        world->callers[i].call = (struct load_call){
            .arg = &world->callers[i], .ended = ended, .conn = conns[i % CONNECTIONS]};
    }
    for (size_t i = 0; i < STREAMS; i++) {
        struct stream *stream = &world->streams[i];

        stream->world = world;
        stream->capacity = 2 * world->leases;
        stream->sent_ns = xalloc(stream->capacity * sizeof(*stream->sent_ns));
        stream->call = (struct load_call){.arg = stream, .message = renewed};
        load_call_start(&stream->call, conns[i % CONNECTIONS],
                        "/etcdserverpb.Lease/LeaseKeepAlive");
    }
    load_times_init(&world->renewals);
    load_puts_start(&world->puts, world->load, world->port);
}

static void run(struct world *world)
{
    uint64_t renewed_ns, deadline_ns, measured_ns = (uint64_t)(world->seconds * 1e9);
    double grants_s = for_each(world, grant), keys_s = for_each(world, attach), renewals_s, list_ms;

    renewals_s = keep_alive(world, 1); /* all are alive, whatever the grants took */
    load_times_reset(&world->renewals);
    load_times_reset(&world->puts.times);
    renewed_ns = load_now_ns();
    renewals_s = keep_alive(world, 1);
    (void)printf(
        "{\"grants_a_second\": %.0f, \"keys_a_second\": %.0f, \"renewals_a_second\": %.0f, "
        "\"renewal_p50_ms\": %.3f, \"renewal_p99_ms\": %.3f, \"gone\": %" PRIu64 ", ",
        (double)world->leases / grants_s, (double)world->leases / keys_s,
        (double)world->leases / renewals_s, load_times_ms(&world->renewals, 0.5),
        load_times_ms(&world->renewals, 0.99), world->gone);
    print_puts(world, "beside_renewals");
    list_ms = list(world, world->puts.conn);
    (void)printf("\"listed\": %zu, \"list_ms\": %.1f, ", world->listed, list_ms);
    load_times_reset(&world->puts.times);
    /* the first deadline: that of a lease renewed at once with the longest TTL */
    deadline_ns = renewed_ns + (uint64_t)(world->ttl_s + world->groups - 1) * S_NS;
    put_until(world, MIN(load_now_ns() + measured_ns, deadline_ns));
    print_puts(world, "idle");
    while (load_now_ns() < deadline_ns + S_NS)
        load_turn(world->load, deadline_ns + S_NS);
    put_until(world, deadline_ns + S_NS + measured_ns);
    print_puts(world, "storm");
    (void)list(world, world->puts.conn);
    (void)printf("\"left\": %zu}\n", world->listed);
}

static double number(int argc, char **argv, int at)
{
    double value = at < argc ? strtod(argv[at], NULL) : 0;

    if (value <= 0) {
        (void)fprintf(stderr,
                      "lease_load: argument %d must be a number above 0; see lease_load.c\n", at);
        exit(2);
    }
    return value;
}

int main(int argc, char **argv)
{
    struct world *world = xalloc(sizeof(*world));

    world->load = load_new();
    world->port = (unsigned)number(argc, argv, 1);
    world->leases = (uint64_t)number(argc, argv, 2);
    world->rate = number(argc, argv, 3);
    world->puts = (struct load_puts){
        .arg = world, .key = key_of, .value_bytes = 64, .rate = number(argc, argv, 4)};
    world->seconds = number(argc, argv, 5);
    world->ttl_s = (int64_t)number(argc, argv, 6);
    world->groups = group_of(world, world->leases - 1) + 1;
    prepare(world);
    run(world);
    for (size_t i = 0; i < STREAMS; i++) {
        load_call_free(&world->streams[i].call);
        free(world->streams[i].sent_ns);
    }
    load_times_free(&world->renewals);
    load_puts_free(&world->puts);
    load_free(world->load);
    free(world);
    return 0;
}
