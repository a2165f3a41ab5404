/*
 * verify.c - see verify.h. Two sides, each a serving pair, maybe another for dialling, and a trust
 * file; what only flags can get wrong is in verify_flags.c.
 */
#include "common/base/file.h"
#include "common/base/limits.h"
#include "etcd-pki/verify.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

struct pair { /* what was read of one pair */
    const char *file, *key_file, *flag, *key_flag;
    char *path, *key_path; /* owned: with --root in front */
    struct x509_list chain;
    struct x509_key *key;
    struct x509_info info;
    bool read;
};

struct side {
    const char *what;   /* "client" or "peer" */
    const char *prefix; /* of the flags: "--" or "--peer-" */
    const char *cert_file, *key_file, *dial_cert_file, *dial_key_file, *ca_file, *crl_file;
    bool demands; /* client certificates */
    bool dials;   /* the member presents a certificate itself */
};

static const struct {
    const char *id, *expected;
} rules[] = {
#define RULE(id, expected) {#id, expected},
#include "etcd-pki/rules.def"
#undef RULE
};

static const char *expected_by(const char *id)
{
    const char *expected = NULL;

    for (size_t i = 0; i < ARRAY_LEN(rules) && expected == NULL; i++)
        if (strcmp(rules[i].id, id) == 0)
            expected = rules[i].expected;
    must(expected != NULL);
    return expected;
}

void verify_find(struct verify *verify, const char *id, bool error, const char *file,
                 const char *flag, const char *todo, const char *format, ...)
{
    char text[ERR_TEXT_MAX];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    verify->findings = xrealloc(verify->findings, (verify->count + 1) * sizeof *verify->findings);
    verify->findings[verify->count++] = (struct finding){.id = id,
                                                         .error = error,
                                                         .expected = expected_by(id),
                                                         .file = xstrdup(file != NULL ? file : ""),
                                                         .flag = xstrdup(flag != NULL ? flag : ""),
                                                         .found = xstrdup(text),
                                                         .todo = xstrdup(todo)};
    verify->errors += error ? 1 : 0;
}

void verify_free(struct verify *verify)
{
    for (size_t i = 0; i < verify->count; i++) {
        free(verify->findings[i].file);
        free(verify->findings[i].flag);
        free(verify->findings[i].found);
        free(verify->findings[i].todo);
    }
    free(verify->findings);
}

char *verify_path(const struct verify *verify, const char *path)
{
    const char *root = verify->settings->root, *pid = verify->settings->pid;

    if (path[0] == '/' && root != NULL)
        return xasprintf("%s%s", root, path);
    if (pid != NULL) { /* it may see another file system, and began in a directory of its own */
        char *seen = xasprintf("/proc/%s/%s%s%s", pid, path[0] == '/' ? "root" : "cwd",
                               path[0] == '/' ? "" : "/", path);

        if (access(seen, F_OK) == 0)
            return seen;
        free(seen);
    }
    return xstrdup(path);
}

/* ---- one pair: K1 to K3, C3 to C5 ---- */

static void judge_owner(struct verify *verify, const struct pair *pair)
{
    const char *slash = strrchr(pair->key_path, '/');
    char *parent = slash != NULL && slash != pair->key_path
                       ? xstrndup(pair->key_path, (size_t)(slash - pair->key_path))
                       : xstrdup(slash != NULL ? "/" : ".");
    struct stat key, directory;

    if (stat(pair->key_path, &key) == 0 && stat(parent, &directory) == 0 &&
        key.st_uid != directory.st_uid)
        verify_find(verify, "K3", false, pair->key_file, pair->key_flag,
                    "chown the key to who runs etcd", "belongs to user %u, its directory to %u",
                    (unsigned)key.st_uid, (unsigned)directory.st_uid);
    free(parent);
}

