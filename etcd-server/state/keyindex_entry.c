/*
 * keyindex_entry.c - one key of the index: its memory and its revisions.
 *
 * The revisions of a key are one ascending list, the newest inline in the entry, the older ones in
 * the history behind it. A deletion in the list ends a generation:
 *
 *   5  7  9t | 12 14t | 20        three generations, the key lives
 *   5  7  9t |                    one, and an empty one behind it: the key is deleted
 *
 * Positions count from 0, the oldest; the last position is the newest revision.
 */
#include "etcd-server/state/keyindex_internal.h"

struct past {
    int64_t main;
    uint32_t sub;
    bool tombstone;
};

struct keyindex_history {
    uint32_t count, capacity;
    struct past past[]; /* oldest first */
};

#define HISTORY_CAPACITY_MIN 2U

struct entry_chunk {
    struct entry_chunk *next;
    size_t bytes; /* of data */
    uint8_t data[];
};

struct entry_free {
    struct entry_free *next;
};

static size_t entry_bytes(size_t key_bytes)
{
    size_t bytes = offsetof(struct keyindex_entry, key) + key_bytes;

    return (bytes + ENTRY_POOL_STEP - 1) / ENTRY_POOL_STEP * ENTRY_POOL_STEP;
}

static size_t history_bytes(uint32_t capacity)
{
    return sizeof(struct keyindex_history) + capacity * sizeof(struct past);
}

void entry_pool_fini(struct entry_pool *pool)
{
    struct entry_chunk *next;

    for (struct entry_chunk *chunk = pool->chunks; chunk != NULL; chunk = next) {
        next = chunk->next;
        free(chunk);
    }
    *pool = (struct entry_pool){0};
}

static void *pool_take(struct entry_pool *pool, size_t bytes)
{
    struct entry_free **head = &pool->free[bytes / ENTRY_POOL_STEP];
    void *taken = *head;

    if (taken != NULL) {
        *head = (*head)->next;
        return taken;
    }
    if (pool->left < bytes) {
        struct entry_chunk *chunk;

        pool->chunk_bytes =
            MIN(MAX(pool->chunk_bytes * 2, ENTRY_CHUNK_BYTES_MIN), ENTRY_CHUNK_BYTES_MAX);
        chunk = xrealloc(NULL, sizeof(*chunk) + pool->chunk_bytes);
        chunk->next = pool->chunks;
        chunk->bytes = pool->chunk_bytes;
        pool->chunks = chunk;
        pool->next = chunk->data;
        pool->left = chunk->bytes;
        pool->bytes += sizeof(*chunk) + chunk->bytes;
    }
    taken = pool->next;
    pool->next += bytes;
    pool->left -= bytes;
    return taken;
}

struct keyindex_entry *entry_new(struct entry_pool *pool, struct slice key,
                                 struct revision revision)
{
    size_t bytes = entry_bytes(key.size);
    struct keyindex_entry *entry;

    must(key.size <= KEYINDEX_KEY_MAX);
    must(revision.sub >= 0 && revision.sub <= KEYINDEX_SUB_MAX);
    if (bytes <= ENTRY_POOL_BYTES) {
        entry = pool_take(pool, bytes);
    } else {
        entry = xrealloc(NULL, bytes);
        pool->bytes += bytes;
    }
    *entry = (struct keyindex_entry){
        .main = revision.main,
        .sub = (uint32_t)revision.sub,
        .key_size = (uint32_t)key.size & KEYINDEX_KEY_MAX,
    };
    if (key.size != 0)
        memcpy(entry->key, key.data, key.size);
    return entry;
}

static void history_set(struct entry_pool *pool, struct keyindex_entry *entry, uint32_t capacity)
{
    struct keyindex_history *history = entry->history;

    if (history != NULL)
        pool->bytes -= history_bytes(history->capacity);
    if (capacity == 0) {
        free(history);
        entry->history = NULL;
        return;
    }
    entry->history = xrealloc(history, history_bytes(capacity));
    if (history == NULL)
        entry->history->count = 0;
    entry->history->capacity = capacity;
    pool->bytes += history_bytes(capacity);
}

void entry_free(struct entry_pool *pool, struct keyindex_entry *entry)
{
    size_t bytes = entry_bytes(entry->key_size);
    struct entry_free *freed;

    history_set(pool, entry, 0);
    if (bytes > ENTRY_POOL_BYTES) {
        pool->bytes -= bytes;
        free(entry);
        return;
    }
    freed = (struct entry_free *)(void *)entry;
    freed->next = pool->free[bytes / ENTRY_POOL_STEP];
    pool->free[bytes / ENTRY_POOL_STEP] = freed;
}

