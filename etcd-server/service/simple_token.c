/*
 * simple_token.c - see simple_token.h.
 *
 * The map goes by the log index in the token, which no two logins share; the whole text is then
 * compared in constant time. The list is in order of last use: what expires next is first.
 */
#include "etcd-server/service/simple_token.h"
#include "common/base/idmap.h"
#include "common/base/limits.h"
#include "common/base/plants.h"

#include <openssl/crypto.h>

#define LETTERS 52
#define FAIR_BYTES (256 / LETTERS * LETTERS) /* bytes below this hit every letter equally often */

struct simple_token {
    struct simple_token *previous, *next;
    uint64_t index;
    uint64_t expires_ms;
    char *text;     /* owned */
    char *username; /* owned */
};

struct simple_tokens {
    struct idmap by_index;
    struct simple_token *first, *last;
    uint64_t ttl_ms;
};

struct simple_tokens *simple_tokens_new(uint64_t ttl_ms)
{
    struct simple_tokens *tokens = xalloc(sizeof(*tokens));

    tokens->ttl_ms = ttl_ms;
    return tokens;
}

void simple_token_letters(uint64_t (*random)(void *arg), void *arg,
                          char text[SIMPLE_TOKEN_LETTERS + 1])
{
    size_t count = 0;

    while (count < SIMPLE_TOKEN_LETTERS) {
        uint64_t number = random(arg);

        for (unsigned i = 0; i < 8 && count < SIMPLE_TOKEN_LETTERS; i++, number >>= 8) {
            unsigned byte = number & 0xff, letter = byte % LETTERS;

            if (byte < FAIR_BYTES)
                text[count++] = (char)(letter < 26 ? 'a' + letter : 'A' + letter - 26);
        }
    }
    text[count] = '\0';
}

/* The number behind the dot; 0: this is no simple token. */
static uint64_t index_of(const char *token)
{
    const char *dot = strchr(token, '.');
    uint64_t index = 0;

    if (dot == NULL || dot[1] == '\0' || strlen(dot) > 20) /* 19 digits fit into 64 bits */
        return 0;
    for (const char *at = dot + 1; *at != '\0'; at++) {
        if (*at < '0' || *at > '9')
            return 0;
        index = index * 10 + (uint64_t)(*at - '0');
    }
    return index;
}

/* ---- the list ---- */

static void append(struct simple_tokens *tokens, struct simple_token *token)
{
    token->previous = tokens->last;
    token->next = NULL;
    if (tokens->last != NULL)
        tokens->last->next = token;
    else
        tokens->first = token;
    tokens->last = token;
}

static void take_out(struct simple_tokens *tokens, struct simple_token *token)
{
    if (token->previous != NULL)
        token->previous->next = token->next;
    else
        tokens->first = token->next;
    if (token->next != NULL)
        token->next->previous = token->previous;
    else
        tokens->last = token->previous;
}

static void drop(struct simple_tokens *tokens, struct simple_token *token)
{
    take_out(tokens, token);
    must(idmap_remove(&tokens->by_index, token->index) == token);
    wipe(token->text, strlen(token->text));
    free(token->text);
    free(token->username);
    free(token);
}

/* ---- tokens ---- */

void simple_tokens_add(struct simple_tokens *tokens, const char *username, const char *text,
                       uint64_t now_ms)
{
    uint64_t index = index_of(text);
    struct simple_token *token;

    if (index == 0 || idmap_get(&tokens->by_index, index) != NULL)
        return;
    if (tokens->by_index.count >= TOKENS_MAX)
        drop(tokens, tokens->first);
    token = xalloc(sizeof(*token));
    token->index = index;
    token->expires_ms = now_ms + tokens->ttl_ms;
    token->text = xstrdup(text);
    token->username = xstrdup(username);
    must(idmap_put(&tokens->by_index, index, token));
    append(tokens, token);
}

const char *simple_tokens_use(struct simple_tokens *tokens, const char *text, uint64_t now_ms)
{
    uint64_t index = index_of(text);
    struct simple_token *token = index != 0 ? idmap_get(&tokens->by_index, index) : NULL;
    size_t bytes = strlen(text);

    if (token == NULL || (token->expires_ms <= now_ms && !PLANTED(AUTH_TOKEN_FOREVER)) ||
        strlen(token->text) != bytes || CRYPTO_memcmp(token->text, text, bytes) != 0)
        return NULL;
    token->expires_ms = now_ms + tokens->ttl_ms;
    take_out(tokens, token);
    append(tokens, token);
    return token->username;
}

void simple_tokens_drop(struct simple_tokens *tokens, const char *username)
{
    for (struct simple_token *next, *token = tokens->first; token != NULL; token = next) {
        next = token->next;
        if (username == NULL || strcmp(token->username, username) == 0)
            drop(tokens, token);
    }
}

void simple_tokens_expire(struct simple_tokens *tokens, uint64_t now_ms)
{
    while (tokens->first != NULL && tokens->first->expires_ms <= now_ms &&
           !PLANTED(AUTH_TOKEN_FOREVER))
        drop(tokens, tokens->first);
}

size_t simple_tokens_count(const struct simple_tokens *tokens)
{
    return tokens->by_index.count;
}

void simple_tokens_free(struct simple_tokens *tokens)
{
    if (tokens == NULL)
        return;
    simple_tokens_drop(tokens, NULL);
    idmap_free(&tokens->by_index);
    free(tokens);
}
