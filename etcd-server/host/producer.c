/*
 * producer.c - see producer.h.
 *
 *   thread: run() -> sink: queue, wait while too much is queued        core: deliver() -> take()
 *                    \-> `unseen` -> a thread of its own: look() -> `ready` -/
 *
 * A piece's memory goes round: the sink takes it with its content and leaves that of a delivered
 * piece. Who waits is woken when there is a lot to do, not for every piece: a wake-up costs as much
 * as copying one. A thread lives as long as run(): whoever takes its time with what comes holds up
 * nobody who waits for one of the pool. With look() a second lives within that time. `posted` keeps
 * one delivery on its way to the core at most, `resuming` one more after a pause. The pipe dies on
 * the core, after the thread has ended, everything was delivered and neither is on its way.
 */
#include "etcd-server/host/producer.h"
#include "common/base/limits.h"

#include <sched.h>

#define PRODUCER_QUEUE_BYTES (512UL * KIB) /* what goes from core to core fits into a cache */

struct piece {
    struct piece *next;
    struct buf bytes;
};

struct pieces { /* a queue */
    struct piece *first, *last;
};

struct pipe {
    struct host_producer *producer;
    struct producers *owner;
    struct pipe *previous, *next; /* in owner->running */
    struct loop *loop;
    pthread_t thread;
    bool joined;           /* or it was never there */
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t room, came;
    struct pieces unseen; /* look() comes first */
    struct pieces ready;  /* for the core */
    struct piece *spare;  /* delivered ones, for their memory */
    size_t queued_bytes;  /* of both */
    bool waiting;         /* the sink, for `room` */
    bool idle;            /* the thread that looks waits for `came` */
    bool made;            /* run() is over */
    bool stopped;         /* nobody wants the rest */
    bool posted;          /* a delivery is on its way */
    struct err err;
    bool paused;   /* core only: take() said so */
    bool resuming; /* core only: resumed() is on its way */
    bool returned; /* core only: the thread is done with this */
};

struct producers {
    struct loop *loop;
    struct pipe *running; /* those whose end was not delivered */
};

static void deliver(void *arg);

static void add_piece(struct pieces *to, struct piece *piece)
{
    piece->next = NULL;
    if (to->last != NULL)
        to->last->next = piece;
    else
        to->first = piece;
    to->last = piece;
}

static struct piece *oldest_piece(struct pieces *from)
{
    struct piece *piece = from->first;

    if (piece != NULL)
        from->first = piece->next;
    if (from->first == NULL)
        from->last = NULL;
    return piece;
}

/* With the mutex held. */
static void wake_core(struct pipe *pipe)
{
    if (pipe->posted)
        return;
    pipe->posted = true;
    loop_post(pipe->loop, deliver, pipe);
}

/* A piece with that content, whose buf gets the memory of one that went through before. With the
 * mutex held. */
static struct piece *piece_of(struct pipe *pipe, struct buf *content)
{
    struct piece *piece = pipe->spare;
    struct buf memory;

    if (piece != NULL)
        pipe->spare = piece->next;
    else
        piece = xalloc(sizeof(*piece));
    memory = piece->bytes;
    piece->bytes = *content;
    memory.max = content->max;
    buf_reset(&memory);
    *content = memory;
    return piece;
}

/* Waits until half of the queue is free, once it is full. With the mutex held; false: stopped. */
static bool wait_for_room(struct pipe *pipe)
{
    pipe->waiting = pipe->queued_bytes >= PRODUCER_QUEUE_BYTES;
    while (pipe->waiting && !pipe->stopped)
        must(pthread_cond_wait(&pipe->room, &pipe->mutex) == 0);
    return !pipe->stopped;
}

static int queue(struct pipe *pipe, struct buf *content, bool unseen, struct err *err)
{
    bool wanted;

    must(pthread_mutex_lock(&pipe->mutex) == 0);
    wanted = wait_for_room(pipe);
    if (wanted) {
        pipe->queued_bytes += buf_used(content);
        add_piece(unseen ? &pipe->unseen : &pipe->ready, piece_of(pipe, content));
        if (!unseen)
            wake_core(pipe);
        else if (pipe->idle)
            must(pthread_cond_signal(&pipe->came) == 0);
    }
    must(pthread_mutex_unlock(&pipe->mutex) == 0);
    if (!wanted)
        err_set(err, ERR_CANCELED, "the receiver went away");
    return wanted ? 0 : -1;
}

