/*
 * fetch.c - see fetch.h.
 *
 *   place_parse -> dial -> shake_hands -> send -> read
 *
 * The socket does not block; await() does, until the deadline. A request that could not be sent
 * whole may have been answered all the same (413, an alert that says why): the answer is read
 * first.
 */
#include "common/client/fetch.h"
#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/url.h"
#include "common/client/dial.h"

#include <errno.h>
#include <http_parser.h>
#include <poll.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES (16UL * KIB) /* one TLS record */

struct place {
    struct url url;  /* where to connect */
    char *authority; /* owned; for the Host field */
    char *path;      /* owned; path and query to ask for */
    char *text;      /* owned; the whole, for messages */
};

struct wire {
    const struct place *place;
    int fd;
    struct tls_session *session; /* NULL: plain */
    int64_t until_ms;
    const char *doing; /* what is waited for */
};

/* What the parser's callbacks fill. */
struct reading {
    struct fetch_answer *answer;
    bool no_body; /* HEAD */
    bool in_value;
    bool complete;
};

static int fail(const struct wire *wire, const char *cause, struct err *err)
{
    err_set(err, ERR_NET, "%s: %s: %s", wire->place->text, wire->doing, cause);
    return -1;
}

/* ---- the URL ---- */

static void place_free(struct place *place)
{
    url_fini(&place->url);
    free(place->authority);
    free(place->path);
    free(place->text);
}

/* scheme://host[:port][/path][?query]; the port of the scheme if there is none. */
static int parse_web(const struct fetch *fetch, const char *authority, struct place *place,
                     struct err *err)
{
    size_t host_bytes = strcspn(authority, "/?#"), rest_bytes;
    const char *rest = authority + host_bytes, *bracket, *path = fetch->path;
    bool https = strncasecmp(fetch->url, "https", 5) == 0;
    char *whole;
    int rc;

    place->authority = xstrndup(authority, host_bytes);
    rest_bytes = strcspn(rest, "#");
    if (path == NULL || (rest_bytes == 1 && *rest == '/'))
        rest_bytes = path != NULL ? 0 : rest_bytes;
    place->path = xasprintf("%s%.*s%s", rest_bytes == 0 || *rest == '/' ? "" : "/", (int)rest_bytes,
                            rest, path != NULL ? path : "");
    if (place->path[0] == '\0') {
        free(place->path);
        place->path = xstrdup("/");
    }
    bracket = strrchr(place->authority, ']');
    whole = xasprintf("%s://%s%s", https ? "https" : "http", place->authority,
                      strchr(bracket != NULL ? bracket : place->authority, ':') != NULL ? ""
                      : https ? ":443"
                              : ":80");
    rc = url_parse(whole, &place->url, err);
    free(whole);
    return rc;
}

static int place_parse(const struct fetch *fetch, struct place *place, struct err *err)
{
    const char *colon = strstr(fetch->url, "://");

    *place = (struct place){.text = xasprintf("%.*s%s", URL_MAX_BYTES, fetch->url,
                                              fetch->path != NULL ? fetch->path : "")};
    if (strlen(fetch->url) <= URL_MAX_BYTES && colon != NULL &&
        (strncasecmp(fetch->url, "http:", 5) == 0 || strncasecmp(fetch->url, "https:", 6) == 0)) {
        if (parse_web(fetch, colon + 3, place, err) < 0)
            return -1;
    } else {
        if (url_parse(fetch->url, &place->url, err) < 0)
            return -1;
        place->authority = xstrdup("localhost");
        place->path = xstrdup(fetch->path != NULL ? fetch->path : "/");
    }
    for (const char *at = place->path; *at != '\0'; at++)
        if ((unsigned char)*at <= ' ' || *at == 0x7f) {
            err_set(err, ERR_USAGE, "%s: a URL has no blanks and control characters", place->text);
            return -1;
        }
    if (url_is_tls(&place->url) && fetch->tls == NULL) {
        err_set(err, ERR_USAGE, "%s: needs TLS, and no certificates to trust are set for it",
                place->text);
        return -1;
    }
    return 0;
}

/* ---- waiting ---- */

