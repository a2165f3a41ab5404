/*
 * transport.c - see transport.h.
 *
 * One easy handle is kept, so its connection is reused from call to call. When an exchange fails
 * without a clear cause, a second, short one finds out whether the port speaks the other protocol.
 */
#include "common/client/transport.h"

#include "common/base/base64.h"
#include "common/client/cause.h"

#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define STREAM_READ_BYTES (256L * 1024)
#define KEEPALIVE_PROBES 3
#define KEEPALIVE_MAX_MS INT64_C(10000000) /* what the kernel takes: 32767 s, and some */
#define PROBE_TIMEOUT_MS 700L              /* to find out what a port speaks */

struct transport {
    CURL *easy;                       /* owned */
    struct transport_options options; /* borrowed texts */
    struct handshake handshake;       /* of the connection last opened */
    struct cert_words own;
    bool own_expired;
    char curl_text[CURL_ERROR_SIZE];
    /* of the exchange under way */
    struct exchange *exchange;
    int64_t started_ms, last_ms; /* begin, and when something last arrived */
    bool arrived;                /* part of the body is there */
    bool odd;                    /* a 400 without JSON: so a TLS port of Go answers plain HTTP */
    bool stopped;                /* a callback ended it */
    bool expired;                /* the time limit of a stream's first message passed */
};

