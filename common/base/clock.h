/*
 * clock.h (edge) - a clock that never goes back; its zero means nothing. The core gets its time
 * from struct host. Thread: any.
 */
#ifndef COMMON_BASE_CLOCK_H
#define COMMON_BASE_CLOCK_H

#include "common/base/duration.h"

#include <time.h>

static inline int64_t clock_ns(void)
{
    struct timespec now;

    must(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

static inline int64_t clock_ms(void)
{
    return clock_ns() / NS_PER_MS;
}

/* Cut short by a signal, which is fine where this is called. */
static inline void clock_pause_ms(int64_t ms)
{
    (void)nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * NS_PER_MS},
                    NULL);
}

#endif
