/*
 * load.c - see load.h.
 *
 * A client's thread takes the next ticket - its number and when it is due -, sleeps until then, and
 * puts. Tickets are handed out at the rate wanted and never to make up for lost time: who cannot
 * keep up shows as a rate that is too low, not as a burst at the end.
 */
#include "etcd-ctl/load.h"

#include "common/base/clock.h"
#include "common/base/limits.h"
#include "etcd-ctl/progress.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

#define WORKER_STACK_BYTES (512UL * KIB)
#define WORKER_ARENA_MAX (64UL * MIB) /* one answer of a put */
#define FILES_PER_CLIENT 4            /* a connection, and what libcurl wakes itself with */

struct run {
    const struct load *load;
    pthread_mutex_t lock; /* for all below */
    pthread_cond_t over;  /* the last worker ended */
    int64_t begin_ns, next_ns;
    uint64_t tickets, done;
    size_t working;
    bool stopped; /* no more tickets: a signal came */
    struct load_result *result;
};

struct worker {
    struct run *run;
    struct client *client; /* owned */
    pthread_t thread;
    uint64_t count;
    double sum_s, squares_s, slowest_s;
};

/* The next put and when it is due; false when there is none. */
static bool take_ticket(struct run *run, uint64_t *number, int64_t *due_ns)
{
    const struct load *load = run->load;
    int64_t now = clock_ns(), until = run->begin_ns + load->duration_ms * NS_PER_MS;
    bool got;

    (void)pthread_mutex_lock(&run->lock);
    *number = run->tickets;
    *due_ns = load->rate > 0 ? MAX(run->next_ns, now) : now;
    got = !run->stopped && (load->puts > 0 ? run->tickets < load->puts : *due_ns < until);
    if (got) {
        run->tickets++;
        if (load->rate > 0)
            run->next_ns = MAX(run->next_ns + NS_PER_S / (int64_t)load->rate, now);
    }
    (void)pthread_mutex_unlock(&run->lock);
    return got;
}

/* Spreads numbers over the whole range, each to one of its own (splitmix64). */
static uint64_t spread(uint64_t number)
{
    number += UINT64_C(0x9e3779b97f4a7c15);
    number = (number ^ (number >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    number = (number ^ (number >> 27)) * UINT64_C(0x94d049bb133111eb);
    return number ^ (number >> 31);
}

static void count_error(struct load_result *result, const char *text)
{
    size_t at = 0;

    result->failed++;
    while (at < result->error_count && strcmp(result->errors[at].text, text) != 0)
        at++;
    if (at == LOAD_ERRORS_MAX)
        return; /* there are others enough to tell */
    if (at == result->error_count) {
        result->error_count++;
        (void)snprintf(result->errors[at].text, sizeof(result->errors[at].text), "%s", text);
    }
    result->errors[at].count++;
}

static void put_one(struct worker *worker, uint64_t number, Etcdserverpb__PutRequest *request,
                    struct arena *arena)
{
    struct run *run = worker->run;
    ProtobufCMessage *response = NULL;
    struct err err = ERR_INIT;
    char name[17];
    int64_t begin;
    double took_s;
    int rc;

    (void)snprintf(name, sizeof(name), "%016" PRIx64, spread(number));
    memcpy(request->key.data + strlen(run->load->prefix), name, sizeof(name) - 1);
    begin = clock_ns();
    rc = client_call(worker->client, RPC_KV_Put, &request->base, arena, &response, &err);
    took_s = (double)(clock_ns() - begin) / NS_PER_S;
    arena_reset(arena);
    if (rc == 0) {
        worker->count++;
        worker->sum_s += took_s;
        worker->squares_s += took_s * took_s;
        worker->slowest_s = MAX(worker->slowest_s, took_s);
    }
    (void)pthread_mutex_lock(&run->lock);
    run->done++;
    if (rc < 0)
        count_error(run->result, err.text);
    (void)pthread_mutex_unlock(&run->lock);
}

static void *work(void *arg)
{
    struct worker *worker = arg;
    struct run *run = worker->run;
    const struct load *load = run->load;
    size_t prefix = strlen(load->prefix), key_bytes = prefix + MAX(load->key_bytes, 16);
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    struct arena arena;
    uint64_t number;
    int64_t due;

    arena_init(&arena, WORKER_ARENA_MAX);
    request.key = (ProtobufCBinaryData){.len = key_bytes, .data = xalloc(key_bytes)};
    request.value =
        (ProtobufCBinaryData){.len = load->value_bytes, .data = xalloc(load->value_bytes)};
    memset(request.key.data, '0', key_bytes);
    memcpy(request.key.data, load->prefix, prefix);
    memset(request.value.data, '0', load->value_bytes);
    while (take_ticket(run, &number, &due)) {
        struct timespec at = {.tv_sec = due / NS_PER_S, .tv_nsec = due % NS_PER_S};

        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
            ;
        put_one(worker, number, &request, &arena);
    }
    free(request.key.data);
    free(request.value.data);
    arena_free(&arena);
    (void)pthread_mutex_lock(&run->lock);
    if (--run->working == 0)
        (void)pthread_cond_signal(&run->over);
    (void)pthread_mutex_unlock(&run->lock);
    return NULL;
}

/* ---- main's part ---- */

/* Each client needs some files: take as many as we may have. */
static void raise_file_limit(size_t clients)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= clients * FILES_PER_CLIENT)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit); /* what is missing shows as errors of puts */
}

