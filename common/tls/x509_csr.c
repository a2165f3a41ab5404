/*
 * x509_csr.c - signing requests: made with subject and names only, as kubeadm's; judged before they
 * are signed, for they come from elsewhere.
 */
#include "common/base/limits.h"
#include "common/tls/x509_internal.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>

#define RSA_MIN_BITS 2048
#define RSA_MAX_BITS 8192 /* Go's TLS refuses more (pki.md 2.9) */

struct x509_csr {
    X509_REQ *req; /* owned */
    struct x509_sans sans;
};

void x509_csr_free(struct x509_csr *csr)
{
    if (csr == NULL)
        return;
    X509_REQ_free(csr->req);
    x509_sans_free(&csr->sans);
    free(csr);
}

const struct x509_sans *x509_csr_sans(const struct x509_csr *csr)
{
    return &csr->sans;
}

void x509_csr_pem(const struct x509_csr *csr, struct buf *out)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data;
    long bytes;

    must(bio != NULL && PEM_write_bio_X509_REQ(bio, csr->req) == 1);
    bytes = BIO_get_mem_data(bio, &data);
    must(bytes > 0 && buf_append(out, data, (size_t)bytes));
    BIO_free(bio);
}

/* The names as an extension: a certificate that is thrown away builds it. */
static void add_names(X509_REQ *req, const X509 *like)
{
    int at = X509_get_ext_by_NID(like, NID_subject_alt_name, -1);
    STACK_OF(X509_EXTENSION) *list = NULL;

    if (at < 0)
        return;
    must(X509v3_add_ext(&list, X509_get_ext(like, at), -1) != NULL);
    must(X509_REQ_add_extensions(req, list) == 1);
    sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
}

int x509_csr_new(const struct x509_request *request, const struct x509_key *key,
                 struct x509_csr **csr, struct err *err)
{
    struct x509_cert *like;
    char reason[128];

    if (x509_cert_new(request, key, NULL, key, &like, err) < 0)
        return -1;
    *csr = xalloc(sizeof **csr);
    (*csr)->sans = (struct x509_sans){0};
    (*csr)->req = X509_REQ_new();
    must((*csr)->req != NULL && X509_REQ_set_version((*csr)->req, 0) == 1);
    must(X509_REQ_set_subject_name((*csr)->req, X509_get_subject_name(like->x509)) == 1);
    must(X509_REQ_set_pubkey((*csr)->req, key->pkey) == 1);
    add_names((*csr)->req, like->x509);
    x509_cert_free(like);
    if (X509_REQ_sign((*csr)->req, key->pkey, x509_digest_for(key->pkey)) > 0)
        return 0;
    err_set(err, ERR_TLS, "the key cannot sign: %s", ossl_reason(reason, sizeof reason));
    x509_csr_free(*csr);
    *csr = NULL;
    return -1;
}

/* ---- judging ---- */

static int judge_key(const char *name, X509_REQ *req, struct err *err)
{
    EVP_PKEY *key = X509_REQ_get0_pubkey(req);
    char kind[OSSL_TIME_TEXT], reason[128];

    if (key == NULL) {
        err_set(err, ERR_TLS, "%s: its public key cannot be read: %s", name,
                ossl_reason(reason, sizeof reason));
        return -1;
    }
    if (!ossl_key_usable(key)) {
        err_set(err, ERR_TLS, "%s: etcd cannot use a key of kind %s", name,
                ossl_key_kind(key, kind));
        return -1;
    }
    if (EVP_PKEY_is_a(key, "RSA") &&
        (EVP_PKEY_get_bits(key) < RSA_MIN_BITS || EVP_PKEY_get_bits(key) > RSA_MAX_BITS)) {
        err_set(err, ERR_TLS, "%s: a key of kind %s; RSA keys have %d to %d bits here", name,
                ossl_key_kind(key, kind), RSA_MIN_BITS, RSA_MAX_BITS);
        return -1;
    }
    if (X509_REQ_verify(req, key) != 1) {
        ERR_clear_error();
        err_set(err, ERR_TLS,
                "%s: its signature is wrong: it was changed, or made without the private key",
                name);
        return -1;
    }
    return 0;
}

static int judge_subject(const char *name, const X509_NAME *subject, struct err *err)
{
    bool named = false;

    for (int i = 0; i < X509_NAME_entry_count(subject); i++) {
        const X509_NAME_ENTRY *entry = X509_NAME_get_entry(subject, i);
        unsigned char *text = NULL;
        int bytes = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(entry));
        bool cn = OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry)) == NID_commonName;
        size_t characters = 0;
        bool control = bytes < 0;

        for (int k = 0; k < bytes; k++) {
            control = control || text[k] < 0x20 || text[k] == 0x7f;
            characters += (text[k] & 0xc0) != 0x80 ? 1 : 0;
        }
        OPENSSL_free(text);
        ERR_clear_error();
        if (control) {
            err_set(err, ERR_TLS, "%s: its subject has control characters or is not readable",
                    name);
            return -1;
        }
        if (cn && (characters == 0 || characters > CERT_CN_MAX)) {
            err_set(err, ERR_TLS, "%s: its common name has %zu characters; 1 to %lu are allowed",
                    name, characters, CERT_CN_MAX);
            return -1;
        }
        named = named || cn;
    }
    if (!named) {
        err_set(err, ERR_TLS, "%s: its subject has no common name (CN)", name);
        return -1;
    }
    return 0;
}

static int take_name(const char *name, const GENERAL_NAME *from, struct x509_sans *sans,
                     struct err *err)
{
    int type, rc = -1;
    const void *value = GENERAL_NAME_get0_value(from, &type);
    const ASN1_STRING *string = value;

