/*
 * peer_snapshot.c - snapshots with their databases: POST /raft/snapshot, both ways (raft.md 5).
 *
 *   sending    a thread: image->run() -> producer -> take() -> the connection, which holds the
 *              producer back; over when the answer is there and the producer is done
 *   receiving  the connection -> message -> `waiting` -> thread: write, at the end sync and rename
 *              -> raft -> 204. One job is under way at a time; what the disk has not taken keeps
 *              the connection from being read
 */
#include "etcd-server/host/peers_internal.h"

#include "common/base/file.h"
#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* ---- jobs ---- */

static void job_done(void *arg)
{
    struct host_job *job = arg;

    job->done(job);
}

/* Of the thread that writes. */
static void run_job(void *arg, struct host_task *tasks)
{
    struct host_job *job = CONTAINER_OF(tasks, struct host_job, task);
    struct peers *peers = arg; /* constant while threads live: the loop */

    job->run(job);
    loop_post(peers->loop, job_done, job);
}

/* ---- sending ---- */

struct peer_sending {
    struct host_producer producer;
    struct peer_sending *previous, *next;
    struct peers *peers;
    struct peer_link *link; /* NULL: gone */
    struct peers_image *image;
    struct peer_dial *dial;
    struct metrics_peer *counted;
    uint64_t member, index, sent_bytes, since_ms;
    unsigned status;
    bool produced; /* the thread is done with it */
    bool answered; /* and so is the connection */
    bool failed;
};

static void sending_free(struct peer_sending *sending)
{
    struct peers *peers = sending->peers;

    if (sending->previous != NULL)
        sending->previous->next = sending->next;
    else
        peers->sendings = sending->next;
    if (sending->next != NULL)
        sending->next->previous = sending->previous;
    if (sending->link != NULL)
        sending->link->sending = NULL;
    peer_dial_free(sending->dial);
    sending->image->release(sending->image);
    free(sending);
}

static void check_sent(struct peer_sending *sending)
{
    struct peers *peers = sending->peers;
    const struct peers_callbacks *callbacks = &peers->config.callbacks;
    uint64_t member = sending->member, index = sending->index;
    bool ok = !sending->failed;

    if (!sending->produced || !sending->answered)
        return;
    metrics_image_ended(&sending->counted->sent_images, ok,
                        (double)(loop_now_ms() - sending->since_ms) / 1000);
    if (ok)
        sending->counted->sent_bytes += sending->sent_bytes;
    if (ok)
        log_info("sent a database snapshot", log_hex("to", member),
                 log_u64("snapshot-index", index), log_u64("bytes", sending->sent_bytes),
                 log_ms("took", loop_now_ms() - sending->since_ms));
    sending_free(sending);
    if (peers->stopped)
        return;
    if (!ok)
        callbacks->unreachable(callbacks->arg, member);
    callbacks->snapshot_sent(callbacks->arg, member, index, ok);
}

static void sending_fails(struct peer_sending *sending, const char *cause)
{
    if (!sending->failed)
        log_warn("failed to send a database snapshot", log_hex("to", sending->member),
                 log_u64("snapshot-index", sending->index),
                 log_u64("sent-bytes", sending->sent_bytes), log_str("error", cause));
    sending->failed = true;
    if (!sending->produced)
        producer_stop(&sending->producer);
    if (!sending->answered)
        peer_dial_stop(sending->dial);
    sending->answered = true;
}

static int sending_run(struct host_producer *producer, host_sink_fn *sink, void *sink_arg,
                       struct err *err)
{
    struct peer_sending *sending = CONTAINER_OF(producer, struct peer_sending, producer);

    return sending->image->run(sending->image, sink, sink_arg, err);
}

static bool sending_take(struct host_producer *producer, struct slice piece)
{
    struct peer_sending *sending = CONTAINER_OF(producer, struct peer_sending, producer);

    if (sending->failed || sending->answered)
        return true;
    if (piece.size > sending->image->bytes - sending->sent_bytes) {
        sending_fails(sending, "the image is longer than it was said to be");
        return true;
    }
    sending->sent_bytes += piece.size;
    return peer_dial_send(sending->dial, piece);
}

