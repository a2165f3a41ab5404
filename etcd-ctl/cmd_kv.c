/* cmd_kv.c - put, get, del, compaction (cli.md 2.6); their requests serve txn too. */
#include "common/base/limits.h"
#include "common/schema/pbbytes.h"
#include "etcd-ctl/ctl.h"
#include "etcd-ctl/pages.h"

#include <ctype.h>
#include <errno.h>
#include <strings.h>
#include <stdio.h>
#include <unistd.h>

static ProtobufCBinaryData zero_byte(void)
{
    static const uint8_t zero[1] = {0};

    return (ProtobufCBinaryData){.len = 1, .data = (uint8_t *)(uintptr_t)zero};
}

ProtobufCBinaryData kv_prefix_end(struct ctl *ctl, ProtobufCBinaryData key)
{
    ProtobufCBinaryData end = {.len = key.len};

    while (end.len > 0 && key.data[end.len - 1] == 0xff)
        end.len--;
    if (end.len == 0)
        return zero_byte();
    end.data = arena_copy(&ctl->arena, key.data, end.len);
    must(end.data != NULL);
    end.data[end.len - 1]++;
    return end;
}

bool parse_hex_id(const char *text, uint64_t *id)
{
    char *end;

    errno = 0;
    if (!isxdigit((unsigned char)text[0]))
        return false;
    *id = strtoull(text, &end, 16);
    return *end == '\0' && errno == 0 && (text[1] != 'x' && text[1] != 'X');
}

bool parse_lease_id(const char *text, int64_t *id)
{
    const char *digits = text + (text[0] == '-' || text[0] == '+' ? 1 : 0);
    uint64_t number;

    if (!parse_hex_id(digits, &number) || number > (uint64_t)INT64_MAX + (text[0] == '-' ? 1 : 0))
        return false;
    *id = text[0] == '-' ? (int64_t)(0 - number) : (int64_t)number;
    return true;
}

/* Key and end from KEY [RANGE_END] [--prefix] [--from-key]; what get and del have in common. */
static int key_range(struct ctl *ctl, const struct args *args, ProtobufCBinaryData *key,
                     ProtobufCBinaryData *end)
{
    bool prefix = args_bool(args, "prefix"), from = args_bool(args, "from-key");

    if (prefix && from)
        return ctl_bad_args(
            "`--prefix` and `--from-key` cannot be set at the same time, choose one");
    if (args->word_count > 1 && (prefix || from))
        return ctl_bad_args("too many arguments, only accept one argument when `--prefix` or "
                            "`--from-key` is set");
    *key = pb_text(args->words[0]);
    if (args->word_count > 1)
        *end = pb_text(args->words[1]);
    if ((prefix || from) && key->len == 0) {
        *key = zero_byte();
        *end = zero_byte();
    } else if (prefix) {
        *end = kv_prefix_end(ctl, *key);
    } else if (from) {
        *end = zero_byte();
    }
    return CTL_OK;
}

/* ---- get ---- */

static int sort_order(const char *text, Etcdserverpb__RangeRequest__SortOrder *order)
{
    if (text[0] == '\0')
        *order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__NONE;
    else if (strcasecmp(text, "ASCEND") == 0)
        *order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND;
    else if (strcasecmp(text, "DESCEND") == 0)
        *order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
    else
        return ctl_fail(CTL_BAD_FORMAT, "bad sort order %s (ASCEND or DESCEND)", text);
    return CTL_OK;
}

static int sort_target(const char *text, Etcdserverpb__RangeRequest__SortTarget *target)
{
    static const struct {
        const char *name;
        Etcdserverpb__RangeRequest__SortTarget target;
    } targets[] = {
        {"", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY},
        {"CREATE", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__CREATE},
        {"KEY", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY},
        {"MODIFY", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__MOD},
        {"VALUE", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE},
        {"VERSION", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VERSION},
    };

    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        if (strcasecmp(text, targets[i].name) == 0) {
            *target = targets[i].target;
            return CTL_OK;
        }
    }
    return ctl_fail(CTL_BAD_FORMAT, "bad sort target %s (CREATE, KEY, MODIFY, VALUE or VERSION)",
                    text);
}

static int range_options(const struct args *args, Etcdserverpb__RangeRequest *request)
{
    const char *consistency = args_text(args, "consistency");
    int code;

    if (strcmp(consistency, "s") != 0 && strcmp(consistency, "l") != 0)
        return ctl_fail(CTL_BAD_FORMAT, "unknown consistency flag \"%s\" (l or s)", consistency);
    request->serializable = consistency[0] == 's';
    request->limit = args_number(args, "limit");
    request->revision = MAX(args_number(args, "rev"), 0);
    request->keys_only = args_bool(args, "keys-only");
    request->count_only = args_bool(args, "count-only");
    request->min_mod_revision = args_number(args, "min-mod-rev");
    request->max_mod_revision = args_number(args, "max-mod-rev");
    request->min_create_revision = args_number(args, "min-create-rev");
    request->max_create_revision = args_number(args, "max-create-rev");
    code = sort_order(args_text(args, "order"), &request->sort_order);
    return code != CTL_OK ? code : sort_target(args_text(args, "sort-by"), &request->sort_target);
}

