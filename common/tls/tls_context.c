/*
 * tls_context.c - from files to an SSL_CTX, and again when the files change.
 *
 *     config (copied) --load--> set --users--> the context and every session begun with it
 *
 * The stamps of the files are taken before they are read, so a file replaced meanwhile is seen at
 * the next look. A set that cannot be loaded changes nothing but the stamps: it is reported once,
 * and the next such one not before QUIET_MS have passed.
 */
#include "common/tls/tls_internal.h"
#include "common/base/limits.h"
#include "common/tls/judge.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>

#define QUIET_MS 1000 /* after files that cannot be used: a writer may be busy with them */
#define TICKET_LIFE_S 3600
#define SECURITY_LEVEL 2 /* 112 bits: no RSA below 2048, no SHA-1 signatures (pki.md 2.9) */
/* Of Go's defaults those that are authenticated encryption with forward secrecy. */
#define DEFAULT_SUITES                                                                             \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"     \
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"

/* ---- copies of the config ---- */

static char *copy_text(const char *text)
{
    return text != NULL && text[0] != '\0' ? xstrdup(text) : NULL;
}

static struct tls_list copy_list(struct tls_list list)
{
    char **items = list.count != 0 ? xalloc(list.count * sizeof *items) : NULL;

    for (size_t i = 0; i < list.count; i++)
        items[i] = xstrdup(list.items[i]);
    return (struct tls_list){(const char *const *)items, list.count};
}

static void drop(const void *owned)
{
    union {
        const void *borrowed;
        void *owned;
    } same = {.borrowed = owned}; /* the config's texts are const to everyone but us */

    free(same.owned);
}

static void drop_list(struct tls_list list)
{
    for (size_t i = 0; i < list.count; i++)
        drop(list.items[i]);
    drop(list.items);
}

static struct tls_config copy_config(const struct tls_config *config)
{
    struct tls_config copy = *config;

    copy.cert_file = copy_text(config->cert_file);
    copy.key_file = copy_text(config->key_file);
    copy.ca_file = copy_text(config->ca_file);
    copy.crl_file = copy_text(config->crl_file);
    copy.min_version = copy_text(config->min_version);
    copy.max_version = copy_text(config->max_version);
    copy.allowed_cns = copy_list(config->allowed_cns);
    copy.allowed_hostnames = copy_list(config->allowed_hostnames);
    copy.cipher_suites = copy_list(config->cipher_suites);
    copy.alpn = copy_list(config->alpn);
    return copy;
}

static void drop_config(struct tls_config *config)
{
    const char *const texts[] = {config->cert_file, config->key_file,    config->ca_file,
                                 config->crl_file,  config->min_version, config->max_version};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        drop(texts[i]);
    drop_list(config->allowed_cns);
    drop_list(config->allowed_hostnames);
    drop_list(config->cipher_suites);
    drop_list(config->alpn);
}

/* ---- ciphertext between OpenSSL and a session's bufs ---- */

static int bio_read(BIO *bio, char *room, size_t room_bytes, size_t *got)
{
    struct tls_session *session = BIO_get_data(bio);
    size_t bytes = MIN(room_bytes, buf_used(&session->in));

    BIO_clear_retry_flags(bio);
    if (bytes == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    memcpy(room, buf_slice(&session->in).data, bytes);
    buf_consume(&session->in, bytes);
    *got = bytes;
    return 1;
}

static int bio_write(BIO *bio, const char *data, size_t bytes, size_t *taken)
{
    struct tls_session *session = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    if (!buf_append(&session->out, data, bytes)) /* the peer makes us answer but takes nothing */
        return 0;
    *taken = bytes;
    return 1;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static int bio_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

static BIO_METHOD *bio_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK | 127, "session");

    must(method != NULL);
    must(BIO_meth_set_read_ex(method, bio_read) == 1);
    must(BIO_meth_set_write_ex(method, bio_write) == 1);
    must(BIO_meth_set_ctrl(method, bio_ctrl) == 1);
    must(BIO_meth_set_create(method, bio_create) == 1);
    return method;
}

/* ---- loading ---- */

void tls_set_release(struct tls_set *set)
{
    if (set == NULL || --set->users != 0)
        return;
    SSL_CTX_free(set->ssl);
    sk_X509_pop_free(set->anchors, X509_free);
    sk_X509_CRL_pop_free(set->crls, X509_CRL_free);
    sk_X509_CRL_pop_free(set->far_crls, X509_CRL_free);
    free(set->describe);
    free(set->note);
    free(set);
}