static void sending_done(struct host_producer *producer, const struct err *err)
{
    struct peer_sending *sending = CONTAINER_OF(producer, struct peer_sending, producer);

    sending->produced = true;
    if (!sending->failed && err->code != ERR_OK)
        sending_fails(sending, err->text);
    else if (!sending->failed && sending->sent_bytes != sending->image->bytes)
        sending_fails(sending, "the image is shorter than it was said to be");
    else if (!sending->answered) /* large ones take their time to be durable there */
        peer_dial_stall(sending->dial, PEER_SNAPSHOT_ANSWER_MS);
    check_sent(sending);
}

static void sending_room(void *arg)
{
    struct peer_sending *sending = arg;

    if (!sending->produced)
        producer_resume(&sending->producer);
}

static void sending_head(void *arg, const struct peer_head *head)
{
    ((struct peer_sending *)arg)->status = head->status;
}

static void sending_data(void *arg, struct slice bytes)
{
    (void)arg;
    (void)bytes;
}

static void sending_answered(void *arg, const struct err *err)
{
    struct peer_sending *sending = arg;
    struct peers *peers = sending->peers;
    char cause[64];

    sending->answered = true;
    (void)snprintf(cause, sizeof(cause), "the answer is %u", sending->status);
    if (err->code != ERR_OK || sending->status != 204)
        sending_fails(sending, err->code != ERR_OK ? err->text : cause);
    if (err->code == ERR_OK && (sending->status == 410 || sending->status == 403) &&
        !peers->stopped)
        peers->config.callbacks.removed(peers->config.callbacks.arg);
    check_sent(sending);
}

static void ask_sending(struct peer_sending *sending, struct slice head)
{
    struct peer_ask ask = {.url = peer_link_url(sending->link),
                           .method = "POST",
                           .path = "/raft/snapshot",
                           .content_type = "application/octet-stream",
                           .fields = sending->peers->raft_fields,
                           .body = head,
                           .more_bytes = sending->image->bytes,
                           .stall_ms = PEER_SNAPSHOT_STALL_MS,
                           .arg = sending,
                           .head = sending_head,
                           .data = sending_data,
                           .done = sending_answered,
                           .room = sending_room};

    sending->dial = peer_dial_new(sending->peers);
    peer_dial_ask(sending->dial, &ask);
}

static void refuse_sending(struct peers *peers, const struct raft_message *message,
                           struct peers_image *image)
{
    const struct peers_callbacks *callbacks = &peers->config.callbacks;

    image->release(image);
    callbacks->unreachable(callbacks->arg, message->to);
    callbacks->snapshot_sent(callbacks->arg, message->to, message->snapshot->meta.index, false);
}

void peers_send_snapshot(struct peers *peers, const struct raft_message *message,
                         struct peers_image *image)
{
    struct peer_link *link = peers_find(peers, message->to);
    struct buf head = BUF_INIT(PEER_SNAPSHOT_MESSAGE_MAX);
    struct peer_sending *sending;

    must(message->type == RAFT_MSG_SNAP && message->snapshot != NULL);
    if (peers->stopped || link == NULL || link->sending != NULL ||
        !peer_snapshot_encode(message, &head)) {
        refuse_sending(peers, message, image);
        buf_free(&head);
        return;
    }
    sending = xalloc(sizeof(*sending));
    sending->producer =
        (struct host_producer){.run = sending_run, .take = sending_take, .done = sending_done};
    sending->peers = peers;
    sending->link = link;
    sending->image = image;
    sending->member = link->id;
    sending->index = message->snapshot->meta.index;
    sending->since_ms = loop_now_ms();
    sending->counted = link->counted;
    sending->counted->sent_images.inflight++;
    sending->next = peers->sendings;
    if (sending->next != NULL)
        sending->next->previous = sending;
    peers->sendings = sending;
    link->sending = sending;
    log_info("sending database snapshot", log_hex("to", link->id),
             log_u64("snapshot-index", sending->index), log_u64("bytes", image->bytes));
    ask_sending(sending, buf_slice(&head));
    buf_free(&head);
    producer_start(peers->producers, &sending->producer);
}

