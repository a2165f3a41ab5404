/*
 * tls_session.c - one connection: bufs of ciphertext on one side, plaintext on the other.
 *
 *     NEW --first bytes are TLS--> HANDSHAKE --verified--> OPEN --close_notify--> EOF
 *      \________________________________\____________________\--> DEAD: every call says TLS_ERROR
 */
#include "common/tls/tls_internal.h"
#include "common/base/limits.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <stdio.h>

#define OUT_SLACK (256UL * KIB) /* a handshake, an alert, a ticket above TLS_OUTPUT_MAX_BYTES */
#define OUT_KEPT (4UL * KIB)    /* an empty output buffer no larger is kept */
#define RECORD_MAX 16384UL      /* plaintext of one record */
#define INPUT_STEP 16384UL

/* ---- first bytes ---- */

enum tls_first tls_first_bytes(struct slice bytes)
{
    static const char *const methods[] = {"GET ",    "POST ",    "PUT ",   "HEAD ",
                                          "DELETE ", "OPTIONS ", "PATCH ", "CONNECT ",
                                          "TRACE ",  "PRI * ",   "HTTP/"};
    bool maybe = false;

    if (bytes.size == 0)
        return TLS_FIRST_MORE;
    if (bytes.data[0] == 0x16 || bytes.data[0] == 0x15) { /* handshake, alert */
        if (bytes.size < 2)
            return TLS_FIRST_MORE;
        return bytes.data[1] == 3 ? TLS_FIRST_TLS : TLS_FIRST_OTHER;
    }
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        struct slice method = slice_text(methods[i]);

        if (slice_starts_with(bytes, method))
            return TLS_FIRST_HTTP;
        maybe = maybe || slice_starts_with(method, bytes);
    }
    return maybe ? TLS_FIRST_MORE : TLS_FIRST_OTHER;
}

static void not_tls(const struct tls_session *session, enum tls_first first, struct err *err)
{
    struct slice in = buf_slice(&session->in);
    struct buf shown = BUF_INIT(ERR_TEXT_MAX);
    size_t bytes = 0;

    while (bytes < MIN(in.size, 60) && in.data[bytes] != '\r' && in.data[bytes] != '\n')
        bytes++;
    for (size_t i = 0; i < bytes; i++)
        if (in.data[i] < 0x20 || in.data[i] > 0x7e)
            (void)buf_printf(&shown, "\\x%02x", in.data[i]);
        else
            (void)buf_append_byte(&shown, in.data[i]);
    if (first == TLS_FIRST_HTTP && session->context->config.role == TLS_SERVER)
        err_set(
            err, ERR_TLS,
            "tls: first record does not look like a TLS handshake: the client speaks plain HTTP "
            "(\"%s\") on a TLS port; it should use https://",
            buf_text(&shown));
    else if (first == TLS_FIRST_HTTP)
        err_set(err, ERR_TLS,
                "the server answered in plain HTTP (\"%s\"): it does not speak TLS on this port; "
                "use http://",
                buf_text(&shown));
    else
        err_set(err, ERR_TLS,
                "tls: first record does not look like a TLS handshake: the peer sent \"%s\"",
                buf_text(&shown));
    buf_free(&shown);
}

/* ---- birth and death ---- */

static void offer_ticket(struct tls_session *session)
{
    struct tls_context *context = session->context;

    if (context->ticket == NULL || session->server_name == NULL ||
        strcmp(context->ticket_name, session->server_name) != 0)
        return;
    (void)SSL_set_session(session->ssl, context->ticket); /* not taken: a full handshake */
    SSL_SESSION_free(context->ticket);                    /* each ticket once */
    context->ticket = NULL;
}

static bool is_address(const char *host)
{
    uint8_t binary[16];

    return inet_pton(AF_INET, host, binary) == 1 || inet_pton(AF_INET6, host, binary) == 1;
}

