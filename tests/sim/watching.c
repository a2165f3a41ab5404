/*
 * watching.c - clients that watch, and what they get held against the model: every event of their
 * range from their start on, in order, whole, once (api.md 7).
 *
 *   client's place: (revision, sub) of the next event it has not seen
 *   a message of events goes on exactly there; a progress message says there is nothing before it
 *   a crash ends all streams of a member; some clients come back, to another member too, and go on
 *   from their place
 *
 * Compaction at R drops from the history what R itself deleted or overwrote: only that may be
 * missing, and only for who reads the history.
 */
#include "common/schema/pbbytes.h"
#include "tests/sim/answer.h"
#include "tests/sim/sim.h"

#include <stdio.h>

#define STREAMS_MAX 6
#define WATCHERS_MAX 4 /* of a stream */
#define PAUSE_MS_MAX 3000
#define KEY_BYTES 8
#define ARENA_BYTES (1 * MIB)

struct sim_watcher {
    char key[KEY_BYTES], range_end[KEY_BYTES];
    size_t range_end_bytes; /* 1 and NUL: all from key on */
    bool prev_kv, no_put, no_delete, fragment, progress_notify;
    int64_t id;
    int64_t main, sub; /* the next event it may get is not before this */
    bool live;         /* began now and was never held up: compaction is no reason to end it */
    bool open;
};

struct sim_stream {
    struct call call; /* first */
    struct sim_stream *next;
    struct sim *sim;
    struct node *node;
    struct sim_watcher watchers[WATCHERS_MAX];
    size_t count;
    struct sim_watcher *creating; /* its answer is awaited */
    bool token_over;              /* when it was shown for that */
    bool paused, ended, refused;
};

static ProtobufCBinaryData binary(const char *text, size_t bytes)
{
    return (ProtobufCBinaryData){bytes, (uint8_t *)(uintptr_t)text}; /* only read */
}

/* ---- what must come ---- */

/* The next event of the watcher; what its filters and compaction may leave out is passed over. */
static bool next_event(const struct node *node, struct sim_watcher *watcher, bool all,
                       struct model_event *event)
{
    int64_t main = watcher->main, sub = watcher->sub;

    while (model_next_event(&node->model, binary(watcher->key, strlen(watcher->key)),
                            binary(watcher->range_end, watcher->range_end_bytes), main, sub,
                            event)) {
        bool filtered = event->version->tombstone ? watcher->no_delete : watcher->no_put;
        bool lossy = event->version->main <= node->model.compacted &&
                     (event->version->tombstone || event->overwritten);

        if (!filtered && (all || !lossy))
            return true;
        main = event->version->main;
        sub = event->version->sub + 1;
    }
    return false;
}

/* Has the client everything up to `revision`? */
static bool has_all(const struct node *node, struct sim_watcher *watcher, int64_t revision)
{
    struct model_event event;

    return !next_event(node, watcher, false, &event) || event.version->main > revision;
}

static void check_text(struct sim *sim, const char *what, const Mvccpb__KeyValue *found,
                       const Mvccpb__KeyValue *expected)
{
    struct buf got = BUF_INIT(BUF_UNLIMITED), want = BUF_INIT(BUF_UNLIMITED);

    if (found != NULL)
        answer_key_value(&got, found);
    if (expected != NULL)
        answer_key_value(&want, expected);
    sim_trace_bytes(sim, buf_slice(&got));
    sim_check(sim, slice_equal(buf_slice(&got), buf_slice(&want)),
              "a watcher gets %s\n   %s\n  expected\n   %s", what, buf_text(&got), buf_text(&want));
    buf_free(&got);
    buf_free(&want);
}

