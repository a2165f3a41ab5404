/*
 * websocket.h - frames of RFC 6455, the server's side: what a client sends, byte by byte, and what
 * it is sent. Knows no connection and not what messages mean. Pure; thread: core.
 */
#ifndef ETCD_SERVER_DOORS_WEBSOCKET_H
#define ETCD_SERVER_DOORS_WEBSOCKET_H

#include "common/base/buf.h"

#define WEBSOCKET_PIECE_BYTES 4096UL /* of a message, given out at once */
#define WEBSOCKET_CONTROL_BYTES 125  /* RFC 6455 5.5: a control frame holds no more */
#define WEBSOCKET_HEAD_BYTES 14      /* two bytes, a length of eight, a mask */
#define WEBSOCKET_ACCEPT_BYTES 29    /* base64 of a SHA-1, and its end */

/* RFC 6455 5.2 */
enum websocket_opcode {
    WEBSOCKET_CONTINUATION = 0,
    WEBSOCKET_TEXT = 1,
    WEBSOCKET_BINARY = 2,
    WEBSOCKET_CLOSE = 8,
    WEBSOCKET_PING = 9,
    WEBSOCKET_PONG = 10
};

/* RFC 6455 7.4.1 */
enum websocket_status {
    WEBSOCKET_NORMAL = 1000,
    WEBSOCKET_PROTOCOL_ERROR = 1002,
};

/* What a client sends; all zero at the start. */
struct websocket_reader {
    uint8_t head[WEBSOCKET_HEAD_BYTES];
    size_t head_bytes;
    bool payload;    /* the head is whole */
    bool in_message; /* a message was begun, its last frame has not come */
    bool ended;      /* a close frame or a wrong one was seen: nothing more is read */
    uint64_t left;   /* of the payload */
    uint64_t passed; /* the same, behind it */
    uint8_t control[WEBSOCKET_CONTROL_BYTES];
};

enum websocket_event {
    WEBSOCKET_MORE,        /* all of `bytes` was used up */
    WEBSOCKET_PIECE,       /* `content`: of a message */
    WEBSOCKET_MESSAGE_END, /* it is whole */
    WEBSOCKET_PINGED,      /* `content`: to be sent back in a PONG */
    WEBSOCKET_CLOSED,      /* `content`: the payload of the close frame */
    WEBSOCKET_WRONG        /* `content`: a text that says what was wrong with the frame */
};

/*
 * Take what is next in `bytes`, which is cut at its front. `content` lies in `piece`, in the reader
 * or is a constant; good until the next call. Call it until it says MORE.
 */
enum websocket_event websocket_read(struct websocket_reader *reader, struct slice *bytes,
                                    uint8_t piece[WEBSOCKET_PIECE_BYTES], struct slice *content);

/* A frame, unmasked as a server's are; `last` of its message. */
void websocket_put(struct buf *out, enum websocket_opcode opcode, bool last, struct slice payload);
/* A close frame. */
void websocket_put_close(struct buf *out, enum websocket_status status, struct slice reason);

/* Sec-WebSocket-Accept for a Sec-WebSocket-Key; false: the key is not base64 of 16 bytes. */
bool websocket_accept(struct slice key, char accept[WEBSOCKET_ACCEPT_BYTES]);

#endif