    if (type == GEN_DNS) {
        size_t bytes = (size_t)ASN1_STRING_length(string);
        char *text = xstrndup((const char *)ASN1_STRING_get0_data(string), bytes);

        if (strlen(text) == bytes)
            rc = x509_sans_add_dns(sans, text, err);
        else
            err_set(err, ERR_TLS, "a DNS name has a zero byte");
        free(text);
    } else if (type == GEN_IPADD &&
               (ASN1_STRING_length(string) == 4 || ASN1_STRING_length(string) == 16)) {
        char text[INET6_ADDRSTRLEN];

        must(inet_ntop(ASN1_STRING_length(string) == 4 ? AF_INET : AF_INET6,
                       ASN1_STRING_get0_data(string), text, sizeof text) != NULL);
        rc = x509_sans_add_ip(sans, text, err);
    } else {
        err_set(err, ERR_TLS,
                "asks for an alternative name that is neither a DNS name nor an address");
    }
    if (rc < 0) {
        err->code = ERR_TLS; /* of the request, not of the command line */
        err_prefix(err, "%s", name);
    }
    return rc;
}

static int judge_extensions(const char *name, struct x509_csr *csr, struct err *err)
{
    STACK_OF(X509_EXTENSION) *list = X509_REQ_get_extensions(csr->req);
    BASIC_CONSTRAINTS *constraints = X509V3_get_d2i(list, NID_basic_constraints, NULL, NULL);
    GENERAL_NAMES *names = X509V3_get_d2i(list, NID_subject_alt_name, NULL, NULL);
    int rc = 0;

    if (constraints != NULL && constraints->ca) {
        err_set(err, ERR_TLS, "%s: asks to be a CA (CA:TRUE); etcd-pki sign makes no CAs", name);
        rc = -1;
    }
    if (rc == 0 && names == NULL && X509v3_get_ext_by_NID(list, NID_subject_alt_name, -1) >= 0) {
        err_set(err, ERR_TLS, "%s: its alternative names cannot be read", name);
        rc = -1;
    }
    for (int i = 0; rc == 0 && i < sk_GENERAL_NAME_num(names); i++)
        rc = take_name(name, sk_GENERAL_NAME_value(names, i), &csr->sans, err);
    BASIC_CONSTRAINTS_free(constraints);
    GENERAL_NAMES_free(names);
    sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
    ERR_clear_error();
    return rc;
}

struct csr_reader {
    X509_REQ *req;
};

static int take_block(void *arg, const struct pem_block *block, struct err *err)
{
    struct csr_reader *reader = arg;
    const uint8_t *at = block->der.data;

    (void)err;
    if (reader->req == NULL && (strcmp(block->label, PEM_STRING_X509_REQ) == 0 ||
                                strcmp(block->label, PEM_STRING_X509_REQ_OLD) == 0))
        reader->req = d2i_X509_REQ(NULL, &at, (long)block->der.size);
    return 0;
}

int x509_csr_parse(const char *name, struct slice text, struct x509_csr **csr, struct err *err)
{
    struct csr_reader reader = {0};
    struct x509_csr *made;

    *csr = NULL;
    if (pem_walk(name, text, take_block, &reader, err) < 0) {
        X509_REQ_free(reader.req);
        return -1;
    }
    if (reader.req == NULL) {
        ERR_clear_error();
        err_set(err, ERR_TLS, "%s: %s; make one with: etcd-pki csr", name,
                text.size == 0 ? "is empty" : "holds no PEM block with a certificate request");
        return -1;
    }
    made = xalloc(sizeof *made);
    *made = (struct x509_csr){.req = reader.req};
    if (judge_key(name, made->req, err) < 0 ||
        judge_subject(name, X509_REQ_get_subject_name(made->req), err) < 0 ||
        judge_extensions(name, made, err) < 0) {
        x509_csr_free(made);
        return -1;
    }
    *csr = made;
    return 0;
}

int x509_csr_read(const char *path, struct x509_csr **csr, struct err *err)
{
    struct buf text;
    int rc;

    *csr = NULL;
    if (ossl_read_file(path, &text, err) < 0)
        return -1;
    rc = x509_csr_parse(path, buf_slice(&text), csr, err);
    buf_free(&text);
    return rc;
}

int x509_csr_sign(const struct x509_csr *csr, const struct x509_request *request,
                  const struct x509_cert *ca_cert, const struct x509_key *ca_key,
                  struct x509_cert **cert, struct err *err)
{
    X509 *made;
    char reason[128];

    if (x509_check_request(request, err) < 0)
        return -1;
    made = X509_new();
    must(made != NULL && X509_set_version(made, 2) == 1);
    x509_set_serial(made, false);
    x509_set_dates(made, request->not_before_s, request->not_after_s);
    must(X509_set_pubkey(made, X509_REQ_get0_pubkey(csr->req)) == 1);
    must(X509_set_subject_name(made, X509_REQ_get_subject_name(csr->req)) == 1);
    must(X509_set_issuer_name(made, X509_get_subject_name(ca_cert->x509)) == 1);
    x509_add_extensions(made, request, ca_cert);
    if (X509_sign(made, ca_key->pkey, x509_digest_for(ca_key->pkey)) <= 0) {
        err_set(err, ERR_TLS, "the CA's key cannot sign: %s", ossl_reason(reason, sizeof reason));
        X509_free(made);
        return -1;
    }
    *cert = x509_cert_wrap(made);
    return 0;
}
