/*
 * log_output.h (edge) - open what --log-outputs names and hand it to log.h.
 * Names: default and stderr, stdout, systemd/journal (stderr, which the journal reads), or paths.
 * Thread: main, before the others start.
 */
#ifndef COMMON_BASE_LOG_OUTPUT_H
#define COMMON_BASE_LOG_OUTPUT_H

#include "common/base/err.h"
#include "common/base/limits.h"

struct log_outputs {
    int fds[LOG_OUTPUTS_MAX]; /* log.h borrows them as long as lines are written */
    size_t count;
    const char *file; /* the last that is a file, as it was named (borrowed); NULL: none */
    int file_fd;
};

/*
 * Open them (files: created 0600, appended to) and make log.h write there; doubles count once, and
 * /dev/null among them discards everything, as in etcd. ERR_IO, ERR_USAGE; then nothing is changed.
 */
int log_outputs_open(struct log_outputs *outputs, char *const names[], size_t count,
                     struct err *err) MUST_CHECK;
void log_outputs_close(struct log_outputs *outputs); /* back to stderr */

#endif