/* Until `events` are there, or the deadline. */
static int await(const struct wire *wire, short events, struct err *err)
{
    struct pollfd poll_fd = {.fd = wire->fd, .events = events};
    int64_t now;
    int ready;

    do {
        now = clock_ms();
        if (now >= wire->until_ms)
            return fail(wire, "not done in time (i/o timeout)", err);
        ready = poll(&poll_fd, 1, (int)MIN(wire->until_ms - now, INT32_MAX));
    } while (ready == 0 || (ready < 0 && errno == EINTR));
    return ready > 0 ? 0 : fail(wire, strerror(errno), err);
}

/* ---- the connection ---- */

static int connect_to(struct wire *wire, struct err *err)
{
    const struct url *url = &wire->place->url;
    struct dial_target target = {.host = url->host, .port = url->port, .until_ms = wire->until_ms};
    struct dial_failure failure;

    if (url->scheme == URL_UNIX || url->scheme == URL_UNIXS)
        target.socket = url->host;
    if (dial(&target, &wire->fd, &failure) == 0)
        return 0;
    wire->doing = failure.stage == DIAL_LOOK_UP ? "look up the host" : "connect";
    return fail(wire, failure.cause, err);
}

/* What the socket takes at once; negative: broken, errno says how. */
static ssize_t send_some(const struct wire *wire, struct slice bytes)
{
    ssize_t sent = send(wire->fd, bytes.data, bytes.size, MSG_NOSIGNAL);

    return sent < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : sent;
}

static int send_all(const struct wire *wire, struct slice bytes, struct err *err)
{
    while (bytes.size != 0) {
        ssize_t sent = send_some(wire, bytes);

        if (sent < 0)
            return fail(wire, strerror(errno), err);
        bytes = slice_of(bytes.data + sent, bytes.size - (size_t)sent);
        if (bytes.size != 0 && await(wire, POLLOUT, err) < 0)
            return -1;
    }
    return 0;
}

static int flush(struct wire *wire, struct err *err)
{
    struct slice out = tls_session_output(wire->session);

    if (send_all(wire, out, err) < 0)
        return -1;
    tls_session_output_sent(wire->session, out.size);
    return 0;
}

/* Bytes from the socket into `room`; 0 at the end of the stream. */
static ssize_t receive(struct wire *wire, uint8_t *room, size_t room_bytes, struct err *err)
{
    ssize_t got;

    for (;;) {
        got = recv(wire->fd, room, room_bytes, 0);
        if (got >= 0)
            return got;
        if (errno != EAGAIN && errno != EINTR)
            return fail(wire, strerror(errno), err);
        if (await(wire, POLLIN, err) < 0)
            return -1;
    }
}

/* Ciphertext from the socket into the session. */
static int receive_sealed(struct wire *wire, struct err *err)
{
    size_t room_bytes = 0;
    uint8_t *room = tls_session_input_room(wire->session, &room_bytes);
    ssize_t got;

    must(room != NULL); /* everything is read out of the session at once */
    got = receive(wire, room, room_bytes, err);
    if (got == 0)
        tls_session_input_end(wire->session);
    else if (got > 0)
        tls_session_input_advance(wire->session, (size_t)got);
    return got < 0 ? -1 : 0;
}

static int fail_tls(const struct wire *wire, struct err *err)
{
    err_prefix(err, "%s", wire->place->text);
    return -1;
}

static int shake_hands(struct wire *wire, struct tls_context *tls, struct err *err)
{
    bool named = wire->place->url.scheme == URL_HTTPS;
    struct err ignored = ERR_INIT;

    wire->doing = "TLS handshake";
    if (tls_session_new(tls, named ? wire->place->url.host : NULL, &wire->session, err) < 0)
        return fail_tls(wire, err);
    for (;;) {
        switch (tls_session_handshake(wire->session, err)) {
        case TLS_OK:
            return flush(wire, err);
        case TLS_AGAIN:
            if (flush(wire, err) < 0 || receive_sealed(wire, err) < 0)
                return -1;
            break;
        case TLS_EOF:
            return fail(wire, "the connection was closed", err);
        case TLS_ERROR:
            (void)flush(wire, &ignored); /* the alert; what matters is known */
            return fail_tls(wire, err);
        }
    }
}

