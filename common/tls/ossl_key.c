/*
 * ossl_key.c - private keys out of PEM: in plain, as etcd has to read them, or locked with a
 * passphrase, as a CA's may be.
 */
#include "common/base/limits.h"
#include "common/tls/ossl.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h> /* PKCS8_decrypt() */

struct key_reader {
    const char *file;
    const char *passphrase; /* NULL: none */
    EVP_PKEY *key;
    bool may_be_locked, locked;
};

/* How often does PBKDF2 go round? The file says so, and may ask for a year of work. */
static bool bounded_work(const X509_SIG *locked)
{
    const X509_ALGOR *how;
    const ASN1_OBJECT *object;
    const void *parameters;
    int type;
    bool good = false;
    PBE2PARAM *pbe;
    PBKDF2PARAM *kdf;

    X509_SIG_get0(locked, &how, NULL);
    X509_ALGOR_get0(&object, &type, &parameters, how);
    if (OBJ_obj2nid(object) != NID_pbes2 || type != V_ASN1_SEQUENCE)
        return false;
    pbe = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBE2PARAM), how->parameter);
    if (pbe == NULL)
        return false;
    X509_ALGOR_get0(&object, &type, &parameters, pbe->keyfunc);
    if (OBJ_obj2nid(object) == NID_id_pbkdf2 && type == V_ASN1_SEQUENCE) {
        kdf = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBKDF2PARAM), pbe->keyfunc->parameter);
        good = kdf != NULL && ASN1_INTEGER_get(kdf->iter) > 0 &&
               ASN1_INTEGER_get(kdf->iter) <= PASSPHRASE_ROUNDS_MAX;
        PBKDF2PARAM_free(kdf);
    }
    PBE2PARAM_free(pbe);
    return good;
}

static void wrong_passphrase(const struct key_reader *reader, struct err *err)
{
    ERR_clear_error();
    err_set(err, ERR_TLS,
            "%s: the passphrase does not open this key (or the file is damaged); give the one it "
            "was locked with",
            reader->file);
}

/* "ENCRYPTED PRIVATE KEY" */
static int unlock_pkcs8(struct key_reader *reader, struct slice der, struct err *err)
{
    const unsigned char *at = der.data;
    X509_SIG *locked = d2i_X509_SIG(NULL, &at, (long)der.size);
    PKCS8_PRIV_KEY_INFO *plain = NULL;
    int rc = -1;

    if (locked == NULL || !bounded_work(locked)) {
        ERR_clear_error();
        err_set(err, ERR_TLS,
                "%s: encrypted in a way that is not read here; lock it again: openssl pkcs8 -topk8 "
                "-v2 aes-256-cbc -iter %d -in FILE -out FILE",
                reader->file, PASSPHRASE_ROUNDS);
    } else {
        plain = PKCS8_decrypt(locked, reader->passphrase, (int)strlen(reader->passphrase));
        reader->key = plain != NULL ? EVP_PKCS82PKEY(plain) : NULL;
        if (reader->key == NULL)
            wrong_passphrase(reader, err);
        else
            rc = 0;
    }
    PKCS8_PRIV_KEY_INFO_free(plain);
    X509_SIG_free(locked);
    return rc;
}

static int take_key(void *arg, const struct pem_block *block, struct err *err)
{
    struct key_reader *reader = arg;
    const unsigned char *at = block->der.data;
    size_t label_bytes = strlen(block->label);
    char reason[128];

    if (reader->key != NULL || label_bytes < 11 ||
        strcmp(block->label + label_bytes - 11, "PRIVATE KEY") != 0)
        return 0;
    if (reader->locked)
        return 0;
    reader->locked = block->encrypted || strncmp(block->label, "ENCRYPTED", 9) == 0;
    if (reader->locked && reader->may_be_locked)
        return reader->passphrase != NULL && !block->encrypted
                   ? unlock_pkcs8(reader, block->der, err)
                   : 0;
    if (reader->locked) {
        err_set(err, ERR_TLS,
                "%s: the private key is encrypted; etcd cannot ask for a passphrase: store it in "
                "plain, mode 0600 (openssl pkey -in FILE -out FILE)",
                reader->file);
        return -1;
    }
    reader->key = d2i_AutoPrivateKey(NULL, &at, (long)block->der.size);
    if (reader->key == NULL) {
        err_set(err, ERR_TLS, "%s: failed to parse private key: block %u: %s", reader->file,
                block->number, ossl_reason(reason, sizeof reason));
        return -1;
    }
    return 0;
}

/* "Proc-Type: 4,ENCRYPTED": the one round of MD5 that OpenSSL's older form has. */
static int unlock_traditional(struct key_reader *reader, struct slice text, struct err *err)
{
    BIO *bio = BIO_new_mem_buf(text.data, (int)text.size);
    union {
        const char *borrowed;
        void *given;
    } passphrase = {.borrowed = reader->passphrase}; /* OpenSSL's default callback copies it */

    must(bio != NULL);
    reader->key = PEM_read_bio_PrivateKey(bio, NULL, NULL, passphrase.given);
    BIO_free(bio);
    if (reader->key != NULL)
        return 0;
    wrong_passphrase(reader, err);
    return -1;
}

static int read_key(struct key_reader *reader, struct slice text, struct err *err)
{
    char kind[OSSL_TIME_TEXT];

    if (pem_walk(reader->file, text, take_key, reader, err) < 0)
        return -1;
    if (reader->locked && reader->passphrase == NULL)
        return 0;
    if (reader->locked && reader->key == NULL && unlock_traditional(reader, text, err) < 0)
        return -1;
    if (reader->key == NULL) {
        ossl_nothing_found(reader->file, text, "a private key", err);
        return -1;
    }
    if (ossl_key_usable(reader->key))
        return 0;
    err_set(err, ERR_TLS,
            "%s: a %s key cannot be used for TLS here; use RSA, P-256, P-384, P-521 or Ed25519",
            reader->file, ossl_key_kind(reader->key, kind));
    return -1;
}

int ossl_key(const char *file, struct slice text, EVP_PKEY **key, struct err *err)
{
    struct key_reader reader = {.file = file};

    if (read_key(&reader, text, err) < 0) {
        EVP_PKEY_free(reader.key);
        return -1;
    }
    *key = reader.key;
    return 0;
}

int ossl_key_open(const char *file, struct slice text, const char *passphrase, EVP_PKEY **key,
                  bool *locked, struct err *err)
{
    struct key_reader reader = {.file = file, .passphrase = passphrase, .may_be_locked = true};
    int rc = read_key(&reader, text, err);

    *locked = reader.locked;
    *key = NULL;
    if (rc < 0)
        EVP_PKEY_free(reader.key);
    else
        *key = reader.key;
    return rc;
}

int ossl_key_file(const char *path, EVP_PKEY **key, struct err *err)
{
    struct buf text;
    int rc;

    if (ossl_read_file(path, &text, err) < 0)
        return -1;
    rc = ossl_key(path, buf_slice(&text), key, err);
    ossl_wipe(&text);
    return rc;
}
