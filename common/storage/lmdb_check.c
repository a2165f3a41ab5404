/*
 * lmdb_check.c - see lmdb_check.h. The format (LMDB 0.9, data version 1, 64 bit, little endian):
 *
 *   page   u64 number, u16 -, u16 flags, u16 lower, u16 upper, u16 node offsets[], ... nodes
 *   node   u16 low, u16 high, u16 flags, u16 key bytes, key, data
 *          branch: child = low | high << 16 | flags << 32; the first key counts as minus infinity
 *          leaf:   data bytes = low | high << 16; BIGDATA: the data is the number of a page run
 *   run    u64 number, u16 -, u16 flags, u32 pages, data
 *   meta   pages 0 and 1: u32 magic, u32 version, u64 -, u64 map bytes, tree of free pages, main
 *          tree, u64 last page, u64 transaction; the one with the larger transaction counts
 *   tree   u32 page bytes (in the first tree of a meta), u16 flags, u16 depth, 3 counts, entries,
 *          root (all ones: empty)
 *
 * The main tree holds a tree record per bucket; the tree of free pages maps a transaction to
 * {count, page numbers descending}.
 */
#include "common/storage/lmdb_check.h"

#include "common/base/file.h"
#include "common/storage/backend.h"
#include "common/storage/bolt_page.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define VERSION 1U
#define META_BYTES 152U
#define TREE_BYTES 48U
#define HEADER_BYTES 16U
#define NODE_BYTES 8U
#define DEPTH_MAX 32U /* LMDB's cursor stack */
#define NO_ROOT UINT64_MAX
#define PAGE_BYTES_MAX 65536U

enum page_flag { PAGE_BRANCH = 1, PAGE_LEAF = 2, PAGE_OVERFLOW = 4, PAGE_META = 8 };
enum node_flag { NODE_BIG = 1, NODE_TREE = 2, NODE_DUPLICATES = 4 };

enum tree_kind { TREE_BUCKET, TREE_MAIN, TREE_FREE };

struct tree {
    uint16_t flags;
    uint16_t depth;
    uint64_t root;
};

struct check {
    const char *path;
    const uint8_t *map; /* NULL = not mapped */
    uint64_t bytes;
    uint32_t page_bytes;
    uint64_t file_pages;
    uint64_t last_page;
    uint8_t *used;       /* a bit a page; owned */
    struct slice newest; /* last key met in the tree being walked; data NULL = none */
    struct tree buckets[BUCKET_COUNT];
    unsigned buckets_found;
    struct err *err;
};

static uint16_t u16_at(const uint8_t *data)
{
    uint16_t number;

    memcpy(&number, data, sizeof(number));
    return number;
}

static uint32_t u32_at(const uint8_t *data)
{
    uint32_t number;

    memcpy(&number, data, sizeof(number));
    return number;
}

static uint64_t u64_at(const uint8_t *data)
{
    uint64_t number;

    memcpy(&number, data, sizeof(number));
    return number;
}

static int foreign(struct check *check, const char *what)
{
    err_set(check->err, ERR_FORMAT,
            "%s: %s; move it away to start with an empty store, or restore a snapshot", check->path,
            what);
    return -1;
}

static int damaged(struct check *check, uint64_t page, const char *what)
{
    err_set(check->err, ERR_DAMAGED,
            "%s: page %" PRIu64 ": %s; the file is damaged: restore a snapshot, or remove the "
            "member and add it again",
            check->path, page, what);
    return -1;
}

static bool use_page(struct check *check, uint64_t page)
{
    uint8_t bit = (uint8_t)(1U << (page % 8));

    if (check->used[page / 8] & bit)
        return false;
    check->used[page / 8] |= bit;
    return true;
}

static struct tree tree_at(const uint8_t *record)
{
    return (struct tree){u16_at(record + 4), u16_at(record + 6), u64_at(record + 40)};
}

static int compare_keys(enum tree_kind kind, struct slice a, struct slice b)
{
    if (kind == TREE_FREE && a.size == 8 && b.size == 8)
        return (u64_at(a.data) > u64_at(b.data)) - (u64_at(a.data) < u64_at(b.data));
    return slice_compare(a, b);
}

/* Page `page` of a tree, its header checked; NULL and the error when it is not good. */
static const uint8_t *tree_page(struct check *check, enum tree_kind kind, uint64_t page,
                                bool is_leaf)
{
    const uint8_t *data;
    unsigned lower, upper, least = kind == TREE_FREE || is_leaf ? 1 : 2;
    const char *what = NULL;

    if (page < 2 || page > check->last_page || page >= check->file_pages) {
        (void)damaged(check, page, "a tree points past the end of the file"); /* sets the error */
        return NULL;
    }
    data = check->map + page * check->page_bytes;
    lower = u16_at(data + 12);
    upper = u16_at(data + 14);
    if (!use_page(check, page))
        what = "is used twice";
    else if (u64_at(data) != page)
        what = "says it is another page";
    else if (u16_at(data + 10) != (is_leaf ? PAGE_LEAF : PAGE_BRANCH))
        what = "has the wrong kind";
    else if (lower < HEADER_BYTES + 2 * least || lower % 2 != 0 || lower > upper ||
             upper > check->page_bytes)
        what = "has impossible bounds";
    if (what == NULL)
        return data;
    (void)damaged(check, page, what); /* sets the error */
    return NULL;
}

