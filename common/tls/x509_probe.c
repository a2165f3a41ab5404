/*
 * x509_probe.c - what a live TLS endpoint serves and what it thinks of a client certificate. With
 * TLS 1.3 the handshake ends before the server has judged: the verdict is the next record (pki.md
 * 2.13). So a small request is sent and what comes is read, alert, data or a closed connection.
 */
#include "common/base/limits.h"
#include "common/tls/x509_internal.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>

#define ANSWER_MAX (16UL * KIB)

void x509_seen_free(struct x509_seen *seen)
{
    free(seen->said);
    free(seen->answer);
    free(seen->asks);
    x509_list_free(&seen->chain);
    *seen = (struct x509_seen){0};
}

struct own { /* what is presented, if the server asks */
    struct x509_seen *seen;
    const struct x509_list *cert;
    const struct x509_key *key;
};

/* Called when the server asks for a certificate: note what it asks for, and give ours. */
static int when_asked(SSL *ssl, void *arg)
{
    struct own *own = arg;
    const STACK_OF(X509_NAME) *names = SSL_get0_peer_CA_list(ssl);
    struct buf text = BUF_INIT(ERR_TEXT_MAX);

    own->seen->asked = true;
    own->seen->asks_count = names != NULL ? (size_t)sk_X509_NAME_num(names) : 0;
    for (size_t i = 0; i < own->seen->asks_count; i++) {
        char *name = ossl_name(sk_X509_NAME_value(names, (int)i));

        (void)buf_printf(&text, "%s%s", i != 0 ? "; " : "", name);
        free(name);
    }
    free(own->seen->asks);
    own->seen->asks = xstrdup(buf_used(&text) != 0 ? buf_text(&text) : "");
    buf_free(&text);
    if (own->cert == NULL)
        return 1;
    if (SSL_use_certificate(ssl, own->cert->items[0]->x509) != 1 ||
        SSL_use_PrivateKey(ssl, own->key->pkey) != 1)
        return 0;
    for (size_t i = 1; i < own->cert->count; i++)
        if (SSL_add1_chain_cert(ssl, own->cert->items[i]->x509) != 1)
            return 0;
    return 1;
}

static void keep_chain(SSL *ssl, struct x509_seen *seen)
{
    STACK_OF(X509) *chain = SSL_get_peer_cert_chain(ssl);
    int count = chain != NULL ? sk_X509_num(chain) : 0;

    if (seen->chain.count != 0 || count <= 0)
        return;
    seen->chain.items = xalloc((size_t)count * sizeof *seen->chain.items);
    for (int i = 0; i < count; i++) {
        X509 *cert = sk_X509_value(chain, i);

        must(X509_up_ref(cert) == 1);
        seen->chain.items[seen->chain.count++] = x509_cert_wrap(cert);
    }
}

/* Why a call failed: an alert, a closed connection, a timeout, no TLS at all. */
static void keep_reason(SSL *ssl, int rc, int saved_errno, struct x509_seen *seen)
{
    int error = SSL_get_error(ssl, rc);
    unsigned long last = ERR_peek_last_error();
    int reason = ERR_GET_REASON(last);
    char text[160];

    free(seen->said);
    if (error == SSL_ERROR_SSL && reason > SSL_AD_REASON_OFFSET &&
        reason < SSL_AD_REASON_OFFSET + 256) {
        seen->alert = reason - SSL_AD_REASON_OFFSET;
        seen->said = xstrdup(SSL_alert_desc_string_long(seen->alert));
    } else if (error == SSL_ERROR_SSL &&
               (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST ||
                reason == SSL_R_PACKET_LENGTH_TOO_LONG)) {
        seen->plain = true;
        seen->said = xstrdup("it answers without TLS");
    } else if (error == SSL_ERROR_WANT_READ || saved_errno == EAGAIN) {
        seen->said = xstrdup("no answer within the time allowed");
    } else if (error == SSL_ERROR_ZERO_RETURN || saved_errno == ECONNRESET ||
               saved_errno == EPIPE || reason == SSL_R_UNEXPECTED_EOF_WHILE_READING ||
               (error == SSL_ERROR_SYSCALL && saved_errno == 0)) {
        seen->said = xstrdup("it closed the connection without an alert");
    } else {
        seen->said = xstrdup(ossl_reason(text, sizeof text));
    }
    ERR_clear_error();
}

static void ask(SSL *ssl, const char *host, const char *path, struct x509_seen *seen)
{
    bool bracket = strchr(host, ':') != NULL;
    char *request = xasprintf("GET %s HTTP/1.1\r\nHost: %s%s%s\r\nConnection: close\r\n\r\n", path,
                              bracket ? "[" : "", host, bracket ? "]" : "");
    struct buf answer = BUF_INIT(ANSWER_MAX);
    char room[4096];
    int got;

    errno = 0;
    ERR_clear_error();
    got = SSL_write(ssl, request, (int)strlen(request));
    while (buf_used(&answer) < ANSWER_MAX - sizeof room &&
           (errno = 0, ERR_clear_error(), got = SSL_read(ssl, room, sizeof room)) > 0)
        must(buf_append(&answer, room, (size_t)got));
    if (buf_used(&answer) != 0) {
        seen->step = X509_STEP_ANSWERED;
        ERR_clear_error();
    } else {
        seen->step = X509_STEP_REFUSED;
        keep_reason(ssl, got, errno, seen);
    }
    free(seen->answer);
    seen->answer = xstrdup(buf_used(&answer) != 0 ? buf_text(&answer) : "");
    buf_free(&answer);
    free(request);
}

int x509_probe(int fd, const char *host, const char *path, const struct x509_list *cert,
               const struct x509_key *key, struct x509_seen *seen, struct err *err)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    struct own own = {seen, cert, key};
    SSL *ssl;
    int rc;

    *seen = (struct x509_seen){.said = xstrdup(""), .answer = xstrdup(""), .asks = xstrdup("")};
    must(ctx != NULL && SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1);
    SSL_CTX_set_security_level(ctx, 0); /* look at everything; the caller judges */
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_cert_cb(ctx, when_asked, &own);
    ssl = SSL_new(ctx);
    must(ssl != NULL);
    if (SSL_set_fd(ssl, fd) != 1 ||
        (!x509_is_address(host) && SSL_set_tlsext_host_name(ssl, host) != 1)) {
        err_set(err, ERR_TLS, "%s: cannot be dialled by that name", host);
        SSL_free(ssl);
        SSL_CTX_free(ctx);
        return -1;
    }
    errno = 0;
    ERR_clear_error();
    rc = SSL_connect(ssl);
    keep_chain(ssl, seen);
    (void)snprintf(seen->version, sizeof seen->version, "%s", SSL_get_version(ssl));
    (void)snprintf(seen->cipher, sizeof seen->cipher, "%s", SSL_get_cipher_name(ssl));
    if (rc == 1) {
        ask(ssl, host, path, seen);
    } else {
        seen->step = X509_STEP_HANDSHAKE;
        keep_reason(ssl, rc, errno, seen);
    }
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    return 0;
}