static void check_previous(struct node *node, const struct sim_watcher *watcher,
                           const Mvccpb__Event *event)
{
    Mvccpb__KeyValue expected;
    bool made = event->type == MVCCPB__EVENT__EVENT_TYPE__PUT &&
                event->kv->create_revision == event->kv->mod_revision;
    bool there = watcher->prev_kv && !made &&
                 model_key_at(&node->model, pb_slice(event->kv->key), event->kv->mod_revision - 1,
                              &expected);

    if (event->prev_kv == NULL && event->kv->mod_revision - 1 < node->model.compacted)
        return; /* it may be gone */
    check_text(node->sim, "a previous value", event->prev_kv, there ? &expected : NULL);
}

static bool is_event(const struct model_event *event, const Mvccpb__Event *found)
{
    return event->version->main == found->kv->mod_revision &&
           event->version->tombstone == (found->type == MVCCPB__EVENT__EVENT_TYPE__DELETE) &&
           slice_equal(event->key, pb_slice(found->kv->key));
}

static void take_event(struct node *node, struct sim_watcher *watcher, const Mvccpb__Event *found)
{
    struct model_event event, sure;
    Mvccpb__KeyValue expected;

    sim_check(node->sim, found->kv != NULL, "an event without a key");
    for (;;) {
        sim_check(node->sim, next_event(node, watcher, true, &event),
                  "watcher %" PRId64 " gets revision %" PRId64 ", but has everything", watcher->id,
                  found->kv->mod_revision);
        if (is_event(&event, found))
            break;
        sim_check(node->sim,
                  !next_event(node, watcher, false, &sure) || sure.version != event.version,
                  "watcher %" PRId64 " gets revision %" PRId64 ", expected %" PRId64 " first",
                  watcher->id, found->kv->mod_revision, event.version->main);
        watcher->main = event.version->main; /* compaction took it away */
        watcher->sub = event.version->sub + 1;
    }
    model_event_key_value(&event, &expected);
    check_text(node->sim, "an event", found->kv, &expected);
    check_previous(node, watcher, found);
    watcher->main = event.version->main;
    watcher->sub = event.version->sub + 1;
}

/* ---- messages ---- */

static struct sim_watcher *find(struct sim_stream *stream, int64_t id)
{
    for (size_t i = 0; i < stream->count; i++)
        if (stream->watchers[i].open && stream->watchers[i].id == id)
            return &stream->watchers[i];
    return NULL;
}

/* Asked when it is created, never again. */
static enum err_code rights_of(const struct sim_stream *stream, const struct sim_watcher *watcher)
{
    return rights_check_keys(&stream->node->model, stream->call.token, false,
                             binary(watcher->key, strlen(watcher->key)),
                             binary(watcher->range_end, watcher->range_end_bytes));
}

static bool is_wrong_way(const struct sim_watcher *watcher)
{
    return watcher->range_end_bytes > 1 && strcmp(watcher->range_end, watcher->key) <= 0;
}

/* First for who asks, then for what he asks for. */
static void take_refused(struct sim_stream *stream, const struct sim_watcher *watcher,
                         const char *reason)
{
    struct node *node = stream->node;
    enum err_code expected = rights_of(stream, watcher);

    if (strstr(reason, err_text(ERR_INVALID_AUTH_TOKEN)) != NULL)
        login_check_code(node, stream->call.token, "a watcher", ERR_INVALID_AUTH_TOKEN, expected);
    else if (expected != ERR_OK)
        sim_check(stream->sim, strstr(reason, err_text(expected)) != NULL,
                  "a watcher is refused: %s, expected: %s", reason, err_text(expected));
    else
        sim_check(stream->sim,
                  is_wrong_way(watcher) ||
                      (watcher->main != 0 && watcher->main < node->model.compacted),
                  "a watcher is refused: %s", reason);
}

static void take_created(struct sim_stream *stream, const Etcdserverpb__WatchResponse *message)
{
    struct sim *sim = stream->sim;
    struct sim_watcher *watcher = stream->creating;

    sim_check(sim, watcher != NULL, "a watcher is created that nobody asked for");
    stream->creating = NULL;
    if (message->canceled) {
        take_refused(stream, watcher, message->cancel_reason);
        return;
    }
    login_check_taken(stream->node, stream->call.token, "a watcher", stream->token_over,
                      rights_of(stream, watcher));
    sim_check(sim, !is_wrong_way(watcher), "a watcher of an empty range is created");
    sim_check(sim, find(stream, message->watch_id) == NULL, "watch id %" PRId64 " is used twice",
              message->watch_id);
    watcher->id = message->watch_id;
    watcher->open = true;
    if (watcher->main == 0)
        watcher->main = message->header->revision + 1;
}

