/*
 * watch_model_test.c - watchers against a model that keeps every change in a plain list.
 *
 * Random changes, compactions, commits, restarts, slow streams, watches that come and go. What a
 * watcher is sent must be the very next change that it asked for (ordered, unique, reliable), whole
 * revisions (atomic), with the right key-value before; a restarted client goes on behind what it
 * has seen (resumable); who is called in step has seen everything (bookmarkable); in the end
 * everybody has.
 */
#include "common/base/limits.h"
#include "common/schema/kv.pb-c.h"
#include "common/schema/pbbytes.h"
#include "tests/lib/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define KEYS 24
#define CHANGES_MAX 40000
#define STREAMS 6
#define WATCHERS 10 /* of a stream */
#define TXN_KEYS 4

struct change {
    unsigned key;
    int64_t revision;
    bool tombstone;
    int64_t create, version;
    uint32_t value;
};

struct model;

struct watching {
    bool used;
    int64_t id;
    unsigned from, to; /* keys */
    int64_t start;     /* first revision wanted */
    bool future;       /* asked for with a revision that is not there yet */
    bool no_put, no_delete, prev_kv;
    size_t position; /* change to look at next */
};

struct client {
    struct model *model;
    struct watch_stream *stream;
    bool full;
    struct watching watches[WATCHERS];
};

struct model {
    struct store store;
    uint64_t random;
    struct change changes[CHANGES_MAX];
    size_t count;
    int64_t current, compacted;
    struct client clients[STREAMS];
    bool applying;
    bool long_history; /* compacted rarely: sweeps take many steps and end in the middle */
    size_t messages, cancelled, bookmarks;
};

static uint32_t draw(struct model *model, uint32_t below)
{
    model->random ^= model->random << 13;
    model->random ^= model->random >> 7;
    model->random ^= model->random << 17;
    return (uint32_t)((model->random >> 16) % below);
}

/* Keys of two lengths, one the beginning of the other: "k-07", "k-07/s". */
static ProtobufCBinaryData key_of(unsigned key, char text[32])
{
    int size = snprintf(text, 32, "k-%02u%s", key / 2, key % 2 ? "/s" : "");

    return (ProtobufCBinaryData){.data = (uint8_t *)text, .len = (size_t)size};
}

static const struct change *newest(const struct model *model, unsigned key, int64_t at)
{
    for (size_t i = model->count; i-- > 0;)
        if (model->changes[i].key == key && model->changes[i].revision <= at)
            return &model->changes[i];
    return NULL;
}

static bool lives(const struct model *model, unsigned key)
{
    const struct change *change = newest(model, key, INT64_MAX);

    return change != NULL && !change->tombstone;
}

static void model_change(struct model *model, unsigned key, bool tombstone, uint32_t value)
{
    const struct change *before = newest(model, key, INT64_MAX);
    bool lived = before != NULL && !before->tombstone;
    struct change *change = &model->changes[model->count];

    assert_true(model->count < CHANGES_MAX);
    *change = (struct change){
        .key = key, .revision = model->current, .tombstone = tombstone, .value = value};
    if (!tombstone) {
        change->create = lived ? before->create : model->current;
        change->version = lived ? before->version + 1 : 1;
    }
    model->count++;
}

/* ---- what arrives ---- */

static bool wants(const struct watching *watch, const struct change *change)
{
    return change->key >= watch->from && change->key < watch->to &&
           change->revision >= watch->start &&
           !(change->tombstone ? watch->no_delete : watch->no_put);
}

static const struct change *next_wanted(const struct model *model, struct watching *watch)
{
    while (watch->position < model->count && !wants(watch, &model->changes[watch->position]))
        watch->position++;
    return watch->position < model->count ? &model->changes[watch->position] : NULL;
}

static void check_kv(const struct change *change, const Mvccpb__KeyValue *kv)
{
    char text[32];
    ProtobufCBinaryData key = key_of(change->key, text);

    assert_int_equal(kv->key.len, key.len);
    assert_memory_equal(kv->key.data, key.data, key.len);
    assert_int_equal(kv->mod_revision, change->revision);
    assert_int_equal(kv->create_revision, change->create);
    assert_int_equal(kv->version, change->version);
    assert_int_equal(kv->value.len, change->tombstone ? 0 : sizeof(change->value));
    if (!change->tombstone)
        assert_memory_equal(kv->value.data, &change->value, sizeof(change->value));
}

