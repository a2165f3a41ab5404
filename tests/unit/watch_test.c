/* watch_test.c - the rules of watchers one by one: ids, ranges, filters, seams, compaction. */
#include "common/base/limits.h"
#include "common/schema/kv.pb-c.h"
#include "tests/lib/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* What a stream was sent, as text: "0@5:+a=1,-b " is watch 0, header revision 5, two events. */
struct fixture {
    struct store store;
    struct watch_stream *stream;
    char text[8192];
    size_t size, messages, events;
    bool refuse; /* the next message fills the stream */
};

static void say(struct fixture *fixture, const char *format, ...) PRINTF_LIKE(2, 3);
static void say(struct fixture *fixture, const char *format, ...)
{
    va_list args;
    int size;

    va_start(args, format);
    size = vsnprintf(fixture->text + fixture->size, sizeof(fixture->text) - fixture->size, format,
                     args);
    va_end(args);
    if (fixture->size + (size_t)size < sizeof(fixture->text))
        fixture->size += (size_t)size;
}

static bool on_events(void *arg, const struct watch_message *message)
{
    struct fixture *fixture = arg;
    const struct watch_hit *hit = message->first;

    fixture->messages++;
    fixture->events += message->count;
    say(fixture, "%d@%d:", (int)message->watch_id, (int)message->revision);
    for (size_t i = 0; i < message->count; i++, hit = hit->next) {
        struct slice wire = hit->event->wire[message->previous];
        Mvccpb__Event *event = mvccpb__event__unpack(NULL, wire.size, wire.data);

        assert_non_null(event);
        say(fixture, "%s%s%.*s", i != 0 ? "," : "", event->type != 0 ? "-" : "+",
            (int)event->kv->key.len, (const char *)event->kv->key.data);
        if (event->type == 0)
            say(fixture, "=%.*s", (int)event->kv->value.len, (const char *)event->kv->value.data);
        if (event->prev_kv != NULL)
            say(fixture, "(%.*s)", (int)event->prev_kv->value.len,
                (const char *)event->prev_kv->value.data);
        mvccpb__event__free_unpacked(event, NULL);
    }
    say(fixture, " ");
    return !fixture->refuse;
}

static bool on_compacted(void *arg, int64_t id, int64_t revision)
{
    say(arg, "%d:compacted %d ", (int)id, (int)revision);
    return true;
}

static bool on_progress(void *arg, int64_t id)
{
    say(arg, "%d:progress ", (int)id);
    return true;
}

static const struct watch_stream_ops ops = {on_events, on_compacted, on_progress};

static int setup(void **state)
{
    struct fixture *fixture = xalloc(sizeof(*fixture));

    store_init(&fixture->store);
    fixture->stream = watch_stream_new(fixture->store.watches, &ops, fixture);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    watch_stream_free(fixture->stream);
    store_fini(&fixture->store);
    free(fixture);
    return 0;
}

static struct watch_request on_key(const char *key, const char *end, int64_t start)
{
    return (struct watch_request){.key = slice_text(key),
                                  .range_end = end != NULL ? slice_text(end) : SLICE_EMPTY,
                                  .start_revision = start};
}

static int64_t made(struct fixture *fixture, struct watch_request request)
{
    int64_t id = -7;

    assert_int_equal(watch_create(fixture->stream, &request, &id), WATCH_MADE);
    return id;
}

static void put(struct fixture *fixture, const char *key, const char *value)
{
    assert_int_equal(store_put(&fixture->store, key, value), ERR_OK);
}

static void step_all(struct fixture *fixture)
{
    while (watch_step(fixture->store.watches))
        ;
}

/* What was sent since the last time. */
static void expect(struct fixture *fixture, const char *text)
{
    assert_string_equal(fixture->text, text);
    fixture->size = 0;
    fixture->text[0] = '\0';
}

static void test_ids(void **state)
{
    struct fixture *fixture = *state;
    struct watch_request chosen = on_key("a", NULL, 0), again = on_key("a", NULL, 0);
    int64_t id;

    chosen.id = 2;
    assert_int_equal(made(fixture, on_key("a", NULL, 0)), 0);
    assert_int_equal(made(fixture, chosen), 2);
    assert_int_equal(made(fixture, on_key("a", NULL, 0)), 1);
    assert_int_equal(made(fixture, on_key("a", NULL, 0)), 3); /* 2 is taken */
    again.id = 2;
    assert_int_equal(watch_create(fixture->stream, &again, &id), WATCH_DUPLICATE_ID);
    again.id = INT64_MIN;
    assert_int_equal(made(fixture, again), INT64_MIN);
    assert_true(watch_cancel(fixture->stream, 0));
    assert_false(watch_cancel(fixture->stream, 0));
    assert_int_equal(made(fixture, on_key("a", NULL, 0)), 4); /* 0 was tried */
    assert_int_equal(watch_stream_watchers(fixture->stream), 5);
}

