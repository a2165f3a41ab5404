/* log_output.c - see log_output.h. O_APPEND, so that lines of threads do not overwrite
 * each other. */
#include "common/base/log_output.h"

#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static void close_files(struct log_outputs *outputs)
{
    for (size_t i = 0; i < outputs->count; i++) {
        if (outputs->fds[i] > STDERR_FILENO)
            (void)close(outputs->fds[i]); /* every line has been handed over already */
    }
    outputs->count = 0;
    outputs->file = NULL;
}

static int open_one(const char *name, int *fd, struct err *err)
{
    if (strcmp(name, "default") == 0 || strcmp(name, "stderr") == 0 ||
        strcmp(name, "systemd/journal") == 0) {
        *fd = STDERR_FILENO;
        return 0;
    }
    if (strcmp(name, "stdout") == 0) {
        *fd = STDOUT_FILENO;
        return 0;
    }
    *fd = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
               0666); /* as etcd: the umask decides who may read; no secrets are logged */
    if (*fd < 0) {
        err_sys(err, errno, "--log-outputs: cannot open %s", name);
        return -1;
    }
    return 0;
}

/* Was this output named before? */
static bool is_double(char *const names[], size_t at, const struct log_outputs *outputs, int fd)
{
    for (size_t i = 0; i < at; i++) {
        if (strcmp(names[i], names[at]) == 0)
            return true;
    }
    for (size_t i = 0; i < outputs->count && fd <= STDERR_FILENO; i++) {
        if (outputs->fds[i] == fd)
            return true;
    }
    return false;
}

int log_outputs_open(struct log_outputs *outputs, char *const names[], size_t count,
                     struct err *err)
{
    struct log_outputs opened = {.count = 0};
    bool discard = false;

    if (count > LOG_OUTPUTS_MAX) {
        err_set(err, ERR_USAGE, "--log-outputs names %zu outputs, at most %lu are possible", count,
                LOG_OUTPUTS_MAX);
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        int fd = -1;

        if (strcmp(names[i], "/dev/null") == 0) {
            discard = true;
            continue;
        }
        if (open_one(names[i], &fd, err) < 0) {
            close_files(&opened);
            return -1;
        }
        if (!is_double(names, i, &opened, fd)) {
            opened.fds[opened.count++] = fd;
            if (fd > STDERR_FILENO) {
                opened.file = names[i];
                opened.file_fd = fd;
            }
        } else if (fd > STDERR_FILENO)
            (void)close(fd); /* nothing was written to it */
    }
    if (discard)
        close_files(&opened);
    *outputs = opened;
    log_output(outputs->fds, outputs->count);
    return 0;
}

void log_outputs_close(struct log_outputs *outputs)
{
    static const int stderr_only[] = {STDERR_FILENO};

    log_output(stderr_only, 1);
    close_files(outputs);
}
