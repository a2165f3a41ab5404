/*
 * runs.h - key-values that lie together, kept in the shape that answers have: a range that is asked
 * for again and has not changed is not looked up record by record.
 *
 * A run is a leaf of the index: its living keys, each as a field `kvs` of a RangeResponse with tag
 * and length. It is known by the leaf's stamp (keyindex.h), so nobody has to drop it when a key
 * changes: nobody asks for that stamp any more, and what is not asked for goes when room is needed
 * (RUNS_MAX_BYTES). A leaf's run is made when it is asked for the second time, so that who reads
 * everything once makes none. Pure; thread: core.
 */
#ifndef ETCD_SERVER_STATE_RUNS_H
#define ETCD_SERVER_STATE_RUNS_H

#include "common/base/shared.h"
#include "etcd-server/state/keyindex.h"

struct run {
    struct run *chain;         /* in its bucket */
    struct run *newer, *older; /* by when it was asked for */
    uint64_t stamp;
    struct shared *bytes;             /* a reference */
    size_t count;                     /* key-values ... */
    uint32_t ends[KEYINDEX_LEAF_MAX]; /* ... and where each ends in `bytes` */
};

struct runs;

struct runs *runs_new(void);
void runs_free(struct runs *runs); /* NULL is fine */

/* The run of a leaf; NULL: there is none. Borrowed until the next runs_add(). */
const struct run *runs_find(struct runs *runs, uint64_t stamp);
/* Was this asked before, lately? */
bool runs_asked_before(struct runs *runs, uint64_t stamp);
/* Key-values as stored, in order of keys, at most KEYINDEX_LEAF_MAX. NULL: they are too large
 * (RUN_MAX_BYTES). Borrowed as above. */
const struct run *runs_add(struct runs *runs, uint64_t stamp, const struct slice *key_values,
                           size_t count);
size_t runs_bytes(const struct runs *runs); /* memory held; for tests */

#endif
