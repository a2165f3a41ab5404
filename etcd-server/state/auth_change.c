/*
 * auth_change.c - what apply does to users, roles and auth itself (api.md 9.1).
 *
 * Each change first looks for a reason to refuse, then changes the message in memory, puts it whole
 * into the batch, and moves the auth revision. Turning auth on is the one change that does not move
 * it. A role named root need not exist to be granted.
 */
#include "common/base/base.h"
#include "common/base/base64.h"
#include "common/base/limits.h"
#include "common/base/plants.h"
#include "common/schema/pbbytes.h"
#include "etcd-server/state/auth_internal.h"

typedef Etcdserverpb__InternalRaftRequest raft_request;

/* ---- to the batch ---- */

static void put_revision(const struct auth_store *auth, struct batch *batch)
{
    uint8_t bytes[8];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(auth->revision >> (56 - 8 * i));
    if (PLANTED(AUTH_REVISION_UNSAVED))
        return;
    batch_put(batch, BUCKET_AUTH, SLICE_LITERAL("authRevision"), slice_of(bytes, sizeof(bytes)));
}

void auth_store_complete(const struct auth_store *auth, struct batch *batch)
{
    if (!auth->revision_stored)
        put_revision(auth, batch);
}

static void move_revision(struct auth_store *auth, struct batch *batch)
{
    auth->revision++;
    put_revision(auth, batch);
}

static void put_message(struct batch *batch, enum bucket bucket, const char *name,
                        const ProtobufCMessage *message)
{
    size_t bytes = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = xalloc(bytes + 1); /* never nothing */

    must(protobuf_c_message_pack(message, packed) == bytes);
    batch_put(batch, bucket, slice_text(name), slice_of(packed, bytes));
    wipe(packed, bytes);
    free(packed);
}

static void put_user(const struct auth_user *user, struct batch *batch)
{
    put_message(batch, BUCKET_AUTH_USERS, user->name, &user->message->base);
}

static void put_role(const struct auth_role *role, struct batch *batch)
{
    put_message(batch, BUCKET_AUTH_ROLES, role->name, &role->message->base);
}

/* ---- pieces of messages: from malloc, as protobuf-c frees them ---- */

static ProtobufCBinaryData copy_bytes(const void *data, size_t bytes)
{
    ProtobufCBinaryData copy = {bytes, NULL};

    if (bytes != 0) {
        copy.data = xalloc(bytes);
        memcpy(copy.data, data, bytes);
    }
    return copy;
}

/* Base64 as etcd takes it: of one alphabet, padded, with line ends anywhere. */
static bool decode_hash(const char *base64, uint8_t *hash, size_t *bytes)
{
    char *text = xstrdup(base64);
    size_t size = 0;
    bool good;

    for (const char *at = base64; *at != '\0'; at++)
        if (*at != '\r' && *at != '\n')
            text[size++] = *at;
    good = size % 4 == 0 && memchr(text, '-', size) == NULL && memchr(text, '_', size) == NULL &&
           base64_decode(slice_of(text, size), hash, bytes);
    free(text);
    return good;
}

/*
 * The bcrypt text as the proposer sent it; false: it is no base64. Entries of etcd 3.4 hold the
 * password itself; hashing it here would need a salt of our own, so such a user cannot log in until
 * he gets a new password.
 */
static bool take_hash(const char *base64, ProtobufCBinaryData *taken)
{
    size_t bytes = 0;
    uint8_t *hash = xalloc(BASE64_DECODED_MAX(strlen(base64)));
    bool good = decode_hash(base64, hash, &bytes);

    *taken = good ? copy_bytes(hash, bytes) : (ProtobufCBinaryData){0, NULL};
    free(hash);
    return good;
}

static size_t role_place(const Authpb__User *user, const char *role)
{
    size_t at = 0;

    while (at < user->n_roles && strcmp(user->roles[at], role) < 0)
        at++;
    return at;
}

static void add_role(Authpb__User *user, const char *role)
{
    size_t at = role_place(user, role);

    user->roles = xrealloc(user->roles, (user->n_roles + 1) * sizeof(*user->roles));
    memmove(user->roles + at + 1, user->roles + at, (user->n_roles - at) * sizeof(*user->roles));
    user->roles[at] = xstrdup(role);
    user->n_roles++;
}

