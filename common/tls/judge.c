/*
 * judge.c - see judge.h. The three judge_*() of a chain leave in the store what OpenSSL itself
 * leaves there when it finds something: error, certificate, depth.
 */
#include "common/tls/judge.h"

#include "common/base/slice.h"
#include "common/tls/ossl.h"

#include <arpa/inet.h>
#include <openssl/err.h>

#define ADDRESS_BYTES 16

/* ---- issuers ---- */

/*
 * OpenSSL takes the first authority of the name, unless an identifier in the certificate says
 * otherwise; certificates by hand have none. Go tries all of that name, which matters while a
 * bundle holds the old and the new one (pki.md 2.6), also of one key but with names that only read
 * the same.
 */
static int find_issuer(X509 **issuer, X509_STORE_CTX *store, X509 *cert)
{
    const STACK_OF(X509_OBJECT) *objects =
        X509_STORE_get0_objects(X509_STORE_CTX_get0_store(store));
    const X509_VERIFY_PARAM *rules = X509_STORE_CTX_get0_param(store);
    bool valid = false;

    *issuer = NULL;
    (void)ERR_set_mark();
    for (int i = 0; !valid && i < sk_X509_OBJECT_num(objects); i++) {
        X509 *one = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i));

        if (one == NULL ||
            !ossl_names_equal(X509_get_subject_name(one), X509_get_issuer_name(cert)) ||
            X509_get0_pubkey(one) == NULL || X509_verify(cert, X509_get0_pubkey(one)) != 1)
            continue;
        valid = X509_cmp_timeframe(rules, X509_get0_notBefore(one), X509_get0_notAfter(one)) == 0;
        if (valid || *issuer == NULL)
            *issuer = one;
    }
    (void)ERR_pop_to_mark();
    return *issuer != NULL ? X509_up_ref(*issuer) : 0;
}

void judge_try_all_issuers(X509_STORE *trust)
{
    X509_STORE_set_get_issuer(trust, find_issuer);
}

/* ---- chains ---- */

int judge_chain(X509_STORE_CTX *store)
{
    X509_VERIFY_PARAM *rules = X509_STORE_CTX_get0_param(store);
    int error;

    (void)X509_VERIFY_PARAM_set_flags(rules, X509_V_FLAG_PARTIAL_CHAIN);
    (void)X509_VERIFY_PARAM_set_purpose(rules, X509_PURPOSE_ANY);
    if (X509_verify_cert(store) == 1)
        return X509_V_OK;
    error = X509_STORE_CTX_get_error(store);
    return error != X509_V_OK ? error : X509_V_ERR_UNSPECIFIED;
}

static int found(X509_STORE_CTX *store, int depth, int error)
{
    X509_STORE_CTX_set_error(store, error);
    X509_STORE_CTX_set_error_depth(store, depth);
    X509_STORE_CTX_set_current_cert(store, sk_X509_value(X509_STORE_CTX_get0_chain(store), depth));
    return error;
}

int judge_names(X509_STORE_CTX *store)
{
    const STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(store);

    for (int i = 0; i + 1 < sk_X509_num(chain); i++)
        if (!ossl_names_equal(X509_get_issuer_name(sk_X509_value(chain, i)),
                              X509_get_subject_name(sk_X509_value(chain, i + 1))))
            return found(store, i, X509_V_ERR_SUBJECT_ISSUER_MISMATCH);
    return X509_V_OK;
}

int judge_usage(X509_STORE_CTX *store, unsigned usage)
{
    const STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(store);

    for (int i = 0; i < sk_X509_num(chain); i++) {
        unsigned eku = ossl_eku(sk_X509_value(chain, i));

        if (eku != 0 && (eku & (usage | X509_ANY)) == 0)
            return found(store, i, X509_V_ERR_INVALID_PURPOSE);
    }
    return X509_V_OK;
}

