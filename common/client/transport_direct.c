/*
 * transport_direct.c - an exchange carried by a connection of its own (conn.h) and http-parser.
 *
 *   address -> dial -> handshake -> request -> read -> parser -> field by field, piece by piece
 *
 * How much of a body or of a chunk is still to come is known from its head: that much is read
 * straight to where exchange->room wants it; heads are read by themselves, in small steps. What
 * could not be sent whole may have been answered all the same: the answer is read first.
 */
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/client/conn.h"
#include "common/client/transport_internal.h"

#include <http_parser.h>
#include <stdio.h>
#include <unistd.h>

#define HEAD_READ_BYTES 4096UL       /* little of a body comes along: it would be copied */
#define BODY_READ_BYTES (64UL * KIB) /* where nobody says where to */
#define FIELD_MAX_BYTES (16UL * KIB) /* a line of the head */
#define HEAD_MAX_BYTES (256UL * KIB) /* all lines, trailers too */
#define UNKNOWN_LENGTH UINT64_MAX

struct direct {
    struct transport base;
    struct conn conn;
    struct conn_trust *trust; /* NULL: plain, or not needed yet */
    http_parser parser;
    struct buf field; /* the line that is being read */
    bool in_value;
    size_t head_bytes;
    uint64_t left; /* of the body, or of this chunk of it */
    bool complete;
    uint8_t room[BODY_READ_BYTES];
};

static struct direct *direct_of(struct transport *transport)
{
    return CONTAINER_OF(transport, struct direct, base);
}

static struct transport *make(void)
{
    struct direct *made = xalloc(sizeof(*made));

    made->conn.fd = -1;
    made->field = BUF_INIT(FIELD_MAX_BYTES);
    return &made->base;
}

static void release(struct transport *transport)
{
    struct direct *direct = direct_of(transport);

    conn_close(&direct->conn);
    conn_trust_free(direct->trust);
    buf_free(&direct->field);
    free(direct);
}

static bool tick(void *arg)
{
    return transport_wait(arg);
}

/* ---- opening ---- */

/* The earlier of two deadlines, each so long after the begin; 0 is none. */
static int64_t deadline(const struct transport *transport, int64_t one_ms, int64_t other_ms)
{
    int64_t least = one_ms > 0 && other_ms > 0 ? MIN(one_ms, other_ms) : MAX(one_ms, other_ms);

    return least > 0 ? transport->started_ms + least : 0;
}

/* http://[::1]:2379 -> ::1 and 2379. An endpoint's `host` is what its certificate is for. */
static char *host_of(const struct endpoint *endpoint)
{
    const char *begin = strstr(endpoint->base, "://") + 3;
    const char *end = strrchr(begin, ':');

    if (end == NULL) /* a socket's "localhost" */
        end = begin + strlen(begin);
    return *begin == '[' ? xstrndup(begin + 1, (size_t)(end - begin) - 2)
                         : xstrndup(begin, (size_t)(end - begin));
}

static bool fail_dial(const struct dial_failure *failure, struct cause_facts *facts)
{
    facts->phase = failure->stage == DIAL_LOOK_UP ? PHASE_RESOLVE : PHASE_CONNECT;
    facts->kind = CAUSE_NO_CONNECTION;
    if (failure->too_late)
        facts->kind = CAUSE_TIMEOUT;
    else if (failure->stage == DIAL_LOOK_UP)
        facts->kind = CAUSE_UNKNOWN_HOST;
    facts->os_error = failure->os_error;
    facts->words = failure->cause;
    return false;
}

static bool connect_to(struct direct *direct, int64_t until_ms, struct cause_facts *facts)
{
    const struct endpoint *endpoint = direct->base.exchange->endpoint;
    struct dial_target target = {.socket = endpoint->socket,
                                 .port = (uint16_t)strtoul(endpoint->port, NULL, 10),
                                 .until_ms = until_ms != 0 ? until_ms : INT64_MAX};
    char *host = host_of(endpoint);
    struct dial_failure failure;
    int rc;

    target.host = host;
    direct->conn = (struct conn){.fd = -1, .tick = tick, .arg = &direct->base};
    rc = dial(&target, &direct->conn.fd, &failure);
    free(host);
    if (rc < 0)
        return fail_dial(&failure, facts);
    transport_keep_alive(&direct->base, direct->conn.fd);
    return true;
}

