/*
 * backend.h - the checkpoint of the log: ten buckets of ordered keys, with atomic durable commits.
 *
 * One interface; LMDB behind backend_lmdb.c (edge), memory behind backend_mem.c (simulator, tests).
 * The buckets and their content are etcd's (formats.md 2). The core never writes here directly: it
 * fills a batch (batch.h), the committer thread commits it, the core reads the batch until then.
 * Thread: opening and closing before and after the threads run; reads on any thread, each on its
 * own struct backend_read; backend_commit() and backend_defrag() on the committer only.
 */
#ifndef COMMON_STORAGE_BACKEND_H
#define COMMON_STORAGE_BACKEND_H

#include "common/base/err.h"
#include "common/base/limits.h"
#include "common/base/slice.h"

/* In byte order of their names, as hashes and snapshots walk them. */
enum bucket {
    BUCKET_ALARM,
    BUCKET_AUTH,
    BUCKET_AUTH_ROLES,
    BUCKET_AUTH_USERS,
    BUCKET_CLUSTER,
    BUCKET_KEY,
    BUCKET_LEASE,
    BUCKET_MEMBERS,
    BUCKET_MEMBERS_REMOVED,
    BUCKET_META,
    BUCKET_COUNT
};
const char *bucket_name(enum bucket bucket); /* "alarm", "auth", "authRoles", ... */
bool bucket_find(struct slice name, enum bucket *bucket) MUST_CHECK; /* false: none of etcd's */

struct batch;
struct backend;
/* A consistent view of what was committed when it began. Pins pages of the file: end it soon. */
struct backend_read;
struct backend_cursor; /* a position inside one bucket of one read */

struct backend_options {
    uint64_t map_bytes;  /* LMDB: address space, 0 = BACKEND_MAP_BYTES */
    bool no_fsync;       /* --unsafe-no-fsync */
    uint64_t lock_bytes; /* LMDB: of the file, from its start, kept in memory; 0 = none */
    bool read_only;      /* LMDB: nothing is made, removed or changed; sizes are 0, no commits */
};

/*
 * Open or create the LMDB file at `path` (a file, mode 0600) in a directory this process has for
 * itself (datadir's lock). Its structure is checked first. Files beside it belong to it:
 * PATH.tmp.new and PATH.tmp.defrag (what a crash left of making one; removed), PATH-lock (LMDB's
 * table of readers; removed as soon as it is mapped, so no other program may open a file in use).
 *
 * errors  ERR_FORMAT: something else (a bbolt file is named as such: import it); ERR_DAMAGED: cut
 *         off or altered; ERR_IO, ERR_NO_MEMORY
 */
int backend_open_lmdb(const char *path, const struct backend_options *options,
                      struct backend **backend, struct err *err) MUST_CHECK;
/* An empty one in memory; its content dies with it. */
struct backend *backend_new_mem(void);

/*
 * For the simulator: asked before a commit. -1 with `err` filled (ERR_IO with EIO, ENOSPC) makes
 * the commit fail with exactly that, nothing changed; the next one asks again.
 */
typedef int backend_mem_commit_fn(void *arg, const struct batch *batch, struct err *err);
struct backend_mem_options {
    backend_mem_commit_fn *commit; /* NULL: commits never fail */
    void *arg;                     /* borrowed for the life of the backend */
};
struct backend *backend_new_mem_with(const struct backend_mem_options *options);
/*
 * A second backend with what `backend` (in memory) has committed, in O(1): the disk of a member
 * that crashed now. A commit is atomic, so there is no third state. Reads open on the old one go on
 * and must still end before it is closed. `options` as above, NULL for none.
 */
struct backend *backend_mem_clone(struct backend *backend,
                                  const struct backend_mem_options *options);
/* A backend of what `read` (of one in memory) sees, in O(1): as if it had been sent to another
 * member. The read stays the caller's. */
struct backend *backend_mem_of_read(struct backend_read *read,
                                    const struct backend_mem_options *options);
void backend_close(struct backend *backend); /* every read must have ended; NULL is fine */

/*
 * Make every operation of `batch` durable, all or nothing. ERR_IO with sys ENOSPC: full disk (or
 * the address space is used up), nothing changed, and later commits work once there is room. Any
 * other ERR_IO: the caller stops (style 5.6); what is found at the next open is the last commit.
 */
int backend_commit(struct backend *backend, const struct batch *batch, struct err *err) MUST_CHECK;

int backend_read_begin(struct backend *backend, struct backend_read **read,
                       struct err *err) MUST_CHECK;
void backend_read_end(struct backend_read *read); /* NULL is fine */
/* Move to what is committed now, cheaper than end and begin. What was borrowed dies.
 * For tests. */
int backend_read_renew(struct backend_read *read, struct err *err) MUST_CHECK;

/* True and *value borrowed until the read ends or is renewed; false when there is no such key. */
bool backend_get(struct backend_read *read, enum bucket bucket, struct slice key,
                 struct slice *value) MUST_CHECK;

struct backend_cursor *backend_cursor_open(struct backend_read *read, enum bucket bucket);
void backend_cursor_close(struct backend_cursor *cursor); /* before its read ends; NULL is fine */
/* First entry with key >= `key`; false past the end, and next() before a first seek. Both slices
 * borrowed until the read ends or is renewed. */
bool backend_cursor_seek(struct backend_cursor *cursor, struct slice key, struct slice *found,
                         struct slice *value);
bool backend_cursor_next(struct backend_cursor *cursor, struct slice *found, struct slice *value);
bool backend_cursor_last(struct backend_cursor *cursor, struct slice *found, struct slice *value);

uint64_t backend_size(struct backend *backend);        /* bytes of the file */
uint64_t backend_size_in_use(struct backend *backend); /* bytes of pages that hold data */
unsigned backend_reads_open(struct backend *backend);

/*
 * Rewrite the file without its free pages, durably, and go on with the new one. Reads that began
 * before keep the old file (and its disk space) until they end; no commit may run meanwhile: both
 * are called by the committer. Reads may begin and end on any thread meanwhile. On failure the old
 * file goes on, but ERR_IO of a sync is as final as in a commit.
 */
int backend_defrag(struct backend *backend, struct err *err) MUST_CHECK;

/*
 * Fill an empty backend from a bbolt file (what etcd writes): every bucket known to etcd, in
 * durable transactions of BACKEND_FILL_BYTES. A failure or a crash leaves a part: so datadir
 * imports into a file of another name and renames it when this has returned 0 and the backend is
 * closed.
 *
 * errors  ERR_EXISTS: not empty; ERR_FORMAT: no bbolt file of etcd, or a key longer than
 *         BACKEND_KEY_MAX; what bolt.h and backend_commit() say
 * thread  any, before the committer runs
 */
int backend_import_bolt(struct backend *backend, const char *bolt_path, struct err *err) MUST_CHECK;

#endif
