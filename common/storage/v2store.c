/*
 * v2store.c - see v2store.h.
 *
 *     /0/members/<hex(id)>/raftAttributes     JSON of peer URLs
 *     /0/members/<hex(id)>/attributes         JSON of name and client URLs, once published
 *     /0/removed_members/<hex(id)>            empty
 *     /0/version                              "3.5.0"
 *     /1                                      empty directory
 *
 * A node is an object; Children makes it a directory, null or missing Children a plain key.
 */
#include "common/storage/v2store.h"
#include "common/base/hex.h"
#include "common/base/limits.h"
#include "common/schema/pbjson.h"

#include <jansson.h>
#include <stdio.h>

#define REMOVED_MAX 1000000 /* ids; a file that claims more is not believed */

void v2store_free(struct v2store *store)
{
    for (size_t at = 0; at < store->member_count; at++)
        member_fini(&store->members[at]);
    free(store->members);
    free(store->removed);
    free(store->version);
    *store = (struct v2store){0};
}

/* ---- writing ---- */

/* "<leaf>":{"Path":"<path>/<leaf>","Value":"..."} */
static bool put_key(struct buf *out, const char *path, const char *leaf, struct slice value)
{
    return buf_printf(out, "\"%s\":{\"Path\":\"%s/%s\",\"Value\":", leaf, path, leaf) &&
           pbjson_write_string(value, out) && buf_append_text(out, "}");
}

static bool put_member(const struct member *member, struct buf *out)
{
    char path[64];
    struct buf value = BUF_INIT(out->max);
    bool fits;

    (void)snprintf(path, sizeof(path), "/0/members/%" PRIx64, member->id);
    fits = buf_printf(out, "\"%" PRIx64 "\":{\"Path\":\"%s\",\"Children\":{", member->id, path) &&
           member_write_raft_attributes(member, &value) &&
           put_key(out, path, "raftAttributes", buf_slice(&value));
    if (fits && (member->name[0] != '\0' || member->client_url_count != 0)) {
        buf_reset(&value);
        fits = buf_append_byte(out, ',') && member_write_attributes(member, &value) &&
               put_key(out, path, "attributes", buf_slice(&value));
    }
    buf_free(&value);
    return fits && buf_append_text(out, "}}");
}

static bool put_removed(const struct v2store *store, struct buf *out)
{
    bool fits = buf_append_text(
        out, ",\"removed_members\":{\"Path\":\"/0/removed_members\",\"Children\":{");

    for (size_t at = 0; fits && at < store->removed_count; at++) {
        char leaf[17];

        (void)snprintf(leaf, sizeof(leaf), "%" PRIx64, store->removed[at]);
        fits = (at == 0 || buf_append_byte(out, ',')) &&
               put_key(out, "/0/removed_members", leaf, SLICE_EMPTY);
    }
    return fits && buf_append_text(out, "}}");
}

bool v2store_write(const struct v2store *store, struct buf *out)
{
    bool fits = buf_append_text(
        out, "{\"Root\":{\"Path\":\"/\",\"Children\":{\"0\":{\"Path\":\"/0\",\"Children\":{"
             "\"members\":{\"Path\":\"/0/members\",\"Children\":{");

    for (size_t at = 0; fits && at < store->member_count; at++)
        fits = (at == 0 || buf_append_byte(out, ',')) && put_member(&store->members[at], out);
    fits = fits && buf_append_text(out, "}}");
    if (fits && store->removed_count != 0)
        fits = put_removed(store, out);
    if (fits && store->version != NULL)
        fits =
            buf_append_byte(out, ',') && put_key(out, "/0", "version", slice_text(store->version));
    return fits && buf_printf(out,
                              "}},\"1\":{\"Path\":\"/1\",\"Children\":{}}}},"
                              "\"CurrentIndex\":%" PRIu64 ",\"CurrentVersion\":2}",
                              store->index);
}

/* ---- reading ---- */

static int malformed(struct err *err, const char *what, const char *where)
{
    err_set(err, ERR_FORMAT, "membership in the snapshot: %s: %s", what, where);
    return -1;
}

static int parse_id(const char *text, uint64_t *id, struct err *err)
{
    return hex_read(slice_text(text), id) ? 0 : malformed(err, "not a member id", text);
}

/* The node's directory, or NULL when it is a key or missing. */
static json_t *children(json_t *node, const char *name)
{
    json_t *list = json_object_get(json_object_get(node, name), "Children");

    return json_is_object(list) ? list : NULL;
}

/* Take over what the value of a key says: `fields` of it, for `member`. */
static int read_value(json_t *node, const char *leaf, const char *id, struct member *read,
                      struct err *err)
{
    json_t *value = json_object_get(json_object_get(node, leaf), "Value");

    if (!json_is_string(value))
        return malformed(err, leaf, "missing for a member");
    if (member_read_json(slice_of(json_string_value(value), json_string_length(value)), read, NULL,
                         err) == 0)
        return 0;
    err_prefix(err, "membership in the snapshot: %s of member %s", leaf, id);
    return -1;
}

