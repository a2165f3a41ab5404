/*
 * x509_make.c - certificates made and judged. The order in which extensions are added is the order
 * in the file, and kubeadm's (pki.md 1.2, 1.3):
 *
 *   CA    Key Usage, Basic Constraints, Subject Key Identifier, Subject Alternative Name
 *   leaf  Key Usage, Extended Key Usage, Basic Constraints, Authority Key Identifier, SAN
 *
 * The issuer is the CA's subject byte for byte: Go compares nothing else (pki.md 2.7).
 */
#include "common/base/limits.h"
#include "common/tls/judge.h"
#include "common/tls/x509_internal.h"

#include <arpa/inet.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <stdio.h>

#define KEY_ID_BYTES 20

static int check_text(const char *what, const char *text, size_t max, struct err *err)
{
    size_t characters = 0;

    for (const char *at = text; *at != '\0'; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f) {
            err_set(err, ERR_USAGE, "%s has a control character (byte 0x%02x)", what,
                    (unsigned char)*at);
            return -1;
        }
        characters += ((unsigned char)*at & 0xc0) != 0x80 ? 1 : 0; /* UTF-8 tails do not count */
    }
    if (characters == 0 || characters > max) {
        err_set(err, ERR_USAGE, "%s \"%.80s\" has %zu characters; 1 to %zu are allowed", what, text,
                characters, max);
        return -1;
    }
    return 0;
}

int x509_check_request(const struct x509_request *request, struct err *err)
{
    const struct x509_sans *sans = request->sans;
    char from[OSSL_TIME_TEXT], until[OSSL_TIME_TEXT];

    if (request->cn != NULL && check_text("the common name", request->cn, CERT_CN_MAX, err) < 0)
        return -1;
    for (size_t i = 0; i < request->org_count; i++)
        if (check_text("the organisation", request->orgs[i], CERT_CN_MAX, err) < 0)
            return -1;
    if ((request->usages & X509_SERVER) != 0 && !request->ca &&
        (sans == NULL || sans->dns_count + sans->ips_count == 0)) {
        err_set(err, ERR_USAGE,
                "a server's certificate needs at least one alternative name: "
                "clients never look at the CN (give --ip or --dns)");
        return -1;
    }
    if (request->not_after_s <= request->not_before_s) {
        ossl_time_of(request->not_before_s, from);
        ossl_time_of(request->not_after_s, until);
        err_set(err, ERR_USAGE, "the validity ends at %s, before it begins at %s", until, from);
        return -1;
    }
    return 0;
}

/* PrintableString as Go decides it: without '*' and '&', which it writes as UTF8String. */
static bool printable(const char *text)
{
    static const char others[] = " '()+,-./:=?";

    for (; *text != '\0'; text++)
        if (!((*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') ||
              (*text >= '0' && *text <= '9') || strchr(others, *text) != NULL))
            return false;
    return true;
}

static int add_entry(X509_NAME *name, int nid, const char *text, int set, struct err *err)
{
    int type = printable(text) ? V_ASN1_PRINTABLESTRING : MBSTRING_UTF8; /* the latter checks it */
    char reason[128];

    if (X509_NAME_add_entry_by_NID(name, nid, type, (const unsigned char *)text, -1, -1, set) == 1)
        return 0;
    err_set(err, ERR_USAGE, "\"%.80s\" cannot be part of a name: %s", text,
            ossl_reason(reason, sizeof reason));
    return -1;
}

/* O before CN; several O share one RDN. */
static int set_names(X509 *cert, const struct x509_request *request, const struct x509_cert *ca,
                     struct err *err)
{
    X509_NAME *name = X509_NAME_new();
    int rc = 0;

    must(name != NULL);
    for (size_t i = 0; rc == 0 && i < request->org_count; i++)
        rc = add_entry(name, NID_organizationName, request->orgs[i], i == 0 ? 0 : -1, err);
    if (rc == 0 && request->cn != NULL)
        rc = add_entry(name, NID_commonName, request->cn, 0, err);
    if (rc == 0) {
        must(X509_set_subject_name(cert, name) == 1);
        must(X509_set_issuer_name(cert, ca != NULL ? X509_get_subject_name(ca->x509) : name) == 1);
    }
    X509_NAME_free(name);
    return rc;
}

/* Uniform in 1 .. 2^63 - 2, or 1 .. 2^128 - 1. */
void x509_set_serial(X509 *cert, bool long_serial)
{
    BIGNUM *range = BN_new(), *serial = BN_new();

    must(range != NULL && serial != NULL && BN_set_bit(range, long_serial ? 128 : 63) == 1);
    must(BN_sub_word(range, long_serial ? 1 : 2) == 1);
    must(BN_rand_range(serial, range) == 1 && BN_add_word(serial, 1) == 1);
    must(BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(cert)) != NULL);
    BN_free(range);
    BN_free(serial);
}

