/*
 * snapshot_save.c (edge) - see snapshot_save.h.
 *
 *   who receives: into a block -> full blocks -> a thread that writes, a thread that hashes
 *   ... -> the last part -> fsync, rename
 *
 * With a CRC to come nobody hashes: who receives sums up what has just come. The last 32 bytes
 * received are held back from the hash: nobody knows that they are the hash before the end. Blocks
 * go past the page cache (O_DIRECT): the fsync has nothing left to write, and a backup does not
 * push the pages of a server on this machine out of memory. Where the file system has no such thing
 * they are written as usual, and the disk is asked to begin at once. The threads are begun with the
 * first full block; one is free again when both are done with it.
 */
#include "common/storage/snapshot_save.h"
#include "common/base/crc32c.h"
#include "common/base/file.h"
#include "common/base/limits.h"
#include "common/storage/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK_BYTES (512UL * KIB)
#define BLOCKS 4
#define BLOCK_ALIGNMENT 4096UL      /* of memory, offset and length for O_DIRECT */
#define ARENA_ALIGNMENT (2UL * MIB) /* of all blocks: one large page, if the system has some */

struct stage { /* a thread that does one thing with every block, in order */
    struct snapshot_save *save;
    int (*run)(struct snapshot_save *save, uint64_t number); /* 0, or an errno */
    pthread_t thread;
    bool running;
    uint64_t done; /* blocks; guarded by the lock */
};

struct snapshot_save {
    char *path, *part;         /* owned */
    struct leftover *leftover; /* borrowed; may be NULL */
    int fd;
    uint64_t bytes;
    uint8_t *blocks; /* owned: BLOCKS of them */
    size_t filled;   /* of the block that is not handed over yet */
    /* of the stage that hashes, while it runs */
    uint8_t tail[SHA256_BYTES]; /* received, not hashed yet */
    size_t tail_bytes;
    struct sha256 *sum; /* owned; NULL: nothing was hashed yet */
    bool by_crc, crc_told;
    uint32_t crc, told; /* of what was received; what the sender says */
    bool direct;        /* O_DIRECT is set; of the stage that writes, while it runs */
    struct stage writer, hasher;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t moved;
    uint64_t handed; /* blocks, in all; changed by who receives */
    bool ending;
    int error; /* errno of a stage */
};

/* Has the open file got that name still? Who held it before may have renamed or removed it. */
static bool is_named(int fd, const char *path)
{
    struct stat open_one, named;

    return fstat(fd, &open_one) == 0 && lstat(path, &named) == 0 &&
           open_one.st_dev == named.st_dev && open_one.st_ino == named.st_ino;
}

