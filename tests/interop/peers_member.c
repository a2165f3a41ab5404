/*
 * peers_member.c - our transport as a member of a real etcd's cluster, without raft behind it:
 *
 *     peers_member REAL_PEER_URL REAL_ID OWN_PEER_URL OWN_ID CLUSTER_ID WANTED
 *
 * Ids are hexadecimal. WANTED: "streams" (both of its streams to us and ours to it carry messages),
 * "removed" (it says that we were), "refused" (neither within two seconds). Ends with 0 when that
 * is what came.
 */
#include "common/base/log.h"
#include "etcd-server/doors/http1.h"
#include "etcd-server/host/net.h"
#include "etcd-server/host/peers.h"

#include <signal.h>
#include <stdio.h>

#define WAIT_MS 15000
#define REFUSED_MS 2000

static struct {
    struct loop *loop;
    struct net *net;
    struct http1_door http1;
    struct peers *peers;
    const char *real_url;
    const char *own_url;
    const char *wanted;
    uint64_t id, cluster_id, real_id;
    size_t beats, apps;
    bool removed, good;
} at;

static void over(bool good, const char *why)
{
    (void)printf("%s: %s (%zu heartbeats, %zu appends)\n", at.wanted, why, at.beats, at.apps);
    at.good = good;
    loop_stop(at.loop);
}

/* Answer as an empty log would, so that the leader goes on. */
static void answer(const struct raft_message *message)
{
    struct raft_message reply = {.to = message->from, .from = at.id, .term = message->term};

    if (message->type == RAFT_MSG_HEARTBEAT) {
        reply.type = RAFT_MSG_HEARTBEAT_RESP;
        reply.context = message->context;
    } else {
        reply.type = RAFT_MSG_APP_RESP;
        reply.index = message->index + message->entry_count;
    }
    peers_send(at.peers, &reply, 1);
}

static bool on_message(void *arg, const struct raft_message *message)
{
    (void)arg;
    at.beats += message->type == RAFT_MSG_HEARTBEAT;
    at.apps += message->type == RAFT_MSG_APP;
    if (message->type == RAFT_MSG_HEARTBEAT || message->type == RAFT_MSG_APP)
        answer(message);
    if (at.beats >= 5 && at.apps >= 1 && peers_active_since(at.peers, at.real_id) != 0)
        over(strcmp(at.wanted, "streams") == 0, "the leader talks to us");
    return true;
}

static void on_member(void *arg, uint64_t member)
{
    (void)arg;
    (void)member;
}

static void on_sent(void *arg, uint64_t member, uint64_t index, bool ok)
{
    (void)arg;
    (void)member;
    (void)index;
    (void)ok;
}

static void on_removed(void *arg)
{
    (void)arg;
    over(strcmp(at.wanted, "removed") == 0, "it says that we were removed");
}

static bool is_removed(void *arg, uint64_t member)
{
    (void)arg;
    (void)member;
    return false;
}

static void start_peers(void)
{
    struct peers_config config = {.loop = at.loop,
                                  .id = at.id,
                                  .cluster_id = at.cluster_id,
                                  .peer_urls = &at.own_url,
                                  .peer_url_count = 1,
                                  .version = "3.5.30",
                                  .min_cluster_version = "3.0.0",
                                  .callbacks = {.message = on_message,
                                                .unreachable = on_member,
                                                .snapshot_sent = on_sent,
                                                .removed = on_removed,
                                                .is_removed = is_removed}};
    struct err err = ERR_INIT;

    must(peers_new(&config, &at.peers, &err) == 0);
}

static void serve(void *arg, struct exchange *exchange)
{
    struct exchange_handler handler = peers_handler(at.peers);

    (void)arg;
    handler.start(handler.arg, exchange);
}

static void listen_here(void)
{
    struct net_listener_config config = {.url = at.own_url, .name = "peer"};
    struct exchange_handler handler = {.start = serve};
    struct err err = ERR_INIT;

    http1_door_init(&at.http1, handler);
    config.door = http1_link_door(&at.http1);
    if (net_listen(at.net, &config, NULL, &err) < 0)
        (void)fprintf(stderr, "%s\n", err.text);
}

static void on_limit(void *arg)
{
    (void)arg;
    over(strcmp(at.wanted, "refused") == 0 && at.beats + at.apps == 0 &&
             peers_active_count(at.peers) == 0,
         "the time is over");
}

int main(int argc, char **argv)
{
    struct peers_member real = {.peer_urls = &at.real_url, .peer_url_count = 1};
    struct loop_timer *limit;
    struct err err = ERR_INIT;

    if (argc != 7)
        return 2;
    (void)signal(SIGPIPE, SIG_IGN);
    at.real_url = argv[1];
    real.id = at.real_id = strtoull(argv[2], NULL, 16);
    at.own_url = argv[3];
    at.id = strtoull(argv[4], NULL, 16);
    at.cluster_id = strtoull(argv[5], NULL, 16);
    at.wanted = argv[6];
    must(loop_new(&at.loop, &err) == 0);
    at.net = net_new(at.loop);
    start_peers();
    listen_here();
    peers_set_members(at.peers, &real, 1);
    limit = loop_timer_new(at.loop, on_limit, NULL);
    loop_timer_set(limit,
                   loop_now_ms() + (strcmp(at.wanted, "refused") == 0 ? REFUSED_MS : WAIT_MS));
    loop_run(at.loop);
    return at.good ? 0 : 1; /* everything goes with the process */
}
