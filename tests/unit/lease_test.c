/* lease_test.c - leases against a plain list: sets of keys, order of the list, time, bucket. */
#include "common/schema/lease.pb-c.h"
#include "etcd-server/state/lease.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define SECOND 1000
#define MODEL_KEYS 300
#define MODEL_LEASES 40
#define MODEL_STEPS 40000

static uint32_t draw(uint32_t *seed, uint32_t below)
{
    *seed = *seed * 1664525 + 1013904223;
    return (*seed >> 8) % below;
}

static struct slice key_text(uint32_t number, char text[16])
{
    return slice_of(text, (size_t)snprintf(text, 16, "key%05u", number));
}

/* ---- key_set ---- */

static void check_set(const struct key_set *set, const bool there[MODEL_KEYS])
{
    struct slice listed[MODEL_KEYS];
    size_t count = 0;
    char text[16];

    for (uint32_t i = 0; i < MODEL_KEYS; i++)
        count += there[i];
    assert_int_equal(set->count, count);
    key_set_list(set, listed);
    count = 0;
    for (uint32_t i = 0; i < MODEL_KEYS; i++)
        if (there[i])
            assert_true(slice_equal(listed[count++], key_text(i, text)));
}

static void set_of_keys(void **state)
{
    struct key_set set = {0};
    bool there[MODEL_KEYS] = {false};
    uint32_t seed = 1;
    char text[16];

    (void)state;
    for (unsigned step = 0; step < MODEL_STEPS; step++) {
        uint32_t number = draw(&seed, MODEL_KEYS);
        bool add = draw(&seed, MODEL_STEPS) < (step / 8000 % 2 == 0 ? 3 : 1) * MODEL_STEPS / 4;

        if (add)
            assert_int_equal(key_set_add(&set, key_text(number, text)), !there[number]);
        else
            assert_int_equal(key_set_remove(&set, key_text(number, text)), there[number]);
        there[number] = add;
        if (step % 64 == 0)
            check_set(&set, there);
    }
    assert_true(key_set_add(&set, SLICE_EMPTY));
    key_set_free(&set);
    assert_int_equal(set.count, 0);
}

/* In order, which a tree without balance would make a list of, and back. */
static void many_keys_in_order(void **state)
{
    struct key_set set = {0};
    char text[16];

    (void)state;
    for (uint32_t i = 0; i < 50000; i++)
        assert_true(key_set_add(&set, key_text(i, text)));
    for (uint32_t i = 0; i < 50000; i += 2)
        assert_true(key_set_remove(&set, key_text(i, text)));
    assert_int_equal(set.count, 25000);
    key_set_free(&set);
}

/* ---- the store ---- */

static struct lease_store *leases;
static struct batch *batch;

static int set_up(void **state)
{
    (void)state;
    leases = lease_store_new();
    batch = batch_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    lease_store_free(leases);
    batch_unref(batch);
    return 0;
}

static void grant(int64_t id, int64_t ttl_s, uint64_t now_ms)
{
    assert_int_equal(lease_apply_grant(leases, id, ttl_s, now_ms, batch), ERR_OK);
}

static int64_t due(uint64_t now_ms)
{
    const struct lease *lease = lease_next_due(leases, now_ms);

    return lease != NULL ? lease->id : 0;
}

