/*
 * http2_grpc_test.c - gRPC without sockets: statuses, compression, deadlines, streams, ranges that
 * are pulled, and that both doors answer alike.
 */
#include "common/schema/pbjson.h"
#include "tests/lib/http2_fixture.h"

#include <zlib.h>

static void unary(void **state)
{
    struct h2_call *call = grpc(KV "Put", put_ab);

    (void)state;
    has(call, ":status: 200\ncontent-type: application/grpc\n");
    has(call, "grpc-status: 0\n");
    assert_int_equal(call->heads, 2);
    assert_int_equal(call->body.data[0], 0);
    assert_int_equal(call->body.data[4], buf_used(&call->body) - 5);
    assert_int_equal(fix.toy.revision, 1);
    assert_int_equal(fix.metrics.rpcs[RPC_KV_Put].started, 1);
    assert_int_equal(fix.metrics.rpcs[RPC_KV_Put].received, 1);
    assert_int_equal(fix.metrics.rpcs[RPC_KV_Put].sent, 1);
    assert_int_equal(fix.metrics.rpcs[RPC_KV_Put].handled[GRPC_OK], 1);
}

static void byte_by_byte(void **state)
{
    struct h2_call *call;

    (void)state;
    call = h2_grpc(&fix.h2, KV "Put", "token", "secret", put_ab, true);
    h2_run_in_pieces(&fix.h2, 1);
    has(call, "grpc-status: 0\n");
    assert_string_equal(fix.toy.token, "secret");
    call = h2_grpc(&fix.h2, KV "Put", "authorization", "other", put_ab, false);
    h2_run_in_pieces(&fix.h2, 1);
    assert_false(call->closed);
    h2_more(&fix.h2, call, SLICE_EMPTY, true); /* the end in a frame of its own */
    h2_run_in_pieces(&fix.h2, 1);
    has(call, "grpc-status: 0\n");
    assert_string_equal(fix.toy.token, "other");
    call = h2_grpc(&fix.h2, KV "Put", "hasleader", "true", put_ab, true);
    h2_run(&fix.h2);
    assert_true(fix.toy.require_leader);
}

/* What a gateway before us hands on has its certificate, and is not its own word. */
static void certificate_of_a_gateway(void **state)
{
    (void)state;
    fix.link.link.common_name = "root";
    (void)h2_grpc(&fix.h2, KV "Put", "x-forwarded-for", "10.0.0.1", put_ab, true);
    h2_run(&fix.h2);
    assert_true(fix.toy.named);
    (void)h2_grpc(&fix.h2, KV "Put", "grpcgateway-accept", "*/*", put_ab, true);
    h2_run(&fix.h2);
    assert_false(fix.toy.named);
}

static void refused(const char *path, struct slice body, const char *header, const char *value,
                    const char *status)
{
    struct h2_call *call =
        h2_ask(&fix.h2, "POST", path, "application/grpc+proto", header, value, body, true);

    h2_run(&fix.h2);
    has(call, status);
    assert_int_equal(call->heads, 1); /* trailers only */
    assert_int_equal(buf_used(&call->body), 0);
    assert_true(call->closed);
}

