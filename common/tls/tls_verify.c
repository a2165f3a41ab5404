/*
 * tls_verify.c - is this chain good, and if not, why not, in words.
 *
 * OpenSSL builds the chain and checks signatures, dates and CA bits; what Go judges otherwise is
 * judge.h's. Here come revocation of every certificate below the anchor and the allow lists. The
 * first finding becomes session->cause and an alert.
 */
#include "common/tls/judge.h"
#include "common/tls/tls_internal.h"

#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

/* Go's names for what the other side says (RFC 8446 6.2), and what it means for us. */
static const struct alert {
    int number;
    const char *name;
    const char *meaning;
} alerts[] = {
    {40, "handshake failure", "no version, suite or key type suits both sides"},
    {42, "bad certificate", "it refused our certificate: wrong usage, name or content"},
    {43, "unsupported certificate", "it refused our certificate: wrong usage or kind of key"},
    {44, "revoked certificate", "our certificate is in its revocation list"},
    {45, "expired certificate", "it says our certificate has expired or is not valid yet"},
    {46, "unknown certificate", "it refused our certificate without saying why"},
    {47, "illegal parameter", "it found a field out of range"},
    {48, "unknown certificate authority", "it does not trust the issuer of our certificate"},
    {50, "error decoding message", "it could not read a message"},
    {51, "error decrypting message", "a signature or key did not fit"},
    {70, "protocol version not supported", "no TLS version suits both sides"},
    {71, "insufficient security level", "it wants stronger suites or keys"},
    {80, "internal error",
     "it failed by itself; an etcd whose own pair cannot be loaded says this"},
    {86, "inappropriate fallback", "a lower version was tried than both sides support"},
    {90, "user canceled", "it gave up"},
    {109, "missing extension", "a field it needs is absent"},
    {110, "unsupported extension", "it was sent a field it did not ask for"},
    {112, "unrecognized name", "it serves no such host name"},
    {116, "certificate required", "it demands a client certificate and got none"},
    {120, "no application protocol", "no protocol of the ALPN list suits both sides"},
};

static void set_cause(struct tls_session *session, const char *format, ...) PRINTF_LIKE(2, 3);
static void set_cause(struct tls_session *session, const char *format, ...)
{
    char text[ERR_TEXT_MAX];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    free(session->cause);
    session->cause = xstrdup(text);
}

static const char *side(const struct tls_session *session)
{
    return session->context->config.role == TLS_SERVER ? "client" : "server";
}

/* "client certificate CN=x (serial 1f)", or "certificate CN=ca (serial 2) above CN=x". Owned. */
static char *who(const struct tls_session *session, X509_STORE_CTX *store, const X509 *cert)
{
    const X509 *leaf = X509_STORE_CTX_get0_cert(store);
    char *subject = ossl_name(X509_get_subject_name(cert)), *text;
    char serial[OSSL_SERIAL_TEXT];

    ossl_serial(X509_get0_serialNumber(cert), serial);
    if (cert == leaf || X509_cmp(cert, leaf) == 0) {
        text = xasprintf("%s certificate %s (serial %s)", side(session), subject, serial);
    } else {
        char *leaf_subject = ossl_name(X509_get_subject_name(leaf));

        text = xasprintf("CA certificate %s (serial %s), above %s certificate %s,", subject, serial,
                         side(session), leaf_subject);
        free(leaf_subject);
    }
    free(subject);
    return text;
}

static int64_t now_s(const struct tls_session *session)
{
    int64_t at = session->context->config.verify_at_s;

    return at != 0 ? at : (int64_t)time(NULL);
}

