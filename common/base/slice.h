/*
 * slice.h - borrowed bytes: a pointer and a length, never freed through this type.
 * Order is that of etcd's keys: memcmp, then the shorter first. Pure; thread: any.
 */
#ifndef COMMON_BASE_SLICE_H
#define COMMON_BASE_SLICE_H

#include "common/base/base.h"

struct slice {
    const uint8_t *data; /* borrowed; may be NULL when size is 0 */
    size_t size;         /* bytes */
};

#define SLICE_EMPTY ((struct slice){NULL, 0})
#define SLICE_LITERAL(text) ((struct slice){(const uint8_t *)(text), sizeof(text) - 1})

static inline struct slice slice_of(const void *data, size_t size)
{
    return (struct slice){data, size};
}

static inline struct slice slice_text(const char *text)
{
    return slice_of(text, strlen(text));
}

static inline int slice_compare(struct slice a, struct slice b)
{
    size_t common = MIN(a.size, b.size);
    int order = common != 0 ? memcmp(a.data, b.data, common) : 0;

    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* Without the blanks and tabs at its ends. */
static inline struct slice slice_trim(struct slice text)
{
    while (text.size != 0 && (text.data[0] == ' ' || text.data[0] == '\t'))
        text = slice_of(text.data + 1, text.size - 1);
    while (text.size != 0 && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t'))
        text.size--;
    return text;
}

/* They will be read soon: ask for the first of them; what follows the processor asks for itself. */
static inline void slice_prefetch(struct slice bytes)
{
    for (size_t at = 0; at < MIN(bytes.size, 1024); at += 64)
        __builtin_prefetch(bytes.data + at);
}

static inline bool slice_starts_with(struct slice a, struct slice prefix)
{
    return a.size >= prefix.size &&
           (prefix.size == 0 || memcmp(a.data, prefix.data, prefix.size) == 0);
}

#endif
