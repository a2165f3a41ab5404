/*
 * bolt_array.h - a bolt_source over arrays, and an image of one in memory, for tests.
 */
#ifndef TESTS_LIB_BOLT_ARRAY_H
#define TESTS_LIB_BOLT_ARRAY_H

#include "common/base/buf.h"
#include "common/storage/bolt_writer.h"

/* Entry `at` of a bucket; borrowed until the next call. */
typedef void bolt_array_fn(size_t bucket, size_t at, struct slice *key, struct slice *value);

struct bolt_array {
    struct bolt_source source;
    const char *const *names; /* borrowed; ascending */
    const size_t *entries;    /* borrowed; per bucket */
    size_t buckets;
    bolt_array_fn *entry;
    size_t bucket, at; /* position; bucket counts from 1 */
};

void bolt_array_init(struct bolt_array *array, const char *const *names, const size_t *entries,
                     size_t buckets, bolt_array_fn *entry);

/* Plan and write into `image` (appended), checking chunk sizes; ends the test on failure. */
void bolt_image(struct bolt_source *source, const struct bolt_write_options *options,
                struct buf *image);

#endif
