/*
 * cmd_renew.c - renew and renew-ca: the same certificates again, later. Subject, names and usages
 * are those of the old one, usages unless said otherwise; everything is signed in memory first, so
 * a CA that cannot sign or a name that is not there stops the run before any file is touched.
 */
#include "common/base/file.h"
#include "common/base/limits.h"
#include "etcd-pki/life.h"
#include "etcd-pki/plan.h"
#include "etcd-pki/report.h"
#include "etcd-pki/scan.h"
#include "etcd-pki/store.h"

#include <jansson.h>
#include <stdio.h>
#include <unistd.h>

void renewal_free(struct renewal *renewal)
{
    for (size_t i = 0; i < renewal->count; i++) {
        struct fresh *fresh = &renewal->items[i];

        free(fresh->base);
        free(fresh->name);
        x509_key_free(fresh->key);
        x509_list_free(&fresh->certs);
    }
    free(renewal->items);
    ca_ring_free(&renewal->cas);
    *renewal = (struct renewal){0};
}

static const struct loaded_ca *ca_for(struct renewal *renewal, const struct entry *entry,
                                      struct err *err)
{
    if (entry->ca == NULL) {
        err_set(err, ERR_MISSING,
                "%s: its CA \"%s\" is not in %s, or not readable (etcd-pki check), so it cannot be "
                "renewed here",
                entry->path, entry->info.issuer, renewal->dir);
        return NULL;
    }
    if (!entry->ca->key_there) {
        err_set(err, ERR_MISSING,
                "%s: detected external %s: its key %s.key is not here, so %s cannot be renewed "
                "here; use etcd-pki csr, and sign where the key is",
                entry->path, entry->ca->name, entry->ca->base, entry->name);
        return NULL;
    }
    return ca_ring_load(&renewal->cas, renewal->settings, renewal->dir, entry->ca->base,
                        renewal->now_s, err);
}

/* The kind of the old key, unless --key says otherwise. */
static int kind_of(const struct renewal *renewal, const struct entry *entry,
                   enum x509_algorithm *kind, struct err *err)
{
    *kind = renewal->kind;
    if (renewal->kind_given || x509_algorithm_parse(entry->info.key, kind))
        return 0;
    err_set(err, ERR_USAGE,
            "%s: has a key of kind %s, which is not made here; say which with --key", entry->path,
            entry->info.key);
    return -1;
}

static int64_t end_for(const struct renewal *renewal, const struct entry *entry,
                       const struct x509_cert *ca)
{
    int64_t end_s = renewal->end_s;
    struct x509_info info;

    x509_describe(ca, &info);
    if (end_s > info.not_after_s && !renewal->settings->no_clamp) {
        end_s = info.not_after_s;
        (void)fprintf(stderr, "etcd-pki: %s: validity cut to the end of its CA, %s\n", entry->name,
                      info.not_after);
    }
    x509_info_free(&info);
    return end_s;
}

/* What it could be used for and cannot any longer, or never could as what it serves as. */
static void say_usages(const struct renewal *renewal, const struct entry *entry)
{
    unsigned both = X509_SERVER | X509_CLIENT, old = entry->info.usages, now = renewal->usages;
    size_t bytes = strlen(entry->base);
    bool peer = bytes >= 4 && strcmp(entry->base + bytes - 4, "peer") == 0; /* also m1/etcd/peer */

    if (now == 0 || now == both)
        return;
    if (old == 0 || (old & X509_ANY) != 0)
        old = both;
    if (now == X509_CLIENT && (old & X509_SERVER) != 0)
        (void)fprintf(
            stderr,
            "etcd-pki: %s: without serverAuth %s refuse it as a server's; etcd may use it "
            "as a client's only\n",
            entry->name, peer ? "the other members" : "clients");
    else if (now == X509_SERVER && (old & X509_SERVER) == 0)
        (void)fprintf(stderr,
                      "etcd-pki: %s: without clientAuth, which is all it had, servers refuse it as "
                      "a client's\n",
                      entry->name);
    else if (now == X509_SERVER)
        say_no_client_auth(entry->name, peer);
}

/* `first`, then what followed the first certificate in that file. */
static struct x509_list with_the_rest(const struct x509_cert *first, const struct entry *entry)
{
    struct x509_list certs = {.items = xalloc(entry->chain.count * sizeof *certs.items)};

    certs.items[certs.count++] = x509_cert_copy(first);
    while (certs.count < entry->chain.count) {
        certs.items[certs.count] = x509_cert_copy(entry->chain.items[certs.count]);
        certs.count++;
    }
    return certs;
}

