/*
 * bolt.c (edge) - see bolt.h.
 *
 *     file    page 0 (meta) | page 1 (meta) | page 2 ... pages-1 | tail without meaning, or a hash
 *     page    header 16 | elements, 16 each | keys and values; `overflow` more pages continue it
 *     root -> branch* -> leaf: name -> {root page, sequence} or {0, sequence, one leaf page inline}
 *
 * Nothing is read before it was checked against the run it lies in: bolt_frame_load() checks the
 * header and the array, bolt_frame_branch() and bolt_frame_leaf() the element they hand out.
 */
#include "common/storage/bolt.h"
#include "common/storage/bolt_page.h"
#include "common/storage/lmdb_check.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define META_STEPS 15 /* offsets 1024 << 0 .. 14 are tried for meta 1 */

struct bolt {
    struct slice bytes; /* mapped, or borrowed */
    void *map;          /* NULL = borrowed */
    char *name;         /* owned; for texts */
    struct bolt_info info;
};

static bool meta_read(struct slice bytes, uint64_t offset, struct bolt_info *info)
{
    const uint8_t *meta;

    if (bytes.size < BOLT_HEADER_BYTES + BOLT_META_BYTES ||
        offset > bytes.size - BOLT_HEADER_BYTES - BOLT_META_BYTES)
        return false;
    meta = bytes.data + offset + BOLT_HEADER_BYTES;
    if (bolt_u32(meta) != BOLT_MAGIC || bolt_u32(meta + 4) != BOLT_VERSION ||
        bolt_u64(meta + BOLT_META_SUMMED) != bolt_fnv(meta, BOLT_META_SUMMED))
        return false;
    *info = (struct bolt_info){.page_bytes = bolt_u32(meta + 8),
                               .root = bolt_u64(meta + 16),
                               .freelist = bolt_u64(meta + 32),
                               .pages = bolt_u64(meta + 40),
                               .txid = bolt_u64(meta + 48)};
    return info->page_bytes >= BOLT_PAGE_MIN_BYTES && info->page_bytes <= BOLT_PAGE_MAX_BYTES &&
           (info->page_bytes & (info->page_bytes - 1)) == 0;
}

/* formats.md 1.3: a valid meta 0 names the page size, else meta 1 is where its own size says. */
static bool meta_choose(struct slice bytes, struct bolt_info *info)
{
    struct bolt_info other;

    if (meta_read(bytes, 0, info)) {
        if (meta_read(bytes, info->page_bytes, &other) && other.page_bytes == info->page_bytes &&
            other.txid > info->txid)
            *info = other;
        return true;
    }
    for (unsigned i = 0; i < META_STEPS; i++)
        if (meta_read(bytes, (uint64_t)BOLT_PAGE_MIN_BYTES << i, info) &&
            info->page_bytes == BOLT_PAGE_MIN_BYTES << i)
            return true;
    return false;
}

static int check_size(const struct bolt *bolt, struct err *err)
{
    const struct bolt_info *info = &bolt->info;
    uint64_t fit = bolt->bytes.size / info->page_bytes;

    if (info->pages > fit) {
        err_set(err, ERR_DAMAGED,
                "%s: truncated database: %" PRIu64 " pages of %" PRIu32
                " bytes should be there, the file holds %" PRIu64
                "; copy or save the snapshot again",
                bolt->name, info->pages, info->page_bytes, fit);
        return -1;
    }
    if (info->root < BOLT_FIRST_PAGE || info->root >= info->pages ||
        (info->freelist != BOLT_NO_FREELIST &&
         (info->freelist < BOLT_FIRST_PAGE || info->freelist >= info->pages))) {
        err_set(err, ERR_DAMAGED,
                "%s: invalid database: its meta names page %" PRIu64 " of %" PRIu64
                "; use another copy",
                bolt->name, info->root, info->pages);
        return -1;
    }
    return 0;
}