static char *describe_leaf(const X509 *leaf)
{
    char *subject = ossl_name(X509_get_subject_name(leaf));
    char serial[OSSL_SERIAL_TEXT], until[OSSL_TIME_TEXT], *text;

    ossl_serial(X509_get0_serialNumber(leaf), serial);
    ossl_time(X509_get0_notAfter(leaf), until);
    text = xasprintf("%s, serial %s, until %s", subject, serial, until);
    free(subject);
    return text;
}

static int use_pair(struct tls_set *set, STACK_OF(X509) * certs, EVP_PKEY *key, struct err *err)
{
    const struct tls_config *config = set->config;
    X509 *leaf = sk_X509_value(certs, 0);
    char reason[128];

    if (X509_check_private_key(leaf, key) != 1) {
        char *subject = ossl_name(X509_get_subject_name(leaf));

        ERR_clear_error();
        err_set(err, ERR_TLS,
                "private key does not match public key: %s is not the key of the first certificate "
                "of %s (%s)",
                config->key_file, config->cert_file, subject);
        free(subject);
        return -1;
    }
    if (SSL_CTX_use_certificate(set->ssl, leaf) != 1 ||
        SSL_CTX_use_PrivateKey(set->ssl, key) != 1) {
        err_set(err, ERR_TLS, "%s: cannot be used for TLS: %s", config->cert_file,
                ossl_reason(reason, sizeof reason));
        return -1;
    }
    for (int i = 1; i < sk_X509_num(certs); i++)
        if (SSL_CTX_add1_chain_cert(set->ssl, sk_X509_value(certs, i)) != 1) {
            err_set(err, ERR_TLS, "%s: certificate %d cannot be sent: %s", config->cert_file, i + 1,
                    ossl_reason(reason, sizeof reason));
            return -1;
        }
    set->describe = describe_leaf(leaf);
    return 0;
}

static int load_pair(struct tls_set *set, struct err *err)
{
    STACK_OF(X509) *certs = NULL;
    EVP_PKEY *key = NULL;
    int rc = -1;

    if (set->config->cert_file == NULL) {
        set->describe = xstrdup("");
        return 0;
    }
    if (ossl_certs_file(set->config->cert_file, false, &certs, err) == 0 &&
        ossl_key_file(set->config->key_file, &key, err) == 0)
        rc = use_pair(set, certs, key, err);
    sk_X509_pop_free(certs, X509_free);
    EVP_PKEY_free(key);
    return rc;
}

static int load_anchors(struct tls_set *set, struct err *err)
{
    X509_STORE *store = SSL_CTX_get_cert_store(set->ssl);

    if (set->config->ca_file == NULL) {
        if (set->config->role == TLS_CLIENT || set->config->client_cert_auth)
            (void)SSL_CTX_set_default_verify_paths(set->ssl); /* a system without: none trusted */
        ERR_clear_error();
        return 0;
    }
    if (ossl_certs_file(set->config->ca_file, true, &set->anchors, err) < 0)
        return -1;
    judge_try_all_issuers(store);
    for (int i = 0; i < sk_X509_num(set->anchors); i++) {
        X509 *anchor = sk_X509_value(set->anchors, i);

        must(X509_STORE_add_cert(store, anchor) == 1);
        if (set->config->role == TLS_SERVER) /* one entry per certificate (pki.md 2.13) */
            must(SSL_CTX_add_client_CA(set->ssl, anchor) == 1);
    }
    ERR_clear_error();
    return 0;
}

/*
 * A list counts only if an authority we trust signed it: otherwise anybody could revoke anybody.
 * *far: no anchor has that name, so it may be one in between, which a peer sends.
 */
static int check_crl(const struct tls_set *set, X509_CRL *crl, int number, bool *far,
                     struct err *err)
{
    const X509_NAME *issuer = X509_CRL_get_issuer(crl);
    char *text;

    *far = true;
    for (int i = 0; i < sk_X509_num(set->anchors); i++) {
        X509 *anchor = sk_X509_value(set->anchors, i);

        if (!ossl_names_equal(X509_get_subject_name(anchor), issuer))
            continue;
        *far = false;
        if (X509_CRL_verify(crl, X509_get0_pubkey(anchor)) == 1)
            return 0;
    }
    ERR_clear_error();
    if (*far)
        return 0;
    text = ossl_name(issuer);
    err_set(err, ERR_TLS,
            "%s: list %d says it is issued by %s, but its signature is not made with the key of "
            "that authority in %s",
            set->config->crl_file, number, text, set->config->ca_file);
    free(text);
    return -1;
}

static void note_far(struct tls_set *set, const X509_CRL *crl, int number)
{
    const struct tls_config *config = set->config;
    char *issuer = ossl_name(X509_CRL_get_issuer(crl));

    if (set->note == NULL)
        set->note =
            xasprintf("%s: list %d is issued by %s, which is not in %s: it counts for those "
                      "who send that authority's certificate along",
                      config->crl_file, number, issuer,
                      config->ca_file != NULL ? config->ca_file : "a CA file");
    free(issuer);
}

