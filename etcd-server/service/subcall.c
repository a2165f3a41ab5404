/* subcall.c - see subcall.h. Only unary calls whose answer is a message: no Range of its own, no
 * streams. */
#include "common/base/base.h"
#include "common/base/limits.h"
#include "etcd-server/service/subcall.h"

#define SUBCALL_ARENA_MAX_BYTES (64UL * MIB)

static void finished(struct call *call, enum err_code code, const char *text)
{
    struct subcall *subcall = CONTAINER_OF(call, struct subcall, call);

    subcall->active = false;
    subcall->done(subcall->arg, code, text != NULL ? text : err_text(code), NULL);
}

static void replied(struct call *call, const ProtobufCMessage *response)
{
    struct subcall *subcall = CONTAINER_OF(call, struct subcall, call);

    subcall->active = false;
    subcall->done(subcall->arg, ERR_OK, NULL, response);
}

static void replied_range(struct call *call, const ProtobufCMessage *head, struct kv_source *source)
{
    source->free(source);
    replied(call, head); /* nobody here asks for a range: ranges go inside a txn */
}

static bool sent(struct call *call, const ProtobufCMessage *message)
{
    (void)call;
    (void)message;
    return true; /* no stream is started through here */
}

static const struct call_ops ops = {
    .reply = replied, .reply_range = replied_range, .send = sent, .finish = finished};

void subcall_start(struct service *service, struct subcall *subcall, const struct call *parent,
                   enum rpc_id id, ProtobufCMessage *request, subcall_done_fn *done, void *arg)
{
    must(!subcall->active);
    arena_free(&subcall->call.arena);
    subcall->call = (struct call){.row = rpc_row(id),
                                  .ops = &ops,
                                  .request = request,
                                  .token = parent->token,
                                  .common_name = parent->common_name,
                                  .through_gateway = parent->through_gateway,
                                  .as_certificate = parent->as_certificate,
                                  .from_peer = parent->from_peer,
                                  .require_leader = parent->require_leader};
    arena_init(&subcall->call.arena, SUBCALL_ARENA_MAX_BYTES);
    subcall->done = done;
    subcall->arg = arg;
    subcall->active = true;
    service_start(service, &subcall->call);
}

void subcall_cancel(struct service *service, struct subcall *subcall)
{
    if (!subcall->active)
        return;
    subcall->active = false;
    service_cancel(service, &subcall->call);
}

void subcall_fini(struct subcall *subcall)
{
    must(!subcall->active);
    arena_free(&subcall->call.arena);
}
