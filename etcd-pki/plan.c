/*
 * plan.c - from a list of wanted files to files.
 *
 *     lock -> judge every item -> any difference? name them all, write nothing
 *                              -> none: write what is missing, CAs first (their order in the list)
 *
 * An item that is there and fits is kept; --force replaces only what does not fit, and what hung
 * below a CA that is replaced; the old files go to DIR/.old/TIME.
 */
#include "common/base/file.h"
#include "common/base/limits.h"
#include "etcd-pki/pki.h"
#include "etcd-pki/plan.h"
#include "etcd-pki/report.h"
#include "etcd-pki/store.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define LEAF_S (8760LL * 3600)
#define CA_S (87600LL * 3600)
#define BACKDATE_S 300

/* ---- settings ---- */

static int parse_days(const char *text, int64_t *seconds, struct err *err)
{
    char *days = xasprintf("%.20sd", text);
    struct err why = ERR_INIT; /* it has the days as a duration, which nobody typed */
    int rc = parse_duration("--days", days, seconds, &why);

    free(days);
    if (rc < 0)
        err_set(err, ERR_USAGE, "--days %.60s: a number of days, more than 0 and at most 365000",
                text);
    return rc;
}

static int set_ends(struct plan *plan, bool ca_only, struct err *err)
{
    const struct settings *settings = plan->settings;
    int64_t leaf_s = ca_only ? CA_S : LEAF_S, ca_s = CA_S;

    if ((settings->validity != NULL) + (settings->days != NULL) + (settings->not_after != NULL) >
        1) {
        err_set(err, ERR_USAGE, "--validity, --days and --not-after say the same; give one");
        return -1;
    }
    if ((settings->validity != NULL &&
         parse_duration("--validity", settings->validity, &leaf_s, err) < 0) ||
        (settings->days != NULL && parse_days(settings->days, &leaf_s, err) < 0) ||
        (settings->ca_validity != NULL &&
         parse_duration("--ca-validity", settings->ca_validity, &ca_s, err) < 0))
        return -1;
    plan->leaf_end_s = plan->now_s + leaf_s;
    if (settings->not_after != NULL && !x509_time_parse(settings->not_after, &plan->leaf_end_s)) {
        err_set(err, ERR_USAGE, "--not-after %.60s: write it as 2027-11-22T01:42:28Z",
                settings->not_after);
        return -1;
    }
    if (plan->leaf_end_s <= plan->now_s) {
        err_set(err, ERR_USAGE, "--not-after %.60s: that is over already", settings->not_after);
        return -1;
    }
    plan->ca_end_s = ca_only ? plan->leaf_end_s : plan->now_s + ca_s;
    return 0;
}

int plan_init(struct plan *plan, const struct settings *settings, bool ca_only, struct err *err)
{
    int64_t backdate_s = BACKDATE_S;

    *plan = (struct plan){.settings = settings,
                          .dir = writing_dir(settings),
                          .now_s = clock_s(),
                          .algorithm = X509_RSA_2048};
    if (settings->key != NULL) {
        plan->key_given = true;
        if (!x509_algorithm_parse(settings->key, &plan->algorithm) ||
            plan->algorithm == X509_ECDSA_P521) {
            err_set(err, ERR_USAGE,
                    "--key %.60s: one of RSA-2048, RSA-3072, RSA-4096, ECDSA-P256, ECDSA-P384, "
                    "ED25519",
                    settings->key);
            return -1;
        }
    }
    if (settings->backdate != NULL && strcmp(settings->backdate, "0") == 0)
        backdate_s = 0;
    else if (settings->backdate != NULL &&
             parse_duration("--backdate", settings->backdate, &backdate_s, err) < 0)
        return -1;
    plan->not_before_s = plan->now_s - backdate_s;
    return set_ends(plan, ca_only, err);
}

struct item *plan_add(struct plan *plan, enum item_kind kind, const char *base, const char *issuer)
{
    plan->items = xrealloc(plan->items, (plan->count + 1) * sizeof *plan->items);
    plan->items[plan->count] = (struct item){
        .kind = kind, .base = xstrdup(base), .issuer = issuer != NULL ? xstrdup(issuer) : NULL};
    return &plan->items[plan->count++];
}

