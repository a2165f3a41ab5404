/*
 * lost_writes.c - preloaded into a server: on SIGUSR2 it loses what was not synced, and ends.
 *
 * Every pwrite() to a file whose name ends in ".wal" or is being made into one first saves what was
 * there; fdatasync() and fsync() forget what was saved for their file. On SIGUSR2 a thread puts the
 * saved bytes back, newest first, and kills the process: the log is then what a disk has after a
 * power cut that lost everything not yet synced.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define FILES_MAX 1024 /* descriptors looked at */

struct saved {
    struct saved *older;
    off_t offset;
    size_t bytes;
    uint8_t data[];
};

static struct saved *newest[FILES_MAX]; /* by descriptor */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static bool is_log(int fd)
{
    char link[64], path[4096];
    ssize_t length;

    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    length = readlink(link, path, sizeof(path) - 1);
    if (fd >= FILES_MAX || length <= 0)
        return false;
    path[length] = '\0';
    return strstr(path, "/wal") != NULL;
}

/* With the lock held. */
static void forget(int fd)
{
    while (fd < FILES_MAX && newest[fd] != NULL) {
        struct saved *saved = newest[fd];

        newest[fd] = saved->older;
        free(saved);
    }
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
    ssize_t (*real)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, "pwrite");
    struct saved *saved;
    ssize_t wrote;

    if (!is_log(fd))
        return real(fd, data, bytes, offset);
    saved = calloc(1, sizeof(*saved) + bytes);
    if (saved == NULL)
        abort();
    saved->offset = offset;
    saved->bytes = bytes;
    (void)!pread(fd, saved->data, bytes, offset); /* behind the end: zeros */
    (void)pthread_mutex_lock(&lock);
    saved->older = newest[fd];
    newest[fd] = saved;
    wrote = real(fd, data, bytes, offset);
    (void)pthread_mutex_unlock(&lock);
    return wrote;
}

ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t offset)
{
    return pwrite(fd, data, bytes, offset);
}

/* What is written while the real one runs may not be covered by it: only forget what was there. */
static int synced(int fd, const char *name)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    int rc = real(fd);

    (void)pthread_mutex_lock(&lock);
    if (rc == 0)
        forget(fd); /* the log has one writer: it does not write while it syncs */
    (void)pthread_mutex_unlock(&lock);
    return rc;
}

int fdatasync(int fd)
{
    return synced(fd, "fdatasync");
}

int fsync(int fd)
{
    return synced(fd, "fsync");
}

int close(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "close");

    if (fd < 0 || fd >= FILES_MAX || newest[fd] == NULL)
        return real(fd); /* a connection's must not wait for a write to the log */
    (void)pthread_mutex_lock(&lock);
    forget(fd);
    (void)pthread_mutex_unlock(&lock);
    return real(fd);
}

static void *wait_for_the_end(void *arg)
{
    ssize_t (*real)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, "pwrite");
    sigset_t *set = arg;
    int number;

    if (sigwait(set, &number) != 0)
        abort();
    (void)pthread_mutex_lock(&lock); /* and never let go: nothing more is written */
    for (int fd = 0; fd < FILES_MAX; fd++)
        for (struct saved *saved = newest[fd]; saved != NULL; saved = saved->older)
            (void)!real(fd, saved->data, saved->bytes, saved->offset);
    (void)kill(getpid(), SIGKILL);
    return NULL;
}

__attribute__((constructor)) static void begin(void)
{
    static sigset_t set;
    pthread_t thread;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGUSR2);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (pthread_create(&thread, NULL, wait_for_the_end, &set) != 0)
        abort();
}
