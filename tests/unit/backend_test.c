/*
 * backend_test.c - one suite over every backend: what backend.h promises holds for all of them.
 * Then what only the one in memory has: a crash by clone, commits that fail on order.
 */
#include "common/storage/backend.h"
#include "common/storage/batch.h"

#include "common/base/file.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define MODEL_KEYS 300

struct fixture { /* the state of each test */
    const struct kind *kind;
    struct backend *backend;
    char *directory; /* LMDB: owned */
    char *path;
};

struct kind {
    const char *name;
    void (*open)(struct fixture *fixture);
    void (*reopen)(struct fixture *fixture); /* NULL: nothing survives closing */
    void (*close)(struct fixture *fixture);
};

static struct err err;

static void mem_open(struct fixture *fixture)
{
    fixture->backend = backend_new_mem();
}

static void mem_close(struct fixture *fixture)
{
    backend_close(fixture->backend);
}

static void lmdb_open_again(struct fixture *fixture)
{
    const struct backend_options options = {.map_bytes = 1UL << 30};

    if (backend_open_lmdb(fixture->path, &options, &fixture->backend, &err) < 0)
        fail_msg("%s", err.text);
}

static void lmdb_open(struct fixture *fixture)
{
    const char *base = getenv("TMPDIR");

    fixture->directory = xasprintf("%s/backend_test.XXXXXX", base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(fixture->directory));
    fixture->path = xasprintf("%s/db", fixture->directory);
    lmdb_open_again(fixture);
}

static void lmdb_reopen(struct fixture *fixture)
{
    backend_close(fixture->backend);
    lmdb_open_again(fixture);
}

static void lmdb_close(struct fixture *fixture)
{
    backend_close(fixture->backend);
    assert_int_equal(file_remove_tree(fixture->directory, &err), 0);
    free(fixture->directory);
    free(fixture->path);
}

static const struct kind kinds[] = {
    {"memory", mem_open, NULL, mem_close},
    {"lmdb", lmdb_open, lmdb_reopen, lmdb_close},
};

/* ---- helpers ---- */

static int commit(struct backend *backend, struct batch *batch) /* `batch` is taken */
{
    int rc = backend_commit(backend, batch, &err);

    batch_unref(batch);
    return rc;
}

static void put_one(struct backend *backend, enum bucket bucket, const char *key, const char *value)
{
    struct batch *batch = batch_new();

    batch_put(batch, bucket, slice_text(key), slice_text(value));
    assert_int_equal(commit(backend, batch), 0);
}

static struct backend_read *begin(struct backend *backend)
{
    struct backend_read *read = NULL;

    assert_int_equal(backend_read_begin(backend, &read, &err), 0);
    return read;
}

static void expect(struct backend_read *read, enum bucket bucket, const char *key,
                   const char *value)
{
    struct slice found;

    if (value == NULL) {
        assert_false(backend_get(read, bucket, slice_text(key), &found));
        return;
    }
    assert_true(backend_get(read, bucket, slice_text(key), &found));
    assert_true(slice_equal(found, slice_text(value)));
}

static void expect_now(struct backend *backend, enum bucket bucket, const char *key,
                       const char *value)
{
    struct backend_read *read = begin(backend);

    expect(read, bucket, key, value);
    backend_read_end(read);
}

/* ---- the suite ---- */

static void buckets_are_named_in_byte_order(void **state)
{
    enum bucket found;

    (void)state;
    for (int i = 0; i < BUCKET_COUNT; i++) {
        assert_true(bucket_find(slice_text(bucket_name((enum bucket)i)), &found));
        assert_int_equal(found, i);
        if (i > 0)
            assert_true(strcmp(bucket_name((enum bucket)(i - 1)), bucket_name((enum bucket)i)) < 0);
    }
    assert_false(bucket_find(slice_text("keys"), &found));
}

static void an_empty_one_has_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct backend_read *read = begin(fixture->backend);
    struct slice key, value;

    for (int i = 0; i < BUCKET_COUNT; i++) {
        struct backend_cursor *cursor = backend_cursor_open(read, (enum bucket)i);

        assert_false(backend_cursor_next(cursor, &key, &value));
        assert_false(backend_cursor_seek(cursor, SLICE_EMPTY, &key, &value));
        assert_false(backend_cursor_next(cursor, &key, &value));
        assert_false(backend_cursor_last(cursor, &key, &value));
        assert_false(backend_get(read, (enum bucket)i, slice_text("a"), &value));
        assert_false(backend_get(read, (enum bucket)i, SLICE_EMPTY, &value));
        backend_cursor_close(cursor);
    }
    assert_int_equal(backend_reads_open(fixture->backend), 1);
    backend_read_end(read);
    assert_int_equal(backend_reads_open(fixture->backend), 0);
    assert_true(backend_size(fixture->backend) >= backend_size_in_use(fixture->backend));
    assert_int_equal(commit(fixture->backend, batch_new()), 0);
}

