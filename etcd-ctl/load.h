/*
 * load.h - many clients that put keys at once, and how long each put took: the work of `check`.
 * Thread: main; a thread for each client while it runs.
 */
#ifndef ETCD_CTL_LOAD_H
#define ETCD_CTL_LOAD_H

#include "etcd-ctl/ctl.h"

#define LOAD_ERRORS_MAX 16 /* different ones that are told apart */

struct load {
    const char *prefix; /* of the keys; borrowed */
    size_t clients;
    size_t key_bytes, value_bytes; /* key_bytes without the prefix */
    uint64_t rate;                 /* puts in a second, all clients together; 0 = no limit */
    uint64_t puts;                 /* to do; 0 = until duration_ms is over */
    int64_t duration_ms;           /* 0 = until the puts are done */
};

struct load_error {
    char text[ERR_TEXT_MAX];
    uint64_t count;
};

struct load_result {
    uint64_t puts;    /* that succeeded */
    double elapsed_s; /* from the first to the end of the last */
    double slowest_s; /* of those that succeeded, as is the next */
    double stddev_s;
    struct load_error errors[LOAD_ERRORS_MAX];
    size_t error_count;
    uint64_t failed; /* puts that did not succeed */
    bool stopped;    /* SIGINT or SIGTERM came before the end */
};

/* While it runs, every PROGRESS_EVERY_MS: `done` of load.puts or load.duration_ms. */
typedef void load_progress_fn(void *arg, uint64_t done, int64_t elapsed_ms);

/* Make the clients and run. 0, or the exit code with everything said (no clients could be made). */
int load_run(struct ctl *ctl, const struct load *load, load_progress_fn *progress, void *arg,
             struct load_result *result) MUST_CHECK;

#endif