static int sink_unseen(void *arg, struct buf *piece, struct err *err)
{
    return queue(arg, piece, true, err);
}

static int sink_ready(void *arg, struct buf *piece, struct err *err)
{
    return queue(arg, piece, false, err);
}

/* The next piece to look at; NULL: there will be none. With the mutex held. */
static struct piece *next_unseen(struct pipe *pipe)
{
    while (pipe->unseen.first == NULL && !pipe->made) {
        pipe->idle = true;
        must(pthread_cond_wait(&pipe->came, &pipe->mutex) == 0);
        pipe->idle = false;
    }
    return oldest_piece(&pipe->unseen);
}

/*
 * The calling thread stays on one half of the CPUs it may use, the upper or the lower one. Two that
 * work for each other without a pause are often left on one CPU, for the other one, which a client
 * uses now and then, is never idle long enough to be given one of them. A hint: errors are ignored.
 */
static void take_half(bool upper)
{
    cpu_set_t may, half;
    int rank = 0, count;

    CPU_ZERO(&half);
    if (pthread_getaffinity_np(pthread_self(), sizeof(may), &may) != 0 || CPU_COUNT(&may) < 2)
        return;
    count = CPU_COUNT(&may);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &may))
            continue;
        if ((rank >= count / 2) == upper)
            CPU_SET(cpu, &half);
        rank++;
    }
    (void)pthread_setaffinity_np(pthread_self(), sizeof(half), &half);
}

/* The thread beside run(): until that is over and everything was seen. */
static void *look_at_all(void *arg)
{
    struct pipe *pipe = arg;
    struct piece *piece;

    take_half(true);
    must(pthread_mutex_lock(&pipe->mutex) == 0);
    while ((piece = next_unseen(pipe)) != NULL) {
        must(pthread_mutex_unlock(&pipe->mutex) == 0);
        pipe->producer->look(pipe->producer, buf_slice(&piece->bytes));
        must(pthread_mutex_lock(&pipe->mutex) == 0);
        add_piece(&pipe->ready, piece);
        wake_core(pipe);
    }
    must(pthread_mutex_unlock(&pipe->mutex) == 0);
    return NULL;
}

static int run_beside_look(struct pipe *pipe, struct err *err)
{
    struct host_producer *producer = pipe->producer;
    pthread_t thread;
    int rc, error = pthread_create(&thread, NULL, look_at_all, pipe);

    if (error != 0) {
        err_sys(err, error, "a thread that looks at what is sent");
        return -1;
    }
    take_half(false); /* and its own thread, which ends with it */
    rc = producer->run(producer, sink_unseen, pipe, err);
    must(pthread_mutex_lock(&pipe->mutex) == 0);
    pipe->made = true;
    must(pthread_cond_signal(&pipe->came) == 0);
    must(pthread_mutex_unlock(&pipe->mutex) == 0);
    must(pthread_join(thread, NULL) == 0);
    return rc < 0 ? rc : producer->close(producer, sink_ready, pipe, err);
}

static void returned(void *arg);

static void *run(void *arg)
{
    struct pipe *pipe = arg;
    struct host_producer *producer = pipe->producer;
    struct err err = ERR_INIT;
    int rc = producer->look != NULL ? run_beside_look(pipe, &err)
                                    : producer->run(producer, sink_ready, pipe, &err);

    if (rc == 0)
        err.code = ERR_OK;
    pipe->err = err; /* read when returned() was delivered */
    loop_post(pipe->loop, returned, pipe);
    return NULL;
}

/* The next piece for take(), NULL when there is none; `done` (may be NULL) was delivered. */
static struct piece *take_piece(struct pipe *pipe, struct piece *done)
{
    struct piece *piece;

    must(pthread_mutex_lock(&pipe->mutex) == 0);
    if (done != NULL) {
        done->next = pipe->spare;
        pipe->spare = done;
    }
    piece = pipe->paused ? NULL : oldest_piece(&pipe->ready);
    if (piece != NULL)
        pipe->queued_bytes -= buf_used(&piece->bytes);
    else if (!pipe->paused)
        pipe->posted = false;
    if (pipe->waiting && pipe->queued_bytes <= PRODUCER_QUEUE_BYTES / 2) {
        pipe->waiting = false;
        must(pthread_cond_signal(&pipe->room) == 0);
    }
    must(pthread_mutex_unlock(&pipe->mutex) == 0);
    return piece;
}