static int recognise(struct bolt *bolt, struct err *err)
{
    struct slice bytes = bolt->bytes;

    if (!meta_choose(bytes, &bolt->info)) {
        bool lmdb = bytes.size >= 20 && bolt_u32(bytes.data + 16) == LMDB_MAGIC;

        err_set(err, ERR_FORMAT, "%s: invalid database: %s", bolt->name,
                lmdb ? "this is the live LMDB file of an etcd-server; take a snapshot of the "
                       "running server instead (etcd-ctl snapshot save FILE)"
                     : "no bbolt meta page in it; is this a file made by `snapshot save`, or a "
                       "complete copy of member/snap/db?");
        return -1;
    }
    return check_size(bolt, err);
}

int bolt_open_bytes(struct slice bytes, const char *name, struct bolt **out, struct err *err)
{
    struct bolt *bolt = xalloc(sizeof(*bolt));

    bolt->bytes = bytes;
    bolt->name = xstrdup(name);
    if (recognise(bolt, err) < 0) {
        bolt_close(bolt);
        return -1;
    }
    *out = bolt;
    return 0;
}

static int open_file(const char *path, bool held, int *fd, size_t *bytes, struct err *err)
{
    struct stat info;

    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0) {
        int sys = errno;

        err_sys(err, sys, "open %s", path);
        if (sys == ENOENT)
            err->code = ERR_MISSING;
        return -1;
    }
    if (fstat(*fd, &info) < 0) {
        err_sys(err, errno, "stat %s", path);
        return -1;
    }
    if (!S_ISREG(info.st_mode)) {
        err_set(err, ERR_FORMAT, "%s: invalid database: not a regular file", path);
        return -1;
    }
    if (!held && flock(*fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK) {
        err_set(err, ERR_LOCKED,
                "%s is in use by a running etcd; stop it, or take a snapshot of it with "
                "`snapshot save`",
                path);
        return -1;
    }
    *bytes = (size_t)info.st_size;
    return 0;
}

static int open_map(const char *path, bool held, struct bolt **out, struct err *err)
{
    struct bolt *bolt = xalloc(sizeof(*bolt));
    size_t bytes = 0;
    int fd = -1, rc = -1;

    bolt->name = xstrdup(path);
    if (open_file(path, held, &fd, &bytes, err) < 0)
        goto out;
    if (bytes != 0) {
        bolt->map = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
        if (bolt->map == MAP_FAILED) {
            bolt->map = NULL;
            err_sys(err, errno, "map %s", path);
            goto out;
        }
        bolt->bytes = slice_of(bolt->map, bytes);
    }
    rc = recognise(bolt, err);
out:
    if (fd >= 0)
        (void)close(fd); /* read only; the map stays */
    if (rc < 0)
        bolt_close(bolt);
    else
        *out = bolt;
    return rc;
}

int bolt_open(const char *path, struct bolt **out, struct err *err)
{
    return open_map(path, false, out, err);
}

int bolt_open_held(const char *path, struct bolt **out, struct err *err)
{
    return open_map(path, true, out, err);
}

void bolt_close(struct bolt *bolt)
{
    if (bolt == NULL)
        return;
    if (bolt->map != NULL)
        (void)munmap(bolt->map, bolt->bytes.size);
    free(bolt->name);
    free(bolt);
}

struct bolt_info bolt_info(const struct bolt *bolt)
{
    return bolt->info;
}

struct slice bolt_bytes(const struct bolt *bolt)
{
    return bolt->bytes;
}

/* ---- pages ---- */

static int damaged(const struct bolt *bolt, uint64_t id, const char *what, struct err *err)
{
    err_set(err, ERR_DAMAGED, "%s: page %" PRIu64 ": %s; use another copy of this file", bolt->name,
            id, what);
    return -1;
}

static int frame_header(const struct bolt *bolt, struct bolt_frame *frame, struct err *err)
{
    uint16_t flags = bolt_u16(frame->page + 8);

    if (flags != BOLT_BRANCH && flags != BOLT_LEAF)
        return damaged(bolt, frame->id, "neither a branch nor a leaf", err);
    frame->leaf = flags == BOLT_LEAF;
    frame->count = bolt_u16(frame->page + 10);
    frame->at = 0;
    if (frame->count * (size_t)BOLT_ELEMENT_BYTES > frame->bytes - BOLT_HEADER_BYTES)
        return damaged(bolt, frame->id, "more elements than fit into it", err);
    if (!frame->leaf && frame->count == 0)
        return damaged(bolt, frame->id, "a branch without children", err);
    return 0;
}