static void assert_list(size_t count, const int64_t *expected)
{
    struct lease_place places[8];

    assert_int_equal(lease_count(leases), count);
    lease_collect(leases, places);
    lease_places_sort(places, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(places[i].id, expected[i]);
}

static void refusals(void **state)
{
    (void)state;
    grant(-5, 10, 0);
    assert_int_equal(lease_apply_grant(leases, -5, 10, 0, batch), ERR_LEASE_EXIST);
    assert_int_equal(lease_apply_grant(leases, 1, LEASE_TTL_MAX_S + 1, 0, batch),
                     ERR_LEASE_TTL_TOO_LARGE);
    assert_int_equal(lease_apply_revoke(leases, 1, batch), ERR_LEASE_NOT_FOUND);
    assert_int_equal(lease_apply_revoke(leases, 0, batch), ERR_LEASE_NOT_FOUND);
    lease_attach(leases, 1, SLICE_LITERAL("a"));
    lease_detach(leases, 1, SLICE_LITERAL("a"));
    lease_apply_checkpoint(leases, -5, 11, batch); /* more than it was granted */
    assert_int_equal(lease_find(leases, -5)->remaining_ttl_s, 0);
    assert_int_equal(lease_count(leases), 1);
}

static void keys_are_taken_once(void **state)
{
    struct key_set keys;
    struct slice listed[2];

    (void)state;
    grant(1, 10, 0);
    lease_attach(leases, 1, SLICE_LITERAL("b"));
    lease_attach(leases, 1, SLICE_LITERAL("a"));
    lease_attach(leases, 1, SLICE_LITERAL("b"));
    lease_attach(leases, 1, SLICE_LITERAL("c"));
    lease_detach(leases, 1, SLICE_LITERAL("c"));
    keys = lease_take_keys(leases, 1);
    assert_int_equal(keys.count, 2);
    key_set_list(&keys, listed);
    assert_true(slice_equal(listed[0], SLICE_LITERAL("a")));
    lease_detach(leases, 1, listed[0]); /* as their deletion does; they stay readable */
    assert_true(slice_equal(listed[1], SLICE_LITERAL("b")));
    key_set_free(&keys);
    assert_int_equal(lease_find(leases, 1)->keys.count, 0);
    assert_int_equal(lease_take_keys(leases, 2).count, 0);
}

static void only_who_counts_expires(void **state)
{
    (void)state;
    grant(1, 10, 0);
    assert_int_equal(due(UINT64_MAX - 1), 0);
    lease_promote(leases, 100 * SECOND, 1 * SECOND, false, 0);
    assert_int_equal(due(110 * SECOND), 0);
    assert_int_equal(due(111 * SECOND - 1), 0); /* its TTL and the election timeout */
    assert_int_equal(due(111 * SECOND), 1);
    grant(2, 5, 100 * SECOND); /* no timeout on top: it was granted here */
    assert_int_equal(due(105 * SECOND - 1), 0);
    assert_int_equal(due(105 * SECOND), 2);
    lease_demote(leases);
    assert_false(lease_is_counting(leases));
    assert_int_equal(due(UINT64_MAX - 1), 0);
    lease_promote(leases, 200 * SECOND, 1 * SECOND, false, 0); /* all of it again */
    assert_int_equal(lease_remaining_s(lease_find(leases, 1), 200 * SECOND), 11);
    assert_int_equal(due(206 * SECOND), 2);
}

/* The leader of before may still renew: until its election timeout is over, from when on it knows.
 */
static void renewals_reach_as_far_as_those_of_others(void **state)
{
    (void)state;
    grant(1, 10, 0);
    lease_promote(leases, 100 * SECOND, 2 * SECOND, true, 0);
    lease_renew(leases, 1, 101 * SECOND);
    assert_int_equal(due(112 * SECOND - 1), 0);
    assert_int_equal(due(112 * SECOND), 1);
    lease_renew(leases, 1, 105 * SECOND);
    assert_int_equal(due(115 * SECOND - 1), 0);
    assert_int_equal(due(115 * SECOND), 1);
    lease_promote(leases, 200 * SECOND, 2 * SECOND, true, 0);
    grant(2, 5, 201 * SECOND); /* applied here now; the leader of before may have answered it */
    assert_int_equal(due(207 * SECOND - 1), 0);
    assert_int_equal(due(207 * SECOND), 2);
}

static void remaining_time_is_rounded_down(void **state)
{
    const struct lease *lease;

    (void)state;
    lease_promote(leases, 0, 0, false, 0);
    grant(1, 10, 0);
    lease = lease_find(leases, 1);
    assert_int_equal(lease_remaining_s(lease, 0), 10);
    assert_int_equal(lease_remaining_s(lease, 1), 9);
    assert_int_equal(lease_remaining_s(lease, 9999), 0);
    assert_false(lease_is_expired(lease, 9999));
    assert_true(lease_is_expired(lease, 10000));
    assert_int_equal(lease_remaining_s(lease, 50000), 0); /* never -1: that is "no such lease" */
}

static void the_least_time_first(void **state)
{
    (void)state;
    grant(3, 30, 0);
    grant(1, 10, 0);
    grant(2, 10, 0);
    assert_list(3, (const int64_t[]){1, 2, 3}); /* a follower goes by TTL */
    lease_promote(leases, 0, 0, false, 0);
    lease_renew(leases, 1, 25 * SECOND);
    assert_list(3, (const int64_t[]){2, 3, 1});
    assert_int_equal(due(10 * SECOND), 2);
    lease_wake_at(leases, 2, 10 * SECOND, UINT64_MAX); /* its revoke is under way */
    assert_int_equal(due(29 * SECOND), 0);
    lease_wake_at(leases, 2, 29 * SECOND, 29 * SECOND + 500); /* it failed */
    assert_int_equal(due(29 * SECOND + 500), 2);
    assert_int_equal(lease_apply_revoke(leases, 2, batch), ERR_OK);
    assert_int_equal(due(30 * SECOND), 3);
    lease_wake_at(leases, 1, 30 * SECOND, UINT64_MAX); /* never past its deadline */
    assert_int_equal(lease_find(leases, 1)->wake_ms, 35 * SECOND);
    lease_wake_at(leases, 99, 0, 0);
}

static void checkpoints_shorten_the_next_term(void **state)
{
    (void)state;
    grant(1, 1000, 0);
    grant(2, 300, 0);
    lease_promote(leases, 0, 0, false, 300 * SECOND);
    assert_int_equal(lease_find(leases, 2)->wake_ms, 300 * SECOND); /* not longer: no checkpoint */
    assert_int_equal(due(300 * SECOND), 1);
    assert_false(lease_is_expired(lease_find(leases, 1), 300 * SECOND));
    lease_apply_checkpoint(leases, 1, 700, batch);
    lease_promote(leases, 400 * SECOND, 0, false, 0);
    assert_int_equal(lease_remaining_s(lease_find(leases, 1), 400 * SECOND), 700);
    lease_apply_checkpoint(leases, 1, 0, NULL);
    lease_promote(leases, 500 * SECOND, 0, false, 0);
    assert_int_equal(lease_remaining_s(lease_find(leases, 1), 500 * SECOND), 1000);
}

/* ---- the bucket ---- */

static void restored(void **state)
{
    struct backend *backend = backend_new_mem();
    struct backend_read *read = NULL;
    struct err err = ERR_INIT;

    (void)state;
    grant(-5, 60, 0);
    grant(7, 1000, 0);
    grant(8, 10, 0);
    lease_apply_checkpoint(leases, 7, 400, batch);
    lease_apply_checkpoint(leases, -5, 30, NULL); /* not stored */
    assert_int_equal(lease_apply_revoke(leases, 8, batch), ERR_OK);
    assert_int_equal(backend_commit(backend, batch, &err), 0);
    lease_store_free(leases);
    leases = lease_store_new();
    assert_int_equal(backend_read_begin(backend, &read, &err), 0);
    assert_int_equal(lease_store_restore(leases, read, &err), 0);
    backend_read_end(read);
    backend_close(backend);
    assert_list(2, (const int64_t[]){-5, 7});
    assert_int_equal(lease_find(leases, -5)->ttl_s, 60);
    assert_int_equal(lease_find(leases, -5)->remaining_ttl_s, 0);
    assert_int_equal(lease_find(leases, 7)->remaining_ttl_s, 400);
}

static void damaged(void **state)
{
    static const char *const values[] = {"", "\x08",
                                         "\x08\x01\x10\xff\xff\xff\xff\xff\xff\xff\x7f"};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct backend *backend = backend_new_mem();
        struct backend_read *read = NULL;
        struct batch *bad = batch_new();
        struct lease_store *store = lease_store_new();
        struct err err = ERR_INIT;

        batch_put(bad, BUCKET_LEASE, SLICE_LITERAL("12345678"), slice_text(values[i]));
        assert_int_equal(backend_commit(backend, bad, &err), 0);
        assert_int_equal(backend_read_begin(backend, &read, &err), 0);
        assert_int_equal(lease_store_restore(store, read, &err), -1);
        assert_int_equal(err.code, ERR_DAMAGED);
        backend_read_end(read);
        backend_close(backend);
        batch_unref(bad);
        lease_store_free(store);
    }
}

