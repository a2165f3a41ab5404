/* worker.c - see worker.h. One mutex, one condition; the list is a FIFO. */
#include "etcd-server/host/worker.h"
#include "common/base/duration.h"

#include <signal.h>
#include <time.h>

#define WORKER_THREADS_MAX 8

struct worker {
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* something was posted, or the end has come */
    struct host_task *first, *last;
    bool ending;
    bool take_all;
    worker_fn *fn;
    void *arg;
    unsigned thread_count;
    pthread_t threads[WORKER_THREADS_MAX];
};

/* Wait for work; NULL when there will be none any more. */
static struct host_task *take(struct worker *worker)
{
    struct host_task *tasks;

    must(pthread_mutex_lock(&worker->mutex) == 0);
    while (worker->first == NULL && !worker->ending)
        must(pthread_cond_wait(&worker->changed, &worker->mutex) == 0);
    tasks = worker->first;
    if (tasks != NULL) {
        worker->first = worker->take_all ? NULL : tasks->next;
        if (worker->first == NULL)
            worker->last = NULL;
        if (!worker->take_all)
            tasks->next = NULL;
    }
    must(pthread_mutex_unlock(&worker->mutex) == 0);
    return tasks;
}

static void *run(void *arg)
{
    struct worker *worker = arg;
    struct host_task *tasks;

    while ((tasks = take(worker)) != NULL)
        worker->fn(worker->arg, tasks);
    return NULL;
}

int worker_thread(pthread_t *thread, void *(*run_thread)(void *), void *arg)
{
    sigset_t all, before;
    int error;

    (void)sigfillset(&all);
    must(pthread_sigmask(SIG_BLOCK, &all, &before) == 0);
    error = pthread_create(thread, NULL, run_thread, arg);
    must(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    return error;
}

int worker_new(unsigned threads, bool take_all, worker_fn *fn, void *arg, struct worker **out,
               struct err *err)
{
    struct worker *worker = xalloc(sizeof(*worker));
    pthread_condattr_t clock;
    int rc = 0;

    must(threads <= WORKER_THREADS_MAX);
    must(pthread_mutex_init(&worker->mutex, NULL) == 0);
    must(pthread_condattr_init(&clock) == 0 &&
         pthread_condattr_setclock(&clock, CLOCK_MONOTONIC) == 0);
    must(pthread_cond_init(&worker->changed, &clock) == 0);
    (void)pthread_condattr_destroy(&clock);
    worker->take_all = take_all;
    worker->fn = fn;
    worker->arg = arg;
    while (rc == 0 && worker->thread_count < threads) {
        rc = worker_thread(&worker->threads[worker->thread_count], run, worker);
        worker->thread_count += rc == 0;
    }
    if (rc != 0) {
        err_sys(err, rc, "start a thread");
        worker_free(worker);
        return -1;
    }
    *out = worker;
    return 0;
}

void worker_post(struct worker *worker, struct host_task *task)
{
    task->next = NULL;
    must(pthread_mutex_lock(&worker->mutex) == 0);
    if (worker->last != NULL)
        worker->last->next = task;
    else
        worker->first = task;
    worker->last = task;
    must(pthread_cond_signal(&worker->changed) == 0);
    must(pthread_mutex_unlock(&worker->mutex) == 0);
}

void worker_free(struct worker *worker)
{
    if (worker == NULL)
        return;
    must(pthread_mutex_lock(&worker->mutex) == 0);
    worker->ending = true;
    must(pthread_cond_broadcast(&worker->changed) == 0);
    must(pthread_mutex_unlock(&worker->mutex) == 0);
    for (unsigned i = 0; i < worker->thread_count; i++)
        must(pthread_join(worker->threads[i], NULL) == 0);
    (void)pthread_cond_destroy(&worker->changed);
    (void)pthread_mutex_destroy(&worker->mutex);
    free(worker);
}

bool worker_pause(struct worker *worker, unsigned ms)
{
    struct timespec until;
    bool ending;
    int rc = 0;

    must(clock_gettime(CLOCK_MONOTONIC, &until) == 0);
    until.tv_nsec += ms % 1000 * NS_PER_MS;
    until.tv_sec += ms / 1000 + until.tv_nsec / NS_PER_S;
    until.tv_nsec %= NS_PER_S;
    must(pthread_mutex_lock(&worker->mutex) == 0);
    while (!worker->ending && rc == 0)
        rc = pthread_cond_timedwait(&worker->changed, &worker->mutex, &until);
    ending = worker->ending;
    must(pthread_mutex_unlock(&worker->mutex) == 0);
    return !ending;
}
