/* auth_test.c - users, roles, the auth revision, what is stored, and who may do what. */
#include "etcd-server/state/auth.h"
#include "common/schema/pbbytes.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

typedef Etcdserverpb__InternalRaftRequest raft_request;

static struct err err;

struct fixture {
    struct auth_store *auth;
    struct batch *batch;
    struct lease_store *leases;
    struct auth_effect effect;
};

static int set_up(void **state)
{
    struct fixture *f = xalloc(sizeof(*f));

    f->auth = auth_store_new();
    f->batch = batch_new();
    f->leases = lease_store_new();
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    auth_store_free(f->auth);
    batch_unref(f->batch);
    lease_store_free(f->leases);
    free(f);
    return 0;
}

static char *plain(const char *text)
{
    return (char *)(uintptr_t)text; /* requests are only read */
}

static enum err_code apply(struct fixture *f, raft_request *request)
{
    return auth_apply(f->auth, request, f->batch, &f->effect);
}

static enum err_code user_add(struct fixture *f, const char *name, bool no_password)
{
    raft_request request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__AuthUserAddRequest add = ETCDSERVERPB__AUTH_USER_ADD_REQUEST__INIT;
    Authpb__UserAddOptions options = AUTHPB__USER_ADD_OPTIONS__INIT;

    add.name = plain(name);
    add.hashedpassword = plain("aGFzaA=="); /* "hash" */
    options.no_password = no_password;
    add.options = no_password ? &options : NULL;
    request.auth_user_add = &add;
    return apply(f, &request);
}

static enum err_code user_delete(struct fixture *f, const char *name)
{
    raft_request request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__AuthUserDeleteRequest drop = ETCDSERVERPB__AUTH_USER_DELETE_REQUEST__INIT;

    drop.name = plain(name);
    request.auth_user_delete = &drop;
    return apply(f, &request);
}

static enum err_code change_password(struct fixture *f, const char *name)
{
    raft_request request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__AuthUserChangePasswordRequest change =
        ETCDSERVERPB__AUTH_USER_CHANGE_PASSWORD_REQUEST__INIT;

    change.name = plain(name);
    change.hashedpassword = plain("bmV3"); /* "new" */
    request.auth_user_change_password = &change;
    return apply(f, &request);
}

static enum err_code grant(struct fixture *f, const char *user, const char *role)
{
    raft_request request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__AuthUserGrantRoleRequest grant = ETCDSERVERPB__AUTH_USER_GRANT_ROLE_REQUEST__INIT;

    grant.user = plain(user);
    grant.role = plain(role);
    request.auth_user_grant_role = &grant;
    return apply(f, &request);
}

static enum err_code revoke(struct fixture *f, const char *user, const char *role)
{
    raft_request request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__AuthUserRevokeRoleRequest revoke =
        ETCDSERVERPB__AUTH_USER_REVOKE_ROLE_REQUEST__INIT;

    revoke.name = plain(user);
    revoke.role = plain(role);
    request.auth_user_revoke_role = &revoke;
    return apply(f, &request);
}

static enum err_code role_add(struct fixture *f, const char *name)
{
    raft_request request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__AuthRoleAddRequest add = ETCDSERVERPB__AUTH_ROLE_ADD_REQUEST__INIT;

    add.name = plain(name);
    request.auth_role_add = &add;
    return apply(f, &request);
}

static enum err_code role_delete(struct fixture *f, const char *name)
{
    raft_request request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__AuthRoleDeleteRequest drop = ETCDSERVERPB__AUTH_ROLE_DELETE_REQUEST__INIT;

    drop.role = plain(name);
    request.auth_role_delete = &drop;
    return apply(f, &request);
}

static enum err_code permit(struct fixture *f, const char *role, Authpb__Permission__Type type,
                            const char *key, const char *end)
{
    raft_request request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__AuthRoleGrantPermissionRequest grant =
        ETCDSERVERPB__AUTH_ROLE_GRANT_PERMISSION_REQUEST__INIT;
    Authpb__Permission permission = AUTHPB__PERMISSION__INIT;

    permission.permtype = type;
    permission.key = pb_text(key);
    permission.range_end = pb_text(end);
    grant.name = plain(role);
    grant.perm = &permission;
    request.auth_role_grant_permission = &grant;
    return apply(f, &request);
}