struct item *plan_add_role(struct plan *plan, const struct role *role, const char *base,
                           const char *issuer, const char *cn)
{
    struct item *item = plan_add(plan, ITEM_PAIR, base, issuer);
    struct err err = ERR_INIT;

    item->ca = role_is_ca(role);
    item->crl_sign = item->ca && plan->settings->crl_sign;
    item->cn = xstrdup(cn != NULL ? cn : role->cn);
    item->usages = role->usages;
    if (role->sans == SANS_CN && x509_is_name(item->cn)) /* a CA called "My CA" has no such name */
        must(x509_sans_add_dns(&item->sans, item->cn, &err) == 0);
    return item;
}

void plan_free(struct plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        struct item *item = &plan->items[i];

        free(item->base);
        free(item->issuer);
        free(item->cn);
        free(item->text);
        texts_free(&item->orgs);
        x509_sans_free(&item->sans);
    }
    free(plan->items);
    ca_ring_free(&plan->cas);
    *plan = (struct plan){0};
}

/* ---- judging ---- */

static char *path_of(const struct plan *plan, const char *base, const char *extension)
{
    return xasprintf("%s/%s%s", plan->dir, base, extension);
}

static void differs(struct plan *plan, const struct item *item, const char *format, ...)
    PRINTF_LIKE(3, 4);
static void differs(struct plan *plan, const struct item *item, const char *format, ...)
{
    char text[ERR_TEXT_MAX];
    json_t *row;
    va_list args;

    plan->differences++;
    if (plan->settings->force)
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    row = report_row(plan->settings->report, "differences");
    report_text(row, "file", item->base);
    report_text(row, "found", text);
    (void)fprintf(stderr, "etcd-pki: %s%s: %s\n", item->base, item->kind == ITEM_PAIR ? ".crt" : "",
                  text);
}

static char *wanted_subject(const struct item *item)
{
    struct buf out = BUF_INIT(BUF_UNLIMITED);
    char *text;

    for (size_t i = 0; i < item->orgs.count; i++)
        (void)buf_printf(&out, "O=%s, ", item->orgs.items[i]);
    (void)buf_printf(&out, "CN=%s", item->cn);
    text = xstrdup(buf_text(&out));
    buf_free(&out);
    return text;
}

static char *wanted_sans(const struct item *item)
{
    struct buf out = BUF_INIT(BUF_UNLIMITED);
    char *text;

    for (size_t i = 0; i < item->sans.dns_count; i++)
        (void)buf_printf(&out, "%sDNS:%s", buf_used(&out) != 0 ? ", " : "", item->sans.dns[i]);
    for (size_t i = 0; i < item->sans.ips_count; i++)
        (void)buf_printf(&out, "%sIP:%s", buf_used(&out) != 0 ? ", " : "", item->sans.ips[i]);
    text = xstrdup(buf_used(&out) != 0 ? buf_text(&out) : "none");
    buf_free(&out);
    return text;
}

static void judge_issuer(struct plan *plan, const struct item *item, const struct x509_list *chain)
{
    char *path = path_of(plan, item->issuer, ".crt");
    struct x509_list anchors = {0};
    struct err err = ERR_INIT;

    for (size_t i = 0; i < plan->count; i++)
        if (strcmp(plan->items[i].base, item->issuer) == 0 && !plan->items[i].kept) {
            differs(plan, item, "is there, but its CA %s is not (or does not fit)", item->issuer);
            free(path);
            return;
        }
    if (x509_list_read(path, true, &anchors, &err) < 0 ||
        x509_chain_check(chain, &anchors, 0, &err) < 0)
        differs(plan, item, "%s", err.text);
    x509_list_free(&anchors);
    free(path);
}

