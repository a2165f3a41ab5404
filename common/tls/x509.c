/*
 * x509.c - keys, alternative names, and certificates read and described. x509_make.c makes them.
 */
#include "common/tls/judge.h"
#include "common/tls/x509_internal.h"
#include "common/base/limits.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h> /* PKCS8_decrypt() */
#include <stdio.h>
#include <time.h>

#define NAME_MAX_BYTES 253
#define LABEL_MAX_BYTES 63

static const struct {
    const char *name;     /* ours and kubeadm's */
    const char *names[3]; /* other spellings, compared without case */
    const char *curve;    /* EC */
    unsigned bits;        /* RSA */
} algorithms[X509_ALGORITHMS] = {
    [X509_RSA_2048] = {"RSA-2048", {"rsa:2048", "rsa2048", "rsa"}, NULL, 2048},
    [X509_RSA_3072] = {"RSA-3072", {"rsa:3072", "rsa3072", NULL}, NULL, 3072},
    [X509_RSA_4096] = {"RSA-4096", {"rsa:4096", "rsa4096", NULL}, NULL, 4096},
    [X509_ECDSA_P256] = {"ECDSA-P256", {"p256", "p-256", "ecdsa:p256"}, "P-256", 0},
    [X509_ECDSA_P384] = {"ECDSA-P384", {"p384", "p-384", "ecdsa:p384"}, "P-384", 0},
    [X509_ECDSA_P521] = {"ECDSA-P521", {"p521", "p-521", "ecdsa:p521"}, "P-521", 0},
    [X509_ED25519] = {"ED25519", {"ed25519", NULL, NULL}, NULL, 0},
};

bool x509_algorithm_parse(const char *text, enum x509_algorithm *algorithm)
{
    for (size_t i = 0; i < ARRAY_LEN(algorithms); i++) {
        bool same = strcasecmp(text, algorithms[i].name) == 0;

        for (size_t k = 0; k < ARRAY_LEN(algorithms[i].names); k++)
            same = same || (algorithms[i].names[k] != NULL &&
                            strcasecmp(text, algorithms[i].names[k]) == 0);
        if (same) {
            *algorithm = (enum x509_algorithm)i;
            return true;
        }
    }
    return false;
}

const char *x509_algorithm_name(enum x509_algorithm algorithm)
{
    return algorithms[algorithm].name;
}

/* ---- keys ---- */

struct x509_key *x509_key_new(enum x509_algorithm algorithm)
{
    struct x509_key *key = xalloc(sizeof *key);

    if (algorithms[algorithm].bits != 0)
        key->pkey = EVP_RSA_gen(algorithms[algorithm].bits);
    else if (algorithms[algorithm].curve != NULL)
        key->pkey = EVP_EC_gen(algorithms[algorithm].curve);
    else
        key->pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    must(key->pkey != NULL);
    return key;
}

void x509_key_free(struct x509_key *key)
{
    if (key == NULL)
        return;
    EVP_PKEY_free(key->pkey); /* OpenSSL clears private numbers */
    x509_key_lock(key, NULL);
    free(key);
}

void x509_key_lock(struct x509_key *key, const char *passphrase)
{
    if (key->passphrase != NULL)
        wipe(key->passphrase, strlen(key->passphrase));
    free(key->passphrase);
    key->passphrase = passphrase != NULL ? xstrdup(passphrase) : NULL;
}

int x509_key_read(const char *path, struct x509_key **key, struct err *err)
{
    EVP_PKEY *pkey;

    if (ossl_key_file(path, &pkey, err) < 0)
        return -1;
    *key = xalloc(sizeof **key);
    (*key)->pkey = pkey;
    return 0;
}

int x509_key_open(const char *path, const char *passphrase, struct x509_key **key, bool *locked,
                  struct err *err)
{
    struct buf text;
    EVP_PKEY *pkey = NULL;
    int rc;

    *key = NULL;
    *locked = false;
    if (ossl_read_file(path, &text, err) < 0)
        return -1;
    rc = ossl_key_open(path, buf_slice(&text), passphrase, &pkey, locked, err);
    ossl_wipe(&text);
    if (rc == 0 && pkey != NULL) {
        *key = xalloc(sizeof **key);
        (*key)->pkey = pkey;
        if (*locked)
            x509_key_lock(*key, passphrase);
    }
    return rc;
}

static void take_bio(BIO *bio, struct buf *out)
{
    char *data = NULL;
    long bytes = BIO_get_mem_data(bio, &data);

    must(bytes > 0 && buf_append(out, data, (size_t)bytes));
    wipe(data, (size_t)bytes);
    BIO_free(bio);
}