int kv_range_request(struct ctl *ctl, const struct args *args, Etcdserverpb__RangeRequest *request)
{
    int code;

    etcdserverpb__range_request__init(request);
    if (args->word_count == 0 || args->word_count > 2)
        return ctl_bad_args("get command needs one argument as key and an optional argument as "
                            "range_end, not %zu arguments",
                            args->word_count);
    if (args_bool(args, "keys-only") && args_bool(args, "count-only"))
        return ctl_bad_args("`--keys-only` and `--count-only` cannot be set at the same time, "
                            "choose one");
    code = key_range(ctl, args, &request->key, &request->range_end);
    return code != CTL_OK ? code : range_options(args, request);
}

static void show_values(struct ctl *ctl, const ProtobufCMessage *response)
{
    const Etcdserverpb__RangeResponse *range = (const Etcdserverpb__RangeResponse *)response;

    for (size_t i = 0; i < range->n_kvs; i++)
        show_kv(ctl, range->kvs[i], true);
}

/* --stream: a page at a time, each shown as it comes. */
struct get_stream {
    struct ctl *ctl;
    ctl_show_fn *simple;
    int code;
};

static int show_page(void *arg, const Etcdserverpb__RangeResponse *page, struct err *err)
{
    struct get_stream *stream = arg;

    (void)err;
    stream->code = ctl_show(stream->ctl, &page->base, stream->simple, show_range_fields);
    ctl_flush(stream->ctl);
    return stream->code == CTL_OK ? 0 : -1;
}

static int get_stream(struct ctl *ctl, const struct args *args,
                      const Etcdserverpb__RangeRequest *request)
{
    struct get_stream stream = {
        .ctl = ctl, .simple = args_bool(args, "print-value-only") ? show_values : show_range};
    struct err err = ERR_INIT;
    int64_t revision;

    if (args_text(args, "order")[0] != '\0' || args_text(args, "sort-by")[0] != '\0')
        return ctl_bad_args("--stream gives keys in their order: leave --order and --sort-by out");
    if (request->min_mod_revision != 0 || request->max_mod_revision != 0 ||
        request->min_create_revision != 0 || request->max_create_revision != 0)
        return ctl_bad_args("--stream does not support revision filters");
    if (pages_read(ctl->client, request, show_page, &stream, false, &revision, &err) == 0)
        return CTL_OK;
    return stream.code != CTL_OK ? stream.code : ctl_fail_err(ctl, CTL_FAILED, &err);
}

int cmd_get(struct ctl *ctl, const struct args *args)
{
    Etcdserverpb__RangeRequest request;
    ProtobufCMessage *response = NULL;
    int code = kv_range_request(ctl, args, &request);

    if (code == CTL_OK && args_bool(args, "print-value-only") && ctl->format != PRINT_SIMPLE)
        return ctl_bad_args("print-value-only is only for `--write-out=simple`");
    if (code == CTL_OK && args_bool(args, "stream") && !request.count_only)
        return get_stream(ctl, args, &request);
    if (code == CTL_OK)
        code = ctl_call(ctl, RPC_KV_Range, &request.base, &response, CTL_FAILED);
    if (code != CTL_OK)
        return code;
    if (request.count_only && ctl->format != PRINT_FIELDS)
        return ctl_bad_args("--count-only is only for `--write-out=fields`");
    return ctl_show(ctl, response, args_bool(args, "print-value-only") ? show_values : show_range,
                    show_range_fields);
}

/* ---- put ---- */

/* All of standard input, which must not be empty. */
static int read_value(struct ctl *ctl, ProtobufCBinaryData *value)
{
    struct buf text = BUF_INIT(STDIN_VALUE_MAX);
    int code = CTL_OK;

    while (code == CTL_OK) {
        uint8_t *room = buf_reserve(&text, 64 * KIB);
        ssize_t got = room != NULL ? read(STDIN_FILENO, room, 64 * KIB) : -1;

        if (got == 0)
            break;
        if (got > 0)
            buf_advance(&text, (size_t)got);
        else if (room == NULL)
            code = ctl_bad_args("the value on standard input is larger than %lu bytes; no server "
                                "takes that",
                                STDIN_VALUE_MAX);
        else if (errno != EINTR)
            code = ctl_bad_args("cannot read the value from standard input: %s", strerror(errno));
    }
    if (code == CTL_OK && text.size == 0)
        code = ctl_bad_args("put command needs 1 argument and input from stdin or 2 arguments");
    *value = (ProtobufCBinaryData){.len = text.size};
    if (code == CTL_OK)
        value->data = arena_copy(&ctl->arena, text.data, text.size);
    if (code == CTL_OK && value->data == NULL)
        code = ctl_fail(CTL_FAILED, "no memory for a value of %zu bytes", text.size);
    buf_free(&text);
    return code;
}

