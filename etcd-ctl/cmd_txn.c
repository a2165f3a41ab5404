/* cmd_txn.c - txn: three sections of lines from standard input, each closed by an empty line. */
#include "etcd-ctl/ctl.h"
#include "etcd-ctl/txn_parse.h"

#include <stdio.h>

struct section {
    void **items; /* in the arena: Compare or RequestOp */
    size_t count, room;
};

/* Append, with the list itself in the arena: it goes straight into the message. */
static void add_item(struct ctl *ctl, struct section *section, void *item)
{
    if (section->count == section->room) {
        size_t room = MAX(section->room * 2, 16);
        void **items = arena_alloc(&ctl->arena, room * sizeof(*items));

        must(items != NULL);
        if (section->count > 0)
            memcpy(items, section->items, section->count * sizeof(*items));
        section->items = items;
        section->room = room;
    }
    section->items[section->count++] = item;
}

static int add_compare(struct ctl *ctl, struct slice line, struct section *section)
{
    Etcdserverpb__Compare *compare = arena_alloc(&ctl->arena, sizeof(*compare));
    struct err err = ERR_INIT;

    must(compare != NULL);
    if (txn_parse_compare(line, &ctl->arena, compare, &err) < 0)
        return ctl_fail(CTL_BAD_INPUT, "%s", err.text);
    add_item(ctl, section, compare);
    return CTL_OK;
}

/* get, put, del or a beginning of one. */
static const struct command *find_request(const char *word)
{
    static const char *const allowed[] = {"get", "put", "del"};
    size_t length = strlen(word);

    for (size_t i = 0; i < ARRAY_LEN(allowed) && length > 0; i++)
        for (size_t j = 0; strncmp(allowed[i], word, length) == 0 && j < ctl_grammar.command_count;
             j++)
            if (strcmp(ctl_grammar.commands[j].words, allowed[i]) == 0)
                return &ctl_grammar.commands[j];
    return NULL;
}

static int fill_request(struct ctl *ctl, const struct args *args, Etcdserverpb__RequestOp *op)
{
    etcdserverpb__request_op__init(op);
    if (args->command->run == cmd_get) {
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
        op->request_range = arena_alloc(&ctl->arena, sizeof(*op->request_range));
        must(op->request_range != NULL);
        return kv_range_request(ctl, args, op->request_range);
    }
    if (args->command->run == cmd_put) {
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        op->request_put = arena_alloc(&ctl->arena, sizeof(*op->request_put));
        must(op->request_put != NULL);
        return kv_put_request(ctl, args, false, op->request_put);
    }
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    op->request_delete_range = arena_alloc(&ctl->arena, sizeof(*op->request_delete_range));
    must(op->request_delete_range != NULL);
    return kv_delete_request(ctl, args, op->request_delete_range);
}

static int add_request(struct ctl *ctl, struct slice line, struct section *section)
{
    Etcdserverpb__RequestOp *op = arena_alloc(&ctl->arena, sizeof(*op));
    const char *words[TXN_WORDS_MAX];
    const struct command *command;
    struct err err = ERR_INIT;
    struct args args;
    size_t count;
    int code;

    must(op != NULL);
    if (txn_parse_words(line, &ctl->arena, words, &count, &err) < 0)
        return ctl_fail(CTL_BAD_INPUT, "%s", err.text);
    command = count > 1 ? find_request(words[0]) : NULL;
    if (command == NULL)
        return ctl_fail(CTL_BAD_INPUT, "invalid txn request: %.*s (get, put or del with arguments)",
                        (int)MIN(line.size, 400), (const char *)line.data);
    if (args_parse_command(command, count - 1, words + 1, &args, &err))
        code = fill_request(ctl, &args, op);
    else
        code = ctl_fail(CTL_BAD_INPUT, "invalid txn request: %.*s (%s)", (int)MIN(line.size, 400),
                        (const char *)line.data, err.text);
    args_free(&args);
    if (code == CTL_OK)
        add_item(ctl, section, op);
    return code;
}

static struct slice trimmed(char *line, size_t size)
{
    struct slice text;

