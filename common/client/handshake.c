/*
 * handshake.c - see handshake.h.
 *
 * Who connects makes the SSL_CTX and hands it over before the handshake. Three callbacks go in:
 * verify (the chain is judged as judge.h says: which certificate failed, and why), info (alerts)
 * and client certificate (was one asked for).
 */
#include "common/client/handshake.h"

#include "common/base/buf.h"
#include "common/base/file.h"
#include "common/base/limits.h"
#include "common/tls/judge.h"
#include "common/tls/ossl.h"
#include "common/tls/x509.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>

static void name_words(const X509_NAME *name, char text[CERT_TEXT_MAX])
{
    BIO *bio = BIO_new(BIO_s_mem());
    int length = 0;

    if (bio != NULL && name != NULL &&
        X509_NAME_print_ex(bio, name, 0, XN_FLAG_ONELINE & ~XN_FLAG_SPC_EQ) > 0)
        length = BIO_read(bio, text, CERT_TEXT_MAX - 1);
    text[MAX(length, 0)] = '\0';
    if (length <= 0)
        (void)snprintf(text, CERT_TEXT_MAX, "(empty subject)");
    BIO_free(bio);
}

static void date_words(const ASN1_TIME *time, char text[CERT_DATE_MAX])
{
    struct tm tm = {0};

    if (time == NULL || ASN1_TIME_to_tm(time, &tm) != 1 ||
        strftime(text, CERT_DATE_MAX, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
        (void)snprintf(text, CERT_DATE_MAX, "(unreadable date)");
}

static void one_name(const GENERAL_NAME *name, struct buf *out)
{
    char ip[INET6_ADDRSTRLEN];
    int type;
    const ASN1_STRING *value = GENERAL_NAME_get0_value(name, &type);
    const unsigned char *data;
    int size;

    if (type != GEN_DNS && type != GEN_IPADD)
        return;
    data = ASN1_STRING_get0_data(value);
    size = ASN1_STRING_length(value);
    if (buf_used(out) > 0)
        buf_append_text(out, ", ");
    if (type == GEN_DNS)
        buf_printf(out, "%.*s", size, (const char *)data);
    else if ((size == 4 || size == 16) &&
             inet_ntop(size == 4 ? AF_INET : AF_INET6, data, ip, sizeof(ip)) != NULL)
        buf_append_text(out, ip);
}

static void cert_words(X509 *cert, struct cert_words *words)
{
    struct buf names = BUF_INIT(CERT_NAMES_MAX - 1);
    GENERAL_NAMES *list = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);

    name_words(X509_get_subject_name(cert), words->subject);
    name_words(X509_get_issuer_name(cert), words->issuer);
    date_words(X509_get0_notBefore(cert), words->not_before);
    date_words(X509_get0_notAfter(cert), words->not_after);
    for (int i = 0; i < sk_GENERAL_NAME_num(list); i++)
        one_name(sk_GENERAL_NAME_value(list, i), &names);
    (void)snprintf(words->names, sizeof(words->names), "%s", buf_text(&names));
    buf_free(&names);
    GENERAL_NAMES_free(list);
}

static enum handshake_fault fault_of(int error)
{
    switch (error) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return FAULT_HOST;
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return FAULT_EXPIRED;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return FAULT_NOT_YET_VALID;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
    case X509_V_ERR_SUBJECT_ISSUER_MISMATCH:
        return FAULT_UNKNOWN_CA;
    default:
        return FAULT_OTHER;
    }
}

static struct handshake *of_ssl(const SSL *ssl)
{
    return SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
}

/* In place of OpenSSL's own judgement. */
static int on_chain(X509_STORE_CTX *store, void *arg)
{
    struct handshake *handshake = arg;
    X509 *cert;
    int error = judge_chain(store);

    if (error == 0)
        error = judge_names(store);
    if (error == 0)
        error = judge_usage(store, X509_SERVER);
    if (error == 0)
        error = judge_host(store, handshake->host);
    if (error == 0)
        return 1;
    handshake->fault = fault_of(error);
    handshake->fault_text = X509_verify_cert_error_string(error);
    handshake->depth = X509_STORE_CTX_get_error_depth(store);
    cert = X509_STORE_CTX_get_current_cert(store);
    if (cert != NULL)
        cert_words(cert, &handshake->cert);
    return 0;
}

static void on_info(const SSL *ssl, int where, int value)
{
    if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT && (value & 0xff) != SSL_AD_CLOSE_NOTIFY)
        of_ssl(ssl)->alert = value & 0xff;
}

static int on_client_cert(SSL *ssl, X509 **cert, EVP_PKEY **key)
{
    (void)cert;
    (void)key;
    of_ssl(ssl)->asked = true;
    return 0; /* none to offer: this is only called when no certificate was configured */
}

void handshake_reset(struct handshake *handshake, const char *host, bool verify, const char *cacert)
{
    *handshake = (struct handshake){.host = host, .verify = verify, .cacert = cacert, .alert = -1};
}

