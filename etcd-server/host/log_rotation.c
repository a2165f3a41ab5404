/*
 * log_rotation.c - see log_rotation.h.
 *
 *   before a line:  bytes + line > max  ->  rename(etcd.log, etcd-TIME.log), a new etcd.log behind
 *                                           the same descriptor (dup3), and the sweeper is woken
 *   the sweeper:    too many or too old -> removed;  the rest, if asked for -> etcd-TIME.log.gz
 *
 * Whoever logs rotates; lines are written one at a time here. What fails is logged and tried again
 * when as many bytes have been written once more; the log itself never stops for it.
 */
#include "etcd-server/host/log_rotation.h"

#include "common/base/duration.h"
#include "common/base/json_reader.h"
#include "common/base/limits.h"
#include "common/base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#define DEFAULT_MAX_MIB 100
#define DAY_SECONDS (24 * 60 * 60)
#define TIME_TEXT_BYTES sizeof("2026-11-22T07-15-01.123")
#define COPY_BYTES (64UL * KIB)
#define GZIP_SUFFIX ".gz"
#define TEMP_SUFFIX ".gz.tmp"

struct log_rotation {
    struct log_rotation_limits limits;
    const char *path;
    int fd;
    char *dir;           /* owned */
    char *stem, *ending; /* owned; "etcd" and ".log" of etcd.log */
    uint64_t max_bytes;

    struct log_guard guard;
    pthread_mutex_t writing; /* held from before_line() to after_line() */
    uint64_t bytes;          /* in the file; this and the next under `writing` */
    bool rotated;            /* by the line that is being written */
    int error;               /* of that; 0 = none */

    pthread_t sweeper;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool due, stopping; /* under `lock` */
};

/* An old file. */
struct backup {
    char *name;                 /* in the directory; owned */
    char time[TIME_TEXT_BYTES]; /* of its name: sorts by age */
    bool compressed;
};

/* ---- settings ---- */

static int take_count(struct json_reader *reader, const char *name, uint64_t max, uint64_t *count,
                      struct err *err)
{
    struct slice text;
    bool negative;

    if (json_number(reader, &text, err) < 0)
        return -1;
    if (json_take_integer(text, &negative, count) != JSON_INTEGER_OK || negative || *count > max) {
        err_set(err, ERR_USAGE, "%s is %.*s, a whole number from 0 to %" PRIu64 " is expected",
                name, (int)MIN(text.size, 40), (const char *)text.data, max);
        return -1;
    }
    return 0;
}

static int take_flag(struct json_reader *reader, bool *flag, struct err *err)
{
    enum json_kind kind = json_peek(reader);

    *flag = kind == JSON_TRUE;
    return json_word(reader, kind == JSON_TRUE ? JSON_TRUE : JSON_FALSE, err);
}

/* In any case, as Go reads names. */
static bool is_named(struct slice name, const char *text)
{
    return name.size == strlen(text) && strncasecmp((const char *)name.data, text, name.size) == 0;
}

static int take_member(struct json_reader *reader, struct slice name,
                       struct log_rotation_limits *limits, struct buf *notes, struct err *err)
{
    if (is_named(name, "maxsize"))
        return take_count(reader, "maxsize", 1 << 20, &limits->max_mib, err);
    if (is_named(name, "maxage"))
        return take_count(reader, "maxage", 36500, &limits->max_age_days, err);
    if (is_named(name, "maxbackups"))
        return take_count(reader, "maxbackups", 1 << 20, &limits->max_backups, err);
    if (is_named(name, "localtime"))
        return take_flag(reader, &limits->local_time, err);
    if (is_named(name, "compress"))
        return take_flag(reader, &limits->compress, err);
    buf_printf(notes,
               "--log-rotation-config-json: \"%.*s\" is ignored; known are maxsize, maxage, "
               "maxbackups, localtime, compress\n",
               (int)MIN(name.size, 40), (const char *)name.data);
    return json_skip(reader, err);
}

int log_rotation_parse(const char *json, struct log_rotation_limits *limits, struct buf *notes,
                       struct err *err)
{
    struct json_reader reader;
    struct json_string name;
    bool first = true, more = false;