int renewal_add(struct renewal *renewal, const struct entry *entry, struct err *err)
{
    const struct loaded_ca *ca = ca_for(renewal, entry, err);
    struct fresh fresh = {.made = !renewal->reuse_key};
    char *key_path = xasprintf("%s/%s.key", renewal->dir, entry->base);
    enum x509_algorithm kind;
    struct x509_cert *cert = NULL;
    int rc = -1;

    if (ca == NULL || kind_of(renewal, entry, &kind, err) < 0)
        goto out;
    if (renewal->reuse_key) {
        if (x509_key_read(key_path, &fresh.key, err) < 0)
            goto out;
        if (!x509_has_key(entry->chain.items[0], fresh.key)) {
            err_set(err, ERR_TLS,
                    "%s belongs to another certificate than the one beside it; renew without "
                    "--reuse-key",
                    key_path);
            goto out;
        }
    } else {
        fresh.key = x509_key_new(kind);
    }
    if (x509_cert_again(entry->chain.items[0], fresh.key, ca->certs.items[0], ca->key,
                        renewal->usages, renewal->not_before_s,
                        end_for(renewal, entry, ca->certs.items[0]), &cert, err) < 0)
        goto out;
    say_usages(renewal, entry);
    fresh.base = xstrdup(entry->base);
    fresh.name = xstrdup(entry->name);
    fresh.certs = with_the_rest(cert, entry); /* intermediates stay */
    renewal->items = xrealloc(renewal->items, (renewal->count + 1) * sizeof *renewal->items);
    renewal->items[renewal->count++] = fresh;
    fresh.key = NULL;
    rc = 0;
out:
    x509_cert_free(cert);
    x509_key_free(fresh.key);
    free(key_path);
    return rc;
}

static void report_fresh(const struct renewal *renewal, const struct fresh *fresh)
{
    report_cert(report_file(renewal->settings, renewal->dir, fresh->base, ".crt", "renewed"),
                fresh->certs.items[0]);
    if (fresh->made)
        (void)report_file(renewal->settings, renewal->dir, fresh->base, ".key", "renewed");
}

static void say_would(const struct renewal *renewal, const struct fresh *fresh)
{
    report_fresh(renewal, fresh);
    if (renewal->settings->report == NULL)
        printf("would write %s.crt%s\n", fresh->base, fresh->made ? " and .key" : "");
}

static void say_renewed(const struct renewal *renewal, const struct fresh *fresh)
{
    struct x509_info info;

    report_fresh(renewal, fresh);
    if (!says(renewal->settings))
        return;
    x509_describe(fresh->certs.items[0], &info);
    printf("%s renewed: serial %s, until %s%s\n", fresh->name, info.serial, info.not_after,
           (info.usages & X509_SERVER) != 0
               ? "; etcd reads it at the next handshake, no restart needed"
               : "");
    x509_info_free(&info);
}

/* --eku server,client */
static int take_usages(struct renewal *renewal, struct err *err)
{
    const struct texts *words = &renewal->settings->eku, *names = &renewal->settings->args;

    for (size_t i = 0; i < words->count; i++) {
        const char *word = words->items[i];

        if (strcmp(word, "server") == 0 || strcmp(word, "serverAuth") == 0) {
            renewal->usages |= X509_SERVER;
        } else if (strcmp(word, "client") == 0 || strcmp(word, "clientAuth") == 0) {
            renewal->usages |= X509_CLIENT;
        } else {
            err_set(err, ERR_USAGE, "--eku %.60s: server, client or server,client", word);
            return -1;
        }
    }
    if (renewal->usages != 0 && names->count == 1 && strcmp(names->items[0], "all") == 0) {
        err_set(err, ERR_USAGE,
                "--eku: name the certificates; all would give clients the usages "
                "of servers, or the reverse");
        return -1;
    }
    return 0;
}

struct store renewal_store(const struct renewal *renewal)
{
    return (struct store){.dir = renewal->dir,
                          .backup = renewal->settings->backup_dir,
                          .follow = renewal->settings->follow,
                          .now_s = renewal->now_s};
}

