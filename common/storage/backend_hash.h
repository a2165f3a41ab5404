/*
 * backend_hash.h - the hash of everything in one read: Maintenance.Hash (formats.md 11.2).
 *
 * CRC-32C over each bucket's name and its keys and values, without what each member has for itself
 * in `meta`. Made in steps, so that a large store does not hold up its caller. Pure; thread: the
 * read's.
 */
#ifndef COMMON_STORAGE_BACKEND_HASH_H
#define COMMON_STORAGE_BACKEND_HASH_H

#include "common/storage/backend.h"

struct backend_hash { /* embed it */
    struct backend_read *read;
    struct backend_cursor *cursor; /* NULL between buckets */
    unsigned bucket;               /* being walked; BUCKET_COUNT = done */
    uint32_t crc;
};

/* `read` is borrowed until backend_hash_fini(), which must come before it ends or is renewed. */
void backend_hash_init(struct backend_hash *hash, struct backend_read *read);
void backend_hash_fini(struct backend_hash *hash);
/* Take at most `entries` more; true when all are taken: then hash->crc is the answer. */
bool backend_hash_step(struct backend_hash *hash, size_t entries);

#endif