static enum err_code forbid(struct fixture *f, const char *role, const char *key, const char *end)
{
    raft_request request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__AuthRoleRevokePermissionRequest revoke =
        ETCDSERVERPB__AUTH_ROLE_REVOKE_PERMISSION_REQUEST__INIT;

    revoke.role = plain(role);
    revoke.key = pb_text(key);
    revoke.range_end = pb_text(end);
    request.auth_role_revoke_permission = &revoke;
    return apply(f, &request);
}

static enum err_code enable(struct fixture *f)
{
    raft_request request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__AuthEnableRequest on = ETCDSERVERPB__AUTH_ENABLE_REQUEST__INIT;

    request.auth_enable = &on;
    return apply(f, &request);
}

static enum err_code disable(struct fixture *f)
{
    raft_request request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__AuthDisableRequest off = ETCDSERVERPB__AUTH_DISABLE_REQUEST__INIT;

    request.auth_disable = &off;
    return apply(f, &request);
}

static void with_root(struct fixture *f)
{
    assert_int_equal(user_add(f, "root", false), ERR_OK);
    assert_int_equal(grant(f, "root", "root"), ERR_OK);
    assert_int_equal(enable(f), ERR_OK);
}

static struct auth_identity as(const struct fixture *f, const char *name)
{
    return (struct auth_identity){name, auth_revision(f->auth)};
}

static enum err_code may(struct fixture *f, const char *name, enum auth_access access,
                         const char *key, const char *end)
{
    return auth_check_keys(f->auth, as(f, name), access, slice_text(key), slice_text(end));
}

/* ---- changes ---- */

static void the_revision_counts_what_takes_effect(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(auth_revision(f->auth), 1);
    assert_int_equal(user_add(f, "u", false), ERR_OK);
    assert_int_equal(user_add(f, "u", false), ERR_USER_ALREADY_EXIST);
    assert_int_equal(auth_revision(f->auth), 2);
    assert_int_equal(role_add(f, "r"), ERR_OK);
    assert_int_equal(grant(f, "u", "r"), ERR_OK);
    assert_int_equal(auth_revision(f->auth), 4);
    assert_int_equal(grant(f, "u", "r"), ERR_OK); /* has it already */
    assert_int_equal(auth_revision(f->auth), 4);
    assert_int_equal(permit(f, "r", AUTHPB__PERMISSION__TYPE__READ, "a", ""), ERR_OK);
    assert_int_equal(permit(f, "r", AUTHPB__PERMISSION__TYPE__READ, "a", ""), ERR_OK);
    assert_int_equal(auth_revision(f->auth), 6); /* a permission counts again, as in etcd */
    assert_int_equal(disable(f), ERR_OK);        /* is off */
    assert_int_equal(auth_revision(f->auth), 6);
    with_root(f);
    assert_int_equal(enable(f), ERR_OK);
    assert_int_equal(auth_revision(f->auth), 8); /* turning it on does not count */
    assert_int_equal(disable(f), ERR_OK);
    assert_int_equal(auth_revision(f->auth), 9);
    assert_true(f->effect.drop_all);
}

