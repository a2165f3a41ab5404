/*
 * machine.h (edge) - the real host: threads, files, clocks behind host.h.
 *
 *   core thread  --log_write-->  WAL writer  --posts-->  core: engine_log_written()
 *                --commit----->  committer   --posts-->  core: engine_committed()
 *                --run_job---->  pool        --posts-->  core: job->done()
 *                --produce---->  its thread  --posts-->  core: producer->take() ..., done()
 *
 * A failure that must stop the member (fsync, a damaged backend) is logged as fatal and ends the
 * loop; a full disk is reported to the engine and tried again every second. Thread: core.
 */
#ifndef ETCD_SERVER_HOST_MACHINE_H
#define ETCD_SERVER_HOST_MACHINE_H

#include "common/storage/backend.h"
#include "common/storage/datadir.h"
#include "common/storage/wal.h"
#include "etcd-server/host/host.h"
#include "etcd-server/host/log_writer.h"
#include "etcd-server/host/loop.h"
#include "etcd-server/service/metrics.h"

struct engine;
struct machine;

struct machine_config {
    struct loop *loop;       /* borrowed */
    struct wal *wal;         /* taken */
    struct backend *backend; /* borrowed */
    struct datadir *dir;     /* borrowed: its lock follows the database when that is replaced */
    struct metrics *metrics; /* borrowed: times of disks */
    struct log_writer_config log_writer; /* its clock is set here */
};

int machine_new(const struct machine_config *config, struct machine **machine,
                struct err *err) MUST_CHECK;
/* End the threads when their queues are done; what they posted waits in the loop. NULL is fine. */
void machine_end_threads(struct machine *machine);
/* Ends the threads, closes the log. NULL is fine. */
void machine_free(struct machine *machine);

struct host *machine_host(struct machine *machine);
void machine_set_engine(struct machine *machine, struct engine *engine); /* before the loop runs */
struct machine_cluster;
/* The other members; NULL takes them away again. Borrowed. */
void machine_set_cluster(struct machine *machine, struct machine_cluster *cluster);
bool machine_wants_restart(const struct machine *machine); /* a snapshot of the leader is on disk */
bool machine_removed(const struct machine *machine); /* it stopped, for it is no member any more */
bool machine_failed(const struct machine *machine);  /* it stopped the loop because of a failure */

#endif
