/*
 * password.h - bcrypt as etcd writes it: $2a$, a cost, a salt, a hash. Slow on purpose (50 ms and
 * more): on a pool thread only. Pure; any thread.
 */
#ifndef ETCD_SERVER_SERVICE_PASSWORD_H
#define ETCD_SERVER_SERVICE_PASSWORD_H

#include "common/base/slice.h"

#define PASSWORD_SALT_BYTES 16
#define PASSWORD_HASH_BYTES 64 /* 60 characters and a NUL */

/* False: libcrypt has no bcrypt, or the cost is out of its range. */
bool password_hash(const char *password, unsigned cost, const uint8_t salt[PASSWORD_SALT_BYTES],
                   char hash[PASSWORD_HASH_BYTES]) MUST_CHECK;
/* `hash` as stored; anything that is no bcrypt text matches no password. */
bool password_matches(const char *password, struct slice hash) MUST_CHECK;

#endif
