/*
 * view.h - what can be read now: one read of the backend plus the batches not yet in it.
 *
 * The core keeps one current view and replaces it when a batch has been committed. Whoever produces
 * a large answer over several turns of the loop (a range, a hash, a snapshot) takes a reference:
 * the view it holds goes on showing the store as it was. Reference counted and asked on the core
 * thread; the read inside may be used by one pool job at a time while its owner waits for it.
 */
#ifndef ETCD_SERVER_STATE_VIEW_H
#define ETCD_SERVER_STATE_VIEW_H

#include "common/storage/backend.h"
#include "common/storage/batch.h"
#include "etcd-server/state/revision.h"

#define VIEW_BATCHES_MAX 4 /* open, sealed, committing, and one spare */

struct view {
    unsigned references;
    struct backend_read *read;               /* owned */
    struct batch *batches[VIEW_BATCHES_MAX]; /* a reference each; oldest first */
    size_t batch_count;
    struct revision last;        /* that view_get() found in `read` */
    struct backend_cursor *near; /* owned; on `last`, when `placed`. NULL: none so far */
    bool placed;
};

/* A view over `backend` as committed now and `batches` (references are taken by copy). One
 * reference. */
int view_new(struct backend *backend, struct batch *const *batches, size_t batch_count,
             struct view **view, struct err *err) MUST_CHECK;
struct view *view_ref(struct view *view);
void view_unref(struct view *view); /* NULL is fine */
/* A new open batch behind the others. */
void view_add_batch(struct view *view, struct batch *batch);

/* The encoded mvccpb.KeyValue stored at `revision`; borrowed while the view lives. False: not there
 * (a bug or damage). */
bool view_get(struct view *view, struct revision revision, bool tombstone,
              struct slice *key_value) MUST_CHECK;
/* The same of `count` revisions that are no deletions; false: one of them is not there. */
bool view_get_all(struct view *view, const struct revision *revisions, size_t count,
                  struct slice *key_values) MUST_CHECK;

#endif