static int load_crls(struct tls_set *set, struct err *err)
{
    STACK_OF(X509_CRL) *lists = NULL;
    int number = 0, rc = 0;

    if (set->config->crl_file == NULL)
        return 0;
    if (ossl_crls_file(set->config->crl_file, &lists, err) < 0)
        return -1;
    set->crls = sk_X509_CRL_new_null();
    set->far_crls = sk_X509_CRL_new_null();
    must(set->crls != NULL && set->far_crls != NULL);
    while (rc == 0 && sk_X509_CRL_num(lists) > 0) {
        X509_CRL *crl = sk_X509_CRL_shift(lists);
        bool far;

        rc = check_crl(set, crl, ++number, &far, err);
        must(sk_X509_CRL_push(rc == 0 && far ? set->far_crls : set->crls, crl) > 0);
        if (rc == 0 && far)
            note_far(set, crl, number);
    }
    sk_X509_CRL_pop_free(lists, X509_CRL_free);
    if (rc == 0 && SSL_CTX_get_verify_mode(set->ssl) == SSL_VERIFY_NONE) {
        free(set->note);
        set->note = xasprintf("%s: no client is asked for a certificate, so nobody is looked up",
                              set->config->crl_file);
    }
    return rc;
}

static int pick_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_bytes,
                     const unsigned char *offered, unsigned offered_bytes, void *arg)
{
    const struct tls_config *config = arg;

    (void)ssl;
    for (size_t i = 0; i < config->alpn.count; i++) {
        struct slice wanted = slice_text(config->alpn.items[i]);

        for (unsigned at = 0; at < offered_bytes; at += 1u + offered[at]) /* OpenSSL checked it */
            if (slice_equal(wanted, slice_of(offered + at + 1, offered[at]))) {
                *out = offered + at + 1;
                *out_bytes = offered[at];
                return SSL_TLSEXT_ERR_OK;
            }
    }
    return SSL_TLSEXT_ERR_NOACK; /* go on without: plain HTTP/1.1 clients offer odd things */
}

static void set_alpn(struct tls_set *set)
{
    struct buf wire = BUF_INIT(ERR_TEXT_MAX);

    if (set->config->alpn.count == 0)
        return;
    if (set->config->role == TLS_SERVER) {
        union {
            const struct tls_config *borrowed;
            void *arg;
        } same = {.borrowed = set->config};

        SSL_CTX_set_alpn_select_cb(set->ssl, pick_alpn, same.arg);
        return;
    }
    for (size_t i = 0; i < set->config->alpn.count; i++) {
        size_t bytes = strlen(set->config->alpn.items[i]);

        must(bytes > 0 && bytes < 256);
        must(buf_append_byte(&wire, (uint8_t)bytes) &&
             buf_append(&wire, set->config->alpn.items[i], bytes));
    }
    must(SSL_CTX_set_alpn_protos(set->ssl, wire.data, (unsigned)wire.size) == 0);
    buf_free(&wire);
}

static int keep_ticket(SSL *ssl, SSL_SESSION *ticket)
{
    struct tls_session *session = SSL_get_app_data(ssl);
    struct tls_context *context = session->context;

    if (session->server_name == NULL || session->set != context->set)
        return 0;
    SSL_SESSION_free(context->ticket);
    free(context->ticket_name);
    context->ticket = ticket; /* 1: the reference is ours now */
    context->ticket_name = xstrdup(session->server_name);
    return 1;
}

