/*
 * machine.c - see machine.h. In this order: what reaches the core, what each thread does, host.h.
 *
 *   run_log(), run_commit(), run_pool()   on their threads; touch the log, the backend, the job
 *   struct message -> deliver()           a report each; the core owns it then and calls the engine
 *
 * A full disk is no failure: the thread says so, keeps what it has and tries again.
 */
#include "etcd-server/host/machine.h"
#include "etcd-server/engine/engine.h"
#include "etcd-server/host/machine_cluster.h"
#include "etcd-server/host/producer.h"
#include "etcd-server/host/worker.h"

#include <errno.h>
#include <sys/random.h>
#include <time.h>

#define POOL_THREADS 4 /* logins go on beside a hash of everything */
#define FULL_DISK_RETRY_MS 1000

struct commit_task {
    struct host_task task;
    struct batch *batch; /* NULL = defragment */
};

struct machine {
    struct host host; /* first: ops get a pointer to it */
    struct machine_config config;
    struct engine *engine;
    struct worker *log_thread, *commit_thread, *pool;
    struct producers *producers;
    struct machine_cluster *cluster; /* NULL: not there yet, or not any more */
    bool failed;
    bool removed; /* why it failed */
    bool restart;
};

enum message_type {
    MESSAGE_LOG,
    MESSAGE_COMMITTED,
    MESSAGE_DEFRAGGED,
    MESSAGE_DISK,
    MESSAGE_FAILED
};

struct message {
    struct machine *machine;
    enum message_type type;
    struct log_report log;
    enum engine_disk disk;
    bool full;
    uint64_t took_ns; /* of a commit or a defragmentation */
    struct err err;
};

static struct machine *machine_of(struct host *host)
{
    return CONTAINER_OF(host, struct machine, host);
}

static void stop_host(struct host *host, const struct err *cause)
{
    struct machine *machine = machine_of(host);

    if (!machine->failed && cause->code == ERR_REMOVED) {
        machine->removed = true;
        log_warn("stopping: this member was removed", log_str("reason", cause->text));
    } else if (!machine->failed) {
        log_fatal("stopping: this member must not go on", log_str("error", cause->text));
    }
    machine->failed = true;
    loop_stop(machine->config.loop);
}

static void observe(struct machine *machine, enum metrics_histogram which, uint64_t ns)
{
    metrics_observe(machine->config.metrics, which, (double)ns / 1e9);
}

static void log_written(struct machine *machine, const struct log_report *report)
{
    observe(machine, METRICS_WAL_WRITE, report->write_ns);
    if (report->synced)
        observe(machine, METRICS_WAL_FSYNC, report->sync_ns);
    machine->config.metrics->wal_write_bytes += (double)report->bytes;
    engine_log_written(machine->engine, report->persist_id, report->count);
}

static void snapshot_saved(struct machine *machine, const struct log_report *report)
{
    observe(machine, METRICS_SNAP_MARSHAL, report->file.encode_ns);
    observe(machine, METRICS_SNAP_FSYNC, report->file.write_ns);
    observe(machine, METRICS_SNAP_SAVE, report->file.total_ns);
    engine_snapshot_saved(machine->engine, report->index);
}

static void deliver(void *arg)
{
    struct message *message = arg;
    struct machine *machine = message->machine;

    switch (message->type) {
    case MESSAGE_LOG:
        if (message->log.type == LOG_REPORT_SNAPSHOT)
            snapshot_saved(machine, &message->log);
        else
            log_written(machine, &message->log);
        break;
    case MESSAGE_COMMITTED:
        observe(machine, METRICS_BACKEND_COMMIT, message->took_ns);
        engine_committed(machine->engine);
        break;
    case MESSAGE_DEFRAGGED:
        observe(machine, METRICS_BACKEND_DEFRAG, message->took_ns);
        engine_defragged(machine->engine, &message->err);
        break;
    case MESSAGE_DISK:
        engine_disk_full(machine->engine, message->disk, message->full);
        break;
    case MESSAGE_FAILED:
        engine_fail(machine->engine);
        stop_host(&machine->host, &message->err);
        break;
    }
    free(message);
}

static struct message *message_new(struct machine *machine, enum message_type type)
{
    struct message *message = xalloc(sizeof(*message));

    message->machine = machine;
    message->type = type;
    return message;
}

static void post(struct message *message)
{
    loop_post(message->machine->config.loop, deliver, message);
}

static void post_disk(struct machine *machine, enum engine_disk disk, bool full)
{
    struct message *message = message_new(machine, MESSAGE_DISK);

    message->disk = disk;
    message->full = full;
    post(message);
}

