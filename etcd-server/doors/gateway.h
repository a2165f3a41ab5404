/*
 * gateway.h - the JSON gateway: POST /v3/... becomes a struct call, its answer JSON (api.md 12).
 *
 * Knows the table of RPCs and the JSON mapping; knows neither HTTP framing nor handlers. Unary
 * answers are one body; a Range is produced in chunks as the socket drains; streams are one
 * {"result":{}} a line. A BIDI body's JSON values are the messages, handed on one per turn.
 * Calls carry through_gateway, and common_name even so: the service refuses it when auth is on
 * (api.md 9.3), unless the header Etcd-Certificate-User: true says that it is meant (ours alone),
 * and Connection names that header, so that it comes from who shows the certificate.
 * The door cancels a call when its Grpc-Timeout ends (504), the client goes or the server stops
 * (streams only). Pure; thread: core.
 */
#ifndef ETCD_SERVER_DOORS_GATEWAY_H
#define ETCD_SERVER_DOORS_GATEWAY_H

#include "etcd-server/doors/door_call.h"
#include "etcd-server/doors/exchange.h"

struct gateway;
struct gateway *gateway_new(const struct door_config *config) MUST_CHECK; /* owned */
void gateway_free(struct gateway *gateway); /* after its last exchange; NULL is fine */

/* Does the gateway answer this path: "/v3/..." or "/v3beta/..."? */
bool gateway_serves(struct slice path);
/*
 * Does it take the body of this request piece by piece (exchange_handler.streams)? Those of
 * client streams: their messages are answered as they come. `path` as sent.
 */
bool gateway_streams(const struct exchange *exchange);
/* Take an exchange of such a path, percent-decoded already. */
void gateway_start(struct gateway *gateway, struct exchange *exchange, struct slice path);

#endif
