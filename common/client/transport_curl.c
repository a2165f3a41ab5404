/*
 * transport_curl.c - an exchange carried by libcurl. One easy handle is kept, so its connection is
 * reused from call to call.
 */
#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/client/transport_internal.h"

#include <curl/curl.h>
#include <poll.h>
#include <unistd.h>

#define STREAM_READ_BYTES (256L * (long)KIB)

struct curl_transport {
    struct transport base;
    CURL *easy; /* owned */
    char text[CURL_ERROR_SIZE];
};

static struct curl_transport *curl_of(struct transport *transport)
{
    return CONTAINER_OF(transport, struct curl_transport, base);
}

static struct transport *make(void)
{
    struct curl_transport *made = xalloc(sizeof(*made));

    must(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
    made->easy = curl_easy_init();
    must(made->easy != NULL);
    return &made->base;
}

static void release(struct transport *transport)
{
    curl_easy_cleanup(curl_of(transport)->easy);
    free(curl_of(transport));
    curl_global_cleanup(); /* counted: the last one frees */
}

/* A line of the head, or of the trailers. */
static size_t on_field(char *data, size_t size, size_t count, void *arg)
{
    transport_take_field(arg, slice_of(data, size * count));
    return size * count;
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    struct transport *transport = arg;

    (void)curl_easy_getinfo(curl_of(transport)->easy, CURLINFO_RESPONSE_CODE,
                            &transport->exchange->status);
    return transport_take(transport, slice_of(data, size * count)) ? size * count : 0;
}

static int on_progress(void *arg, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
                       curl_off_t up)
{
    (void)down_total;
    (void)down;
    (void)up_total;
    (void)up;
    return transport_wait(arg) ? 0 : 1;
}

static size_t discard(char *data, size_t size, size_t count, void *arg)
{
    (void)data;
    (void)arg;
    return size * count;
}

static int on_socket(void *arg, curl_socket_t fd, curlsocktype purpose)
{
    (void)purpose;
    transport_keep_alive(arg, fd);
    return CURL_SOCKOPT_OK;
}

static CURLcode on_context(CURL *easy, void *ssl_ctx, void *handshake)
{
    (void)easy;
    handshake_watch(handshake, ssl_ctx);
    return CURLE_OK;
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

static bool speaks_other(struct transport *transport)
{
    const struct endpoint *endpoint = transport->exchange->endpoint;
    CURL *easy = curl_easy_init();
    char *url =
        xasprintf("%s%s/version", endpoint->tls ? "http" : "https", strchr(endpoint->base, ':'));
    struct handshake handshake;
    curl_off_t handshaken = 0;
    long status = 0;
    bool other;

    must(easy != NULL);
    handshake_reset(&handshake, endpoint->host, false, NULL);
    set_address(easy, endpoint, url);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)TRANSPORT_PROBE_MS);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_context);
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

static struct curl_slist *headers(const struct exchange *exchange, const char *user)
{
    const char *token = exchange->token, *accept = exchange->accept;
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
    }
    if (accept != NULL || user != NULL) { /* what is for this hop (RFC 9110 7.6.1, 10.1.4) */
        char *line = xasprintf("Connection: %s%s%s", accept != NULL ? "TE" : "",
                               accept != NULL && user != NULL ? ", " : "",
                               user != NULL ? TRANSPORT_USER_NAME : "");

        list = curl_slist_append(list, line);
        must(list != NULL);
        free(line);
    }
    if (exchange->require_leader) {
        list = curl_slist_append(list, TRANSPORT_REQUIRE_LEADER);
        must(list != NULL);
    }
    if (token != NULL) {
        char *line = xasprintf("Authorization: %s", token);

        list = curl_slist_append(list, line);
        must(list != NULL);
        free(line);
    }
    if (user != NULL) {
        list = curl_slist_append(list, user);
        must(list != NULL);
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

static void set_up(struct transport *transport, const char *url, struct curl_slist *list)
{
    const struct exchange *exchange = transport->exchange;
    char *text = curl_of(transport)->text;
    CURL *easy = curl_of(transport)->easy;
    const struct transport_options *options = &transport->options;
    bool verify = !options->skip_verify;

    curl_easy_reset(easy); /* keeps the connection */
    text[0] = '\0';
    set_address(easy, exchange->endpoint, url);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, text);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)options->dial_timeout_ms);
    if (!exchange->stream && exchange->timeout_ms > 0)
        curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)exchange->timeout_ms);
    curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, on_socket);
    curl_easy_setopt(easy, CURLOPT_SOCKOPTDATA, transport);
    if (exchange->stream) /* a snapshot has a lot to read */
        curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, STREAM_READ_BYTES);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, verify ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L); /* the hook does it */
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_context);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, &transport->handshake);
    if (options->cacert != NULL) /* the hook trusts those, and nobody else */
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    if (options->cacert != NULL || !system_has_cas())
        curl_easy_setopt(easy, CURLOPT_CAINFO, NULL); /* no list: no CA is known, told as such */
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

