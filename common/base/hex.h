/* hex.h - hexadecimal digits and numbers of them. Pure; thread: any. */
#ifndef COMMON_BASE_HEX_H
#define COMMON_BASE_HEX_H

#include "common/base/slice.h"

/* 0 to 15, of large and small letters; -1: it is none. */
static inline int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* 1 to 16 digits and nothing else; *number is untouched when they are not. */
bool hex_read(struct slice text, uint64_t *number) MUST_CHECK;

#define HEX16_DIGITS 16
/* 16 lower-case digits at the start of `text`, as names of files have them. */
bool hex16_read(const char *text, uint64_t *number) MUST_CHECK;

#endif
