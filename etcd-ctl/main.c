/*
 * main.c - etcd-ctl: the client of an etcd v3 server. Arguments -> client -> command -> output.
 *
 * Standard output is an interface and is written once, when the command has its answer; everything
 * for people goes to standard error.
 */
#include "common/base/limits.h"
#include "common/schema/pbjson.h"
#include "etcd-ctl/ctl.h"
#include "etcd-ctl/password.h"

#include <ctype.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

int ctl_fail(int code, const char *format, ...)
{
    va_list args;

    (void)fputs("Error: ", stderr);
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputc('\n', stderr);
    return code;
}

int ctl_fail_err(struct ctl *ctl, int code, const struct err *err)
{
    const struct client_failure *failure = client_failure(ctl->client);

    (void)fprintf(stderr, "Error: %s\n", err->text);
    if (failure->hint[0] != '\0')
        (void)fprintf(stderr, "%s\n", failure->hint);
    if (failure->kind == CLIENT_FAILURE_LOGIN || failure->kind == CLIENT_FAILURE_ENDPOINT)
        return CTL_NO_CLIENT;
    return code;
}

int ctl_call(struct ctl *ctl, enum rpc_id id, const ProtobufCMessage *request,
             ProtobufCMessage **response, int code)
{
    struct err err = ERR_INIT;

    if (client_call(ctl->client, id, request, &ctl->arena, response, &err) == 0)
        return CTL_OK;
    return ctl_fail_err(ctl, code, &err);
}

int ctl_refuse_format(const struct ctl *ctl)
{
    static const char *const names[] = {"simple", "json", "fields", "table", "protobuf"};

    return ctl_fail(CTL_BAD_FORMAT, "%s not supported as output format", names[ctl->format]);
}

int ctl_show(struct ctl *ctl, const ProtobufCMessage *response, ctl_show_fn *simple,
             ctl_show_fn *fields)
{
    switch (ctl->format) {
    case PRINT_JSON:
        must(pbjson_write(response, PBJSON_CTL, &ctl->out));
        buf_append_byte(&ctl->out, '\n');
        return CTL_OK;
    case PRINT_PROTOBUF: {
        size_t bytes = protobuf_c_message_get_packed_size(response);
        uint8_t *room = buf_reserve(&ctl->out, bytes);

        must(room != NULL);
        buf_advance(&ctl->out, protobuf_c_message_pack(response, room));
        return CTL_OK;
    }
    case PRINT_FIELDS:
        if (fields == NULL)
            return ctl_refuse_format(ctl);
        fields(ctl, response);
        return CTL_OK;
    case PRINT_SIMPLE:
        if (simple == NULL)
            return ctl_refuse_format(ctl);
        simple(ctl, response);
        return CTL_OK;
    case PRINT_TABLE:
        return ctl_refuse_format(ctl);
    }
    return CTL_BAD_FORMAT;
}

void ctl_flush(struct ctl *ctl)
{
    struct err err = ERR_INIT;

    if (print_out(&ctl->out, &err) == 0)
        return;
    (void)fprintf(stderr, "Error: %s\n", err.text);
    exit(CTL_FAILED);
}

/* NULL when the flag was given neither as flag nor as variable: "" is something else. */
static const char *given(const struct args *args, const char *name)
{
    const struct flag_value *value = args_value(args, name);

    return value->given || value->variable ? value->text : NULL;
}

/* --user NAME:PASSWORD, NAME with --password, or NAME and a prompt. Both owned by the caller. */
static void read_user(const struct args *args, char **user, char **password)
{
    const char *text = given(args, "user"), *secret = given(args, "password"), *colon;

    if (text == NULL || text[0] == '\0')
        return;
    colon = secret == NULL ? strchr(text, ':') : NULL;
    *user = colon != NULL ? xstrndup(text, (size_t)(colon - text)) : xstrdup(text);
    if (secret != NULL)
        *password = xstrdup(secret);
    else
        *password = colon != NULL ? xstrdup(colon + 1) : password_ask("Password: ");
}

/* "/etc/etcd/server/crt" may have been meant as "/etc/etcd/server.crt". */
static void suggest_sibling(const char *const files[3])
{
    for (size_t i = 0; i < 3; i++) {
        char *guess = files[i] != NULL ? xstrdup(files[i]) : NULL;
        char *slash = guess != NULL ? strrchr(guess, '/') : NULL;

        if (slash != NULL && access(files[i], F_OK) != 0) {
            *slash = '.';
            if (access(guess, F_OK) == 0)
                (void)fprintf(stderr, "Did you mean %s?\n", guess);
        }
        free(guess);
    }
}