static void set_protocol(struct tls_set *set)
{
    const struct tls_config *config = set->config;
    int min = tls_version_number(config->min_version),
        max = tls_version_number(config->max_version);
    bool only_tls13, server = config->role == TLS_SERVER;
    char *list = tls_suites_list(config, &only_tls13);

    SSL_CTX_set_security_level(set->ssl, SECURITY_LEVEL);
    must(SSL_CTX_set_min_proto_version(
             set->ssl, only_tls13 ? TLS1_3_VERSION : (min != 0 ? min : TLS1_2_VERSION)) == 1);
    must(SSL_CTX_set_max_proto_version(set->ssl, max) == 1);
    must(SSL_CTX_set_cipher_list(set->ssl, list != NULL ? list : DEFAULT_SUITES) == 1);
    free(list);
    (void)SSL_CTX_set_options(set->ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                            SSL_OP_CIPHER_SERVER_PREFERENCE);
    (void)SSL_CTX_set_mode(set->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_RELEASE_BUFFERS |
                                         SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    (void)SSL_CTX_set_timeout(set->ssl, TICKET_LIFE_S);
    must(SSL_CTX_set_session_id_context(set->ssl, (const unsigned char *)"etcd", 4) == 1);
    /* Stateless tickets: nothing of a closed connection stays with a server. */
    (void)SSL_CTX_set_session_cache_mode(
        set->ssl, server ? SSL_SESS_CACHE_OFF : SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    if (server)
        must(SSL_CTX_set_num_tickets(set->ssl, 1) == 1);
    else
        SSL_CTX_sess_set_new_cb(set->ssl, keep_ticket);
    set_alpn(set);
}

static void set_verification(struct tls_set *set)
{
    const struct tls_config *config = set->config;
    int mode = SSL_VERIFY_PEER;

    if (config->role == TLS_SERVER)
        mode = config->client_cert_auth || config->ca_file != NULL
                   ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT
                   : SSL_VERIFY_NONE;
    SSL_CTX_set_verify(set->ssl, mode, NULL);
    SSL_CTX_set_cert_verify_callback(set->ssl, tls_verify_chain, NULL);
}

static int load_set(const struct tls_config *config, struct tls_set **loaded, struct err *err)
{
    struct tls_set *set = xalloc(sizeof *set);

    set->users = 1;
    set->config = config;
    set->ssl = SSL_CTX_new(config->role == TLS_SERVER ? TLS_server_method() : TLS_client_method());
    must(set->ssl != NULL);
    set_protocol(set);
    set_verification(set);
    if (load_pair(set, err) < 0 || load_anchors(set, err) < 0 || load_crls(set, err) < 0) {
        tls_set_release(set);
        return -1;
    }
    *loaded = set;
    return 0;
}

/* ---- looking at the files ---- */

static struct tls_stamp stamp_of(const char *path)
{
    struct stat info;

    if (path == NULL || stat(path, &info) < 0)
        return (struct tls_stamp){.there = false};
    return (struct tls_stamp){.device = info.st_dev,
                              .inode = info.st_ino,
                              .size = info.st_size,
                              .modified = info.st_mtim,
                              .changed = info.st_ctim,
                              .there = true};
}

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool same_stamp(const struct tls_stamp *a, const struct tls_stamp *b)
{
    return a->there == b->there && a->device == b->device && a->inode == b->inode &&
           a->size == b->size && same_time(a->modified, b->modified) &&
           same_time(a->changed, b->changed);
}

/* Take new stamps; true when any differs from the one before. */
static bool look(struct tls_context *context)
{
    const struct tls_config *config = &context->config;
    const char *const paths[TLS_FILES] = {config->cert_file, config->key_file, config->ca_file,
                                          config->crl_file};
    bool changed = false;

    for (size_t i = 0; i < TLS_FILES; i++) {
        struct tls_stamp now = stamp_of(paths[i]);

        changed = changed || !same_stamp(&now, &context->stamps[i]);
        context->stamps[i] = now;
    }
    return changed;
}

int tls_context_new(const struct tls_config *config, struct tls_context **context, struct err *err)
{
    struct tls_context *made;

    if (tls_config_check(config, err) < 0)
        return -1;
    made = xalloc(sizeof *made);
    made->config = copy_config(config);
    made->bio = bio_method();
    (void)look(made);
    if (load_set(&made->config, &made->set, err) < 0) {
        tls_context_free(made);
        return -1;
    }
    *context = made;
    return 0;
}

void tls_context_name(struct tls_context *context, const char *name)
{
    free(context->name);
    context->name = xstrdup(name);
}

void tls_context_free(struct tls_context *context)
{
    if (context == NULL)
        return;
    free(context->name);
    SSL_SESSION_free(context->ticket);
    free(context->ticket_name);
    tls_set_release(context->set);
    BIO_meth_free(context->bio);
    drop_config(&context->config);
    free(context);
}

enum tls_refresh tls_context_refresh(struct tls_context *context, uint64_t now_ms, struct err *err)
{
    bool quiet = now_ms < context->quiet_until_ms;
    struct err cause = ERR_INIT;
    struct tls_set *set;

    if (!look(context) && (quiet || !context->unsaid))
        return TLS_REFRESH_SAME;
    if (load_set(&context->config, &set, &cause) < 0) {
        context->unsaid = quiet;
        if (quiet)
            return TLS_REFRESH_SAME;
        context->quiet_until_ms = now_ms + QUIET_MS;
        *err = cause;
        return TLS_REFRESH_BROKEN;
    }
    context->unsaid = false;
    tls_set_release(context->set);
    context->set = set;
    SSL_SESSION_free(context->ticket); /* what it resumes was judged by other files */
    context->ticket = NULL;
    return TLS_REFRESH_LOADED;
}

const char *tls_context_describe(const struct tls_context *context)
{
    return context->set->describe;
}

const char *tls_context_note(const struct tls_context *context)
{
    return context->set->note != NULL ? context->set->note : "";
}
