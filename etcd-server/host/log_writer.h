/*
 * log_writer.h - carries out log requests in order: write, one sync for all that wait (group
 * commit).
 *
 * The steps are here, the thread is not: machine.c runs them on the WAL writer thread, the
 * simulator on its own clock. Reports go to a sink, from whatever thread runs log_writer_run().
 */
#ifndef ETCD_SERVER_HOST_LOG_WRITER_H
#define ETCD_SERVER_HOST_LOG_WRITER_H

#include "common/storage/snapfile.h"
#include "common/storage/wal.h"
#include "etcd-server/host/host.h"

struct log_writer_config {
    struct fs *fs;
    const char *snap_dir; /* borrowed for the writer's life */
    size_t max_snapshots, max_wals;
    bool no_fsync;
    uint64_t (*now_ns)(void); /* any monotonic clock, for the times in reports; NULL: they are 0 */
};

enum log_report_type {
    LOG_REPORT_WRITTEN,  /* durable up to `persist_id`: `count` requests */
    LOG_REPORT_SNAPSHOT, /* the snapshot at `index` is saved and recorded */
};
struct log_report {
    enum log_report_type type;
    uint64_t persist_id;
    size_t count;
    uint64_t index;
    uint64_t write_ns, sync_ns; /* of the write, and of the sync when there was one ... */
    bool synced;                /* ... here */
    struct snapfile_times file; /* LOG_REPORT_SNAPSHOT: of the file */
    size_t bytes;               /* of the payloads written */
};
typedef void log_report_fn(void *arg, struct log_report report);

/*
 * Carry out `tasks` (struct log_write, in order). On return *tasks is what was not carried out:
 * NULL after success; after a full disk (ERR_IO, sys ENOSPC) the rest, to be tried again as it is;
 * any other failure is final. What was reported is done, and freed.
 */
int log_writer_run(const struct log_writer_config *config, struct wal *wal,
                   struct host_task **tasks, log_report_fn *report, void *arg,
                   struct err *err) MUST_CHECK;

#endif
