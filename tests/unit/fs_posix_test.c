/* fs_posix_test.c - fs.h on real files, in a directory of its own. */
#include "common/base/file.h"
#include "common/storage/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

static char *directory; /* of the running test */

static int make_directory(void **state)
{
    (void)state;
    directory = xstrdup(P_tmpdir "/fs_posix_test.XXXXXX");
    return mkdtemp(directory) == NULL ? -1 : 0;
}

static int drop_directory(void **state)
{
    struct err err = ERR_INIT;
    int rc = file_remove_tree(directory, &err);

    (void)state;
    free(directory);
    return rc;
}

static struct fs_file *open_file(const char *name, int flags)
{
    struct fs_file *file = NULL;
    struct err err = ERR_INIT;
    char *path = xasprintf("%s/%s", directory, name);

    if (fs_posix()->ops->open(fs_posix(), path, flags, 0600, &file, &err) < 0)
        fail_msg("%s", err.text);
    free(path);
    return file;
}

static void bytes_come_back(void **state)
{
    struct fs_file *file = open_file("a", FS_READ | FS_WRITE | FS_CREATE | FS_EXCLUSIVE);
    struct err err = ERR_INIT;
    uint8_t back[16];
    uint64_t size;
    size_t got;

    (void)state;
    assert_int_equal(file->ops->allocate(file, 100, &err), 0);
    assert_int_equal(file->ops->write_at(file, 98, SLICE_LITERAL("hello"), &err), 0);
    assert_int_equal(file->ops->size(file, &size, &err), 0);
    assert_int_equal(size, 103);
    assert_int_equal(file->ops->read_at(file, 97, back, sizeof(back), &got, &err), 0);
    assert_int_equal(got, 6);
    assert_memory_equal(back, "\0hello", 6);
    assert_int_equal(file->ops->truncate(file, 100, &err), 0);
    assert_int_equal(file->ops->allocate(file, 50, &err), 0);
    assert_int_equal(file->ops->size(file, &size, &err), 0);
    assert_int_equal(size, 100);
    assert_int_equal(file->ops->sync(file, &err), 0);
    fs_close(file);
}

/* To the log a limit is a full disk: it waits for room, and does not end. */
static void a_limit_is_a_full_disk(void **state)
{
    struct fs_file *file = open_file("a", FS_WRITE | FS_CREATE);
    struct rlimit before, limit;
    struct err err = ERR_INIT;
    int rc;

    (void)state;
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = (struct rlimit){.rlim_cur = 4096, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    rc = file->ops->write_at(file, 4096, SLICE_LITERAL("hello"), &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(rc, -1);
    assert_int_equal(err.sys, ENOSPC);
    assert_non_null(strstr(err.text, "File too large"));
    fs_close(file);
}

static void an_existing_file_is_not_taken(void **state)
{
    struct fs *fs = fs_posix();
    struct fs_file *file = open_file("a", FS_WRITE | FS_CREATE);
    struct fs_file *again = NULL;
    struct err err = ERR_INIT;
    char *path = xasprintf("%s/a", directory);

    (void)state;
    assert_int_equal(
        fs->ops->open(fs, path, FS_WRITE | FS_CREATE | FS_EXCLUSIVE, 0600, &again, &err), -1);
    assert_int_equal(err.code, ERR_EXISTS);
    assert_null(again);
    free(path);
    fs_close(file);
}

/* A second lock, and each of the two that etcd would take, is refused until the file is closed. */
static void locks_conflict_with_both_families(void **state)
{
    struct fs_file *file = open_file("a", FS_READ | FS_WRITE | FS_CREATE);
    struct fs_file *again = open_file("a", FS_READ | FS_WRITE);
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    struct err err = ERR_INIT;
    char *path = xasprintf("%s/a", directory);
    int fd = open(path, O_RDWR | O_CLOEXEC);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(file->ops->lock(file, &err), 0);
    assert_int_equal(again->ops->lock(again, &err), -1);
    assert_int_equal(err.code, ERR_LOCKED);
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &whole), -1);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), -1);
    fs_close(file);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    assert_int_equal(again->ops->lock(again, &err), -1);
    file_close(&fd);
    assert_int_equal(again->ops->lock(again, &err), 0);
    fs_close(again);
    free(path);
}

static int collect(void *arg, const char *name, struct err *err)
{
    struct buf *names = arg;

    if (strcmp(name, "stop") == 0) {
        err_set(err, ERR_FORMAT, "stop");
        return -1;
    }
    return buf_printf(names, "%s ", name) ? 0 : -1;
}

static void names_come_in_order(void **state)
{
    struct fs *fs = fs_posix();
    struct buf names = BUF_INIT(1000);
    struct err err = ERR_INIT;

    (void)state;
    fs_close(open_file("b", FS_WRITE | FS_CREATE));
    fs_close(open_file("c", FS_WRITE | FS_CREATE));
    fs_close(open_file("a", FS_WRITE | FS_CREATE));
    assert_int_equal(fs->ops->list(fs, directory, collect, &names, &err), 0);
    assert_string_equal(buf_text(&names), "a b c ");
    fs_close(open_file("stop", FS_WRITE | FS_CREATE));
    assert_int_equal(fs->ops->list(fs, directory, collect, &names, &err), -1);
    assert_int_equal(err.code, ERR_FORMAT);
    buf_free(&names);
}

static void directories_are_made_and_removed(void **state)
{
    struct fs *fs = fs_posix();
    struct err err = ERR_INIT;
    char *one = xasprintf("%s/one", directory), *two = xasprintf("%s/two", directory);

    (void)state;
    assert_int_equal(fs->ops->mkdir(fs, one, 0700, &err), 0);
    assert_int_equal(fs->ops->mkdir(fs, one, 0700, &err), 0);
    assert_int_equal(fs->ops->rename(fs, one, two, &err), 0);
    assert_int_equal(fs->ops->sync_dir(fs, directory, &err), 0);
    assert_false(fs->ops->exists(fs, one));
    assert_true(fs->ops->exists(fs, two));
    fs_close(open_file("two/x", FS_WRITE | FS_CREATE));
    assert_int_equal(fs->ops->remove_tree(fs, two, &err), 0);
    assert_int_equal(fs->ops->remove_tree(fs, two, &err), 0);
    assert_int_equal(fs->ops->unlink(fs, two, &err), 0);
    assert_int_equal(fs->ops->rename(fs, one, two, &err), -1);
    assert_int_equal(err.code, ERR_IO);
    assert_int_equal(err.sys, ENOENT);
    free(one);
    free(two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bytes_come_back, make_directory, drop_directory),
        cmocka_unit_test_setup_teardown(a_limit_is_a_full_disk, make_directory, drop_directory),
        cmocka_unit_test_setup_teardown(an_existing_file_is_not_taken, make_directory,
                                        drop_directory),
        cmocka_unit_test_setup_teardown(locks_conflict_with_both_families, make_directory,
                                        drop_directory),
        cmocka_unit_test_setup_teardown(names_come_in_order, make_directory, drop_directory),
        cmocka_unit_test_setup_teardown(directories_are_made_and_removed, make_directory,
                                        drop_directory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
