/*
 * choose.c - with several endpoints: which one is asked first.
 *
 * The kernel takes connections for a server that is stopped, or that is not ready, and nothing
 * comes back. What is sent there may yet be done, so a write cannot be sent to another one after
 * it. An etcd's clients wait for the server's first frame before they send; HTTP/1 has none, so a
 * small question goes ahead. Its connection is kept for what follows.
 */
#include "common/client/client_internal.h"

#include "common/base/limits.h"

#define CHOOSE_PROBE_MS 700 /* who takes longer is not out: all of them are tried after that */

static bool ignore(void *arg, long status, struct slice piece)
{
    (void)arg;
    (void)status;
    (void)piece;
    return true;
}

bool client_speaks(struct transport *transport, const struct endpoint *endpoint, int64_t timeout_ms)
{
    struct exchange exchange = {.endpoint = endpoint,
                                .path = "/version",
                                .get = true,
                                .timeout_ms = timeout_ms,
                                .chunk = ignore};
    struct client_failure failure = {0};
    struct err err = ERR_INIT;

    return transport_exchange(transport, &exchange, &failure, &err) == TRANSPORT_ANSWERED;
}

void client_choose(struct client *client)
{
    int64_t timeout_ms = CHOOSE_PROBE_MS, limit = client->options.command_timeout_ms;

    if (client->chosen || client->count < 2)
        return;
    if (limit > 0) /* half of the time is left for the question itself */
        timeout_ms = MAX(MIN(timeout_ms, limit / (2 * (int64_t)client->count)), 1);
    client->chosen = true;
    for (size_t i = 0; i < client->count; i++) {
        size_t at = (client->current + i) % client->count;

        if (client_speaks(client->transport, &client->endpoints[at], timeout_ms)) {
            client->current = at;
            return;
        }
    }
}