static void what_is_put_can_be_got_and_deleted(void **state)
{
    struct fixture *fixture = *state;
    struct batch *batch = batch_new();

    batch_put(batch, BUCKET_META, slice_text("a"), slice_text("1"));
    batch_put(batch, BUCKET_META, slice_text("b"), slice_text("2"));
    batch_put(batch, BUCKET_AUTH, slice_text("a"), slice_text("other"));
    batch_put(batch, BUCKET_META, slice_text("a"), slice_text("3"));
    batch_put(batch, BUCKET_META, slice_text("e"), SLICE_EMPTY);
    batch_delete(batch, BUCKET_META, slice_text("b"));
    batch_delete(batch, BUCKET_META, slice_text("never there"));
    assert_int_equal(commit(fixture->backend, batch), 0);
    expect_now(fixture->backend, BUCKET_META, "a", "3");
    expect_now(fixture->backend, BUCKET_META, "b", NULL);
    expect_now(fixture->backend, BUCKET_META, "e", "");
    expect_now(fixture->backend, BUCKET_AUTH, "a", "other");
    expect_now(fixture->backend, BUCKET_AUTH, "b", NULL);
}

static void a_read_shows_what_was_when_it_began(void **state)
{
    struct fixture *fixture = *state;
    struct backend_read *old, *new;
    struct batch *batch = batch_new();

    put_one(fixture->backend, BUCKET_MEMBERS, "a", "1");
    old = begin(fixture->backend);
    batch_put(batch, BUCKET_MEMBERS, slice_text("a"), slice_text("2"));
    batch_put(batch, BUCKET_MEMBERS, slice_text("b"), slice_text("2"));
    assert_int_equal(commit(fixture->backend, batch), 0);
    new = begin(fixture->backend);
    expect(old, BUCKET_MEMBERS, "a", "1");
    expect(old, BUCKET_MEMBERS, "b", NULL);
    expect(new, BUCKET_MEMBERS, "a", "2");
    expect(new, BUCKET_MEMBERS, "b", "2");
    assert_int_equal(backend_reads_open(fixture->backend), 2);
    assert_int_equal(backend_read_renew(old, &err), 0);
    expect(old, BUCKET_MEMBERS, "b", "2");
    backend_read_end(old);
    backend_read_end(new);
    backend_read_end(NULL);
}

static void cursors_walk_in_byte_order(void **state)
{
    static const char *const keys[] = {"a", "a\x01", "ab", "b", "\x7f", "\xff", "\xff\xff"};
    struct fixture *fixture = *state;
    struct batch *batch = batch_new();
    struct backend_cursor *cursor;
    struct backend_read *read;
    struct slice key, value;

    for (size_t i = ARRAY_LEN(keys); i-- > 0;)
        batch_put(batch, BUCKET_LEASE, slice_text(keys[i]), slice_text(keys[i]));
    assert_int_equal(commit(fixture->backend, batch), 0);
    read = begin(fixture->backend);
    cursor = backend_cursor_open(read, BUCKET_LEASE);
    assert_true(backend_cursor_seek(cursor, SLICE_EMPTY, &key, &value));
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        assert_true(slice_equal(key, slice_text(keys[i])));
        assert_true(slice_equal(value, key));
        assert_int_equal(backend_cursor_next(cursor, &key, &value), i + 1 < ARRAY_LEN(keys));
    }
    assert_false(backend_cursor_next(cursor, &key, &value));
    assert_true(backend_cursor_seek(cursor, slice_text("aa"), &key, &value));
    assert_true(slice_equal(key, slice_text("ab")));
    assert_false(backend_cursor_seek(cursor, slice_text("\xff\xff\x01"), &key, &value));
    assert_false(backend_cursor_next(cursor, &key, &value));
    assert_true(backend_cursor_last(cursor, &key, &value));
    assert_true(slice_equal(key, slice_text("\xff\xff")));
    assert_false(backend_cursor_next(cursor, &key, &value));
    backend_cursor_close(cursor);
    backend_cursor_close(NULL);
    backend_read_end(read);
}