/* ---- the list of revisions ---- */

static size_t revision_count(const struct keyindex_entry *entry)
{
    return (entry->history != NULL ? entry->history->count : 0) + 1;
}

static struct past past_at(const struct keyindex_entry *entry, size_t position)
{
    if (entry->history != NULL && position < entry->history->count)
        return entry->history->past[position];
    return (struct past){.main = entry->main, .sub = entry->sub, .tombstone = entry->tombstone};
}

/* First position with a main revision >= `main`; the count when there is none. */
static size_t position_from(const struct keyindex_entry *entry, int64_t main)
{
    size_t low = 0, high = revision_count(entry);

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (past_at(entry, middle).main < main)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void entry_append(struct entry_pool *pool, struct keyindex_entry *entry, struct revision revision,
                  bool tombstone)
{
    uint32_t count = entry->history != NULL ? entry->history->count : 0;

    must(revision_compare(keyindex_newest(entry), revision) < 0);
    must(revision.sub >= 0 && revision.sub <= KEYINDEX_SUB_MAX);
    if (entry->history == NULL || count == entry->history->capacity)
        history_set(pool, entry, MAX(count * 2, HISTORY_CAPACITY_MIN));
    entry->history->past[count] =
        (struct past){.main = entry->main, .sub = entry->sub, .tombstone = entry->tombstone};
    entry->history->count = count + 1;
    entry->main = revision.main;
    entry->sub = (uint32_t)revision.sub;
    entry->tombstone = tombstone;
}

struct revision keyindex_previous(const struct keyindex_entry *entry)
{
    struct past past;

    if (entry->history == NULL)
        return (struct revision){0, 0};
    past = past_at(entry, entry->history->count - 1);
    return (struct revision){.main = past.main, .sub = past.sub};
}

bool keyindex_get(const struct keyindex_entry *entry, int64_t at, struct revision *revision)
{
    struct past past;
    size_t position;

    if (entry->main <= at) {
        *revision = keyindex_newest(entry);
        return !entry->tombstone;
    }
    if (entry->history == NULL)
        return false;
    position = position_from(entry, at + 1); /* at < main, so it does not overflow */
    if (position == 0)
        return false;
    past = past_at(entry, position - 1);
    *revision = (struct revision){.main = past.main, .sub = past.sub};
    return !past.tombstone;
}

/*
 * The choice of formats.md 11.1. `*position` is the revision picked; when there is none (false) it
 * is where the generation chosen begins: the count for an empty one behind the last deletion.
 */
static bool pick(const struct keyindex_entry *entry, int64_t at, size_t *position)
{
    size_t count = revision_count(entry);
    size_t from = position_from(entry, at), last = from;

    /* Several changes at `at` itself (one txn): the first deletion ends the generation. */
    while (last < count && past_at(entry, last).main == at) {
        last++;
        if (past_at(entry, last - 1).tombstone)
            break;
    }
    /* Generations that ended before `at` are passed: a deletion right behind us was such an end. */
    *position = from;
    if (last == from && (from == 0 || past_at(entry, from - 1).tombstone))
        return false;
    *position = last - 1;
    return true;
}

bool keyindex_pick(const struct keyindex_entry *entry, int64_t at, struct revision *revision,
                   bool *tombstone)
{
    size_t position;
    struct past past;

    if (!pick(entry, at, &position))
        return false;
    past = past_at(entry, position);
    *revision = (struct revision){.main = past.main, .sub = past.sub};
    *tombstone = past.tombstone;
    return true;
}

bool entry_compact(struct entry_pool *pool, struct keyindex_entry *entry, int64_t at, bool *picked)
{
    struct keyindex_history *history = entry->history;
    size_t drop;

    if (history == NULL && entry->main > at)
        return true;
    if (pick(entry, at, &drop))
        *picked = true;
    if (drop == revision_count(entry))
        return false;
    if (drop == 0)
        return true;
    must(history != NULL && drop <= history->count);
    history->count -= (uint32_t)drop;
    memmove(history->past, history->past + drop, history->count * sizeof(*history->past));
    if (history->count == 0)
        history_set(pool, entry, 0);
    else if (history->count <= history->capacity / 4)
        history_set(pool, entry, history->capacity / 2);
    return true;
}
