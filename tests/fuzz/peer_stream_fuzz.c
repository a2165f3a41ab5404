/*
 * peer_stream_fuzz.c - any bytes as either stream, in two pieces, and as a snapshot's body: refused
 * with a sentence, or messages that can be encoded again. The first byte chooses where to cut.
 */
#include "etcd-server/doors/peer_stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_stream(enum peer_stream_kind kind, struct slice bytes, size_t cut)
{
    struct slice parts[2] = {slice_of(bytes.data, cut),
                             slice_of(bytes.data + cut, bytes.size - cut)};
    struct peer_stream_state state = {0, 0};
    struct buf out = BUF_INIT(BUF_UNLIMITED);
    struct peer_decoder decoder;
    struct raft_message message;
    struct err err = ERR_INIT;

    peer_decoder_init(&decoder, kind, 1, 2);
    for (size_t i = 0; i < 2; i++) {
        enum peer_decoded result;

        while ((result = peer_decoder_next(&decoder, &parts[i], &message, &err)) ==
                   PEER_DECODED_MESSAGE ||
               result == PEER_DECODED_HEARTBEAT)
            if (result == PEER_DECODED_MESSAGE)
                must(peer_stream_encode(kind, &state, &message, &out));
        must(result != PEER_DECODED_BAD || (err.code != ERR_OK && err.text[0] != '\0'));
        if (result == PEER_DECODED_BAD)
            break;
        must(parts[i].size == 0);
    }
    peer_decoder_fini(&decoder);
    buf_free(&out);
}

static void try_snapshot(struct slice bytes)
{
    struct peer_snapshot_decoder decoder;
    struct raft_message message;
    struct err err = ERR_INIT;

    peer_snapshot_decoder_init(&decoder);
    if (peer_snapshot_decoder_next(&decoder, &bytes, &message, &err) == PEER_DECODED_BAD)
        must(err.code != ERR_OK && err.text[0] != '\0');
    peer_snapshot_decoder_fini(&decoder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t cut;

    if (size == 0)
        return 0;
    cut = MIN((size_t)data[0], size - 1);
    try_stream(PEER_STREAM_MESSAGE, slice_of(data + 1, size - 1), cut);
    try_stream(PEER_STREAM_MSGAPP, slice_of(data + 1, size - 1), cut);
    try_snapshot(slice_of(data + 1, size - 1));
    return 0;
}
