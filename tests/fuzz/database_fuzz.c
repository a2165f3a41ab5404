/*
 * database_fuzz.c - any content of a database, as a snapshot of another member or of a file brings
 * it: the engine refuses it with a sentence, or starts on it, leads, hashes, compacts and takes
 * writes without a crash. How the pages are read is bolt_fuzz.c's.
 *
 *   records: bucket, kind of key, key, value; keys of bucket `key` are mostly revisions, values
 *   there mostly a KeyValue of small numbers, so that the index gets its share
 */
#include "common/schema/kv.pb-c.h"
#include "tests/lib/lone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RECORDS_MAX 200
#define MEMBER 0x100

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

static void hash(struct lone *lone, int64_t revision)
{
    struct mvcc_hash *hash = NULL;

    if (mvcc_hash_start(engine_mvcc(lone->engine), revision, &hash) != ERR_OK)
        return;
    while (!mvcc_hash_step(hash, 3))
        ;
    (void)mvcc_hash_result(hash);
    mvcc_hash_free(hash);
}

/* Any answer will do. */
static void apply(struct lone *lone, Etcdserverpb__InternalRaftRequest *request)
{
    if (!lone->stopped)
        (void)!lone_apply(lone, request);
}

static void live(struct lone *lone)
{
    Etcdserverpb__InternalRaftRequest put_request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT,
                                      compact_request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__CompactionRequest compact = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    uint8_t name[] = "a";

    engine_campaign(lone->engine);
    lone_turn(lone);
    put.key.data = name;
    put.key.len = 1;
    put_request.put = &put;
    apply(lone, &put_request);
    hash(lone, 0);
    compact.revision = mvcc_revision(engine_mvcc(lone->engine));
    compact.physical = true;
    compact_request.compaction = &compact;
    apply(lone, &compact_request);
    for (unsigned i = 0; i < 20 && !lone->stopped; i++) {
        lone->now_ms += LONE_TICK_MS;
        engine_tick(lone->engine);
        lone_turn(lone);
    }
    apply(lone, &put_request);
    hash(lone, 0);
}

static void set_up(struct engine_config *config)
{
    config->member_id = MEMBER;
    config->cluster_id = 1;
    config->snapshot_count = 1000;
    config->batch_limit = 1000;
    config->compaction_batch = 3;
    config->snapshot = (struct raft_snapshot_meta){
        .index = 5, .term = 1, .conf_state = {.voters = {MEMBER}, .voter_count = 1}};
    config->snapshot_data = SLICE_LITERAL(members);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct backend *backend = backend_new_mem();
    struct lone lone;
    struct err err = ERR_INIT;

    fill(backend, slice_of(data, size));
    if (lone_init_at_snapshot(&lone, backend, set_up, &err) == 0)
        live(&lone);
    else
        must(err.code != ERR_OK && err.text[0] != '\0');
    lone_fini(&lone);
    return 0;
}