static int read_file(const char *path, struct buf *content, struct err *err)
{
    FILE *file = fopen(path, "re");

    if (file == NULL) {
        err_sys(err, errno, "open %s", path);
        return -1;
    }
    (void)fclose(file);
    return file_read_all(path, content, err);
}

static int read_anchors(const char *path, const char *typed, STACK_OF(X509) * *anchors,
                        struct err *err)
{
    struct buf content = BUF_INIT(CLIENT_FILE_MAX);
    int rc = read_file(path, &content, err);

    if (rc == 0)
        rc = ossl_anchors(typed, buf_slice(&content), anchors, err);
    buf_free(&content);
    return rc;
}

/* They were checked: what a file that was damaged since does not hold is not trusted. */
static void trust_cacert(struct handshake *handshake, SSL_CTX *context)
{
    X509_STORE *store = X509_STORE_new();
    STACK_OF(X509) *anchors = NULL;
    struct err err = ERR_INIT;

    must(store != NULL);
    handshake->nobody = read_anchors(handshake->cacert, handshake->cacert, &anchors, &err) < 0 ||
                        sk_X509_num(anchors) == 0;
    for (int i = 0; i < sk_X509_num(anchors); i++)
        must(X509_STORE_add_cert(store, sk_X509_value(anchors, i)) == 1);
    judge_try_all_issuers(store);
    SSL_CTX_set_cert_store(context, store);
    sk_X509_pop_free(anchors, X509_free);
    ERR_clear_error();
}

void handshake_watch(struct handshake *handshake, void *ssl_ctx)
{
    SSL_CTX *context = ssl_ctx;

    handshake->begun = true;
    SSL_CTX_set_app_data(context, handshake);
    SSL_CTX_set_info_callback(context, on_info);
    SSL_CTX_set_client_cert_cb(context, on_client_cert);
    if (!handshake->verify)
        return;
    if (handshake->cacert != NULL)
        trust_cacert(handshake, context);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(context, on_chain, handshake);
}

int handshake_no_password(char *text, int size, int writing, void *arg)
{
    (void)text;
    (void)size;
    (void)writing;
    (void)arg;
    return -1; /* never ask on the terminal in the middle of a command */
}

/* Make a BIO of the file's bytes; they must outlive it. */
static BIO *open_pem(const char *path, struct buf *content, struct err *err)
{
    BIO *bio = NULL;

    if (read_file(path, content, err) == 0) {
        bio = BIO_new_mem_buf(content->data != NULL ? (const void *)content->data : "",
                              (int)buf_used(content));
        must(bio != NULL);
    }
    return bio;
}

static X509 *read_cert(const char *path, const char *typed, struct err *err)
{
    struct buf content = BUF_INIT(CLIENT_FILE_MAX);
    BIO *bio = open_pem(path, &content, err);
    X509 *cert = bio != NULL ? PEM_read_bio_X509(bio, NULL, handshake_no_password, NULL) : NULL;

    if (bio != NULL && cert == NULL)
        err_set(err, ERR_FORMAT, "%s holds no certificate in PEM form", typed);
    BIO_free(bio);
    buf_free(&content);
    return cert;
}

static EVP_PKEY *read_key(const char *path, const char *typed, struct err *err)
{
    struct buf content = BUF_INIT(CLIENT_FILE_MAX);
    BIO *bio = open_pem(path, &content, err);
    EVP_PKEY *key =
        bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, handshake_no_password, NULL) : NULL;

    if (bio != NULL && key == NULL)
        err_set(err, ERR_FORMAT, "%s holds no unencrypted private key in PEM form", typed);
    BIO_free(bio);
    if (content.data != NULL)
        wipe(content.data, content.size);
    buf_free(&content);
    return key;
}

int credentials_check(const struct credential_files *files, const struct credential_files *typed,
                      struct cert_words *own, bool *own_expired, struct err *err)
{
    STACK_OF(X509) *anchors = NULL;
    X509 *cert = NULL;
    EVP_PKEY *key = NULL;
    int rc = -1;

    *own = (struct cert_words){0};
    *own_expired = false;
    if (files->cacert != NULL) {
        if (read_anchors(files->cacert, typed->cacert, &anchors, err) < 0)
            return -1;
        sk_X509_pop_free(anchors, X509_free);
    }
    if (files->cert == NULL)
        return 0;
    cert = read_cert(files->cert, typed->cert, err);
    if (cert == NULL)
        goto out;
    key = read_key(files->key, typed->key, err);
    if (key == NULL)
        goto out;
    cert_words(cert, own);
    *own_expired = X509_cmp_current_time(X509_get0_notAfter(cert)) < 0;
    if (X509_check_private_key(cert, key) != 1) {
        err_set(err, ERR_TLS,
                "tls: private key does not match public key: %s is not the key of %s (%s)",
                typed->key, typed->cert, own->subject);
        goto out;
    }
    rc = 0;
out:
    X509_free(cert);
    EVP_PKEY_free(key);
    return rc;
}
