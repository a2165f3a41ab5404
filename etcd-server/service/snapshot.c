/*
 * snapshot.c - Maintenance.Snapshot: the store as a bbolt image in chunks, then its SHA-256
 * (api.md 10.2).
 *
 *   when everything applied is in the backend -> a read of its own -> pool thread: plan, then write
 *   -> chunks of SNAPSHOT_CHUNK_BYTES -> core: one SnapshotResponse each, as the client drains
 *
 * For a call that is raw the chunks are SNAPSHOT_RAW_CHUNK_BYTES; the door takes the blobs out.
 */
#include "common/base/base.h"
#include "common/storage/backend_image.h"
#include "etcd-server/service/service_internal.h"

#include <openssl/evp.h>

struct snapshot_stream {
    struct host_producer producer;
    struct service *service;
    struct call *call;         /* NULL: the client went away */
    struct backend_read *read; /* owned */
    EVP_MD_CTX *sha256;        /* owned; of the pool thread while it runs */
    uint64_t remaining_bytes;  /* set by the pool thread before its first piece */
    size_t chunk_bytes;
    host_sink_fn *sink;
    void *sink_arg;
};

/* On the pool thread: what the writer gives goes through the hash to the core. */
static int hash_and_pass(void *arg, struct slice bytes, struct err *err)
{
    struct snapshot_stream *stream = arg;

    must(EVP_DigestUpdate(stream->sha256, bytes.data, bytes.size) == 1);
    return stream->sink(stream->sink_arg, bytes, err);
}

static int run(struct host_producer *producer, host_sink_fn *sink, void *sink_arg, struct err *err)
{
    struct snapshot_stream *stream = CONTAINER_OF(producer, struct snapshot_stream, producer);
    struct backend_image image;
    struct bolt_write_options options = {.chunk_bytes = stream->chunk_bytes};
    struct bolt_plan plan;
    uint8_t sum[EVP_MAX_MD_SIZE];
    unsigned sum_bytes = 0;
    int rc = -1;

    backend_image_init(&image, stream->read);
    stream->sink = sink;
    stream->sink_arg = sink_arg;
    if (bolt_plan(&image.source, &options, &plan, err) == 0) {
        stream->remaining_bytes = bolt_plan_bytes(&plan);
        rc = bolt_write(&image.source, &plan, hash_and_pass, stream, err);
    }
    if (rc == 0) {
        must(EVP_DigestFinal_ex(stream->sha256, sum, &sum_bytes) == 1);
        rc = sink(sink_arg, slice_of(sum, sum_bytes), err);
    }
    backend_image_fini(&image);
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
    response.blob =
        (ProtobufCBinaryData){piece.size, (uint8_t *)(uintptr_t)piece.data}; /* only read */
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
    stream->service->snapshot_streams--;
    backend_read_end(stream->read);
    EVP_MD_CTX_free(stream->sha256);
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
        call_refuse(call, result->code);
        return;
    }
    stream = xalloc(sizeof(*stream));
    if (backend_read_begin(engine_backend(service->engine), &stream->read, &err) < 0) {
        free(stream);
        call->ops->finish(call, ERR_REQUEST_TOO_MANY_REQUESTS, err.text);
        return;
    }
    stream->producer = (struct host_producer){.run = run, .take = take, .done = done};
    stream->service = service;
    stream->call = call;
    stream->chunk_bytes = call->raw ? SNAPSHOT_RAW_CHUNK_BYTES : SNAPSHOT_CHUNK_BYTES;
    stream->sha256 = EVP_MD_CTX_new();
    must(stream->sha256 != NULL && EVP_DigestInit_ex(stream->sha256, EVP_sha256(), NULL) == 1);
    service->snapshot_streams++;
    call->state = stream;
    call->cancel = client_gone;
    call->resume = drained;
    host->ops->produce(host, &stream->producer);
}

static void forget(struct call *call)
{
    struct wait *wait = call->state;

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
    wait->id = engine_when_committed(service->engine, start, wait);
}