/* All complete on disk first: a disk that fills up meanwhile leaves everything as it was. */
int renewal_write(struct renewal *renewal, struct err *err)
{
    const struct store store = renewal_store(renewal);
    struct staged *staged = xalloc(renewal->count * sizeof *staged);
    size_t done = 0;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < renewal->count; i++) {
        const struct fresh *fresh = &renewal->items[i];

        if (renewal->settings->dry_run)
            say_would(renewal, fresh);
        else
            rc = store_stage(&store, fresh->base, fresh->made ? fresh->key : NULL, &fresh->certs,
                             &staged[done++], err);
    }
    if (rc == 0)
        rc = store_check_keys(staged, done, err);
    for (size_t i = 0; rc == 0 && i < done; i++) {
        rc = store_put_in_place(&staged[i], err);
        if (rc == 0)
            say_renewed(renewal, &renewal->items[i]);
    }
    for (size_t i = 0; i < done; i++)
        store_drop(&staged[i]);
    free(staged);
    return rc;
}

int renewal_init(struct renewal *renewal, const struct settings *settings, bool ca, struct err *err)
{
    struct plan plan;
    int rc = plan_init(&plan, settings, ca, err);

    *renewal = (struct renewal){.settings = settings,
                                .dir = reading_dir(settings),
                                .now_s = plan.now_s,
                                .not_before_s = plan.not_before_s,
                                .end_s = plan.leaf_end_s,
                                .kind = plan.algorithm,
                                .kind_given = plan.key_given,
                                .reuse_key = settings->reuse_key};
    plan_free(&plan);
    if (rc == 0 && settings->reuse_key && settings->key != NULL) {
        err_set(err, ERR_USAGE, "--reuse-key and --key exclude each other");
        rc = -1;
    }
    return rc;
}

/* ---- renew ---- */

int renewal_heal(const struct settings *settings, const char *dir, struct err *err)
{
    const struct store store = {.dir = dir, .follow = settings->follow};
    struct texts found = {0};
    int rc = scan_find(dir, ".crt", &found, err);

    store_sweep(dir);
    for (size_t i = 0; rc == 0 && i < found.count; i++) {
        char *base = xstrndup(found.items[i], strlen(found.items[i]) - 4);
        bool healed;

        rc = store_heal(&store, base, settings->passphrase, &healed, err);
        if (rc == 0 && healed)
            (void)fprintf(
                stderr, "etcd-pki: %s.crt: put in place what an interrupted run had left\n", base);
        free(base);
    }
    texts_free(&found);
    return rc;
}

static int refuse_unfit(const struct entry *entry, struct err *err)
{
    if (entry->error != NULL) {
        err_set(err, ERR_TLS, "%s", entry->error);
        return -1;
    }
    if (entry->info.ca) {
        err_set(err, ERR_USAGE,
                "%s is a CA: etcd-pki renew-ca keeps its key, rotate-ca replaces it", entry->name);
        return -1;
    }
    return 0;
}

/* One of `all` that is left as it is; why is said. */
static void leave(struct renewal *renewal, const struct entry *entry)
{
    struct err why = ERR_INIT;
    json_t *row;

    if (entry->error != NULL)
        err_set(&why, ERR_TLS, "%s", entry->error);
    else
        must(ca_for(renewal, entry, &why) == NULL);
    row = report_row(renewal->settings->report, "notRenewed");
    report_text(row, "file", entry->path);
    report_text(row, "reason", why.text);
    (void)fprintf(stderr, "etcd-pki: %s\n", why.text);
    renewal->left++;
    renewal->unreadable += entry->error != NULL ? 1 : 0;
}

/* What is another host's to renew is named and left, as kubeadm does, and what cannot be read. */
static int select_all(struct renewal *renewal, const struct scan *scan, int64_t expiring_s,
                      size_t *skipped, struct err *err)
{
    for (size_t i = 0; i < scan->count; i++) {
        const struct entry *entry = &scan->items[i];

        if (entry->error == NULL && (entry->info.ca || entry->same_as != NULL))
            continue;
        if (entry->error == NULL && expiring_s != 0 &&
            entry->info.not_after_s - renewal->now_s > expiring_s)
            (*skipped)++;
        else if (entry->error != NULL || entry->ca == NULL || !entry->ca->key_there)
            leave(renewal, entry);
        else if (renewal_add(renewal, entry, err) < 0)
            return -1;
    }
    if (renewal->left == 0 || renewal->count + *skipped != 0)
        return 0;
    err_set(err, ERR_MISSING, "nothing was renewed: no certificate here can be, as said above");
    return -1;
}

static bool is_chosen(const struct renewal *renewal, const struct entry *entry)
{
    for (size_t i = 0; i < renewal->count; i++)
        if (strcmp(renewal->items[i].base, entry->base) == 0)
            return true;
    return false;
}

