/*
 * backend_eio_test.c - the nth write or sync fails, for every n: each ends in words, and what is
 * found afterwards is what was acknowledged. This program's own write and sync functions take the
 * place of the C library's for LMDB too.
 */
#include "common/base/file.h"
#include "common/storage/backend.h"
#include "common/storage/batch.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

#define CALLS_MAX 400

static struct err err;
static long calls_left = -1; /* until one fails; below 0: none does */

static bool fails_now(void)
{
    if (calls_left < 0 || --calls_left >= 0)
        return false;
    errno = EIO;
    return true;
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
    return fails_now() ? -1 : (ssize_t)syscall(SYS_pwrite64, fd, data, bytes, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t bytes, off_t offset)
{
    return pwrite(fd, data, bytes, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    return fails_now() ? -1 : (ssize_t)syscall(SYS_writev, fd, parts, count);
}

int fdatasync(int fd)
{
    return fails_now() ? -1 : (int)syscall(SYS_fdatasync, fd);
}

static bool directories_fail;

int fsync(int fd)
{
    struct stat status;

    if (directories_fail && fstat(fd, &status) == 0 && S_ISDIR(status.st_mode)) {
        errno = EIO;
        return -1;
    }
    return fails_now() ? -1 : (int)syscall(SYS_fsync, fd);
}

static int commit_number(struct backend *backend, uint64_t number)
{
    struct batch *batch = batch_new();
    static uint8_t value[3000];
    uint8_t key[17] = {0};
    int rc;

    for (uint8_t i = 0; i < 20; i++) {
        key[7] = (uint8_t)number;
        key[16] = i;
        value[0] = (uint8_t)number;
        batch_put(batch, BUCKET_KEY, slice_of(key, sizeof(key)), slice_of(value, sizeof(value)));
    }
    batch_put(batch, BUCKET_META, slice_text("consistent_index"), slice_of(&number, 8));
    rc = backend_commit(backend, batch, &err);
    batch_unref(batch);
    return rc;
}

/* Open, commit, defrag, commit; stops at the first failure. Returns what was acknowledged. */
static uint64_t work(const char *path, bool *failed)
{
    const struct backend_options options = {.map_bytes = 1UL << 26};
    struct backend *backend = NULL;
    uint64_t number = 0;

    *failed = backend_open_lmdb(path, &options, &backend, &err) < 0;
    while (!*failed && number < 6) {
        if (number == 3)
            *failed = backend_defrag(backend, &err) < 0;
        if (!*failed)
            *failed = commit_number(backend, number + 1) < 0;
        if (!*failed)
            number++;
    }
    backend_close(backend);
    return number;
}

static uint64_t number_found(const char *path)
{
    const struct backend_options options = {.map_bytes = 1UL << 26};
    struct backend *backend = NULL;
    struct backend_read *read;
    struct backend_cursor *cursor;
    struct slice key, value;
    uint64_t number = 0, count = 0;

    if (backend_open_lmdb(path, &options, &backend, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(backend_read_begin(backend, &read, &err), 0);
    if (backend_get(read, BUCKET_META, slice_text("consistent_index"), &value))
        memcpy(&number, value.data, sizeof(number));
    cursor = backend_cursor_open(read, BUCKET_KEY);
    for (bool there = backend_cursor_seek(cursor, SLICE_EMPTY, &key, &value); there;
         there = backend_cursor_next(cursor, &key, &value))
        count++;
    assert_int_equal(count, 20 * number);
    backend_cursor_close(cursor);
    backend_read_end(read);
    backend_close(backend);
    return number;
}

static void every_failure_leaves_what_was_acknowledged(void **state)
{
    const char *base = getenv("TMPDIR");
    long failures = 0;
    bool failed = true;

    (void)state;
    for (long n = 0; failed && n < CALLS_MAX; n++) {
        char *directory = xasprintf("%s/backend_eio.XXXXXX", base != NULL ? base : "/tmp");
        char *path;
        uint64_t acknowledged, found;

        assert_non_null(mkdtemp(directory));
        path = xasprintf("%s/db", directory);
        calls_left = n;
        acknowledged = work(path, &failed);
        calls_left = -1;
        failures += failed;
        if (failed)
            assert_int_equal(err.code, ERR_IO);
        if (failed)
            assert_int_equal(err.sys, EIO);
        found = number_found(path);
        if (found != acknowledged && found != acknowledged + 1)
            fail_msg("call %ld: %" PRIu64 " instead of %" PRIu64, n, found, acknowledged);
        assert_int_equal(file_remove_tree(directory, &err), 0);
        free(path);
        free(directory);
    }
    assert_false(failed); /* the last run had no call to fail */
    assert_true(failures > 20);
    print_message("%ld calls failed in turn\n", failures);
}

/* The new file has its name, but nobody knows for how long: what is promised on it may be gone. */
static void nothing_is_promised_under_a_lost_name(void **state)
{
    const struct backend_options options = {.map_bytes = 1UL << 26};
    const char *base = getenv("TMPDIR");
    char *directory = xasprintf("%s/backend_eio.XXXXXX", base != NULL ? base : "/tmp"), *path;
    struct backend *backend = NULL;

    (void)state;
    assert_non_null(mkdtemp(directory));
    path = xasprintf("%s/db", directory);
    assert_int_equal(backend_open_lmdb(path, &options, &backend, &err), 0);
    assert_int_equal(commit_number(backend, 1), 0);
    directories_fail = true;
    assert_int_equal(backend_defrag(backend, &err), -1);
    directories_fail = false;
    err = (struct err)ERR_INIT;
    assert_int_equal(commit_number(backend, 2), -1);
    assert_int_equal(err.sys, EIO);
    assert_int_equal(backend_defrag(backend, &err), -1);
    backend_close(backend);
    assert_int_equal(number_found(path), 1);
    assert_int_equal(file_remove_tree(directory, &err), 0);
    free(path);
    free(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_failure_leaves_what_was_acknowledged),
        cmocka_unit_test(nothing_is_promised_under_a_lost_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
