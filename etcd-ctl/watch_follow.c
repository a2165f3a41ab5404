/*
 * watch_follow.c - see watch_follow.h.
 *
 *   watch_stream() -> take(): a message -> show() -> standard output -> a command for each event
 *
 * The watches of `watch -i` are threads; output_lock makes one message, with the output of its
 * commands, come out whole.
 */
#include "etcd-ctl/watch_follow.h"

#include "common/base/limits.h"
#include "common/schema/pbbytes.h"
#include "common/schema/pbjson.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define QUOTED_MAX (8 * MIB) /* of an event's value in the command's environment */

static pthread_mutex_t output_lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- output ---- */

static const char *type_name(const Mvccpb__Event *event)
{
    return event->type == MVCCPB__EVENT__EVENT_TYPE__DELETE ? "DELETE" : "PUT";
}

static void show_events(struct ctl *ctl, const Etcdserverpb__WatchResponse *response)
{
    for (size_t i = 0; i < response->n_events; i++) {
        const Mvccpb__Event *event = response->events[i];

        buf_printf(&ctl->out, "%s\n", type_name(event));
        if (event->prev_kv != NULL)
            show_kv(ctl, event->prev_kv, false);
        if (event->kv != NULL)
            show_kv(ctl, event->kv, false);
    }
}

static void show_event_fields(struct ctl *ctl, const Etcdserverpb__WatchResponse *response)
{
    show_header(&ctl->out, response->header);
    for (size_t i = 0; i < response->n_events; i++) {
        const Mvccpb__Event *event = response->events[i];

        buf_printf(&ctl->out, "\"Type\" : %s\n", type_name(event));
        if (event->prev_kv != NULL)
            show_kv_fields(&ctl->out, "Prev", event->prev_kv);
        if (event->kv != NULL)
            show_kv_fields(&ctl->out, "", event->kv);
    }
}

/* Not the message of the API but etcdctl's own struct of it. */
static void show_json(struct ctl *ctl, const Etcdserverpb__WatchResponse *response)
{
    struct buf *out = &ctl->out;

    buf_append_text(out, "{\"Header\":");
    if (response->header != NULL)
        must(pbjson_write(&response->header->base, PBJSON_CTL, out));
    else
        buf_append_text(out, "{}");
    buf_append_text(out, ",\"Events\":[");
    for (size_t i = 0; i < response->n_events; i++) {
        if (i != 0)
            buf_append_byte(out, ',');
        must(pbjson_write(&response->events[i]->base, PBJSON_CTL, out));
    }
    buf_printf(out, "],\"CompactRevision\":%" PRId64 ",\"Canceled\":%s,\"Created\":%s}\n",
               response->compact_revision, response->canceled ? "true" : "false",
               response->created ? "true" : "false");
}

static void show(struct ctl *ctl, const Etcdserverpb__WatchResponse *response)
{
    switch (ctl->format) {
    case PRINT_JSON:
        show_json(ctl, response);
        break;
    case PRINT_FIELDS:
        show_event_fields(ctl, response);
        break;
    case PRINT_SIMPLE:
        show_events(ctl, response);
        break;
    case PRINT_PROTOBUF:
        (void)ctl_show(ctl, &response->base, NULL, NULL); /* takes every message */
        break;
    case PRINT_TABLE:
        break; /* refused before */
    }
}

/* ---- the command ---- */

static void set_quoted(const char *name, struct slice value)
{
    struct buf text = BUF_INIT(QUOTED_MAX);

    print_quoted(&text, value);
    if (text.overflow)
        buf_reset(&text);
    (void)setenv(name, buf_text(&text), 1); /* fails for want of memory alone: execvp() tells */
    buf_free(&text);
}

/* Its standard input is empty, as in etcdctl: that of watch -i has the lines of other watches. */
static void close_input(void)
{
    int nothing = open("/dev/null", O_RDONLY);

    if (nothing > STDIN_FILENO) {
        (void)dup2(nothing, STDIN_FILENO);
        (void)close(nothing);
    } else if (nothing < 0) {
        (void)close(STDIN_FILENO);
    }
}

