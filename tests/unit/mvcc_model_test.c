/*
 * mvcc_model_test.c - the store against a model that keeps every change in a plain list and answers
 * by walking all of it. Random puts, deletions, transactions, compactions, commits and restarts;
 * ranges and hashes at random revisions in between, some of them read slowly across the changes.
 * With few keys there is often none that lives: then a hash tells the history.
 */
#include "common/base/crc32c.h"
#include "common/schema/pbbytes.h"
#include "common/schema/pbwire.h"
#include "common/schema/rpc.h"
#include "etcd-server/state/stored.h"
#include "tests/lib/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define MANY_KEYS 40      /* few enough for histories to grow */
#define FEW_KEYS 3        /* ... and to die out */
#define CHANGES_MAX 20000 /* kept by the model */
#define SLOW_MAX 4        /* ranges read across changes */

struct change {
    unsigned key;
    struct revision revision;
    bool tombstone;
    int64_t create, version;
    uint32_t value;
};

struct slow_range {
    struct mvcc_range *range;
    unsigned from, to; /* keys */
    unsigned next;     /* key to expect from */
    int64_t at;
    struct shared_pieces pieces; /* or count 0 */
};

struct model {
    struct store store;
    unsigned keys;
    uint64_t random;
    struct change changes[CHANGES_MAX];
    size_t count;
    int64_t current, compacted;
    struct slow_range slow[SLOW_MAX];
    struct mvcc_hash *slow_hash;
    int64_t compacted_before; /* the slow hash */
    size_t histories;         /* compared */
    size_t in_pieces;         /* ranges that were had so */
};

static uint32_t draw(struct model *model, uint32_t below)
{
    model->random ^= model->random << 13;
    model->random ^= model->random >> 7;
    model->random ^= model->random << 17;
    return (uint32_t)((model->random >> 16) % below);
}

/* Keys of two lengths and a long common prefix: "/registry/x/key-07", "/registry/x/key-07/s". */
static ProtobufCBinaryData key_of(unsigned key, char text[32])
{
    int size = snprintf(text, 32, "/registry/x/key-%02u%s", key / 2, key % 2 ? "/s" : "");

    return (ProtobufCBinaryData){.data = (uint8_t *)text, .len = (size_t)size};
}

/* The newest change of `key` <= at; NULL when there is none. */
static const struct change *newest(const struct model *model, unsigned key, int64_t at)
{
    for (size_t i = model->count; i-- > 0;) {
        if (model->changes[i].key == key && model->changes[i].revision.main <= at)
            return &model->changes[i];
    }
    return NULL;
}

static bool lives(const struct model *model, unsigned key, int64_t at)
{
    const struct change *change = newest(model, key, at);

    return change != NULL && !change->tombstone;
}

static void model_change(struct model *model, unsigned key, int64_t sub, bool tombstone,
                         uint32_t value)
{
    const struct change *before = newest(model, key, INT64_MAX);
    struct change *change = &model->changes[model->count];
    bool lived = before != NULL && !before->tombstone;

    assert_true(model->count < CHANGES_MAX);
    *change = (struct change){.key = key,
                              .revision = {.main = model->current + 1, .sub = sub},
                              .tombstone = tombstone,
                              .value = value};
    if (!tombstone) {
        change->create = lived ? before->create : change->revision.main;
        change->version = lived ? before->version + 1 : 1;
    }
    model->count++;
}

/* ---- changes ---- */

static void do_put(struct model *model)
{
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__PutResponse *response;
    unsigned key = draw(model, model->keys);
    uint32_t value = draw(model, UINT32_MAX);
    char text[32];

    request.key = key_of(key, text);
    request.value = (ProtobufCBinaryData){.data = (uint8_t *)&value, .len = sizeof(value)};
    assert_int_equal(mvcc_apply_put(model->store.mvcc, &request, &model->store.arena, &response),
                     ERR_OK);
    model_change(model, key, 0, false, value);
    model->current++;
    assert_int_equal(response->header->revision, model->current);
}

static int64_t model_delete(struct model *model, unsigned from, unsigned to, int64_t sub)
{
    for (unsigned key = from; key < to; key++) {
        if (lives(model, key, INT64_MAX))
            model_change(model, key, sub++, true, 0);
    }
    return sub;
}

