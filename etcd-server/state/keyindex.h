/*
 * keyindex.h - key -> its revisions, ordered by key, able to count: the part of the store that is
 * in memory.
 *
 * An entry is one allocation: the key, the newest revision inline, and what the next put needs
 * (create revision, version), so that a put reads no value. Older revisions hang on the entry.
 * The revisions of a key ascend; a deletion (tombstone) ends a generation, the next put begins
 * another. Counting the living keys of a range is O(log n). Knows nothing of values and backends.
 * Thread: core. Everything borrowed from here dies with the next call that changes the index.
 */
#ifndef ETCD_SERVER_STATE_KEYINDEX_H
#define ETCD_SERVER_STATE_KEYINDEX_H

#include "etcd-server/state/revision.h"

struct keyindex_history; /* older revisions, oldest first */

struct keyindex_entry {
    int64_t main;                     /* newest revision ... */
    int64_t create;                   /* main revision that began the newest generation */
    int64_t version;                  /* puts in the newest generation */
    struct keyindex_history *history; /* owned; NULL = the newest revision is the only one */
    uint32_t sub;                     /* ... and its number inside main */
    uint32_t key_size : 30;           /* bytes */
    uint32_t tombstone : 1;           /* the newest revision is a deletion */
    uint32_t leased : 1;              /* the newest revision carries a lease: for the owner's use */
    uint8_t key[];
};

#define KEYINDEX_KEY_MAX ((1UL << 30) - 1) /* bytes; a request is far smaller */
#define KEYINDEX_LEAF_MAX 64U              /* keys */
#define KEYINDEX_SUB_MAX UINT32_MAX        /* changes in one revision */

static inline struct slice keyindex_key(const struct keyindex_entry *entry)
{
    return slice_of(entry->key, entry->key_size);
}

static inline struct revision keyindex_newest(const struct keyindex_entry *entry)
{
    return (struct revision){.main = entry->main, .sub = entry->sub};
}

/* The revision before the newest; {0, 0} when there is none. */
struct revision keyindex_previous(const struct keyindex_entry *entry);

struct keyindex;

struct keyindex *keyindex_new(void);
void keyindex_free(struct keyindex *index); /* NULL is fine */

size_t keyindex_entries(const struct keyindex *index); /* keys, deleted ones included */
size_t keyindex_living(const struct keyindex *index);  /* keys whose newest revision is a put */
size_t keyindex_bytes(const struct keyindex *index);   /* memory held, keys included; for tests */

/* The entry of `key`, deleted or not; NULL when there is none. */
struct keyindex_entry *keyindex_find(const struct keyindex *index, struct slice key);

/*
 * Add a revision, newer than all of the key's. A put returns the entry with create and version as
 * they are after it. A deletion returns NULL, and does nothing, when the key lives not, except that
 * an unknown key gets a generation with nothing but the deletion: a file can hold that.
 */
struct keyindex_entry *keyindex_put(struct keyindex *index, struct slice key,
                                    struct revision revision);
struct keyindex_entry *keyindex_delete(struct keyindex *index, struct slice key,
                                       struct revision revision);

/* Living keys in [from, to) as of now; `to` empty = to the end. */
size_t keyindex_count(const struct keyindex *index, struct slice from, struct slice to);

/* Walks entries in order of keys; dies with the next call that adds or drops an entry. */
struct keyindex_cursor {
    const void *leaf;
    size_t position;
};
void keyindex_seek(const struct keyindex *index, struct slice key, struct keyindex_cursor *cursor);
struct keyindex_entry *keyindex_next(struct keyindex_cursor *cursor); /* NULL past the end */

/* Keys that lie together. */
struct keyindex_leaf {
    /* Stands for these keys and the newest revision of each: when one of them changes, the leaf
     * gets a stamp that none had before. */
    uint64_t stamp;
    struct keyindex_entry *const *entries; /* in order; borrowed */
    size_t count;                          /* at most KEYINDEX_LEAF_MAX */
    size_t position;                       /* of what keyindex_next() would have given */
    uint64_t living;                       /* bit i: the newest revision of entries[i] is a put */
};
/* The rest of the cursor's leaf, which the cursor passes; false past the end. */
bool keyindex_next_leaf(struct keyindex_cursor *cursor, struct keyindex_leaf *leaf) MUST_CHECK;

/*
 * The revision a reader at `at` sees: the newest <= {at, any}; false when there is none or it is a
 * deletion. (api.md 6; the newest generation that began <= at decides.)
 */
bool keyindex_get(const struct keyindex_entry *entry, int64_t at,
                  struct revision *revision) MUST_CHECK;
/*
 * The revision compaction to `at` and HashKV at `at` keep (formats.md 11.1, pick): the newest <= at
 * of the first generation that did not end before `at`. Differs from keyindex_get() in that it may
 * be a deletion at `at` itself. False when there is none.
 */
bool keyindex_pick(const struct keyindex_entry *entry, int64_t at, struct revision *revision,
                   bool *tombstone) MUST_CHECK;

/*
 * Drop the history below `at` of up to `keys` entries from `from` on: what keyindex_pick() chooses
 * stays, and everything newer; a key of which nothing is left goes. `picked` is set when an entry
 * kept a revision <= at. True when the end was reached; else `*next` is the key to go on from,
 * borrowed from the index.
 */
bool keyindex_compact(struct keyindex *index, struct slice from, size_t keys, int64_t at,
                      bool *picked, struct slice *next) MUST_CHECK;

#endif
