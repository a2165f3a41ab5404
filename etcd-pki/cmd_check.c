/*
 * cmd_check.c - check: what expires when, what is missing, which key does not fit. As a table, as
 * kubeadm's two tables, as kubeadm's JSON and more, for Nagios, for Prometheus.
 */
#include "common/base/file.h"
#include "common/base/limits.h"
#include "etcd-pki/pki.h"
#include "etcd-pki/report.h"
#include "etcd-pki/scan.h"
#include "etcd-pki/store.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#define CRIT_S (7LL * 86400)

static const char *const kubeconfigs[] = {"admin.conf", "controller-manager.conf", "scheduler.conf",
                                          "super-admin.conf"};

enum state { STATE_OK, STATE_WARNING, STATE_ERROR };
struct verdict {
    enum state state;
    const char *code; /* a word for programs; "" when all is well */
    char *text;       /* owned */
};
struct check {
    const struct settings *settings;
    int64_t at_s, warn_s, crit_s;
    struct scan scan;
    struct verdict *verdicts; /* one for each entry */
    size_t errors, warnings;
};

/* ---- judging ---- */

static void verdict_set(struct verdict *verdict, enum state state, const char *code,
                        const char *format, ...) PRINTF_LIKE(4, 5);
static void verdict_set(struct verdict *verdict, enum state state, const char *code,
                        const char *format, ...)
{
    char text[ERR_TEXT_MAX];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    *verdict = (struct verdict){state, code, xstrdup(text)};
}

static void judge_key(const struct check *check, const struct entry *entry, struct verdict *verdict)
{
    char *backup = store_backup_of(check->scan.dir != NULL ? check->scan.dir : ".", entry->base,
                                   check->scan.passphrase);

    if (entry->key_error != NULL) {
        verdict_set(verdict, STATE_ERROR, "key_unreadable", "%s", entry->key_error);
        free(backup);
        return;
    }
    verdict_set(verdict, STATE_ERROR, "key_mismatch",
                "the key beside it belongs to another certificate%s%s",
                backup != NULL ? "; its other half is " : "", backup != NULL ? backup : "");
    free(backup);
}

static void judge(const struct check *check, const struct entry *entry, struct verdict *verdict)
{
    int64_t left_s = entry->info.not_after_s - check->at_s;
    char *soon = residual(check->at_s + (left_s <= check->crit_s ? check->crit_s : check->warn_s),
                          check->at_s);

    if (entry->missing)
        verdict_set(verdict, STATE_ERROR, "missing", "missing");
    else if (entry->error != NULL)
        verdict_set(verdict, STATE_ERROR, "unreadable", "%s", entry->error);
    else if (left_s < 0)
        verdict_set(verdict, STATE_ERROR, "expired", "expired");
    else if (check->at_s < entry->info.not_before_s)
        verdict_set(verdict, STATE_ERROR, "not_yet_valid", "not valid before %s",
                    entry->info.not_before);
    else if (entry->key_there && !entry->key_fits)
        judge_key(check, entry, verdict);
    else if (left_s <= check->crit_s)
        verdict_set(verdict, STATE_ERROR, "expires_critically_soon", "expires within %s", soon);
    else if (left_s <= check->warn_s)
        verdict_set(verdict, STATE_WARNING, "expires_soon", "expires within %s", soon);
    else
        verdict_set(verdict, STATE_OK, "", "ok");
    free(soon);
}

/* Further down in a file: what a leaf hangs on counts as itself, else it is warned of. */
static void judge_further(const struct check *check, const struct x509_cert *cert, bool hangs,
                          struct verdict *verdict)
{
    enum state most = hangs ? STATE_ERROR : STATE_WARNING, state;
    const char *code, *what = hangs ? "the CA behind it" : "another CA in it";
    struct x509_info info;
    int64_t left_s;
    char *text;

    x509_describe(cert, &info);
    left_s = info.not_after_s - check->at_s;
    state =
        left_s <= check->crit_s || check->at_s < info.not_before_s ? STATE_ERROR : STATE_WARNING;
    code = left_s < 0                        ? "chain_expired"
           : check->at_s < info.not_before_s ? "chain_not_yet_valid"
                                             : "chain_expires_soon";
    if (check->at_s < info.not_before_s)
        text = xasprintf("%s, %s, is not valid before %s", what, info.subject, info.not_before);
    else
        text = xasprintf("%s, %s, expire%s on %s", what, info.subject, left_s < 0 ? "d" : "s",
                         info.not_after);
    state = MIN(state, most);
    if ((left_s <= check->warn_s || check->at_s < info.not_before_s) && state > verdict->state) {
        free(verdict->text);
        verdict_set(verdict, state, code, "%s", text);
    }
    free(text);
    x509_info_free(&info);
}

