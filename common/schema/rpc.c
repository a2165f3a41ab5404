/* rpc.c - see rpc.h. Fifty rows: a linear search is as fast as anything cleverer. */
#include "common/schema/rpc.h"

#include "common/schema/election.pb-c.h"
#include "common/schema/health.pb-c.h"
#include "common/schema/lock.pb-c.h"
#include "common/schema/reflection.pb-c.h"
#include "common/schema/rpc.pb-c.h"

#define KIND_UNARY RPC_UNARY
#define KIND_SERVER_STREAM RPC_SERVER_STREAM
#define KIND_BIDI RPC_BIDI

static const struct rpc_row rows[RPC_COUNT] = {
#define RPC(package_, service_, method_, prefix, request_, response_, path_, alias_, kind_)        \
    [RPC_##service_##_##method_] = {                                                               \
        .id = RPC_##service_##_##method_,                                                          \
        .kind = KIND_##kind_,                                                                      \
        .package = package_,                                                                       \
        .service = #service_,                                                                      \
        .method = #method_,                                                                        \
        .grpc = "/" package_ "." #service_ "/" #method_,                                           \
        .path = path_,                                                                             \
        .alias = alias_,                                                                           \
        .request = &prefix##__##request_##__descriptor,                                            \
        .response = &prefix##__##response_##__descriptor,                                          \
    },
#include "common/schema/rpc.def"
#undef RPC
};

static bool is(const char *text, struct slice path)
{
    return text != NULL && strlen(text) == path.size && memcmp(text, path.data, path.size) == 0;
}

const struct rpc_row *rpc_row(enum rpc_id id)
{
    must((unsigned)id < RPC_COUNT);
    return &rows[id];
}

const struct rpc_row *rpc_find_by_path(struct slice path)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (is(rows[i].path, path) || is(rows[i].alias, path))
            return &rows[i];
    return NULL;
}

const struct rpc_row *rpc_find_by_grpc(struct slice path)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (is(rows[i].grpc, path))
            return &rows[i];
    return NULL;
}
