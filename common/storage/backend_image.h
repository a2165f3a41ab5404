/*
 * backend_image.h - one read of a backend as a bbolt image: what Maintenance.Snapshot streams.
 *
 * The adapter between backend.h and bolt_writer.h: all ten buckets, empty ones too, in the order of
 * their names. Embed it, hand &image->source to bolt_plan() and bolt_write(), then fini.
 */
#ifndef COMMON_STORAGE_BACKEND_IMAGE_H
#define COMMON_STORAGE_BACKEND_IMAGE_H

#include "common/storage/backend.h"
#include "common/storage/bolt_writer.h"

struct backend_image {
    struct bolt_source source;
    struct backend_read *read;
    struct backend_cursor *cursor; /* in the bucket being walked; NULL before its first entry */
    uintptr_t page;                /* the one being read, in memory */
    unsigned bucket;               /* number of buckets begun */
};

/* `read` is borrowed until backend_image_fini() and must not be renewed. Thread: the read's. */
void backend_image_init(struct backend_image *image, struct backend_read *read);
void backend_image_fini(struct backend_image *image);

#endif
