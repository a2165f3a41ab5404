/*
 * client.c - see client.h. In this order, as etcd does it:
 *   host check -> CORS -> OPTIONS -> clean path -> /v3/ | /version /health ... | 404
 */
#include "etcd-server/doors/client.h"

#include "common/base/hex.h"
#include "etcd-server/doors/gateway.h"
#include "etcd-server/doors/ops.h"

#define CORS_FIELDS                                                                                \
    "Access-Control-Allow-Headers: accept, content-type, authorization\r\n"                        \
    "Access-Control-Allow-Methods: POST, GET, OPTIONS, PUT, DELETE\r\n"                            \
    "Access-Control-Allow-Origin: "

struct origin {
    char *name;   /* owned */
    char *fields; /* owned: the lines its answers carry */
};

struct client {
    struct gateway *gateway;
    struct ops *ops;
    struct origin *origins; /* owned */
    size_t origin_count;
    char *any_fields; /* owned: set when every origin is allowed */
    char **hosts;     /* owned, each owned */
    size_t host_count;
    bool any_host;
    bool monitoring;
};

struct client *client_new(const struct client_config *config)
{
    struct client *client = xalloc(sizeof(*client));

    client->gateway = config->gateway;
    client->ops = config->ops;
    client->monitoring = config->monitoring;
    client->origins = xalloc(MAX(config->cors_count, 1) * sizeof(*client->origins));
    client->hosts = xalloc(MAX(config->host_count, 1) * sizeof(*client->hosts));
    for (size_t i = 0; i < config->cors_count; i++) {
        struct origin *origin = &client->origins[client->origin_count++];

        origin->name = xstrdup(config->cors[i]);
        origin->fields = xasprintf(CORS_FIELDS "%s\r\n", config->cors[i]);
        if (strcmp(config->cors[i], "*") == 0 && client->any_fields == NULL)
            client->any_fields = xstrdup(origin->fields);
    }
    client->any_host = config->host_count == 0;
    for (size_t i = 0; i < config->host_count; i++) {
        client->hosts[client->host_count++] = xstrdup(config->hosts[i]);
        if (strcmp(config->hosts[i], "*") == 0)
            client->any_host = true;
    }
    return client;
}

void client_free(struct client *client)
{
    if (client == NULL)
        return;
    for (size_t i = 0; i < client->origin_count; i++) {
        free(client->origins[i].name);
        free(client->origins[i].fields);
    }
    for (size_t i = 0; i < client->host_count; i++)
        free(client->hosts[i]);
    free(client->any_fields);
    free(client->origins);
    free(client->hosts);
    free(client);
}

/* ---- host check and CORS ---- */

static struct slice without_port(struct slice host)
{
    const uint8_t *end;

    if (host.size != 0 && host.data[0] == '[') {
        end = memchr(host.data, ']', host.size);
        return end != NULL ? slice_of(host.data + 1, (size_t)(end - host.data) - 1) : host;
    }
    end = host.size != 0 ? memchr(host.data, ':', host.size) : NULL;
    return end != NULL ? slice_of(host.data, (size_t)(end - host.data)) : host;
}

static bool host_allowed(const struct client *client, const struct exchange *exchange)
{
    struct slice host;

    if (client->any_host || exchange->link->tls)
        return true;
    host = without_port(exchange->host);
    for (size_t i = 0; i < client->host_count; i++)
        if (slice_equal(slice_text(client->hosts[i]), host))
            return true;
    return false;
}

static void refuse_host(struct exchange *exchange)
{
    exchange_text(exchange, 421,
                  "\netcd received your request, but the Host header was unrecognized.\n\n"
                  "Either use TLS, where every host is served, or let the server know the name: "
                  "--host-whitelist=NAME.\n"
                  "Without this check a web page could reach the server under a name of its own "
                  "(DNS rebinding).\n");
}

static const char *cors_fields(const struct client *client, const struct exchange *exchange)
{
    struct slice origin;

    if (client->any_fields != NULL)
        return client->any_fields;
    if (client->origin_count == 0 || !exchange_field(exchange, "origin", &origin))
        return NULL;
    for (size_t i = 0; i < client->origin_count; i++)
        if (slice_equal(slice_text(client->origins[i].name), origin))
            return client->origins[i].fields;
    return NULL;
}

/* ---- paths ---- */

/* False when a '%' is not followed by two digits. */
static bool decode_path(struct slice path, struct buf *decoded)
{
    for (size_t i = 0; i < path.size; i++) {
        int high, low;

        if (path.data[i] != '%') {
            buf_append_byte(decoded, path.data[i]);
            continue;
        }
        if (path.size - i < 3)
            return false;
        high = hex_digit(path.data[i + 1]);
        low = hex_digit(path.data[i + 2]);
        if (high < 0 || low < 0)
            return false;
        buf_append_byte(decoded, (uint8_t)(high << 4 | low));
        i += 2;
    }
    return true;
}

static bool is_clean(struct slice path)
{
    if (path.size == 0 || path.data[0] != '/')
        return false;
    for (size_t i = 0; i + 1 < path.size; i++) {
        const uint8_t *at = path.data + i;
        size_t left = path.size - i;

        if (at[0] != '/')
            continue;
        if (at[1] == '/')
            return false;
        if (at[1] == '.' &&
            (left == 2 || at[2] == '/' || (at[2] == '.' && (left == 3 || at[3] == '/'))))
            return false;
    }
    return true;
}

