/*
 * bolt_writer.c - see bolt_writer.h and formats.md 1.9.
 *
 *     meta meta | leaf leaf .. branch leaf .. branch root-of-bucket | next bucket .. | root bucket
 *
 * A tree grows from the left: items gather in the node of their level; a node that is full is given
 * the next free page number, leaves for the sink, and becomes an item one level up. A branch waits
 * until two more items have come, so that the last one of a level never has a single child. The
 * buckets are items of the root bucket's tree, which grows in the same way beside them.
 * Planning runs the same code without bytes: what decides about pages is sizes only.
 */
#include "common/storage/bolt_writer.h"
#include "common/storage/bolt_page.h"

#include "common/base/buf.h"

#define PAGE_BYTES_DEFAULT 4096U
#define TXID_DEFAULT 2U
#define NODE_ITEMS_MAX 0xFFFEU

struct item {
    uint32_t key_bytes;
    uint32_t value_bytes; /* leaf */
    uint32_t flags;       /* leaf */
    uint64_t child;       /* branch */
    /* leaf of a lasting source: borrowed from there */
    const uint8_t *key, *value;
};

struct node {
    struct item *items; /* owned */
    size_t count, capacity;
    struct buf data;     /* keys, and in a leaf values; in a plan's leaf the first key only */
    struct buf first;    /* the first key */
    uint64_t data_bytes; /* what `data` has, or would have */
    bool borrows;        /* the items say where keys and values are; `data` stays empty */
};

struct tree {
    struct writer *writer;
    struct node levels[BOLT_DEPTH_MAX]; /* 0 = leaf */
    unsigned height;                    /* levels that have had items */
    struct buf newest;                  /* last key, to see that they ascend */
    struct slice last;                  /* the same, borrowed from a lasting source */
    bool any;
    bool written; /* a page of it has been given out */
};

struct writer {
    struct bolt_plan plan;
    bolt_sink_fn *sink; /* NULL = planning */
    void *arg;
    struct buf chunk;
    uint64_t next; /* first page number not given out */
    uint64_t entries;
    struct tree bucket, root;
};

/* ---- bytes out ---- */

static int chunk_full(struct writer *writer, struct err *err)
{
    struct buf *chunk = &writer->chunk;

    if (chunk->size != chunk->max)
        return 0;
    if (writer->sink(writer->arg, chunk, err) < 0)
        return -1;
    buf_reset(chunk);
    return 0;
}

static int put(struct writer *writer, struct slice bytes, struct err *err)
{
    struct buf *chunk = &writer->chunk;

    while (bytes.size != 0) {
        size_t part = MIN(bytes.size, chunk->max - chunk->size);
        uint8_t *room = buf_reserve(chunk, part);

        must(room != NULL);
        memcpy(room, bytes.data, part);
        buf_advance(chunk, part);
        bytes = slice_of(bytes.data + part, bytes.size - part);
        if (chunk_full(writer, err) < 0)
            return -1;
    }
    return 0;
}

static int put_zeros(struct writer *writer, uint64_t bytes, struct err *err)
{
    static const uint8_t zeros[1024];

    while (bytes != 0) {
        size_t part = (size_t)MIN(bytes, sizeof(zeros));

        if (put(writer, slice_of(zeros, part), err) < 0)
            return -1;
        bytes -= part;
    }
    return 0;
}

static void page_header(uint8_t *at, uint64_t id, unsigned flags, size_t count, uint64_t overflow)
{
    bolt_store(at, id, 8);
    bolt_store(at + 8, flags, 2);
    bolt_store(at + 10, count, 2);
    bolt_store(at + 12, overflow, 4);
}

static int put_metas(struct writer *writer, struct err *err)
{
    const struct bolt_plan *plan = &writer->plan;

    for (unsigned id = 0; id < BOLT_FIRST_PAGE; id++) {
        uint8_t page[BOLT_HEADER_BYTES + BOLT_META_BYTES] = {0}, *meta = page + BOLT_HEADER_BYTES;

        page_header(page, id, BOLT_META, 0, 0);
        bolt_store(meta, BOLT_MAGIC, 4);
        bolt_store(meta + 4, BOLT_VERSION, 4);
        bolt_store(meta + 8, plan->page_bytes, 4);
        bolt_store(meta + 16, plan->root, 8);
        bolt_store(meta + 32, BOLT_NO_FREELIST, 8);
        bolt_store(meta + 40, plan->pages, 8);
        bolt_store(meta + 48, plan->txid - id, 8);
        bolt_store(meta + BOLT_META_SUMMED, bolt_fnv(meta, BOLT_META_SUMMED), 8);
        if (put(writer, slice_of(page, sizeof(page)), err) < 0 ||
            put_zeros(writer, plan->page_bytes - sizeof(page), err) < 0)
            return -1;
    }
    return 0;
}

