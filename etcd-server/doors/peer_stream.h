/*
 * peer_stream.h - raft messages as bytes of etcd's peer streams and back (raft.md 3.4, 3.5, 5).
 *
 *   message    u64 BE length, raftpb.Message
 *   msgapp     "msgappv2": 00 link heartbeat | 01 entries that follow on | 02 a MsgApp in full;
 *              both ends keep (term, index), which is how 01 does without them
 *   snapshot   u64 BE length, raftpb.Message (MsgSnap), then the image of a database to the end
 *
 * Knows no connection and no time. Pure; thread: any, one at a time.
 */
#ifndef ETCD_SERVER_DOORS_PEER_STREAM_H
#define ETCD_SERVER_DOORS_PEER_STREAM_H

#include "common/schema/raftmsg.h"

enum peer_stream_kind { PEER_STREAM_MESSAGE, PEER_STREAM_MSGAPP, PEER_STREAM_KINDS };

/* The kind as it stands in the path: "message", "msgapp"; and etcd's word for logs: "msgappv2". */
const char *peer_stream_path(enum peer_stream_kind kind);
const char *peer_stream_word(enum peer_stream_kind kind);

/* Where a msgapp stream stands; 0, 0 when it is new. */
struct peer_stream_state {
    uint64_t term;
    uint64_t index;
};

/*
 * Append `message` as the next item. A message stream takes every type but MsgSnap, a msgapp stream
 * MsgApp only (must()). `state` is that of this stream's writer, moved on success only.
 * False: out->max is passed; then `out` is as it was.
 */
bool peer_stream_encode(enum peer_stream_kind kind, struct peer_stream_state *state,
                        const struct raft_message *message, struct buf *out);
bool peer_stream_encode_heartbeat(enum peer_stream_kind kind, struct buf *out);

/* At most so many bytes would be appended for `message`: for a queue's limit. */
size_t peer_stream_bytes(const struct raft_message *message);

struct peer_decoder {
    enum peer_stream_kind kind;
    struct peer_stream_state state;
    uint64_t local, remote;     /* ids: `to` and `from` of what 01 stands for */
    struct buf pending;         /* the begin of an item whose end has not come yet */
    bool given;                 /* what is in `pending` was given: forget it */
    size_t known;               /* bytes of the item whose structure is known */
    size_t wanted;              /* bytes of it needed to know more */
    uint64_t left;              /* of 01: entries not known yet */
    struct arena arena;         /* entries of a message given */
    struct raft_entry *entries; /* owned; the same of 01 */
    size_t entry_capacity;
};

enum peer_decoded {
    PEER_DECODED_MORE,      /* all is used up; give more */
    PEER_DECODED_MESSAGE,   /* *message is set; borrows input and decoder until the next call */
    PEER_DECODED_HEARTBEAT, /* of the link: nothing to do but know that it lives */
    PEER_DECODED_BAD,       /* err says what; the stream must be closed */
};

void peer_decoder_init(struct peer_decoder *decoder, enum peer_stream_kind kind, uint64_t local,
                       uint64_t remote);
void peer_decoder_fini(struct peer_decoder *decoder);
/*
 * Take the next item out of `*bytes`, which is moved past what was used; call it until MORE. The
 * begin of an item is kept, at most PEER_ITEM_MAX_BYTES of it, and no more than has come.
 *
 * errors  ERR_FORMAT: an item longer than the maximum, an unknown kind, a message that does not
 *         parse or is of the wrong type
 */
enum peer_decoded peer_decoder_next(struct peer_decoder *decoder, struct slice *bytes,
                                    struct raft_message *message, struct err *err) MUST_CHECK;

/* ---- POST /raft/snapshot ---- */

/* The body's begin: length and message. False past out->max. */
bool peer_snapshot_encode(const struct raft_message *message, struct buf *out);

struct peer_snapshot_decoder {
    struct buf pending; /* until the message is whole; afterwards what the message borrows */
    struct arena arena;
    bool whole; /* the message was given: the rest is the image */
};
void peer_snapshot_decoder_init(struct peer_snapshot_decoder *decoder);
void peer_snapshot_decoder_fini(struct peer_snapshot_decoder *decoder);
/*
 * Take what belongs to the message out of `*bytes`; MESSAGE once, when it is whole: what is left of
 * `*bytes` and all that comes later is the image. *message borrows the decoder until fini.
 * errors  ERR_FORMAT with the text of the answer: "failed to decode raft message (...)" or
 *         "wrong raft message type"
 */
enum peer_decoded peer_snapshot_decoder_next(struct peer_snapshot_decoder *decoder,
                                             struct slice *bytes, struct raft_message *message,
                                             struct err *err) MUST_CHECK;

#endif
