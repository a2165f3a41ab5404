/*
 * cmd_revoke.c - revoke and crl. The list beside the CA (etcd/ca.crl) is the record: revoke adds to
 * it and writes it, crl writes it again with new dates. DER, version 2, replaced by rename, for
 * etcd reads the file at every connection (pki.md 2.8).
 */
#include "common/base/file.h"
#include "common/base/limits.h"
#include "etcd-pki/life.h"
#include "etcd-pki/report.h"
#include "etcd-pki/scan.h"
#include "etcd-pki/store.h"

#include <jansson.h>
#include <stdio.h>

#define NEXT_UPDATE_S (30LL * 86400)

struct listing {
    const struct settings *settings;
    const struct entry *ca;
    struct scan scan;
    struct x509_list certs;
    struct x509_key *key;
    struct x509_crl *crl;
    char *path; /* of the list */
    int64_t now_s, next_s;
    int fd;
};

static void listing_close(struct listing *listing)
{
    scan_free(&listing->scan);
    x509_list_free(&listing->certs);
    x509_key_free(listing->key);
    x509_crl_free(listing->crl);
    free(listing->path);
    file_close(&listing->fd);
}

/* Whose list: --ca, or who issued the certificate, or etcd's CA. */
static int find_ca(struct listing *listing, const struct x509_cert *revoked, const char *file,
                   struct err *err)
{
    const char *named = listing->settings->ca;

    for (size_t i = 0; named == NULL && revoked != NULL && i < listing->scan.count; i++) {
        const struct entry *entry = &listing->scan.items[i];

        for (size_t k = 0; entry->key_there && entry->info.ca && k < entry->chain.count; k++)
            if (x509_issued_by(revoked, entry->chain.items[k]))
                named = entry->base;
    }
    if (named == NULL && revoked != NULL) {
        err_set(err, ERR_MISSING, "%s: no CA in %s, with its key, has issued it", file,
                listing->scan.dir);
        return -1;
    }
    listing->ca = scan_ca(&listing->scan, named, err);
    return listing->ca != NULL ? 0 : -1;
}

static int open_listing(struct listing *listing, const struct settings *settings,
                        const struct x509_cert *revoked, const char *file, struct err *err)
{
    const char *dir = reading_dir(settings);
    int64_t next_s = NEXT_UPDATE_S;

    listing->settings = settings;
    listing->now_s = clock_s();
    if (settings->next_update != NULL &&
        parse_duration("--next-update", settings->next_update, &next_s, err) < 0)
        return -1;
    listing->next_s = listing->now_s + next_s;
    if (!file_exists(dir)) {
        err_set(err, ERR_MISSING, "%s is not there; give --dir", dir);
        return -1;
    }
    if (store_lock(dir, &listing->fd, err) < 0 ||
        scan_directory(dir, settings->passphrase, &listing->scan, err) < 0 ||
        find_ca(listing, revoked, file, err) < 0 ||
        store_load_ca(dir, listing->ca->base, settings->passphrase, listing->now_s, &listing->certs,
                      &listing->key, err) < 0)
        return -1;
    listing->path = settings->out != NULL ? xstrdup(settings->out)
                                          : xasprintf("%s/%s.crl", dir, listing->ca->base);
    if (!file_exists(listing->path)) {
        listing->crl = x509_crl_new();
        return 0;
    }
    if (x509_crl_read(listing->path, &listing->crl, err) == 0)
        return 0;
    err_prefix(err, "the list that is there cannot be gone on with");
    return -1;
}

static void report_listing(const struct listing *listing, const char *pem_path)
{
    json_t *row = report_file(listing->settings, NULL, listing->path, "", "written");
    char until[32];

    x509_time_text(listing->next_s, until);
    report_text(row, "issuer", listing->ca->info.subject);
    report_number(row, "revoked", (int64_t)x509_crl_count(listing->crl));
    report_text(row, "nextUpdate", until);
    if (pem_path != NULL)
        (void)report_file(listing->settings, NULL, pem_path, "", "written");
}

