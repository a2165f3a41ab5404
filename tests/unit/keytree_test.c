/*
 * keytree_test.c - the tree itself: of ranges the right way round it must say what keyranges.c
 * says, however it has grown.
 */
#include "etcd-server/state/keyranges.h"
#include "etcd-server/state/keytree.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct slice endless = {(const uint8_t *)"\0", 1};

static unsigned next_random(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(*seed >> 33);
}

/* One or two letters, the second of them maybe a zero byte. */
static struct slice random_key(uint64_t *seed, uint8_t key[2])
{
    key[0] = (uint8_t)('a' + next_random(seed) % 5);
    key[1] = (uint8_t)(next_random(seed) % 3 == 0 ? 0 : 'a' + next_random(seed) % 3);
    return slice_of(key, 1 + next_random(seed) % 2);
}

static struct slice random_end(uint64_t *seed, uint8_t key[2])
{
    unsigned kind = next_random(seed) % 8;

    return kind == 0 ? endless : kind < 3 ? SLICE_EMPTY : random_key(seed, key);
}

static void agrees_with_the_union(void **state)
{
    uint64_t seed = 1;

    (void)state;
    for (unsigned round = 0; round < 400; round++) {
        struct keyranges set = {NULL, 0, 0};
        struct keytree tree;
        uint8_t keys[40][2], ends[40][2], key[2], end[2];
        size_t count = next_random(&seed) % ARRAY_LEN(keys);

        keytree_init(&tree);
        for (size_t i = 0; i < count; i++) {
            struct slice from = random_key(&seed, keys[i]), to = random_end(&seed, ends[i]);

            keyranges_add(&set, from, to);
            keytree_add(&tree, from, to);
        }
        keyranges_unite(&set);
        keytree_grown(&tree);
        for (unsigned i = 0; i < 60; i++) {
            struct slice from = random_key(&seed, key), to = random_key(&seed, end);

            if (!keytree_is_asked(from, to))
                assert_int_equal(keytree_covers(&tree, from, to), keyranges_covers(&set, from, to));
            else if (!keyranges_covers(&set, from, SLICE_EMPTY)) /* it asks for more than that */
                assert_false(keytree_covers(&tree, from, to));
        }
        keytree_free(&tree);
        keyranges_free(&set);
    }
}

static void permissions_without_a_key(void **state)
{
    struct keytree tree;

    (void)state;
    keytree_init(&tree);
    keytree_grown(&tree);
    assert_false(keytree_covers(&tree, slice_text("b"), slice_text("a")));
    keytree_add(&tree, SLICE_EMPTY, SLICE_EMPTY);
    keytree_add(&tree, SLICE_EMPTY, endless);
    keytree_grown(&tree);
    assert_false(keytree_covers(&tree, slice_text("b"), slice_text("a")));
    keytree_add(&tree, slice_text("b"), SLICE_EMPTY);
    keytree_grown(&tree);
    assert_true(keytree_covers(&tree, slice_text("b"), slice_text("a")));
    assert_false(keytree_covers(&tree, slice_text("c"), slice_text("a")));
    keytree_free(&tree);
}

/* What a real etcd 3.5.30 answered to who may read k00, read and write k03, and later read k05. */
static void as_etcd(void **state)
{
    static const struct {
        const char *key, *end;
        bool before, after; /* k05 */
    } cases[] = {
        {"k03", "k00", false, true}, {"k03", "a", false, true},   {"k00", "a", true, true},
        {"k03", "k000", true, true}, {"k03", "k004", true, true}, {"k03", "k01", true, true},
        {"k03", "k02", true, true},  {"k03", "k03", true, true},  {"k05", "k03", false, false},
        {"k05", "k04", false, true},
    };
    struct keytree tree;

    (void)state;
    keytree_init(&tree);
    for (unsigned round = 0; round < 2; round++) {
        if (round == 0) {
            keytree_add(&tree, slice_text("k00"), SLICE_EMPTY);
            keytree_add(&tree, slice_text("k03"), SLICE_EMPTY);
        } else {
            keytree_add(&tree, slice_text("k05"), SLICE_EMPTY);
        }
        keytree_grown(&tree);
        for (size_t i = 0; i < ARRAY_LEN(cases); i++)
            assert_int_equal(
                keytree_covers(&tree, slice_text(cases[i].key), slice_text(cases[i].end)),
                round == 0 ? cases[i].before : cases[i].after);
    }
    keytree_free(&tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_the_union),
        cmocka_unit_test(permissions_without_a_key),
        cmocka_unit_test(as_etcd),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
