/* bolt_file.c - see bolt_file.h. */
#include "common/storage/bolt_file.h"

#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

struct db_file {
    int fd;
    const char *path;
};

static int db_sink(void *arg, struct buf *chunk, struct err *err)
{
    struct db_file *file = arg;
    struct slice bytes = buf_slice(chunk);
    size_t done = 0;

    while (done < bytes.size) {
        ssize_t wrote = write(file->fd, bytes.data + done, bytes.size - done);

        if (wrote < 0 && errno != EINTR) {
            err_sys(err, errno, "write %s", file->path);
            return -1;
        }
        done += wrote > 0 ? (size_t)wrote : 0;
    }
    return 0;
}

static int write_image(struct bolt_source *source, uint32_t page_bytes, struct db_file *file,
                       struct err *err)
{
    struct bolt_write_options options = {.page_bytes = page_bytes, .chunk_bytes = MIB};
    struct bolt_plan plan;

    if (bolt_plan(source, &options, &plan, err) < 0)
        return -1;
    return bolt_write(source, &plan, db_sink, file, err);
}

int bolt_file_write_to(struct bolt_source *source, int fd, const char *name, struct err *err)
{
    struct db_file file = {.fd = fd, .path = name};

    return write_image(source, 0, &file, err);
}

int bolt_file_write(struct bolt_source *source, uint32_t page_bytes, const char *path,
                    struct err *err)
{
    struct db_file file = {.path = path};
    int rc = -1;

    file.fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file.fd < 0) {
        err_sys(err, errno, "create %s", path);
        return -1;
    }
    if (write_image(source, page_bytes, &file, err) < 0)
        goto out;
    if (fsync(file.fd) < 0) {
        err_sys(err, errno, "sync %s", path);
        goto out;
    }
    rc = 0;
out:
    file_close(&file.fd);
    return rc;
}
