/* buf.c - see buf.h. Invariant: start <= size <= capacity, size - start <= max. */
#include "common/base/buf.h"

#include <stdarg.h>
#include <stdio.h>

#define BUF_SMALLEST 64

void buf_init(struct buf *buf, size_t max_bytes)
{
    *buf = BUF_INIT(max_bytes);
}

void buf_free(struct buf *buf)
{
    size_t max = buf->max;

    free(buf->data);
    *buf = BUF_INIT(max);
}

void buf_reset(struct buf *buf)
{
    buf->size = 0;
    buf->start = 0;
    buf->overflow = false;
}

void buf_shrink(struct buf *buf)
{
    if (buf_used(buf) == 0)
        buf_free(buf);
}

uint8_t *buf_make_room(struct buf *buf, size_t bytes)
{
    size_t used = buf_used(buf);

    if (bytes > buf->max - used) {
        buf->overflow = true;
        return NULL;
    }
    if (buf->capacity - buf->size >= bytes)
        return buf->data != NULL ? buf->data + buf->size : NULL; /* NULL + 0 is undefined */
    /* sliding is cheap: more was consumed than is left */
    if (buf->start != 0 && buf->start >= used) {
        memmove(buf->data, buf->data + buf->start, used);
        buf->start = 0;
        buf->size = used;
        if (buf->capacity - buf->size >= bytes)
            return buf->data + buf->size;
    }
    size_t wanted = MAX(buf->size + bytes, MAX(buf->capacity + buf->capacity / 2, BUF_SMALLEST));
    buf->data = xrealloc(buf->data, wanted);
    buf->capacity = wanted;
    return buf->data + buf->size;
}

void buf_advance(struct buf *buf, size_t bytes)
{
    must(bytes <= buf->capacity - buf->size);
    buf->size += bytes;
}

bool buf_append_slice(struct buf *buf, struct slice slice)
{
    return buf_append(buf, slice.data, slice.size);
}

bool buf_append_text(struct buf *buf, const char *text)
{
    return buf_append(buf, text, strlen(text));
}

bool buf_append_uint(struct buf *buf, uint64_t number)
{
    char digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    return buf_append(buf, digits + at, sizeof(digits) - at);
}

bool buf_append_int(struct buf *buf, int64_t number)
{
    if (number >= 0)
        return buf_append_uint(buf, (uint64_t)number);
    return buf_append_byte(buf, '-') && buf_append_uint(buf, 0 - (uint64_t)number);
}

bool buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args;
    int length;
    uint8_t *room;

    va_start(args, format);
    length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    must(length >= 0);
    room = buf_reserve(buf, (size_t)length + 1); /* the NUL is written but not kept */
    if (room == NULL)
        return false;
    va_start(args, format);
    /* same arguments, same length */
    (void)vsnprintf((char *)room, (size_t)length + 1, format, args);
    va_end(args);
    buf->size += (size_t)length;
    return true;
}

void buf_consume(struct buf *buf, size_t bytes)
{
    must(bytes <= buf_used(buf));
    buf->start += bytes;
    if (buf->start == buf->size) {
        buf->start = 0;
        buf->size = 0;
    }
}

const char *buf_text(struct buf *buf)
{
    if (buf->size == buf->capacity) {
        buf->data = xrealloc(buf->data, buf->capacity + 1);
        buf->capacity++;
    }
    buf->data[buf->size] = '\0';
    return (const char *)buf->data + buf->start;
}
