/*
 * keyranges.c - see keyranges.h. A single key k is [k, k 00): k with a zero byte behind it is the
 * next key in byte order.
 */
#include "etcd-server/state/keyranges.h"

static struct slice begin_of(const struct keyranges_one *range)
{
    return slice_of(range->begin, range->begin_size);
}

static struct slice end_of(const struct keyranges_one *range)
{
    return slice_of(range->end, range->end_size);
}

static bool is_endless(struct slice range_end)
{
    return range_end.size == 1 && range_end.data[0] == 0;
}

static void range_free(struct keyranges_one *range)
{
    free(range->begin);
    free(range->end);
}

void keyranges_free(struct keyranges *set)
{
    for (size_t i = 0; i < set->count; i++)
        range_free(&set->items[i]);
    free(set->items);
    *set = (struct keyranges){NULL, 0, 0};
}

/* A copy with `more` zero bytes behind it. */
static uint8_t *copy(struct slice bytes, size_t more)
{
    uint8_t *memory = xalloc(bytes.size + more + 1); /* never nothing */

    if (bytes.size != 0)
        memcpy(memory, bytes.data, bytes.size);
    return memory;
}

void keyranges_add(struct keyranges *set, struct slice key, struct slice range_end)
{
    struct keyranges_one range = {.endless = is_endless(range_end)};

    if (key.size == 0) /* none of today's etcds grants it, and it gives no rights in those */
        return;
    if (range_end.size != 0 && !range.endless && slice_compare(range_end, key) <= 0)
        return;
    range.begin = copy(key, 0);
    range.begin_size = key.size;
    range.end = range_end.size == 0 ? copy(key, 1) : copy(range_end, 0);
    range.end_size = range_end.size == 0 ? key.size + 1 : range_end.size;
    if (set->count == set->capacity) {
        set->capacity = MAX(2 * set->capacity, 8);
        set->items = xrealloc(set->items, set->capacity * sizeof(*set->items));
    }
    set->items[set->count++] = range;
}

static int by_begin(const void *a, const void *b)
{
    return slice_compare(begin_of(a), begin_of(b));
}

/* Make `range` reach as far as `other`, which begins inside it or where it ends; taken. */
static void absorb(struct keyranges_one *range, struct keyranges_one *other)
{
    if (!range->endless && (other->endless || slice_compare(end_of(other), end_of(range)) > 0)) {
        uint8_t *end = range->end;

        range->end = other->end;
        range->end_size = other->end_size;
        range->endless = other->endless;
        other->end = end;
    }
    range_free(other);
}

void keyranges_unite(struct keyranges *set)
{
    size_t kept = 0;

    if (set->count == 0)
        return;
    qsort(set->items, set->count, sizeof(*set->items), by_begin);
    for (size_t i = 1; i < set->count; i++) {
        struct keyranges_one *last = &set->items[kept];

        if (last->endless || slice_compare(begin_of(&set->items[i]), end_of(last)) <= 0)
            absorb(last, &set->items[i]);
        else
            set->items[++kept] = set->items[i];
    }
    set->count = kept + 1;
}

/* The only range that could hold `key`: the last one that begins at or before it. */
static const struct keyranges_one *candidate(const struct keyranges *set, struct slice key)
{
    size_t low = 0, high = set->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (slice_compare(begin_of(&set->items[middle]), key) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low != 0 ? &set->items[low - 1] : NULL;
}

bool keyranges_covers(const struct keyranges *set, struct slice key, struct slice range_end)
{
    const struct keyranges_one *range = candidate(set, key);

    if (range == NULL || (!range->endless && slice_compare(key, end_of(range)) >= 0))
        return false;
    if (range->endless)
        return true;
    if (is_endless(range_end))
        return false;
    return range_end.size == 0 || slice_compare(range_end, end_of(range)) <= 0;
}
