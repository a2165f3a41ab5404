/*
 * peer_link.c - one other member: the two streams that bring its messages, the two that take ours
 * to it, and the posts of what has no stream.
 *
 *   reader   IDLE -> asked -> established -> (cut) -> PEER_REDIAL_MS -> asked, next URL ...
 *   writer   none -> attached by its GET (peer_serve.c) -> replaced, cut or stalled -> none
 *   slots    POST /raft, PEER_PIPELINE_MAX at a time, in the order of the queue
 *
 * The link is active while a reader is established or the last post went through.
 */
#include "etcd-server/host/peers_internal.h"

#include "common/base/log.h"

#include <stdio.h>
#include <time.h>

#define CLOCK_DIFFERENCE_S 1 /* whole seconds are compared: up to two apart are not told */
#define BATCH_KEEP_BYTES (64 * KIB)

/* ---- whether it works ---- */

const char *peer_link_url(const struct peer_link *link)
{
    return link->urls[link->url_at];
}

/* The present one did not answer. */
static void next_url(struct peer_link *link)
{
    link->url_at = (link->url_at + 1) % link->url_count;
}

static void link_worked(struct peer_link *link)
{
    const struct peers_callbacks *callbacks = &link->peers->config.callbacks;

    free(link->said);
    link->said = NULL;
    if (link->active_since_ms != 0)
        return;
    link->active_since_ms = loop_now_ms();
    link->counted->active = true;
    log_info("peer became active", log_hex("peer-id", link->id));
    if (callbacks->active != NULL)
        callbacks->active(callbacks->arg, link->id, true);
}

/* Something failed; told once per cause. */
static void link_failed(struct peer_link *link, const char *what, const char *cause)
{
    const struct peers_callbacks *callbacks = &link->peers->config.callbacks;

    if (link->said == NULL || strcmp(link->said, cause) != 0) {
        free(link->said);
        link->said = xstrdup(cause);
        log_warn(what, log_hex("remote-peer-id", link->id), log_str("url", peer_link_url(link)),
                 log_str("error", cause));
    }
    if (link->active_since_ms == 0 || link->readers[0].established || link->readers[1].established)
        return;
    link->active_since_ms = 0;
    link->counted->active = false;
    link->counted->disconnected++;
    log_warn("peer became inactive", log_hex("peer-id", link->id), log_str("error", cause));
    if (callbacks->active != NULL)
        callbacks->active(callbacks->arg, link->id, false);
}

static void link_unreachable(struct peer_link *link)
{
    const struct peers_callbacks *callbacks = &link->peers->config.callbacks;

    callbacks->unreachable(callbacks->arg, link->id);
}

/* ---- readers ---- */

static void reader_ask(struct peer_reader *reader);

static void reader_retry(struct peer_reader *reader)
{
    if (reader->established)
        peer_decoder_fini(&reader->decoder);
    reader->established = false;
    loop_timer_set(reader->retry, loop_now_ms() + PEER_REDIAL_MS);
}

static void reader_head(void *arg, const struct peer_head *head)
{
    struct peer_reader *reader = arg;
    struct peer_link *link = reader->link;

    reader->status = head->status;
    reader->text_size = 0;
    if (head->status != 200)
        return;
    if (head->version[0] == '\0') { /* taken for 2.0.0, which has no such streams */
        link_failed(link, "peer sends no version with its stream",
                    "no X-Server-Version in the answer: it is no etcd from 2.1 on");
        peer_dial_stop(reader->dial);
        reader_retry(reader);
        return;
    }
    peer_decoder_init(&reader->decoder, reader->kind, link->peers->config.id, link->id);
    reader->established = true;
    log_info("established TCP streaming connection with remote peer",
             log_str("stream-reader-type", peer_stream_word(reader->kind)),
             log_hex("local-member-id", link->peers->config.id),
             log_hex("remote-peer-id", link->id));
    link_worked(link);
}

static void reader_lost(struct peer_reader *reader, const char *cause)
{
    struct peer_link *link = reader->link;

    log_warn("lost TCP streaming connection with remote peer",
             log_str("stream-reader-type", peer_stream_word(reader->kind)),
             log_hex("local-member-id", link->peers->config.id),
             log_hex("remote-peer-id", link->id), log_str("error", cause));
    reader_retry(reader);
    link_failed(link, "stream of a peer was cut", cause);
}

