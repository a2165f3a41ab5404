/* member.c - see member.h. Read with jansson; ids go through its 64-bit integers, never a
 * double. */
#include "common/schema/member.h"

#include "common/schema/pbjson.h"

#include <jansson.h>

void member_init(struct member *member, uint64_t id)
{
    *member = (struct member){.id = id, .name = xstrdup("")};
}

static void free_list(char ***list, size_t *count)
{
    for (size_t i = 0; i < *count; i++)
        free((*list)[i]);
    free(*list);
    *list = NULL;
    *count = 0;
}

void member_fini(struct member *member)
{
    free(member->name);
    member->name = NULL;
    free_list(&member->peer_urls, &member->peer_url_count);
    free_list(&member->client_urls, &member->client_url_count);
}

static void set_list(char ***list, size_t *count, const char *const *urls, size_t url_count)
{
    size_t kept = MIN(url_count, MEMBER_URLS_MAX);
    char **copy = kept != 0 ? xalloc(kept * sizeof(*copy)) : NULL;

    for (size_t i = 0; i < kept; i++)
        copy[i] = xstrdup(urls[i]);
    free_list(list, count);
    *list = copy;
    *count = kept;
}

void member_set_name(struct member *member, const char *name)
{
    char *copy = xstrdup(name);

    free(member->name);
    member->name = copy;
}

void member_set_peer_urls(struct member *member, const char *const *urls, size_t count)
{
    set_list(&member->peer_urls, &member->peer_url_count, urls, count);
}

void member_set_client_urls(struct member *member, const char *const *urls, size_t count)
{
    set_list(&member->client_urls, &member->client_url_count, urls, count);
}

void member_copy(struct member *to, const struct member *from)
{
    member_init(to, from->id);
    member_set_name(to, from->name);
    member_set_peer_urls(to, (const char *const *)from->peer_urls, from->peer_url_count);
    member_set_client_urls(to, (const char *const *)from->client_urls, from->client_url_count);
    to->learner = from->learner;
    to->learners_max = from->learners_max;
}

static void write_list(char *const *urls, size_t count, struct buf *out)
{
    buf_append_byte(out, '[');
    for (size_t i = 0; i < count; i++) {
        if (i != 0)
            buf_append_byte(out, ',');
        (void)pbjson_write_string(slice_text(urls[i]), out);
    }
    buf_append_byte(out, ']');
}

static void write_attributes(const struct member *member, bool behind, struct buf *out)
{
    if (member->name[0] != '\0') {
        buf_append_text(out, behind ? ",\"name\":" : "\"name\":");
        (void)pbjson_write_string(slice_text(member->name), out);
        behind = true;
    }
    if (member->client_url_count != 0) {
        buf_append_text(out, behind ? ",\"clientURLs\":" : "\"clientURLs\":");
        write_list(member->client_urls, member->client_url_count, out);
    }
}

bool member_write_json(const struct member *member, bool promote, struct buf *out)
{
    buf_printf(out, "{\"id\":%" PRIu64 ",\"peerURLs\":", member->id);
    if (promote) {
        buf_append_text(out, "null,\"isPromote\":true}");
        return !out->overflow;
    }
    write_list(member->peer_urls, member->peer_url_count, out);
    if (member->learner)
        buf_append_text(out, ",\"isLearner\":true");
    if (member->learners_max != 0)
        buf_printf(out, ",\"maxLearners\":%" PRIu64, member->learners_max);
    write_attributes(member, true, out);
    buf_append_byte(out, '}');
    return !out->overflow;
}

bool member_write_raft_attributes(const struct member *member, struct buf *out)
{
    buf_append_text(out, "{\"peerURLs\":");
    write_list(member->peer_urls, member->peer_url_count, out);
    buf_append_text(out, member->learner ? ",\"isLearner\":true}" : "}");
    return !out->overflow;
}

bool member_write_attributes(const struct member *member, struct buf *out)
{
    buf_append_byte(out, '{');
    write_attributes(member, false, out);
    buf_append_byte(out, '}');
    return !out->overflow;
}

static int read_list(const json_t *root, const char *name, char ***list, size_t *count,
                     struct err *err)
{
    const json_t *array = json_object_get(root, name);
    const char *urls[MEMBER_URLS_MAX];
    size_t n = json_is_array(array) ? json_array_size(array) : 0;

    if (array == NULL || json_is_null(array))
        return 0;
    if (!json_is_array(array) || n > MEMBER_URLS_MAX) {
        err_set(err, ERR_FORMAT, "member JSON: %s is no list of at most %d URLs", name,
                MEMBER_URLS_MAX);
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        urls[i] = json_string_value(json_array_get(array, i));
        if (urls[i] == NULL) {
            err_set(err, ERR_FORMAT, "member JSON: %s[%zu] is no text", name, i);
            return -1;
        }
    }
    set_list(list, count, urls, n);
    return 0;
}

/*
 * jansson's integers are signed; an id above 2^63 comes as a number it refuses. So the digits
 * behind "id": are read here, from the text itself: the form is fixed, the name is the first of the
 * object.
 */
static bool read_id(struct slice json, uint64_t *id, size_t *digits_at, size_t *digits_end)
{
    static const char name[] = "\"id\":";
    const uint8_t *at = memmem(json.data, json.size, name, sizeof(name) - 1);
    size_t position;

    *id = 0;
    if (at == NULL)
        return false;
    position = (size_t)(at - json.data) + sizeof(name) - 1;
    *digits_at = position;
    for (; position < json.size && json.data[position] >= '0' && json.data[position] <= '9';
         position++) {
        uint64_t digit = (uint64_t)(json.data[position] - '0');

        if (*id > (UINT64_MAX - digit) / 10)
            return false;
        *id = *id * 10 + digit;
    }
    *digits_end = position;
    return position > *digits_at;
}

int member_read_json(struct slice json, struct member *member, bool *promote, struct err *err)
{
    size_t digits_at = 0, digits_end = 0;
    uint64_t id = 0;
    bool has_id = read_id(json, &id, &digits_at, &digits_end);
    struct buf text = BUF_INIT(json.size + 1);
    json_error_t problem;
    json_t *root;
    const char *name;
    int rc = -1;

    buf_append(&text, json.data, has_id ? digits_at : json.size);
    if (has_id) { /* the id is known: a 0 in its place suits the parser */
        buf_append_byte(&text, '0');
        buf_append(&text, json.data + digits_end, json.size - digits_end);
    }
    root = json_loadb((const char *)text.data, text.size, 0, &problem);
    buf_free(&text);
    if (!json_is_object(root)) {
        err_set(err, ERR_FORMAT, "member JSON: %s", root == NULL ? problem.text : "no object");
        json_decref(root);
        return -1;
    }
    member_init(member, id);
    name = json_string_value(json_object_get(root, "name"));
    if (name != NULL)
        member_set_name(member, name);
    member->learner = json_is_true(json_object_get(root, "isLearner"));
    member->learners_max =
        (uint64_t)MAX(json_integer_value(json_object_get(root, "maxLearners")), 0);
    if (promote != NULL)
        *promote = json_is_true(json_object_get(root, "isPromote"));
    if (read_list(root, "peerURLs", &member->peer_urls, &member->peer_url_count, err) == 0 &&
        read_list(root, "clientURLs", &member->client_urls, &member->client_url_count, err) == 0)
        rc = 0;
    if (rc < 0)
        member_fini(member);
    json_decref(root);
    return rc;
}
