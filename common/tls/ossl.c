/*
 * ossl.c - see ossl.h. A PEM file is walked with PEM_read_bio(), which finds the next block of any
 * kind, so nothing in a file is passed over by accident: PEM_read_bio_X509() would skip a key in a
 * trust file, where etcd refuses to start.
 */
#include "common/tls/ossl.h"
#include "common/base/file.h"
#include "common/base/limits.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <time.h>

const char *ossl_reason(char *text, size_t bytes)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;

    (void)snprintf(text, bytes, "%s", reason != NULL ? reason : "no reason given");
    ERR_clear_error();
    return text;
}

/* ---- PEM ---- */

static int walk(const char *file, struct slice text, bool skip_bad, pem_block_fn *block, void *arg,
                struct err *err)
{
    BIO *bio = BIO_new_mem_buf(text.data != NULL ? (const void *)text.data : "", (int)text.size);
    int count = 0, rc = 0;

    must(bio != NULL && text.size <= PEM_FILE_MAX_BYTES);
    while (rc == 0) {
        char *label = NULL, *header = NULL;
        unsigned char *der = NULL;
        long der_bytes = 0;

        ERR_clear_error();
        if (PEM_read_bio(bio, &label, &header, &der, &der_bytes) != 1) {
            char reason[128];
            bool end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;

            if (!end && skip_bad)
                continue; /* at least its first line is behind us */
            if (!end) {
                err_set(err, ERR_TLS, "%s: PEM block %d does not decode: %s", file, count + 1,
                        ossl_reason(reason, sizeof reason));
                rc = -1;
            }
            ERR_clear_error();
            break;
        }
        if ((unsigned long)++count > PEM_BLOCKS_MAX) {
            err_set(err, ERR_TLS, "%s: more than %lu PEM blocks", file, PEM_BLOCKS_MAX);
            rc = -1;
        } else {
            rc = block(arg,
                       &(struct pem_block){.label = label,
                                           .der = slice_of(der, (size_t)der_bytes),
                                           .number = (unsigned)count,
                                           .encrypted = strstr(header, "ENCRYPTED") != NULL},
                       err);
        }
        OPENSSL_free(label);
        OPENSSL_free(header);
        OPENSSL_clear_free(der, (size_t)der_bytes);
    }
    BIO_free(bio);
    return rc < 0 ? -1 : count;
}

int pem_walk(const char *file, struct slice text, pem_block_fn *block, void *arg, struct err *err)
{
    return walk(file, text, false, block, arg, err);
}

int ossl_read_file(const char *path, struct buf *out, struct err *err)
{
    buf_init(out, PEM_FILE_MAX_BYTES);
    if (file_read_all(path, out, err) < 0) {
        ossl_wipe(out);
        return -1;
    }
    return 0;
}

void ossl_wipe(struct buf *buf)
{
    if (buf->data != NULL)
        wipe(buf->data, buf->size);
    buf_free(buf);
}

static bool looks_like_der(struct slice text)
{
    return text.size > 2 && text.data[0] == 0x30 && text.data[1] >= 0x80;
}

void ossl_nothing_found(const char *file, struct slice text, const char *what, struct err *err)
{
    if (text.size == 0)
        err_set(err, ERR_TLS, "%s: is empty; it should hold %s", file, what);
    else if (looks_like_der(text))
        err_set(err, ERR_TLS,
                "%s: is DER, not PEM; convert it (openssl x509 -inform DER -in FILE -out FILE)",
                file);
    else if (text.size > 1 && memcmp(text.data, "\xff\xfe", 2) == 0)
        err_set(err, ERR_TLS, "%s: is UTF-16; it should hold %s as PEM, in ASCII: convert it", file,
                what);
    else
        err_set(err, ERR_TLS, "%s: holds no PEM block with %s", file, what);
}

struct certs_reader {
    const char *file;
    bool only_certs;
    STACK_OF(X509) * certs;
};

static int take_cert(void *arg, const struct pem_block *block, struct err *err)
{
    struct certs_reader *reader = arg;
    const unsigned char *at = block->der.data;
    bool trusted = strcmp(block->label, PEM_STRING_X509_TRUSTED) == 0;
    X509 *cert;
    char reason[128];

    if (!trusted && strcmp(block->label, PEM_STRING_X509) != 0 &&
        strcmp(block->label, PEM_STRING_X509_OLD) != 0) {
        if (!reader->only_certs)
            return 0;
        err_set(err, ERR_TLS,
                "%s: block %u is a \"%s\"; a trusted CA file may hold certificates only",
                reader->file, block->number, block->label);
        return -1;
    }
    cert = trusted ? d2i_X509_AUX(NULL, &at, (long)block->der.size)
                   : d2i_X509(NULL, &at, (long)block->der.size);
    if (cert == NULL || (!trusted && at != block->der.data + block->der.size)) {
        err_set(err, ERR_TLS, "%s: block %u is not a certificate: %s", reader->file, block->number,
                cert != NULL ? "bytes after its end" : ossl_reason(reason, sizeof reason));
        X509_free(cert);
        return -1;
    }
    if (ossl_time_s(X509_get0_notBefore(cert)) == INT64_MIN ||
        ossl_time_s(X509_get0_notAfter(cert)) == INT64_MIN) { /* Go: malformed validity */
        err_set(err, ERR_TLS, "%s: block %u: its validity is no pair of dates", reader->file,
                block->number);
        X509_free(cert);
        return -1;
    }
    must(sk_X509_push(reader->certs, cert) > 0);
    return 0;
}

