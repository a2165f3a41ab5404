/*
 * backend_lmdb_test.c - what only a file can suffer: kill -9 inside commits, a full disk, a size
 * limit, cut and altered bytes, other programs' files. Also that many reads may be open at once.
 */
#include "common/base/file.h"
#include "common/storage/backend.h"
#include "common/storage/batch.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define KILL_ROUNDS 25
#define VALUE_BYTES 200

struct place { /* the state of each test */
    char directory[200];
    char path[256];
};

static struct err err;

static int make_place(void **state)
{
    struct place *place = xalloc(sizeof(*place));
    const char *base = getenv("TMPDIR");

    assert_in_range(snprintf(place->directory, sizeof(place->directory), "%s/backend_lmdb.XXXXXX",
                             base != NULL ? base : "/tmp"),
                    1, sizeof(place->directory) - 1);
    assert_non_null(mkdtemp(place->directory));
    (void)snprintf(place->path, sizeof(place->path), "%s/db", place->directory);
    *state = place;
    return 0;
}

static int remove_place(void **state)
{
    struct place *place = *state;

    assert_int_equal(file_remove_tree(place->directory, &err), 0);
    free(place);
    return 0;
}

static struct backend *open_it(const char *path)
{
    const struct backend_options options = {.map_bytes = 1UL << 30};
    struct backend *backend = NULL;

    if (backend_open_lmdb(path, &options, &backend, &err) < 0)
        return NULL;
    return backend;
}

static struct slice revision_key(uint8_t out[17], uint64_t number)
{
    memset(out, 0, 17);
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(number >> (56 - 8 * i));
    out[8] = '_';
    return slice_of(out, 17);
}

/* `count` revisions from `first` on, and their last number in `meta`: they go together. */
static int commit_run(struct backend *backend, uint64_t first, uint64_t count)
{
    struct batch *batch = batch_new();
    uint8_t key[17], value[VALUE_BYTES];
    uint64_t last = first + count - 1;
    int rc;

    for (uint64_t i = first; i <= last; i++) {
        memset(value, (int)(i % 251), sizeof(value));
        batch_put(batch, BUCKET_KEY, revision_key(key, i), slice_of(value, sizeof(value)));
    }
    batch_put(batch, BUCKET_META, slice_text("consistent_index"), slice_of(&last, sizeof(last)));
    rc = backend_commit(backend, batch, &err);
    batch_unref(batch);
    return rc;
}

/* The number in `meta`; every revision up to it must be there, whole, and none above. */
static uint64_t last_of(struct backend *backend)
{
    struct backend_read *read;
    struct backend_cursor *cursor;
    struct slice key, value;
    uint64_t last = 0, count = 0;
    uint8_t wanted[17];

    assert_int_equal(backend_read_begin(backend, &read, &err), 0);
    if (backend_get(read, BUCKET_META, slice_text("consistent_index"), &value))
        memcpy(&last, value.data, sizeof(last));
    cursor = backend_cursor_open(read, BUCKET_KEY);
    for (bool there = backend_cursor_seek(cursor, SLICE_EMPTY, &key, &value); there;
         there = backend_cursor_next(cursor, &key, &value)) {
        count++;
        assert_true(slice_equal(key, revision_key(wanted, count)));
        assert_int_equal(value.size, VALUE_BYTES);
        assert_int_equal(value.data[VALUE_BYTES - 1], count % 251);
    }
    assert_int_equal(count, last);
    backend_cursor_close(cursor);
    backend_read_end(read);
    return last;
}

/* ---- kill -9 ---- */

/* In the child: commit for ever, report each commit through the pipe once it is durable. */
static _Noreturn void commit_until_killed(const char *path, int report)
{
    struct backend *backend = open_it(path);
    uint64_t last;

    if (backend == NULL)
        _exit(3);
    last = last_of(backend);
    for (unsigned round = 0;; round++) {
        uint64_t count = 1 + (round * 37) % 300;

        if (commit_run(backend, last + 1, count) < 0)
            _exit(4);
        last += count;
        if (write(report, &last, sizeof(last)) != sizeof(last))
            _exit(5);
        if (round % 5 == 4 && backend_defrag(backend, &err) < 0)
            _exit(6);
    }
}

