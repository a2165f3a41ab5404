/* base.c - see base.h. */
#include "common/base/base.h"

#include <stdarg.h>
#include <stdio.h>

_Noreturn void must_failed(const char *cond, const char *file, int line)
{
    fprintf(stderr, "bug: %s:%d: must(%s)\n", file, line, cond);
    abort();
}

static _Noreturn void out_of_memory(size_t bytes)
{
    fprintf(stderr, "out of memory: %zu bytes\n", bytes);
    exit(1);
}

void *xalloc(size_t bytes)
{
    void *memory = calloc(1, bytes != 0 ? bytes : 1);

    if (memory == NULL)
        out_of_memory(bytes);
    return memory;
}

void *xrealloc(void *old, size_t bytes)
{
    void *memory = realloc(old, bytes != 0 ? bytes : 1);

    if (memory == NULL)
        out_of_memory(bytes);
    return memory;
}

char *xstrndup(const char *text, size_t n)
{
    size_t length = strnlen(text, n);
    char *copy = xalloc(length + 1);

    memcpy(copy, text, length);
    return copy;
}

char *xstrdup(const char *text)
{
    return xstrndup(text, strlen(text));
}

char *xasprintf(const char *format, ...)
{
    va_list args;
    char *text = NULL;
    int length;

    va_start(args, format);
    length = vasprintf(&text, format, args);
    va_end(args);
    if (length < 0)
        out_of_memory(strlen(format));
    return text;
}

void wipe(void *memory, size_t bytes)
{
    if (bytes != 0)
        explicit_bzero(memory, bytes);
}

void free_secret(char *text)
{
    if (text != NULL)
        wipe(text, strlen(text));
    free(text);
}