static void post_failed(struct machine *machine, const struct err *err)
{
    struct message *message = message_new(machine, MESSAGE_FAILED);

    message->err = *err;
    post(message);
}

/* ---- WAL writer thread ---- */

static void report_log(void *arg, struct log_report report)
{
    struct message *message = message_new(arg, MESSAGE_LOG);

    message->log = report;
    post(message);
}

static void drop_requests(struct host_task *tasks)
{
    for (struct host_task *next; tasks != NULL; tasks = next) {
        next = tasks->next;
        log_write_free(CONTAINER_OF(tasks, struct log_write, task));
    }
}

static void run_log(void *arg, struct host_task *tasks)
{
    struct machine *machine = arg;
    struct err err = ERR_INIT;
    bool full = false;

    while (log_writer_run(&machine->config.log_writer, machine->config.wal, &tasks, report_log,
                          machine, &err) < 0) {
        if (err.sys != ENOSPC ||
            !worker_pause(machine->log_thread, full ? FULL_DISK_RETRY_MS : 1)) {
            if (err.sys != ENOSPC)
                post_failed(machine, &err);
            drop_requests(tasks);
            return;
        }
        if (!full)
            post_disk(machine, ENGINE_DISK_LOG, true);
        full = true;
    }
    if (full)
        post_disk(machine, ENGINE_DISK_LOG, false);
}

/* ---- committer thread ---- */

static void defrag(struct machine *machine)
{
    struct message *message = message_new(machine, MESSAGE_DEFRAGGED);
    uint64_t began_ns = loop_now_ns();

    if (backend_defrag(machine->config.backend, &message->err) < 0 ||
        datadir_relock(machine->config.dir, &message->err) < 0)
        log_error("defragmentation failed", log_str("error", message->err.text));
    message->took_ns = loop_now_ns() - began_ns;
    post(message);
}

static void run_commit(void *arg, struct host_task *tasks)
{
    struct machine *machine = arg;
    struct commit_task *commit = CONTAINER_OF(tasks, struct commit_task, task);
    struct message *committed;
    struct err err = ERR_INIT;
    uint64_t began_ns = loop_now_ns();
    bool full = false;

    if (commit->batch == NULL) {
        defrag(machine);
        free(commit);
        return;
    }
    while (backend_commit(machine->config.backend, commit->batch, &err) < 0) {
        if (err.sys != ENOSPC ||
            !worker_pause(machine->commit_thread, full ? FULL_DISK_RETRY_MS : 1)) {
            if (err.sys != ENOSPC)
                post_failed(machine, &err);
            goto out; /* at the end of the process the log still has it */
        }
        if (!full)
            post_disk(machine, ENGINE_DISK_BACKEND, true);
        full = true;
    }
    if (full)
        post_disk(machine, ENGINE_DISK_BACKEND, false);
    committed = message_new(machine, MESSAGE_COMMITTED);
    committed->took_ns = loop_now_ns() - began_ns;
    post(committed);
out:
    batch_unref(commit->batch);
    free(commit);
}

/* ---- pool ---- */

static void job_done(void *arg)
{
    struct host_job *job = arg;

    job->done(job);
}

static void run_pool(void *arg, struct host_task *tasks)
{
    struct machine *machine = arg;
    struct host_job *job = CONTAINER_OF(tasks, struct host_job, task);

    job->run(job);
    loop_post(machine->config.loop, job_done, job);
}

/* ---- host.h ---- */

static uint64_t now_ms(struct host *host)
{
    (void)host;
    return loop_now_ms();
}

static uint64_t host_ns(struct host *host)
{
    (void)host;
    return loop_now_ns();
}

static uint64_t unix_ms(struct host *host)
{
    struct timespec now;

    (void)host;
    must(clock_gettime(CLOCK_REALTIME, &now) == 0);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)(now.tv_nsec / NS_PER_MS);
}

static uint64_t random_number(struct host *host)
{
    uint64_t number = 0;

    (void)host;
    must(getrandom(&number, sizeof(number), 0) == (ssize_t)sizeof(number));
    return number;
}

static void post_log(struct host *host, struct log_write *request)
{
    worker_post(machine_of(host)->log_thread, &request->task);
}

static void post_commit(struct host *host, struct batch *batch)
{
    struct commit_task *commit = xalloc(sizeof(*commit));

    commit->batch = batch_ref(batch);
    worker_post(machine_of(host)->commit_thread, &commit->task);
}

static void post_defrag(struct host *host)
{
    struct commit_task *commit = xalloc(sizeof(*commit));

    worker_post(machine_of(host)->commit_thread, &commit->task);
}

