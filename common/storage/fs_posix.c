/*
 * fs_posix.c (edge) - fs.h on real files. Every descriptor is close-on-exec; EINTR is retried.
 *
 * lock() takes two locks on the one descriptor, because etcd knows both families: its WAL segments
 * carry an open-file-description lock, its bbolt file a flock. Neither sees the other on Linux, so
 * a file that we hold conflicts with a real etcd whichever it asks for, and with a server of ours.
 */
#include "common/base/file.h"
#include "common/storage/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct posix_file {
    struct fs_file file;
    int fd;
    char *path; /* owned; for error texts */
};

static struct posix_file *posix_of(struct fs_file *file)
{
    return CONTAINER_OF(file, struct posix_file, file);
}

/* What a quota or a limit does not allow is what a full disk has no room for. */
static int failed(int sys, const char *what, const char *path, struct err *err)
{
    err_sys(err, sys, "%s %s", what, path);
    if (sys == EDQUOT || sys == EFBIG)
        err->sys = ENOSPC;
    return -1;
}

static void posix_close(struct fs_file *file)
{
    struct posix_file *posix = posix_of(file);

    file_close(&posix->fd); /* what mattered was synced before; the locks go with it */
    free(posix->path);
    free(posix);
}

static int posix_read_at(struct fs_file *file, uint64_t offset, void *data, size_t bytes,
                         size_t *got, struct err *err)
{
    struct posix_file *posix = posix_of(file);
    size_t done = 0;

    while (done < bytes) {
        ssize_t more =
            pread(posix->fd, (uint8_t *)data + done, bytes - done, (off_t)(offset + done));

        if (more < 0 && errno == EINTR)
            continue;
        if (more < 0)
            return failed(errno, "read", posix->path, err);
        if (more == 0)
            break;
        done += (size_t)more;
    }
    *got = done;
    return 0;
}

static int posix_write_at(struct fs_file *file, uint64_t offset, struct slice data, struct err *err)
{
    struct posix_file *posix = posix_of(file);
    size_t done = 0;

    while (done < data.size) {
        ssize_t wrote =
            pwrite(posix->fd, data.data + done, data.size - done, (off_t)(offset + done));

        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            return failed(errno, "write", posix->path, err);
        if (wrote == 0)
            return failed(ENOSPC, "write", posix->path, err);
        done += (size_t)wrote;
    }
    return 0;
}

static int posix_sync(struct fs_file *file, struct err *err)
{
    struct posix_file *posix = posix_of(file);

    if (fdatasync(posix->fd) < 0)
        return failed(errno, "sync", posix->path, err);
    return 0;
}

static int posix_size(struct fs_file *file, uint64_t *bytes, struct err *err)
{
    struct posix_file *posix = posix_of(file);
    struct stat info;

    if (fstat(posix->fd, &info) < 0)
        return failed(errno, "stat", posix->path, err);
    *bytes = (uint64_t)info.st_size;
    return 0;
}

static int posix_truncate(struct fs_file *file, uint64_t bytes, struct err *err)
{
    struct posix_file *posix = posix_of(file);

    if (ftruncate(posix->fd, (off_t)bytes) < 0)
        return failed(errno, "truncate", posix->path, err);
    return 0;
}

static int posix_allocate(struct fs_file *file, uint64_t bytes, struct err *err)
{
    struct posix_file *posix = posix_of(file);
    uint64_t size;

    if (posix_size(file, &size, err) < 0)
        return -1;
    if (size >= bytes)
        return 0;
    while (fallocate(posix->fd, 0, 0, (off_t)bytes) < 0) {
        if (errno == EINTR)
            continue;
        if (errno != EOPNOTSUPP && errno != ENOSYS)
            return failed(errno, "allocate space for", posix->path, err);
        return posix_truncate(file, bytes, err); /* this file system cannot reserve */
    }
    return 0;
}

