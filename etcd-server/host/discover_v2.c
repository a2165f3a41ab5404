/*
 * discover_v2.c - a registry that speaks etcd's v2 keys protocol below one URL:
 *
 *   GET URL/_config/size                       {"node":{"value":"3"}}
 *   GET URL                                    {"node":{"nodes":[{"key","value","createdIndex"}]}}
 *   PUT URL/ID?prevExist=false  value=...      201; 412 with errorCode 105: taken
 *   GET URL?wait=true&recursive=true&waitIndex=N   answers when something has changed
 *
 * The header X-Etcd-Index of a list says from where to wait. Errors are {"errorCode","message"}.
 */
#include "common/base/limits.h"
#include "etcd-server/host/discover_internal.h"

#include "common/base/json_reader.h"
#include "common/client/fetch.h"

#include <inttypes.h>
#include <stdio.h>

#define REQUEST_TIMEOUT_MS 5000
#define WAIT_TIMEOUT_MS 60000
#define WAIT_MIN_MS 200 /* a registry that cannot wait is not asked in a busy loop */
#define CODE_NOT_FOUND 100
#define CODE_EXISTS 105

struct v2_registry {
    struct registry base;
    uint64_t index; /* of the last list */
};

/* One answer, as far as it matters here. */
struct v2_answer {
    unsigned status;
    uint64_t error_code; /* 0: none */
    char *message;       /* owned; NULL: none */
    char *value;         /* owned; of the node */
    uint64_t index;
};

static void answer_fini(struct v2_answer *answer)
{
    free(answer->message);
    free(answer->value);
    *answer = (struct v2_answer){0};
}

/* ---- JSON ---- */

/* A string as an owned text; what is no string is passed over and leaves `text` alone. */
static int read_text(struct json_reader *reader, char **text, struct err *err)
{
    struct json_string string;
    size_t bytes;

    if (json_peek(reader) != JSON_STRING)
        return json_skip(reader, err);
    if (json_take_string(reader, &string, err) < 0)
        return -1;
    free(*text);
    *text = xalloc(string.raw.size + 1);
    if (string.escaped) {
        bytes = json_unescape(string.raw, (uint8_t *)*text);
    } else {
        memcpy(*text, string.raw.data, string.raw.size);
        bytes = string.raw.size;
    }
    (*text)[bytes] = '\0';
    return 0;
}

static int read_number(struct json_reader *reader, uint64_t *number, struct err *err)
{
    struct slice text;
    bool negative = false;
    uint64_t value = 0;

    if (json_peek(reader) != JSON_NUMBER)
        return json_skip(reader, err);
    if (json_number(reader, &text, err) < 0)
        return -1;
    if (json_take_integer(text, &negative, &value) == JSON_INTEGER_OK && !negative)
        *number = value;
    return 0;
}

static bool is(const struct json_string *name, const char *text)
{
    return slice_equal(name->raw, slice_text(text));
}

/* The last part of a key: what follows its last slash. */
static struct slice last_part(const char *key)
{
    const char *slash = strrchr(key, '/');

    return slice_text(slash != NULL ? slash + 1 : key);
}

/* One element of "nodes". */
static int read_child(struct json_reader *reader, struct registry_list *list, struct err *err)
{
    char *key = NULL, *value = NULL;
    uint64_t created = 0;
    bool first = true, more = true;
    struct json_string name;
    int rc = json_enter(reader, JSON_OBJECT, err);

    while (rc == 0 && (rc = json_next_name(reader, &first, &name, &more, err)) == 0 && more) {
        if (is(&name, "key"))
            rc = read_text(reader, &key, err);
        else if (is(&name, "value"))
            rc = read_text(reader, &value, err);
        else if (is(&name, "createdIndex"))
            rc = read_number(reader, &created, err);
        else
            rc = json_skip(reader, err);
    }
    if (rc == 0 && key != NULL && value != NULL &&
        !slice_equal(last_part(key), SLICE_LITERAL("_config")) &&
        !registry_list_add(list, last_part(key), slice_text(value), created)) {
        err_set(err, ERR_FORMAT, "more than %lu members in the registry", RAFT_MEMBERS_MAX);
        rc = -1;
    }
    free(key);
    free(value);
    return rc;
}

