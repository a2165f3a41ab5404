/* sha256.h - SHA-256 over pieces, OpenSSL's behind it. Pure; thread: any, one at a time each. */
#ifndef COMMON_BASE_SHA256_H
#define COMMON_BASE_SHA256_H

#include "common/base/slice.h"

#define SHA256_BYTES 32U

struct sha256; /* owned by who made it */

struct sha256 *sha256_new(void) MUST_CHECK;
void sha256_free(struct sha256 *sum); /* NULL is fine */
void sha256_add(struct sha256 *sum, struct slice bytes);
/* The hash of all that was added; the state is then as new. */
void sha256_end(struct sha256 *sum, uint8_t hash[SHA256_BYTES]);

#endif
