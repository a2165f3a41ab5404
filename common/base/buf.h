/*
 * buf.h - bytes that grow up to a maximum, with a read position for use as a queue.
 *
 * Appending past `max` changes nothing and sets `overflow`; check it (or the return value) where
 * the size depends on input. Memory is owned by the buf. No I/O, any thread, one at a time.
 */
#ifndef COMMON_BASE_BUF_H
#define COMMON_BASE_BUF_H

#include "common/base/base.h"
#include "common/base/slice.h"

struct buf {
    uint8_t *data;   /* owned */
    size_t size;     /* bytes written; data[start..size) is the content */
    size_t start;    /* bytes already consumed by buf_consume() */
    size_t capacity; /* bytes allocated */
    size_t max;      /* most bytes the content may ever have */
    bool overflow;   /* something did not fit since the last buf_reset() */
};

#define BUF_INIT(max_bytes) ((struct buf){.max = (max_bytes)})
#define BUF_UNLIMITED SIZE_MAX /* only where the size is bounded by the caller's own data */

void buf_init(struct buf *buf, size_t max_bytes);
void buf_free(struct buf *buf);   /* back to an empty buf with the same max */
void buf_reset(struct buf *buf);  /* forget the content, keep the memory */
void buf_shrink(struct buf *buf); /* give unused memory back when the content is empty */

/* buf_reserve() where there is not room enough at the end. */
uint8_t *buf_make_room(struct buf *buf, size_t bytes) MUST_CHECK;

/* Room for `bytes` more; NULL if that would pass max. Valid until the next call on `buf`. */
MUST_CHECK static inline uint8_t *buf_reserve(struct buf *buf, size_t bytes)
{
    if (bytes < buf->capacity - buf->size && bytes <= buf->max - (buf->size - buf->start))
        return buf->data + buf->size;
    return buf_make_room(buf, bytes);
}

void buf_advance(struct buf *buf, size_t bytes); /* `bytes` of the reserved room are now content */

/* Each returns false, and sets overflow, when it did not fit; then nothing was appended. */
static inline bool buf_append(struct buf *buf, const void *data, size_t bytes)
{
    uint8_t *room = buf_reserve(buf, bytes);

    if (room == NULL)
        return !buf->overflow && bytes == 0;
    if (bytes != 0)
        memcpy(room, data, bytes);
    buf->size += bytes;
    return true;
}

bool buf_append_slice(struct buf *buf, struct slice slice);
bool buf_append_text(struct buf *buf, const char *text);

static inline bool buf_append_byte(struct buf *buf, uint8_t byte)
{
    return buf_append(buf, &byte, 1);
}

bool buf_append_uint(struct buf *buf, uint64_t number); /* decimal */
bool buf_append_int(struct buf *buf, int64_t number);   /* decimal */
bool buf_printf(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);

void buf_consume(struct buf *buf, size_t bytes); /* drop from the front; at most buf_used() */

static inline size_t buf_used(const struct buf *buf)
{
    return buf->size - buf->start;
}

/* The content, borrowed until the next call that changes `buf`. */
static inline struct slice buf_slice(const struct buf *buf)
{
    return slice_of(buf->data != NULL ? buf->data + buf->start : NULL, buf->size - buf->start);
}

/* The content as text: appends a NUL that is not counted. Borrowed like buf_slice(). */
const char *buf_text(struct buf *buf);

#endif
