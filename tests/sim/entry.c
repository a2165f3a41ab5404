/*
 * entry.c - calls and log entries: which entry carries which call, and which calls must see all
 * that was acknowledged before they began.
 */
#include "tests/sim/sim.h"

/* What of the entry is the client's request; NULL = nothing of this call's kind. */
static const ProtobufCMessage *part_of(const Etcdserverpb__InternalRaftRequest *request,
                                       enum rpc_id id)
{
    switch ((int)id) {
    case RPC_KV_Put:
        return (const ProtobufCMessage *)request->put;
    case RPC_KV_DeleteRange:
        return (const ProtobufCMessage *)request->delete_range;
    case RPC_KV_Txn:
        return (const ProtobufCMessage *)request->txn;
    case RPC_KV_Compact:
        return (const ProtobufCMessage *)request->compaction;
    case RPC_Lease_LeaseGrant:
        return (const ProtobufCMessage *)request->lease_grant;
    case RPC_Lease_LeaseRevoke:
        return (const ProtobufCMessage *)request->lease_revoke;
    case RPC_Maintenance_Alarm:
        return (const ProtobufCMessage *)request->alarm;
    case RPC_Auth_AuthEnable:
        return (const ProtobufCMessage *)request->auth_enable;
    case RPC_Auth_AuthDisable:
        return (const ProtobufCMessage *)request->auth_disable;
    case RPC_Auth_AuthStatus:
        return (const ProtobufCMessage *)request->auth_status;
    case RPC_Auth_UserAdd:
        return (const ProtobufCMessage *)request->auth_user_add;
    case RPC_Auth_UserGet:
        return (const ProtobufCMessage *)request->auth_user_get;
    case RPC_Auth_UserList:
        return (const ProtobufCMessage *)request->auth_user_list;
    case RPC_Auth_UserDelete:
        return (const ProtobufCMessage *)request->auth_user_delete;
    case RPC_Auth_UserChangePassword:
        return (const ProtobufCMessage *)request->auth_user_change_password;
    case RPC_Auth_UserGrantRole:
        return (const ProtobufCMessage *)request->auth_user_grant_role;
    case RPC_Auth_UserRevokeRole:
        return (const ProtobufCMessage *)request->auth_user_revoke_role;
    case RPC_Auth_RoleAdd:
        return (const ProtobufCMessage *)request->auth_role_add;
    case RPC_Auth_RoleGet:
        return (const ProtobufCMessage *)request->auth_role_get;
    case RPC_Auth_RoleList:
        return (const ProtobufCMessage *)request->auth_role_list;
    case RPC_Auth_RoleDelete:
        return (const ProtobufCMessage *)request->auth_role_delete;
    case RPC_Auth_RoleGrantPermission:
        return (const ProtobufCMessage *)request->auth_role_grant_permission;
    case RPC_Auth_RoleRevokePermission:
        return (const ProtobufCMessage *)request->auth_role_revoke_permission;
    default:
        return NULL;
    }
}

static struct slice packed(const ProtobufCMessage *message)
{
    size_t bytes = protobuf_c_message_get_packed_size(message);
    uint8_t *data = xalloc(bytes + 1);

    (void)protobuf_c_message_pack(message, data);
    return slice_of(data, bytes);
}

bool entry_carries(const struct record *record, const struct call *call)
{
    const ProtobufCMessage *part;
    bool same = false;

    if (call->row->service[0] == 'C') /* Cluster */
        return record->entry.type == RAFT_ENTRY_CONF_CHANGE;
    part = record->request != NULL ? part_of(record->request, call->row->id) : NULL;
    if (part != NULL) {
        struct slice theirs = packed(part), ours = packed(call->request);

        same = slice_equal(theirs, ours);
        free((void *)(uintptr_t)theirs.data);
        free((void *)(uintptr_t)ours.data);
    }
    return same;
}

static bool range_is_serializable(const Etcdserverpb__RangeRequest *range)
{
    return range->serializable;
}

/* A txn that only reads, all of it from this member's own state. */
static bool txn_is_serializable(const Etcdserverpb__TxnRequest *txn)
{
    for (size_t i = 0; i < txn->n_success; i++)
        if (txn->success[i]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE ||
            !range_is_serializable(txn->success[i]->request_range))
            return false;
    for (size_t i = 0; i < txn->n_failure; i++)
        if (txn->failure[i]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE ||
            !range_is_serializable(txn->failure[i]->request_range))
            return false;
    return true;
}

/* Must it see all that was acknowledged before it began? */
bool entry_is_linearizable(const struct call *call)
{
    const void *request = call->request;

    switch ((int)call->row->id) {
    case RPC_KV_Range:
        return !range_is_serializable(request);
    case RPC_KV_Txn:
        return !txn_is_serializable(request);
    case RPC_Cluster_MemberList:
        return ((const Etcdserverpb__MemberListRequest *)request)->linearizable;
    case RPC_KV_Put:
    case RPC_KV_DeleteRange:
    case RPC_KV_Compact:
    case RPC_Lease_LeaseGrant:
    case RPC_Lease_LeaseRevoke:
        return true;
    default:
        return call->row->service[0] == 'A'; /* Auth: by the log, all of it */
    }
}