int tls_session_new(struct tls_context *context, const char *server_name,
                    struct tls_session **session, struct err *err)
{
    struct tls_session *made = xalloc(sizeof *made);
    BIO *bio = BIO_new(context->bio);

    made->context = context;
    made->set = context->set;
    made->set->users++;
    made->in = BUF_INIT(TLS_INPUT_MAX_BYTES);
    made->out = BUF_INIT(TLS_OUTPUT_MAX_BYTES + OUT_SLACK);
    made->ssl = SSL_new(made->set->ssl);
    must(made->ssl != NULL && bio != NULL);
    BIO_set_data(bio, made);
    SSL_set_bio(made->ssl, bio, bio);
    must(SSL_set_app_data(made->ssl, made) == 1);
    if (context->config.role == TLS_SERVER) {
        must(server_name == NULL);
        SSL_set_accept_state(made->ssl);
        *session = made;
        return 0;
    }
    SSL_set_connect_state(made->ssl);
    if (server_name != NULL && context->name != NULL)
        server_name = context->name;
    if (server_name != NULL) {
        made->server_name = xstrdup(server_name);
        if (!is_address(server_name) &&
            SSL_set_tlsext_host_name(made->ssl, made->server_name) != 1) {
            ERR_clear_error();
            err_set(err, ERR_USAGE, "\"%s\" is no host name: too long for TLS", server_name);
            tls_session_free(made);
            return -1;
        }
        offer_ticket(made);
    }
    *session = made;
    return 0;
}

