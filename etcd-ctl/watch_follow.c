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
static pthread_cond_t began_or_ended = PTHREAD_COND_INITIALIZER;

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
static void show_json(struct ctl *ctl, const Etcdserverpb__WatchResponse *response, bool refused)
{
    struct buf *out = &ctl->out;

    buf_append_text(out, "{\"Header\":");
    if (response->header != NULL)
        must(pbjson_write(&response->header->base, PBJSON_CTL, out));
    else
        buf_append_text(out, "{}");
    buf_append_text(out, refused ? ",\"Events\":null" : ",\"Events\":[");
    for (size_t i = 0; i < response->n_events; i++) {
        if (i != 0)
            buf_append_byte(out, ',');
        must(pbjson_write(&response->events[i]->base, PBJSON_CTL, out));
    }
    buf_printf(out, "%s,\"CompactRevision\":%" PRId64 ",\"Canceled\":%s,\"Created\":%s}\n",
               refused ? "" : "]", response->compact_revision,
               response->canceled ? "true" : "false", response->created ? "true" : "false");
}

/* What etcdctl's client makes of a watch that never came to be, whatever the server says. */
static void set_refused(Etcdserverpb__WatchResponse *response,
                        Etcdserverpb__ResponseHeader *no_header)
{
    etcdserverpb__response_header__init(no_header);
    etcdserverpb__watch_response__init(response);
    response->header = no_header;
    response->canceled = true;
}

static void show(struct ctl *ctl, const Etcdserverpb__WatchResponse *shown)
{
    bool refused = shown->canceled && (shown->created || shown->header == NULL);
    Etcdserverpb__WatchResponse response = *shown;
    Etcdserverpb__ResponseHeader no_header;

    if (refused)
        set_refused(&response, &no_header);
    switch (ctl->format) {
    case PRINT_JSON:
        show_json(ctl, &response, refused);
        break;
    case PRINT_FIELDS:
        show_event_fields(ctl, &response);
        break;
    case PRINT_SIMPLE:
        show_events(ctl, &response);
        break;
    case PRINT_PROTOBUF:
        (void)ctl_show(ctl, &response.base, NULL, NULL); /* takes every message */
        break;
    case PRINT_TABLE: /* of -i alone: else refused before */
        ctl_flush(ctl);
        exit(ctl_refuse_format(ctl));
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

/* ---- progress ---- */

/* Everything up to the revision in `header` was shown. */
static void show_progress(struct ctl *ctl, const Etcdserverpb__ResponseHeader *header)
{
    Etcdserverpb__WatchResponse response = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader copy = *header;

    response.header = &copy;
    buf_printf(&ctl->out, "progress notify: %" PRId64 "\n", header->revision);
    show(ctl, &response);
    ctl_flush(ctl);
}

/* The request of who asks for progress, in another thread: below output_lock. */
static void answer_progress(struct watch_follow *follow)
{
    if (!follow->asked || follow->next <= follow->asked_after)
        return;
    follow->asked = false;
    show_progress(follow->ctl, &follow->asked_header);
}

/* The newest revision of a key in the range, 0 = none is there; and what is current. */
static bool find_newest(struct ctl *asker, const struct watch_order *order, int64_t *newest,
                        Etcdserverpb__ResponseHeader *header)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    const Etcdserverpb__RangeResponse *range;
    ProtobufCMessage *response = NULL;

    request.key = order->key;
    request.range_end = order->range_end;
    request.keys_only = true;
    request.limit = 1;
    request.sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__MOD;
    request.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
    if (ctl_call(asker, RPC_KV_Range, &request.base, &response, CTL_FAILED) != CTL_OK)
        return false;
    range = (const Etcdserverpb__RangeResponse *)response;
    if (range->header == NULL)
        return false;
    *header = *range->header;
    *newest = range->n_kvs != 0 ? range->kvs[0]->mod_revision : 0;
    return true;
}

void watch_follow_progress(struct watch_follow *follow, struct ctl *asker)
{
    Etcdserverpb__ResponseHeader header;
    int64_t newest;

    if (!watch_follow_began(follow) || !find_newest(asker, follow->order, &newest, &header))
        return;
    (void)pthread_mutex_lock(&output_lock);
    follow->asked = !follow->ended;
    follow->asked_after = newest;
    follow->asked_header = header;
    answer_progress(follow);
    (void)pthread_mutex_unlock(&output_lock);
}

bool watch_follow_began(struct watch_follow *follow)
{
    bool there;

    (void)pthread_mutex_lock(&output_lock);
    while (!follow->began && !follow->ended)
        (void)pthread_cond_wait(&began_or_ended, &output_lock);
    there = !follow->ended;
    (void)pthread_mutex_unlock(&output_lock);
    return there;
}

/* ---- a watch ---- */

static void note_next(struct watch_follow *follow, const Etcdserverpb__WatchResponse *response)
{
    int64_t revision = response->header != NULL ? response->header->revision : 0;

    if (response->created && follow->next == 0)
        follow->next = revision + 1;
    if (!response->created && !response->canceled && response->n_events == 0)
        follow->next = MAX(follow->next, revision + 1);
    for (size_t i = 0; i < response->n_events; i++)
        if (response->events[i]->kv != NULL)
            follow->next = MAX(follow->next, response->events[i]->kv->mod_revision + 1);
}

/* What watch_stream() hands on. */
static int take(void *arg, const Etcdserverpb__WatchResponse *response, struct err *err)
{
    struct watch_follow *follow = arg;
    struct ctl *ctl = follow->ctl;
    bool created = response->created && !response->canceled;

    (void)err;
    (void)pthread_mutex_lock(&output_lock);
    if (created) {
        follow->began = true;
        (void)pthread_cond_broadcast(&began_or_ended);
    }
    note_next(follow, response);
    if (response->canceled)
        (void)fprintf(stderr, "watch was canceled (%s)\n", reason_of(response));
    if (!created && !response->canceled && response->n_events == 0 && response->header != NULL)
        show_progress(ctl, response->header);
    else if (!created)
        show(ctl, response);
    ctl_flush(ctl);
    run_commands(ctl, follow->order, response);
    answer_progress(follow);
    (void)pthread_mutex_unlock(&output_lock);
    return 0;
}

int watch_follow(struct watch_follow *follow)
{
    struct ctl *ctl = follow->ctl;
    struct err err = ERR_INIT;
    int rc;

    follow->next = MAX(follow->order->revision, 0);
    rc = watch_stream(ctl->client, follow->order, take, follow, &err);

    (void)pthread_mutex_lock(&output_lock);
    follow->ended = true;
    (void)pthread_cond_broadcast(&began_or_ended);
    (void)pthread_mutex_unlock(&output_lock);
    if (rc < 0)
        return ctl_fail_err(ctl, CTL_FAILED, &err);
    return ctl_fail(CTL_CANCELLED, "watch is canceled by the server");
}
