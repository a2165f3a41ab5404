/* peer_nodes.c - see peer_nodes.h. */
#include "tests/lib/peer_nodes.h"
#include "common/base/file.h"
#include "common/base/log.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define WAIT_MS 60000 /* also on a busy machine, under a sanitizer */
/* both ends work in one thread: what one does, the other waits for */
#define STREAM_TIMEOUT_MS 120000

/* ---- waiting ---- */

static void on_limit(void *arg)
{
    struct peer_nodes *nodes = arg;

    nodes->late = true;
    loop_stop(nodes->loop);
}

static void on_turn(void *arg)
{
    struct peer_nodes *nodes = arg;

    if (nodes->fact != NULL && nodes->fact(nodes))
        loop_stop(nodes->loop);
}

void peer_nodes_wait(struct peer_nodes *nodes, bool (*fact)(struct peer_nodes *nodes),
                     const char *name)
{
    if (fact(nodes))
        return;
    nodes->fact = fact;
    nodes->late = false;
    loop_timer_set(nodes->limit, loop_now_ms() + WAIT_MS);
    loop_run(nodes->loop);
    loop_timer_set(nodes->limit, 0);
    nodes->fact = NULL;
    if (nodes->late)
        (void)fprintf(stderr, "waited in vain for: %s\n", name);
    must(!nodes->late);
}
/* ---- members ---- */

static bool on_message(void *arg, const struct raft_message *message)
{
    struct peer_node *at = arg;

    at->got++;
    at->last_type = message->type;
    at->last_term = message->term;
    for (size_t i = 0; i < message->entry_count; i++)
        at->entry_bytes += message->entries[i].data.size;
    if (message->from <= PEER_NODES && message->type == RAFT_MSG_APP) {
        if (message->index + 1 <= at->last_index[message->from])
            at->out_of_order = true;
        at->last_index[message->from] = message->index + 1;
    }
    return true;
}

static bool on_snapshot(void *arg, const struct raft_message *message)
{
    struct peer_node *at = arg;

    at->snapshots++;
    at->snapshot_index = message->snapshot->meta.index;
    return true;
}

static void on_unreachable(void *arg, uint64_t member)
{
    (void)member;
    ((struct peer_node *)arg)->unreachable++;
}

static void on_sent(void *arg, uint64_t member, uint64_t index, bool ok)
{
    (void)member;
    (void)index;
    ((struct peer_node *)arg)->sent_ok = ok;
}

static void on_removed(void *arg)
{
    ((struct peer_node *)arg)->removed = true;
}

static bool is_removed(void *arg, uint64_t member)
{
    return ((struct peer_node *)arg)->removed_id == member;
}

static void serve(void *arg, struct exchange *exchange)
{
    struct peer_node *at = arg;
    struct exchange_handler handler;

    if (at->peers == NULL) {
        exchange_not_found(exchange);
        return;
    }
    handler = peers_handler(at->peers);
    handler.start(handler.arg, exchange);
}

void peer_nodes_listen(struct peer_node *at)
{
    struct net_listener_config config = {.url = at->server != NULL ? "https://127.0.0.1:0"
                                                                   : "http://127.0.0.1:0",
                                         .name = "peer",
                                         .tls = at->server,
                                         .door = http1_link_door(&at->http1)};
    struct exchange_handler handler = {.arg = at, .start = serve};
    struct err err = ERR_INIT;
    int rc;

    http1_door_init(&at->http1, handler);
    at->http1.handler.streams = peers_streams_body;
    if (at->server != NULL) {
        at->inner = config.door;
        at->gate = peer_gate_new(at->all->loop, &at->inner, "rejected");
        config.door = peer_gate_door(at->gate);
    }
    rc = net_listen(at->all->net, &config, &at->port, &err);
    must(rc == 0);
    at->url = xasprintf("%s://127.0.0.1:%u", at->server != NULL ? "https" : "http", at->port);
}