static void reader_data(void *arg, struct slice bytes)
{
    struct peer_reader *reader = arg;
    struct raft_message message;
    struct err err = ERR_INIT;

    if (!reader->established) {
        size_t size = MIN(bytes.size, sizeof(reader->text) - 1 - reader->text_size);

        memcpy(reader->text + reader->text_size, bytes.data, size);
        reader->text_size += size;
        return;
    }
    reader->link->counted->received_bytes += bytes.size;
    for (;;) {
        switch (peer_decoder_next(&reader->decoder, &bytes, &message, &err)) {
        case PEER_DECODED_MORE:
            return;
        case PEER_DECODED_HEARTBEAT:
            break;
        case PEER_DECODED_MESSAGE:
            if (peers_deliver(reader->link->peers, &message) != NULL)
                reader->link->counted->received_failures++; /* dropped, as raft allows */
            if (!reader->established)                       /* stopped in there */
                return;
            break;
        case PEER_DECODED_BAD:
            reader->link->counted->received_failures++;
            peer_dial_stop(reader->dial);
            reader_lost(reader, err.text);
            return;
        }
    }
}

/* What an answer other than 200 says. */
static void reader_refused(struct peer_reader *reader)
{
    struct peer_link *link = reader->link;
    struct peers *peers = link->peers;
    char cause[200];

    while (reader->text_size != 0 && (reader->text[reader->text_size - 1] == '\n' ||
                                      reader->text[reader->text_size - 1] == '\r'))
        reader->text_size--;
    reader->text[reader->text_size] = '\0';
    (void)snprintf(cause, sizeof(cause), "%u %s", reader->status, reader->text);
    if (reader->status == 410) {
        if (!peers->stopped) {
            log_error("the member has been permanently removed from the cluster",
                      log_hex("local-member-id", peers->config.id),
                      log_hex("remote-peer-id", link->id));
            peers->config.callbacks.removed(peers->config.callbacks.arg);
        }
        return; /* no retry */
    }
    reader_retry(reader);
    link_failed(link, "peer refuses to stream its messages", cause);
}

static void reader_done(void *arg, const struct err *err)
{
    struct peer_reader *reader = arg;

    next_url(reader->link);
    if (reader->established) {
        reader_lost(reader, err->code != ERR_OK ? err->text : "the peer ended it");
    } else if (err->code == ERR_OK && reader->status != 200) {
        reader_refused(reader);
    } else {
        reader_retry(reader);
        link_failed(reader->link, "cannot reach a peer",
                    err->code != ERR_OK ? err->text : "the stream ended at once");
    }
}

static void reader_ask(struct peer_reader *reader)
{
    struct peer_link *link = reader->link;
    struct peers *peers = link->peers;
    struct peer_ask ask = {.url = peer_link_url(link),
                           .method = "GET",
                           .stall_ms = peers->config.read_timeout_ms,
                           .arg = reader,
                           .head = reader_head,
                           .data = reader_data,
                           .done = reader_done};
    char *path =
        xasprintf("/raft/stream/%s/%" PRIx64, peer_stream_path(reader->kind), peers->config.id);
    char *fields = xasprintf("%sX-Raft-To: %" PRIx64 "\r\n", peers->raft_fields, link->id);

    reader->status = 0;
    ask.path = path;
    ask.fields = fields;
    peer_dial_ask(reader->dial, &ask);
    free(path);
    free(fields);
}

static void on_retry(void *arg)
{
    struct peer_reader *reader = arg;

    if (!reader->link->peers->stopped && !reader->established && !peer_dial_busy(reader->dial))
        reader_ask(reader);
}

static void reader_start(struct peer_reader *reader)
{
    reader->dial = peer_dial_new(reader->link->peers);
    reader->retry = loop_timer_new(reader->link->peers->loop, on_retry, reader);
    reader_ask(reader);
}

static void reader_close(struct peer_reader *reader)
{
    if (reader->established)
        peer_decoder_fini(&reader->decoder);
    reader->established = false;
    peer_dial_free(reader->dial);
    reader->dial = NULL;
    loop_timer_free(reader->retry);
    reader->retry = NULL;
}

/* ---- writers ---- */

static void writer_gone(struct exchange *exchange)
{
    struct peer_writer *writer = exchange->state;
    struct peer_link *link = writer->link;

    writer->exchange = NULL;
    if (link->peers->stopped)
        return;
    link->counted->sent_failures++;
    log_warn("lost TCP streaming connection with remote peer",
             log_str("stream-writer-type", peer_stream_word(writer->kind)),
             log_hex("local-member-id", link->peers->config.id),
             log_hex("remote-peer-id", link->id));
    link_unreachable(link);
}

