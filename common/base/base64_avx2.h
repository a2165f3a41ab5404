/*
 * base64_avx2.h - the long middle part of base64, 24 bytes and 32 characters at a time, where the
 * processor has AVX2. For base64.c only; it does what these leave. Pure; thread: any.
 */
#ifndef COMMON_BASE_BASE64_AVX2_H
#define COMMON_BASE_BASE64_AVX2_H

#include "common/base/base.h"

bool base64_avx2_there(void);
/* Encode whole groups of 3 from the front of `in`. returns  bytes taken; 4/3 of it was written */
size_t base64_avx2_encode(const uint8_t *in, size_t bytes, uint8_t *text);
/*
 * Decode whole groups of 4 characters of the standard alphabet, up to the first other character.
 * returns  characters taken; 3/4 of it was written, and up to 8 bytes after that are overwritten,
 * all of them within what the rest of `text` decodes to
 */
size_t base64_avx2_decode(const uint8_t *text, size_t characters, uint8_t *out);

#endif