void peer_nodes_start_peers(struct peer_node *at, uint64_t cluster_id)
{
    const char *const urls[] = {at->url};
    struct peers_config config = {.loop = at->all->loop,
                                  .id = at->id,
                                  .cluster_id = cluster_id,
                                  .peer_urls = urls,
                                  .peer_url_count = 1,
                                  .version = "3.5.30",
                                  .min_cluster_version = "3.0.0",
                                  .read_timeout_ms = STREAM_TIMEOUT_MS,
                                  .write_timeout_ms = STREAM_TIMEOUT_MS,
                                  .tls = at->client,
                                  .snap_dir = at->snap_dir,
                                  .callbacks = {.arg = at,
                                                .message = on_message,
                                                .snapshot = on_snapshot,
                                                .unreachable = on_unreachable,
                                                .snapshot_sent = on_sent,
                                                .removed = on_removed,
                                                .is_removed = is_removed}};
    struct err err = ERR_INIT;
    int rc;

    at->sent_ok = -1;
    rc = peers_new(&config, &at->peers, &err);
    must(rc == 0);
}

void peer_nodes_introduce(struct peer_node *at, size_t count)
{
    struct peers_member members[PEER_NODES];
    const char *urls[PEER_NODES];

    for (size_t i = 0; i < count; i++) {
        urls[i] = at->all->node[i].url;
        members[i] = (struct peers_member){
            .id = at->all->node[i].id, .peer_urls = &urls[i], .peer_url_count = 1};
    }
    peers_set_members(at->peers, members, count);
}

void peer_nodes_init(struct peer_nodes *nodes)
{
    struct err err = ERR_INIT;
    int rc;

    memset(nodes, 0, sizeof(*nodes));
    log_setup(LOG_SILENT, LOG_JSON);
    rc = loop_new(&nodes->loop, &err);
    must(rc == 0);
    nodes->net = net_new(nodes->loop);
    nodes->limit = loop_timer_new(nodes->loop, on_limit, nodes);
    loop_at_turn_end(nodes->loop, LOOP_PHASE_FLUSH, on_turn, nodes);
    for (size_t i = 0; i < PEER_NODES; i++)
        nodes->node[i] = (struct peer_node){.all = nodes, .id = i + 1};
}

void peer_nodes_start(struct peer_nodes *nodes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        peer_nodes_listen(&nodes->node[i]);
        peer_nodes_start_peers(&nodes->node[i], PEER_NODES_CLUSTER);
    }
    for (size_t i = 0; i < count; i++)
        peer_nodes_introduce(&nodes->node[i], count);
}

static void done(void *arg)
{
    loop_stop(((struct peer_nodes *)arg)->loop);
}

void peer_nodes_fini(struct peer_nodes *nodes)
{
    for (size_t i = 0; i < PEER_NODES; i++)
        if (nodes->node[i].peers != NULL)
            peers_stop(nodes->node[i].peers);
    net_shutdown(nodes->net, done, nodes);
    loop_run(nodes->loop);
    net_free(nodes->net);
    for (size_t i = 0; i < PEER_NODES; i++) {
        peers_free(nodes->node[i].peers);
        peer_gate_free(nodes->node[i].gate);
        tls_context_free(nodes->node[i].client);
        tls_context_free(nodes->node[i].server);
        free(nodes->node[i].url);
        free(nodes->node[i].snap_dir);
    }
    loop_timer_free(nodes->limit);
    loop_free(nodes->loop);
}

void peer_nodes_send_apps(struct peer_node *from, const struct peer_node *to, size_t count,
                          size_t bytes)
{
    uint8_t *data = xalloc(bytes + 1);
    static uint64_t next[PEER_NODES][PEER_NODES];

    for (size_t i = 0; i < count; i++) {
        uint64_t index = ++next[from->id - 1][to->id - 1];
        struct raft_entry entry = {.term = 1, .index = index, .data = slice_of(data, bytes)};
        struct raft_message message = {.type = RAFT_MSG_APP,
                                       .from = from->id,
                                       .to = to->id,
                                       .term = 1,
                                       .log_term = 1,
                                       .index = index - 1,
                                       .entries = &entry,
                                       .entry_count = 1};

        peers_send(from->peers, &message, 1);
    }
    free(data);
}

void peer_nodes_send_beat(struct peer_node *from, uint64_t to, uint64_t term)
{
    struct raft_message message = {
        .type = RAFT_MSG_HEARTBEAT, .from = from->id, .to = to, .term = term};

    peers_send(from->peers, &message, 1);
}

void peer_nodes_cut(const struct peer_node *at)
{
    for (int fd = 3; fd < 1024; fd++) {
        struct sockaddr_in own = {.sin_port = 0}, other = {.sin_port = 0};
        socklen_t size = sizeof(own);

        if (getsockname(fd, (struct sockaddr *)(void *)&own, &size) < 0)
            continue;
        size = sizeof(other);
        if (getpeername(fd, (struct sockaddr *)(void *)&other, &size) < 0)
            continue;
        if (ntohs(own.sin_port) == at->port || ntohs(other.sin_port) == at->port)
            (void)shutdown(fd, SHUT_RDWR);
    }
}

