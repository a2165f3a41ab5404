/*
 * keyindex_test.c - the index against a plain sorted list of keys, each with its generations as
 * formats.md 11.1 describes them; and what a key costs.
 */
#include "etcd-server/state/keyindex.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define KEYS 3000
#define REVISIONS_MAX 24 /* of one key before the test compacts */

struct plain_key {
    struct revision revisions[REVISIONS_MAX];
    bool tombstones[REVISIONS_MAX];
    unsigned count;
};

static uint64_t random_state;

static uint32_t draw(uint32_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)((random_state >> 16) % below);
}

/* Shared prefixes of several lengths, keys that begin other keys, zero bytes at the end. */
static struct slice key_of(unsigned key, char text[48])
{
    static const char *const roots[] = {"/a/", "/registry/pods/default/", "/registry/leases/"};
    int size = snprintf(text, 40, "%s%04u", roots[key % 3], key / 12);
    unsigned zeros = key / 3 % 4;

    memset(text + size, 0, zeros);
    return slice_of(text, (size_t)size + zeros);
}

/* First position of the generation, and whether the last of it is its deletion. */
static bool plain_pick(const struct plain_key *plain, int64_t at, struct revision *revision,
                       unsigned *first)
{
    unsigned begin = 0, i;
    bool found = false;

    for (;;) { /* generation by generation, as the text says */
        unsigned end = begin;

        while (end < plain->count && !plain->tombstones[end])
            end++;
        if (end == plain->count || plain->revisions[end].main >= at)
            break;
        begin = end + 1;
    }
    *first = begin;
    for (i = begin; i < plain->count && plain->revisions[i].main <= at; i++) {
        *revision = plain->revisions[i];
        *first = i;
        found = true;
        if (plain->tombstones[i])
            break;
    }
    return found;
}

static bool plain_get(const struct plain_key *plain, int64_t at, struct revision *revision)
{
    bool found = false;

    for (unsigned i = 0; i < plain->count && plain->revisions[i].main <= at; i++) {
        *revision = plain->revisions[i];
        found = !plain->tombstones[i];
    }
    return found;
}

static void expect_key(const struct keyindex *index, const struct plain_key *plain, unsigned key,
                       int64_t at)
{
    char text[48];
    const struct keyindex_entry *entry = keyindex_find(index, key_of(key, text));
    struct revision expected, revision;
    unsigned first;
    bool tombstone;

    if (plain->count == 0) {
        assert_null(entry);
        return;
    }
    assert_non_null(entry);
    assert_int_equal(keyindex_get(entry, at, &revision), plain_get(plain, at, &expected));
    if (plain_get(plain, at, &expected))
        assert_int_equal(revision_compare(revision, expected), 0);
    assert_int_equal(keyindex_pick(entry, at, &revision, &tombstone),
                     plain_pick(plain, at, &expected, &first));
    if (plain_pick(plain, at, &expected, &first)) {
        assert_int_equal(revision_compare(revision, expected), 0);
        assert_int_equal(tombstone, plain->tombstones[first]);
    }
}

static bool plain_lives(const struct plain_key *plain)
{
    return plain->count > 0 && !plain->tombstones[plain->count - 1];
}

static void expect_counts(const struct keyindex *index, const struct plain_key *plain)
{
    char from_text[48], to_text[48];
    struct slice from = key_of(draw(KEYS), from_text), to = key_of(draw(KEYS), to_text);
    struct keyindex_cursor cursor;
    struct keyindex_entry *entry, *before = NULL;
    size_t count = 0, walked = 0, entries = 0;

    for (unsigned key = 0; key < KEYS; key++) {
        char text[48];
        struct slice name = key_of(key, text);

        entries += plain[key].count > 0;
        count += plain_lives(&plain[key]) && slice_compare(from, name) <= 0 &&
                 slice_compare(name, to) < 0;
    }
    assert_int_equal(keyindex_count(index, from, to), count);
    assert_int_equal(keyindex_entries(index), entries);
    keyindex_seek(index, from, &cursor);
    while ((entry = keyindex_next(&cursor)) != NULL && slice_compare(keyindex_key(entry), to) < 0) {
        assert_true(before == NULL || slice_compare(keyindex_key(before), keyindex_key(entry)) < 0);
        before = entry;
        walked += !entry->tombstone;
    }
    assert_int_equal(walked, count);
}

