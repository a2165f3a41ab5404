/*
 * websocket_fuzz.c - any bytes behind the handshake, cut into pieces by the first byte. The frames
 * say the same in pieces as in one; the port answers or closes, and ends clean.
 */
#include "etcd-server/doors/client.h"
#include "etcd-server/doors/websocket.h"
#include "tests/lib/toy_link.h"
#include "tests/lib/toy_service.h"
#include "tests/lib/toy_websocket.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void read_frames(struct slice in, size_t step, struct buf *seen)
{
    struct websocket_reader reader = {.left = 0};
    uint8_t piece[WEBSOCKET_PIECE_BYTES];

    for (size_t at = 0; at < in.size; at += step) {
        struct slice part = slice_of(in.data + at, MIN(step, in.size - at)), content;
        enum websocket_event event;

        while ((event = websocket_read(&reader, &part, piece, &content)) != WEBSOCKET_MORE) {
            if (event != WEBSOCKET_PIECE)
                buf_printf(seen, "<%d>", (int)event);
            if (event != WEBSOCKET_MESSAGE_END)
                buf_append_slice(seen, content);
        }
        must(part.size == 0);
    }
}

static void same_in_pieces(struct slice in, size_t step)
{
    struct buf whole = BUF_INIT(BUF_UNLIMITED), cut = BUF_INIT(BUF_UNLIMITED);

    read_frames(in, MAX(in.size, 1), &whole);
    read_frames(in, step, &cut);
    must(slice_equal(buf_slice(&whole), buf_slice(&cut)));
    buf_free(&whole);
    buf_free(&cut);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const char *const heads[] = {
        "GET /v3/watch" TOY_UPGRADE "\r\n", "GET /v3/lease/keepalive" TOY_UPGRADE "\r\n",
        "GET /v3/kv/range" TOY_UPGRADE "\r\n", "GET /v3/maintenance/snapshot" TOY_UPGRADE "\r\n"};
    struct toy toy = {.revision = 0};
    struct metrics *metrics = xalloc(sizeof(*metrics));
    struct door_config gateway = toy_door_config(&toy, metrics);
    struct ops_env env = toy_ops_env(&toy, metrics);
    struct client_config config = {.gateway = gateway_new(&gateway), .ops = ops_new(&env)};
    struct client *client = client_new(&config);
    size_t step = bytes != 0 ? (size_t)data[0] % 61 + 1 : 1;
    struct toy_link link;

    if (bytes != 0)
        same_in_pieces(slice_of(data + 1, bytes - 1), step);
    toy_link_open(&link, client_handler(client));
    toy_link_text(&link, heads[bytes != 0 ? data[0] % ARRAY_LEN(heads) : 0]);
    for (size_t at = 1; at < bytes && !link.link.close; at += step) {
        toy_link_feed(&link, slice_of(data + at, MIN(step, bytes - at)));
        if (at % 2 == 0)
            (void)toy_link_answer(&link);
    }
    (void)toy_link_answer(&link);
    if (bytes % 2 == 0)
        link.link.serves->drain(&link.link);
    (void)toy_link_answer(&link);
    toy_link_close(&link);
    client_free(client);
    gateway_free(config.gateway);
    ops_free(config.ops);
    free(metrics);
    must(toy.sources == 0);
    return 0;
}
