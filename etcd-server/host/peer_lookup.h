/*
 * peer_lookup.h (edge) - the addresses of a URL's host, asked of the resolver on a thread: the name
 * is looked up anew for each connection, for a member may have moved. Thread: core.
 */
#ifndef ETCD_SERVER_HOST_PEER_LOOKUP_H
#define ETCD_SERVER_HOST_PEER_LOOKUP_H

#include "common/base/url.h"

struct address;
struct peers;
struct peer_lookup; /* one question for the addresses of a URL; frees itself after its end */

/*
 * The end; not from inside peer_lookup_new().
 *
 * addresses  borrowed for the call; at most PEER_ADDRESSES_MAX
 * count      0: there is none
 * why        ... for this cause
 */
typedef void peer_lookup_fn(void *arg, const struct address *addresses, size_t count,
                            const char *why);

/* `url` and `why` are borrowed for the call; `why` not "": nothing is asked, this is the answer. */
struct peer_lookup *peer_lookup_new(struct peers *peers, const struct url *url, const char *why,
                                    peer_lookup_fn *done, void *arg) MUST_CHECK;
void peer_lookup_drop(struct peer_lookup *lookup); /* before its end: no done(). NULL is fine */

#endif
