/*
 * rpc.h - the table of RPCs of rpc.def as data: one row each, for both doors, the client, the
 * metrics and the tests. Pure; rows live as long as the process. Thread: any.
 */
#ifndef COMMON_SCHEMA_RPC_H
#define COMMON_SCHEMA_RPC_H

#include "common/base/base.h"
#include "common/base/slice.h"

#include <protobuf-c/protobuf-c.h>

#define RANGE_KVS_FIELD 2 /* RangeResponse.kvs, for who writes it by hand */

enum rpc_kind { RPC_UNARY, RPC_SERVER_STREAM, RPC_BIDI };

/* RPC_<service>_<method>, for example RPC_KV_Range; the position of the row. */
enum rpc_id {
#define RPC(package, service, method, prefix, request, response, path, alias, kind)                \
    RPC_##service##_##method,
#include "common/schema/rpc.def"
#undef RPC
    RPC_COUNT
};

struct rpc_row {
    enum rpc_id id;
    enum rpc_kind kind;
    const char *package; /* "etcdserverpb" */
    const char *service; /* "KV" */
    const char *method;  /* "Range" */
    const char *grpc;    /* "/etcdserverpb.KV/Range", the :path of gRPC */
    const char *path;    /* what the JSON gateway serves by POST, "/v3/kv/range"; NULL for none */
    const char *alias;   /* a second such path; NULL for none */
    const ProtobufCMessageDescriptor *request;
    const ProtobufCMessageDescriptor *response;
};

/* The row of `id`; never NULL. */
const struct rpc_row *rpc_row(enum rpc_id id);
/* The row whose gateway path or alias is `path` (no query string); NULL for none. */
const struct rpc_row *rpc_find_by_path(struct slice path);
/* The row of a gRPC path "/package.Service/Method"; NULL for none. */
const struct rpc_row *rpc_find_by_grpc(struct slice path);

#endif
