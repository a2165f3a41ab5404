/* snapshot_open.c - see snapshot_open.h. */
#include "common/storage/snapshot_open.h"

#include "common/base/file.h"
#include "common/storage/backend_image.h"
#include "common/storage/bolt_file.h"
#include "common/storage/datadir.h"
#include "common/storage/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* A new file that nobody else has a name of; *fd keeps it. */
static int make_image_file(int *fd, struct err *err)
{
    const char *directory = getenv("TMPDIR");
    char *path = xasprintf("%s/etcd-snap.XXXXXX",
                           directory != NULL && directory[0] != '\0' ? directory : "/var/tmp");
    int rc = 0;

    *fd = mkostemp(path, O_CLOEXEC);
    if (*fd < 0 || unlink(path) < 0) {
        err_sys(err, errno, "make the temporary file %s; TMPDIR may name another place", path);
        file_close(fd);
        rc = -1;
    }
    free(path);
    return rc;
}

static int write_image(const char *path, int fd, struct err *err)
{
    const struct backend_options options = {.read_only = true};
    struct backend *backend = NULL;
    struct backend_read *read = NULL;
    struct backend_image image;
    int rc = -1;

    if (backend_open_lmdb(path, &options, &backend, err) < 0)
        return -1;
    if (backend_read_begin(backend, &read, err) == 0) {
        backend_image_init(&image, read);
        rc = bolt_file_write_to(&image.source, fd, path, err);
        backend_image_fini(&image);
    }
    backend_read_end(read);
    backend_close(backend);
    return rc;
}

/*
 * No server and no defrag from now on: LMDB itself is told not to lock, and they would write over
 * the pages it reads. *lock keeps it. The name is asked again: a defrag that has just ended put
 * another file there.
 */
static int lock_lmdb(const char *path, int *lock, struct err *err)
{
    struct stat locked, named;
    bool taken;

    *lock = open(path, O_RDONLY | O_CLOEXEC);
    if (*lock < 0) {
        err_sys(err, errno, "open %s", path);
        return -1;
    }
    /* another error: a file system without locks */
    taken = flock(*lock, LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK;
    if (taken && fstat(*lock, &locked) == 0 && stat(path, &named) == 0 &&
        locked.st_dev == named.st_dev && locked.st_ino == named.st_ino)
        return 0;
    err_set(err, ERR_LOCKED,
            "%s is in use by a running etcd; stop it, or take a snapshot of it with "
            "`snapshot save`",
            path);
    file_close(lock);
    return -1;
}

static int open_lmdb(const char *path, struct bolt **bolt, struct err *err)
{
    char *name;
    int lock, fd, rc;

    if (lock_lmdb(path, &lock, err) < 0)
        return -1;
    if (make_image_file(&fd, err) < 0) {
        file_close(&lock);
        return -1;
    }
    name = xasprintf("/proc/self/fd/%d", fd);
    rc = write_image(path, fd, err);
    file_close(&lock);
    if (rc == 0)
        rc = bolt_open_held(name, bolt, err);
    free(name);
    file_close(&fd); /* the map stays */
    return rc;
}

int snapshot_open(const char *path, struct bolt **bolt, struct err *err)
{
    enum datadir_db kind = DATADIR_DB_UNKNOWN;
    struct err other = ERR_INIT;
    int rc = bolt_open(path, bolt, err); /* also says that a server has it */

    if (rc == 0 || err->code != ERR_FORMAT ||
        datadir_db_kind(fs_posix(), path, &kind, &other) < 0 || kind != DATADIR_DB_LMDB)
        return rc;
    *err = ERR_INIT;
    return open_lmdb(path, bolt, err);
}
