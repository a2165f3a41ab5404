/*
 * peer_asker.c - peers_request(): small requests to any member's URL.
 *
 *   asked --> under way, PEER_CALLS_MAX --------------------------> done()
 *     |            ^    the oldest goes on when one ends
 *     +------> waiting, PEER_CALLS_WAITING_MAX
 *     |
 *     +------> refused: done() on a later turn, with ERR_REQUEST_TOO_MANY_REQUESTS
 *
 * A connection that could be used again is kept for the next request to its URL, the youngest
 * first: the leader of a busy cluster is asked thousands of times a second, and a TLS handshake
 * costs more than the answer. Those kept and those under way are PEER_CALLS_MAX together. When one
 * fails the others to that URL are closed, too: they would be as dead.
 */
#include "etcd-server/host/peers_internal.h"

#include "common/base/base.h"

struct call_list {
    struct peers_call *first, *last;
    size_t count;
};

struct peers_call {
    struct peers_asker *asker;
    struct call_list *list; /* that it is in */
    struct peers_call *previous, *next;
    struct peer_dial *dial; /* NULL: it is not under way */
    struct peer_ask ask;    /* while it waits; texts and body are owned */
    struct peers_answer answer;
    struct buf body;
    bool too_long;
    void *arg;
    void (*done)(void *arg, const struct peers_answer *answer, const struct err *err);
};

struct kept_dial {
    struct peer_dial *dial; /* owned */
    uint64_t since_ms;
};

struct peers_asker {
    struct peers *peers;
    struct call_list under_way, waiting, refused;
    bool refusing;                         /* refuse() is posted */
    struct kept_dial kept[PEER_CALLS_MAX]; /* the youngest last */
    size_t kept_count;
};

/* ---- kept connections ---- */

static void drop_kept(struct peers_asker *asker, size_t at)
{
    peer_dial_free(asker->kept[at].dial);
    asker->kept_count--;
    memmove(&asker->kept[at], &asker->kept[at + 1],
            (asker->kept_count - at) * sizeof(asker->kept[0]));
}

static void drop_kept_to(struct peers_asker *asker, const char *url)
{
    for (size_t at = asker->kept_count; at-- > 0;)
        if (strcmp(peer_dial_url(asker->kept[at].dial), url) == 0)
            drop_kept(asker, at);
}

/* A connection to `url` if there is one; else a new one, for which there is room. */
static struct peer_dial *take_dial(struct peers_asker *asker, const char *url)
{
    for (size_t at = asker->kept_count; at-- > 0;) {
        struct peer_dial *dial = asker->kept[at].dial;

        if (!peer_dial_kept(dial) || strcmp(peer_dial_url(dial), url) != 0)
            continue;
        asker->kept[at].dial = NULL; /* taken */
        drop_kept(asker, at);
        return dial;
    }
    if (asker->under_way.count + asker->kept_count > PEER_CALLS_MAX)
        drop_kept(asker, 0);
    return peer_dial_new(asker->peers);
}

static void give_dial(struct peers_asker *asker, struct peer_dial *dial)
{
    if (dial == NULL || !peer_dial_kept(dial) || asker->peers->stopped) {
        peer_dial_free(dial);
        return;
    }
    must(asker->kept_count < PEER_CALLS_MAX);
    asker->kept[asker->kept_count++] = (struct kept_dial){dial, loop_now_ms()};
}

void peers_asker_tick(struct peers_asker *asker, uint64_t now_ms)
{
    for (size_t at = asker->kept_count; at-- > 0;)
        if (!peer_dial_kept(asker->kept[at].dial) ||
            now_ms - asker->kept[at].since_ms >= PEER_CALL_KEPT_MS)
            drop_kept(asker, at);
}

/* ---- lists ---- */

static void link_call(struct call_list *list, struct peers_call *call)
{
    call->list = list;
    call->next = NULL;
    call->previous = list->last;
    if (call->previous != NULL)
        call->previous->next = call;
    else
        list->first = call;
    list->last = call;
    list->count++;
}

static void unlink_call(struct peers_call *call)
{
    struct call_list *list = call->list;

    must((call->previous == NULL) == (list->first == call));
    if (call->next != NULL)
        call->next->previous = call->previous;
    else
        list->last = call->previous;
    if (call->previous != NULL)
        call->previous->next = call->next;
    else
        list->first = call->next;
    list->count--;
}

/* ---- one request ---- */

static const char *copy_text(const char *text)
{
    return text != NULL ? xstrdup(text) : NULL;
}

static void keep_ask(struct peers_call *call, const struct peer_ask *ask)
{
    uint8_t *body = xalloc(MAX(ask->body.size, 1));

    if (ask->body.size != 0)
        memcpy(body, ask->body.data, ask->body.size);
    call->ask = *ask;
    call->ask.url = copy_text(ask->url);
    call->ask.method = copy_text(ask->method);
    call->ask.path = copy_text(ask->path);
    call->ask.content_type = copy_text(ask->content_type);
    call->ask.fields = copy_text(ask->fields);
    call->ask.body = slice_of(body, ask->body.size);
}

