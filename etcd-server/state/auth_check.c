/*
 * auth_check.c - who may do what (api.md 9.2).
 *
 * A user's permissions are those of all his roles together. The union is made when it is first
 * asked for and again whenever the auth revision has moved: every change moves it. So is the tree
 * that ranges are asked of which end before they begin: few users ever need one.
 */
#include "common/base/base.h"
#include "common/base/limits.h"
#include "common/base/plants.h"
#include "common/schema/pbbytes.h"
#include "etcd-server/state/auth_internal.h"

static bool is_nobody(struct auth_identity caller)
{
    return caller.username == NULL || caller.username[0] == '\0';
}

static bool is_for(const Authpb__Permission *permission, enum auth_access access)
{
    return permission->permtype == AUTHPB__PERMISSION__TYPE__READWRITE ||
           permission->permtype == (access == AUTH_READ ? AUTHPB__PERMISSION__TYPE__READ
                                                        : AUTHPB__PERMISSION__TYPE__WRITE);
}

static void add_role(struct auth_user *user, const Authpb__Role *role)
{
    for (size_t i = 0; i < role->n_keypermission; i++) {
        const Authpb__Permission *permission = role->keypermission[i];
        struct slice key = pb_slice(permission->key), end = pb_slice(permission->range_end);

        if (is_for(permission, AUTH_READ))
            keyranges_add(&user->read, key, end);
        if (is_for(permission, AUTH_WRITE))
            keyranges_add(&user->write, key, end);
    }
}

static const struct keytree *tree_of(const struct auth_store *auth, struct auth_user *user,
                                     enum auth_access access)
{
    struct keytree *tree = &user->trees[access];

    if (user->trees_revision[access] == auth->revision)
        return tree;
    keytree_free(tree);
    keytree_init(tree);
    for (size_t i = 0; i < user->message->n_roles; i++) {
        const Authpb__Role *role = auth_find_role(auth, user->message->roles[i]);

        for (size_t j = 0; role != NULL && j < role->n_keypermission; j++)
            if (is_for(role->keypermission[j], access))
                keytree_add(tree, pb_slice(role->keypermission[j]->key),
                            pb_slice(role->keypermission[j]->range_end));
    }
    keytree_grown(tree);
    user->trees_revision[access] = auth->revision;
    return tree;
}

static void make_ranges(const struct auth_store *auth, struct auth_user *user)
{
    keyranges_free(&user->read);
    keyranges_free(&user->write);
    for (size_t i = 0; i < user->message->n_roles; i++) {
        const Authpb__Role *role = auth_find_role(auth, user->message->roles[i]);

        if (role != NULL)
            add_role(user, role);
    }
    keyranges_unite(&user->read);
    keyranges_unite(&user->write);
    user->ranges_revision = auth->revision;
}

void auth_header_as_root(const struct auth_store *auth, Etcdserverpb__RequestHeader *header)
{
    etcdserverpb__request_header__init(header);
    if (!auth->enabled)
        return;
    header->username = (char *)(uintptr_t)AUTH_ROOT; /* it is only read */
    header->auth_revision = auth->revision;
}

enum err_code auth_check_user(const struct auth_store *auth, struct auth_identity caller)
{
    if (!auth->enabled)
        return ERR_OK;
    if (is_nobody(caller))
        return ERR_USER_EMPTY;
    return auth_find_user(auth, caller.username) != NULL ? ERR_OK : ERR_PERMISSION_DENIED;
}

enum err_code auth_check_root(const struct auth_store *auth, struct auth_identity caller)
{
    const Authpb__User *user;

    if (!auth->enabled)
        return ERR_OK;
    if (is_nobody(caller))
        return ERR_USER_EMPTY;
    user = auth_find_user(auth, caller.username);
    if (user == NULL)
        return ERR_USER_NOT_FOUND;
    return auth_has_role(user, AUTH_ROOT) ? ERR_OK : ERR_PERMISSION_DENIED;
}

enum err_code auth_check_keys(struct auth_store *auth, struct auth_identity caller,
                              enum auth_access access, struct slice key, struct slice range_end)
{
    struct auth_user *user;
    size_t position;
    bool covers;

