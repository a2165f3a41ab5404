/*
 * stored.h - the value of bucket `key`: an encoded mvccpb.KeyValue, byte for byte what etcd stores
 * (formats.md 2.1): ascending fields, zero values left out, a deletion holds the key alone. Pure;
 * thread: any.
 */
#ifndef ETCD_SERVER_STATE_STORED_H
#define ETCD_SERVER_STATE_STORED_H

#include "common/base/slice.h"

struct stored {
    struct slice key;
    int64_t create;  /* main revision */
    int64_t mod;     /* main revision */
    int64_t version; /* puts since the creation */
    struct slice value;
    int64_t lease; /* 0 = none */
};

size_t stored_bytes(const struct stored *stored);
void stored_encode(const struct stored *stored, uint8_t *out); /* stored_bytes() of room */

/* Slices borrow from `bytes`. Unknown fields are skipped; false when it is not a message. Empty
 * bytes are one: a restore that raised the revision leaves such a record (formats.md 3.4). */
bool stored_decode(struct slice bytes, struct stored *stored) MUST_CHECK;

/* Copy `bytes` without the field of the value: at most bytes.size are written; how many. */
size_t stored_strip(struct slice bytes, uint8_t *out);

#endif
