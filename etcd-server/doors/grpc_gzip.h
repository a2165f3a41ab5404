/*
 * grpc_gzip.h - gzip of one message, either way, with its states kept for the next one. zlib stays
 * in grpc_gzip.c. Pure; thread: core.
 */
#ifndef ETCD_SERVER_DOORS_GRPC_GZIP_H
#define ETCD_SERVER_DOORS_GRPC_GZIP_H

#include "common/base/buf.h"

struct grpc_gzip;
struct grpc_gzip *grpc_gzip_new(void) MUST_CHECK; /* owned; cheap until first used */
void grpc_gzip_free(struct grpc_gzip *gzip);      /* NULL is fine */

enum grpc_gzip_result {
    GRPC_GZIP_OK,
    GRPC_GZIP_BAD,   /* no gzip, or cut */
    GRPC_GZIP_LARGE, /* more than out->max */
};
/* Append what `bytes` unpack to. */
enum grpc_gzip_result grpc_gzip_unpack(struct grpc_gzip *gzip, struct slice bytes,
                                       struct buf *out) MUST_CHECK;
/* Append `bytes` compressed; false when out->max is passed. */
bool grpc_gzip_pack(struct grpc_gzip *gzip, struct slice bytes, struct buf *out) MUST_CHECK;

#endif