static bool fail_conn(struct direct *direct, enum conn_result result, enum cause_phase phase,
                      struct cause_facts *facts)
{
    facts->phase = phase;
    facts->kind = result == CONN_LATE ? CAUSE_TIMEOUT : CAUSE_OTHER;
    facts->words = result == CONN_END ? "the server closed it" : direct->conn.words;
    return false;
}

static bool shake_hands(struct direct *direct, struct cause_facts *facts)
{
    const struct transport_options *options = &direct->base.options;
    struct conn_files files = {options->cert, options->key};
    enum conn_result result;

    facts->phase = PHASE_HANDSHAKE;
    conn_trust_free(direct->trust);
    direct->trust = conn_trust_new(&files, &direct->base.handshake, &facts->words);
    if (direct->trust == NULL)
        return false;
    result = conn_handshake(&direct->conn, direct->trust, direct->base.handshake.host);
    return result == CONN_OK || fail_conn(direct, result, PHASE_HANDSHAKE, facts);
}

static bool open_connection(struct direct *direct, int64_t until_ms, struct cause_facts *facts)
{
    if (!connect_to(direct, until_ms, facts))
        return false;
    direct->conn.until_ms = until_ms;
    return !direct->base.exchange->endpoint->tls || shake_hands(direct, facts);
}

/* ---- the request ---- */

#define REQUEST_HEAD_BYTES 1024UL /* without path and token */

/* HOST:PORT; the zone of an address means something on this machine only (RFC 6874). */
static void put_authority(struct buf *head, const char *base)
{
    const char *authority = strstr(base, "://") + 3, *rest;
    size_t bytes = strcspn(authority, "%");

    rest = strchr(authority + bytes, ']');
    buf_printf(head, "Host: %.*s%s\r\n", (int)bytes, authority,
               authority[bytes] == '%' && rest != NULL ? rest : authority + bytes);
}

static enum conn_result send_request(struct direct *direct)
{
    const struct exchange *exchange = direct->base.exchange;
    const char *user = transport_user_field(&direct->base);
    struct buf head = BUF_INIT(BUF_UNLIMITED);
    size_t token_bytes = exchange->token != NULL ? strlen(exchange->token) : 0;
    enum conn_result result;

    /* all at once: memory that it grew out of would keep secrets */
    must(buf_reserve(&head, REQUEST_HEAD_BYTES + strlen(exchange->path) + token_bytes +
                                strlen(exchange->endpoint->base) + exchange->body.size) != NULL);
    buf_printf(&head, "%s %s HTTP/1.1\r\n", exchange->get ? "GET" : "POST", exchange->path);
    put_authority(&head, exchange->endpoint->base);
    buf_append_text(&head, "User-Agent: etcd-client/" SUITE_VERSION "\r\n");
    if (!exchange->get)
        buf_printf(&head, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                   exchange->body.size);
    if (exchange->accept != NULL) /* TE: for what is known at the end only (RFC 9110 10.1.4) */
        buf_printf(&head, "Accept: %s\r\nTE: trailers\r\n", exchange->accept);
    buf_printf(&head, "Connection: %s%sclose\r\n", exchange->accept != NULL ? "TE, " : "",
               user != NULL ? TRANSPORT_USER_NAME ", " : "");
    if (exchange->require_leader)
        buf_append_text(&head, TRANSPORT_REQUIRE_LEADER "\r\n");
    if (exchange->token != NULL)
        buf_printf(&head, "Authorization: %s\r\n", exchange->token);
    if (user != NULL)
        buf_printf(&head, "%s\r\n", user);
    buf_append_text(&head, "\r\n");
    if (!exchange->get)
        (void)buf_append_slice(&head, exchange->body); /* has no maximum */
    result = conn_write(&direct->conn, buf_slice(&head));
    wipe(head.data, head.size); /* the token */
    buf_free(&head);
    return result;
}

