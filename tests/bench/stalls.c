/* stalls.c - see stalls.h. Each thread writes its own ring of stalls; the asker reads it. */
#include "tests/bench/stalls.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#define PROCESSORS_MAX 64
#define RING 4096             /* newest stalls of a processor */
#define STEP_NS 250000U       /* between wake-ups */
#define LATE_NS 100000U       /* a wake-up later than that was a stall */
#define AFTERMATH_NS 2000000U /* until what waited is worked off */
#define PRIORITY_ABOVE_BENCHES 80

struct stall {
    atomic_uint_fast64_t from_ns, to_ns;
};

struct processor {
    struct stalls *stalls;
    pthread_t thread;
    struct stall ring[RING];
    atomic_size_t count;
};

struct stalls {
    atomic_bool ended;
    size_t processors;
    struct processor *each[PROCESSORS_MAX]; /* owned */
};

static uint64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static void *watch(void *arg)
{
    struct processor *processor = arg;
    uint64_t due = now_ns(), now;

    while (!atomic_load(&processor->stalls->ended)) {
        struct timespec at;

        due += STEP_NS;
        at = (struct timespec){(time_t)(due / 1000000000U), (long)(due % 1000000000U)};
        (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
        now = now_ns();
        if (now > due + LATE_NS) {
            size_t count = atomic_load(&processor->count);

            atomic_store(&processor->ring[count % RING].from_ns, due - STEP_NS);
            atomic_store(&processor->ring[count % RING].to_ns, now);
            atomic_store(&processor->count, count + 1);
            due = now;
        }
    }
    return NULL;
}

/* On its own processor, above the others: otherwise it would find what is measured. */
static int start(struct processor *processor, int number)
{
    struct sched_param priority = {.sched_priority = PRIORITY_ABOVE_BENCHES};
    pthread_attr_t attributes;
    cpu_set_t one;
    int rc;

    CPU_ZERO(&one);
    CPU_SET((size_t)number, &one);
    must(pthread_attr_init(&attributes) == 0);
    must(pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED) == 0);
    must(pthread_attr_setschedpolicy(&attributes, SCHED_FIFO) == 0);
    must(pthread_attr_setschedparam(&attributes, &priority) == 0);
    must(pthread_attr_setaffinity_np(&attributes, sizeof(one), &one) == 0);
    rc = pthread_create(&processor->thread, &attributes, watch, processor);
    (void)pthread_attr_destroy(&attributes);
    return rc;
}

struct stalls *stalls_watch(void)
{
    struct stalls *stalls = xalloc(sizeof(*stalls));
    cpu_set_t ours;

    must(sched_getaffinity(0, sizeof(ours), &ours) == 0);
    for (int i = 0; i < CPU_SETSIZE && stalls->processors < PROCESSORS_MAX; i++) {
        struct processor *processor;

        if (!CPU_ISSET((size_t)i, &ours))
            continue;
        processor = xalloc(sizeof(*processor));
        processor->stalls = stalls;
        if (start(processor, i) != 0) {
            free(processor);
            stalls_free(stalls);
            return NULL;
        }
        stalls->each[stalls->processors++] = processor;
    }
    return stalls;
}

void stalls_free(struct stalls *stalls)
{
    if (stalls == NULL)
        return;
    atomic_store(&stalls->ended, true);
    for (size_t i = 0; i < stalls->processors; i++) {
        (void)pthread_join(stalls->each[i]->thread, NULL);
        free(stalls->each[i]);
    }
    free(stalls);
}

bool stalls_between(struct stalls *stalls, uint64_t from_ns, uint64_t to_ns)
{
    for (size_t i = 0; i < stalls->processors; i++) {
        struct processor *processor = stalls->each[i];
        size_t count = atomic_load(&processor->count);

        for (size_t back = 1; back <= MIN(count, RING); back++) {
            struct stall *stall = &processor->ring[(count - back) % RING];

            if (atomic_load(&stall->to_ns) + AFTERMATH_NS < from_ns)
                break;
            if (atomic_load(&stall->from_ns) < to_ns)
                return true;
        }
    }
    return false;
}
