/*
 * apply_auth.c - applying what concerns users, roles and logins.
 *
 * Changes are the store's (state/auth.h). Here are the answers, and what a log entry means for
 * tokens: a login makes the text of a simple token, the same on every member (formats.md 9.1), and
 * some changes drop tokens. Questions go through the log too: they see what was decided before
 * them.
 */
#include "common/base/base.h"
#include "common/base/plants.h"
#include "etcd-server/engine/engine_internal.h"

#include <stdio.h>

typedef Etcdserverpb__InternalRaftRequest raft_request;

void engine_watch_auth(struct engine *engine, const struct engine_auth_watch *watch)
{
    engine->auth_watch = *watch;
}

struct auth_store *engine_auth(struct engine *engine)
{
    return engine->auth;
}

bool apply_is_auth(const raft_request *request)
{
    return auth_is_change(request) || request->authenticate != NULL ||
           request->auth_status != NULL || request->auth_user_get != NULL ||
           request->auth_user_list != NULL || request->auth_role_get != NULL ||
           request->auth_role_list != NULL;
}

/* ---- answers ---- */

static const ProtobufCMessageDescriptor *answer_type(const raft_request *request)
{
    const struct {
        const void *asked;
        const ProtobufCMessageDescriptor *type;
    } types[] = {
        {request->auth_enable, &etcdserverpb__auth_enable_response__descriptor},
        {request->auth_disable, &etcdserverpb__auth_disable_response__descriptor},
        {request->auth_status, &etcdserverpb__auth_status_response__descriptor},
        {request->authenticate, &etcdserverpb__authenticate_response__descriptor},
        {request->auth_user_add, &etcdserverpb__auth_user_add_response__descriptor},
        {request->auth_user_get, &etcdserverpb__auth_user_get_response__descriptor},
        {request->auth_user_list, &etcdserverpb__auth_user_list_response__descriptor},
        {request->auth_user_delete, &etcdserverpb__auth_user_delete_response__descriptor},
        {request->auth_user_change_password,
         &etcdserverpb__auth_user_change_password_response__descriptor},
        {request->auth_user_grant_role, &etcdserverpb__auth_user_grant_role_response__descriptor},
        {request->auth_user_revoke_role, &etcdserverpb__auth_user_revoke_role_response__descriptor},
        {request->auth_role_add, &etcdserverpb__auth_role_add_response__descriptor},
        {request->auth_role_get, &etcdserverpb__auth_role_get_response__descriptor},
        {request->auth_role_list, &etcdserverpb__auth_role_list_response__descriptor},
        {request->auth_role_delete, &etcdserverpb__auth_role_delete_response__descriptor},
        {request->auth_role_grant_permission,
         &etcdserverpb__auth_role_grant_permission_response__descriptor},
        {request->auth_role_revoke_permission,
         &etcdserverpb__auth_role_revoke_permission_response__descriptor},
    };

    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (types[i].asked != NULL)
            return types[i].type;
    return NULL;
}

/* The names of all users, or of all roles. */
static bool list_users(const struct engine *engine, struct arena *arena, void *response)
{
    Etcdserverpb__AuthUserListResponse *list = response;
    size_t count = auth_user_count(engine->auth);

    list->users = arena_alloc(arena, count * sizeof(*list->users));
    for (size_t i = 0; list->users != NULL && i < count; i++) {
        ProtobufCBinaryData name = auth_user_at(engine->auth, i)->name;

        list->users[i] = arena_strndup(arena, name.data, name.len);
        if (list->users[i] == NULL)
            return false;
    }
    list->n_users = count - PLANTED(USER_LIST_CUT);
    return list->users != NULL;
}

static bool list_roles(const struct engine *engine, struct arena *arena, void *response)
{
    Etcdserverpb__AuthRoleListResponse *list = response;
    size_t count = auth_role_count(engine->auth);

    list->roles = arena_alloc(arena, count * sizeof(*list->roles));
    for (size_t i = 0; list->roles != NULL && i < count; i++) {
        ProtobufCBinaryData name = auth_role_at(engine->auth, i)->name;

        list->roles[i] = arena_strndup(arena, name.data, name.len);
        if (list->roles[i] == NULL)
            return false;
    }
    list->n_roles = count - (PLANTED(ROLE_LIST_CUT) && count != 0);
    return list->roles != NULL;
}

