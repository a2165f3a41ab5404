/*
 * peer_reply.c - see peer_reply.h. A header's name and value may come in pieces: they are put
 * together, as far as there is room, and looked at after each piece of the value.
 */
#include "etcd-server/host/peer_reply.h"

#include "common/base/hex.h"
#include "etcd-server/doors/exchange.h"

static int on_field(http_parser *parser, const char *at, size_t size)
{
    struct peer_reply *reply = parser->data;

    if (reply->in_value) {
        reply->in_value = false;
        reply->name_bytes = 0;
        reply->value_bytes = 0;
    }
    size = MIN(size, PEER_REPLY_NAME_BYTES - reply->name_bytes);
    memcpy(reply->name + reply->name_bytes, at, size);
    reply->name_bytes += size;
    return 0;
}

/* A header line is whole, or so it seems: keep what is of interest. */
static void take_line(struct peer_reply *reply)
{
    struct slice name = slice_of(reply->name, reply->name_bytes);
    struct slice value = slice_of(reply->value, reply->value_bytes);

    if (exchange_name_is(name, "x-etcd-cluster-id")) {
        if (!hex_read(value, &reply->head.cluster_id))
            reply->head.cluster_id = 0;
    } else if (exchange_name_is(name, "x-server-version") && value.size < PEER_VERSION_BYTES) {
        memcpy(reply->head.version, value.data, value.size);
        reply->head.version[value.size] = '\0';
    }
}

static int on_value(http_parser *parser, const char *at, size_t size)
{
    struct peer_reply *reply = parser->data;

    reply->in_value = true;
    size = MIN(size, PEER_REPLY_VALUE_BYTES - reply->value_bytes);
    memcpy(reply->value + reply->value_bytes, at, size);
    reply->value_bytes += size;
    if (!reply->head_given) /* a later piece of the same value overwrites this */
        take_line(reply);
    return 0;
}

static int on_head(http_parser *parser)
{
    struct peer_reply *reply = parser->data;

    if (parser->status_code >= 100 && parser->status_code < 200)
        return 0; /* "100 Continue": the answer is still to come */
    reply->head.status = parser->status_code;
    reply->head_given = true;
    parser->upgrade = 0;
    reply->unwanted = !reply->to.head(reply->to.arg, &reply->head);
    return reply->unwanted ? -1 : 0;
}

static int on_body(http_parser *parser, const char *at, size_t size)
{
    struct peer_reply *reply = parser->data;

    reply->unwanted = !reply->to.data(reply->to.arg, slice_of(at, size));
    return reply->unwanted ? -1 : 0;
}

static int on_complete(http_parser *parser)
{
    struct peer_reply *reply = parser->data;

    reply->complete = reply->head_given;
    if (reply->complete)
        http_parser_pause(parser, 1);
    return 0;
}

static const http_parser_settings settings = {
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_headers_complete = on_head,
    .on_body = on_body,
    .on_message_complete = on_complete,
};

void peer_reply_begin(struct peer_reply *reply, const struct peer_reply_to *to)
{
    *reply = (struct peer_reply){.to = *to, .in_value = true};
    http_parser_init(&reply->parser, HTTP_RESPONSE);
    reply->parser.data = reply;
}

enum peer_reply_state peer_reply_read(struct peer_reply *reply, struct slice bytes,
                                      const char **cause)
{
    enum http_errno error;

    reply->heard = reply->heard || bytes.size != 0;
    (void)http_parser_execute(&reply->parser, &settings, (const char *)bytes.data, bytes.size);
    if (reply->unwanted)
        return PEER_REPLY_UNWANTED;
    error = HTTP_PARSER_ERRNO(&reply->parser);
    if (reply->complete) {
        http_parser_pause(&reply->parser, 0);
        reply->keep = bytes.size != 0 && http_should_keep_alive(&reply->parser) != 0;
        return PEER_REPLY_WHOLE;
    }
    if (error == HPE_OK)
        return PEER_REPLY_MORE;
    *cause = http_errno_description(error);
    return PEER_REPLY_BROKEN;
}