void peer_sending_abandon(struct peer_sending *sending)
{
    sending->link->sending = NULL;
    sending->link = NULL;
    sending_fails(sending, "the member was removed, or the server stops");
    if (sending->produced) /* else done() follows */
        check_sent(sending);
}

/* ---- receiving ---- */

struct peer_receiving {
    struct host_job job;
    struct peer_receiving *previous, *next;
    struct peers *peers;
    struct exchange *exchange; /* NULL: the sender went */
    struct peer_snapshot_decoder decoder;
    struct raft_message message;  /* borrows the decoder */
    struct metrics_peer *counted; /* NULL: there is no message yet, or no link to its sender */
    uint64_t began_ns;            /* when the message was whole */
    bool taken;                   /* by raft */
    struct buf waiting;           /* of the image, for the next job */
    bool ended;                   /* the body is complete */
    bool working;                 /* a job is under way: what follows is its thread's */
    struct buf writing;
    bool last; /* this job ends the file */
    int fd;
    char *path, *tmp_path; /* owned */
    uint64_t file_bytes, unsynced_bytes;
    uint64_t sync_ns, saved_ns; /* how long the sync took; when it was stored */
    bool stored;                /* it is at `path`, synced */
    struct err err;
};

static void receiving_free(struct peer_receiving *receiving)
{
    struct peers *peers = receiving->peers;

    if (receiving->counted != NULL)
        metrics_image_ended(&receiving->counted->received_images, receiving->taken,
                            (double)(loop_now_ns() - receiving->began_ns) / 1e9);
    if (receiving->previous != NULL)
        receiving->previous->next = receiving->next;
    else
        peers->receivings = receiving->next;
    if (receiving->next != NULL)
        receiving->next->previous = receiving->previous;
    if (receiving->fd >= 0) {
        (void)close(receiving->fd);
        (void)unlink(receiving->tmp_path); /* what is left is deleted at start */
    }
    peer_snapshot_decoder_fini(&receiving->decoder);
    buf_free(&receiving->waiting);
    buf_free(&receiving->writing);
    free(receiving->path);
    free(receiving->tmp_path);
    free(receiving);
}

/* Not all at the end, when whoever sends it waits for the answer. */
static int sync_file(struct peer_receiving *receiving)
{
    if (fsync(receiving->fd) < 0) {
        err_sys(&receiving->err, errno, "sync %s", receiving->tmp_path);
        return -1;
    }
    receiving->unsynced_bytes = 0;
    return 0;
}

static int write_all(struct peer_receiving *receiving)
{
    struct slice bytes = buf_slice(&receiving->writing);

    if (receiving->fd < 0)
        receiving->fd = mkostemp(receiving->tmp_path, O_CLOEXEC);
    if (receiving->fd < 0) {
        err_sys(&receiving->err, errno, "create %s", receiving->tmp_path);
        return -1;
    }
    while (bytes.size != 0) {
        ssize_t written = write(receiving->fd, bytes.data, bytes.size);

        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0) {
            err_sys(&receiving->err, errno, "write %s", receiving->tmp_path);
            return -1;
        }
        receiving->file_bytes += (uint64_t)written;
        receiving->unsynced_bytes += (uint64_t)written;
        bytes = slice_of(bytes.data + written, bytes.size - (size_t)written);
    }
    return receiving->unsynced_bytes < PEER_SNAPSHOT_SYNC_BYTES ? 0 : sync_file(receiving);
}