int bolt_frame_load(const struct bolt *bolt, uint64_t id, struct bolt_frame *frame, struct err *err)
{
    const struct bolt_info *info = &bolt->info;
    uint64_t run;

    if (id < BOLT_FIRST_PAGE || id >= info->pages)
        return damaged(bolt, id, "referred to, but outside the file", err);
    frame->id = id;
    frame->page = bolt->bytes.data + id * info->page_bytes;
    run = 1 + (uint64_t)bolt_u32(frame->page + 12);
    if (run > info->pages - id)
        return damaged(bolt, id, "its overflow pages lie outside the file", err);
    frame->bytes = run * info->page_bytes;
    if (bolt_u64(frame->page) != id)
        return damaged(bolt, id, "carries the number of another page", err);
    return frame_header(bolt, frame, err);
}

int bolt_frame_inline(const struct bolt *bolt, struct slice page, struct bolt_frame *frame,
                      struct err *err)
{
    if (page.size < BOLT_HEADER_BYTES)
        return damaged(bolt, 0, "an inline bucket is shorter than a page header", err);
    *frame = (struct bolt_frame){.page = page.data, .bytes = page.size};
    if (frame_header(bolt, frame, err) < 0)
        return -1;
    return frame->leaf ? 0 : damaged(bolt, 0, "an inline bucket is not a leaf", err);
}

/* `bytes` from `pos` on, counted from element `at`, must lie inside the run. */
static const uint8_t *frame_data(const struct bolt_frame *frame, const uint8_t *element,
                                 uint64_t pos, uint64_t bytes)
{
    uint64_t room = frame->bytes - (uint64_t)(element - frame->page);

    return pos <= room && bytes <= room - pos ? element + pos : NULL;
}

static const uint8_t *frame_element(const struct bolt_frame *frame, uint32_t at)
{
    must(at < frame->count);
    return frame->page + BOLT_HEADER_BYTES + (size_t)at * BOLT_ELEMENT_BYTES;
}

int bolt_frame_branch(const struct bolt *bolt, const struct bolt_frame *frame, uint32_t at,
                      struct slice *key, uint64_t *child, struct err *err)
{
    const uint8_t *element = frame_element(frame, at);
    uint32_t key_bytes = bolt_u32(element + 4);
    const uint8_t *data = frame_data(frame, element, bolt_u32(element), key_bytes);

    if (data == NULL)
        return damaged(bolt, frame->id, "a branch key lies outside it", err);
    *key = slice_of(data, key_bytes);
    *child = bolt_u64(element + 8);
    return 0;
}

int bolt_frame_leaf(const struct bolt *bolt, const struct bolt_frame *frame, uint32_t at,
                    struct bolt_entry *entry, struct err *err)
{
    const uint8_t *element = frame_element(frame, at);
    uint32_t key_bytes = bolt_u32(element + 8), value_bytes = bolt_u32(element + 12);
    const uint8_t *data =
        frame_data(frame, element, bolt_u32(element + 4), (uint64_t)key_bytes + value_bytes);

    if (data == NULL)
        return damaged(bolt, frame->id, "a key or value lies outside it", err);
    entry->key = slice_of(data, key_bytes);
    entry->value = slice_of(data + key_bytes, value_bytes);
    entry->is_bucket = (bolt_u32(element) & BOLT_LEAF_BUCKET) != 0;
    return 0;
}

/* ---- buckets ---- */

struct bolt_bucket bolt_root(const struct bolt *bolt)
{
    return (struct bolt_bucket){.bolt = bolt, .root = bolt->info.root};
}