static void large_and_long_things_fit(void **state)
{
    struct fixture *fixture = *state;
    struct batch *batch = batch_new();
    size_t bytes = 3 * MIB + 17;
    uint8_t *value = xalloc(bytes), key[BACKEND_KEY_MAX];
    struct backend_read *read;
    struct slice found;

    memset(key, 'k', sizeof(key));
    for (size_t i = 0; i < bytes; i++)
        value[i] = (uint8_t)(i * 31 + i / 4096);
    batch_put(batch, BUCKET_AUTH_USERS, slice_of(key, sizeof(key)), slice_of(value, bytes));
    assert_int_equal(commit(fixture->backend, batch), 0);
    read = begin(fixture->backend);
    assert_true(backend_get(read, BUCKET_AUTH_USERS, slice_of(key, sizeof(key)), &found));
    assert_true(slice_equal(found, slice_of(value, bytes)));
    backend_read_end(read);
    free(value);
}

/* ---- against a model, over many commits and with reads left open ---- */

static unsigned next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (unsigned)(*seed >> 33);
}

static void model_key(char out[16], unsigned number)
{
    (void)snprintf(out, 16, "k%03u", number); /* fits */
}

static void expect_model(struct backend_read *read, const unsigned model[MODEL_KEYS])
{
    struct backend_cursor *cursor = backend_cursor_open(read, BUCKET_KEY);
    struct slice key, value;
    bool there = backend_cursor_seek(cursor, SLICE_EMPTY, &key, &value);
    char text[16], number[16];

    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        if (model[i] == 0)
            continue;
        model_key(text, i);
        (void)snprintf(number, sizeof(number), "%u", model[i]); /* fits */
        assert_true(there);
        assert_true(slice_equal(key, slice_text(text)));
        assert_true(slice_equal(value, slice_text(number)));
        expect(read, BUCKET_KEY, text, number);
        there = backend_cursor_next(cursor, &key, &value);
    }
    assert_false(there);
    backend_cursor_close(cursor);
}

static void random_changes(struct backend *backend, uint64_t *seed, unsigned model[MODEL_KEYS],
                           unsigned count)
{
    struct batch *batch = batch_new();
    char key[16], value[16];
    unsigned first = next_random(seed) % MODEL_KEYS, step = 1 + next_random(seed) % 3;

    for (unsigned i = 0; i < count && first < MODEL_KEYS; i++, first += step) {
        model_key(key, first);
        if (next_random(seed) % 5 < 2) {
            batch_delete(batch, BUCKET_KEY, slice_text(key));
            model[first] = 0;
            continue;
        }
        model[first] = 1 + next_random(seed) % 1000000;
        (void)snprintf(value, sizeof(value), "%u", model[first]); /* fits */
        batch_put(batch, BUCKET_KEY, slice_text(key), slice_text(value));
    }
    assert_int_equal(commit(backend, batch), 0);
}

static void many_commits_agree_with_a_model(void **state)
{
    struct fixture *fixture = *state;
    unsigned model[MODEL_KEYS] = {0}, pinned_model[MODEL_KEYS];
    struct backend_read *pinned = begin(fixture->backend), *read;
    uint64_t seed = 42;

    memcpy(pinned_model, model, sizeof(model));
    for (unsigned round = 0; round < 150; round++) {
        random_changes(fixture->backend, &seed, model, 60);
        read = begin(fixture->backend);
        expect_model(read, model);
        backend_read_end(read);
        expect_model(pinned, pinned_model);
        if (round % 20 == 19) {
            assert_int_equal(backend_defrag(fixture->backend, &err), 0);
            expect_model(pinned, pinned_model);
        }
        if (round % 13 == 12) {
            assert_int_equal(backend_read_renew(pinned, &err), 0);
            memcpy(pinned_model, model, sizeof(model));
        }
        if (round % 29 == 28 && fixture->kind->reopen != NULL) {
            backend_read_end(pinned);
            fixture->kind->reopen(fixture);
            pinned = begin(fixture->backend);
            memcpy(pinned_model, model, sizeof(model));
        }
    }
    backend_read_end(pinned);
}

