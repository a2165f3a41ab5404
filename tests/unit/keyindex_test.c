/*
 * keyindex_test.c - the index against a plain sorted list of keys, each with its generations as
 * formats.md 11.1 describes them; and what a key costs.
 */
#include "etcd-server/state/keyindex.h"
#include "common/base/crc32c.h"

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

/* What a stamp stands for, as a number: once seen, it is the same for ever. */
struct stamps {
    uint64_t *meanings; /* 0: not seen */
    size_t count;
    size_t again; /* how often one was met again */
};

static uint64_t meaning(const struct keyindex_leaf *leaf)
{
    uint64_t mixed = 1;

    for (size_t i = 0; i < leaf->count; i++) {
        const struct keyindex_entry *entry = leaf->entries[i];

        mixed = mixed * 0x9e3779b97f4a7c15U + (uint64_t)entry->main;
        mixed = mixed * 0x9e3779b97f4a7c15U + entry->sub;
        mixed = mixed * 0x9e3779b97f4a7c15U + crc32c(0, entry->key, entry->key_size);
    }
    return mixed | 1;
}

static void expect_stamp(struct stamps *stamps, const struct keyindex_leaf *leaf)
{
    if (leaf->stamp >= stamps->count) {
        size_t count = leaf->stamp + 100000;

        stamps->meanings = xrealloc(stamps->meanings, count * sizeof(*stamps->meanings));
        memset(stamps->meanings + stamps->count, 0,
               (count - stamps->count) * sizeof(*stamps->meanings));
        stamps->count = count;
    }
    if (stamps->meanings[leaf->stamp] == 0)
        stamps->meanings[leaf->stamp] = meaning(leaf);
    else
        stamps->again++;
    assert_int_equal(stamps->meanings[leaf->stamp], meaning(leaf));
}

/* Leaf by leaf is what it is entry by entry. */
static void expect_leaves(const struct keyindex *index, struct stamps *stamps)
{
    struct keyindex_cursor one, leaves;
    struct keyindex_leaf leaf;
    char text[48];
    struct slice from = key_of(draw(KEYS), text);

    keyindex_seek(index, from, &one);
    keyindex_seek(index, from, &leaves);
    while (keyindex_next_leaf(&leaves, &leaf)) {
        expect_stamp(stamps, &leaf);
        for (size_t i = leaf.position; i < leaf.count; i++) {
            const struct keyindex_entry *entry = keyindex_next(&one);

            assert_ptr_equal(entry, leaf.entries[i]);
            assert_int_equal(leaf.living >> i & 1, !entry->tombstone);
        }
    }
    assert_null(keyindex_next(&one));
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
    struct stamps stamps = {.meanings = NULL};
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
            if (i % 16 == 0)
                expect_leaves(index, &stamps);
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
        expect_leaves(index, &stamps);
        compact(index, plain, main - draw(300));
        expect_leaves(index, &stamps);
        expect_counts(index, plain);
        for (unsigned key = 0; key < KEYS; key++)
            expect_key(index, &plain[key], key, main - draw(300));
    }
    assert_true(stamps.again > 1000);
    free(stamps.meanings);
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

static void expect_leaf(const struct keyindex *index, unsigned key, size_t count, uint64_t *stamp)
{
    struct keyindex_cursor cursor;
    struct keyindex_leaf leaf;
    char text[32];

    keyindex_seek(index, spread_key(key, true, text), &cursor);
    assert_true(keyindex_next_leaf(&cursor, &leaf));
    assert_int_equal(leaf.count, count);
    assert_int_not_equal(leaf.stamp, *stamp);
    *stamp = leaf.stamp;
}

/* So that `left` of the keys from `from` to `to` are left. */
static void take_away(struct keyindex *index, unsigned from, unsigned to, unsigned left)
{
    struct slice next;
    bool picked = false, ended;
    char text[32];

    for (unsigned key = from + left; key < to; key++)
        assert_non_null(keyindex_delete(index, spread_key(key, true, text),
                                        (struct revision){.main = 1000 + key}));
    ended = keyindex_compact(index, SLICE_EMPTY, KEYS, 1000 + to, &picked, &next);
    assert_true(ended);
}

/* The last leaf is joined to the one before, of which no key changed. */
static void a_joined_leaf_is_another(void **state)
{
    struct keyindex *index = keyindex_new();
    uint64_t stamp = 0;
    char text[32];

    (void)state;
    for (unsigned key = 0; key < 3 * KEYINDEX_LEAF_MAX; key++)
        (void)keyindex_put(index, spread_key(key, true, text), (struct revision){.main = 2 + key});
    take_away(index, 64, 128, 30);
    expect_leaf(index, 64, 30, &stamp);
    take_away(index, 128, 192, 15);
    expect_leaf(index, 64, 45, &stamp);
    keyindex_free(index);
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
        cmocka_unit_test(a_joined_leaf_is_another),
        cmocka_unit_test(a_key_costs_under_64_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