static void write_locked(const struct x509_key *key, BIO *bio)
{
    PKCS8_PRIV_KEY_INFO *plain = EVP_PKEY2PKCS8(key->pkey);
    X509_ALGOR *how =
        PKCS5_pbe2_set_iv(EVP_aes_256_cbc(), PASSPHRASE_ROUNDS, NULL, 0, NULL, NID_hmacWithSHA256);
    X509_SIG *locked;

    must(plain != NULL && how != NULL);
    locked = PKCS8_set0_pbe(key->passphrase, (int)strlen(key->passphrase), plain, how);
    must(locked != NULL && PEM_write_bio_PKCS8(bio, locked) == 1);
    X509_SIG_free(locked); /* and `how` with it */
    PKCS8_PRIV_KEY_INFO_free(plain);
}

void x509_key_pem(const struct x509_key *key, struct buf *out)
{
    BIO *bio = BIO_new(BIO_s_secmem());

    must(bio != NULL);
    if (key->passphrase != NULL)
        write_locked(key, bio);
    else if (EVP_PKEY_is_a(key->pkey, "ED25519")) /* has no traditional form */
        must(PEM_write_bio_PKCS8PrivateKey(bio, key->pkey, NULL, NULL, 0, NULL, NULL) == 1);
    else
        must(PEM_write_bio_PrivateKey_traditional(bio, key->pkey, NULL, NULL, 0, NULL, NULL) == 1);
    take_bio(bio, out);
}

void x509_key_public_pem(const struct x509_key *key, struct buf *out)
{
    BIO *bio = BIO_new(BIO_s_mem());

    must(bio != NULL && PEM_write_bio_PUBKEY(bio, key->pkey) == 1);
    take_bio(bio, out);
}

const char *x509_key_kind(const struct x509_key *key, char text[32])
{
    return ossl_key_kind(key->pkey, text);
}

bool x509_keys_equal(const struct x509_key *a, const struct x509_key *b)
{
    bool equal = EVP_PKEY_eq(a->pkey, b->pkey) == 1;

    ERR_clear_error();
    return equal;
}

void x509_wipe(struct buf *buf)
{
    ossl_wipe(buf);
}

/* ---- alternative names ---- */

/* inet_pton() is strict in just the way wanted: four decimal parts without leading zeros,
 * no zone */
bool x509_is_address(const char *text)
{
    uint8_t binary[16];

    return inet_pton(AF_INET, text, binary) == 1 || inet_pton(AF_INET6, text, binary) == 1;
}

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool x509_is_name(const char *text)
{
    size_t bytes = strlen(text), label = 0;
    bool digits = true; /* four numbers with dots are an address that did not parse */

    if (bytes == 0 || bytes > NAME_MAX_BYTES)
        return false;
    for (size_t i = 0; i < bytes; i++) {
        char c = text[i];

        digits = digits && (c == '.' || (c >= '0' && c <= '9'));
        if (c == '.') {
            if (label == 0 || !is_alnum(text[i - 1]))
                return false;
            label = 0;
            continue;
        }
        if (!is_alnum(c) && (c != '-' || label == 0))
            return false;
        if (++label > LABEL_MAX_BYTES)
            return false;
    }
    return label != 0 && is_alnum(text[bytes - 1]) && !(digits && strchr(text, '.') != NULL);
}

static int full(const struct x509_sans *sans, const char *text, struct err *err)
{
    if (sans->dns_count + sans->ips_count < CERT_SANS_MAX)
        return 0;
    err_set(err, ERR_USAGE, "%s: a certificate here has at most %lu alternative names", text,
            CERT_SANS_MAX);
    return -1;
}

static bool is_name_or_wildcard(const char *text)
{
    return x509_is_name(text) || (strncmp(text, "*.", 2) == 0 && x509_is_name(text + 2));
}

int x509_sans_add_dns(struct x509_sans *sans, const char *name, struct err *err)
{
    size_t at = 0;

    if (!is_name_or_wildcard(name)) {
        err_set(err, ERR_USAGE,
                "\"%.100s\" is not a DNS name: lower-case letters, digits and '-' in labels "
                "separated by '.', or one with a leading \"*.\"%s",
                name, x509_is_address(name) ? "; give an address as an address" : "");
        return -1;
    }
    while (at < sans->dns_count && strcmp(sans->dns[at], name) < 0)
        at++;
    if (at < sans->dns_count && strcmp(sans->dns[at], name) == 0)
        return 0;
    if (full(sans, name, err) < 0)
        return -1;
    sans->dns = xrealloc(sans->dns, (sans->dns_count + 1) * sizeof *sans->dns);
    memmove(sans->dns + at + 1, sans->dns + at, (sans->dns_count - at) * sizeof *sans->dns);
    sans->dns[at] = xstrdup(name);
    sans->dns_count++;
    return 0;
}

