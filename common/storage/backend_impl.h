/*
 * backend_impl.h - what an implementation of backend.h fills in; nobody else includes this.
 *
 * The three structs are the first member of the implementation's own. The dispatch (backend.c)
 * keeps the count of open reads and checks that the calls come in order. Linking a program with
 * backend_mem only does not pull in LMDB: the table is the only way to it. Thread: as backend.h
 * says.
 */
#ifndef COMMON_STORAGE_BACKEND_IMPL_H
#define COMMON_STORAGE_BACKEND_IMPL_H

#include "common/storage/backend.h"

#include <stdatomic.h>

struct backend_ops;

struct backend {
    const struct backend_ops *ops;
    atomic_uint reads; /* open now */
};

struct backend_read {
    struct backend *backend;
    atomic_uint cursors; /* open now */
};

struct backend_cursor {
    struct backend_read *read;
};

/* The rows of backend.h, one by one; the contracts are there. */
struct backend_ops {
    void (*close)(struct backend *backend);
    int (*commit)(struct backend *backend, const struct batch *batch, struct err *err);
    int (*read_begin)(struct backend *backend, struct backend_read **read, struct err *err);
    void (*read_end)(struct backend_read *read);
    int (*read_renew)(struct backend_read *read, struct err *err);
    bool (*get)(struct backend_read *read, enum bucket bucket, struct slice key,
                struct slice *value);
    struct backend_cursor *(*cursor_open)(struct backend_read *read, enum bucket bucket);
    void (*cursor_close)(struct backend_cursor *cursor);
    bool (*cursor_seek)(struct backend_cursor *cursor, struct slice key, struct slice *found,
                        struct slice *value);
    bool (*cursor_next)(struct backend_cursor *cursor, struct slice *found, struct slice *value);
    bool (*cursor_last)(struct backend_cursor *cursor, struct slice *found, struct slice *value);
    uint64_t (*size)(struct backend *backend);
    uint64_t (*size_in_use)(struct backend *backend);
    int (*defrag)(struct backend *backend, struct err *err);
};

#endif
