/* cmd_snapshot.c - snapshot save, status and restore; the work is that of etcd-snap. */
#include "common/base/limits.h"
#include "common/client/snapshot_fetch.h"
#include "common/client/snapshot_print.h"
#include "common/storage/snapshot_restore.h"
#include "etcd-ctl/ctl.h"

#include <stdio.h>
#include <unistd.h>

#define PROGRESS_STEP_BYTES (16UL * MIB) /* a line on a terminal per so many bytes */

static void tell_progress(void *arg, uint64_t received, uint64_t remaining)
{
    uint64_t *told = arg;
    char have[PRINT_SIZE_MAX], all[PRINT_SIZE_MAX];

    if (received - *told < PROGRESS_STEP_BYTES)
        return;
    *told = received;
    print_size_text(received, have);
    print_size_text(received + remaining, all);
    (void)fprintf(stderr, "received %s of %s\n", have, all);
}

int cmd_snapshot_save(struct ctl *ctl, const struct args *args)
{
    const struct flag_value *limit = args_value(args, "command-timeout");
    char version[SNAPSHOT_VERSION_MAX] = "";
    struct err err = ERR_INIT;
    struct leftover *leftover = NULL;
    uint64_t told = 0;
    int rc;

    if (args->word_count != 1)
        return ctl_bad_args("snapshot save expects one argument");
    if (!limit->given)
        client_set_timeout(ctl->client, 0);
    else if (limit->number < NS_PER_MS)
        return ctl_fail(CTL_CANCELLED, "context deadline exceeded: --command-timeout=%s is no time",
                        limit->text);
    (void)fprintf(stderr, "saving a snapshot of %s to %s\n", client_endpoint(ctl->client, 0),
                  args->words[0]);
    rc = leftover_begin(&leftover, &err);
    if (rc == 0)
        rc = snapshot_fetch(ctl->client, args->words[0], leftover, tell_progress, &told, version,
                            &err);
    leftover_end(leftover);
    if (rc < 0) {
        (void)ctl_fail_err(ctl, CTL_CANCELLED, &err);
        return CTL_CANCELLED; /* whatever it was, also a password */
    }
    buf_printf(&ctl->out, "Snapshot saved at %s\n", args->words[0]);
    if (version[0] != '\0')
        buf_printf(&ctl->out, "Server version %s\n", version);
    return CTL_OK;
}

static void tell_finding(void *arg, const char *text)
{
    (void)arg;
    (void)fprintf(stderr, "%s\n", text);
}

int cmd_snapshot_status(struct ctl *ctl, const struct args *args)
{
    struct snapshot_status status;
    struct err err = ERR_INIT;

    if (args->word_count != 1)
        return ctl_bad_args("snapshot status requires exactly one argument");
    if (ctl->format == PRINT_PROTOBUF)
        return ctl_refuse_format(ctl);
    if (snapshot_status(args->words[0], &status, tell_finding, NULL, &err) < 0)
        return ctl_fail(CTL_FAILED, "%s", err.text);
    if (status.file_hash == SNAPSHOT_HASH_BAD)
        (void)fprintf(stderr,
                      "warning: the SHA-256 at the end of %s does not match its content: it was "
                      "changed after it was saved, and restore will refuse it\n",
                      args->words[0]);
    must(snapshot_print_status(&ctl->out, ctl->format, &status));
    return CTL_OK;
}

static const char *given(const struct args *args, const char *name)
{
    return args_value(args, name)->given ? args_text(args, name) : NULL;
}

int cmd_snapshot_restore(struct ctl *ctl, const struct args *args)
{
    int64_t bump = args_number(args, "bump-revision");
    struct snapshot_restore restore = {
        .data_dir = given(args, "data-dir"),
        .wal_dir = given(args, "wal-dir"),
        .name = args_text(args, "name"),
        .initial_cluster = args_text(args, "initial-cluster"),
        .initial_cluster_token = args_text(args, "initial-cluster-token"),
        .peer_urls = args_text(args, "initial-advertise-peer-urls"),
        .skip_hash_check = args_bool(args, "skip-hash-check"),
        .mark_compacted = args_bool(args, "mark-compacted"),
    };
    struct err err = ERR_INIT;
    int rc;

    (void)ctl;
    if (args->word_count != 1)
        return ctl_bad_args("snapshot restore requires exactly one argument");
    if (bump < 0)
        return ctl_bad_args("--bump-revision=%" PRId64 " is negative", bump);
    if ((bump > 0) != restore.mark_compacted)
        return ctl_bad_args("--bump-revision and --mark-compacted required together");
    restore.path = args->words[0];
    restore.bump_revision = (uint64_t)bump;
    rc = leftover_begin(&restore.leftover, &err);
    if (rc == 0)
        rc = snapshot_restore(&restore, &err);
    leftover_end(restore.leftover);
    if (rc < 0)
        return ctl_fail(CTL_FAILED, "%s", err.text);
    return CTL_OK;
}