    if (!auth->enabled)
        return ERR_OK;
    if (is_nobody(caller) || caller.revision == 0)
        return ERR_USER_EMPTY;
    if (caller.revision < auth->revision && !PLANTED(AUTH_OLD_REVISION))
        return ERR_AUTH_OLD_REVISION;
    if (!auth_place_user(auth, caller.username, &position))
        return ERR_PERMISSION_DENIED;
    user = &auth->users[position];
    if (auth_has_role(user->message, AUTH_ROOT))
        return ERR_OK;
    if (user->ranges_revision != auth->revision &&
        (user->ranges_revision == 0 || !PLANTED(AUTH_RANGES_KEPT)))
        make_ranges(auth, user);
    covers =
        keytree_is_asked(key, range_end)
            ? keytree_covers(tree_of(auth, user, access), key, range_end)
            : keyranges_covers(access == AUTH_READ ? &user->read : &user->write, key, range_end);
    return covers ? ERR_OK : ERR_PERMISSION_DENIED;
}

enum err_code auth_check_lease(struct auth_store *auth, const struct lease_store *leases,
                               struct auth_identity caller, enum auth_access access, int64_t lease)
{
    const struct lease *found = auth->enabled ? lease_find(leases, lease) : NULL;
    size_t count = found != NULL ? found->keys.count : 0;
    struct slice *keys;
    enum err_code code = ERR_OK;

    if (count == 0 ||
        auth_check_root(auth, caller) == ERR_OK) /* root at any revision, as in etcd */
        return ERR_OK;
    if (auth_check_keys(auth, caller, access, SLICE_LITERAL("\0"), SLICE_LITERAL("\0")) == ERR_OK)
        return ERR_OK; /* nothing to look through */
    keys = xalloc(count * sizeof(*keys));
    key_set_list(&found->keys, keys);
    for (size_t i = 0; i < count && code == ERR_OK; i++)
        code = auth_check_keys(auth, caller, access, keys[i], SLICE_EMPTY);
    free(keys);
    return code;
}

static enum err_code check_range(struct auth_store *auth, struct auth_identity caller,
                                 const Etcdserverpb__RangeRequest *range)
{
    return auth_check_keys(auth, caller, AUTH_READ, pb_slice(range->key),
                           pb_slice(range->range_end));
}

/* Who puts a key on a lease decides its end, and that of the other keys on it. */
static enum err_code check_put(struct auth_store *auth, const struct lease_store *leases,
                               struct auth_identity caller, const Etcdserverpb__PutRequest *put)
{
    struct slice key = pb_slice(put->key);
    enum err_code code = auth_check_keys(auth, caller, AUTH_WRITE, key, SLICE_EMPTY);

    if (code == ERR_OK && put->prev_kv)
        code = auth_check_keys(auth, caller, AUTH_READ, key, SLICE_EMPTY);
    if (code == ERR_OK && put->lease != 0)
        code = auth_check_lease(auth, leases, caller, AUTH_WRITE, put->lease);
    return code;
}

static enum err_code check_delete(struct auth_store *auth, struct auth_identity caller,
                                  const Etcdserverpb__DeleteRangeRequest *deleted)
{
    struct slice key = pb_slice(deleted->key), end = pb_slice(deleted->range_end);
    enum err_code code = auth_check_keys(auth, caller, AUTH_WRITE, key, end);

    if (code == ERR_OK && deleted->prev_kv)
        code = auth_check_keys(auth, caller, AUTH_READ, key, end);
    return code;
}

struct txn_check {
    struct auth_store *auth;
    const struct lease_store *leases;
    struct auth_identity caller;
};

/* A txn whose operations are being checked: those of `success`, then those of `failure`. */
struct txn_place {
    const Etcdserverpb__TxnRequest *txn;
    size_t next;
};

/* No recursion: another member may have let in txns of any depth. */
struct txn_places {
    struct txn_place near[16]; /* few need more */
    struct txn_place *list;    /* `near`, or owned */
    size_t count, capacity;
};

static void push_txn(struct txn_places *places, const Etcdserverpb__TxnRequest *txn)
{
    if (places->count == places->capacity) {
        struct txn_place *old = places->list != places->near ? places->list : NULL;

        places->list = xrealloc(old, 2 * places->capacity * sizeof(*places->list));
        if (old == NULL)
            memcpy(places->list, places->near, sizeof(places->near));
        places->capacity *= 2;
    }
    places->list[places->count++] = (struct txn_place){txn, 0};
}