/* Which of the certificates after the first has issued `below`; the longest valid. NULL: none. */
static const struct x509_cert *issuer_in(const struct entry *entry, const struct x509_cert *below)
{
    const struct x509_cert *best = NULL;
    int64_t best_s = 0;

    for (size_t i = 1; i < entry->chain.count; i++) {
        const struct x509_cert *one = entry->chain.items[i];
        struct x509_info info;

        if (x509_certs_equal(one, below) || !x509_issued_by(below, one))
            continue;
        x509_describe(one, &info);
        if (best == NULL || info.not_after_s > best_s) {
            best = one;
            best_s = info.not_after_s;
        }
        x509_info_free(&info);
    }
    return best;
}

static void judge_rest(const struct check *check, const struct entry *entry,
                       struct verdict *verdict)
{
    const struct x509_cert *at = entry->chain.count > 1 ? entry->chain.items[0] : NULL;

    for (size_t i = 1; entry->info.ca && i < entry->chain.count; i++)
        judge_further(check, entry->chain.items[i], false, verdict);
    for (size_t i = 1; !entry->info.ca && at != NULL && i < entry->chain.count; i++) {
        at = issuer_in(entry, at);
        if (at != NULL)
            judge_further(check, at, true, verdict);
    }
}

/* ---- gathering ---- */

/* What a set has: a key without certificate, and the rest of a member's or a node's files. */
static void add_missing(struct scan *scan, const char *dir)
{
    bool member = scan_named(scan, "etcd/server") != NULL || scan_named(scan, "etcd/peer") != NULL;
    bool node = scan_named(scan, "apiserver") != NULL;
    struct texts keys = {0};
    struct err err = ERR_INIT;

    for (int i = 0; i < ROLES; i++) {
        const struct role *role = role_at((enum role_id)i);
        bool of_member = strncmp(role->file, "etcd/", 5) == 0;
        char *path = xasprintf("%s/%s.crt", dir, role->file);

        if (role != role_at(ROLE_CLIENT) &&
            ((of_member && member && (node || role != role_at(ROLE_HEALTHCHECK))) ||
             (!of_member && node)) &&
            scan_named(scan, role->file) == NULL &&
            !(node && !member && strcmp(role->name, "apiserver-etcd-client") == 0))
            scan_add(scan, role->file, path);
        free(path);
    }
    if (scan_find(dir, ".key", &keys, &err) == 0)
        for (size_t i = 0; i < keys.count; i++) {
            char *base = xstrndup(keys.items[i], strlen(keys.items[i]) - 4);
            char *path = xasprintf("%s/%s.crt", dir, base);

            if (scan_named(scan, base) == NULL && strcmp(base, "sa") != 0)
                scan_add(scan, base, path);
            free(base);
            free(path);
        }
    texts_free(&keys);
}

static int gather_directory(struct check *check, const char *dir, bool whole, struct err *err)
{
    struct texts found = {0};
    int rc = scan_find(dir, ".crt", &found, err);

    for (size_t i = 0; rc == 0 && i < found.count; i++) {
        char *path = xasprintf("%s/%s", dir, found.items[i]);
        char *base = xstrndup(found.items[i], strlen(found.items[i]) - 4);

        scan_add(&check->scan, whole ? base : NULL, path);
        free(base);
        free(path);
    }
    texts_free(&found);
    if (rc == 0 && whole)
        add_missing(&check->scan, dir);
    return rc;
}

static void gather_named(struct check *check, const char *name)
{
    const struct role *role = role_named(name);
    const char *dir = reading_dir(check->settings);
    size_t bytes = strlen(name);
    char *path;

    if (file_exists(name) ||
        (role == NULL && bytes > 4 &&
         (strcmp(name + bytes - 4, ".crt") == 0 || strcmp(name + bytes - 4, ".pem") == 0 ||
          strcmp(name + bytes - 5, ".conf") == 0))) {
        scan_add(&check->scan, NULL, name);
        return;
    }
    path = xasprintf("%s/%s.crt", dir, role != NULL ? role->file : name);
    scan_add(&check->scan, role != NULL ? role->file : name, path);
    free(path);
}