static void become_command(const char *const *command, const Mvccpb__Event *event, int report)
{
    char revision[32];
    int cause;

    (void)snprintf(revision, sizeof(revision), "%" PRId64, event->kv->mod_revision); /* fits */
    (void)setenv("ETCD_WATCH_REVISION", revision, 1);
    set_quoted("ETCD_WATCH_EVENT_TYPE", slice_text(type_name(event)));
    set_quoted("ETCD_WATCH_KEY", pb_slice(event->kv->key));
    set_quoted("ETCD_WATCH_VALUE", pb_slice(event->kv->value));
    close_input();
    (void)execvp(command[0], (char *const *)(uintptr_t)command);
    cause = errno;
    if (write(report, &cause, sizeof(cause)) != sizeof(cause))
        _exit(126);
    _exit(127);
}

static void tell_command(const char *const *command)
{
    (void)fputs("command [", stderr);
    for (size_t i = 0; command[i] != NULL; i++)
        (void)fprintf(stderr, "%s\"%s\"", i != 0 ? " " : "", command[i]);
    (void)fputs("] error (", stderr);
}

/* False when it could not be run or failed; the cause is told. */
static bool run_command(const char *const *command, const Mvccpb__Event *event)
{
    int report[2], status = 0, cause = 0;
    ssize_t got;
    pid_t child;

    if (pipe2(report, O_CLOEXEC) < 0 || (child = fork()) < 0) {
        tell_command(command);
        (void)fprintf(stderr, "%s)\n", strerror(errno));
        return false;
    }
    if (child == 0)
        become_command(command, event, report[1]);
    (void)close(report[1]);
    do
        got = read(report[0], &cause, sizeof(cause)); /* the end, when the command began */
    while (got < 0 && errno == EINTR);
    (void)close(report[0]);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (got <= 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    tell_command(command);
    if (got > 0)
        (void)fprintf(stderr, "%s: %s)\n", command[0], strerror(cause));
    else if (WIFEXITED(status))
        (void)fprintf(stderr, "exit status %d)\n", WEXITSTATUS(status));
    else
        (void)fprintf(stderr, "signal %d)\n", WTERMSIG(status));
    return false;
}

static void run_commands(struct ctl *ctl, const struct watch_order *order,
                         const Etcdserverpb__WatchResponse *response)
{
    for (size_t i = 0; i < response->n_events && order->command != NULL; i++) {
        if (response->events[i]->kv == NULL || run_command(order->command, response->events[i]))
            continue;
        ctl_flush(ctl);
        exit(CTL_FAILED); /* also ends the other watches of -i, as etcdctl does */
    }
}

/* ---- messages ---- */

static const char *reason_of(const Etcdserverpb__WatchResponse *response)
{
    if (response->compact_revision != 0)
        return err_text(ERR_COMPACTED);
    return response->cancel_reason[0] != '\0' ? response->cancel_reason
                                              : "etcdserver: mvcc: the watch was ended";
}

/* What watch_stream() hands on. */
struct follow {
    struct ctl *ctl;
    const struct watch_order *order;
};

static int take(void *arg, const Etcdserverpb__WatchResponse *response, struct err *err)
{
    struct follow *follow = arg;
    struct ctl *ctl = follow->ctl;
    int64_t revision = response->header != NULL ? response->header->revision : 0;

    (void)err;
    (void)pthread_mutex_lock(&output_lock);
    if (response->canceled)
        (void)fprintf(stderr, "watch was canceled (%s)\n", reason_of(response));
    else if (response->n_events == 0)
        buf_printf(&ctl->out, "progress notify: %" PRId64 "\n", revision);
    show(ctl, response);
    ctl_flush(ctl);
    run_commands(ctl, follow->order, response);
    (void)pthread_mutex_unlock(&output_lock);
    return 0;
}

int watch_follow(struct ctl *ctl, const struct watch_order *order)
{
    struct follow follow = {.ctl = ctl, .order = order};
    struct err err = ERR_INIT;

    if (watch_stream(ctl->client, order, take, &follow, &err) < 0)
        return ctl_fail_err(ctl, CTL_FAILED, &err);
    return ctl_fail(CTL_CANCELLED, "watch is canceled by the server");
}