static void refusals_change_nothing(void **state)
{
    struct fixture *f = *state;
    char name[BACKEND_KEY_MAX + 2];

    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(enable(f), ERR_ROOT_USER_NOT_EXIST);
    assert_int_equal(user_add(f, "", false), ERR_USER_EMPTY);
    assert_int_equal(role_add(f, ""), ERR_ROLE_EMPTY);
    assert_int_equal(user_add(f, name, false), ERR_NAME_TOO_LONG);
    assert_int_equal(role_add(f, name), ERR_NAME_TOO_LONG);
    assert_int_equal(user_delete(f, "u"), ERR_USER_NOT_FOUND);
    assert_int_equal(change_password(f, "u"), ERR_USER_NOT_FOUND);
    assert_int_equal(grant(f, "u", "r"), ERR_USER_NOT_FOUND);
    assert_int_equal(revoke(f, "u", "r"), ERR_USER_NOT_FOUND);
    assert_int_equal(role_delete(f, "r"), ERR_ROLE_NOT_FOUND);
    assert_int_equal(permit(f, "r", 0, "", ""), ERR_INVALID_AUTH_MGMT);
    assert_int_equal(permit(f, "r", 0, "b", "b"), ERR_INVALID_AUTH_MGMT);
    assert_int_equal(permit(f, "r", 0, "b", "c"), ERR_ROLE_NOT_FOUND);
    assert_int_equal(forbid(f, "r", "b", "c"), ERR_ROLE_NOT_FOUND);
    assert_int_equal(auth_revision(f->auth), 1);
    assert_int_equal(batch_op_count(f->batch), 0);
    assert_int_equal(user_add(f, "root", false), ERR_OK);
    assert_int_equal(enable(f), ERR_ROOT_ROLE_NOT_EXIST);
    assert_int_equal(grant(f, "root", "r"), ERR_ROLE_NOT_FOUND);
    assert_int_equal(revoke(f, "root", "r"), ERR_ROLE_NOT_GRANTED);
    assert_int_equal(role_add(f, "r"), ERR_OK);
    assert_int_equal(forbid(f, "r", "b", "c"), ERR_PERMISSION_NOT_GRANTED);
}

static void root_stays_while_auth_is_on(void **state)
{
    struct fixture *f = *state;

    with_root(f);
    assert_int_equal(role_add(f, "root"), ERR_OK);
    assert_int_equal(user_delete(f, "root"), ERR_INVALID_AUTH_MGMT);
    assert_int_equal(revoke(f, "root", "root"), ERR_INVALID_AUTH_MGMT);
    assert_int_equal(role_delete(f, "root"), ERR_INVALID_AUTH_MGMT);
    assert_int_equal(disable(f), ERR_OK);
    assert_int_equal(role_delete(f, "root"), ERR_OK);
    assert_false(auth_has_role(auth_find_user(f->auth, "root"), "root"));
    assert_int_equal(user_delete(f, "root"), ERR_OK);
    assert_string_equal(f->effect.drop_user, "root");
}

static void a_password_drops_tokens(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(user_add(f, "u", false), ERR_OK);
    assert_null(f->effect.drop_user);
    assert_int_equal(change_password(f, "u"), ERR_OK);
    assert_string_equal(f->effect.drop_user, "u");
    assert_memory_equal(auth_find_user(f->auth, "u")->password.data, "new", 3);
    assert_int_equal(user_add(f, "np", true), ERR_OK);
    assert_int_equal(change_password(f, "np"), ERR_OK);
    assert_int_equal(auth_find_user(f->auth, "np")->password.len, 0);
}

static void roles_and_permissions_are_in_order(void **state)
{
    struct fixture *f = *state;
    const Authpb__Role *role;

    assert_int_equal(role_add(f, "r"), ERR_OK);
    assert_int_equal(role_add(f, "q"), ERR_OK);
    assert_int_equal(user_add(f, "u", false), ERR_OK);
    assert_int_equal(grant(f, "u", "r"), ERR_OK);
    assert_int_equal(grant(f, "u", "q"), ERR_OK);
    assert_string_equal(auth_find_user(f->auth, "u")->roles[0], "q");
    assert_int_equal(permit(f, "r", 0, "m", ""), ERR_OK);
    assert_int_equal(permit(f, "r", 0, "b", "f"), ERR_OK);
    assert_int_equal(permit(f, "r", 0, "b", "c"), ERR_OK); /* behind its equal, as etcd has it */
    assert_int_equal(permit(f, "r", 2, "b", "f"), ERR_OK); /* another kind for the same range */
    role = auth_find_role(f->auth, "r");
    assert_int_equal(role->n_keypermission, 3);
    assert_memory_equal(role->keypermission[0]->range_end.data, "f", 1);
    assert_int_equal(role->keypermission[0]->permtype, AUTHPB__PERMISSION__TYPE__READWRITE);
    assert_memory_equal(role->keypermission[1]->range_end.data, "c", 1);
    assert_int_equal(forbid(f, "r", "b", ""), ERR_PERMISSION_NOT_GRANTED);
    assert_int_equal(forbid(f, "r", "b", "f"), ERR_OK);
    assert_int_equal(auth_find_role(f->auth, "r")->n_keypermission, 2);
    assert_int_equal(role_delete(f, "q"), ERR_OK);
    assert_int_equal(auth_find_user(f->auth, "u")->n_roles, 1);
}