/* ---- request and answer ---- */

static int send_plain(struct wire *wire, struct slice bytes, struct err *err)
{
    if (wire->session == NULL)
        return send_all(wire, bytes, err);
    while (bytes.size != 0) {
        size_t taken = 0;

        if (tls_session_write(wire->session, bytes, &taken, err) == TLS_ERROR)
            return fail_tls(wire, err);
        bytes = slice_of(bytes.data + taken, bytes.size - taken);
        if (flush(wire, err) < 0)
            return -1;
    }
    return 0;
}

static int send_request(struct wire *wire, const struct fetch *fetch, struct err *err)
{
    struct buf head = BUF_INIT(BUF_UNLIMITED);
    bool has_body = fetch->body.size != 0 || strcmp(fetch->method, "POST") == 0 ||
                    strcmp(fetch->method, "PUT") == 0;
    int rc;

    wire->doing = "send the request";
    buf_printf(&head, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: etcd-server\r\n", fetch->method,
               wire->place->path, wire->place->authority);
    buf_append_text(&head, "Connection: close\r\n");
    if (has_body)
        buf_printf(&head, "Content-Length: %zu\r\n", fetch->body.size);
    if (fetch->content_type != NULL)
        buf_printf(&head, "Content-Type: %s\r\n", fetch->content_type);
    buf_append_text(&head, fetch->fields != NULL ? fetch->fields : "");
    buf_append_text(&head, "\r\n");
    rc = send_plain(wire, buf_slice(&head), err);
    if (rc == 0)
        rc = send_plain(wire, fetch->body, err);
    buf_free(&head);
    return rc;
}

static int on_field(http_parser *parser, const char *at, size_t size)
{
    struct reading *reading = parser->data;
    struct buf *fields = &reading->answer->fields;

    if (reading->in_value)
        buf_append_byte(fields, '\n');
    reading->in_value = false;
    return buf_append(fields, at, size) ? 0 : -1;
}

static int on_value(http_parser *parser, const char *at, size_t size)
{
    struct reading *reading = parser->data;
    struct buf *fields = &reading->answer->fields;

    if (!reading->in_value)
        buf_append_byte(fields, ':');
    reading->in_value = true;
    return buf_append(fields, at, size) ? 0 : -1;
}

static int on_head(http_parser *parser)
{
    struct reading *reading = parser->data;

    buf_append_byte(&reading->answer->fields, '\n');
    reading->in_value = false;
    reading->answer->status = parser->status_code;
    return reading->no_body ? 1 : 0;
}

static int on_body(http_parser *parser, const char *at, size_t size)
{
    struct reading *reading = parser->data;

    return buf_append(&reading->answer->body, at, size) ? 0 : -1;
}

static int on_complete(http_parser *parser)
{
    struct reading *reading = parser->data;

    if (reading->answer->status >= 100 && reading->answer->status < 200) {
        buf_reset(&reading->answer->fields); /* "100 Continue": the answer is still to come */
        return 0;
    }
    reading->complete = true;
    http_parser_pause(parser, 1);
    return 0;
}

/* Plaintext into `room`; 0 at the end. */
static ssize_t read_plain(struct wire *wire, uint8_t *room, size_t room_bytes, struct err *err)
{
    size_t got = 0;

    if (wire->session == NULL)
        return receive(wire, room, room_bytes, err);
    for (;;) {
        switch (tls_session_read(wire->session, room, room_bytes, &got, err)) {
        case TLS_OK:
            return (ssize_t)got;
        case TLS_AGAIN:
            if (receive_sealed(wire, err) < 0)
                return -1;
            break;
        case TLS_EOF:
            return 0;
        case TLS_ERROR:
            return fail_tls(wire, err);
        }
    }
}

