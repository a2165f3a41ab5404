/* view_test.c - a view: the newest batch first, then the backend, and it stays what it was. */
#include "etcd-server/state/view.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct err err;

static struct batch *batch_with(int64_t main, bool tombstone, const char *value)
{
    struct batch *batch = batch_new();
    uint8_t bytes[REVISION_BYTES_MAX];
    size_t size = revision_encode((struct revision){main, 0}, tombstone, bytes);

    batch_put(batch, BUCKET_KEY, slice_of(bytes, size), slice_text(value));
    return batch;
}

static void expect(struct view *view, int64_t main, bool tombstone, const char *value)
{
    struct slice found;

    assert_int_equal(view_get(view, (struct revision){main, 0}, tombstone, &found), value != NULL);
    if (value != NULL)
        assert_true(slice_equal(found, slice_text(value)));
}

static void finds_what_is_committed_and_what_is_not_yet(void **state)
{
    struct backend *backend = backend_new_mem();
    struct batch *old = batch_with(2, false, "two"), *batches[2];
    struct view *view;

    (void)state;
    assert_int_equal(backend_commit(backend, old, &err), 0);
    batch_unref(old);
    batches[0] = batch_with(3, false, "three");
    batches[1] = batch_with(4, true, "gone");
    assert_int_equal(view_new(backend, batches, 1, &view, &err), 0);
    view_add_batch(view, batches[1]);
    batch_unref(batches[0]);
    batch_unref(batches[1]); /* the view holds them */
    expect(view, 2, false, "two");
    expect(view, 3, false, "three");
    expect(view, 4, true, "gone");
    expect(view, 4, false, NULL);
    expect(view, 5, false, NULL);
    view_unref(view);
    view_unref(NULL);
    assert_int_equal(backend_reads_open(backend), 0);
    backend_close(backend);
}

static void a_pinned_view_stays_what_it_was(void **state)
{
    struct backend *backend = backend_new_mem();
    struct batch *batch = batch_with(2, false, "two"), *compaction = batch_new();
    uint8_t bytes[REVISION_BYTES_MAX];
    size_t size = revision_encode((struct revision){2, 0}, false, bytes);
    struct view *pinned, *now;

    (void)state;
    assert_int_equal(backend_commit(backend, batch, &err), 0);
    batch_unref(batch);
    assert_int_equal(view_new(backend, NULL, 0, &pinned, &err), 0);
    assert_ptr_equal(view_ref(pinned), pinned);
    view_unref(pinned);
    batch_delete(compaction, BUCKET_KEY, slice_of(bytes, size));
    view_add_batch(pinned, compaction);
    assert_int_equal(backend_commit(backend, compaction, &err), 0);
    assert_int_equal(view_new(backend, NULL, 0, &now, &err), 0);
    expect(pinned, 2, false, "two");
    expect(now, 2, false, NULL);
    batch_unref(compaction);
    view_unref(now);
    view_unref(pinned);
    backend_close(backend);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_is_committed_and_what_is_not_yet),
        cmocka_unit_test(a_pinned_view_stays_what_it_was),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