static int write_listing(struct listing *listing, struct err *err)
{
    struct buf der = BUF_INIT(BUF_UNLIMITED), pem = BUF_INIT(BUF_UNLIMITED);
    bool follow = listing->settings->follow;
    char until[32], *pem_path = NULL;
    int rc = -1;

    if (listing->settings->pem != NULL &&
        store_target(listing->settings->pem, follow, false, &pem_path, err) < 0)
        return -1; /* before the list is written */
    if (listing->settings->dry_run) {
        report_listing(listing, pem_path);
        if (listing->settings->report == NULL)
            printf("would write %s%s%s: %zu revoked\n", listing->path,
                   pem_path != NULL ? " and " : "", pem_path != NULL ? pem_path : "",
                   x509_crl_count(listing->crl));
        free(pem_path);
        return 0;
    }
    if (x509_crl_sign(listing->crl, listing->certs.items[0], listing->key, listing->now_s,
                      listing->next_s, &der, &pem, err) == 0 &&
        store_write(listing->path, buf_slice(&der), 0644, true, follow, err) == 0)
        rc = pem_path == NULL ? 0 : file_write_atomic(pem_path, buf_slice(&pem), 0644, true, err);
    if (rc == 0)
        report_listing(listing, pem_path);
    free(pem_path);
    buf_free(&der);
    buf_free(&pem);
    if (rc < 0)
        return -1;
    x509_time_text(listing->next_s, until);
    if (says(listing->settings)) {
        printf("%s written: %zu revoked, next update by %s\n", listing->path,
               x509_crl_count(listing->crl), until);
        if (listing->settings->pem != NULL)
            printf("%s written: PEM, which etcd 3.6 and later refuse\n", listing->settings->pem);
    }
    if (!listing->ca->info.crl_sign)
        (void)fprintf(stderr,
                      "etcd-pki: %s lacks the usage CRL Sign, as kubeadm's CAs do: etcd takes the "
                      "list, openssl verify -crl_check does not (etcd-pki init --crl-sign)\n",
                      listing->ca->name);
    return 0;
}

int cmd_crl(struct settings *settings)
{
    struct listing listing = {.fd = -1};
    struct err err = ERR_INIT;
    int rc = -1;

    if (settings->args.count != 0)
        err_set(&err, ERR_USAGE, "crl: \"%.100s\" is one word too many; revoke adds to the list",
                settings->args.items[0]);
    else if (open_listing(&listing, settings, NULL, NULL, &err) == 0)
        rc = write_listing(&listing, &err);
    listing_close(&listing);
    return rc < 0 ? fail(settings, &err) : EXIT_DONE;
}

/* ---- revoke ---- */

static int read_revoked(const struct settings *settings, struct x509_list *certs, struct err *err)
{
    const char *name = settings->args.items[0];
    const struct role *role = role_named(name);
    char *path = file_exists(name) ? xstrdup(name)
                                   : xasprintf("%s/%s.crt", reading_dir(settings),
                                               role != NULL ? role->file : name);
    int rc = x509_list_read(path, false, certs, err);

    free(path);
    return rc;
}

static int revoke(struct listing *listing, const struct x509_cert *cert, struct err *err)
{
    const struct settings *settings = listing->settings;
    struct x509_info info = {0};
    bool known = false;
    int rc;

    if (cert != NULL)
        x509_describe(cert, &info);
    if (cert != NULL && x509_certs_equal(cert, listing->certs.items[0])) {
        err_set(err, ERR_USAGE,
                "%s is the CA itself; a list of its own cannot revoke it (rotate-ca replaces it)",
                info.subject);
        x509_info_free(&info);
        return -1;
    }
    rc = x509_crl_add(listing->crl, cert != NULL ? info.serial : settings->serial, settings->reason,
                      listing->now_s, &known, err);
    if (rc == 0) {
        json_t *row = report_row(settings->report, "revoked");

        report_text(row, "serial", cert != NULL ? info.serial : settings->serial);
        report_text(row, "subject", cert != NULL ? info.subject : "");
        report_flag(row, "before", known);
    }
    if (rc == 0 && says(settings))
        printf("%s%sserial %s %s\n", cert != NULL ? info.subject : "", cert != NULL ? ", " : "",
               cert != NULL ? info.serial : settings->serial,
               known ? "was revoked before" : "revoked");
    x509_info_free(&info);
    return rc < 0 ? -1 : write_listing(listing, err);
}

int cmd_revoke(struct settings *settings)
{
    struct listing listing = {.fd = -1};
    struct x509_list certs = {0};
    struct err err = ERR_INIT;
    int rc = -1;

    if ((settings->args.count == 1) == (settings->serial != NULL) || settings->args.count > 1) {
        err_set(&err, ERR_USAGE, "revoke: one certificate, or --serial HEX");
    } else if (settings->serial != NULL || read_revoked(settings, &certs, &err) == 0) {
        const struct x509_cert *cert = certs.count != 0 ? certs.items[0] : NULL;

        if (open_listing(&listing, settings, cert,
                         settings->args.count != 0 ? settings->args.items[0] : "", &err) == 0)
            rc = revoke(&listing, cert, &err);
    }
    x509_list_free(&certs);
    listing_close(&listing);
    return rc < 0 ? fail(settings, &err) : EXIT_DONE;
}
