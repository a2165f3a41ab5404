/*
 * bolt_overlay.h - a bbolt file as a bolt_source, with a few changes laid over it: buckets emptied,
 * entries put. What a restore writes is the snapshot seen through this. Pure; thread: one.
 */
#ifndef COMMON_STORAGE_BOLT_OVERLAY_H
#define COMMON_STORAGE_BOLT_OVERLAY_H

#include "common/storage/bolt.h"
#include "common/storage/bolt_writer.h"

struct bolt_change { /* put; the bucket is made if it is missing. All borrowed */
    struct slice bucket;
    struct slice key;
    struct slice value;
};

struct bolt_overlay { /* embed it; holds nothing that needs freeing */
    struct bolt_source source;
    const struct bolt *bolt;
    const char *const *emptied; /* names; their content is left out, changes to them stay */
    size_t emptied_count;
    const struct bolt_change *changes; /* ascending by bucket, then key */
    size_t change_count;
    /* position */
    struct bolt_cursor outer, inner;
    struct bolt_entry bucket, entry; /* the next of the file, if the flag beside says so */
    bool more_buckets, more_entries;
    struct slice name; /* bucket in hand; data NULL = none yet */
    size_t change;     /* the next */
};

/* Errors of the source: ERR_DAMAGED; ERR_FORMAT for what etcd never has (nested buckets). */
void bolt_overlay_init(struct bolt_overlay *overlay, const struct bolt *bolt,
                       const char *const *emptied, size_t emptied_count,
                       const struct bolt_change *changes, size_t change_count);

#endif
