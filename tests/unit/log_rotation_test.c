/* log_rotation_test.c - full log files make way, by threads that all log; old ones are compressed
 * and go. */
#include "etcd-server/host/log_rotation.h"
#include "common/base/file.h"
#include "common/base/limits.h"
#include "common/base/log.h"
#include "common/base/log_output.h"
#include "tests/lib/certs.h"

#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>
#include <cmocka.h>

#define THREADS 3
#define LINES_EACH 12000 /* about 130 bytes each: 4.5 MiB in all */
#define WAIT_TURNS 2000  /* of 5 ms */

static char *root, *path;

static int setup(void **state)
{
    (void)state;
    root = test_directory();
    path = test_path(root, "etcd.log");
    log_setup(LOG_INFO, LOG_JSON);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_remove(root);
    free(path);
    return 0;
}

static void *write_lines(void *arg)
{
    for (unsigned line = 0; line < LINES_EACH; line++)
        log_info("a line", log_str("thread", arg), log_u64("number", line));
    return NULL;
}

/* Files that are not compressed. */
static unsigned plain_files(void)
{
    DIR *dir = opendir(root);
    const struct dirent *entry;
    unsigned count = 0;

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL)
        count += entry->d_name[0] != '.' && strstr(entry->d_name, ".gz") == NULL;
    closedir(dir);
    return count;
}

/* Ends when all but `plain` files are compressed, if they are to be. */
static void write_all(const char *config, unsigned plain)
{
    static const char *const names[THREADS] = {"a", "b", "c"};
    struct log_rotation_limits limits;
    struct log_rotation *rotation = NULL;
    struct log_outputs outputs;
    struct err err = ERR_INIT;
    pthread_t threads[THREADS];
    char *const output[] = {path};

    assert_int_equal(log_rotation_parse(config, &limits, NULL, &err), 0);
    assert_int_equal(log_outputs_open(&outputs, output, 1, &err), 0);
    assert_string_equal(outputs.file, path);
    assert_int_equal(log_rotation_start(&limits, path, outputs.file_fd, &rotation, &err), 0);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(
            pthread_create(&threads[i], NULL, write_lines, (void *)(uintptr_t)names[i]), 0);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int turn = 0; limits.compress && turn < WAIT_TURNS && plain_files() != plain; turn++)
        (void)nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL); /* for the sweeper */
    log_rotation_stop(rotation);
    log_outputs_close(&outputs);
    log_output(NULL, 0);
}

struct found {
    unsigned files, compressed, by_umask;
    uint64_t lines, largest;
};

static struct found look(void)
{
    struct found found = {0};
    DIR *dir = opendir(root);
    const struct dirent *entry;
    struct stat status;
    mode_t mask = umask(0);
    char line[4096];

    (void)umask(mask); /* there is no way just to ask */
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        char *name;
        uint64_t bytes = 0;
        gzFile file;

        if (entry->d_name[0] == '.')
            continue;
        name = test_path(root, entry->d_name);
        assert_int_equal(stat(name, &status), 0);
        found.by_umask += (status.st_mode & 07777) == (0666 & ~mask);
        found.files++;
        found.compressed += strstr(name, ".log.gz") != NULL;
        file = gzopen(name, "rb"); /* reads plain files too */
        assert_non_null(file);
        for (; gzgets(file, line, sizeof(line)) != NULL; found.lines++) {
            assert_memory_equal(line, "{\"level\":\"info\"", 15);
            assert_string_equal(line + strlen(line) - 2, "}\n");
            bytes += strlen(line);
        }
        assert_int_equal(gzclose(file), Z_OK);
        found.largest = MAX(found.largest, bytes);
        free(name);
    }
    closedir(dir);
    return found;
}

static void full_files_make_way_and_no_line_is_lost(void **state)
{
    struct found found;

    (void)state;
    write_all("{\"maxsize\": 1}", 0);
    found = look();
    assert_in_range(found.files, 4, 8);
    assert_int_equal(found.by_umask, found.files);
    assert_int_equal(found.compressed, 0);
    assert_int_equal(found.lines, THREADS * LINES_EACH);
    assert_in_range(found.largest, MIB / 2, MIB + MIB / 16);
}

static void old_ones_are_compressed(void **state)
{
    struct found found;

    (void)state;
    write_all("{\"maxsize\": 1, \"compress\": true, \"localtime\": true}", 1);
    found = look();
    assert_in_range(found.files, 4, 8);
    assert_int_equal(found.by_umask, found.files);
    assert_int_equal(found.compressed, found.files - 1);
    assert_int_equal(found.lines, THREADS * LINES_EACH);
}

static void too_many_and_too_old_ones_go(void **state)
{
    char *old = test_path(root, "etcd-2020-01-01T00-00-00.000.log.gz");
    char *other = test_path(root, "etcd-2020-01-01T00-00-00.log"); /* not a name of ours */

    (void)state;
    test_write(old, SLICE_EMPTY);
    test_write(other, SLICE_EMPTY);
    write_all("{\"maxsize\": 1, \"maxbackups\": 2, \"maxage\": 3, \"compress\": true}", 2);
    assert_int_equal(look().files, 4); /* the one in use, two old ones, the other */
    assert_int_not_equal(access(old, F_OK), 0);
    assert_int_equal(access(other, F_OK), 0);
    free(old);
    free(other);
}

static void settings_that_do_not_fit_are_named(void **state)
{
    static const char *const bad[][2] = {
        {"{", "byte 2"},
        {"{\"maxsize\":\"x\"}", "a number"},
        {"{\"maxsize\":-1}", "maxsize is -1"},
        {"{\"maxage\":1.5}", "maxage is 1.5"},
        {"{\"compress\":1}", "compress"},
        {"{} {}", "more text"},
        {"", "the end"},
    };
    struct log_rotation_limits limits;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err err = ERR_INIT;

        assert_int_equal(log_rotation_parse(bad[i][0], &limits, NULL, &err), -1);
        assert_int_equal(err.code, ERR_USAGE);
        if (strstr(err.text, bad[i][1]) == NULL ||
            strstr(err.text, "--log-rotation-config") == NULL)
            fail_msg("%s: %s", bad[i][0], err.text);
    }
}

/* As Go reads names, and lumberjack's own `filename` among others. */
static void names_are_read_in_any_case(void **state)
{
    struct buf notes = BUF_INIT(BUF_UNLIMITED);
    struct log_rotation_limits limits;
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(log_rotation_parse("{\"maxSize\": 3, \"filename\": \"x\", \"size\": [1, {}], "
                                        "\"MaxBackups\": 7, \"Compress\": true}",
                                        &limits, &notes, &err),
                     0);
    assert_int_equal(limits.max_mib, 3);
    assert_int_equal(limits.max_backups, 7);
    assert_true(limits.compress);
    assert_non_null(strstr(buf_text(&notes), "\"filename\" is ignored"));
    assert_non_null(strstr(buf_text(&notes), "\"size\" is ignored"));
    assert_null(strstr(buf_text(&notes), "axBackups\""));
    buf_free(&notes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(full_files_make_way_and_no_line_is_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(old_ones_are_compressed, setup, teardown),
        cmocka_unit_test(names_are_read_in_any_case),
        cmocka_unit_test_setup_teardown(too_many_and_too_old_ones_go, setup, teardown),
        cmocka_unit_test_setup_teardown(settings_that_do_not_fit_are_named, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
