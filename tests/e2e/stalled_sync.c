/* stalled_sync.c - preloaded into a server: while the file named by STALL_FILE exists,
 * fdatasync() and fsync() do not return, as on a disk that has stopped. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static int sync_when_it_moves(int fd, const char *name)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    const char *file = getenv("STALL_FILE");
    struct timespec pause = {.tv_nsec = 5000000};

    while (file != NULL && access(file, F_OK) == 0)
        (void)nanosleep(&pause, NULL);
    return real(fd);
}

int fdatasync(int fd)
{
    return sync_when_it_moves(fd, "fdatasync");
}

int fsync(int fd)
{
    return sync_when_it_moves(fd, "fsync");
}
