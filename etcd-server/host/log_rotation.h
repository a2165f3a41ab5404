/*
 * log_rotation.h (edge) - a new log file when one is full (--enable-log-rotation), as etcd's users
 * know it: the full file gets the time into its name, etcd.log -> etcd-2026-11-22T07-15-01.123.log,
 * and a thread compresses and removes old ones.
 *
 * The descriptor that log.h writes to stays the same one; the file behind it changes.
 */
#ifndef ETCD_SERVER_HOST_LOG_ROTATION_H
#define ETCD_SERVER_HOST_LOG_ROTATION_H

#include "common/base/buf.h"
#include "common/base/err.h"

/* --log-rotation-config-json */
struct log_rotation_limits {
    uint64_t max_mib;      /* of a file; 0 = 100 */
    uint64_t max_age_days; /* of an old file; 0 = it stays */
    uint64_t max_backups;  /* old files kept; 0 = all */
    bool local_time;       /* in their names; else UTC */
    bool compress;         /* old ones with gzip */
};

/* {"maxsize": MiB, "maxage": days, "maxbackups": n, "localtime": bool, "compress": bool}, each may
 * be missing, names in any case; another name is ignored with a line in `notes`. ERR_USAGE with the
 * name or byte that does not fit. */
int log_rotation_parse(const char *json, struct log_rotation_limits *limits, struct buf *notes,
                       struct err *err) MUST_CHECK;

struct log_rotation;
/*
 * From now on the file `path`, open as `fd`, is rotated. Both are borrowed until
 * log_rotation_stop(), which waits for the thread. ERR_IO: no thread. Thread: main.
 */
int log_rotation_start(const struct log_rotation_limits *limits, const char *path, int fd,
                       struct log_rotation **rotation, struct err *err) MUST_CHECK;
void log_rotation_stop(struct log_rotation *rotation); /* NULL is fine */

#endif