static void test_refused_ranges(void **state)
{
    struct fixture *fixture = *state;
    struct watch_request request = on_key("b", "a", 0);
    int64_t id;

    assert_int_equal(watch_create(fixture->stream, &request, &id), WATCH_EMPTY_RANGE);
    request = on_key("b", "b", 0);
    assert_int_equal(watch_create(fixture->stream, &request, &id), WATCH_EMPTY_RANGE);
    request = on_key("b", NULL, -1);
    assert_int_equal(watch_create(fixture->stream, &request, &id), WATCH_COMPACTED);
    assert_int_equal(watch_stream_watchers(fixture->stream), 0);
}

static void test_ranges(void **state)
{
    struct fixture *fixture = *state;
    struct watch_request open = on_key("b", NULL, 0), all = on_key("", NULL, 0);

    open.range_end = all.range_end = slice_of("", 1); /* a zero byte */
    assert_int_equal(made(fixture, on_key("b", NULL, 0)), 0);
    assert_int_equal(made(fixture, on_key("b", "c", 0)), 1);
    assert_int_equal(made(fixture, open), 2);
    assert_int_equal(made(fixture, all), 3);
    put(fixture, "a", "1");
    expect(fixture, "3@2:+a=1 ");
    put(fixture, "b", "1");
    expect(fixture, "3@3:+b=1 0@3:+b=1 1@3:+b=1 2@3:+b=1 ");
    put(fixture, "b1", "1");
    expect(fixture, "3@4:+b1=1 1@4:+b1=1 2@4:+b1=1 ");
    put(fixture, "c", "1");
    expect(fixture, "3@5:+c=1 2@5:+c=1 ");
    assert_int_equal(store_delete(&fixture->store, "a", "d"), 4);
    expect(fixture, "3@6:-a,-b,-b1,-c 0@6:-b 1@6:-b,-b1 2@6:-b,-b1,-c ");
}

static void test_filters_and_previous(void **state)
{
    struct fixture *fixture = *state;
    struct watch_request no_put = on_key("k", NULL, 0), no_delete = no_put;

    no_put.no_put = true;
    no_delete.no_delete = true;
    no_put.prev_kv = no_delete.prev_kv = true;
    assert_int_equal(made(fixture, no_put), 0);
    assert_int_equal(made(fixture, no_delete), 1);
    put(fixture, "k", "1");
    put(fixture, "k", "2");
    assert_int_equal(store_delete(&fixture->store, "k", NULL), 1);
    put(fixture, "k", "3");
    expect(fixture, "1@2:+k=1 1@3:+k=2(1) 0@4:-k(2) 1@5:+k=3 ");
}

static void test_history_then_live(void **state)
{
    struct fixture *fixture = *state;

    put(fixture, "k", "1");
    put(fixture, "other", "1");
    put(fixture, "k", "2");
    assert_int_equal(made(fixture, on_key("k", NULL, 1)), 0);
    assert_int_equal(made(fixture, on_key("k", NULL, 4)), 1);
    assert_false(watch_stream_in_step(fixture->stream));
    put(fixture, "k", "3"); /* after creation, before the first step */
    expect(fixture, "");
    step_all(fixture);
    expect(fixture, "0@5:+k=1,+k=2,+k=3 1@5:+k=2,+k=3 ");
    assert_true(watch_stream_in_step(fixture->stream));
    put(fixture, "k", "4");
    expect(fixture, "0@6:+k=4 1@6:+k=4 ");
}

static void test_future(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(made(fixture, on_key("k", NULL, 3)), 0);
    assert_false(watch_stream_in_step(fixture->stream));
    put(fixture, "k", "1");
    expect(fixture, "");
    assert_false(watch_stream_in_step(fixture->stream));
    put(fixture, "k", "2");
    expect(fixture, "0@3:+k=2 ");
    assert_true(watch_stream_in_step(fixture->stream));
}