bool peer_nodes_all_active(struct peer_nodes *nodes)
{
    for (size_t i = 0; i < PEER_NODES; i++)
        if (nodes->node[i].peers != NULL && nodes->node[i].url != NULL &&
            peers_active_count(nodes->node[i].peers) !=
                (nodes->node[2].peers != NULL && nodes->node[2].url != NULL ? 2 : 1))
            return false;
    return true;
}

bool peer_nodes_got_all(struct peer_nodes *nodes)
{
    for (size_t i = 0; i < PEER_NODES; i++)
        if (nodes->node[i].got < nodes->wanted_got[i])
            return false;
    return true;
}

bool peer_nodes_beat_came(struct peer_nodes *nodes)
{
    if (nodes->node[1].last_type == RAFT_MSG_HEARTBEAT && nodes->node[1].last_term > 100)
        return true;
    peer_nodes_send_beat(&nodes->node[0], 2, 100 + ++nodes->beats);
    return false;
}

/* ---- small requests ---- */

static void on_answer(void *arg, const struct peers_answer *answer, const struct err *err)
{
    struct peer_nodes *nodes = arg;

    nodes->answered = true;
    nodes->failed = answer == NULL;
    if (answer == NULL) {
        (void)snprintf(nodes->cause, sizeof(nodes->cause), "%s", err->text);
        return;
    }
    nodes->answer = *answer;
    (void)snprintf(nodes->body, sizeof(nodes->body), "%.*s", (int)answer->body.size,
                   (const char *)answer->body.data);
}

static bool answered(struct peer_nodes *nodes)
{
    return nodes->answered;
}

void peer_nodes_ask(struct peer_nodes *nodes, const char *url, const char *method, const char *path,
                    const char *fields, struct slice body)
{
    struct peers_request request = {.url = url,
                                    .method = method,
                                    .path = path,
                                    .fields = fields,
                                    .body = body,
                                    .done = on_answer,
                                    .arg = nodes};

    nodes->answered = false;
    (void)peers_request(nodes->node[0].peers, &request);
    PEER_NODES_WAIT(nodes, answered);
}

/* ---- snapshots ---- */

static uint8_t byte_at(uint64_t offset)
{
    return (uint8_t)(offset * 7 + offset / 251);
}

static int run_image(struct peers_image *image, host_sink_fn *sink, void *sink_arg, struct err *err)
{
    uint64_t really = CONTAINER_OF(image, struct peer_image, image)->really;
    struct buf piece = BUF_INIT(PEER_IMAGE_PIECE);
    int rc = 0;

    for (uint64_t at = 0; rc == 0 && at < really; at += PEER_IMAGE_PIECE) {
        for (uint64_t i = at; i < MIN(at + PEER_IMAGE_PIECE, really); i++)
            (void)buf_append_byte(&piece, byte_at(i));
        rc = sink(sink_arg, &piece, err);
        buf_reset(&piece);
    }
    buf_free(&piece);
    return rc;
}

static void release_image(struct peers_image *image)
{
    CONTAINER_OF(image, struct peer_image, image)->released = true;
}

void peer_nodes_send_image(struct peer_nodes *nodes, struct peer_image *image, uint64_t index)
{
    struct raft_snapshot snapshot = {.data = SLICE_LITERAL("{}"),
                                     .meta = {.index = index, .term = 3}};
    struct raft_message message = {
        .type = RAFT_MSG_SNAP, .from = 1, .to = 2, .term = 3, .snapshot = &snapshot};

    image->image.run = run_image;
    image->image.release = release_image;
    image->released = false;
    nodes->node[0].sent_ok = -1;
    peers_send_snapshot(nodes->node[0].peers, &message, &image->image);
}

bool peer_nodes_image_over(struct peer_nodes *nodes)
{
    return nodes->node[0].sent_ok >= 0;
}

bool peer_image_is(const char *path, size_t bytes)
{
    struct buf content = BUF_INIT(BUF_UNLIMITED);
    struct err err = ERR_INIT;
    bool same = file_read_all(path, &content, &err) == 0 && content.size == bytes;

    for (size_t i = 0; same && i < bytes; i++)
        same = content.data[i] == byte_at(i);
    buf_free(&content);
    return same;
}