static void judge_key(struct verify *verify, struct pair *pair)
{
    struct err err = ERR_INIT;
    struct stat info;

    if (x509_key_read(pair->key_path, &pair->key, &err) < 0) {
        verify_find(verify, "K1", true, pair->key_file, pair->key_flag,
                    "give the key in plain: RSA, P-256, P-384, P-521 or Ed25519", "%s", err.text);
        return;
    }
    if (!x509_has_key(pair->chain.items[0], pair->key))
        verify_find(verify, "K2", true, pair->key_file, pair->key_flag,
                    "put the leaf first into the certificate file, or find its own key",
                    "is not the key of the first certificate in %s (%s)", pair->file,
                    pair->info.subject);
    if (strcmp(pair->path, pair->key_path) != 0 && stat(pair->key_path, &info) == 0 &&
        (info.st_mode & 077) != 0)
        verify_find(verify, "K3", false, pair->key_file, pair->key_flag,
                    "chmod 600 it; the group or others can use the key", "has mode %04o",
                    info.st_mode & 07777);
    judge_owner(verify, pair);
}

/* Go does not see the block behind one; OpenSSL does, and so etcd-server. */
static void judge_mark(struct verify *verify, const char *id, bool error, const char *path,
                       const char *file, const char *flag)
{
    struct buf text = BUF_INIT(PEM_FILE_MAX_BYTES);
    struct err err = ERR_INIT;

    if (file_read_all(path, &text, &err) == 0 && buf_used(&text) > 3 &&
        memcmp(buf_slice(&text).data, "\xef\xbb\xbf-", 4) == 0)
        verify_find(verify, id, error, file, flag, "save it without the mark",
                    "begins with a byte order mark: etcd does not see its first block");
    x509_wipe(&text);
}

static void judge_dates(struct verify *verify, const char *file, const char *flag,
                        const struct x509_info *info)
{
    if (verify->at_s > info->not_after_s)
        verify_find(verify, "C3", true, file, flag, "renew it", "%s expired on %s", info->subject,
                    info->not_after);
    else if (verify->at_s < info->not_before_s)
        verify_find(verify, "C3", true, file, flag, "set the clock, or make it again",
                    "%s is not valid before %s", info->subject, info->not_before);
    else if (info->not_after_s - verify->at_s < verify->warn_s)
        verify_find(verify, "C3", false, file, flag, "renew it soon", "%s expires on %s",
                    info->subject, info->not_after);
}

static void judge_strength(struct verify *verify, const char *file, const char *flag,
                           const struct x509_info *info)
{
    if (info->weak_hash && !info->self_issued)
        verify_find(verify, "C4", true, file, flag, "sign it again with SHA-256",
                    "%s is signed with %s; everybody refuses that", info->subject, info->signature);
    if (strncmp(info->key, "RSA-", 4) == 0 && info->key_bits < 2048)
        verify_find(verify, "C4", false, file, flag, "make a key of 2048 bits or more",
                    "%s has a key of kind %s", info->subject, info->key);
    if (info->serial_bad)
        verify_find(verify, "C5", false, file, flag, "make it again",
                    "%s has the serial %s; newer programs refuse it", info->subject, info->serial);
}

static void read_pair(struct verify *verify, struct pair *pair)
{
    struct err err = ERR_INIT;

    pair->path = verify_path(verify, pair->file);
    pair->key_path = verify_path(verify, pair->key_file);
    if (x509_list_read(pair->path, false, &pair->chain, &err) < 0) {
        verify_find(verify, "C1", true, pair->file, pair->flag, "give a PEM certificate", "%s",
                    err.text);
        return;
    }
    x509_describe(pair->chain.items[0], &pair->info);
    pair->read = true;
    judge_key(verify, pair);
    judge_mark(verify, "C1", true, pair->path, pair->file, pair->flag);
    if (strcmp(pair->path, pair->key_path) != 0)
        judge_mark(verify, "K1", true, pair->key_path, pair->key_file, pair->key_flag);
    judge_dates(verify, pair->file, pair->flag, &pair->info);
    judge_strength(verify, pair->file, pair->flag, &pair->info);
    for (size_t i = 0; i + 1 < pair->chain.count; i++) {
        struct x509_info lower, upper;

        x509_describe(pair->chain.items[i], &lower);
        x509_describe(pair->chain.items[i + 1], &upper);
        if (strcmp(lower.issuer, upper.subject) != 0)
            verify_find(verify, "C2", false, pair->file, pair->flag,
                        "put the leaf first, then each issuer in turn, and no others; programs "
                        "that are stricter than Go's refuse it",
                        "certificate %zu (%s) is not the issuer of the one before it (%s)", i + 2,
                        upper.subject, lower.subject);
        x509_info_free(&lower);
        x509_info_free(&upper);
    }
}

