/*
 * memfs.h - fs.h in memory, for tests: loses what was not synced, tears it by sectors, fails at the
 * n-th operation or when a fault function says so.
 *
 * The content of a file is durable when it was synced. Names are durable at once, or, with
 * `names_need_sync`, when their directory was synced: as POSIX has it.
 */
#ifndef TESTS_LIB_MEMFS_H
#define TESTS_LIB_MEMFS_H

#include "common/storage/fs.h"

struct memfs_node;
struct memfs_name;

enum memfs_op {
    MEMFS_OPEN,
    MEMFS_READ,
    MEMFS_WRITE,
    MEMFS_SYNC,
    MEMFS_STAT,
    MEMFS_TRUNCATE,
    MEMFS_ALLOCATE,
    MEMFS_LOCK,
    MEMFS_RENAME,
    MEMFS_UNLINK,
    MEMFS_MKDIR,
    MEMFS_REMOVE_TREE,
    MEMFS_SYNC_DIR,
    MEMFS_LIST,
};

/* Asked before each operation; the errno it fails with, 0 = it works. */
typedef int memfs_fault_fn(void *arg, enum memfs_op op, const char *path);

struct memfs {
    struct fs fs;              /* hand this to the code under test */
    struct memfs_node **nodes; /* owned; in the order of their paths */
    size_t node_count;
    uint64_t operations;   /* counted since memfs_init() */
    uint64_t fail_at;      /* this operation fails, counted from 1; 0 = none */
    int fail_sys;          /* with this errno */
    memfs_fault_fn *fault; /* NULL = none */
    void *fault_arg;
    bool names_need_sync;     /* set before the first operation */
    struct memfs_name *names; /* owned: the durable names, when they need a sync */
    size_t name_count;
    bool cut; /* the power is gone: every operation fails and changes nothing */
};

void memfs_init(struct memfs *memfs);
void memfs_fini(struct memfs *memfs);

/* Power cut: each sector written since the last sync of its file, and what happened to the names of
 * each unsynced directory, is there or not, by `seed`. Every file must be closed. The power is
 * back. */
void memfs_crash(struct memfs *memfs, uint64_t seed);
/* What a power cut now would leave if nothing unsynced reached the disk, as a disk of its own. */
void memfs_copy_durable(const struct memfs *from, struct memfs *to);

/* Put a file there, durable; look at one (NULL data when it is missing; borrowed). */
void memfs_put(struct memfs *memfs, const char *path, struct slice content);
struct slice memfs_get(struct memfs *memfs, const char *path);
size_t memfs_open_files(const struct memfs *memfs); /* not yet closed */

#endif
