/* revision.h - {main, sub}: when a change happened, and its 17 or 18 bytes in bucket `key`
 * (formats.md 2.1). Pure; thread: any. */
#ifndef ETCD_SERVER_STATE_REVISION_H
#define ETCD_SERVER_STATE_REVISION_H

#include "common/base/slice.h"

struct revision {
    int64_t main; /* the store's revision */
    int64_t sub;  /* number of the change inside it, from 0 */
};

#define REVISION_BYTES 17     /* main BE, '_', sub BE */
#define REVISION_BYTES_MAX 18 /* a deletion has 't' behind */

static inline int revision_compare(struct revision a, struct revision b)
{
    if (a.main != b.main)
        return a.main < b.main ? -1 : 1;
    return (a.sub > b.sub) - (a.sub < b.sub);
}

/* Bytes written. */
size_t revision_encode(struct revision revision, bool tombstone, uint8_t out[REVISION_BYTES_MAX]);
bool revision_decode(struct slice bytes, struct revision *revision, bool *tombstone) MUST_CHECK;

#endif