void tls_session_free(struct tls_session *session)
{
    if (session == NULL)
        return;
    if (session->done && !session->dead)
        SSL_set_shutdown(session->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* keep ticket */
    SSL_free(session->ssl);
    tls_set_release(session->set);
    buf_free(&session->in);
    buf_free(&session->out);
    tls_peer_free(session->peer);
    free(session->server_name);
    free(session->cause);
    free(session);
}

/* ---- ciphertext ---- */

bool tls_session_input(struct tls_session *session, struct slice ciphertext)
{
    bool fits = buf_append_slice(&session->in, ciphertext);

    session->in.overflow = false;
    return fits;
}

uint8_t *tls_session_input_room(struct tls_session *session, size_t *bytes)
{
    size_t free_bytes = session->in.max - buf_used(&session->in);
    size_t step = MIN(free_bytes, INPUT_STEP);

    *bytes = step;
    return step != 0 ? buf_reserve(&session->in, step) : NULL;
}

void tls_session_input_advance(struct tls_session *session, size_t bytes)
{
    buf_advance(&session->in, bytes);
}

void tls_session_input_end(struct tls_session *session)
{
    session->input_ended = true;
}

struct slice tls_session_output(const struct tls_session *session)
{
    return buf_slice(&session->out);
}

void tls_session_output_sent(struct tls_session *session, size_t bytes)
{
    buf_consume(&session->out, bytes);
    if (session->out.capacity > OUT_KEPT) /* small ones stay: most answers are */
        buf_shrink(&session->out);
}

/* ---- handshake ---- */

static enum tls_result dies(struct tls_session *session, struct err *err)
{
    session->dead = true;
    tls_failure(session, err);
    ERR_clear_error();
    return TLS_ERROR;
}

static enum tls_result again(struct tls_session *session, struct err *err)
{
    buf_shrink(&session->in);
    if (!session->input_ended)
        return TLS_AGAIN;
    session->dead = true;
    err_set(err, ERR_TLS,
            "the peer closed the connection during the TLS handshake, without saying why");
    return TLS_ERROR;
}

static enum tls_result finish(struct tls_session *session, struct err *err)
{
    X509 *leaf = SSL_get0_peer_certificate(session->ssl);

    session->done = true;
    if (leaf != NULL) {
        session->peer = tls_peer_new(leaf);
        if (SSL_session_reused(session->ssl) == 1 && !tls_verify_resumed(session, leaf))
            return dies(session, err);
    }
    return TLS_OK;
}

enum tls_result tls_session_handshake(struct tls_session *session, struct err *err)
{
    int rc;

    if (session->dead) {
        err_set(err, ERR_TLS, "the TLS session has failed already");
        return TLS_ERROR;
    }
    if (session->done)
        return TLS_OK;
    if (!session->began &&
        (buf_used(&session->in) != 0 || session->context->config.role == TLS_SERVER)) {
        enum tls_first first = tls_first_bytes(buf_slice(&session->in));

        if (first == TLS_FIRST_MORE)
            return again(session, err);
        if (first != TLS_FIRST_TLS) {
            session->dead = true;
            not_tls(session, first, err);
            return TLS_ERROR;
        }
        session->began = true;
    }
    ERR_clear_error();
    rc = SSL_do_handshake(session->ssl);
    if (rc == 1)
        return finish(session, err);
    switch (SSL_get_error(session->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
        return again(session, err);
    default:
        return dies(session, err);
    }
}

/* ---- plaintext ---- */

enum tls_result tls_session_read(struct tls_session *session, void *room, size_t room_bytes,
                                 size_t *got, struct err *err)
{
    int rc;

    *got = 0;
    must(session->done && room_bytes != 0);
    if (session->dead) {
        err_set(err, ERR_TLS, "the TLS session has failed already");
        return TLS_ERROR;
    }
    ERR_clear_error();
    rc = SSL_read_ex(session->ssl, room, room_bytes, got);
    if (rc == 1)
        return TLS_OK;
    switch (SSL_get_error(session->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
        buf_shrink(&session->in);
        return session->input_ended ? TLS_EOF : TLS_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_EOF;
    default:
        return dies(session, err);
    }
}

enum tls_result tls_session_write(struct tls_session *session, struct slice plaintext,
                                  size_t *taken, struct err *err)
{
    *taken = 0;
    must(session->done);
    if (session->dead || session->close_sent) {
        err_set(err, ERR_TLS, "the TLS session is closed for writing");
        return TLS_ERROR;
    }
    while (*taken < plaintext.size) {
        size_t wrote = 0, bytes = MIN(plaintext.size - *taken, RECORD_MAX);

        if (buf_used(&session->out) >= TLS_OUTPUT_MAX_BYTES)
            return TLS_AGAIN;
        ERR_clear_error();
        if (SSL_write_ex(session->ssl, plaintext.data + *taken, bytes, &wrote) != 1)
            return dies(session, err);
        *taken += wrote;
    }
    return TLS_OK;
}

void tls_session_close(struct tls_session *session)
{
    if (!session->done || session->dead || session->close_sent)
        return;
    session->close_sent = true;
    ERR_clear_error();
    (void)SSL_shutdown(session->ssl); /* queued; the peer's answer is not waited for */
    ERR_clear_error();
}

/* ---- questions ---- */

bool tls_session_open(const struct tls_session *session)
{
    return session->done && !session->dead;
}

bool tls_session_resumed(const struct tls_session *session)
{
    return SSL_session_reused(session->ssl) == 1;
}

const char *tls_session_alpn(const struct tls_session *session)
{
    const unsigned char *chosen = NULL;
    unsigned bytes = 0;

    SSL_get0_alpn_selected(session->ssl, &chosen, &bytes);
    for (size_t i = 0; chosen != NULL && i < session->context->config.alpn.count; i++)
        if (slice_equal(slice_of(chosen, bytes),
                        slice_text(session->context->config.alpn.items[i])))
            return session->context->config.alpn.items[i];
    return "";
}

const char *tls_session_version(const struct tls_session *session)
{
    return SSL_get_version(session->ssl);
}

const char *tls_session_cipher(const struct tls_session *session)
{
    return SSL_get_cipher_name(session->ssl);
}

const struct tls_peer *tls_session_peer(const struct tls_session *session)
{
    return session->peer;
}
