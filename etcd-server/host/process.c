/* process.c - see process.h. Fields of /proc/PID/stat and statm are those of proc(5). */
#include "etcd-server/host/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define STAT_BYTES 1024

static bool read_text(const char *path, char text[STAT_BYTES])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got;

    if (fd < 0)
        return false;
    got = read(fd, text, STAT_BYTES - 1);
    (void)close(fd);
    if (got <= 0)
        return false;
    text[got] = '\0';
    return true;
}

/* When the process began: its age in ticks since boot, set against the clocks of now. */
static double start_time(void)
{
    char text[STAT_BYTES], *at;
    unsigned long long ticks = 0;
    struct timespec up, now;
    long hertz = sysconf(_SC_CLK_TCK);

    if (hertz <= 0 || !read_text("/proc/self/stat", text))
        return 0;
    at = strrchr(text, ')'); /* the name may hold anything */
    for (int field = 2; at != NULL && field < 22; field++)
        at = strchr(at + 1, ' ');
    if (at == NULL || sscanf(at, " %llu", &ticks) != 1 || clock_gettime(CLOCK_BOOTTIME, &up) != 0 ||
        clock_gettime(CLOCK_REALTIME, &now) != 0)
        return 0;
    return (double)(now.tv_sec - up.tv_sec) + (double)ticks / (double)hertz;
}

static uint64_t count_fds(void)
{
    DIR *directory = opendir("/proc/self/fd");
    const struct dirent *entry;
    uint64_t count = 0;

    if (directory == NULL)
        return 0;
    while ((entry = readdir(directory)) != NULL)
        if (entry->d_name[0] != '.')
            count++;
    (void)closedir(directory);
    return count != 0 ? count - 1 : 0; /* without the one this needs */
}

void process_usage(struct process_usage *usage)
{
    unsigned long long pages = 0, resident = 0;
    struct rusage used;
    struct rlimit limit;
    char text[STAT_BYTES];
    long page_bytes = sysconf(_SC_PAGESIZE);

    *usage = (struct process_usage){.start_time_s = start_time(), .open_fds = count_fds()};
    if (getrusage(RUSAGE_SELF, &used) == 0)
        usage->cpu_seconds = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                             (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1000000;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        usage->max_fds = limit.rlim_cur;
    if (getrlimit(RLIMIT_AS, &limit) == 0)
        usage->virtual_max_bytes = limit.rlim_cur;
    if (page_bytes > 0 && read_text("/proc/self/statm", text) &&
        sscanf(text, "%llu %llu", &pages, &resident) == 2) {
        usage->virtual_bytes = pages * (uint64_t)page_bytes;
        usage->resident_bytes = resident * (uint64_t)page_bytes;
    }
}

uint64_t process_raise_fds(void)
{
    struct rlimit limit, raised;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 0;
    raised = (struct rlimit){limit.rlim_max, limit.rlim_max};
    return setrlimit(RLIMIT_NOFILE, &raised) == 0 ? raised.rlim_cur : limit.rlim_cur;
}
