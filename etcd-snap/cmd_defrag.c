/* cmd_defrag.c - `defrag` and `check v2store`: the directory of a server that is not running. */
#include "common/client/print.h"
#include "common/storage/datadir_defrag.h"
#include "common/storage/snapfile.h"
#include "common/storage/v2store.h"
#include "common/storage/wal.h"
#include "etcd-snap/commands.h"

#include <stdio.h>

/* The directory that --data-dir names; NULL after complaining. */
static const char *wanted_directory(const struct args *args)
{
    struct err err = ERR_INIT;

    if (*args->values[OPT_DATA_DIR] != '\0')
        return args->values[OPT_DATA_DIR];
    err_set(&err, ERR_USAGE,
            "required flag(s) \"data-dir\" not set; name the directory with member/ in it");
    (void)complain(&err, EXIT_ERROR);
    return NULL;
}

int cmd_defrag(const struct args *args, const char *const *arguments)
{
    const char *root = wanted_directory(args);
    char had[PRINT_SIZE_MAX], has[PRINT_SIZE_MAX];
    uint64_t before = 0, after = 0;
    struct leftover *leftover = NULL;
    struct err err = ERR_INIT;
    int rc;

    (void)arguments;
    if (root == NULL)
        return EXIT_ERROR;
    rc = leftover_begin(&leftover, &err);
    if (rc == 0)
        rc = datadir_defrag(root, leftover, &before, &after, &err);
    leftover_end(leftover);
    if (rc < 0) {
        err_prefix(&err, "Failed to defragment etcd data[%s]", root);
        return complain(&err, EXIT_ERROR);
    }
    print_size_text(before, had);
    print_size_text(after, has);
    (void)fprintf(stderr, "%s/member/snap/db: %s, was %s\n", root, has, had);
    return EXIT_OK;
}

/* The newest .snap file of the directory holds what there is of the API version 2. */
static int check_store(const char *snap, const char *wal, struct err *err)
{
    struct buf bytes = BUF_INIT(SNAPFILE_MAX_BYTES);
    struct wal_positions confirmed = {0};
    struct raft_snapshot snapshot = {0};
    struct v2store store = {0};
    bool found = false;
    int rc = -1;

    if (!fs_posix()->ops->exists(fs_posix(), snap))
        err_set(err, ERR_MISSING,
                "there is no directory %s; --data-dir is the one with member/ in it", snap);
    else if (wal_valid_snapshots(fs_posix(), wal, &confirmed, err) == 0)
        rc = snapfile_load_newest(fs_posix(), snap, &confirmed, &bytes, &snapshot, &found, err);
    if (rc == 0 && found)
        rc = v2store_read(snapshot.data, &store, err);
    v2store_free(&store);
    wal_positions_free(&confirmed);
    buf_free(&bytes);
    return rc;
}

int cmd_check(const struct args *args, const char *const *arguments)
{
    const char *root = wanted_directory(args), *wal_dir = args->values[OPT_WAL_DIR];
    struct err err = ERR_INIT;
    char *snap, *wal;
    int rc;

    if (root == NULL)
        return EXIT_ERROR;
    if (strcmp(arguments[0], "v2store") != 0) {
        err_set(&err, ERR_USAGE, "unknown command \"check %s\"; there is `check v2store`",
                arguments[0]);
        return complain(&err, EXIT_ERROR);
    }
    snap = xasprintf("%s/member/snap", root);
    wal = *wal_dir != '\0' ? xstrdup(wal_dir) : xasprintf("%s/member/wal", root);
    rc = check_store(snap, wal, &err);
    free(snap);
    free(wal);
    if (rc < 0)
        return complain(&err, EXIT_ERROR);
    (void)puts("No custom content found in v2store.");
    return EXIT_OK;
}
