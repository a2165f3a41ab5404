/* toy_websocket.h - frames as a client sends them. Static functions. */
#ifndef TESTS_LIB_TOY_WEBSOCKET_H
#define TESTS_LIB_TOY_WEBSOCKET_H

#include "common/base/buf.h"

#define TOY_UPGRADE                                                                                \
    " HTTP/1.1\r\nHost: toy:2379\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"     \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

/* A masked frame; `first` is its first byte. */
static inline void toy_frame(struct buf *out, unsigned first, struct slice payload)
{
    static const uint8_t mask[4] = {0x12, 0x34, 0x56, 0x78};
    unsigned more = payload.size > UINT16_MAX ? 8 : payload.size > 125 ? 2 : 0;

    buf_append_byte(out, (uint8_t)first);
    buf_append_byte(out, (uint8_t)(0x80U | (more == 8   ? 127U
                                            : more == 2 ? 126U
                                                        : (unsigned)payload.size)));
    while (more-- != 0)
        buf_append_byte(out, (uint8_t)((uint64_t)payload.size >> 8 * more));
    buf_append(out, mask, sizeof(mask));
    for (size_t i = 0; i < payload.size; i++)
        buf_append_byte(out, payload.data[i] ^ mask[i % 4]);
}

#endif
