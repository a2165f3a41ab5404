/*
 * auth_order.c - see auth_order.h. Go sorts as "pattern-defeating quicksort" does (Peters 2021),
 * and a stable sort would do for up to 12 permissions and for what only goes to the end. Beyond
 * that, which of two equals comes first follows from every swap, so each is made as Go makes it:
 *
 *   sort: few -> by insertion
 *         was the last cut uneven? -> break patterns; too often -> by heap
 *         choose a pivot; in order by the looks of it -> repair a few places
 *         cut in two: the smaller half in a turn of its own, the larger goes on
 */
#include "etcd-server/state/auth_order.h"

#include "common/base/base.h"

#define FEW 12        /* are sorted by insertion */
#define NINTHER 50    /* from here on the pivot is a median of medians */
#define PIVOT_MIN 8   /* below, the middle will do */
#define SWAPS_MAX 12  /* of choosing a pivot: all was the wrong way round */
#define REPAIRS_MAX 5 /* places repaired in what seems to be in order */
#define REPAIR_MIN 50 /* shorter lists are cut instead */
#define BREAK_MIN 8   /* the same of breaking patterns */

struct order {
    Authpb__Permission **list;
};

enum looks { LOOKS_MIXED, LOOKS_RISING, LOOKS_FALLING };

static struct slice key_of(const Authpb__Permission *permission)
{
    return slice_of(permission->key.data, permission->key.len);
}

static bool less(const struct order *order, size_t a, size_t b)
{
    return slice_compare(key_of(order->list[a]), key_of(order->list[b])) < 0;
}

static void swap(struct order *order, size_t a, size_t b)
{
    Authpb__Permission *kept = order->list[a];

    order->list[a] = order->list[b];
    order->list[b] = kept;
}