/* ---- nodes ---- */

static void node_free(struct node *node)
{
    free(node->items);
    buf_free(&node->data);
    buf_free(&node->first);
}

static uint64_t node_bytes(const struct node *node)
{
    return BOLT_HEADER_BYTES + node->count * (uint64_t)BOLT_ELEMENT_BYTES + node->data_bytes;
}

static void keep_first(struct node *node, struct slice key)
{
    buf_reset(&node->first);
    must(buf_append_slice(&node->first, key));
}

/* In a plan's leaf: only how much there is counts. */
static void node_count(struct node *node, struct slice key, struct slice value)
{
    if (node->count == 0)
        keep_first(node, key);
    node->count++;
    node->data_bytes += key.size + value.size;
}

/* The caller sets flags or child: in place, for who copies an item waits for what was just
 * written. */
static struct item *node_add(struct node *node, struct slice key, struct slice value)
{
    struct item *item;

    if (node->count == node->capacity) {
        node->capacity = MAX(2 * node->capacity, 64U);
        node->items = xrealloc(node->items, node->capacity * sizeof(*item));
    }
    item = &node->items[node->count];
    item->key_bytes = (uint32_t)key.size;
    item->value_bytes = (uint32_t)value.size;
    item->key = key.data;
    item->value = value.data;
    node_count(node, key, value);
    if (!node->borrows) {
        must(buf_append_slice(&node->data, key));
        must(buf_append_slice(&node->data, value));
    }
    return item;
}

static void node_clear(struct node *node)
{
    node->count = 0;
    node->data_bytes = 0;
    buf_reset(&node->data);
}

static void element(uint8_t *at, const struct item *item, uint64_t pos, bool leaf)
{
    if (leaf) {
        bolt_store(at, item->flags, 4);
        bolt_store(at + 4, pos, 4);
        bolt_store(at + 8, item->key_bytes, 4);
        bolt_store(at + 12, item->value_bytes, 4);
    } else {
        bolt_store(at, pos, 4);
        bolt_store(at + 4, item->key_bytes, 4);
        bolt_store(at + 8, item->child, 8);
    }
}

/* Rows, keys and values of a leaf of borrowed items, at once; the chunk has room for them. */
static int put_leaf(struct writer *writer, const struct node *node, uint64_t bytes, struct err *err)
{
    uint64_t pos = node->count * (uint64_t)BOLT_ELEMENT_BYTES;
    uint8_t *row = buf_reserve(&writer->chunk, bytes), *data;

    must(row != NULL);
    data = row + pos;
    for (size_t i = 0; i < node->count; i++, row += BOLT_ELEMENT_BYTES) {
        const struct item *item = &node->items[i];

        element(row, item, (uint64_t)(data - row), true);
        memcpy(data, item->key, item->key_bytes);
        data += item->key_bytes;
        if (item->value_bytes != 0)
            memcpy(data, item->value, item->value_bytes);
        data += item->value_bytes;
    }
    buf_advance(&writer->chunk, bytes);
    return chunk_full(writer, err);
}

/* The first `count` items as a page image without its padding; `bytes` of data belong to them. */
static int put_node(struct writer *writer, const struct node *node, size_t count, bool leaf,
                    struct err *err)
{
    uint64_t pos = count * (uint64_t)BOLT_ELEMENT_BYTES, bytes = 0;
    uint64_t whole = node_bytes(node) - BOLT_HEADER_BYTES;