static void take_canceled(struct sim_stream *stream, const Etcdserverpb__WatchResponse *message)
{
    struct sim *sim = stream->sim;
    struct sim_watcher *watcher = find(stream, message->watch_id);

    sim_check(sim, watcher != NULL, "watcher %" PRId64 " is canceled, there is none",
              message->watch_id);
    if (message->compact_revision != 0)
        sim_check(sim,
                  !watcher->live && watcher->main < message->compact_revision &&
                      message->compact_revision <= stream->node->model.compacted,
                  "watcher %" PRId64 " at %" PRId64 " is canceled by compaction %" PRId64,
                  watcher->id, watcher->main, message->compact_revision);
    watcher->open = false;
}

static void take_progress(struct sim_stream *stream, const Etcdserverpb__WatchResponse *message)
{
    struct sim *sim = stream->sim;

    for (size_t i = 0; i < stream->count; i++) {
        struct sim_watcher *watcher = &stream->watchers[i];

        if (!watcher->open || (message->watch_id != -1 && message->watch_id != watcher->id))
            continue;
        sim_check(sim, has_all(stream->node, watcher, message->header->revision),
                  "watcher %" PRId64 " is told it has revision %" PRId64 ", it waits for %" PRId64,
                  watcher->id, message->header->revision, watcher->main);
    }
}

static void take_events(struct sim_stream *stream, const Etcdserverpb__WatchResponse *message)
{
    struct sim *sim = stream->sim;
    struct sim_watcher *watcher = find(stream, message->watch_id);
    int64_t last;

    sim_check(sim, watcher != NULL, "events for watcher %" PRId64 ", there is none",
              message->watch_id);
    for (size_t i = 0; i < message->n_events; i++)
        take_event(stream->node, watcher, message->events[i]);
    last = message->events[message->n_events - 1]->kv->mod_revision;
    sim_check(sim, message->header->revision >= last,
              "events of revision %" PRId64 " under a header of %" PRId64, last,
              message->header->revision);
    sim_check(sim, message->fragment || has_all(stream->node, watcher, last),
              "watcher %" PRId64 " gets half of revision %" PRId64, watcher->id, last);
}

static void resume(struct sim *sim, void *arg)
{
    struct sim_stream *stream = arg;

    (void)sim;
    stream->paused = false;
    if (!stream->ended)
        stream->call.resume(&stream->call);
}

static bool send(struct call *call, const ProtobufCMessage *response)
{
    struct sim_stream *stream = CONTAINER_OF(call, struct sim_stream, call);
    const Etcdserverpb__WatchResponse *message = (const void *)response;
    struct sim *sim = stream->sim;

    node_advance(stream->node);
    sim_trace(sim, "Watch", (uint64_t)message->watch_id, message->n_events);
    sim_check(sim, message->header->revision <= stream->node->model.revision,
              "a watcher is told of revision %" PRId64 ", there is %" PRId64,
              message->header->revision, stream->node->model.revision);
    if (message->created)
        take_created(stream, message);
    else if (message->canceled)
        take_canceled(stream, message);
    else if (message->n_events == 0)
        take_progress(stream, message);
    else
        take_events(stream, message);
    if (sim->quiet || !sim_chance(sim, 60))
        return true;
    for (size_t i = 0; i < stream->count; i++)
        stream->watchers[i].live = false;
    stream->paused = true;
    (void)sim_after(sim, stream->node, sim_draw(sim, sim_chance(sim, 200) ? PAUSE_MS_MAX : 50),
                    resume, stream);
    return false;
}

