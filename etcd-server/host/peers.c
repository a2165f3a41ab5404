/*
 * peers.c - see peers.h: who the others are, and which link a message takes.
 *
 * A link that leaves is freed on a later turn: the change may come out of a message that this very
 * link has brought.
 */
#include "etcd-server/host/peers_internal.h"

#include "common/base/log.h"

#include <stdio.h>

struct worker *peers_worker(struct peers *peers, worker_fn *fn, unsigned threads)
{
    struct worker *worker = NULL;
    struct err err = ERR_INIT;

    if (worker_new(threads, false, fn, peers, &worker, &err) < 0)
        log_fatal("cannot start threads for peers", log_str("error", err.text));
    must(worker != NULL);
    return worker;
}

/* ---- members ---- */

struct peer_link *peers_find(const struct peers *peers, uint64_t id)
{
    for (struct peer_link *link = peers->links; link != NULL; link = link->next)
        if (link->id == id)
            return link;
    return NULL;
}

static void free_leaving(struct peers *peers)
{
    struct peer_link *next;

    for (struct peer_link *link = peers->leaving; link != NULL; link = next) {
        next = link->next;
        peer_link_free(link);
    }
    peers->leaving = NULL;
}

static void on_leaving(void *arg)
{
    struct peers *peers = arg;

    peers->leaving_posted = false;
    free_leaving(peers);
}

static bool is_member(const struct peers_member *members, size_t count, uint64_t id)
{
    for (size_t i = 0; i < count; i++)
        if (members[i].id == id)
            return true;
    return false;
}

/* Links of members that are none any more. Remotes stay: they were none before. */
static void drop_missing(struct peers *peers, const struct peers_member *members, size_t count)
{
    for (struct peer_link **at = &peers->links; *at != NULL;) {
        struct peer_link *link = *at;

        if (link->remote || is_member(members, count, link->id)) {
            at = &link->next;
            continue;
        }
        *at = link->next;
        link->next = peers->leaving;
        peers->leaving = link;
        log_info("stopped remote peer", log_hex("remote-peer-id", link->id));
    }
    if (peers->leaving != NULL && !peers->leaving_posted) {
        peers->leaving_posted = true;
        loop_post(peers->loop, on_leaving, peers);
    }
}

static void add_link(struct peers *peers, const struct peers_member *member, bool remote)
{
    struct peer_link *link = peer_link_new(peers, member, remote);

    link->next = peers->links;
    peers->links = link;
    peers->remote_count += remote;
}

void peers_set_members(struct peers *peers, const struct peers_member *members, size_t count)
{
    if (peers->stopped)
        return;
    drop_missing(peers, members, count);
    for (size_t i = 0; i < count; i++) {
        const struct peers_member *member = &members[i];
        struct peer_link *link = peers_find(peers, member->id);

        if (member->id == peers->config.id || member->peer_url_count == 0)
            continue;
        if (link == NULL) {
            add_link(peers, member, false);
            continue;
        }
        if (!peer_link_has_urls(link, member))
            peer_link_set_urls(link, member);
        if (link->remote) {
            peers->remote_count--;
            peer_link_promote(link);
        }
    }
}

void peers_add_remote(struct peers *peers, const struct peers_member *member)
{
    if (peers->stopped || member->id == peers->config.id || member->peer_url_count == 0 ||
        peers->remote_count >= PEER_REMOTES_MAX || peers_find(peers, member->id) != NULL)
        return;
    add_link(peers, member, true);
    log_info("added remote peer", log_hex("remote-peer-id", member->id),
             log_str("url", member->peer_urls[0]));
}

uint64_t peers_active_since(const struct peers *peers, uint64_t member)
{
    const struct peer_link *link = peers_find(peers, member);

    return link != NULL && !link->remote ? link->active_since_ms : 0;
}

size_t peers_active_count(const struct peers *peers)
{
    size_t count = 0;

    for (const struct peer_link *link = peers->links; link != NULL; link = link->next)
        count += !link->remote && link->active_since_ms != 0;
    return count;
}

/* ---- messages ---- */

void peers_send(struct peers *peers, const struct raft_message *messages, size_t count)
{
    struct peer_link *link = NULL;

    if (peers->stopped)
        return;
    for (size_t i = 0; i < count; i++) {
        must(messages[i].type != RAFT_MSG_SNAP);
        if (link == NULL || link->id != messages[i].to)
            link = peers_find(peers, messages[i].to);
        if (link != NULL)
            peer_link_send(link, &messages[i]);
    }
    for (link = peers->links; link != NULL; link = link->next)
        peer_link_flush(link);
}

static bool is_local(enum raft_message_type type)
{
    return type == RAFT_MSG_HUP || type == RAFT_MSG_BEAT || type == RAFT_MSG_UNREACHABLE ||
           type == RAFT_MSG_SNAP_STATUS || type == RAFT_MSG_CHECK_QUORUM;
}

