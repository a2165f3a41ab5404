/*
 * peer_gate.h (edge) - a door in front of the peer port's: does the caller's certificate fit its
 * source address? (pki.md 2.5) No certificate and none with SANs passes; else an IP SAN is the
 * address, or the address's name is a DNS SAN, or a DNS SAN resolves to it. Names are looked up on
 * a thread, the connection waits meanwhile. Refusals are logged. Thread: core.
 */
#ifndef ETCD_SERVER_HOST_PEER_GATE_H
#define ETCD_SERVER_HOST_PEER_GATE_H

#include "etcd-server/host/link.h"
#include "etcd-server/host/loop.h"

struct peer_gate;
/* owned; `next` takes what passes; borrows the loop */
struct peer_gate *peer_gate_new(struct loop *loop, const struct link_door *next) MUST_CHECK;
/* After the last of its links; the loop must not run again. NULL is fine. */
void peer_gate_free(struct peer_gate *gate);
struct link_door peer_gate_door(struct peer_gate *gate);

#endif
