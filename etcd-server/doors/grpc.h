/*
 * grpc.h - the gRPC door: POST /package.Service/Method becomes a struct call, its answer a message
 * and trailers (api.md 1; gRPC over HTTP/2).
 *
 * Knows the table of RPCs, message framing, gzip, metadata, deadlines and statuses; knows neither
 * frames (http2.h) nor handlers. The door cancels a call when its grpc-timeout ends, the client
 * resets the stream or goes, or the server stops (streams only). Pure; thread: core.
 */
#ifndef ETCD_SERVER_DOORS_GRPC_H
#define ETCD_SERVER_DOORS_GRPC_H

#include "etcd-server/doors/door_call.h"
#include "etcd-server/doors/exchange.h"

struct grpc;
struct grpc *grpc_new(const struct door_config *config) MUST_CHECK; /* owned */
void grpc_free(struct grpc *grpc); /* after its last exchange; NULL is fine */

/* For http2_config.grpc. */
struct exchange_handler grpc_handler(struct grpc *grpc);

#endif
