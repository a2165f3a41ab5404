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

unsigned version_level(const char *text)
{
    unsigned major = 0, minor = 0;

    if (sscanf(text, "%3u.%3u.", &major, &minor) != 2)
        return 0;
    return major * LEVEL_MAJOR + minor;
}