int ossl_certs(const char *file, struct slice text, bool only_certs, STACK_OF(X509) * *certs,
               struct err *err)
{
    struct certs_reader reader = {file, only_certs, sk_X509_new_null()};

    must(reader.certs != NULL);
    if (pem_walk(file, text, take_cert, &reader, err) >= 0) {
        if (sk_X509_num(reader.certs) > 0) {
            *certs = reader.certs;
            return 0;
        }
        ossl_nothing_found(file, text, "a certificate", err);
    }
    sk_X509_pop_free(reader.certs, X509_free);
    return -1;
}

int ossl_anchors(const char *file, struct slice text, STACK_OF(X509) * *certs, struct err *err)
{
    struct certs_reader reader = {file, true, sk_X509_new_null()};

    must(reader.certs != NULL);
    if (walk(file, text, true, take_cert, &reader, err) >= 0) {
        *certs = reader.certs;
        return 0;
    }
    sk_X509_pop_free(reader.certs, X509_free);
    return -1;
}

struct crls_reader {
    const char *file;
    STACK_OF(X509_CRL) * crls;
};

static int take_crl(void *arg, const struct pem_block *block, struct err *err)
{
    struct crls_reader *reader = arg;
    const unsigned char *at = block->der.data;
    X509_CRL *crl;
    char reason[128];

    if (strcmp(block->label, PEM_STRING_X509_CRL) != 0) {
        err_set(err, ERR_TLS, "%s: block %u is a \"%s\", not a revocation list", reader->file,
                block->number, block->label);
        return -1;
    }
    crl = d2i_X509_CRL(NULL, &at, (long)block->der.size);
    if (crl == NULL || at != block->der.data + block->der.size) {
        err_set(err, ERR_TLS, "%s: block %u is not a revocation list: %s", reader->file,
                block->number,
                crl != NULL ? "bytes after its end" : ossl_reason(reason, sizeof reason));
        X509_CRL_free(crl);
        return -1;
    }
    must(sk_X509_CRL_push(reader->crls, crl) > 0);
    return 0;
}

int ossl_crls(const char *file, struct slice text, STACK_OF(X509_CRL) * *crls, struct err *err)
{
    struct crls_reader reader = {file, sk_X509_CRL_new_null()};
    int rc;

    must(reader.crls != NULL);
    if (looks_like_der(text)) /* one list in DER is one block */
        rc = take_crl(&reader, &(struct pem_block){PEM_STRING_X509_CRL, text, 1, false}, err);
    else
        rc = pem_walk(file, text, take_crl, &reader, err);
    if (rc >= 0 && sk_X509_CRL_num(reader.crls) > 0) {
        *crls = reader.crls;
        return 0;
    }
    if (rc >= 0)
        ossl_nothing_found(file, text,
                           "a revocation list (an empty list is a list without entries)", err);
    sk_X509_CRL_pop_free(reader.crls, X509_CRL_free);
    return -1;
}

int ossl_certs_file(const char *path, bool only_certs, STACK_OF(X509) * *certs, struct err *err)
{
    struct buf text;
    int rc;

    if (ossl_read_file(path, &text, err) < 0)
        return -1;
    rc = ossl_certs(path, buf_slice(&text), only_certs, certs, err);
    ossl_wipe(&text); /* a certificate file may hold the key too */
    return rc;
}

int ossl_crls_file(const char *path, STACK_OF(X509_CRL) * *crls, struct err *err)
{
    struct buf text;
    int rc;

    if (ossl_read_file(path, &text, err) < 0)
        return -1;
    rc = ossl_crls(path, buf_slice(&text), crls, err);
    ossl_wipe(&text);
    return rc;
}

/* ---- words ---- */

/* Control characters as \xHH. */
static void append_plain(struct buf *out, const uint8_t *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (text[i] < 0x20 || text[i] == 0x7f)
            (void)buf_printf(out, "\\x%02x", text[i]);
        else
            (void)buf_append_byte(out, text[i]);
}