static void say_unknown(struct tls_session *session, const char *subject, const X509 *cert)
{
    const STACK_OF(X509) *anchors = session->set->anchors;
    char *issuer = ossl_name(X509_get_issuer_name(cert));
    struct buf trusted = BUF_INIT(ERR_TEXT_MAX / 2);
    const char *same = "";

    for (int i = 0; i < sk_X509_num(anchors); i++) {
        const X509 *anchor = sk_X509_value(anchors, i);
        char *name = ossl_name(X509_get_subject_name(anchor));

        if (i < 3)
            (void)buf_printf(&trusted, "%s\"%s\"", i != 0 ? ", " : "", name);
        else if (i == 3)
            (void)buf_printf(&trusted, ", ... (%d in all)", sk_X509_num(anchors));
        if (ossl_names_equal(X509_get_subject_name(anchor), X509_get_issuer_name(cert)))
            same = "; an authority of that name is trusted, but it has another key";
        else if (strcmp(name, issuer) == 0)
            same = "; the name of a trusted authority reads the same but is encoded as another "
                   "string type";
        free(name);
    }
    if (anchors == NULL)
        (void)buf_append_text(&trusted, "those of the system");
    set_cause(session,
              "%s: certificate signed by unknown authority: its issuer is \"%s\", trusted: %s%s%s",
              subject, issuer, buf_text(&trusted), anchors != NULL ? " of " : "",
              anchors != NULL ? session->context->config.ca_file : "");
    if (same[0] != '\0') {
        char *longer = xasprintf("%s%s", session->cause, same);

        free(session->cause);
        session->cause = longer;
    }
    free(issuer);
    buf_free(&trusted);
}

static void say_dates(struct tls_session *session, const char *subject, const X509 *cert,
                      bool early)
{
    char edge[OSSL_TIME_TEXT], now[OSSL_TIME_TEXT];

    ossl_time(early ? X509_get0_notBefore(cert) : X509_get0_notAfter(cert), edge);
    ossl_time_of(now_s(session), now);
    set_cause(session, "%s: certificate has expired or is not yet valid: %s %s; it is now %s",
              subject, early ? "not valid before" : "expired since", edge, now);
}

/* What OpenSSL found, as a sentence. */
static void say_openssl(struct tls_session *session, X509_STORE_CTX *store)
{
    int error = X509_STORE_CTX_get_error(store);
    const X509 *cert = X509_STORE_CTX_get_current_cert(store);
    char *subject =
        cert != NULL ? who(session, store, cert) : xasprintf("%s certificate", side(session));

    switch (error) {
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_CERT_UNTRUSTED:
        if (cert != NULL) {
            say_unknown(session, subject, cert);
            break;
        }
        set_cause(session, "%s: certificate signed by unknown authority", subject);
        break;
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        if (cert != NULL)
            say_dates(session, subject, cert, error == X509_V_ERR_CERT_NOT_YET_VALID);
        break;
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        set_cause(session,
                  "%s: certificate signed by unknown authority: its signature is not made "
                  "with the key of the trusted authority of that name",
                  subject);
        break;
    case X509_V_ERR_INVALID_CA:
    case X509_V_ERR_KEYUSAGE_NO_CERTSIGN:
        set_cause(session, "%s: parent certificate cannot sign this kind of certificate: it is %s",
                  subject,
                  error == X509_V_ERR_INVALID_CA ? "no CA certificate"
                                                 : "a CA without the usage Certificate Sign");
        break;
    case X509_V_ERR_EE_KEY_TOO_SMALL:
    case X509_V_ERR_CA_KEY_TOO_SMALL:
        set_cause(session, "%s: its key is too small; RSA needs 2048 bits", subject);
        break;
    case X509_V_ERR_CA_MD_TOO_WEAK:
        set_cause(session, "%s: signed with a hash that is no longer safe (SHA-1 or MD5)", subject);
        break;
    default:
        set_cause(session, "%s: %s", subject, X509_verify_cert_error_string(error));
        break;
    }
    free(subject);
}

/* ---- what Go judges otherwise; each returns 0 or an X509_V_ERR_ with the cause said ---- */

static int check_names_as_bytes(struct tls_session *session, X509_STORE_CTX *store)
{
    int error = judge_names(store);
    char *subject;

    if (error != 0) {
        subject = who(session, store, X509_STORE_CTX_get_current_cert(store));
        say_unknown(session, subject, X509_STORE_CTX_get_current_cert(store));
        free(subject);
    }
    return error;
}