static void judge_content(struct plan *plan, struct item *item, const struct x509_list *chain,
                          const struct x509_key *key)
{
    struct x509_info info;
    char *subject = wanted_subject(item), *sans = wanted_sans(item);
    size_t before = plan->differences;

    x509_describe(chain->items[0], &info);
    if (key != NULL && !x509_has_key(chain->items[0], key))
        differs(plan, item, "the key in %s.key belongs to another certificate than this one (%s)",
                item->base, info.subject);
    if (!item->any_name && strcmp(info.subject, subject) != 0)
        differs(plan, item, "is for %s, asked for is %s", info.subject, subject);
    if (!item->any_name && strcmp(info.sans, sans) != 0)
        differs(plan, item, "is valid for %s; asked for is %s", info.sans, sans);
    if (info.ca != item->ca)
        differs(plan, item, item->ca ? "is not a CA" : "is a CA, asked for is a leaf");
    if (!item->ca && info.usages != item->usages)
        differs(plan, item, "has the usages %s, asked for is %s", info.extended_usage,
                item->usages == X509_SERVER   ? "serverAuth"
                : item->usages == X509_CLIENT ? "clientAuth"
                                              : "serverAuth, clientAuth");
    if (info.not_after_s < plan->now_s)
        differs(plan, item, "expired on %s", info.not_after);
    if (plan->key_given && !item->any_name &&
        strcasecmp(info.key, x509_algorithm_name(plan->algorithm)) != 0)
        differs(plan, item, "has a key of kind %s, asked for is %s", info.key,
                x509_algorithm_name(plan->algorithm));
    if (item->issuer != NULL)
        judge_issuer(plan, item, chain);
    item->kept = plan->differences == before;
    x509_info_free(&info);
    free(subject);
    free(sans);
}

static void judge_pair(struct plan *plan, struct item *item)
{
    char *cert_path = path_of(plan, item->base, ".crt"),
         *key_path = path_of(plan, item->base, ".key");
    bool cert_there = file_exists(cert_path), key_there = file_exists(key_path);
    const char *passphrase = plan->settings->passphrase;
    struct x509_list chain = {0};
    struct x509_key *key = NULL;
    struct err err = ERR_INIT;
    bool locked = false;

    if (!cert_there && !key_there)
        goto out;
    if (!cert_there) {
        differs(plan, item, "is missing although %s.key is there", item->base);
    } else if (!key_there && !(item->ca && plan->any_external)) {
        differs(plan, item, "is there, but its key %s.key is missing", item->base);
    } else if (x509_list_read(cert_path, false, &chain, &err) < 0 ||
               (key_there && (item->ca ? x509_key_open(key_path, passphrase, &key, &locked, &err)
                                       : x509_key_read(key_path, &key, &err)) < 0)) {
        differs(plan, item, "%s", err.text);
    } else if (key_there && item->ca && passphrase != NULL && !locked) {
        differs(plan, item,
                "its key %s.key is not locked with a passphrase, but one was given; lock it: "
                "openssl pkcs8 -topk8 -v2 aes-256-cbc -iter %d -in FILE -out FILE",
                item->base, PASSPHRASE_ROUNDS);
    } else {
        item->external = !key_there;
        judge_content(plan, item, &chain, key);
    }
out:
    x509_list_free(&chain);
    x509_key_free(key);
    free(cert_path);
    free(key_path);
}

static void judge_copy(struct plan *plan, struct item *item)
{
    char *path = path_of(plan, item->base, ""), *from = path_of(plan, item->issuer, "");
    struct buf here = BUF_INIT(PEM_FILE_MAX_BYTES), there = BUF_INIT(PEM_FILE_MAX_BYTES);
    struct err err = ERR_INIT;

    if (file_exists(path)) {
        if (!file_exists(from))
            differs(plan, item, "is there, but %s, of which it is a copy, is not", item->issuer);
        else if (file_read_all(path, &here, &err) < 0 || file_read_all(from, &there, &err) < 0)
            differs(plan, item, "%s", err.text);
        else if (!slice_equal(buf_slice(&here), buf_slice(&there)))
            differs(plan, item, "differs from %s", item->issuer);
        else
            item->kept = true;
    }
    x509_wipe(&here);
    x509_wipe(&there);
    free(path);
    free(from);
}

/* What is there is the operator's, who may have changed it. */
static void judge_text(struct plan *plan, struct item *item)
{
    char *path = path_of(plan, item->base, "");
    struct buf here = BUF_INIT(PEM_FILE_MAX_BYTES);
    struct err err = ERR_INIT;

    if (file_exists(path) && file_read_all(path, &here, &err) < 0)
        differs(plan, item, "%s", err.text);
    else
        item->kept = file_exists(path) && (!plan->settings->force ||
                                           slice_equal(buf_slice(&here), slice_text(item->text)));
    buf_free(&here);
    free(path);
}

