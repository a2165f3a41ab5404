/* file.c - see file.h. */
#include "common/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_READ_STEP 65536
#define TREE_DEPTH_MAX 32

void file_close(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd); /* what mattered was synced before */
    *fd = -1;
}

bool file_exists(const char *path)
{
    struct stat info;

    return lstat(path, &info) == 0;
}

/* One in a directory waits for a writer who may never come; those of a shell's <(...) are links. */
static bool is_named_pipe(const char *path)
{
    struct stat info;

    return lstat(path, &info) == 0 && S_ISFIFO(info.st_mode);
}

int file_read_all(const char *path, struct buf *out, struct err *err)
{
    int fd, rc = -1;

    if (is_named_pipe(path)) {
        err_set(err, ERR_IO, "%s is a named pipe; put a regular file there", path);
        return -1;
    }
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        err_sys(err, errno, "open %s", path);
        return -1;
    }
    for (;;) {
        uint8_t *room = buf_reserve(out, MIN(FILE_READ_STEP, out->max - buf_used(out)));
        size_t room_bytes = MIN(FILE_READ_STEP, out->max - buf_used(out));
        uint8_t beyond;
        ssize_t got = room_bytes != 0 ? read(fd, room, room_bytes) : read(fd, &beyond, 1);

        if (got < 0) {
            if (errno == EINTR)
                continue;
            err_sys(err, errno, "read %s", path);
            goto out;
        }
        if (got == 0)
            break;
        if (room_bytes == 0) {
            err_set(err, ERR_NO_MEMORY, "%s: larger than the %zu bytes allowed here", path,
                    out->max);
            goto out;
        }
        buf_advance(out, (size_t)got);
    }
    rc = 0;
out:
    file_close(&fd);
    return rc;
}

static int write_all(int fd, struct slice content)
{
    size_t done = 0;

    while (done < content.size) {
        ssize_t wrote = write(fd, content.data + done, content.size - done);

        if (wrote < 0 && errno != EINTR)
            return -1;
        done += wrote > 0 ? (size_t)wrote : 0;
    }
    return 0;
}

int file_sync_parent(const char *path, struct err *err)
{
    const char *slash = strrchr(path, '/');
    char *directory = slash == NULL ? xstrdup(".") : xstrndup(path, MAX((size_t)(slash - path), 1));
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;

    if (fd < 0 || fsync(fd) < 0) {
        err_sys(err, errno, "sync directory %s", directory);
        rc = -1;
    }
    file_close(&fd);
    free(directory);
    return rc;
}

int file_stage(const char *path, struct slice content, unsigned mode, char **temporary,
               struct err *err)
{
    const char *slash = strrchr(path, '/');
    int directory_bytes = slash == NULL ? 0 : (int)(slash - path + 1);
    int fd, rc = 0;

    *temporary = xasprintf("%.*s.%s.XXXXXX", directory_bytes, path, path + directory_bytes);
    fd = mkostemp(*temporary, O_CLOEXEC);
    if (fd < 0) {
        err_sys(err, errno, "create a temporary file beside %s", path);
        rc = -1;
    } else if (write_all(fd, content) < 0 || fchmod(fd, mode) < 0 || fsync(fd) < 0) {
        err_sys(err, errno, "write %s", path);
        (void)unlink(*temporary);
        rc = -1;
    }
    file_close(&fd);
    if (rc < 0) {
        free(*temporary);
        *temporary = NULL;
    }
    return rc;
}

int file_write_atomic(const char *path, struct slice content, unsigned mode, bool replace,
                      struct err *err)
{
    char *temporary;
    int rc = -1;

    if (file_stage(path, content, mode, &temporary, err) < 0)
        return -1;
    if (!replace && link(temporary, path) < 0) {
        if (errno == EEXIST)
            err_set(err, ERR_EXISTS, "%s exists already", path);
        else
            err_sys(err, errno, "create %s", path);
        goto out;
    }
    if (replace && rename(temporary, path) < 0) {
        err_sys(err, errno, "replace %s", path);
        goto out;
    }
    rc = file_sync_parent(path, err);
out:
    (void)unlink(temporary); /* gone already after a rename */
    free(temporary);
    return rc;
}

static void note_dir(struct file_dirs *dirs, const char *path)
{
    dirs->paths = xrealloc(dirs->paths, (dirs->count + 1) * sizeof(*dirs->paths));
    dirs->paths[dirs->count++] = xstrdup(path);
}

int file_make_noted_dirs(const char *path, unsigned mode, struct file_dirs *made, struct err *err)
{
    char *copy = xstrdup(path);
    int rc = 0;

    for (char *at = copy + 1; rc == 0; at++) {
        bool last = *at == '\0';

        if (!last && *at != '/')
            continue;
        *at = '\0';
        if (mkdir(copy, mode) == 0) {
            note_dir(made, copy);
        } else if (errno != EEXIST) {
            err_sys(err, errno, "mkdir %s", copy);
            rc = -1;
        }
        if (last)
            break;
        *at = '/';
    }
    if (rc == 0) {
        struct stat info;

        if (stat(path, &info) < 0 || !S_ISDIR(info.st_mode)) {
            err_sys(err, ENOTDIR, "mkdir %s", path);
            rc = -1;
        }
    }
    free(copy);
    return rc;
}

int file_make_dirs(const char *path, unsigned mode, struct err *err)
{
    struct file_dirs made = {0};
    int rc = file_make_noted_dirs(path, mode, &made, err);

    file_dirs_fini(&made);
    return rc;
}

void file_dirs_add(struct file_dirs *dirs, const struct file_dirs *more)
{
    for (size_t i = 0; i < more->count; i++)
        note_dir(dirs, more->paths[i]);
}

int file_dirs_sync(const struct file_dirs *dirs, struct err *err)
{
    for (size_t i = dirs->count; i-- > 0;)
        if (file_sync_parent(dirs->paths[i], err) < 0)
            return -1;
    return 0;
}

void file_dirs_remove(const struct file_dirs *dirs)
{
    for (size_t i = dirs->count; i-- > 0;)
        (void)rmdir(dirs->paths[i]); /* something in it: it is somebody's */
}

void file_dirs_fini(struct file_dirs *dirs)
{
    for (size_t i = 0; i < dirs->count; i++)
        free(dirs->paths[i]);
    free(dirs->paths);
    *dirs = (struct file_dirs){0};
}

static int remove_in(int parent, const char *name, unsigned depth)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), rc = 0;
    DIR *directory;
    struct dirent *entry;

    if (fd < 0) /* not a directory, or not there: unlinkat() tells */
        return unlinkat(parent, name, 0) < 0 && errno != ENOENT ? -1 : 0;
    directory = depth < TREE_DEPTH_MAX ? fdopendir(fd) : NULL;
    if (directory == NULL) {
        file_close(&fd);
        errno = depth < TREE_DEPTH_MAX ? errno : ELOOP;
        return -1;
    }
    while (rc == 0 && (entry = readdir(directory)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = remove_in(dirfd(directory), entry->d_name, depth + 1);
    (void)closedir(directory);
    return rc == 0 ? unlinkat(parent, name, AT_REMOVEDIR) : -1;
}

int file_remove_tree(const char *path, struct err *err)
{
    if (remove_in(AT_FDCWD, path, 0) < 0) {
        err_sys(err, errno, "remove %s", path);
        return -1;
    }
    return 0;
}