/* The next operation of the txn at the top; NULL: it has no more. */
static const Etcdserverpb__RequestOp *next_op(struct txn_places *places)
{
    struct txn_place *top = &places->list[places->count - 1];
    size_t at = top->next++;

    if (at < top->txn->n_success)
        return top->txn->success[at];
    at -= top->txn->n_success;
    return at < top->txn->n_failure ? top->txn->failure[at] : NULL;
}

static enum err_code check_op(const struct txn_check *check, const Etcdserverpb__RequestOp *op)
{
    switch (op->request_case) {
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
        return check_range(check->auth, check->caller, op->request_range);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
        return check_put(check->auth, check->leases, check->caller, op->request_put);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
        return check_delete(check->auth, check->caller, op->request_delete_range);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN: /* pushed */
    case ETCDSERVERPB__REQUEST_OP__REQUEST__NOT_SET:
    case _ETCDSERVERPB__REQUEST_OP__REQUEST__CASE_IS_INT_SIZE:
        break; /* does nothing */
    }
    return ERR_OK;
}

static enum err_code check_compares(const struct txn_check *check,
                                    const Etcdserverpb__TxnRequest *txn)
{
    enum err_code code = ERR_OK;

    for (size_t i = 0; i < txn->n_compare && code == ERR_OK; i++)
        code =
            auth_check_keys(check->auth, check->caller, AUTH_READ, pb_slice(txn->compare[i]->key),
                            pb_slice(txn->compare[i]->range_end));
    return code;
}

static enum err_code check_txn(const struct txn_check *check, const Etcdserverpb__TxnRequest *txn)
{
    struct txn_places places = {.capacity = ARRAY_LEN(places.near)};
    enum err_code code = check_compares(check, txn);

    places.list = places.near;
    push_txn(&places, txn);
    while (code == ERR_OK && places.count != 0) {
        const Etcdserverpb__RequestOp *op = next_op(&places);

        if (op == NULL) {
            places.count--;
        } else if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN) {
            code = check_compares(check, op->request_txn);
            push_txn(&places, op->request_txn);
        } else {
            code = check_op(check, op);
        }
    }
    if (places.list != places.near)
        free(places.list);
    return code;
}

enum err_code auth_check_txn(struct auth_store *auth, const struct lease_store *leases,
                             struct auth_identity caller, const Etcdserverpb__TxnRequest *txn)
{
    struct txn_check check = {auth, leases, caller};

    return auth->enabled ? check_txn(&check, txn) : ERR_OK;
}

/* A user may look at himself and at his own roles. */
static enum err_code check_get(const struct auth_store *auth, struct auth_identity caller,
                               const Etcdserverpb__InternalRaftRequest *request)
{
    enum err_code code = auth_check_root(auth, caller);
    const Authpb__User *user;

    if (code == ERR_OK)
        return code;
    if (is_nobody(caller)) /* nobody may look for a user without a name, as in etcd */
        return request->auth_user_get != NULL && request->auth_user_get->name[0] == '\0' ? ERR_OK
                                                                                         : code;
    user = auth_find_user(auth, caller.username);
    if (user == NULL)
        return code;
    if (request->auth_user_get != NULL)
        return strcmp(request->auth_user_get->name, caller.username) == 0 ? ERR_OK : code;
    return auth_has_role(user, request->auth_role_get->role) ? ERR_OK : code;
}

enum err_code auth_check_request(struct auth_store *auth, const struct lease_store *leases,
                                 const Etcdserverpb__InternalRaftRequest *request)
{
    struct auth_identity caller = {NULL, 0};

    if (!auth->enabled)
        return ERR_OK;
    if (request->header != NULL)
        caller = (struct auth_identity){request->header->username, request->header->auth_revision};
    if (request->put != NULL)
        return check_put(auth, leases, caller, request->put);
    if (request->delete_range != NULL)
        return check_delete(auth, caller, request->delete_range);
    if (request->txn != NULL)
        return auth_check_txn(auth, leases, caller, request->txn);
    if (request->lease_revoke != NULL)
        return auth_check_lease(auth, leases, caller, AUTH_WRITE, request->lease_revoke->id);
    if (request->auth_user_get != NULL || request->auth_role_get != NULL)
        return check_get(auth, caller, request);
    if (auth_is_change(request) || request->auth_status != NULL ||
        request->auth_user_list != NULL || request->auth_role_list != NULL)
        return auth_check_root(auth, caller);
    return ERR_OK;
}