int x509_sans_add_ip(struct x509_sans *sans, const char *address, struct err *err)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    char text[INET6_ADDRSTRLEN];
    uint8_t binary[16];
    int family = strchr(address, ':') != NULL ? AF_INET6 : AF_INET;

    if (inet_pton(family, address, binary) != 1) {
        err_set(err, ERR_USAGE, "%.100s: not an address", address);
        return -1;
    }
    /* ::ffff:10.0.0.1 is 10.0.0.1, for Go too: written as the latter, which all understand */
    if (family == AF_INET6 && memcmp(binary, mapped, sizeof mapped) == 0) {
        family = AF_INET;
        memmove(binary, binary + sizeof mapped, 4);
    }
    must(inet_ntop(family, binary, text, sizeof text) != NULL);
    for (size_t i = 0; i < sans->ips_count; i++)
        if (strcmp(sans->ips[i], text) == 0)
            return 0;
    if (full(sans, address, err) < 0)
        return -1;
    sans->ips = xrealloc(sans->ips, (sans->ips_count + 1) * sizeof *sans->ips);
    sans->ips[sans->ips_count++] = xstrdup(text);
    return 0;
}

int x509_sans_add(struct x509_sans *sans, const char *text, struct err *err)
{
    if (x509_is_address(text))
        return x509_sans_add_ip(sans, text, err);
    if (is_name_or_wildcard(text))
        return x509_sans_add_dns(sans, text, err);
    err_set(err, ERR_USAGE,
            "\"%.100s\": neither an address nor a lower-case DNS name (\"*.\" may lead it)", text);
    return -1;
}

void x509_sans_free(struct x509_sans *sans)
{
    for (size_t i = 0; i < sans->dns_count; i++)
        free(sans->dns[i]);
    for (size_t i = 0; i < sans->ips_count; i++)
        free(sans->ips[i]);
    free(sans->dns);
    free(sans->ips);
    *sans = (struct x509_sans){0};
}

/* ---- certificates ---- */

struct x509_cert *x509_cert_wrap(X509 *x509)
{
    struct x509_cert *cert = xalloc(sizeof *cert);

    cert->x509 = x509;
    return cert;
}

void x509_cert_free(struct x509_cert *cert)
{
    if (cert == NULL)
        return;
    X509_free(cert->x509);
    free(cert);
}

void x509_cert_pem(const struct x509_cert *cert, struct buf *out)
{
    BIO *bio = BIO_new(BIO_s_mem());

    must(bio != NULL && PEM_write_bio_X509(bio, cert->x509) == 1);
    take_bio(bio, out);
}

int x509_list_parse(const char *name, struct slice text, bool trust_file, struct x509_list *list,
                    struct err *err)
{
    STACK_OF(X509) * certs;

    *list = (struct x509_list){0};
    if (ossl_certs(name, text, trust_file, &certs, err) < 0)
        return -1;
    list->count = (size_t)sk_X509_num(certs);
    list->items = xalloc(list->count * sizeof *list->items);
    for (size_t i = 0; i < list->count; i++)
        list->items[i] = x509_cert_wrap(sk_X509_value(certs, (int)i));
    sk_X509_free(certs);
    return 0;
}

int x509_list_read(const char *path, bool trust_file, struct x509_list *list, struct err *err)
{
    struct buf text;
    int rc;

    *list = (struct x509_list){0};
    if (ossl_read_file(path, &text, err) < 0)
        return -1;
    rc = x509_list_parse(path, buf_slice(&text), trust_file, list, err);
    ossl_wipe(&text);
    return rc;
}

void x509_list_free(struct x509_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        x509_cert_free(list->items[i]);
    free(list->items);
    *list = (struct x509_list){0};
}

bool x509_has_key(const struct x509_cert *cert, const struct x509_key *key)
{
    bool has = X509_check_private_key(cert->x509, key->pkey) == 1;

    ERR_clear_error();
    return has;
}

bool x509_certs_equal(const struct x509_cert *a, const struct x509_cert *b)
{
    return X509_cmp(a->x509, b->x509) == 0;
}

bool x509_fits_host(const struct x509_cert *cert, const char *host)
{
    return judge_fits_host(cert->x509, host);
}

static char *key_usage_words(const X509 *cert)
{
    static const char *const words[] = {"Digital Signature", "Non Repudiation", "Key Encipherment",
                                        "Data Encipherment", "Key Agreement",   "Certificate Sign",
                                        "CRL Sign",          "Encipher Only",   "Decipher Only"};
    ASN1_BIT_STRING *bits = X509_get_ext_d2i(cert, NID_key_usage, NULL, NULL);
    struct buf out = BUF_INIT(ERR_TEXT_MAX);
    char *text;

    for (size_t i = 0; bits != NULL && i < ARRAY_LEN(words); i++)
        if (ASN1_BIT_STRING_get_bit(bits, (int)i) == 1)
            (void)buf_printf(&out, "%s%s", buf_used(&out) != 0 ? ", " : "", words[i]);
    text = xstrdup(buf_used(&out) != 0 ? buf_text(&out) : "none");
    ASN1_BIT_STRING_free(bits);
    buf_free(&out);
    return text;
}