/* ---- model: a table that is searched from end to end ---- */

struct model {
    bool there;
    uint64_t ttl_s, deadline_ms, wake_ms;
};

static int64_t model_due(const struct model model[MODEL_LEASES], uint64_t now_ms)
{
    int64_t first = 0;

    for (int64_t id = 1; id < MODEL_LEASES; id++)
        if (model[id].there && model[id].wake_ms <= now_ms &&
            (first == 0 || model[id].wake_ms < model[first].wake_ms))
            first = id;
    return first;
}

static void model_step(struct model model[MODEL_LEASES], uint32_t *seed, uint64_t now_ms)
{
    uint32_t id = 1 + draw(seed, MODEL_LEASES - 1), ttl_s = 1 + draw(seed, 50);
    struct model *one = &model[id];

    switch (draw(seed, 5)) {
    case 0:
    case 1:
        assert_int_equal(lease_apply_grant(leases, id, ttl_s, now_ms, batch),
                         one->there ? ERR_LEASE_EXIST : ERR_OK);
        if (!one->there)
            *one = (struct model){true, ttl_s, now_ms + ttl_s * SECOND, now_ms + ttl_s * SECOND};
        break;
    case 2:
        assert_int_equal(lease_apply_revoke(leases, id, batch),
                         one->there ? ERR_OK : ERR_LEASE_NOT_FOUND);
        one->there = false;
        break;
    case 3:
        if (one->there) {
            lease_renew(leases, id, now_ms);
            one->wake_ms = one->deadline_ms = now_ms + one->ttl_s * SECOND;
        }
        break;
    default:
        lease_wake_at(leases, id, now_ms, now_ms + ttl_s);
        one->wake_ms =
            one->deadline_ms <= now_ms ? now_ms + ttl_s : MIN(now_ms + ttl_s, one->deadline_ms);
    }
}

static void like_a_model(void **state)
{
    struct model model[MODEL_LEASES] = {{false, 0, 0, 0}};
    uint32_t seed = 7;
    uint64_t now_ms = 0;

    (void)state;
    lease_promote(leases, 0, 0, false, 0);
    for (unsigned step = 0; step < MODEL_STEPS; step++) {
        now_ms += draw(&seed, 400);
        model_step(model, &seed, now_ms);
        assert_int_equal(due(now_ms), model_due(model, now_ms));
        if (step % 5000 == 4999) { /* a term ends, the next begins */
            lease_promote(leases, now_ms, 1 * SECOND, false, 0);
            for (int id = 1; id < MODEL_LEASES; id++)
                model[id].wake_ms = model[id].deadline_ms = now_ms + (model[id].ttl_s + 1) * SECOND;
        }
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_of_keys),
        cmocka_unit_test(many_keys_in_order),
        TEST(refusals),
        TEST(keys_are_taken_once),
        TEST(only_who_counts_expires),
        TEST(renewals_reach_as_far_as_those_of_others),
        TEST(remaining_time_is_rounded_down),
        TEST(the_least_time_first),
        TEST(checkpoints_shorten_the_next_term),
        TEST(restored),
        TEST(damaged),
        TEST(like_a_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