static int refuse_empty(const struct check *check, struct err *err)
{
    err_set(err, ERR_MISSING, "%s: no certificate (*.crt) there; give --dir or files",
            check->scan.dir);
    return -1;
}

static int gather(struct check *check, struct err *err)
{
    const struct texts *args = &check->settings->args;
    struct stat info;

    if (args->count == 0 ||
        (args->count == 1 && stat(args->items[0], &info) == 0 && S_ISDIR(info.st_mode))) {
        check->scan.dir = args->count == 0 ? reading_dir(check->settings) : args->items[0];
        if (gather_directory(check, check->scan.dir, true, err) < 0)
            return -1;
        if (check->scan.count == 0)
            return refuse_empty(check, err);
        for (size_t i = 0; check->settings->kubeadm_tables && i < ARRAY_LEN(kubeconfigs); i++) {
            char *path = xasprintf("%s/../%s", check->scan.dir, kubeconfigs[i]);

            scan_add(&check->scan, kubeconfigs[i], path);
            free(path);
        }
    } else {
        check->scan.dir = reading_dir(check->settings);
        for (size_t i = 0; i < args->count; i++) {
            if (stat(args->items[i], &info) != 0 || !S_ISDIR(info.st_mode))
                gather_named(check, args->items[i]);
            else if (gather_directory(check, args->items[i], false, err) < 0)
                return -1;
        }
    }
    if (check->scan.count == 0)
        return refuse_empty(check, err);
    scan_sort(&check->scan);
    return 0;
}

static void judge_all(struct check *check)
{
    check->verdicts = xalloc(check->scan.count * sizeof *check->verdicts);
    for (size_t i = 0; i < check->scan.count; i++) {
        judge(check, &check->scan.items[i], &check->verdicts[i]);
        judge_rest(check, &check->scan.items[i], &check->verdicts[i]);
        if (check->scan.items[i].missing && strstr(check->scan.items[i].base, ".conf") != NULL)
            continue; /* kubeadm's table names it; nobody asked for it */
        check->errors += check->verdicts[i].state == STATE_ERROR ? 1 : 0;
        check->warnings += check->verdicts[i].state == STATE_WARNING ? 1 : 0;
    }
}

static int check_prepare(struct check *check, const struct settings *settings, struct err *err)
{
    *check = (struct check){.settings = settings,
                            .warn_s = WARN_S_DEFAULT,
                            .crit_s = CRIT_S,
                            .scan = {.passphrase = settings->passphrase}};
    if (take_at(settings, &check->at_s, err) < 0 ||
        (settings->warn != NULL &&
         parse_duration("--warn", settings->warn, &check->warn_s, err) < 0) ||
        (settings->crit != NULL &&
         parse_duration("--crit", settings->crit, &check->crit_s, err) < 0) ||
        gather(check, err) < 0)
        return -1;
    judge_all(check);
    return 0;
}

static void check_free(struct check *check)
{
    for (size_t i = 0; check->verdicts != NULL && i < check->scan.count; i++)
        free(check->verdicts[i].text);
    free(check->verdicts);
    scan_free(&check->scan);
}

static int check_status(const struct check *check)
{
    return check->errors != 0 ? EXIT_FINDING : check->warnings != 0 ? EXIT_WARNINGS : EXIT_DONE;
}

/* ---- the table ---- */

static const char *ca_name(const struct entry *entry)
{
    const struct role *role = role_of_file(entry->base);

    if (entry->ca != NULL)
        return entry->ca != entry ? entry->ca->name : "-";
    return role != NULL && !role_is_ca(role) ? role_at(role->issuer)->name : "-";
}