    if (node->borrows && whole != 0 && writer->chunk.max - writer->chunk.size >= whole)
        return put_leaf(writer, node, whole, err);
    for (size_t i = 0; i < count; i++) {
        uint8_t row[BOLT_ELEMENT_BYTES];

        element(row, &node->items[i], pos, leaf);
        if (put(writer, slice_of(row, sizeof(row)), err) < 0)
            return -1;
        bytes += (uint64_t)node->items[i].key_bytes + node->items[i].value_bytes;
        pos += (uint64_t)node->items[i].key_bytes + node->items[i].value_bytes - BOLT_ELEMENT_BYTES;
    }
    if (!node->borrows)
        return put(writer, slice_of(node->data.data, bytes), err);
    for (size_t i = 0; i < count; i++) {
        const struct item *item = &node->items[i];

        if (put(writer, slice_of(item->key, item->key_bytes), err) < 0 ||
            put(writer, slice_of(item->value, item->value_bytes), err) < 0)
            return -1;
    }
    return 0;
}

static uint64_t take_pages(struct writer *writer, uint64_t bytes, uint64_t *run)
{
    uint64_t id = writer->next;

    *run = (bytes + writer->plan.page_bytes - 1) / writer->plan.page_bytes;
    writer->next += *run;
    return id;
}

/* Give the first `count` items a page; they stay in the node, whose owner drops them. */
static int write_node(struct tree *tree, const struct node *node, size_t count, bool leaf,
                      uint64_t *id, struct err *err)
{
    struct writer *writer = tree->writer;
    uint64_t bytes = count == node->count ? node_bytes(node) : BOLT_HEADER_BYTES, run;
    uint8_t header[BOLT_HEADER_BYTES];

    for (size_t i = 0; count != node->count && i < count; i++)
        bytes +=
            (uint64_t)BOLT_ELEMENT_BYTES + node->items[i].key_bytes + node->items[i].value_bytes;
    *id = take_pages(writer, bytes, &run);
    tree->written = true;
    if (writer->sink == NULL)
        return 0;
    page_header(header, *id, leaf ? BOLT_LEAF : BOLT_BRANCH, count, run - 1);
    if (put(writer, slice_of(header, sizeof(header)), err) < 0 ||
        put_node(writer, node, count, leaf, err) < 0)
        return -1;
    return put_zeros(writer, run * writer->plan.page_bytes - bytes, err);
}

/* A single item too large for a node goes to the sink from where it lies. */
static int write_large(struct tree *tree, unsigned flags, struct slice key, struct slice value,
                       uint64_t *id, struct err *err)
{
    struct item item = {
        .key_bytes = (uint32_t)key.size, .value_bytes = (uint32_t)value.size, .flags = flags};
    struct writer *writer = tree->writer;
    uint64_t bytes = (uint64_t)BOLT_HEADER_BYTES + BOLT_ELEMENT_BYTES + key.size + value.size, run;
    uint8_t head[BOLT_HEADER_BYTES + BOLT_ELEMENT_BYTES];

    *id = take_pages(writer, bytes, &run);
    tree->written = true;
    if (writer->sink == NULL)
        return 0;
    page_header(head, *id, BOLT_LEAF, 1, run - 1);
    element(head + BOLT_HEADER_BYTES, &item, BOLT_ELEMENT_BYTES, true);
    if (put(writer, slice_of(head, sizeof(head)), err) < 0 || put(writer, key, err) < 0 ||
        put(writer, value, err) < 0)
        return -1;
    return put_zeros(writer, run * writer->plan.page_bytes - bytes, err);
}

/* ---- trees ---- */

static void tree_init(struct tree *tree, struct writer *writer)
{
    tree->writer = writer;
    for (unsigned i = 0; i < BOLT_DEPTH_MAX; i++) {
        buf_init(&tree->levels[i].data, BUF_UNLIMITED); /* a few pages and keys, see add_branch() */
        buf_init(&tree->levels[i].first, BOLT_KEY_MAX);
    }
    buf_init(&tree->newest, BOLT_KEY_MAX);
}

static void tree_free(struct tree *tree)
{
    for (unsigned i = 0; i < BOLT_DEPTH_MAX; i++)
        node_free(&tree->levels[i]);
    buf_free(&tree->newest);
}

static void tree_clear(struct tree *tree)
{
    for (unsigned i = 0; i < BOLT_DEPTH_MAX; i++)
        node_clear(&tree->levels[i]);
    tree->height = 0;
    tree->any = false;
    tree->written = false;
}

