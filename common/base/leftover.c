/*
 * leftover.c - see leftover.h. The thread that waits takes the lock when a signal has come and
 * never gives it back: whoever holds it finishes what it does, and nobody gets any further than to
 * the next leftover_hold() or leftover_end().
 */
#include "common/base/leftover.h"
#include "common/base/file.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define REMOVE_TRIES 100 /* while others still put something into it */

struct leftover {
    sigset_t before; /* what the caller blocked */
    int signals, ended;
    pthread_t thread;
    pthread_mutex_t lock;      /* guards what follows */
    char *paths[LEFTOVER_MAX]; /* owned; NULL: free */
    struct file_dirs dirs;
};

static _Noreturn void die(int number)
{
    sigset_t only;

    (void)signal(number, SIG_DFL);
    (void)sigemptyset(&only);
    (void)sigaddset(&only, number);
    (void)raise(number);
    (void)pthread_sigmask(SIG_UNBLOCK, &only, NULL);
    _exit(128 + number);
}

static void remove_all(struct leftover *leftover)
{
    struct err ignored = ERR_INIT;

    for (size_t i = 0; i < LEFTOVER_MAX; i++) {
        int tries = REMOVE_TRIES;

        while (leftover->paths[i] != NULL && tries-- > 0 &&
               file_remove_tree(leftover->paths[i], &ignored) < 0)
            continue;
    }
    file_dirs_remove(&leftover->dirs);
}

static void *wait_for_signal(void *arg)
{
    struct leftover *leftover = arg;
    struct pollfd wait[2] = {{.fd = leftover->signals, .events = POLLIN},
                             {.fd = leftover->ended, .events = POLLIN}};
    struct signalfd_siginfo info;

    while (poll(wait, 2, -1) < 0)
        must(errno == EINTR);
    if (wait[0].revents == 0 || read(leftover->signals, &info, sizeof(info)) != sizeof(info))
        return NULL;
    must(pthread_mutex_lock(&leftover->lock) == 0);
    remove_all(leftover);
    die((int)info.ssi_signo);
}

/* Those that would end the program. */
static void ending_signals(sigset_t *set)
{
    static const int numbers[] = {SIGHUP, SIGINT, SIGTERM};

    (void)sigemptyset(set);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        struct sigaction action;

        if (sigaction(numbers[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
            (void)sigaddset(set, numbers[i]);
    }
}

int leftover_begin(struct leftover **out, struct err *err)
{
    struct leftover *leftover = xalloc(sizeof(*leftover));
    int error = 0;
    sigset_t set;

    ending_signals(&set);
    must(pthread_mutex_init(&leftover->lock, NULL) == 0);
    leftover->ended = -1;
    leftover->signals = signalfd(-1, &set, SFD_CLOEXEC);
    if (leftover->signals >= 0)
        leftover->ended = eventfd(0, EFD_CLOEXEC);
    must(pthread_sigmask(SIG_BLOCK, &set, &leftover->before) == 0);
    if (leftover->ended < 0)
        error = errno;
    else
        error = pthread_create(&leftover->thread, NULL, wait_for_signal, leftover);
    if (error == 0) {
        *out = leftover;
        return 0;
    }
    err_sys(err, error, "wait for signals");
    must(pthread_sigmask(SIG_SETMASK, &leftover->before, NULL) == 0);
    file_close(&leftover->signals);
    file_close(&leftover->ended);
    (void)pthread_mutex_destroy(&leftover->lock);
    free(leftover);
    return -1;
}

void leftover_end(struct leftover *leftover)
{
    const uint64_t one = 1;

    if (leftover == NULL)
        return;
    must(write(leftover->ended, &one, sizeof(one)) == (ssize_t)sizeof(one));
    must(pthread_join(leftover->thread, NULL) == 0);
    file_close(&leftover->signals);
    file_close(&leftover->ended);
    for (size_t i = 0; i < LEFTOVER_MAX; i++)
        free(leftover->paths[i]);
    file_dirs_fini(&leftover->dirs);
    (void)pthread_mutex_destroy(&leftover->lock);
    must(pthread_sigmask(SIG_SETMASK, &leftover->before, NULL) == 0);
    free(leftover);
}

void leftover_hold(struct leftover *leftover)
{
    if (leftover != NULL)
        must(pthread_mutex_lock(&leftover->lock) == 0);
}

void leftover_release(struct leftover *leftover)
{
    if (leftover != NULL)
        must(pthread_mutex_unlock(&leftover->lock) == 0);
}

void leftover_add(struct leftover *leftover, const char *path)
{
    char *copy = leftover != NULL ? xstrdup(path) : NULL;

    for (size_t i = 0; copy != NULL && i < LEFTOVER_MAX; i++) {
        if (leftover->paths[i] == NULL) {
            leftover->paths[i] = copy;
            copy = NULL;
        }
    }
    must(copy == NULL); /* there was room */
}

void leftover_add_dirs(struct leftover *leftover, const struct file_dirs *dirs)
{
    if (leftover != NULL)
        file_dirs_add(&leftover->dirs, dirs);
}

void leftover_forget(struct leftover *leftover, const char *path)
{
    for (size_t i = 0; leftover != NULL && path != NULL && i < LEFTOVER_MAX; i++) {
        if (leftover->paths[i] != NULL && strcmp(leftover->paths[i], path) == 0) {
            free(leftover->paths[i]);
            leftover->paths[i] = NULL;
        }
    }
}
