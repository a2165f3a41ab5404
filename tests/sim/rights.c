/* rights.c - see rights.h. */
#include "tests/sim/rights.h"
#include "common/base/base64.h"
#include "common/schema/pbbytes.h"
#include "etcd-server/state/keytree.h"
#include "tests/sim/model.h"

#include <stdio.h>

typedef Etcdserverpb__InternalRaftRequest raft_request;

const char *const rights_users[RIGHTS_NAMES] = {"root", "u1", "u2", "u3"};
const char *const rights_roles[RIGHTS_NAMES] = {"root", "r1", "r2", "r3"};

void rights_init(struct rights *rights)
{
    *rights = (struct rights){.revision = 1};
}

int rights_name(const char *const names[RIGHTS_NAMES], const char *name)
{
    for (int i = 0; i < RIGHTS_NAMES; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -1;
}

static struct rights_user *user_of(struct rights *rights, const char *name)
{
    int at = rights_name(rights_users, name);

    return at >= 0 && rights->users[at].exists ? &rights->users[at] : NULL;
}

static struct rights_role *role_of(struct rights *rights, const char *name)
{
    int at = rights_name(rights_roles, name);

    return at >= 0 && rights->roles[at].exists ? &rights->roles[at] : NULL;
}

/* ---- tokens ---- */

const struct rights_token *rights_token(const struct rights *rights, const char *text)
{
    for (size_t i = 0; i < RIGHTS_TOKENS_MAX; i++)
        if (rights->tokens[i].text[0] != '\0' && strcmp(rights->tokens[i].text, text) == 0)
            return &rights->tokens[i];
    return NULL;
}

static void drop(struct rights *rights, int user) /* -1: all */
{
    for (size_t i = 0; i < RIGHTS_TOKENS_MAX; i++)
        if (user < 0 || rights->tokens[i].user == (unsigned)user)
            rights->tokens[i].dropped = true;
}

static enum err_code log_in(struct rights *rights,
                            const Etcdserverpb__InternalAuthenticateRequest *request,
                            uint64_t index)
{
    struct rights_token *token = &rights->tokens[rights->token_count % RIGHTS_TOKENS_MAX];

    if (!rights->enabled)
        return ERR_AUTH_NOT_ENABLED;
    if (user_of(rights, request->name) == NULL)
        return ERR_AUTH_FAILED;
    *token = (struct rights_token){.user = (unsigned)rights_name(rights_users, request->name)};
    (void)snprintf(token->text, sizeof(token->text), "%s.%" PRIu64, request->simple_token,
                   index - 1);
    rights->token_count++;
    return ERR_OK;
}

/* ---- changes ---- */

static enum err_code enable(struct rights *rights)
{
    if (rights->enabled)
        return ERR_OK;
    if (!rights->users[0].exists)
        return ERR_ROOT_USER_NOT_EXIST;
    if ((rights->users[0].roles & 1) == 0)
        return ERR_ROOT_ROLE_NOT_EXIST;
    rights->enabled = true;
    return ERR_OK;
}

static void set_hash(struct rights_user *user, const char *base64)
{
    size_t bytes = 0;
    uint8_t hash[256];

    must(strlen(base64) < 200 && base64_decode(slice_text(base64), hash, &bytes) &&
         bytes < RIGHTS_HASH_BYTES);
    memcpy(user->hash, hash, bytes);
    user->hash[bytes] = '\0';
}

static enum err_code change_user(struct rights *rights, const raft_request *request)
{
    const Etcdserverpb__AuthUserAddRequest *add = request->auth_user_add;
    const char *name =
        add != NULL                                  ? add->name
        : request->auth_user_delete != NULL          ? request->auth_user_delete->name
        : request->auth_user_change_password != NULL ? request->auth_user_change_password->name
        : request->auth_user_grant_role != NULL      ? request->auth_user_grant_role->user
                                                     : request->auth_user_revoke_role->name;
    int at = rights_name(rights_users, name), role;
    struct rights_user *user = &rights->users[at];

    must(at >= 0);
    if (add != NULL) {
        if (user->exists)
            return ERR_USER_ALREADY_EXIST;
        *user = (struct rights_user){.exists = true};
        set_hash(user, add->hashedpassword);
        rights->revision++;
        return ERR_OK;
    }
    if (request->auth_user_delete != NULL && rights->enabled && at == 0)
        return ERR_INVALID_AUTH_MGMT;
    if (request->auth_user_revoke_role != NULL && rights->enabled && at == 0 &&
        strcmp(request->auth_user_revoke_role->role, "root") == 0)
        return ERR_INVALID_AUTH_MGMT;
    if (!user->exists)
        return ERR_USER_NOT_FOUND;
    if (request->auth_user_delete != NULL) {
        user->exists = false;
        drop(rights, at);
    } else if (request->auth_user_change_password != NULL) {
        set_hash(user, request->auth_user_change_password->hashedpassword);
        drop(rights, at);
    } else if (request->auth_user_grant_role != NULL) {
        role = rights_name(rights_roles, request->auth_user_grant_role->role);
        if (role != 0 && !rights->roles[role].exists)
            return ERR_ROLE_NOT_FOUND;
        if (user->roles >> role & 1)
            return ERR_OK;
        user->roles |= 1U << role;
    } else {
        role = rights_name(rights_roles, request->auth_user_revoke_role->role);
        if ((user->roles >> role & 1) == 0)
            return ERR_ROLE_NOT_GRANTED;
        user->roles &= ~(1U << role);
    }
    rights->revision++;
    return ERR_OK;
}

static bool same_bytes(ProtobufCBinaryData bytes, const char *text, size_t size)
{
    return bytes.len == size && (size == 0 || memcmp(bytes.data, text, size) == 0);
}

static bool is_on(const struct rights_permission *one, ProtobufCBinaryData key,
                  ProtobufCBinaryData end)
{
    return same_bytes(key, one->key, one->key_bytes) && same_bytes(end, one->end, one->end_bytes);
}

static int compare_key(const struct rights_permission *one, ProtobufCBinaryData key)
{
    return slice_compare(slice_of(one->key, one->key_bytes), pb_slice(key));
}

/* As etcd: only the first one of that key is looked at, so there may be several on one range. */
static void grant_permission(struct rights_role *role, const Authpb__Permission *given)
{
    struct rights_permission *one;
    size_t at = 0;

    while (at < role->count && compare_key(&role->permissions[at], given->key) < 0)
        at++;
    one = &role->permissions[at];
    if (at < role->count && is_on(one, given->key, given->range_end)) {
        one->type = (unsigned)given->permtype;
        return;
    }
    while (at < role->count && compare_key(&role->permissions[at], given->key) == 0)
        at++;
    must(role->count < RIGHTS_PERMISSIONS_MAX && given->key.len <= RIGHTS_KEY_BYTES &&
         given->range_end.len <= RIGHTS_KEY_BYTES);
    one = &role->permissions[at];
    memmove(one + 1, one, (role->count - at) * sizeof(*one));
    role->count++;
    *one = (struct rights_permission){.type = (unsigned)given->permtype,
                                      .key_bytes = given->key.len,
                                      .end_bytes = given->range_end.len};
    memcpy(one->key, given->key.data, one->key_bytes);
    if (one->end_bytes != 0)
        memcpy(one->end, given->range_end.data, one->end_bytes);
}

/* All on that range. */
static bool revoke_permission(struct rights_role *role, ProtobufCBinaryData key,
                              ProtobufCBinaryData end)
{
    size_t before = role->count;

    role->count = 0;
    for (size_t i = 0; i < before; i++)
        if (!is_on(&role->permissions[i], key, end))
            role->permissions[role->count++] = role->permissions[i];
    return role->count != before;
}

static enum err_code change_role(struct rights *rights, const raft_request *request)
{
    const Etcdserverpb__AuthRoleGrantPermissionRequest *grant = request->auth_role_grant_permission;
    const Etcdserverpb__AuthRoleRevokePermissionRequest *revoke =
        request->auth_role_revoke_permission;
    const char *name = request->auth_role_add != NULL      ? request->auth_role_add->name
                       : request->auth_role_delete != NULL ? request->auth_role_delete->role
                       : grant != NULL                     ? grant->name
                                                           : revoke->role;
    int at = rights_name(rights_roles, name);
    struct rights_role *role = &rights->roles[at];

    must(at >= 0);
    if (request->auth_role_add != NULL) {
        if (role->exists)
            return ERR_ROLE_ALREADY_EXIST;
        *role = (struct rights_role){.exists = true};
    } else if (request->auth_role_delete != NULL && rights->enabled && at == 0) {
        return ERR_INVALID_AUTH_MGMT;
    } else if (!role->exists) {
        return ERR_ROLE_NOT_FOUND;
    } else if (request->auth_role_delete != NULL) {
        role->exists = false;
        for (size_t i = 0; i < RIGHTS_NAMES; i++)
            rights->users[i].roles &= ~(1U << at);
    } else if (grant != NULL) {
        grant_permission(role, grant->perm);
    } else if (!revoke_permission(role, revoke->key, revoke->range_end)) {
        return ERR_PERMISSION_NOT_GRANTED;
    }
    rights->revision++;
    return ERR_OK;
}

static bool is_of_user(const raft_request *request)
{
    return request->auth_user_add != NULL || request->auth_user_delete != NULL ||
           request->auth_user_change_password != NULL || request->auth_user_grant_role != NULL ||
           request->auth_user_revoke_role != NULL;
}

static bool is_of_role(const raft_request *request)
{
    return request->auth_role_add != NULL || request->auth_role_delete != NULL ||
           request->auth_role_grant_permission != NULL ||
           request->auth_role_revoke_permission != NULL;
}

static bool is_for_root(const raft_request *request)
{
    return is_of_user(request) || is_of_role(request) || request->auth_enable != NULL ||
           request->auth_disable != NULL || request->auth_status != NULL ||
           request->auth_user_list != NULL || request->auth_role_list != NULL;
}

bool rights_are_asked(const raft_request *request)
{
    return is_for_root(request) || request->authenticate != NULL ||
           request->auth_user_get != NULL || request->auth_role_get != NULL;
}

enum err_code rights_apply(struct rights *rights, const raft_request *request, uint64_t index)
{
    if (request->auth_enable != NULL)
        return enable(rights);
    if (request->auth_disable != NULL) {
        rights->revision += rights->enabled;
        if (rights->enabled)
            drop(rights, -1);
        rights->enabled = false;
    } else if (request->authenticate != NULL) {
        return log_in(rights, request->authenticate, index);
    } else if (request->auth_user_get != NULL) {
        return user_of(rights, request->auth_user_get->name) != NULL ? ERR_OK : ERR_USER_NOT_FOUND;
    } else if (request->auth_role_get != NULL) {
        return role_of(rights, request->auth_role_get->role) != NULL ? ERR_OK : ERR_ROLE_NOT_FOUND;
    } else if (is_of_user(request)) {
        return change_user(rights, request);
    } else if (is_of_role(request)) {
        return change_role(rights, request);
    }
    return ERR_OK;
}

/* ---- checks ---- */

struct caller {
    const struct model *model;
    const char *name; /* NULL: nobody */
    uint64_t revision;
};

/* Ends compared: behind all keys when it is \0 alone. */
static bool is_open(struct slice end)
{
    return end.size == 1 && end.data[0] == 0;
}

/* What of [from, end) follows the permissions' part of it: false when they do not even begin it. */
static bool advance(const struct rights_permission *one, struct slice *from, bool *all)
{
    struct slice key = slice_of(one->key, one->key_bytes), end = slice_of(one->end, one->end_bytes);

    if (slice_compare(key, *from) > 0)
        return false;
    if (is_open(end)) {
        *all = true;
        return true;
    }
    if (end.size == 0 || slice_compare(end, *from) <= 0)
        return false; /* single keys: see covers() */
    *from = end;
    return true;
}

static bool gives(const struct rights_permission *one, bool write)
{
    return one->type == 2 || one->type == (write ? 1U : 0U);
}

static bool covers_key(const struct rights *rights, const struct rights_user *user, bool write,
                       struct slice key)
{
    for (size_t r = 0; r < RIGHTS_NAMES; r++)
        for (size_t i = 0;
             (user->roles >> r & 1) && rights->roles[r].exists && i < rights->roles[r].count; i++) {
            const struct rights_permission *one = &rights->roles[r].permissions[i];
            struct slice from = slice_of(one->key, one->key_bytes);
            struct slice end = slice_of(one->end, one->end_bytes);

            if (gives(one, write) &&
                (end.size == 0 ? slice_equal(from, key)
                               : slice_compare(from, key) <= 0 &&
                                     (is_open(end) || slice_compare(key, end) < 0)))
                return true;
        }
    return false;
}

/* It ends before it begins: etcd's answer follows from how its tree has grown, role by role, and
 * nothing shorter says the same. keytree_test.c holds the tree against etcd's answers. */
static bool covers_backward(const struct rights *rights, const struct rights_user *user, bool write,
                            struct slice key, struct slice end)
{
    struct keytree tree;
    bool covered;

    keytree_init(&tree);
    for (size_t r = 1; r < RIGHTS_NAMES; r++) /* who has that of root may all */
        for (size_t i = 0;
             (user->roles >> r & 1) && rights->roles[r].exists && i < rights->roles[r].count; i++) {
            const struct rights_permission *one = &rights->roles[r].permissions[i];

            if (gives(one, write))
                keytree_add(&tree, slice_of(one->key, one->key_bytes),
                            slice_of(one->end, one->end_bytes));
        }
    keytree_grown(&tree);
    covered = keytree_covers(&tree, key, end);
    keytree_free(&tree);
    return covered;
}

static bool covers(const struct rights *rights, const struct rights_user *user, bool write,
                   struct slice key, struct slice end)
{
    struct slice from = key;
    bool all = false, moved;

    if (end.size == 0)
        return covers_key(rights, user, write, key);
    if (!is_open(end) && slice_compare(end, key) <= 0)
        return covers_backward(rights, user, write, key, end);
    while (!all && (is_open(end) || slice_compare(from, end) < 0)) {
        moved = false;
        for (size_t r = 0; r < RIGHTS_NAMES && !moved; r++)
            for (size_t i = 0; (user->roles >> r & 1) && rights->roles[r].exists &&
                               i < rights->roles[r].count && !moved;
                 i++)
                moved = gives(&rights->roles[r].permissions[i], write) &&
                        advance(&rights->roles[r].permissions[i], &from, &all);
        if (!moved)
            return false;
    }
    return true;
}

static enum err_code check_keys(const struct caller *caller, bool write, ProtobufCBinaryData key,
                                ProtobufCBinaryData end)
{
    const struct rights *rights = &caller->model->rights;
    const struct rights_user *user;
    int at;

    if (caller->name == NULL || caller->name[0] == '\0' || caller->revision == 0)
        return ERR_USER_EMPTY;
    if (caller->revision < rights->revision)
        return ERR_AUTH_OLD_REVISION;
    at = rights_name(rights_users, caller->name);
    user = at >= 0 && rights->users[at].exists ? &rights->users[at] : NULL;
    if (user == NULL)
        return ERR_PERMISSION_DENIED;
    if ((user->roles & 1) != 0 || covers(rights, user, write, pb_slice(key), pb_slice(end)))
        return ERR_OK;
    return ERR_PERMISSION_DENIED;
}

static enum err_code check_root(const struct caller *caller);

static enum err_code check_lease(const struct caller *caller, int64_t lease)
{
    const struct model *model = caller->model;
    enum err_code code = ERR_OK;

    if (check_root(caller) == ERR_OK)
        return ERR_OK; /* at any revision, as in etcd */
    for (size_t i = 0; i < model->key_count && model_has_lease(model, lease) && code == ERR_OK;
         i++) {
        const struct model_key *key = &model->keys[i];
        const struct model_version *last = key->count != 0 ? &key->versions[key->count - 1] : NULL;

        if (last != NULL && !last->tombstone && last->lease == lease)
            code = check_keys(
                caller, true,
                (ProtobufCBinaryData){key->name.size, (uint8_t *)(uintptr_t)key->name.data},
                (ProtobufCBinaryData){0, NULL});
    }
    return code;
}

static enum err_code check_op(const struct caller *caller, const Etcdserverpb__RequestOp *op);

static enum err_code check_put(const struct caller *caller, const Etcdserverpb__PutRequest *put)
{
    ProtobufCBinaryData none = {0, NULL};
    enum err_code code = check_keys(caller, true, put->key, none);

    if (code == ERR_OK && put->prev_kv)
        code = check_keys(caller, false, put->key, none);
    return code == ERR_OK && put->lease != 0 ? check_lease(caller, put->lease) : code;
}

static enum err_code check_delete(const struct caller *caller,
                                  const Etcdserverpb__DeleteRangeRequest *deletion)
{
    enum err_code code = check_keys(caller, true, deletion->key, deletion->range_end);

    return code == ERR_OK && deletion->prev_kv
               ? check_keys(caller, false, deletion->key, deletion->range_end)
               : code;
}

static enum err_code check_txn(const struct caller *caller, const Etcdserverpb__TxnRequest *txn)
{
    enum err_code code = ERR_OK;

    for (size_t i = 0; i < txn->n_compare && code == ERR_OK; i++)
        code = check_keys(caller, false, txn->compare[i]->key, txn->compare[i]->range_end);
    for (size_t i = 0; i < txn->n_success && code == ERR_OK; i++)
        code = check_op(caller, txn->success[i]);
    for (size_t i = 0; i < txn->n_failure && code == ERR_OK; i++)
        code = check_op(caller, txn->failure[i]);
    return code;
}

static enum err_code check_op(const struct caller *caller, const Etcdserverpb__RequestOp *op)
{
    switch ((int)op->request_case) {
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
        return check_keys(caller, false, op->request_range->key, op->request_range->range_end);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
        return check_put(caller, op->request_put);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
        return check_delete(caller, op->request_delete_range);
    default:
        return check_txn(caller, op->request_txn); /* traffic nests a little */
    }
}

static enum err_code check_root(const struct caller *caller)
{
    const struct rights *rights = &caller->model->rights;
    int at;

    if (caller->name == NULL || caller->name[0] == '\0')
        return ERR_USER_EMPTY;
    at = rights_name(rights_users, caller->name);
    if (at < 0 || !rights->users[at].exists)
        return ERR_USER_NOT_FOUND;
    return (rights->users[at].roles & 1) != 0 ? ERR_OK : ERR_PERMISSION_DENIED;
}

/* Everybody may look at himself and at the roles he has. */
static enum err_code check_look(const struct caller *caller, const raft_request *request)
{
    enum err_code code = check_root(caller);
    int at = code == ERR_PERMISSION_DENIED ? rights_name(rights_users, caller->name) : -1;
    int role;

    if (at < 0)
        return code;
    if (request->auth_user_get != NULL)
        return strcmp(request->auth_user_get->name, caller->name) == 0 ? ERR_OK : code;
    role = rights_name(rights_roles, request->auth_role_get->role);
    return role >= 0 && (caller->model->rights.users[at].roles >> role & 1) ? ERR_OK : code;
}

enum err_code rights_check(const struct model *model, const raft_request *request)
{
    struct caller caller = {.model = model};

    if (!model->rights.enabled)
        return ERR_OK;
    if (request->header != NULL) {
        caller.name = request->header->username;
        caller.revision = request->header->auth_revision;
    }
    if (request->put != NULL)
        return check_put(&caller, request->put);
    if (request->delete_range != NULL)
        return check_delete(&caller, request->delete_range);
    if (request->txn != NULL)
        return check_txn(&caller, request->txn);
    if (request->lease_revoke != NULL)
        return check_lease(&caller, request->lease_revoke->id);
    if (is_for_root(request))
        return check_root(&caller);
    if (request->auth_user_get != NULL || request->auth_role_get != NULL)
        return check_look(&caller, request);
    return ERR_OK;
}

static enum err_code identify(const struct model *model, const char *token, struct caller *caller)
{
    const struct rights_token *known;

    *caller = (struct caller){.model = model, .revision = model->rights.revision};
    if (token == NULL)
        return ERR_OK;
    known = rights_token(&model->rights, token);
    if (known == NULL || known->dropped)
        return ERR_INVALID_AUTH_TOKEN;
    caller->name = rights_users[known->user];
    return ERR_OK;
}

enum err_code rights_check_range(const struct model *model, const char *token,
                                 const Etcdserverpb__RangeRequest *range)
{
    struct caller caller;
    enum err_code code = model->rights.enabled ? identify(model, token, &caller) : ERR_OK;

    return code == ERR_OK && model->rights.enabled
               ? check_keys(&caller, false, range->key, range->range_end)
               : code;
}

enum err_code rights_check_txn(const struct model *model, const char *token,
                               const Etcdserverpb__TxnRequest *txn)
{
    struct caller caller;
    enum err_code code = model->rights.enabled ? identify(model, token, &caller) : ERR_OK;

    return code == ERR_OK && model->rights.enabled ? check_txn(&caller, txn) : code;
}

enum err_code rights_check_keys(const struct model *model, const char *token, bool write,
                                ProtobufCBinaryData key, ProtobufCBinaryData end)
{
    struct caller caller;
    enum err_code code = model->rights.enabled ? identify(model, token, &caller) : ERR_OK;

    return code == ERR_OK && model->rights.enabled ? check_keys(&caller, write, key, end) : code;
}

enum err_code rights_check_renewal(const struct model *model, const char *token, int64_t lease)
{
    struct caller caller;
    enum err_code code = model->rights.enabled ? identify(model, token, &caller) : ERR_OK;
    int at;

    if (code != ERR_OK || !model->rights.enabled)
        return code;
    if (caller.name == NULL)
        return ERR_USER_EMPTY;
    at = rights_name(rights_users, caller.name);
    if (at < 0 || !model->rights.users[at].exists)
        return ERR_PERMISSION_DENIED;
    return check_lease(&caller, lease);
}
