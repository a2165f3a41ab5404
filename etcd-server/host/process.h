/*
 * process.h (edge) - what the kernel knows about this process, for process_* and os_fd_* of
 * /metrics. Thread: any.
 */
#ifndef ETCD_SERVER_HOST_PROCESS_H
#define ETCD_SERVER_HOST_PROCESS_H

#include "common/base/base.h"

/* What could not be learned is 0. */
struct process_usage {
    double cpu_seconds;
    double start_time_s; /* Unix time, whole seconds */
    uint64_t open_fds;
    uint64_t max_fds;
    uint64_t resident_bytes;
    uint64_t virtual_bytes;
    uint64_t virtual_max_bytes; /* UINT64_MAX: no limit */
};

/* Reads /proc/self; tens of microseconds, and one more per open descriptor. */
void process_usage(struct process_usage *usage);

/* Raise the limit of descriptors to the highest that is allowed, as Go programs do; returns it. */
uint64_t process_raise_fds(void);

#endif
