/*
 * alive.c - a stream in which nothing comes: is its server still there?
 *
 * The kernel answers for a server that is stopped, so that a connection looks alive for ever. An
 * etcd's clients ping by HTTP/2; HTTP/1 has no pings, so a small question goes by another
 * connection, which is kept. Only with several endpoints: with one there is nowhere to go.
 *
 *   silence of keepalive_time -> asked -> an answer: heard -> again after keepalive_time
 *                                      -> none, keepalive_timeout on: the stream is given up
 */
#include "common/base/clock.h"
#include "common/client/client_internal.h"

#include <stdio.h>

#define ALIVE_PROBE_MS 700

/* Does the server behind `endpoint` say anything? */
static bool speaks(struct client *client, const struct endpoint *endpoint)
{
    struct transport_options options = {.cacert = client->options.cacert,
                                        .cert = client->options.cert,
                                        .key = client->options.key,
                                        .skip_verify = client->options.skip_verify,
                                        .dial_timeout_ms = ALIVE_PROBE_MS};
    struct client_failure failure = {0};
    struct err err = ERR_INIT;

    if (client->prober == NULL &&
        transport_new(client->options.transport, &options, &client->prober, &failure, &err) < 0)
        return true; /* the files are gone: that says nothing of the server */
    return client_speaks(client->prober, endpoint, ALIVE_PROBE_MS);
}

static int64_t either(int64_t given_ms, int64_t fallback_ms)
{
    return given_ms > 0 ? given_ms : fallback_ms;
}

bool client_still_there(void *arg, int64_t waited_ms)
{
    struct answer *answer = arg;
    struct client *client = answer->client;
    int64_t time_ms = either(client->options.keepalive_time_ms, CLIENT_KEEPALIVE_TIME_MS_DEFAULT);
    int64_t timeout_ms =
        either(client->options.keepalive_timeout_ms, CLIENT_KEEPALIVE_TIMEOUT_MS_DEFAULT);
    int64_t heard_ms = MAX(answer->heard_ms, clock_ms() - waited_ms), silent_ms;

    if (client->count < 2 || clock_ms() - heard_ms < time_ms)
        return true;
    if (speaks(client, answer->endpoint)) {
        answer->heard_ms = clock_ms();
        return true;
    }
    silent_ms = clock_ms() - heard_ms;
    if (silent_ms < time_ms + timeout_ms)
        return true;
    err_set(answer->err, ERR_NET, "%s: it has said nothing for %" PRId64 " s",
            answer->endpoint->typed, silent_ms / 1000);
    client->failure.kind = CLIENT_FAILURE_TIMEOUT;
    (void)snprintf(client->failure.hint, sizeof(client->failure.hint),
                   "The server is stopped, or the way to it is cut: look at it.");
    client->chosen = false;
    answer->failed = true;
    return false;
}
