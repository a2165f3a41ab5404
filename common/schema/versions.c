/* versions.c - see versions.h. */
#include "common/schema/versions.h"

#include <jansson.h>
#include <stdio.h>

#define LEVEL_MAJOR 1000

static void copy(const json_t *root, const char *name, char text[VERSION_TEXT_BYTES])
{
    const char *value = json_string_value(json_object_get(root, name));

    (void)snprintf(text, VERSION_TEXT_BYTES, "%s", value != NULL ? value : ""); /* or cut */
}

int versions_read_json(struct slice json, struct versions *versions, struct err *err)
{
    json_error_t problem;
    json_t *root = json_loadb((const char *)json.data, json.size, 0, &problem);

    if (!json_is_object(root)) {
        err_set(err, ERR_FORMAT, "/version: %s", root == NULL ? problem.text : "no object");
        json_decref(root);
        return -1;
    }
    copy(root, "etcdserver", versions->server);
    copy(root, "etcdcluster", versions->cluster);
    json_decref(root);
    return 0;
}

bool version_read(const char *text, unsigned *major, unsigned *minor)
{
    unsigned patch;
    int used = 0;

    if (sscanf(text, "%3u.%3u.%3u%n", major, minor, &patch, &used) == 3 &&
        (text[used] == '\0' || text[used] == '-' || text[used] == '+'))
        return true;
    used = 0;
    return sscanf(text, "%3u.%3u%n", major, minor, &used) == 2 && text[used] == '\0';
}

unsigned version_level(const char *text)
{
    unsigned major, minor;

    return version_read(text, &major, &minor) ? major * LEVEL_MAJOR + minor : 0;
}
