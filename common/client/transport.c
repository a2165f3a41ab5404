/*
 * transport.c - see transport.h: what does not depend on who carries an exchange.
 *
 *   exchange -> kind->perform() -> transport_take() ... -> answered, or failed(): the facts, and
 *   what a second, short connection finds out when they leave the cause open -> cause_tell()
 */
#include "common/base/base64.h"
#include "common/base/clock.h"
#include "common/client/transport_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <strings.h>
#include <sys/socket.h>

#define KEEPALIVE_PROBES 3
#define KEEPALIVE_MAX_MS INT64_C(10000000) /* what the kernel takes: 32767 s, and some */
#define IDLE_MS 900                        /* of silence, before exchange->idle is asked */

static const char *either(const char *text, const char *other)
{
    return text != NULL ? text : other;
}

int transport_new(const struct transport_kind *kind, const struct transport_options *options,
                  struct transport **transport, struct client_failure *failure, struct err *err)
{
    const struct credential_files files = {options->cacert, options->cert, options->key};
    const struct credential_files typed = {either(options->typed.cacert, files.cacert),
                                           either(options->typed.cert, files.cert),
                                           either(options->typed.key, files.key)};
    struct transport *made;
    struct cert_words own;
    bool own_expired;

    if (credentials_check(&files, &typed, &own, &own_expired, err) < 0) {
        failure->kind = CLIENT_FAILURE_SETUP;
        return -1;
    }
    made = kind->make();
    made->kind = kind;
    made->options = *options;
    made->options.typed = typed;
    made->own = own;
    made->own_expired = own_expired;
    *transport = made;
    return 0;
}

void transport_free(struct transport *transport)
{
    if (transport != NULL)
        transport->kind->free(transport);
}

void transport_set_certificate_user(struct transport *transport, bool certificate_user)
{
    transport->options.certificate_user = certificate_user;
}

/*
 * Probe a silent connection after keepalive_time, give it up keepalive_timeout later; also one that
 * leaves what we send unanswered. Best effort: a unix socket has none of this and needs none.
 */
void transport_keep_alive(const struct transport *transport, int fd)
{
    const struct transport_options *options = &transport->options;
    int64_t time_ms = options->keepalive_time_ms, timeout_ms = options->keepalive_timeout_ms;
    int on = 1, probes = KEEPALIVE_PROBES, idle_s, between_s, unanswered_ms;

    if (time_ms <= 0)
        time_ms = CLIENT_KEEPALIVE_TIME_MS_DEFAULT;
    if (timeout_ms <= 0)
        timeout_ms = CLIENT_KEEPALIVE_TIMEOUT_MS_DEFAULT;
    time_ms = MIN(time_ms, KEEPALIVE_MAX_MS);
    timeout_ms = MIN(timeout_ms, KEEPALIVE_MAX_MS);
    idle_s = (int)MAX(time_ms / 1000, 1);
    between_s = (int)MAX(timeout_ms / KEEPALIVE_PROBES / 1000, 1);
    unanswered_ms = (int)(time_ms + timeout_ms);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &between_s, sizeof(between_s));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unanswered_ms, sizeof(unanswered_ms));
}

/*
 * Behind a gateway there may be anybody, so a certificate's CN is no user there, in an etcd as in
 * ours; who says in so many words that he is the one whom it names is taken for him by ours.
 */
const char *transport_user_field(const struct transport *transport)
{
    return transport->options.certificate_user && transport->exchange->endpoint->tls
               ? TRANSPORT_USER_NAME ": true"
               : NULL;
}

/* ---- what the head says ---- */

/* A line that begins with `name`, whatever its case: what follows, its blanks trimmed. */
static bool field_is(struct slice line, const char *name, struct slice *value)
{
    size_t bytes = strlen(name);

    if (line.size < bytes || strncasecmp((const char *)line.data, name, bytes) != 0)
        return false;
    line = slice_of(line.data + bytes, line.size - bytes);
    while (line.size != 0 && (*line.data == ' ' || *line.data == '\t'))
        line = slice_of(line.data + 1, line.size - 1);
    while (line.size != 0 && line.data[line.size - 1] <= ' ')
        line.size--;
    *value = line;
    return true;
}

/* Is `name` in a list with commas? */
static bool names(struct slice list, const char *name)
{
    while (list.size != 0) {
        const uint8_t *comma = memchr(list.data, ',', list.size);
        size_t bytes = comma != NULL ? (size_t)(comma - list.data) : list.size;
        struct slice rest;

        if (field_is(slice_of(list.data, bytes), name, &rest) && rest.size == 0)
            return true;
        bytes += comma != NULL;
        list = slice_of(list.data + bytes, list.size - bytes);
        while (list.size != 0 && *list.data == ' ')
            list = slice_of(list.data + 1, list.size - 1);
    }
    return false;
}

/* crc32c=:base64 of four bytes: (RFC 9530); anything else is not understood and so not there. */
static void take_digest(struct client_octets *about, struct slice value)
{
    static const char name[] = "crc32c=:";
    uint8_t crc[BASE64_DECODED_MAX(8)];
    size_t bytes;

    if (value.size != sizeof(name) - 1 + 9 || memcmp(value.data, name, sizeof(name) - 1) != 0 ||
        value.data[value.size - 1] != ':' ||
        !base64_decode(slice_of(value.data + sizeof(name) - 1, 8), crc, &bytes) || bytes != 4)
        return;
    about->crc_came = true;
    about->crc = (uint32_t)crc[0] << 24 | (uint32_t)crc[1] << 16 | (uint32_t)crc[2] << 8 | crc[3];
}