int64_t transport_now_ms(void)
{
    struct timespec now;

    must(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int transport_new(const struct transport_options *options, struct transport **transport,
                  struct client_failure *failure, struct err *err)
{
    struct transport *made;
    struct cert_words own;
    bool own_expired;

    if (credentials_check(options->cacert, options->cert, options->key, &own, &own_expired, err) <
        0) {
        failure->kind = CLIENT_FAILURE_SETUP;
        return -1;
    }
    must(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
    made = xalloc(sizeof(*made));
    made->options = *options;
    made->own = own;
    made->own_expired = own_expired;
    made->easy = curl_easy_init();
    must(made->easy != NULL);
    *transport = made;
    return 0;
}

void transport_free(struct transport *transport)
{
    if (transport == NULL)
        return;
    curl_easy_cleanup(transport->easy);
    free(transport);
    curl_global_cleanup(); /* counted: the last one frees */
}

/* The head is there: what kind of body follows it? */
static void look_at_head(const struct transport *transport)
{
    static const char octets[] = "application/octet-stream";
    struct client_octets *about = &transport->exchange->octets;
    const char *type = NULL;
    curl_off_t length = -1;

    (void)curl_easy_getinfo(transport->easy, CURLINFO_CONTENT_TYPE, &type);
    (void)curl_easy_getinfo(transport->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    about->given = type != NULL && strncasecmp(type, octets, sizeof(octets) - 1) == 0;
    if (length > 0)
        about->length = (uint64_t)length;
}

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

/* A line of the head, or of the trailers. */
static size_t on_field(char *data, size_t size, size_t count, void *arg)
{
    struct client_octets *about = &((struct transport *)arg)->exchange->octets;
    struct slice line = slice_of(data, size * count), value;
    char digits[24] = "";

    if (field_is(line, "trailer:", &value)) {
        about->crc_announced |= names(value, "content-digest");
    } else if (field_is(line, "content-digest:", &value)) {
        take_digest(about, value);
    } else if (field_is(line, "snapshot-length:", &value)) {
        memcpy(digits, value.data, MIN(value.size, sizeof(digits) - 1));
        about->length = strtoull(digits, NULL, 10); /* for a progress bar: 0 is "not told" */
    }
    return line.size;
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    struct transport *transport = arg;
    struct exchange *exchange = transport->exchange;

    (void)curl_easy_getinfo(transport->easy, CURLINFO_RESPONSE_CODE, &exchange->status);
    if (!transport->arrived)
        look_at_head(transport);
    transport->odd |=
        !transport->arrived && !exchange->endpoint->tls && exchange->status == 400 && *data != '{';
    transport->arrived = true;
    transport->last_ms = transport_now_ms();
    if (exchange->chunk(exchange->arg, exchange->status, slice_of(data, size * count)))
        return size * count;
    transport->stopped = true;
    return 0;
}

static int on_progress(void *arg, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
                       curl_off_t up)
{
    struct transport *transport = arg;
    struct exchange *exchange = transport->exchange;
    int64_t now = transport_now_ms();

    (void)down_total;
    (void)down;
    (void)up_total;
    (void)up;
    if (exchange->stream && !transport->arrived && exchange->timeout_ms > 0 &&
        now - transport->started_ms > exchange->timeout_ms) {
        transport->expired = true;
        return 1;
    }
    if (exchange->idle != NULL && now - transport->last_ms >= 900 &&
        !exchange->idle(exchange->arg, now - transport->last_ms)) {
        transport->stopped = true;
        return 1;
    }
    return 0;
}

static size_t discard(char *data, size_t size, size_t count, void *arg)
{
    (void)data;
    (void)arg;
    return size * count;
}

/*
 * Probe a silent connection after keepalive_time, give it up keepalive_timeout later; also one that
 * leaves what we send unanswered. Best effort: a unix socket has none of this and needs none.
 */
static int keep_alive(void *arg, curl_socket_t fd, curlsocktype purpose)
{
    const struct transport_options *options = &((struct transport *)arg)->options;
    int64_t time_ms = options->keepalive_time_ms, timeout_ms = options->keepalive_timeout_ms;
    int on = 1, probes = KEEPALIVE_PROBES, idle_s, between_s, unanswered_ms;

    (void)purpose;
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
    return CURL_SOCKOPT_OK;
}

/* What every transfer has: the address, no proxy, no signals, our limits. */
static void set_address(CURL *easy, const struct endpoint *endpoint, const char *url)
{
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, endpoint->socket);
    curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* an endpoint is an address, not a web page */
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
}

/* Does `endpoint` speak TLS (when it is plain) or plain HTTP (when it is TLS)? */
static bool speaks_other(const struct endpoint *endpoint)
{
    CURL *easy = curl_easy_init();
    char *url =
        xasprintf("%s%s/version", endpoint->tls ? "http" : "https", strchr(endpoint->base, ':'));
    struct handshake handshake;
    curl_off_t handshaken = 0;
    long status = 0;
    bool other;

    must(easy != NULL);
    handshake_reset(&handshake, endpoint->host, false);
    set_address(easy, endpoint, url);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, PROBE_TIMEOUT_MS);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, handshake_hook);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, &handshake);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, discard);
    (void)curl_easy_perform(easy); /* the facts below say what came of it */
    (void)curl_easy_getinfo(easy, CURLINFO_APPCONNECT_TIME_T, &handshaken);
    (void)curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    /* a TLS port of Go answers plain HTTP with a 400 in plain HTTP: that is no plain server */
    other = endpoint->tls ? status != 0 && status != 400 : handshaken > 0 || handshake.alert >= 0;
    curl_easy_cleanup(easy);
    free(url);
    return other;
}

static struct curl_slist *headers(const char *token, const char *accept)
{
    struct curl_slist *list = curl_slist_append(NULL, "Content-Type: application/json");

    must(list != NULL);
    list = curl_slist_append(list, "Expect:"); /* no 100-continue: the answer says all */
    must(list != NULL);
    if (accept != NULL) {
        char *line = xasprintf("Accept: %s", accept);

        list = curl_slist_append(list, line);
        must(list != NULL);
        free(line);
        list = curl_slist_append(list, "TE: trailers"); /* for what is known at the end only */
        must(list != NULL);
        list = curl_slist_append(list, "Connection: TE"); /* TE is for this hop (RFC 9110 10.1.4) */
        must(list != NULL);
    }
    if (token != NULL) {
        char *line = xasprintf("Authorization: %s", token);

        list = curl_slist_append(list, line);
        must(list != NULL);
        free(line);
    }
    return list;
}

/* A minimal system is without ca-certificates; curl would then blame the file, not the
 * certificate. */
