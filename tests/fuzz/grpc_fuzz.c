/*
 * grpc_fuzz.c - a gRPC request: first line the path, second line a header "name: value", then the
 * body, any bytes. Every call must end with a status when its deadline is over.
 */
#include "etcd-server/doors/grpc.h"
#include "tests/lib/h2_client.h"
#include "tests/lib/toy_service.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static bool visible(struct slice text)
{
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] < '!' || text.data[i] > '~')
            return false;
    return text.size != 0;
}

static char *line_of(struct slice *rest)
{
    const uint8_t *end = rest->size != 0 ? memchr(rest->data, '\n', rest->size) : NULL;
    struct slice line = slice_of(rest->data, end != NULL ? (size_t)(end - rest->data) : rest->size);

    *rest = end != NULL ? slice_of(end + 1, rest->size - line.size - 1) : SLICE_EMPTY;
    return visible(line) ? xstrndup((const char *)line.data, line.size) : xstrdup("");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct slice body = slice_of(data, bytes);
    char *path = line_of(&body), *field = line_of(&body), *colon = strchr(field, ':');
    struct toy toy = {.revision = 0};
    struct metrics *metrics = xalloc(sizeof(*metrics));
    struct door_config calls = toy_door_config(&toy, metrics);
    struct grpc *door;
    struct exchange_handler none = {.start = NULL};
    struct h2_client *h2 = xalloc(sizeof(*h2));
    struct toy_link link;

    if (colon != NULL && colon != field)
        *colon = '\0';
    calls.max_message_bytes = 64 * KIB;
    door = grpc_new(&calls);
    toy_port_open(&link, none, grpc_handler(door));
    h2_open(h2, &link, 65535);
    (void)h2_ask(h2, "POST", path[0] != '\0' ? path : "/", "application/grpc",
                 colon != NULL && colon != field ? field : NULL, colon != NULL ? colon + 1 : "",
                 body, true);
    h2_run_in_pieces(h2, 100);
    link.link.serves->drain(&link.link);
    h2_run(h2);
    toy_link_at(&link, UINT64_MAX / 2); /* any deadline has passed */
    h2_run(h2);
    h2_close(h2);
    toy_link_close(&link);
    grpc_free(door);
    free(h2);
    free(metrics);
    free(path);
    free(field);
    must(toy.sources == 0);
    return 0;
}
