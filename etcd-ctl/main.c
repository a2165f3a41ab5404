/*
 * main.c - etcd-ctl: the client of an etcd v3 server. Arguments -> client -> command -> output.
 *
 * Standard output is an interface and is written once, when the command has its answer; everything
 * for people goes to standard error.
 */
#include "common/base/limits.h"
#include "common/client/unicode.h"
#include "common/schema/pbjson.h"
#include "etcd-ctl/connect.h"

#include <ctype.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

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

/* The first text of a request, as a user's name, that is not UTF-8; NULL: all are. */
static const char *odd_text(const ProtobufCMessage *request)
{
    for (unsigned i = 0; i < request->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &request->descriptor->fields[i];
        const char *text;

        if (field->type != PROTOBUF_C_TYPE_STRING || field->label == PROTOBUF_C_LABEL_REPEATED)
            continue;
        text = *(char *const *)(const void *)((const char *)request + field->offset);
        for (struct slice left = slice_text(text != NULL ? text : ""); left.size != 0;) {
            uint32_t point;
            size_t bytes = unicode_decode(left, &point);

            if (bytes == 0)
                return text;
            left.data += bytes;
            left.size -= bytes;
        }
    }
    return NULL;
}

/* JSON has no such text: another name would reach the server. */
static int refuse_odd_text(const char *text)
{
    struct buf quoted = BUF_INIT(BUF_UNLIMITED);

    print_quoted(&quoted, slice_text(text));
    (void)ctl_fail(CTL_FAILED, "%.900s is not UTF-8", buf_text(&quoted));
    (void)fputs(
        "Names of users, roles and members, and passwords, are text; keys may be any bytes.\n",
        stderr);
    buf_free(&quoted);
    return CTL_FAILED;
}

int ctl_call(struct ctl *ctl, enum rpc_id id, const ProtobufCMessage *request,
             ProtobufCMessage **response, int code)
{
    const char *odd = odd_text(request);
    struct err err = ERR_INIT;

    if (odd != NULL)
        return refuse_odd_text(odd);
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