int judge_host(X509_STORE_CTX *store, const char *host)
{
    return judge_fits_host(X509_STORE_CTX_get0_cert(store), host)
               ? X509_V_OK
               : found(store, 0, X509_V_ERR_HOSTNAME_MISMATCH);
}

/* ---- hosts ---- */

/* As sixteen bytes, those of IPv4 mapped; false: it is none. */
static bool take_address(struct slice text, uint8_t address[ADDRESS_BYTES])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    char plain[INET6_ADDRSTRLEN];

    if (text.size >= 3 && text.data[0] == '[' && text.data[text.size - 1] == ']')
        text = slice_of(text.data + 1, text.size - 2);
    if (text.size == 0 || text.size >= sizeof(plain) || memchr(text.data, 0, text.size) != NULL)
        return false;
    memcpy(plain, text.data, text.size);
    plain[text.size] = '\0';
    memcpy(address, mapped, sizeof(mapped));
    return inet_pton(AF_INET, plain, address + sizeof(mapped)) == 1 ||
           inet_pton(AF_INET6, plain, address) == 1;
}

static bool same_address(const ASN1_OCTET_STRING *san, const uint8_t address[ADDRESS_BYTES])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    const uint8_t *bytes = ASN1_STRING_get0_data(san);

    if (ASN1_STRING_length(san) == ADDRESS_BYTES)
        return memcmp(bytes, address, ADDRESS_BYTES) == 0;
    return ASN1_STRING_length(san) == 4 && memcmp(address, mapped, sizeof(mapped)) == 0 &&
           memcmp(bytes, address + sizeof(mapped), 4) == 0;
}

static uint8_t lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte | 0x20) : byte;
}

static bool same_text(struct slice a, struct slice b)
{
    if (a.size != b.size)
        return false;
    for (size_t i = 0; i < a.size; i++)
        if (lower(a.data[i]) != lower(b.data[i]))
            return false;
    return true;
}

static struct slice without_final_dot(struct slice name)
{
    if (name.size != 0 && name.data[name.size - 1] == '.')
        name.size--;
    return name;
}

/* Labels of letters, digits, '_' and, not first, '-'; the first one of a pattern may be a '*'. */
static bool is_name(struct slice name, bool pattern)
{
    size_t at = 0, label = 0;

    if (pattern && slice_starts_with(name, SLICE_LITERAL("*.")))
        at = label = 2;
    for (; at < name.size; at++) {
        uint8_t byte = lower(name.data[at]);

        if (byte == '.' && at != label)
            label = at + 1;
        else if (!(byte >= 'a' && byte <= 'z') && !(byte >= '0' && byte <= '9') && byte != '_' &&
                 !(byte == '-' && at != label))
            return false;
    }
    return at != label; /* there is a last one */
}

static bool same_name(struct slice san, struct slice host)
{
    const uint8_t *dot;

    if (!is_name(san, true) || !is_name(without_final_dot(host), false)) /* no names of hosts */
        return san.size != 0 && !slice_equal(san, SLICE_LITERAL(".")) && same_text(san, host);
    host = without_final_dot(host);
    if (san.data[0] != '*')
        return same_text(san, host);
    dot = memchr(host.data, '.', host.size);
    return dot != NULL && same_text(slice_of(san.data + 1, san.size - 1),
                                    slice_of(dot, host.size - (size_t)(dot - host.data)));
}

bool judge_fits_host(const X509 *leaf, const char *host)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    uint8_t address[ADDRESS_BYTES];
    bool is_address = take_address(slice_text(host), address), fits = false;

    for (int i = 0; i < sk_GENERAL_NAME_num(names) && !fits; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

        if (is_address && name->type == GEN_IPADD)
            fits = same_address(name->d.iPAddress, address);
        else if (!is_address && name->type == GEN_DNS)
            fits = same_name(slice_of(ASN1_STRING_get0_data(name->d.dNSName),
                                      (size_t)ASN1_STRING_length(name->d.dNSName)),
                             slice_text(host));
    }
    GENERAL_NAMES_free(names);
    ERR_clear_error();
    return fits;
}
