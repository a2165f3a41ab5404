/*
 * cmd_sign.c - csr and sign: the key stays on its host, the request travels. A request says subject
 * and names only, as kubeadm's; the usages come from the role under which it is signed.
 */
#include "common/base/file.h"
#include "common/base/limits.h"
#include "etcd-pki/life.h"
#include "etcd-pki/plan.h"
#include "etcd-pki/report.h"
#include "etcd-pki/store.h"

#include <stdio.h>
#include <unistd.h>

/* ---- csr ---- */

static void report_request(const struct plan *plan, const struct item *item)
{
    report_text(report_file(plan->settings, plan->dir, item->base, ".csr", "made"), "cn", item->cn);
    (void)report_file(plan->settings, plan->dir, item->base, ".key", "made");
}

static int write_request(const struct plan *plan, const struct item *item, struct err *err)
{
    char *key_path = xasprintf("%s/%s.key", plan->dir, item->base);
    char *csr_path = xasprintf("%s/%s.csr", plan->dir, item->base);
    char *parent = xstrndup(key_path, (size_t)(strrchr(key_path, '/') - key_path)), *target = NULL;
    struct x509_key *key = x509_key_new(plan->algorithm);
    struct x509_csr *csr = NULL;
    struct buf key_pem = BUF_INIT(BUF_UNLIMITED), csr_pem = BUF_INIT(BUF_UNLIMITED);
    int rc = -1;

    if (x509_csr_new(&(struct x509_request){.cn = item->cn,
                                            .orgs = (const char *const *)item->orgs.items,
                                            .org_count = item->orgs.count,
                                            .sans = &item->sans,
                                            .usages = item->usages,
                                            .not_before_s = plan->now_s,
                                            .not_after_s = plan->leaf_end_s},
                     key, &csr, err) < 0)
        goto out;
    if (file_exists(csr_path)) {
        err_set(err, ERR_EXISTS, "%s exists already; sign that one, or remove it and its key",
                csr_path);
        goto out;
    }
    if (plan->settings->dry_run) {
        report_request(plan, item);
        if (plan->settings->report == NULL)
            printf("would write %s.key and .csr\n", item->base);
        rc = 0;
        goto out;
    }
    x509_key_pem(key, &key_pem);
    x509_csr_pem(csr, &csr_pem);
    if (file_make_dirs(parent, 0755, err) < 0 ||
        store_target(key_path, false, true, &target, err) < 0 ||
        file_write_atomic(target, buf_slice(&key_pem), 0600, false, err) < 0)
        goto out;
    rc = file_write_atomic(csr_path, buf_slice(&csr_pem), 0600, false, err);
    if (rc < 0)
        (void)unlink(key_path); /* ours: nobody has a request for it */
    else
        report_request(plan, item);
    if (rc == 0 && says(plan->settings))
        printf("%s.key, .csr  made: CN=%s; sign it where the CA is: etcd-pki sign %s --role ROLE\n",
               item->base, item->cn, csr_path);
out:
    x509_wipe(&key_pem);
    buf_free(&csr_pem);
    x509_csr_free(csr);
    x509_key_free(key);
    free(target);
    free(parent);
    free(key_path);
    free(csr_path);
    return rc;
}

int cmd_csr(struct settings *settings)
{
    struct plan plan = {0};
    struct err err = ERR_INIT;
    int fd = -1, rc = -1;

    if (settings->args.count == 0)
        err_set(
            &err, ERR_USAGE,
            "csr: which role? kubeadm makes requests for all at once, here it is one at a time: "
            "etcd-pki csr etcd-server NAME");
    else if (settings->args.count > 2)
        err_set(&err, ERR_USAGE, "csr: \"%.100s\" is one word too many", settings->args.items[2]);
    else
        rc = plan_init(&plan, settings, false, &err);
    if (rc == 0)
        rc = plan_issue(&plan, settings, &err);
    if (rc == 0 && !settings->dry_run)
        rc = store_lock(plan.dir, &fd, &err);
    if (rc == 0)
        rc = write_request(&plan, &plan.items[0], &err);
    plan_free(&plan);
    file_close(&fd);
    return rc < 0 ? fail(settings, &err) : EXIT_DONE;
}

/* ---- sign ---- */

/* --san request | exact:LIST | add:LIST */
static int sans_of(const struct settings *settings, const struct x509_csr *csr,
                   struct x509_sans *sans, struct err *err)
{
    const struct x509_sans *asked = x509_csr_sans(csr);
    const char *rule = settings->san.count != 0 ? settings->san.items[0] : "request";
    bool exact = strncmp(rule, "exact:", 6) == 0, add = strncmp(rule, "add:", 4) == 0;
    int rc = 0;