/* Durable under its name; one that is there already stays (formats.md 7). */
static int finish_file(struct peer_receiving *receiving)
{
    struct err *err = &receiving->err;
    uint64_t began_ns = loop_now_ns();

    if (sync_file(receiving) < 0)
        return -1;
    receiving->sync_ns = loop_now_ns() - began_ns;
    (void)close(receiving->fd);
    receiving->fd = -1;
    if (file_exists(receiving->path)) {
        (void)unlink(receiving->tmp_path);
    } else if (rename(receiving->tmp_path, receiving->path) < 0) {
        err_sys(err, errno, "rename %s to %s", receiving->tmp_path, receiving->path);
        (void)unlink(receiving->tmp_path);
        return -1;
    }
    return file_sync_parent(receiving->path, err);
}

static void write_job(struct host_job *job)
{
    struct peer_receiving *receiving = CONTAINER_OF(job, struct peer_receiving, job);

    if (write_all(receiving) == 0 && receiving->last && finish_file(receiving) == 0) {
        receiving->saved_ns = loop_now_ns();
        receiving->stored = true;
    }
}

static void answer(struct peer_receiving *receiving, unsigned status, const char *text)
{
    struct peers *peers = receiving->peers;
    struct exchange *exchange = receiving->exchange;
    char body[ERR_TEXT_MAX + 64] = "";
    struct exchange_head head = {.status = status, .fields = peers->cluster_field};

    if (status != 204) {
        head.content_type = "text/plain; charset=utf-8";
        head.more_fields = "X-Content-Type-Options: nosniff\r\n";
        (void)snprintf(body, sizeof(body), "%s\n", text);
        log_warn("refused a database snapshot", log_str("remote-addr", exchange->link->remote),
                 log_u64("status", status), log_str("error", text));
    }
    receiving->exchange = NULL;
    exchange_answer(exchange, &head, slice_text(body));
}

static void answer_unsaved(struct peer_receiving *receiving, const char *cause)
{
    char text[ERR_TEXT_MAX + 64];

    (void)snprintf(text, sizeof(text), "failed to save KV snapshot (%s)", cause);
    answer(receiving, 500, text);
}

static void hand_over(struct peer_receiving *receiving)
{
    struct peers *peers = receiving->peers;
    const struct peers_callbacks *callbacks = &peers->config.callbacks;
    const struct raft_message *message = &receiving->message;

    if (peers->config.metrics != NULL) {
        metrics_observe(peers->config.metrics, METRICS_SNAP_DB_FSYNC,
                        (double)receiving->sync_ns / 1e9);
        metrics_observe(peers->config.metrics, METRICS_SNAP_DB_SAVE,
                        (double)(receiving->saved_ns - receiving->began_ns) / 1e9);
    }
    if (receiving->counted != NULL)
        receiving->counted->received_bytes += receiving->file_bytes;
    log_info("received and saved database snapshot", log_hex("from", message->from),
             log_u64("snapshot-index", message->snapshot->meta.index),
             log_u64("bytes", receiving->file_bytes));
    if (peers->stopped || message->to != peers->config.id ||
        callbacks->is_removed(callbacks->arg, message->from) ||
        !callbacks->snapshot(callbacks->arg, message))
        answer(receiving, 500, "failed to process raft message (it is not taken)");
    else {
        receiving->taken = true;
        answer(receiving, 204, "");
    }
}

static void next_job(struct peer_receiving *receiving);

static void write_done(struct host_job *job)
{
    struct peer_receiving *receiving = CONTAINER_OF(job, struct peer_receiving, job);
    size_t bytes = buf_used(&receiving->writing);

    receiving->working = false;
    buf_reset(&receiving->writing);
    if (receiving->exchange == NULL) {
        receiving_free(receiving);
        return;
    }
    if (receiving->err.code != ERR_OK)
        answer_unsaved(receiving, receiving->err.text);
    else if (receiving->stored)
        hand_over(receiving);
    if (receiving->exchange == NULL) {
        receiving_free(receiving);
        return;
    }
    exchange_taken(receiving->exchange, bytes);
    next_job(receiving);
}

