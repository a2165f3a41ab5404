/*
 * ctl.c - see ctl.h: a call, its answer in the format wanted, and what is said when it fails.
 *
 *   standard output   ctl->out, written once
 *   standard error    "Error: ..." with the cause, then a line with what to do
 */
#include "etcd-ctl/ctl.h"

#include "common/base/clock.h"
#include "common/client/unicode.h"
#include "common/schema/pbjson.h"

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

void ctl_wait_for_server(const char *whose, const struct err *cause, bool *told)
{
    if (!*told)
        (void)fprintf(stderr, "%s%s; waiting for the server\n", whose, cause->text);
    *told = true;
    clock_pause_ms(CTL_RETRY_PAUSE_MS);
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

        if (bytes == 0) /* alarm disarm without an alarm */
            return CTL_OK;
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