static bool system_has_cas(void)
{
    const char *bundle = curl_version_info(CURLVERSION_NOW)->cainfo;

    return bundle == NULL || access(bundle, R_OK) == 0;
}

static void set_up(struct transport *transport, const struct exchange *exchange, const char *url,
                   struct curl_slist *list)
{
    CURL *easy = transport->easy;
    const struct transport_options *options = &transport->options;
    bool verify = !options->skip_verify;

    curl_easy_reset(easy); /* keeps the connection */
    handshake_reset(&transport->handshake, exchange->endpoint->host, verify);
    transport->curl_text[0] = '\0';
    set_address(easy, exchange->endpoint, url);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transport->curl_text);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)options->dial_timeout_ms);
    if (!exchange->stream && exchange->timeout_ms > 0)
        curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)exchange->timeout_ms);
    curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, keep_alive);
    curl_easy_setopt(easy, CURLOPT_SOCKOPTDATA, transport);
    if (exchange->stream) /* a snapshot has a lot to read */
        curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, STREAM_READ_BYTES);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, verify ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L); /* the hook has OpenSSL check the host */
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, handshake_hook);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, &transport->handshake);
    if (options->cacert != NULL) {
        curl_easy_setopt(easy, CURLOPT_CAINFO, options->cacert);
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL); /* nobody but these */
    } else if (!system_has_cas()) {
        curl_easy_setopt(easy, CURLOPT_CAINFO, NULL); /* no list: no CA is known, told as such */
    }
    curl_easy_setopt(easy, CURLOPT_SSLCERT, options->cert);
    curl_easy_setopt(easy, CURLOPT_SSLKEY, options->key);
    if (exchange->get) {
        curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    } else {
        curl_easy_setopt(easy, CURLOPT_POST, 1L);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS,
                         exchange->body.data != NULL ? (const char *)exchange->body.data : "");
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)exchange->body.size);
    }
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, list);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transport);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_field);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, transport);
    curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(easy, CURLOPT_XFERINFODATA, transport);
}

static enum cause_phase phase_of(const struct transport *transport, CURLcode code,
                                 const struct endpoint *endpoint)
{
    CURL *easy = transport->easy;
    curl_off_t resolved = 0, connected = 0, handshaken = 0;
    long opened = 0;

    (void)curl_easy_getinfo(easy, CURLINFO_NUM_CONNECTS, &opened);
    (void)curl_easy_getinfo(easy, CURLINFO_NAMELOOKUP_TIME_T, &resolved);
    (void)curl_easy_getinfo(easy, CURLINFO_CONNECT_TIME_T, &connected);
    (void)curl_easy_getinfo(easy, CURLINFO_APPCONNECT_TIME_T, &handshaken);
    if (code == CURLE_SSL_CONNECT_ERROR || code == CURLE_PEER_FAILED_VERIFICATION)
        return PHASE_HANDSHAKE;
    if (connected == 0 && opened == 0 && !transport->handshake.begun)
        return resolved == 0 ? PHASE_RESOLVE : PHASE_CONNECT;
    if (connected == 0)
        return transport->handshake.begun ? PHASE_HANDSHAKE : PHASE_CONNECT;
    return endpoint->tls && handshaken == 0 ? PHASE_HANDSHAKE : PHASE_ANSWER;
}

/*
 * With TLS 1.3 a server judges our certificate after we think the handshake is done, and its alert
 * may be lost when the connection breaks while we are sending. Connect once more, say nothing, and
 * read: then the alert arrives.
 */
static void listen_for_alert(struct transport *transport)
{
    CURL *easy = transport->easy;
    int64_t until = transport_now_ms() + PROBE_TIMEOUT_MS;
    CURLcode code;
    char byte;
    size_t got;

    curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, NULL);
    code = curl_easy_perform(easy);
    while (code == CURLE_OK && transport->handshake.alert < 0 && transport_now_ms() < until) {
        curl_socket_t fd = CURL_SOCKET_BAD;
        struct pollfd wait;

        if (curl_easy_getinfo(easy, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK ||
            fd == CURL_SOCKET_BAD)
            break;
        wait = (struct pollfd){.fd = fd, .events = POLLIN};
        if (poll(&wait, 1, (int)PROBE_TIMEOUT_MS) <= 0)
            break;
        code = curl_easy_recv(easy, &byte, 1, &got);
        if (code == CURLE_AGAIN)
            code = CURLE_OK; /* a session ticket, nothing for us */
    }
}