static void drop_pair(struct pair *pair)
{
    x509_list_free(&pair->chain);
    x509_key_free(pair->key);
    x509_info_free(&pair->info);
    free(pair->path);
    free(pair->key_path);
}

/* ---- against the trust file: C1, C5, U1 to U3, T1, R1, R2 ---- */

static bool any_valid(const struct verify *verify, const struct x509_list *anchors)
{
    bool any = false;

    for (size_t i = 0; i < anchors->count && !any; i++) {
        struct x509_info info;

        x509_describe(anchors->items[i], &info);
        any = verify->at_s >= info.not_before_s && verify->at_s <= info.not_after_s;
        x509_info_free(&info);
    }
    return any;
}

/* One that is out of date harms only what hangs on it, as long as another is valid. */
static void judge_anchor_dates(struct verify *verify, const char *file, const char *flag,
                               const struct x509_info *info, bool others)
{
    if (!others || (verify->at_s >= info->not_before_s && verify->at_s <= info->not_after_s))
        judge_dates(verify, file, flag, info);
    else
        verify_find(verify, "C3", false, file, flag, "take it out if nothing needs it any longer",
                    "%s (serial %s) is valid from %s to %s only: what it has signed is refused",
                    info->subject, info->serial, info->not_before, info->not_after);
}

static void judge_trust(struct verify *verify, const struct side *side, struct x509_list *anchors)
{
    char *path = verify_path(verify, side->ca_file),
         *flag = xasprintf("%strusted-ca-file", side->prefix);
    struct err err = ERR_INIT;

    if (x509_list_read(path, true, anchors, &err) < 0)
        verify_find(verify, "T1", true, side->ca_file, flag,
                    "give PEM certificates and nothing else", "%s", err.text);
    else
        judge_mark(verify, "T1", anchors->count == 1, path, side->ca_file, flag);
    for (size_t i = 0; i < anchors->count; i++) {
        struct x509_info info;

        x509_describe(anchors->items[i], &info);
        judge_anchor_dates(verify, side->ca_file, flag, &info, any_valid(verify, anchors));
        judge_strength(verify, side->ca_file, flag, &info);
        x509_info_free(&info);
    }
    free(path);
    free(flag);
}

/* A leaf that ends after a CA of its issuer's name. */
static void judge_ends(struct verify *verify, const struct pair *pair,
                       const struct x509_list *anchors)
{
    for (size_t i = 0; i < anchors->count; i++) {
        struct x509_info info;

        x509_describe(anchors->items[i], &info);
        if (strcmp(info.subject, pair->info.issuer) == 0 &&
            info.not_after_s < pair->info.not_after_s)
            verify_find(verify, "C5", false, pair->file, pair->flag,
                        "renew the CA first; the certificate ends with it",
                        "%s is valid until %s, its CA only until %s", pair->info.subject,
                        pair->info.not_after, info.not_after);
        x509_info_free(&info);
    }
}

/* needed: somebody judges this pair by this trust file; else it is only likely to be meant so. */
static void judge_chain(struct verify *verify, const struct pair *pair,
                        const struct x509_list *anchors, unsigned usage, bool needed)
{
    struct err err = ERR_INIT;

    if (x509_chain_check(&pair->chain, anchors, usage, &err) < 0)
        verify_find(verify, "C1", needed, pair->file, pair->flag,
                    needed ? "reissue it with the CA of the trust file, or add its CA and "
                             "intermediates"
                           : "nothing, if clients are told to trust another CA than the member "
                             "does; else reissue it with that one",
                    "%s", err.text);
    else if (x509_chain_dates(&pair->chain, anchors, verify->at_s, &err) < 0)
        verify_find(verify, "C3", needed, pair->file, pair->flag, "renew that CA", "%s", err.text);
    judge_ends(verify, pair, anchors);
}