void x509_set_dates(X509 *cert, int64_t not_before_s, int64_t not_after_s)
{
    ASN1_TIME *from = ASN1_TIME_set(NULL, (time_t)not_before_s);
    ASN1_TIME *until = ASN1_TIME_set(NULL, (time_t)not_after_s);

    must(from != NULL && until != NULL); /* UTCTime to 2049, then GeneralizedTime */
    must(X509_set1_notBefore(cert, from) == 1 && X509_set1_notAfter(cert, until) == 1);
    ASN1_TIME_free(from);
    ASN1_TIME_free(until);
}

/* ---- extensions ---- */

static void add_key_usage(X509 *cert, const struct x509_request *request)
{
    ASN1_BIT_STRING *bits = ASN1_BIT_STRING_new();

    must(bits != NULL && ASN1_BIT_STRING_set_bit(bits, 0, 1) == 1); /* Digital Signature */
    must(ASN1_BIT_STRING_set_bit(bits, 2, 1) == 1);                 /* Key Encipherment */
    if (request->ca)
        must(ASN1_BIT_STRING_set_bit(bits, 5, 1) == 1); /* Certificate Sign */
    if (request->ca && request->crl_sign)
        must(ASN1_BIT_STRING_set_bit(bits, 6, 1) == 1); /* CRL Sign */
    must(X509_add1_ext_i2d(cert, NID_key_usage, bits, 1, 0) == 1);
    ASN1_BIT_STRING_free(bits);
}

void x509_add_extended_usage(X509 *cert, unsigned usages)
{
    EXTENDED_KEY_USAGE *list = EXTENDED_KEY_USAGE_new();

    must(list != NULL);
    if ((usages & X509_SERVER) != 0)
        must(sk_ASN1_OBJECT_push(list, OBJ_nid2obj(NID_server_auth)) > 0);
    if ((usages & X509_CLIENT) != 0)
        must(sk_ASN1_OBJECT_push(list, OBJ_nid2obj(NID_client_auth)) > 0);
    must(X509_add1_ext_i2d(cert, NID_ext_key_usage, list, 0, 0) == 1);
    EXTENDED_KEY_USAGE_free(list);
}

static void add_basic_constraints(X509 *cert, bool ca)
{
    BASIC_CONSTRAINTS *constraints = BASIC_CONSTRAINTS_new();

    must(constraints != NULL);
    constraints->ca = ca ? 0xff : 0;
    must(X509_add1_ext_i2d(cert, NID_basic_constraints, constraints, 1, 0) == 1);
    BASIC_CONSTRAINTS_free(constraints);
}

/* The first 160 bits of SHA-256 over the public key's bit string, as Go does since 1.25. */
void x509_add_subject_key_id(X509 *cert)
{
    const ASN1_BIT_STRING *bits = X509_get0_pubkey_bitstr(cert);
    ASN1_OCTET_STRING *id = ASN1_OCTET_STRING_new();
    uint8_t digest[32];

    must(id != NULL && bits != NULL);
    must(EVP_Digest(bits->data, (size_t)bits->length, digest, NULL, EVP_sha256(), NULL) == 1);
    must(ASN1_OCTET_STRING_set(id, digest, KEY_ID_BYTES) == 1);
    must(X509_add1_ext_i2d(cert, NID_subject_key_identifier, id, 0, 0) == 1);
    ASN1_OCTET_STRING_free(id);
}

