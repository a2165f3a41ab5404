/*
 * memfs.h - fs.h in memory, for tests: loses what was not synced, tears it by sectors, fails at the
 * n-th operation. Names are durable at once; the content of a file is when it was synced.
 */
#ifndef TESTS_LIB_MEMFS_H
#define TESTS_LIB_MEMFS_H

#include "common/storage/fs.h"

struct memfs_node;

struct memfs {
    struct fs fs;              /* hand this to the code under test */
    struct memfs_node **nodes; /* owned; in the order of their paths */
    size_t node_count;
    uint64_t operations; /* counted since memfs_init() */
    uint64_t fail_at;    /* this operation fails, counted from 1; 0 = none */
    int fail_sys;        /* with this errno */
};

void memfs_init(struct memfs *memfs);
void memfs_fini(struct memfs *memfs);

/* Power cut: each sector written since the last sync of its file is there or not, by `seed`. */
void memfs_crash(struct memfs *memfs, uint64_t seed);

/* Put a file there, durable; look at one (NULL data when it is missing; borrowed). */
void memfs_put(struct memfs *memfs, const char *path, struct slice content);
struct slice memfs_get(struct memfs *memfs, const char *path);
size_t memfs_open_files(const struct memfs *memfs); /* not yet closed */

#endif
