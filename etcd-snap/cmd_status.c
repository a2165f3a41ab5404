/* cmd_status.c - `status FILE` and `hashkv FILE`: look into a file, change nothing. */
#include "common/client/snapshot_print.h"
#include "common/storage/snapshot_open.h"
#include "etcd-snap/commands.h"

#include <stdio.h>

#define OUTPUT_MAX (64 * KIB) /* one status in any format is far smaller */

bool wanted_format(const struct args *args, int *format)
{
    enum print_format parsed;

    if (!print_format_parse(args->values[OPT_WRITE_OUT], &parsed)) {
        (void)fprintf(
            stderr, "Error: unsupported output format \"%s\"; use simple, json, fields or table\n",
            args->values[OPT_WRITE_OUT]);
        return false;
    }
    if (parsed == PRINT_PROTOBUF) {
        (void)fputs("Error: protobuf not supported as output format\n", stderr);
        return false;
    }
    *format = (int)parsed;
    return true;
}

static void print_finding(void *arg, const char *text)
{
    (void)arg;
    (void)fprintf(stderr, "%s\n", text);
}

static int print_result(struct buf *out, struct err *err)
{
    int rc = print_out(out, err);

    buf_free(out);
    return rc == 0 ? EXIT_OK : complain(err, EXIT_ERROR);
}

int cmd_status(const struct args *args, const char *const *arguments)
{
    struct snapshot_status status;
    struct buf out = BUF_INIT(OUTPUT_MAX);
    struct err err = ERR_INIT;
    int format;

    if (!wanted_format(args, &format))
        return EXIT_BAD_FORMAT;
    if (snapshot_status(arguments[0], &status, print_finding, NULL, &err) < 0)
        return complain(&err, EXIT_ERROR);
    if (status.file_hash == SNAPSHOT_HASH_BAD)
        (void)fprintf(stderr,
                      "Warning: %s: the SHA-256 at its end does not match its content, so the file "
                      "was changed after it was saved and `restore` will refuse it\n",
                      arguments[0]);
    must(snapshot_print_status(&out, (enum print_format)format, &status));
    return print_result(&out, &err);
}

int cmd_hashkv(const struct args *args, const char *const *arguments)
{
    struct snapshot_hashkv hash;
    struct bolt *bolt = NULL;
    struct buf out = BUF_INIT(OUTPUT_MAX);
    struct err err = ERR_INIT;
    uint64_t revision = args_number(args, OPT_REV);
    int format, rc;

    if (!wanted_format(args, &format))
        return EXIT_BAD_FORMAT;
    if (snapshot_open(arguments[0], &bolt, &err) < 0)
        return complain(&err, EXIT_ERROR);
    rc = snapshot_hashkv(bolt, (int64_t)MIN(revision, (uint64_t)INT64_MAX), &hash, &err);
    bolt_close(bolt);
    if (rc < 0)
        return complain(&err, EXIT_ERROR);
    must(snapshot_print_hashkv(&out, (enum print_format)format, &hash));
    return print_result(&out, &err);
}
