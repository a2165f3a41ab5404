/*
 * host.c - host.h on the simulated clock: what machine.c does with threads, done by events.
 *
 *   log_write -> queue -> after a while log_writer_run() on the simulated disk -> reports, later
 *   commit    -> after a while backend_commit() -> engine_committed(), later
 *   run_job   -> after a while run() -> done(), later
 *   produce   -> run() into a list of pieces -> take() one by one -> done()
 *   send, send_snapshot, ask_member -> network.c
 *
 * Messages of one thread arrive in the order they were sent.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <stdio.h>

#define RETRY_MS 1000

static struct node *node_of(struct host *host)
{
    return CONTAINER_OF(host, struct sim_host, host)->node;
}

uint64_t host_clock_ms(const struct node *node)
{
    return node->clock_offset_ms + node->sim->now_ms * node->clock_rate_1000 / 1000;
}

/* ---- faults ---- */

/* The power goes at this operation, or it fails; a full disk refuses what needs space. */
int host_disk_fault(void *arg, enum memfs_op op, const char *path)
{
    struct node *node = arg;
    struct sim *sim = node->sim;
    bool needs_space =
        op == MEMFS_ALLOCATE || op == MEMFS_MKDIR ||
        (op == MEMFS_WRITE && !(sim->options.full_disk_writes && strstr(path, ".wal") != NULL));

    if (node->fail_in != 0 && --node->fail_in == 0) {
        sim_trace(sim, "disk fault", op, (uint64_t)node->fail_sys);
        sim->trouble_ms = sim->now_ms;
        node->stop_expected = true;
        if (node->fail_sys == 0)
            node->memfs.cut = true;
        return node->fail_sys != 0 ? node->fail_sys : EIO;
    }
    if (!node->disk_full || !needs_space)
        return 0;
    sim->trouble_ms = sim->now_ms;
    return ENOSPC;
}

int host_commit_fault(void *arg, const struct batch *batch, struct err *err)
{
    struct node *node = arg;
    struct sim *sim = node->sim;

    (void)batch;
    if (node->memfs.cut || node->backend_fails) {
        node->backend_fails = false;
        node->stop_expected = true;
        err_sys(err, EIO, "commit to the simulated backend");
        return -1;
    }
    if (!node->disk_full)
        return 0;
    sim->trouble_ms = sim->now_ms;
    err_sys(err, ENOSPC, "commit to the simulated backend");
    return -1;
}

/* ---- messages to the core ---- */

struct news {
    struct node *node;
    enum { NEWS_LOG, NEWS_DISK, NEWS_FAILED } type;
    struct log_report log;
    enum engine_disk disk;
    bool full;
    struct err err;
};

static void drop_free(struct sim *sim, void *arg)
{
    (void)sim;
    free(arg);
}

static void stop_member(struct node *node, const struct err *cause)
{
    struct sim *sim = node->sim;

    sim_trace(sim, "stopped", 0, 0);
    sim_check(sim, node->stop_expected, "the member stopped though the disk was well: %s",
              cause->text);
    node->stopped = true;
}

static void deliver(struct sim *sim, void *arg)
{
    struct news *news = arg;
    struct node *node = news->node;

    sim_trace(sim, "news", (uint64_t)news->type << 8 | node->number, news->log.persist_id);
    if (news->type == NEWS_DISK) {
        engine_disk_full(node->engine, news->disk, news->full);
    } else if (news->type == NEWS_FAILED) {
        node->dying = true;
        engine_fail(node->engine);
        stop_member(node, &news->err);
    } else if (news->log.type == LOG_REPORT_SNAPSHOT) {
        engine_snapshot_saved(node->engine, news->log.index);
    } else {
        engine_log_written(node->engine, news->log.persist_id, news->log.count);
    }
    free(news);
}

static void post(struct node *node, uint64_t *thread_ms, const struct news *news)
{
    struct sim *sim = node->sim;
    struct news *copy = xalloc(sizeof(*copy));
    struct sim_event *event;
    uint64_t at_ms = sim->now_ms + sim_draw(sim, 3);

    *copy = *news;
    copy->node = node;
    *thread_ms = MAX(*thread_ms, at_ms);
    event = sim_after(sim, node, *thread_ms - sim->now_ms, deliver, copy);
    event->drop = drop_free;
}