/* PATH.part, empty, and ours alone: two that write it would make one file of two. -1 with errno. */
static int take_part(struct snapshot_save *save)
{
    const int flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW;

    for (;;) {
        save->fd = open(save->part, flags | O_DIRECT, 0600);
        save->direct = save->fd >= 0;
        if (save->fd < 0 && errno == EINVAL)
            save->fd = open(save->part, flags, 0600);
        if (save->fd < 0)
            return -1;
        if (flock(save->fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
            break; /* another error: a file system without locks */
        if (is_named(save->fd, save->part))
            return ftruncate(save->fd, 0);
        file_close(&save->fd);
    }
    file_close(&save->fd);
    errno = EWOULDBLOCK;
    return -1;
}

static int open_part(struct snapshot_save *save, struct err *err)
{
    int rc, error;

    leftover_hold(save->leftover);
    rc = take_part(save);
    error = errno;
    if (rc == 0)
        leftover_add(save->leftover, save->part);
    leftover_release(save->leftover);
    if (rc == 0)
        return 0;
    if (error == EWOULDBLOCK)
        err_set(err, ERR_LOCKED,
                "could not open %s: another save is writing it; let it end, or name another file",
                save->part);
    else
        err_sys(err, error, "could not open %s", save->part);
    return -1;
}

int snapshot_save_begin(const char *path, struct leftover *leftover, struct snapshot_save **out,
                        struct err *err)
{
    struct snapshot_save *save = xalloc(sizeof(*save));
    struct stat info;

    save->path = xstrdup(path);
    save->part = xasprintf("%s.part", path);
    save->leftover = leftover;
    save->fd = -1;
    must(pthread_mutex_init(&save->lock, NULL) == 0 && pthread_cond_init(&save->moved, NULL) == 0);
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) { /* the rename would replace /dev/null */
        err_set(err, ERR_USAGE, "could not open %s: it is %s", path,
                S_ISDIR(info.st_mode) ? "a directory; name a file in it"
                                      : "no regular file; a snapshot needs one of its own");
        goto failed_unopened;
    }
    if (open_part(save, err) < 0)
        goto failed_unopened;
    if (fchmod(save->fd, 0600) < 0) { /* an older one may have another mode */
        err_sys(err, errno, "chmod 0600 %s", save->part);
        goto failed;
    }
    must(posix_memalign((void **)&save->blocks, ARENA_ALIGNMENT, BLOCKS * BLOCK_BYTES) == 0);
    (void)madvise(save->blocks, BLOCKS * BLOCK_BYTES, MADV_HUGEPAGE); /* a hint */
    *out = save;
    return 0;
failed_unopened:
    free(save->part); /* not ours to remove */
    save->part = NULL;
failed:
    snapshot_save_abort(save);
    return -1;
}

/* ---- to the disk ---- */

/* From now on through the page cache; errno as it was. */
static void write_as_usual(struct snapshot_save *save)
{
    int kept = errno;

    if (save->direct)
        (void)fcntl(save->fd, F_SETFL, 0); /* if not, the next write says so */
    save->direct = false;
    errno = kept;
}

/* All of it at that offset; -1 with errno. */
static int write_at(struct snapshot_save *save, const uint8_t *from, size_t bytes, uint64_t offset)
{
    size_t done = 0;

    while (done < bytes) {
        size_t part = bytes - done;
        ssize_t wrote;

        if (save->direct && part < BLOCK_ALIGNMENT)
            write_as_usual(save); /* the end of the file */
        if (save->direct)
            part -= part % BLOCK_ALIGNMENT;
        wrote = pwrite(save->fd, from + done, part, (off_t)(offset + done));
        if (wrote >= 0)
            done += (size_t)wrote;
        else if (errno == EINVAL && save->direct) /* it wants more than this alignment */
            write_as_usual(save);
        else if (errno != EINTR)
            return -1;
    }
    if (!save->direct) /* a hint: only the fsync promises anything */
        (void)sync_file_range(save->fd, (off_t)offset, (off_t)bytes, SYNC_FILE_RANGE_WRITE);
    return 0;
}

static uint8_t *block(const struct snapshot_save *save, uint64_t number)
{
    return save->blocks + number % BLOCKS * BLOCK_BYTES;
}

static int write_block(struct snapshot_save *save, uint64_t number)
{
    int rc = write_at(save, block(save, number), BLOCK_BYTES, number * BLOCK_BYTES);

    return rc < 0 ? errno : 0;
}

/* ---- the hash ---- */

/* Pass on to the hash all but the newest SHA256_BYTES. */
static void hash_behind(struct snapshot_save *save, struct slice bytes)
{
    uint8_t joined[2 * SHA256_BYTES];
    size_t old, fresh = MIN(bytes.size, SHA256_BYTES);

    if (save->sum == NULL)
        save->sum = sha256_new();
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

static int hash_block(struct snapshot_save *save, uint64_t number)
{
    hash_behind(save, slice_of(block(save, number), BLOCK_BYTES));
    return 0;
}

/* ---- the two threads ---- */

static void *run_stage(void *arg)
{
    struct stage *stage = arg;
    struct snapshot_save *save = stage->save;
    int error;

    must(pthread_mutex_lock(&save->lock) == 0);
    for (;;) {
        while (stage->done == save->handed && !save->ending)
            must(pthread_cond_wait(&save->moved, &save->lock) == 0);
        if (stage->done == save->handed || save->error != 0)
            break;
        must(pthread_mutex_unlock(&save->lock) == 0);
        error = stage->run(save, stage->done);
        must(pthread_mutex_lock(&save->lock) == 0);
        stage->done++;
        if (error != 0)
            save->error = error;
        must(pthread_cond_broadcast(&save->moved) == 0);
    }
    must(pthread_mutex_unlock(&save->lock) == 0);
    return NULL;
}

static int start_stage(struct snapshot_save *save, struct stage *stage,
                       int (*run)(struct snapshot_save *, uint64_t), struct err *err)
{
    int error;

    if (stage->running)
        return 0;
    stage->save = save;
    stage->run = run;
    error = pthread_create(&stage->thread, NULL, run_stage, stage);
    if (error != 0) {
        err_sys(err, error, "a thread for %s", save->part);
        return -1;
    }
    stage->running = true;
    return 0;
}

/* The stages have done what was handed to them, or one failed. */
static void end_stages(struct snapshot_save *save)
{
    struct stage *stages[] = {&save->writer, &save->hasher};

    must(pthread_mutex_lock(&save->lock) == 0);
    save->ending = true;
    must(pthread_cond_broadcast(&save->moved) == 0);
    must(pthread_mutex_unlock(&save->lock) == 0);
    for (size_t i = 0; i < ARRAY_LEN(stages); i++) {
        if (stages[i]->running)
            must(pthread_join(stages[i]->thread, NULL) == 0);
        stages[i]->running = false;
    }
}

static int fail_write(const struct snapshot_save *save, int error, struct err *err)
{
    err_sys(err, error, "write %s", save->part);
    return -1;
}

/* Of which both stages are done; with the lock held. */
static uint64_t blocks_done(const struct snapshot_save *save)
{
    return save->by_crc ? save->writer.done : MIN(save->writer.done, save->hasher.done);
}

/* The block is full: the stages' now. Waits for one that is free. */
static int hand_over(struct snapshot_save *save, struct err *err)
{
    int error;

    if (start_stage(save, &save->writer, write_block, err) < 0 ||
        (!save->by_crc && start_stage(save, &save->hasher, hash_block, err) < 0))
        return -1;
    must(pthread_mutex_lock(&save->lock) == 0);
    save->handed++;
    must(pthread_cond_broadcast(&save->moved) == 0);
    while (save->handed - blocks_done(save) == BLOCKS && save->error == 0)
        must(pthread_cond_wait(&save->moved, &save->lock) == 0);
    error = save->error;
    must(pthread_mutex_unlock(&save->lock) == 0);
    save->filled = 0;
    return error == 0 ? 0 : fail_write(save, error, err);
}

/* Everything received is in the file and in the hash. */
static int finish_last(struct snapshot_save *save, struct err *err)
{
    const uint8_t *last = block(save, save->handed);

    end_stages(save);
    if (save->error == 0 && save->filled != 0) {
        if (!save->by_crc)
            hash_behind(save, slice_of(last, save->filled));
        if (write_at(save, last, save->filled, save->handed * BLOCK_BYTES) < 0)
            save->error = errno;
    }
    return save->error == 0 ? 0 : fail_write(save, save->error, err);
}

/* ---- what comes ---- */

uint8_t *snapshot_save_room(struct snapshot_save *save, size_t *bytes)
{
    *bytes = BLOCK_BYTES - save->filled;
    return block(save, save->handed) + save->filled;
}

int snapshot_save_add(struct snapshot_save *save, struct slice bytes, struct err *err)
{
    while (bytes.size != 0) {
        size_t room_bytes;
        uint8_t *room = snapshot_save_room(save, &room_bytes);
        size_t part = MIN(bytes.size, room_bytes);

        if (bytes.data != room)
            memcpy(room, bytes.data, part);
        if (save->by_crc)
            save->crc = crc32c(save->crc, room, part);
        save->filled += part;
        save->bytes += part;
        bytes = slice_of(bytes.data + part, bytes.size - part);
        if (save->filled == BLOCK_BYTES && hand_over(save, err) < 0)
            return -1;
    }
    return 0;
}

void snapshot_save_expect_crc(struct snapshot_save *save)
{
    must(save->bytes == 0);
    save->by_crc = true;
}

void snapshot_save_crc(struct snapshot_save *save, uint32_t crc)
{
    save->told = crc;
    save->crc_told = true;
}

uint64_t snapshot_save_bytes(const struct snapshot_save *save)
{
    return save->bytes;
}

static int fail_sum(const char *sum, uint64_t bytes, struct err *err)
{
    err_set(err, ERR_CHECKSUM,
            "%s of the %" PRIu64 " bytes received differs from the one the server sent: they were "
            "damaged on the way; save the snapshot again",
            sum, bytes);
    return -1;
}

/* Hash what is in the file, as hash_behind() would have. */
static int hash_again(struct snapshot_save *save, struct err *err)
{
    int fd = open(save->part, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), error = 0;
    ssize_t got = 1;

    while (fd >= 0 && got > 0) {
        got = read(fd, save->blocks, BLOCK_BYTES);
        if (got > 0)
            hash_behind(save, slice_of(save->blocks, (size_t)got));
        else if (got < 0 && errno == EINTR)
            got = 1;
    }
    if (fd < 0 || got < 0)
        error = errno;
    file_close(&fd);
    if (error == 0)
        return 0;
    err_sys(err, error, "read %s", save->part);
    return -1;
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
    if (save->by_crc && save->crc_told)
        return save->told == save->crc ? 0 : fail_sum("crc32c", save->bytes, err);
    if (save->by_crc && hash_again(save, err) < 0) /* somebody between took the trailer away */
        return -1;
    sha256_end(save->sum, hash);
    if (memcmp(hash, save->tail, SHA256_BYTES) != 0)
        return fail_sum("sha256", save->bytes - SHA256_BYTES, err);
    return 0;
}

/* To its place: no signal comes between. */
static int rename_part(struct snapshot_save *save)
{
    int rc;

    leftover_hold(save->leftover);
    rc = rename(save->part, save->path);
    if (rc == 0)
        leftover_forget(save->leftover, save->part);
    leftover_release(save->leftover);
    return rc;
}

int snapshot_save_finish(struct snapshot_save *save, struct err *err)
{
    if (finish_last(save, err) < 0 || check_whole(save, err) < 0)
        goto failed;
    if (fsync(save->fd) < 0) {
        err_sys(err, errno, "sync %s", save->part);
        goto failed;
    }
    if (rename_part(save) < 0) {
        err_sys(err, errno, "could not rename %s to %s", save->part, save->path);
        goto failed;
    }
    free(save->part);
    save->part = NULL;              /* in place: nothing to remove any more */
    (void)flock(save->fd, LOCK_UN); /* it is not written any more: who waits for it may read it */
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
    end_stages(save);
    (void)pthread_cond_destroy(&save->moved);
    (void)pthread_mutex_destroy(&save->lock);
    free(save->blocks);
    leftover_hold(save->leftover);
    if (save->part != NULL)
        (void)unlink(save->part); /* best effort; the next save overwrites it */
    leftover_forget(save->leftover, save->part);
    leftover_release(save->leftover);
    file_close(&save->fd); /* and its lock: nobody has the name by now, or it is the snapshot's */
    free(save->part);
    free(save->path);
    sha256_free(save->sum);
    free(save);
}
