/*
 * gateway_fuzz.c - a well-framed request with any path, header and body: the first line of the
 * input is the path, the second one header, the rest the body. Whatever it is, there is one answer,
 * or the call waits and is cancelled with its connection.
 */
#include "etcd-server/doors/client.h"
#include "tests/lib/toy_link.h"
#include "tests/lib/toy_service.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static struct slice line_of(struct slice *rest)
{
    const uint8_t *end = rest->size != 0 ? memchr(rest->data, '\n', rest->size) : NULL;
    struct slice line = slice_of(rest->data, end != NULL ? (size_t)(end - rest->data) : rest->size);

    *rest = end != NULL ? slice_of(end + 1, rest->size - line.size - 1) : SLICE_EMPTY;
    return line;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct slice body = slice_of(data, bytes), path = line_of(&body), field = line_of(&body);
    struct toy toy = {.revision = 0};
    struct metrics *metrics = xalloc(sizeof(*metrics));
    struct door_config gateway_config = toy_door_config(&toy, metrics);
    struct ops_env env = toy_ops_env(&toy, metrics);
    struct client_config config = {.gateway = gateway_new(&gateway_config), .ops = ops_new(&env)};
    struct client *client = client_new(&config);
    struct buf text = BUF_INIT(BUF_UNLIMITED);
    struct toy_link link;

    toy_link_open(&link, client_handler(client));
    buf_append_text(&text, "POST ");
    buf_append_slice(&text, path);
    buf_append_text(&text, " HTTP/1.1\r\nHost: a\r\n");
    buf_append_slice(&text, field);
    buf_printf(&text, "\r\nContent-Length: %zu\r\n\r\n", body.size);
    buf_append_slice(&text, body);
    toy_link_feed(&link, buf_slice(&text));
    toy_link_answer(&link);
    must(link.link.close || link.link.phase == LINK_IDLE || link.link.phase == LINK_BUSY ||
         field.size != 0 || path.size != 0);
    toy_link_at(&link, UINT64_MAX / 2); /* any deadline has passed */
    toy_link_answer(&link);
    toy_link_close(&link);
    buf_free(&text);
    client_free(client);
    gateway_free(config.gateway);
    ops_free(config.ops);
    free(metrics);
    must(toy.sources == 0);
    return 0;
}
