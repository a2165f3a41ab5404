/*
 * jwt.c - see jwt.h.
 *
 *   base64url(header) . base64url(claims) . base64url(signature of what stands before the last dot)
 *
 * RS: PKCS#1 v1.5; PS: PSS, salt as long as the hash; ES: r and s, each as long as the curve's
 * order (RFC 7518 3.4), where OpenSSL has DER; HS: HMAC. Base64 without padding (RFC 7515 2).
 */
#include "etcd-server/service/jwt.h"
#include "common/base/base64.h"
#include "common/base/buf.h"
#include "common/base/limits.h"

#include <jansson.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#define REMEMBERED 256 /* good tokens; a power of two */

enum jwt_family { FAMILY_RS, FAMILY_PS, FAMILY_ES, FAMILY_HS };

struct method {
    const char *name;
    const EVP_MD *(*hash)(void);
    enum jwt_family family;
    int bits;          /* ES: of the curve */
    size_t part_bytes; /* ES: bytes of r, and of s */
};

static const struct method methods[] = {
    {"RS256", EVP_sha256, FAMILY_RS, 0, 0},    {"RS384", EVP_sha384, FAMILY_RS, 0, 0},
    {"RS512", EVP_sha512, FAMILY_RS, 0, 0},    {"PS256", EVP_sha256, FAMILY_PS, 0, 0},
    {"PS384", EVP_sha384, FAMILY_PS, 0, 0},    {"PS512", EVP_sha512, FAMILY_PS, 0, 0},
    {"ES256", EVP_sha256, FAMILY_ES, 256, 32}, {"ES384", EVP_sha384, FAMILY_ES, 384, 48},
    {"ES512", EVP_sha512, FAMILY_ES, 521, 66}, {"HS256", EVP_sha256, FAMILY_HS, 0, 0},
    {"HS384", EVP_sha384, FAMILY_HS, 0, 0},    {"HS512", EVP_sha512, FAMILY_HS, 0, 0},
};

struct remembered {
    char *token;    /* owned; NULL = empty */
    char *username; /* owned */
    uint64_t revision;
    int64_t expires_s;
};

struct jwt {
    const struct method *method;
    EVP_PKEY *private_key, *public_key; /* owned; of RS, PS, ES */
    uint8_t *secret;                    /* owned; of HS */
    size_t secret_bytes;
    int64_t ttl_s;
    struct remembered remembered[REMEMBERED];
};

/* ---- keys ---- */

static bool key_fits(const struct method *method, const EVP_PKEY *key)
{
    if (method->family == FAMILY_ES)
        return EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_bits(key) == method->bits;
    return EVP_PKEY_is_a(key, "RSA");
}

static int read_key(const struct method *method, struct slice pem, bool is_private, EVP_PKEY **key,
                    struct err *err)
{
    BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.size);

    must(bio != NULL);
    *key = is_private ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL)
                      : PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
    if (*key == NULL && !is_private) { /* a certificate has a public key, too */
        X509 *cert;

        (void)BIO_reset(bio); /* a memory buffer cannot fail */
        cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        *key = cert != NULL ? X509_get_pubkey(cert) : NULL;
        X509_free(cert);
    }
    BIO_free(bio);
    ERR_clear_error();
    if (*key != NULL && key_fits(method, *key))
        return 0;
    err_set(err, ERR_USAGE, "--auth-token=jwt: the %s is %s; sign-method=%s needs %s in PEM form",
            is_private ? "priv-key" : "pub-key", *key == NULL ? "no key" : "of another kind",
            method->name, method->family == FAMILY_ES ? "a key on its curve" : "an RSA key");
    return -1;
}

static int take_keys(struct jwt *jwt, const struct jwt_options *options, struct err *err)
{
    struct slice secret =
        options->private_key.size != 0 ? options->private_key : options->public_key;

    if (secret.size == 0) {
        err_set(err, ERR_USAGE, "--auth-token=jwt: no key; add priv-key=FILE or pub-key=FILE");
        return -1;
    }
    if (jwt->method->family == FAMILY_HS) {
        jwt->secret = xalloc(secret.size);
        memcpy(jwt->secret, secret.data, secret.size);
        jwt->secret_bytes = secret.size;
        return 0;
    }
    if (options->private_key.size != 0 &&
        read_key(jwt->method, options->private_key, true, &jwt->private_key, err) < 0)
        return -1;
    if (options->public_key.size != 0)
        return read_key(jwt->method, options->public_key, false, &jwt->public_key, err);
    must(EVP_PKEY_up_ref(jwt->private_key) == 1);
    jwt->public_key = jwt->private_key;
    return 0;
}