/* Granted one after the other to a real etcd 3.5.30: the keys, and the order it has them in. */
static void permissions_are_in_the_order_of_etcd(void **state)
{
    static const struct {
        const char *keys, *order; /* '0' stands for the one granted first */
    } roles[] = {
        {"ddbhdhddhbhb", "29;01467358:"},
        {"hhhhdddbdhbd", "7:4568;01239"},
        {"cba", "210"},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
        const char name[] = {(char)('a' + i), '\0'};

        assert_int_equal(role_add(f, name), ERR_OK);
        for (size_t j = 0; roles[i].keys[j] != '\0'; j++) {
            const char key[] = {roles[i].keys[j], '\0'}, end[] = {'z', (char)('0' + j), '\0'};

            assert_int_equal(permit(f, name, 0, key, end), ERR_OK);
        }
        for (size_t j = 0; roles[i].keys[j] != '\0'; j++)
            assert_int_equal(auth_find_role(f->auth, name)->keypermission[j]->range_end.data[1],
                             roles[i].order[j]);
    }
}

/* What a hash is must be judged alike too: etcd refuses what is no base64. */
static void hashes_that_are_none(void **state)
{
    struct fixture *f = *state;
    raft_request request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__AuthUserChangePasswordRequest change =
        ETCDSERVERPB__AUTH_USER_CHANGE_PASSWORD_REQUEST__INIT;
    static const struct {
        const char *hash;
        enum err_code code;
    } hashes[] = {{"!", ERR_NO_PASSWORD_USER},
                  {"bmV", ERR_NO_PASSWORD_USER},
                  {"bm_3", ERR_NO_PASSWORD_USER},
                  {"bm\r\nV3\n", ERR_OK},
                  {"", ERR_OK}};

    assert_int_equal(user_add(f, "u", false), ERR_OK);
    change.name = plain("u");
    request.auth_user_change_password = &change;
    for (size_t i = 0; i < ARRAY_LEN(hashes); i++) {
        uint64_t revision = auth_revision(f->auth);

        change.hashedpassword = plain(hashes[i].hash);
        assert_int_equal(apply(f, &request), hashes[i].code);
        assert_int_equal(auth_revision(f->auth), revision + (hashes[i].code == ERR_OK));
    }
    assert_int_equal(auth_find_user(f->auth, "u")->password.len, 0);
}

/* ---- the buckets ---- */

