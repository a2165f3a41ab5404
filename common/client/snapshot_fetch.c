/* snapshot_fetch.c (edge) - see snapshot_fetch.h. */
#include "common/client/snapshot_fetch.h"
#include "common/base/sha256.h"
#include "common/schema/pbbytes.h"
#include "common/schema/rpc.pb-c.h"
#include "common/storage/snapshot_save.h"

struct fetch {
    struct snapshot_save *save;
    snapshot_progress_fn *progress;
    void *arg;
    char *version; /* SNAPSHOT_VERSION_MAX bytes */
};

static int take_piece(void *arg, const ProtobufCMessage *message, struct err *err)
{
    const Etcdserverpb__SnapshotResponse *piece =
        (const Etcdserverpb__SnapshotResponse *)(const void *)message; /* the row's type */
    struct fetch *fetch = arg;

    if (snapshot_save_add(fetch->save, pb_slice(piece->blob), err) < 0)
        return -1;
    if (piece->version != NULL && strlen(piece->version) < SNAPSHOT_VERSION_MAX)
        memcpy(fetch->version, piece->version, strlen(piece->version) + 1);
    if (fetch->progress != NULL)
        fetch->progress(fetch->arg, snapshot_save_bytes(fetch->save), piece->remaining_bytes);
    return 0;
}

static uint8_t *find_room(void *arg, size_t *bytes)
{
    return snapshot_save_room(((struct fetch *)arg)->save, bytes);
}

/* A server of ours gives the bytes as they are. The hash behind the image is not counted
 * as left. */
static int take_bytes(void *arg, struct slice bytes, const struct client_octets *octets,
                      struct err *err)
{
    struct fetch *fetch = arg;
    uint64_t received, total = octets->length;

    if (octets->crc_announced && snapshot_save_bytes(fetch->save) == 0)
        snapshot_save_expect_crc(fetch->save);
    if (snapshot_save_add(fetch->save, bytes, err) < 0)
        return -1;
    received = snapshot_save_bytes(fetch->save);
    if (fetch->progress != NULL)
        fetch->progress(fetch->arg, received,
                        total > received + SHA256_BYTES ? total - received - SHA256_BYTES : 0);
    return 0;
}

int snapshot_fetch(struct client *client, const char *path, struct leftover *leftover,
                   snapshot_progress_fn *progress, void *arg, char version[SNAPSHOT_VERSION_MAX],
                   struct err *err)
{
    Etcdserverpb__SnapshotRequest request = ETCDSERVERPB__SNAPSHOT_REQUEST__INIT;
    struct fetch fetch = {.progress = progress, .arg = arg, .version = version};
    const struct client_sink sink = {
        .each = take_piece, .bytes = take_bytes, .room = find_room, .arg = &fetch};
    struct client_octets octets;

    version[0] = '\0';
    if (client_endpoints(client) != 1) {
        err_set(err, ERR_USAGE,
                "snapshot must be requested to one selected node, not multiple: %zu endpoints are "
                "given; name one with --endpoints",
                client_endpoints(client));
        return -1;
    }
    if (snapshot_save_begin(path, leftover, &fetch.save, err) < 0)
        return -1;
    if (client_stream_bytes(client, RPC_Maintenance_Snapshot, &request.base, &sink, &octets, err) <
        0) {
        snapshot_save_abort(fetch.save);
        return -1;
    }
    if (octets.crc_came)
        snapshot_save_crc(fetch.save, octets.crc);
    return snapshot_save_finish(fetch.save, err);
}
