/*
 * peer_serve.c - what other members ask of us: /raft and below, with the checks, their order and
 * the texts of raft.md 2.2, 3.2 and 4.1.
 */
#include "common/base/limits.h"
#include "etcd-server/host/peers_internal.h"

#include "common/base/hex.h"
#include "common/base/log.h"
#include "common/schema/versions.h"

#include <stdio.h>
#include <time.h>

/* ---- answers ---- */

static void answer_text(struct exchange *exchange, unsigned status, const char *fields,
                        const char *text)
{
    char body[ERR_TEXT_MAX + 1];
    int length = snprintf(body, sizeof(body), "%s\n", text);
    struct exchange_head head = {.status = status,
                                 .content_type = "text/plain; charset=utf-8",
                                 .fields = "X-Content-Type-Options: nosniff\r\n",
                                 .more_fields = fields};

    must(length > 0);
    exchange_answer(exchange, &head, slice_of(body, MIN((size_t)length, sizeof(body) - 1)));
}

static void answer_done(struct peers *peers, struct exchange *exchange)
{
    struct exchange_head head = {.status = 204, .fields = peers->cluster_field};

    exchange_answer(exchange, &head, SLICE_EMPTY);
}

/* ---- checks of every raft request ---- */

/* What cannot be read, or is absent, counts as 2.0. */
static unsigned version_of(struct slice text)
{
    char copy[VERSION_TEXT_BYTES] = "";
    unsigned level;

    if (text.size < sizeof(copy) && text.size != 0)
        memcpy(copy, text.data, text.size);
    level = version_level(copy);
    return level != 0 ? level : 2000;
}

static unsigned version_field(const struct exchange *exchange, const char *name)
{
    struct slice value = SLICE_EMPTY;

    (void)exchange_field(exchange, name, &value);
    return version_of(value);
}

static uint64_t id_field(const struct exchange *exchange, const char *name)
{
    struct slice value;
    uint64_t id = 0;

    if (!exchange_field(exchange, name, &value) || !hex_read(value, &id))
        return 0;
    return id;
}

/* Versions and cluster; NULL, or the text of the 412. */
static const char *check_sender(const struct peers *peers, const struct exchange *exchange)
{
    const struct peers_config *config = &peers->config;
    uint64_t from = id_field(exchange, "x-server-from");
    uint64_t cluster_id = id_field(exchange, "x-etcd-cluster-id");

    if (version_field(exchange, "x-server-version") <
            version_of(slice_text(config->min_cluster_version)) ||
        version_field(exchange, "x-min-cluster-version") >
            version_of(slice_text(config->version))) {
        log_warn("refused a request of a peer: incompatible version",
                 log_hex("remote-peer-id", from), log_str("remote-addr", exchange->link->remote),
                 log_str("local-server-version", config->version));
        return "incompatible version";
    }
    if (cluster_id != config->cluster_id) {
        log_warn("refused a request of a peer: cluster ID mismatch",
                 log_hex("remote-peer-id", from), log_str("remote-addr", exchange->link->remote),
                 log_hex("remote-peer-cluster-id", cluster_id),
                 log_hex("local-member-cluster-id", config->cluster_id));
        return "cluster ID mismatch";
    }
    return NULL;
}

/* Note a sender that nobody has named yet, so that it can be answered (raft.md 7.3). */
static void note_remote(struct peers *peers, const struct exchange *exchange)
{
    const struct peers_callbacks *callbacks = &peers->config.callbacks;
    uint64_t from = id_field(exchange, "x-server-from");
    struct peers_member member = {.id = from};
    const char *urls[MEMBER_URLS_MAX];
    char text[URL_MAX_BYTES + 1], *next, *saved = NULL;
    struct slice value;

    if (from == 0 || peers_find(peers, from) != NULL ||
        callbacks->is_removed(callbacks->arg, from) ||
        !exchange_field(exchange, "x-peerurls", &value) || value.size > URL_MAX_BYTES)
        return;
    memcpy(text, value.data, value.size);
    text[value.size] = '\0';
    for (next = strtok_r(text, ",", &saved);
         next != NULL && member.peer_url_count < MEMBER_URLS_MAX;
         next = strtok_r(NULL, ",", &saved)) {
        struct err err = ERR_INIT;
        struct url url;

        if (url_parse(next, &url, &err) < 0)
            return; /* what one URL in it is, the rest may be, too */
        url_fini(&url);
        urls[member.peer_url_count++] = next;
    }
    member.peer_urls = urls;
    peers_add_remote(peers, &member);
}

/* ---- POST /raft ---- */

