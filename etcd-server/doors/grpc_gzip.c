/* grpc_gzip.c - see grpc_gzip.h. */
#include "etcd-server/doors/grpc_gzip.h"

#include "common/base/limits.h"

#include <limits.h>
#include <zlib.h>

#define GZIP_WINDOW (15 + 16) /* the largest window; +16: gzip's own head and tail */
#define PIECE_BYTES (16 * KIB)

struct grpc_gzip {
    z_stream packer, unpacker;
    bool packs, unpacks; /* they are set up */
};

struct grpc_gzip *grpc_gzip_new(void)
{
    return xalloc(sizeof(struct grpc_gzip));
}

void grpc_gzip_free(struct grpc_gzip *gzip)
{
    if (gzip == NULL)
        return;
    if (gzip->packs)
        (void)deflateEnd(&gzip->packer);
    if (gzip->unpacks)
        (void)inflateEnd(&gzip->unpacker);
    free(gzip);
}

enum grpc_gzip_result grpc_gzip_unpack(struct grpc_gzip *gzip, struct slice bytes, struct buf *out)
{
    z_stream *stream = &gzip->unpacker;
    int rc;

    if (!gzip->unpacks) {
        must(inflateInit2(stream, GZIP_WINDOW) == Z_OK);
        gzip->unpacks = true;
    }
    must(inflateReset(stream) == Z_OK && bytes.size <= UINT_MAX);
    stream->next_in = (Bytef *)(uintptr_t)bytes.data; /* only read */
    stream->avail_in = (uInt)bytes.size;
    do {
        size_t room_bytes = MIN(PIECE_BYTES, out->max - buf_used(out));
        uint8_t *room = room_bytes != 0 ? buf_reserve(out, room_bytes) : NULL;

        if (room == NULL)
            return GRPC_GZIP_LARGE;
        stream->next_out = room;
        stream->avail_out = (uInt)room_bytes;
        rc = inflate(stream, Z_NO_FLUSH);
        buf_advance(out, room_bytes - stream->avail_out);
    } while (rc == Z_OK);
    return rc == Z_STREAM_END ? GRPC_GZIP_OK : GRPC_GZIP_BAD;
}

bool grpc_gzip_pack(struct grpc_gzip *gzip, struct slice bytes, struct buf *out)
{
    z_stream *stream = &gzip->packer;
    uint8_t *room;
    uLong bound;

    if (!gzip->packs) {
        must(deflateInit2(stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP_WINDOW, 8,
                          Z_DEFAULT_STRATEGY) == Z_OK);
        gzip->packs = true;
    }
    must(deflateReset(stream) == Z_OK);
    bound = deflateBound(stream, bytes.size);
    if (bytes.size > UINT_MAX || bound > UINT_MAX)
        return false;
    room = buf_reserve(out, bound);
    if (room == NULL)
        return false;
    stream->next_in = (Bytef *)(uintptr_t)bytes.data; /* only read */
    stream->avail_in = (uInt)bytes.size;
    stream->next_out = room;
    stream->avail_out = (uInt)bound;
    must(deflate(stream, Z_FINISH) == Z_STREAM_END);
    buf_advance(out, bound - stream->avail_out);
    return true;
}
