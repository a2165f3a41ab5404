/*
 * member.c - see member.h. Sorted arrays: a cluster has a handful of members.
 *
 *   member_apply_change()   add() | promote (add() too) | update | take_out(), and each: judge,
 *                           then change the array, then the buckets by way of the batch
 *   member_apply_v2()       what old requests say -> member_apply_attributes(), _version()
 */
#include "etcd-server/state/member.h"
#include "common/base/hex.h"
#include "common/storage/v2store.h"

#include <stdio.h>

#define LEARNERS_MAX_DEFAULT 1 /* when the entry does not say */
#define VERSION_MAX 32

struct member_store {
    struct member members[RAFT_MEMBERS_MAX];
    size_t count;
    uint64_t *removed; /* owned, ascending; never shrinks, as in etcd */
    size_t removed_count;
    char version[VERSION_MAX];
    char downgrade[VERSION_MAX]; /* target; "" = none runs */
};

struct member_store *member_store_new(void)
{
    return xalloc(sizeof(struct member_store));
}

void member_store_free(struct member_store *members)
{
    if (members == NULL)
        return;
    for (size_t i = 0; i < members->count; i++)
        member_fini(&members->members[i]);
    free(members->removed);
    free(members);
}

size_t member_count(const struct member_store *members)
{
    return members->count;
}

const struct member *member_at(const struct member_store *members, size_t position)
{
    must(position < members->count);
    return &members->members[position];
}

static struct member *find(struct member_store *members, uint64_t id)
{
    for (size_t i = 0; i < members->count; i++)
        if (members->members[i].id == id)
            return &members->members[i];
    return NULL;
}

const struct member *member_find(const struct member_store *members, uint64_t id)
{
    for (size_t i = 0; i < members->count; i++)
        if (members->members[i].id == id)
            return &members->members[i];
    return NULL;
}

bool member_is_removed(const struct member_store *members, uint64_t id)
{
    for (size_t i = 0; i < members->removed_count; i++)
        if (members->removed[i] == id)
            return true;
    return false;
}

const char *member_cluster_version(const struct member_store *members)
{
    return members->version;
}

static void set_version(struct member_store *members, const char *version)
{
    /* a longer one is no version */
    (void)snprintf(members->version, sizeof(members->version), "%s", version);
}

void member_store_set_removed(struct member_store *members, uint64_t id)
{
    size_t at = 0;

    if (member_is_removed(members, id))
        return;
    members->removed =
        xrealloc(members->removed, (members->removed_count + 1) * sizeof(*members->removed));
    while (at < members->removed_count && members->removed[at] < id)
        at++;
    memmove(members->removed + at + 1, members->removed + at,
            (members->removed_count - at) * sizeof(*members->removed));
    members->removed[at] = id;
    members->removed_count++;
}

static void set_member(struct member_store *members, const struct member *member)
{
    struct member *old = find(members, member->id);
    size_t at = 0;

    if (old != NULL) {
        member_fini(old);
        member_copy(old, member);
        return;
    }
    if (members->count == RAFT_MEMBERS_MAX)
        return;
    while (at < members->count && members->members[at].id < member->id)
        at++;
    memmove(members->members + at + 1, members->members + at,
            (members->count - at) * sizeof(*members->members));
    member_copy(&members->members[at], member);
    members->count++;
}

static size_t hex_key(uint64_t id, char out[17])
{
    return (size_t)snprintf(out, 17, "%" PRIx64, id);
}

/* The running downgrade is in no snapshot text: it comes from the bucket (formats.md 2.4). */
void member_store_restore_downgrade(struct member_store *members, struct backend_read *read)
{
    static const char target[] = "\"target-version\":\"";
    struct slice value;
    const uint8_t *at;
    size_t length = 0;

    if (!backend_get(read, BUCKET_CLUSTER, SLICE_LITERAL("downgrade"), &value))
        return;
    at = memmem(value.data, value.size, target, sizeof(target) - 1);
    if (at == NULL)
        return;
    at += sizeof(target) - 1;
    while (at + length < value.data + value.size && at[length] != '"' && length < VERSION_MAX - 1)
        length++;
    memcpy(members->downgrade, at, length);
    members->downgrade[length] = '\0';
}

static void save(const struct member *member, struct batch *batch)
{
    struct buf json = BUF_INIT(BUF_UNLIMITED);
    char key[17];

    if (batch == NULL)
        return;
    must(member_write_json(member, false, &json));
    batch_put(batch, BUCKET_MEMBERS, slice_of(key, hex_key(member->id, key)), buf_slice(&json));
    buf_free(&json);
}

