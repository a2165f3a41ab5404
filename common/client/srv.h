/*
 * srv.h (edge) - endpoints from DNS: the SRV records of a domain. Asks the resolver of the system.
 * Thread: any.
 */
#ifndef COMMON_CLIENT_SRV_H
#define COMMON_CLIENT_SRV_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/slice.h"

/*
 * The client URLs of `domain`, comma separated, appended to `list`: https:// for each record of
 * _etcd-client-ssl[-NAME]._tcp, http:// for those of _etcd-client[-NAME]._tcp, by priority.
 *
 * name    suffix of the service; "" = none
 * errors  ERR_NET naming both queries and what came of them, when neither has a record
 */
int srv_client_endpoints(const char *domain, const char *name, struct buf *list,
                         struct err *err) MUST_CHECK;

/*
 * The targets of _SERVICE[-NAME]._tcp.DOMAIN, as SCHEME://HOST:PORT, comma separated, by priority,
 * appended to `list`.
 *
 * returns  how many; 0: `words` tells what came of it
 */
int srv_lookup(const char *service, const char *name, const char *domain, const char *scheme,
               struct buf *list, struct buf *words);

/*
 * Pure: the targets in the DNS message `answer` (RFC 1035, RFC 2782), as SCHEME://HOST:PORT, comma
 * separated, lowest priority value first.
 *
 * returns  how many; -1 when it is no DNS message
 */
int srv_read(struct slice answer, const char *scheme, struct buf *list);

#endif