static void post_disk(struct node *node, enum engine_disk disk, bool full)
{
    uint64_t *thread_ms =
        disk == ENGINE_DISK_LOG ? &node->host.log_news_ms : &node->host.commit_news_ms;

    post(node, thread_ms, &(struct news){.type = NEWS_DISK, .disk = disk, .full = full});
}

/* ---- log writer ---- */

static void report(void *arg, struct log_report log)
{
    struct node *node = arg;

    post(node, &node->host.log_news_ms, &(struct news){.type = NEWS_LOG, .log = log});
}

static void drop_tasks(struct host_task **tasks)
{
    for (struct host_task *next; *tasks != NULL; *tasks = next) {
        next = (*tasks)->next;
        log_write_free(CONTAINER_OF(*tasks, struct log_write, task));
    }
}

static void run_log(struct sim *sim, void *arg);

static void log_later(struct node *node, uint64_t delay_ms)
{
    node->host.log_busy = true;
    (void)sim_after(node->sim, node, delay_ms, run_log, node);
}

static void run_log(struct sim *sim, void *arg)
{
    struct node *node = arg;
    struct sim_host *host = &node->host;
    struct err err = ERR_INIT;

    if (host->log_rest == NULL) {
        host->log_rest = host->log_first;
        host->log_first = host->log_last = NULL;
    }
    if (log_writer_run(&host->log_writer, host->wal, &host->log_rest, report, node, &err) < 0) {
        if (err.sys != ENOSPC) {
            post(node, &host->log_news_ms, &(struct news){.type = NEWS_FAILED, .err = err});
            drop_tasks(&host->log_rest);
            return; /* busy for ever */
        }
        if (!host->log_full)
            post_disk(node, ENGINE_DISK_LOG, true);
        host->log_full = true;
        log_later(node, RETRY_MS);
        return;
    }
    if (host->log_full)
        post_disk(node, ENGINE_DISK_LOG, false);
    host->log_full = host->log_busy = false;
    if (host->log_first != NULL)
        log_later(node, sim_draw(sim, sim->options.log_delay_ms + 1));
}

static void post_log(struct host *host, struct log_write *request)
{
    struct node *node = node_of(host);
    struct sim *sim = node->sim;
    struct sim_host *own = &node->host;

    sim_trace(sim, "log", request->persist_id << 8 | node->number,
              request->entry_count != 0 ? request->entries[0].index : 0);
    if (request->snapshot != NULL && request->persist_id != 0)
        truth_installs(node, request->snapshot->meta.index);
    for (size_t i = 0; i < request->entry_count; i++)
        truth_written(node, &request->entries[i]);
    request->task.next = NULL;
    if (own->log_last != NULL)
        own->log_last->next = &request->task;
    else
        own->log_first = &request->task;
    own->log_last = &request->task;
    if (own->log_busy)
        return;
    /* Now and then the disk is slow: calls run into their time limit, and are applied after it. */
    if (sim_chance(sim, 2)) {
        sim->trouble_ms = sim->now_ms + 20000;
        log_later(node, sim_draw(sim, 15000));
    } else {
        log_later(node, sim_draw(sim, sim->options.log_delay_ms + 1));
    }
}

/* ---- committer ---- */

static void committed(struct sim *sim, void *arg)
{
    (void)sim;
    engine_committed(((struct node *)arg)->engine);
}

static void run_commit(struct sim *sim, void *arg)
{
    struct node *node = arg;
    struct sim_host *host = &node->host;
    struct err err = ERR_INIT;
    uint64_t at_ms;

    if (backend_commit(node->backend, host->committing, &err) < 0) {
        if (err.sys != ENOSPC) {
            post(node, &host->commit_news_ms, &(struct news){.type = NEWS_FAILED, .err = err});
            return;
        }
        if (!host->commit_full)
            post_disk(node, ENGINE_DISK_BACKEND, true);
        host->commit_full = true;
        (void)sim_after(sim, node, RETRY_MS, run_commit, node);
        return;
    }
    if (host->commit_full)
        post_disk(node, ENGINE_DISK_BACKEND, false);
    host->commit_full = false;
    batch_unref(host->committing);
    host->committing = NULL;
    at_ms = sim->now_ms + sim_draw(sim, sim->options.commit_delay_ms + 1);
    host->commit_news_ms = MAX(host->commit_news_ms, at_ms);
    (void)sim_after(sim, node, host->commit_news_ms - sim->now_ms, committed, node);
}