static void print_table(const struct check *check)
{
    size_t name = 4, ca = 2;

    for (size_t i = 0; i < check->scan.count; i++) {
        name = MAX(name, strlen(check->scan.items[i].name));
        ca = MAX(ca, strlen(ca_name(&check->scan.items[i])));
    }
    printf("%-*s  %-20s  %-9s  %-*s  STATE\n", (int)name, "NAME", "EXPIRES", "RESIDUAL", (int)ca,
           "CA");
    for (size_t i = 0; i < check->scan.count; i++) {
        const struct entry *entry = &check->scan.items[i];
        const struct verdict *verdict = &check->verdicts[i];
        bool known = entry->chain.count != 0;
        char *left = known ? residual(entry->info.not_after_s, check->at_s) : xstrdup("-");

        printf("%-*s  %-20s  %-9s  %-*s  %s%s\n", (int)name, entry->name,
               known ? entry->info.not_after : "-", left, (int)ca, ca_name(entry),
               verdict->state == STATE_WARNING                    ? "warning: "
               : verdict->state == STATE_ERROR && !entry->missing ? "error: "
                                                                  : "",
               verdict->text);
        free(left);
    }
}

/* ---- JSON ---- */

static json_t *entry_json(const struct check *check, size_t i, bool ca)
{
    const struct entry *entry = &check->scan.items[i];
    const struct verdict *verdict = &check->verdicts[i];
    bool known = entry->chain.count != 0;
    bool external = ca ? !entry->key_there : entry->ca != NULL && !entry->ca->key_there;
    json_t *json =
        json_pack("{s:o, s:o, s:I, s:b}", "name", json_text(entry->name), "expirationDate",
                  known ? json_text(entry->info.not_after) : json_null(), "residualTime",
                  (json_int_t)(known ? entry->info.not_after_s - check->at_s : 0),
                  "externallyManaged", !entry->missing && external);
    static const char *const states[] = {"ok", "warning", "error"};

    must(json != NULL);
    if (!ca && strcmp(ca_name(entry), "-") != 0)
        must(json_object_set_new(json, "caName", json_text(ca_name(entry))) == 0);
    must(json_object_set_new(json, "missing", json_boolean(entry->missing)) == 0);
    must(json_object_set_new(json, "file", json_text(entry->path)) == 0);
    must(json_object_set_new(json, "subject",
                             known ? json_text(entry->info.subject) : json_null()) == 0);
    must(json_object_set_new(json, "serial", known ? json_text(entry->info.serial) : json_null()) ==
         0);
    must(json_object_set_new(json, "state", json_text(states[verdict->state])) == 0);
    must(json_object_set_new(json, "reason",
                             json_text(verdict->state == STATE_OK ? "" : verdict->text)) == 0);
    return json;
}

static bool entry_is_ca(const struct entry *entry)
{
    const struct role *role = role_of_file(entry->base);

    return entry->chain.count != 0 ? entry->info.ca : role != NULL && role_is_ca(role);
}

/* err: what went wrong, or ERR_OK. */
static void print_json(const struct check *check, const struct err *err)
{
    json_t *leaves = json_array(), *cas = json_array(), *all;

    for (size_t i = 0; check->verdicts != NULL && i < check->scan.count; i++) {
        bool ca = entry_is_ca(&check->scan.items[i]);

        must(json_array_append_new(ca ? cas : leaves, entry_json(check, i, ca)) == 0);
    }
    all = json_pack("{s:s, s:s, s:o, s:o}", "kind", "CertificateExpirationInfo", "apiVersion",
                    "output.kubeadm.k8s.io/v1alpha3", "certificates", leaves,
                    "certificateAuthorities", cas);
    must(all != NULL);
    if (err->code != ERR_OK)
        must(json_object_set_new(all, "error", json_text(err->text)) == 0);
    (void)json_dumpf(all, stdout, JSON_INDENT(4)); /* main() notices a closed output */
    printf("\n");
    json_decref(all);
}

/* ---- monitoring ---- */

static void print_nagios(const struct check *check)
{
    printf("CERTIFICATES %s", check->errors != 0     ? "CRITICAL"
                              : check->warnings != 0 ? "WARNING"
                                                     : "OK");
    if (check->errors + check->warnings == 0)
        printf(" - %zu certificates", check->scan.count);
    for (size_t i = 0, said = 0; i < check->scan.count; i++)
        if (check->verdicts[i].state != STATE_OK)
            printf("%s%s: %s", said++ == 0 ? " - " : "; ", check->scan.items[i].name,
                   check->verdicts[i].text);
    printf("\n");
}

static void label(struct buf *out, const char *name, const char *value, const char *before)
{
    (void)buf_printf(out, "%s%s=\"", before, name);
    for (; *value != '\0'; value++)
        if (*value == '\n')
            (void)buf_printf(out, "\\n");
        else if (*value == '"' || *value == '\\')
            (void)buf_printf(out, "\\%c", *value);
        else
            (void)buf_append_byte(out, (uint8_t)*value);
    (void)buf_append_byte(out, '"');
}