static unsigned node_count(const uint8_t *page)
{
    return (u16_at(page + 12) - HEADER_BYTES) / 2;
}

/* Node `at`, its key inside the page; NULL when not. */
static const uint8_t *node_at(const struct check *check, const uint8_t *page, unsigned at,
                              struct slice *key)
{
    unsigned offset = u16_at(page + HEADER_BYTES + 2 * at);
    unsigned upper = u16_at(page + 14);
    const uint8_t *node = page + offset;

    if (offset < upper || offset + NODE_BYTES > check->page_bytes)
        return NULL;
    *key = slice_of(node + NODE_BYTES, u16_at(node + 6));
    return offset + NODE_BYTES + key->size <= check->page_bytes ? node : NULL;
}

static int check_run(struct check *check, uint64_t page, uint64_t value_bytes)
{
    uint64_t pages = (HEADER_BYTES - 1 + value_bytes) / check->page_bytes + 1;
    const uint8_t *data;

    if (page < 2 || page > check->last_page || page >= check->file_pages ||
        pages > check->file_pages - page || pages > check->last_page + 1 - page)
        return damaged(check, page, "a large value reaches past the end of the file");
    data = check->map + page * check->page_bytes;
    if (u64_at(data) != page || u16_at(data + 10) != PAGE_OVERFLOW || u32_at(data + 12) != pages)
        return damaged(check, page, "is not the start of the large value it should be");
    for (uint64_t i = 0; i < pages; i++) {
        if (!use_page(check, page + i))
            return damaged(check, page + i, "is used twice");
    }
    return 0;
}

static int check_free_pages(struct check *check, uint64_t page, const uint8_t *list, uint64_t bytes)
{
    uint64_t count = bytes >= 8 ? u64_at(list) : UINT64_MAX, above = UINT64_MAX;

    if (count > bytes / 8 - 1)
        return damaged(check, page, "has a list of free pages that is cut off");
    for (uint64_t i = 1; i <= count; i++) {
        uint64_t number = u64_at(list + 8 * i);

        if (number < 2 || number > check->last_page || number >= above)
            return damaged(check, page, "has an impossible list of free pages");
        if (!use_page(check, number))
            return damaged(check, number, "is free and used");
        above = number;
    }
    return 0;
}

static int note_bucket(struct check *check, struct slice name, uint16_t flags, struct slice record)
{
    enum bucket bucket;

    if (!bucket_find(name, &bucket) || flags != NODE_TREE || record.size != TREE_BYTES)
        return foreign(check, "is an LMDB file of another program");
    check->buckets[bucket] = tree_at(record.data);
    check->buckets_found++;
    return 0;
}

static int check_leaf_node(struct check *check, enum tree_kind kind, uint64_t page,
                           const uint8_t *node, struct slice key)
{
    const uint8_t *end = check->map + (page + 1) * check->page_bytes;
    const uint8_t *data = key.data + key.size;
    uint64_t bytes = u16_at(node) | (uint64_t)u16_at(node + 2) << 16;
    uint16_t flags = u16_at(node + 4);
    uint64_t run;

    if (flags & NODE_BIG) {
        if ((flags & ~NODE_BIG) != 0 || end - data < 8)
            return damaged(check, page, "has an impossible node");
        run = u64_at(data);
        if (check_run(check, run, bytes) < 0)
            return -1;
        data = check->map + run * check->page_bytes + HEADER_BYTES;
    } else if ((uint64_t)(end - data) < bytes) {
        return damaged(check, page, "has a value that leaves the page");
    }
    switch (kind) {
    case TREE_BUCKET:
        return (flags & ~NODE_BIG) == 0 ? 0 : damaged(check, page, "has an unknown kind of value");
    case TREE_MAIN:
        return note_bucket(check, key, flags, slice_of(data, bytes));
    case TREE_FREE:
        if (key.size != 8 || (flags & ~NODE_BIG) != 0)
            return damaged(check, page, "is no list of free pages");
        return check_free_pages(check, page, data, bytes);
    }
    return 0;
}

/* Recursion: `depth`, at most DEPTH_MAX. */
static int check_pages(struct check *check, enum tree_kind kind, uint64_t number, unsigned depth)
{
    const uint8_t *page = tree_page(check, kind, number, depth == 1);

    if (page == NULL)
        return -1;
    for (unsigned i = 0; i < node_count(page); i++) {
        struct slice key;
        const uint8_t *node = node_at(check, page, i, &key);
        uint64_t child;

        if (node == NULL)
            return damaged(check, number, "has a node that leaves the page");
        /* A branch's key lies above all that came before; what follows is not below it. */
        if (depth == 1 || i > 0) {
            int order = check->newest.data == NULL ? -1 : compare_keys(kind, check->newest, key);
            bool is_separator = depth == 1 && i == 0; /* may equal the branch's key */

            if (order > 0 || (order == 0 && !is_separator))
                return damaged(check, number, "has keys out of order");
            check->newest = key;
        }
        if (depth == 1) {
            if (check_leaf_node(check, kind, number, node, key) < 0)
                return -1;
            continue;
        }
        child = u16_at(node) | (uint64_t)u16_at(node + 2) << 16 | (uint64_t)u16_at(node + 4) << 32;
        if (check_pages(check, kind, child, depth - 1) < 0)
            return -1;
    }
    return 0;
}