static bool is_right(const struct member *member, struct slice json)
{
    struct err ignored = ERR_INIT;
    struct member kept;
    bool right;

    if (member_read_json(json, &kept, NULL, &ignored) < 0)
        return false;
    right = kept.learner == member->learner;
    member_fini(&kept);
    return right;
}

void member_store_repair(const struct member_store *members, struct backend_read *read,
                         struct batch *batch)
{
    struct backend_cursor *cursor;
    struct slice key, json;

    if (members->count == 0) /* nobody is known yet: it joins */
        return;
    cursor = backend_cursor_open(read, BUCKET_MEMBERS);
    for (bool more = backend_cursor_seek(cursor, SLICE_EMPTY, &key, &json); more;
         more = backend_cursor_next(cursor, &key, &json)) {
        uint64_t id = 0;
        const struct member *member = hex_read(key, &id) ? member_find(members, id) : NULL;

        if (member == NULL)
            batch_delete(batch, BUCKET_MEMBERS, key);
        else if (!is_right(member, json))
            save(member, batch);
    }
    backend_cursor_close(cursor);
}

static bool url_in_use(const struct member_store *members, const struct member *by)
{
    for (size_t i = 0; i < members->count; i++) {
        const struct member *other = &members->members[i];

        if (other->id == by->id)
            continue;
        for (size_t a = 0; a < other->peer_url_count; a++)
            for (size_t b = 0; b < by->peer_url_count; b++)
                if (strcmp(other->peer_urls[a], by->peer_urls[b]) == 0)
                    return true;
    }
    return false;
}

size_t member_learner_count(const struct member_store *members)
{
    size_t learners = 0;

    for (size_t i = 0; i < members->count; i++)
        learners += members->members[i].learner;
    return learners;
}

static enum err_code add(struct member_store *members, struct member *member, bool promote,
                         struct batch *batch)
{
    struct member *old = find(members, member->id);
    uint64_t learners_max = MAX(member->learners_max, LEARNERS_MAX_DEFAULT);

    if (promote) {
        if (old == NULL)
            return ERR_MEMBER_NOT_FOUND;
        if (!old->learner)
            return ERR_MEMBER_NOT_LEARNER;
        old->learner = false;
        save(old, batch);
        return ERR_OK;
    }
    if (old != NULL)
        return ERR_MEMBER_EXIST;
    if (url_in_use(members, member))
        return ERR_PEER_URL_EXIST;
    if (member->learner && member_learner_count(members) >= learners_max)
        return ERR_TOO_MANY_LEARNERS;
    if (members->count == RAFT_MEMBERS_MAX) /* raft would have to stop all of them */
        return ERR_TOO_MANY_MEMBERS;
    member->learners_max = 0; /* it was for this entry */
    set_member(members, member);
    save(member, batch);
    return ERR_OK;
}

/* Who took the call has looked, but two that take each other out may both be asked in time. */
static bool is_last_voter(const struct member_store *members, const struct member *member)
{
    return !member->learner && members->count - member_learner_count(members) == 1;
}

static enum err_code take_out(struct member_store *members, uint64_t id, struct batch *batch)
{
    struct member *old = find(members, id);
    char key[17];
    size_t at;

    if (old == NULL)
        return ERR_MEMBER_NOT_FOUND;
    if (is_last_voter(members, old)) /* raft would have to stop all of them, at every start */
        return ERR_MEMBER_NOT_ENOUGH_STARTED;
    at = (size_t)(old - members->members);
    member_fini(old);
    memmove(old, old + 1, (members->count - at - 1) * sizeof(*old));
    members->count--;
    member_store_set_removed(members, id);
    if (batch != NULL) {
        struct slice name = slice_of(key, hex_key(id, key));

        batch_delete(batch, BUCKET_MEMBERS, name);
        batch_put(batch, BUCKET_MEMBERS_REMOVED, name, SLICE_LITERAL("removed"));
    }
    return ERR_OK;
}

