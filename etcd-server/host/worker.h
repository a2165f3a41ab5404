/*
 * worker.h (edge) - threads that take tasks from a queue. What a task points to is handed over with
 * it. Thread: worker_post() any; the rest core, but worker_pause(), which is for the worker's own
 * thread.
 */
#ifndef ETCD_SERVER_HOST_WORKER_H
#define ETCD_SERVER_HOST_WORKER_H

#include "common/base/err.h"
#include "etcd-server/host/host.h"

#include <pthread.h>

struct worker;

/* `tasks` is a list in the order of posting; the callee owns it. */
typedef void worker_fn(void *arg, struct host_task *tasks);

/*
 * take_all  each call gets everything that waits (one write and sync for many); else one task
 * threads   1 when the order of tasks matters
 */
int worker_new(unsigned threads, bool take_all, worker_fn *fn, void *arg, struct worker **worker,
               struct err *err) MUST_CHECK;
void worker_post(struct worker *worker, struct host_task *task);
/* A thread that no signal comes to, for these are the core thread's; 0, or an errno. Any thread. */
int worker_thread(pthread_t *thread, void *(*run)(void *arg), void *arg) MUST_CHECK;
/* Finish what waits, end the threads. NULL is fine. */
void worker_free(struct worker *worker);
/* Sleep on the worker's thread; false when the worker is being ended. */
bool worker_pause(struct worker *worker, unsigned ms);

#endif
