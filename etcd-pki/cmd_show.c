/*
 * cmd_show.c - show and describe: what is in these files, for people and for programs.
 * The JSON has its keys in a fixed order and no field that depends on where or when it is made.
 */
#include "common/base/file.h"
#include "common/base/limits.h"
#include "etcd-pki/pki.h"
#include "etcd-pki/report.h"
#include "etcd-pki/scan.h"

#include <jansson.h>
#include <stdio.h>
#include <sys/stat.h>

static json_t *cert_json(const struct x509_info *info, bool normalise)
{
    json_t *json = json_pack("{s:o, s:o}", "subject", json_text(info->subject), "issuer",
                             json_text(info->issuer));

    must(json != NULL);
    if (!normalise) {
        must(json_object_set_new(json, "serial", json_text(info->serial)) == 0);
        must(json_object_set_new(json, "notBefore", json_text(info->not_before)) == 0);
        must(json_object_set_new(json, "notAfter", json_text(info->not_after)) == 0);
    }
    must(json_object_set_new(json, "lifetimeSeconds",
                             json_integer(info->not_after_s - info->not_before_s)) == 0);
    must(json_object_set_new(json, "publicKey", json_text(info->key)) == 0);
    must(json_object_set_new(json, "signatureAlgorithm", json_text(info->signature)) == 0);
    must(json_object_set_new(json, "ca", json_boolean(info->ca)) == 0);
    must(json_object_set_new(json, "keyUsage", json_text(info->key_usage)) == 0);
    must(json_object_set_new(json, "extendedKeyUsage", json_text(info->extended_usage)) == 0);
    must(json_object_set_new(json, "alternativeNames", json_text(info->sans)) == 0);
    if (!normalise)
        must(json_object_set_new(json, "sha256", json_text(info->fingerprint)) == 0);
    return json;
}

static void print_cert(const char *file, size_t number, size_t of, const struct x509_info *info)
{
    char *left = residual(info->not_after_s, clock_s());

    if (of > 1)
        printf("%s  (certificate %zu of %zu)\n", file, number, of);
    else
        printf("%s\n", file);
    printf("    subject    %s\n", info->subject);
    printf("    issuer     %s%s\n", info->issuer, info->self_issued ? "  (itself)" : "");
    printf("    serial     %s\n", info->serial);
    printf("    valid      %s to %s (%s)\n", info->not_before, info->not_after, left);
    printf("    key        %s, signed with %s\n", info->key, info->signature);
    printf("    usage      %s%s\n", info->key_usage, info->ca ? "; CA" : "");
    printf("    extended   %s\n", info->extended_usage);
    printf("    names      %s\n", info->sans);
    printf("    sha256     %s\n", info->fingerprint);
    free(left);
}

static int show_file(const char *path, json_t *list, struct err *err)
{
    struct x509_list certs;

    if (x509_list_read(path, false, &certs, err) < 0)
        return -1;
    for (size_t i = 0; i < certs.count; i++) {
        struct x509_info info;

        x509_describe(certs.items[i], &info);
        if (list != NULL) {
            json_t *json =
                json_pack("{s:o, s:I}", "file", json_text(path), "number", (json_int_t)i + 1);
            json_t *fields = cert_json(&info, false);

            must(json != NULL && json_object_update(json, fields) == 0);
            json_decref(fields);
            must(json_array_append_new(list, json) == 0);
        } else {
            print_cert(path, i + 1, certs.count, &info);
        }
        x509_info_free(&info);
    }
    x509_list_free(&certs);
    return 0;
}

/* A name of kubeadm's ("etcd-server") or a path without extension means the file in --dir. */
static char *file_named(const struct settings *settings, const char *name)
{
    const struct role *role = role_named(name);
    char *path;

    if (file_exists(name))
        return xstrdup(name);
    path = xasprintf("%s/%s.crt", reading_dir(settings), role != NULL ? role->file : name);
    if (file_exists(path))
        return path;
    free(path);
    return xstrdup(name);
}

