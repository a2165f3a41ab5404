/*
 * loop.c - see loop.h. libevent does the waiting: EVLOOP_ONCE is one turn. Posts go through a
 * mutex-guarded array that is swapped out whole; the eventfd is written only by the post that finds
 * the array empty.
 */
#include "etcd-server/host/loop.h"

#include "common/base/clock.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

struct call_back {
    loop_fn *fn;
    void *arg;
};

struct posts {
    struct call_back *items; /* owned */
    size_t count;
    size_t capacity;
};

struct loop {
    struct event_base *base; /* owned */
    atomic_bool stopped;
    struct call_back hooks[LOOP_PHASES][LOOP_HOOKS_MAX];
    size_t hook_counts[LOOP_PHASES];
    int wake_fd; /* eventfd, owned */
    struct event wake_event;
    pthread_mutex_t lock; /* guards `posted` */
    struct posts posted;
    struct posts running; /* core thread only */
};

struct loop_fd {
    struct event read_event;
    struct event write_event;
    loop_ready_fn *ready;
    void *arg;
    unsigned wanted;
};

struct loop_timer {
    struct event event;
    struct call_back call_back;
};

struct loop_signal {
    struct event event;
    struct call_back call_back;
};

static void posts_ready(evutil_socket_t fd, short what, void *arg)
{
    struct loop *loop = arg;
    struct posts swapped;
    uint64_t count;

    (void)what;
    (void)!read(fd, &count, sizeof(count)); /* only resets the counter */
    (void)pthread_mutex_lock(&loop->lock);
    swapped = loop->running;
    loop->running = loop->posted;
    loop->posted = swapped;
    (void)pthread_mutex_unlock(&loop->lock);
    for (size_t i = 0; i < loop->running.count; i++)
        loop->running.items[i].fn(loop->running.items[i].arg);
    loop->running.count = 0;
}

int loop_new(struct loop **loop, struct err *err)
{
    struct event_config *config = event_config_new();
    struct loop *made = xalloc(sizeof(*made));

    must(config != NULL);
    must(event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) == 0);
    made->base = event_base_new_with_config(config);
    event_config_free(config);
    made->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (made->base == NULL || made->wake_fd < 0) {
        err_sys(err, errno, "setting up the event loop");
        if (made->wake_fd >= 0)
            (void)close(made->wake_fd);
        if (made->base != NULL)
            event_base_free(made->base);
        free(made);
        return -1;
    }
    must(pthread_mutex_init(&made->lock, NULL) == 0);
    must(event_assign(&made->wake_event, made->base, made->wake_fd, EV_READ | EV_PERSIST,
                      posts_ready, made) == 0);
    must(event_add(&made->wake_event, NULL) == 0);
    *loop = made;
    return 0;
}

void loop_free(struct loop *loop)
{
    if (loop == NULL)
        return;
    (void)event_del(&loop->wake_event);
    event_base_free(loop->base);
    (void)close(loop->wake_fd);
    (void)pthread_mutex_destroy(&loop->lock);
    free(loop->posted.items);
    free(loop->running.items);
    free(loop);
}

void loop_run(struct loop *loop)
{
    atomic_store(&loop->stopped, false);
    while (!atomic_load(&loop->stopped)) {
        must(event_base_loop(loop->base, EVLOOP_ONCE) >= 0);
        for (size_t phase = 0; phase < LOOP_PHASES; phase++)
            for (size_t i = 0; i < loop->hook_counts[phase]; i++)
                loop->hooks[phase][i].fn(loop->hooks[phase][i].arg);
    }
}

static void nothing(void *arg)
{
    (void)arg;
}

void loop_stop(struct loop *loop)
{
    atomic_store(&loop->stopped, true);
    loop_post(loop, nothing, NULL);
}

uint64_t loop_now_ms(void)
{
    return (uint64_t)clock_ms() + 1;
}

uint64_t loop_now_ns(void)
{
    return (uint64_t)clock_ns();
}

int64_t loop_unix_s(void)
{
    return (int64_t)time(NULL);
}

