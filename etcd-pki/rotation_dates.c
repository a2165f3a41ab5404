/*
 * rotation_dates.c - rotation.json: since when a rotation is where it stands. Where it stands is
 * what the certificates show; losing this file loses the dates only.
 *     {"etcd/ca": {"prepared": "2027-11-22T01:42:28Z", "switched": "2027-11-23T01:42:28Z"}}
 */
#include "common/base/file.h"
#include "etcd-pki/life.h"
#include "etcd-pki/report.h"
#include "etcd-pki/store.h"

#include <jansson.h>
#include <stdio.h>
#include <unistd.h>

#define FILE_MAX_BYTES 65536UL

static char *path_of(const char *dir)
{
    return xasprintf("%s/" ROTATION_FILE, dir);
}

/* An object, empty when there is no file or it cannot be read. */
static json_t *read_all(const char *dir)
{
    char *path = path_of(dir);
    struct buf text = BUF_INIT(FILE_MAX_BYTES);
    struct err err = ERR_INIT;
    json_t *all = NULL;

    if (file_exists(path) && file_read_all(path, &text, &err) == 0)
        all = json_loadb((const char *)buf_slice(&text).data, buf_used(&text), 0, NULL);
    if (!json_is_object(all)) {
        json_decref(all);
        all = json_object();
    }
    buf_free(&text);
    free(path);
    return all;
}

static void take(const json_t *entry, const char *key, char date[32])
{
    const char *text = json_string_value(json_object_get(entry, key));

    (void)snprintf(date, 32, "%s", text != NULL ? text : "");
    for (char *c = date; *c != '\0'; c++)
        if (strchr("0123456789-:TZ", *c) == NULL)
            *date = '\0';
}

void rotation_dates_read(const char *dir, const char *base, struct rotation_dates *dates)
{
    json_t *all = read_all(dir);
    json_t *name = json_text(base);
    const json_t *entry = json_object_get(all, json_string_value(name));

    take(entry, "prepared", dates->prepared);
    take(entry, "switched", dates->switched);
    json_decref(name);
    json_decref(all);
}

int rotation_dates_write(const char *dir, const char *base, const struct rotation_dates *dates,
                         struct err *err)
{
    json_t *all = read_all(dir), *entry = NULL, *name = json_text(base);
    char *path = path_of(dir), *text;
    int rc = 0;

    if (dates != NULL) {
        entry = json_object();
        if (dates->prepared[0] != '\0')
            must(json_object_set_new(entry, "prepared", json_string(dates->prepared)) == 0);
        if (dates->switched[0] != '\0')
            must(json_object_set_new(entry, "switched", json_string(dates->switched)) == 0);
        must(json_object_set_new(all, json_string_value(name), entry) == 0);
    } else {
        (void)json_object_del(all, json_string_value(name));
    }
    if (json_object_size(all) == 0) {
        (void)unlink(path); /* absent is fine */
    } else {
        text = json_dumps(all, JSON_INDENT(2) | JSON_SORT_KEYS);
        must(text != NULL);
        rc = file_write_atomic(path, slice_text(text), 0644, true, err);
        free(text);
    }
    json_decref(name);
    json_decref(all);
    free(path);
    return rc;
}
