/*
 * range_stream.c - KV.RangeStream (api.md 15): a range in messages, made as the client reads them.
 *
 *   [kvs] [kvs] ... [kvs, more, count, header]      RangeStreamResponse { 1: RangeResponse }
 *
 * How many keys the next message takes follows from the bytes of the last one. One view is read
 * from first to last, and the header has the revision it was taken at.
 */
#include "common/base/base.h"
#include "common/base/limits.h"
#include "common/schema/pbbytes.h"
#include "common/schema/pbwire.h"
#include "etcd-server/service/authorise.h"

#define RANGE_RESPONSE_FIELD 1 /* of RangeStreamResponse */
#define FRONT_BYTES (1 + PB_VARINT_MAX)

struct range_stream {
    struct call *call;
    struct mvcc_range *range;            /* owned */
    Etcdserverpb__ResponseHeader header; /* of the last message */
    struct slice ahead;                  /* the key-value that comes next, if there is one */
    bool ended;                          /* there is none */
    size_t keys;                         /* of the next message, at most */
    size_t message_bytes;                /* it should not have more */
    struct buf out;                      /* a message, behind room for its front */
};

static void stream_free(struct range_stream *stream)
{
    mvcc_range_free(stream->range);
    buf_free(&stream->out);
    free(stream);
}

static void cancel(struct call *call)
{
    stream_free(call->state);
}

static void look_ahead(struct range_stream *stream)
{
    stream->ended = !mvcc_range_next(stream->range, &stream->ahead);
}

static void put_key_values(struct range_stream *stream)
{
    struct buf *out = &stream->out;
    size_t keys = 0;

    for (; keys < stream->keys && !stream->ended; keys++) {
        size_t bytes = pb_bytes_field_bytes(stream->ahead.size);
        uint8_t *room;

        if (keys != 0 && buf_used(out) + bytes > stream->message_bytes)
            break;
        room = buf_reserve(out, bytes);
        must(room != NULL);
        (void)pb_put_bytes(room, RANGE_KVS_FIELD, stream->ahead);
        buf_advance(out, bytes);
        look_ahead(stream);
    }
    if (buf_used(out) < stream->message_bytes / 2)
        stream->keys = MIN(stream->keys * 2, RANGE_STREAM_KEYS_MAX);
    else if (keys < stream->keys)
        stream->keys = MAX(stream->keys / 2, 1);
}

/* What only the last message has. */
static void put_end(struct range_stream *stream)
{
    Etcdserverpb__RangeResponse end = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    uint8_t *room;
    size_t bytes;

    end.header = &stream->header;
    end.more = mvcc_range_more(stream->range);
    end.count = mvcc_range_count(stream->range);
    bytes = etcdserverpb__range_response__get_packed_size(&end);
    room = buf_reserve(&stream->out, bytes);
    must(room != NULL && etcdserverpb__range_response__pack(&end, room) == bytes);
    buf_advance(&stream->out, bytes);
}

/* The next message, maybe the last; false: the door takes no more for now. */
static bool send_message(struct range_stream *stream, bool *last)
{
    struct buf *out = &stream->out;
    uint8_t front[FRONT_BYTES] = {0};
    size_t front_bytes, bytes;

    buf_reset(out);
    buf_append(out, front, FRONT_BYTES);
    put_key_values(stream);
    *last = stream->ended;
    if (*last)
        put_end(stream);
    bytes = buf_used(out) - FRONT_BYTES;
    front_bytes = (size_t)(pb_put_header(front, RANGE_RESPONSE_FIELD, bytes) - front);
    memcpy(out->data + FRONT_BYTES - front_bytes, front, front_bytes);
    return call_send_packed(stream->call,
                            slice_of(out->data + FRONT_BYTES - front_bytes, front_bytes + bytes));
}

static void go_on(struct call *call)
{
    struct range_stream *stream = call->state;
    bool last, more;

    do {
        more = send_message(stream, &last);
    } while (more && !last);
    if (!last)
        return; /* until resume() */
    call->cancel = NULL;
    call->resume = NULL;
    stream_free(stream);
    call->ops->finish(call, ERR_OK, NULL);
}

static void stream_now(struct service *service, struct call *call)
{
    const Etcdserverpb__RangeRequest *request =
        (const Etcdserverpb__RangeRequest *)(const void *)call->request;
    struct range_stream *stream;
    struct mvcc_range *range;
    enum err_code code;

    code = authorise_keys(service, call, AUTH_READ, pb_slice(request->key),
                          pb_slice(request->range_end));
    if (code == ERR_OK)
        code = mvcc_range_start(engine_mvcc(service->engine), request, &range);
    if (code != ERR_OK) {
        call_refuse(call, code);
        return;
    }
    stream = xalloc(sizeof(*stream));
    stream->call = call;
    stream->range = range;
    stream->keys = RANGE_STREAM_KEYS;
    stream->message_bytes = service->config.max_message_bytes -
                            MIN(REQUEST_OVERHEAD_BYTES, service->config.max_message_bytes / 2);
    buf_init(&stream->out, BUF_UNLIMITED); /* a message and one key-value */
    etcdserverpb__response_header__init(&stream->header);
    engine_fill_header(service->engine, &stream->header);
    look_ahead(stream);
    call->state = stream;
    call->cancel = cancel;
    call->resume = go_on;
    go_on(call);
}

/* Only what comes in order of keys can be sent while it is read. */
static bool refused(struct call *call, const Etcdserverpb__RangeRequest *request)
{
    const char *text = NULL;

    if (request->sort_order == ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND ||
        request->sort_target != ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY)
        text = "RangeStream does not support custom sort orders";
    else if (request->min_mod_revision != 0 || request->max_mod_revision != 0 ||
             request->min_create_revision != 0 || request->max_create_revision != 0)
        text = "RangeStream does not support revision filters";
    if (text != NULL)
        call->ops->finish(call, ERR_UNIMPLEMENTED, text);
    return text != NULL;
}

void kv_range_stream(struct service *service, struct call *call)
{
    const Etcdserverpb__RangeRequest *request =
        (const Etcdserverpb__RangeRequest *)(const void *)call->request;
    enum err_code code = mvcc_check_range(request);

    if (code != ERR_OK)
        call_refuse(call, code);
    else if (refused(call, request))
        return;
    else if (request->serializable)
        stream_now(service, call);
    else
        call_read(service, call, stream_now);
}