static void finish(struct pipe *pipe)
{
    struct host_producer *producer = pipe->producer;
    struct err err = pipe->err;

    while (pipe->spare != NULL) {
        struct piece *piece = pipe->spare;

        pipe->spare = piece->next;
        buf_free(&piece->bytes);
        free(piece);
    }
    (void)pthread_cond_destroy(&pipe->came);
    (void)pthread_cond_destroy(&pipe->room);
    (void)pthread_mutex_destroy(&pipe->mutex);
    free(pipe);
    producer->done(producer, &err);
}

static void deliver(void *arg)
{
    struct pipe *pipe = arg;
    struct piece *piece = NULL;
    bool over;

    while ((piece = take_piece(pipe, piece)) != NULL) {
        if (!pipe->stopped)
            pipe->paused = !pipe->producer->take(pipe->producer, buf_slice(&piece->bytes));
    }
    if (pipe->paused)
        return; /* `posted` stays set: producer_resume() goes on */
    must(pthread_mutex_lock(&pipe->mutex) == 0);
    over = pipe->returned && pipe->ready.first == NULL && !pipe->posted && !pipe->resuming;
    must(pthread_mutex_unlock(&pipe->mutex) == 0);
    if (over)
        finish(pipe);
}

static void resumed(void *arg)
{
    struct pipe *pipe = arg;

    pipe->resuming = false;
    deliver(pipe);
}

static void join(struct pipe *pipe)
{
    if (!pipe->joined)
        must(pthread_join(pipe->thread, NULL) == 0);
    pipe->joined = true;
}

static void returned(void *arg)
{
    struct pipe *pipe = arg;

    join(pipe);
    if (pipe->previous != NULL)
        pipe->previous->next = pipe->next;
    else
        pipe->owner->running = pipe->next;
    if (pipe->next != NULL)
        pipe->next->previous = pipe->previous;
    pipe->returned = true;
    deliver(pipe);
}

struct producers *producers_new(struct loop *loop)
{
    struct producers *producers = xalloc(sizeof(*producers));

    producers->loop = loop;
    return producers;
}

void producer_start(struct producers *producers, struct host_producer *producer)
{
    struct pipe *pipe = xalloc(sizeof(*pipe));
    int error;

    pipe->producer = producer;
    pipe->owner = producers;
    pipe->loop = producers->loop;
    pipe->next = producers->running;
    if (pipe->next != NULL)
        pipe->next->previous = pipe;
    producers->running = pipe;
    must(pthread_mutex_init(&pipe->mutex, NULL) == 0 && pthread_cond_init(&pipe->room, NULL) == 0 &&
         pthread_cond_init(&pipe->came, NULL) == 0);
    producer->host = pipe;
    error = worker_thread(&pipe->thread, run, pipe);
    if (error == 0)
        return;
    err_sys(&pipe->err, error, "start a thread");
    pipe->joined = true;
    loop_post(pipe->loop, returned, pipe);
}

void producer_resume(struct host_producer *producer)
{
    struct pipe *pipe = producer->host;

    if (!pipe->paused)
        return;
    pipe->paused = false;
    if (!pipe->resuming)
        loop_post(pipe->loop, resumed, pipe);
    pipe->resuming = true; /* the end may come before it: the pipe waits for it */
}

void producer_stop(struct host_producer *producer)
{
    struct pipe *pipe = producer->host;

    must(pthread_mutex_lock(&pipe->mutex) == 0);
    pipe->stopped = true;
    must(pthread_cond_signal(&pipe->room) == 0);
    must(pthread_mutex_unlock(&pipe->mutex) == 0);
    producer_resume(producer);
}

void producers_end(struct producers *producers)
{
    for (struct pipe *pipe = producers->running; pipe != NULL; pipe = pipe->next)
        producer_stop(pipe->producer);
    for (struct pipe *pipe = producers->running; pipe != NULL; pipe = pipe->next)
        join(pipe);
}

void producers_free(struct producers *producers)
{
    if (producers == NULL)
        return;
    producers_end(producers);
    free(producers);
}