static bool drop_role(Authpb__User *user, const char *role)
{
    for (size_t at = 0; at < user->n_roles; at++) {
        if (strcmp(user->roles[at], role) != 0)
            continue;
        free(user->roles[at]);
        user->n_roles--;
        memmove(user->roles + at, user->roles + at + 1,
                (user->n_roles - at) * sizeof(*user->roles));
        return true;
    }
    return false;
}

/* ---- on and off ---- */

static enum err_code enable(struct auth_store *auth, struct batch *batch)
{
    const Authpb__User *root = auth_find_user(auth, AUTH_ROOT);

    if (auth->enabled)
        return ERR_OK;
    if (root == NULL)
        return ERR_ROOT_USER_NOT_EXIST;
    if (!auth_has_role(root, AUTH_ROOT))
        return ERR_ROOT_ROLE_NOT_EXIST;
    auth->enabled = true;
    batch_put(batch, BUCKET_AUTH, SLICE_LITERAL("authEnabled"), SLICE_LITERAL("\x01"));
    return ERR_OK;
}

static enum err_code disable(struct auth_store *auth, struct batch *batch,
                             struct auth_effect *effect)
{
    if (!auth->enabled)
        return ERR_OK;
    auth->enabled = false;
    batch_put(batch, BUCKET_AUTH, SLICE_LITERAL("authEnabled"), slice_of("\0", 1));
    move_revision(auth, batch);
    effect->drop_all = true;
    return ERR_OK;
}

/* ---- users ---- */

static enum err_code user_add(struct auth_store *auth,
                              const Etcdserverpb__AuthUserAddRequest *request, struct batch *batch)
{
    bool no_password = request->options != NULL && request->options->no_password;
    ProtobufCBinaryData hash = {0, NULL};
    Authpb__User *message;
    size_t position;

    if (request->name[0] == '\0')
        return ERR_USER_EMPTY;
    if (strlen(request->name) > BACKEND_KEY_MAX)
        return ERR_NAME_TOO_LONG;
    if (auth_place_user(auth, request->name, &position))
        return ERR_USER_ALREADY_EXIST;
    if (!no_password && !take_hash(request->hashedpassword, &hash))
        return ERR_NO_PASSWORD_USER;
    message = xalloc(sizeof(*message));
    authpb__user__init(message);
    message->name = copy_bytes(request->name, strlen(request->name));
    message->password = hash;
    message->options = xalloc(sizeof(*message->options)); /* always written (formats.md 2.5) */
    authpb__user_add_options__init(message->options);
    message->options->no_password = no_password;
    put_user(auth_insert_user(auth, position, request->name, message), batch);
    move_revision(auth, batch);
    return ERR_OK;
}

static enum err_code user_delete(struct auth_store *auth, const char *name, struct batch *batch,
                                 struct auth_effect *effect)
{
    size_t position;

    if (auth->enabled && strcmp(name, AUTH_ROOT) == 0)
        return ERR_INVALID_AUTH_MGMT;
    if (!auth_place_user(auth, name, &position))
        return ERR_USER_NOT_FOUND;
    batch_delete(batch, BUCKET_AUTH_USERS, slice_text(name));
    auth_user_fini(&auth->users[position]);
    auth->user_count--;
    memmove(auth->users + position, auth->users + position + 1,
            (auth->user_count - position) * sizeof(*auth->users));
    move_revision(auth, batch);
    effect->drop_user = name;
    return ERR_OK;
}

static enum err_code change_password(struct auth_store *auth,
                                     const Etcdserverpb__AuthUserChangePasswordRequest *request,
                                     struct batch *batch, struct auth_effect *effect)
{
    ProtobufCBinaryData hash;
    Authpb__User *message;
    size_t position;

    if (!auth_place_user(auth, request->name, &position))
        return ERR_USER_NOT_FOUND;
    message = auth->users[position].message;
    if (message->options == NULL || !message->options->no_password) {
        if (!take_hash(request->hashedpassword, &hash))
            return ERR_NO_PASSWORD_USER;
        free(message->password.data);
        message->password = hash;
        put_user(&auth->users[position], batch);
    }
    move_revision(auth, batch); /* as etcd, also for a user without password */
    effect->drop_user = PLANTED(AUTH_STALE_TOKEN) ? NULL : request->name;
    return ERR_OK;
}

static enum err_code grant_role(struct auth_store *auth,
                                const Etcdserverpb__AuthUserGrantRoleRequest *request,
                                struct batch *batch)
{
    size_t position;

