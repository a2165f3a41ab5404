/*
 * producer.h (edge) - carries the pieces of one host_producer from its pool thread to the core
 * thread.
 *
 * Holds at most PRODUCER_QUEUE_BYTES; the pool thread waits for room.
 * Thread: producer_sink() the pool thread; the rest core.
 */
#ifndef ETCD_SERVER_HOST_PRODUCER_H
#define ETCD_SERVER_HOST_PRODUCER_H

#include "etcd-server/host/host.h"
#include "etcd-server/host/loop.h"
#include "etcd-server/host/worker.h"

/* Start producer->run() on `pool`; what it gives arrives on `loop`. */
void producer_start(struct host_producer *producer, struct worker *pool, struct loop *loop);
void producer_resume(struct host_producer *producer);
void producer_stop(struct host_producer *producer);

#endif