static void judge_service_account(struct plan *plan, struct item *item)
{
    char *key_path = path_of(plan, item->base, ".key"),
         *pub_path = path_of(plan, item->base, ".pub");
    bool key_there = file_exists(key_path), pub_there = file_exists(pub_path);
    struct buf wanted = BUF_INIT(PEM_FILE_MAX_BYTES), here = BUF_INIT(PEM_FILE_MAX_BYTES);
    struct x509_key *key = NULL;
    struct err err = ERR_INIT;

    if (key_there != pub_there) {
        differs(plan, item, "%s is missing", key_there ? "sa.pub" : "sa.key");
    } else if (key_there) {
        if (x509_key_read(key_path, &key, &err) < 0 || file_read_all(pub_path, &here, &err) < 0) {
            differs(plan, item, "%s", err.text);
        } else {
            x509_key_public_pem(key, &wanted);
            item->kept = slice_equal(buf_slice(&wanted), buf_slice(&here));
            if (!item->kept)
                differs(plan, item, "sa.pub is not the public half of sa.key");
        }
    }
    x509_key_free(key);
    buf_free(&wanted);
    buf_free(&here);
    free(key_path);
    free(pub_path);
}

/* ---- writing ---- */

static struct store store_of(const struct plan *plan)
{
    return (struct store){.dir = plan->dir, .follow = plan->settings->follow, .now_s = plan->now_s};
}

static int put(struct plan *plan, const char *base, const char *extension, struct slice content,
               unsigned mode, struct err *err)
{
    const struct store store = store_of(plan);
    char *path = path_of(plan, base, extension), *slash = strrchr(path, '/'), *target = NULL;
    int rc = -1;

    *slash = '\0';
    if (file_make_dirs(path, 0755, err) < 0)
        goto out;
    *slash = '/';
    if (store_target(path, store.follow, mode == 0600, &target, err) < 0)
        goto out;
    if (plan->settings->force && store_back_up(&store, base, extension, NULL, err) < 0)
        goto out;
    rc = file_write_atomic(target, content, mode, plan->settings->force, err);
out:
    free(target);
    free(path);
    return rc;
}

/* What put() would refuse, before it has written anything. */
static int check_targets(const struct plan *plan, const struct item *item, struct err *err)
{
    static const char *const extensions[][2] = {[ITEM_PAIR] = {".key", ".crt"},
                                                [ITEM_COPY] = {"", NULL},
                                                [ITEM_SERVICE_ACCOUNT] = {".key", ".pub"},
                                                [ITEM_TEXT] = {"", NULL}};
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < 2 && extensions[item->kind][i] != NULL; i++) {
        char *path = path_of(plan, item->base, extensions[item->kind][i]), *target = NULL;
        bool secret = strcmp(path + strlen(path) - 4, ".key") == 0;

        rc = store_target(path, plan->settings->follow, secret, &target, err);
        free(target);
        free(path);
    }
    return rc;
}

/* Can its CA sign, as far as that is there already? Before anything is written, too. */
static int check_issuer(struct plan *plan, const struct item *item, struct err *err)
{
    const struct item *issuer = NULL;

    for (size_t i = 0; item->kind == ITEM_PAIR && item->issuer != NULL && i < plan->count; i++)
        if (strcmp(plan->items[i].base, item->issuer) == 0)
            issuer = &plan->items[i];
    if (issuer == NULL || !issuer->kept)
        return 0;
    if (issuer->external) {
        err_set(err, ERR_MISSING,
                "%s/%s.key is not there, so nothing can be signed here: %s.crt cannot be made; "
                "bring that pair, or make a request (etcd-pki csr) and sign it where the CA's key "
                "is; nothing was written",
                plan->dir, issuer->base, item->base);
        return -1;
    }
    return plan->settings->dry_run || ca_ring_load(&plan->cas, plan->settings, plan->dir,
                                                   issuer->base, plan->now_s, err) != NULL
               ? 0
               : -1;
}

static int64_t end_of(const struct plan *plan, const struct item *item, const struct x509_cert *ca)
{
    int64_t end = item->ca ? plan->ca_end_s : plan->leaf_end_s;
    struct x509_info info;

    if (ca == NULL)
        return end;
    x509_describe(ca, &info);
    if (end > info.not_after_s) {
        if (!plan->settings->no_clamp)
            end = info.not_after_s;
        (void)fprintf(stderr, "etcd-pki: %s: %s the end of its CA, %s\n", item->base,
                      plan->settings->no_clamp ? "outlives" : "validity cut to", info.not_after);
    }
    x509_info_free(&info);
    return end;
}

