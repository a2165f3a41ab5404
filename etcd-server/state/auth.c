/*
 * auth.c - the store of auth.h: sorted arrays of the messages as they are stored.
 *
 * A store has few users and roles and changes rarely; questions come with every call, so they find
 * a user by binary search. Changes: auth_change.c. Permissions: auth_check.c.
 */
#include "common/base/base.h"
#include "etcd-server/state/auth_internal.h"

struct auth_store *auth_store_new(void)
{
    struct auth_store *auth = xalloc(sizeof(*auth));

    auth->revision = 1;
    return auth;
}

void auth_user_fini(struct auth_user *user)
{
    free(user->name);
    authpb__user__free_unpacked(user->message, NULL);
    keyranges_free(&user->read);
    keyranges_free(&user->write);
    keytree_free(&user->trees[AUTH_READ]);
    keytree_free(&user->trees[AUTH_WRITE]);
}

void auth_role_fini(struct auth_role *role)
{
    free(role->name);
    authpb__role__free_unpacked(role->message, NULL);
}

void auth_store_free(struct auth_store *auth)
{
    if (auth == NULL)
        return;
    for (size_t i = 0; i < auth->user_count; i++)
        auth_user_fini(&auth->users[i]);
    for (size_t i = 0; i < auth->role_count; i++)
        auth_role_fini(&auth->roles[i]);
    free(auth->users);
    free(auth->roles);
    free(auth);
}

/* ---- places ---- */

