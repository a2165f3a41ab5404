/*
 * host.c - host.h on the simulated clock: what machine.c does with threads, done by events.
 *
 *   log_write -> queue -> after a while log_writer_run() on the simulated disk -> reports, later
 *   commit    -> after a while backend_commit() -> engine_committed(), later
 *   run_job   -> after a while run() -> done(), later
 *   produce   -> run() into a list of pieces -> take() one by one -> done()
 * Messages of one thread arrive in the order they were sent.
 */
#include "tests/sim/sim.h"

#include <errno.h>

#define RETRY_MS 1000

static struct sim *sim_of(struct host *host)
{
    return CONTAINER_OF(host, struct sim_host, host)->sim;
}

/* ---- faults ---- */

/* The power goes at this operation, or it fails; a full disk refuses what needs space. */
int host_disk_fault(void *arg, enum memfs_op op, const char *path)
{
    struct sim *sim = arg;
    bool needs_space =
        op == MEMFS_ALLOCATE || op == MEMFS_MKDIR ||
        (op == MEMFS_WRITE && !(sim->options.full_disk_writes && strstr(path, ".wal") != NULL));

    if (sim->fail_in != 0 && --sim->fail_in == 0) {
        sim_trace(sim, "disk fault", op, (uint64_t)sim->fail_sys);
        sim->trouble_ms = sim->now_ms;
        sim->stop_expected = true;
        if (sim->fail_sys == 0)
            sim->memfs.cut = true;
        return sim->fail_sys != 0 ? sim->fail_sys : EIO;
    }
    if (!sim->disk_full || !needs_space)
        return 0;
    sim->trouble_ms = sim->now_ms;
    return ENOSPC;
}

int host_commit_fault(void *arg, const struct batch *batch, struct err *err)
{
    struct sim *sim = arg;

    (void)batch;
    if (sim->memfs.cut || sim->backend_fails) {
        sim->backend_fails = false;
        sim->stop_expected = true;
        err_sys(err, EIO, "commit to the simulated backend");
        return -1;
    }
    if (!sim->disk_full)
        return 0;
    sim->trouble_ms = sim->now_ms;
    err_sys(err, ENOSPC, "commit to the simulated backend");
    return -1;
}

/* ---- messages to the core ---- */

struct news {
    enum { NEWS_LOG, NEWS_DISK, NEWS_FAILED } type;
    struct log_report log;
    bool full;
    struct err err;
};

static void drop_free(struct sim *sim, void *arg)
{
    (void)sim;
    free(arg);
}

static void stop_member(struct sim *sim, const struct err *cause)
{
    sim_trace(sim, "stopped", 0, 0);
    sim_check(sim, sim->stop_expected, "the member stopped though the disk was well: %s",
              cause->text);
    sim->stopped = true;
}

static void deliver(struct sim *sim, void *arg)
{
    struct news *news = arg;

    if (news->type == NEWS_DISK) {
        engine_disk_full(sim->engine, news->full);
    } else if (news->type == NEWS_FAILED) {
        sim->dying = true;
        engine_fail(sim->engine);
        stop_member(sim, &news->err);
    } else if (news->log.type == LOG_REPORT_SNAPSHOT) {
        engine_snapshot_saved(sim->engine, news->log.index);
    } else {
        engine_log_written(sim->engine, news->log.persist_id, news->log.count);
    }
    free(news);
}

static void post(struct sim *sim, uint64_t *thread_ms, const struct news *news)
{
    struct news *copy = xalloc(sizeof(*copy));
    struct sim_event *event;

    *copy = *news;
    *thread_ms = MAX(*thread_ms, sim->now_ms + sim_draw(sim, 3));
    event = sim_after(sim, *thread_ms - sim->now_ms, deliver, copy);
    event->drop = drop_free;
}

static void post_disk(struct sim *sim, uint64_t *thread_ms, bool full)
{
    post(sim, thread_ms, &(struct news){.type = NEWS_DISK, .full = full});
}

/* ---- log writer ---- */