int kv_put_request(struct ctl *ctl, const struct args *args, bool from_stdin,
                   Etcdserverpb__PutRequest *request)
{
    const char *lease = args_text(args, "lease");

    etcdserverpb__put_request__init(request);
    request->ignore_value = args_bool(args, "ignore-value");
    request->ignore_lease = args_bool(args, "ignore-lease");
    request->prev_kv = args_bool(args, "prev-kv");
    if (args->word_count == 0)
        return ctl_bad_args("put command needs 1 argument and input from stdin or 2 arguments");
    if (args->word_count > 2)
        return ctl_bad_args("put command needs a key and a value, not %zu arguments: quote a value "
                            "that has blanks in it",
                            args->word_count);
    if (request->ignore_value && args->word_count > 1)
        return ctl_bad_args("put command needs only 1 argument when 'ignore-value' is set");
    if (!parse_lease_id(lease, &request->lease))
        return ctl_bad_args("bad lease ID (%s), expecting ID in Hex", lease);
    request->key = pb_text(args->words[0]);
    if (args->word_count > 1)
        request->value = pb_text(args->words[1]);
    else if (!request->ignore_value && !from_stdin)
        return ctl_bad_args("put command needs 1 argument and input from stdin or 2 arguments");
    else if (!request->ignore_value)
        return read_value(ctl, &request->value);
    return CTL_OK;
}

int cmd_put(struct ctl *ctl, const struct args *args)
{
    Etcdserverpb__PutRequest request;
    ProtobufCMessage *response = NULL;
    int code = kv_put_request(ctl, args, true, &request);

    if (code == CTL_OK && ctl->format == PRINT_TABLE)
        return ctl_refuse_format(ctl); /* before anything is stored */
    if (code == CTL_OK)
        code = ctl_call(ctl, RPC_KV_Put, &request.base, &response, CTL_FAILED);
    return code != CTL_OK ? code : ctl_show(ctl, response, show_put, show_put_fields);
}

/* ---- del ---- */

int kv_delete_request(struct ctl *ctl, const struct args *args,
                      Etcdserverpb__DeleteRangeRequest *request)
{
    int code;

    etcdserverpb__delete_range_request__init(request);
    if (args->word_count == 0 || args->word_count > 2)
        return ctl_bad_args("del command needs one argument as key and an optional argument as "
                            "range_end, not %zu arguments",
                            args->word_count);
    request->prev_kv = args_bool(args, "prev-kv");
    code = key_range(ctl, args, &request->key, &request->range_end);
    if (code == CTL_OK && args->word_count == 2 && !args_bool(args, "range"))
        (void)fputs("note: RANGE_END without --range: every key from KEY up to it is deleted (in "
                    "etcd v3.6, after some seconds for second thoughts)\n",
                    stderr);
    return code;
}

int cmd_del(struct ctl *ctl, const struct args *args)
{
    Etcdserverpb__DeleteRangeRequest request;
    ProtobufCMessage *response = NULL;
    int code = kv_delete_request(ctl, args, &request);

    if (code == CTL_OK && ctl->format == PRINT_TABLE)
        return ctl_refuse_format(ctl); /* before anything is deleted */
    if (code == CTL_OK)
        code = ctl_call(ctl, RPC_KV_DeleteRange, &request.base, &response, CTL_FAILED);
    return code != CTL_OK ? code : ctl_show(ctl, response, show_delete, show_delete_fields);
}

/* ---- compaction ---- */

int cmd_compaction(struct ctl *ctl, const struct args *args)
{
    Etcdserverpb__CompactionRequest request;
    ProtobufCMessage *response = NULL;
    char *end;
    int code;

    etcdserverpb__compaction_request__init(&request);
    if (args->word_count != 1)
        return ctl_bad_args("compaction command needs 1 argument");
    errno = 0;
    request.revision = strtoll(args->words[0], &end, 10);
    if (args->words[0][0] == '\0' || *end != '\0' || errno != 0)
        return ctl_fail(CTL_FAILED, "bad revision \"%s\": it takes a whole number", args->words[0]);
    request.physical = args_bool(args, "physical");
    code = ctl_call(ctl, RPC_KV_Compact, &request.base, &response, CTL_FAILED);
    if (code == CTL_OK)
        buf_printf(&ctl->out, "compacted revision %" PRId64 "\n", request.revision);
    return code;
}