    if (!exact && !add && (strcmp(rule, "request") != 0 || settings->san.count > 1)) {
        err_set(err, ERR_USAGE, "--san %.60s: request, exact:LIST or add:LIST", rule);
        return -1;
    }
    for (size_t i = 0; rc == 0 && !exact && i < asked->dns_count; i++)
        rc = x509_sans_add_dns(sans, asked->dns[i], err);
    for (size_t i = 0; rc == 0 && !exact && i < asked->ips_count; i++)
        rc = x509_sans_add_ip(sans, asked->ips[i], err);
    for (size_t i = 0; rc == 0 && (exact || add) && i < settings->san.count; i++) {
        const char *text = settings->san.items[i];

        rc = x509_sans_add(sans, i == 0 ? strchr(text, ':') + 1 : text, err);
        if (rc < 0)
            err_prefix(err, "--san");
    }
    return rc;
}

static int sign_with(const struct plan *plan, const struct role *role, const struct x509_csr *csr,
                     const struct x509_sans *sans, struct x509_cert **cert, struct err *err)
{
    const char *issuer =
        plan->settings->ca != NULL ? plan->settings->ca : role_at(role->issuer)->file;
    struct x509_list ca = {0};
    struct x509_key *ca_key = NULL;
    struct x509_info info = {0};
    int64_t end_s = plan->leaf_end_s;
    int rc = store_load_ca(plan->dir, issuer, plan->settings->passphrase, plan->now_s, &ca, &ca_key,
                           err);

    if (rc == 0) {
        x509_describe(ca.items[0], &info);
        if (end_s > info.not_after_s && !plan->settings->no_clamp) {
            end_s = info.not_after_s;
            (void)fprintf(stderr, "etcd-pki: validity cut to the end of the CA, %s\n",
                          info.not_after);
        }
        rc = x509_csr_sign(csr,
                           &(struct x509_request){.sans = sans,
                                                  .usages = role->usages,
                                                  .not_before_s = plan->not_before_s,
                                                  .not_after_s = end_s},
                           ca.items[0], ca_key, cert, err);
    }
    x509_info_free(&info);
    x509_list_free(&ca);
    x509_key_free(ca_key);
    return rc;
}

static int write_signed(const struct settings *settings, const char *csr_path,
                        const struct x509_cert *cert, struct err *err)
{
    size_t bytes = strlen(csr_path);
    bool named = bytes > 4 && strcmp(csr_path + bytes - 4, ".csr") == 0;
    char *path = settings->out != NULL
                     ? xstrdup(settings->out)
                     : xasprintf("%.*s.crt", (int)(bytes - (named ? 4 : 0)), csr_path);
    struct buf pem = BUF_INIT(BUF_UNLIMITED);
    struct x509_info info;
    int rc = 0;

    x509_cert_pem(cert, &pem);
    x509_describe(cert, &info);
    if (settings->dry_run && settings->report != NULL)
        ;
    else if (settings->dry_run)
        printf("would write %s: %s, valid for %s, until %s\n", path, info.subject, info.sans,
               info.not_after);
    else
        rc = store_write(path, buf_slice(&pem), 0644, settings->force, settings->follow, err);
    if (rc == 0)
        report_cert(report_file(settings, NULL, path, "", "made"), cert);
    if (rc == 0 && !settings->dry_run && says(settings))
        printf("%s made: %s, valid for %s, until %s\n", path, info.subject, info.sans,
               info.not_after);
    x509_info_free(&info);
    buf_free(&pem);
    free(path);
    return rc;
}

static int sign(const struct plan *plan, const struct settings *settings, struct err *err)
{
    const struct role *role = settings->role != NULL ? role_named(settings->role) : NULL;
    const char *path = settings->args.count == 1 ? settings->args.items[0] : NULL;
    struct x509_csr *csr = NULL;
    struct x509_sans sans = {0};
    struct x509_cert *cert = NULL;
    int rc = -1;

    if (path == NULL || settings->role == NULL)
        err_set(err, ERR_USAGE, "sign: one request and --role ROLE are needed");
    else if (role == NULL || role_is_ca(role))
        err_set(err, ERR_USAGE, "--role %.60s: %s", settings->role,
                role == NULL ? "is no role; see etcd-pki help" : "is a CA; etcd-pki init makes it");
    else if (x509_csr_read(path, &csr, err) == 0 && sans_of(settings, csr, &sans, err) == 0 &&
             sign_with(plan, role, csr, &sans, &cert, err) == 0)
        rc = write_signed(settings, path, cert, err);
    x509_cert_free(cert);
    x509_sans_free(&sans);
    x509_csr_free(csr);
    return rc;
}

int cmd_sign(struct settings *settings)
{
    struct plan plan = {0};
    struct err err = ERR_INIT;
    int rc = plan_init(&plan, settings, false, &err);

    if (rc == 0) {
        plan.dir = reading_dir(settings);
        rc = sign(&plan, settings, &err);
    }
    plan_free(&plan);
    return rc < 0 ? fail(settings, &err) : EXIT_DONE;
}