static int posix_lock(struct fs_file *file, struct err *err)
{
    struct posix_file *posix = posix_of(file);
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int taken = fcntl(posix->fd, F_OFD_SETLK, &whole);

    if (taken == 0)
        taken = flock(posix->fd, LOCK_EX | LOCK_NB);
    if (taken == 0)
        return 0;
    if (errno != EAGAIN && errno != EACCES && errno != EWOULDBLOCK)
        return failed(errno, "lock", posix->path, err);
    err_set(err, ERR_LOCKED,
            "%s: locked by another process; stop the server that uses this data directory first",
            posix->path);
    return -1;
}

static int posix_open(struct fs *fs, const char *path, int flags, unsigned mode,
                      struct fs_file **file, struct err *err)
{
    bool reads = (flags & FS_READ) != 0, writes = (flags & FS_WRITE) != 0;
    int how = O_CLOEXEC | (writes ? (reads ? O_RDWR : O_WRONLY) : O_RDONLY);
    struct posix_file *posix;
    int fd;

    how |= (flags & FS_CREATE) != 0 ? O_CREAT : 0;
    how |= (flags & FS_EXCLUSIVE) != 0 ? O_EXCL : 0;
    how |= (flags & FS_TRUNCATE) != 0 ? O_TRUNC : 0;
    do
        fd = open(path, how, (mode_t)mode);
    while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        int sys = errno;

        (void)failed(sys, "open", path, err); /* sets the error */
        if (sys == EEXIST && (flags & FS_EXCLUSIVE) != 0)
            err->code = ERR_EXISTS;
        return -1;
    }
    posix = xalloc(sizeof(*posix));
    *posix = (struct posix_file){.file = {fs->ops}, .fd = fd, .path = xstrdup(path)};
    *file = &posix->file;
    return 0;
}

static int posix_rename(struct fs *fs, const char *from, const char *to, struct err *err)
{
    (void)fs;
    if (rename(from, to) < 0) {
        err_sys(err, errno, "rename %s to %s", from, to);
        return -1;
    }
    return 0;
}

static int posix_unlink(struct fs *fs, const char *path, struct err *err)
{
    (void)fs;
    if (unlink(path) < 0 && errno != ENOENT)
        return failed(errno, "remove", path, err);
    return 0;
}

static int posix_mkdir(struct fs *fs, const char *path, unsigned mode, struct err *err)
{
    (void)fs;
    if (mkdir(path, (mode_t)mode) < 0 && errno != EEXIST)
        return failed(errno, "mkdir", path, err);
    return 0;
}

static int posix_remove_tree(struct fs *fs, const char *path, struct err *err)
{
    (void)fs;
    return file_remove_tree(path, err);
}

static int posix_sync_dir(struct fs *fs, const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;

    (void)fs;
    if (fd < 0 || fsync(fd) < 0)
        rc = failed(errno, "sync directory", path, err);
    file_close(&fd);
    return rc;
}

static bool posix_exists(struct fs *fs, const char *path)
{
    (void)fs;
    return file_exists(path);
}

static int not_dots(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int posix_list(struct fs *fs, const char *path, fs_list_fn *each, void *arg, struct err *err)
{
    struct dirent **names = NULL;
    int count = scandir(path, &names, not_dots, by_bytes), rc = 0;

    (void)fs;
    if (count < 0)
        return failed(errno, "list", path, err);
    for (int at = 0; at < count; at++) {
        if (rc == 0)
            rc = each(arg, names[at]->d_name, err);
        free(names[at]);
    }
    free(names);
    return rc;
}

struct fs *fs_posix(void)
{
    static const struct fs_ops ops = {
        .open = posix_open,
        .close = posix_close,
        .read_at = posix_read_at,
        .write_at = posix_write_at,
        .sync = posix_sync,
        .size = posix_size,
        .truncate = posix_truncate,
        .allocate = posix_allocate,
        .lock = posix_lock,
        .rename = posix_rename,
        .unlink = posix_unlink,
        .mkdir = posix_mkdir,
        .remove_tree = posix_remove_tree,
        .sync_dir = posix_sync_dir,
        .exists = posix_exists,
        .list = posix_list,
    };
    static struct fs posix = {&ops}; /* never written to: the interface just takes no const */

    return &posix;
}