static int read_member(const char *text, json_t *node, struct member *member, struct err *err)
{
    json_t *keys = json_object_get(node, "Children");
    struct member read;
    uint64_t id;

    if (parse_id(text, &id, err) < 0 || read_value(keys, "raftAttributes", text, member, err) < 0)
        return -1;
    member->id = id;
    if (json_object_get(keys, "attributes") == NULL)
        return 0;
    if (read_value(keys, "attributes", text, &read, err) < 0) {
        member_fini(member);
        return -1;
    }
    member_set_name(member, read.name);
    if (read.client_url_count != 0) {
        const char *urls[MEMBER_URLS_MAX];

        for (size_t at = 0; at < read.client_url_count; at++)
            urls[at] = read.client_urls[at];
        member_set_client_urls(member, urls, read.client_url_count);
    }
    member_fini(&read);
    return 0;
}

static int by_id(const void *a, const void *b)
{
    uint64_t one = ((const struct member *)a)->id, two = ((const struct member *)b)->id;

    return (one > two) - (one < two);
}

static int by_number(const void *a, const void *b)
{
    uint64_t one = *(const uint64_t *)a, two = *(const uint64_t *)b;

    return (one > two) - (one < two);
}

/* "a" and "A" are two names in JSON, and one id. */
static int named_twice(uint64_t id, struct err *err)
{
    err_set(err, ERR_FORMAT, "membership in the snapshot: member %" PRIx64 " is named twice", id);
    return -1;
}

static int read_members(json_t *list, struct v2store *store, struct err *err)
{
    const char *id;
    json_t *node;

    if (list == NULL)
        return malformed(err, "no directory", "/0/members");
    if (json_object_size(list) > RAFT_MEMBERS_MAX)
        return malformed(err, "too many members", "/0/members");
    store->members = xalloc(json_object_size(list) * sizeof(*store->members));
    json_object_foreach(list, id, node)
    {
        if (read_member(id, node, &store->members[store->member_count], err) < 0)
            return -1;
        store->member_count++;
    }
    qsort(store->members, store->member_count, sizeof(*store->members), by_id);
    for (size_t at = 1; at < store->member_count; at++)
        if (store->members[at - 1].id == store->members[at].id)
            return named_twice(store->members[at].id, err);
    return 0;
}

static int read_removed(json_t *list, struct v2store *store, struct err *err)
{
    const char *id;
    json_t *node;

    if (list == NULL)
        return 0;
    if (json_object_size(list) > REMOVED_MAX)
        return malformed(err, "too many members", "/0/removed_members");
    store->removed = xalloc(json_object_size(list) * sizeof(*store->removed));
    json_object_foreach(list, id, node)
    {
        if (parse_id(id, &store->removed[store->removed_count], err) < 0)
            return -1;
        store->removed_count++;
    }
    qsort(store->removed, store->removed_count, sizeof(*store->removed), by_number);
    for (size_t at = 1; at < store->removed_count; at++)
        if (store->removed[at - 1] == store->removed[at])
            return named_twice(store->removed[at], err);
    return 0;
}

/* Beside /0 only empty directories are allowed: anything else is a v2 store that was in use. */
static int check_foreign(json_t *root, struct err *err)
{
    const char *name;
    json_t *node;

    json_object_foreach(root, name, node)
    {
        json_t *list = json_object_get(node, "Children");

        if (strcmp(name, "0") == 0)
            continue;
        if (!json_is_object(list) || json_object_size(list) != 0)
            return malformed(err, "keys of the v2 API are in use, export them with etcd 3.5 first",
                             name);
    }
    return 0;
}

static int read_root(json_t *json, struct v2store *store, struct err *err)
{
    json_t *root = children(json, "Root");
    json_t *own = children(root, "0");
    json_t *version = json_object_get(json_object_get(own, "version"), "Value");

    if (root == NULL || own == NULL)
        return malformed(err, "no directory", "/0");
    if (check_foreign(root, err) < 0 || read_members(children(own, "members"), store, err) < 0 ||
        read_removed(children(own, "removed_members"), store, err) < 0)
        return -1;
    if (json_is_string(version))
        store->version = xstrdup(json_string_value(version));
    json_int_t index = json_integer_value(json_object_get(json, "CurrentIndex"));

    store->index = index > 0 ? (uint64_t)index : 0; /* below 0 is no index: any number will do */
    return 0;
}

int v2store_read(struct slice json, struct v2store *store, struct err *err)
{
    struct v2store read = {0};
    json_error_t where;
    json_t *root = json_loadb((const char *)json.data, json.size, JSON_REJECT_DUPLICATES, &where);
    int rc = root == NULL ? malformed(err, "not JSON", where.text) : read_root(root, &read, err);

    json_decref(root);
    if (rc < 0)
        v2store_free(&read);
    else
        *store = read;
    return rc;
}