static enum transport_result failed(struct transport *transport, CURLcode code,
                                    struct client_failure *failure, struct err *err)
{
    const struct endpoint *endpoint = transport->exchange->endpoint;
    struct cause_facts facts = {
        .endpoint = endpoint,
        .cacert = transport->options.cacert,
        .cert = transport->options.cert,
        .own = &transport->own,
        .own_expired = transport->own_expired,
        .code = transport->expired ? CURLE_OPERATION_TIMEDOUT : code,
        .phase = phase_of(transport, code, endpoint),
        .handshake = &transport->handshake,
        .waited_ms = transport_now_ms() - transport->started_ms,
        .curl_text =
            transport->curl_text[0] != '\0' ? transport->curl_text : curl_easy_strerror(code),
    };
    const struct handshake *seen = &transport->handshake;
    long os_error = 0;
    bool passing;

    (void)curl_easy_getinfo(transport->easy, CURLINFO_OS_ERRNO, &os_error);
    facts.os_error = (int)os_error;
    if (endpoint->tls && facts.phase == PHASE_ANSWER && seen->fault == FAULT_NONE &&
        seen->alert < 0 && !transport->arrived && facts.code != CURLE_OPERATION_TIMEDOUT)
        listen_for_alert(transport);
    if (seen->fault == FAULT_NONE && seen->alert < 0 && !transport->arrived &&
        (facts.code != CURLE_OPERATION_TIMEDOUT || facts.phase == PHASE_HANDSHAKE) &&
        ((endpoint->tls && facts.phase == PHASE_HANDSHAKE) ||
         (!endpoint->tls && facts.phase == PHASE_ANSWER)))
        facts.other_protocol = speaks_other(endpoint);
    cause_tell(&facts, failure, err);
    passing = code == CURLE_COULDNT_CONNECT &&
              (facts.os_error == ECONNREFUSED || facts.os_error == ENOENT);
    if (passing)
        return TRANSPORT_PASSING;
    if (facts.phase != PHASE_ANSWER || facts.other_protocol || seen->alert >= 0)
        return TRANSPORT_NOT_SENT;
    return TRANSPORT_UNSURE;
}

enum transport_result transport_exchange(struct transport *transport, struct exchange *exchange,
                                         struct client_failure *failure, struct err *err)
{
    char *url = xasprintf("%s%s", exchange->endpoint->base, exchange->path);
    struct curl_slist *list = headers(exchange->token, exchange->accept);
    enum transport_result result = TRANSPORT_ANSWERED;
    CURLcode code;

    transport->exchange = exchange;
    transport->started_ms = transport->last_ms = transport_now_ms();
    transport->arrived = transport->odd = transport->stopped = transport->expired = false;
    exchange->status = 0;
    exchange->octets = (struct client_octets){.given = false};
    set_up(transport, exchange, url, list);
    code = curl_easy_perform(transport->easy);
    if (code == CURLE_OK)
        (void)curl_easy_getinfo(transport->easy, CURLINFO_RESPONSE_CODE, &exchange->status);
    if (transport->stopped)
        result = TRANSPORT_STOPPED;
    else if (code != CURLE_OK || (transport->odd && speaks_other(exchange->endpoint))) {
        if (code == CURLE_OK)
            transport->arrived = false; /* what came was not an answer of the server */
        result = failed(transport, code, failure, err);
    }
    if (transport->options.trace != NULL)
        transport->options.trace(url, exchange->status, transport_now_ms() - transport->started_ms);
    curl_slist_free_all(list);
    free(url);
    transport->exchange = NULL;
    return result;
}
