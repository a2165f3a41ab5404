/*
 * base.h - what every file includes first: fixed-width types, must(), and the words of ownership.
 *
 * In comments: "owned" = you free it; "borrowed" = valid until said otherwise; "taken" = the callee
 * frees it, on failure too. Functions that return int return 0, or -1 with a struct err filled.
 * Thread: any.
 */
#ifndef COMMON_BASE_BASE_H
#define COMMON_BASE_BASE_H

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(format_at, args_at) __attribute__((format(printf, format_at, args_at)))
#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))
#define CONTAINER_OF(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* A bug of ours: always compiled in, prints the condition and ends the process. Never for input. */
#define must(cond) ((cond) ? (void)0 : must_failed(#cond, __FILE__, __LINE__))
_Noreturn void must_failed(const char *cond, const char *file, int line);

/*
 * Small bounded allocations: they succeed or end the process ("out of memory" on stderr).
 * What a client or peer can size is checked against its row of limits.h before it comes here.
 */
void *xalloc(size_t bytes) MUST_CHECK;                 /* zeroed; owned by the caller */
void *xrealloc(void *old, size_t bytes) MUST_CHECK;    /* `old` is taken */
char *xstrdup(const char *text) MUST_CHECK;            /* owned by the caller */
char *xstrndup(const char *text, size_t n) MUST_CHECK; /* owned by the caller; ends in NUL */
char *xasprintf(const char *format, ...) MUST_CHECK PRINTF_LIKE(1, 2);

/* Overwrite `bytes` of memory that held a secret; the compiler may not leave it out. */
void wipe(void *memory, size_t bytes);
void free_secret(char *text); /* wiped; NULL is fine */

#endif
