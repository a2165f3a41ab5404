/*
 * loop.h (edge) - the event loop of the core thread: descriptors, timers, signals, posts from other
 * threads. The only place that knows libevent.
 *
 * A turn: wait until something is ready, call everything that is ready, then the end-of-turn hooks,
 * phase by phase. What wants batches (proposals of a turn in one log write, answers of a turn in
 * one send) waits for the end of the turn. What nobody waits for comes behind that, in pieces.
 * Thread: core, save loop_post() and loop_stop().
 */
#ifndef ETCD_SERVER_HOST_LOOP_H
#define ETCD_SERVER_HOST_LOOP_H

#include "common/base/err.h"

struct loop;

typedef void loop_fn(void *arg);

int loop_new(struct loop **loop, struct err *err) MUST_CHECK; /* owned; ends in loop_free() */
void loop_free(struct loop *loop); /* after everything registered was removed; NULL is fine */

void loop_run(struct loop *loop);  /* until loop_stop(); may be called again after that */
void loop_stop(struct loop *loop); /* loop_run() returns at the end of its turn; thread: any */

uint64_t loop_now_ms(void); /* monotonic; never 0. Thread: any */
uint64_t loop_now_ns(void); /* to measure what takes how long. Thread: any */
int64_t loop_unix_s(void);  /* the wall clock, whole seconds. Thread: any */

/*
 * Call `fn` on the core thread, in the order posted; many posts cost one wake-up. What `arg` points
 * to is handed over with it. Posts left when the loop is freed are dropped. Thread: any.
 */
void loop_post(struct loop *loop, loop_fn *fn, void *arg);

enum loop_phase {
    LOOP_PHASE_ENGINE, /* batch what the turn brought: propose, persist, apply, answer */
    LOOP_PHASE_FLUSH,  /* then send what was answered */
    LOOP_PHASE_REST,   /* then a piece of what can wait; what it answers, the next turn sends */
    LOOP_PHASES
};
#define LOOP_HOOKS_MAX 8 /* per phase */
/* Call `fn` at the end of each turn, for the life of the loop. */
void loop_at_turn_end(struct loop *loop, enum loop_phase phase, loop_fn *fn, void *arg);

/* A descriptor. `ready` is called with the LOOP_ flags that apply. */
#define LOOP_READ 1U
#define LOOP_WRITE 2U
struct loop_fd;
typedef void loop_ready_fn(void *arg, unsigned ready);
/* owned; ends in loop_fd_free(), before the descriptor is closed. Wants nothing yet. */
struct loop_fd *loop_fd_new(struct loop *loop, int fd, loop_ready_fn *ready, void *arg) MUST_CHECK;
void loop_fd_want(struct loop_fd *watch, unsigned wanted); /* level-triggered, until changed */
void loop_fd_free(struct loop_fd *watch);                  /* NULL is fine */

struct loop_timer;
struct loop_timer *loop_timer_new(struct loop *loop, loop_fn *fn, void *arg) MUST_CHECK; /* owned */
void loop_timer_set(struct loop_timer *timer, uint64_t at_ms); /* once; 0 = not at all */
void loop_timer_free(struct loop_timer *timer);                /* NULL is fine */

struct loop_signal;
/* `fn` runs on the core thread, in a turn, not in a signal handler. */
struct loop_signal *loop_signal_new(struct loop *loop, int number, loop_fn *fn,
                                    void *arg) MUST_CHECK; /* owned */
void loop_signal_free(struct loop_signal *watch);          /* NULL is fine */

#endif
