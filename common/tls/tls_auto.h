/*
 * tls_auto.h (edge) - the self-signed pairs of --auto-tls and --peer-auto-tls (pki.md 2.14).
 * Thread: any, before the listeners open.
 */
#ifndef COMMON_TLS_TLS_AUTO_H
#define COMMON_TLS_TLS_AUTO_H

#include "common/tls/tls.h"

/*
 * Make sure that DATA-DIR/fixtures/KIND/{cert,key}.pem (0700, 0644, 0600) are there: made when
 * either is missing, otherwise kept as they are, even expired.
 *
 * kind                 "client" or "peer"
 * hosts                of the listen URLs, names or addresses: become the SANs
 * years                of 365 days; 0 is ERR_USAGE in etcd's words
 * cert_file, key_file  set on success only; owned
 * made                 NULL, or: false when they were there already
 */
int tls_auto_pair(const char *data_dir, const char *kind, struct tls_list hosts, unsigned years,
                  int64_t now_s, char **cert_file, char **key_file, bool *made,
                  struct err *err) MUST_CHECK;

#endif