static void defrag_gives_space_back(void **state)
{
    struct fixture *fixture = *state;
    struct batch *batch = batch_new();
    static const uint8_t value[500];
    uint64_t full, in_use;
    uint8_t key[4];

    for (unsigned i = 0; i < 4000; i++) {
        key[0] = (uint8_t)(i >> 8), key[1] = (uint8_t)i, key[2] = key[3] = 1;
        batch_put(batch, BUCKET_KEY, slice_of(key, 4), slice_of(value, sizeof(value)));
    }
    assert_int_equal(commit(fixture->backend, batch), 0);
    full = backend_size(fixture->backend);
    in_use = backend_size_in_use(fixture->backend);
    assert_in_range(in_use, 4000 * sizeof(value), full);
    batch = batch_new();
    for (unsigned i = 0; i < 3990; i++) {
        key[0] = (uint8_t)(i >> 8), key[1] = (uint8_t)i, key[2] = key[3] = 1;
        batch_delete(batch, BUCKET_KEY, slice_of(key, 4));
    }
    assert_int_equal(commit(fixture->backend, batch), 0);
    assert_true(backend_size(fixture->backend) >= full);
    assert_true(backend_size_in_use(fixture->backend) < in_use / 4);
    assert_int_equal(backend_defrag(fixture->backend, &err), 0);
    assert_true(backend_size(fixture->backend) < full / 4);
    assert_true(backend_size(fixture->backend) >= backend_size_in_use(fixture->backend));
    put_one(fixture->backend, BUCKET_KEY, "after", "defrag");
    expect_now(fixture->backend, BUCKET_KEY, "after", "defrag");
}

static void what_is_committed_survives(void **state)
{
    struct fixture *fixture = *state;

    if (fixture->kind->reopen == NULL)
        return; /* memory: backend_mem_clone() below */
    put_one(fixture->backend, BUCKET_CLUSTER, "clusterVersion", "3.5.0");
    fixture->kind->reopen(fixture);
    expect_now(fixture->backend, BUCKET_CLUSTER, "clusterVersion", "3.5.0");
    assert_int_equal(backend_defrag(fixture->backend, &err), 0);
    put_one(fixture->backend, BUCKET_CLUSTER, "clusterVersion", "3.6.0");
    fixture->kind->reopen(fixture);
    expect_now(fixture->backend, BUCKET_CLUSTER, "clusterVersion", "3.6.0");
}

/* ---- memory only ---- */

static int refuse(void *arg, const struct batch *batch, struct err *why)
{
    int *sys = arg;

    assert_true(batch_op_count(batch) > 0);
    if (*sys == 0)
        return 0;
    err_sys(why, *sys, "commit");
    return -1;
}

static void memory_fails_commits_on_order(void **state)
{
    int sys = 0;
    const struct backend_mem_options options = {refuse, &sys};
    struct backend *backend = backend_new_mem_with(&options);
    struct batch *batch = batch_new();

    (void)state;
    put_one(backend, BUCKET_META, "a", "1");
    sys = ENOSPC;
    batch_put(batch, BUCKET_META, slice_text("a"), slice_text("2"));
    assert_int_equal(backend_commit(backend, batch, &err), -1);
    assert_int_equal(err.code, ERR_IO);
    assert_int_equal(err.sys, ENOSPC);
    expect_now(backend, BUCKET_META, "a", "1");
    sys = 0;
    assert_int_equal(commit(backend, batch), 0);
    expect_now(backend, BUCKET_META, "a", "2");
    backend_close(backend);
}

static void a_clone_is_what_a_crash_leaves(void **state)
{
    struct backend *backend = backend_new_mem(), *after;
    struct backend_read *read;

    (void)state;
    put_one(backend, BUCKET_META, "a", "1");
    read = begin(backend);
    after = backend_mem_clone(backend, NULL);
    put_one(backend, BUCKET_META, "a", "lost");
    put_one(after, BUCKET_META, "b", "2");
    expect(read, BUCKET_META, "a", "1");
    backend_read_end(read);
    backend_close(backend);
    expect_now(after, BUCKET_META, "a", "1");
    expect_now(after, BUCKET_META, "b", "2");
    backend_close(after);
}

/* ---- the run: the suite once per kind ---- */

static int set_up(void **state)
{
    struct fixture *fixture = *state;

    fixture->kind->open(fixture);
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    fixture->kind->close(fixture);
    return 0;
}

#define ROW(test) cmocka_unit_test_prestate_setup_teardown(test, set_up, tear_down, &fixture)

static int run_suite(const struct kind *kind)
{
    struct fixture fixture = {.kind = kind};
    const struct CMUnitTest suite[] = {
        ROW(an_empty_one_has_nothing),   ROW(what_is_put_can_be_got_and_deleted),
        ROW(cursors_walk_in_byte_order), ROW(a_read_shows_what_was_when_it_began),
        ROW(large_and_long_things_fit),  ROW(many_commits_agree_with_a_model),
        ROW(defrag_gives_space_back),    ROW(what_is_committed_survives),
    };

    return cmocka_run_group_tests_name(kind->name, suite, NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buckets_are_named_in_byte_order),
        cmocka_unit_test(memory_fails_commits_on_order),
        cmocka_unit_test(a_clone_is_what_a_crash_leaves),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        failed += run_suite(&kinds[i]);
    return failed != 0;
}