static int check_tree(struct check *check, enum tree_kind kind, const struct tree *tree)
{
    check->newest = SLICE_EMPTY;
    if (tree->root == NO_ROOT)
        return tree->depth == 0 ? 0 : damaged(check, 0, "an empty tree has a depth");
    if (tree->depth == 0 || tree->depth > DEPTH_MAX)
        return damaged(check, tree->root, "is the root of a tree of impossible depth");
    if (kind != TREE_FREE && tree->flags != 0)
        return foreign(check, "is an LMDB file of another program");
    return check_pages(check, kind, tree->root, tree->depth);
}

/* The bytes of meta `at` behind its page header; NULL and the error. */
static const uint8_t *meta_at(struct check *check, uint64_t at)
{
    const uint8_t *page = check->map + at * check->page_bytes;

    if (u16_at(page + 10) == PAGE_META && u32_at(page + 16) == LMDB_MAGIC &&
        u32_at(page + 20) == VERSION && u32_at(page + 40) == check->page_bytes)
        return page + HEADER_BYTES;
    (void)damaged(check, at, "is not the meta page it should be"); /* sets the error */
    return NULL;
}

static int identify(struct check *check)
{
    uint32_t magic;

    if (check->bytes < HEADER_BYTES + META_BYTES)
        return foreign(check, "is too short for a database (cut off, or never written)");
    magic = u32_at(check->map + 16);
    if (magic == BOLT_MAGIC)
        return foreign(check, "is a bbolt file as etcd writes it and must be imported");
    if (magic != LMDB_MAGIC)
        return foreign(check, "is not a database of etcd-server");
    if (u32_at(check->map + 20) != VERSION)
        return foreign(check, "is an LMDB file of another version");
    check->page_bytes = u32_at(check->map + 40);
    if (check->page_bytes < 512 || check->page_bytes > PAGE_BYTES_MAX ||
        (check->page_bytes & (check->page_bytes - 1)) != 0)
        return damaged(check, 0, "has an impossible page size");
    check->file_pages = check->bytes / check->page_bytes;
    return check->file_pages >= 2 ? 0 : damaged(check, 1, "is missing: the file is cut off");
}

static int check_content(struct check *check)
{
    const uint8_t *first, *second, *meta;
    struct tree main_tree, free_tree;

    if (identify(check) < 0)
        return -1;
    first = meta_at(check, 0);
    second = first != NULL ? meta_at(check, 1) : NULL;
    if (second == NULL)
        return -1;
    meta = u64_at(first + 128) < u64_at(second + 128) ? second : first;
    check->last_page = u64_at(meta + 120);
    if (check->last_page < 1 || check->last_page >= LMDB_MAP_BYTES_MAX / check->page_bytes)
        return damaged(check, meta == first ? 0 : 1, "names an impossible last page");
    check->used = calloc(1, check->last_page / 8 + 1);
    if (check->used == NULL) {
        err_set(check->err, ERR_NO_MEMORY, "%s: no memory to check %" PRIu64 " pages", check->path,
                check->last_page);
        return -1;
    }
    free_tree = tree_at(meta + 24);
    main_tree = tree_at(meta + 72);
    if (check_tree(check, TREE_MAIN, &main_tree) < 0)
        return -1;
    if (check->buckets_found != BUCKET_COUNT)
        return foreign(check, "is an LMDB file without etcd's buckets");
    for (int i = 0; i < BUCKET_COUNT; i++) {
        if (check_tree(check, TREE_BUCKET, &check->buckets[i]) < 0)
            return -1;
    }
    return check_tree(check, TREE_FREE, &free_tree);
}

int lmdb_check(const char *path, struct err *err)
{
    struct check check = {.path = path, .err = err};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc = -1;
    struct stat status;
    void *map = MAP_FAILED;

    if (fd < 0 || fstat(fd, &status) < 0) {
        err_sys(err, errno, "%s: cannot open the database", path);
        goto out;
    }
    if (!S_ISREG(status.st_mode) || status.st_size == 0) {
        rc = foreign(&check, S_ISREG(status.st_mode) ? "is empty" : "is not a file");
        goto out;
    }
    check.bytes = (uint64_t)status.st_size;
    map = mmap(NULL, check.bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        err_sys(err, errno, "%s: cannot map %" PRIu64 " bytes", path, check.bytes);
        goto out;
    }
    check.map = map;
    rc = check_content(&check);
out:
    free(check.used);
    if (map != MAP_FAILED)
        (void)munmap(map, check.bytes); /* it was mapped just so */
    file_close(&fd);
    return rc;
}
