/*
 * pki.h - what the commands of etcd-pki share: the parsed command line, the roles, and the plan of
 * files to make. A plan is judged as a whole before anything is written: a set that is there and
 * fits is kept, one that does not fit is described and left alone.
 */
#ifndef ETCD_PKI_PKI_H
#define ETCD_PKI_PKI_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/tls/x509.h"

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

/* ---- what was done, as JSON (report.c); a row that is NULL takes and gives nothing ---- */

bool says(const struct settings *settings); /* in words: neither -q nor -o json */
void report_begin(struct settings *settings);
void report_drop(struct settings *settings);
/* A new row of that list of `in`; borrowed. */
struct json_t *report_row(struct json_t *in, const char *list);
/* The same for "files": DIR/BASE and extension; dir NULL: BASE alone. */
struct json_t *report_file(const struct settings *settings, const char *dir, const char *base,
                           const char *extension, const char *action);
void report_text(struct json_t *row, const char *key, const char *text);
void report_number(struct json_t *row, const char *key, int64_t number);
void report_flag(struct json_t *row, const char *key, bool flag);
void report_cert(struct json_t *row, const struct x509_cert *cert);
void report_print(const struct settings *settings, bool ok);
/* say(), and in the report as "error". */
int fail(const struct settings *settings, const struct err *err);
/* A text of anybody's as JSON; what is not UTF-8 becomes U+FFFD. New. */
struct json_t *json_text(const char *text);
void json_put(struct json_t *json); /* taken: printed as the whole of the output */

/* ---- CAs that sign (store.c) ---- */

struct loaded_ca {
    char *base;
    struct x509_list certs;
    struct x509_key *key;
};
struct ca_ring { /* each is read, opened and checked once */
    struct loaded_ca *items;
    size_t count;
};
/* The CA `dir`/`base`, checked; borrowed from the ring until the next call. NULL: err says why. */
const struct loaded_ca *ca_ring_load(struct ca_ring *ring, const struct settings *settings,
                                     const char *dir, const char *base, int64_t now_s,
                                     struct err *err);
void ca_ring_free(struct ca_ring *ring);

/* ---- the passphrase of CA keys (passphrase.c) ---- */

/* From the flags, else the environment, into settings->passphrase. */
int passphrase_take(struct settings *settings, struct err *err) MUST_CHECK;
int passphrase_missing(const char *path, struct err *err); /* -1, and how to give one */
/* A CA's key, which may be locked; it is written back the way it was. */
int ca_key_read(const char *path, const char *passphrase, struct x509_key **key,
                struct err *err) MUST_CHECK;

/* ---- the plan ---- */

enum item_kind { ITEM_PAIR, ITEM_COPY, ITEM_SERVICE_ACCOUNT, ITEM_TEXT };
struct item {
    enum item_kind kind;
    bool ca, crl_sign;
    bool external; /* found: a CA certificate without key */
    bool kept;     /* found: complete and as wanted */
    char *base;    /* path below the directory without extension; ITEM_COPY, ITEM_TEXT: with it */
    char *issuer;  /* base of the CA; NULL: itself. ITEM_COPY: what is copied */
    char *text;    /* ITEM_TEXT: its content, of which an existing file may differ */
    char *cn;
    struct texts orgs;
    struct x509_sans sans;
    unsigned usages;
};
struct plan {
    const struct settings *settings;
    const char *dir;
    struct item *items;
    size_t count;
    int64_t now_s, not_before_s, leaf_end_s, ca_end_s;
    enum x509_algorithm algorithm;
    bool key_given; /* --key: an existing key has to be of that kind */
    bool any_external;
    size_t differences;
    struct ca_ring cas;
};

/* Dates and key kind of the command line; ERR_USAGE names the flag. ca_only: --validity is
 * the CA's */
int plan_init(struct plan *plan, const struct settings *settings, bool ca_only,
              struct err *err) MUST_CHECK;
/* A new item, to be filled; valid until the next one. `issuer` NULL: itself. */
struct item *plan_add(struct plan *plan, enum item_kind kind, const char *base, const char *issuer);
/* The pair of a role; cn NULL: the role's own. */
struct item *plan_add_role(struct plan *plan, const struct role *role, const char *base,
                           const char *issuer, const char *cn);
/* The pair that `issue ROLE [NAME]` and its flags describe, also for a request. */
int plan_issue(struct plan *plan, const struct settings *settings, struct err *err) MUST_CHECK;
/* Lock the directory, judge, write, say what was done; the exit status. */
int plan_carry_out(struct plan *plan);
void plan_free(struct plan *plan);

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

/* ---- the directory that is written to (store.c) ---- */

/* Make and lock it; the lock ends with the process, or when *fd is closed. */
int store_lock(const char *dir, int *fd, struct err *err) MUST_CHECK;
struct store { /* a directory that is written to, and how; all borrowed */
    const char *dir;
    const char *backup; /* where what is replaced is kept; NULL: DIR/.old/TIME */
    bool follow;        /* --follow: replace what symbolic links point to */
    int64_t now_s;
};
/*
 * Keep a copy of what will be replaced; absent is fine.
 * made  the copy's path, owned, NULL if there was nothing to copy; NULL: not wanted
 */
int store_back_up(const struct store *store, const char *base, const char *extension, char **made,
                  struct err *err) MUST_CHECK;
/*
 * The file to be replaced or made: `path`, or what the symbolic link there ends at. Refused are a
 * link without `follow`, one that ends nowhere, what is no regular file, and for a `secret` a
 * directory to which everybody can write.
 * target  set on success only; owned
 */
int store_target(const char *path, bool follow, bool secret, char **target,
                 struct err *err) MUST_CHECK;
