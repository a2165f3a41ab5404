/*
 * bolt_page.h - the bytes of a bbolt file, for bolt*.c (formats.md 1.1 to 1.6); the
 * magic number also for who tells one kind of file from another.
 * Little endian throughout; nothing is assumed about alignment, for an inline bucket lies anywhere.
 * Pure; thread: any.
 */
#ifndef COMMON_STORAGE_BOLT_PAGE_H
#define COMMON_STORAGE_BOLT_PAGE_H

#include "common/base/slice.h"

#define BOLT_MAGIC 0xED0CDAEDU
#define BOLT_VERSION 2U
#define BOLT_NO_FREELIST UINT64_MAX
#define BOLT_HEADER_BYTES 16U  /* u64 id, u16 flags, u16 count, u32 overflow */
#define BOLT_ELEMENT_BYTES 16U /* one row of the array behind the header */
#define BOLT_META_BYTES 64U    /* behind the header of pages 0 and 1, checksum included */
#define BOLT_META_SUMMED 56U   /* of them under the checksum */
#define BOLT_BUCKET_BYTES 16U  /* u64 root page (0 = inline page follows), u64 sequence */
#define BOLT_FIRST_PAGE 2U     /* 0 and 1 are the metas */
#define BOLT_PAGE_MIN_BYTES 1024U
#define BOLT_PAGE_MAX_BYTES (16U << 20)
#define BOLT_VALUE_MAX ((1UL << 31) - 2)

enum bolt_page_flag { BOLT_BRANCH = 1, BOLT_LEAF = 2, BOLT_META = 4, BOLT_FREELIST = 0x10 };
#define BOLT_LEAF_BUCKET 1U /* flag of a leaf element: the value is a bucket */

static inline uint64_t bolt_load(const uint8_t *at, unsigned bytes)
{
    uint64_t number = 0;

    for (unsigned i = 0; i < bytes; i++)
        number |= (uint64_t)at[i] << (8 * i);
    return number;
}

static inline uint16_t bolt_u16(const uint8_t *at)
{
    return (uint16_t)bolt_load(at, 2);
}

static inline uint32_t bolt_u32(const uint8_t *at)
{
    return (uint32_t)bolt_load(at, 4);
}

static inline uint64_t bolt_u64(const uint8_t *at)
{
    return bolt_load(at, 8);
}

static inline void bolt_store(uint8_t *at, uint64_t number, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        at[i] = (uint8_t)(number >> (8 * i));
}

/* FNV-1a 64, the checksum of a meta. */
static inline uint64_t bolt_fnv(const uint8_t *data, size_t bytes)
{
    uint64_t sum = 0xCBF29CE484222325U;

    for (size_t i = 0; i < bytes; i++)
        sum = (sum ^ data[i]) * 0x100000001B3U;
    return sum;
}

#endif