static void post_commit(struct host *host, struct batch *batch)
{
    struct node *node = node_of(host);
    struct sim *sim = node->sim;

    sim_check(sim, node->host.committing == NULL, "two batches are on their way at a time");
    node->host.committing = batch_ref(batch);
    (void)sim_after(sim, node, sim_draw(sim, sim->options.commit_delay_ms + 1), run_commit, node);
}

static void run_defrag(struct sim *sim, void *arg)
{
    struct node *node = arg;
    struct err err = ERR_INIT;

    if (backend_defrag(node->backend, &err) < 0)
        sim_trace(sim, "defragmentation failed", 0, 0);
    engine_defragged(node->engine, &err);
}

static void post_defrag(struct host *host)
{
    struct node *node = node_of(host);
    struct sim *sim = node->sim;

    sim_check(sim, node->host.committing == NULL, "a defragmentation meets a commit");
    (void)sim_after(sim, node, sim_draw(sim, sim->options.commit_delay_ms + 1), run_defrag, node);
}

/* ---- pool ---- */

struct pool_job {
    struct node *node;
    struct host_job *job;
};

static void job_done(struct sim *sim, void *arg)
{
    struct host_job *job = ((struct pool_job *)arg)->job;

    (void)sim;
    free(arg);
    job->done(job);
}

static void job_run(struct sim *sim, void *arg)
{
    struct pool_job *own = arg;

    own->job->run(own->job);
    sim_after(sim, own->node, sim_draw(sim, sim->options.job_delay_ms + 1), job_done, own)->drop =
        job_done;
}

static void drop_job(struct sim *sim, void *arg)
{
    struct pool_job *own = arg;

    own->job->run(own->job);
    job_done(sim, own);
}

static void post_job(struct host *host, struct host_job *job)
{
    struct node *node = node_of(host);
    struct sim *sim = node->sim;
    struct pool_job *own = xalloc(sizeof(*own));

    *own = (struct pool_job){node, job};
    sim_after(sim, node, sim_draw(sim, sim->options.job_delay_ms + 1), job_run, own)->drop =
        drop_job;
}

struct pipe {
    struct node *node;
    struct host_producer *producer;
    struct buf bytes;
    size_t *sizes; /* owned: of the pieces */
    size_t count, next;
    struct err err;
    bool started, paused, stopped;
};

static void pipe_end(struct sim *sim, void *arg)
{
    struct pipe *pipe = arg;
    struct host_producer *producer = pipe->producer;
    struct err err = pipe->err;

    (void)sim;
    buf_free(&pipe->bytes);
    free(pipe->sizes);
    free(pipe);
    producer->done(producer, &err);
}

static void pipe_step(struct sim *sim, void *arg)
{
    struct pipe *pipe = arg;

    if (pipe->stopped || pipe->next == pipe->count) {
        pipe_end(sim, pipe);
        return;
    }
    size_t bytes = pipe->sizes[pipe->next++];
    pipe->paused = !pipe->producer->take(pipe->producer,
                                         slice_of(pipe->bytes.data + pipe->bytes.start, bytes));
    buf_consume(&pipe->bytes, bytes);
    if (!pipe->paused) /* else produce_resume() goes on */
        sim_after(sim, pipe->node, sim_draw(sim, 3), pipe_step, pipe)->drop = pipe_end;
}

static int pipe_sink(void *arg, struct buf *piece, struct err *err)
{
    struct pipe *pipe = arg;

    (void)err;
    pipe->sizes = xrealloc(pipe->sizes, (pipe->count + 1) * sizeof(*pipe->sizes));
    pipe->sizes[pipe->count++] = buf_used(piece);
    buf_append_slice(&pipe->bytes, buf_slice(piece));
    return 0;
}

/* One thread does it all here. */
static int run_and_look(struct pipe *pipe, struct err *err)
{
    struct host_producer *producer = pipe->producer;
    size_t at = pipe->bytes.start;

    if (producer->run(producer, pipe_sink, pipe, err) < 0)
        return -1;
    if (producer->look == NULL)
        return 0;
    for (size_t i = 0; i < pipe->count; at += pipe->sizes[i++])
        producer->look(producer, slice_of(pipe->bytes.data + at, pipe->sizes[i]));
    return producer->close(producer, pipe_sink, pipe, err);
}