/*
 * Clients judge the serving pair by a trust file of their own, which mostly is this one. etcd holds
 * it against this one where it calls itself with it; members each other's in any case.
 */
static void judge_chains(struct verify *verify, const struct side *side, const struct pair *serving,
                         const struct pair *dialling, const struct x509_list *anchors)
{
    bool own = side->dials && dialling == serving; /* the same pair for both */
    struct err err = ERR_INIT;

    if (anchors->count == 0)
        return;
    if (serving->read)
        judge_chain(verify, serving, anchors, X509_SERVER, own || strcmp(side->what, "peer") == 0);
    /* ... and what these CAs have signed has to be taken as a client's */
    if (serving->read && side->demands &&
        x509_chain_check(&serving->chain, anchors, X509_SERVER, &err) == 0 &&
        x509_chain_check(&serving->chain, anchors, X509_CLIENT, &err) < 0)
        verify_find(verify, "C1", true, serving->file, serving->flag,
                    "reissue it with a CA for clients too", "%s", err.text);
    if (side->dials && dialling->read && dialling != serving)
        judge_chain(verify, dialling, anchors, X509_CLIENT, true);
}

static void judge_usages(struct verify *verify, const struct side *side, const struct pair *serving,
                         const struct pair *dialling)
{
    bool peer = strcmp(side->what, "peer") == 0;

    if (serving->read && serving->info.usages != 0 &&
        (serving->info.usages & (X509_SERVER | X509_ANY)) == 0)
        verify_find(verify, "U1", true, serving->file, serving->flag, "reissue it with serverAuth",
                    "has %s only; clients refuse it as a server's", serving->info.extended_usage);
    if (!side->dials || !dialling->read || dialling->info.usages == 0 ||
        (dialling->info.usages & (X509_CLIENT | X509_ANY)) != 0)
        return;
    if (peer)
        verify_find(verify, "U3", true, dialling->file, dialling->flag,
                    "reissue it with clientAuth, or give --peer-client-cert-file",
                    "has %s only; the member dials its peers with it and they refuse it",
                    dialling->info.extended_usage);
    else
        verify_find(
            verify, "U2", true, dialling->file, dialling->flag,
            "reissue it with clientAuth (etcd-pki renew NAME --eku server,client), or give etcd "
            "--client-cert-file",
            "has %s only; with client certificates demanded the gRPC gateway uses it as a "
            "client certificate and fails with \"bad certificate\"",
            dialling->info.extended_usage);
}

static void judge_crl(struct verify *verify, const struct side *side, const struct pair *pair,
                      const struct x509_list *anchors)
{
    char *path = verify_path(verify, side->crl_file),
         *flag = xasprintf("--%s-crl-file", side->what);
    struct err err = ERR_INIT;
    bool revoked = false;

    verify_crl(verify, path, side->crl_file, flag, anchors);
    if (x509_revoked(path, pair->chain.items[0], &revoked, &err) == 0 && revoked)
        verify_find(verify, "R2", true, pair->file, pair->flag, "reissue it",
                    "%s (serial %s) is revoked by %s", pair->info.subject, pair->info.serial,
                    side->crl_file);
    free(path);
    free(flag);
}

/* ---- names: N1, N2 ---- */

static bool everywhere(const char *host)
{
    return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
}

static void judge_url(struct verify *verify, const char *id, const struct pair *pair,
                      const char *url, const char *flag)
{
    char *host = url_host(url);

    if (strncmp(url, "https://", 8) == 0 && host != NULL && !everywhere(host) &&
        !x509_fits_host(pair->chain.items[0], host))
        verify_find(verify, id, true, pair->file, flag,
                    x509_is_address(host)
                        ? "reissue it with that address as an IP SAN (--ip)"
                        : "reissue it with that name as a DNS SAN (--dns); a CN does not count",
                    "is not valid for %s of %s; its names are %s", host, url, pair->info.sans);
    free(host);
}

