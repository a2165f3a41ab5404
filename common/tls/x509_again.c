/*
 * x509_again.c - a certificate made once more: what a renewal keeps and what it makes new.
 */
#include "common/tls/x509_internal.h"

#include <openssl/err.h>

bool x509_issued_by(const struct x509_cert *cert, const struct x509_cert *ca)
{
    EVP_PKEY *key = X509_get0_pubkey(ca->x509);
    bool issued =
        key != NULL &&
        ossl_names_equal(X509_get_issuer_name(cert->x509), X509_get_subject_name(ca->x509)) &&
        X509_verify(cert->x509, key) == 1;

    ERR_clear_error();
    return issued;
}

/* Identifiers of keys follow the keys, other usages go where kubeadm has them; all else is copied
 * in its order. */
static void copy_extensions(X509 *made, const X509 *old, const struct x509_cert *ca,
                            unsigned usages)
{
    bool same_key = EVP_PKEY_eq(X509_get0_pubkey(made), X509_get0_pubkey(old)) == 1;
    bool pointed = false;

    for (int i = 0; i < X509_get_ext_count(old); i++) {
        X509_EXTENSION *extension = X509_get_ext(old, i);
        int nid = OBJ_obj2nid(X509_EXTENSION_get_object(extension));

        if (nid == NID_authority_key_identifier) {
            pointed = true;
            if (ca != NULL)
                x509_add_authority_key_id(made, ca);
        } else if (nid == NID_subject_key_identifier && !same_key) {
            x509_add_subject_key_id(made);
        } else if (nid != NID_ext_key_usage || usages == 0) {
            must(X509_add_ext(made, extension, -1) == 1);
        }
        if (nid == NID_key_usage && usages != 0)
            x509_add_extended_usage(made, usages);
    }
    if (usages != 0 && X509_get_ext_by_NID(made, NID_ext_key_usage, -1) < 0)
        x509_add_extended_usage(made, usages);
    if (!pointed && ca != NULL)
        x509_add_authority_key_id(made, ca);
    ERR_clear_error();
}

int x509_cert_again(const struct x509_cert *old, const struct x509_key *key,
                    const struct x509_cert *ca_cert, const struct x509_key *ca_key, unsigned usages,
                    int64_t not_before_s, int64_t not_after_s, struct x509_cert **cert,
                    struct err *err)
{
    const X509_NAME *subject = X509_get_subject_name(old->x509);
    EVP_PKEY *signer = ca_cert != NULL ? ca_key->pkey : key->pkey;
    X509 *made = X509_new();
    char reason[128];

    must(made != NULL && X509_set_version(made, 2) == 1);
    x509_set_serial(made, false);
    x509_set_dates(made, not_before_s, not_after_s);
    must(X509_set_pubkey(made, key->pkey) == 1);
    must(X509_set_subject_name(made, subject) == 1);
    must(X509_set_issuer_name(made, ca_cert != NULL ? X509_get_subject_name(ca_cert->x509)
                                                    : subject) == 1);
    copy_extensions(made, old->x509, ca_cert, usages);
    if (X509_sign(made, signer, x509_digest_for(signer)) <= 0) {
        err_set(err, ERR_TLS, "the CA's key cannot sign: %s", ossl_reason(reason, sizeof reason));
        X509_free(made);
        return -1;
    }
    *cert = x509_cert_wrap(made);
    return 0;
}

struct x509_cert *x509_cert_copy(const struct x509_cert *cert)
{
    must(X509_up_ref(cert->x509) == 1); /* never changed once made */
    return x509_cert_wrap(cert->x509);
}