static int read_node(struct json_reader *reader, struct v2_answer *answer,
                     struct registry_list *list, struct err *err)
{
    bool first = true, more = true;
    struct json_string name;
    int rc = json_enter(reader, JSON_OBJECT, err);

    while (rc == 0 && (rc = json_next_name(reader, &first, &name, &more, err)) == 0 && more) {
        bool first_child = true, more_children = true;

        if (is(&name, "value")) {
            rc = read_text(reader, &answer->value, err);
        } else if (is(&name, "nodes") && list != NULL && json_peek(reader) == JSON_LIST) {
            rc = json_enter(reader, JSON_LIST, err);
            while (rc == 0 &&
                   (rc = json_next_element(reader, &first_child, &more_children, err)) == 0 &&
                   more_children)
                rc = read_child(reader, list, err);
        } else {
            rc = json_skip(reader, err);
        }
    }
    return rc;
}

static int read_answer(struct slice body, struct v2_answer *answer, struct registry_list *list,
                       struct err *err)
{
    struct json_reader reader;
    bool first = true, more = true;
    struct json_string name;
    int rc;

    json_reader_init(&reader, body);
    rc = json_enter(&reader, JSON_OBJECT, err);
    while (rc == 0 && (rc = json_next_name(&reader, &first, &name, &more, err)) == 0 && more) {
        if (is(&name, "node") && json_peek(&reader) == JSON_OBJECT)
            rc = read_node(&reader, answer, list, err);
        else if (is(&name, "errorCode"))
            rc = read_number(&reader, &answer->error_code, err);
        else if (is(&name, "message"))
            rc = read_text(&reader, &answer->message, err);
        else
            rc = json_skip(&reader, err);
    }
    return rc;
}

/* ---- requests ---- */

static uint64_t index_field(const struct fetch_answer *answer)
{
    struct slice field = fetch_field(answer, "X-Etcd-Index");
    bool negative = false;
    uint64_t index = 0;

    return json_take_integer(field, &negative, &index) == JSON_INTEGER_OK && !negative ? index : 0;
}

/* `list` NULL: not wanted. ERR_NET: not reached, or it says that it has a fault of its own. */
static int request(struct v2_registry *registry, const char *method, const char *path,
                   const char *body, uint64_t timeout_ms, struct v2_answer *answer,
                   struct registry_list *list, struct err *err)
{
    const struct discover_config *config = registry->base.config;
    struct fetch question = {.method = method,
                             .url = config->url,
                             .path = path,
                             .content_type =
                                 body != NULL ? "application/x-www-form-urlencoded" : NULL,
                             .body = body != NULL ? slice_text(body) : SLICE_EMPTY,
                             .tls = config->tls,
                             .timeout_ms = timeout_ms,
                             .answer_max_bytes = BOOT_ANSWER_MAX_BYTES};
    struct fetch_answer got = {0};
    struct err cause = ERR_INIT;
    int rc = -1;

    *answer = (struct v2_answer){0};
    if (fetch(&question, &got, err) < 0) {
        if (err->code == ERR_TLS)
            err->code = ERR_NET; /* a certificate can be put right meanwhile */
        return -1;
    }
    answer->status = got.status;
    answer->index = index_field(&got);
    if (got.status >= 500) {
        err_set(err, ERR_NET, "%s%s answers %u", config->url, path, got.status);
    } else if (read_answer(buf_slice(&got.body), answer, list, &cause) < 0) {
        err_set(err, ERR_USAGE,
                "discovery: bad discovery endpoint: %s%s answers %u without etcd's v2 JSON (%s); "
                "give the URL of a registry with a token behind it, or name the members with "
                "--initial-cluster",
                config->url, path, got.status, cause.text);
    } else {
        rc = 0;
    }
    fetch_answer_free(&got);
    if (rc < 0)
        answer_fini(answer);
    return rc;
}

