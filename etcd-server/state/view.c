/*
 * view.c - see view.h. A revision is looked for in the batches, newest first, for what was written
 * last is read most; then in the backend, which holds everything older.
 *
 * What was written together is often read together: a revision shortly behind the last one is
 * looked for from there on, which costs a step and no way down the tree.
 */
#include "etcd-server/state/view.h"

#define NEAR_REVISIONS 16 /* so far behind the last one a step is tried */

int view_new(struct backend *backend, struct batch *const *batches, size_t batch_count,
             struct view **view, struct err *err)
{
    struct backend_read *read;
    struct view *made;

    must(batch_count <= VIEW_BATCHES_MAX);
    if (backend_read_begin(backend, &read, err) < 0)
        return -1;
    made = xalloc(sizeof(*made));
    made->references = 1;
    made->read = read;
    for (size_t i = 0; i < batch_count; i++)
        view_add_batch(made, batches[i]);
    *view = made;
    return 0;
}

struct view *view_ref(struct view *view)
{
    must(view->references > 0);
    view->references++;
    return view;
}

void view_unref(struct view *view)
{
    if (view == NULL)
        return;
    must(view->references > 0);
    if (--view->references > 0)
        return;
    for (size_t i = 0; i < view->batch_count; i++)
        batch_unref(view->batches[i]);
    backend_cursor_close(view->near);
    backend_read_end(view->read);
    free(view);
}

void view_add_batch(struct view *view, struct batch *batch)
{
    must(view->batch_count < VIEW_BATCHES_MAX);
    view->batches[view->batch_count++] = batch_ref(batch);
}

/* Of bucket `key`: so inlined, where slice_equal() would call. */
static bool same_revision(struct slice found, struct slice key)
{
    return found.size == key.size && memcmp(found.data, key.data, REVISION_BYTES) == 0 &&
           (key.size == REVISION_BYTES || found.data[REVISION_BYTES] == key.data[REVISION_BYTES]);
}

/* Is `revision` the next one, or on the same page? */
static bool get_near(struct view *view, struct slice key, struct slice *key_value)
{
    struct slice found;

    if (view->near == NULL)
        view->near = backend_cursor_open(view->read, BUCKET_KEY);
    if (view->placed && backend_cursor_next(view->near, &found, key_value) &&
        same_revision(found, key))
        return true;
    view->placed = backend_cursor_seek(view->near, key, &found, key_value);
    return view->placed && same_revision(found, key);
}

static bool is_near(const struct view *view, struct revision revision)
{
    return revision_compare(revision, view->last) > 0 &&
           revision.main - view->last.main < NEAR_REVISIONS;
}

static inline bool get(struct view *view, struct revision revision, bool tombstone,
                       struct slice *key_value)
{
    uint8_t bytes[REVISION_BYTES_MAX];
    struct slice key = slice_of(bytes, revision_encode(revision, tombstone, bytes));

    for (size_t i = view->batch_count; i-- > 0;) {
        if (batch_find_revision(view->batches[i], key, key_value))
            return true;
    }
    if (is_near(view, revision)) {
        view->last = revision;
        return get_near(view, key, key_value);
    }
    view->last = revision;
    view->placed = false;
    return backend_get(view->read, BUCKET_KEY, key, key_value);
}

bool view_get(struct view *view, struct revision revision, bool tombstone, struct slice *key_value)
{
    return get(view, revision, tombstone, key_value);
}

bool view_get_all(struct view *view, const struct revision *revisions, size_t count,
                  struct slice *key_values)
{
    for (size_t i = 0; i < count; i++)
        if (!get(view, revisions[i], false, &key_values[i]))
            return false;
    return true;
}