static int read_answer(struct wire *wire, struct reading *reading, struct err *err)
{
    static const http_parser_settings settings = {.on_header_field = on_field,
                                                  .on_header_value = on_value,
                                                  .on_headers_complete = on_head,
                                                  .on_body = on_body,
                                                  .on_message_complete = on_complete};
    struct fetch_answer *answer = reading->answer;
    http_parser parser;
    uint8_t room[READ_BYTES];
    ssize_t got;

    wire->doing = "read the answer";
    http_parser_init(&parser, HTTP_RESPONSE);
    parser.data = reading;
    for (;;) {
        got = read_plain(wire, room, sizeof(room), err);
        if (got < 0)
            return -1;
        (void)http_parser_execute(&parser, &settings, (const char *)room, (size_t)got);
        if (reading->complete)
            return 0;
        if (answer->fields.overflow || answer->body.overflow) {
            err_set(err, ERR_NET, "%s: the answer has more than %zu bytes of %s", wire->place->text,
                    answer->body.overflow ? answer->body.max : answer->fields.max,
                    answer->body.overflow ? "body" : "header");
            return -1;
        }
        if (got == 0)
            return fail(wire, "the connection was closed before all of it was there", err);
        if (HTTP_PARSER_ERRNO(&parser) != HPE_OK)
            return fail(wire, http_errno_description(HTTP_PARSER_ERRNO(&parser)), err);
    }
}

static int exchange(struct wire *wire, const struct fetch *fetch, struct reading *reading,
                    struct err *err)
{
    struct err later = ERR_INIT;

    if (connect_to(wire, err) < 0 ||
        (url_is_tls(&wire->place->url) && shake_hands(wire, fetch->tls, err) < 0))
        return -1;
    if (send_request(wire, fetch, err) == 0)
        return read_answer(wire, reading, err);
    /* `err` says why it could not be sent; what is read may know better */
    if (read_answer(wire, reading, &later) == 0)
        return 0;
    if (later.code == ERR_TLS)
        *err = later;
    return -1;
}

/* Nothing is waited for any more: the goodbye goes out if the socket takes it. */
static void hang_up(struct wire *wire)
{
    if (wire->session != NULL && tls_session_open(wire->session)) {
        tls_session_close(wire->session);
        (void)send_some(wire, tls_session_output(wire->session));
    }
    tls_session_free(wire->session);
    if (wire->fd >= 0)
        (void)close(wire->fd);
}

int fetch(const struct fetch *fetch, struct fetch_answer *answer, struct err *err)
{
    struct fetch_answer got = {.fields = BUF_INIT(HTTP_HEADER_MAX_BYTES),
                               .body = BUF_INIT(fetch->answer_max_bytes)};
    struct reading reading = {.answer = &got, .no_body = strcmp(fetch->method, "HEAD") == 0};
    struct place place;
    struct wire wire = {
        .place = &place, .fd = -1, .until_ms = clock_ms() + (int64_t)fetch->timeout_ms};
    struct err cause = ERR_INIT;
    int rc;

    must(fetch->timeout_ms != 0);
    rc = place_parse(fetch, &place, &cause);
    if (rc == 0)
        rc = exchange(&wire, fetch, &reading, &cause);
    hang_up(&wire);
    place_free(&place);
    if (rc == 0) {
        *answer = got;
    } else {
        fetch_answer_free(&got);
        *err = cause; /* the last of several addresses; none if one of them worked */
    }
    return rc;
}

void fetch_answer_free(struct fetch_answer *answer)
{
    buf_free(&answer->fields);
    buf_free(&answer->body);
}

struct slice fetch_field(const struct fetch_answer *answer, const char *name)
{
    struct slice left = buf_slice(&answer->fields);
    size_t name_bytes = strlen(name);

    while (left.size != 0) {
        const uint8_t *end = memchr(left.data, '\n', left.size);
        size_t line_bytes = end != NULL ? (size_t)(end - left.data) : left.size;

        if (line_bytes > name_bytes && left.data[name_bytes] == ':' &&
            strncasecmp((const char *)left.data, name, name_bytes) == 0) {
            struct slice value = slice_of(left.data + name_bytes + 1, line_bytes - name_bytes - 1);

            while (value.size != 0 && (*value.data == ' ' || *value.data == '\t'))
                value = slice_of(value.data + 1, value.size - 1);
            while (value.size != 0 &&
                   (value.data[value.size - 1] == ' ' || value.data[value.size - 1] == '\t'))
                value.size--;
            return value;
        }
        line_bytes += end != NULL;
        left = slice_of(left.data + line_bytes, left.size - line_bytes);
    }
    return SLICE_EMPTY;
}
