/*
 * dial.c - see dial.h.
 *
 *   unix socket -> connect
 *   host        -> look up (a thread, unless it is an address) -> connect to each address in turn
 *
 * A resolver that is too slow is left alone: its thread frees what it holds when it is done.
 */
#include "common/client/dial.h"
#include "common/base/clock.h"
#include "common/base/limits.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define RESOLVER_STACK_BYTES (256UL * KIB)

static int fail_system(struct dial_failure *failure, int error)
{
    failure->os_error = error;
    failure->cause = strerror(error);
    return -1;
}

static int fail_late(struct dial_failure *failure)
{
    failure->too_late = true;
    failure->cause = "not done in time (i/o timeout)";
    return -1;
}

/* ---- names ---- */

/* Shared by two threads; who is last frees it. */
struct lookup {
    pthread_mutex_t lock;
    pthread_cond_t done_signal;
    bool done, abandoned;
    char *host, port[8];
    struct addrinfo *list; /* owned, when done */
    int error;             /* of getaddrinfo() */
};

static void lookup_free(struct lookup *lookup)
{
    must(pthread_cond_destroy(&lookup->done_signal) == 0);
    must(pthread_mutex_destroy(&lookup->lock) == 0);
    free(lookup->host);
    free(lookup);
}

static void *look_up(void *arg)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list = NULL;
    struct lookup *lookup = arg;
    int error = getaddrinfo(lookup->host, lookup->port, &hints, &list);
    bool abandoned;

    must(pthread_mutex_lock(&lookup->lock) == 0);
    lookup->list = list;
    lookup->error = error;
    lookup->done = true;
    abandoned = lookup->abandoned;
    must(pthread_cond_signal(&lookup->done_signal) == 0);
    must(pthread_mutex_unlock(&lookup->lock) == 0);
    if (abandoned) {
        if (error == 0)
            freeaddrinfo(list);
        lookup_free(lookup);
    }
    return NULL;
}

static struct lookup *lookup_new(const char *host, const char *port)
{
    struct lookup *lookup = xalloc(sizeof(*lookup));
    pthread_condattr_t attr;

    must(pthread_condattr_init(&attr) == 0);
    must(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
    must(pthread_mutex_init(&lookup->lock, NULL) == 0);
    must(pthread_cond_init(&lookup->done_signal, &attr) == 0);
    must(pthread_condattr_destroy(&attr) == 0);
    lookup->host = xstrdup(host);
    (void)snprintf(lookup->port, sizeof(lookup->port), "%s", port);
    return lookup;
}

static int start_thread(struct lookup *lookup)
{
    pthread_attr_t attr;
    pthread_t thread;
    int rc;

    must(pthread_attr_init(&attr) == 0);
    must(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED) == 0);
    must(pthread_attr_setstacksize(&attr, RESOLVER_STACK_BYTES) == 0);
    rc = pthread_create(&thread, &attr, look_up, lookup);
    must(pthread_attr_destroy(&attr) == 0);
    return rc;
}

static int resolve_name(const struct dial_target *target, const char *port, struct addrinfo **list,
                        struct dial_failure *failure)
{
    struct timespec until = {.tv_sec = (time_t)(target->until_ms / 1000),
                             .tv_nsec = target->until_ms % 1000 * NS_PER_MS};
    struct lookup *lookup = lookup_new(target->host, port);
    int rc = start_thread(lookup), error;
    bool abandoned;

    if (rc != 0) {
        lookup_free(lookup);
        return fail_system(failure, rc);
    }
    must(pthread_mutex_lock(&lookup->lock) == 0);
    while (!lookup->done && rc == 0)
        rc = pthread_cond_timedwait(&lookup->done_signal, &lookup->lock, &until);
    abandoned = lookup->abandoned = !lookup->done;
    error = lookup->error;
    *list = lookup->list;
    must(pthread_mutex_unlock(&lookup->lock) == 0);
    if (abandoned)
        return fail_late(failure);
    lookup_free(lookup);
    if (error == 0)
        return 0;
    failure->cause = gai_strerror(error);
    return -1;
}

/* An address costs no thread. */
int dial_look_up(const struct dial_target *target, struct addrinfo **list,
                 struct dial_failure *failure)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM};
    char port[8];

    must(snprintf(port, sizeof(port), "%u", target->port) < (int)sizeof(port));
    if (getaddrinfo(target->host, port, &hints, list) == 0)
        return 0;
    return resolve_name(target, port, list, failure);
}

/* ---- the connection ---- */

static int await_connection(int fd, int64_t until_ms, struct dial_failure *failure)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
    socklen_t size = sizeof(int);
    int ready, error = 0;

    do {
        int64_t now = clock_ms();

        if (now >= until_ms)
            return fail_late(failure);
        ready = poll(&poll_fd, 1, (int)MIN(until_ms - now, INT32_MAX));
    } while (ready == 0 || (ready < 0 && errno == EINTR));
    if (ready < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        error = errno;
    return error == 0 ? 0 : fail_system(failure, error);
}

static int dial_one(const struct sockaddr *address, socklen_t bytes, int64_t until_ms, int *out,
                    struct dial_failure *failure)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), rc = 0;

    if (fd < 0)
        return fail_system(failure, errno);
    if (connect(fd, address, bytes) < 0)
        rc = errno == EINPROGRESS ? await_connection(fd, until_ms, failure)
                                  : fail_system(failure, errno);
    if (rc < 0)
        (void)close(fd);
    else
        *out = fd;
    return rc;
}

static int dial_socket(const struct dial_target *target, int *fd, struct dial_failure *failure)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};

    if (strlen(target->socket) >= sizeof(un.sun_path))
        return fail_system(failure, ENAMETOOLONG);
    memcpy(un.sun_path, target->socket, strlen(target->socket));
    return dial_one((const struct sockaddr *)&un, sizeof(un), target->until_ms, fd, failure);
}

/* One that is silent leaves half of the time to those behind it. Of several failures a refusal is
 * told: somebody was there. */
static int dial_each(const struct addrinfo *list, int64_t until_ms, int *fd,
                     struct dial_failure *told)
{
    for (const struct addrinfo *at = list; at != NULL; at = at->ai_next) {
        struct dial_failure failure = {.stage = DIAL_CONNECT};
        int64_t now = clock_ms(), left = until_ms - MIN(until_ms, now);

        if (dial_one(at->ai_addr, at->ai_addrlen, at->ai_next != NULL ? now + left / 2 : until_ms,
                     fd, &failure) == 0)
            return 0;
        if (told->os_error != ECONNREFUSED)
            *told = failure;
    }
    return -1;
}

int dial(const struct dial_target *target, int *fd, struct dial_failure *failure)
{
    struct dial_failure told = {.stage = DIAL_LOOK_UP};
    struct addrinfo *list = NULL;
    int rc = -1;

    if (target->socket != NULL) {
        told.stage = DIAL_CONNECT;
        rc = dial_socket(target, fd, &told);
    } else if (dial_look_up(target, &list, &told) == 0) {
        rc = dial_each(list, target->until_ms, fd, &told);
        freeaddrinfo(list);
    }
    if (rc < 0)
        *failure = told;
    return rc;
}
