/* bolt_array.c - see bolt_array.h. */
#include "tests/lib/bolt_array.h"

static struct bolt_array *array_of(struct bolt_source *source)
{
    return CONTAINER_OF(source, struct bolt_array, source);
}

static int array_rewind(struct bolt_source *source, struct err *err)
{
    (void)err;
    array_of(source)->bucket = 0;
    return 0;
}

static int array_next_bucket(struct bolt_source *source, struct slice *name, bool *found,
                             struct err *err)
{
    struct bolt_array *array = array_of(source);

    (void)err;
    array->at = 0;
    *found = array->bucket < array->buckets;
    if (*found)
        *name = slice_text(array->names[array->bucket++]);
    return 0;
}

static int array_next_entry(struct bolt_source *source, struct slice *key, struct slice *value,
                            bool *found, struct err *err)
{
    struct bolt_array *array = array_of(source);

    (void)err;
    *found = array->at < array->entries[array->bucket - 1];
    if (*found)
        array->entry(array->bucket - 1, array->at++, key, value);
    return 0;
}

void bolt_array_init(struct bolt_array *array, const char *const *names, const size_t *entries,
                     size_t buckets, bolt_array_fn *entry)
{
    static const struct bolt_source_ops ops = {array_rewind, array_next_bucket, array_next_entry};

    *array = (struct bolt_array){.source = {.ops = &ops},
                                 .names = names,
                                 .entries = entries,
                                 .buckets = buckets,
                                 .entry = entry};
}

struct image {
    struct buf *bytes;
    size_t chunk_bytes;
    bool ended; /* a short chunk may only be the last */
};

static int image_sink(void *arg, struct buf *chunk, struct err *err)
{
    struct image *image = arg;
    struct slice bytes = buf_slice(chunk);

    (void)err;
    must(!image->ended && bytes.size != 0 && bytes.size <= image->chunk_bytes);
    image->ended = bytes.size < image->chunk_bytes;
    must(buf_append_slice(image->bytes, bytes));
    return 0;
}

void bolt_image(struct bolt_source *source, const struct bolt_write_options *options,
                struct buf *bytes)
{
    struct bolt_plan plan;
    struct err err = ERR_INIT;

    must(bolt_plan(source, options, &plan, &err) == 0);

    struct image image = {bytes, plan.chunk_bytes, false};
    must(bolt_write(source, &plan, image_sink, &image, &err) == 0);
    must(buf_used(bytes) == bolt_plan_bytes(&plan));
}
