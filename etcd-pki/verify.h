/*
 * verify.h - the rules of verify (pki.md 4.5): what of these files would not work with these flags.
 * Answers as Go would, not as openssl would. Reads files; knows no network.
 */
#ifndef ETCD_PKI_VERIFY_H
#define ETCD_PKI_VERIFY_H

#include "etcd-pki/pki.h"

struct finding {
    const char *id;                   /* a row of pki.md 4.5 */
    bool error;                       /* else a warning */
    char *file, *flag, *found, *todo; /* owned */
};

struct verify {
    const struct settings *settings;
    int64_t at_s, warn_s;
    struct finding *findings;
    size_t count, errors;
    /* etcd's flags; texts borrowed, NULL when not given */
    const char *cert_file, *key_file, *ca_file, *crl_file, *client_cert_file, *client_key_file;
    const char *peer_cert_file, *peer_key_file, *peer_ca_file, *peer_crl_file;
    const char *peer_client_cert_file, *peer_client_key_file;
    const char *listen_client_urls, *advertise_client_urls, *peer_urls, *listen_peer_urls;
    const char *initial_cluster, *name, *allowed_hostname, *peer_allowed_cn, *peer_allowed_hostname;
    const char *config_file;
    bool client_cert_auth, peer_client_cert_auth, auto_tls, peer_auto_tls, gateway;
};

void verify_find(struct verify *verify, const char *id, bool error, const char *file,
                 const char *flag, const char *todo, const char *format, ...) PRINTF_LIKE(7, 8);
void verify_rules(struct verify *verify);
void verify_free(struct verify *verify);

#endif