/* file_write_atomic() to the target of `path`; nothing secret. */
int store_write(const char *path, struct slice content, unsigned mode, bool replace, bool follow,
                struct err *err) MUST_CHECK;
/* The CA that signs, checked; both owned. passphrase: of its key; NULL: none. */
int store_load_ca(const char *dir, const char *base, const char *passphrase, int64_t now_s,
                  struct x509_list *certs, struct x509_key **key, struct err *err) MUST_CHECK;
struct staged { /* a pair that is complete on disk under temporary names, with its backups */
    char *key_path, *cert_path;
    char *new_key, *new_cert; /* NULL: no key; in place */
    char *backups[2];         /* NULL: none, or to be kept */
    const char *root;         /* directories made for backups lie below it; borrowed */
    bool key_followed;        /* the key was reached by a symbolic link */
};
/*
 * Half of store_replace(), for several pairs at once: all staged, then all put in place.
 * store_drop() in any case: what was not put in place is removed, backups too.
 */
int store_stage(const struct store *store, const char *base, const struct x509_key *key,
                const struct x509_list *certs, struct staged *staged, struct err *err) MUST_CHECK;
/* Refused: two of them would replace one key, by a symbolic link. */
int store_check_keys(const struct staged *staged, size_t count, struct err *err) MUST_CHECK;
int store_put_in_place(struct staged *staged, struct err *err) MUST_CHECK;
void store_drop(struct staged *staged);
/*
 * Replace what is there, key first, then certificate, back to back, when both are complete on disk.
 * key NULL: the certificate alone. `certs` in this order. What was there is backed up.
 */
int store_replace(const struct store *store, const char *base, const struct x509_key *key,
                  const struct x509_list *certs, struct err *err) MUST_CHECK;
/*
 * After a run that was killed: put the certificate in place that waits for a key which is there
 * already, and remove temporary files of the pair. *healed: something was put in place. A locked
 * key without its passphrase leaves all as it is.
 */
int store_heal(const struct store *store, const char *base, const char *passphrase, bool *healed,
               struct err *err) MUST_CHECK;
#define ROTATION_FILE "rotation.json"
/* Remove half-written copies in .old, and of ROTATION_FILE. */
void store_sweep(const char *dir);
/* Where in .old the certificate of this key is, or the key of this certificate; owned, or NULL. */
char *store_backup_of(const char *dir, const char *base, const char *passphrase);

/* ---- what is in a directory (scan.c) ---- */

struct entry {
    char *base; /* below the directory, without extension */
    char *path;
    char *name;  /* kubeadm's, or the base */
    char *error; /* it cannot be read: why; then nothing below is set */
    bool missing;
    struct x509_list chain;
    struct x509_info info;
    bool kubeconfig, key_there;
    bool key_fits;   /* or it is locked and nobody gave the passphrase: then it counts as fitting */
    bool key_locked; /* ... and that is so */
    char *key_error; /* it cannot be read: why */
    const struct entry *ca;      /* who issued it, if that is here; itself for a CA */
    const struct entry *same_as; /* whose file this is, by a symbolic link; NULL: its own */
    bool link;
    uint64_t device, inode; /* of the file itself */
};
struct scan {
    const char *dir;
    const char *passphrase; /* of CA keys; borrowed, or NULL */
    struct entry *items;    /* sorted by base */
    size_t count;
};
/* Names below `root` that end in `extension`, in readdir's order; dot files are passed over. */
int scan_find(const char *root, const char *extension, struct texts *found,
              struct err *err) MUST_CHECK;
/* Every .crt below `dir`, and the issuers among them. */
int scan_directory(const char *dir, const char *passphrase, struct scan *scan,
                   struct err *err) MUST_CHECK;
/* Add one file, a kubeconfig too; an absent one is added as missing. base NULL: `path` itself. */
void scan_add(struct scan *scan, const char *base, const char *path);
void scan_sort(struct scan *scan);                                   /* and find who issued what */
struct entry *scan_named(const struct scan *scan, const char *name); /* name or base; NULL: none */
void scan_free(struct scan *scan);

/* ---- small things ---- */

int take_at(const struct settings *settings, int64_t *at_s, struct err *err) MUST_CHECK; /* --at */

int say(const struct err *err); /* "etcd-pki: ..." on stderr; EXIT_USAGE for ERR_USAGE, else 1 */
void say_no_client_auth(const char *name, bool peer); /* what it means that a server has none */
/* "8760h", "365d", "1y", "90m"; several parts add up; more than zero, at most 1000 years. */
int parse_duration(const char *flag, const char *text, int64_t *seconds,
                   struct err *err) MUST_CHECK;
int64_t clock_s(void);
const char *writing_dir(const struct settings *settings);
const char *reading_dir(const struct settings *settings);
int add_sans(struct x509_sans *sans, const struct texts *texts, const char *flag,
             struct err *err) MUST_CHECK;
/* The host of "https://host:port", "[::1]:1" or "host"; owned; NULL when there is none. */
char *url_host(const char *url);
char *host_in_url(const char *host); /* an IPv6 address in brackets; owned */
bool wants_json(const struct settings *settings, struct err *err, bool *bad);
char *residual(int64_t until_s, int64_t now_s); /* "364d", "<invalid>"; owned */

command_fn cmd_init, cmd_issue, cmd_cluster, cmd_kubeadm, cmd_show, cmd_describe, cmd_verify,
    cmd_flags, cmd_certificate_key, cmd_check, cmd_check_expiration, cmd_renew, cmd_renew_ca,
    cmd_revoke, cmd_crl, cmd_csr, cmd_sign, cmd_rotate_ca, cmd_probe, cmd_version;

#endif
