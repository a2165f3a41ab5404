/*
 * main.c - etcd-ctl: the client of an etcd v3 server. Arguments -> client -> command -> output.
 *
 * Standard output is an interface and is written once, when the command has its answer; everything
 * for people goes to standard error.
 */
#include "common/base/limits.h"
#include "etcd-ctl/connect.h"

#include <ctype.h>
#include <signal.h>
#include <stdio.h>

static bool is_secret(const char *name)
{
    return strcmp(name, "password") == 0 || strcmp(name, "user") == 0 ||
           strcmp(name, "auth-jwt-token") == 0;
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
        if (is_secret(value->flag->name))
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
        return ctl_fail(CTL_BAD_FORMAT,
                        "unsupported output format \"%s\": simple, json, fields, "
                        "table or protobuf",
                        args_text(args, "write-out"));
    if (!args->command->offline) {
        code = connect_source(ctl, args);
        if (code != CTL_OK)
            return code;
    }
    code = args->command->run(ctl, args);
    if (code == CTL_BAD_ARGS)
        (void)fprintf(stderr, "See etcd-ctl %s --help.\n", args->command->words);
    return code;
}

int main(int argc, char **argv)
{
    struct ctl ctl = {.grammar = &ctl_grammar, .out = BUF_INIT(BUF_UNLIMITED)};
    struct err err = ERR_INIT;
    struct args args;
    int code = CTL_OK;

    print_guard_descriptors();
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
        else
            (void)fprintf(stderr, "See etcd-ctl %s%s--help.\n",
                          args.command != NULL ? args.command->words : "",
                          args.command != NULL ? " " : "");
        break;
    }
    ctl_flush(&ctl);
    client_free(ctl.client);
    args_free(&args);
    arena_free(&ctl.arena);
    buf_free(&ctl.out);
    return code;
}
