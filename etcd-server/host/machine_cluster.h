/*
 * machine_cluster.h (edge) - the half of the real host that has to do with other members: their
 * messages, their snapshots, their links. Made when the engine is there; machine.c hands its
 * operations on. Thread: core.
 */
#ifndef ETCD_SERVER_HOST_MACHINE_CLUSTER_H
#define ETCD_SERVER_HOST_MACHINE_CLUSTER_H

#include "etcd-server/engine/engine.h"
#include "etcd-server/host/peers.h"

struct machine_cluster;

struct machine_cluster_config {
    struct loop *loop;
    struct host *host; /* for its pool; all borrowed */
    struct engine *engine;
    struct metrics *metrics;      /* as in peers.h, and the snapshots of the backend */
    const char *const *peer_urls; /* our own, as advertised */
    size_t peer_url_count;
    const char *version;
    const char *snap_dir;
    struct tls_context *tls; /* for dialling; NULL = none */
    uint64_t election_timeout_ms;
    uint64_t read_timeout_ms, write_timeout_ms; /* as in peers.h */
};

int machine_cluster_new(const struct machine_cluster_config *config,
                        struct machine_cluster **cluster, struct err *err) MUST_CHECK;
void machine_cluster_stop(struct machine_cluster *cluster); /* no callback any more; NULL is fine */
/* After the last connection; NULL is fine. */
void machine_cluster_free(struct machine_cluster *cluster);
struct peers *machine_cluster_peers(struct machine_cluster *cluster);

/* host.h, carried out. */
void machine_cluster_send(struct machine_cluster *cluster, const struct raft_message *messages,
                          size_t count);
void machine_cluster_members_changed(struct machine_cluster *cluster);
void machine_cluster_send_snapshot(struct machine_cluster *cluster,
                                   const struct raft_message *message,
                                   struct backend_read *read); /* `read` is taken */
void machine_cluster_ask(struct machine_cluster *cluster, uint64_t member,
                         struct host_question *question);
void machine_cluster_ask_cancel(struct machine_cluster *cluster, struct host_question *question);
uint64_t machine_cluster_connected_ms(const struct machine_cluster *cluster, uint64_t member);

#endif
