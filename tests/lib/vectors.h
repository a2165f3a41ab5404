/*
 * vectors.h - the files of tests/wire/vectors: bytes that a real etcd wrote. Static functions:
 * include it once per program, behind cmocka's other headers. Run from the top of the tree.
 */
#ifndef TESTS_LIB_VECTORS_H
#define TESTS_LIB_VECTORS_H

#include "common/base/file.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define VECTORS "tests/wire/vectors/"

/* `out` is made here; buf_free(). */
static inline void load(const char *name, struct buf *out)
{
    struct err err = ERR_INIT;
    char *path = xasprintf(VECTORS "%s", name);

    buf_init(out, BUF_UNLIMITED);
    if (file_read_all(path, out, &err) < 0)
        fail_msg("%s", err.text);
    free(path);
}

#endif
