/*
 * database_fuzz.c - any content of a database, as a snapshot of another member or of a file brings
 * it: the engine refuses it with a sentence, or starts on it, leads, hashes, compacts and takes
 * writes without a crash. How the pages are read is bolt_fuzz.c's.
 *
 *   records: bucket, kind of key, key, value; keys of bucket `key` are mostly revisions, values
 *   there mostly a KeyValue of small numbers, so that the index gets its share
 */
#include "common/schema/kv.pb-c.h"
#include "etcd-server/engine/engine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RECORDS_MAX 200
#define MEMBER 0x100

struct world {
    struct host host; /* first */
    struct backend *backend;
    struct engine *engine;
    uint64_t now_ms, random;
    uint64_t persist_id;
    size_t writes;
    struct batch *batch;
    bool stopped;
};

static struct world *of(struct host *host)
{
    return (struct world *)(void *)host;
}

static uint64_t now_ms(struct host *host)
{
    return of(host)->now_ms;
}

static uint64_t random_number(struct host *host)
{
    return of(host)->random += 0x9E3779B97F4A7C15;
}

static void write_log(struct host *host, struct log_write *request)
{
    if (request->snapshot == NULL) {
        of(host)->writes++;
        of(host)->persist_id = request->persist_id;
    }
    log_write_free(request);
}

static void commit(struct host *host, struct batch *batch)
{
    of(host)->batch = batch_ref(batch);
}

static void note(struct host *host, enum log_level level, const char *message,
                 const struct log_field *fields)
{
    (void)host;
    (void)level;
    (void)message;
    (void)fields;
}

static void stop(struct host *host, const struct err *cause)
{
    must(cause->code != ERR_OK && cause->text[0] != '\0');
    of(host)->stopped = true;
}

static const struct host_ops ops = {.now_ms = now_ms,
                                    .unix_ms = now_ms,
                                    .random = random_number,
                                    .log_write = write_log,
                                    .commit = commit,
                                    .note = note,
                                    .stop = stop};

static bool work(struct world *world)
{
    struct err err = ERR_INIT;
    bool worked = false;

    if (world->writes != 0) {
        size_t count = world->writes;

        world->writes = 0;
        engine_log_written(world->engine, world->persist_id, count);
        worked = true;
    }
    if (world->batch != NULL) {
        must(backend_commit(world->backend, world->batch, &err) == 0);
        batch_unref(world->batch);
        world->batch = NULL;
        engine_committed(world->engine);
        worked = true;
    }
    return worked;
}

static void turn(struct world *world)
{
    do
        engine_turn(world->engine);
    while (!world->stopped && work(world));
}

/* ---- the content ---- */

static uint8_t take(struct slice *input)
{
    uint8_t byte = 0;

    if (input->size != 0) {
        byte = input->data[0];
        *input = slice_of(input->data + 1, input->size - 1);
    }
    return byte;
}

static struct slice take_bytes(struct slice *input, size_t bytes)
{
    struct slice taken = slice_of(input->data, MIN(bytes, input->size));

    *input = slice_of(input->data + taken.size, input->size - taken.size);
    return taken;
}

/* 8 bytes main, '_', 8 bytes sub, 't' of a tombstone. */
static size_t make_revision(struct slice *input, uint8_t key[18])
{
    uint8_t main = take(input), sub = take(input);

    memset(key, 0, 18);
    key[7] = main;
    key[8] = '_';
    key[16] = sub & 0x7f;
    key[17] = 't';
    return sub & 0x80 ? 18 : 17;
}

static size_t make_value(struct slice *input, uint8_t out[128])
{
    static const char *const keys[] = {"", "a", "b", "c"};
    Mvccpb__KeyValue kv = MVCCPB__KEY_VALUE__INIT;
    uint8_t numbers = take(input), more = take(input);

    kv.key.data = (uint8_t *)(uintptr_t)keys[numbers & 3]; /* only read */
    kv.key.len = numbers & 3 ? 1 : 0;
    kv.create_revision = numbers >> 2 & 7;
    kv.mod_revision = numbers >> 5;
    kv.version = more & 7;
    kv.lease = more >> 3;
    return mvccpb__key_value__pack(&kv, out);
}

static void put(struct backend *backend, enum bucket bucket, struct slice key, struct slice value)
{
    struct batch *batch = batch_new(); /* one each: a batch wants revisions in order */
    struct err err = ERR_INIT;

    batch_put(batch, bucket, key, value);
    must(backend_commit(backend, batch, &err) == 0);
    batch_unref(batch);
}