static void a_kill_leaves_the_last_commit(void **state)
{
    struct place *place = *state;
    uint64_t reported = 0;

    for (unsigned round = 0; round < KILL_ROUNDS; round++) {
        struct backend *backend;
        int pipes[2], status;
        uint64_t number, found;
        pid_t child;

        assert_int_equal(pipe(pipes), 0);
        child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            (void)close(pipes[0]);
            commit_until_killed(place->path, pipes[1]);
        }
        (void)close(pipes[1]);
        for (unsigned i = 0; i <= round % 7; i++) {
            assert_int_equal(read(pipes[0], &number, sizeof(number)), sizeof(number));
            reported = number;
        }
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        while (read(pipes[0], &number, sizeof(number)) == sizeof(number))
            reported = number;
        (void)close(pipes[0]);
        backend = open_it(place->path);
        assert_non_null(backend);
        found = last_of(backend);
        assert_true(found >= reported); /* one may have become durable unreported */
        backend_close(backend);
    }
    assert_true(reported > 0);
}

/* ---- no room ---- */

/* Fill until a commit fails; then nothing of it may be there, and smaller ones must work on. */
static int fill_until_full(const char *path, void (*make_room)(const char *path))
{
    struct backend *backend = open_it(path);
    uint64_t last = 0;

    if (backend == NULL)
        return 10;
    while (commit_run(backend, last + 1, 700) == 0) {
        last += 700;
        if (last > 100000)
            return 11;
    }
    if (err.code != ERR_IO || err.sys != ENOSPC)
        return 12;
    for (int i = 0; i < 3; i++) { /* it goes on failing, and reads go on working */
        if (commit_run(backend, last + 1, 700) == 0)
            return 13;
        if (last_of(backend) != last)
            return 14;
    }
    if (backend_defrag(backend, &err) < 0 && (err.code != ERR_IO || err.sys != ENOSPC))
        return 15;
    if (last_of(backend) != last)
        return 18;
    make_room(path);
    for (int i = 0; i < 3; i++, last += 700) {
        if (commit_run(backend, last + 1, 700) < 0)
            return 16;
    }
    backend_close(backend);
    backend = open_it(path);
    if (backend == NULL || last_of(backend) != last)
        return 17;
    backend_close(backend);
    return 0;
}

static int child_result(pid_t child)
{
    int status;

    assert_true(child >= 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status))
        fail_msg("the child ended by signal %d", WTERMSIG(status));
    return WEXITSTATUS(status);
}

static void lift_the_limit(const char *path)
{
    const struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};

    (void)path;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_size_limit_changes_nothing(void **state)
{
    struct place *place = *state;
    pid_t child = fork();

    if (child == 0) {
        const struct rlimit limit = {2 * MIB, RLIM_INFINITY};

        if (signal(SIGXFSZ, SIG_IGN) == SIG_ERR || setrlimit(RLIMIT_FSIZE, &limit) < 0)
            _exit(2);
        _exit(fill_until_full(place->path, lift_the_limit));
    }
    assert_int_equal(child_result(child), 0);
}

static void remove_the_ballast(const char *path)
{
    char *ballast = xasprintf("%s.ballast", path);

    assert_int_equal(unlink(ballast), 0);
    free(ballast);
}

/* In the child: a 3 MiB file system of its own, half of it ballast. 77 = not allowed to mount. */
static int run_on_a_small_disk(struct place *place)
{
    char *ballast = xasprintf("%s.ballast", place->path);
    int fd, rc;

    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("tmpfs", place->directory, "tmpfs", 0, "size=3m") < 0) {
        free(ballast);
        return 77;
    }
    fd = open(ballast, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    rc = fd < 0 || posix_fallocate(fd, 0, 3 << 19) != 0 ? 2 : 0;
    file_close(&fd);
    if (rc == 0)
        rc = fill_until_full(place->path, remove_the_ballast);
    free(ballast);
    return rc;
}

