/*
 * snapshot_save.c (edge) - see snapshot_save.h. The last 32 bytes received are held back from the
 * hash: nobody knows that they are the hash before the end.
 */
#include "common/storage/snapshot_save.h"
#include "common/base/file.h"
#include "common/storage/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define WRITE_BACK_BYTES (4ULL * 1024 * 1024)

struct snapshot_save {
    char *path, *part; /* owned */
    int fd;
    uint64_t bytes;
    uint64_t written_back;      /* asked of the kernel so far */
    uint8_t tail[SHA256_BYTES]; /* received, written, not hashed yet */
    size_t tail_bytes;
    struct sha256 *sum; /* owned */
};

int snapshot_save_begin(const char *path, struct snapshot_save **out, struct err *err)
{
    struct snapshot_save *save = xalloc(sizeof(*save));
    struct stat info;

    save->path = xstrdup(path);
    save->part = xasprintf("%s.part", path);
    save->sum = sha256_new();
    save->fd = -1;
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
        err_set(err, ERR_USAGE, "could not open %s: it is a directory; name a file in it", path);
        goto failed;
    }
    save->fd = open(save->part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (save->fd < 0) {
        err_sys(err, errno, "could not open %s", save->part);
        goto failed_unopened;
    }
    if (fchmod(save->fd, 0600) < 0) { /* an older one may have another mode */
        err_sys(err, errno, "chmod 0600 %s", save->part);
        goto failed;
    }
    *out = save;
    return 0;
failed_unopened:
    free(save->part); /* not ours to remove */
    save->part = NULL;
failed:
    snapshot_save_abort(save);
    return -1;
}

/* Pass on to the hash all but the newest SHA256_BYTES. */
static void hash_behind(struct snapshot_save *save, struct slice bytes)
{
    uint8_t joined[2 * SHA256_BYTES];
    size_t old, fresh = MIN(bytes.size, SHA256_BYTES);

    if (bytes.size > SHA256_BYTES) { /* the held ones and most of the new ones are image */
        sha256_add(save->sum, slice_of(save->tail, save->tail_bytes));
        sha256_add(save->sum, slice_of(bytes.data, bytes.size - SHA256_BYTES));
        save->tail_bytes = 0;
    }
    memcpy(joined, save->tail, save->tail_bytes);
    memcpy(joined + save->tail_bytes, bytes.data + (bytes.size - fresh), fresh);
    old = save->tail_bytes + fresh > SHA256_BYTES ? save->tail_bytes + fresh - SHA256_BYTES : 0;
    sha256_add(save->sum, slice_of(joined, old));
    save->tail_bytes = save->tail_bytes + fresh - old;
    memcpy(save->tail, joined + old, save->tail_bytes);
}

int snapshot_save_add(struct snapshot_save *save, struct slice bytes, struct err *err)
{
    size_t done = 0;

    if (bytes.size == 0)
        return 0;
    while (done < bytes.size) {
        ssize_t wrote = write(save->fd, bytes.data + done, bytes.size - done);

        if (wrote < 0 && errno != EINTR) {
            err_sys(err, errno, "write %s", save->part);
            return -1;
        }
        done += wrote > 0 ? (size_t)wrote : 0;
    }
    save->bytes += bytes.size;
    /* The disk begins now, not at the fsync; that is a hint, only the fsync promises anything. */
    if (save->bytes - save->written_back >= WRITE_BACK_BYTES) {
        (void)sync_file_range(save->fd, (off_t)save->written_back,
                              (off_t)(save->bytes - save->written_back), SYNC_FILE_RANGE_WRITE);
        save->written_back = save->bytes;
    }
    hash_behind(save, bytes);
    return 0;
}

uint64_t snapshot_save_bytes(const struct snapshot_save *save)
{
    return save->bytes;
}

static int check_whole(struct snapshot_save *save, struct err *err)
{
    uint8_t hash[SHA256_BYTES];

    if (save->bytes <= SHA256_BYTES || save->bytes % SNAPSHOT_SECTOR_BYTES != SHA256_BYTES) {
        err_set(err, ERR_TORN,
                "sha256 checksum not found [bytes: %" PRIu64
                "]: the stream was cut short; save the snapshot again",
                save->bytes);
        return -1;
    }
    sha256_end(save->sum, hash);
    if (memcmp(hash, save->tail, SHA256_BYTES) != 0) {
        err_set(err, ERR_CHECKSUM,
                "sha256 of the %" PRIu64 " bytes received differs from the one the server sent: "
                "they were damaged on the way; save the snapshot again",
                save->bytes - SHA256_BYTES);
        return -1;
    }
    return 0;
}

int snapshot_save_finish(struct snapshot_save *save, struct err *err)
{
    if (check_whole(save, err) < 0)
        goto failed;
    if (fsync(save->fd) < 0) {
        err_sys(err, errno, "sync %s", save->part);
        goto failed;
    }
    if (rename(save->part, save->path) < 0) {
        err_sys(err, errno, "could not rename %s to %s", save->part, save->path);
        goto failed;
    }
    free(save->part);
    save->part = NULL; /* in place: nothing to remove any more */
    if (file_sync_parent(save->path, err) < 0)
        goto failed;
    snapshot_save_abort(save);
    return 0;
failed:
    snapshot_save_abort(save);
    return -1;
}

void snapshot_save_abort(struct snapshot_save *save)
{
    if (save == NULL)
        return;
    file_close(&save->fd);
    if (save->part != NULL)
        (void)unlink(save->part); /* best effort; the next save overwrites it */
    free(save->part);
    free(save->path);
    sha256_free(save->sum);
    free(save);
}