static void judge_urls(struct verify *verify, const char *id, const struct pair *pair,
                       const char *urls, const char *flag)
{
    struct texts list = {0};

    if (urls == NULL || !pair->read)
        return;
    texts_add_list(&list, urls);
    for (size_t i = 0; i < list.count; i++)
        judge_url(verify, id, pair, list.items[i], flag);
    texts_free(&list);
}

/* This member's own entries of --initial-cluster. */
static void judge_initial_cluster(struct verify *verify, const struct pair *pair)
{
    const char *name = verify->name != NULL ? verify->name : "default";
    size_t bytes = strlen(name);
    struct texts list = {0};

    if (verify->initial_cluster == NULL || !pair->read)
        return;
    texts_add_list(&list, verify->initial_cluster);
    for (size_t i = 0; i < list.count; i++)
        if (strncmp(list.items[i], name, bytes) == 0 && list.items[i][bytes] == '=')
            judge_url(verify, "N2", pair, list.items[i] + bytes + 1, "--initial-cluster");
    texts_free(&list);
}

struct names { /* of a certificate */
    size_t dns, ips;
};

static void count_name(void *arg, char kind, const char *text)
{
    struct names *names = arg;

    (void)text;
    names->dns += kind == 'D' ? 1 : 0;
    names->ips += kind == 'I' ? 1 : 0;
}

/* The source address of this member's calls has to fit its certificate (pki.md 2.5). */
static void judge_source(struct verify *verify, const struct pair *pair)
{
    struct names names = {0};
    char *host = verify->peer_urls != NULL ? url_host(verify->peer_urls) : NULL;

    x509_sans_each(pair->chain.items[0], count_name, &names);
    if (verify->skip_san || verify->skip_san_old || host == NULL)
        ;
    else if (names.ips != 0 && strncmp(host, "127.", 4) == 0 &&
             !x509_fits_host(pair->chain.items[0], "127.0.0.1"))
        verify_find(verify, "N3", false, pair->file, pair->flag,
                    "reissue it with 127.0.0.1 among its addresses",
                    "calls over loopback come from 127.0.0.1, which is none of %s; peers refuse "
                    "them, unless a name of it resolves to that",
                    pair->info.sans);
    else if (names.ips == 0 && names.dns != 0)
        verify_find(
            verify, "N3", false, pair->file, pair->flag, "reissue it with the host's addresses",
            "has names only (%s); etcd looks them up in DNS at every connection", pair->info.sans);
    free(host);
}

static void judge_local(struct verify *verify, const struct pair *pair)
{
    struct texts urls = {0};

    if (verify->listen_client_urls != NULL)
        texts_add_list(&urls, verify->listen_client_urls);
    for (size_t i = 0; i < urls.count; i++) {
        char *host = url_host(urls.items[i]);

        if (host != NULL && everywhere(host) && strncmp(urls.items[i], "https", 5) == 0 &&
            !x509_fits_host(pair->chain.items[0], "127.0.0.1") &&
            !x509_fits_host(pair->chain.items[0], "localhost"))
            verify_find(verify, "N4", false, pair->file, pair->flag,
                        "reissue it with localhost and 127.0.0.1",
                        "etcd listens on loopback too, but the certificate is valid for %s only",
                        pair->info.sans);
        free(host);
    }
    texts_free(&urls);
}

void verify_allowed(struct verify *verify, const struct x509_cert *cert,
                    const struct x509_info *info, const char *file)
{
    struct texts cns = {0}, hosts = {0};
    bool fits = false;

    if (verify->peer_allowed_cn != NULL)
        texts_add_list(&cns, verify->peer_allowed_cn);
    if (verify->peer_allowed_hostname != NULL)
        texts_add_list(&hosts, verify->peer_allowed_hostname);
    for (size_t i = 0; i < cns.count; i++)
        fits = fits || strcmp(cns.items[i], info->cn) == 0;
    for (size_t i = 0; i < hosts.count; i++)
        fits = fits || x509_fits_host(cert, hosts.items[i]);
    if (cns.count + hosts.count != 0 && !fits)
        verify_find(verify, "P1", true, file,
                    cns.count != 0 ? "--peer-cert-allowed-cn" : "--peer-cert-allowed-hostname",
                    "put every member's own certificate on the list",
                    "is %s with %s, which the list does not allow: both ends apply it",
                    info->subject, info->sans);
    texts_free(&cns);
    texts_free(&hosts);
}

