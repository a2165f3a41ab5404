/*
 * bolt.h (edge) - read bbolt files: what etcd keeps in member/snap/db and streams as a snapshot.
 *
 * The file is mapped read-only and believed in nothing: every page number, count, offset and length
 * is checked where it is used (formats.md 1.10), trees deeper than BOLT_DEPTH_MAX and pages met too
 * often are refused, keys that do not ascend end the walk. Knows pages and buckets; does not know
 * what etcd keeps in them. Writing is bolt_writer.h.
 *
 * Three answers of a look-up: -1 and `err`, or 0 with *found telling whether there is something.
 * Errors of look-ups and cursors: ERR_DAMAGED, with page and offset.
 * Slices are borrowed from the map until bolt_close(). Thread: any; an open file may be shared, a
 * cursor may not.
 */
#ifndef COMMON_STORAGE_BOLT_H
#define COMMON_STORAGE_BOLT_H

#include "common/base/err.h"
#include "common/base/limits.h"
#include "common/base/slice.h"

struct bolt; /* one open file; owned by who opened it */

struct bolt_info {
    uint32_t page_bytes;
    uint64_t pages;    /* number of the first page not in use; the image is pages * page_bytes */
    uint64_t txid;     /* of the meta that counts */
    uint64_t root;     /* page of the root bucket */
    uint64_t freelist; /* page, UINT64_MAX = none stored */
};

struct bolt_bucket { /* a tree of pages, or one page inside its parent's leaf */
    const struct bolt *bolt;
    uint64_t root; /* 0 = inline */
    struct slice inline_page;
};

struct bolt_entry {
    struct slice key;
    struct slice value;
    bool is_bucket; /* `value` is for bolt_bucket_open() */
};

struct bolt_frame { /* one page on the way from root to leaf */
    const uint8_t *page;
    size_t bytes; /* of the whole run */
    uint64_t id;  /* for texts; 0 = inline */
    uint32_t count;
    uint32_t at; /* element */
    bool leaf;
};

struct bolt_cursor { /* embed it; holds nothing that needs freeing */
    struct bolt_bucket bucket;
    struct bolt_frame stack[BOLT_DEPTH_MAX];
    unsigned depth;      /* frames in use; 0 = nowhere */
    uint64_t visited;    /* pages since it was placed: more than the file has is a cycle */
    struct slice newest; /* key handed out last; data NULL = none */
};

/*
 * Open `path`. A trailing SHA-256 behind the image does no harm.
 *
 * errors  ERR_IO, ERR_MISSING, ERR_LOCKED (a running etcd has it), ERR_FORMAT ("invalid database":
 *         not a bbolt file), ERR_DAMAGED (shorter than its meta says)
 */
int bolt_open(const char *path, struct bolt **bolt, struct err *err) MUST_CHECK;
/* The same for a file whose lock the caller holds (a data directory that is being opened). */
int bolt_open_held(const char *path, struct bolt **bolt, struct err *err) MUST_CHECK;
/* The same over bytes in memory, borrowed until bolt_close(); `name` is for texts, copied. */
int bolt_open_bytes(struct slice bytes, const char *name, struct bolt **bolt,
                    struct err *err) MUST_CHECK;
void bolt_close(struct bolt *bolt); /* NULL is fine */

struct bolt_info bolt_info(const struct bolt *bolt);
/* Everything that was opened, hash and unused tail included. */
struct slice bolt_bytes(const struct bolt *bolt);

struct bolt_bucket bolt_root(const struct bolt *bolt); /* its entries are the buckets */
int bolt_bucket_find(const struct bolt *bolt, struct slice name, struct bolt_bucket *bucket,
                     bool *found, struct err *err) MUST_CHECK;
int bolt_bucket_open(const struct bolt *bolt, const struct bolt_entry *entry,
                     struct bolt_bucket *bucket, struct err *err) MUST_CHECK;
int bolt_get(const struct bolt_bucket *bucket, struct slice key, struct slice *value, bool *found,
             struct err *err) MUST_CHECK;
/* The greatest entry of the top-level bucket `name`; not found too when there is no such bucket. */
int bolt_last(const struct bolt *bolt, struct slice name, struct bolt_entry *entry, bool *found,
              struct err *err) MUST_CHECK;

void bolt_cursor_init(struct bolt_cursor *cursor, const struct bolt_bucket *bucket);
int bolt_cursor_first(struct bolt_cursor *cursor, struct bolt_entry *entry, bool *found,
                      struct err *err) MUST_CHECK;
/* First entry with key >= `key`. */
int bolt_cursor_seek(struct bolt_cursor *cursor, struct slice key, struct bolt_entry *entry,
                     bool *found, struct err *err) MUST_CHECK;
int bolt_cursor_last(struct bolt_cursor *cursor, struct bolt_entry *entry, bool *found,
                     struct err *err) MUST_CHECK;
/* After any of the above; ascending. ERR_DAMAGED when the next key does not ascend. */
int bolt_cursor_next(struct bolt_cursor *cursor, struct bolt_entry *entry, bool *found,
                     struct err *err) MUST_CHECK;

/*
 * The integrity rules of formats.md 1.8: every page reachable once or free, keys ascending inside
 * their parent's interval. `finding` (may be NULL) gets a sentence for each of the first
 * BOLT_FINDINGS_MAX; *findings counts them all. Follows no page twice. ERR_NO_MEMORY only.
 */
#define BOLT_FINDINGS_MAX 100U
typedef void bolt_finding_fn(void *arg, const char *text);
int bolt_check(const struct bolt *bolt, bolt_finding_fn *finding, void *arg, uint64_t *findings,
               struct err *err) MUST_CHECK;

/* For bolt_check.c: page `id` as a frame, header checked. */
int bolt_frame_load(const struct bolt *bolt, uint64_t id, struct bolt_frame *frame,
                    struct err *err) MUST_CHECK;
int bolt_frame_inline(const struct bolt *bolt, struct slice page, struct bolt_frame *frame,
                      struct err *err) MUST_CHECK;
/* Element `at` of a frame: *child for a branch, the rest for a leaf. */
int bolt_frame_branch(const struct bolt *bolt, const struct bolt_frame *frame, uint32_t at,
                      struct slice *key, uint64_t *child, struct err *err) MUST_CHECK;
int bolt_frame_leaf(const struct bolt *bolt, const struct bolt_frame *frame, uint32_t at,
                    struct bolt_entry *entry, struct err *err) MUST_CHECK;

#endif