static void a_full_disk_changes_nothing(void **state)
{
    pid_t child = fork();
    int result;

    if (child == 0)
        _exit(run_on_a_small_disk(*state));
    result = child_result(child);
    if (result == 77)
        print_message("not allowed to mount: the full disk is left to the size limit\n");
    else
        assert_int_equal(result, 0);
}

static void a_used_up_map_changes_nothing(void **state)
{
    struct place *place = *state;
    const struct backend_options options = {.map_bytes = MIB};
    struct backend *backend;
    uint64_t last = 0;

    assert_int_equal(backend_open_lmdb(place->path, &options, &backend, &err), 0);
    while (commit_run(backend, last + 1, 500) == 0)
        last += 500;
    assert_int_equal(err.code, ERR_IO);
    assert_int_equal(err.sys, ENOSPC);
    assert_int_equal(last_of(backend), last);
    backend_close(backend);
}

/* ---- files that are not good ---- */

static void write_file(const char *path, struct slice content)
{
    assert_int_equal(file_write_atomic(path, content, 0600, true, &err), 0);
}

static void expect_refused(const char *path, enum err_code code, const char *words)
{
    const struct backend_options options = {.map_bytes = 1UL << 30};
    struct backend *backend;

    assert_int_equal(backend_open_lmdb(path, &options, &backend, &err), -1);
    assert_int_equal(err.code, code);
    assert_non_null(strstr(err.text, path));
    if (strstr(err.text, words) == NULL)
        fail_msg("%s: expected %s", err.text, words);
}

static void foreign_files_are_refused(void **state)
{
    struct place *place = *state;
    uint8_t bytes[8192];
    const uint32_t bolt_magic = 0xED0CDAED;

    memset(bytes, 'x', sizeof(bytes));
    write_file(place->path, slice_of(bytes, sizeof(bytes)));
    expect_refused(place->path, ERR_FORMAT, "is not a database of etcd-server");
    memcpy(bytes + 16, &bolt_magic, sizeof(bolt_magic));
    write_file(place->path, slice_of(bytes, sizeof(bytes)));
    expect_refused(place->path, ERR_FORMAT, "bbolt");
    write_file(place->path, SLICE_EMPTY);
    expect_refused(place->path, ERR_FORMAT, "is empty");
    write_file(place->path, slice_of(bytes, 20));
    expect_refused(place->path, ERR_FORMAT, "too short");
    expect_refused(place->directory, ERR_FORMAT, "is not a file");
    assert_int_equal(unlink(place->path), 0);
    (void)snprintf(place->path, sizeof(place->path), "%s/none/db", place->directory);
    expect_refused(place->path, ERR_IO, "No such file");
}

