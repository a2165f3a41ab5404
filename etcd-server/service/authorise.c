/* authorise.c - see authorise.h. A row that is not in the table needs root: nobody forgets one. */
#include "etcd-server/service/authorise.h"
#include "common/base/base.h"

enum need {
    NEEDS_ROOT,
    NEEDS_NOTHING, /* Authenticate makes the token; health and schema are no data */
    NEEDS_USER,
    NEEDS_LATER, /* the handler asks, or apply */
};

static const uint8_t needs[RPC_COUNT] = {
    [RPC_Auth_Authenticate] = NEEDS_NOTHING,
    [RPC_Auth_UserGet] = NEEDS_LATER,
    [RPC_Auth_RoleGet] = NEEDS_LATER,
    [RPC_KV_Range] = NEEDS_LATER,
    [RPC_KV_RangeStream] = NEEDS_LATER,
    [RPC_KV_Put] = NEEDS_LATER,
    [RPC_KV_DeleteRange] = NEEDS_LATER,
    [RPC_KV_Txn] = NEEDS_LATER,
    [RPC_Watch_Watch] = NEEDS_LATER,
    [RPC_Lease_LeaseGrant] = NEEDS_USER,
    [RPC_Lease_LeaseRevoke] = NEEDS_USER,
    [RPC_Lease_LeaseKeepAlive] = NEEDS_USER,
    [RPC_Lease_LeaseTimeToLive] = NEEDS_USER,
    [RPC_Lease_LeaseLeases] = NEEDS_USER,
    [RPC_Cluster_MemberList] = NEEDS_USER,
    [RPC_Cluster_MemberAdd] = NEEDS_LATER,
    [RPC_Maintenance_Alarm] = NEEDS_LATER,
    [RPC_Lock_Lock] = NEEDS_LATER,
    [RPC_Lock_Unlock] = NEEDS_LATER,
    [RPC_Election_Campaign] = NEEDS_LATER,
    [RPC_Election_Proclaim] = NEEDS_LATER,
    [RPC_Election_Leader] = NEEDS_LATER,
    [RPC_Election_Observe] = NEEDS_LATER,
    [RPC_Election_Resign] = NEEDS_LATER,
    [RPC_Health_Check] = NEEDS_NOTHING,
    [RPC_Health_Watch] = NEEDS_NOTHING,
    [RPC_Health_List] = NEEDS_NOTHING,
    [RPC_ServerReflection_ServerReflectionInfo] = NEEDS_NOTHING,
};

static struct auth_store *store(struct service *service)
{
    return engine_auth(service->engine);
}

static bool is_off(struct service *service)
{
    return !auth_enabled(store(service));
}

/* The user that the caller's certificate names, wherever it may count; NULL: none. */
static const char *certificate_user(const struct service *service, const struct call *call)
{
    return service->config.certificates_name_users ? call->common_name : NULL;
}

/* A gateway's callers are not believed to know whose certificate is shown (api.md 9.3). */
static bool may_be_another(const struct call *call)
{
    return call->through_gateway && !call->as_certificate;
}

/* What a token stands for. */
static enum err_code read_token(struct service *service, struct call *call,
                                struct auth_identity *caller)
{
    struct host *host = engine_host(service->engine);
    struct jwt_claims claims;
    const char *username;

    if (service->config.jwt != NULL) {
        if (!jwt_verify(service->config.jwt, call->token,
                        (int64_t)(host->ops->unix_ms(host) / 1000), &claims))
            return ERR_INVALID_AUTH_TOKEN;
        username = claims.username;
        caller->revision = claims.revision;
    } else {
        username = simple_tokens_use(service->tokens, call->token, host_now_ms(host));
        if (username == NULL)
            return ERR_INVALID_AUTH_TOKEN;
        caller->revision = auth_revision(store(service));
    }
    caller->username = arena_strndup(&call->arena, username, strlen(username));
    return caller->username != NULL ? ERR_OK : ERR_REQUEST_TOO_LARGE;
}

enum err_code authorise_identify(struct service *service, struct call *call,
                                 struct auth_identity *caller)
{
    const char *named = certificate_user(service, call);

    *caller = (struct auth_identity){NULL, 0};
    if (is_off(service))
        return ERR_OK;
    if (call->token != NULL)
        return read_token(service, call, caller);
    if (named != NULL && !may_be_another(call))
        *caller = (struct auth_identity){named, auth_revision(store(service))};
    return ERR_OK;
}

enum err_code authorise_user(struct service *service, struct call *call)
{
    struct auth_identity caller;
    enum err_code code = authorise_identify(service, call, &caller);

    return code == ERR_OK ? auth_check_user(store(service), caller) : code;
}

enum err_code authorise_root(struct service *service, struct call *call)
{
    struct auth_identity caller;
    enum err_code code = authorise_identify(service, call, &caller);

    return code == ERR_OK ? auth_check_root(store(service), caller) : code;
}

enum err_code authorise_start(struct service *service, struct call *call)
{
    if (is_off(service))
        return ERR_OK;
    if (may_be_another(call) && certificate_user(service, call) != NULL && call->token == NULL &&
        call->row->id != RPC_Auth_Authenticate)
        return ERR_COMMON_NAME_IGNORED; /* its sender believes that it counts (api.md 9.3) */
    switch ((enum need)needs[call->row->id]) {
    case NEEDS_ROOT:
        return authorise_root(service, call);
    case NEEDS_USER:
        return authorise_user(service, call);
    case NEEDS_NOTHING:
    case NEEDS_LATER:
        break;
    }
    return ERR_OK;
}

enum err_code authorise_keys(struct service *service, struct call *call, enum auth_access access,
                             struct slice key, struct slice range_end)
{
    struct auth_identity caller;
    enum err_code code = authorise_identify(service, call, &caller);

    return code == ERR_OK ? auth_check_keys(store(service), caller, access, key, range_end) : code;
}

enum err_code authorise_txn(struct service *service, struct call *call,
                            const Etcdserverpb__TxnRequest *txn)
{
    struct auth_identity caller;
    enum err_code code = authorise_identify(service, call, &caller);

    if (code == ERR_OK)
        code = auth_check_txn(store(service), engine_leases(service->engine), caller, txn);
    /* one that names no key is refused for an old token, too; to have none is fine */
    if (code == ERR_OK && caller.username != NULL &&
        caller.revision != auth_revision(store(service)))
        code = ERR_AUTH_OLD_REVISION;
    return code;
}

enum err_code authorise_lease(struct service *service, struct call *call, enum auth_access access,
                              int64_t lease)
{
    struct auth_identity caller;
    enum err_code code = authorise_identify(service, call, &caller);

    if (code == ERR_OK && caller.username == NULL && !is_off(service))
        code = ERR_USER_EMPTY; /* the stream is older than the users */
    return code == ERR_OK ? auth_check_lease(store(service), engine_leases(service->engine), caller,
                                             access, lease)
                          : code;
}

enum err_code authorise_header(struct service *service, struct call *call,
                               Etcdserverpb__InternalRaftRequest *request)
{
    struct auth_identity caller;
    enum err_code code = authorise_identify(service, call, &caller);

    if (code != ERR_OK || caller.username == NULL)
        return code;
    request->header = arena_alloc(&call->arena, sizeof(*request->header));
    if (request->header == NULL)
        return ERR_REQUEST_TOO_LARGE;
    etcdserverpb__request_header__init(request->header);
    request->header->username = (char *)(uintptr_t)caller.username; /* it is only read */
    request->header->auth_revision = caller.revision;
    return ERR_OK;
}
