/*
 * verify.h - the rules of verify (pki.md 4.5): what of these files would not work with these flags.
 * Answers as Go would, not as openssl would. Reads files; knows no network. Thread: main.
 */
#ifndef ETCD_PKI_VERIFY_H
#define ETCD_PKI_VERIFY_H

#include "etcd-pki/pki.h"

struct finding {
    const char *id, *expected;        /* a row of rules.def */
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
    const char *config_file, *http_urls, *tls_min, *tls_max, *suites;
    int version; /* of etcd: 30529 is 3.5.29; the newest unless said */
    bool client_cert_auth, peer_client_cert_auth, auto_tls, peer_auto_tls, gateway;
    bool skip_san, skip_san_old; /* the flag of 3.6, of 3.5 */
    bool by_directory;           /* no flags were given */
};

void verify_find(struct verify *verify, const char *id, bool error, const char *file,
                 const char *flag, const char *todo, const char *format, ...) PRINTF_LIKE(7, 8);
/* Where a file among the flags is from here: --root, a process's own view; owned. */
char *verify_path(const struct verify *verify, const char *path);
void verify_rules(struct verify *verify);
void verify_flags(struct verify *verify); /* verify_flags.c: what only flags can get wrong */
/* Both ends apply the list of peers, so each member's own certificate has to fit it: P1. */
void verify_allowed(struct verify *verify, const struct x509_cert *cert,
                    const struct x509_info *info, const char *file);
void verify_set(struct verify *verify, const char *dir); /* verify_set.c: S1, C5, others' P1 */
/* verify_flags.c: a revocation list against the trust file and the version of etcd: R1, R3. */
void verify_crl(struct verify *verify, const char *path, const char *file, const char *flag,
                const struct x509_list *anchors);
/* verify_input.c: etcd's flags out of a manifest, a configuration, an environment, a process. */
int verify_input(const struct settings *settings, struct texts *words, struct err *err) MUST_CHECK;
/* One of etcd's variables as its flag; others are passed over. */
void verify_variable(const char *name, const char *value, struct texts *words);
/* verify_yaml.c: out of these two; ERR_USAGE: it is no YAML. Nothing found is no error. */
int verify_config(const char *path, struct texts *words, struct err *err) MUST_CHECK;
int verify_manifest(const char *path, struct texts *words, struct err *err) MUST_CHECK;
void verify_free(struct verify *verify);

#endif
