/*
 * cmd_watch.c - watch: its arguments, and the lines of `watch -i` (cli.md 2.6).
 *
 *   [flags] KEY [RANGE_END] [-- COMMAND ARG...]       one watch, until it ends
 *   -i: a line each, `watch ...` or `progress`        a thread and a connection for each watch
 */
#include "common/base/limits.h"
#include "common/schema/pbbytes.h"
#include "etcd-ctl/ctl.h"
#include "etcd-ctl/txn_parse.h"
#include "etcd-ctl/watch_follow.h"

#include <pthread.h>
#include <stdio.h>

#define WATCH_LINE_MAX (64UL * KIB)

#define KEY_VARIABLE "ETCDCTL_WATCH_KEY"
#define END_VARIABLE "ETCDCTL_WATCH_RANGE_END"

/* An empty variable counts as unset. */
static const char *variable(const char *name)
{
    const char *text = getenv(name);

    return text != NULL && text[0] != '\0' ? text : NULL;
}

/*
 * Key and end, from words or variables; `words` is how many stand before the "--". *line_only: it
 * is this line of -i that is wrong, and the next may be right.
 */
static int choose_keys(const struct args *args, size_t words, const char **key, const char **end,
                       bool *line_only)
{
    const char *env_key = variable(KEY_VARIABLE), *env_end = variable(END_VARIABLE);

    if (env_key == NULL && env_end != NULL)
        return ctl_bad_args(KEY_VARIABLE " is empty but got " END_VARIABLE "=\"%s\"", env_end);
    if (env_key != NULL && words > 0)
        return ctl_bad_args("bad number of arguments (found conflicting environment key): unset "
                            "%s or leave the key out",
                            KEY_VARIABLE);
    *line_only = words != 0 || args->has_dash;
    if (env_key == NULL && (words == 0 || words > 2))
        return ctl_bad_args("bad number of arguments: watch takes KEY [RANGE_END] [-- COMMAND "
                            "ARG...]; quote a key that has blanks in it");
    *key = env_key != NULL ? env_key : args->words[0];
    *end = env_key != NULL ? env_end : words == 2 ? args->words[1] : NULL;
    return CTL_OK;
}

/* What the arguments order, in the arena of `ctl`; see choose_keys(). */
static int read_order(struct ctl *ctl, const struct args *args, struct watch_order *order,
                      bool *line_only)
{
    size_t words = args->dash_at, count = args->word_count - words;
    const char *key = "", *end = NULL;
    int code;

    *line_only = false;
    if (args->has_dash && count == 0)
        return ctl_bad_args("bad number of arguments (found separator --, but no commands)");
    code = choose_keys(args, words, &key, &end, line_only);
    if (code != CTL_OK)
        return code;
    if (args_bool(args, "prefix") && end != NULL)
        return ctl_bad_args("`range_end` and `--prefix` are mutually exclusive");
    *order = (struct watch_order){.key = pb_text(key),
                                  .range_end = pb_text(end != NULL ? end : ""),
                                  .revision = args_number(args, "rev"),
                                  .require_leader = true,
                                  .prev_kv = args_bool(args, "prev-kv"),
                                  .progress_notify = args_bool(args, "progress-notify")};
    if (key[0] == '\0') /* every key begins with nothing */
        order->key = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t) "", .len = 1};
    if (args_bool(args, "prefix"))
        order->range_end = key[0] == '\0' ? order->key : kv_prefix_end(ctl, order->key);
    if (count != 0) {
        const char **command = arena_zalloc(&ctl->arena, (count + 1) * sizeof(*command));

        must(command != NULL); /* the arguments of a process are few */
        memcpy(command, args->words + words, count * sizeof(*command));
        order->command = command;
    }
    return CTL_OK;
}

/* ---- interactive ---- */

/* One of the watches of -i; lives until the program ends. */
struct background {
    struct background *next; /* begun after it */
    struct ctl ctl;          /* a client of its own */
    struct watch_order order;
    struct watch_follow follow;
    pthread_t thread;
};

struct session {
    struct ctl *ctl;
    const struct args *args;
    struct background *newest, *oldest;
};

static void *run_watch(void *arg)
{
    struct background *background = arg;

    (void)watch_follow(&background->follow); /* said already; the others go on */
    return NULL;
}

