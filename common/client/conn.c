/*
 * conn.c - see conn.h.
 *
 * The socket does not block; await() does. OpenSSL reads and writes it through a BIO of our own,
 * for its socket BIO raises SIGPIPE when the other side is gone.
 */
#include "common/client/conn.h"
#include "common/base/clock.h"
#include "common/base/limits.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define TICK_MS 1000
#define TLS_READ_BYTES (64UL * KIB) /* ciphertext taken from the socket at once */

struct conn_trust {
    SSL_CTX *context;
    BIO_METHOD *socket;
};

/* ---- the socket, for OpenSSL ---- */

static int bio_fd(BIO *bio)
{
    return ((const struct conn *)BIO_get_data(bio))->fd;
}

static int bio_write(BIO *bio, const char *data, int size)
{
    ssize_t sent = send(bio_fd(bio), data, (size_t)size, MSG_NOSIGNAL);

    BIO_clear_retry_flags(bio);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_write(bio);
    return (int)sent;
}

static int bio_read(BIO *bio, char *room, int size)
{
    ssize_t got = recv(bio_fd(bio), room, (size_t)size, 0);

    BIO_clear_retry_flags(bio);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_read(bio);
    if (got == 0)
        BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    return (int)got;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
    (void)number;
    (void)pointer;
    if (command == BIO_CTRL_EOF)
        return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *socket_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "conn");

    must(method != NULL && BIO_meth_set_write(method, bio_write) == 1 &&
         BIO_meth_set_read(method, bio_read) == 1 && BIO_meth_set_ctrl(method, bio_control) == 1);
    return method;
}

/* ---- trust ---- */

static bool load(SSL_CTX *context, const struct conn_files *files,
                 const struct handshake *handshake)
{
    if (handshake->cacert == NULL && SSL_CTX_set_default_verify_paths(context) != 1)
        return false;
    SSL_CTX_set_default_passwd_cb(context, handshake_no_password);
    return files->cert == NULL ||
           (SSL_CTX_use_certificate_chain_file(context, files->cert) == 1 &&
            SSL_CTX_use_PrivateKey_file(context, files->key, SSL_FILETYPE_PEM) == 1);
}

/* The newest error of this thread's queue, which is emptied. */
static const char *openssl_words(void)
{
    const char *words = ERR_reason_error_string(ERR_peek_last_error());

    ERR_clear_error();
    return words != NULL ? words : "TLS failed";
}

struct conn_trust *conn_trust_new(const struct conn_files *files, struct handshake *handshake,
                                  const char **words)
{
    static const unsigned char http1[] = "\x08http/1.1";
    struct conn_trust *trust = xalloc(sizeof(*trust));

    ERR_clear_error();
    trust->socket = socket_method();
    trust->context = SSL_CTX_new(TLS_client_method());
    must(trust->context != NULL);
    must(SSL_CTX_set_min_proto_version(trust->context, TLS1_2_VERSION) == 1);
    must(SSL_CTX_set_alpn_protos(trust->context, http1, sizeof(http1) - 1) == 0);
    SSL_CTX_set_mode(trust->context, SSL_MODE_ENABLE_PARTIAL_WRITE);
    SSL_CTX_set_default_read_buffer_len(trust->context, TLS_READ_BYTES);
    SSL_CTX_set_read_ahead(trust->context, 1);
    if (load(trust->context, files, handshake)) {
        handshake_watch(handshake, trust->context);
        return trust;
    }
    *words = openssl_words();
    conn_trust_free(trust);
    return NULL;
}

void conn_trust_free(struct conn_trust *trust)
{
    if (trust == NULL)
        return;
    SSL_CTX_free(trust->context);
    BIO_meth_free(trust->socket);
    free(trust);
}

/* ---- waiting ---- */

static enum conn_result broken(struct conn *conn, int os_error, const char *words)
{
    conn->os_error = os_error;
    conn->words = words != NULL ? words : strerror(os_error);
    return CONN_BROKEN;
}

/* Until `events` are there. */
static enum conn_result await(struct conn *conn, short events)
{
    struct pollfd poll_fd = {.fd = conn->fd, .events = events};
    int64_t begin = clock_ms(), now = begin;

    for (;;) {
        int64_t wait_ms = TICK_MS;
        int ready;

        if (conn->until_ms != 0) {
            if (now >= conn->until_ms)
                return CONN_LATE;
            wait_ms = MIN(wait_ms, conn->until_ms - now);
        }
        ready = poll(&poll_fd, 1, (int)wait_ms);
        if (ready > 0)
            return CONN_OK;
        if (ready < 0 && errno != EINTR)
            return broken(conn, errno, NULL);
        now = clock_ms();
        if (now - begin >= TICK_MS && conn->tick != NULL && !conn->tick(conn->arg))
            return CONN_STOPPED;
    }
}

