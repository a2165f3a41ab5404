/* endpoint.c - see endpoint.h. What etcdctl dials is dialled; of the rest only what libcurl would
 * misread is refused: bad hosts fail to resolve, and that says more. */
#include "common/client/endpoint.h"

#include "common/base/limits.h"

#include <strings.h>

/* A scheme has no case (RFC 3986 3.1). */
static bool skip(struct slice *text, const char *prefix)
{
    size_t length = strlen(prefix);

    if (text->size < length || strncasecmp((const char *)text->data, prefix, length) != 0)
        return false;
    *text = slice_of(text->data + length, text->size - length);
    return true;
}

static char *text_of(struct slice text)
{
    return xstrndup(text.data != NULL ? (const char *)text.data : "", text.size);
}

/* "host:port" or "[v6]:port" into its halves; false when there is no port. */
static bool split_port(struct slice text, struct slice *host, struct slice *port)
{
    size_t colon = text.size;

    while (colon > 0 && text.data[colon - 1] != ':' && text.data[colon - 1] != ']')
        colon--;
    if (colon == 0 || text.data[colon - 1] != ':' || colon == text.size)
        return false;
    *host = slice_of(text.data, colon - 1);
    *port = slice_of(text.data + colon, text.size - colon);
    if (host->size > 2 && host->data[0] == '[' && host->data[host->size - 1] == ']')
        *host = slice_of(host->data + 1, host->size - 2);
    else if (memchr(host->data, ':', host->size) != NULL)
        return false; /* an IPv6 address without brackets */
    return true;
}

static bool is_port(struct slice text)
{
    unsigned long number = 0;

    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || i > 4)
            return false;
        number = number * 10 + (text.data[i] - '0');
    }
    return number >= 1 && number <= 65535;
}

static bool has_odd_byte(struct slice text)
{
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] <= ' ' || text.data[i] == 0x7f || strchr("/?#@\\\"<>", text.data[i]))
            return true;
    return false;
}

static int parse_socket(struct slice whole, struct slice path, bool tls, struct endpoint *endpoint,
                        struct err *err)
{
    (void)skip(&path, "//"); /* unix:/path is the same socket as unix:///path */
    if (path.size == 0 || path.size > SOCKET_PATH_MAX || memchr(path.data, 0, path.size) != NULL) {
        err_set(err, ERR_USAGE, "endpoint \"%.*s\": the path of a unix socket has 1 to %u bytes",
                (int)MIN(whole.size, 200), (const char *)whole.data, SOCKET_PATH_MAX);
        return -1;
    }
    *endpoint = (struct endpoint){.typed = text_of(whole),
                                  .base = xstrdup(tls ? "https://localhost" : "http://localhost"),
                                  .host = xstrdup("localhost"),
                                  .port = xstrdup(""),
                                  .socket = text_of(path),
                                  .tls = tls,
                                  .scheme = true};
    return 0;
}

/* Of a URL only host and port count: user, path, query and fragment are nothing to a gRPC
 * client. */
static struct slice host_and_port(struct slice text)
{
    size_t end = 0;

    while (end < text.size && strchr("/?#", text.data[end]) == NULL)
        end++;
    for (size_t at = end; at > 0; at--)
        if (text.data[at - 1] == '@')
            return slice_of(text.data + at, end - at);
    return slice_of(text.data, end);
}

/* In a URL the zone of an IPv6 address comes behind "%25" (RFC 6874); resolvers want "%". */
static char *host_text(struct slice host, bool url)
{
    char *text = text_of(host), *zone = url ? strstr(text, "%25") : NULL;

    if (zone != NULL && strchr(text, ':') != NULL)
        memmove(zone + 1, zone + 3, strlen(zone + 3) + 1);
    return text;
}

int endpoint_parse(struct slice text, bool tls, struct endpoint *endpoint, struct err *err)
{
    struct slice whole = slice_trim(text), rest = whole, host, port;
    const char *name = (const char *)whole.data;
    int shown = (int)MIN(whole.size, 200);
    bool scheme = true;

    if (skip(&rest, "unixs:"))
        return parse_socket(whole, rest, true, endpoint, err);
    if (skip(&rest, "unix:"))
        return parse_socket(whole, rest, tls, endpoint, err);
    if (skip(&rest, "https://"))
        tls = true;
    else if (skip(&rest, "http://"))
        tls = false;
    else
        scheme = false;
    if (!scheme && whole.size != 0 && memmem(whole.data, whole.size, "://", 3) != NULL) {
        err_set(err, ERR_USAGE, "endpoint \"%.*s\": the scheme must be http, https, unix or unixs",
                shown, name);
        return -1;
    }
    if (scheme)
        rest = host_and_port(rest);
    if (!split_port(rest, &host, &port)) {
        err_set(err, ERR_USAGE, "endpoint \"%.*s\" has no port%s", shown, name,
                memchr(rest.data != NULL ? rest.data : whole.data, ':', rest.size) != NULL
                    ? " (an IPv6 address is written [ADDRESS]:PORT)"
                    : "");
        return -1;
    }
    if (!is_port(port)) {
        err_set(err, ERR_USAGE, "endpoint \"%.*s\": \"%.*s\" is not a port (1 to 65535)", shown,
                name, (int)MIN(port.size, 200), (const char *)port.data);
        return -1;
    }
    if (host.size == 0)
        host = SLICE_LITERAL("localhost"); /* ":2379" */
    if (has_odd_byte(host) ||
        (memchr(host.data, '%', host.size) != NULL && memchr(host.data, ':', host.size) == NULL)) {
        err_set(err, ERR_USAGE, "endpoint \"%.*s\" is neither host:port nor a URL", shown, name);
        return -1;
    }
    *endpoint = (struct endpoint){.typed = text_of(whole),
                                  .host = host_text(host, scheme),
                                  .port = text_of(port),
                                  .tls = tls,
                                  .scheme = scheme};
    endpoint->base = xasprintf(strchr(endpoint->host, ':') != NULL ? "%s://[%s]:%s" : "%s://%s:%s",
                               tls ? "https" : "http", endpoint->host, endpoint->port);
    return 0;
}

void endpoint_keep(struct slice text, const struct err *fault, struct endpoint *endpoint)
{
    *endpoint = (struct endpoint){.typed = text_of(slice_trim(text)),
                                  .base = xstrdup(""),
                                  .host = xstrdup(""),
                                  .port = xstrdup(""),
                                  .fault = xstrdup(fault->text)};
}

void endpoint_free(struct endpoint *endpoint)
{
    free(endpoint->typed);
    free(endpoint->base);
    free(endpoint->host);
    free(endpoint->port);
    free(endpoint->socket);
    free(endpoint->fault);
    *endpoint = (struct endpoint){0};
}