    *limits = (struct log_rotation_limits){0};
    json_reader_init(&reader, slice_text(json));
    if (json_enter(&reader, JSON_OBJECT, err) < 0)
        goto bad;
    for (;;) {
        if (json_next_name(&reader, &first, &name, &more, err) < 0)
            goto bad;
        if (!more)
            break;
        if (take_member(&reader, name.raw, limits, notes, err) < 0)
            goto bad;
    }
    if (json_peek(&reader) == JSON_END)
        return 0;
    err_set(err, ERR_USAGE, "more text behind the closing brace");
bad:
    err_prefix(err, "improperly formatted log rotation config: --log-rotation-config-json=%.200s",
               json);
    err->code = ERR_USAGE;
    return -1;
}

/* ---- old files ---- */

/* Is `name` that of an old file, STEM-TIMEENDING[.gz]? Fills in its time. */
static bool is_backup(const struct log_rotation *rotation, const char *name, struct backup *backup)
{
    static const char pattern[] = "0000-00-00T00-00-00.000";
    size_t stem = strlen(rotation->stem), time_bytes = sizeof(pattern) - 1;
    const char *time = name + stem + 1, *rest;

    if (strncmp(name, rotation->stem, stem) != 0 || name[stem] != '-' || strlen(time) < time_bytes)
        return false;
    for (size_t at = 0; at < time_bytes; at++)
        if (pattern[at] == '0' ? time[at] < '0' || time[at] > '9' : time[at] != pattern[at])
            return false;
    rest = time + time_bytes;
    if (strncmp(rest, rotation->ending, strlen(rotation->ending)) != 0)
        return false;
    rest += strlen(rotation->ending);
    backup->compressed = strcmp(rest, GZIP_SUFFIX) == 0;
    if (!backup->compressed && *rest != '\0')
        return false;
    memcpy(backup->time, time, time_bytes);
    backup->time[time_bytes] = '\0';
    return true;
}

/* Newest first. */
static int by_age(const void *left, const void *right)
{
    return strcmp(((const struct backup *)right)->time, ((const struct backup *)left)->time);
}

static size_t list_backups(const struct log_rotation *rotation, struct backup **list)
{
    DIR *dir = opendir(rotation->dir);
    size_t count = 0, room = 0;
    const struct dirent *entry;

    *list = NULL;
    if (dir == NULL) {
        log_warn("cannot list old log files", log_str("directory", rotation->dir),
                 log_str("error", strerror(errno)));
        return 0;
    }
    while ((entry = readdir(dir)) != NULL) {
        struct backup backup;

        if (!is_backup(rotation, entry->d_name, &backup))
            continue;
        if (count == room)
            *list = xrealloc(*list, (room = room * 2 + 16) * sizeof(**list));
        backup.name = xstrdup(entry->d_name);
        (*list)[count++] = backup;
    }
    (void)closedir(dir); /* was only read */
    if (count > 1)
        qsort(*list, count, sizeof(**list), by_age);
    return count;
}

static void time_text(const struct log_rotation *rotation, const struct timespec *when,
                      char text[TIME_TEXT_BYTES])
{
    struct tm parts = {0};
    char seconds[32];

    if (rotation->limits.local_time)
        (void)localtime_r(&when->tv_sec, &parts); /* fails only far outside our time */
    else
        (void)gmtime_r(&when->tv_sec, &parts);
    (void)strftime(seconds, sizeof(seconds), "%Y-%m-%dT%H-%M-%S", &parts);
    (void)snprintf(text, TIME_TEXT_BYTES, "%.19s.%03u", seconds,
                   (unsigned)(when->tv_nsec / NS_PER_MS) % 1000);
}

/* A file beside the one that is open as `like`, readable for the same users; -1: errno. */
static int create_like(int like, const char *path, int flags)
{
    struct stat stat;
    mode_t mode = like >= 0 && fstat(like, &stat) == 0 ? stat.st_mode & 0666 : 0600;
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, mode);

    if (fd >= 0)
        (void)fchmod(fd, mode); /* past the umask; not ours: then it stays */
    return fd;
}