static void a_new_file_is_private_and_alone(void **state)
{
    struct place *place = *state;
    struct backend *backend = open_it(place->path);
    struct stat status;
    char *lock = xasprintf("%s-lock", place->path);

    assert_non_null(backend);
    assert_int_equal(stat(place->path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    assert_false(file_exists(lock));
    assert_true(backend_size(backend) <= 64 * KIB);
    write_file(lock, slice_text("left by somebody"));
    backend_close(backend);
    backend = open_it(place->path);
    assert_non_null(backend);
    backend_close(backend);
    free(lock);
}

/* A file with trees of several levels, large values and free pages. */
static void make_rich_file(const char *path)
{
    struct backend *backend = open_it(path);
    struct batch *batch = batch_new();
    static uint8_t large[20000];
    uint8_t key[17];

    assert_non_null(backend);
    assert_int_equal(commit_run(backend, 1, 3000), 0);
    for (uint64_t i = 0; i < 5; i++)
        batch_put(batch, BUCKET_AUTH_USERS, revision_key(key, i), slice_of(large, sizeof(large)));
    for (uint64_t i = 100; i < 2000; i++)
        batch_delete(batch, BUCKET_KEY, revision_key(key, i));
    assert_int_equal(backend_commit(backend, batch, &err), 0);
    batch_unref(batch);
    batch = batch_new();
    batch_put(batch, BUCKET_META, slice_text("a"), slice_text("b"));
    assert_int_equal(backend_commit(backend, batch, &err), 0);
    batch_unref(batch);
    backend_close(backend);
}

/* In the child: open a damaged file; refused in words, or good enough to be read and written. */
static int try_damaged(const char *path)
{
    struct backend *backend = open_it(path);
    struct backend_read *read;
    struct slice key, value;

    if (backend == NULL)
        return err.code == ERR_DAMAGED || err.code == ERR_FORMAT ? 0 : 2;
    if (backend_read_begin(backend, &read, &err) < 0)
        return 3;
    for (int i = 0; i < BUCKET_COUNT; i++) {
        struct backend_cursor *cursor = backend_cursor_open(read, (enum bucket)i);
        bool there = backend_cursor_seek(cursor, SLICE_EMPTY, &key, &value);

        while (there)
            there = backend_cursor_next(cursor, &key, &value);
        backend_cursor_close(cursor);
    }
    backend_read_end(read);
    if (commit_run(backend, 5000, 50) < 0 || commit_run(backend, 6000, 50) < 0)
        return 4;
    backend_close(backend);
    return 1;
}

static int damage_and_try(const char *path, const struct buf *good, uint64_t at, uint8_t with,
                          size_t bytes)
{
    uint8_t *copy = xalloc(good->size);
    pid_t child;

    memcpy(copy, good->data, good->size);
    if (at < bytes)
        copy[at] ^= with;
    write_file(path, slice_of(copy, bytes));
    free(copy);
    child = fork();
    if (child == 0) {
        (void)signal(SIGSEGV, SIG_DFL); /* cmocka's would go on with the next test */
        (void)signal(SIGBUS, SIG_DFL);
        _exit(try_damaged(path));
    }
    return child_result(child);
}

/* Whatever byte of the structure is hit, nobody crashes: each try is a process of its own. */
static void damage_is_refused_in_words(void **state)
{
    struct place *place = *state;
    struct buf good = BUF_INIT(BUF_UNLIMITED);
    uint64_t seed = 7;
    unsigned refused = 0;

    make_rich_file(place->path);
    assert_int_equal(file_read_all(place->path, &good, &err), 0);
    for (unsigned round = 0; round < 300; round++) {
        uint64_t page, at;
        int result;

        seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
        page = (seed >> 33) % (good.size / 4096);
        at = page * 4096 + (seed >> 20) % (round % 3 == 0 ? 152 : 48);
        result = damage_and_try(place->path, &good, at, (uint8_t)(1U << (round % 8)), good.size);
        if (result > 1)
            fail_msg("byte %" PRIu64 " of page %" PRIu64 ": result %d", at % 4096, page, result);
        refused += result == 0;
    }
    assert_true(refused > 50);
    for (size_t bytes = good.size - 4096; bytes > 4096; bytes -= 16 * 4096 + 512) {
        assert_in_range(damage_and_try(place->path, &good, bytes, 0, bytes), 0, 1);
        if (bytes < 17 * 4096)
            break;
    }
    assert_int_equal(damage_and_try(place->path, &good, good.size, 0, good.size / 2), 0);
    assert_int_equal(damage_and_try(place->path, &good, good.size, 0, 4096), 0);
    buf_free(&good);
}

/* ---- many reads ---- */

static void as_many_reads_as_promised(void **state)
{
    struct place *place = *state;
    struct backend *backend = open_it(place->path);
    struct backend_read **reads = xalloc(BACKEND_READERS_MAX * sizeof(struct backend_read *));
    struct backend_read *one_more;

    assert_non_null(backend);
    for (unsigned i = 0; i < BACKEND_READERS_MAX; i++)
        assert_int_equal(backend_read_begin(backend, &reads[i], &err), 0);
    assert_int_equal(backend_read_begin(backend, &one_more, &err), -1);
    assert_int_equal(err.code, ERR_NO_MEMORY);
    assert_int_equal(commit_run(backend, 1, 10), 0);
    for (unsigned i = 0; i < BACKEND_READERS_MAX; i++)
        backend_read_end(reads[i]);
    assert_int_equal(last_of(backend), 10);
    free(reads);
    backend_close(backend);
}

/* ---- many threads ---- */

struct reader {
    pthread_t thread;
    struct backend *backend;
    atomic_bool *stop;
    unsigned rounds;
    bool wrong;
};

/* Whatever is committed or moved meanwhile: what `meta` says is the newest revision, and
 * is there. */
static void *read_until_stopped(void *arg)
{
    struct reader *reader = arg;
    struct backend_read *read;
    struct err why = ERR_INIT;
    uint8_t key[17];

    if (backend_read_begin(reader->backend, &read, &why) < 0) {
        reader->wrong = true;
        return NULL;
    }
    while (!atomic_load(reader->stop) && !reader->wrong) {
        struct slice value, found;
        uint64_t last = 0;

        if (backend_get(read, BUCKET_META, slice_text("consistent_index"), &value))
            memcpy(&last, value.data, sizeof(last));
        if ((last > 0 && !backend_get(read, BUCKET_KEY, revision_key(key, last), &found)) ||
            backend_get(read, BUCKET_KEY, revision_key(key, last + 1), &found))
            reader->wrong = true;
        if (++reader->rounds % 3 != 0) {
            reader->wrong |= backend_read_renew(read, &why) < 0;
            continue;
        }
        backend_read_end(read);
        if (backend_read_begin(reader->backend, &read, &why) < 0) {
            reader->wrong = true;
            return NULL;
        }
    }
    backend_read_end(read);
    return NULL;
}

static void reads_go_on_beside_commits_and_defrags(void **state)
{
    struct place *place = *state;
    struct backend *backend = open_it(place->path);
    struct reader readers[3];
    atomic_bool stop;
    uint64_t last = 0;

    atomic_init(&stop, false);
    assert_non_null(backend);
    for (size_t i = 0; i < ARRAY_LEN(readers); i++) {
        readers[i] = (struct reader){.backend = backend, .stop = &stop};
        assert_int_equal(pthread_create(&readers[i].thread, NULL, read_until_stopped, &readers[i]),
                         0);
    }
    for (unsigned round = 0; round < 60; round++, last += 40) {
        assert_int_equal(commit_run(backend, last + 1, 40), 0);
        if (round % 4 == 3)
            assert_int_equal(backend_defrag(backend, &err), 0);
    }
    atomic_store(&stop, true);
    for (size_t i = 0; i < ARRAY_LEN(readers); i++) {
        assert_int_equal(pthread_join(readers[i].thread, NULL), 0);
        assert_false(readers[i].wrong);
        assert_true(readers[i].rounds > 0);
    }
    assert_int_equal(last_of(backend), last);
    assert_int_equal(backend_reads_open(backend), 0);
    backend_close(backend);
}

#define ROW(test) cmocka_unit_test_setup_teardown(test, make_place, remove_place)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(a_new_file_is_private_and_alone),
        ROW(a_kill_leaves_the_last_commit),
        ROW(a_size_limit_changes_nothing),
        ROW(a_full_disk_changes_nothing),
        ROW(a_used_up_map_changes_nothing),
        ROW(foreign_files_are_refused),
        ROW(damage_is_refused_in_words),
        ROW(as_many_reads_as_promised),
        ROW(reads_go_on_beside_commits_and_defrags),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
