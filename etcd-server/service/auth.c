/*
 * auth.c - the Auth service (api.md 9).
 *
 * Everything goes through the log, questions too; most calls are handed on as they are. Passwords
 * are settled before: hashed for UserAdd and UserChangePassword, checked for Authenticate, each on
 * a pool thread, for bcrypt takes 50 ms and more (password_job.h).
 *
 *   Authenticate: read index -> check the password -> log entry -> token
 *                     ^-- users or roles changed meanwhile: once more
 */
#include "common/base/base.h"
#include "common/base/base64.h"
#include "common/base/limits.h"
#include "common/base/plants.h"
#include "common/schema/pbbytes.h"
#include "etcd-server/service/authorise.h"
#include "etcd-server/service/password_job.h"

#define LOGIN_TRIES_MAX 8 /* while somebody changes users faster than a password is checked */

/* ---- calls handed on as they are ---- */

#define FIELD(name) offsetof(Etcdserverpb__InternalRaftRequest, name)

static const size_t fields[RPC_COUNT] = {
    [RPC_Auth_AuthEnable] = FIELD(auth_enable),
    [RPC_Auth_AuthDisable] = FIELD(auth_disable),
    [RPC_Auth_AuthStatus] = FIELD(auth_status),
    [RPC_Auth_UserAdd] = FIELD(auth_user_add),
    [RPC_Auth_UserGet] = FIELD(auth_user_get),
    [RPC_Auth_UserList] = FIELD(auth_user_list),
    [RPC_Auth_UserDelete] = FIELD(auth_user_delete),
    [RPC_Auth_UserChangePassword] = FIELD(auth_user_change_password),
    [RPC_Auth_UserGrantRole] = FIELD(auth_user_grant_role),
    [RPC_Auth_UserRevokeRole] = FIELD(auth_user_revoke_role),
    [RPC_Auth_RoleAdd] = FIELD(auth_role_add),
    [RPC_Auth_RoleGet] = FIELD(auth_role_get),
    [RPC_Auth_RoleList] = FIELD(auth_role_list),
    [RPC_Auth_RoleDelete] = FIELD(auth_role_delete),
    [RPC_Auth_RoleGrantPermission] = FIELD(auth_role_grant_permission),
    [RPC_Auth_RoleRevokePermission] = FIELD(auth_role_revoke_permission),
};

void auth_hand_on(struct service *service, struct call *call)
{
    Etcdserverpb__InternalRaftRequest *request = call_raft_request(call);

    if (request == NULL)
        return;
    must(fields[call->row->id] != 0);
    memcpy((uint8_t *)request + fields[call->row->id], &call->request, sizeof(call->request));
    call_propose(service, call, request);
}

void auth_role_add(struct service *service, struct call *call)
{
    const Etcdserverpb__AuthRoleAddRequest *request =
        (const Etcdserverpb__AuthRoleAddRequest *)(const void *)call->request;

    if (strlen(request->name) > BACKEND_KEY_MAX)
        call_refuse(call, ERR_NAME_TOO_LONG);
    else
        auth_hand_on(service, call);
}

/* ---- passwords that are set ---- */

struct hashing {
    struct password_job job;
    char **hash; /* of the request: filled in */
};

static char *no_text(void)
{
    return (char *)(uintptr_t)protobuf_c_empty_string; /* messages are only read */
}

static void hashed(struct password_job *job, enum err_code code)
{
    struct hashing *hashing = CONTAINER_OF(job, struct hashing, job);
    struct call *call = job->call;
    struct buf text = BUF_INIT(2 * PASSWORD_HASH_BYTES);

    if (code == ERR_OK) {
        must(base64_encode(slice_text(job->hash), &text)); /* 80 characters */
        *hashing->hash = arena_strndup(&call->arena, text.data, text.size);
        code = *hashing->hash != NULL ? ERR_OK : ERR_REQUEST_TOO_LARGE;
    }
    buf_free(&text);
    if (code == ERR_OK)
        auth_hand_on(job->service, call);
    else
        call_refuse(call, code);
}

static void hash_then_hand_on(struct service *service, struct call *call, char **password,
                              char **hash)
{
    struct hashing *hashing;

    if (strlen(*password) > PASSWORD_BYTES_MAX) {
        call_refuse(call, ERR_PASSWORD_TOO_LONG);
        return;
    }
    hashing = call_alloc(call, sizeof(*hashing));
    if (hashing == NULL)
        return;
    hashing->hash = hash;
    password_job_hash(service, call, &hashing->job, *password, hashed);
    *password = no_text(); /* the log never sees it */
}

void auth_user_add(struct service *service, struct call *call)
{
    Etcdserverpb__AuthUserAddRequest *request =
        (Etcdserverpb__AuthUserAddRequest *)(void *)call->request;

    request->hashedpassword = no_text(); /* ours to fill in */
    if (request->name[0] == '\0') {
        call_refuse(call, ERR_USER_EMPTY);
    } else if (strlen(request->name) > BACKEND_KEY_MAX) {
        call_refuse(call, ERR_NAME_TOO_LONG);
    } else if (request->options != NULL && request->options->no_password) {
        request->password = no_text();
        auth_hand_on(service, call);
    } else {
        hash_then_hand_on(service, call, &request->password, &request->hashedpassword);
    }
}