enum err_code member_apply_change(struct member_store *members,
                                  const struct raft_conf_change *change, struct batch *batch)
{
    /* a context that cannot be read is the same on every member: refused */
    struct err ignored = ERR_INIT;
    struct member member;
    bool promote = false;
    enum err_code code = ERR_OK;

    if (member_is_removed(members, change->node_id))
        return ERR_MEMBER_NOT_FOUND;
    if (change->type == RAFT_CONF_REMOVE_NODE)
        return take_out(members, change->node_id, batch);
    if (member_read_json(change->context, &member, &promote, &ignored) < 0)
        return ERR_MEMBER_BAD_URLS;
    if (member.id != change->node_id) {
        code = ERR_MEMBER_BAD_URLS;
    } else if (change->type == RAFT_CONF_UPDATE_NODE) {
        struct member *old = find(members, member.id);

        if (old == NULL)
            code = ERR_MEMBER_NOT_FOUND;
        else if (url_in_use(members, &member))
            code = ERR_PEER_URL_EXIST;
        else {
            member_set_peer_urls(old, (const char *const *)member.peer_urls, member.peer_url_count);
            save(old, batch);
        }
    } else {
        member.learner = change->type == RAFT_CONF_ADD_LEARNER;
        code = add(members, &member, promote, batch);
    }
    member_fini(&member);
    return code;
}

void member_apply_attributes(struct member_store *members, uint64_t id, const char *name,
                             const char *const *client_urls, size_t count, struct batch *batch)
{
    struct member *member = find(members, id);

    if (member == NULL)
        return;
    member_set_name(member, name);
    member_set_client_urls(member, client_urls, count);
    save(member, batch);
}

void member_apply_version(struct member_store *members, const char *version, struct batch *batch)
{
    set_version(members, version);
    if (batch != NULL)
        batch_put(batch, BUCKET_CLUSTER, SLICE_LITERAL("clusterVersion"),
                  slice_text(members->version));
}

const char *member_downgrade_target(const struct member_store *members)
{
    return members->downgrade;
}

void member_apply_downgrade(struct member_store *members, bool enabled, const char *version,
                            struct batch *batch)
{
    struct buf json = BUF_INIT(BUF_UNLIMITED);

    (void)snprintf(members->downgrade, sizeof(members->downgrade), "%s",
                   enabled ? version : ""); /* checked before */
    if (batch == NULL)
        return;
    buf_printf(&json, "{\"target-version\":\"%s\",\"enabled\":%s}", members->downgrade,
               enabled ? "true" : "false");
    batch_put(batch, BUCKET_CLUSTER, SLICE_LITERAL("downgrade"), buf_slice(&json));
    buf_free(&json);
}

void member_apply_v2(struct member_store *members, struct slice method, struct slice path,
                     struct slice value, struct batch *batch)
{
    static const char prefix[] = "/0/members/", suffix[] = "/attributes";
    const size_t around = sizeof(prefix) + sizeof(suffix) - 2;
    struct err ignored = ERR_INIT;
    struct member attributes;
    uint64_t id;

    if (!slice_equal(method, SLICE_LITERAL("PUT")))
        return;
    if (slice_equal(path, SLICE_LITERAL("/0/version"))) {
        char text[VERSION_MAX];

        (void)snprintf(text, sizeof(text), "%.*s", (int)MIN(value.size, VERSION_MAX - 1),
                       (const char *)value.data);
        member_apply_version(members, text, batch);
        return;
    }
    if (!slice_starts_with(path, SLICE_LITERAL(prefix)) || path.size <= around ||
        !slice_equal(slice_of(path.data + path.size - (sizeof(suffix) - 1), sizeof(suffix) - 1),
                     SLICE_LITERAL(suffix)) ||
        !hex_read(slice_of(path.data + sizeof(prefix) - 1, path.size - around), &id) ||
        member_read_json(value, &attributes, NULL, &ignored) < 0)
        return;
    member_apply_attributes(members, id, attributes.name,
                            (const char *const *)attributes.client_urls,
                            attributes.client_url_count, batch);
    member_fini(&attributes);
}

int member_store_read_v2(struct member_store *members, struct slice text, struct err *err)
{
    struct v2store store;

    if (v2store_read(text, &store, err) < 0)
        return -1;
    for (size_t i = 0; i < store.member_count; i++)
        set_member(members, &store.members[i]);
    for (size_t i = 0; i < store.removed_count; i++)
        member_store_set_removed(members, store.removed[i]);
    if (store.version != NULL)
        set_version(members, store.version);
    v2store_free(&store);
    return 0;
}

void member_store_write_v2(const struct member_store *members, uint64_t index, struct buf *out)
{
    /* borrowed lists: v2store_write() only reads them */
    struct v2store store = {.members = (struct member *)(uintptr_t)members->members,
                            .member_count = members->count,
                            .removed = members->removed,
                            .removed_count = members->removed_count,
                            .version = (char *)(uintptr_t)members->version,
                            .index = index};

    if (members->version[0] == '\0')
        store.version = NULL;
    must(v2store_write(&store, out));
}