static char *taken_text(struct buf *buf)
{
    char *text = xstrdup(buf_text(buf));

    buf_free(buf);
    return text;
}

/* Short names where OpenSSL has one (CN, O, OU ...), else the dotted number. */
char *ossl_name(const X509_NAME *name)
{
    struct buf out = BUF_INIT(ERR_TEXT_MAX);

    for (int i = 0; i < X509_NAME_entry_count(name); i++) {
        const X509_NAME_ENTRY *entry = X509_NAME_get_entry(name, i);
        const ASN1_OBJECT *object = X509_NAME_ENTRY_get_object(entry);
        unsigned char *utf8 = NULL;
        int bytes = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(entry));
        char dotted[80];

        if (OBJ_obj2nid(object) != NID_undef)
            (void)snprintf(dotted, sizeof dotted, "%s", OBJ_nid2sn(OBJ_obj2nid(object)));
        else
            (void)OBJ_obj2txt(dotted, sizeof dotted, object, 1);
        (void)buf_printf(&out, "%s%s=", i != 0 ? ", " : "", dotted);
        if (bytes >= 0)
            append_plain(&out, utf8, (size_t)bytes);
        OPENSSL_free(utf8);
    }
    if (buf_used(&out) == 0)
        (void)buf_append_text(&out, "(empty)");
    ERR_clear_error();
    return taken_text(&out);
}

char *ossl_cn(const X509_NAME *name)
{
    struct buf out = BUF_INIT(ERR_TEXT_MAX);
    int at = -1, last = -1;

    while ((at = X509_NAME_get_index_by_NID(name, NID_commonName, at)) >= 0)
        last = at;
    if (last >= 0) {
        unsigned char *utf8 = NULL;
        int bytes =
            ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, last)));

        if (bytes >= 0)
            append_plain(&out, utf8, (size_t)bytes);
        OPENSSL_free(utf8);
    }
    ERR_clear_error();
    return taken_text(&out);
}

int64_t ossl_time_s(const ASN1_TIME *time)
{
    struct tm parts;

    if (time == NULL || ASN1_TIME_to_tm(time, &parts) != 1) {
        ERR_clear_error();
        return INT64_MIN;
    }
    return (int64_t)timegm(&parts);
}