int jwt_new(const struct jwt_options *options, struct jwt **out, struct err *err)
{
    struct jwt *jwt = xalloc(sizeof(*jwt));

    for (size_t i = 0; i < ARRAY_LEN(methods) && options->method != NULL; i++)
        if (strcmp(methods[i].name, options->method) == 0)
            jwt->method = &methods[i];
    jwt->ttl_s = options->ttl_s;
    if (jwt->method == NULL)
        err_set(err, ERR_USAGE,
                "--auth-token=jwt: sign-method=%.20s is unknown; use RS, PS, ES or HS with 256, "
                "384 or 512, for example sign-method=RS256",
                options->method != NULL ? options->method : "");
    if (jwt->method == NULL || take_keys(jwt, options, err) < 0) {
        jwt_free(jwt);
        return -1;
    }
    if (jwt->private_key != NULL && EVP_PKEY_eq(jwt->private_key, jwt->public_key) != 1) {
        err_set(err, ERR_USAGE,
                "--auth-token=jwt: priv-key and pub-key are no pair; give one pair");
        jwt_free(jwt);
        return -1;
    }
    *out = jwt;
    return 0;
}

static void forget(struct remembered *slot)
{
    free(slot->token);
    free(slot->username);
    *slot = (struct remembered){.token = NULL};
}

void jwt_free(struct jwt *jwt)
{
    if (jwt == NULL)
        return;
    for (size_t i = 0; i < REMEMBERED; i++)
        forget(&jwt->remembered[i]);
    EVP_PKEY_free(jwt->private_key);
    EVP_PKEY_free(jwt->public_key);
    if (jwt->secret != NULL)
        wipe(jwt->secret, jwt->secret_bytes);
    free(jwt->secret);
    free(jwt);
}

bool jwt_can_sign(const struct jwt *jwt)
{
    return jwt->secret != NULL || jwt->private_key != NULL;
}

/* ---- signatures ---- */

static bool set_padding(const struct method *method, EVP_PKEY_CTX *context, int salt_bytes)
{
    return method->family != FAMILY_PS ||
           (EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
            EVP_PKEY_CTX_set_rsa_pss_saltlen(context, salt_bytes) == 1);
}

static bool mac(const struct jwt *jwt, struct slice text, struct buf *out)
{
    unsigned bytes = 0;

    if (HMAC(jwt->method->hash(), jwt->secret, (int)jwt->secret_bytes, text.data, text.size,
             buf_reserve(out, EVP_MAX_MD_SIZE), &bytes) == NULL)
        return false;
    buf_advance(out, bytes);
    return true;
}

/* DER of a signature -> r and s side by side. */
static bool plain_from_der(const struct method *method, struct slice der, struct buf *out)
{
    const uint8_t *at = der.data;
    ECDSA_SIG *parts = d2i_ECDSA_SIG(NULL, &at, (long)der.size);
    int bytes = (int)method->part_bytes;
    uint8_t *plain = buf_reserve(out, 2 * method->part_bytes);
    bool made = parts != NULL && plain != NULL &&
                BN_bn2binpad(ECDSA_SIG_get0_r(parts), plain, bytes) == bytes &&
                BN_bn2binpad(ECDSA_SIG_get0_s(parts), plain + bytes, bytes) == bytes;

    if (made)
        buf_advance(out, 2 * method->part_bytes);
    ECDSA_SIG_free(parts);
    return made;
}

/* The reverse; what it returns is OpenSSL's: OPENSSL_free(). */
static uint8_t *der_from_plain(const struct method *method, struct slice plain, size_t *bytes)
{
    ECDSA_SIG *parts = ECDSA_SIG_new();
    int part = (int)method->part_bytes, length;
    BIGNUM *r, *s;
    uint8_t *der = NULL;

    if (plain.size != 2 * method->part_bytes) {
        ECDSA_SIG_free(parts);
        return NULL;
    }
    r = BN_bin2bn(plain.data, part, NULL);
    s = BN_bin2bn(plain.data + part, part, NULL);
    must(parts != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(parts, r, s) == 1);
    length = i2d_ECDSA_SIG(parts, &der);
    ECDSA_SIG_free(parts);
    *bytes = length > 0 ? (size_t)length : 0;
    return length > 0 ? der : NULL;
}