static void fill(struct backend *backend, struct slice input)
{
    uint8_t key[18], value[128];

    put(backend, BUCKET_META, SLICE_LITERAL("consistent_index"), SLICE_LITERAL("\0\0\0\0\0\0\0\5"));
    for (size_t i = 0; i < RECORDS_MAX && input.size != 0; i++) {
        uint8_t head = take(&input);
        enum bucket bucket = (enum bucket)(head % BUCKET_COUNT);
        struct slice name, content;

        if (bucket == BUCKET_KEY && head < 200)
            name = slice_of(key, make_revision(&input, key));
        else
            name = take_bytes(&input, 1 + take(&input) % 40);
        if (bucket == BUCKET_KEY && head < 150)
            content = slice_of(value, make_value(&input, value));
        else
            content = take_bytes(&input, take(&input));
        if (name.size != 0)
            put(backend, bucket, name, content);
    }
}

/* The membership text of the snapshot: one member. */
static const char members[] =
    "{\"Root\":{\"Path\":\"/\",\"Children\":{\"0\":{\"Path\":\"/0\",\"Children\":{\"members\":{"
    "\"Path\":\"/0/members\",\"Children\":{\"100\":{\"Path\":\"/0/members/100\",\"Children\":{"
    "\"raftAttributes\":{\"Path\":\"/0/members/100/raftAttributes\","
    "\"Value\":\"{\\\"peerURLs\\\":[\\\"http://127.0.0.1:1\\\"]}\"}}}}}}}}}}";

/* ---- a little life ---- */

static void hash(struct world *world, int64_t revision)
{
    struct mvcc_hash *hash = NULL;

    if (mvcc_hash_start(engine_mvcc(world->engine), revision, &hash) != ERR_OK)
        return;
    while (!mvcc_hash_step(hash, 3))
        ;
    (void)mvcc_hash_result(hash);
    mvcc_hash_free(hash);
}

static void ignore(void *arg, const struct engine_result *result)
{
    (void)arg;
    (void)result; /* any answer will do */
}

static void propose(struct world *world, Etcdserverpb__InternalRaftRequest *request)
{
    enum err_code refusal;

    if (!world->stopped)
        (void)!engine_propose(world->engine, request, NULL, ignore, NULL, &refusal);
    turn(world);
}

static void live(struct world *world)
{
    Etcdserverpb__InternalRaftRequest put_request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT,
                                      compact_request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__CompactionRequest compact = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    uint8_t name[] = "a";

    engine_campaign(world->engine);
    turn(world);
    put.key.data = name;
    put.key.len = 1;
    put_request.put = &put;
    propose(world, &put_request);
    hash(world, 0);
    compact.revision = mvcc_revision(engine_mvcc(world->engine));
    compact.physical = true;
    compact_request.compaction = &compact;
    propose(world, &compact_request);
    for (unsigned i = 0; i < 20 && !world->stopped; i++) {
        world->now_ms += 100;
        engine_tick(world->engine);
        turn(world);
    }
    propose(world, &put_request);
    hash(world, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world world = {.host = {&ops}, .now_ms = 1000, .backend = backend_new_mem()};
    struct engine_config config = {
        .host = &world.host,
        .backend = world.backend,
        .member_id = MEMBER,
        .cluster_id = 1,
        .election_ticks = 10,
        .tick_ms = 100,
        .max_request_bytes = 1 << 20,
        .quota_bytes = -1,
        .snapshot_count = 1000,
        .batch_interval_ms = 100,
        .batch_limit = 1000,
        .compaction_batch = 3,
        .name = "a",
        .hard_state = {.term = 1, .commit = 5},
        .snapshot = {.index = 5, .term = 1, .conf_state = {.voters = {MEMBER}, .voter_count = 1}},
        .snapshot_data = SLICE_LITERAL(members)};
    struct err err = ERR_INIT;

    fill(world.backend, slice_of(data, size));
    if (engine_new(&config, &world.engine, &err) == 0) {
        live(&world);
        engine_fail(world.engine);
        engine_free(world.engine);
    } else {
        must(err.code != ERR_OK && err.text[0] != '\0');
    }
    batch_unref(world.batch);
    backend_close(world.backend);
    return 0;
}
