/*
 * mvcc_range.c - reading ranges of keys at a revision.
 *
 * The index gives revisions, the pinned view their records:
 *
 *   index --fill(), a slice at a time--> items: revisions --read_ahead(), a few--> records
 *
 * One key, or a range that fits in a slice, is done with the index when it starts. A larger one
 * keeps the key where the next slice begins and pins its revision, so that compaction leaves the
 * history it still needs. A sorted one has all of its revisions from the start.
 *
 * Order, filters and limit, and what they do to each other: api.md 6.3.
 */
#include "etcd-server/state/mvcc_internal.h"

#define ITEMS_SMALL 4U         /* revisions kept without another allocation */
#define AHEAD_MAX 8U           /* records read at once, with one way through the layers */
#define SPARE_RANGES_MAX 64U   /* kept for the next ranges */
#define SCRATCH_KEEP_BYTES 512 /* of a spare range */

struct mvcc_range {
    struct mvcc *mvcc;             /* borrowed */
    struct mvcc_range *next_spare; /* while it is one */
    struct view *view;             /* a reference */
    int64_t at;                    /* revision */
    int64_t count;                 /* keys at `at` */
    int64_t left;                  /* key-values the limit leaves; INT64_MAX = no limit */
    int64_t min_mod, max_mod, min_create, max_create; /* 0 = off */
    bool filtered, keys_only, more;
    bool walked; /* the index is done with */
    bool pinned;
    bool held; /* mvcc_range_hold(): pinned until freed */
    struct mvcc_pin pin;
    struct key_range rest; /* what is not walked; borrows `rest_keys` */
    uint8_t *rest_keys;    /* owned: from, then to */
    uint8_t *first_key;    /* owned: where the first slice began; NULL: all fits in `items` */
    size_t first_key_bytes;
    int64_t first_left;     /* `left` at the beginning */
    bool first_more;        /* `more` at the beginning */
    struct revision *items; /* owned, or `small` */
    size_t item_count, item_next, item_capacity;
    struct revision small[ITEMS_SMALL];
    struct slice ahead[AHEAD_MAX]; /* records read, borrowed from the view */
    size_t ahead_count, ahead_next;
    struct mvcc_lent lent;
    uint8_t *scratch; /* owned: a key-value without its value */
    size_t scratch_bytes;
};

/* Something to sort by. */
struct sort_item {
    struct revision revision;
    int64_t number;     /* VERSION, CREATE, MOD */
    struct slice value; /* VALUE; borrowed from the view */
    size_t position;    /* in order of keys: decides between equals */
};

/* ---- filling ---- */

static bool passes(const struct mvcc_range *range, const struct keyindex_entry *entry,
                   struct revision revision)
{
    int64_t create = entry->create;

    if (range->min_mod != 0 && revision.main < range->min_mod)
        return false;
    if (range->max_mod != 0 && revision.main > range->max_mod)
        return false;
    if (range->min_create == 0 && range->max_create == 0)
        return true;
    if (revision_compare(keyindex_newest(entry), revision) != 0)
        create = mvcc_read_stored(range->view, revision).create;
    return (range->min_create == 0 || create >= range->min_create) &&
           (range->max_create == 0 || create <= range->max_create);
}

static void reserve_items(struct mvcc_range *range, size_t capacity)
{
    if (capacity <= range->item_capacity)
        return;
    must(range->items == range->small);
    range->items = xrealloc(NULL, capacity * sizeof(*range->items));
    range->item_capacity = capacity;
}

/* The next slice begins at `from`: keep that, and hold compaction off. */
static void keep_rest(struct mvcc_range *range, struct slice from)
{
    struct slice to = range->rest.to;
    uint8_t *keys = xrealloc(NULL, from.size + to.size + 1);

    if (range->first_key == NULL) {
        range->first_key = xrealloc(NULL, range->rest.from.size + 1);
        if (range->rest.from.size != 0)
            memcpy(range->first_key, range->rest.from.data, range->rest.from.size);
        range->first_key_bytes = range->rest.from.size;
    }
    memcpy(keys, from.data, from.size);
    if (to.size != 0)
        memcpy(keys + from.size, to.data, to.size);
    free(range->rest_keys);
    range->rest_keys = keys;
    range->rest.from = slice_of(keys, from.size);
    range->rest.to = slice_of(keys + from.size, to.size);
    if (!range->pinned)
        mvcc_pin_add(range->mvcc, &range->pin, range->at);
    range->pinned = true;
}