/* ---- the answer ---- */

static struct direct *direct_of_parser(const http_parser *parser)
{
    return parser->data;
}

static void end_field(struct direct *direct)
{
    if (direct->in_value)
        transport_take_field(&direct->base, buf_slice(&direct->field));
    buf_reset(&direct->field);
    direct->in_value = false;
}

static int add_to_field(struct direct *direct, const char *at, size_t size)
{
    direct->head_bytes += size;
    return direct->head_bytes <= HEAD_MAX_BYTES && buf_append(&direct->field, at, size) ? 0 : -1;
}

static int on_field(http_parser *parser, const char *at, size_t size)
{
    struct direct *direct = direct_of_parser(parser);

    if (direct->in_value)
        end_field(direct);
    return add_to_field(direct, at, size);
}

static int on_value(http_parser *parser, const char *at, size_t size)
{
    struct direct *direct = direct_of_parser(parser);

    if (!direct->in_value)
        buf_append_text(&direct->field, ": ");
    direct->in_value = true;
    return add_to_field(direct, at, size);
}

static int on_head(http_parser *parser)
{
    struct direct *direct = direct_of_parser(parser);

    end_field(direct);
    direct->base.exchange->status = parser->status_code;
    direct->left = (parser->flags & F_CHUNKED) == 0 && parser->content_length != UNKNOWN_LENGTH
                       ? parser->content_length
                       : 0;
    return 0;
}

static int on_chunk(http_parser *parser)
{
    direct_of_parser(parser)->left = parser->content_length;
    return 0;
}

static int on_body(http_parser *parser, const char *at, size_t size)
{
    struct direct *direct = direct_of_parser(parser);

    direct->left -= MIN(direct->left, size);
    return transport_take(&direct->base, slice_of(at, size)) ? 0 : -1;
}

static int on_complete(http_parser *parser)
{
    struct direct *direct = direct_of_parser(parser);

    end_field(direct); /* of the trailers */
    if (parser->status_code >= 100 && parser->status_code < 200)
        return 0; /* the answer is still to come */
    direct->complete = true;
    http_parser_pause(parser, 1);
    return 0;
}

/* Where the next bytes go, and how many. */
static uint8_t *next_room(struct direct *direct, size_t *bytes)
{
    const struct exchange *exchange = direct->base.exchange;
    uint8_t *room = NULL;

    *bytes = HEAD_READ_BYTES;
    if (direct->left == 0)
        return direct->room;
    if (exchange->room != NULL && exchange->status == 200)
        room = exchange->room(exchange->arg, bytes);
    if (room == NULL)
        *bytes = sizeof(direct->room);
    *bytes = MIN(*bytes, direct->left);
    return room != NULL ? room : direct->room;
}

/* A stream has its time until its first message, anything else until its end. */
static void set_deadline(struct direct *direct)
{
    const struct transport *transport = &direct->base;

    direct->conn.until_ms = transport->exchange->stream && transport->arrived
                                ? 0
                                : deadline(transport, transport->exchange->timeout_ms, 0);
}

static bool fail_parse(const struct direct *direct, struct cause_facts *facts)
{
    facts->phase = PHASE_ANSWER;
    facts->kind = direct->base.exchange->status == 0 ? CAUSE_NO_HTTP : CAUSE_OTHER;
    facts->words = http_errno_description(HTTP_PARSER_ERRNO(&direct->parser));
    return false;
}