static int make_clients(struct ctl *ctl, struct run *run, struct worker *workers)
{
    struct err err = ERR_INIT;

    for (size_t i = 0; i < run->load->clients; i++) {
        workers[i].run = run;
        if (client_clone_all(ctl->client, i % client_endpoints(ctl->client), &workers[i].client,
                             &err) < 0)
            return ctl_fail(CTL_FAILED, "%s", err.text);
    }
    return CTL_OK;
}

static int start(struct run *run, struct worker *workers)
{
    pthread_attr_t attributes;
    size_t begun = 0;

    must(pthread_attr_init(&attributes) == 0 &&
         pthread_attr_setstacksize(&attributes, WORKER_STACK_BYTES) == 0);
    run->working = run->load->clients;
    while (begun < run->load->clients &&
           pthread_create(&workers[begun].thread, &attributes, work, &workers[begun]) == 0)
        begun++;
    (void)pthread_attr_destroy(&attributes);
    if (begun == run->load->clients)
        return CTL_OK;
    (void)ctl_fail(CTL_FAILED,
                   "only %zu of %zu threads could be started: is there a limit of processes?",
                   begun, run->load->clients);
    exit(CTL_FAILED); /* those that run hold what would be freed */
}

/* Those that end the program, and that nobody ignores: an ignored one would be queued. */
static void block_ending(sigset_t *ending, sigset_t *old)
{
    static const int numbers[] = {SIGINT, SIGTERM};

    (void)sigemptyset(ending);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        struct sigaction action;

        if (sigaction(numbers[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
            (void)sigaddset(ending, numbers[i]);
    }
    must(pthread_sigmask(SIG_BLOCK, ending, old) == 0); /* the threads inherit it */
}

static bool has_come(const sigset_t *signals)
{
    return sigtimedwait(signals, NULL, &(struct timespec){.tv_sec = 0}) > 0;
}

static void follow(struct run *run, const sigset_t *ending, load_progress_fn *progress, void *arg)
{
    const struct load *load = run->load;

    (void)pthread_mutex_lock(&run->lock);
    while (run->working > 0) {
        int64_t elapsed_ms = (clock_ns() - run->begin_ns) / NS_PER_MS;
        int64_t next = clock_ns() + PROGRESS_EVERY_MS * NS_PER_MS;
        struct timespec until = {.tv_sec = next / NS_PER_S, .tv_nsec = next % NS_PER_S};
        uint64_t done = load->puts > 0 ? run->done : (uint64_t)MIN(elapsed_ms, load->duration_ms);

        (void)pthread_mutex_unlock(&run->lock);
        progress(arg, done, elapsed_ms);
        (void)pthread_mutex_lock(&run->lock);
        run->stopped |= has_come(ending);
        if (run->working > 0)
            (void)pthread_cond_timedwait(&run->over, &run->lock, &until);
    }
    (void)pthread_mutex_unlock(&run->lock);
}

/* The square root, by Newton: good enough for one figure, and no library of its own. */
static double root(double square)
{
    double guess = square > 1 ? square : 1;

    for (int i = 0; i < 64 && square > 0; i++)
        guess = (guess + square / guess) / 2;
    return square > 0 ? guess : 0;
}

static void sum_up(const struct worker *workers, size_t count, struct load_result *result)
{
    double sum = 0, squares = 0, mean;

    for (size_t i = 0; i < count; i++) {
        result->puts += workers[i].count;
        sum += workers[i].sum_s;
        squares += workers[i].squares_s;
        result->slowest_s = MAX(result->slowest_s, workers[i].slowest_s);
    }
    if (result->puts == 0)
        return;
    mean = sum / (double)result->puts;
    result->stddev_s = root(squares / (double)result->puts - mean * mean);
}

int load_run(struct ctl *ctl, const struct load *load, load_progress_fn *progress, void *arg,
             struct load_result *result)
{
    struct run run = {.load = load, .result = result};
    struct worker *workers = xalloc(load->clients * sizeof(*workers));
    sigset_t ending, old;
    pthread_condattr_t clock;
    int code;

    *result = (struct load_result){0};
    must(pthread_mutex_init(&run.lock, NULL) == 0 && pthread_condattr_init(&clock) == 0 &&
         pthread_condattr_setclock(&clock, CLOCK_MONOTONIC) == 0 &&
         pthread_cond_init(&run.over, &clock) == 0);
    raise_file_limit(load->clients);
    code = make_clients(ctl, &run, workers);
    if (code == CTL_OK) {
        run.begin_ns = run.next_ns = clock_ns();
        block_ending(&ending, &old);
        code = start(&run, workers);
    }
    if (code == CTL_OK) {
        follow(&run, &ending, progress, arg);
        result->elapsed_s = (double)(clock_ns() - run.begin_ns) / NS_PER_S;
        for (size_t i = 0; i < load->clients; i++)
            must(pthread_join(workers[i].thread, NULL) == 0);
        sum_up(workers, load->clients, result);
        result->stopped = run.stopped;
        must(pthread_sigmask(SIG_SETMASK, &old, NULL) == 0); /* a second signal ends us */
    }
    for (size_t i = 0; i < load->clients; i++)
        client_free(workers[i].client);
    free(workers);
    (void)pthread_cond_destroy(&run.over);
    (void)pthread_condattr_destroy(&clock);
    (void)pthread_mutex_destroy(&run.lock);
    return code;
}