static bool sign(const struct jwt *jwt, struct slice text, struct buf *out)
{
    EVP_MD_CTX *context;
    EVP_PKEY_CTX *key = NULL;
    uint8_t *raw = NULL;
    size_t bytes = 0;
    bool made;

    if (jwt->method->family == FAMILY_HS)
        return mac(jwt, text, out);
    context = EVP_MD_CTX_new();
    made = EVP_DigestSignInit(context, &key, jwt->method->hash(), NULL, jwt->private_key) == 1 &&
           set_padding(jwt->method, key, RSA_PSS_SALTLEN_DIGEST) &&
           EVP_DigestSign(context, NULL, &bytes, text.data, text.size) == 1;
    if (made) {
        raw = xalloc(bytes);
        made = EVP_DigestSign(context, raw, &bytes, text.data, text.size) == 1;
    }
    if (made)
        made = jwt->method->family == FAMILY_ES
                   ? plain_from_der(jwt->method, slice_of(raw, bytes), out)
                   : buf_append(out, raw, bytes);
    free(raw);
    EVP_MD_CTX_free(context);
    ERR_clear_error(); /* what stays in OpenSSL's queue would be taken for an error of TLS */
    return made;
}

static bool holds(const struct jwt *jwt, struct slice text, struct slice signature)
{
    struct buf expected = BUF_INIT(EVP_MAX_MD_SIZE);
    EVP_MD_CTX *context;
    EVP_PKEY_CTX *key = NULL;
    uint8_t *der = NULL;
    bool good;

    if (jwt->method->family == FAMILY_HS) {
        good = mac(jwt, text, &expected) && buf_used(&expected) == signature.size &&
               CRYPTO_memcmp(expected.data, signature.data, signature.size) == 0;
        buf_free(&expected);
        return good;
    }
    if (jwt->method->family == FAMILY_ES) {
        size_t bytes = 0;

        der = der_from_plain(jwt->method, signature, &bytes);
        if (der == NULL)
            return false;
        signature = slice_of(der, bytes);
    }
    context = EVP_MD_CTX_new();
    good = EVP_DigestVerifyInit(context, &key, jwt->method->hash(), NULL, jwt->public_key) == 1 &&
           set_padding(jwt->method, key, RSA_PSS_SALTLEN_AUTO) &&
           EVP_DigestVerify(context, signature.data, signature.size, text.data, text.size) == 1;
    EVP_MD_CTX_free(context);
    OPENSSL_free(der);
    ERR_clear_error();
    return good;
}

/* ---- text ---- */

static bool append_base64(struct buf *out, struct slice bytes)
{
    size_t from = out->size;

    if (!base64_encode(bytes, out))
        return false;
    while (out->size > from && out->data[out->size - 1] == '=')
        out->size--;
    for (size_t i = from; i < out->size; i++)
        out->data[i] = out->data[i] == '+' ? '-' : out->data[i] == '/' ? '_' : out->data[i];
    return true;
}

/* Decode a part into `out`, which is empty; only the alphabet of tokens is taken. */
static bool read_base64(struct slice text, struct buf *out)
{
    uint8_t *room = buf_reserve(out, BASE64_DECODED_MAX(text.size));
    size_t bytes = 0;

    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] == '+' || text.data[i] == '/' || text.data[i] == '=')
            return false;
    if (room == NULL || !base64_decode(text, room, &bytes))
        return false;
    buf_advance(out, bytes);
    return true;
}

static bool append_json(struct buf *out, json_t *json)
{
    char *text = json != NULL ? json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    bool made = text != NULL && append_base64(out, slice_text(text));

    free(text);
    json_decref(json);
    return made;
}

char *jwt_sign(const struct jwt *jwt, const char *username, uint64_t revision, int64_t unix_s,
               struct arena *arena)
{
    struct buf text = BUF_INIT(TOKEN_BYTES_MAX), signature = BUF_INIT(TOKEN_BYTES_MAX);
    char *token = NULL;