static void is_stored_as_etcd_stores_it(void **state)
{
    static const uint8_t certonly[] = "\x0a\x08"
                                      "certonly\x1a\x06reader\x22\x02\x08\x01";
    static const uint8_t reader[] = "\x0a\x06reader\x12\x18\x12\x0a/registry/\x1a\x0a/registry0"
                                    "\x12\x06\x12\x01"
                                    "a\x1a\x01\x00";
    static const uint8_t alice[] = "\x0a\x05"
                                   "alice\x12\x04hash\x22\x00";
    struct fixture *f = *state;
    struct backend *backend = backend_new_mem();
    struct backend_read *read;
    struct slice value;
    raft_request request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__AuthRoleGrantPermissionRequest open_end =
        ETCDSERVERPB__AUTH_ROLE_GRANT_PERMISSION_REQUEST__INIT;
    Authpb__Permission permission = AUTHPB__PERMISSION__INIT;

    with_root(f);
    assert_int_equal(role_add(f, "reader"), ERR_OK);
    permission.key = pb_text("a");
    permission.range_end = (ProtobufCBinaryData){1, (uint8_t *)(uintptr_t) "\0"};
    open_end.name = plain("reader");
    open_end.perm = &permission;
    request.auth_role_grant_permission = &open_end;
    assert_int_equal(apply(f, &request), ERR_OK);
    assert_int_equal(permit(f, "reader", 0, "/registry/", "/registry0"), ERR_OK);
    assert_int_equal(user_add(f, "certonly", true), ERR_OK);
    assert_int_equal(grant(f, "certonly", "reader"), ERR_OK);
    assert_int_equal(user_add(f, "alice", false), ERR_OK);
    assert_int_equal(user_add(f, "gone", false), ERR_OK);
    assert_int_equal(user_delete(f, "gone"), ERR_OK);
    assert_int_equal(backend_commit(backend, f->batch, &err), 0);
    assert_int_equal(backend_read_begin(backend, &read, &err), 0);
    assert_true(backend_get(read, BUCKET_AUTH_USERS, slice_text("certonly"), &value));
    assert_true(slice_equal(value, slice_of(certonly, sizeof(certonly) - 1)));
    assert_true(backend_get(read, BUCKET_AUTH_USERS, slice_text("alice"), &value));
    assert_true(slice_equal(value, slice_of(alice, sizeof(alice) - 1)));
    assert_true(backend_get(read, BUCKET_AUTH_ROLES, slice_text("reader"), &value));
    assert_true(slice_equal(value, slice_of(reader, sizeof(reader) - 1)));
    assert_true(backend_get(read, BUCKET_AUTH, slice_text("authEnabled"), &value));
    assert_true(slice_equal(value, slice_of("\x01", 1)));
    assert_true(backend_get(read, BUCKET_AUTH, slice_text("authRevision"), &value));
    assert_true(slice_equal(value, slice_of("\0\0\0\0\0\0\0\x0b", 8)));

    struct auth_store *again = auth_store_new();
    assert_int_equal(auth_store_restore(again, read, &err), 0);
    assert_true(auth_enabled(again));
    assert_int_equal(auth_revision(again), 11);
    assert_int_equal(auth_user_count(again), 3);
    assert_int_equal(auth_role_count(again), 1);
    assert_true(auth_has_role(auth_find_user(again, "certonly"), "reader"));
    auth_store_free(again);
    backend_read_end(read);
    backend_close(backend);
}

/* etcd writes it at the first start already: totals and hashes of a store count it. */
static void a_store_holds_the_revision_from_its_first_start(void **state)
{
    struct fixture *f = *state;
    struct backend *backend = backend_new_mem();
    struct backend_read *read;
    struct slice value;

    assert_int_equal(backend_read_begin(backend, &read, &err), 0);
    assert_int_equal(auth_store_restore(f->auth, read, &err), 0);
    backend_read_end(read);
    auth_store_complete(f->auth, f->batch);
    assert_int_equal(batch_op_count(f->batch), 1);
    assert_int_equal(backend_commit(backend, f->batch, &err), 0);
    assert_int_equal(backend_read_begin(backend, &read, &err), 0);
    assert_true(backend_get(read, BUCKET_AUTH, slice_text("authRevision"), &value));
    assert_true(slice_equal(value, slice_of("\0\0\0\0\0\0\0\x01", 8)));

    struct auth_store *again = auth_store_new();
    assert_int_equal(auth_store_restore(again, read, &err), 0);
    assert_int_equal(auth_revision(again), 1);
    auth_store_complete(again, f->batch); /* it is there */
    assert_int_equal(batch_op_count(f->batch), 1);
    auth_store_free(again);
    backend_read_end(read);
    backend_close(backend);
}

/* etcd adds a permission again when another on the same key comes first: a role as it
 * stores that. */
