/* producer_test.c - pieces from a pool thread to the core, by way of a thread that looks at them,
 * and an end that overtakes a resumption. */
#include "etcd-server/host/loop.h"
#include "etcd-server/host/producer.h"

#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define PIECE_BYTES 1024U

struct scene {
    struct host_producer producer;
    struct host_task second; /* runs when the producer's job has told the loop that it is over */
    struct loop *loop;
    struct worker *pool;
    sem_t resume_is_queued, end_is_queued;
    unsigned taken;
    bool over;
};

static void job_done(void *arg)
{
    struct host_job *job = arg;

    job->done(job);
}

static void run_pool(void *arg, struct host_task *tasks)
{
    struct scene *scene = arg;
    struct host_job *job = CONTAINER_OF(tasks, struct host_job, task);

    if (tasks == &scene->second) {
        must(sem_post(&scene->end_is_queued) == 0);
        return;
    }
    job->run(job);
    loop_post(scene->loop, job_done, job);
}

static int give(struct slice bytes, host_sink_fn *sink, void *sink_arg, struct err *err)
{
    struct buf piece = BUF_INIT(PIECE_BYTES);
    int rc;

    must(buf_append_slice(&piece, bytes));
    rc = sink(sink_arg, &piece, err);
    must(rc < 0 || buf_used(&piece) == 0);
    buf_free(&piece);
    return rc;
}

static int one_piece(struct host_producer *producer, host_sink_fn *sink, void *sink_arg,
                     struct err *err)
{
    struct scene *scene = CONTAINER_OF(producer, struct scene, producer);
    int rc = give(SLICE_LITERAL("piece"), sink, sink_arg, err);

    must(sem_wait(&scene->resume_is_queued) == 0);
    return rc;
}

static void resume(void *arg)
{
    struct scene *scene = arg;

    producer_resume(&scene->producer);
}

/* In the loop's queue now: resume(), the end of the job; resume() adds the delivery behind them. */
static bool pause_and_resume(struct host_producer *producer, struct slice piece)
{
    struct scene *scene = CONTAINER_OF(producer, struct scene, producer);

    assert_true(slice_equal(piece, SLICE_LITERAL("piece")));
    scene->taken++;
    loop_post(scene->loop, resume, scene);
    must(sem_post(&scene->resume_is_queued) == 0);
    must(sem_wait(&scene->end_is_queued) == 0);
    return false;
}

static void stop(void *arg)
{
    loop_stop(arg);
}

static void note_end(struct host_producer *producer, const struct err *err)
{
    struct scene *scene = CONTAINER_OF(producer, struct scene, producer);

    assert_int_equal(err->code, ERR_OK);
    assert_false(scene->over);
    scene->over = true;
    loop_post(scene->loop, stop, scene->loop); /* behind whatever is still on its way */
}

static void the_end_waits_for_a_resumption(void **state)
{
    struct scene scene = {
        .producer = {.run = one_piece, .take = pause_and_resume, .done = note_end}};
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(sem_init(&scene.resume_is_queued, 0, 0), 0);
    assert_int_equal(sem_init(&scene.end_is_queued, 0, 0), 0);
    assert_int_equal(loop_new(&scene.loop, &err), 0);
    assert_int_equal(worker_new(1, false, run_pool, &scene, &scene.pool, &err), 0);
    producer_start(&scene.producer, scene.pool, scene.loop);
    worker_post(scene.pool, &scene.second);
    loop_run(scene.loop);
    assert_true(scene.over);
    assert_int_equal(scene.taken, 1);
    worker_free(scene.pool);
    loop_free(scene.loop);
    (void)sem_destroy(&scene.resume_is_queued);
    (void)sem_destroy(&scene.end_is_queued);
}

/* ---- a second thread sees what is sent ---- */

#define NUMBERS 5000U /* pieces of PIECE_BYTES: more than the queue holds */

struct chain {
    struct host_producer producer;
    struct loop *loop;
    unsigned seen, taken;
    unsigned fails_at; /* run() fails there; 0 = never */
    bool stops;        /* the core has enough at half of it */
    struct err end;
};

static struct chain *chain_of(struct host_producer *producer)
{
    return CONTAINER_OF(producer, struct chain, producer);
}

static int count_up(struct host_producer *producer, host_sink_fn *sink, void *sink_arg,
                    struct err *err)
{
    unsigned piece[PIECE_BYTES / sizeof(unsigned)] = {0};

    for (piece[0] = 1; piece[0] <= NUMBERS; piece[0]++) {
        if (piece[0] == chain_of(producer)->fails_at) {
            err_set(err, ERR_DAMAGED, "at %u", piece[0]);
            return -1;
        }
        if (give(slice_of(piece, sizeof(piece)), sink, sink_arg, err) < 0)
            return -1;
    }
    return 0;
}

static unsigned number_of(struct slice piece)
{
    unsigned number;

    must(piece.size >= sizeof(number));
    memcpy(&number, piece.data, sizeof(number));
    return number;
}

static void see(struct host_producer *producer, struct slice piece)
{
    must(number_of(piece) == ++chain_of(producer)->seen);
}

static int add_sum(struct host_producer *producer, host_sink_fn *sink, void *sink_arg,
                   struct err *err)
{
    unsigned sum = chain_of(producer)->seen + 1;

    return give(slice_of(&sum, sizeof(sum)), sink, sink_arg, err);
}

static bool take_number(struct host_producer *producer, struct slice piece)
{
    struct chain *chain = chain_of(producer);

    must(number_of(piece) == ++chain->taken);
    if (chain->stops && chain->taken == NUMBERS / 2)
        producer_stop(producer);
    return true;
}

static void chain_over(struct host_producer *producer, const struct err *err)
{
    struct chain *chain = chain_of(producer);

    chain->end = *err;
    loop_stop(chain->loop);
}

static void run_job(void *arg, struct host_task *tasks)
{
    struct host_job *job = CONTAINER_OF(tasks, struct host_job, task);

    job->run(job);
    loop_post(arg, job_done, job);
}

static struct chain run_chain(unsigned fails_at, bool stops)
{
    struct chain chain = {.producer = {.run = count_up,
                                       .look = see,
                                       .close = add_sum,
                                       .take = take_number,
                                       .done = chain_over},
                          .fails_at = fails_at,
                          .stops = stops};
    struct worker *pool;
    struct err err = ERR_INIT;

    assert_int_equal(loop_new(&chain.loop, &err), 0);
    assert_int_equal(worker_new(1, false, run_job, chain.loop, &pool, &err), 0);
    producer_start(&chain.producer, pool, chain.loop);
    loop_run(chain.loop);
    worker_free(pool);
    loop_free(chain.loop);
    return chain;
}

static void every_piece_is_seen_before_it_is_taken(void **state)
{
    struct chain chain = run_chain(0, false);

    (void)state;
    assert_int_equal(chain.end.code, ERR_OK);
    assert_int_equal(chain.seen, NUMBERS);
    assert_int_equal(chain.taken, NUMBERS + 1); /* and what close() added */
    chain = run_chain(1000, false);
    assert_int_equal(chain.end.code, ERR_DAMAGED);
    assert_int_equal(chain.seen, 999);
    assert_int_equal(chain.taken, 999);
    chain = run_chain(0, true);
    assert_int_equal(chain.end.code, ERR_CANCELED);
    assert_int_equal(chain.taken, NUMBERS / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_end_waits_for_a_resumption),
                                       cmocka_unit_test(every_piece_is_seen_before_it_is_taken)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