static void statuses(void **state)
{
    static const uint8_t large[] = {0, 0, 0x20, 0, 1};
    static const struct slice put = SLICE_LITERAL("\0\0\0\0\6" PUT_BYTES);
    struct buf deep = BUF_INIT(BUF_UNLIMITED), message = BUF_INIT(BUF_UNLIMITED);
    struct h2_call *call;

    (void)state;
    refused(
        KV "Range", SLICE_LITERAL("\0\0\0\0\3\x0a\1x"), NULL, NULL,
        "grpc-status: 11\ngrpc-message: etcdserver: mvcc: required revision has been compacted\n");
    refused(KV "Range", SLICE_LITERAL("\0\0\0\0\5\x0a\1x\x7b\x7c"), NULL, NULL,
            "grpc-status: 11\n"); /* a group that nobody knows */
    refused(KV "Range", SLICE_LITERAL("\0\0\0\0\4\x0a\1x\x7b"), NULL, NULL, "grpc-status: 13\n");
    refused(KV "Range", SLICE_LITERAL("\0\0\0\0\0"), NULL, NULL, "grpc-status: 3\n");
    refused("/etcdserverpb.Auth/UserAdd", SLICE_LITERAL("\0\0\0\0\5\x0a\3u\0x"), NULL, NULL,
            "grpc-status: 3\ngrpc-message: field \"name\": a text with a NUL character in it");
    refused(KV "Nope", put, NULL, NULL,
            "grpc-status: 12\ngrpc-message: unknown method Nope for service etcdserverpb.KV\n");
    refused("/a.B%25\xc3\xa9/c", put, NULL, NULL, "grpc-message: unknown service a.B%25");
    refused("/x", put, NULL, NULL, "grpc-message: malformed method name: \"/x\"\n");
    refused(KV "Put", SLICE_LITERAL("\0\0\0\0\2\x0a\5"), NULL, NULL,
            "grpc-status: 13\ngrpc-message: grpc: error unmarshalling request: ");
    refused(KV "Put", SLICE_EMPTY, NULL, NULL, "grpc-status: 13\n");
    refused(KV "Put", SLICE_LITERAL("\0\0\0"), NULL, NULL, "grpc-message: unexpected EOF\n");
    refused(KV "Put", SLICE_LITERAL("\0\0\0\0\0\0\0\0\0\0"), NULL, NULL, "grpc-status: 13\n");
    refused(KV "Put", SLICE_LITERAL("\1\0\0\0\0"), NULL, NULL,
            "grpc: compressed flag set with identity or empty encoding\n");
    refused(KV "Put", SLICE_LITERAL("\7\0\0\0\0"), NULL, NULL, "grpc-status: 13\n");
    refused(KV "Put", put, "grpc-encoding", "snappy", "grpc-status: 12\n");
    refused(KV "Put", put, "grpc-timeout", "soon", "malformed grpc-timeout: \"soon\"\n");
    refused(KV "Put", put, "grpc-timeout", "0S", "grpc-status: 4\n");
    refused(KV "Put", slice_of(large, sizeof(large)), NULL, NULL,
            "grpc-status: 8\ngrpc-message: grpc: received message larger than max (2097153 vs. "
            "2097152)\n");
    for (int i = 0; i < 400; i++) { /* txn in success in txn ... */
        buf_reset(&message);
        buf_append_slice(&message, buf_slice(&deep));
        buf_reset(&deep);
        if (buf_used(&message) + 8 > 127 * 127)
            break;
        buf_append_byte(&deep, 0x12); /* success: RequestOp */
        size_t inner = buf_used(&message) + (buf_used(&message) > 127 ? 3 : 2);
        if (inner > 127)
            buf_append_byte(&deep, (uint8_t)(inner | 0x80));
        buf_append_byte(&deep, (uint8_t)(inner > 127 ? inner >> 7 : inner));
        buf_append_byte(&deep, 0x22); /* request_txn */
        if (buf_used(&message) > 127)
            buf_append_byte(&deep, (uint8_t)(buf_used(&message) | 0x80));
        buf_append_byte(&deep, (uint8_t)(buf_used(&message) > 127 ? buf_used(&message) >> 7
                                                                  : buf_used(&message)));
        buf_append_slice(&deep, buf_slice(&message));
    }
    call = grpc(KV "Txn", buf_slice(&deep));
    has(call, "grpc-status: 13\n");
    buf_free(&deep);
    buf_free(&message);
}

static void gzip(void **state)
{
    uint8_t packed[128], unpacked[256];
    struct buf body = BUF_INIT(BUF_UNLIMITED);
    z_stream stream = {0};
    struct h2_call *call;

    (void)state;
    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, 31, 8, 0), Z_OK);
    stream.next_in = (uint8_t *)(uintptr_t)put_ab.data;
    stream.avail_in = (unsigned)put_ab.size;
    stream.next_out = packed;
    stream.avail_out = sizeof(packed);
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    h2_put_message(&body, slice_of(packed, stream.total_out), true);
    (void)deflateEnd(&stream);
    call = h2_ask(&fix.h2, "POST", KV "Put", "application/grpc", "grpc-encoding", "gzip",
                  buf_slice(&body), true);
    h2_run(&fix.h2);
    has(call, "grpc-encoding: gzip\n");
    has(call, "grpc-status: 0\n");
    assert_int_equal(call->body.data[0], 1);
    stream = (z_stream){.next_in = call->body.data + 5,
                        .avail_in = (unsigned)buf_used(&call->body) - 5,
                        .next_out = unpacked,
                        .avail_out = sizeof(unpacked)};
    assert_int_equal(inflateInit2(&stream, 31), Z_OK);
    assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
    (void)inflateEnd(&stream);
    body.data[body.size - 9] ^= 1;
    call = h2_ask(&fix.h2, "POST", KV "Put", "application/grpc", "grpc-encoding", "gzip",
                  buf_slice(&body), true);
    h2_run(&fix.h2);
    has(call, "grpc-status: 13\ngrpc-message: grpc: failed to decompress");
    buf_free(&body);
}