static void writer_end(struct peer_writer *writer)
{
    struct exchange *exchange = writer->exchange;

    writer->exchange = NULL;
    if (exchange != NULL)
        exchange_end(exchange);
}

static void writer_stop(struct exchange *exchange)
{
    writer_end(exchange->state);
}

void peer_link_attach(struct peer_link *link, enum peer_stream_kind kind, struct exchange *exchange)
{
    struct peer_writer *writer = &link->writers[kind];

    writer_end(writer); /* the older one */
    writer->exchange = exchange;
    writer->state = (struct peer_stream_state){.term = 0};
    writer->put_bytes = 0;
    writer->taken_bytes = 0;
    writer->moved_ms = loop_now_ms();
    exchange->state = writer;
    exchange->gone = writer_gone;
    exchange->stop = writer_stop;
    log_info("established TCP streaming connection with remote peer",
             log_str("stream-writer-type", peer_stream_word(kind)),
             log_hex("local-member-id", link->peers->config.id),
             log_hex("remote-peer-id", link->id), log_str("remote-addr", exchange->link->remote));
}

static void writer_put(struct peer_writer *writer, struct slice bytes)
{
    struct buf *out = &writer->exchange->link->out;
    size_t before = buf_used(out);

    exchange_send(writer->exchange, bytes);
    writer->put_bytes += buf_used(out) - before;
    writer->link->counted->sent_bytes += bytes.size;
}

/* Link heartbeat; and a peer that takes nothing for too long is cut. */
static void writer_tick(struct peer_writer *writer, uint64_t now_ms)
{
    struct buf *out, beat = BUF_INIT(64);
    uint64_t taken;

    if (writer->exchange == NULL)
        return;
    out = &writer->exchange->link->out;
    taken = writer->put_bytes - MIN(writer->put_bytes, buf_used(out));
    if (buf_used(out) == 0 || taken != writer->taken_bytes)
        writer->moved_ms = now_ms;
    writer->taken_bytes = taken;
    if (now_ms - writer->moved_ms > writer->link->peers->config.write_timeout_ms) {
        struct exchange *exchange = writer->exchange;

        log_warn("a peer takes nothing from its stream; closing it",
                 log_str("stream-writer-type", peer_stream_word(writer->kind)),
                 log_hex("remote-peer-id", writer->link->id), log_u64("waiting-bytes", out->size));
        writer->exchange = NULL;
        buf_reset(out); /* nobody reads it; the connection ends after what is left */
        exchange_abort(exchange);
        writer->link->counted->sent_failures++;
        link_unreachable(writer->link);
        return;
    }
    must(peer_stream_encode_heartbeat(writer->kind, &beat));
    writer_put(writer, buf_slice(&beat));
    buf_free(&beat);
}

/* False: its queue is full. */
static bool writer_send(struct peer_writer *writer, const struct raft_message *message)
{
    size_t queued = buf_used(&writer->exchange->link->out) + buf_used(&writer->batch);

    if (queued != 0 && queued + peer_stream_bytes(message) > PEER_STREAM_QUEUE_BYTES)
        return false;
    must(peer_stream_encode(writer->kind, &writer->state, message, &writer->batch));
    return true;
}

static void writer_flush(struct peer_writer *writer)
{
    if (writer->exchange != NULL && buf_used(&writer->batch) != 0)
        writer_put(writer, buf_slice(&writer->batch));
    buf_reset(&writer->batch);
    if (writer->batch.capacity > BATCH_KEEP_BYTES)
        buf_free(&writer->batch);
}

/* ---- posts ---- */

static void start_posts(struct peer_link *link);

static void slot_head(void *arg, const struct peer_head *head)
{
    ((struct peer_slot *)arg)->status = head->status;
}

static void slot_data(void *arg, struct slice bytes)
{
    (void)arg;
    (void)bytes;
}

static void slot_done(void *arg, const struct err *err)
{
    struct peer_slot *slot = arg;
    struct peer_link *link = slot->link;
    char cause[64];

    free(slot->post);
    slot->post = NULL;
    if (err->code == ERR_OK && slot->status == 204) {
        link_worked(link);
    } else {
        (void)snprintf(cause, sizeof(cause), "the answer is %u", slot->status);
        link->counted->sent_failures++;
        next_url(link);
        link_failed(link, "cannot post a message to a peer",
                    err->code != ERR_OK ? err->text : cause);
        link_unreachable(link);
    }
    start_posts(link);
}

