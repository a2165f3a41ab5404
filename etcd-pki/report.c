/*
 * report.c - what a verb has done, as one JSON object: collected in settings->report while the verb
 * works, printed when it has ended.
 *
 *     {"ok": true, "dryRun": true, "files": [{"file": ..., "action": ..., ...}], ...}
 *
 * "files" is sorted by name; what else a verb has to say follows in the order it was said.
 */
#include "common/client/unicode.h"
#include "etcd-pki/pki.h"
#include "etcd-pki/report.h"

#include <jansson.h>
#include <stdio.h>

bool says(const struct settings *settings)
{
    return !settings->quiet && settings->report == NULL;
}

json_t *json_text(const char *text)
{
    struct buf clean = BUF_INIT(BUF_UNLIMITED);
    json_t *json;

    for (struct slice left = slice_text(text); left.size != 0;) {
        uint32_t point;
        size_t bytes = unicode_decode(left, &point);

        if (bytes == 0)
            (void)buf_printf(&clean, "\xef\xbf\xbd"); /* U+FFFD */
        else
            (void)buf_append(&clean, left.data, bytes);
        left.data += MAX(bytes, 1);
        left.size -= MAX(bytes, 1);
    }
    json = json_string(buf_text(&clean));
    must(json != NULL);
    buf_free(&clean);
    return json;
}

void json_put(json_t *json)
{
    (void)json_dumpf(json, stdout, JSON_INDENT(2)); /* main() notices a closed output */
    printf("\n");
    json_decref(json);
}

int fail(const struct settings *settings, const struct err *err)
{
    report_text(settings->report, "error", err->text);
    return say(err);
}

void report_begin(struct settings *settings)
{
    settings->report = json_object();
    must(settings->report != NULL);
}

void report_drop(struct settings *settings)
{
    json_decref(settings->report);
    settings->report = NULL;
}

void report_text(json_t *row, const char *key, const char *text)
{
    if (row != NULL)
        must(json_object_set_new(row, key, json_text(text)) == 0);
}

void report_number(json_t *row, const char *key, int64_t number)
{
    if (row != NULL)
        must(json_object_set_new(row, key, json_integer(number)) == 0);
}

void report_flag(json_t *row, const char *key, bool flag)
{
    if (row != NULL)
        must(json_object_set_new(row, key, json_boolean(flag)) == 0);
}

json_t *report_row(json_t *in, const char *list)
{
    json_t *rows, *row;

    if (in == NULL)
        return NULL;
    rows = json_object_get(in, list);
    if (rows == NULL) {
        rows = json_array();
        must(rows != NULL && json_object_set_new(in, list, rows) == 0);
    }
    row = json_object();
    must(row != NULL && json_array_append_new(rows, row) == 0);
    return row;
}

json_t *report_file(const struct settings *settings, const char *dir, const char *base,
                    const char *extension, const char *action)
{
    json_t *row = report_row(settings->report, "files");
    char *path = dir != NULL ? xasprintf("%s/%s%s", dir, base, extension)
                             : xasprintf("%s%s", base, extension);

    report_text(row, "file", path);
    report_text(row, "action", action);
    free(path);
    return row;
}

void report_cert(json_t *row, const struct x509_cert *cert)
{
    struct x509_info info;

    if (row == NULL)
        return;
    x509_describe(cert, &info);
    report_text(row, "subject", info.subject);
    report_text(row, "issuer", info.issuer);
    report_text(row, "serial", info.serial);
    report_text(row, "notBefore", info.not_before);
    report_text(row, "notAfter", info.not_after);
    report_text(row, "extendedKeyUsage", info.extended_usage);
    report_text(row, "alternativeNames", info.sans);
    x509_info_free(&info);
}

static int by_file(const void *a, const void *b)
{
    return strcmp(json_string_value(json_object_get(*(json_t *const *)a, "file")),
                  json_string_value(json_object_get(*(json_t *const *)b, "file")));
}

static json_t *sorted(const json_t *files)
{
    size_t count = json_array_size(files);
    json_t **rows = xalloc(count * sizeof(json_t *)), *list = json_array();

    must(list != NULL);
    for (size_t i = 0; i < count; i++)
        rows[i] = json_array_get(files, i);
    if (count != 0)
        qsort(rows, count, sizeof(json_t *), by_file);
    for (size_t i = 0; i < count; i++)
        must(json_array_append(list, rows[i]) == 0);
    free(rows);
    return list;
}

void report_print(const struct settings *settings, bool ok)
{
    const json_t *files = json_object_get(settings->report, "files");
    json_t *all = json_object();

    report_flag(all, "ok", ok);
    if (settings->dry_run)
        report_flag(all, "dryRun", true);
    must(json_object_update(all, settings->report) == 0);
    if (files != NULL)
        must(json_object_set_new(all, "files", sorted(files)) == 0);
    json_put(all);
}
