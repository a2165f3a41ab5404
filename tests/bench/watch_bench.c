/*
 * watch_bench.c - watchers by themselves: memory of an idle one, the cost of a put that 10,000
 * watch, and of reading 500,000 revisions of history. Prints a line each; fails above 350 bytes.
 */
#include "tests/lib/store.h"

#include <malloc.h>
#include <stdio.h>
#include <time.h>

#define STREAMS 100
#define WATCHERS_EACH 100
#define WATCHERS (STREAMS * WATCHERS_EACH)
#define IDLE_BYTES_MAX 350 /* and the key */
#define PUTS 20000
#define HISTORY 500000

static double now_s(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static bool on_events(void *arg, const struct watch_message *message)
{
    const struct watch_hit *hit = message->first;

    for (size_t i = 0; i < message->count; i++, hit = hit->next)
        *(size_t *)arg += watch_event_json(hit->event, message->previous).size != 0;
    return true;
}

static bool ignore(void *arg, int64_t id)
{
    (void)arg;
    (void)id;
    return true;
}

static bool ignore_compacted(void *arg, int64_t id, int64_t revision)
{
    (void)revision;
    return ignore(arg, id);
}

static const struct watch_stream_ops ops = {on_events, ignore_compacted, ignore};

static size_t text_of(unsigned key, char text[32])
{
    return (size_t)snprintf(text, 32, "/registry/pods/%08u", key);
}

static void make_watchers(struct watch_stream **streams, bool ranges, size_t *key_bytes)
{
    for (unsigned i = 0; i < WATCHERS; i++) {
        char key[32];
        struct watch_request request = {.key = slice_of(key, text_of(i, key))};
        int64_t id;

        if (ranges)
            request = (struct watch_request){.key = SLICE_LITERAL("/registry/"),
                                             .range_end = SLICE_LITERAL("/registry0")};
        must(watch_create(streams[i % STREAMS], &request, &id) == WATCH_MADE);
        *key_bytes += request.key.size + request.range_end.size;
    }
}

static double puts_s(struct store *store, unsigned count)
{
    double begin = now_s();

    for (unsigned i = 0; i < count; i++) {
        char key[32];

        (void)text_of(i * 7919 % WATCHERS, key);
        must(store_put(store, key, "a value of some bytes") == ERR_OK);
        if (i % 10000 == 9999)
            store_commit(store);
    }
    return now_s() - begin;
}

int main(void)
{
    struct watch_stream *streams[STREAMS];
    size_t key_bytes = 0, events = 0, before;
    double idle, each, begin, longest = 0;
    struct store store;

    store_init(&store);
    idle = puts_s(&store, PUTS);
    before = mallinfo2().uordblks;
    for (size_t i = 0; i < STREAMS; i++)
        streams[i] = watch_stream_new(store.watches, &ops, &events);
    make_watchers(streams, false, &key_bytes);
    each = (double)(mallinfo2().uordblks - before - key_bytes) / WATCHERS;
    printf("idle watcher: %.0f bytes and its key (%u on %u streams)\n", each, WATCHERS, STREAMS);
    printf("put, not watched: %.2f us; watched by one of %u: %.2f us\n", idle / PUTS * 1e6,
           WATCHERS, puts_s(&store, PUTS) / PUTS * 1e6);
    must(events == PUTS);
    for (size_t i = 0; i < STREAMS; i++) {
        watch_stream_free(streams[i]);
        streams[i] = watch_stream_new(store.watches, &ops, &events);
    }
    make_watchers(streams, true, &key_bytes);
    printf("put, watched by all of %u: %.0f us\n", WATCHERS, puts_s(&store, 200) / 200 * 1e6);
    for (size_t i = 1; i < STREAMS; i++)
        watch_stream_free(streams[i]);
    watch_stream_free(streams[0]);

    (void)puts_s(&store, HISTORY);
    streams[0] = watch_stream_new(store.watches, &ops, &events);
    events = 0;
    {
        struct watch_request all = {.key = SLICE_LITERAL("/"),
                                    .range_end = slice_of("", 1),
                                    .start_revision = mvcc_revision(store.mvcc) - HISTORY + 1};
        int64_t id;
        bool more = true;

        must(watch_create(streams[0], &all, &id) == WATCH_MADE);
        begin = now_s();
        while (more) {
            double step = now_s();

            more = watch_step(store.watches);
            longest = MAX(longest, now_s() - step);
        }
    }
    must(events == HISTORY);
    printf("history of %u revisions: %.2f s, longest step %.2f ms\n", HISTORY, now_s() - begin,
           longest * 1e3);
    watch_stream_free(streams[0]);
    store_fini(&store);
    return each <= IDLE_BYTES_MAX ? 0 : 1;
}