static void do_delete(struct model *model)
{
    Etcdserverpb__DeleteRangeRequest request = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    Etcdserverpb__DeleteRangeResponse *response;
    unsigned from = draw(model, model->keys), to = from + draw(model, 4);
    char from_text[32], to_text[32];
    int64_t deleted;

    request.key = key_of(from, from_text);
    request.range_end = key_of(to, to_text);
    assert_int_equal(
        mvcc_apply_delete_range(model->store.mvcc, &request, &model->store.arena, &response),
        ERR_OK);
    deleted = model_delete(model, from, MIN(to, model->keys), 0);
    model->current += deleted > 0;
    assert_int_equal(response->deleted, deleted);
    assert_int_equal(response->header->revision, model->current);
}

/* Delete everything from a key on, then put some of it again: both in one revision. */
static void do_txn(struct model *model)
{
    Etcdserverpb__DeleteRangeRequest gone = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__RequestOp ops[2] = {ETCDSERVERPB__REQUEST_OP__INIT,
                                      ETCDSERVERPB__REQUEST_OP__INIT};
    Etcdserverpb__RequestOp *pointers[2] = {&ops[0], &ops[1]};
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__TxnResponse *response;
    unsigned from = model->keys - 1 - draw(model, MIN(model->keys, 6)),
             key = from + draw(model, model->keys - from);
    uint32_t value = draw(model, UINT32_MAX);
    char from_text[32], key_text[32];
    int64_t sub;

    gone.key = key_of(from, from_text);
    gone.range_end = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t) "", .len = 1};
    put.key = key_of(key, key_text);
    put.value = (ProtobufCBinaryData){.data = (uint8_t *)&value, .len = sizeof(value)};
    ops[0].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    ops[0].request_delete_range = &gone;
    ops[1].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    ops[1].request_put = &put;
    txn.n_success = 2;
    txn.success = pointers;
    assert_int_equal(mvcc_check_txn(&txn, 2), ERR_OK);
    assert_int_equal(mvcc_apply_txn(model->store.mvcc, &txn, &model->store.arena, &response),
                     ERR_OK);
    sub = model_delete(model, from, model->keys, 0);
    model_change(model, key, sub, false, value);
    model->current++;
    assert_int_equal(response->header->revision, model->current);
}

static void do_compact(struct model *model)
{
    int64_t to = model->current - draw(model, 12);
    enum err_code code = mvcc_apply_compact(model->store.mvcc, to);

    assert_int_equal(code, to <= model->compacted ? ERR_COMPACTED : ERR_OK);
    if (code == ERR_OK)
        model->compacted = to;
}

/* ---- reads ---- */

static void expect_key_value(const struct model *model, struct slice key_value, unsigned key,
                             int64_t at)
{
    const struct change *change = newest(model, key, at);
    struct stored stored;
    char text[32];
    ProtobufCBinaryData name = key_of(key, text);

    assert_true(stored_decode(key_value, &stored));
    assert_int_equal(stored.key.size, name.len);
    assert_memory_equal(stored.key.data, name.data, name.len);
    assert_int_equal(stored.mod, change->revision.main);
    assert_int_equal(stored.create, change->create);
    assert_int_equal(stored.version, change->version);
    assert_memory_equal(stored.value.data, &change->value, sizeof(change->value));
}

/* They are what the model has, now and later. */
static void expect_pieces(struct model *model, const struct slow_range *slow)
{
    unsigned key = slow->from;

    for (size_t i = 0; i < slow->pieces.count; i++) {
        struct pb_reader reader = pb_reader_of(slow->pieces.all[i].bytes, "RangeResponse");
        struct pb_field field;

        while (pb_skim(&reader, &field) == 1) {
            while (key < slow->to && !lives(model, key, slow->at))
                key++;
            assert_true(key < slow->to && field.number == RANGE_KVS_FIELD);
            expect_key_value(model, field.bytes, key++, slow->at);
        }
    }
    while (key < slow->to)
        assert_false(lives(model, key++, slow->at));
}

/* Others ask for the same first, so that it is at hand in pieces. */
static void ask_before(struct model *model, const Etcdserverpb__RangeRequest *request)
{
    for (unsigned times = 1 + draw(model, 2); times > 0; times--) {
        struct mvcc_range *range;
        struct shared_pieces pieces;
        size_t key_values;

        if (mvcc_range_start(model->store.mvcc, request, &range) != ERR_OK)
            return;
        model->in_pieces += mvcc_range_pieces(range, request, &pieces, &key_values);
        mvcc_range_free(range);
    }
}

