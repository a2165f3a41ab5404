/*
 * arena.h - memory that dies with one call: many allocations, one free.
 * Limited: an allocation past `max` bytes returns NULL, so a request cannot grow without bound.
 * Pure; thread: any, one at a time per arena.
 */
#ifndef COMMON_BASE_ARENA_H
#define COMMON_BASE_ARENA_H

#include "common/base/base.h"
#include "common/base/slice.h"

#include <protobuf-c/protobuf-c.h>

struct arena_block;

struct arena {
    struct arena_block *blocks;   /* owned, newest first */
    size_t used;                  /* bytes handed out and allocated in blocks */
    size_t max;                   /* most bytes of all blocks together */
    ProtobufCAllocator allocator; /* hand this to protobuf_c_message_unpack(); free is a no-op */
};

void arena_init(struct arena *arena, size_t max_bytes);
void arena_free(struct arena *arena);  /* everything handed out dies */
void arena_reset(struct arena *arena); /* the same, but keeps one block for the next use */

/* 16-byte aligned, not zeroed; NULL past the maximum. Borrowed until arena_free(). */
void *arena_alloc(struct arena *arena, size_t bytes) MUST_CHECK;
void *arena_zalloc(struct arena *arena, size_t bytes) MUST_CHECK; /* zeroed */
void *arena_copy(struct arena *arena, const void *data, size_t bytes) MUST_CHECK;
/* A copy of `bytes` of text, and a NUL behind it. */
char *arena_strndup(struct arena *arena, const void *text, size_t bytes) MUST_CHECK;

#endif
