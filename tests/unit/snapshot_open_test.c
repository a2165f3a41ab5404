/* snapshot_open_test.c - an LMDB database is read under a lock that servers and defrag respect. */
#include "common/base/file.h"
#include "common/storage/backend.h"
#include "common/storage/snapshot_open.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include <cmocka.h>

static char *directory, *path; /* of the running test */
static int other = -1;         /* the database, as a server opens it */
static int refusals;           /* of its lock, while the image is made */

/* In place of the C library's: snapshot_open() makes the file of its image with it. */
int mkostemp(char *pattern, int flags)
{
    if (flock(other, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
        refusals++;
    return mkostemps(pattern, 0, flags);
}

static int make_database(void **state)
{
    const struct backend_options options = {.map_bytes = 1UL << 30};
    struct backend *backend;
    struct err err = ERR_INIT;

    (void)state;
    directory = xstrdup(P_tmpdir "/snapshot_open_test.XXXXXX");
    if (mkdtemp(directory) == NULL)
        return -1;
    path = xasprintf("%s/db", directory);
    if (backend_open_lmdb(path, &options, &backend, &err) < 0)
        return -1;
    backend_close(backend);
    other = open(path, O_RDWR | O_CLOEXEC);
    refusals = 0;
    return other < 0 ? -1 : 0;
}

static int drop_database(void **state)
{
    struct err err = ERR_INIT;
    int rc = file_remove_tree(directory, &err);

    (void)state;
    file_close(&other);
    free(path);
    free(directory);
    return rc;
}

static void holds_a_lock_while_it_reads(void **state)
{
    struct bolt *bolt = NULL;
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(snapshot_open(path, &bolt, &err), 0);
    assert_int_equal(refusals, 1);
    assert_int_equal(flock(other, LOCK_EX | LOCK_NB), 0); /* given back with the image made */
    bolt_close(bolt);
}

static void refuses_what_a_server_has(void **state)
{
    struct bolt *bolt = NULL;
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(flock(other, LOCK_EX | LOCK_NB), 0);
    assert_int_equal(snapshot_open(path, &bolt, &err), -1);
    assert_int_equal(err.code, ERR_LOCKED);
    assert_null(bolt);
    assert_int_equal(refusals, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(holds_a_lock_while_it_reads, make_database, drop_database),
        cmocka_unit_test_setup_teardown(refuses_what_a_server_has, make_database, drop_database),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
