/* goquote.h - read a Go string literal, the opposite of print_quoted(). Pure; thread: any. */
#ifndef COMMON_CLIENT_GOQUOTE_H
#define COMMON_CLIENT_GOQUOTE_H

#include "common/base/buf.h"

/*
 * Read the literal at the beginning of `text`: "..." with Go's escapes, or `...` verbatim. Its
 * bytes are appended to `out`.
 *
 * returns  bytes of `text` taken; 0 when it is none (`out` may hold a part then)
 */
size_t goquote_parse(struct slice text, struct buf *out);

#endif