    if (!auth_place_user(auth, request->user, &position))
        return ERR_USER_NOT_FOUND;
    if (strcmp(request->role, AUTH_ROOT) != 0 && auth_find_role(auth, request->role) == NULL)
        return ERR_ROLE_NOT_FOUND;
    if (auth_has_role(auth->users[position].message, request->role))
        return ERR_OK;
    add_role(auth->users[position].message, request->role);
    put_user(&auth->users[position], batch);
    move_revision(auth, batch);
    return ERR_OK;
}

static enum err_code revoke_role(struct auth_store *auth,
                                 const Etcdserverpb__AuthUserRevokeRoleRequest *request,
                                 struct batch *batch)
{
    size_t position;

    if (auth->enabled && strcmp(request->name, AUTH_ROOT) == 0 &&
        strcmp(request->role, AUTH_ROOT) == 0)
        return ERR_INVALID_AUTH_MGMT;
    if (!auth_place_user(auth, request->name, &position))
        return ERR_USER_NOT_FOUND;
    if (!drop_role(auth->users[position].message, request->role))
        return ERR_ROLE_NOT_GRANTED;
    put_user(&auth->users[position], batch);
    move_revision(auth, batch);
    return ERR_OK;
}

/* ---- roles ---- */

static enum err_code role_add(struct auth_store *auth, const char *name, struct batch *batch)
{
    Authpb__Role *message;
    size_t position;

    if (name[0] == '\0')
        return ERR_ROLE_EMPTY;
    if (strlen(name) > BACKEND_KEY_MAX)
        return ERR_NAME_TOO_LONG;
    if (auth_place_role(auth, name, &position))
        return ERR_ROLE_ALREADY_EXIST;
    message = xalloc(sizeof(*message));
    authpb__role__init(message);
    message->name = copy_bytes(name, strlen(name));
    put_role(auth_insert_role(auth, position, name, message), batch);
    move_revision(auth, batch);
    return ERR_OK;
}

static enum err_code role_delete(struct auth_store *auth, const char *name, struct batch *batch)
{
    size_t position;

    if (auth->enabled && strcmp(name, AUTH_ROOT) == 0)
        return ERR_INVALID_AUTH_MGMT;
    if (!auth_place_role(auth, name, &position))
        return ERR_ROLE_NOT_FOUND;
    batch_delete(batch, BUCKET_AUTH_ROLES, slice_text(name));
    auth_role_fini(&auth->roles[position]);
    auth->role_count--;
    memmove(auth->roles + position, auth->roles + position + 1,
            (auth->role_count - position) * sizeof(*auth->roles));
    for (size_t i = 0; i < auth->user_count; i++)
        if (drop_role(auth->users[i].message, name))
            put_user(&auth->users[i], batch);
    move_revision(auth, batch);
    return ERR_OK;
}

static bool is_range(struct slice key, struct slice end)
{
    if (key.size == 0)
        return false;
    return end.size == 0 || (end.size == 1 && end.data[0] == 0) || slice_compare(end, key) > 0;
}

static bool is_on(const Authpb__Permission *permission, struct slice key, struct slice end)
{
    return slice_equal(pb_slice(permission->key), key) &&
           slice_equal(pb_slice(permission->range_end), end);
}

/* Take all on exactly this range out, of which there may be several; false: there is none. */
static bool remove_permissions(Authpb__Role *role, struct slice key, struct slice end)
{
    size_t count = 0, before = role->n_keypermission;

    for (size_t i = 0; i < before; i++) {
        Authpb__Permission *permission = role->keypermission[i];

        if (is_on(permission, key, end))
            authpb__permission__free_unpacked(permission, NULL);
        else
            role->keypermission[count++] = permission;
    }
    role->n_keypermission = count;
    return count != before;
}