static int check_usage(struct tls_session *session, X509_STORE_CTX *store)
{
    bool server = session->context->config.role == TLS_SERVER;
    struct buf has = BUF_INIT(ERR_TEXT_MAX);
    const X509 *cert;
    char *subject;

    if (judge_usage(store, server ? X509_CLIENT : X509_SERVER) == 0)
        return 0;
    cert = X509_STORE_CTX_get_current_cert(store);
    subject = who(session, store, cert);
    ossl_usages(cert, &has);
    set_cause(session,
              "%s: certificate specifies an incompatible key usage: it has %s, needed is %s",
              subject, buf_text(&has), server ? "clientAuth" : "serverAuth");
    free(subject);
    buf_free(&has);
    return X509_V_ERR_CERT_REJECTED; /* alert 42, as from Go */
}

/*
 * Is chain[at] in that list? `far`: who signed it has yet to be seen, in what is above. Above the
 * anchor is nothing: whom only a list's name says to be gone is not trusted either, as in etcd.
 */
static bool is_listed(const STACK_OF(X509) * chain, int at, X509_CRL *crl, bool far,
                      X509_REVOKED **entry)
{
    X509 *cert = sk_X509_value(chain, at);
    X509 *above = at + 1 < sk_X509_num(chain) ? sk_X509_value(chain, at + 1) : NULL;

    if (!ossl_names_equal(X509_CRL_get_issuer(crl), X509_get_issuer_name(cert)) ||
        X509_CRL_get0_by_serial(crl, entry, X509_get0_serialNumber(cert)) != 1)
        return false;
    return !far || above == NULL || X509_CRL_verify(crl, X509_get0_pubkey(above)) == 1;
}

static int find_revoked(struct tls_session *session, X509_STORE_CTX *store,
                        const STACK_OF(X509_CRL) * crls, bool far)
{
    const STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(store);

    for (int i = 0; i < sk_X509_num(chain); i++) {
        X509 *cert = sk_X509_value(chain, i);

        for (int k = 0; k < sk_X509_CRL_num(crls); k++) {
            X509_REVOKED *entry = NULL;
            char serial[OSSL_SERIAL_TEXT], when[OSSL_TIME_TEXT];
            char *subject;

            if (!is_listed(chain, i, sk_X509_CRL_value(crls, k), far, &entry))
                continue;
            subject = who(session, store, cert);
            ossl_serial(X509_get0_serialNumber(cert), serial);
            ossl_time(X509_REVOKED_get0_revocationDate(entry), when);
            set_cause(session, "%s: certificate serial %s revoked on %s, says %s", subject, serial,
                      when, session->context->config.crl_file);
            free(subject);
            return X509_V_ERR_CERT_REVOKED;
        }
    }
    return 0;
}

static int check_revoked(struct tls_session *session, X509_STORE_CTX *store)
{
    int error = find_revoked(session, store, session->set->crls, false);

    if (error == 0)
        error = find_revoked(session, store, session->set->far_crls, true);
    ERR_clear_error();
    return error;
}

static int check_allowed(struct tls_session *session, X509_STORE_CTX *store)
{
    const struct tls_config *config = &session->context->config;
    X509 *leaf = X509_STORE_CTX_get0_cert(store);
    struct tls_list list =
        config->allowed_cns.count != 0 ? config->allowed_cns : config->allowed_hostnames;
    struct buf allowed = BUF_INIT(ERR_TEXT_MAX / 3), sans = BUF_INIT(ERR_TEXT_MAX / 3);
    char *cn = ossl_cn(X509_get_subject_name(leaf));
    bool by_cn = config->allowed_cns.count != 0, fits = list.count == 0;

    for (size_t i = 0; i < list.count && !fits; i++) {
        fits = by_cn ? strcmp(cn, list.items[i]) == 0 : judge_fits_host(leaf, list.items[i]);
        (void)buf_printf(&allowed, "%s%s", i != 0 ? ", " : "", list.items[i]);
    }
    if (!fits && by_cn) {
        set_cause(session,
                  "%s certificate authentication failed: CN \"%s\" is not among the allowed: %s",
                  side(session), cn, buf_text(&allowed));
    } else if (!fits) {
        ossl_sans(leaf, &sans);
        set_cause(session,
                  "%s certificate authentication failed: CN \"%s\" is valid for %s, not for an "
                  "allowed host name: %s",
                  side(session), cn,
                  buf_used(&sans) != 0 ? buf_text(&sans) : "too many names to list",
                  buf_text(&allowed));
    }
    free(cn);
    buf_free(&allowed);
    buf_free(&sans);
    return fits ? 0 : X509_V_ERR_CERT_REJECTED; /* alert 42, as from Go */
}