/* Users and roles begin with their name. */
static bool place(const void *items, size_t count, size_t item_bytes, const char *name,
                  size_t *position)
{
    size_t low = 0, high = count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const char *const *at = (const void *)((const uint8_t *)items + middle * item_bytes);
        int order = strcmp(*at, name);

        if (order == 0) {
            *position = middle;
            return true;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *position = low;
    return false;
}

bool auth_place_user(const struct auth_store *auth, const char *name, size_t *position)
{
    return place(auth->users, auth->user_count, sizeof(*auth->users), name, position);
}

bool auth_place_role(const struct auth_store *auth, const char *name, size_t *position)
{
    return place(auth->roles, auth->role_count, sizeof(*auth->roles), name, position);
}

struct auth_user *auth_insert_user(struct auth_store *auth, size_t position, const char *name,
                                   Authpb__User *message)
{
    if (auth->user_count == auth->user_capacity) {
        auth->user_capacity = MAX(2 * auth->user_capacity, 8);
        auth->users = xrealloc(auth->users, auth->user_capacity * sizeof(*auth->users));
    }
    memmove(auth->users + position + 1, auth->users + position,
            (auth->user_count - position) * sizeof(*auth->users));
    auth->user_count++;
    auth->users[position] = (struct auth_user){.name = xstrdup(name), .message = message};
    return &auth->users[position];
}

struct auth_role *auth_insert_role(struct auth_store *auth, size_t position, const char *name,
                                   Authpb__Role *message)
{
    if (auth->role_count == auth->role_capacity) {
        auth->role_capacity = MAX(2 * auth->role_capacity, 8);
        auth->roles = xrealloc(auth->roles, auth->role_capacity * sizeof(*auth->roles));
    }
    memmove(auth->roles + position + 1, auth->roles + position,
            (auth->role_count - position) * sizeof(*auth->roles));
    auth->role_count++;
    auth->roles[position] = (struct auth_role){.name = xstrdup(name), .message = message};
    return &auth->roles[position];
}

/* ---- restore ---- */

static int bad_entry(struct err *err, const char *bucket, struct slice key)
{
    err_set(err, ERR_DAMAGED, "bucket %s: the entry of \"%.*s\" cannot be read; restore a snapshot",
            bucket, (int)MIN(key.size, 100), (const char *)key.data);
    return -1;
}

static int restore_user(struct auth_store *auth, struct slice key, struct slice value,
                        struct err *err)
{
    Authpb__User *message = authpb__user__unpack(NULL, value.size, value.data);
    char *name = xstrndup((const char *)key.data, key.size);
    size_t position;
    int rc = -1;

    if (message == NULL || auth_place_user(auth, name, &position)) {
        authpb__user__free_unpacked(message, NULL);
        (void)bad_entry(err, "authUsers", key);
    } else {
        (void)auth_insert_user(auth, position, name, message);
        rc = 0;
    }
    free(name);
    return rc;
}

static int restore_role(struct auth_store *auth, struct slice key, struct slice value,
                        struct err *err)
{
    Authpb__Role *message = authpb__role__unpack(NULL, value.size, value.data);
    char *name = xstrndup((const char *)key.data, key.size);
    size_t position;
    int rc = -1;

    if (message == NULL || auth_place_role(auth, name, &position)) {
        authpb__role__free_unpacked(message, NULL);
        (void)bad_entry(err, "authRoles", key);
    } else {
        (void)auth_insert_role(auth, position, name, message);
        rc = 0;
    }
    free(name);
    return rc;
}

typedef int restore_fn(struct auth_store *auth, struct slice key, struct slice value,
                       struct err *err);

static int restore_bucket(struct auth_store *auth, struct backend_read *read, enum bucket bucket,
                          restore_fn *restore, struct err *err)
{
    struct backend_cursor *cursor = backend_cursor_open(read, bucket);
    struct slice key, value;
    int rc = 0;

    for (bool more = backend_cursor_seek(cursor, SLICE_EMPTY, &key, &value); more && rc == 0;
         more = backend_cursor_next(cursor, &key, &value))
        rc = restore(auth, key, value, err);
    backend_cursor_close(cursor);
    return rc;
}

int auth_store_restore(struct auth_store *auth, struct backend_read *read, struct err *err)
{
    struct slice value;

    if (backend_get(read, BUCKET_AUTH, SLICE_LITERAL("authEnabled"), &value))
        auth->enabled = value.size == 1 && value.data[0] == 1;
    if (backend_get(read, BUCKET_AUTH, SLICE_LITERAL("authRevision"), &value)) {
        if (value.size != 8)
            return bad_entry(err, "auth", SLICE_LITERAL("authRevision"));
        auth->revision = 0;
        for (size_t i = 0; i < 8; i++)
            auth->revision = auth->revision << 8 | value.data[i];
        auth->revision_stored = auth->revision != 0;
        auth->revision = MAX(auth->revision, 1);
    }
    if (restore_bucket(auth, read, BUCKET_AUTH_USERS, restore_user, err) < 0)
        return -1;
    return restore_bucket(auth, read, BUCKET_AUTH_ROLES, restore_role, err);
}

/* ---- facts ---- */

bool auth_enabled(const struct auth_store *auth)
{
    return auth->enabled;
}

uint64_t auth_revision(const struct auth_store *auth)
{
    return auth->revision;
}

size_t auth_user_count(const struct auth_store *auth)
{
    return auth->user_count;
}

size_t auth_role_count(const struct auth_store *auth)
{
    return auth->role_count;
}

const Authpb__User *auth_user_at(const struct auth_store *auth, size_t position)
{
    must(position < auth->user_count);
    return auth->users[position].message;
}

const Authpb__Role *auth_role_at(const struct auth_store *auth, size_t position)
{
    must(position < auth->role_count);
    return auth->roles[position].message;
}

const Authpb__User *auth_find_user(const struct auth_store *auth, const char *name)
{
    size_t position;

    return auth_place_user(auth, name, &position) ? auth->users[position].message : NULL;
}

const Authpb__Role *auth_find_role(const struct auth_store *auth, const char *name)
{
    size_t position;

    return auth_place_role(auth, name, &position) ? auth->roles[position].message : NULL;
}

bool auth_has_role(const Authpb__User *user, const char *role)
{
    for (size_t i = 0; i < user->n_roles; i++)
        if (strcmp(user->roles[i], role) == 0)
            return true;
    return false;
}