static void permissions_that_are_there_twice(void **state)
{
    static const uint8_t twice[] = "\x0a\x01r\x12\x06\x12\x01"
                                   "b\x1a\x01"
                                   "c\x12\x08\x08\x02\x12\x01"
                                   "b\x1a\x01"
                                   "f\x12\x06\x12\x01"
                                   "b\x1a\x01"
                                   "f";
    struct fixture *f = *state;
    struct backend *backend = backend_new_mem();
    struct backend_read *read;
    const Authpb__Role *role;

    batch_put(f->batch, BUCKET_AUTH_ROLES, slice_text("r"), slice_of(twice, sizeof(twice) - 1));
    batch_put(f->batch, BUCKET_AUTH_ROLES, slice_text("s"), slice_of(twice, sizeof(twice) - 1));
    assert_int_equal(backend_commit(backend, f->batch, &err), 0);
    assert_int_equal(backend_read_begin(backend, &read, &err), 0);
    assert_int_equal(auth_store_restore(f->auth, read, &err), 0);
    role = auth_find_role(f->auth, "r");
    assert_int_equal(role->n_keypermission, 3);
    assert_int_equal(permit(f, "r", 0, "b", "f"), ERR_OK); /* it looks at the first of the key */
    assert_int_equal(role->n_keypermission, 4);
    assert_int_equal(role->keypermission[1]->permtype, AUTHPB__PERMISSION__TYPE__READWRITE);
    assert_int_equal(role->keypermission[3]->permtype, AUTHPB__PERMISSION__TYPE__READ);
    assert_int_equal(permit(f, "r", 1, "b", "c"), ERR_OK);
    assert_int_equal(role->n_keypermission, 4);
    assert_int_equal(role->keypermission[0]->permtype, AUTHPB__PERMISSION__TYPE__WRITE);
    role = auth_find_role(f->auth, "s");
    assert_int_equal(forbid(f, "s", "b", "f"), ERR_OK);
    assert_int_equal(role->n_keypermission, 1);
    assert_int_equal(forbid(f, "s", "b", "f"), ERR_PERMISSION_NOT_GRANTED);
    backend_read_end(read);
    backend_close(backend);
}

static void a_damaged_bucket_is_named(void **state)
{
    struct fixture *f = *state;
    struct backend *backend = backend_new_mem();
    struct backend_read *read;

    batch_put(f->batch, BUCKET_AUTH_ROLES, slice_text("r"), slice_text("\xff\xff\xff"));
    assert_int_equal(backend_commit(backend, f->batch, &err), 0);
    assert_int_equal(backend_read_begin(backend, &read, &err), 0);
    assert_int_equal(auth_store_restore(f->auth, read, &err), -1);
    assert_int_equal(err.code, ERR_DAMAGED);
    assert_non_null(strstr(err.text, "authRoles"));
    backend_read_end(read);
    backend_close(backend);
}

/* ---- rights ---- */

static void everybody_may_while_auth_is_off(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(may(f, NULL, AUTH_WRITE, "a", ""), ERR_OK);
    assert_int_equal(auth_check_root(f->auth, as(f, NULL)), ERR_OK);
    assert_int_equal(auth_check_user(f->auth, as(f, NULL)), ERR_OK);
}

static void permissions_of_all_roles_add_up(void **state)
{
    struct fixture *f = *state;

    with_root(f);
    assert_int_equal(role_add(f, "low"), ERR_OK);
    assert_int_equal(role_add(f, "high"), ERR_OK);
    assert_int_equal(permit(f, "low", AUTHPB__PERMISSION__TYPE__READWRITE, "a", "m"), ERR_OK);
    assert_int_equal(permit(f, "high", AUTHPB__PERMISSION__TYPE__READ, "m", "z"), ERR_OK);
    assert_int_equal(user_add(f, "u", false), ERR_OK);
    assert_int_equal(grant(f, "u", "low"), ERR_OK);
    assert_int_equal(may(f, "u", AUTH_READ, "a", "m"), ERR_OK);
    assert_int_equal(may(f, "u", AUTH_READ, "a", "z"), ERR_PERMISSION_DENIED);
    assert_int_equal(grant(f, "u", "high"), ERR_OK); /* the union is made anew */
    assert_int_equal(may(f, "u", AUTH_READ, "a", "z"), ERR_OK);
    assert_int_equal(may(f, "u", AUTH_WRITE, "a", "z"), ERR_PERMISSION_DENIED);
    assert_int_equal(may(f, "u", AUTH_WRITE, "b", ""), ERR_OK);
    assert_int_equal(revoke(f, "u", "low"), ERR_OK);
    assert_int_equal(may(f, "u", AUTH_READ, "a", "z"), ERR_PERMISSION_DENIED);
    assert_int_equal(may(f, "root", AUTH_WRITE, "zz", ""), ERR_OK);
}

#define DEEP 200000