int bolt_bucket_open(const struct bolt *bolt, const struct bolt_entry *entry,
                     struct bolt_bucket *bucket, struct err *err)
{
    if (!entry->is_bucket || entry->value.size < BOLT_BUCKET_BYTES) {
        err_set(err, ERR_FORMAT,
                "%s: not a database of etcd: the entry \"%.*s\" of its root is not a bucket",
                bolt->name, (int)MIN(entry->key.size, 64U), (const char *)entry->key.data);
        return -1;
    }
    *bucket = (struct bolt_bucket){.bolt = bolt, .root = bolt_u64(entry->value.data)};
    if (bucket->root == 0)
        bucket->inline_page =
            slice_of(entry->value.data + BOLT_BUCKET_BYTES, entry->value.size - BOLT_BUCKET_BYTES);
    return 0;
}

int bolt_bucket_find(const struct bolt *bolt, struct slice name, struct bolt_bucket *bucket,
                     bool *found, struct err *err)
{
    struct bolt_bucket root = bolt_root(bolt);
    struct bolt_cursor cursor;
    struct bolt_entry entry;

    bolt_cursor_init(&cursor, &root);
    if (bolt_cursor_seek(&cursor, name, &entry, found, err) < 0)
        return -1;
    *found = *found && slice_equal(entry.key, name);
    return *found ? bolt_bucket_open(bolt, &entry, bucket, err) : 0;
}

int bolt_get(const struct bolt_bucket *bucket, struct slice key, struct slice *value, bool *found,
             struct err *err)
{
    struct bolt_cursor cursor;
    struct bolt_entry entry;

    bolt_cursor_init(&cursor, bucket);
    if (bolt_cursor_seek(&cursor, key, &entry, found, err) < 0)
        return -1;
    *found = *found && !entry.is_bucket && slice_equal(entry.key, key);
    if (*found)
        *value = entry.value;
    return 0;
}

/* ---- cursors ---- */

void bolt_cursor_init(struct bolt_cursor *cursor, const struct bolt_bucket *bucket)
{
    cursor->bucket = *bucket;
    cursor->depth = 0;
    cursor->visited = 0;
    cursor->newest = SLICE_EMPTY;
}

static int push(struct bolt_cursor *cursor, uint64_t id, struct err *err)
{
    const struct bolt *bolt = cursor->bucket.bolt;

    if (cursor->depth == BOLT_DEPTH_MAX)
        return damaged(bolt, id, "lies deeper than any real tree does", err);
    if (++cursor->visited > bolt->info.pages)
        return damaged(bolt, id, "met more than once: the pages form a cycle", err);
    if (bolt_frame_load(bolt, id, &cursor->stack[cursor->depth], err) < 0)
        return -1;
    cursor->depth++;
    return 0;
}

static int push_root(struct bolt_cursor *cursor, struct err *err)
{
    cursor->depth = 0;
    cursor->visited = 0;
    cursor->newest = SLICE_EMPTY;
    if (cursor->bucket.root != 0)
        return push(cursor, cursor->bucket.root, err);
    if (bolt_frame_inline(cursor->bucket.bolt, cursor->bucket.inline_page, &cursor->stack[0], err) <
        0)
        return -1;
    cursor->depth = 1;
    return 0;
}

static struct bolt_frame *top(struct bolt_cursor *cursor)
{
    must(cursor->depth != 0);
    return &cursor->stack[cursor->depth - 1];
}

/* Below the element the top frame stands on, go down along the first or last children. */
static int descend(struct bolt_cursor *cursor, bool last, struct err *err)
{
    while (!top(cursor)->leaf) {
        struct slice key;
        uint64_t child;

        if (bolt_frame_branch(cursor->bucket.bolt, top(cursor), top(cursor)->at, &key, &child,
                              err) < 0 ||
            push(cursor, child, err) < 0)
            return -1;
        top(cursor)->at = last && top(cursor)->count != 0 ? top(cursor)->count - 1 : 0;
    }
    return 0;
}

/* The entry the cursor stands on, moving right over leaves that are used up. */
static int settle(struct bolt_cursor *cursor, struct bolt_entry *entry, bool *found,
                  struct err *err)
{
    const struct bolt *bolt = cursor->bucket.bolt;