static int select_named(struct renewal *renewal, const struct scan *scan, int64_t expiring_s,
                        size_t *skipped, struct err *err)
{
    const struct texts *names = &renewal->settings->args;

    if (names->count == 1 && strcmp(names->items[0], "all") == 0)
        return select_all(renewal, scan, expiring_s, skipped, err);
    for (size_t i = 0; i < names->count; i++) {
        const struct entry *entry = scan_named(scan, names->items[i]);

        if (entry == NULL) {
            err_set(err, ERR_MISSING, "%s: no such certificate in %s (etcd-pki check lists them)",
                    names->items[i], renewal->dir);
            return -1;
        }
        if (refuse_unfit(entry, err) < 0)
            return -1;
        if (entry->same_as != NULL)
            entry = entry->same_as;
        if (is_chosen(renewal, entry))
            continue;
        if (expiring_s != 0 && entry->info.not_after_s - renewal->now_s > expiring_s)
            (*skipped)++;
        else if (renewal_add(renewal, entry, err) < 0)
            return -1;
    }
    return 0;
}

static int renew(struct renewal *renewal, const struct settings *settings, struct err *err)
{
    struct scan scan = {0};
    int64_t expiring_s = 0;
    size_t skipped = 0;
    int fd = -1, rc = -1;

    if (settings->args.count == 0) {
        err_set(err, ERR_USAGE, "renew: which certificate? NAME... or all");
        return -1;
    }
    if (take_usages(renewal, err) < 0)
        return -1;
    if (settings->if_expiring != NULL &&
        parse_duration("--if-expiring", settings->if_expiring, &expiring_s, err) < 0)
        return -1;
    if (!file_exists(renewal->dir)) {
        err_set(err, ERR_MISSING, "%s is not there; give --dir", renewal->dir);
        return -1;
    }
    if (store_lock(renewal->dir, &fd, err) == 0 &&
        (settings->dry_run || renewal_heal(settings, renewal->dir, err) == 0) &&
        scan_directory(renewal->dir, settings->passphrase, &scan, err) == 0 &&
        select_named(renewal, &scan, expiring_s, &skipped, err) == 0)
        rc = renewal_write(renewal, err);
    if (rc == 0)
        report_number(settings->report, "leftAlone", (int64_t)skipped);
    if (rc == 0 && says(settings) && skipped != 0)
        printf("%zu left alone: more than %s to go\n", skipped, settings->if_expiring);
    if (rc == 0 && renewal->unreadable != 0) {
        err_set(err, ERR_TLS, "%zu file%s could not be read, as said above; all else is renewed",
                renewal->unreadable, renewal->unreadable != 1 ? "s" : "");
        rc = -1;
    }
    scan_free(&scan);
    file_close(&fd);
    return rc;
}

int cmd_renew(struct settings *settings)
{
    struct renewal renewal;
    struct err err = ERR_INIT;
    int rc = renewal_init(&renewal, settings, false, &err);

    if (rc == 0)
        rc = renew(&renewal, settings, &err);
    renewal_free(&renewal);
    return rc < 0 ? fail(settings, &err) : EXIT_DONE;
}

/* ---- renew-ca: the same key, so what it signed stays good (pki.md 2.6) ---- */

/* Copies elsewhere in the directory, as each member's etcd/ca.crt: the same certificate first. */
static int write_copies(const struct renewal *renewal, const struct scan *scan,
                        const struct entry *ca, const struct x509_cert *cert, struct err *err)
{
    const struct store store = renewal_store(renewal);

    for (size_t i = 0; i < scan->count; i++) {
        const struct entry *entry = &scan->items[i];
        struct x509_list certs;
        int rc;

        if (entry == ca || entry->chain.count == 0 || entry->same_as != NULL ||
            !x509_certs_equal(entry->chain.items[0], ca->chain.items[0]))
            continue;
        certs = with_the_rest(cert, entry);
        rc = store_replace(&store, entry->base, NULL, &certs, err);
        x509_list_free(&certs);
        if (rc < 0)
            return -1;
        report_cert(report_file(renewal->settings, renewal->dir, entry->base, ".crt", "copied"),
                    cert);
        if (says(renewal->settings))
            printf("%s.crt replaced with it\n", entry->base);
    }
    return 0;
}

static int again(struct renewal *renewal, const struct scan *scan, const struct entry *entry,
                 struct err *err)
{
    const struct store store = renewal_store(renewal);
    char *key_path = xasprintf("%s/%s.key", renewal->dir, entry->base);
    struct x509_list certs = {0};
    struct x509_key *key = NULL;
    struct x509_cert *cert = NULL;
    struct x509_info info = {0};
    int rc = -1;