/* Another member may have let in any depth: what the innermost txn does is looked at, too. */
static void deep_txns_are_checked(void **state)
{
    struct fixture *f = *state;
    Etcdserverpb__TxnRequest *txns = xalloc(DEEP * sizeof(*txns));
    Etcdserverpb__RequestOp *ops = xalloc(DEEP * sizeof(*ops)), **lists;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;

    with_root(f);
    assert_int_equal(role_add(f, "r"), ERR_OK);
    assert_int_equal(permit(f, "r", AUTHPB__PERMISSION__TYPE__READWRITE, "a", ""), ERR_OK);
    assert_int_equal(user_add(f, "u", false), ERR_OK);
    assert_int_equal(grant(f, "u", "r"), ERR_OK);
    lists = xalloc(DEEP * sizeof(*lists));
    for (size_t i = 0; i < DEEP; i++) {
        etcdserverpb__txn_request__init(&txns[i]);
        etcdserverpb__request_op__init(&ops[i]);
        lists[i] = &ops[i];
        ops[i].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
        ops[i].request_txn = i + 1 < DEEP ? &txns[i + 1] : NULL;
        *(i % 2 == 0 ? &txns[i].success : &txns[i].failure) = &lists[i];
        *(i % 2 == 0 ? &txns[i].n_success : &txns[i].n_failure) = 1;
    }
    ops[DEEP - 1].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    ops[DEEP - 1].request_put = &put;
    put.key = pb_text("a");
    assert_int_equal(auth_check_txn(f->auth, f->leases, as(f, "u"), txns), ERR_OK);
    put.key = pb_text("b");
    assert_int_equal(auth_check_txn(f->auth, f->leases, as(f, "u"), txns), ERR_PERMISSION_DENIED);
    free(txns);
    free(ops);
    free(lists);
}

static void who_is_nobody_old_or_gone_is_refused(void **state)
{
    struct fixture *f = *state;
    struct auth_identity old;

    with_root(f);
    old = as(f, "root");
    assert_int_equal(may(f, NULL, AUTH_READ, "a", ""), ERR_USER_EMPTY);
    assert_int_equal(may(f, "", AUTH_READ, "a", ""), ERR_USER_EMPTY);
    assert_int_equal(may(f, "x", AUTH_READ, "a", ""), ERR_PERMISSION_DENIED);
    assert_int_equal(auth_check_root(f->auth, as(f, "")), ERR_USER_EMPTY);
    assert_int_equal(auth_check_root(f->auth, as(f, "x")), ERR_USER_NOT_FOUND);
    assert_int_equal(auth_check_user(f->auth, as(f, "x")), ERR_PERMISSION_DENIED);
    assert_int_equal(user_add(f, "u", false), ERR_OK);
    assert_int_equal(auth_check_root(f->auth, as(f, "u")), ERR_PERMISSION_DENIED);
    assert_int_equal(auth_check_keys(f->auth, old, AUTH_READ, slice_text("a"), SLICE_EMPTY),
                     ERR_AUTH_OLD_REVISION);
    assert_int_equal(auth_check_root(f->auth, old), ERR_OK); /* asks for the name only */
}

static enum err_code check_put(struct fixture *f, const char *key, bool prev_kv, int64_t lease)
{
    raft_request request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__RequestHeader header = ETCDSERVERPB__REQUEST_HEADER__INIT;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;

    header.username = plain("u");
    header.auth_revision = auth_revision(f->auth);
    put.key = pb_text(key);
    put.prev_kv = prev_kv;
    put.lease = lease;
    request.header = &header;
    request.put = &put;
    return auth_check_request(f->auth, f->leases, &request);
}