/* ---- the sweeper ---- */

/* From one open file into another, which is gzip's. */
static bool copy_compressed(int from, gzFile to)
{
    char room[COPY_BYTES];
    ssize_t got;

    while ((got = read(from, room, sizeof(room))) > 0)
        if (gzwrite(to, room, (unsigned)got) != (int)got)
            return false;
    return got == 0;
}

/* NAME becomes NAME.gz, whole or not at all. */
static void compress_file(const struct log_rotation *rotation, const char *name)
{
    char *plain = xasprintf("%s/%s", rotation->dir, name);
    char *temp = xasprintf("%s%s", plain, TEMP_SUFFIX),
         *final = xasprintf("%s%s", plain, GZIP_SUFFIX);
    int from = open(plain, O_RDONLY | O_CLOEXEC);
    int to = create_like(from, temp, O_TRUNC);
    gzFile gz = to >= 0 ? gzdopen(to, "wb") : NULL;
    bool good = from >= 0 && gz != NULL && copy_compressed(from, gz);

    if (gz != NULL)
        good = gzclose(gz) == Z_OK && good;
    else if (to >= 0)
        (void)close(to); /* nothing was written */
    if (from >= 0)
        (void)close(from); /* was only read */
    if (good && rename(temp, final) == 0) {
        (void)unlink(plain); /* if it stays, the next sweep compresses it again */
    } else {
        log_warn("cannot compress an old log file", log_str("file", plain),
                 log_str("error", strerror(errno)));
        (void)unlink(temp); /* absent is fine */
    }
    free(plain);
    free(temp);
    free(final);
}

static void remove_file(const struct log_rotation *rotation, const char *name)
{
    char *path = xasprintf("%s/%s", rotation->dir, name);

    if (unlink(path) < 0)
        log_warn("cannot remove an old log file", log_str("file", path),
                 log_str("error", strerror(errno)));
    free(path);
}

static void sweep(const struct log_rotation *rotation)
{
    const struct log_rotation_limits *limits = &rotation->limits;
    char oldest[TIME_TEXT_BYTES] = "";
    struct timespec then;
    struct backup *list;
    size_t count = list_backups(rotation, &list);

    must(clock_gettime(CLOCK_REALTIME, &then) == 0);
    then.tv_sec -= (time_t)limits->max_age_days * DAY_SECONDS;
    if (limits->max_age_days != 0)
        time_text(rotation, &then, oldest);
    for (size_t at = 0; at < count; at++) {
        bool too_many = limits->max_backups != 0 && at >= limits->max_backups;

        if (too_many || strcmp(list[at].time, oldest) < 0)
            remove_file(rotation, list[at].name);
        else if (limits->compress && !list[at].compressed)
            compress_file(rotation, list[at].name);
        free(list[at].name);
    }
    free(list);
}

static void *run_sweeper(void *arg)
{
    struct log_rotation *rotation = arg;

    must(pthread_mutex_lock(&rotation->lock) == 0);
    while (!rotation->stopping) {
        if (!rotation->due) {
            must(pthread_cond_wait(&rotation->wake, &rotation->lock) == 0);
            continue;
        }
        rotation->due = false;
        must(pthread_mutex_unlock(&rotation->lock) == 0);
        sweep(rotation);
        must(pthread_mutex_lock(&rotation->lock) == 0);
    }
    must(pthread_mutex_unlock(&rotation->lock) == 0);
    return NULL;
}

static void wake_sweeper(struct log_rotation *rotation)
{
    must(pthread_mutex_lock(&rotation->lock) == 0);
    rotation->due = true;
    must(pthread_cond_signal(&rotation->wake) == 0);
    must(pthread_mutex_unlock(&rotation->lock) == 0);
}

/* ---- rotating ---- */

