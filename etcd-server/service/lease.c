/*
 * lease.c - LeaseGrant, LeaseRevoke and LeaseTimeToLive (api.md 8).
 * Grants and revokes go through the log; TimeToLive is a question to the leader (lease_duty.h).
 */
#include "common/base/base.h"
#include "etcd-server/service/authorise.h"

#define GRANT_COST_BYTES 64 /* of the quota's estimate (api.md 10.3) */

void lease_grant(struct service *service, struct call *call)
{
    Etcdserverpb__LeaseGrantRequest *grant =
        (Etcdserverpb__LeaseGrantRequest *)(void *)call->request;
    Etcdserverpb__InternalRaftRequest *request;

    if (!quota_check(service, call, GRANT_COST_BYTES))
        return;
    request = call_raft_request(call);
    if (request == NULL)
        return;
    while (grant->id == 0) /* chosen before the log, so that all members take the same one */
        grant->id = (int64_t)(engine_next_id(service->engine) & INT64_MAX);
    request->lease_grant = grant;
    call_propose(service, call, request);
}

void lease_revoke(struct service *service, struct call *call)
{
    Etcdserverpb__InternalRaftRequest *request = call_raft_request(call);

    if (request == NULL)
        return;
    request->lease_revoke = (Etcdserverpb__LeaseRevokeRequest *)(void *)call->request;
    call_propose(service, call, request);
}

/* ---- LeaseTimeToLive ---- */

struct look {
    struct lease_query query;
    struct service *service;
    struct call *call;
};

static void forget_look(struct call *call)
{
    lease_forget(&((struct look *)call->state)->query);
}

/* The keys of `lease` into the call's arena. False: no room. */
static bool list_keys(struct call *call, const struct lease *lease,
                      Etcdserverpb__LeaseTimeToLiveResponse *response)
{
    size_t count = lease->keys.count;
    struct slice *keys = arena_alloc(&call->arena, count * sizeof(*keys));
    ProtobufCBinaryData *list = arena_alloc(&call->arena, count * sizeof(*list));

    if (keys == NULL || list == NULL)
        return false;
    key_set_list(&lease->keys, keys);
    for (size_t i = 0; i < count; i++) {
        list[i].data = (uint8_t *)(uintptr_t)keys[i].data; /* only read */
        list[i].len = keys[i].size;
    }
    response->keys = list;
    response->n_keys = count;
    return true;
}

static void looked(struct lease_query *query, enum err_code code, const struct lease *lease)
{
    struct look *look = CONTAINER_OF(query, struct look, query);
    struct call *call = look->call;
    const Etcdserverpb__LeaseTimeToLiveRequest *request =
        (const Etcdserverpb__LeaseTimeToLiveRequest *)(const void *)call->request;
    Etcdserverpb__LeaseTimeToLiveResponse response =
        ETCDSERVERPB__LEASE_TIME_TO_LIVE_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;

    call->cancel = NULL;
    if (lease != NULL && request->keys)
        code = authorise_lease(look->service, call, AUTH_READ, request->id);
    if (code != ERR_OK && code != ERR_LEASE_NOT_FOUND) {
        call_refuse(call, code);
        return;
    }
    engine_fill_header(look->service->engine, &header);
    response.header = &header;
    response.id = request->id;
    response.ttl = -1;
    if (query->remote) {
        response.ttl = query->remote_ttl_s;
        response.grantedttl = query->remote_granted_s;
        if (lease != NULL && request->keys && !list_keys(call, lease, &response)) {
            call_refuse(call, ERR_REQUEST_TOO_LARGE);
            return;
        }
    } else if (lease != NULL) {
        response.ttl = lease_remaining_s(lease, host_now_ms(engine_host(look->service->engine)));
        response.grantedttl = lease->ttl_s;
        if (request->keys && !list_keys(call, lease, &response)) {
            call_refuse(call, ERR_REQUEST_TOO_LARGE);
            return;
        }
    }
    call->ops->reply(call, (const ProtobufCMessage *)&response);
}

void lease_time_to_live(struct service *service, struct call *call)
{
    const Etcdserverpb__LeaseTimeToLiveRequest *request =
        (const Etcdserverpb__LeaseTimeToLiveRequest *)(const void *)call->request;
    struct look *look = call_alloc(call, sizeof(*look));

    if (look == NULL)
        return;
    look->service = service;
    look->call = call;
    look->query = (struct lease_query){.id = request->id, .done = looked};
    call->state = look;
    call->cancel = forget_look;
    lease_ask(service->leases, &look->query);
}