static void start_post(struct peer_slot *slot, struct peer_post *post)
{
    struct peer_link *link = slot->link;
    struct peer_ask ask = {.url = peer_link_url(link),
                           .method = "POST",
                           .path = "/raft",
                           .content_type = "application/protobuf",
                           .fields = link->peers->raft_fields,
                           .body = slice_of(post->bytes, post->size),
                           .timeout_ms = PEER_REQUEST_TIMEOUT_MS,
                           .stall_ms = link->peers->config.read_timeout_ms,
                           .arg = slot,
                           .head = slot_head,
                           .data = slot_data,
                           .done = slot_done};

    slot->post = post;
    slot->status = 0;
    link->counted->sent_bytes += post->size;
    if (slot->dial == NULL)
        slot->dial = peer_dial_new(link->peers);
    peer_dial_ask(slot->dial, &ask);
}

static void start_posts(struct peer_link *link)
{
    for (size_t i = 0; i < PEER_PIPELINE_MAX && link->first_post != NULL; i++) {
        struct peer_post *post = link->first_post;

        if (link->slots[i].post != NULL)
            continue;
        link->first_post = post->next;
        if (link->first_post == NULL)
            link->last_post = NULL;
        link->post_count--;
        link->post_bytes -= post->size;
        start_post(&link->slots[i], post);
    }
}

/* False: the queue is full. */
static bool queue_post(struct peer_link *link, const struct raft_message *message)
{
    struct buf bytes = BUF_INIT(PEER_ITEM_MAX_BYTES);
    struct peer_post *post = NULL;

    if (link->post_count < PEER_PIPELINE_QUEUE_MAX &&
        (link->post_count == 0 || link->post_bytes < PEER_PIPELINE_QUEUE_BYTES) &&
        raft_message_encode(message, &bytes)) {
        post = xalloc(sizeof(*post) + bytes.size);
        post->size = bytes.size;
        memcpy(post->bytes, bytes.data, bytes.size);
        if (link->last_post != NULL)
            link->last_post->next = post;
        else
            link->first_post = post;
        link->last_post = post;
        link->post_count++;
        link->post_bytes += post->size;
    }
    buf_free(&bytes);
    return post != NULL;
}

/* ---- sending ---- */

void peer_link_send(struct peer_link *link, const struct raft_message *message)
{
    struct peer_writer *msgapp = &link->writers[PEER_STREAM_MSGAPP];
    struct peer_writer *other = &link->writers[PEER_STREAM_MESSAGE];
    bool taken;

    if (message->type == RAFT_MSG_APP && msgapp->exchange != NULL)
        taken = writer_send(msgapp, message);
    else if (other->exchange != NULL)
        taken = writer_send(other, message);
    else
        taken = queue_post(link, message);
    if (!taken) {
        link->counted->sent_failures++;
        link_failed(link, "dropped a message: too many wait for the peer", "the queue is full");
        link_unreachable(link);
    }
}

void peer_link_flush(struct peer_link *link)
{
    for (size_t i = 0; i < PEER_STREAM_KINDS; i++)
        writer_flush(&link->writers[i]);
    start_posts(link);
}

/* ---- probing ---- */

static void probe_data(void *arg, struct slice bytes)
{
    struct peer_link *link = arg;
    size_t size = MIN(bytes.size, sizeof(link->probe_text) - 1 - link->probe_size);

    memcpy(link->probe_text + link->probe_size, bytes.data, size);
    link->probe_size += size;
}

/* {"OK":true,"Now":"2026-11-22T01:24:49.307396755Z"}: is the peer's clock ours? Said once. */
static void compare_clocks(struct peer_link *link)
{
    static const char name[] = "\"Now\":\"";
    const char *text;
    struct tm tm = {.tm_isdst = 0};
    int64_t difference_s;
    bool far;

    link->probe_text[link->probe_size] = '\0';
    text = strstr(link->probe_text, name);
    if (text == NULL || strptime(text + strlen(name), "%Y-%m-%dT%H:%M:%S", &tm) == NULL)
        return;
    difference_s = loop_unix_s() - (int64_t)timegm(&tm);
    far = difference_s > CLOCK_DIFFERENCE_S || difference_s < -CLOCK_DIFFERENCE_S;
    if (far && !link->clock_said)
        log_warn("prober found high clock drift", log_hex("remote-peer-id", link->id),
                 log_i64("ahead-of-it-s", difference_s));
    link->clock_said = far;
}

static void probed(struct peer_link *link)
{
    metrics_observe_round_trip(link->counted, (double)(loop_now_ns() - link->probe_began_ns) / 1e9);
    compare_clocks(link);
}

