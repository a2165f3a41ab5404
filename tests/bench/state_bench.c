/*
 * state_bench.c - what the store costs by itself: no log, no socket, memory backend. Run by hand;
 * prints one figure a line. The numbers to beat stand beside each.
 */
#include "tests/lib/store.h"

#include <stdio.h>
#include <time.h>

#define KEYS 200000U
#define COMMIT_EVERY 10000U
#define LIST_KEYS 10000U
#define LIST_VALUE_BYTES 1024U

static double now_s(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* this clock exists */
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static ProtobufCBinaryData key_of(unsigned number, char text[32])
{
    int size = snprintf(text, 32, "bench/key%07u", number);

    return (ProtobufCBinaryData){.data = (uint8_t *)text, .len = (size_t)size};
}

/* Key names are made before the clock runs. */
static char (*make_keys(void))[32]
{
    char(*keys)[32] = xalloc(KEYS * sizeof(*keys));

    for (unsigned i = 0; i < KEYS; i++)
        (void)key_of((unsigned)((uint64_t)i * 123457 % KEYS), keys[i]); /* always 16 bytes */
    return keys;
}

static void bench_put(struct store *store, char (*keys)[32], const char *what)
{
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__PutResponse *response;
    double spent = 0, begin;

    request.value = store_bytes("0123456789012345678901234567890123456789");
    for (unsigned i = 0; i < KEYS; i++) {
        if (i % COMMIT_EVERY == 0) {
            if (i > 0)
                spent += now_s() - begin;
            store_commit(store);
            begin = now_s();
        }
        enum err_code code;

        request.key = (ProtobufCBinaryData){.data = (uint8_t *)keys[i], .len = 16};
        code = mvcc_apply_put(store->mvcc, &request, &store->arena, &response);
        must(code == ERR_OK);
        if (i % 64 == 0)
            store_turn(store);
    }
    spent += now_s() - begin;
    printf("%-44s %8.3f us      (1.2)\n", what, spent / KEYS * 1e6);
}

static void bench_get(struct store *store, char (*keys)[32])
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    double begin = now_s();

    for (unsigned i = 0; i < KEYS; i++) {
        struct mvcc_range *range;
        struct slice key_value;
        enum err_code code;
        bool found;

        request.key = (ProtobufCBinaryData){.data = (uint8_t *)keys[KEYS - 1 - i], .len = 16};
        code = mvcc_range_start(store->mvcc, &request, &range);
        must(code == ERR_OK);
        found = mvcc_range_next(range, &key_value);
        must(found);
        mvcc_range_free(range);
    }
    printf("%-44s %8.3f us      (0.6)\n", "get of one key", (now_s() - begin) / KEYS * 1e6);
    begin = now_s();
    for (unsigned i = 0; i < KEYS; i++) {
        struct mvcc_range *range;
        enum err_code code;

        request.key = (ProtobufCBinaryData){.data = (uint8_t *)keys[KEYS - 1 - i], .len = 16};
        code = mvcc_range_start(store->mvcc, &request, &range);
        must(code == ERR_OK);
        mvcc_range_free(range);
    }
    printf("%-44s %8.3f us\n", "  of it without reading the record",
           (now_s() - begin) / KEYS * 1e6);
    request.count_only = true;
    request.range_end = store_bytes("bench/z");
    begin = now_s();
    for (unsigned i = 0; i < KEYS; i++) {
        struct mvcc_range *range;
        enum err_code code;

        request.key = (ProtobufCBinaryData){.data = (uint8_t *)keys[i], .len = 16};
        code = mvcc_range_start(store->mvcc, &request, &range);
        must(code == ERR_OK);
        mvcc_range_free(range);
    }
    printf("%-44s %8.3f us\n", "count from a key on", (now_s() - begin) / KEYS * 1e6);
}

static void bench_list(void)
{
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    static uint8_t value[LIST_VALUE_BYTES];
    struct mvcc_range *range;
    struct store store;
    double begin;
    size_t keys = 0;

    store_init(&store);
    for (unsigned i = 0; i < LIST_KEYS; i++) {
        Etcdserverpb__PutResponse *response;
        char text[32];
        enum err_code code;

        put.key = key_of(i, text);
        put.value = (ProtobufCBinaryData){.data = value, .len = sizeof(value)};
        code = mvcc_apply_put(store.mvcc, &put, NULL, &response);
        must(code == ERR_OK);
    }
    for (int committed = 0; committed <= 1; committed++) {
        request.key = store_bytes("a");
        request.range_end = store_bytes("z");
        keys = 0;
        begin = now_s();
        for (int round = 0; round < 20; round++) {
            enum err_code code = mvcc_range_start(store.mvcc, &request, &range);
            struct slice key_value;

            must(code == ERR_OK);
            while (mvcc_range_next(range, &key_value))
                keys++;
            mvcc_range_free(range);
        }
        printf("%-44s %8.3f M/s     (5)\n",
               committed ? "list of 10,000 keys, committed" : "list of 10,000 keys, in the batch",
               (double)keys / (now_s() - begin) / 1e6);
        store_commit(&store);
    }
    store_fini(&store);
}

static void bench_compact(struct store *store)
{
    enum err_code code = mvcc_apply_compact(store->mvcc, mvcc_revision(store->mvcc));
    double begin = now_s();

    must(code == ERR_OK);
    store_compact_all(store);
    printf("%-44s %8.3f us\n", "compaction, per record of 400,000",
           (now_s() - begin) / (2 * KEYS) * 1e6);
    begin = now_s();
    (void)store_hash(store, 0); /* only the time is of interest */
    printf("%-44s %8.3f us\n", "HashKV, per record of 200,000", (now_s() - begin) / KEYS * 1e6);
}

/* The same backend, a second store beside the first. */
static void bench_restore(struct store *store)
{
    struct store second;
    struct err err = ERR_INIT;
    int rc;
    double begin;

    store_commit(store);
    store_init(&second);
    begin = now_s();
    rc = mvcc_restore(second.mvcc, store->view->read, &err);
    must(rc == 0);
    printf("%-44s %8.1f ms      (well under 100)\n", "restore of 200,000 keys",
           (now_s() - begin) * 1e3);
    store_fini(&second);
}

int main(void)
{
    char(*keys)[32] = make_keys();
    struct store store;

    store_init(&store);
    bench_put(&store, keys, "put of a new key, up to 200,000, random");
    bench_put(&store, keys, "put of a known key, of 200,000, random");
    store_commit(&store);
    bench_get(&store, keys);
    bench_compact(&store);
    bench_restore(&store);
    store_fini(&store);
    bench_list();
    free(keys);
    return 0;
}
