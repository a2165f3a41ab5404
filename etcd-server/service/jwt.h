/*
 * jwt.h - JSON web tokens as etcd makes them (api.md 9.3): RS, PS, ES and HS with 256, 384 and 512.
 *
 * Header {"alg","typ":"JWT"}; claims exp (Unix seconds), revision (auth revision), username. A
 * token is good when it names our algorithm, its signature holds and its time is not over. Good
 * ones are remembered, so that a client which shows the same one again costs a comparison. Knows no
 * files and no clock. Thread: core.
 */
#ifndef ETCD_SERVER_SERVICE_JWT_H
#define ETCD_SERVER_SERVICE_JWT_H

#include "common/base/arena.h"
#include "common/base/err.h"

struct jwt;

struct jwt_options {
    const char *method; /* "RS256" ... "HS512" */
    /* PEM; HS: the secret itself; empty = none: tokens are only checked */
    struct slice private_key;
    struct slice public_key; /* PEM; empty: that of the private key */
    int64_t ttl_s;
};

/* Everything is copied. ERR_USAGE says what is wrong with the method or the keys. */
int jwt_new(const struct jwt_options *options, struct jwt **jwt, struct err *err) MUST_CHECK;
void jwt_free(struct jwt *jwt); /* NULL is fine */

bool jwt_can_sign(const struct jwt *jwt);
/* A new token in `arena`; NULL: it cannot sign, or the arena is full. */
char *jwt_sign(const struct jwt *jwt, const char *username, uint64_t revision, int64_t unix_s,
               struct arena *arena);

struct jwt_claims {
    const char *username; /* borrowed until the next jwt_verify() */
    uint64_t revision;
};
bool jwt_verify(struct jwt *jwt, const char *token, int64_t unix_s,
                struct jwt_claims *claims) MUST_CHECK;

#endif