static void test_full_stream(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(made(fixture, on_key("k", NULL, 0)), 0);
    assert_int_equal(made(fixture, on_key("j", NULL, 0)), 1);
    fixture->refuse = true;
    put(fixture, "k", "1"); /* taken all the same */
    put(fixture, "k", "2");
    put(fixture, "j", "1");
    step_all(fixture);
    expect(fixture, "0@2:+k=1 ");
    assert_false(watch_stream_in_step(fixture->stream));
    assert_int_equal(watch_stats(fixture->store.watches).slow, 2);
    assert_int_equal(watch_stats(fixture->store.watches).pending, 1); /* what filled it */
    fixture->refuse = false;
    watch_stream_resume(fixture->stream);
    assert_int_equal(watch_stats(fixture->store.watches).pending, 0);
    step_all(fixture);
    expect(fixture, "1@4:+j=1 0@4:+k=2 ");
    assert_int_equal(watch_stats(fixture->store.watches).slow, 0);
}

static void test_compacted(void **state)
{
    struct fixture *fixture = *state;

    for (int i = 0; i < 5; i++)
        put(fixture, "k", "1");
    assert_int_equal(mvcc_apply_compact(fixture->store.mvcc, 4), ERR_OK);
    assert_int_equal(made(fixture, on_key("none", NULL, 3)), 0);
    assert_int_equal(made(fixture, on_key("k", NULL, 4)), 1);
    expect(fixture, "");
    step_all(fixture);
    expect(fixture, "0:compacted 4 1@6:+k=1,+k=1,+k=1 ");
    assert_int_equal(watch_stream_watchers(fixture->stream), 1);
}

static void test_compacted_under_a_sweep(void **state)
{
    struct fixture *fixture = *state;
    unsigned count = 2 * WATCH_STEP_RECORDS;
    char expected[64];

    for (unsigned i = 0; i < count; i++)
        put(fixture, "k", "1");
    assert_int_equal(made(fixture, on_key("k", NULL, 2)), 0);
    assert_int_equal(made(fixture, on_key("k", NULL, count - 1)), 1);
    assert_true(watch_step(fixture->store.watches)); /* half of it was read */
    assert_int_equal(mvcc_apply_compact(fixture->store.mvcc, count - 2), ERR_OK);
    store_compact_all(&fixture->store);
    step_all(fixture);
    (void)snprintf(expected, sizeof(expected), "0:compacted %u 1@%u:+k=1,+k=1,+k=1 ", count - 2,
                   count + 1);
    expect(fixture, expected);
}

static void test_long_history(void **state)
{
    struct fixture *fixture = *state;
    size_t steps = 0;

    for (unsigned i = 0; i < 2500; i++)
        put(fixture, "k", "");
    store_commit(&fixture->store);
    assert_int_equal(made(fixture, on_key("k", NULL, 1)), 0);
    while (watch_step(fixture->store.watches)) {
        put(fixture, "other", "");
        steps++;
    }
    assert_int_equal(fixture->messages, 2500 / WATCH_SLICE_REVISIONS + 1);
    assert_int_equal(fixture->events, 2500);
    assert_in_range(steps, 2500 / WATCH_STEP_RECORDS, 2 * 2500 / WATCH_STEP_RECORDS);
}

/* Only revisions that a watcher wants make its messages long (and those that it filters); recorded
 * from an etcd. */
static void test_message_of_history(void **state)
{
    struct fixture *fixture = *state;
    struct watch_request filtered = on_key("m", NULL, 1);

    put(fixture, "a", "1");
    for (unsigned i = 0; i < WATCH_SLICE_REVISIONS + 200; i++)
        put(fixture, "m", "");
    put(fixture, "a", "2");
    assert_int_equal(store_delete(&fixture->store, "m", NULL), 1);
    store_commit(&fixture->store);
    filtered.no_put = true;
    assert_int_equal(made(fixture, on_key("a", NULL, 1)), 0);
    assert_int_equal(made(fixture, filtered), 1);
    step_all(fixture);
    expect(fixture, "0@1204:+a=1,+a=2 1@1204:-m ");
    fixture->messages = fixture->events = 0;
    assert_int_equal(made(fixture, on_key("m", NULL, WATCH_SLICE_REVISIONS + 2)), 2);
    assert_int_equal(made(fixture, on_key("m", NULL, 1)), 3);
    assert_int_equal(made(fixture, on_key("a", NULL, 1)), 4);
    step_all(fixture);
    assert_int_equal(fixture->messages, 1 + 2 + 1);
    assert_int_equal(fixture->events, 202 + 1201 + 2);
}