static bool start_range(struct model *model, struct slow_range *slow)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    char from_text[32], to_text[32];
    int64_t count = 0;
    size_t key_values;
    enum err_code code, expected = ERR_OK;

    slow->from = draw(model, model->keys);
    slow->to = slow->from + draw(model, model->keys - slow->from + 1);
    slow->next = slow->from;
    slow->pieces.count = 0;
    request.revision = draw(model, 3) == 0 ? 0 : model->current + 1 - draw(model, 14);
    slow->at = request.revision > 0 ? request.revision : model->current;
    request.key = key_of(slow->from, from_text);
    request.range_end = key_of(slow->to, to_text);
    if (slow->at > model->current)
        expected = ERR_FUTURE_REV;
    else if (slow->at < model->compacted)
        expected = ERR_COMPACTED;
    if (draw(model, 2) == 0)
        ask_before(model, &request);
    code = mvcc_range_start(model->store.mvcc, &request, &slow->range);
    assert_int_equal(code, expected);
    if (code != ERR_OK) {
        slow->range = NULL;
        return false;
    }
    for (unsigned key = slow->from; key < slow->to; key++)
        count += lives(model, key, slow->at);
    assert_int_equal(mvcc_range_count(slow->range), count);
    if (draw(model, 2) == 0 &&
        mvcc_range_pieces(slow->range, &request, &slow->pieces, &key_values)) {
        assert_int_equal(key_values, count);
        expect_pieces(model, slow);
        model->in_pieces++;
    }
    return true;
}

/* Read up to `steps` key-values; frees the range at its end. */
static void read_range(struct model *model, struct slow_range *slow, unsigned steps)
{
    struct slice key_value;

    for (; steps > 0; steps--) {
        while (slow->next < slow->to && !lives(model, slow->next, slow->at))
            slow->next++;
        if (!mvcc_range_next(slow->range, &key_value)) {
            assert_int_equal(slow->next, slow->to);
            if (slow->pieces.count != 0)
                expect_pieces(model, slow);
            mvcc_range_free(slow->range);
            slow->range = NULL;
            return;
        }
        assert_true(slow->next < slow->to);
        expect_key_value(model, key_value, slow->next++, slow->at);
    }
}

static void do_range(struct model *model)
{
    struct slow_range *slow = &model->slow[draw(model, SLOW_MAX)];

    if (slow->range == NULL && !start_range(model, slow))
        return;
    read_range(model, slow, draw(model, 2) == 0 ? 2 : model->keys + 1);
}

static uint32_t hash_change(uint32_t hash, const struct change *change)
{
    uint8_t key[REVISION_BYTES_MAX], record[128];
    size_t size = revision_encode(change->revision, change->tombstone, key);
    char text[32];
    ProtobufCBinaryData name = key_of(change->key, text);
    struct stored stored = {.key = pb_slice(name)};

    if (!change->tombstone)
        stored = (struct stored){.key = stored.key,
                                 .create = change->create,
                                 .mod = change->revision.main,
                                 .version = change->version,
                                 .value = slice_of(&change->value, sizeof(change->value))};
    stored_encode(&stored, record);
    return crc32c(crc32c(hash, key, size), record, stored_bytes(&stored));
}

/* Every change up to `at`; of those up to `compacted` only what lives there. */
static uint32_t hash_changes(const struct model *model, int64_t at, int64_t compacted)
{
    uint32_t hash = crc32c(0, "key", 3);

    for (size_t i = 0; i < model->count && model->changes[i].revision.main <= at; i++) {
        const struct change *change = &model->changes[i];

        if (change->revision.main > compacted ||
            (!change->tombstone && newest(model, change->key, compacted) == change))
            hash = hash_change(hash, change);
    }
    return hash;
}

static void expect_history(struct model *model, const struct mvcc_hash_result *result)
{
    const struct mvcc_history *history = &result->history;

    if (!history->known)
        return;
    assert_false(result->living);
    assert_int_equal(history->hash,
                     hash_changes(model, result->hash_revision, history->compact_revision));
    model->histories++;
}

