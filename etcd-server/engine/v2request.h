/* v2request.h - the old v2 operation that etcd 3.5 still writes into its log (formats.md 9.3).
 * Pure; thread: any. */
#ifndef ETCD_SERVER_ENGINE_V2REQUEST_H
#define ETCD_SERVER_ENGINE_V2REQUEST_H

#include "common/base/buf.h"

struct v2_request {
    uint64_t id;
    struct slice method, path, value; /* borrowed from the entry */
};

/* True when `data` is a v2 request: its field 2 is one of the v2 methods, which no
 * InternalRaftRequest has. */
bool v2_request_decode(struct slice data, struct v2_request *request) MUST_CHECK;

/* As etcd writes it: every field of it that is never left out. */
void v2_request_encode(const struct v2_request *request, struct buf *out);

#endif
