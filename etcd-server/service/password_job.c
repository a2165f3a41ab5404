/*
 * password_job.c - see password_job.h.
 *
 *   WAITING (in the queue, until fewer than PASSWORD_JOBS_MAX are at it) -> AT_IT -> done()
 *
 * The work has memory of its own, for the call and its arena may end while the pool is at it; then
 * its `job` is NULL and only the memory is freed.
 */
#include "etcd-server/service/password_job.h"
#include "common/base/base.h"
#include "common/base/limits.h"

#include <stdio.h>

struct password_work {
    struct host_job host_job;
    struct service *service;
    struct password_job *job;              /* NULL: nobody waits any more */
    struct password_work *previous, *next; /* WAITING */
    bool is_waiting;
    bool is_check;
    bool good;
    unsigned cost;
    uint8_t salt[PASSWORD_SALT_BYTES];
    char hash[PASSWORD_HASH_BYTES]; /* made, or to be checked against */
    char *password;                 /* owned; wiped */
};

static void run(struct host_job *host_job)
{
    struct password_work *work = CONTAINER_OF(host_job, struct password_work, host_job);

    if (work->is_check)
        work->good = password_matches(work->password, slice_text(work->hash));
    else
        work->good = password_hash(work->password, work->cost, work->salt, work->hash);
}

static void work_free(struct password_work *work)
{
    wipe(work->password, strlen(work->password));
    free(work->password);
    wipe(work->hash, sizeof(work->hash));
    free(work);
}

/* ---- the queue ---- */

static void enqueue(struct password_work *work)
{
    struct password_queue *queue = &work->service->passwords;

    work->is_waiting = true;
    work->previous = queue->last;
    if (queue->last != NULL)
        queue->last->next = work;
    else
        queue->first = work;
    queue->last = work;
    queue->count++;
    queue->bytes += strlen(work->password);
}

static void dequeue(struct password_work *work)
{
    struct password_queue *queue = &work->service->passwords;

    work->is_waiting = false;
    if (work->previous != NULL)
        work->previous->next = work->next;
    else
        queue->first = work->next;
    if (work->next != NULL)
        work->next->previous = work->previous;
    else
        queue->last = work->previous;
    queue->count--;
    queue->bytes -= strlen(work->password);
}

static bool queue_is_full(const struct password_queue *queue, size_t bytes)
{
    return queue->count >= PASSWORDS_WAITING_MAX || queue->bytes + bytes > PASSWORDS_WAITING_BYTES;
}

static void start_next(struct service *service)
{
    struct host *host = engine_host(service->engine);
    struct password_work *work = service->passwords.first;

    if (work == NULL || service->password_jobs >= PASSWORD_JOBS_MAX)
        return;
    dequeue(work);
    service->password_jobs++;
    host->ops->run_job(host, &work->host_job);
}

/* ---- its life ---- */

static void done(struct host_job *host_job)
{
    struct password_work *work = CONTAINER_OF(host_job, struct password_work, host_job);
    struct password_job *job = work->job;

    work->service->password_jobs--;
    start_next(work->service);
    if (job != NULL) {
        job->call->cancel = NULL;
        memcpy(job->hash, work->hash, sizeof(job->hash));
        /* a hash always succeeds with a cost that service_new() has checked, if there is memory */
        job->done(job, work->good       ? ERR_OK
                       : work->is_check ? ERR_AUTH_FAILED
                                        : ERR_REQUEST_TOO_MANY_REQUESTS);
    }
    work_free(work);
}

static void leave(struct call *call)
{
    struct password_work *work = call->state;

    work->job = NULL; /* the pool's work ends by itself */
    if (!work->is_waiting)
        return;
    dequeue(work);
    work_free(work);
}

/* NULL: refused; done() was called. */
static struct password_work *work_new(struct service *service, struct call *call,
                                      struct password_job *job, const char *password,
                                      password_job_fn *job_done)
{
    struct password_work *work;

    *job = (struct password_job){.service = service, .call = call, .done = job_done};
    if (queue_is_full(&service->passwords, strlen(password))) {
        job_done(job, ERR_REQUEST_TOO_MANY_REQUESTS);
        return NULL;
    }
    work = xalloc(sizeof(*work));
    work->host_job.run = run;
    work->host_job.done = done;
    work->service = service;
    work->job = job;
    work->password = xstrdup(password);
    work->cost = service->config.bcrypt_cost;
    return work;
}

static void start(struct password_work *work)
{
    struct call *call = work->job->call;

    call->state = work;
    call->cancel = leave;
    enqueue(work);
    start_next(work->service);
}

void password_job_hash(struct service *service, struct call *call, struct password_job *job,
                       const char *password, password_job_fn *job_done)
{
    struct host *host = engine_host(service->engine);
    struct password_work *work = work_new(service, call, job, password, job_done);

    if (work == NULL)
        return;
    for (size_t i = 0; i < PASSWORD_SALT_BYTES; i += sizeof(uint64_t)) {
        uint64_t number = host->ops->random(host);

        memcpy(work->salt + i, &number, sizeof(number));
    }
    start(work);
}

void password_job_check(struct service *service, struct call *call, struct password_job *job,
                        const char *password, struct slice hash, password_job_fn *job_done)
{
    static const char none[] = "......................" /* a salt and a hash of no password */
                               "...............................";
    struct password_work *work = work_new(service, call, job, password, job_done);

    if (work == NULL)
        return;
    work->is_check = true;
    if (hash.size != 0 && hash.size < sizeof(work->hash))
        memcpy(work->hash, hash.data, hash.size); /* zeroed behind */
    else
        (void)snprintf(work->hash, sizeof(work->hash), "$2a$%02u$%s", work->cost, none); /* fits */
    start(work);
}