static void next_job(struct peer_receiving *receiving)
{
    struct peers *peers = receiving->peers;
    struct buf empty = receiving->writing;

    if (receiving->working || (buf_used(&receiving->waiting) == 0 && !receiving->ended))
        return;
    receiving->writing = receiving->waiting;
    receiving->waiting = empty;
    receiving->last = receiving->ended;
    receiving->working = true;
    receiving->job = (struct host_job){.run = write_job, .done = write_done};
    if (peers->writer == NULL)
        peers->writer = peers_worker(peers, run_job, 1);
    worker_post(peers->writer, &receiving->job.task);
}

/* The message is whole: where its database goes. */
static void take_message(struct peer_receiving *receiving)
{
    const char *dir = receiving->peers->config.snap_dir;
    const struct peer_link *link = peers_find(receiving->peers, receiving->message.from);

    receiving->began_ns = loop_now_ns();
    if (link != NULL) {
        receiving->counted = link->counted;
        receiving->counted->received_images.inflight++;
    }

    receiving->path =
        xasprintf("%s/%016" PRIx64 ".snap.db", dir, receiving->message.snapshot->meta.index);
    receiving->tmp_path = xasprintf("%s/tmp.XXXXXX", dir);
    log_info("receiving database snapshot", log_hex("from", receiving->message.from),
             log_u64("snapshot-index", receiving->message.snapshot->meta.index));
}

static void on_data(struct exchange *exchange, struct slice bytes, bool ended)
{
    struct peer_receiving *receiving = exchange->state;
    struct err err = ERR_INIT;
    size_t before = bytes.size;

    if (!receiving->decoder.whole) {
        switch (
            peer_snapshot_decoder_next(&receiving->decoder, &bytes, &receiving->message, &err)) {
        case PEER_DECODED_MESSAGE:
            take_message(receiving);
            break;
        case PEER_DECODED_MORE:
            if (!ended)
                break;
            err_set(&err, ERR_FORMAT, "failed to decode raft message (unexpected EOF)");
            /* fall through */
        case PEER_DECODED_HEARTBEAT:
        case PEER_DECODED_BAD:
            answer(receiving, 400, err.text);
            receiving_free(receiving);
            return;
        }
        exchange_taken(exchange, before - bytes.size);
    }
    if (bytes.size != 0)
        must(buf_append_slice(&receiving->waiting, bytes)); /* HTTP_BODY_OPEN_MAX_BYTES hold */
    receiving->ended = ended;
    if (receiving->decoder.whole)
        next_job(receiving);
}

static void on_gone(struct exchange *exchange)
{
    struct peer_receiving *receiving = exchange->state;

    receiving->exchange = NULL;
    log_warn("the sender of a database snapshot went",
             log_hex("from", receiving->decoder.whole ? receiving->message.from : 0),
             log_str("remote-addr", exchange->link->remote));
    if (!receiving->working) /* else when its job is done */
        receiving_free(receiving);
}

void peer_receive_snapshot(struct peers *peers, struct exchange *exchange)
{
    struct peer_receiving *receiving;

    if (peers->config.snap_dir == NULL || peers->config.callbacks.snapshot == NULL ||
        exchange->body_too_large || exchange->body.size != 0) { /* its door has no `streams` */
        exchange_text(exchange, 500, "failed to save KV snapshot (this member takes none)");
        return;
    }
    receiving = xalloc(sizeof(*receiving));
    receiving->peers = peers;
    receiving->exchange = exchange;
    receiving->fd = -1;
    buf_init(&receiving->waiting, BUF_UNLIMITED);
    buf_init(&receiving->writing, BUF_UNLIMITED);
    peer_snapshot_decoder_init(&receiving->decoder);
    receiving->next = peers->receivings;
    if (receiving->next != NULL)
        receiving->next->previous = receiving;
    peers->receivings = receiving;
    exchange->state = receiving;
    exchange->gone = on_gone;
    exchange->data = on_data;
}

void peer_snapshots_free(struct peers *peers)
{
    while (peers->receivings != NULL) {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): the first of a list has no one before it */
        receiving_free(peers->receivings);
    }
    while (peers->sendings != NULL) {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): the first of a list has no one before it */
        sending_free(peers->sendings);
    }
}