static void compact(struct keyindex *index, struct plain_key *plain, int64_t at)
{
    char from_text[64] = "";
    struct slice from = SLICE_EMPTY, next;
    bool picked = false;

    while (!keyindex_compact(index, from, 1 + draw(500), at, &picked, &next)) {
        assert_true(next.size < sizeof(from_text));
        memcpy(from_text, next.data, next.size);
        from = slice_of(from_text, next.size);
    }
    for (unsigned key = 0; key < KEYS; key++) {
        struct revision revision;
        unsigned first;

        (void)plain_pick(&plain[key], at, &revision, &first); /* first is set either way */
        plain[key].count -= first;
        memmove(plain[key].revisions, plain[key].revisions + first,
                plain[key].count * sizeof(plain[key].revisions[0]));
        memmove(plain[key].tombstones, plain[key].tombstones + first,
                plain[key].count * sizeof(plain[key].tombstones[0]));
    }
}

static void change(struct keyindex *index, struct plain_key *plain, struct revision revision,
                   unsigned key, unsigned deletions)
{
    bool tombstone = draw(100) < deletions;
    char text[48];

    if (plain[key].count == REVISIONS_MAX || (tombstone && !plain_lives(&plain[key])))
        return;
    if (tombstone)
        assert_non_null(keyindex_delete(index, key_of(key, text), revision));
    else
        assert_non_null(keyindex_put(index, key_of(key, text), revision));
    plain[key].revisions[plain[key].count] = revision;
    plain[key].tombstones[plain[key].count++] = tombstone;
}

static void as_a_plain_list_says(void **state)
{
    struct plain_key *plain = xalloc(KEYS * sizeof(*plain));
    struct keyindex *index = keyindex_new();
    unsigned changed = 0;
    int64_t main = 1;

    (void)state;
    random_state = 88172645463325252U;
    for (unsigned round = 0; round < 60; round++) {
        unsigned deletions = round % 4 == 3 ? 95 : 30; /* the tree shrinks at times */

        main++;

        for (unsigned i = 0; i < 3000; i++) {
            /* Some revisions have several changes, of the same key too. */
            struct revision revision = {.main = main, .sub = i};

            changed = draw(2) == 0 ? changed : draw(KEYS);
            change(index, plain, revision, changed, deletions);
            if (draw(3) == 0)
                main++;
        }
        for (unsigned key = 0; key < KEYS; key++) {
            expect_key(index, &plain[key], key, main - draw(3000));
            if (plain[key].count > 0) /* at one of its own revisions: the corners are there */
                expect_key(index, &plain[key], key,
                           plain[key].revisions[draw(plain[key].count)].main);
        }
        expect_counts(index, plain);
        compact(index, plain, main - draw(300));
        expect_counts(index, plain);
        for (unsigned key = 0; key < KEYS; key++)
            expect_key(index, &plain[key], key, main - draw(300));
    }
    keyindex_free(index);
    free(plain);
}

#define MANY 200000U

/* A step through all numbers below MANY in an order that is none: 16 bytes a key. */
static struct slice spread_key(unsigned number, bool in_order, char text[32])
{
    unsigned spread = in_order ? number : (unsigned)((uint64_t)number * 123457 % MANY);
    int size = snprintf(text, 32, "bench/key%07u", spread);

    return slice_of(text, (size_t)size);
}

static void a_key_costs_under_64_bytes(void **state)
{
    (void)state;
    for (int in_order = 0; in_order <= 1; in_order++) {
        struct keyindex *index = keyindex_new();
        double cost;
        char text[32];

        for (unsigned i = 0; i < MANY; i++)
            (void)keyindex_put(index, spread_key(i, in_order, text),
                               (struct revision){.main = i + 2}); /* always an entry */
        assert_int_equal(keyindex_living(index), MANY);
        cost = (double)keyindex_bytes(index) / MANY - 16;
        print_message("%s: %.1f bytes a key beside its 16 bytes\n",
                      in_order ? "ascending" : "random", cost);
        assert_true(cost < 64);
        keyindex_free(index);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_a_plain_list_says),
        cmocka_unit_test(a_key_costs_under_64_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