static void metric_date(const struct entry *entry, const struct x509_info *info, struct buf *out,
                        const char *metric, bool end)
{
    (void)buf_printf(out, "etcd_pki_certificate_%s_seconds{", metric);
    label(out, "file", entry->path, "");
    label(out, "name", entry->name, ",");
    label(out, "cn", info->cn, ",");
    label(out, "issuer", info->issuer, ",");
    label(out, "serial", info->serial, ",");
    (void)buf_printf(out, "} %" PRId64 "\n", end ? info->not_after_s : info->not_before_s);
}

static void metric_dates(const struct check *check, struct buf *out, const char *metric, bool end)
{
    (void)buf_printf(out,
                     "# HELP etcd_pki_certificate_%s_seconds Unix time at which the certificate's "
                     "validity %s.\n# TYPE etcd_pki_certificate_%s_seconds gauge\n",
                     metric, end ? "ends" : "begins", metric);
    for (size_t i = 0; i < check->scan.count; i++) {
        const struct x509_list *chain = &check->scan.items[i].chain;

        for (size_t k = 0; k < chain->count; k++) {
            struct x509_info info;
            bool seen = false; /* the same line twice would spoil the file */

            for (size_t before = 0; before < k; before++)
                seen = seen || x509_certs_equal(chain->items[before], chain->items[k]);
            x509_describe(chain->items[k], &info);
            if (!seen)
                metric_date(&check->scan.items[i], &info, out, metric, end);
            x509_info_free(&info);
        }
    }
}

static int write_prometheus(const struct check *check, const char *path, struct err *err)
{
    struct buf out = BUF_INIT(BUF_UNLIMITED);
    size_t unreadable = 0;
    int rc;

    metric_dates(check, &out, "not_after", true);
    metric_dates(check, &out, "not_before", false);
    (void)buf_printf(&out, "# HELP etcd_pki_certificate_problem What is wrong with a certificate; "
                           "absent when nothing is.\n# TYPE etcd_pki_certificate_problem gauge\n");
    for (size_t i = 0; i < check->scan.count; i++) {
        const struct entry *entry = &check->scan.items[i];

        unreadable += entry->error != NULL ? 1 : 0;
        if (check->verdicts[i].state == STATE_OK)
            continue;
        (void)buf_printf(&out, "etcd_pki_certificate_problem{");
        label(&out, "file", entry->path, "");
        label(&out, "name", entry->name, ",");
        label(&out, "reason", check->verdicts[i].code, ",");
        (void)buf_printf(&out, "} 1\n");
    }
    (void)buf_printf(&out,
                     "# HELP etcd_pki_scan_timestamp_seconds Unix time of this look.\n"
                     "# TYPE etcd_pki_scan_timestamp_seconds gauge\n"
                     "etcd_pki_scan_timestamp_seconds %" PRId64 "\n"
                     "# HELP etcd_pki_scan_errors Files that could not be read.\n"
                     "# TYPE etcd_pki_scan_errors gauge\netcd_pki_scan_errors %zu\n",
                     check->at_s, unreadable);
    rc = store_write(path, buf_slice(&out), 0644, true, check->settings->follow, err);
    buf_free(&out);
    return rc;
}

/* The one line that Nagios shows. */
static void print_nagios_unknown(const struct err *err)
{
    printf("CERTIFICATES UNKNOWN - %s\n", err->text);
}

static void print_check(const struct check *check, bool as_json, const struct err *err)
{
    if (check->settings->nagios && err->code != ERR_OK)
        print_nagios_unknown(err);
    else if (check->settings->nagios)
        print_nagios(check);
    else if (as_json)
        print_json(check, err);
    else if (!check->settings->quiet && check->verdicts != NULL)
        print_table(check);
}

int cmd_check(struct settings *settings)
{
    struct check check = {.settings = settings};
    struct err err = ERR_INIT;
    bool bad, as_json = wants_json(settings, &err, &bad);
    int status;

    if (!bad && check_prepare(&check, settings, &err) == 0 && settings->prometheus != NULL)
        (void)write_prometheus(&check, settings->prometheus, &err); /* `err` says it */
    if (err.code != ERR_USAGE || settings->nagios)
        print_check(&check, as_json, &err);
    status = settings->nagios ? (check.errors != 0     ? 2
                                 : check.warnings != 0 ? 1
                                                       : 0)
                              : check_status(&check);
    if (err.code != ERR_OK) {
        status = say(&err);
        status = settings->nagios ? 3 : status; /* Nagios: unknown */
    }
    check_free(&check);
    return status;
}