    while (size > 0 && strchr(" \t\r\n", line[size - 1]) != NULL)
        size--;
    text = slice_of(line, size);
    while (text.size > 0 && (text.data[0] == ' ' || text.data[0] == '\t'))
        text = slice_of(text.data + 1, text.size - 1);
    return text;
}

/* Lines up to an empty one; the end of the input before it is an error. */
static int read_section(struct ctl *ctl, const char *title,
                        int (*add)(struct ctl *, struct slice, struct section *),
                        struct section *section)
{
    char *line = NULL;
    size_t room = 0;
    int code = CTL_OK;

    if (title != NULL) {
        buf_printf(&ctl->out, "%s\n", title);
        ctl_flush(ctl);
    }
    while (code == CTL_OK) {
        ssize_t size = getline(&line, &room, stdin);
        struct slice text;

        if (size <= 0 || line[size - 1] != '\n') {
            code = ctl_fail(CTL_BAD_INPUT, "EOF");
            (void)fputs("The input ended too early: comparisons, success requests and failure "
                        "requests each end in an empty line.\n",
                        stderr);
            break;
        }
        text = trimmed(line, (size_t)size);
        if (text.size == 0)
            break;
        code = add(ctl, text, section);
    }
    free(line);
    return code;
}

static void show_responses(struct ctl *ctl, const Etcdserverpb__TxnResponse *txn, bool fields)
{
    for (size_t i = 0; i < txn->n_responses; i++) {
        const Etcdserverpb__ResponseOp *op = txn->responses[i];

        if (!fields)
            buf_append_byte(&ctl->out, '\n');
        if (op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT)
            (fields ? show_put_fields : show_put)(ctl, &op->response_put->base);
        else if (op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE)
            (fields ? show_range_fields : show_range)(ctl, &op->response_range->base);
        else if (op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE)
            (fields ? show_delete_fields : show_delete)(ctl, &op->response_delete_range->base);
    }
}

static void show_txn(struct ctl *ctl, const ProtobufCMessage *response)
{
    const Etcdserverpb__TxnResponse *txn = (const Etcdserverpb__TxnResponse *)response;

    buf_append_text(&ctl->out, txn->succeeded ? "SUCCESS\n" : "FAILURE\n");
    show_responses(ctl, txn, false);
}

static void show_txn_fields(struct ctl *ctl, const ProtobufCMessage *response)
{
    const Etcdserverpb__TxnResponse *txn = (const Etcdserverpb__TxnResponse *)response;

    show_header(&ctl->out, txn->header);
    print_field_bool(&ctl->out, "Succeeded", txn->succeeded);
    show_responses(ctl, txn, true);
}

int cmd_txn(struct ctl *ctl, const struct args *args)
{
    bool titles = args_bool(args, "interactive");
    struct section compares = {0}, success = {0}, failure = {0};
    Etcdserverpb__TxnRequest request;
    ProtobufCMessage *response = NULL;
    int code;

    if (args->word_count != 0)
        return ctl_bad_args("txn command does not accept argument");
    client_ask_password(ctl->client);
    code = read_section(ctl, titles ? "compares:" : NULL, add_compare, &compares);
    if (code == CTL_OK)
        code = read_section(ctl, titles ? "success requests (get, put, del):" : NULL, add_request,
                            &success);
    if (code == CTL_OK)
        code = read_section(ctl, titles ? "failure requests (get, put, del):" : NULL, add_request,
                            &failure);
    if (code == CTL_OK && ctl->format == PRINT_TABLE)
        return ctl_refuse_format(ctl); /* before anything is done */
    if (code != CTL_OK)
        return code;
    etcdserverpb__txn_request__init(&request);
    request.compare = (Etcdserverpb__Compare **)compares.items;
    request.n_compare = compares.count;
    request.success = (Etcdserverpb__RequestOp **)success.items;
    request.n_success = success.count;
    request.failure = (Etcdserverpb__RequestOp **)failure.items;
    request.n_failure = failure.count;
    code = ctl_call(ctl, RPC_KV_Txn, &request.base, &response, CTL_FAILED);
    return code != CTL_OK ? code : ctl_show(ctl, response, show_txn, show_txn_fields);
}
