/* producer_test.c - pieces from a pool thread to the core, and an end that overtakes a resumption.
 */
#include "etcd-server/host/loop.h"
#include "etcd-server/host/producer.h"

#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

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

static int one_piece(struct host_producer *producer, host_sink_fn *sink, void *sink_arg,
                     struct err *err)
{
    struct scene *scene = CONTAINER_OF(producer, struct scene, producer);
    int rc = sink(sink_arg, SLICE_LITERAL("piece"), err);

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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_end_waits_for_a_resumption)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
