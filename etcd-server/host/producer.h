/*
 * producer.h (edge) - carries the pieces of host_producers to the core thread, each from a thread
 * of its own, which lives as long as the producer runs.
 *
 * Of each at most PRODUCER_QUEUE_BYTES wait; its thread waits for room. Thread: core.
 */
#ifndef ETCD_SERVER_HOST_PRODUCER_H
#define ETCD_SERVER_HOST_PRODUCER_H

#include "etcd-server/host/host.h"
#include "etcd-server/host/loop.h"
#include "etcd-server/host/worker.h"

struct producers; /* those of one owner */

struct producers *producers_new(struct loop *loop) MUST_CHECK; /* owned; the loop is borrowed */
/* Stop those that run, end their threads; what they posted waits in the loop. The last call but
 * producers_free(). */
void producers_end(struct producers *producers);
/* producers_end(), and nothing is delivered any more. NULL is fine. */
void producers_free(struct producers *producers);

/* Start producer->run() on a new thread; where there is none to be had, done() tells. */
void producer_start(struct producers *producers, struct host_producer *producer);
void producer_resume(struct host_producer *producer);
void producer_stop(struct host_producer *producer);

#endif
