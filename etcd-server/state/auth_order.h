/*
 * auth_order.h - the order of a role's permissions: by key, and those of the same key as Go's
 * sort.Sort leaves them, which etcd calls after each grant. It counts: of those of one key etcd
 * replaces the first one only when it is granted again, and all members must judge alike. Pure.
 */
#ifndef ETCD_SERVER_STATE_AUTH_ORDER_H
#define ETCD_SERVER_STATE_AUTH_ORDER_H

#include "common/base/slice.h"
#include "common/schema/raft_internal.pb-c.h"

/* The first whose key is not below `key`, by halving, whatever their order; `count`: none is. */
size_t auth_order_find(Authpb__Permission *const *list, size_t count, struct slice key);
void auth_order_sort(Authpb__Permission **list, size_t count);

#endif
