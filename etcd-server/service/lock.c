/* lock.c - Lock and Unlock (api.md 14). The queue is candidate.c's. */
#include "common/schema/lock.pb-c.h"
#include "common/schema/pbbytes.h"
#include "etcd-server/service/candidate.h"
#include "etcd-server/service/service_internal.h"

static void locked(struct call *call, const struct candidate_won *won)
{
    V3lockpb__LockResponse response = V3LOCKPB__LOCK_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header = *won->newest;

    response.header = &header;
    response.key = pb_bytes(won->key);
    call->ops->reply(call, &response.base);
}

void lock_lock(struct service *service, struct call *call)
{
    const V3lockpb__LockRequest *request =
        (const V3lockpb__LockRequest *)(const void *)call->request;

    candidate_start(service, call, pb_slice(request->name), request->lease, SLICE_EMPTY, false,
                    locked);
}

struct unlock {
    struct subcall subcall;
    struct service *service;
    struct call *call;
};

static void leave(struct call *call)
{
    struct unlock *unlock = call->state;

    subcall_cancel(unlock->service, &unlock->subcall);
    subcall_fini(&unlock->subcall);
    free(unlock);
}

static void unlocked(void *arg, enum err_code code, const char *text,
                     const ProtobufCMessage *message)
{
    struct unlock *unlock = arg;
    struct call *call = unlock->call;
    V3lockpb__UnlockResponse response = V3LOCKPB__UNLOCK_RESPONSE__INIT;

    call->cancel = NULL;
    if (code != ERR_OK) {
        candidate_refuse(call, text);
    } else {
        response.header =
            ((const Etcdserverpb__DeleteRangeResponse *)(const void *)message)->header;
        call->ops->reply(call, &response.base);
    }
    subcall_fini(&unlock->subcall);
    free(unlock);
}

void lock_unlock(struct service *service, struct call *call)
{
    const V3lockpb__UnlockRequest *request =
        (const V3lockpb__UnlockRequest *)(const void *)call->request;
    Etcdserverpb__DeleteRangeRequest *delete_range = call_alloc(call, sizeof(*delete_range));
    struct unlock *unlock;

    if (delete_range == NULL)
        return;
    etcdserverpb__delete_range_request__init(delete_range);
    delete_range->key = request->key;
    unlock = xalloc(sizeof(*unlock));
    unlock->service = service;
    unlock->call = call;
    call->state = unlock;
    call->cancel = leave;
    subcall_start(service, &unlock->subcall, call, RPC_KV_DeleteRange, &delete_range->base,
                  unlocked, unlock);
}