/* What Go's path.Clean makes of it, with the slash at the end kept. */
static void clean_path(struct slice path, struct buf *clean)
{
    size_t at = 0;

    while (at < path.size) {
        size_t start, size;

        while (at < path.size && path.data[at] == '/')
            at++;
        start = at;
        while (at < path.size && path.data[at] != '/')
            at++;
        size = at - start;
        if (size == 0 || (size == 1 && path.data[start] == '.'))
            continue;
        if (size == 2 && path.data[start] == '.' && path.data[start + 1] == '.') {
            while (clean->size != 0 && clean->data[--clean->size] != '/')
                continue;
            continue;
        }
        buf_append_byte(clean, '/');
        buf_append(clean, path.data + start, size);
    }
    if (clean->size == 0 || (path.size != 0 && path.data[path.size - 1] == '/'))
        buf_append_byte(clean, '/');
}

static bool safe_in_header(struct slice text)
{
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] <= ' ' || text.data[i] > '~' || strchr("\"<>\\%", text.data[i]) != NULL)
            return false;
    return true;
}

static void redirect(struct exchange *exchange, struct slice path)
{
    bool reads = exchange->method == METHOD_GET || exchange->method == METHOD_HEAD;
    struct buf fields = BUF_INIT(BUF_UNLIMITED), body = BUF_INIT(BUF_UNLIMITED);
    struct exchange_head head = {.status = 301};

    if (!safe_in_header(path) || !safe_in_header(exchange->query)) {
        exchange_not_found(exchange); /* nobody's endpoint is written like that */
        return;
    }
    buf_append_text(&fields, "Location: ");
    buf_append_slice(&fields, path);
    if (exchange->query.size != 0) {
        buf_append_byte(&fields, '?');
        buf_append_slice(&fields, exchange->query);
    }
    if (reads)
        buf_printf(&body, "<a href=\"%.*s\">Moved Permanently</a>.\n\n", (int)(fields.size - 10),
                   (const char *)fields.data + 10);
    buf_append_text(&fields, "\r\n");
    head.fields = buf_text(&fields);
    head.content_type = reads ? "text/html; charset=utf-8" : NULL;
    exchange_answer(exchange, &head, buf_slice(&body));
    buf_free(&fields);
    buf_free(&body);
}

static void route(struct client *client, struct exchange *exchange, struct slice path)
{
    struct buf clean = BUF_INIT(BUF_UNLIMITED);

    if (!is_clean(path)) {
        clean_path(path, &clean);
        redirect(exchange, buf_slice(&clean));
        buf_free(&clean);
    } else if (client->gateway != NULL && slice_equal(path, SLICE_LITERAL("/v3"))) {
        redirect(exchange, SLICE_LITERAL("/v3/"));
    } else if (client->gateway != NULL && gateway_serves(path)) {
        gateway_start(client->gateway, exchange, path);
    } else if (client->monitoring) {
        ops_monitor(client->ops, exchange, path);
    } else if (client->ops != NULL) {
        ops_start(client->ops, exchange, path);
    } else {
        exchange_not_found(exchange);
    }
}

static void start(void *arg, struct exchange *exchange)
{
    static const struct exchange_head empty = {.status = 200};
    struct client *client = arg;
    struct buf decoded = BUF_INIT(BUF_UNLIMITED); /* at most HTTP_HEADER_MAX_BYTES */

    if (!host_allowed(client, exchange)) {
        refuse_host(exchange);
        return;
    }
    exchange->common_fields = cors_fields(client, exchange);
    if (exchange->method == METHOD_OPTIONS && !client->monitoring) {
        exchange_answer(exchange, &empty, SLICE_EMPTY);
    } else if (slice_equal(exchange->path, SLICE_LITERAL("*"))) {
        exchange_text(exchange, 400, "400 Bad Request: * is a target of OPTIONS only");
    } else if (exchange->path.size == 0 ||
               memchr(exchange->path.data, '%', exchange->path.size) == NULL) {
        route(client, exchange, exchange->path);
    } else if (decode_path(exchange->path, &decoded)) {
        route(client, exchange, buf_slice(&decoded));
    } else {
        exchange_text(exchange, 400, "400 Bad Request: a % in the path needs two hex digits");
    }
    buf_free(&decoded);
}

/* Of a path as it is in the table: any other spelling is collected whole, and works as well. */
static bool streams(void *arg, const struct exchange *exchange)
{
    const struct client *client = arg;

    return client->gateway != NULL && exchange->body_bytes == 0 && gateway_streams(exchange);
}

/*
 * Browsers let any page open a WebSocket to us, so the origin is checked here (api.md 12.6 leaves
 * it to the browser, which does not).
 */
static bool upgrades(void *arg, const struct exchange *exchange)
{
    const struct client *client = arg;
    struct slice origin;

    return client->gateway != NULL && gateway_serves(exchange->path) &&
           host_allowed(client, exchange) &&
           (!exchange_field(exchange, "origin", &origin) || cors_fields(client, exchange) != NULL);
}

struct exchange_handler client_handler(struct client *client)
{
    return (struct exchange_handler){
        .arg = client, .start = start, .streams = streams, .upgrades = upgrades};
}