static void probe_done(void *arg, const struct err *err)
{
    struct peer_link *link = arg;

    if (err->code != ERR_OK)
        link_failed(link, "cannot probe a peer", err->text);
    else
        probed(link);
}

static void probe(struct peer_link *link, uint64_t now_ms)
{
    struct peer_ask ask = {.url = peer_link_url(link),
                           .method = "GET",
                           .path = "/raft/probing",
                           .timeout_ms = PEER_REQUEST_TIMEOUT_MS,
                           .arg = link,
                           .data = probe_data,
                           .done = probe_done};

    if (now_ms < link->probe_at_ms || peer_dial_busy(link->probe))
        return;
    link->probe_at_ms = now_ms + PEER_PROBE_MS;
    link->probe_size = 0;
    link->probe_began_ns = loop_now_ns();
    peer_dial_ask(link->probe, &ask);
}

void peer_link_tick(struct peer_link *link, uint64_t now_ms)
{
    for (size_t i = 0; i < PEER_STREAM_KINDS; i++)
        writer_tick(&link->writers[i], now_ms);
    if (!link->remote)
        probe(link, now_ms);
}

/* ---- life ---- */

bool peer_link_has_urls(const struct peer_link *link, const struct peers_member *member)
{
    if (link->url_count != member->peer_url_count)
        return false;
    for (size_t i = 0; i < link->url_count; i++)
        if (strcmp(link->urls[i], member->peer_urls[i]) != 0)
            return false;
    return true;
}

static void free_urls(struct peer_link *link)
{
    for (size_t i = 0; i < link->url_count; i++)
        free(link->urls[i]);
    free(link->urls);
}

static void copy_urls(struct peer_link *link, const struct peers_member *member)
{
    must(member->peer_url_count != 0);
    link->url_at = 0;
    link->url_count = member->peer_url_count;
    link->urls = xalloc(link->url_count * sizeof(*link->urls));
    for (size_t i = 0; i < link->url_count; i++)
        link->urls[i] = xstrdup(member->peer_urls[i]);
}

void peer_link_promote(struct peer_link *link)
{
    link->remote = false;
    link->probe = peer_dial_new(link->peers);
    for (size_t i = 0; i < PEER_STREAM_KINDS; i++)
        reader_start(&link->readers[i]);
    log_info("started remote peer", log_hex("remote-peer-id", link->id),
             log_str("url", peer_link_url(link)));
}

struct peer_link *peer_link_new(struct peers *peers, const struct peers_member *member, bool remote)
{
    struct peer_link *link = xalloc(sizeof(*link));

    link->peers = peers;
    link->id = member->id;
    link->remote = true;
    link->counted = peers->config.metrics != NULL ? metrics_peer(peers->config.metrics, member->id)
                                                  : &peers->uncounted;
    copy_urls(link, member);
    for (size_t i = 0; i < PEER_STREAM_KINDS; i++) {
        link->writers[i] = (struct peer_writer){.link = link, .kind = (enum peer_stream_kind)i};
        buf_init(&link->writers[i].batch, BUF_UNLIMITED); /* writer_send() looks at the limit */
        link->readers[i] = (struct peer_reader){.link = link, .kind = (enum peer_stream_kind)i};
    }
    for (size_t i = 0; i < PEER_PIPELINE_MAX; i++)
        link->slots[i].link = link;
    if (!remote)
        peer_link_promote(link);
    return link;
}

void peer_link_set_urls(struct peer_link *link, const struct peers_member *member)
{
    free_urls(link); /* streams that run stay: only the next dial looks at the URLs */
    copy_urls(link, member);
}

void peer_link_free(struct peer_link *link)
{
    struct peer_post *next;

    if (link->sending != NULL)
        peer_sending_abandon(link->sending);
    if (link->peers->config.metrics != NULL)
        metrics_peer_left(link->peers->config.metrics, link->counted);
    for (size_t i = 0; i < PEER_STREAM_KINDS; i++) {
        if (link->readers[i].dial != NULL)
            reader_close(&link->readers[i]);
        writer_end(&link->writers[i]);
        buf_free(&link->writers[i].batch);
    }
    for (size_t i = 0; i < PEER_PIPELINE_MAX; i++) {
        peer_dial_free(link->slots[i].dial);
        free(link->slots[i].post);
    }
    for (struct peer_post *post = link->first_post; post != NULL; post = next) {
        next = post->next;
        free(post);
    }
    peer_dial_free(link->probe);
    free_urls(link);
    free(link->said);
    free(link);
}