/* The first whose key is not below `key`; their number: there is none. */
static size_t find_place(const Authpb__Role *role, struct slice key)
{
    size_t low = 0, high = role->n_keypermission;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (slice_compare(pb_slice(role->keypermission[middle]->key), key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/*
 * By key, behind those of the same one: so does Go's sort.Sort, which etcd calls after each grant,
 * with up to 12; with more it may change the order of equals, otherwise in each release of Go.
 */
static void add_permission(Authpb__Role *role, const Authpb__Permission *given)
{
    Authpb__Permission *permission = xalloc(sizeof(*permission));
    size_t at = role->n_keypermission;

    authpb__permission__init(permission);
    permission->permtype = given->permtype;
    permission->key = copy_bytes(given->key.data, given->key.len);
    permission->range_end = copy_bytes(given->range_end.data, given->range_end.len);
    role->keypermission =
        xrealloc(role->keypermission, (role->n_keypermission + 1) * sizeof(*role->keypermission));
    while (at != 0 &&
           slice_compare(pb_slice(role->keypermission[at - 1]->key), pb_slice(given->key)) > 0)
        at--;
    memmove(role->keypermission + at + 1, role->keypermission + at,
            (role->n_keypermission - at) * sizeof(*role->keypermission));
    role->keypermission[at] = permission;
    role->n_keypermission++;
}

static enum err_code grant_permission(struct auth_store *auth,
                                      const Etcdserverpb__AuthRoleGrantPermissionRequest *request,
                                      struct batch *batch)
{
    const Authpb__Permission *given = request->perm;
    struct slice key, end;
    struct auth_role *role;
    size_t position, at;

    if (given == NULL)
        return ERR_PERMISSION_NOT_GIVEN;
    key = pb_slice(given->key);
    end = pb_slice(given->range_end);
    if (!is_range(key, end))
        return ERR_INVALID_AUTH_MGMT;
    if (!auth_place_role(auth, request->name, &position))
        return ERR_ROLE_NOT_FOUND;
    role = &auth->roles[position];
    at = find_place(role->message, key);
    if (at < role->message->n_keypermission && is_on(role->message->keypermission[at], key, end))
        role->message->keypermission[at]->permtype = given->permtype;
    else /* as etcd, also when one that is not the first of its key is on this range */
        add_permission(role->message, given);
    put_role(role, batch);
    move_revision(auth, batch);
    return ERR_OK;
}

static enum err_code revoke_permission(struct auth_store *auth,
                                       const Etcdserverpb__AuthRoleRevokePermissionRequest *request,
                                       struct batch *batch)
{
    struct slice key = pb_slice(request->key), end = pb_slice(request->range_end);
    Authpb__Role *message;
    size_t position;

    if (!auth_place_role(auth, request->role, &position))
        return ERR_ROLE_NOT_FOUND;
    message = auth->roles[position].message;
    if (!remove_permissions(message, key, end))
        return ERR_PERMISSION_NOT_GRANTED;
    put_role(&auth->roles[position], batch);
    move_revision(auth, batch);
    return ERR_OK;
}

/* ---- which ---- */

bool auth_is_change(const raft_request *request)
{
    return request->auth_enable != NULL || request->auth_disable != NULL ||
           request->auth_user_add != NULL || request->auth_user_delete != NULL ||
           request->auth_user_change_password != NULL || request->auth_user_grant_role != NULL ||
           request->auth_user_revoke_role != NULL || request->auth_role_add != NULL ||
           request->auth_role_delete != NULL || request->auth_role_grant_permission != NULL ||
           request->auth_role_revoke_permission != NULL;
}

enum err_code auth_apply(struct auth_store *auth, const raft_request *request, struct batch *batch,
                         struct auth_effect *effect)
{
    *effect = (struct auth_effect){false, NULL};
    if (request->auth_enable != NULL)
        return enable(auth, batch);
    if (request->auth_disable != NULL)
        return disable(auth, batch, effect);
    if (request->auth_user_add != NULL)
        return user_add(auth, request->auth_user_add, batch);
    if (request->auth_user_delete != NULL)
        return user_delete(auth, request->auth_user_delete->name, batch, effect);
    if (request->auth_user_change_password != NULL)
        return change_password(auth, request->auth_user_change_password, batch, effect);
    if (request->auth_user_grant_role != NULL)
        return grant_role(auth, request->auth_user_grant_role, batch);
    if (request->auth_user_revoke_role != NULL)
        return revoke_role(auth, request->auth_user_revoke_role, batch);
    if (request->auth_role_add != NULL)
        return role_add(auth, request->auth_role_add->name, batch);
    if (request->auth_role_delete != NULL)
        return role_delete(auth, request->auth_role_delete->role, batch);
    if (request->auth_role_grant_permission != NULL)
        return grant_permission(auth, request->auth_role_grant_permission, batch);
    must(request->auth_role_revoke_permission != NULL); /* auth_is_change() said so */
    return revoke_permission(auth, request->auth_role_revoke_permission, batch);
}