/* Keep what follows the first `count` items. */
static void node_drop(struct node *node, size_t count)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < count; i++)
        bytes += (uint64_t)node->items[i].key_bytes + node->items[i].value_bytes;
    node->count -= count;
    memmove(node->items, node->items + count, node->count * sizeof(node->items[0]));
    buf_consume(&node->data, bytes);
    /* slide, for put_node() and the next drop take the data from its start */
    memmove(node->data.data, node->data.data + node->data.start, buf_used(&node->data));
    node->data.size = buf_used(&node->data);
    node->data.start = 0;
    node->data_bytes -= bytes;
    buf_reset(&node->first);
    must(buf_append(&node->first, node->data.data, node->items[0].key_bytes));
}

/* How many of a branch's items fill a page: at least two. */
static size_t branch_full(const struct tree *tree, const struct node *node)
{
    uint64_t bytes = BOLT_HEADER_BYTES;
    size_t count = 0;

    if (node_bytes(node) <= tree->writer->plan.page_bytes && node->count <= NODE_ITEMS_MAX)
        return node->count;
    while (count < MIN(node->count, NODE_ITEMS_MAX)) {
        bytes += (uint64_t)BOLT_ELEMENT_BYTES + node->items[count].key_bytes;
        if (count >= 2 && bytes > tree->writer->plan.page_bytes)
            break;
        count++;
    }
    return count;
}

static int too_deep(struct err *err)
{
    err_set(err, ERR_FORMAT, "the content needs a tree of more than %lu levels", BOLT_DEPTH_MAX);
    return -1;
}

/* A finished page becomes an item of `level`; pages that this fills become items further up. */
static int add_branch(struct tree *tree, unsigned level, struct slice first, uint64_t child,
                      struct err *err)
{
    for (;; level++) {
        struct node *node;
        struct slice key;
        size_t full;

        if (level == BOLT_DEPTH_MAX)
            return too_deep(err);
        node = &tree->levels[level];
        tree->height = MAX(tree->height, level + 1);
        node_add(node, first, SLICE_EMPTY)->child = child;
        full = branch_full(tree, node);
        if (full + 2 > node->count)
            return 0;
        if (write_node(tree, node, full, false, &child, err) < 0)
            return -1;
        /* the key goes up before the node forgets it: levels are distinct, so copy by hand */
        key = buf_slice(&node->first);
        if (level + 1 == BOLT_DEPTH_MAX)
            return too_deep(err);
        must(tree->levels[level + 1].first.max >= key.size);
        buf_reset(&tree->newest); /* free for use: it is set again by the next tree_add() */
        must(buf_append_slice(&tree->newest, key));
        first = buf_slice(&tree->newest);
        node_drop(node, full);
    }
}

static int flush_leaf(struct tree *tree, struct err *err)
{
    struct node *leaf = &tree->levels[0];
    uint64_t id;

    if (leaf->count == 0)
        return 0;
    if (write_node(tree, leaf, leaf->count, true, &id, err) < 0)
        return -1;
    node_clear(leaf);
    return add_branch(tree, 1, buf_slice(&leaf->first), id, err);
}

static int check_item(struct tree *tree, struct slice key, struct slice value, struct err *err)
{
    struct slice last = tree->levels[0].borrows ? tree->last : buf_slice(&tree->newest);

    if (key.size == 0 || key.size > BOLT_KEY_MAX || value.size > BOLT_VALUE_MAX) {
        err_set(err, ERR_FORMAT,
                "a key of %zu bytes with a value of %zu does not fit into a bbolt file", key.size,
                value.size);
        return -1;
    }
    if (tree->levels[0].borrows && tree->writer->sink == NULL)
        return 0; /* the plan of a lasting source looks at no byte; the image will tell */
    if (tree->any && slice_compare(last, key) >= 0) {
        err_set(err, ERR_FORMAT, "keys do not ascend in what is to be written as a bbolt file");
        return -1;
    }
    return 0;
}

static int tree_add(struct tree *tree, unsigned flags, struct slice key, struct slice value,
                    struct err *err)
{
    struct node *leaf = &tree->levels[0];
    uint64_t bytes = (uint64_t)BOLT_ELEMENT_BYTES + key.size + value.size, id;