/* Walk one slice of the index: what passes goes into `items`, which is used up. */
static void fill(struct mvcc_range *range)
{
    struct keyindex_cursor cursor;
    struct keyindex_entry *entry;
    size_t wanted = range->item_capacity;

    if (!range->filtered && (uint64_t)range->left < wanted)
        wanted = (size_t)range->left;
    range->item_count = range->item_next = 0;
    keyindex_seek(range->mvcc->index, range->rest.from, &cursor);
    for (size_t walked = 0; (entry = keyindex_next(&cursor)) != NULL; walked++) {
        struct revision revision;

        if (!key_range_reaches(&range->rest, keyindex_key(entry)))
            break;
        if (range->item_count == wanted || walked == RANGE_SLICE_KEYS) {
            if (!range->filtered && range->item_count == (size_t)range->left)
                break; /* the limit ends it */
            keep_rest(range, keyindex_key(entry));
            return;
        }
        if (keyindex_get(entry, range->at, &revision) &&
            (!range->filtered || passes(range, entry, revision)))
            range->items[range->item_count++] = revision;
    }
    range->walked = true;
}

/* Is there an item? Walks on as far as it takes. */
static bool has_item(struct mvcc_range *range)
{
    while (range->item_next == range->item_count && !range->walked)
        fill(range);
    if (range->walked && range->pinned && !range->held) {
        mvcc_pin_remove(&range->pin);
        range->pinned = false;
    }
    return range->item_next < range->item_count;
}

static int64_t count_keys(const struct mvcc_range *range)
{
    const struct keyindex *index = range->mvcc->index;
    struct keyindex_cursor cursor;
    struct keyindex_entry *entry;
    int64_t count = 0;

    if (key_range_is_empty(&range->rest))
        return 0;
    if (range->at == mvcc_visible(range->mvcc))
        return (int64_t)keyindex_count(index, range->rest.from, range->rest.to);
    keyindex_seek(index, range->rest.from, &cursor);
    while ((entry = keyindex_next(&cursor)) != NULL &&
           key_range_reaches(&range->rest, keyindex_key(entry))) {
        struct revision revision;

        count += keyindex_get(entry, range->at, &revision);
    }
    return count;
}

/* ---- sorting ---- */

static int order_numbers(const struct sort_item *a, const struct sort_item *b)
{
    return (a->number > b->number) - (a->number < b->number);
}

static int order_positions(const struct sort_item *a, const struct sort_item *b)
{
    return (a->position > b->position) - (a->position < b->position);
}

static int by_number(const void *a, const void *b)
{
    int order = order_numbers(a, b);

    return order != 0 ? order : order_positions(a, b);
}

static int by_number_descending(const void *a, const void *b)
{
    int order = order_numbers(b, a);

    return order != 0 ? order : order_positions(a, b);
}

static int order_values(const struct sort_item *a, const struct sort_item *b)
{
    return slice_compare(a->value, b->value);
}

static int by_value(const void *a, const void *b)
{
    int order = order_values(a, b);

    return order != 0 ? order : order_positions(a, b);
}

static int by_value_descending(const void *a, const void *b)
{
    int order = order_values(b, a);

    return order != 0 ? order : order_positions(a, b);
}

static void sort_items(struct sort_item *items, size_t count,
                       Etcdserverpb__RangeRequest__SortTarget target, bool descending)
{
    if (target == ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE)
        qsort(items, count, sizeof(*items), descending ? by_value_descending : by_value);
    else
        qsort(items, count, sizeof(*items), descending ? by_number_descending : by_number);
}