static char *fingerprint(const X509 *cert)
{
    uint8_t digest[32];
    unsigned bytes = 0;
    char *text = xalloc(2 * sizeof digest + 1);

    must(X509_digest(cert, EVP_sha256(), digest, &bytes) == 1 && bytes == sizeof digest);
    for (size_t i = 0; i < sizeof digest; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", digest[i]);
    return text;
}

static void describe_rights(X509 *cert, struct x509_info *info)
{
    uint32_t usage = X509_get_key_usage(cert); /* all bits without the extension */
    int hash = NID_undef;

    info->ca = (X509_get_extension_flags(cert) & EXFLAG_CA) != 0;
    info->cert_sign = (usage & KU_KEY_CERT_SIGN) != 0;
    info->crl_sign = (usage & KU_CRL_SIGN) != 0;
    info->self_issued = ossl_names_equal(X509_get_subject_name(cert), X509_get_issuer_name(cert));
    (void)X509_get_signature_info(cert, &hash, NULL, NULL, NULL);
    info->weak_hash = hash == NID_sha1 || hash == NID_md5 || hash == NID_md5_sha1;
    info->usages = ossl_eku(cert);
    info->serial_bad = info->serial[0] == '-' || strcmp(info->serial, "0") == 0;
}

void x509_describe(const struct x509_cert *cert, struct x509_info *info)
{
    X509 *x509 = cert->x509;
    EVP_PKEY *key = X509_get0_pubkey(x509);
    struct buf text = BUF_INIT(BUF_UNLIMITED);
    char kind[OSSL_TIME_TEXT], serial[OSSL_SERIAL_TEXT];

    *info = (struct x509_info){0};
    ossl_serial(X509_get0_serialNumber(x509), serial);
    info->serial = xstrdup(serial);
    info->subject = ossl_name(X509_get_subject_name(x509));
    info->issuer = ossl_name(X509_get_issuer_name(x509));
    info->cn = ossl_cn(X509_get_subject_name(x509));
    info->key = xstrdup(ossl_key_kind(key, kind));
    info->key_bits = key != NULL ? (unsigned)EVP_PKEY_get_bits(key) : 0;
    info->signature = xstrdup(OBJ_nid2ln(X509_get_signature_nid(x509)));
    info->key_usage = key_usage_words(x509);
    ossl_usages(x509, &text);
    info->extended_usage = xstrdup(buf_text(&text));
    buf_reset(&text);
    ossl_sans(x509, &text);
    info->sans = xstrdup(buf_text(&text));
    buf_free(&text);
    info->fingerprint = fingerprint(x509);
    info->not_before_s = ossl_time_s(X509_get0_notBefore(x509));
    info->not_after_s = ossl_time_s(X509_get0_notAfter(x509));
    ossl_time_of(info->not_before_s, info->not_before);
    ossl_time_of(info->not_after_s, info->not_after);
    describe_rights(x509, info);
    ERR_clear_error();
}

void x509_info_free(struct x509_info *info)
{
    free(info->subject);
    free(info->issuer);
    free(info->cn);
    free(info->serial);
    free(info->key);
    free(info->signature);
    free(info->key_usage);
    free(info->extended_usage);
    free(info->sans);
    free(info->fingerprint);
    *info = (struct x509_info){0};
}

struct sans_visit {
    x509_san_fn *each;
    void *arg;
};

static void visit(void *arg, char kind, const char *text)
{
    struct sans_visit *to = arg;

    if (kind == 'D' || kind == 'I')
        to->each(to->arg, kind, text);
}

void x509_sans_each(const struct x509_cert *cert, x509_san_fn *each, void *arg)
{
    ossl_san_each(cert->x509, visit, &(struct sans_visit){each, arg});
}

/* ---- dates ---- */

void x509_time_text(int64_t unix_s, char text[32])
{
    ossl_time_of(unix_s, text);
}

bool x509_time_parse(const char *text, int64_t *unix_s)
{
    struct tm parts = {0};
    int day;
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &parts);

    if (end == NULL || *end != '\0') {
        parts = (struct tm){0};
        end = strptime(text, "%Y-%m-%d", &parts);
    }
    if (end == NULL || *end != '\0')
        return false;
    day = parts.tm_mday;
    *unix_s = (int64_t)timegm(&parts);
    if (parts.tm_mday != day) /* the 30th of February became the 2nd of March */
        return false;
    return true;
}