static void deadline_and_cancel(void **state)
{
    struct h2_call *late, *reset;

    (void)state;
    fix.toy.hold = true;
    late = h2_grpc(&fix.h2, KV "Put", "grpc-timeout", "100m", put_ab, true);
    h2_run(&fix.h2);
    reset = h2_grpc(&fix.h2, KV "Put", NULL, NULL, put_ab, true);
    h2_run(&fix.h2);
    assert_int_equal(fix.toy.cancelled, 0);
    nghttp2_submit_rst_stream(fix.h2.session, 0, reset->id, NGHTTP2_CANCEL);
    h2_run(&fix.h2);
    assert_int_equal(fix.toy.cancelled, 1);
    toy_link_at(&fix.link, 1099);
    h2_run(&fix.h2);
    assert_false(late->closed);
    toy_link_at(&fix.link, 1100);
    h2_run(&fix.h2);
    has(late, "grpc-status: 4\ngrpc-message: context deadline exceeded\n");
    assert_int_equal(fix.toy.cancelled, 2);
    assert_int_equal(fix.metrics.rpcs[RPC_KV_Put].handled[GRPC_CANCELLED], 1);
    assert_int_equal(fix.metrics.rpcs[RPC_KV_Put].handled[GRPC_DEADLINE_EXCEEDED], 1);
}

static void streams(void **state)
{
    static const struct slice create = SLICE_LITERAL("\0\0\0\0\2\x0a\0");
    struct h2_call *watch, *alive, *snapshot;

    (void)state;
    snapshot = grpc("/etcdserverpb.Maintenance/Snapshot", SLICE_EMPTY);
    has(snapshot, "grpc-status: 0\n");
    assert_int_equal(buf_used(&snapshot->body),
                     3 * 5 + 3 * 7 + 2 * 2); /* remaining_bytes 0 is left out */
    alive = h2_grpc(&fix.h2, "/etcdserverpb.Lease/LeaseKeepAlive", NULL, NULL, SLICE_EMPTY, false);
    h2_run(&fix.h2);
    for (int i = 0; i < 100; i++)
        h2_more(&fix.h2, alive, SLICE_LITERAL("\0\0\0\0\0"), i == 99);
    h2_run_in_pieces(&fix.h2, 7);
    has(alive, "grpc-status: 0\n");
    assert_int_equal(fix.toy.messages, 101);
    watch = h2_ask(&fix.h2, "POST", "/etcdserverpb.Watch/Watch", "application/grpc", NULL, NULL,
                   SLICE_EMPTY, false);
    h2_run(&fix.h2);
    assert_int_equal(fix.toy.messages, 101);
    h2_more(&fix.h2, watch, create, false);
    h2_run(&fix.h2);
    assert_int_equal(fix.toy.messages, 1);
    assert_int_equal(buf_used(&watch->body), 7);
    h2_more(&fix.h2, watch, SLICE_LITERAL("\0\0\0"), true);
    h2_run(&fix.h2);
    has(watch, "grpc-status: 13\ngrpc-message: unexpected EOF\n");
}

/* Read on as the client opens its windows, until the call is closed. */
static void read_slowly(struct h2_call *call)
{
    size_t bytes = 0;

    fix.h2.hold_window = false;
    while (!call->closed) {
        size_t fresh = buf_used(&call->body) - bytes;

        assert_true(fresh != 0 || bytes == 0);
        (void)nghttp2_session_consume(fix.h2.session, call->id, fresh);
        (void)nghttp2_session_consume_connection(fix.h2.session, 65535);
        bytes = buf_used(&call->body);
        h2_run(&fix.h2);
    }
    has(call, "grpc-status: 0\n");
    bytes = (size_t)call->body.data[1] << 24 | (size_t)call->body.data[2] << 16 |
            (size_t)call->body.data[3] << 8 | call->body.data[4];
    assert_int_equal(bytes, buf_used(&call->body) - 5);
}

/* A range's 8 MiB are pulled only as the client opens its window; then all of it is there. */
static void pull_range(struct slice request, size_t keys, size_t pulls)
{
    struct h2_call *call;
    Etcdserverpb__RangeResponse *answer;

    fix.toy.pulled = 0;
    fix.h2.hold_window = true;
    call = h2_grpc(&fix.h2, KV "Range", NULL, NULL, request, true);
    h2_run(&fix.h2);
    assert_true(call->deferred || !call->closed);
    assert_true(fix.toy.pulled >= MIN(keys, pulls) && link_waiting(&fix.link.link) < MIB);
    read_slowly(call);
    assert_true(buf_used(&call->body) > keys * 9999);
    answer =
        etcdserverpb__range_response__unpack(NULL, buf_used(&call->body) - 5, call->body.data + 5);
    assert_non_null(answer);
    assert_int_equal(answer->n_kvs, keys);
    assert_int_equal(answer->more, 1);
    for (size_t i = 0; i < keys; i++) {
        assert_int_equal(answer->kvs[i]->value.len, 9999);
        for (size_t at = 0; at < 9999; at++)
            assert_true(answer->kvs[i]->value.data[at] == toy_value_byte(at));
    }
    etcdserverpb__range_response__free_unpacked(answer, NULL);
    assert_int_equal(fix.toy.pulled, pulls);
    assert_int_equal(fix.toy.sources, 0);
}