static bool read_answer(struct direct *direct, struct cause_facts *facts)
{
    static const http_parser_settings settings = {.on_header_field = on_field,
                                                  .on_header_value = on_value,
                                                  .on_headers_complete = on_head,
                                                  .on_chunk_header = on_chunk,
                                                  .on_body = on_body,
                                                  .on_message_complete = on_complete};
    enum conn_result result;

    http_parser_init(&direct->parser, HTTP_RESPONSE);
    direct->parser.data = direct;
    buf_reset(&direct->field);
    direct->in_value = direct->complete = false;
    direct->left = direct->head_bytes = 0;
    for (;;) {
        size_t bytes, got = 0;
        uint8_t *room = next_room(direct, &bytes);

        set_deadline(direct);
        result = conn_read(&direct->conn, room, bytes, &got);
        if (result != CONN_OK && result != CONN_END)
            return fail_conn(direct, result, PHASE_ANSWER, facts);
        (void)http_parser_execute(&direct->parser, &settings, (const char *)room, got);
        if (direct->complete)
            return true;
        if (result == CONN_END)
            return fail_conn(direct, result, PHASE_ANSWER, facts);
        if (HTTP_PARSER_ERRNO(&direct->parser) != HPE_OK)
            return fail_parse(direct, facts);
    }
}

static bool perform(struct transport *transport, struct cause_facts *facts)
{
    struct direct *direct = direct_of(transport);
    struct cause_facts later = *facts;
    int64_t whole_ms = transport->exchange->timeout_ms;
    enum conn_result sent;
    bool done = false;

    if (open_connection(direct, deadline(transport, transport->options.dial_timeout_ms, whole_ms),
                        facts)) {
        set_deadline(direct);
        sent = send_request(direct);
        done = sent == CONN_OK || sent == CONN_BROKEN || sent == CONN_END
                   ? read_answer(direct, sent == CONN_OK ? facts : &later)
                   : false;
        if (sent != CONN_OK && !done)
            (void)fail_conn(direct, sent, PHASE_ANSWER, facts);
    }
    conn_close(&direct->conn);
    return done;
}

/* ---- a second look ---- */

static void listen_for_alert(struct transport *transport)
{
    struct direct *direct = direct_of(transport);
    int64_t until_ms = clock_ms() + TRANSPORT_PROBE_MS;
    struct cause_facts ignored;
    size_t got;

    if (open_connection(direct, until_ms, &ignored))
        while (transport->handshake.alert < 0 &&
               conn_read(&direct->conn, direct->room, sizeof(direct->room), &got) == CONN_OK)
            continue; /* a reader of what nobody asked for; the deadline ends it */
    conn_close(&direct->conn);
}

/* Is it HTTP, in plain, and not the 400 by which a TLS port of Go answers it? */
static bool answers_plain(struct direct *direct)
{
    static const char question[] = "GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    char begin[13] = "";
    size_t have = 0, got;

    if (conn_write(&direct->conn, slice_text(question)) != CONN_OK)
        return false;
    while (have < sizeof(begin) - 1) { /* HTTP/1.1 200 */
        if (conn_read(&direct->conn, begin + have, sizeof(begin) - 1 - have, &got) != CONN_OK)
            return false;
        have += got;
    }
    return strncmp(begin, "HTTP/1.", 7) == 0 && strcmp(begin + 8, " 400") != 0;
}

static bool speaks_other(struct transport *transport)
{
    const struct endpoint *endpoint = transport->exchange->endpoint;
    const struct conn_files nothing = {NULL, NULL};
    struct direct *direct = direct_of(transport);
    struct conn_trust *trust = NULL;
    struct handshake handshake;
    struct cause_facts ignored;
    const char *words;
    bool other = false;

    handshake_reset(&handshake, endpoint->host, false, NULL);
    if (connect_to(direct, clock_ms() + TRANSPORT_PROBE_MS, &ignored)) {
        direct->conn.until_ms = clock_ms() + TRANSPORT_PROBE_MS;
        if (endpoint->tls)
            other = answers_plain(direct);
        else if ((trust = conn_trust_new(&nothing, &handshake, &words)) != NULL)
            other = conn_handshake(&direct->conn, trust, endpoint->host) == CONN_OK ||
                    handshake.alert >= 0;
    }
    conn_close(&direct->conn);
    conn_trust_free(trust);
    return other;
}

const struct transport_kind transport_direct = {make, release, perform, listen_for_alert,
                                                speaks_other};
