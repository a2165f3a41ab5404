/*
 * cause.c - see cause.h. Every sentence begins with the endpoint as it was typed.
 *
 * cause_tell() asks the facts in this order, for the first that is known tells most: what we found
 * wrong in TLS, a protocol that does not fit, an alert of the other side, then how far it got
 * (name, connection, time, HTTP, answer).
 */
#include "common/client/cause.h"

#include "common/base/duration.h"
#include "common/client/print.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <stdarg.h>
#include <stdio.h>

static void hint(struct client_failure *failure, const char *format, ...) PRINTF_LIKE(2, 3);
static void hint(struct client_failure *failure, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(failure->hint, sizeof(failure->hint), format, args); /* cut is fine */
    va_end(args);
}

static void tell_fault(const struct cause_facts *facts, struct client_failure *failure,
                       struct err *err)
{
    const struct handshake *seen = facts->handshake;
    const struct cert_words *cert = &seen->cert;
    const char *typed = facts->endpoint->typed, *host = facts->endpoint->host;
    const char *which = seen->depth == 0 ? "the server's certificate" : "the CA certificate";

    switch (seen->fault) {
    case FAULT_NONE:
        return;
    case FAULT_HOST:
        err_set(err, ERR_TLS,
                "%s: the server's certificate (%s) is not valid for \"%s\", only for %s", typed,
                cert->subject, host,
                cert->names[0] != '\0' ? cert->names : "nothing: it has no SANs");
        hint(failure,
             "Use one of the names it is valid for in --endpoints, or issue a certificate with "
             "\"%s\" among its SANs.",
             host);
        return;
    case FAULT_EXPIRED:
        err_set(err, ERR_TLS, "%s: %s (%s) expired at %s", typed, which, cert->subject,
                cert->not_after);
        hint(failure, "Renew it and let the server load the new one; if it should still be valid, "
                      "check this machine's clock.");
        return;
    case FAULT_NOT_YET_VALID:
        err_set(err, ERR_TLS, "%s: %s (%s) is not valid before %s", typed, which, cert->subject,
                cert->not_before);
        hint(failure, "Check the clock of this machine and of the one that issued it.");
        return;
    case FAULT_UNKNOWN_CA:
        if (seen->nobody) {
            err_set(err, ERR_TLS,
                    "%s: certificate signed by unknown authority: %s holds no certificate in PEM "
                    "form",
                    typed, facts->cacert);
            hint(failure, "Give the CA that signed the server's certificate with --cacert.");
            return;
        }
        err_set(
            err, ERR_TLS,
            "%s: certificate signed by unknown authority: %s (%s) was issued by %s, which is not "
            "in %s",
            typed, which, cert->subject, cert->issuer,
            facts->cacert != NULL ? facts->cacert : "the system's list of CAs");
        hint(failure, facts->cacert != NULL
                          ? "Give the CA that signed the server's certificate with "
                            "--cacert."
                          : "Give the file of the CA that signed it with --cacert.");
        return;
    case FAULT_OTHER:
        err_set(err, ERR_TLS, "%s: %s (%s) was refused: %s", typed, which, cert->subject,
                seen->fault_text);
        hint(failure, "Look at it with: openssl s_client -connect %s:%s -showcerts",
             facts->endpoint->host, facts->endpoint->port);
        return;
    }
}

static void tell_own_refused(const struct cause_facts *facts, const char *why,
                             struct client_failure *failure, struct err *err)
{
    err_set(err, ERR_TLS, "%s: the server refused the client certificate %s (%s): %s",
            facts->endpoint->typed, facts->cert, facts->own->subject, why);
    if (facts->own_expired)
        hint(failure, "It expired at %s: issue a new one.", facts->own->not_after);
    else
        hint(failure,
             "It was issued by %s and is valid until %s: the server's --trusted-ca-file must hold "
             "that CA, and it must allow client authentication and not be revoked.",
             facts->own->issuer, facts->own->not_after);
}

/* What the server's alert says of the client certificate; NULL: nothing. */
static const char *own_fault(const struct cause_facts *facts)
{
    switch (facts->handshake->alert) {
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_ACCESS_DENIED:
        return facts->own_expired ? "it has expired" : "bad certificate";
    case SSL_AD_UNKNOWN_CA:
        return "unknown certificate authority";
    case SSL_AD_CERTIFICATE_EXPIRED:
        return "it has expired";
    case SSL_AD_CERTIFICATE_REVOKED:
        return "it is revoked";
    default:
        return NULL;
    }
}

/* An alert is the server's word on why it ended the handshake (RFC 8446 6.2). */
static void tell_alert(const struct cause_facts *facts, struct client_failure *failure,
                       struct err *err)
{
    int alert = facts->handshake->alert;
    const char *typed = facts->endpoint->typed;

    if (facts->cert == NULL && (alert == SSL_AD_CERTIFICATE_REQUIRED ||
                                (facts->handshake->asked && (alert == SSL_AD_BAD_CERTIFICATE ||
                                                             alert == SSL_AD_HANDSHAKE_FAILURE)))) {
        err_set(err, ERR_TLS, "%s: the server wants a client certificate and none was given",
                typed);
        hint(failure, "Give one with --cert and --key (its CA must be in the server's "
                      "--trusted-ca-file).");
        return;
    }
    if (facts->cert != NULL && own_fault(facts) != NULL) {
        tell_own_refused(facts, own_fault(facts), failure, err);
        return;
    }
    switch (alert) {
    case SSL_AD_PROTOCOL_VERSION:
        err_set(err, ERR_TLS, "%s: the server accepts none of the TLS versions 1.2 and 1.3", typed);
        hint(failure, "Look at the server's --tls-min-version and --tls-max-version.");
        return;
    case SSL_AD_HANDSHAKE_FAILURE:
    case SSL_AD_INSUFFICIENT_SECURITY:
        err_set(err, ERR_TLS, "%s: no cipher suite in common with the server, or %s", typed,
                facts->cert != NULL ? "it refused the client certificate"
                                    : "it wants a client certificate");
        hint(failure, "Look at the server's --cipher-suites and at its log.");
        return;
    default:
        break;
    }
    err_set(err, ERR_TLS, "%s: the server ended the TLS handshake: %s", typed,
            SSL_alert_desc_string_long(alert));
    hint(failure, "The server's log says more.");
}

