/*
 * authorise.h - who makes a call, and may he make it (api.md 6.1, 9.2, 9.3).
 *
 * The table of needs says per RPC what is asked before its handler runs: nothing, a user, or root.
 * Reads ask for their keys when they are about to answer (the functions below). What goes through
 * the log takes its caller along in the entry's header and is checked when it is applied
 * (state/auth.h), where all members decide alike. Everything is allowed while auth is off.
 * Thread: core.
 */
#ifndef ETCD_SERVER_SERVICE_AUTHORISE_H
#define ETCD_SERVER_SERVICE_AUTHORISE_H

#include "etcd-server/service/service_internal.h"

/* Before the handler: the row of the table. A refusal is the answer of the call. */
enum err_code authorise_start(struct service *service, struct call *call) MUST_CHECK;

/* Who calls: nobody is no error. ERR_INVALID_AUTH_TOKEN; `caller` borrows from the call's arena. */
enum err_code authorise_identify(struct service *service, struct call *call,
                                 struct auth_identity *caller) MUST_CHECK;

/* For handlers whose need depends on the request. */
enum err_code authorise_user(struct service *service, struct call *call) MUST_CHECK;
enum err_code authorise_root(struct service *service, struct call *call) MUST_CHECK;
enum err_code authorise_keys(struct service *service, struct call *call, enum auth_access access,
                             struct slice key, struct slice range_end) MUST_CHECK;
enum err_code authorise_txn(struct service *service, struct call *call,
                            const Etcdserverpb__TxnRequest *txn) MUST_CHECK;
/* Every key attached to the lease. */
enum err_code authorise_lease(struct service *service, struct call *call, enum auth_access access,
                              int64_t lease) MUST_CHECK;

/* Put the caller into the header of what is proposed for him; nothing while auth is off. */
enum err_code authorise_header(struct service *service, struct call *call,
                               Etcdserverpb__InternalRaftRequest *request) MUST_CHECK;

#endif
