/*
 * keyindex_internal.h - between keyindex.c (the tree) and keyindex_entry.c (what hangs on one key).
 * Thread: core.
 */
#ifndef ETCD_SERVER_STATE_KEYINDEX_INTERNAL_H
#define ETCD_SERVER_STATE_KEYINDEX_INTERNAL_H

#include "common/base/limits.h"
#include "etcd-server/state/keyindex.h"

/* Entries up to here come from chunks, by size; larger ones from malloc. */
#define ENTRY_POOL_BYTES 512U
#define ENTRY_POOL_STEP 8U
#define ENTRY_POOL_CLASSES (ENTRY_POOL_BYTES / ENTRY_POOL_STEP + 1)
#define ENTRY_CHUNK_BYTES_MIN (4U * KIB)
#define ENTRY_CHUNK_BYTES_MAX (64U * KIB)

struct entry_chunk;
struct entry_free;

/* Where entries live: no header per entry, sizes in steps of 8 bytes. Freed ones are used again. */
struct entry_pool {
    struct entry_chunk *chunks; /* owned, newest first */
    uint8_t *next;              /* free room of the newest */
    size_t left, chunk_bytes;
    struct entry_free *free[ENTRY_POOL_CLASSES];
    size_t bytes; /* held: chunks, large entries, histories */
};

void entry_pool_fini(struct entry_pool *pool); /* entries in chunks die; the others were dropped */

/* An entry without history; the caller fills the rest. */
struct keyindex_entry *entry_new(struct entry_pool *pool, struct slice key,
                                 struct revision revision);
void entry_free(struct entry_pool *pool, struct keyindex_entry *entry);

/* Make `revision` the newest; it is newer than what was. */
void entry_append(struct entry_pool *pool, struct keyindex_entry *entry, struct revision revision,
                  bool tombstone);
/* See keyindex_compact(). False when nothing is left: the caller drops the entry. */
bool entry_compact(struct entry_pool *pool, struct keyindex_entry *entry, int64_t at,
                   bool *picked) MUST_CHECK;

#endif