void auth_user_change_password(struct service *service, struct call *call)
{
    Etcdserverpb__AuthUserChangePasswordRequest *request =
        (Etcdserverpb__AuthUserChangePasswordRequest *)(void *)call->request;

    if (request->password[0] == '\0') /* as etcd: a hash may come with it, else nobody logs in */
        auth_hand_on(service, call);
    else
        hash_then_hand_on(service, call, &request->password, &request->hashedpassword);
}

/* ---- Authenticate ---- */

struct login {
    struct password_job job;
    struct service *service;
    struct call *call;
    uint64_t proposal;
    uint64_t checked_revision; /* auth revision the password was checked at */
    unsigned tries;
    Etcdserverpb__InternalRaftRequest raft_request;
    Etcdserverpb__InternalAuthenticateRequest request;
    char letters[SIMPLE_TOKEN_LETTERS + 1];
};

static void check_password(struct login *login);

static uint64_t host_random(void *arg)
{
    struct host *host = arg;

    return host->ops->random(host);
}

static void forget_login(struct call *call)
{
    struct login *login = call->state;

    engine_forget(login->service->engine, login->proposal);
}

static void logged_in(void *arg, const struct engine_result *result)
{
    struct login *login = arg;
    struct service *service = login->service;
    struct call *call = login->call;
    struct host *host = engine_host(service->engine);
    Etcdserverpb__AuthenticateResponse *response =
        (Etcdserverpb__AuthenticateResponse *)(void *)result->response;

    call->cancel = NULL;
    if (result->code != ERR_OK) {
        call_refuse(call, result->code);
        return;
    }
    if (auth_revision(engine_auth(service->engine)) != login->checked_revision &&
        !PLANTED(AUTH_LOGIN_RACE)) {
        check_password(login); /* it may be another password now, or another user */
        return;
    }
    if (response != NULL && service->config.jwt != NULL)
        response->token =
            jwt_sign(service->config.jwt, login->request.name, login->checked_revision,
                     (int64_t)(host->ops->unix_ms(host) / 1000), &call->arena);
    if (response == NULL || response->token == NULL)
        call_refuse(call, ERR_ANSWER_TOO_LARGE);
    else
        call->ops->reply(call, &response->base);
}

static void propose_login(struct login *login)
{
    struct service *service = login->service;
    struct call *call = login->call;
    enum err_code refusal;

    etcdserverpb__internal_raft_request__init(&login->raft_request);
    etcdserverpb__internal_authenticate_request__init(&login->request);
    login->request.name = ((Etcdserverpb__AuthenticateRequest *)(void *)call->request)->name;
    if (service->config.jwt == NULL) {
        simple_token_letters(host_random, engine_host(service->engine), login->letters);
        login->request.simple_token = login->letters;
    }
    login->raft_request.authenticate = &login->request;
    call->state = login;
    call->cancel = forget_login;
    login->proposal = engine_propose(service->engine, &login->raft_request, &call->arena, logged_in,
                                     login, &refusal);
    if (login->proposal == 0)
        call_refuse(call, refusal);
}

static void checked(struct password_job *job, enum err_code code)
{
    struct login *login = CONTAINER_OF(job, struct login, job);

    if (code != ERR_OK)
        call_refuse(login->call, code);
    else if (auth_revision(engine_auth(login->service->engine)) != login->checked_revision &&
             !PLANTED(AUTH_LOGIN_RACE))
        check_password(login);
    else
        propose_login(login);
}

static void check_password(struct login *login)
{
    const Etcdserverpb__AuthenticateRequest *request =
        (const Etcdserverpb__AuthenticateRequest *)(const void *)login->call->request;
    struct auth_store *auth = engine_auth(login->service->engine);
    const Authpb__User *user = auth_find_user(auth, request->name);

    if (!auth_enabled(auth)) {
        call_refuse(login->call, ERR_AUTH_NOT_ENABLED);
    } else if (user != NULL && user->options != NULL && user->options->no_password) {
        call_refuse(login->call, ERR_NO_PASSWORD_USER);
    } else if (login->tries++ == LOGIN_TRIES_MAX) {
        call_refuse(login->call, ERR_AUTH_OLD_REVISION);
    } else {
        login->checked_revision = auth_revision(auth);
        password_job_check(login->service, login->call, &login->job, request->password,
                           user != NULL ? pb_slice(user->password) : SLICE_EMPTY, checked);
    }
}

static void may_log_in(struct service *service, struct call *call)
{
    struct login *login = call_alloc(call, sizeof(*login));

    if (login == NULL)
        return;
    login->service = service;
    login->call = call;
    check_password(login);
}

void auth_authenticate(struct service *service, struct call *call)
{
    if (service->config.jwt != NULL && !jwt_can_sign(service->config.jwt))
        call_refuse(call, ERR_VERIFY_ONLY);
    else
        call_read(service, call, may_log_in);
}