    if (jwt_can_sign(jwt) &&
        append_json(&text, json_pack("{s:s,s:s}", "alg", jwt->method->name, "typ", "JWT")) &&
        buf_append_byte(&text, '.') &&
        append_json(&text, json_pack("{s:I,s:I,s:s}", "exp", (json_int_t)unix_s + jwt->ttl_s,
                                     "revision", (json_int_t)revision, "username", username)) &&
        sign(jwt, buf_slice(&text), &signature) && buf_append_byte(&text, '.') &&
        append_base64(&text, buf_slice(&signature)))
        token = arena_strndup(arena, text.data, text.size);
    buf_free(&text);
    buf_free(&signature);
    return token;
}

/* ---- verifying ---- */

/* A JSON object out of a part; NULL: it is none. */
static json_t *read_json(struct slice part)
{
    struct buf text = BUF_INIT(TOKEN_BYTES_MAX);
    json_t *json = NULL;

    if (read_base64(part, &text))
        json = json_loadb((const char *)text.data, text.size, 0, NULL);
    buf_free(&text);
    if (json_is_object(json))
        return json;
    json_decref(json);
    return NULL;
}

/* A whole number from 0 to 2^53, which is what JSON can carry. */
static bool read_number(const json_t *object, const char *name, int64_t *number)
{
    const json_t *value = json_object_get(object, name);
    double real = json_is_number(value) ? json_number_value(value) : -1;

    if (!(real >= 0 && real <= 9007199254740992.0))
        return false;
    *number = (int64_t)real;
    return (double)*number == real;
}

static bool read_claims(struct slice part, int64_t unix_s, struct remembered *claims)
{
    json_t *json = read_json(part);
    const char *username = json_string_value(json_object_get(json, "username"));
    int64_t revision = 0;
    bool good = username != NULL && *username != '\0' && read_number(json, "revision", &revision) &&
                read_number(json, "exp", &claims->expires_s) && claims->expires_s > unix_s;

    if (good) {
        claims->username = xstrdup(username);
        claims->revision = (uint64_t)revision;
    }
    json_decref(json);
    return good;
}

static bool names_our_method(const struct jwt *jwt, struct slice part)
{
    json_t *json = read_json(part);
    const char *name = json_string_value(json_object_get(json, "alg"));
    bool ours = name != NULL && strcmp(name, jwt->method->name) == 0;

    json_decref(json);
    return ours;
}

static bool verify(const struct jwt *jwt, const char *token, int64_t unix_s,
                   struct remembered *claims)
{
    const char *first = strchr(token, '.'), *second = first != NULL ? strchr(first + 1, '.') : NULL;
    struct buf signature = BUF_INIT(TOKEN_BYTES_MAX);
    bool good;

    if (second == NULL || strchr(second + 1, '.') != NULL)
        return false;
    good = names_our_method(jwt, slice_of(token, (size_t)(first - token))) &&
           read_base64(slice_text(second + 1), &signature) &&
           holds(jwt, slice_of(token, (size_t)(second - token)), buf_slice(&signature)) &&
           read_claims(slice_of(first + 1, (size_t)(second - first - 1)), unix_s, claims);
    buf_free(&signature);
    return good;
}

/* FNV-1a: only who holds good tokens can fill the slots, and he gains nothing by collisions. */
static size_t slot_of(const char *token)
{
    uint64_t hash = UINT64_C(14695981039346656037);

    for (; *token != '\0'; token++)
        hash = (hash ^ (uint8_t)*token) * UINT64_C(1099511628211);
    return (size_t)((hash ^ hash >> 32) % REMEMBERED);
}

bool jwt_verify(struct jwt *jwt, const char *token, int64_t unix_s, struct jwt_claims *claims)
{
    struct remembered *slot = &jwt->remembered[slot_of(token)], found = {.token = NULL};
    size_t bytes = strlen(token);

    if (bytes > TOKEN_BYTES_MAX)
        return false;
    if (slot->token == NULL || strlen(slot->token) != bytes ||
        CRYPTO_memcmp(slot->token, token, bytes) != 0) {
        if (!verify(jwt, token, unix_s, &found))
            return false;
        forget(slot);
        *slot = found;
        slot->token = xstrdup(token);
    }
    if (slot->expires_s <= unix_s) {
        forget(slot);
        return false;
    }
    *claims = (struct jwt_claims){slot->username, slot->revision};
    return true;
}