/* A client that reads nothing costs the message it does not read; all of them no more than
 * WATCH_UNREAD_BYTES, beside one small message each. */
static void test_unread_messages_are_counted(void **state)
{
    struct fixture *fixture = *state;
    enum { STREAMS = 40, VALUES = 100 };
    struct watch_stream *streams[STREAMS];
    struct watch_request request = on_key("k", NULL, 1);
    char *value = xalloc(WATCH_SLICE_LEAST_BYTES + 1);
    size_t unread = 0, turns = 0, large;
    int64_t id;

    memset(value, 'v', WATCH_SLICE_LEAST_BYTES);
    for (unsigned i = 0; i < VALUES; i++)
        put(fixture, "k", value);
    store_commit(&fixture->store);
    fixture->refuse = true;
    for (size_t i = 0; i < STREAMS; i++) {
        streams[i] = watch_stream_new(fixture->store.watches, &ops, fixture);
        assert_int_equal(watch_create(streams[i], &request, &id), WATCH_MADE);
    }
    step_all(fixture);
    unread = watch_stats(fixture->store.watches).pending;
    assert_int_equal(unread, fixture->events);
    assert_int_equal(fixture->messages, STREAMS);
    large = WATCH_UNREAD_BYTES / WATCH_SLICE_LEAST_BYTES;
    assert_in_range(unread, large / 2, large + STREAMS);
    fixture->refuse = false; /* now they read: all get all, one after another */
    while (fixture->events < STREAMS * VALUES) {
        for (size_t i = 0; i < STREAMS; i++)
            watch_stream_resume(streams[i]);
        step_all(fixture);
        assert_in_range(turns++, 0, 2);
    }
    assert_int_equal(watch_stats(fixture->store.watches).pending, 0);
    assert_int_equal(fixture->events, STREAMS * VALUES);
    for (size_t i = 0; i < STREAMS; i++)
        watch_stream_free(streams[i]);
    free(value);
}

static void test_large_values(void **state)
{
    struct fixture *fixture = *state;
    char value[WATCH_STEP_BYTES / 4 + 1];
    size_t steps = 0;

    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    for (unsigned i = 0; i < 40; i++)
        put(fixture, "k", value);
    assert_int_equal(made(fixture, on_key("k", NULL, 1)), 0);
    while (watch_has_history(fixture->store.watches)) {
        (void)watch_step(fixture->store.watches);
        steps++;
    }
    assert_int_equal(fixture->events, 40);
    assert_int_equal(fixture->messages, 1);
    assert_int_equal(steps, 40 / 4 + 1); /* four of them fill a step; the last one sends */
}

static void test_progress(void **state)
{
    struct fixture *fixture = *state;
    struct watch_request request = on_key("k", NULL, 0);

    assert_false(watch_stream_in_step(fixture->stream)); /* no watch */
    request.progress_notify = true;
    assert_int_equal(made(fixture, request), 0);
    assert_int_equal(made(fixture, on_key("k", NULL, 0)), 1);
    watch_stream_notify(fixture->stream);
    expect(fixture, "0:progress ");
    put(fixture, "k", "1");
    watch_stream_notify(fixture->stream); /* it had an event */
    expect(fixture, "0@2:+k=1 1@2:+k=1 ");
    watch_stream_notify(fixture->stream);
    expect(fixture, "0:progress ");
}

static void test_cancel_in_a_sweep(void **state)
{
    struct fixture *fixture = *state;

    for (unsigned i = 0; i < 2 * WATCH_STEP_RECORDS; i++)
        put(fixture, "k", "1");
    assert_int_equal(made(fixture, on_key("k", NULL, 1)), 0);
    assert_true(watch_step(fixture->store.watches));
    assert_true(watch_stats(fixture->store.watches).pending > 0);
    assert_true(watch_cancel(fixture->stream, 0));
    assert_int_equal(watch_stats(fixture->store.watches).pending, 0);
    step_all(fixture);
    expect(fixture, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_ids, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_ranges, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ranges, setup, teardown),
        cmocka_unit_test_setup_teardown(test_filters_and_previous, setup, teardown),
        cmocka_unit_test_setup_teardown(test_history_then_live, setup, teardown),
        cmocka_unit_test_setup_teardown(test_future, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_stream, setup, teardown),
        cmocka_unit_test_setup_teardown(test_compacted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_compacted_under_a_sweep, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_history, setup, teardown),
        cmocka_unit_test_setup_teardown(test_message_of_history, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unread_messages_are_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_progress, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_in_a_sweep, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
