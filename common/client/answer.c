/* answer.c - see answer.h. */
#include "common/client/answer.h"

#include <jansson.h>
#include <stdio.h>

/* The row of errors.def with this text; ERR_NET when there is none. */
static enum err_code code_of_text(const char *text)
{
    for (int code = ERR_OK + 1; code < ERR_IO; code++)
        if (strcmp(err_text((enum err_code)code), text) == 0)
            return (enum err_code)code;
    return ERR_NET;
}

void answer_hint(enum err_code code, struct client_failure *failure)
{
    static const struct {
        enum err_code code;
        const char *text;
    } hints[] = {
#define HINT(code, text) {code, text},
#include "common/client/hints.def"
#undef HINT
    };

    failure->hint[0] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(hints); i++)
        if (hints[i].code == code)
            (void)snprintf(failure->hint, sizeof(failure->hint), "%s", hints[i].text);
}

/* What a server says is shown on a terminal: no control characters. */
static void defang(struct err *err)
{
    for (char *at = err->text; *at != '\0'; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = '?';
}

static void refuse(struct client_failure *failure, enum grpc_code grpc, const char *text,
                   struct err *err)
{
    err_set(err, code_of_text(text), "%s", text);
    defang(err);
    failure->kind = CLIENT_FAILURE_REFUSED;
    failure->grpc = grpc;
    answer_hint(err->code, failure);
}

void answer_odd_hint(struct client_failure *failure)
{
    failure->kind = CLIENT_FAILURE_LOCAL;
    (void)snprintf(failure->hint, sizeof(failure->hint),
                   "Is this the client port of an etcd server, or a proxy before it? Check "
                   "--endpoints.");
}

/* What is no JSON: a proxy's page, another server's, or one of an etcd's few plain answers. */
static void take_plain(const char *typed, long status, struct slice body,
                       struct client_failure *failure, struct err *err)
{
    const uint8_t *end = body.size > 0 ? memchr(body.data, '\n', body.size) : NULL;
    size_t shown = MIN(end != NULL ? (size_t)(end - body.data) : body.size, 120);

    if (status == 400 &&
        slice_equal(slice_of(body.data, shown), slice_text(err_text(ERR_COMMON_NAME_IGNORED)))) {
        refuse(failure, GRPC_INVALID_ARGUMENT, err_text(ERR_COMMON_NAME_IGNORED), err);
        return;
    }
    failure->kind = CLIENT_FAILURE_LOCAL;
    err_set(err, ERR_FORMAT, "%s: HTTP status %ld instead of an answer%s%.*s", typed, status,
            shown > 0 ? ": " : "", (int)shown, shown > 0 ? (const char *)body.data : "");
    defang(err);
    (void)snprintf(failure->hint, sizeof(failure->hint), "%s",
                   status == 404 ? "Is this an etcd client port (v3.4 or later, gateway enabled)?"
                                 : "Is this an etcd client port? Its log may say more.");
}

void answer_refusal(const char *typed, long status, struct slice body,
                    struct client_failure *failure, struct err *err)
{
    json_t *root = json_loadb((const char *)body.data, body.size, JSON_DISABLE_EOF_CHECK, NULL);
    json_t *inner = json_object_get(root, "error");
    json_t *holder = json_is_object(inner) ? inner : root;
    const char *text = json_string_value(json_object_get(holder, "message"));
    json_t *code = json_object_get(inner, "grpc_code"); /* in a stream up to etcd 3.5 */
    json_int_t grpc = json_integer_value(code != NULL ? code : json_object_get(holder, "code"));

    if (text == NULL)
        text = json_string_value(inner);
    if (text != NULL)
        refuse(failure, grpc > 0 && grpc <= 16 ? (enum grpc_code)grpc : GRPC_UNKNOWN, text, err);
    else
        take_plain(typed, status, body, failure, err);
    json_decref(root);
}

struct slice answer_result(struct slice text)
{
    static const char key[] = "\"result\"";
    size_t at = 0;

#define SKIP_BLANKS()                                                                              \
    while (at < text.size && strchr(" \t\r\n", text.data[at]) != NULL && text.data[at] != 0)       \
    at++
    SKIP_BLANKS();
    if (at == text.size || text.data[at++] != '{')
        return text;
    SKIP_BLANKS();
    if (text.size - at < sizeof(key) || memcmp(text.data + at, key, sizeof(key) - 1) != 0)
        return text;
    at += sizeof(key) - 1;
    SKIP_BLANKS();
    if (at == text.size || text.data[at++] != ':')
        return text;
#undef SKIP_BLANKS
    return slice_of(text.data + at, text.size - at);
}

bool answer_is_stream_refusal(struct slice body)
{
    return slice_starts_with(body, SLICE_LITERAL("{\"error\":"));
}