const char *peers_deliver(struct peers *peers, const struct raft_message *message)
{
    const struct peers_callbacks *callbacks = &peers->config.callbacks;

    if (peers->stopped)
        return "the server stops";
    if (message->to != peers->config.id)
        return "it is addressed to another member";
    if (callbacks->is_removed(callbacks->arg, message->from))
        return "its sender was removed from the cluster";
    if (is_local(message->type))
        return NULL; /* never of another member: ignored */
    return callbacks->message(callbacks->arg, message) ? NULL : "raft has stopped";
}

/* ---- life ---- */

static void on_tick(void *arg)
{
    struct peers *peers = arg;
    uint64_t now_ms = loop_now_ms();

    if (peers->stopped)
        return;
    for (struct peer_link *link = peers->links; link != NULL; link = link->next)
        peer_link_tick(link, now_ms);
    peers_asker_tick(peers->asker, now_ms);
    loop_timer_set(peers->tick, now_ms + PEER_HEARTBEAT_MS);
}

static char *join_urls(const struct peers_config *config)
{
    struct buf text = BUF_INIT(BUF_UNLIMITED); /* our own settings */

    for (size_t i = 0; i < config->peer_url_count; i++)
        buf_printf(&text, "%s%s", i != 0 ? "," : "", config->peer_urls[i]);
    (void)buf_text(&text);
    return (char *)text.data;
}

static void make_fields(struct peers *peers)
{
    const struct peers_config *config = &peers->config;

    peers->urls_text = join_urls(config);
    peers->raft_fields = xasprintf("X-Server-From: %" PRIx64 "\r\n"
                                   "X-Server-Version: %s\r\n"
                                   "X-Min-Cluster-Version: %s\r\n"
                                   "X-Etcd-Cluster-ID: %" PRIx64 "\r\n"
                                   "X-PeerURLs: %s\r\n",
                                   config->id, config->version, config->min_cluster_version,
                                   config->cluster_id, peers->urls_text);
    peers->cluster_field = xasprintf("X-Etcd-Cluster-Id: %" PRIx64 "\r\n", config->cluster_id);
    peers->stream_fields =
        xasprintf("%sX-Server-Version: %s\r\n", peers->cluster_field, config->version);
}

int peers_new(const struct peers_config *config, struct peers **out, struct err *err)
{
    struct peers *peers;
    struct url url;

    for (size_t i = 0; i < config->peer_url_count; i++) {
        if (url_parse(config->peer_urls[i], &url, err) < 0)
            return -1;
        url_fini(&url);
    }
    peers = xalloc(sizeof(*peers));
    peers->config = *config;
    peers->config.version = xstrdup(config->version);
    peers->config.min_cluster_version = xstrdup(config->min_cluster_version);
    peers->config.snap_dir = config->snap_dir != NULL ? xstrdup(config->snap_dir) : NULL;
    if (config->election_timeout_ms == 0)
        peers->config.election_timeout_ms = 1000;
    peers->config.read_timeout_ms = MAX(config->read_timeout_ms, PEER_READ_TIMEOUT_MS);
    peers->config.write_timeout_ms = MAX(config->write_timeout_ms, PEER_WRITE_TIMEOUT_MS);
    peers->loop = config->loop;
    peers->producers = producers_new(config->loop);
    peers->scratch = xalloc(PEER_SCRATCH_BYTES);
    peers->asker = peers_asker_new(peers);
    make_fields(peers);
    peers->config.peer_urls = NULL; /* the caller's; ours are in the fields */
    peers->tick = loop_timer_new(peers->loop, on_tick, peers);
    loop_timer_set(peers->tick, loop_now_ms() + PEER_HEARTBEAT_MS);
    *out = peers;
    return 0;
}

static void free_links(struct peers *peers)
{
    struct peer_link *next;

    for (struct peer_link *link = peers->links; link != NULL; link = next) {
        next = link->next;
        link->next = peers->leaving;
        peers->leaving = link;
    }
    peers->links = NULL;
    free_leaving(peers);
}

static void on_stopped(void *arg)
{
    struct peers *peers = arg;

    free_links(peers);
    peers_asker_stop(peers->asker);
}

void peers_stop(struct peers *peers)
{
    if (peers->stopped)
        return;
    peers->stopped = true;
    loop_timer_set(peers->tick, 0);
    loop_post(peers->loop, on_stopped, peers);
}

void peers_free(struct peers *peers)
{
    if (peers == NULL)
        return;
    peers->stopped = true;
    free_links(peers);
    peers_asker_free(peers->asker);
    worker_free(peers->resolver);
    producers_free(peers->producers);
    worker_free(peers->writer);
    peer_snapshots_free(peers);
    loop_timer_free(peers->tick);
    free((char *)(uintptr_t)peers->config.version); /* copies of ours */
    free((char *)(uintptr_t)peers->config.min_cluster_version);
    free((char *)(uintptr_t)peers->config.snap_dir);
    free(peers->urls_text);
    free(peers->raft_fields);
    free(peers->cluster_field);
    free(peers->stream_fields);
    free(peers->scratch);
    free(peers);
}