static void post_job(struct host *host, struct host_job *job)
{
    worker_post(machine_of(host)->pool, &job->task);
}

static void produce(struct host *host, struct host_producer *producer)
{
    producer_start(machine_of(host)->producers, producer);
}

static void produce_resume(struct host *host, struct host_producer *producer)
{
    (void)host;
    producer_resume(producer);
}

static void produce_stop(struct host *host, struct host_producer *producer)
{
    (void)host;
    producer_stop(producer);
}

static void note(struct host *host, enum log_level level, const char *message,
                 const struct log_field *fields)
{
    (void)host;
    if (log_enabled(level))
        log_write(level, "etcd-server/engine", 0, message, fields);
}

static void send(struct host *host, const struct raft_message *messages, size_t count)
{
    struct machine *machine = machine_of(host);

    if (machine->cluster != NULL)
        machine_cluster_send(machine->cluster, messages, count);
}

static void members_changed(struct host *host)
{
    struct machine *machine = machine_of(host);

    if (machine->cluster != NULL)
        machine_cluster_members_changed(machine->cluster);
}

static void send_snapshot(struct host *host, const struct raft_message *message,
                          struct backend_read *read)
{
    struct machine *machine = machine_of(host);

    if (machine->cluster != NULL)
        machine_cluster_send_snapshot(machine->cluster, message, read);
    else
        backend_read_end(read); /* the member is being stopped */
}

static uint64_t connected_ms(struct host *host, uint64_t member)
{
    struct machine *machine = machine_of(host);

    return machine->cluster != NULL ? machine_cluster_connected_ms(machine->cluster, member) : 0;
}

static void ask_member(struct host *host, uint64_t member, struct host_question *question)
{
    struct machine *machine = machine_of(host);

    if (machine->cluster != NULL)
        machine_cluster_ask(machine->cluster, member, question);
}

static void ask_cancel(struct host *host, struct host_question *question)
{
    struct machine *machine = machine_of(host);

    if (machine->cluster != NULL)
        machine_cluster_ask_cancel(machine->cluster, question);
}

static void restart(struct host *host)
{
    struct machine *machine = machine_of(host);

    machine->restart = true;
    loop_stop(machine->config.loop);
}

static const struct host_ops ops = {
    .send = send,
    .members_changed = members_changed,
    .send_snapshot = send_snapshot,
    .ask_member = ask_member,
    .ask_cancel = ask_cancel,
    .connected_ms = connected_ms,
    .restart = restart,
    .now_ms = now_ms,
    .now_ns = host_ns,
    .unix_ms = unix_ms,
    .random = random_number,
    .log_write = post_log,
    .commit = post_commit,
    .defrag = post_defrag,
    .run_job = post_job,
    .produce = produce,
    .produce_resume = produce_resume,
    .produce_stop = produce_stop,
    .note = note,
    .stop = stop_host,
};

int machine_new(const struct machine_config *config, struct machine **out, struct err *err)
{
    struct machine *machine = xalloc(sizeof(*machine));

    machine->host.ops = &ops;
    machine->config = *config;
    machine->config.log_writer.now_ns = loop_now_ns;
    machine->producers = producers_new(config->loop);
    if (worker_new(1, true, run_log, machine, &machine->log_thread, err) < 0 ||
        worker_new(1, false, run_commit, machine, &machine->commit_thread, err) < 0 ||
        worker_new(POOL_THREADS, false, run_pool, machine, &machine->pool, err) < 0) {
        machine_free(machine);
        return -1;
    }
    *out = machine;
    return 0;
}

void machine_end_threads(struct machine *machine)
{
    if (machine == NULL)
        return;
    worker_free(machine->log_thread);
    worker_free(machine->commit_thread);
    worker_free(machine->pool);
    producers_end(machine->producers);
    machine->log_thread = machine->commit_thread = machine->pool = NULL;
}

void machine_free(struct machine *machine)
{
    if (machine == NULL)
        return;
    machine_end_threads(machine);
    producers_free(machine->producers);
    wal_close(machine->config.wal);
    free(machine);
}

struct host *machine_host(struct machine *machine)
{
    return &machine->host;
}

void machine_set_engine(struct machine *machine, struct engine *engine)
{
    machine->engine = engine;
}

void machine_set_cluster(struct machine *machine, struct machine_cluster *cluster)
{
    machine->cluster = cluster;
}

bool machine_wants_restart(const struct machine *machine)
{
    return machine->restart;
}

bool machine_removed(const struct machine *machine)
{
    return machine->removed;
}

bool machine_failed(const struct machine *machine)
{
    return machine->failed;
}
