/*
 * simple_token.h - the simple tokens this member knows: who they stand for and until when (api.md
 * 9.3). A token is letters, a dot and the log index of its login; it lives for a time since its
 * last use. At most TOKENS_MAX are kept. Time is handed in. Thread: core.
 */
#ifndef ETCD_SERVER_SERVICE_SIMPLE_TOKEN_H
#define ETCD_SERVER_SERVICE_SIMPLE_TOKEN_H

#include "common/base/base.h"

#define SIMPLE_TOKEN_LETTERS 16

struct simple_tokens;

struct simple_tokens *simple_tokens_new(uint64_t ttl_ms);
void simple_tokens_free(struct simple_tokens *tokens); /* NULL is fine */

/* The letters of a new token, from numbers nobody can guess. `text` ends in NUL. */
void simple_token_letters(uint64_t (*random)(void *arg), void *arg,
                          char text[SIMPLE_TOKEN_LETTERS + 1]);

/* Both texts are copied; one that is no simple token is not taken. */
void simple_tokens_add(struct simple_tokens *tokens, const char *username, const char *token,
                       uint64_t now_ms);
/* Whose token this is, borrowed until the next call; NULL: unknown or expired. Counts as a use. */
const char *simple_tokens_use(struct simple_tokens *tokens, const char *token, uint64_t now_ms);
void simple_tokens_drop(struct simple_tokens *tokens, const char *username); /* NULL = everybody */
void simple_tokens_expire(struct simple_tokens *tokens, uint64_t now_ms);
size_t simple_tokens_count(const struct simple_tokens *tokens); /* for tests */

#endif