static void check_previous(const struct model *model, const struct change *change,
                           const Mvccpb__Event *event)
{
    const struct change *before = newest(model, change->key, change->revision - 1);

    if (before == NULL || before->tombstone) {
        assert_null(event->prev_kv);
        return;
    }
    if (change->revision - 1 >= model->compacted)
        assert_non_null(event->prev_kv);
    if (event->prev_kv != NULL) /* compacted since: may be there or not */
        check_kv(before, event->prev_kv);
}

static void check_event(const struct model *model, struct watching *watch, struct slice wire)
{
    Mvccpb__Event *event = mvccpb__event__unpack(NULL, wire.size, wire.data);
    const struct change *change = next_wanted(model, watch);

    assert_non_null(event);
    assert_non_null(change);
    assert_int_equal(event->type == MVCCPB__EVENT__EVENT_TYPE__DELETE, change->tombstone);
    check_kv(change, event->kv);
    if (watch->prev_kv)
        check_previous(model, change, event);
    else
        assert_null(event->prev_kv);
    watch->position++;
    mvccpb__event__free_unpacked(event, NULL);
}

static struct watching *find(struct client *client, int64_t id)
{
    for (size_t i = 0; i < WATCHERS; i++)
        if (client->watches[i].used && client->watches[i].id == id)
            return &client->watches[i];
    fail_msg("a message for a watch that is not there");
    return NULL;
}

static bool may_fill(struct client *client)
{
    assert_false(client->full); /* nothing is sent to a full stream */
    client->full = draw(client->model, 4) == 0;
    client->model->messages++;
    return !client->full;
}

static bool on_events(void *arg, const struct watch_message *message)
{
    struct client *client = arg;
    struct model *model = client->model;
    struct watching *watch = find(client, message->watch_id);
    const struct watch_hit *hit = message->first;
    int64_t first = 0, last = 0;
    size_t revisions = 0;
    const struct change *after;

    assert_true(message->count > 0);
    for (size_t i = 0; i < message->count; i++, hit = hit->next) {
        struct slice json = watch_event_json(hit->event, message->previous);

        assert_int_equal(json.data[0], '{');
        check_event(model, watch, hit->event->wire[message->previous]);
        revisions += last != model->changes[watch->position - 1].revision;
        last = model->changes[watch->position - 1].revision;
        first = i == 0 ? last : first;
    }
    assert_int_equal(message->revision, model->current);
    assert_true(!model->applying || (first == last && last == model->current));
    assert_true(revisions <= WATCH_SLICE_REVISIONS);
    after = next_wanted(model, watch);
    assert_true(after == NULL || after->revision > last);
    return may_fill(client);
}

static bool on_compacted(void *arg, int64_t id, int64_t revision)
{
    struct client *client = arg;
    struct model *model = client->model;
    struct watching *watch = find(client, id);

    assert_int_equal(revision, model->compacted);
    assert_true(watch->start < revision);
    watch->used = false;
    model->cancelled++;
    return may_fill(client);
}

static bool on_progress(void *arg, int64_t id)
{
    struct client *client = arg;

    assert_null(next_wanted(client->model, find(client, id)));
    assert_false(find(client, id)->start > client->model->current + 1);
    client->model->bookmarks++;
    return may_fill(client);
}

static const struct watch_stream_ops ops = {on_events, on_compacted, on_progress};

/* ---- what clients do ---- */

static void make(struct client *client, struct watching *watch, int64_t start)
{
    struct model *model = client->model;
    char from_text[32], to_text[32];
    ProtobufCBinaryData from = key_of(watch->from, from_text), to = key_of(watch->to, to_text);
    struct watch_request request = {.key = pb_slice(from),
                                    .range_end = pb_slice(to),
                                    .start_revision = start,
                                    .no_put = watch->no_put,
                                    .no_delete = watch->no_delete,
                                    .prev_kv = watch->prev_kv,
                                    .progress_notify = draw(model, 2)};

    if (watch->to == watch->from + 1 && draw(model, 2))
        request.range_end = SLICE_EMPTY;
    else if (watch->to == KEYS && draw(model, 2))
        request.range_end = slice_of("", 1);
    assert_int_equal(watch_create(client->stream, &request, &watch->id), WATCH_MADE);
    watch->used = true;
}

