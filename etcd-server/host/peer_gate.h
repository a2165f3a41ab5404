/*
 * peer_gate.h (edge) - a door in front of the peer port's, or that of the metrics: does the
 * caller's certificate fit its source address? (pki.md 2.5) No certificate and none with SANs
 * passes; else an IP SAN is the address, or a name of the address is a DNS SAN, or a DNS SAN
 * resolves to it. Names are looked up on a thread, the connection waits meanwhile. Refusals are
 * logged. Thread: core.
 */
#ifndef ETCD_SERVER_HOST_PEER_GATE_H
#define ETCD_SERVER_HOST_PEER_GATE_H

#include "etcd-server/host/link.h"
#include "etcd-server/host/loop.h"

struct peer_gate;
/* owned; `next` takes what passes; borrows the loop; `refused`, static, is what the log says */
struct peer_gate *peer_gate_new(struct loop *loop, const struct link_door *next,
                                const char *refused) MUST_CHECK;
/* After the last of its links; the loop must not run again. NULL is fine. */
void peer_gate_free(struct peer_gate *gate);
struct link_door peer_gate_door(struct peer_gate *gate);
/*
 * Is the name that an address has one of the certificate's? "*.example.org" is every name below,
 * however deep, as etcd has it; case and a final dot of `name` do not count.
 */
bool peer_gate_name_fits(const char *pattern, const char *name);

#endif
