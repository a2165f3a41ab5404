/* lease.c - LeaseGrant, LeaseRevoke (api.md 8). */
#include "common/base/base.h"
#include "etcd-server/service/service_internal.h"

#define GRANT_COST_BYTES 64 /* of the quota's estimate (api.md 10.3) */

void lease_grant(struct service *service, struct call *call)
{
    Etcdserverpb__LeaseGrantRequest *grant =
        (Etcdserverpb__LeaseGrantRequest *)(void *)call->request;
    enum err_code code = quota_check(service, GRANT_COST_BYTES);
    Etcdserverpb__InternalRaftRequest *request;

    if (code == ERR_OK && grant->ttl > LEASE_TTL_MAX_S)
        code = ERR_LEASE_TTL_TOO_LARGE;
    if (code != ERR_OK) {
        call_refuse(call, code);
        return;
    }
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