static int check_host(struct tls_session *session, X509_STORE_CTX *store)
{
    X509 *leaf = X509_STORE_CTX_get0_cert(store);
    struct buf sans = BUF_INIT(ERR_TEXT_MAX / 2);
    char *subject;

    if (session->server_name == NULL || judge_host(store, session->server_name) == 0)
        return 0;
    subject = who(session, store, leaf);
    ossl_sans(leaf, &sans);
    set_cause(session,
              "%s: certificate is valid for %s, not for \"%s\"; dial a name it has, or "
              "reissue it with that one among its SANs",
              subject,
              buf_used(&sans) == 0                   ? "too many names to list"
              : strcmp(buf_text(&sans), "none") == 0 ? "no name at all (a CN is not looked at)"
                                                     : buf_text(&sans),
              session->server_name);
    free(subject);
    buf_free(&sans);
    return X509_V_ERR_HOSTNAME_MISMATCH;
}

int tls_verify_chain(X509_STORE_CTX *store, void *arg)
{
    static int (*const checks[])(struct tls_session *, X509_STORE_CTX *) = {
        check_names_as_bytes, check_usage, check_revoked, check_allowed, check_host};
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_session *session = SSL_get_app_data(ssl);
    const struct tls_config *config = &session->context->config;

    (void)arg;
    if (config->role == TLS_CLIENT && config->skip_verify)
        return 1;
    if (config->verify_at_s != 0)
        X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(store), (time_t)config->verify_at_s);
    if (judge_chain(store) != 0) {
        say_openssl(session, store);
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
        int error = checks[i](session, store);

        if (error != 0) {
            X509_STORE_CTX_set_error(store, error);
            return 0;
        }
    }
    return 1;
}

bool tls_verify_resumed(struct tls_session *session, const X509 *leaf)
{
    int64_t now = now_s(session);
    bool early = now < ossl_time_s(X509_get0_notBefore(leaf));
    char *subject;

    if (session->context->config.skip_verify ||
        (!early && now <= ossl_time_s(X509_get0_notAfter(leaf))))
        return true;
    subject = ossl_name(X509_get_subject_name(leaf));
    say_dates(session, subject, leaf, early);
    free(subject);
    return false;
}

/* ---- the peer in words ---- */

struct peer_lists {
    char **dns, **ips;
    size_t dns_count, ips_count;
};

static void add_san(void *arg, char kind, const char *text)
{
    struct peer_lists *lists = arg;
    char ***list = kind == 'D' ? &lists->dns : &lists->ips;
    size_t *count = kind == 'D' ? &lists->dns_count : &lists->ips_count;

    if (kind != 'D' && kind != 'I')
        return;
    *list = xrealloc(*list, (*count + 1) * sizeof **list);
    (*list)[(*count)++] = xstrdup(text);
}

struct owned_peer {
    struct tls_peer peer; /* first: a tls_peer is freed as what it is part of */
    struct peer_lists lists;
    char *cn, *subject, *issuer;
    char serial[OSSL_SERIAL_TEXT];
};

struct tls_peer *tls_peer_new(const X509 *leaf)
{
    struct owned_peer *made = xalloc(sizeof *made);