static void do_watch(struct model *model)
{
    struct client *client = &model->clients[draw(model, STREAMS)];
    struct watching *watch = &client->watches[draw(model, WATCHERS)];
    int64_t start = 0;

    if (watch->used) {
        assert_true(watch_cancel(client->stream, watch->id));
        assert_false(watch_cancel(client->stream, watch->id));
        watch->used = false;
        return;
    }
    if (draw(model, 2))
        start = 1 + (int64_t)draw(model, (uint32_t)model->current + 3);
    *watch = (struct watching){.start = start != 0 ? start : model->current + 1,
                               .from = draw(model, KEYS),
                               .no_put = draw(model, 6) == 0,
                               .no_delete = draw(model, 6) == 0,
                               .prev_kv = draw(model, 2)};
    watch->to = watch->from + 1 + draw(model, KEYS - watch->from);
    make(client, watch, start);
}

static void do_resume(struct model *model)
{
    struct client *client = &model->clients[draw(model, STREAMS)];

    if (!client->full)
        return;
    client->full = false;
    watch_stream_resume(client->stream);
}

static void do_bookmark(struct model *model)
{
    struct client *client = &model->clients[draw(model, STREAMS)];

    watch_stream_notify(client->stream);
    if (!watch_stream_in_step(client->stream))
        return;
    model->bookmarks++;
    for (size_t i = 0; i < WATCHERS; i++)
        if (client->watches[i].used)
            assert_null(next_wanted(model, &client->watches[i]));
}

/* ---- what the store does ---- */

static void do_put(struct model *model)
{
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__PutRequest puts[TXN_KEYS];
    Etcdserverpb__RequestOp op[TXN_KEYS], *list[TXN_KEYS];
    Etcdserverpb__TxnResponse *response;
    size_t count = 1 + (draw(model, 4) == 0 ? draw(model, TXN_KEYS) : 0);
    unsigned first = draw(model, KEYS - TXN_KEYS);
    uint32_t values[TXN_KEYS];
    char texts[TXN_KEYS][32];

    model->current++;
    for (size_t i = 0; i < count; i++) {
        values[i] = draw(model, UINT32_MAX);
        model_change(model, first + (unsigned)i, false, values[i]);
        etcdserverpb__put_request__init(&puts[i]);
        etcdserverpb__request_op__init(&op[i]);
        puts[i].key = key_of(first + (unsigned)i, texts[i]);
        puts[i].value =
            (ProtobufCBinaryData){.data = (uint8_t *)&values[i], .len = sizeof(values[i])};
        op[i].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        op[i].request_put = &puts[i];
        list[i] = &op[i];
    }
    txn.success = list;
    txn.n_success = count;
    model->applying = true;
    assert_int_equal(mvcc_apply_txn(model->store.mvcc, &txn, NULL, &response), ERR_OK);
    model->applying = false;
}

static void do_delete(struct model *model)
{
    Etcdserverpb__DeleteRangeRequest request = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    Etcdserverpb__DeleteRangeResponse *response;
    unsigned from = draw(model, KEYS), to = MIN(from + 1 + draw(model, 5), KEYS);
    char from_text[32], to_text[32];
    bool first = true;

    for (unsigned key = from; key < to; key++) {
        if (!lives(model, key))
            continue;
        model->current += first;
        first = false;
        model_change(model, key, true, 0);
    }
    request.key = key_of(from, from_text);
    request.range_end = key_of(to, to_text);
    model->applying = true;
    assert_int_equal(mvcc_apply_delete_range(model->store.mvcc, &request, NULL, &response), ERR_OK);
    model->applying = false;
}

