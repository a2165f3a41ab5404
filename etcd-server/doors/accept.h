/*
 * accept.h - what a client wants to be answered with: Accept fields with their weights (RFC 9110
 * 12.5.1). Pure; thread: any.
 */
#ifndef ETCD_SERVER_DOORS_ACCEPT_H
#define ETCD_SERVER_DOORS_ACCEPT_H

#include "etcd-server/doors/exchange.h"

/*
 * Do the exchange's Accept fields name `type` ("application/json", in lower case) itself, with a
 * weight above 0 that is not below that of `other`, named or by a wildcard? A range whose weight
 * is malformed counts for nothing.
 */
bool accept_prefers(const struct exchange *exchange, const char *type, const char *other);

/* Is `word`, in lower case, one of a list with commas, whatever its parameters? */
bool accept_lists(struct slice list, const char *word);

#endif