void x509_add_authority_key_id(X509 *cert, const struct x509_cert *ca)
{
    ASN1_OCTET_STRING *id = X509_get_ext_d2i(ca->x509, NID_subject_key_identifier, NULL, NULL);
    AUTHORITY_KEYID *authority;

    if (id == NULL) { /* a CA without identifier: nothing to point at */
        ERR_clear_error();
        return;
    }
    authority = AUTHORITY_KEYID_new();
    must(authority != NULL);
    authority->keyid = id; /* key id only: issuer and serial would break a renewed CA */
    must(X509_add1_ext_i2d(cert, NID_authority_key_identifier, authority, 0, 0) == 1);
    AUTHORITY_KEYID_free(authority);
}

static void add_alternative_names(X509 *cert, const struct x509_sans *sans)
{
    GENERAL_NAMES *names = GENERAL_NAMES_new();

    must(names != NULL);
    for (size_t i = 0; i < sans->dns_count; i++) {
        GENERAL_NAME *name = GENERAL_NAME_new();
        ASN1_IA5STRING *text = ASN1_IA5STRING_new();

        must(name != NULL && text != NULL && ASN1_STRING_set(text, sans->dns[i], -1) == 1);
        GENERAL_NAME_set0_value(name, GEN_DNS, text);
        must(sk_GENERAL_NAME_push(names, name) > 0);
    }
    for (size_t i = 0; i < sans->ips_count; i++) {
        GENERAL_NAME *name = GENERAL_NAME_new();
        ASN1_OCTET_STRING *address = a2i_IPADDRESS(sans->ips[i]);

        must(name != NULL && address != NULL);
        GENERAL_NAME_set0_value(name, GEN_IPADD, address);
        must(sk_GENERAL_NAME_push(names, name) > 0);
    }
    must(X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0) == 1);
    GENERAL_NAMES_free(names);
}

void x509_add_extensions(X509 *cert, const struct x509_request *request, const struct x509_cert *ca)
{
    add_key_usage(cert, request);
    if (request->usages != 0)
        x509_add_extended_usage(cert, request->usages);
    add_basic_constraints(cert, request->ca);
    if (request->ca)
        x509_add_subject_key_id(cert);
    if (ca != NULL)
        x509_add_authority_key_id(cert, ca);
    if (request->sans != NULL && request->sans->dns_count + request->sans->ips_count != 0)
        add_alternative_names(cert, request->sans);
}

/* The signer's key decides: SHA-256, but 384 on P-384, 512 on P-521; Ed25519 hashes by itself. */
const EVP_MD *x509_digest_for(EVP_PKEY *key)
{
    if (EVP_PKEY_is_a(key, "ED25519"))
        return NULL;
    if (EVP_PKEY_is_a(key, "EC"))
        return EVP_PKEY_get_bits(key) > 384   ? EVP_sha512()
               : EVP_PKEY_get_bits(key) > 256 ? EVP_sha384()
                                              : EVP_sha256();
    return EVP_sha256();
}

int x509_cert_new(const struct x509_request *request, const struct x509_key *key,
                  const struct x509_cert *ca_cert, const struct x509_key *ca_key,
                  struct x509_cert **cert, struct err *err)
{
    X509 *made;
    char reason[128];

    if (x509_check_request(request, err) < 0)
        return -1;
    made = X509_new();
    must(made != NULL && X509_set_version(made, 2) == 1); /* version 3 is written 2 */
    x509_set_serial(made, request->long_serial);
    x509_set_dates(made, request->not_before_s, request->not_after_s);
    must(X509_set_pubkey(made, key->pkey) == 1);
    if (set_names(made, request, ca_cert, err) < 0)
        goto fail;
    x509_add_extensions(made, request, ca_cert);
    if (X509_sign(made, ca_key->pkey, x509_digest_for(ca_key->pkey)) <= 0) {
        err_set(err, ERR_TLS, "the CA's key cannot sign: %s", ossl_reason(reason, sizeof reason));
        goto fail;
    }
    *cert = x509_cert_wrap(made);
    return 0;
fail:
    X509_free(made);
    return -1;
}

/* ---- judging ---- */