static void report(void *arg, struct log_report log)
{
    struct sim *sim = arg;

    post(sim, &sim->host.log_news_ms, &(struct news){.type = NEWS_LOG, .log = log});
}

static void drop_tasks(struct host_task **tasks)
{
    for (struct host_task *next; *tasks != NULL; *tasks = next) {
        next = (*tasks)->next;
        log_write_free(CONTAINER_OF(*tasks, struct log_write, task));
    }
}

static void run_log(struct sim *sim, void *arg);

static void log_later(struct sim *sim, uint64_t delay_ms)
{
    sim->host.log_busy = true;
    (void)sim_after(sim, delay_ms, run_log, NULL);
}

static void run_log(struct sim *sim, void *arg)
{
    struct sim_host *host = &sim->host;
    struct err err = ERR_INIT;

    (void)arg;
    if (host->log_rest == NULL) {
        host->log_rest = host->log_first;
        host->log_first = host->log_last = NULL;
    }
    if (log_writer_run(&host->log_writer, host->wal, &host->log_rest, report, sim, &err) < 0) {
        if (err.sys != ENOSPC) {
            post(sim, &host->log_news_ms, &(struct news){.type = NEWS_FAILED, .err = err});
            drop_tasks(&host->log_rest);
            return; /* busy for ever */
        }
        if (!host->log_full)
            post_disk(sim, &host->log_news_ms, true);
        host->log_full = true;
        log_later(sim, RETRY_MS);
        return;
    }
    if (host->log_full)
        post_disk(sim, &host->log_news_ms, false);
    host->log_full = host->log_busy = false;
    if (host->log_first != NULL)
        log_later(sim, sim_draw(sim, sim->options.log_delay_ms + 1));
}

static void post_log(struct host *host, struct log_write *request)
{
    struct sim *sim = sim_of(host);
    struct sim_host *own = &sim->host;

    for (size_t i = 0; i < request->entry_count; i++)
        world_log_entry(sim, &request->entries[i]);
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
        log_later(sim, sim_draw(sim, 15000));
    } else {
        log_later(sim, sim_draw(sim, sim->options.log_delay_ms + 1));
    }
}

/* ---- committer ---- */

static void committed(struct sim *sim, void *arg)
{
    (void)arg;
    engine_committed(sim->engine);
}

static void run_commit(struct sim *sim, void *arg)
{
    struct sim_host *host = &sim->host;
    struct err err = ERR_INIT;

    (void)arg;
    if (backend_commit(sim->backend, host->committing, &err) < 0) {
        if (err.sys != ENOSPC) {
            post(sim, &host->commit_news_ms, &(struct news){.type = NEWS_FAILED, .err = err});
            return;
        }
        if (!host->commit_full)
            post_disk(sim, &host->commit_news_ms, true);
        host->commit_full = true;
        (void)sim_after(sim, RETRY_MS, run_commit, NULL);
        return;
    }
    if (host->commit_full)
        post_disk(sim, &host->commit_news_ms, false);
    host->commit_full = false;
    batch_unref(host->committing);
    host->committing = NULL;
    host->commit_news_ms =
        MAX(host->commit_news_ms, sim->now_ms + sim_draw(sim, sim->options.commit_delay_ms + 1));
    (void)sim_after(sim, host->commit_news_ms - sim->now_ms, committed, NULL);
}

static void post_commit(struct host *host, struct batch *batch)
{
    struct sim *sim = sim_of(host);

    sim_check(sim, sim->host.committing == NULL, "two batches are on their way at a time");
    sim->host.committing = batch_ref(batch);
    (void)sim_after(sim, sim_draw(sim, sim->options.commit_delay_ms + 1), run_commit, NULL);
}

static void run_defrag(struct sim *sim, void *arg)
{
    struct err err = ERR_INIT;

    (void)arg;
    if (backend_defrag(sim->backend, &err) < 0)
        sim_trace(sim, "defragmentation failed", 0, 0);
    engine_defragged(sim->engine, &err);
}

