/*
 * main.c - etcd-server: read the settings, run the member, end as etcd does (cli.md 1.5, 1.10):
 * 0 help and version, 1 cannot start or had to stop, 2 flag syntax, else killed by the signal that
 * stopped it. As PID 1, which a signal of its own cannot kill, 0 after that, or 128 and the
 * signal's number when it came before the server was up.
 */
#include "common/base/limits.h"
#include "etcd-server/server.h"
#include "common/base/log_output.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define TEXT_MAX_BYTES (1UL * MIB)

static void print(FILE *stream, struct buf *text)
{
    /* nobody to tell if it fails */
    (void)fwrite(text->data + text->start, 1, buf_used(text), stream);
}

static int show(enum config_action action)
{
    struct buf usage = BUF_INIT(TEXT_MAX_BYTES), text = BUF_INIT(TEXT_MAX_BYTES);

    if (action == CONFIG_VERSION) {
        config_version(&text);
    } else {
        config_usage(&usage);
        config_help(&text);
    }
    print(stderr, &usage);
    print(stdout, &text);
    buf_free(&usage);
    buf_free(&text);
    return fflush(stdout) == 0 ? 0 : 1;
}

/* What the user should know about the settings, a warning per line. */
static void log_notes(struct buf *notes)
{
    char *text = xstrdup(buf_text(notes)), *line, *rest = text;

    while ((line = strsep(&rest, "\n")) != NULL)
        if (line[0] != '\0')
            log_warn(line);
    free(text);
}

/* Does `word` give a secret: --NAME=it (or, *next: --NAME and it follows)? `shown` of it is not. */
static bool is_secret(const char *word, size_t *shown, bool *next)
{
    static const char *const names[] = {"discovery", "discovery-token", "discovery-user",
                                        "discovery-password"};
    const char *name = word + (word[0] == '-') + (word[0] == '-' && word[1] == '-');
    size_t length = strcspn(name, "=");

    *next = false;
    for (size_t i = 0; name != word && i < ARRAY_LEN(names); i++) {
        if (strlen(names[i]) != length || strncmp(names[i], name, length) != 0)
            continue;
        *shown = (size_t)(name - word) + length + 1;
        *next = name[length] == '\0';
        return !*next;
    }
    return false;
}

/* The command line, with secrets left out. */
static void log_running(int argc, char **argv)
{
    struct buf text = BUF_INIT(TEXT_MAX_BYTES);
    bool hidden = false, next = false;
    size_t shown = 0;

    for (int i = 0; i < argc; i++, hidden = next) {
        next = false;
        if (hidden)
            buf_append_text(&text, " ***");
        else if (is_secret(argv[i], &shown, &next))
            buf_printf(&text, " %.*s***", (int)shown, argv[i]);
        else
            buf_printf(&text, "%s%s", i != 0 ? " " : "", argv[i]);
    }
    log_info("Running: ", log_str("args", buf_text(&text)));
    buf_free(&text);
}

static bool has_stderr(const struct log_outputs *outputs)
{
    for (size_t i = 0; i < outputs->count; i++)
        if (outputs->fds[i] == STDERR_FILENO)
            return true;
    return false;
}

/* The log says what is wrong with the settings, where it can be opened, as etcd's does. Who stands
 * before a terminal is told in any case. */
static void refuse(const struct config *config, int argc, char **argv, struct buf *notes,
                   const struct err *err)
{
    struct log_outputs outputs = {.count = 0};
    struct err ignored = ERR_INIT; /* there is something worse to tell */
    bool told = false;

    if (log_outputs_open(&outputs, config->log_outputs.items, config->log_outputs.count,
                         &ignored) == 0) {
        log_setup(config->level, config->format);
        log_running(argc, argv);
        if (notes->data != NULL)
            log_notes(notes);
        log_warn("failed to verify flags", log_str("error", err->text));
        told = has_stderr(&outputs) && log_enabled(LOG_WARN);
        log_outputs_close(&outputs);
    }
    if (!told)
        fprintf(stderr, "%s%s\n", notes->data != NULL ? buf_text(notes) : "", err->text);
}

/* The wait status of the process says which signal it was; as PID 1 a signal of its own has no
 * effect. */
static int end_by_signal(int number)
{
    if (number == 0 || getpid() == 1)
        return 0;
    (void)signal(number, SIG_DFL);
    (void)raise(number);
    return 128 + number;
}

static void end_at_once(int number)
{
    _exit(128 + number);
}

/* A start may wait: for the lock of the data directory, a registry, other members. Until the loop
 * takes signals over, and after it, their default action ends the process; but the kernel does not
 * let it end PID 1 (signal(7)), the process of a container. */
static void let_signals_end_it(void)
{
    if (getpid() != 1)
        return;
    (void)signal(SIGTERM, end_at_once);
    (void)signal(SIGINT, end_at_once);
}

int main(int argc, char **argv)
{
    struct config config = {0};
    enum config_action action = CONFIG_RUN;
    struct buf notes = BUF_INIT(TEXT_MAX_BYTES), usage = BUF_INIT(TEXT_MAX_BYTES);
    struct log_outputs outputs = {.count = 0};
    struct log_rotation *rotation = NULL;
    struct err err = ERR_INIT;
    int exit_status = 1, signal_number = 0;

    (void)signal(SIGPIPE, SIG_IGN);
    let_signals_end_it();
    if (config_load(argc, (const char *const *)argv, (const char *const *)environ, &config, &action,
                    &notes, &exit_status, &err) < 0) {
        if (exit_status != 2) {
            refuse(&config, argc, argv, &notes, &err);
            goto out;
        }
        fprintf(stderr, "%s%s\n", notes.data != NULL ? buf_text(&notes) : "", err.text);
        config_usage(&usage);
        print(stderr, &usage);
        goto out;
    }
    if (action != CONFIG_RUN) {
        exit_status = show(action);
        goto out;
    }
    if (log_outputs_open(&outputs, config.log_outputs.items, config.log_outputs.count, &err) < 0 ||
        (config.enable_log_rotation && outputs.file != NULL &&
         log_rotation_start(&config.log_rotation, outputs.file, outputs.file_fd, &rotation, &err) <
             0)) {
        fprintf(stderr, "%s\n", err.text);
        exit_status = 1;
        goto out;
    }
    log_setup(config.level, config.format);
    log_running(argc, argv);
    if (notes.data != NULL)
        log_notes(&notes);
    exit_status = 0;
    if (server_run(&config, argc, (const char *const *)argv, &signal_number, &err) < 0) {
        if (err.text[0] != '\0')
            log_fatal("cannot serve", log_str("error", err.text));
        exit_status = 1;
    }
out:
    log_rotation_stop(rotation);
    if (outputs.count != 0)
        log_outputs_close(&outputs);
    config_free(&config);
    buf_free(&notes);
    buf_free(&usage);
    return exit_status != 0 ? exit_status : end_by_signal(signal_number);
}