int x509_ca_check(const char *name, const struct x509_cert *cert, const struct x509_key *key,
                  int64_t now_s, struct err *err)
{
    struct x509_info info;
    int rc = -1;

    x509_describe(cert, &info);
    if (!info.ca)
        err_set(err, ERR_TLS, "%s: %s is not a CA (no CA:TRUE); it cannot sign certificates", name,
                info.subject);
    else if (!info.cert_sign)
        err_set(err, ERR_TLS, "%s: the CA %s lacks the usage Certificate Sign", name, info.subject);
    else if (now_s > info.not_after_s)
        err_set(err, ERR_TLS, "%s: the CA %s expired on %s; make a new one", name, info.subject,
                info.not_after);
    else if (now_s < info.not_before_s)
        err_set(err, ERR_TLS, "%s: the CA %s is not valid before %s", name, info.subject,
                info.not_before);
    else if (key != NULL && !x509_has_key(cert, key))
        err_set(err, ERR_TLS,
                "%s: the key beside it belongs to another certificate than the CA %s (serial %s)",
                name, info.subject, info.serial);
    else
        rc = 0;
    x509_info_free(&info);
    return rc;
}

static STACK_OF(X509) * stack_of(const struct x509_list *list, size_t first)
{
    STACK_OF(X509) *stack = sk_X509_new_null();

    must(stack != NULL);
    for (size_t i = first; i < list->count; i++)
        must(sk_X509_push(stack, list->items[i]->x509) > 0);
    return stack;
}

static void say_broken(const struct x509_list *anchors, X509_STORE_CTX *store, struct err *err)
{
    int error = X509_STORE_CTX_get_error(store);
    const X509 *current = X509_STORE_CTX_get_current_cert(store);
    const X509 *cert = current != NULL ? current : X509_STORE_CTX_get0_cert(store);
    char *subject = ossl_name(X509_get_subject_name(cert));
    char *issuer = ossl_name(X509_get_issuer_name(cert));
    bool named = false, reads_same = false;

    for (size_t i = 0; i < anchors->count; i++) {
        char *trusted = ossl_name(X509_get_subject_name(anchors->items[i]->x509));

        named = named || ossl_names_equal(X509_get_subject_name(anchors->items[i]->x509),
                                          X509_get_issuer_name(cert));
        reads_same = reads_same || strcmp(trusted, issuer) == 0;
        free(trusted);
    }
    if (error == X509_V_ERR_INVALID_CA || error == X509_V_ERR_KEYUSAGE_NO_CERTSIGN)
        err_set(err, ERR_TLS, "%s cannot sign certificates: %s", subject,
                error == X509_V_ERR_INVALID_CA ? "it is no CA" : "it lacks Certificate Sign");
    else if (named || error == X509_V_ERR_CERT_SIGNATURE_FAILURE)
        err_set(err, ERR_TLS, "%s is issued by \"%s\", but not with the key of the one trusted",
                subject, issuer);
    else if (reads_same)
        err_set(err, ERR_TLS,
                "%s names its issuer \"%s\" in another string type than the CA: openssl accepts "
                "this, etcd does not",
                subject, issuer);
    else
        err_set(err, ERR_TLS, "%s is issued by \"%s\", which is not trusted (%s)", subject, issuer,
                X509_verify_cert_error_string(error));
    free(subject);
    free(issuer);
}

static int judge_links(STACK_OF(X509) * built, unsigned usage, struct err *err)
{
    for (int i = 0; i < sk_X509_num(built); i++) {
        const X509 *cert = sk_X509_value(built, i);
        const X509 *above = i + 1 < sk_X509_num(built) ? sk_X509_value(built, i + 1) : NULL;
        unsigned eku = ossl_eku(cert);
        char *subject;

        if (above != NULL &&
            !ossl_names_equal(X509_get_issuer_name(cert), X509_get_subject_name(above))) {
            subject = ossl_name(X509_get_subject_name(cert));
            err_set(err, ERR_TLS,
                    "%s names its issuer in another string type than the CA: openssl accepts this, "
                    "etcd does not",
                    subject);
            free(subject);
            return -1;
        }
        if (i > 0 && usage != 0 && eku != 0 && (eku & (usage | X509_ANY)) == 0) {
            subject = ossl_name(X509_get_subject_name(cert));
            err_set(err, ERR_TLS, "the CA %s is restricted to other extended key usages than %s",
                    subject, usage == X509_SERVER ? "serverAuth" : "clientAuth");
            free(subject);
            return -1;
        }
    }
    return 0;
}

struct chain_builder { /* OpenSSL's search for a chain, with etcd's rules */
    X509_STORE *trust;
    X509_STORE_CTX *store;
    STACK_OF(X509) * between;
    X509_VERIFY_PARAM *rules; /* borrowed */
};