static void do_compact(struct model *model)
{
    int64_t span = model->current - MAX(model->compacted, 0);
    int64_t to = model->current - (int64_t)draw(model, (uint32_t)MIN(span, 400) + 1);

    if (model->long_history) {
        if (draw(model, 4) != 0)
            return;
        to = model->compacted + (int64_t)draw(model, (uint32_t)span + 1);
    }

    if (to <= model->compacted)
        return;
    assert_int_equal(mvcc_apply_compact(model->store.mvcc, to), ERR_OK);
    model->compacted = to;
    if (draw(model, 2))
        store_compact_all(&model->store);
}

static void open_streams(struct model *model)
{
    for (size_t i = 0; i < STREAMS; i++) {
        struct client *client = &model->clients[i];

        client->model = model;
        client->full = false;
        client->stream = watch_stream_new(model->store.watches, &ops, client);
    }
}

static void close_streams(struct model *model)
{
    for (size_t i = 0; i < STREAMS; i++)
        watch_stream_free(model->clients[i].stream);
}

static void do_restart(struct model *model)
{
    close_streams(model);
    store_restart(&model->store);
    open_streams(model);
    for (size_t i = 0; i < STREAMS; i++) {
        for (size_t j = 0; j < WATCHERS; j++) {
            struct watching *watch = &model->clients[i].watches[j];
            int64_t seen = 0;

            if (!watch->used)
                continue;
            for (size_t at = 0; at < watch->position; at++)
                if (wants(watch, &model->changes[at]))
                    seen = model->changes[at].revision;
            watch->start = MAX(watch->start, seen + 1);
            make(&model->clients[i], watch, watch->start);
        }
    }
}

static void do_something(struct model *model)
{
    uint32_t what = draw(model, 1000);

    if (what < 400)
        do_put(model);
    else if (what < 480)
        do_delete(model);
    else if (what < 560)
        do_watch(model);
    else if (what < 680)
        do_resume(model);
    else if (what < 760)
        do_bookmark(model);
    else if (what < 960)
        (void)watch_step(model->store.watches);
    else if (what < 975)
        store_commit(&model->store);
    else if (what < 985)
        do_compact(model);
    else if (what < 998)
        (void)mvcc_compact_step(model->store.mvcc, 50);
    else
        do_restart(model);
    assert_int_equal(mvcc_revision(model->store.mvcc), model->current);
}

/* Everybody reads until there is nothing more. */
static void drain(struct model *model)
{
    bool more = true;

    while (more) {
        more = watch_step(model->store.watches);
        for (size_t i = 0; i < STREAMS; i++) {
            struct client *client = &model->clients[i];

            if (client->full) {
                client->full = false;
                watch_stream_resume(client->stream);
                more = true;
            }
        }
    }
    assert_int_equal(watch_stats(model->store.watches).slow, 0);
    assert_int_equal(watch_stats(model->store.watches).pending, 0);
    for (size_t i = 0; i < STREAMS; i++)
        for (size_t j = 0; j < WATCHERS; j++)
            if (model->clients[i].watches[j].used)
                assert_null(next_wanted(model, &model->clients[i].watches[j]));
}

static void run(uint64_t seed, size_t steps, bool long_history)
{
    struct model *model = xalloc(sizeof(*model));

    model->random = seed * 0x9e3779b97f4a7c15ULL + 1;
    model->current = 1;
    model->compacted = -1;
    model->long_history = long_history;
    store_init(&model->store);
    open_streams(model);
    for (size_t i = 0; i < steps; i++)
        do_something(model);
    drain(model);
    assert_true(model->messages > 0 && model->bookmarks > 0);
    if (steps > 5000)
        assert_true(model->cancelled > 0);
    close_streams(model);
    store_fini(&model->store);
    free(model);
}

static void test_short_lives(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        print_message("seed %u\n", (unsigned)seed);
        run(seed, 1200, seed % 2 == 0);
    }
}

static void test_long_lives(void **state)
{
    (void)state;
    for (uint64_t seed = 100; seed < 112; seed++) {
        print_message("seed %u\n", (unsigned)seed);
        run(seed, 12000, seed % 4 != 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_short_lives),
        cmocka_unit_test(test_long_lives),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
