/*
 * shared.h - bytes that several hold: freed with the last reference. Whoever hands a piece of them
 * on hands a reference on. Thread: one, that of all its holders.
 */
#ifndef COMMON_BASE_SHARED_H
#define COMMON_BASE_SHARED_H

#include "common/base/slice.h"

struct shared {
    size_t references;
    size_t size;    /* bytes */
    uint8_t data[]; /* written by who made it, before anybody else sees it */
};

/* A piece of it. */
struct shared_slice {
    struct shared *owner; /* a reference */
    struct slice bytes;
};

/* Several, one behind the other. */
struct shared_pieces {
    const struct shared_slice *all; /* borrowed */
    size_t count;
    size_t bytes; /* of all */
};

/* One reference. */
static inline struct shared *shared_new(size_t size)
{
    struct shared *shared = xrealloc(NULL, sizeof(*shared) + size);

    shared->references = 1;
    shared->size = size;
    return shared;
}

static inline struct shared *shared_ref(struct shared *shared)
{
    shared->references++;
    return shared;
}

static inline void shared_unref(struct shared *shared)
{
    if (--shared->references == 0)
        free(shared);
}

#endif
