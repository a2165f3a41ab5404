/*
 * snapshot.c - Maintenance.Snapshot: the store as a bbolt image in chunks, then its SHA-256
 * (api.md 10.2).
 *
 *   when everything applied is in the backend -> a read of its own -> a thread: plan, then write
 *   -> chunks of SNAPSHOT_CHUNK_BYTES -> a thread beside it: hash
 *   -> core: one SnapshotResponse each, as the client drains
 *
 * For a call that is raw the chunks are SNAPSHOT_RAW_CHUNK_BYTES; the door takes the blobs out.
 */
#include "common/base/base.h"
#include "common/base/sha256.h"
#include "common/schema/pbbytes.h"
#include "common/storage/backend_image.h"
#include "etcd-server/service/service_internal.h"

struct snapshot_stream {
    struct host_producer producer;
    struct service *service;
    struct call *call;         /* NULL: the client went away */
    struct backend_read *read; /* owned */
    struct sha256 *sum;        /* owned; of the thread that looks, while it runs */
    uint64_t remaining_bytes;  /* set by the thread before its first piece */
    size_t chunk_bytes;
    uint64_t began_ns;
};

/* On the thread. */
static int write_image(struct host_producer *producer, host_sink_fn *sink, void *sink_arg,
                       struct err *err)
{
    struct snapshot_stream *stream = CONTAINER_OF(producer, struct snapshot_stream, producer);
    struct backend_image image;
    struct bolt_write_options options = {.chunk_bytes = stream->chunk_bytes};
    struct bolt_plan plan;
    int rc = -1;

    backend_image_init(&image, stream->read);
    if (bolt_plan(&image.source, &options, &plan, err) == 0) {
        stream->remaining_bytes = bolt_plan_bytes(&plan);
        rc = bolt_write(&image.source, &plan, sink, sink_arg, err);
    }
    backend_image_fini(&image);
    return rc;
}

/* On the thread beside it, as append_hash(). */
static void hash_piece(struct host_producer *producer, struct slice piece)
{
    sha256_add(CONTAINER_OF(producer, struct snapshot_stream, producer)->sum, piece);
}

static int append_hash(struct host_producer *producer, host_sink_fn *sink, void *sink_arg,
                       struct err *err)
{
    struct snapshot_stream *stream = CONTAINER_OF(producer, struct snapshot_stream, producer);
    struct buf last = BUF_INIT(SHA256_BYTES);
    uint8_t hash[SHA256_BYTES];
    int rc;

    sha256_end(stream->sum, hash);
    must(buf_append(&last, hash, sizeof(hash)));
    rc = sink(sink_arg, &last, err);
    buf_free(&last);
    return rc;
}

/* On the core: the image counts down to 0, the hash comes with 0 again. */
static bool take(struct host_producer *producer, struct slice piece)
{
    struct snapshot_stream *stream = CONTAINER_OF(producer, struct snapshot_stream, producer);
    Etcdserverpb__SnapshotResponse response = ETCDSERVERPB__SNAPSHOT_RESPONSE__INIT;

    if (stream->call == NULL)
        return true; /* stopped: the rest is thrown away */
    stream->remaining_bytes -= MIN(stream->remaining_bytes, piece.size);
    response.remaining_bytes = stream->remaining_bytes;
    response.blob = pb_bytes(piece);
    return stream->call->ops->send(stream->call, &response.base);
}

static void done(struct host_producer *producer, const struct err *err)
{
    struct snapshot_stream *stream = CONTAINER_OF(producer, struct snapshot_stream, producer);
    struct call *call = stream->call;

    if (call != NULL) {
        call->cancel = NULL;
        call->resume = NULL;
        call->ops->finish(call, err->code, err->code != ERR_OK ? err->text : NULL);
    }
    metrics_observe(stream->service->config.metrics, METRICS_BACKEND_SNAPSHOT,
                    (double)(host_now_ns(engine_host(stream->service->engine)) - stream->began_ns) /
                        1e9);
    stream->service->snapshot_streams--;
    backend_read_end(stream->read);
    sha256_free(stream->sum);
    free(stream);
}

static void client_gone(struct call *call)
{
    struct snapshot_stream *stream = call->state;
    struct host *host = engine_host(stream->service->engine);

    stream->call = NULL;
    host->ops->produce_stop(host, &stream->producer);
}

static void drained(struct call *call)
{
    struct snapshot_stream *stream = call->state;
    struct host *host = engine_host(stream->service->engine);

    host->ops->produce_resume(host, &stream->producer);
}

struct wait {
    struct service *service;
    struct call *call;
    uint64_t id;
};

static void start(void *arg, const struct engine_result *result)
{
    struct wait *wait = arg;
    struct call *call = wait->call;
    struct service *service = wait->service;
    struct snapshot_stream *stream;
    struct err err = ERR_INIT;
    struct host *host = engine_host(service->engine);

    call->cancel = NULL;
    if (result->code != ERR_OK) {
        service->snapshot_streams--;
        call_refuse(call, result->code);
        return;
    }
    stream = xalloc(sizeof(*stream));
    if (backend_read_begin(engine_backend(service->engine), &stream->read, &err) < 0) {
        free(stream);
        service->snapshot_streams--;
        call->ops->finish(call, ERR_REQUEST_TOO_MANY_REQUESTS, err.text);
        return;
    }
    stream->producer = (struct host_producer){
        .run = write_image, .look = hash_piece, .close = append_hash, .take = take, .done = done};
    stream->service = service;
    stream->call = call;
    stream->chunk_bytes = call->raw ? SNAPSHOT_RAW_CHUNK_BYTES : SNAPSHOT_CHUNK_BYTES;
    stream->sum = sha256_new();
    stream->began_ns = host_now_ns(host);
    call->state = stream;
    call->cancel = client_gone;
    call->resume = drained;
    host->ops->produce(host, &stream->producer);
}

static void forget(struct call *call)
{
    struct wait *wait = call->state;

    wait->service->snapshot_streams--;
    engine_forget(wait->service->engine, wait->id);
}

void maintenance_snapshot(struct service *service, struct call *call)
{
    struct wait *wait;

    if (service->snapshot_streams >= SNAPSHOT_STREAMS_MAX) {
        call_refuse(call, ERR_REQUEST_TOO_MANY_REQUESTS);
        return;
    }
    wait = call_alloc(call, sizeof(*wait));
    if (wait == NULL)
        return;
    *wait = (struct wait){.service = service, .call = call};
    call->state = wait;
    call->cancel = forget;
    service->snapshot_streams++; /* those that wait count: they all begin at once */
    wait->id = engine_when_committed(service->engine, start, wait);
}
