/*
 * judge.h - what Go judges otherwise than OpenSSL does, for whoever lets OpenSSL shake hands or
 * build a chain: which authorities are tried, what a chain has to be, which hosts a certificate is
 * for (pki.md 2.4 to 2.7). Knows no words: those are the caller's. Pure. Thread: any, one object at
 * a time.
 */
#ifndef COMMON_TLS_JUDGE_H
#define COMMON_TLS_JUDGE_H

#include "common/base/base.h"

#include <openssl/x509_vfy.h>

/*
 * Try every anchor of an issuer's name, and look at no other identifier: OpenSSL takes the first
 * one. For stores whose anchors are all loaded, before they are used.
 */
void judge_try_all_issuers(X509_STORE *trust);

/*
 * Build the chain and check what OpenSSL checks well: signatures, dates, CA bits. Any certificate
 * that is trusted ends it; usages are left to judge_usage(). 0, or an X509_V_ERR_.
 */
int judge_chain(X509_STORE_CTX *store) MUST_CHECK;

/*
 * Of a chain that judge_chain() found good: 0, or an X509_V_ERR_, which is set in `store` together
 * with the certificate and its depth.
 */
int judge_names(X509_STORE_CTX *store) MUST_CHECK; /* issuer and subject, byte for byte */
/* Each certificate with extended usages has `usage` (X509_CLIENT, X509_SERVER) or any among them,
 * CAs too. */
int judge_usage(X509_STORE_CTX *store, unsigned usage) MUST_CHECK;
int judge_host(X509_STORE_CTX *store, const char *host) MUST_CHECK; /* judge_fits_host() */

/*
 * Do the alternative names hold this host, an address or a name? The CN never counts. "*." at the
 * begin of a name stands for one label, whatever follows; '_' may be in a name; a final dot of
 * `host` is no part of it; case is ignored. An address, also in brackets, is compared as one with
 * addresses only; ::ffff:1.2.3.4 is 1.2.3.4.
 */
bool judge_fits_host(const X509 *leaf, const char *host);

#endif