/* The file gets the time into its name and a new one takes its place; false: errno says why not. */
static bool rotate(const struct log_rotation *rotation)
{
    struct timespec now;
    char text[TIME_TEXT_BYTES], *backup;
    int fd = -1, error;
    bool good;

    must(clock_gettime(CLOCK_REALTIME, &now) == 0);
    time_text(rotation, &now, text);
    backup = xasprintf("%s/%s-%s%s", rotation->dir, rotation->stem, text, rotation->ending);
    good = rename(rotation->path, backup) == 0 || errno == ENOENT; /* somebody took it away */
    if (good) {
        fd = create_like(rotation->fd, rotation->path, O_APPEND);
        good = fd >= 0 && dup3(fd, rotation->fd, O_CLOEXEC) >= 0;
    }
    error = errno;
    if (fd >= 0)
        (void)close(fd); /* rotation->fd is the same file */
    free(backup);
    errno = error;
    return good;
}

/* For log.h: nobody writes while the file changes, so no line goes to one that is being swept. */
static void before_line(struct log_guard *guard, size_t bytes)
{
    struct log_rotation *rotation = CONTAINER_OF(guard, struct log_rotation, guard);

    must(pthread_mutex_lock(&rotation->writing) == 0);
    rotation->bytes += bytes;
    rotation->rotated = rotation->bytes > rotation->max_bytes;
    if (!rotation->rotated)
        return;
    rotation->error = rotate(rotation) ? 0 : errno;
    rotation->bytes = bytes;
}

static void after_line(struct log_guard *guard)
{
    struct log_rotation *rotation = CONTAINER_OF(guard, struct log_rotation, guard);
    bool rotated = rotation->rotated;
    int error = rotation->error;

    must(pthread_mutex_unlock(&rotation->writing) == 0);
    if (!rotated)
        return;
    if (error == 0)
        wake_sweeper(rotation);
    else
        log_warn("cannot begin a new log file", log_str("file", rotation->path),
                 log_str("error", strerror(error)));
}

static void rotation_free(struct log_rotation *rotation)
{
    must(pthread_cond_destroy(&rotation->wake) == 0);
    must(pthread_mutex_destroy(&rotation->lock) == 0);
    must(pthread_mutex_destroy(&rotation->writing) == 0);
    free(rotation->dir);
    free(rotation->stem);
    free(rotation->ending);
    free(rotation);
}

int log_rotation_start(const struct log_rotation_limits *limits, const char *path, int fd,
                       struct log_rotation **out, struct err *err)
{
    struct log_rotation *rotation = xalloc(sizeof(*rotation));
    const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    size_t stem = dot != NULL ? (size_t)(dot - name) : strlen(name);
    struct stat stat;
    int rc;

    *rotation = (struct log_rotation){
        .limits = *limits,
        .guard = {.before = before_line, .after = after_line},
        .path = path,
        .fd = fd,
        .dir = slash == NULL   ? xstrdup(".")
               : slash == path ? xstrdup("/")
                               : xstrndup(path, (size_t)(slash - path)),
        .stem = xstrndup(name, stem),
        .ending = xstrdup(name + stem),
        .max_bytes = (limits->max_mib != 0 ? limits->max_mib : DEFAULT_MAX_MIB) * MIB};
    rotation->bytes = fstat(fd, &stat) == 0 ? (uint64_t)stat.st_size : 0;
    must(pthread_mutex_init(&rotation->writing, NULL) == 0);
    must(pthread_mutex_init(&rotation->lock, NULL) == 0);
    must(pthread_cond_init(&rotation->wake, NULL) == 0);
    rc = pthread_create(&rotation->sweeper, NULL, run_sweeper, rotation);
    if (rc != 0) {
        err_sys(err, rc, "--enable-log-rotation: cannot start a thread");
        rotation_free(rotation);
        return -1;
    }
    log_guard(&rotation->guard);
    *out = rotation;
    return 0;
}

void log_rotation_stop(struct log_rotation *rotation)
{
    if (rotation == NULL)
        return;
    log_guard(NULL);
    must(pthread_mutex_lock(&rotation->lock) == 0);
    rotation->stopping = true;
    must(pthread_cond_signal(&rotation->wake) == 0);
    must(pthread_mutex_unlock(&rotation->lock) == 0);
    must(pthread_join(rotation->sweeper, NULL) == 0);
    rotation_free(rotation);
}