static int size(struct registry *base, uint64_t *size, struct err *err)
{
    struct v2_registry *registry = CONTAINER_OF(base, struct v2_registry, base);
    struct v2_answer answer;
    bool negative = false;
    int rc = -1;

    if (request(registry, "GET", "/_config/size", NULL, REQUEST_TIMEOUT_MS, &answer, NULL, err) < 0)
        return -1;
    *size = 0;
    if (answer.error_code == CODE_NOT_FOUND || answer.status == 404)
        err_set(err, ERR_USAGE,
                "discovery: size key not found at %s/_config/size; make the token first: PUT the "
                "number of members there",
                base->where);
    else if (answer.value == NULL ||
             json_take_integer(slice_text(answer.value), &negative, size) != JSON_INTEGER_OK ||
             negative || *size == 0 || *size > RAFT_MEMBERS_MAX)
        err_set(err, ERR_USAGE, "discovery: size key is bad: %s/_config/size is \"%.60s\"",
                base->where, answer.value != NULL ? answer.value : "");
    else
        rc = 0;
    answer_fini(&answer);
    return rc;
}

static int list(struct registry *base, struct registry_list *list, struct err *err)
{
    struct v2_registry *registry = CONTAINER_OF(base, struct v2_registry, base);
    struct v2_answer answer;
    int rc = request(registry, "GET", "", NULL, REQUEST_TIMEOUT_MS, &answer, list, err);

    if (rc == 0 && answer.status != 200) {
        err_set(err, ERR_USAGE, "discovery: token not found: %s answers %u: %.200s", base->where,
                answer.status, answer.message != NULL ? answer.message : "");
        rc = -1;
    }
    if (rc == 0)
        registry->index = answer.index;
    answer_fini(&answer);
    return rc;
}

/* "value=" and the text with everything but letters, digits and -._~ as %XX. */
static void put_form(struct buf *body, const char *value)
{
    buf_append_text(body, "value=");
    for (; *value != '\0'; value++) {
        if ((*value >= 'a' && *value <= 'z') || (*value >= 'A' && *value <= 'Z') ||
            (*value >= '0' && *value <= '9') || strchr("-._~", *value) != NULL)
            buf_append_byte(body, (uint8_t)*value);
        else
            buf_printf(body, "%%%02X", (uint8_t)*value);
    }
}

static int enter(struct registry *base, const char *id, const char *value, struct err *err)
{
    struct v2_registry *registry = CONTAINER_OF(base, struct v2_registry, base);
    char path[64];
    struct buf body = BUF_INIT(BUF_UNLIMITED);
    struct v2_answer answer;
    int rc;

    (void)snprintf(path, sizeof(path), "/%s?prevExist=false", id); /* fits: 16 digits */
    put_form(&body, value);
    rc = request(registry, "PUT", path, buf_text(&body), REQUEST_TIMEOUT_MS, &answer, NULL, err);
    buf_free(&body);
    if (rc == 0 && answer.error_code != CODE_EXISTS && answer.status != 200 &&
        answer.status != 201) { /* taken: by us, before an answer was lost; the list will tell */
        err_set(err, ERR_USAGE, "discovery: %s does not take this member: %u %.200s", base->where,
                answer.status, answer.message != NULL ? answer.message : "");
        rc = -1;
    }
    answer_fini(&answer);
    return rc;
}

static void wait(struct registry *base)
{
    struct v2_registry *registry = CONTAINER_OF(base, struct v2_registry, base);
    struct err ignored = ERR_INIT; /* nothing happened; the list is read again in any case */
    struct v2_answer answer;
    char path[96];

    (void)snprintf(path, sizeof(path), "?wait=true&recursive=true&waitIndex=%" PRIu64,
                   registry->index + 1); /* fits */
    if (request(registry, "GET", path, NULL, WAIT_TIMEOUT_MS, &answer, NULL, &ignored) == 0)
        answer_fini(&answer);
    discover_pause(WAIT_MIN_MS);
}

static const struct registry_ops ops = {.size = size, .list = list, .enter = enter, .wait = wait};

int discover_v2(const struct discover_config *config, char **cluster, struct err *err)
{
    struct v2_registry registry = {.base = {.ops = &ops, .config = config, .where = config->url}};

    return registry_join(&registry.base, config->url, cluster, err);
}