/* What a call of OpenSSL came to; CONN_OK: it is to be repeated. */
static enum conn_result after_tls(struct conn *conn, int rc)
{
    int error = errno;

    switch (SSL_get_error(conn->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
        return await(conn, POLLIN);
    case SSL_ERROR_WANT_WRITE:
        return await(conn, POLLOUT);
    case SSL_ERROR_ZERO_RETURN:
        return CONN_END;
    case SSL_ERROR_SYSCALL:
        return error != 0 ? broken(conn, error, NULL) : CONN_END;
    default:
        if (ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
            ERR_clear_error();
            return CONN_END;
        }
        return broken(conn, 0, openssl_words());
    }
}

/* ---- the connection ---- */

enum conn_result conn_handshake(struct conn *conn, struct conn_trust *trust, const char *host)
{
    BIO *bio = BIO_new(trust->socket);
    enum conn_result result = CONN_OK;
    uint8_t address[4];
    int rc;

    conn->ssl = SSL_new(trust->context);
    must(conn->ssl != NULL && bio != NULL);
    BIO_set_data(bio, conn);
    BIO_set_init(bio, 1);
    SSL_set_bio(conn->ssl, bio, bio);
    if (inet_pton(AF_INET, host, address) != 1 && strchr(host, ':') == NULL) /* a name */
        (void)SSL_set_tlsext_host_name(conn->ssl, host); /* one that does not fit goes without */
    while (result == CONN_OK) {
        ERR_clear_error();
        errno = 0;
        rc = SSL_connect(conn->ssl);
        if (rc == 1)
            return CONN_OK;
        result = after_tls(conn, rc);
    }
    if (result == CONN_END)
        return broken(conn, 0, "the connection was closed in the TLS handshake");
    return result;
}

enum conn_result conn_write(struct conn *conn, struct slice bytes)
{
    enum conn_result result = CONN_OK;

    while (bytes.size != 0 && result == CONN_OK) {
        size_t part = MIN(bytes.size, (size_t)INT32_MAX);
        ssize_t sent;

        errno = 0;
        if (conn->ssl != NULL) {
            ERR_clear_error();
            sent = SSL_write(conn->ssl, bytes.data, (int)part);
            result = sent > 0 ? CONN_OK : after_tls(conn, (int)sent);
        } else {
            sent = send(conn->fd, bytes.data, part, MSG_NOSIGNAL);
            if (sent < 0 && (errno == EAGAIN || errno == EINTR))
                result = await(conn, POLLOUT);
            else if (sent < 0)
                return broken(conn, errno, NULL);
        }
        if (sent > 0)
            bytes = slice_of(bytes.data + sent, bytes.size - (size_t)sent);
    }
    return result;
}

enum conn_result conn_read(struct conn *conn, void *room, size_t bytes, size_t *got)
{
    enum conn_result result = CONN_OK;

    if (conn->until_ms != 0 && clock_ms() >= conn->until_ms)
        return CONN_LATE; /* also for who never stops sending */
    bytes = MIN(bytes, (size_t)INT32_MAX);
    while (result == CONN_OK) {
        ssize_t count;

        errno = 0;
        if (conn->ssl != NULL) {
            ERR_clear_error();
            count = SSL_read(conn->ssl, room, (int)bytes);
        } else {
            count = recv(conn->fd, room, bytes, 0);
        }
        if (count > 0) {
            *got = (size_t)count;
            return CONN_OK;
        }
        if (conn->ssl != NULL)
            result = after_tls(conn, (int)count);
        else if (count == 0)
            return CONN_END;
        else if (errno == EAGAIN || errno == EINTR)
            result = await(conn, POLLIN);
        else
            return broken(conn, errno, NULL);
    }
    return result;
}

void conn_close(struct conn *conn)
{
    if (conn->ssl != NULL) { /* who never used it need not make it ready now */
        if (SSL_is_init_finished(conn->ssl))
            (void)SSL_shutdown(conn->ssl); /* a goodbye, if the socket takes it; nobody waits */
        SSL_free(conn->ssl);
        ERR_clear_error();
    }
    if (conn->fd >= 0)
        (void)close(conn->fd);
    conn->ssl = NULL;
    conn->fd = -1;
}
