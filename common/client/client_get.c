/* client_get.c - plain pages of a server: GET /metrics. See client.h. */
#include "common/client/answer.h"
#include "common/client/client_internal.h"

int client_get(struct client *client, size_t at, const char *path, struct buf *body,
               struct err *err)
{
    struct answer answer = {
        .client = client, .endpoint = &client->endpoints[at], .body = *body, .err = err};
    struct exchange exchange = {.endpoint = answer.endpoint,
                                .path = path,
                                .get = true,
                                .token = client->token,
                                .timeout_ms = MAX(client->options.command_timeout_ms, 0),
                                .chunk = client_on_piece,
                                .arg = &answer};
    enum transport_result result;

    must(at < client->count);
    result = transport_exchange(client->transport, &exchange, &client->failure, err);
    *body = answer.body; /* it may have grown */
    if (result != TRANSPORT_ANSWERED)
        return -1;
    if (exchange.status == 200)
        return 0;
    answer_refusal(answer.endpoint->typed, exchange.status, buf_slice(body), &client->failure, err);
    return -1;
}