static void post_defrag(struct host *host)
{
    struct sim *sim = sim_of(host);

    sim_check(sim, sim->host.committing == NULL, "a defragmentation meets a commit");
    (void)sim_after(sim, sim_draw(sim, sim->options.commit_delay_ms + 1), run_defrag, NULL);
}

/* ---- pool ---- */

static void job_done(struct sim *sim, void *arg)
{
    struct host_job *job = arg;

    (void)sim;
    job->done(job);
}

static void job_run(struct sim *sim, void *arg)
{
    struct host_job *job = arg;

    job->run(job);
    sim_after(sim, sim_draw(sim, sim->options.job_delay_ms + 1), job_done, job)->drop = job_done;
}

static void drop_job(struct sim *sim, void *arg)
{
    ((struct host_job *)arg)->run(arg);
    job_done(sim, arg);
}

static void post_job(struct host *host, struct host_job *job)
{
    struct sim *sim = sim_of(host);

    sim_after(sim, sim_draw(sim, sim->options.job_delay_ms + 1), job_run, job)->drop = drop_job;
}

struct pipe {
    struct sim *sim;
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
        sim_after(sim, sim_draw(sim, 3), pipe_step, pipe)->drop = pipe_end;
}

static int pipe_sink(void *arg, struct slice piece, struct err *err)
{
    struct pipe *pipe = arg;

    (void)err;
    pipe->sizes = xrealloc(pipe->sizes, (pipe->count + 1) * sizeof(*pipe->sizes));
    pipe->sizes[pipe->count++] = piece.size;
    buf_append_slice(&pipe->bytes, piece);
    return 0;
}

static void pipe_run(struct sim *sim, void *arg)
{
    struct pipe *pipe = arg;
    struct err err = ERR_INIT;

    if (pipe->producer->run(pipe->producer, pipe_sink, pipe, &err) == 0)
        err.code = ERR_OK;
    pipe->err = err;
    pipe->started = true;
    sim_after(sim, sim_draw(sim, 3), pipe_step, pipe)->drop = pipe_end;
}

static void produce(struct host *host, struct host_producer *producer)
{
    struct sim *sim = sim_of(host);
    struct pipe *pipe = xalloc(sizeof(*pipe));

    pipe->sim = sim;
    pipe->producer = producer;
    pipe->bytes = BUF_INIT(BUF_UNLIMITED);
    producer->host = pipe;
    sim_after(sim, sim_draw(sim, sim->options.job_delay_ms + 1), pipe_run, pipe)->drop = pipe_end;
}

static void produce_resume(struct host *host, struct host_producer *producer)
{
    struct pipe *pipe = producer->host;

    if (!pipe->paused)
        return;
    pipe->paused = false;
    sim_after(sim_of(host), 1, pipe_step, pipe)->drop = pipe_end;
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
    return sim_of(host)->now_ms;
}

static uint64_t unix_ms(struct host *host)
{
    return 1700000000000U + sim_of(host)->now_ms;
}

static uint64_t random_number(struct host *host)
{
    return sim_draw(sim_of(host), UINT64_MAX);
}

static void note(struct host *host, enum log_level level, const char *message,
                 const struct log_field *fields)
{
    (void)fields;
    sim_trace(sim_of(host), message, level, 0);
}

static void stop_host(struct host *host, const struct err *cause)
{
    stop_member(sim_of(host), cause);
}

void host_init(struct sim *sim, struct wal *wal)
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
    };

    sim->host = (struct sim_host){.host = {&ops},
                                  .sim = sim,
                                  .wal = wal,
                                  .log_writer = {.fs = &sim->memfs.fs,
                                                 .snap_dir = sim->dir.snap,
                                                 .max_snapshots = sim->options.max_snapshots,
                                                 .max_wals = sim->options.max_wals}};
}

void host_fini(struct sim *sim)
{
    drop_tasks(&sim->host.log_rest);
    drop_tasks(&sim->host.log_first);
    batch_unref(sim->host.committing);
    wal_close(sim->host.wal);
    sim->host = (struct sim_host){0};
}
