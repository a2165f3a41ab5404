/* peer_snapshot.c - snapshots with their databases: POST /raft/snapshot, both ways (raft.md 5). */
#include "etcd-server/host/peers_internal.h"

void peer_sending_abandon(struct peer_sending *sending)
{
    (void)sending;
}

void peer_receive_snapshot(struct peers *peers, struct exchange *exchange)
{
    (void)peers;
    exchange_text(exchange, 500, "failed to save KV snapshot (not yet)");
}

void peers_send_snapshot(struct peers *peers, const struct raft_message *message,
                         struct peers_image *image)
{
    const struct peers_callbacks *callbacks = &peers->config.callbacks;

    image->release(image);
    callbacks->unreachable(callbacks->arg, message->to);
    callbacks->snapshot_sent(callbacks->arg, message->to, message->snapshot->meta.index, false);
}