static int start_background(struct session *session, struct background *background)
{
    struct err err = ERR_INIT;

    if (client_clone_all(session->ctl->client, 0, &background->ctl.client, &err) < 0)
        return ctl_fail(CTL_FAILED, "%s", err.text);
    background->follow =
        (struct watch_follow){.ctl = &background->ctl, .order = &background->order};
    if (pthread_create(&background->thread, NULL, run_watch, background) != 0)
        return ctl_fail(CTL_FAILED, "no thread for one more watch: end some");
    (void)pthread_detach(background->thread); /* ends with the program */
    if (session->newest != NULL)
        session->newest->next = background;
    else
        session->oldest = background;
    session->newest = background;
    (void)watch_follow_began(&background->follow); /* as etcdctl: the next line is read then */
    return CTL_OK;
}

static int line_watch(struct session *session, struct slice line, size_t count,
                      const char *const *words)
{
    struct background *background = xalloc(sizeof(*background));
    struct err err = ERR_INIT;
    bool line_only = false;
    struct args args;
    int code;

    background->ctl = *session->ctl;
    background->ctl.out = BUF_INIT(BUF_UNLIMITED);
    arena_init(&background->ctl.arena, CLIENT_RESPONSE_MAX);
    if (!args_parse_command(session->args->command, count, words, &args, &err))
        code = ctl_bad_args("%s", err.text);
    else
        code = read_order(&background->ctl, &args, &background->order, &line_only);
    if (code == CTL_OK)
        code = start_background(session, background);
    args_free(&args); /* what the order borrows lies in the arenas, not here */
    if (code != CTL_OK) {
        arena_free(&background->ctl.arena);
        free(background);
    }
    if (code != CTL_BAD_ARGS || !line_only)
        return code;
    (void)fprintf(stderr, "Invalid command %.*s (the line is skipped)\n", (int)MIN(line.size, 200),
                  (const char *)line.data);
    return CTL_OK;
}

static void line_progress(const struct session *session)
{
    for (struct background *at = session->oldest; at != NULL; at = at->next)
        watch_follow_progress(&at->follow, session->ctl);
}

/* Anything but CTL_OK ends the program. */
static int take_line(struct session *session, struct slice line)
{
    const char *words[TXN_WORDS_MAX];
    struct err err = ERR_INIT;
    size_t count = 0;

    while (line.size > 0 && (line.data[line.size - 1] == '\n' || line.data[line.size - 1] == '\r'))
        line.size--;
    if (txn_parse_words(line, &session->ctl->arena, words, &count, &err) < 0) {
        (void)fprintf(stderr, "Invalid command %.*s (%s)\n", (int)MIN(line.size, 200),
                      (const char *)line.data, err.text);
        return CTL_OK;
    }
    if (count == 0)
        return CTL_OK;
    if (strcmp(words[0], "progress") == 0 && count == 1) {
        line_progress(session);
    } else if (strcmp(words[0], "watch") != 0) {
        (void)fprintf(stderr, "Invalid command %.*s (only support watch)\n",
                      (int)MIN(line.size, 200), (const char *)line.data);
    } else if (count == 1 && variable(KEY_VARIABLE) == NULL) {
        (void)fprintf(stderr, "Invalid command %s (command type or key is not provided)\n",
                      words[0]);
    } else {
        return line_watch(session, line, count - 1, words + 1);
    }
    return CTL_OK;
}

static int interactive(struct ctl *ctl, const struct args *args)
{
    struct session session = {.ctl = ctl, .args = args};
    struct err err = ERR_INIT;
    int code = CTL_OK;
    char *line;

    if (client_log_in(ctl->client, &err) < 0) /* before a line is read, as etcdctl */
        return ctl_fail_err(ctl, CTL_NO_CLIENT, &err);
    line = xalloc(WATCH_LINE_MAX);
    while (code == CTL_OK && fgets(line, (int)WATCH_LINE_MAX, stdin) != NULL)
        code = take_line(&session, slice_text(line));
    free(line);
    if (code != CTL_OK)
        exit(code); /* other watches are still running: nothing of theirs is freed */
    exit(ctl_fail(CTL_BAD_INPUT, "error reading watch request line: EOF"));
}

int cmd_watch(struct ctl *ctl, const struct args *args)
{
    struct watch_follow follow = {.next = 0};
    struct watch_order order;
    bool line_only;
    int code;

    if (args_bool(args, "interactive"))
        return interactive(ctl, args);
    code = read_order(ctl, args, &order, &line_only);
    if (code != CTL_OK)
        return code;
    if (ctl->format == PRINT_TABLE)
        return ctl_refuse_format(ctl);
    follow.ctl = ctl;
    follow.order = &order;
    return watch_follow(&follow);
}