void ossl_time_of(int64_t unix_s, char *text)
{
    time_t when = (time_t)unix_s;
    struct tm parts;

    if (unix_s == INT64_MIN || gmtime_r(&when, &parts) == NULL ||
        strftime(text, OSSL_TIME_TEXT, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
        (void)snprintf(text, OSSL_TIME_TEXT, "(unreadable)");
}

void ossl_time(const ASN1_TIME *time, char *text)
{
    ossl_time_of(ossl_time_s(time), text);
}

void ossl_serial(const ASN1_INTEGER *serial, char *text)
{
    BIGNUM *number = ASN1_INTEGER_to_BN(serial, NULL);
    char *digits = number != NULL ? BN_bn2hex(number) : NULL;
    const char *at = digits != NULL ? digits : "?";
    size_t used = 0;

    if (*at == '-')
        text[used++] = *at++;
    while (at[0] == '0' && at[1] != '\0')
        at++;
    for (; *at != '\0' && used < OSSL_SERIAL_TEXT - 1; at++)
        text[used++] = *at >= 'A' && *at <= 'F' ? (char)(*at - 'A' + 'a') : *at;
    text[used] = '\0';
    OPENSSL_free(digits);
    BN_free(number);
    ERR_clear_error();
}

const char *ossl_key_kind(EVP_PKEY *key, char *text)
{
    char group[64] = "";

    if (key == NULL) {
        (void)snprintf(text, OSSL_TIME_TEXT, "unreadable");
    } else if (EVP_PKEY_is_a(key, "RSA") || EVP_PKEY_is_a(key, "RSA-PSS")) {
        (void)snprintf(text, OSSL_TIME_TEXT, "RSA-%d", EVP_PKEY_get_bits(key));
    } else if (EVP_PKEY_is_a(key, "EC")) {
        (void)EVP_PKEY_get_group_name(key, group, sizeof group, NULL);
        if (strcmp(group, "prime256v1") == 0)
            (void)snprintf(group, sizeof group, "P256");
        else if (strcmp(group, "secp384r1") == 0)
            (void)snprintf(group, sizeof group, "P384");
        else if (strcmp(group, "secp521r1") == 0)
            (void)snprintf(group, sizeof group, "P521");
        (void)snprintf(text, OSSL_TIME_TEXT, "ECDSA-%.20s", group);
    } else {
        const char *name = EVP_PKEY_get0_type_name(key);

        (void)snprintf(text, OSSL_TIME_TEXT, "%.20s",
                       EVP_PKEY_is_a(key, "ED25519") ? "Ed25519" : (name != NULL ? name : "?"));
    }
    ERR_clear_error();
    return text;
}

bool ossl_key_usable(EVP_PKEY *key)
{
    char kind[OSSL_TIME_TEXT];

    (void)ossl_key_kind(key, kind);
    return EVP_PKEY_is_a(key, "RSA") || strcmp(kind, "ECDSA-P256") == 0 ||
           strcmp(kind, "ECDSA-P384") == 0 || strcmp(kind, "ECDSA-P521") == 0 ||
           strcmp(kind, "Ed25519") == 0;
}

unsigned ossl_eku(const X509 *cert)
{
    EXTENDED_KEY_USAGE *usages = X509_get_ext_d2i(cert, NID_ext_key_usage, NULL, NULL);
    unsigned found = 0;

    for (int i = 0; i < sk_ASN1_OBJECT_num(usages); i++) {
        switch (OBJ_obj2nid(sk_ASN1_OBJECT_value(usages, i))) {
        case NID_server_auth:
            found |= X509_SERVER;
            break;
        case NID_client_auth:
            found |= X509_CLIENT;
            break;
        case NID_anyExtendedKeyUsage:
            found |= X509_ANY;
            break;
        default:
            found |= X509_OTHER;
            break;
        }
    }
    EXTENDED_KEY_USAGE_free(usages);
    ERR_clear_error();
    return found;
}

void ossl_usages(const X509 *cert, struct buf *out)
{
    unsigned eku = ossl_eku(cert);
    const char *between = "";

    if (eku == 0)
        (void)buf_append_text(out, "none");
    if ((eku & X509_SERVER) != 0) {
        (void)buf_printf(out, "serverAuth");
        between = ", ";
    }
    if ((eku & X509_CLIENT) != 0) {
        (void)buf_printf(out, "%sclientAuth", between);
        between = ", ";
    }
    if ((eku & X509_ANY) != 0) {
        (void)buf_printf(out, "%sany", between);
        between = ", ";
    }
    if ((eku & X509_OTHER) != 0)
        (void)buf_printf(out, "%sothers", between);
}

void ossl_san_each(const X509 *cert, ossl_san_fn *each, void *arg)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        char kind = name->type == GEN_DNS     ? 'D'
                    : name->type == GEN_IPADD ? 'I'
                    : name->type == GEN_EMAIL ? 'E'
                    : name->type == GEN_URI   ? 'U'
                                              : 0;
        char address[INET6_ADDRSTRLEN] = "?";
        struct buf text = BUF_INIT(ERR_TEXT_MAX);

        if (kind == 'I') {
            int family = name->d.iPAddress->length == 4 ? AF_INET : AF_INET6;

            if (name->d.iPAddress->length == 4 || name->d.iPAddress->length == 16)
                (void)inet_ntop(family, name->d.iPAddress->data, address, sizeof address);
            each(arg, kind, address);
        } else if (kind != 0) {
            for (int at = 0; at < name->d.ia5->length; at++) { /* IA5 has no byte above 0x7e */
                uint8_t byte = name->d.ia5->data[at];

                if (byte < 0x20 || byte > 0x7e)
                    (void)buf_printf(&text, "\\x%02x", byte);
                else
                    (void)buf_append_byte(&text, byte);
            }
            each(arg, kind, buf_text(&text));
        }
        buf_free(&text);
    }
    GENERAL_NAMES_free(names);
    ERR_clear_error();
}

static void append_san(void *arg, char kind, const char *text)
{
    struct buf *out = arg;

    (void)buf_printf(out, "%s%s:%s", buf_used(out) != 0 ? ", " : "",
                     kind == 'D'   ? "DNS"
                     : kind == 'I' ? "IP"
                     : kind == 'E' ? "email"
                                   : "URI",
                     text);
}

void ossl_sans(const X509 *cert, struct buf *out)
{
    struct buf list = BUF_INIT(ERR_TEXT_MAX * 16);

    ossl_san_each(cert, append_san, &list);
    if (buf_used(&list) == 0)
        (void)buf_append_text(out, "none");
    else
        (void)buf_append_slice(out, buf_slice(&list));
    buf_free(&list);
}

bool ossl_names_equal(const X509_NAME *a, const X509_NAME *b)
{
    const unsigned char *a_der = NULL, *b_der = NULL;
    size_t a_bytes = 0, b_bytes = 0;

    return X509_NAME_get0_der(a, &a_der, &a_bytes) == 1 &&
           X509_NAME_get0_der(b, &b_der, &b_bytes) == 1 &&
           slice_equal(slice_of(a_der, a_bytes), slice_of(b_der, b_bytes));
}