static int make_client(struct ctl *ctl, const struct args *args)
{
    int64_t command_ms = args_number(args, "command-timeout") / 1000000;
    const struct flag_value *insecure = args_value(args, "insecure-transport");
    struct client_options options = {
        .endpoints = args_text(args, "endpoints"),
        .cacert = given(args, "cacert"),
        .cert = given(args, "cert"),
        .key = given(args, "key"),
        .tls = insecure->number == 0,
        .skip_verify = args_bool(args, "insecure-skip-tls-verify"),
        .dial_timeout_ms = MAX(args_number(args, "dial-timeout") / 1000000, 1),
        .command_timeout_ms = MAX(command_ms, 1),
        /* who says how long to wait means it, also for a server that is not there yet */
        .patience_ms = args_value(args, "command-timeout")->given ? MAX(command_ms, 1) : 0,
    };
    const char *files[3] = {options.cacert, options.cert, options.key};
    char *user = NULL, *password = NULL;
    struct client_failure failure;
    struct err err = ERR_INIT;
    int code = CTL_OK;

    read_user(args, &user, &password);
    options.user = user;
    options.password = password;
    if (client_new(&options, &ctl->client, &failure, &err) < 0) {
        if (failure.kind == CLIENT_FAILURE_ENDPOINT)
            code = args_text(args, "endpoints")[0] == '\0' ? CTL_NO_CLIENT : CTL_FAILED;
        else
            code = CTL_BAD_ARGS;
        (void)ctl_fail(code, "%s", err.text);
        if (failure.hint[0] != '\0')
            (void)fprintf(stderr, "%s\n", failure.hint);
        suggest_sibling(files);
    }
    if (password != NULL)
        wipe(password, strlen(password));
    free(user);
    free(password);
    return code;
}

/* --debug: every setting as its variable would spell it; secrets stay out. */
static void tell_settings(const struct args *args)
{
    for (size_t i = 0; i < args->value_count; i++) {
        const struct flag_value *value = &args->values[i];

        if (value->flag == args->command->flags)
            break; /* the command's own flags follow the globals */
        (void)fputs("ETCDCTL_", stderr);
        for (const char *at = value->flag->name; *at != '\0'; at++)
            (void)fputc(*at == '-' ? '_' : toupper((unsigned char)*at), stderr);
        if (strcmp(value->flag->name, "password") == 0 || strcmp(value->flag->name, "user") == 0)
            (void)fprintf(stderr, "=%s\n", value->text[0] != '\0' ? "(given)" : "");
        else
            (void)fprintf(stderr, "=%s\n", value->text);
    }
}

static int run(struct ctl *ctl, const struct args *args)
{
    int code;

    if (args_bool(args, "debug"))
        tell_settings(args);

    ctl->hex = args_bool(args, "hex");
    if (!print_format_parse(args_text(args, "write-out"), &ctl->format))
        return ctl_fail(CTL_BAD_FORMAT, "unsupported output format");
    if (!args->command->offline) {
        code = make_client(ctl, args);
        if (code != CTL_OK)
            return code;
    }
    return args->command->run(ctl, args);
}

int main(int argc, char **argv)
{
    struct ctl ctl = {.grammar = &ctl_grammar, .out = BUF_INIT(BUF_UNLIMITED)};
    struct err err = ERR_INIT;
    struct args args;
    int code = CTL_OK;

    (void)signal(SIGPIPE, SIG_DFL);
    arena_init(&ctl.arena, CLIENT_RESPONSE_MAX);
    switch (args_parse(&ctl_grammar, argc - 1, argv + 1, environ, &args, &err)) {
    case ARGS_RUN:
        (void)fputs(buf_text(&args.notes), stderr);
        code = run(&ctl, &args);
        break;
    case ARGS_HELP:
        args_help(&ctl_grammar, "etcd-ctl", args.topic, &ctl.out);
        break;
    case ARGS_WRONG:
        (void)fputs(buf_text(&args.notes), stderr);
        code = ctl_fail(CTL_FAILED, "%s", err.text);
        if (args.hint[0] != '\0')
            (void)fprintf(stderr, "%s\n", args.hint);
        break;
    }
    ctl_flush(&ctl);
    client_free(ctl.client);
    args_free(&args);
    arena_free(&ctl.arena);
    buf_free(&ctl.out);
    return code;
}