size_t auth_order_find(Authpb__Permission *const *list, size_t count, struct slice key)
{
    size_t low = 0, high = count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (slice_compare(key_of(list[middle]), key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---- small and hopeless cases ---- */

static void by_insertion(struct order *order, size_t from, size_t to)
{
    for (size_t i = from + 1; i < to; i++)
        for (size_t j = i; j > from && less(order, j, j - 1); j--)
            swap(order, j, j - 1);
}

static void sift_down(struct order *order, size_t first, size_t root, size_t count)
{
    for (size_t child = 2 * root + 1; child < count; child = 2 * root + 1) {
        if (child + 1 < count && less(order, first + child, first + child + 1))
            child++;
        if (!less(order, first + root, first + child))
            return;
        swap(order, first + root, first + child);
        root = child;
    }
}

static void by_heap(struct order *order, size_t from, size_t to)
{
    size_t count = to - from;

    for (size_t i = (count - 1) / 2 + 1; i-- > 0;)
        sift_down(order, from, i, count);
    for (size_t i = count; i-- > 0;) {
        swap(order, from, from + i);
        sift_down(order, from, 0, i);
    }
}

/* ---- the pivot ---- */

static void two(const struct order *order, size_t *a, size_t *b, unsigned *swaps)
{
    size_t kept = *a;

    if (!less(order, *b, *a))
        return;
    *a = *b;
    *b = kept;
    ++*swaps;
}

static size_t median(const struct order *order, size_t a, size_t b, size_t c, unsigned *swaps)
{
    two(order, &a, &b, swaps);
    two(order, &b, &c, swaps);
    two(order, &a, &b, swaps);
    return b;
}

static size_t choose_pivot(const struct order *order, size_t from, size_t to, enum looks *looks)
{
    size_t count = to - from, quarter = count / 4;
    size_t i = from + quarter, j = from + quarter * 2, k = from + quarter * 3;
    unsigned swaps = 0;

    if (count >= NINTHER) {
        i = median(order, i - 1, i, i + 1, &swaps);
        j = median(order, j - 1, j, j + 1, &swaps);
        k = median(order, k - 1, k, k + 1, &swaps);
    }
    if (count >= PIVOT_MIN)
        j = median(order, i, j, k, &swaps);
    *looks = swaps == 0 ? LOOKS_RISING : swaps == SWAPS_MAX ? LOOKS_FALLING : LOOKS_MIXED;
    return j;
}

static void turn_round(struct order *order, size_t from, size_t to)
{
    for (size_t i = from, j = to - 1; i < j; i++, j--)
        swap(order, i, j);
}

/* Three near the middle change places with others, which ones follows from the count alone. */
static void break_patterns(struct order *order, size_t from, size_t to)
{
    size_t count = to - from, middle = from + count / 4 * 2 - 1, mask = 1;
    uint64_t random = count;

    if (count < BREAK_MIN)
        return;
    while (mask <= count)
        mask *= 2;
    for (size_t i = 0; i < 3; i++) {
        size_t other;

        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        other = (size_t)(random & (mask - 1));
        swap(order, middle + i, from + (other >= count ? other - count : other));
    }
}

/* ---- cuts ---- */

/* What seems to be in order: is it, once a few are where they belong? */
static bool repair(struct order *order, size_t from, size_t to)
{
    size_t i = from + 1;

    for (unsigned repairs = 0; repairs < REPAIRS_MAX; repairs++) {
        while (i < to && !less(order, i, i - 1))
            i++;
        if (i == to)
            return true;
        if (to - from < REPAIR_MIN)
            return false;
        swap(order, i, i - 1);
        for (size_t j = i - 1; i - from >= 2 && j >= 1 && less(order, j, j - 1); j--)
            swap(order, j, j - 1);
        for (size_t j = i + 1; to - i >= 2 && j < to && less(order, j, j - 1); j++)
            swap(order, j, j - 1);
    }
    return false;
}

/* Those below the pivot before it, the others behind; where it is then. `j` counts from one on, for
 * it may pass the first. */
static size_t cut(struct order *order, size_t from, size_t to, size_t pivot, bool *was_cut)
{
    size_t i = from + 1, j = to;

    swap(order, from, pivot);
    *was_cut = true;
    for (;;) {
        while (i < j && less(order, i, from))
            i++;
        while (i < j && !less(order, j - 1, from))
            j--;
        if (i >= j)
            break;
        swap(order, i++, --j);
        *was_cut = false;
    }
    swap(order, j - 1, from);
    return j - 1;
}

/* Those equal to the pivot, which is the smallest, before the others; where these begin. */
static size_t cut_equals(struct order *order, size_t from, size_t to, size_t pivot)
{
    size_t i = from + 1, j = to;

    swap(order, from, pivot);
    for (;;) {
        while (i < j && !less(order, from, i))
            i++;
        while (i < j && less(order, from, j - 1))
            j--;
        if (i >= j)
            return i;
        swap(order, i++, --j);
    }
}

/* Calls itself for the smaller part: as deep as `count` has bits. */
static void sort(struct order *order, size_t from, size_t to, unsigned uneven_left)
{
    bool was_even = true, was_cut = true;
    enum looks looks;

    while (to - from > FEW) {
        size_t count = to - from, pivot, middle;

        if (uneven_left == 0) {
            by_heap(order, from, to);
            return;
        }
        if (!was_even) {
            break_patterns(order, from, to);
            uneven_left--;
        }
        pivot = choose_pivot(order, from, to, &looks);
        if (looks == LOOKS_FALLING) {
            turn_round(order, from, to);
            pivot = to - 1 - (pivot - from);
            was_even = was_cut = true;
            looks = LOOKS_RISING;
        }
        if (was_even && was_cut && looks == LOOKS_RISING && repair(order, from, to))
            return;
        if (from != 0 && !less(order, from - 1, pivot)) {
            from = cut_equals(order, from, to, pivot);
            continue;
        }
        middle = cut(order, from, to, pivot, &was_cut);
        was_even = MIN(middle - from, to - middle) >= count / 8;
        if (middle - from < to - middle) {
            sort(order, from, middle, uneven_left);
            from = middle + 1;
        } else {
            sort(order, middle + 1, to, uneven_left);
            to = middle;
        }
    }
    by_insertion(order, from, to);
}

void auth_order_sort(Authpb__Permission **list, size_t count)
{
    struct order order = {list};
    unsigned bits = 0;

    while (count >> bits != 0)
        bits++;
    if (count != 0)
        sort(&order, 0, count, bits);
}