static enum cause_phase phase_of(struct transport *transport, CURLcode code)
{
    CURL *easy = curl_of(transport)->easy;
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
    return transport->exchange->endpoint->tls && handshaken == 0 ? PHASE_HANDSHAKE : PHASE_ANSWER;
}

/*
 * With TLS 1.3 a server judges our certificate after we think the handshake is done, and its alert
 * may be lost when the connection breaks while we are sending. Connect once more, say nothing, and
 * read: then the alert arrives.
 */
static void listen_for_alert(struct transport *transport)
{
    CURL *easy = curl_of(transport)->easy;
    int64_t until = clock_ms() + TRANSPORT_PROBE_MS;
    CURLcode code;
    char byte;
    size_t got;

    curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, NULL);
    code = curl_easy_perform(easy);
    while (code == CURLE_OK && transport->handshake.alert < 0 && clock_ms() < until) {
        curl_socket_t fd = CURL_SOCKET_BAD;
        struct pollfd wait;

        if (curl_easy_getinfo(easy, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK ||
            fd == CURL_SOCKET_BAD)
            break;
        wait = (struct pollfd){.fd = fd, .events = POLLIN};
        if (poll(&wait, 1, TRANSPORT_PROBE_MS) <= 0)
            break;
        code = curl_easy_recv(easy, &byte, 1, &got);
        if (code == CURLE_AGAIN)
            code = CURLE_OK; /* a session ticket, nothing for us */
    }
}

static enum cause_kind kind_of(CURLcode code)
{
    switch ((int)code) { /* most have no meaning of their own here */
    case CURLE_COULDNT_RESOLVE_HOST:
        return CAUSE_UNKNOWN_HOST;
    case CURLE_COULDNT_CONNECT:
        return CAUSE_NO_CONNECTION;
    case CURLE_OPERATION_TIMEDOUT:
        return CAUSE_TIMEOUT;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
        return CAUSE_NO_HTTP;
    default:
        return CAUSE_OTHER;
    }
}

static bool perform(struct transport *transport, struct cause_facts *facts)
{
    const struct exchange *exchange = transport->exchange;
    struct curl_transport *own = curl_of(transport);
    char *url = xasprintf("%s%s", exchange->endpoint->base, exchange->path);
    struct curl_slist *list = headers(exchange, transport_user_field(transport));
    long os_error = 0;
    CURLcode code;

    set_up(transport, url, list);
    code = curl_easy_perform(own->easy);
    if (code == CURLE_OK) {
        (void)curl_easy_getinfo(own->easy, CURLINFO_RESPONSE_CODE, &transport->exchange->status);
    } else {
        (void)curl_easy_getinfo(own->easy, CURLINFO_OS_ERRNO, &os_error);
        facts->os_error = (int)os_error;
        facts->phase = phase_of(transport, code);
        facts->kind = kind_of(code);
        facts->words = own->text[0] != '\0' ? own->text : curl_easy_strerror(code);
    }
    curl_slist_free_all(list);
    free(url);
    return code == CURLE_OK;
}

const struct transport_kind transport_curl = {make, release, perform, listen_for_alert,
                                              speaks_other};