static void finish(struct call *call, enum err_code code, const char *text)
{
    struct sim_stream *stream = CONTAINER_OF(call, struct sim_stream, call);

    (void)text;
    stream->refused = code == ERR_NOT_SUPPORTED_FOR_LEARNER;
    sim_check(stream->sim, stream->refused || stream->node->dying, "a watch stream ends: %s",
              err_text(code));
}

/* ---- what clients do ---- */

static void stream_free(struct sim *sim, void *arg)
{
    struct sim_stream *stream = arg, **at = &sim->streams;

    while (*at != stream)
        at = &(*at)->next;
    *at = stream->next;
    arena_free(&stream->call.arena);
    free(stream);
}

/* Freed when no resume is on its way any more. */
static void close_stream(struct sim *sim, struct sim_stream *stream)
{
    if (!stream->refused)
        service_cancel(stream->node->service, &stream->call);
    stream->ended = true;
    sim_after(sim, stream->node, PAUSE_MS_MAX, stream_free, stream)->drop = stream_free;
}

static struct sim_stream *open_stream(struct node *node)
{
    struct sim *sim = node->sim;
    static const struct call_ops ops = {.send = send, .finish = finish};
    struct sim_stream *stream = xalloc(sizeof(*stream));
    const char *token = login_token(node);

    stream->sim = sim;
    stream->node = node;
    stream->call.row = rpc_row(RPC_Watch_Watch);
    stream->call.ops = &ops;
    arena_init(&stream->call.arena, ARENA_BYTES);
    stream->next = sim->streams;
    sim->streams = stream;
    if (token != NULL)
        stream->call.token = arena_strndup(&stream->call.arena, token, strlen(token));
    service_start(node->service, &stream->call);
    sim_check(sim, stream->refused == roster_is_learner(&node->model.roster, node->id),
              "a watch stream at member %u is %s", node->number,
              stream->refused ? "refused" : "taken, and it has no vote");
    return stream;
}

static struct sim_watcher random_watcher(struct node *node)
{
    struct sim *sim = node->sim;
    struct sim_watcher watcher = {.prev_kv = sim_chance(sim, 300),
                                  .no_put = sim_chance(sim, 100),
                                  .no_delete = sim_chance(sim, 100),
                                  .fragment = sim_chance(sim, 300),
                                  .progress_notify = sim_chance(sim, 300)};
    unsigned key = (unsigned)sim_draw(sim, sim->options.keys);

    (void)snprintf(watcher.key, sizeof(watcher.key), "k%02u", key % 100);
    if (sim_chance(sim, 400)) {
        (void)snprintf(watcher.range_end, sizeof(watcher.range_end), "k%02u",
                       (unsigned)sim_draw(sim, sim->options.keys) % 100);
        watcher.range_end_bytes = 3;
    } else if (sim_chance(sim, 700)) {
        (void)snprintf(watcher.key, sizeof(watcher.key), "k");
        watcher.range_end_bytes = 1;
    }
    if (sim_chance(sim, 400))
        watcher.main = 1 + (int64_t)sim_draw(sim, (uint64_t)node->model.revision + 5);
    else if (sim_chance(sim, 400))
        watcher.main = node->model.revision + 1;
    return watcher;
}

static void create(struct sim *sim, struct sim_stream *stream, struct sim_watcher watcher)
{
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    Etcdserverpb__WatchCreateRequest make = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    Etcdserverpb__WatchCreateRequest__FilterType filters[2];
    struct sim_watcher *own = &stream->watchers[stream->count];

    must(stream->count < WATCHERS_MAX);
    *own = watcher;
    own->open = false;
    own->live = watcher.main == 0 && !stream->paused;
    stream->count++;
    stream->creating = own;
    make.key = binary(own->key, strlen(own->key));
    make.range_end = binary(own->range_end, own->range_end_bytes);
    make.start_revision = own->main;
    make.prev_kv = own->prev_kv;
    make.fragment = own->fragment;
    make.progress_notify = own->progress_notify;
    make.filters = filters;
    if (own->no_put)
        filters[make.n_filters++] = ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NOPUT;
    if (own->no_delete)
        filters[make.n_filters++] = ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NODELETE;
    stream->token_over = login_is_over(stream->node, stream->call.token);
    login_shown(stream->node, stream->call.token);
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = &make;
    stream->call.message(&stream->call, &request.base);
    sim_check(sim, stream->creating == NULL, "a watcher is not answered");
}