static void tell_other_protocol(const struct cause_facts *facts, struct client_failure *failure,
                                struct err *err)
{
    const struct endpoint *endpoint = facts->endpoint;

    if (endpoint->tls) {
        err_set(err, ERR_TLS, "%s: TLS was spoken to a server that speaks plain HTTP on this port",
                endpoint->typed);
        hint(failure,
             endpoint->scheme
                 ? "Write http:// instead of https:// in --endpoints, or start the server "
                   "with --cert-file and --key-file."
                 : "Leave --cacert, --cert and --key out, write http:// in --endpoints, or "
                   "start the server with --cert-file and --key-file.");
        return;
    }
    err_set(err, ERR_TLS, "%s: plain HTTP was spoken to a server that wants TLS on this port",
            endpoint->typed);
    hint(failure,
         "Write https:// in --endpoints and give the CA with --cacert (and --cert, --key if "
         "the server wants them).");
}

static void tell_timeout(const struct cause_facts *facts, struct client_failure *failure,
                         struct err *err)
{
    static const char *const waits[] = {
        [PHASE_RESOLVE] = "for the name to be resolved",
        [PHASE_CONNECT] = "for the connection to be accepted",
        [PHASE_HANDSHAKE] = "for the TLS handshake to end",
        [PHASE_ANSWER] = "for the server's answer",
    };
    struct buf waited = BUF_INIT(BUF_UNLIMITED);

    failure->kind = facts->phase == PHASE_ANSWER ? CLIENT_FAILURE_TIMEOUT : CLIENT_FAILURE_CONNECT;
    print_duration(&waited, facts->waited_ms * NS_PER_MS);
    err_set(err, ERR_NET, "%s: context deadline exceeded: waited %s %s", facts->endpoint->typed,
            buf_text(&waited), waits[facts->phase]);
    buf_free(&waited);
    if (facts->phase == PHASE_ANSWER)
        hint(failure, "The server is there but does not answer in time (overloaded, or without a "
                      "leader): look at its log, or give more time with --command-timeout.");
    else
        hint(failure,
             "Check host and port, routes and firewalls; --dial-timeout gives it more time.");
}

static void tell_connect(const struct cause_facts *facts, struct client_failure *failure,
                         struct err *err)
{
    const struct endpoint *endpoint = facts->endpoint;
    const char *why = facts->os_error != 0 ? strerror(facts->os_error) : facts->words;

    if (endpoint->socket != NULL) {
        err_set(err, ERR_NET, "%s: cannot connect to the socket %s: %s", endpoint->typed,
                endpoint->socket, why);
        hint(failure,
             "Start the server with --listen-client-urls=unix://%s, or correct --endpoints.",
             endpoint->socket);
    } else if (facts->os_error == ECONNREFUSED) {
        err_set(err, ERR_NET, "%s: connection refused: nothing listens on port %s of %s",
                endpoint->typed, endpoint->port, endpoint->host);
        hint(failure, "Start the server, or give the address of its --listen-client-urls with "
                      "--endpoints.");
    } else {
        err_set(err, ERR_NET, "%s: cannot connect: %s", endpoint->typed, why);
        hint(failure, "Check host and port in --endpoints, routes and firewalls.");
    }
}

void cause_tell(const struct cause_facts *facts, struct client_failure *failure, struct err *err)
{
    const char *typed = facts->endpoint->typed;

    failure->kind = CLIENT_FAILURE_CONNECT;
    failure->hint[0] = '\0';
    if (facts->handshake->fault != FAULT_NONE)
        tell_fault(facts, failure, err);
    else if (facts->other_protocol)
        tell_other_protocol(facts, failure, err);
    else if (facts->handshake->alert >= 0)
        tell_alert(facts, failure, err);
    else if (facts->kind == CAUSE_UNKNOWN_HOST) {
        err_set(err, ERR_NET, "%s: unknown host \"%s\"", typed, facts->endpoint->host);
        hint(failure, "Correct the name in --endpoints, or make it known (DNS, /etc/hosts).");
    } else if (facts->kind == CAUSE_TIMEOUT)
        tell_timeout(facts, failure, err);
    else if (facts->kind == CAUSE_NO_CONNECTION)
        tell_connect(facts, failure, err);
    else if (facts->kind == CAUSE_NO_HTTP) {
        err_set(err, ERR_NET, "%s: what listens there does not speak HTTP", typed);
        hint(failure, "Is this the client port of the server? Check --endpoints.");
    } else if (facts->phase == PHASE_ANSWER) {
        err_set(err, ERR_NET, "%s: the connection ended before the answer was complete: %s", typed,
                facts->words);
        hint(failure,
             "The server may have stopped: look at its log. The request may have been done.");
    } else {
        err_set(err, facts->phase == PHASE_HANDSHAKE ? ERR_TLS : ERR_NET, "%s: %s", typed,
                facts->words);
        hint(failure, facts->phase == PHASE_HANDSHAKE
                          ? "Is this the client port of the server? Its log says more."
                          : "Check --endpoints.");
    }
}
