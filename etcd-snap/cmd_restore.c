/* cmd_restore.c - `restore FILE --data-dir DIR`: a data directory from a snapshot. */
#include "common/base/resolve.h"
#include "common/storage/snapshot_restore.h"
#include "etcd-snap/commands.h"

#include <stdio.h>

static void resolve_again(const char *url, const char *why)
{
    (void)fprintf(stderr, "cannot resolve %s (%s), trying again\n", url, why);
}

int cmd_restore(const struct args *args, const char *const *arguments)
{
    struct resolve_wait wait = {.again = resolve_again};
    struct snapshot_restore restore = {
        .path = arguments[0],
        .data_dir = args->values[OPT_DATA_DIR],
        .name = args->values[OPT_NAME],
        .initial_cluster = args->values[OPT_INITIAL_CLUSTER],
        .initial_cluster_token = args->values[OPT_INITIAL_CLUSTER_TOKEN],
        .peer_urls = args->values[OPT_INITIAL_ADVERTISE_PEER_URLS],
        .resolve = resolve_url,
        .resolve_arg = &wait,
        .skip_hash_check = args_bool(args, OPT_SKIP_HASH_CHECK),
        .bump_revision = args_number(args, OPT_BUMP_REVISION),
        .mark_compacted = args_bool(args, OPT_MARK_COMPACTED),
    };
    struct err err = ERR_INIT;
    int rc;

    if (*args->values[OPT_WAL_DIR] != '\0')
        restore.wal_dir = args->values[OPT_WAL_DIR];
    if (*args->values[OPT_DATA_DIR] == '\0') {
        err_set(&err, ERR_USAGE,
                "required flag(s) \"data-dir\" not set; name the directory to make");
        return complain(&err, EXIT_ERROR);
    }
    if ((restore.bump_revision != 0) != restore.mark_compacted) {
        err_set(&err, ERR_USAGE,
                "--mark-compacted required if --revision-bump > 0; give both or neither");
        return complain(&err, EXIT_BAD_ARGS);
    }
    if (leftover_begin(&restore.leftover, &err) < 0)
        return complain(&err, EXIT_ERROR);
    rc = snapshot_restore(&restore, &err);
    leftover_end(restore.leftover);
    if (rc < 0)
        return complain(&err, EXIT_ERROR);
    (void)fprintf(stderr, "restored %s into %s, member \"%s\"\n", restore.path, restore.data_dir,
                  restore.name);
    return EXIT_OK;
}