    ossl_san_each(leaf, add_san, &made->lists);
    made->cn = ossl_cn(X509_get_subject_name(leaf));
    made->subject = ossl_name(X509_get_subject_name(leaf));
    made->issuer = ossl_name(X509_get_issuer_name(leaf));
    ossl_serial(X509_get0_serialNumber(leaf), made->serial);
    made->peer = (struct tls_peer){
        .cn = made->cn,
        .subject = made->subject,
        .issuer = made->issuer,
        .serial = made->serial,
        .not_before_s = ossl_time_s(X509_get0_notBefore(leaf)),
        .not_after_s = ossl_time_s(X509_get0_notAfter(leaf)),
        .dns = {(const char *const *)made->lists.dns, made->lists.dns_count},
        .ips = {(const char *const *)made->lists.ips, made->lists.ips_count},
    };
    return &made->peer;
}

void tls_peer_free(struct tls_peer *peer)
{
    struct owned_peer *made = peer != NULL ? CONTAINER_OF(peer, struct owned_peer, peer) : NULL;

    if (made == NULL)
        return;
    for (size_t i = 0; i < made->lists.dns_count; i++)
        free(made->lists.dns[i]);
    for (size_t i = 0; i < made->lists.ips_count; i++)
        free(made->lists.ips[i]);
    free(made->lists.dns);
    free(made->lists.ips);
    free(made->cn);
    free(made->subject);
    free(made->issuer);
    free(made);
}

/* ---- failures in words ---- */

static void say_alert(const struct tls_session *session, int number, struct err *err)
{
    const char *ours = session->set->describe;

    for (size_t i = 0; i < ARRAY_LEN(alerts); i++)
        if (alerts[i].number == number) {
            err_set(err, ERR_TLS, "remote error: tls: %s: the %s sent alert %d: %s%s%s%s",
                    alerts[i].name, side(session), number, alerts[i].meaning,
                    ours[0] != '\0' ? " (ours: " : "", ours, ours[0] != '\0' ? ")" : "");
            return;
        }
    err_set(err, ERR_TLS, "remote error: tls: alert(%d) from the %s", number, side(session));
}

static void say_versions(const struct tls_session *session, struct err *err)
{
    const struct tls_config *config = &session->context->config;

    err_set(err, ERR_TLS,
            "tls: the %s offered only unsupported versions: no TLS version suits both sides; "
            "allowed here: %s to %s",
            side(session), config->min_version != NULL ? config->min_version : "TLS1.2",
            config->max_version != NULL ? config->max_version : "TLS1.3");
}

void tls_failure(const struct tls_session *session, struct err *err)
{
    unsigned long code = ERR_peek_error(), last = ERR_peek_last_error();
    int reason = ERR_GET_REASON(code);
    const char *words = ERR_reason_error_string(code);

    if (session->cause != NULL) {
        err_set(err, ERR_TLS, "%s", session->cause);
        return;
    }
    if (ERR_GET_LIB(last) == ERR_LIB_SSL && ERR_GET_REASON(last) >= SSL_AD_REASON_OFFSET) {
        say_alert(session, ERR_GET_REASON(last) - SSL_AD_REASON_OFFSET, err);
        return;
    }
    switch (ERR_GET_LIB(code) == ERR_LIB_SSL ? reason : 0) {
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        err_set(err, ERR_TLS,
                "tls: client didn't provide a certificate: this port demands one signed by an "
                "authority of %s",
                session->context->config.ca_file != NULL ? session->context->config.ca_file
                                                         : "the system");
        break;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_WRONG_SSL_VERSION:
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_UNKNOWN_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_NO_PROTOCOLS_AVAILABLE:
        say_versions(session, err);
        break;
    case SSL_R_NO_SHARED_CIPHER:
        err_set(err, ERR_TLS,
                "tls: no cipher suite supported by both client and server; with --cipher-suites, "
                "does the list fit the kind of the certificate's key?");
        break;
    default:
        err_set(err, ERR_TLS, "tls: %s",
                words != NULL ? words : "the peer makes us answer but takes no answers");
        break;
    }
}
