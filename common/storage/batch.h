/*
 * batch.h - changes on their way to the backend: written by the core, committed by the committer,
 * read by the core (and by pinned views) until they are in the backend.
 *
 * A batch is open (the core appends), then sealed (nobody changes it), then committed. It is
 * reference counted: the pinned views that were made over it keep it alive. In bucket `key`
 * revisions are appended in ascending order, so finding one is a binary search.
 * Memory: blocks of its own; what was put is copied. Pure; the reference count is atomic.
 * Thread: an open batch belongs to the thread that fills it, readers included (its arrays grow); a
 * sealed one may be read by any. Keys have 1 to BACKEND_KEY_MAX bytes: who takes names from clients
 * checks before proposing, in here it is a bug.
 */
#ifndef COMMON_STORAGE_BATCH_H
#define COMMON_STORAGE_BATCH_H

#include "common/storage/backend.h"

enum batch_op_type { BATCH_PUT, BATCH_DELETE };

struct batch_op {
    enum batch_op_type type;
    enum bucket bucket;
    struct slice key;
    struct slice value; /* BATCH_PUT only */
};

struct batch *batch_new(void); /* one reference */
struct batch *batch_ref(struct batch *batch);
void batch_unref(struct batch *batch); /* frees with the last one; NULL is fine */

void batch_put(struct batch *batch, enum bucket bucket, struct slice key, struct slice value);
void batch_delete(struct batch *batch, enum bucket bucket, struct slice key);
/* Room for a value of `bytes` that the caller fills in place, for bucket `key`; borrowed until the
 * batch dies. */
uint8_t *batch_put_reserve(struct batch *batch, enum bucket bucket, struct slice key, size_t bytes);

size_t batch_op_count(const struct batch *batch);
/* In order of appending. */
const struct batch_op *batch_op_at(const struct batch *batch, size_t position);
size_t batch_bytes(const struct batch *batch); /* memory held */

/* The value put for a key of bucket `key` (17 or 18 bytes of revision); false when it is not in
 * here. A deletion behind the put hides nothing: pinned views still read what was. */
bool batch_find_revision(const struct batch *batch, struct slice key,
                         struct slice *value) MUST_CHECK;

#endif