static void a_lease_protects_its_keys(void **state)
{
    struct fixture *f = *state;
    raft_request request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__RequestHeader header = ETCDSERVERPB__REQUEST_HEADER__INIT;
    Etcdserverpb__LeaseRevokeRequest lease = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;

    with_root(f);
    assert_int_equal(role_add(f, "r"), ERR_OK);
    assert_int_equal(permit(f, "r", AUTHPB__PERMISSION__TYPE__WRITE, "mine", ""), ERR_OK);
    assert_int_equal(user_add(f, "u", false), ERR_OK);
    assert_int_equal(grant(f, "u", "r"), ERR_OK);
    assert_int_equal(lease_apply_grant(f->leases, 7, 60, 0, f->batch), ERR_OK);
    lease_attach(f->leases, 7, slice_text("mine"));
    assert_int_equal(check_put(f, "mine", false, 7), ERR_OK);
    assert_int_equal(check_put(f, "mine", true, 0), ERR_PERMISSION_DENIED); /* cannot read it */
    lease_attach(f->leases, 7, slice_text("theirs"));
    assert_int_equal(check_put(f, "mine", false, 7), ERR_PERMISSION_DENIED);
    assert_int_equal(check_put(f, "mine", false, 8), ERR_OK); /* apply says it is not there */
    lease.id = 7;
    request.lease_revoke = &lease;
    request.header = &header;
    header.username = plain("u");
    header.auth_revision = auth_revision(f->auth);
    assert_int_equal(auth_check_request(f->auth, f->leases, &request), ERR_PERMISSION_DENIED);
    auth_header_as_root(f->auth, &header);
    assert_int_equal(auth_check_request(f->auth, f->leases, &request), ERR_OK);
    assert_int_equal(user_add(f, "v", false), ERR_OK); /* meanwhile; etcd lets it pass */
    assert_int_equal(auth_check_request(f->auth, f->leases, &request), ERR_OK);
}

/* A range that ends before it begins, asked of a real etcd 3.5.30: its tree grows by roles. */
static void ranges_the_wrong_way_round(void **state)
{
    struct fixture *f = *state;

    with_root(f);
    assert_int_equal(role_add(f, "o"), ERR_OK);
    assert_int_equal(role_add(f, "t1"), ERR_OK);
    assert_int_equal(role_add(f, "t2"), ERR_OK);
    assert_int_equal(permit(f, "o", 0, "c", "d"), ERR_OK);
    assert_int_equal(permit(f, "o", 0, "e", "z"), ERR_OK);
    assert_int_equal(permit(f, "t1", 0, "e", "z"), ERR_OK);
    assert_int_equal(permit(f, "t2", 0, "c", "d"), ERR_OK);
    assert_int_equal(user_add(f, "one", false), ERR_OK);
    assert_int_equal(user_add(f, "two", false), ERR_OK);
    assert_int_equal(grant(f, "one", "o"), ERR_OK);
    assert_int_equal(grant(f, "two", "t1"), ERR_OK);
    assert_int_equal(grant(f, "two", "t2"), ERR_OK);
    assert_int_equal(may(f, "one", AUTH_READ, "m", "a"), ERR_PERMISSION_DENIED);
    assert_int_equal(may(f, "one", AUTH_READ, "m", "c"), ERR_PERMISSION_DENIED);
    assert_int_equal(may(f, "one", AUTH_READ, "m", "d"), ERR_OK);
    assert_int_equal(may(f, "one", AUTH_READ, "m", "m"), ERR_OK);
    assert_int_equal(may(f, "two", AUTH_READ, "m", "a"), ERR_OK);
    assert_int_equal(may(f, "two", AUTH_READ, "d", "a"), ERR_PERMISSION_DENIED);
    assert_int_equal(may(f, "two", AUTH_WRITE, "m", "a"), ERR_PERMISSION_DENIED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(the_revision_counts_what_takes_effect),
        TEST(refusals_change_nothing),
        TEST(root_stays_while_auth_is_on),
        TEST(a_password_drops_tokens),
        TEST(roles_and_permissions_are_in_order),
        TEST(permissions_are_in_the_order_of_etcd),
        TEST(hashes_that_are_none),
        TEST(is_stored_as_etcd_stores_it),
        TEST(a_store_holds_the_revision_from_its_first_start),
        TEST(permissions_that_are_there_twice),
        TEST(a_damaged_bucket_is_named),
        TEST(everybody_may_while_auth_is_off),
        TEST(permissions_of_all_roles_add_up),
        TEST(deep_txns_are_checked),
        TEST(who_is_nobody_old_or_gone_is_refused),
        TEST(a_lease_protects_its_keys),
        TEST(ranges_the_wrong_way_round),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