/* ---- the sides ---- */

static void judge_names(struct verify *verify, const struct side *side, const struct pair *serving)
{
    if (strcmp(side->what, "client") == 0) {
        judge_urls(verify, "N1", serving, verify->listen_client_urls, "--listen-client-urls");
        judge_urls(verify, "N1", serving, verify->advertise_client_urls, "--advertise-client-urls");
        if (serving->read)
            judge_local(verify, serving);
    } else {
        if (serving->read) {
            judge_source(verify, serving);
            verify_allowed(verify, serving->chain.items[0], &serving->info, serving->file);
        }
        judge_urls(verify, "N2", serving, verify->peer_urls, "--initial-advertise-peer-urls");
        judge_initial_cluster(verify, serving);
    }
}

static void judge_side(struct verify *verify, const struct side *side)
{
    char *cert_flag = xasprintf("%scert-file", side->prefix),
         *key_flag = xasprintf("%skey-file", side->prefix);
    char *dial_flag = xasprintf("%sclient-cert-file", side->prefix);
    char *dial_key_flag = xasprintf("%sclient-key-file", side->prefix);
    struct pair serving = {.file = side->cert_file,
                           .key_file = side->key_file,
                           .flag = cert_flag,
                           .key_flag = key_flag};
    struct pair other = {.file = side->dial_cert_file,
                         .key_file = side->dial_key_file,
                         .flag = dial_flag,
                         .key_flag = dial_key_flag};
    const struct pair *dialling = side->dial_cert_file != NULL ? &other : &serving;
    struct x509_list anchors = {0};

    if (side->cert_file != NULL && side->key_file != NULL)
        read_pair(verify, &serving);
    if (side->dial_cert_file != NULL && side->dial_key_file != NULL)
        read_pair(verify, &other);
    if (side->ca_file != NULL)
        judge_trust(verify, side, &anchors);
    judge_chains(verify, side, &serving, dialling, &anchors);
    judge_usages(verify, side, &serving, dialling);
    judge_names(verify, side, &serving);
    if (side->crl_file != NULL && serving.read)
        judge_crl(verify, side, &serving, &anchors);
    drop_pair(&serving);
    drop_pair(&other);
    x509_list_free(&anchors);
    free(cert_flag);
    free(key_flag);
    free(dial_flag);
    free(dial_key_flag);
}

void verify_rules(struct verify *verify)
{
    bool demands = verify->client_cert_auth || verify->ca_file != NULL;

    verify_flags(verify);
    judge_side(verify, &(struct side){.what = "client",
                                      .prefix = "--",
                                      .cert_file = verify->cert_file,
                                      .key_file = verify->key_file,
                                      .dial_cert_file = verify->client_cert_file,
                                      .dial_key_file = verify->client_key_file,
                                      .ca_file = verify->ca_file,
                                      .crl_file = verify->crl_file,
                                      .demands = demands,
                                      .dials = demands && verify->gateway});
    judge_side(verify, &(struct side){.what = "peer",
                                      .prefix = "--peer-",
                                      .cert_file = verify->peer_cert_file,
                                      .key_file = verify->peer_key_file,
                                      .dial_cert_file = verify->peer_client_cert_file,
                                      .dial_key_file = verify->peer_client_key_file,
                                      .ca_file = verify->peer_ca_file,
                                      .crl_file = verify->peer_crl_file,
                                      .demands = verify->peer_client_cert_auth ||
                                                 verify->peer_ca_file != NULL,
                                      .dials = true});
}