    if (check_item(tree, key, value, err) < 0)
        return -1;
    if ((node_bytes(leaf) + bytes > tree->writer->plan.page_bytes ||
         leaf->count == NODE_ITEMS_MAX) &&
        flush_leaf(tree, err) < 0)
        return -1;
    tree->any = true;
    tree->height = MAX(tree->height, 1U);
    if (BOLT_HEADER_BYTES + bytes > tree->writer->plan.page_bytes) {
        if (write_large(tree, flags, key, value, &id, err) < 0 ||
            add_branch(tree, 1, key, id, err) < 0)
            return -1;
    } else if (tree->writer->sink == NULL) {
        node_count(leaf, key, value);
    } else {
        node_add(leaf, key, value)->flags = flags;
    }
    tree->last = key;
    if (!leaf->borrows) {
        buf_reset(&tree->newest);
        must(buf_append_slice(&tree->newest, key));
    }
    return 0;
}

/* The last pages of a branch level: two if one page cannot take all, none with a single child. */
static int finish_level(struct tree *tree, unsigned level, struct err *err)
{
    struct node *node = &tree->levels[level];
    uint64_t id;

    while (node->count != 0) {
        size_t full = branch_full(tree, node);
        struct slice key;

        if (full + 1 == node->count) /* never one alone: hand it a neighbour, or take it in */
            full = full >= 3 ? full - 1 : full + 1;
        if (write_node(tree, node, full, false, &id, err) < 0)
            return -1;
        key = buf_slice(&node->first);
        buf_reset(&tree->newest);
        must(buf_append_slice(&tree->newest, key));
        if (full == node->count)
            node_clear(node);
        else
            node_drop(node, full);
        if (add_branch(tree, level + 1, buf_slice(&tree->newest), id, err) < 0)
            return -1;
    }
    return 0;
}

/* Everything still in hand becomes pages; *root is the last one. */
static int tree_finish(struct tree *tree, uint64_t *root, struct err *err)
{
    if (!tree->any) { /* an empty leaf */
        tree->height = 1;
        return write_node(tree, &tree->levels[0], 0, true, root, err);
    }
    if (flush_leaf(tree, err) < 0)
        return -1;
    for (unsigned level = 1; level < BOLT_DEPTH_MAX; level++) {
        struct node *node = &tree->levels[level];

        if (level + 1 >= tree->height && node->count == 1) {
            *root = node->items[0].child;
            return 0;
        }
        if (finish_level(tree, level, err) < 0)
            return -1;
    }
    return too_deep(err);
}

/* ---- the file ---- */

/* A bucket of one small leaf lies inside the root bucket's leaf (formats.md 1.6). */
static bool fits_inline(const struct tree *tree)
{
    return !tree->written && node_bytes(&tree->levels[0]) <= tree->writer->plan.page_bytes / 4;
}

static int put_in_buf(void *arg, struct buf *bytes, struct err *err)
{
    struct buf *buf = arg;

    (void)err;
    must(buf_append_slice(buf, buf_slice(bytes)));
    return 0;
}

static void inline_value(struct tree *tree, struct buf *value)
{
    const struct node *leaf = &tree->levels[0];
    uint8_t head[BOLT_BUCKET_BYTES + BOLT_HEADER_BYTES] = {0};
    uint64_t rest = node_bytes(leaf) - BOLT_HEADER_BYTES;
    struct writer local = {.sink = put_in_buf, .arg = value, .chunk = BUF_INIT(rest)};
    struct err never = ERR_INIT;

    page_header(head + BOLT_BUCKET_BYTES, 0, BOLT_LEAF, leaf->count, 0);
    must(buf_append(value, head, sizeof(head)));
    if (tree->writer->sink == NULL) { /* planning: only the size counts */
        uint8_t *room = buf_reserve(value, rest);

        must(room != NULL || rest == 0);
        if (rest != 0)
            memset(room, 0, rest);
        buf_advance(value, rest);
        return;
    }
    must(put_node(&local, leaf, leaf->count, true, &never) == 0);
    buf_free(&local.chunk);
}

static int write_bucket(struct writer *writer, struct bolt_source *source, struct buf *value,
                        struct err *err)
{
    struct tree *tree = &writer->bucket;
    struct slice key, data;
    uint64_t root;
    bool found;