static int write_made(struct plan *plan, const struct item *item, const struct x509_cert *cert,
                      const struct x509_key *key, struct err *err)
{
    struct buf cert_pem = BUF_INIT(BUF_UNLIMITED), key_pem = BUF_INIT(BUF_UNLIMITED);
    char *key_path = path_of(plan, item->base, ".key");
    int rc = -1;

    x509_cert_pem(cert, &cert_pem);
    x509_key_pem(key, &key_pem);
    if (put(plan, item->base, ".key", buf_slice(&key_pem), 0600, err) < 0)
        goto out;
    rc = put(plan, item->base, ".crt", buf_slice(&cert_pem), 0644, err);
    if (rc < 0 && !plan->settings->force)
        (void)unlink(key_path); /* ours: no certificate will ever fit it */
out:
    x509_wipe(&key_pem);
    buf_free(&cert_pem);
    free(key_path);
    return rc;
}

static int make_pair(struct plan *plan, const struct item *item, struct err *err)
{
    const struct loaded_ca *ca = NULL;
    struct x509_key *key = NULL;
    struct x509_cert *cert = NULL, *ca_cert;
    struct x509_info info;
    int rc = -1;

    if (item->issuer != NULL) {
        ca = ca_ring_load(&plan->cas, plan->settings, plan->dir, item->issuer, plan->now_s, err);
        if (ca == NULL)
            return -1;
    }
    ca_cert = ca != NULL ? ca->certs.items[0] : NULL;
    key = x509_key_new(plan->algorithm);
    if (item->ca)
        x509_key_lock(key, plan->settings->passphrase);
    if (x509_cert_new(&(struct x509_request){.cn = item->cn,
                                             .orgs = (const char *const *)item->orgs.items,
                                             .org_count = item->orgs.count,
                                             .sans = &item->sans,
                                             .usages = item->ca ? 0 : item->usages,
                                             .not_before_s = plan->not_before_s,
                                             .not_after_s = end_of(plan, item, ca_cert),
                                             .ca = item->ca,
                                             .crl_sign = item->crl_sign},
                      key, ca_cert, ca != NULL ? ca->key : key, &cert, err) < 0) {
        err_prefix(err, "%s", item->base);
        goto out;
    }
    if (write_made(plan, item, cert, key, err) < 0)
        goto out;
    rc = 0;
    x509_describe(cert, &info);
    if (says(plan->settings))
        printf("%s.crt, .key  made: %s, valid for %s, until %s\n", item->base, info.subject,
               info.sans, info.not_after);
    x509_info_free(&info);
out:
    x509_cert_free(cert);
    x509_key_free(key);
    return rc;
}

static int make_copy(struct plan *plan, const struct item *item, struct err *err)
{
    char *from = path_of(plan, item->issuer, "");
    struct buf content = BUF_INIT(PEM_FILE_MAX_BYTES);
    bool secret = strstr(item->base, ".key") != NULL;
    int rc = -1;

    if (file_read_all(from, &content, err) == 0)
        rc = put(plan, item->base, "", buf_slice(&content), secret ? 0600 : 0644, err);
    if (rc == 0 && says(plan->settings))
        printf("%s  copied from %s\n", item->base, item->issuer);
    x509_wipe(&content);
    free(from);
    return rc;
}

static int make_service_account(struct plan *plan, const struct item *item, struct err *err)
{
    struct x509_key *key = x509_key_new(plan->algorithm);
    struct buf private = BUF_INIT(BUF_UNLIMITED), public = BUF_INIT(BUF_UNLIMITED);
    int rc = -1;

    x509_key_pem(key, &private);
    x509_key_public_pem(key, &public);
    if (put(plan, item->base, ".key", buf_slice(&private), 0600, err) == 0)
        rc = put(plan, item->base, ".pub", buf_slice(&public), 0600, err);
    if (rc == 0 && says(plan->settings))
        printf("%s.key, .pub  made\n", item->base);
    x509_wipe(&private);
    buf_free(&public);
    x509_key_free(key);
    return rc;
}

static int make_text(struct plan *plan, const struct item *item, struct err *err)
{
    if (put(plan, item->base, "", slice_text(item->text), 0644, err) < 0)
        return -1;
    if (says(plan->settings))
        printf("%s  made\n", item->base);
    return 0;
}