static void pipe_run(struct sim *sim, void *arg)
{
    struct pipe *pipe = arg;
    struct err err = ERR_INIT;

    if (run_and_look(pipe, &err) == 0)
        err.code = ERR_OK;
    pipe->err = err;
    pipe->started = true;
    sim_after(sim, pipe->node, sim_draw(sim, 3), pipe_step, pipe)->drop = pipe_end;
}

static void produce(struct host *host, struct host_producer *producer)
{
    struct node *node = node_of(host);
    struct sim *sim = node->sim;
    struct pipe *pipe = xalloc(sizeof(*pipe));

    pipe->node = node;
    pipe->producer = producer;
    pipe->bytes = BUF_INIT(BUF_UNLIMITED);
    producer->host = pipe;
    sim_after(sim, node, sim_draw(sim, sim->options.job_delay_ms + 1), pipe_run, pipe)->drop =
        pipe_end;
}

static void produce_resume(struct host *host, struct host_producer *producer)
{
    struct pipe *pipe = producer->host;

    if (!pipe->paused)
        return;
    pipe->paused = false;
    sim_after(pipe->node->sim, node_of(host), 1, pipe_step, pipe)->drop = pipe_end;
}

static void produce_stop(struct host *host, struct host_producer *producer)
{
    struct pipe *pipe = producer->host;

    pipe->stopped = true;
    produce_resume(host, producer);
}

/* ---- the rest of host.h ---- */

static uint64_t now_ms(struct host *host)
{
    return host_clock_ms(node_of(host));
}

static uint64_t unix_ms(struct host *host)
{
    return 1700000000000U + host_clock_ms(node_of(host));
}

static uint64_t random_number(struct host *host)
{
    return sim_draw(node_of(host)->sim, UINT64_MAX);
}

static void note(struct host *host, enum log_level level, const char *message,
                 const struct log_field *fields)
{
    struct sim *sim = node_of(host)->sim;

    sim_trace(sim, message, level, node_of(host)->number);
    for (; sim->verbose && fields->kind != LOG_KIND_END; fields++)
        if (fields->kind == LOG_KIND_STR)
            printf("             %s=%s\n", fields->key, fields->text);
        else
            printf("             %s=%" PRId64 " %" PRIx64 "\n", fields->key,
                   (int64_t)fields->number, fields->number);
}

/* Until then it may be needed: who leads two members and removes itself must stay for a while. */
static bool everybody_knows(const struct node *removed)
{
    const struct sim *sim = removed->sim;

    for (size_t i = 0; i < sim->node_count; i++)
        if (!sim->nodes[i]->gone && sim->nodes[i] != removed && sim->nodes[i]->removed == 0 &&
            sim->nodes[i]->known < removed->removed)
            return false;
    return true;
}

static void stop_host(struct host *host, const struct err *cause)
{
    struct node *node = node_of(host);

    if (cause->code == ERR_REMOVED) { /* it is no member any more */
        sim_check(node->sim, node->removed, "member %u stops, though nobody removed it: %s",
                  node->number, cause->text);
        node->stop_expected = true;
        node->gone = everybody_knows(node);
    }
    stop_member(node, cause);
}

static void restart(struct host *host)
{
    node_of(host)->restart = true;
}

void host_init(struct node *node, struct wal *wal)
{
    static const struct host_ops ops = {
        .now_ms = now_ms,
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
        .send = network_send,
        .send_snapshot = network_send_snapshot,
        .ask_member = network_ask,
        .ask_cancel = network_ask_cancel,
        .connected_ms = network_connected_ms,
        .restart = restart,
    };
    struct sim *sim = node->sim;

    node->host = (struct sim_host){.host = {&ops},
                                   .node = node,
                                   .wal = wal,
                                   .log_writer = {.fs = &node->memfs.fs,
                                                  .snap_dir = node->dir.snap,
                                                  .max_snapshots = sim->options.max_snapshots,
                                                  .max_wals = sim->options.max_wals}};
}

void host_fini(struct node *node)
{
    drop_tasks(&node->host.log_rest);
    drop_tasks(&node->host.log_first);
    batch_unref(node->host.committing);
    wal_close(node->host.wal);
    node->host = (struct sim_host){0};
}