static void large_range(void **state)
{
    static const struct slice request = SLICE_LITERAL("\x0a\x0an:800:9999");
    struct h2_call *call;

    (void)state;
    fix.h2.hold_window = true;
    call = h2_grpc(&fix.h2, KV "Range", NULL, NULL, SLICE_LITERAL("\x0a\x09n:50:1000"), true);
    h2_run(&fix.h2);
    assert_true(call->closed);
    pull_range(request, 800, 1600); /* looked at twice */
    pull_range(SLICE_LITERAL("\x0a\x0an:801:9999"), 801, 801);
    pull_range(SLICE_LITERAL("\x0a\x0ap:799:9999"), 799, 0); /* in pieces */

    fix.h2.hold_window = true;
    call = h2_grpc(&fix.h2, KV "Range", NULL, NULL, request, true);
    h2_run(&fix.h2);
    assert_int_equal(fix.toy.sources, 1);
    nghttp2_submit_rst_stream(fix.h2.session, 0, call->id, NGHTTP2_CANCEL);
    h2_run(&fix.h2);
    assert_int_equal(fix.toy.sources, 0);
    call = h2_grpc(&fix.h2, KV "Range", NULL, NULL, SLICE_LITERAL("\x0a\x0ap:799:9999"), true);
    h2_run(&fix.h2);
    assert_int_equal(fix.toy.sources, 1);
    nghttp2_submit_rst_stream(fix.h2.session, 0, call->id, NGHTTP2_CANCEL);
    h2_run(&fix.h2);
    assert_int_equal(fix.toy.sources, 0);
    call = h2_grpc(&fix.h2, KV "Range", "grpc-timeout", "100m", request, true);
    h2_run(&fix.h2);
    assert_int_equal(fix.toy.sources, 1);
    toy_link_at(&fix.link, 1100);
    h2_run(&fix.h2);
    assert_true(call->closed);
    assert_int_equal(fix.toy.sources, 0);
    call = h2_grpc(&fix.h2, KV "Range", NULL, NULL, request, true);
    h2_run(&fix.h2);
    toy_link_at(&fix.link, 1100 + WRITE_STALL_TIMEOUT_MS - 1);
    h2_run(&fix.h2);
    assert_int_equal(fix.toy.sources, 1);
    toy_link_at(&fix.link, 1100 + WRITE_STALL_TIMEOUT_MS); /* nothing was read */
    h2_run(&fix.h2);
    assert_true(call->closed);
    assert_int_equal(fix.toy.sources, 0);
}

/* Every unary RPC, asked with an empty message, answers alike at both doors. */
static void both_doors(void **state)
{
    (void)state;
    for (size_t i = 0; i < RPC_COUNT; i++) {
        const struct rpc_row *row = rpc_row((enum rpc_id)i);
        struct buf json = BUF_INIT(BUF_UNLIMITED);
        struct h2_call *binary, *text;

        if (row->kind != RPC_UNARY || row->path == NULL || i == RPC_Lock_Lock)
            continue;
        if (i % 16 == 0) {
            tear_down(NULL);
            set_up(NULL);
        }
        fix.toy.revision = 5;
        binary = grpc(row->grpc, SLICE_EMPTY);
        fix.toy.revision = 5;
        text = h2_ask(&fix.h2, "POST", row->path, "application/json", NULL, NULL,
                      SLICE_LITERAL("{}"), true);
        h2_run(&fix.h2);
        if (!h2_has(binary, "grpc-status: 0\n")) {
            assert_false(h2_has(text, ":status: 200\n"));
            continue;
        }
        assert_true(pbjson_write_encoded(
            row->response, slice_of(binary->body.data + 5, buf_used(&binary->body) - 5),
            PBJSON_GATEWAY, &json));
        assert_string_equal(buf_text(&json), buf_text(&text->body));
        buf_free(&json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(unary),       TEST(byte_by_byte),        TEST(statuses),
        TEST(gzip),        TEST(deadline_and_cancel), TEST(streams),
        TEST(large_range), TEST(both_doors),          TEST(certificate_of_a_gateway),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