    tree_clear(tree);
    tree->levels[0].borrows = source->lasting;
    for (;;) {
        if (source->ops->next_entry(source, &key, &data, &found, err) < 0)
            return -1;
        if (!found)
            break;
        if (tree_add(tree, 0, key, data, err) < 0)
            return -1;
        writer->entries++;
    }
    buf_reset(value);
    if (fits_inline(tree)) {
        inline_value(tree, value);
        return 0;
    }
    if (tree_finish(tree, &root, err) < 0)
        return -1;
    uint8_t bytes[BOLT_BUCKET_BYTES] = {0};
    bolt_store(bytes, root, 8);
    must(buf_append(value, bytes, sizeof(bytes)));
    return 0;
}

static int write_buckets(struct writer *writer, struct bolt_source *source, uint64_t *root,
                         struct err *err)
{
    struct buf name = BUF_INIT(BOLT_KEY_MAX), value = BUF_INIT(BOLT_PAGE_MAX_BYTES);
    struct slice borrowed;
    bool found;
    int rc = -1;

    writer->next = BOLT_FIRST_PAGE;
    if (source->ops->rewind(source, err) < 0)
        goto out;
    for (;;) {
        if (source->ops->next_bucket(source, &borrowed, &found, err) < 0)
            goto out;
        if (!found)
            break;
        buf_reset(&name);
        if (!buf_append_slice(&name, borrowed)) {
            err_set(err, ERR_FORMAT, "a bucket name of %zu bytes", borrowed.size);
            goto out;
        }
        if (write_bucket(writer, source, &value, err) < 0 ||
            tree_add(&writer->root, BOLT_LEAF_BUCKET, buf_slice(&name), buf_slice(&value), err) < 0)
            goto out;
    }
    rc = tree_finish(&writer->root, root, err);
out:
    buf_free(&name);
    buf_free(&value);
    return rc;
}

static void writer_init(struct writer *writer, const struct bolt_plan *plan)
{
    *writer = (struct writer){.plan = *plan};
    buf_init(&writer->chunk, plan->chunk_bytes);
    tree_init(&writer->bucket, writer);
    tree_init(&writer->root, writer);
}

static void writer_fini(struct writer *writer)
{
    buf_free(&writer->chunk);
    tree_free(&writer->bucket);
    tree_free(&writer->root);
}

int bolt_plan(struct bolt_source *source, const struct bolt_write_options *options,
              struct bolt_plan *out, struct err *err)
{
    struct bolt_plan plan = {
        .page_bytes = options->page_bytes != 0 ? options->page_bytes : PAGE_BYTES_DEFAULT,
        .txid = options->txid != 0 ? options->txid : TXID_DEFAULT,
        .chunk_bytes = options->chunk_bytes != 0 ? options->chunk_bytes : SNAPSHOT_CHUNK_BYTES,
    };
    struct writer writer;
    int rc;

    must(plan.page_bytes >= BOLT_PAGE_MIN_BYTES && plan.page_bytes <= BOLT_PAGE_MAX_BYTES &&
         (plan.page_bytes & (plan.page_bytes - 1)) == 0);
    writer_init(&writer, &plan);
    rc = write_buckets(&writer, source, &plan.root, err);
    plan.pages = writer.next;
    plan.entries = writer.entries;
    if (rc == 0)
        *out = plan;
    writer_fini(&writer);
    return rc;
}

int bolt_write(struct bolt_source *source, const struct bolt_plan *plan, bolt_sink_fn *sink,
               void *arg, struct err *err)
{
    struct writer writer;
    uint64_t root = 0;
    int rc = -1;

    writer_init(&writer, plan);
    writer.sink = sink;
    writer.arg = arg;
    if (put_metas(&writer, err) < 0 || write_buckets(&writer, source, &root, err) < 0)
        goto out;
    if (writer.next != plan->pages || root != plan->root || writer.entries != plan->entries) {
        err_set(err, ERR_DAMAGED,
                "the data changed while it was written: %" PRIu64 " pages planned, %" PRIu64
                " written; try again",
                plan->pages, writer.next);
        goto out;
    }
    rc = buf_used(&writer.chunk) == 0 ? 0 : sink(arg, &writer.chunk, err);
out:
    writer_fini(&writer);
    return rc;
}
