/* base64.h - RFC 4648, standard and URL alphabet. Pure; thread: any. */
#ifndef COMMON_BASE_BASE64_H
#define COMMON_BASE_BASE64_H

#include "common/base/buf.h"

/* Append it in the standard alphabet, padded; false past out->max. */
bool base64_encode(struct slice bytes, struct buf *out);

/* Most bytes that `text_bytes` of base64 can stand for. */
#define BASE64_DECODED_MAX(text_bytes) ((text_bytes) / 4 * 3 + 3)
/*
 * Decode into `out` (room for BASE64_DECODED_MAX). Standard or URL alphabet, not mixed; full
 * padding or none; anything else (blanks, line breaks) is refused: returns false. Bits behind the
 * last whole byte are dropped, as etcd's decoder drops them ("YR==" is "a").
 */
bool base64_decode(struct slice text, uint8_t *out, size_t *bytes) MUST_CHECK;

#endif
