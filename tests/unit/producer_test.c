/* producer_test.c - pieces from a thread to the core, by way of another one that looks at them, an
 * end that overtakes a resumption, and many that are not read. */
#include "etcd-server/host/loop.h"
#include "etcd-server/host/producer.h"

#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define PIECE_BYTES 1024U

struct scene {
    struct host_producer producer;
    struct loop *loop;
    struct producers *producers;
    sem_t resume_is_queued;
    unsigned taken;
    bool over;
};

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

/* In the loop's queue now: resume(), the end of the thread; resume() adds the delivery
 * behind them. */
static bool pause_and_resume(struct host_producer *producer, struct slice piece)
{
    struct scene *scene = CONTAINER_OF(producer, struct scene, producer);

    assert_true(slice_equal(piece, SLICE_LITERAL("piece")));
    scene->taken++;
    loop_post(scene->loop, resume, scene);
    must(sem_post(&scene->resume_is_queued) == 0);
    producers_end(scene->producers);
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
    assert_int_equal(loop_new(&scene.loop, &err), 0);
    scene.producers = producers_new(scene.loop);
    producer_start(scene.producers, &scene.producer);
    loop_run(scene.loop);
    assert_true(scene.over);
    assert_int_equal(scene.taken, 1);
    producers_free(scene.producers);
    loop_free(scene.loop);
    (void)sem_destroy(&scene.resume_is_queued);
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

static struct chain run_chain(unsigned fails_at, bool stops)
{
    struct chain chain = {.producer = {.run = count_up,
                                       .look = see,
                                       .close = add_sum,
                                       .take = take_number,
                                       .done = chain_over},
                          .fails_at = fails_at,
                          .stops = stops};
    struct producers *producers;
    struct err err = ERR_INIT;

    assert_int_equal(loop_new(&chain.loop, &err), 0);
    producers = producers_new(chain.loop);
    producer_start(producers, &chain.producer);
    loop_run(chain.loop);
    producers_free(producers);
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

/* ---- many of which nothing is read ---- */

#define UNREAD 40U

struct unread {
    struct host_producer producer;
    struct unread *all;
    struct loop *loop;
    struct producers *producers;
    struct chain *chain; /* begun when all have their first piece out */
    bool reached, over;
};

static unsigned count_unread(const struct unread *all, bool over)
{
    unsigned count = 0;

    for (unsigned i = 0; i < UNREAD; i++)
        count += over ? all[i].over : all[i].reached;
    return count;
}

static int fill_queue(struct host_producer *producer, host_sink_fn *sink, void *sink_arg,
                      struct err *err)
{
    static const uint8_t piece[PIECE_BYTES];

    (void)producer;
    while (give(slice_of(piece, sizeof(piece)), sink, sink_arg, err) == 0)
        continue;
    return -1;
}

static bool leave_it(struct host_producer *producer, struct slice piece)
{
    struct unread *unread = CONTAINER_OF(producer, struct unread, producer);

    must(piece.size == PIECE_BYTES && !unread->reached);
    unread->reached = true;
    if (count_unread(unread->all, false) == UNREAD)
        producer_start(unread->producers, &unread->chain->producer);
    return false;
}

static void unread_over(struct host_producer *producer, const struct err *err)
{
    struct unread *unread = CONTAINER_OF(producer, struct unread, producer);

    assert_int_equal(err->code, ERR_CANCELED);
    unread->over = true;
    if (count_unread(unread->all, true) == UNREAD)
        loop_stop(unread->loop);
}

static void those_that_are_not_read_hold_up_nobody(void **state)
{
    struct chain chain = {.producer = {.run = count_up,
                                       .look = see,
                                       .close = add_sum,
                                       .take = take_number,
                                       .done = chain_over}};
    struct unread all[UNREAD];
    struct producers *producers;
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(loop_new(&chain.loop, &err), 0);
    producers = producers_new(chain.loop);
    for (unsigned i = 0; i < UNREAD; i++)
        all[i] =
            (struct unread){.producer = {.run = fill_queue, .take = leave_it, .done = unread_over},
                            .all = all,
                            .loop = chain.loop,
                            .producers = producers,
                            .chain = &chain};
    for (unsigned i = 0; i < UNREAD; i++)
        producer_start(producers, &all[i].producer);
    loop_run(chain.loop); /* until the chain is over */
    assert_int_equal(chain.taken, NUMBERS + 1);
    assert_int_equal(count_unread(all, true), 0);
    producers_end(producers); /* their threads, whoever reads or not */
    loop_run(chain.loop);
    assert_int_equal(count_unread(all, true), UNREAD);
    producers_free(producers);
    loop_free(chain.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_end_waits_for_a_resumption),
                                       cmocka_unit_test(every_piece_is_seen_before_it_is_taken),
                                       cmocka_unit_test(those_that_are_not_read_hold_up_nobody)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
