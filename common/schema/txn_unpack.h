/*
 * txn_unpack.h - an InternalRaftRequest from its bytes, however deep txns nest in it.
 *
 * protobuf-c unpacks by recursion, so a stack bounds what it can take, and etcd's decoder has no
 * bound: --max-txn-ops and --max-request-bytes of the member that took the request are the limit.
 * Of all that a request can hold only a txn can contain its own kind. Pure; thread: any.
 */
#ifndef COMMON_SCHEMA_TXN_UNPACK_H
#define COMMON_SCHEMA_TXN_UNPACK_H

#include "common/base/arena.h"
#include "common/schema/raft_internal.pb-c.h"

/*
 * The request, in `arena`; nothing of it needs to be freed. Whoever walks its txn must not do so by
 * recursion, unless pb_depth_within() bounded it before.
 *
 * What etcd's decoder takes is taken: several txns are merged into one, groups are skipped where
 * nobody knows the field. Other messages that should be there once are merged, too, but there the
 * memory may not do.
 *
 * returns  NULL: no request of etcd 3, or the arena is full, which it is not if its maximum is at
 *          least raft_request_unpack_max(), and an etcd member wrote the bytes
 */
Etcdserverpb__InternalRaftRequest *raft_request_unpack(struct slice bytes,
                                                       struct arena *arena) MUST_CHECK;
size_t raft_request_unpack_max(size_t bytes);

#endif