static void set_sort_key(struct mvcc_range *range, const struct keyindex_entry *entry,
                         Etcdserverpb__RangeRequest__SortTarget target, struct sort_item *item)
{
    bool newest = revision_compare(keyindex_newest(entry), item->revision) == 0;

    switch (target) {
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY:
        item->number = (int64_t)item->position;
        break;
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VERSION:
        item->number =
            newest ? entry->version : mvcc_read_stored(range->view, item->revision).version;
        break;
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__CREATE:
        item->number =
            newest ? entry->create : mvcc_read_stored(range->view, item->revision).create;
        break;
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__MOD:
        item->number = item->revision.main;
        break;
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE:
        item->value = mvcc_read_stored(range->view, item->revision).value;
        break;
    case _ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET_IS_INT_SIZE:
        break; /* what protoc-c adds to make room */
    }
}

/* Take everything that passes, at most `most` keys of it, in the order asked for. */
static void fill_sorted(struct mvcc_range *range, const Etcdserverpb__RangeRequest *request,
                        int64_t most)
{
    size_t capacity = (size_t)MIN(range->count, most), count = 0;
    bool descending = request->sort_order == ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
    struct sort_item *items;
    struct keyindex_cursor cursor;
    struct keyindex_entry *entry;

    range->walked = true;
    if (capacity == 0)
        return;
    items = xrealloc(NULL, capacity * sizeof(*items));
    keyindex_seek(range->mvcc->index, range->rest.from, &cursor);
    while (count < capacity && (entry = keyindex_next(&cursor)) != NULL &&
           key_range_reaches(&range->rest, keyindex_key(entry))) {
        struct sort_item *item = &items[count];

        if (!keyindex_get(entry, range->at, &item->revision) ||
            (range->filtered && !passes(range, entry, item->revision)))
            continue;
        item->position = count++;
        set_sort_key(range, entry, request->sort_target, item);
    }
    sort_items(items, count, request->sort_target, descending);
    if (range->filtered)
        range->more = (int64_t)count > range->left;
    count = (size_t)MIN((int64_t)count, range->left);
    reserve_items(range, count);
    for (size_t i = 0; i < count; i++)
        range->items[i] = items[i].revision;
    range->item_count = count;
    free(items);
}

/* ---- entry points ---- */

static struct mvcc_range *range_new(struct mvcc *mvcc)
{
    struct mvcc_range *range = mvcc->spare_ranges;
    uint8_t *scratch;
    size_t scratch_bytes;

    if (range == NULL) {
        range = xalloc(sizeof(*range));
    } else {
        mvcc->spare_ranges = range->next_spare;
        mvcc->spare_range_count--;
    }
    scratch = range->scratch;
    scratch_bytes = range->scratch_bytes;
    memset(range, 0, sizeof(*range));
    range->scratch = scratch;
    range->scratch_bytes = scratch_bytes;
    range->mvcc = mvcc;
    range->view = view_ref(mvcc->env.view(mvcc->env.arg));
    range->items = range->small;
    range->item_capacity = ITEMS_SMALL;
    return range;
}

void mvcc_range_free(struct mvcc_range *range)
{
    struct mvcc *mvcc;

    if (range == NULL)
        return;
    mvcc = range->mvcc;
    if (range->pinned)
        mvcc_pin_remove(&range->pin);
    mvcc_lent_free(mvcc, &range->lent);
    view_unref(range->view);
    free(range->rest_keys);
    free(range->first_key);
    if (range->items != range->small)
        free(range->items);
    if (mvcc->spare_range_count == SPARE_RANGES_MAX || range->scratch_bytes > SCRATCH_KEEP_BYTES) {
        free(range->scratch);
        free(range);
        return;
    }
    range->next_spare = mvcc->spare_ranges;
    mvcc->spare_ranges = range;
    mvcc->spare_range_count++;
}

void mvcc_range_free_spares(struct mvcc *mvcc)
{
    struct mvcc_range *next;

    for (struct mvcc_range *range = mvcc->spare_ranges; range != NULL; range = next) {
        next = range->next_spare;
        free(range->scratch);
        free(range);
    }
    mvcc->spare_ranges = NULL;
    mvcc->spare_range_count = 0;
}