/* ---- all of it ---- */

static void judge(struct plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        switch (plan->items[i].kind) {
        case ITEM_PAIR:
            judge_pair(plan, &plan->items[i]);
            break;
        case ITEM_COPY:
            judge_copy(plan, &plan->items[i]);
            break;
        case ITEM_SERVICE_ACCOUNT:
            judge_service_account(plan, &plan->items[i]);
            break;
        case ITEM_TEXT:
            judge_text(plan, &plan->items[i]);
            break;
        }
    }
}

static int make(struct plan *plan, const struct item *item, struct err *err)
{
    switch (item->kind) {
    case ITEM_PAIR:
        return make_pair(plan, item, err);
    case ITEM_COPY:
        return make_copy(plan, item, err);
    case ITEM_SERVICE_ACCOUNT:
        return make_service_account(plan, item, err);
    case ITEM_TEXT:
        return make_text(plan, item, err);
    }
    return -1;
}

/* As it is on disk by now; after a dry run only what was there is. */
static void report_item(const struct plan *plan, const struct item *item)
{
    const char *made = item->kind == ITEM_COPY ? "copied" : "made";
    const char *action = item->kept ? "kept" : made;
    bool one = item->kind == ITEM_COPY || item->kind == ITEM_TEXT;
    bool pair = item->kind == ITEM_PAIR;
    char *path = path_of(plan, item->base, ".crt");
    struct x509_list certs = {0};
    struct err err = ERR_INIT;
    json_t *row;

    if (plan->settings->report == NULL) {
        free(path);
        return;
    }
    row = report_file(plan->settings, plan->dir, item->base,
                      one    ? ""
                      : pair ? ".crt"
                             : ".pub",
                      action);
    if (pair && (item->kept || !plan->settings->dry_run) &&
        x509_list_read(path, false, &certs, &err) == 0)
        report_cert(row, certs.items[0]);
    if (!one && !item->external)
        (void)report_file(plan->settings, plan->dir, item->base, ".key", action);
    x509_list_free(&certs);
    free(path);
}

static int write_all(struct plan *plan, struct err *err)
{
    size_t made = 0;

    for (size_t i = 0; i < plan->count; i++)
        if (!plan->items[i].kept && (check_targets(plan, &plan->items[i], err) < 0 ||
                                     check_issuer(plan, &plan->items[i], err) < 0))
            return -1;

    for (size_t i = 0; i < plan->count; i++) {
        const struct item *item = &plan->items[i];

        if (item->kept) {
            report_item(plan, item);
            if (item->external && says(plan->settings))
                printf("%s.crt  kept: an external CA, its key is not here\n", item->base);
            continue;
        }
        made++;
        if (plan->settings->dry_run && plan->settings->report != NULL)
            ;
        else if (plan->settings->dry_run)
            printf("would write %s%s\n", item->base,
                   item->kind == ITEM_PAIR              ? ".crt and .key"
                   : item->kind == ITEM_SERVICE_ACCOUNT ? ".key and .pub"
                                                        : "");
        else if (make(plan, item, err) < 0)
            return -1;
        report_item(plan, item);
    }
    if (!says(plan->settings))
        return 0;
    if (made == 0)
        printf("nothing to do: %zu wanted in %s, all there, all as asked\n", plan->count,
               plan->dir);
    else if (made < plan->count)
        printf("%zu kept as they were\n", plan->count - made);
    return 0;
}

int plan_carry_out(struct plan *plan)
{
    struct err err = ERR_INIT;
    int fd = -1, status = EXIT_DONE;

    if (!plan->settings->dry_run && store_lock(plan->dir, &fd, &err) < 0) {
        status = fail(plan->settings, &err);
        goto out;
    }
    judge(plan);
    if (plan->differences != 0 && !plan->settings->force) {
        err_set(&err, ERR_EXISTS,
                "%s: %zu difference%s between what is there and what was asked; nothing was "
                "written (--force replaces what differs and keeps it in .old)",
                plan->dir, plan->differences, plan->differences != 1 ? "s" : "");
        status = fail(plan->settings, &err);
    } else if (write_all(plan, &err) < 0) {
        status = fail(plan->settings, &err);
        status = status == EXIT_USAGE ? EXIT_USAGE : EXIT_FAILED;
    }
out:
    file_close(&fd);
    return status;
}
