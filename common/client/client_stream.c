/* client_stream.c - calls with one request and many answers: lines of JSON. See client.h. */
#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/client/answer.h"
#include "common/client/client_internal.h"
#include "common/schema/pbjson.h"

#define OCTETS_OR_JSON "application/octet-stream, application/json;q=0.9"

/* One line of a stream, complete. */
static bool take_line(struct answer *answer, struct slice line)
{
    struct slice text = answer_result(line);
    ProtobufCMessage *message = NULL;
    struct arena arena;
    int rc = -1;

    if (text.data == line.data && answer_is_stream_refusal(line)) {
        answer_refusal(answer->endpoint->typed, answer->status, line, &answer->client->failure,
                       answer->err);
        answer->failed = true;
        return false;
    }
    arena_init(&arena, CLIENT_LINE_MAX * 2);
    answer->client->failure.kind = CLIENT_FAILURE_LOCAL;
    if (pbjson_parse(answer->row->response, text, NULL, &arena, &message, answer->err) == 0) {
        rc = answer->sink->each(answer->sink->arg, message, answer->err);
    } else {
        answer_odd_hint(&answer->client->failure);
        err_prefix(answer->err, "%s: the answer is not what %s answers", answer->endpoint->typed,
                   answer->row->method);
    }
    arena_free(&arena);
    answer->failed = rc < 0;
    answer->ended = rc > 0;
    return rc == 0;
}

static bool take_bytes(struct answer *answer, struct slice bytes)
{
    answer->client->failure.kind = CLIENT_FAILURE_LOCAL;
    answer->failed =
        answer->sink->bytes(answer->sink->arg, bytes, &answer->exchange->octets, answer->err) < 0;
    return !answer->failed;
}

static uint8_t *on_room(void *arg, size_t *bytes)
{
    const struct answer *answer = arg;

    return answer->exchange->octets.given ? answer->sink->room(answer->sink->arg, bytes) : NULL;
}

static bool on_stream_piece(void *arg, long status, struct slice piece)
{
    struct answer *answer = arg;

    if (status == 200 && answer->exchange->octets.given && answer->sink->bytes != NULL)
        return take_bytes(answer, piece);
    if (!client_on_piece(arg, status, piece))
        return false;
    while (status == 200) {
        struct slice rest = buf_slice(&answer->body);
        const uint8_t *end = rest.size > 0 ? memchr(rest.data, '\n', rest.size) : NULL;

        if (end == NULL)
            break;
        if (end != rest.data && !take_line(answer, slice_of(rest.data, (size_t)(end - rest.data))))
            return false;
        buf_consume(&answer->body, (size_t)(end - rest.data) + 1);
    }
    return true;
}

static int stream_at(struct client *client, size_t at, const struct rpc_row *row, struct slice body,
                     const struct client_sink *sink, struct client_octets *octets,
                     enum transport_result *result, struct err *err)
{
    struct answer answer = {.client = client,
                            .endpoint = &client->endpoints[at],
                            .row = row,
                            .body = BUF_INIT(CLIENT_LINE_MAX),
                            .sink = sink,
                            .err = err};
    struct exchange exchange = {.endpoint = answer.endpoint,
                                .path = row->path,
                                .body = body,
                                .token = client->token,
                                .timeout_ms = MAX(client->options.command_timeout_ms, 0),
                                .accept = sink->bytes != NULL ? OCTETS_OR_JSON : NULL,
                                .require_leader = sink->require_leader,
                                .stream = true,
                                .chunk = on_stream_piece,
                                .idle = client_still_there,
                                .room = sink->room != NULL ? on_room : NULL,
                                .arg = &answer};
    int rc = -1;

    answer.exchange = &exchange;
    *result = transport_exchange(client->transport, &exchange, &client->failure, err);
    if (*result == TRANSPORT_ANSWERED && exchange.status != 200)
        answer_refusal(answer.endpoint->typed, exchange.status, buf_slice(&answer.body),
                       &client->failure, err);
    else if (*result == TRANSPORT_ANSWERED) /* the last line may lack its line end */
        rc = buf_used(&answer.body) == 0 || take_line(&answer, buf_slice(&answer.body)) ||
                     answer.ended
                 ? 0
                 : -1;
    else if (*result == TRANSPORT_STOPPED && answer.ended)
        rc = 0;
    if (rc == 0)
        client->failure.kind = CLIENT_FAILURE_NONE;
    *octets = exchange.octets;
    buf_free(&answer.body);
    return rc;
}

int client_stream(struct client *client, enum rpc_id id, const ProtobufCMessage *request,
                  client_message_fn *each, void *arg, struct err *err)
{
    const struct client_sink sink = {.each = each, .arg = arg};
    struct client_octets none;

    return client_stream_bytes(client, id, request, &sink, &none, err);
}

int client_stream_bytes(struct client *client, enum rpc_id id, const ProtobufCMessage *request,
                        const struct client_sink *sink, struct client_octets *octets,
                        struct err *err)
{
    int64_t begin = clock_ms();
    struct buf body = BUF_INIT(CLIENT_LINE_MAX);
    enum transport_result result = TRANSPORT_STOPPED;
    bool logged_in = false;
    int rc = -1;

    must(client->count > 0 && rpc_row(id)->path != NULL && rpc_row(id)->kind != RPC_UNARY);
    if (client_log_in(client, err) < 0)
        return -1;
    if (!pbjson_write(request, PBJSON_GATEWAY, &body)) {
        client->failure = (struct client_failure){.kind = CLIENT_FAILURE_LOCAL};
        err_set(err, ERR_NO_MEMORY, "the request is larger than %lu bytes",
                (unsigned long)CLIENT_LINE_MAX);
        goto out;
    }
    client_choose(client);
    for (size_t i = 0;; i++) {
        rc = stream_at(client, (client->current + i) % client->count, rpc_row(id), buf_slice(&body),
                       sink, octets, &result, err);
        if (rc == 0)
            break;
        if (client_old_token(client, err) && !logged_in) {
            logged_in = true;
            if (client_login(client, err) < 0)
                break;
            continue;
        }
        if (result != TRANSPORT_PASSING && result != TRANSPORT_NOT_SENT)
            break;
        if ((i + 1) % client->count != 0)
            continue;
        if (result != TRANSPORT_PASSING ||
            clock_ms() - begin + CLIENT_RETRY_PAUSE_MS >= client->options.patience_ms)
            break;
        clock_pause_ms(CLIENT_RETRY_PAUSE_MS);
    }
out:
    buf_free(&body);
    return rc;
}
