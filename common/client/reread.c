/* reread.c - see reread.h. */
#include "common/client/reread.h"

#include "common/base/buf.h"
#include "common/base/file.h"
#include "common/base/limits.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int keep_copy(const char *path, struct slice content, int *fd, struct err *err)
{
    size_t done = 0;

    *fd = memfd_create("certificate", MFD_CLOEXEC);
    while (*fd >= 0 && done < content.size) {
        ssize_t wrote = write(*fd, content.data + done, content.size - done);

        if (wrote < 0 && errno != EINTR)
            break;
        done += wrote > 0 ? (size_t)wrote : 0;
    }
    if (*fd >= 0 && done == content.size)
        return 0;
    err_sys(err, errno, "keep what was read of %s", path);
    file_close(fd);
    return -1;
}

int reread_path(const char *path, char **again, int *fd, struct err *err)
{
    struct buf content = BUF_INIT(CLIENT_FILE_MAX);
    struct stat info;
    int rc = 0;

    *fd = -1;
    *again = path != NULL ? xstrdup(path) : NULL;
    if (path == NULL || stat(path, &info) < 0 || !(S_ISFIFO(info.st_mode) || S_ISCHR(info.st_mode)))
        return 0; /* who reads it says what is wrong with it */
    rc = file_read_all(path, &content, err);
    if (rc == 0)
        rc = keep_copy(path, buf_slice(&content), fd, err);
    free(*again);
    *again = rc == 0 ? xasprintf("/proc/self/fd/%d", *fd) : NULL;
    if (content.data != NULL)
        wipe(content.data, content.size);
    buf_free(&content);
    return rc;
}