static void builder_init(struct chain_builder *builder, const struct x509_list *chain,
                         const struct x509_list *anchors)
{
    *builder = (struct chain_builder){X509_STORE_new(), X509_STORE_CTX_new(), NULL, NULL};
    must(builder->trust != NULL && builder->store != NULL && chain->count != 0);
    builder->between = stack_of(chain, 1);
    judge_try_all_issuers(builder->trust);
    for (size_t i = 0; i < anchors->count; i++)
        must(X509_STORE_add_cert(builder->trust, anchors->items[i]->x509) == 1);
    must(X509_STORE_CTX_init(builder->store, builder->trust, chain->items[0]->x509,
                             builder->between) == 1);
    builder->rules = X509_STORE_CTX_get0_param(builder->store);
    must(X509_VERIFY_PARAM_set_flags(builder->rules, X509_V_FLAG_PARTIAL_CHAIN) == 1);
    X509_VERIFY_PARAM_set_auth_level(builder->rules, 0); /* weak keys are other findings */
}

static void builder_fini(struct chain_builder *builder)
{
    ERR_clear_error();
    X509_STORE_CTX_free(builder->store);
    X509_STORE_free(builder->trust);
    sk_X509_free(builder->between);
}

int x509_chain_check(const struct x509_list *chain, const struct x509_list *anchors, unsigned usage,
                     struct err *err)
{
    struct chain_builder builder;
    int rc = -1;

    builder_init(&builder, chain, anchors);
    must(X509_VERIFY_PARAM_set_flags(builder.rules, X509_V_FLAG_NO_CHECK_TIME) == 1);
    if (X509_verify_cert(builder.store) == 1)
        rc = judge_links(X509_STORE_CTX_get0_chain(builder.store), usage, err);
    else
        say_broken(anchors, builder.store, err);
    builder_fini(&builder);
    return rc;
}

static bool is_date(int error)
{
    return error == X509_V_ERR_CERT_HAS_EXPIRED || error == X509_V_ERR_CERT_NOT_YET_VALID;
}

static int pass_first(int ok, X509_STORE_CTX *store)
{
    return ok == 1 ||
           (X509_STORE_CTX_get_error_depth(store) == 0 && is_date(X509_STORE_CTX_get_error(store)));
}

int x509_chain_dates(const struct x509_list *chain, const struct x509_list *anchors, int64_t at_s,
                     struct err *err)
{
    struct chain_builder builder;
    int rc = 0;

    builder_init(&builder, chain, anchors);
    X509_VERIFY_PARAM_set_time(builder.rules, (time_t)at_s);
    X509_STORE_CTX_set_verify_cb(builder.store, pass_first);
    if (X509_verify_cert(builder.store) != 1 && is_date(X509_STORE_CTX_get_error(builder.store))) {
        struct x509_cert ca = {X509_STORE_CTX_get_current_cert(builder.store)};
        struct x509_info info;

        x509_describe(&ca, &info);
        if (at_s > info.not_after_s)
            err_set(err, ERR_TLS, "hangs on the CA %s, which expired on %s", info.subject,
                    info.not_after);
        else
            err_set(err, ERR_TLS, "hangs on the CA %s, which is not valid before %s", info.subject,
                    info.not_before);
        x509_info_free(&info);
        rc = -1;
    }
    builder_fini(&builder);
    return rc;
}

int x509_revoked(const char *crl_path, const struct x509_cert *cert, bool *revoked, struct err *err)
{
    STACK_OF(X509_CRL) * crls;

    *revoked = false;
    if (ossl_crls_file(crl_path, &crls, err) < 0)
        return -1;
    for (int i = 0; i < sk_X509_CRL_num(crls); i++) {
        X509_CRL *crl = sk_X509_CRL_value(crls, i);
        X509_REVOKED *entry;

        if (ossl_names_equal(X509_CRL_get_issuer(crl), X509_get_issuer_name(cert->x509)) &&
            X509_CRL_get0_by_cert(crl, &entry, cert->x509) == 1)
            *revoked = true;
    }
    ERR_clear_error();
    sk_X509_CRL_pop_free(crls, X509_CRL_free);
    return 0;
}
