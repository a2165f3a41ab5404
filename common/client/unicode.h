/*
 * unicode.h - as much of Unicode as quoting and tables need. Pure; thread: any.
 */
#ifndef COMMON_CLIENT_UNICODE_H
#define COMMON_CLIENT_UNICODE_H

#include "common/base/slice.h"

/* Bytes of the first character of `text`, and what it is; 0 when it is not valid UTF-8 or empty. */
size_t unicode_decode(struct slice text, uint32_t *point);
/* Append-only opposite: 1 to 4 bytes into `bytes`; 0 when `point` is no character. */
size_t unicode_encode(uint32_t point, uint8_t bytes[4]);
/* Letters, marks, numbers, punctuation, symbols and the plain blank, as Go's strconv sees it. */
bool unicode_printable(uint32_t point);
/* Columns of `text` in a terminal: one per character (East Asian wide ones two). */
size_t unicode_columns(const char *text);

#endif