    if (ca_key_read(key_path, renewal->settings->passphrase, &key, err) < 0)
        goto out;
    if (!x509_has_key(entry->chain.items[0], key)) {
        err_set(err, ERR_TLS, "%s belongs to another certificate than the CA beside it", key_path);
        goto out;
    }
    if (x509_cert_again(entry->chain.items[0], key, NULL, NULL, 0, renewal->not_before_s,
                        renewal->end_s, &cert, err) < 0)
        goto out;
    certs = with_the_rest(cert, entry);
    x509_describe(cert, &info);
    rc = 0;
    if (!renewal->settings->dry_run)
        rc = store_replace(&store, entry->base, NULL, &certs, err);
    if (rc == 0)
        report_cert(report_file(renewal->settings, renewal->dir, entry->base, ".crt", "renewed"),
                    cert);
    if (renewal->settings->dry_run) {
        if (renewal->settings->report == NULL)
            printf("would write %s.crt\n", entry->base);
        goto out;
    }
    if (rc == 0 && says(renewal->settings))
        printf("%s renewed: serial %s, until %s; same key, so what it signed stays valid; etcd "
               "reads CA files at its start only\n",
               entry->name, info.serial, info.not_after);
    if (rc == 0)
        rc = write_copies(renewal, scan, entry, cert, err);
out:
    x509_info_free(&info);
    x509_cert_free(cert);
    x509_list_free(&certs);
    x509_key_free(key);
    free(key_path);
    return rc;
}

/* The CA named, or etcd's; with its key. */
const struct entry *scan_ca(const struct scan *scan, const char *name, struct err *err)
{
    const struct entry *found = NULL;

    if (name != NULL) {
        found = scan_named(scan, name);
    } else {
        for (size_t i = 0; i < scan->count && found == NULL; i++) {
            const struct entry *entry = &scan->items[i];

            if (strcmp(entry->base, "ca/etcd/ca") == 0 ||
                (strcmp(entry->base, "etcd/ca") == 0 && (entry->key_there || entry->error != NULL)))
                found = entry;
        }
    }
    if (found == NULL)
        err_set(err, ERR_MISSING, "%s: no CA %s with its key there; give it with --ca", scan->dir,
                name != NULL ? name : "etcd/ca");
    else if (found->error != NULL)
        err_set(err, ERR_TLS, "%s", found->error);
    else if (!found->info.ca)
        err_set(err, ERR_TLS, "%s is not a CA (no CA:TRUE)", found->path);
    else if (!found->key_there)
        err_set(err, ERR_MISSING, "%s/%s.key is not there; do this where the CA's key is",
                scan->dir, found->base);
    else
        return found;
    return NULL;
}

const struct entry *scan_root_ca(const struct scan *scan, const char *name, struct err *err)
{
    const struct entry *ca = scan_ca(scan, name, err);

    if (ca == NULL || ca->info.self_issued)
        return ca;
    err_set(err, ERR_TLS,
            "%s is an intermediate CA (%s), issued by %s: made again here it would be a root that "
            "nobody trusts; have that CA certify its key again, and put the certificate there",
            ca->path, ca->info.subject, ca->info.issuer);
    return NULL;
}

int cmd_renew_ca(struct settings *settings)
{
    struct renewal renewal;
    struct scan scan = {0};
    const struct entry *ca;
    struct err err = ERR_INIT;
    int fd = -1, rc = renewal_init(&renewal, settings, true, &err);

    if (rc == 0 && settings->args.count > 1) {
        err_set(&err, ERR_USAGE, "renew-ca: one CA at a time");
        rc = -1;
    }
    if (rc == 0 && !file_exists(renewal.dir)) {
        err_set(&err, ERR_MISSING, "%s is not there; give --dir", renewal.dir);
        rc = -1;
    }
    if (rc == 0 && (store_lock(renewal.dir, &fd, &err) < 0 ||
                    scan_directory(renewal.dir, settings->passphrase, &scan, &err) < 0))
        rc = -1;
    if (rc == 0) {
        ca = scan_root_ca(&scan, settings->args.count != 0 ? settings->args.items[0] : settings->ca,
                          &err);
        rc = ca != NULL ? again(&renewal, &scan, ca, &err) : -1;
    }
    scan_free(&scan);
    file_close(&fd);
    renewal_free(&renewal);
    return rc < 0 ? fail(settings, &err) : EXIT_DONE;
}