/* ---- kubeadm's tables ---- */

/* Cells end with a tab; columns are padded to ten and stand three blanks apart, as kubeadm's. */
static void print_columns(struct texts *rows, size_t columns)
{
    size_t width[8] = {0};

    for (size_t r = 0; r < rows->count; r++) {
        const char *at = rows->items[r];

        for (size_t c = 0; c < columns && strchr(at, '\t') != NULL; c++) {
            size_t bytes = strcspn(at, "\t");

            width[c] = MAX(width[c], MAX(bytes + 3, 10));
            at += bytes + 1;
        }
    }
    for (size_t r = 0; r < rows->count; r++) {
        const char *at = rows->items[r];
        size_t c = 0;

        for (; strchr(at, '\t') != NULL; at += strcspn(at, "\t") + 1) {
            bool last =
                at[strcspn(at, "\t") + 1 + strspn(at + strcspn(at, "\t") + 1, "\t")] == '\0';

            printf("%-*.*s", last ? 0 : (int)width[c++], (int)strcspn(at, "\t"), at);
        }
        printf("\n");
    }
}

static void kubeadm_row(const struct check *check, const struct entry *entry, const char *name,
                        bool ca, struct texts *rows)
{
    char *row, *left, date[64];
    time_t end = (time_t)entry->info.not_after_s;
    struct tm parts;

    if (entry->chain.count == 0) {
        row = xasprintf("!MISSING! %s\t\t\t%s\t", name, ca ? "" : "\t");
    } else {
        bool external = ca ? !entry->key_there : entry->ca != NULL && !entry->ca->key_there;

        left = residual(entry->info.not_after_s, check->at_s);
        must(gmtime_r(&end, &parts) != NULL &&
             strftime(date, sizeof date, "%b %d, %Y %H:%M UTC", &parts) != 0);
        row = xasprintf("%s\t%s\t%s\t%s%s%s\t", name, date, left, ca ? "" : ca_name(entry),
                        ca ? "" : "\t", external ? "yes" : "no");
        free(left);
    }
    texts_add(rows, row);
    free(row);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void kubeadm_table(const struct check *check, bool cas)
{
    struct texts names = {0}, rows = {0};

    for (size_t i = 0; i < check->scan.count; i++) {
        const struct entry *entry = &check->scan.items[i];

        if (entry_is_ca(entry) == cas &&
            (role_of_file(entry->base) != NULL || strstr(entry->base, ".conf") != NULL))
            texts_add(&names, entry->name);
    }
    if (names.count != 0)
        qsort(names.items, names.count, sizeof *names.items, by_bytes);
    texts_add(&rows, cas ? "CERTIFICATE AUTHORITY\tEXPIRES\tRESIDUAL TIME\tEXTERNALLY MANAGED\t"
                         : "CERTIFICATE\tEXPIRES\tRESIDUAL TIME\tCERTIFICATE AUTHORITY\t"
                           "EXTERNALLY MANAGED\t");
    for (size_t n = 0; n < names.count; n++)
        for (size_t i = 0; i < check->scan.count; i++) {
            const struct entry *entry = &check->scan.items[i];

            if (strcmp(entry->name, names.items[n]) == 0)
                kubeadm_row(check, entry, names.items[n], cas, &rows);
        }
    print_columns(&rows, cas ? 4 : 5);
    texts_free(&names);
    texts_free(&rows);
}

int cmd_check_expiration(struct settings *settings)
{
    struct check check;
    struct err err = ERR_INIT;
    bool bad, as_json = wants_json(settings, &err, &bad);
    int status;

    settings->kubeadm_tables = true;
    if (bad || as_json || settings->args.count != 0)
        return bad ? say(&err) : cmd_check(settings);
    if (check_prepare(&check, settings, &err) < 0) {
        check_free(&check);
        return say(&err);
    }
    kubeadm_table(&check, false);
    printf("\n");
    kubeadm_table(&check, true);
    status = check_status(&check);
    check_free(&check);
    return status;
}