static void start_message(struct peers *peers, struct exchange *exchange)
{
    struct raft_message message;
    struct err err = ERR_INIT;
    struct arena arena;
    struct peer_link *link;
    const char *cause;

    cause = check_sender(peers, exchange);
    if (cause != NULL) {
        answer_text(exchange, 412, peers->cluster_field, cause);
        return;
    }
    note_remote(peers, exchange);
    link = peers_find(peers, id_field(exchange, "x-server-from"));
    if (link != NULL)
        link->counted->received_bytes += exchange->body.size;
    if (exchange->body_too_large) {
        answer_text(exchange, 400, peers->cluster_field, "error reading raft message");
        return;
    }
    arena_init(&arena, PEER_MESSAGE_ARENA_MAX);
    if (raft_message_decode(exchange->body, &arena, &message, &err) < 0 ||
        message.type == RAFT_MSG_SNAP) {
        log_warn("cannot read a message of a peer", log_str("remote-addr", exchange->link->remote),
                 log_str("error", err.code != ERR_OK ? err.text : "a snapshot without a database"));
        answer_text(exchange, 400, peers->cluster_field, "error unmarshalling raft message");
    } else if ((cause = peers_deliver(peers, &message)) != NULL) {
        log_warn("refused a message of a peer", log_hex("remote-peer-id", message.from),
                 log_hex("to", message.to), log_str("error", cause));
        answer_text(exchange, 500, peers->cluster_field, "error processing raft message");
    } else {
        answer_done(peers, exchange);
    }
    if (link != NULL && (cause != NULL || err.code != ERR_OK))
        link->counted->received_failures++;
    arena_free(&arena);
}

/* ---- GET /raft/stream/... ---- */

static bool take_prefix(struct slice *path, const char *prefix)
{
    if (!slice_starts_with(*path, slice_text(prefix)))
        return false;
    *path = slice_of(path->data + strlen(prefix), path->size - strlen(prefix));
    return true;
}

static void start_stream(struct peers *peers, struct exchange *exchange, struct slice rest)
{
    const struct peers_callbacks *callbacks = &peers->config.callbacks;
    struct exchange_head head = {.status = 200, .fields = peers->stream_fields};
    enum peer_stream_kind kind = PEER_STREAM_MESSAGE;
    const char *cause = check_sender(peers, exchange);
    struct peer_link *link;
    unsigned status = 412;
    uint64_t from = 0;

    if (cause == NULL) {
        status = 404;
        if (take_prefix(&rest, "msgapp/"))
            kind = PEER_STREAM_MSGAPP;
        else if (!take_prefix(&rest, "message/"))
            cause = "invalid path";
    }
    if (cause == NULL && !hex_read(rest, &from))
        cause = "invalid from";
    if (cause == NULL && callbacks->is_removed(callbacks->arg, from)) {
        status = 410;
        cause = "removed member";
    }
    link = peers_find(peers, from);
    if (cause == NULL && (link == NULL || link->remote)) {
        note_remote(peers, exchange);
        cause = "error sender not found";
    }
    if (cause == NULL && id_field(exchange, "x-raft-to") != peers->config.id) {
        status = 412;
        cause = "to field mismatch";
    }
    if (cause != NULL) {
        answer_text(exchange, status, peers->stream_fields, cause);
        return;
    }
    exchange_begin(exchange, &head);
    peer_link_attach(link, kind, exchange);
}

/* ---- GET /raft/probing ---- */

static void start_probe(struct exchange *exchange)
{
    struct exchange_head head = {.status = 200, .content_type = "text/plain; charset=utf-8"};
    struct timespec now;
    char body[96], text[32] = "";
    struct tm tm;

    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail */
    if (gmtime_r(&now.tv_sec, &tm) != NULL)
        (void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(body, sizeof(body), "{\"OK\":true,\"Now\":\"%s.%09ldZ\"}\n", text, now.tv_nsec);
    exchange_answer(exchange, &head, slice_text(body));
}

/* ---- routing ---- */

static void start(void *arg, struct exchange *exchange)
{
    struct peers *peers = arg;
    struct slice path = exchange->path;
    const char *cause;

    if (peers->stopped) {
        answer_text(exchange, 503, peers->cluster_field, "the server stops");
    } else if (exchange_path_is(exchange, "/raft")) {
        if (exchange_needs(exchange, METHOD_POST, "POST"))
            start_message(peers, exchange);
    } else if (take_prefix(&path, "/raft/stream/")) {
        if (exchange_needs(exchange, METHOD_GET, "GET"))
            start_stream(peers, exchange, path);
    } else if (exchange_path_is(exchange, "/raft/snapshot")) {
        if (!exchange_needs(exchange, METHOD_POST, "POST"))
            return;
        cause = check_sender(peers, exchange);
        if (cause != NULL) {
            answer_text(exchange, 412, peers->cluster_field, cause);
            return;
        }
        note_remote(peers, exchange);
        peer_receive_snapshot(peers, exchange);
    } else if (exchange_path_is(exchange, "/raft/probing")) {
        start_probe(exchange);
    } else {
        exchange_not_found(exchange);
    }
}

struct exchange_handler peers_handler(struct peers *peers)
{
    return (struct exchange_handler){.arg = peers, .start = start};
}

bool peers_streams_body(void *arg, const struct exchange *exchange)
{
    (void)arg;
    return exchange->method == METHOD_POST && exchange_path_is(exchange, "/raft/snapshot");
}