static void ask_progress(struct sim_stream *stream)
{
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    Etcdserverpb__WatchProgressRequest progress = ETCDSERVERPB__WATCH_PROGRESS_REQUEST__INIT;

    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST;
    request.progress_request = &progress;
    stream->call.message(&stream->call, &request.base);
}

static void cancel_one(struct sim *sim, struct sim_stream *stream)
{
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    Etcdserverpb__WatchCancelRequest cancel = ETCDSERVERPB__WATCH_CANCEL_REQUEST__INIT;
    struct sim_watcher *watcher;

    if (stream->count == 0)
        return;
    watcher = &stream->watchers[sim_draw(sim, stream->count)];
    cancel.watch_id = watcher->id;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CANCEL_REQUEST;
    request.cancel_request = &cancel;
    if (!watcher->open)
        return;
    stream->call.message(&stream->call, &request.base);
    sim_check(sim, !watcher->open, "a canceled watcher goes on");
}

/* After a restart: clients go on where they were. */
static void come_back(struct node *node)
{
    struct sim *sim = node->sim;

    while (sim->watcher_count != 0) {
        struct sim_watcher *left = &sim->watchers[--sim->watcher_count];

        if (sim_chance(sim, 700))
            create(sim, open_stream(node), *left);
    }
}

void watching_act(struct node *node)
{
    struct sim *sim = node->sim;
    struct sim_stream *stream = NULL;
    size_t count = 0;

    if (roster_is_learner(&node->model.roster, node->id)) { /* whoever asks it goes to another */
        close_stream(sim, open_stream(node));
        return;
    }
    come_back(node);
    for (struct sim_stream *one = sim->streams; one != NULL; one = one->next)
        if (one->node == node && !one->ended && sim_draw(sim, ++count) == 0)
            stream = one;
    if (stream == NULL || (count < STREAMS_MAX && sim_chance(sim, 150))) {
        stream = open_stream(node);
        create(sim, stream, random_watcher(node));
        return;
    }
    switch (sim_draw(sim, 6)) {
    case 0:
        close_stream(sim, stream);
        break;
    case 1:
        cancel_one(sim, stream);
        break;
    case 2:
    case 3:
        ask_progress(stream);
        break;
    default:
        if (stream->count < WATCHERS_MAX)
            create(sim, stream, random_watcher(node));
        break;
    }
}

bool watching_behind(struct sim *sim)
{
    for (struct sim_stream *stream = sim->streams; stream != NULL; stream = stream->next)
        for (size_t i = 0; i < stream->count && !stream->ended; i++)
            if (stream->watchers[i].open &&
                !has_all(stream->node, &stream->watchers[i], stream->node->model.revision))
                return true;
    return false;
}

void watching_cancel_all(struct node *node)
{
    struct sim *sim = node->sim;

    if (sim->options.members == 1)
        sim->watcher_count = 0;
    for (struct sim_stream *stream = sim->streams; stream != NULL; stream = stream->next) {
        if (stream->node != node || stream->ended)
            continue;
        for (size_t i = 0; i < stream->count; i++)
            if (stream->watchers[i].open && sim->watcher_count < SIM_WATCHERS_MAX) {
                if (sim->watchers == NULL)
                    sim->watchers = xalloc(SIM_WATCHERS_MAX * sizeof(*sim->watchers));
                sim->watchers[sim->watcher_count] = stream->watchers[i];
                sim->watchers[sim->watcher_count++].sub = 0; /* a revision is asked for whole */
            }
        close_stream(sim, stream);
    }
}