void transport_take_field(struct transport *transport, struct slice line)
{
    static const char octets[] = "application/octet-stream";
    struct client_octets *about = &transport->exchange->octets;
    char digits[24] = "";
    struct slice value;

    if (field_is(line, "trailer:", &value)) {
        about->crc_announced |= names(value, "content-digest");
    } else if (field_is(line, "content-digest:", &value)) {
        take_digest(about, value);
    } else if (field_is(line, "content-type:", &value)) {
        about->given = value.size >= sizeof(octets) - 1 &&
                       strncasecmp((const char *)value.data, octets, sizeof(octets) - 1) == 0;
    } else if (field_is(line, "content-length:", &value) ||
               field_is(line, "snapshot-length:", &value)) {
        memcpy(digits, value.data, MIN(value.size, sizeof(digits) - 1));
        about->length = strtoull(digits, NULL, 10); /* for a progress bar: 0 is "not told" */
    }
}

/* ---- what arrives ---- */

bool transport_take(struct transport *transport, struct slice piece)
{
    struct exchange *exchange = transport->exchange;

    transport->odd |= !transport->arrived && !exchange->endpoint->tls && exchange->status == 400 &&
                      piece.data[0] != '{';
    transport->arrived = true;
    transport->last_ms = clock_ms();
    transport->stopped = !exchange->chunk(exchange->arg, exchange->status, piece);
    return !transport->stopped;
}

bool transport_wait(struct transport *transport)
{
    struct exchange *exchange = transport->exchange;
    int64_t now = clock_ms();

    if (exchange->stream && !transport->arrived && exchange->timeout_ms > 0 &&
        now - transport->started_ms > exchange->timeout_ms)
        transport->expired = true;
    else if (exchange->idle != NULL && now - transport->last_ms >= IDLE_MS)
        transport->stopped = !exchange->idle(exchange->arg, now - transport->last_ms);
    return !transport->expired && !transport->stopped;
}

/* ---- what went wrong ---- */

/* The facts leave open why: find out, at the price of another connection. */
static void look_closer(struct transport *transport, struct cause_facts *facts)
{
    const struct handshake *seen = &transport->handshake;
    bool tls = facts->endpoint->tls;

    if (facts->other_protocol)
        return;
    if (tls && facts->phase == PHASE_ANSWER && seen->fault == FAULT_NONE && seen->alert < 0 &&
        !transport->arrived && facts->kind != CAUSE_TIMEOUT)
        transport->kind->listen_for_alert(transport);
    if (seen->fault == FAULT_NONE && seen->alert < 0 && !transport->arrived &&
        (facts->kind != CAUSE_TIMEOUT || facts->phase == PHASE_HANDSHAKE) &&
        facts->phase == (tls ? PHASE_HANDSHAKE : PHASE_ANSWER))
        facts->other_protocol = transport->kind->speaks_other(transport);
}

static enum transport_result failed(struct transport *transport, struct cause_facts *facts,
                                    struct client_failure *failure, struct err *err)
{
    facts->endpoint = transport->exchange->endpoint;
    facts->cacert = transport->options.typed.cacert;
    facts->cert = transport->options.typed.cert;
    facts->own = &transport->own;
    facts->own_expired = transport->own_expired;
    facts->handshake = &transport->handshake;
    facts->waited_ms = clock_ms() - transport->started_ms;
    if (transport->expired)
        facts->kind = CAUSE_TIMEOUT;
    look_closer(transport, facts);
    cause_tell(facts, failure, err);
    if (facts->kind == CAUSE_NO_CONNECTION &&
        (facts->os_error == ECONNREFUSED || facts->os_error == ENOENT))
        return TRANSPORT_PASSING;
    if (facts->phase != PHASE_ANSWER || facts->other_protocol || transport->handshake.alert >= 0)
        return TRANSPORT_NOT_SENT;
    return TRANSPORT_UNSURE;
}

static void trace(const struct transport *transport, const struct exchange *exchange)
{
    char *url;

    if (transport->options.trace == NULL)
        return;
    url = xasprintf("%s%s", exchange->endpoint->base, exchange->path);
    transport->options.trace(url, exchange->status, clock_ms() - transport->started_ms);
    free(url);
}

enum transport_result transport_exchange(struct transport *transport, struct exchange *exchange,
                                         struct client_failure *failure, struct err *err)
{
    struct cause_facts facts = {.phase = PHASE_ANSWER, .words = ""};
    enum transport_result result = TRANSPORT_ANSWERED;
    bool answered;

    if (exchange->endpoint->fault != NULL) {
        failure->kind = CLIENT_FAILURE_CONNECT;
        (void)snprintf(failure->hint, sizeof(failure->hint), "Correct it in --endpoints.");
        err_set(err, ERR_NET, "%s", exchange->endpoint->fault);
        return TRANSPORT_NOT_SENT;
    }
    transport->exchange = exchange;
    transport->started_ms = transport->last_ms = clock_ms();
    transport->arrived = transport->odd = transport->stopped = transport->expired = false;
    exchange->status = 0;
    exchange->octets = (struct client_octets){.given = false};
    handshake_reset(&transport->handshake, exchange->endpoint->host,
                    !transport->options.skip_verify, transport->options.cacert);
    answered = transport->kind->perform(transport, &facts);
    if (answered && transport->odd)
        facts.other_protocol = transport->kind->speaks_other(transport);
    if (transport->stopped)
        result = TRANSPORT_STOPPED;
    else if (!answered || facts.other_protocol)
        result = failed(transport, &facts, failure, err);
    trace(transport, exchange);
    transport->exchange = NULL;
    return result;
}