static enum err_code check(const struct mvcc *mvcc, const Etcdserverpb__RangeRequest *request)
{
    if ((unsigned)request->sort_order > ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND ||
        (unsigned)request->sort_target > ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE)
        return ERR_INVALID_SORT_OPTION;
    if (request->revision > mvcc->current)
        return ERR_FUTURE_REV;
    if (request->revision > 0 && request->revision < mvcc->compacted)
        return ERR_COMPACTED;
    return ERR_OK;
}

static void start_one_key(struct mvcc_range *range, const Etcdserverpb__RangeRequest *request)
{
    const struct keyindex_entry *entry = keyindex_find(range->mvcc->index, range->rest.from);
    struct revision revision;

    range->walked = true;
    if (entry == NULL || !keyindex_get(entry, range->at, &revision))
        return;
    range->count = 1;
    if (!request->count_only && (!range->filtered || passes(range, entry, revision)))
        range->items[range->item_count++] = revision;
}

/* As the index has them? */
static bool in_order(const Etcdserverpb__RangeRequest *request)
{
    return request->sort_target == ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY &&
           request->sort_order != ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
}

static void start_keys(struct mvcc_range *range, const Etcdserverpb__RangeRequest *request)
{
    bool ordered = request->sort_order != ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__NONE;
    bool limited = request->limit > 0;

    range->count = count_keys(range);
    if (request->count_only || range->count == 0) {
        range->walked = true;
        return;
    }
    if (!range->filtered)
        range->more = range->count > range->left;
    if (in_order(request)) {
        reserve_items(range,
                      (size_t)MIN(MIN(range->count, range->left), (int64_t)RANGE_SLICE_KEYS));
        fill(range);
    } else if (!ordered && limited && !range->filtered) {
        /* The quirk: what is cut off is cut off in order of keys, but for one, before sorting. */
        fill_sorted(range, request, range->left == INT64_MAX ? INT64_MAX : range->left + 1);
    } else {
        fill_sorted(range, request, INT64_MAX);
    }
}

enum err_code mvcc_range_start(struct mvcc *mvcc, const Etcdserverpb__RangeRequest *request,
                               struct mvcc_range **range)
{
    enum err_code code = check(mvcc, request);
    struct mvcc_range *made;

    if (code != ERR_OK)
        return code;
    mvcc->stats.ranges++;
    made = range_new(mvcc);
    made->at = request->revision > 0 ? request->revision : mvcc_visible(mvcc);
    made->left = request->limit > 0 ? request->limit : INT64_MAX;
    made->keys_only = request->keys_only;
    made->min_mod = request->min_mod_revision;
    made->max_mod = request->max_mod_revision;
    made->min_create = request->min_create_revision;
    made->max_create = request->max_create_revision;
    made->filtered =
        made->min_mod != 0 || made->max_mod != 0 || made->min_create != 0 || made->max_create != 0;
    made->rest = key_range_of(request->key, request->range_end);
    if (made->rest.one)
        start_one_key(made, request);
    else
        start_keys(made, request);
    made->first_left = made->left;
    made->first_more = made->more;
    if (made->rest_keys == NULL) /* nothing is left, nothing of the request is kept */
        made->rest.from = made->rest.to = SLICE_EMPTY;
    *range = made;
    return ERR_OK;
}

int64_t mvcc_range_count(const struct mvcc_range *range)
{
    return range->count;
}

bool mvcc_range_more(const struct mvcc_range *range)
{
    return range->more;
}

void mvcc_range_hold(struct mvcc_range *range)
{
    range->held = true;
}

void mvcc_range_rewind(struct mvcc_range *range)
{
    must(range->held);
    range->left = range->first_left;
    range->more = range->first_more;
    range->item_next = 0;
    range->ahead_count = range->ahead_next = 0;
    if (range->first_key == NULL)
        return;
    range->item_count = 0;
    range->walked = false;
    range->rest.from = slice_of(range->first_key, range->first_key_bytes);
}

static struct slice without_value(struct mvcc_range *range, struct slice key_value)
{
    if (key_value.size > range->scratch_bytes) {
        range->scratch = xrealloc(range->scratch, key_value.size);
        range->scratch_bytes = key_value.size;
    }
    return slice_of(range->scratch, stored_strip(key_value, range->scratch));
}