static void drop_ask(struct peers_call *call)
{
    const void *owned[] = {call->ask.url,          call->ask.method, call->ask.path,
                           call->ask.content_type, call->ask.fields, call->ask.body.data};

    for (size_t i = 0; i < ARRAY_LEN(owned); i++)
        free((void *)(uintptr_t)owned[i]); /* ours: keep_ask() */
    call->ask = (struct peer_ask){.url = NULL};
}

static void start_call(struct peers_call *call, const struct peer_ask *ask)
{
    struct peers_asker *asker = call->asker;

    link_call(&asker->under_way, call);
    call->dial = take_dial(asker, ask->url);
    peer_dial_ask(call->dial, ask);
}

static void call_free(struct peers_call *call)
{
    struct peers_asker *asker = call->asker;
    struct peers_call *next;

    unlink_call(call);
    give_dial(asker, call->dial);
    drop_ask(call);
    buf_free(&call->body);
    free(call);
    next = asker->waiting.first;
    if (next == NULL || asker->peers->stopped || asker->under_way.count >= PEER_CALLS_MAX)
        return;
    unlink_call(next);
    start_call(next, &next->ask);
    drop_ask(next);
}

static void call_head(void *arg, const struct peer_head *head)
{
    struct peers_call *call = arg;

    call->answer.status = head->status;
    call->answer.cluster_id = head->cluster_id;
}

static void call_data(void *arg, struct slice bytes)
{
    struct peers_call *call = arg;

    call->too_long = !buf_append_slice(&call->body, bytes) || call->too_long;
}

static void call_done(void *arg, const struct err *err)
{
    struct peers_call *call = arg;
    struct err too_long = ERR_INIT;

    if (err->code != ERR_OK)
        drop_kept_to(call->asker, peer_dial_url(call->dial));
    if (err->code == ERR_OK && call->too_long) {
        err_set(&too_long, ERR_NO_MEMORY, "the answer is longer than %lu bytes",
                PEER_ANSWER_MAX_BYTES);
        err = &too_long;
    }
    call->answer.body = buf_slice(&call->body);
    call->done(call->arg, err->code == ERR_OK ? &call->answer : NULL, err);
    call_free(call);
}

static void post_refusals(struct peers_asker *asker);

/* Those that were refused up to now hear of it. */
static void refuse(void *arg)
{
    struct peers_asker *asker = arg;
    struct err err = ERR_INIT;

    asker->refusing = false;
    err_set(&err, ERR_REQUEST_TOO_MANY_REQUESTS,
            "%lu requests to other members wait for their turn; ask less often",
            PEER_CALLS_WAITING_MAX);
    /* NOLINTBEGIN(clang-analyzer-unix.Malloc): what is freed is in no list any more */
    for (size_t left = asker->refused.count; left > 0 && asker->refused.first != NULL; left--) {
        struct peers_call *call = asker->refused.first;

        if (!asker->peers->stopped)
            call->done(call->arg, NULL, &err);
        call_free(call);
    }
    /* NOLINTEND(clang-analyzer-unix.Malloc) */
    if (asker->refused.first != NULL)
        post_refusals(asker);
}

static void post_refusals(struct peers_asker *asker)
{
    if (!asker->refusing)
        loop_post(asker->peers->loop, refuse, asker);
    asker->refusing = true;
}

struct peers_call *peers_request(struct peers *peers, const struct peers_request *request)
{
    struct peers_asker *asker = peers->asker;
    struct peers_call *call = xalloc(sizeof(*call));
    struct peer_ask ask = {.url = request->url,
                           .method = request->method,
                           .path = request->path,
                           .content_type = request->content_type,
                           .fields = request->fields,
                           .body = request->body,
                           .timeout_ms = request->timeout_ms,
                           .arg = call,
                           .head = call_head,
                           .data = call_data,
                           .done = call_done};

    if (ask.timeout_ms == 0)
        ask.timeout_ms = PEER_REQUEST_TIMEOUT_MS;
    call->asker = asker;
    call->arg = request->arg;
    call->done = request->done;
    buf_init(&call->body, PEER_ANSWER_MAX_BYTES);
    if (asker->under_way.count < PEER_CALLS_MAX) {
        start_call(call, &ask);
    } else if (asker->waiting.count < PEER_CALLS_WAITING_MAX) {
        keep_ask(call, &ask);
        link_call(&asker->waiting, call);
    } else {
        link_call(&asker->refused, call);
        post_refusals(asker);
    }
    return call;
}

void peers_cancel(struct peers_call *call)
{
    call_free(call);
}

/* ---- life ---- */

struct peers_asker *peers_asker_new(struct peers *peers)
{
    struct peers_asker *asker = xalloc(sizeof(*asker));

    asker->peers = peers;
    return asker;
}

void peers_asker_stop(struct peers_asker *asker)
{
    while (asker->kept_count != 0)
        drop_kept(asker, asker->kept_count - 1);
}

static void free_list(struct call_list *list)
{
    while (list->first != NULL) {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): as in refuse() */
        call_free(list->first);
    }
}

void peers_asker_free(struct peers_asker *asker)
{
    free_list(&asker->under_way);
    free_list(&asker->waiting);
    free_list(&asker->refused);
    peers_asker_stop(asker);
    free(asker);
}