void loop_post(struct loop *loop, loop_fn *fn, void *arg)
{
    struct posts *posts = &loop->posted;
    uint64_t one = 1;
    bool wake;

    (void)pthread_mutex_lock(&loop->lock);
    if (posts->count == posts->capacity) {
        posts->capacity = MAX(16, posts->capacity * 2);
        posts->items = xrealloc(posts->items, posts->capacity * sizeof(*posts->items));
    }
    wake = posts->count == 0;
    posts->items[posts->count++] = (struct call_back){fn, arg};
    (void)pthread_mutex_unlock(&loop->lock);
    if (wake)
        (void)!write(loop->wake_fd, &one, sizeof(one)); /* only fails when it is awake already */
}

void loop_at_turn_end(struct loop *loop, enum loop_phase phase, loop_fn *fn, void *arg)
{
    must(phase < LOOP_PHASES && loop->hook_counts[phase] < LOOP_HOOKS_MAX);
    loop->hooks[phase][loop->hook_counts[phase]++] = (struct call_back){fn, arg};
}

static void fd_ready(evutil_socket_t fd, short what, void *arg)
{
    struct loop_fd *watch = arg;

    (void)fd;
    watch->ready(watch->arg, (what & EV_WRITE) != 0 ? LOOP_WRITE : LOOP_READ);
}

struct loop_fd *loop_fd_new(struct loop *loop, int fd, loop_ready_fn *ready, void *arg)
{
    struct loop_fd *watch = xalloc(sizeof(*watch));

    watch->ready = ready;
    watch->arg = arg;
    must(event_assign(&watch->read_event, loop->base, fd, EV_READ | EV_PERSIST, fd_ready, watch) ==
         0);
    must(event_assign(&watch->write_event, loop->base, fd, EV_WRITE | EV_PERSIST, fd_ready,
                      watch) == 0);
    return watch;
}

static void want_one(struct event *event, bool now, bool before)
{
    if (now && !before)
        must(event_add(event, NULL) == 0);
    else if (!now && before)
        must(event_del(event) == 0);
}

void loop_fd_want(struct loop_fd *watch, unsigned wanted)
{
    want_one(&watch->read_event, (wanted & LOOP_READ) != 0, (watch->wanted & LOOP_READ) != 0);
    want_one(&watch->write_event, (wanted & LOOP_WRITE) != 0, (watch->wanted & LOOP_WRITE) != 0);
    watch->wanted = wanted;
}

void loop_fd_free(struct loop_fd *watch)
{
    if (watch == NULL)
        return;
    loop_fd_want(watch, 0);
    free(watch);
}

static void call_back_ready(evutil_socket_t fd, short what, void *arg)
{
    struct call_back *call_back = arg;

    (void)fd;
    (void)what;
    call_back->fn(call_back->arg);
}

struct loop_timer *loop_timer_new(struct loop *loop, loop_fn *fn, void *arg)
{
    struct loop_timer *timer = xalloc(sizeof(*timer));

    timer->call_back = (struct call_back){fn, arg};
    must(event_assign(&timer->event, loop->base, -1, 0, call_back_ready, &timer->call_back) == 0);
    return timer;
}

void loop_timer_set(struct loop_timer *timer, uint64_t at_ms)
{
    uint64_t now_ms = loop_now_ms();
    uint64_t wait_ms = at_ms > now_ms ? at_ms - now_ms : 0;
    struct timeval wait = {.tv_sec = (time_t)(wait_ms / 1000),
                           .tv_usec = (suseconds_t)(wait_ms % 1000 * 1000)};

    if (at_ms == 0)
        (void)event_del(&timer->event);
    else
        must(event_add(&timer->event, &wait) == 0);
}

void loop_timer_free(struct loop_timer *timer)
{
    if (timer == NULL)
        return;
    (void)event_del(&timer->event);
    free(timer);
}

struct loop_signal *loop_signal_new(struct loop *loop, int number, loop_fn *fn, void *arg)
{
    struct loop_signal *watch = xalloc(sizeof(*watch));

    watch->call_back = (struct call_back){fn, arg};
    must(event_assign(&watch->event, loop->base, number, EV_SIGNAL | EV_PERSIST, call_back_ready,
                      &watch->call_back) == 0);
    must(event_add(&watch->event, NULL) == 0);
    return watch;
}

void loop_signal_free(struct loop_signal *watch)
{
    if (watch == NULL)
        return;
    (void)event_del(&watch->event);
    free(watch);
}