/* What is behind the header; borrows from the store, for the answer is encoded at once. */
static bool fill(const struct engine *engine, const raft_request *request, const char *token,
                 struct arena *arena, void *response)
{
    if (request->auth_status != NULL) {
        ((Etcdserverpb__AuthStatusResponse *)response)->enabled = auth_enabled(engine->auth);
        ((Etcdserverpb__AuthStatusResponse *)response)->authrevision = auth_revision(engine->auth);
    } else if (request->authenticate != NULL) {
        ((Etcdserverpb__AuthenticateResponse *)response)->token =
            arena_strndup(arena, token, strlen(token));
        return ((Etcdserverpb__AuthenticateResponse *)response)->token != NULL;
    } else if (request->auth_user_get != NULL) {
        const Authpb__User *user = auth_find_user(engine->auth, request->auth_user_get->name);

        ((Etcdserverpb__AuthUserGetResponse *)response)->roles = user->roles;
        ((Etcdserverpb__AuthUserGetResponse *)response)->n_roles =
            PLANTED(USER_ROLES_CUT) ? MIN(user->n_roles, 1) : user->n_roles;
    } else if (request->auth_role_get != NULL) {
        const Authpb__Role *role = auth_find_role(engine->auth, request->auth_role_get->role);

        ((Etcdserverpb__AuthRoleGetResponse *)response)->perm = role->keypermission;
        ((Etcdserverpb__AuthRoleGetResponse *)response)->n_perm =
            role->n_keypermission - (PLANTED(ROLE_PERMISSIONS_CUT) && role->n_keypermission != 0);
    } else if (request->auth_user_list != NULL) {
        return list_users(engine, arena, response);
    } else if (request->auth_role_list != NULL) {
        return list_roles(engine, arena, response);
    }
    return true;
}

/* ---- logins ---- */

#define SIMPLE_TOKEN_BYTES 64 /* the letters, a dot, 20 digits */

/* The letters of the proposer and the consistent index before this entry. */
static enum err_code log_in(struct engine *engine,
                            const Etcdserverpb__InternalAuthenticateRequest *request, char *token)
{
    const struct engine_auth_watch *watch = &engine->auth_watch;
    const Authpb__User *user = auth_find_user(engine->auth, request->name);

    token[0] = '\0';
    if (!auth_enabled(engine->auth))
        return ERR_AUTH_NOT_ENABLED;
    if (user == NULL || (user->options != NULL && user->options->no_password))
        return ERR_AUTH_FAILED;
    if (request->simple_token[0] == '\0') /* another kind of token: the proposer makes it */
        return ERR_OK;
    (void)snprintf(token, SIMPLE_TOKEN_BYTES, "%.32s.%" PRIu64, request->simple_token,
                   engine->applied_index - 1); /* fits */
    if (watch->logged_in != NULL)
        watch->logged_in(watch->arg, request->name, token);
    return ERR_OK;
}

static enum err_code change(struct engine *engine, const raft_request *request)
{
    const struct engine_auth_watch *watch = &engine->auth_watch;
    struct auth_effect effect;
    enum err_code code = auth_apply(engine->auth, request, engine->open, &effect);

    if (code == ERR_OK && watch->dropped != NULL && (effect.drop_all || effect.drop_user != NULL))
        watch->dropped(watch->arg, effect.drop_user);
    return code;
}

enum err_code apply_auth(struct engine *engine, const raft_request *request, struct arena *arena,
                         ProtobufCMessage **response)
{
    char token[SIMPLE_TOKEN_BYTES] = "";
    enum err_code code = ERR_OK;

    if (request->authenticate != NULL)
        code = log_in(engine, request->authenticate, token);
    else if (request->auth_user_get != NULL)
        code = auth_find_user(engine->auth, request->auth_user_get->name) != NULL
                   ? ERR_OK
                   : ERR_USER_NOT_FOUND;
    else if (request->auth_role_get != NULL)
        code = auth_find_role(engine->auth, request->auth_role_get->role) != NULL
                   ? ERR_OK
                   : ERR_ROLE_NOT_FOUND;
    else if (auth_is_change(request))
        code = change(engine, request);
    if (code != ERR_OK || arena == NULL)
        return code;
    *response = apply_header_only(engine, answer_type(request), arena);
    if (*response != NULL && !fill(engine, request, token, arena, *response))
        *response = NULL;
    return code;
}