/* Read what comes next of what is known and the limit leaves; false at the end. */
static bool read_ahead(struct mvcc_range *range)
{
    size_t count;
    bool found;

    if (!has_item(range))
        return false;
    count = MIN(range->item_count - range->item_next, AHEAD_MAX);
    if ((uint64_t)range->left < count)
        count = (size_t)range->left;
    found = view_get_all(range->view, range->items + range->item_next, count, range->ahead);
    must(found);
    range->item_next += count;
    range->ahead_count = count;
    range->ahead_next = 0;
    return true;
}

bool mvcc_range_next(struct mvcc_range *range, struct slice *key_value)
{
    if (range->left == 0) {
        if (range->filtered && !range->more)
            range->more = has_item(range);
        return false;
    }
    if (range->ahead_next == range->ahead_count && !read_ahead(range))
        return false;
    range->left--;
    *key_value = range->ahead[range->ahead_next++];
    if (range->keys_only)
        *key_value = without_value(range, *key_value);
    return true;
}

bool mvcc_range_pieces(struct mvcc_range *range, const Etcdserverpb__RangeRequest *request,
                       struct shared_pieces *pieces, size_t *key_values)
{
    struct key_range keys = key_range_of(request->key, request->range_end);
    int64_t wanted = MIN(range->count, range->left);

    must(range->lent.pieces == NULL && range->ahead_count == 0);
    if (keys.one || wanted == 0 || wanted > (int64_t)RANGE_SLICE_KEYS || !in_order(request) ||
        range->filtered || range->keys_only || request->count_only ||
        range->at != range->mvcc->current ||
        !mvcc_lend(range->mvcc, range->view, &keys, (size_t)wanted, &range->lent))
        return false;
    *pieces = (struct shared_pieces){
        .all = range->lent.pieces, .count = range->lent.count, .bytes = range->lent.bytes};
    *key_values = (size_t)wanted;
    return true;
}

/* ---- a range inside a txn: the whole answer at once ---- */

/* The key-values of the answer; their bytes live in the view, those of keys_only in the arena. */
static void answer_kvs(struct mvcc *mvcc, struct arena *arena, struct mvcc_range *range,
                       Etcdserverpb__RangeResponse *response)
{
    size_t most = (size_t)MIN(range->count, range->left);
    struct slice key_value;

    if (most == 0)
        return;
    response->kvs = mvcc_answer_alloc(mvcc, arena, most * sizeof(Mvccpb__KeyValue *));
    if (response->kvs == NULL)
        return;
    while (mvcc_range_next(range, &key_value)) {
        Mvccpb__KeyValue *kv;

        must(response->n_kvs < most);
        if (range->keys_only) {
            void *copy = mvcc_answer_alloc(mvcc, arena, key_value.size);

            if (copy == NULL)
                return;
            memcpy(copy, key_value.data, key_value.size);
            key_value.data = copy;
        }
        if ((kv = mvcc_answer_kv(mvcc, arena, key_value)) == NULL)
            return;
        response->kvs[response->n_kvs++] = kv;
    }
}

Etcdserverpb__RangeResponse *mvcc_answer_range(struct mvcc *mvcc, struct arena *arena,
                                               const Etcdserverpb__RangeRequest *request)
{
    Etcdserverpb__RangeResponse *response = mvcc_answer_alloc(mvcc, arena, sizeof(*response));
    struct mvcc_range *range;
    enum err_code code;

    if (response == NULL)
        return NULL;
    code = mvcc_range_start(mvcc, request, &range);
    must(code == ERR_OK); /* checked before the first operation ran */
    *response = (Etcdserverpb__RangeResponse)ETCDSERVERPB__RANGE_RESPONSE__INIT;
    response->header = mvcc_answer_header(mvcc, arena, mvcc_visible(mvcc));
    response->count = mvcc_range_count(range);
    if (!request->count_only)
        answer_kvs(mvcc, arena, range, response);
    response->more = mvcc_range_more(range);
    mvcc_range_free(range);
    return response;
}
