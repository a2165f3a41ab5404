/*
 * keyranges_test.c - the union of permissions against a plain table of keys.
 *
 * The model knows every key of up to two letters out of "a" to "d", in byte order, and one bit per
 * key and permission. A range is covered when each of its keys is. Ends lie between the keys, so
 * what the model cannot see (longer keys) follows the shorter ones.
 */
#include "etcd-server/state/keyranges.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct slice text(const char *bytes)
{
    return slice_text(bytes);
}

static const struct slice endless = {(const uint8_t *)"\0", 1};

static void single_keys_ranges_and_open_ends(void **state)
{
    struct keyranges set = {NULL, 0, 0};

    (void)state;
    keyranges_unite(&set);
    assert_false(keyranges_covers(&set, text("a"), SLICE_EMPTY));
    keyranges_add(&set, text("k"), SLICE_EMPTY);
    keyranges_add(&set, text("x"), endless);
    keyranges_add(&set, text("q"), text("p")); /* holds nothing */
    keyranges_add(&set, text(""), endless);    /* of an old etcd: no rights to today's */
    keyranges_add(&set, text(""), text("j"));
    keyranges_unite(&set);
    assert_true(keyranges_covers(&set, text("k"), SLICE_EMPTY));
    assert_true(keyranges_covers(&set, text("k"), slice_of("k\0", 2)));
    assert_false(keyranges_covers(&set, text("k"), text("ka")));
    assert_false(keyranges_covers(&set, slice_of("k\0", 2), SLICE_EMPTY));
    assert_false(keyranges_covers(&set, text("p"), SLICE_EMPTY));
    assert_true(keyranges_covers(&set, text("x"), endless));
    assert_true(keyranges_covers(&set, text("xyz"), text("zz")));
    assert_false(keyranges_covers(&set, text("k"), endless));
    keyranges_free(&set);
}

static void neighbours_become_one(void **state)
{
    struct keyranges set = {NULL, 0, 0};

    (void)state;
    keyranges_add(&set, text("m"), text("z"));
    keyranges_add(&set, text("a"), text("m"));
    keyranges_add(&set, text("b"), text("c")); /* inside */
    keyranges_add(&set, text("z"), SLICE_EMPTY);
    keyranges_unite(&set);
    assert_int_equal(set.count, 1);
    assert_true(keyranges_covers(&set, text("a"), slice_of("z\0", 2)));
    assert_false(keyranges_covers(&set, text("a"), text("z0")));
    assert_false(keyranges_covers(&set, text("a"), endless));
    keyranges_free(&set);
}

static void a_range_without_keys_asks_for_its_first(void **state)
{
    struct keyranges set = {NULL, 0, 0};

    (void)state;
    keyranges_add(&set, text("b"), text("d"));
    keyranges_unite(&set);
    assert_true(keyranges_covers(&set, text("c"), text("a")));
    assert_false(keyranges_covers(&set, text("e"), text("a")));
    keyranges_free(&set);
}

/* ---- the model ---- */

#define LETTERS 4
#define KEYS (LETTERS * (LETTERS + 1)) /* a aa ab ac ad b ba ... */

static const char *key_at(unsigned number, char *buffer)
{
    buffer[0] = (char)('a' + number / (LETTERS + 1));
    buffer[1] = number % (LETTERS + 1) == 0 ? '\0' : (char)('a' + number % (LETTERS + 1) - 1);
    buffer[2] = '\0';
    return buffer;
}

static unsigned next_random(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(*seed >> 33);
}

struct asked {
    unsigned first, last; /* keys first to last - 1 of the model */
    bool is_single, is_endless;
    char key[3], end[3];
};

static struct asked random_range(uint64_t *seed)
{
    struct asked asked = {.first = next_random(seed) % KEYS};
    unsigned kind = next_random(seed) % 8;

    asked.last = next_random(seed) % KEYS;
    asked.is_single = kind < 2;
    asked.is_endless = kind == 2;
    (void)key_at(asked.first, asked.key);
    (void)key_at(asked.last, asked.end);
    if (asked.is_single)
        asked.last = asked.first + 1;
    if (asked.is_endless)
        asked.last = KEYS + 1; /* one bit stands for all that is behind */
    return asked;
}

static struct slice end_of(const struct asked *asked)
{
    return asked->is_single ? SLICE_EMPTY : asked->is_endless ? endless : slice_text(asked->end);
}

/* A key and the gap behind it (longer keys) are two things: a single key does not cover its gap. */
static void mark(bool *keys, bool *gaps, const struct asked *asked)
{
    for (unsigned i = asked->first; i < asked->last; i++) {
        keys[i] = true;
        gaps[i] = gaps[i] || !asked->is_single;
    }
}

static bool model_covers(const bool *keys, const bool *gaps, const struct asked *asked)
{
    if (asked->last <= asked->first) /* holds no key: the first one counts */
        return keys[asked->first];
    for (unsigned i = asked->first; i < asked->last; i++)
        if (!keys[i] || (!asked->is_single && !gaps[i]))
            return false;
    return true;
}

static void agrees_with_a_table_of_keys(void **state)
{
    uint64_t seed = 20261122;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        struct keyranges set = {NULL, 0, 0};
        bool keys[KEYS + 1] = {false}, gaps[KEYS + 1] = {false};
        unsigned permissions = next_random(&seed) % 7;

        for (unsigned i = 0; i < permissions; i++) {
            struct asked permission = random_range(&seed);

            mark(keys, gaps, &permission);
            keyranges_add(&set, text(permission.key), end_of(&permission));
        }
        keyranges_unite(&set);
        for (int question = 0; question < 20; question++) {
            struct asked asked = random_range(&seed);

            if (keyranges_covers(&set, text(asked.key), end_of(&asked)) !=
                model_covers(keys, gaps, &asked))
                fail_msg("round %d, question %d: \"%s\" to \"%s\"", round, question, asked.key,
                         asked.is_single    ? "(one key)"
                         : asked.is_endless ? "(open)"
                                            : asked.end);
        }
        keyranges_free(&set);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_keys_ranges_and_open_ends),
        cmocka_unit_test(neighbours_become_one),
        cmocka_unit_test(a_range_without_keys_asks_for_its_first),
        cmocka_unit_test(agrees_with_a_table_of_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
