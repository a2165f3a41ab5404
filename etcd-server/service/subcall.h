/*
 * subcall.h - a call that a handler makes for its caller: Lock and Election are built on Txn,
 * LeaseGrant and DeleteRange, with the caller's token and rights (api.md 14).
 *
 * The subcall goes through service_start() like any other, so quota, permissions and limits are
 * the same. It lies in the memory of whoever makes it. Thread: core.
 */
#ifndef ETCD_SERVER_SERVICE_SUBCALL_H
#define ETCD_SERVER_SERVICE_SUBCALL_H

#include "etcd-server/service/call.h"

struct subcall;

/*
 * The answer: `code` ERR_OK and `response` (borrowed until it returns), or a refusal with its text.
 * Another subcall may be started from here, in the same struct.
 */
typedef void subcall_done_fn(void *arg, enum err_code code, const char *text,
                             const ProtobufCMessage *response);

struct subcall {
    struct call call;
    subcall_done_fn *done;
    void *arg;
    bool active;
};

/*
 * Start row `id` with `request` (borrowed until done) for the caller of `parent`. `subcall` must
 * not be active; its arena is made anew. `done` may run before this returns.
 */
void subcall_start(struct service *service, struct subcall *subcall, const struct call *parent,
                   enum rpc_id id, ProtobufCMessage *request, subcall_done_fn *done, void *arg);
/* Stop waiting for it; `done` is not called any more. Not active is fine. */
void subcall_cancel(struct service *service, struct subcall *subcall);
void subcall_fini(struct subcall *subcall); /* frees the arena; must not be active */

#endif
