/*
 * log_writer.c - see log_writer.h.
 *
 *   tasks:  w1 w2 w3 S4 w5   ->  append w1 w2 w3, sync, report 1..3
 *                                save S4, record, report
 *                                append w5 ...
 *
 * Nothing is reported before the sync that covers it; a run ends at WAL_BATCH_MAX_BYTES, so that
 * one burst does not hold back the first of its requests for long.
 */
#include <errno.h>

#include "common/base/plants.h"
#include "etcd-server/host/log_writer.h"

static uint64_t now_ns(const struct log_writer_config *config)
{
    return config->now_ns != NULL ? config->now_ns() : 0;
}

static struct log_write *request_of(struct host_task *task)
{
    return CONTAINER_OF(task, struct log_write, task);
}

/* The log has all that it stands for: it counts from the moment it is recorded. */
static int record_own(struct wal *wal, const struct log_write *request,
                      const struct wal_snapshot *record, struct err *err)
{
    return wal_append(wal, &request->state, NULL, 0, err) < 0 ||
                   wal_snapshot_record(wal, record, err) < 0
               ? -1
               : 0;
}

/* The leader's: its commit index must not stand before it, or after a crash in between it would be
 * that of the entries it takes the place of. Without it behind, the record does not count yet. */
static int record_installed(struct wal *wal, const struct log_write *request,
                            const struct wal_snapshot *record, struct err *err)
{
    return wal_snapshot_record(wal, record, err) < 0 ||
                   wal_append(wal, &request->state, NULL, 0, err) < 0 || wal_sync(wal, err) < 0
               ? -1
               : 0;
}

static int save_snapshot(const struct log_writer_config *config, struct wal *wal,
                         const struct log_write *request, struct snapfile_times *times,
                         struct err *err)
{
    struct wal_snapshot record = {.index = request->snapshot->meta.index,
                                  .term = request->snapshot->meta.term,
                                  .conf_state = &request->snapshot->meta.conf_state,
                                  .installed = request->persist_id != 0};

    if (snapfile_save(config->fs, config->snap_dir, request->snapshot, times, err) < 0 ||
        (record.installed ? record_installed(wal, request, &record, err)
                          : record_own(wal, request, &record, err)) < 0)
        return -1;
    wal_release(wal, record.index);
    if (wal_purge(wal, config->max_wals, err) == 0 &&
        snapfile_purge(config->fs, config->snap_dir, &request->snapshot->meta,
                       config->max_snapshots, err) == 0)
        return 0;
    /* The snapshot is saved: a full disk under the purge must not have it saved again, over a file
     * that the log already needs. The next snapshot purges what this one left. */
    if (err->sys != ENOSPC)
        return -1;
    *err = ERR_INIT;
    return 0;
}

/* Append the requests from `first` to before *end; *end is the first one not appended. *sync: one
 * of them wants it, though the log alone could not tell. */
static int append_run(struct wal *wal, struct host_task *first, struct host_task **end, bool *sync,
                      struct err *err)
{
    size_t bytes = 0;

    *sync = false;
    for (*end = first; *end != NULL && bytes < WAL_BATCH_MAX_BYTES; *end = (*end)->next) {
        const struct log_write *request = request_of(*end);

        if (request->snapshot != NULL)
            break;
        if (wal_append(wal, request->has_state ? &request->state : NULL, request->entries,
                       request->entry_count, err) < 0)
            return *end != first && err->sys != 0 ? 1
                                                  : -1; /* sync and report what went well first */
        bytes += request->bytes;
        *sync = *sync || request->must_sync;
    }
    return 0;
}

int log_writer_run(const struct log_writer_config *config, struct wal *wal,
                   struct host_task **tasks, log_report_fn *report, void *arg, struct err *err)
{
    while (*tasks != NULL) {
        struct host_task *end, *next;
        bool must_sync, syncs;
        int appended;

        if (request_of(*tasks)->snapshot != NULL) {
            struct log_write *request = request_of(*tasks);
            struct snapfile_times times = {.now_ns = config->now_ns};

            if (save_snapshot(config, wal, request, &times, err) < 0)
                return -1;
            *tasks = (*tasks)->next;
            report(arg, (struct log_report){.type = LOG_REPORT_SNAPSHOT,
                                            .index = request->snapshot->meta.index,
                                            .file = times});
            log_write_free(request);
            continue;
        }
        uint64_t began_ns = now_ns(config), written_ns;
        appended = append_run(wal, *tasks, &end, &must_sync, err);
        if (appended < 0)
            return -1;
        written_ns = now_ns(config);
        syncs =
            !config->no_fsync && !PLANTED(ACK_BEFORE_FSYNC) && (must_sync || wal_needs_sync(wal));
        if (syncs && wal_sync(wal, err) < 0)
            return -1;
        struct log_report written = {.type = LOG_REPORT_WRITTEN,
                                     .write_ns = written_ns - began_ns,
                                     .sync_ns = now_ns(config) - written_ns,
                                     .synced = syncs};
        for (; *tasks != end; *tasks = next) {
            struct log_write *request = request_of(*tasks);

            next = (*tasks)->next;
            written.persist_id = request->persist_id;
            written.count++;
            written.bytes += request->bytes;
            log_write_free(request);
        }
        if (written.count != 0)
            report(arg, written);
        if (appended > 0)
            return -1; /* `err` is that of the request that is now first */
    }
    return 0;
}