/* HashKV is of every change, when nothing is compacted away. */
static void do_hash(struct model *model)
{
    int64_t at = model->current - draw(model, 4);
    struct mvcc_hash_result result;

    if (at < MAX(model->compacted, 1))
        return;
    result = store_hash(&model->store, at);
    if (model->compacted < 0)
        assert_int_equal(result.hash, hash_changes(model, at, -1));
    assert_int_equal(store_hash(&model->store, at).hash, result.hash);
    assert_int_equal(result.history.known, !result.living);
    expect_history(model, &result);
}

/* A hash across the changes. */
static void do_slow_hash(struct model *model)
{
    struct mvcc_hash_result result;

    if (model->slow_hash == NULL) {
        model->compacted_before = model->compacted;
        assert_int_equal(mvcc_hash_start(model->store.mvcc, 0, &model->slow_hash), ERR_OK);
        return;
    }
    if (!mvcc_hash_step(model->slow_hash, 1 + draw(model, 8)))
        return;
    result = mvcc_hash_result(model->slow_hash);
    if (model->compacted_before == model->compacted)
        assert_int_equal(result.history.known, !result.living);
    expect_history(model, &result);
    mvcc_hash_free(model->slow_hash);
    model->slow_hash = NULL;
}

static void end_ranges(struct model *model)
{
    for (size_t i = 0; i < SLOW_MAX; i++) {
        mvcc_range_free(model->slow[i].range);
        model->slow[i].range = NULL;
    }
    mvcc_hash_free(model->slow_hash);
    model->slow_hash = NULL;
}

static void do_restart(struct model *model)
{
    end_ranges(model);
    store_restart(&model->store);
    assert_int_equal(mvcc_revision(model->store.mvcc), model->current);
    assert_int_equal(mvcc_compact_revision(model->store.mvcc), model->compacted);
}

static void expect_living(struct model *model)
{
    int64_t living = 0;

    for (unsigned key = 0; key < model->keys; key++)
        living += lives(model, key, INT64_MAX);
    assert_int_equal(mvcc_key_count(model->store.mvcc), living);
}

static void step(struct model *model, bool compactions)
{
    uint32_t dice = draw(model, 100);

    if (dice < (model->keys == FEW_KEYS ? 25U : 45U))
        do_put(model);
    else if (dice < 55)
        do_delete(model);
    else if (dice < 60)
        do_txn(model);
    else if (dice < 75)
        do_range(model);
    else if (dice < 85)
        do_slow_hash(model);
    else if (dice < 88)
        do_hash(model);
    else if (dice < 90 && compactions)
        do_compact(model);
    else if (dice < 97)
        (void)mvcc_compact_step(model->store.mvcc, 1 + draw(model, 30)); /* ends when it ends */
    else if (dice < 99)
        store_commit(&model->store);
    else
        do_restart(model);
}

/* What the runs came by, for else they would prove nothing. */
struct found {
    size_t histories, in_pieces;
};

static void run(uint64_t seed, unsigned keys, bool compactions, struct found *found)
{
    struct model *model = xalloc(sizeof(*model));

    model->keys = keys;
    model->random = seed * 0x9e3779b97f4a7c15U + 1;
    model->current = 1;
    model->compacted = -1;
    store_init(&model->store);
    for (unsigned i = 0; i < 2000; i++) {
        step(model, compactions);
        if (i % 16 == 0)
            expect_living(model);
        store_turn(&model->store);
    }
    end_ranges(model);
    store_compact_all(&model->store);
    do_restart(model);
    expect_living(model);
    store_fini(&model->store);
    found->histories += model->histories;
    found->in_pieces += model->in_pieces;
    free(model);
}

static void as_the_model_says(void **state)
{
    struct found many = {.histories = 0}, few = {.histories = 0};

    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        print_message("seed %" PRIu64 "\n", seed);
        run(seed, MANY_KEYS, seed % 3 != 0, &many);
        run(seed, FEW_KEYS, seed % 3 != 0, &few);
    }
    print_message("%zu ranges in pieces, %zu histories\n", many.in_pieces, few.histories);
    assert_in_range(few.histories, 300, SIZE_MAX);
    assert_in_range(many.in_pieces, 200, SIZE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_the_model_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