    *found = false;
    while (top(cursor)->at >= top(cursor)->count) {
        do {
            if (--cursor->depth == 0)
                return 0;
        } while (++top(cursor)->at >= top(cursor)->count);
        if (descend(cursor, false, err) < 0)
            return -1;
    }
    if (bolt_frame_leaf(bolt, top(cursor), top(cursor)->at, entry, err) < 0)
        return -1;
    if (cursor->newest.data != NULL && slice_compare(cursor->newest, entry->key) >= 0)
        return damaged(bolt, top(cursor)->id, "keys are not in ascending order", err);
    cursor->newest = entry->key;
    *found = true;
    return 0;
}

int bolt_cursor_first(struct bolt_cursor *cursor, struct bolt_entry *entry, bool *found,
                      struct err *err)
{
    if (push_root(cursor, err) < 0 || descend(cursor, false, err) < 0)
        return -1;
    return settle(cursor, entry, found, err);
}

int bolt_cursor_last(struct bolt_cursor *cursor, struct bolt_entry *entry, bool *found,
                     struct err *err)
{
    if (push_root(cursor, err) < 0)
        return -1;
    if (top(cursor)->count != 0)
        top(cursor)->at = top(cursor)->count - 1;
    if (descend(cursor, true, err) < 0)
        return -1;
    if (top(cursor)->count == 0 && cursor->depth > 1)
        return damaged(cursor->bucket.bolt, top(cursor)->id, "an empty leaf below a branch", err);
    return settle(cursor, entry, found, err);
}

int bolt_last(const struct bolt *bolt, struct slice name, struct bolt_entry *entry, bool *found,
              struct err *err)
{
    struct bolt_bucket bucket;
    struct bolt_cursor cursor;

    if (bolt_bucket_find(bolt, name, &bucket, found, err) < 0)
        return -1;
    if (!*found)
        return 0;
    bolt_cursor_init(&cursor, &bucket);
    return bolt_cursor_last(&cursor, entry, found, err);
}

int bolt_cursor_next(struct bolt_cursor *cursor, struct bolt_entry *entry, bool *found,
                     struct err *err)
{
    *found = false;
    if (cursor->depth == 0) /* past the end already */
        return 0;
    top(cursor)->at++;
    return settle(cursor, entry, found, err);
}

/* In a branch the last element <= key (or the first), in a leaf the first element >= key. */
static int search(struct bolt_cursor *cursor, struct slice key, struct err *err)
{
    struct bolt_frame *frame = top(cursor);
    uint32_t low = 0, high = frame->count;

    while (low < high) { /* elements before `low` are < key (leaf) or <= key (branch) */
        uint32_t middle = low + (high - low) / 2;
        struct bolt_entry entry;
        uint64_t child;
        int order;

        if (frame->leaf) {
            if (bolt_frame_leaf(cursor->bucket.bolt, frame, middle, &entry, err) < 0)
                return -1;
        } else if (bolt_frame_branch(cursor->bucket.bolt, frame, middle, &entry.key, &child, err) <
                   0) {
            return -1;
        }
        order = slice_compare(entry.key, key);
        if (order < 0 || (order == 0 && !frame->leaf))
            low = middle + 1;
        else
            high = middle;
    }
    frame->at = frame->leaf || low == 0 ? low : low - 1;
    return 0;
}

int bolt_cursor_seek(struct bolt_cursor *cursor, struct slice key, struct bolt_entry *entry,
                     bool *found, struct err *err)
{
    if (push_root(cursor, err) < 0 || search(cursor, key, err) < 0)
        return -1;
    while (!top(cursor)->leaf) {
        struct slice unused;
        uint64_t child;

        if (bolt_frame_branch(cursor->bucket.bolt, top(cursor), top(cursor)->at, &unused, &child,
                              err) < 0 ||
            push(cursor, child, err) < 0 || search(cursor, key, err) < 0)
            return -1;
    }
    return settle(cursor, entry, found, err);
}
