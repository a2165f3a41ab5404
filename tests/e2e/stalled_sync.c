/* stalled_sync.c - preloaded into a server: while the file named by STALL_FILE exists,
 * fdatasync() and fsync() do not return, as on a disk that has stopped. If there is something in
 * it, only those of files whose names end so. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static bool stalls(const char *file, int fd)
{
    char ending[64] = "", link[32], name[4096];
    int stall = open(file, O_RDONLY | O_CLOEXEC);
    ssize_t ending_bytes, bytes;

    if (stall < 0)
        return false;
    ending_bytes = read(stall, ending, sizeof(ending));
    close(stall);
    if (ending_bytes <= 0)
        return true;
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd); /* fits */
    bytes = readlink(link, name, sizeof(name));
    return bytes >= ending_bytes &&
           memcmp(name + bytes - ending_bytes, ending, (size_t)ending_bytes) == 0;
}

static int sync_when_it_moves(int fd, const char *name)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    const char *file = getenv("STALL_FILE");
    struct timespec pause = {.tv_nsec = 5000000};

    while (file != NULL && stalls(file, fd))
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
