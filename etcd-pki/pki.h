/*
 * pki.h - what the commands of etcd-pki share: the parsed command line, the roles, lists
 * of texts, times and hosts. What a directory holds is scan.h, what is written plan.h and store.h,
 * what was done report.h. Thread: main. Errors: ERR_USAGE what was given; of files those of file.h,
 * of what is in them those of x509.h.
 */
#ifndef ETCD_PKI_PKI_H
#define ETCD_PKI_PKI_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/tls/x509.h"

#define WARN_S_DEFAULT (30LL * 86400) /* before the end of a certificate */
#define PROBE_TIMEOUT_S_DEFAULT 5

/* pki.md 4.9 */
enum pki_exit {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,   /* could not do it */
    EXIT_USAGE = 2,    /* unknown verb or flag, a name that is no name */
    EXIT_FINDING = 3,  /* checked and found an error */
    EXIT_WARNINGS = 4, /* checked and found warnings only */
};

struct texts { /* a growing list; the texts are owned */
    char **items;
    size_t count;
};
void texts_add(struct texts *texts, const char *text);
void texts_add_list(struct texts *texts, const char *list); /* separated by commas; blanks cut */
void texts_free(struct texts *texts);

struct settings { /* the command line; texts borrowed from argv */
    const char *dir, *output, *key, *validity, *ca_validity, *not_after, *backdate;
    const char *cn, *ca, *out, *initial_cluster, *node_name, *advertise_address;
    const char *control_plane_endpoint, *service_cidr, *dns_domain, *kubernetes_version;
    const char *at, *root, *days, *format, *warn;
    const char *crit, *prometheus, *if_expiring, *backup_dir, *serial, *reason, *next_update, *pem;
    const char *role, *san_rule, *endpoints, *cacert, *cert, *timeout;
    const char *manifest, *etcd_config, *env_file, *pid, *etcd_version, *expect;
    const char *passphrase_file, *passphrase_fd, *kubeadm_config;
    struct texts org, ip, dns, san, member, client, eku;
    struct texts server_sans, peer_sans, apiserver_sans;
    bool force, dry_run, quiet, help, version, crl_sign, no_client_auth, kubernetes, with_ca_key;
    bool flags_file;
    bool external_etcd, no_clamp, normalise, nagios, reuse_key, peer, kubeadm_tables, follow;
    struct texts args;         /* what is no flag */
    struct texts after;        /* behind "--" */
    struct texts config_texts; /* of kubeadm's file; others borrow them */
    char *passphrase;          /* of CA keys; owned, wiped; NULL: none was given */
    struct json_t *report;     /* owned; NULL: text is wanted */
};
typedef int command_fn(struct settings *settings);

enum role_sans { SANS_CN, SANS_MEMBER, SANS_APISERVER, SANS_GIVEN };
enum role_id {
#define ROLE(id, name, other, file, cn, usages, sans, issuer) ROLE_##id,
#include "etcd-pki/profiles.def"
#undef ROLE
    ROLES
};
struct role {
    const char *name, *other, *file, *cn;
    unsigned usages;
    enum role_sans sans;
    enum role_id issuer; /* itself: a CA */
};
const struct role *role_at(enum role_id id);
bool role_is_ca(const struct role *role);
const struct role *role_named(const char *name); /* NULL: none */
/* The role whose default file is `base`, e.g. "etcd/server"; NULL: none. */
const struct role *role_of_file(const char *base);

/* ---- the passphrase of CA keys (passphrase.c) ---- */

/* From the flags, else the environment, into settings->passphrase. */
int passphrase_take(struct settings *settings, struct err *err) MUST_CHECK;
int passphrase_missing(const char *path, struct err *err); /* -1, and how to give one */
/* A CA's key, which may be locked; it is written back the way it was. */
int ca_key_read(const char *path, const char *passphrase, struct x509_key **key,
                struct err *err) MUST_CHECK;

/* Read settings->kubeadm_config into settings; flags given stay. (kubeadm_config.c) */
int kubeadm_config(struct settings *settings, struct err *err) MUST_CHECK;

/* ---- how etcd is called with a member's files (cmd_flags.c) ---- */

struct member_flags {  /* texts owned by whom fills it */
    char *dir, *name;  /* where the files are */
    char *host, *bind; /* as in a URL: what clients are told, where the member listens */
    char *peer_urls, *listen_peer_urls;
    char *initial_cluster; /* NULL: not known */
    struct texts given;    /* "--name=m1": what etcd.env says instead */
};
/* Lines for an environment file. */
void member_flags_env(const struct member_flags *set, struct buf *out);

/* ---- settings.c ---- */

const char *writing_dir(const struct settings *settings);
const char *reading_dir(const struct settings *settings);
bool wants_json(const struct settings *settings, struct err *err, bool *bad);
int say(const struct err *err); /* "etcd-pki: ..." on stderr; EXIT_USAGE for ERR_USAGE, else 1 */
void say_no_client_auth(const char *name, bool peer); /* what it means that a server has none */

/* ---- times.c ---- */

int64_t clock_s(void);
int take_at(const struct settings *settings, int64_t *at_s, struct err *err) MUST_CHECK; /* --at */
/* "8760h", "365d", "1y", "90m"; several parts add up; more than zero, at most 1000 years. */
int parse_duration(const char *flag, const char *text, int64_t *seconds,
                   struct err *err) MUST_CHECK;
char *residual(int64_t until_s, int64_t now_s); /* "364d", "<invalid>"; owned */

/* ---- hosts.c ---- */

/* The host of "https://host:port", "[::1]:1" or "host"; owned; NULL when there is none. */
char *url_host(const char *url);
char *host_in_url(const char *host); /* an IPv6 address in brackets; owned */
int add_sans(struct x509_sans *sans, const struct texts *texts, const char *flag,
             struct err *err) MUST_CHECK;

command_fn cmd_init, cmd_issue, cmd_cluster, cmd_kubeadm, cmd_show, cmd_describe, cmd_verify,
    cmd_flags, cmd_certificate_key, cmd_check, cmd_check_expiration, cmd_renew, cmd_renew_ca,
    cmd_revoke, cmd_crl, cmd_csr, cmd_sign, cmd_rotate_ca, cmd_probe, cmd_version;

#endif