int cmd_show(struct settings *settings)
{
    struct err err = ERR_INIT;
    bool bad, as_json = wants_json(settings, &err, &bad);
    json_t *list = as_json ? json_array() : NULL, *all = as_json ? json_object() : NULL;
    int status = EXIT_DONE;

    if (as_json)
        must(json_object_set(all, "certificates", list) == 0);

    if (!bad && settings->args.count == 0) {
        err_set(&err, ERR_USAGE, "show: which file?");
        bad = true;
    }
    for (size_t i = 0; !bad && i < settings->args.count; i++) {
        char *path = file_named(settings, settings->args.items[i]);

        err = ERR_INIT;
        if (show_file(path, list, &err) < 0) {
            json_t *row = report_row(all, "errors");

            report_text(row, "file", path);
            report_text(row, "error", err.text);
            status = say(&err); /* go on: the other files are still of interest */
        }
        free(path);
    }
    if (bad)
        status = say(&err);
    else if (as_json)
        json_put(json_incref(all));
    json_decref(all);
    json_decref(list);
    return status;
}

/* ---- describe ---- */

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static json_t *mode_json(const char *path)
{
    struct stat info;
    char text[8] = "?";

    if (stat(path, &info) == 0)
        (void)snprintf(text, sizeof text, "%04o", info.st_mode & 07777);
    return json_text(text);
}

static json_t *describe_file(const char *root, const char *name, bool normalise)
{
    char *path = xasprintf("%s/%s", root, name);
    char *key_path = xasprintf("%s/%.*s.key", root, (int)strlen(name) - 4, name);
    json_t *json = json_pack("{s:o, s:o}", "file", json_text(name), "mode", mode_json(path)),
           *fields;
    struct x509_list certs = {0};
    struct x509_key *key = NULL;
    struct x509_info info;
    struct err err = ERR_INIT;

    must(json != NULL);
    if (x509_list_read(path, false, &certs, &err) < 0) {
        must(json_object_set_new(json, "error", json_text(err.text)) == 0);
        goto out;
    }
    x509_describe(certs.items[0], &info);
    must(json_object_set_new(json, "certificates", json_integer((json_int_t)certs.count)) == 0);
    fields = cert_json(&info, normalise);
    must(json_object_update(json, fields) == 0);
    json_decref(fields);
    x509_info_free(&info);
    if (file_exists(key_path)) {
        bool locked, reads = x509_key_open(key_path, NULL, &key, &locked, &err) == 0 && key != NULL;

        must(json_object_set_new(json, "keyMode", mode_json(key_path)) == 0);
        must(json_object_set_new(
                 json, "keyMatches",
                 locked ? json_null() : json_boolean(reads && x509_has_key(certs.items[0], key))) ==
             0);
    }
out:
    x509_key_free(key);
    x509_list_free(&certs);
    free(path);
    free(key_path);
    return json;
}

int cmd_describe(struct settings *settings)
{
    json_t *nodes = json_array();
    struct err err = ERR_INIT;
    int status = EXIT_DONE;

    if (settings->args.count == 0)
        texts_add(&settings->args, reading_dir(settings));
    for (size_t i = 0; i < settings->args.count; i++) {
        const char *root = settings->args.items[i];
        struct texts found = {0};
        json_t *files = json_array();
        json_t *node = json_pack("{s:o, s:O}", "directory", json_text(root), "files", files);

        must(node != NULL && json_array_append_new(nodes, node) == 0);
        err = ERR_INIT;
        if (scan_find(root, ".crt", &found, &err) < 0) {
            report_text(node, "error", err.text);
            status = say(&err);
        }
        if (found.count != 0)
            qsort(found.items, found.count, sizeof *found.items, by_bytes);
        for (size_t k = 0; k < found.count; k++)
            must(json_array_append_new(
                     files, describe_file(root, found.items[k], settings->normalise)) == 0);
        json_decref(files);
        texts_free(&found);
    }
    json_put(json_pack("{s:o}", "directories", nodes));
    return status;
}
