/*
 * cmd_save.c - `save FILE`: Maintenance.Snapshot of one server into FILE. It is a client: the
 * flags and ETCDCTL_ variables are etcdctl's. Progress goes to standard error, redrawn in place on
 * a terminal only.
 */
#include "common/base/duration.h"
#include "common/client/snapshot_fetch.h"
#include "common/client/print.h"
#include "common/client/transport.h"
#include "etcd-snap/commands.h"

#include <stdio.h>
#include <unistd.h>

#define PROGRESS_STEP_BYTES (4 * MIB) /* how often the line on a terminal changes */

struct progress {
    bool terminal;
    uint64_t shown; /* bytes at the last line */
};

static void show_progress(void *arg, uint64_t received, uint64_t remaining)
{
    struct progress *progress = arg;
    char done[PRINT_SIZE_MAX], all[PRINT_SIZE_MAX];

    if (!progress->terminal || (remaining != 0 && received - progress->shown < PROGRESS_STEP_BYTES))
        return;
    progress->shown = received;
    print_size_text(received, done);
    print_size_text(received + remaining, all);
    (void)fprintf(stderr, "\rreceived %s of %s\033[K%s", done, all, remaining == 0 ? "\n" : "");
}

static const char *text_or_null(const struct args *args, enum option option)
{
    return *args->values[option] != '\0' ? args->values[option] : NULL;
}

static int64_t milliseconds(const struct args *args, enum option option)
{
    int64_t ns = 0;

    must(duration_parse(args->values[option], &ns)); /* checked by args_parse() */
    return ns / NS_PER_MS;
}

/* --cacert= and the like: a file name was meant. */
static int check_empty(const struct args *args, struct err *err)
{
    static const enum option files[] = {OPT_CACERT, OPT_CERT, OPT_KEY};

    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        if (args->given[files[i]] && *args->values[files[i]] == '\0') {
            err_set(err, ERR_USAGE, "empty string is passed to --%s option; name a PEM file",
                    option_rows[files[i]].name);
            return -1;
        }
    }
    return 0;
}

/* NAME:PASSWORD, unless --password is given: then a colon is part of the name. */
static void split_user(const struct args *args, struct client_options *options, char **name)
{
    const char *user = text_or_null(args, OPT_USER), *colon;

    options->user = user;
    options->password = text_or_null(args, OPT_PASSWORD);
    colon = user != NULL && options->password == NULL ? strchr(user, ':') : NULL;
    if (colon == NULL)
        return;
    *name = xstrndup(user, (size_t)(colon - user));
    options->user = *name;
    options->password = colon + 1;
}

static int connect_client(const struct args *args, struct client **client)
{
    struct client_options options = {
        .transport = &transport_direct,
        .endpoints = args->values[OPT_ENDPOINTS],
        .cacert = text_or_null(args, OPT_CACERT),
        .cert = text_or_null(args, OPT_CERT),
        .key = text_or_null(args, OPT_KEY),
        .tls = !args_bool(args, OPT_INSECURE_TRANSPORT),
        .skip_verify = args_bool(args, OPT_INSECURE_SKIP_TLS_VERIFY),
        .dial_timeout_ms = milliseconds(args, OPT_DIAL_TIMEOUT),
        .command_timeout_ms = milliseconds(args, OPT_COMMAND_TIMEOUT),
    };
    struct client_failure failure = {0};
    struct err err = ERR_INIT;
    char *name = NULL;
    int rc = -1;

    if (check_empty(args, &err) == 0) {
        split_user(args, &options, &name);
        rc = client_new(&options, client, &failure, &err);
    }
    free(name);
    if (rc == 0)
        return EXIT_OK;
    (void)complain(&err, 0);
    if (failure.hint[0] != '\0')
        (void)fprintf(stderr, "%s\n", failure.hint);
    return failure.kind == CLIENT_FAILURE_ENDPOINT || failure.kind == CLIENT_FAILURE_LOGIN
               ? EXIT_NO_CLIENT
               : EXIT_BAD_ARGS;
}

int cmd_save(const struct args *args, const char *const *arguments)
{
    struct progress progress = {.terminal = isatty(STDERR_FILENO) == 1};
    char version[SNAPSHOT_VERSION_MAX] = "";
    struct client *client = NULL;
    struct err err = ERR_INIT;
    struct leftover *leftover = NULL;
    int format, status, rc;

    if (!wanted_format(args, &format))
        return EXIT_BAD_FORMAT;
    status = connect_client(args, &client);
    if (status != EXIT_OK)
        return status;
    rc = leftover_begin(&leftover, &err);
    if (rc == 0)
        rc =
            snapshot_fetch(client, arguments[0], leftover, show_progress, &progress, version, &err);
    leftover_end(leftover);
    if (rc < 0) {
        const struct client_failure *failure = client_failure(client);

        (void)complain(&err, 0);
        if (failure->kind != CLIENT_FAILURE_NONE && failure->hint[0] != '\0')
            (void)fprintf(stderr, "%s\n", failure->hint);
        status = EXIT_SAVE_FAILED; /* whatever it was, also a password */
    } else {
        (void)printf("Snapshot saved at %s\n", arguments[0]);
        if (version[0] != '\0')
            (void)printf("Server version %s\n", version);
    }
    client_free(client);
    return status;
}
