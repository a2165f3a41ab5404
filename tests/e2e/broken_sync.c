/* broken_sync.c - preloaded into a server: once SIGUSR2 came, fdatasync() and fsync() fail with
 * EIO. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t broken;

static void on_signal(int number)
{
    (void)number;
    broken = 1;
}

static int sync_or_fail(int fd, const char *name)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);

    if (!broken)
        return real(fd);
    errno = EIO;
    return -1;
}

int fdatasync(int fd)
{
    return sync_or_fail(fd, "fdatasync");
}

int fsync(int fd)
{
    return sync_or_fail(fd, "fsync");
}

__attribute__((constructor)) static void begin(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

    (void)sigaction(SIGUSR2, &action, NULL);
}
