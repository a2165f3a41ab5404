/*
 * bolt_writer.h - write a compact bbolt file front to back, to whatever takes bytes in order.
 *
 * The metas come first and name what comes last, so the content is walked twice: bolt_plan() only
 * adds up sizes (it never looks at the bytes of a value; nor, if the source is lasting, at keys:
 * then bolt_write() is the one to find that they do not ascend), bolt_write() produces the image in
 * chunks. Both need memory for a few pages, whatever the size. Pure but for what source and sink
 * do. Thread: any, one at a time per source; the sink may block.
 */
#ifndef COMMON_STORAGE_BOLT_WRITER_H
#define COMMON_STORAGE_BOLT_WRITER_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/limits.h"
#include "common/base/slice.h"

/*
 * Where buckets and entries come from: names ascending, keys ascending in each bucket, the same in
 * both passes. Slices are borrowed until the next call on the source. At the end of the buckets, or
 * of the entries of one, *found is false.
 */
struct bolt_source {
    const struct bolt_source_ops *ops;
    bool lasting; /* its slices live as long as the source: values are then copied once only */
};
struct bolt_source_ops {
    int (*rewind)(struct bolt_source *source, struct err *err); /* before the first bucket */
    int (*next_bucket)(struct bolt_source *source, struct slice *name, bool *found,
                       struct err *err);
    int (*next_entry)(struct bolt_source *source, struct slice *key, struct slice *value,
                      bool *found, struct err *err);
};

struct bolt_write_options {
    uint32_t page_bytes; /* 0 = 4096; a power of two */
    uint64_t txid;       /* 0 = 2; of the meta that counts, the other gets one less */
    size_t chunk_bytes;  /* 0 = SNAPSHOT_CHUNK_BYTES; every call of the sink but the last has it */
};

struct bolt_plan { /* made by bolt_plan() */
    uint32_t page_bytes;
    uint64_t txid;
    size_t chunk_bytes;
    uint64_t pages; /* the image is pages * page_bytes */
    uint64_t root;
    uint64_t entries; /* of all buckets */
};

/*
 * The next bytes of the image. The sink may keep the buf's memory and leave it other memory: what
 * it holds afterwards is forgotten. -1 stops and is returned.
 */
typedef int bolt_sink_fn(void *arg, struct buf *bytes, struct err *err);

/* Rewinds. ERR_FORMAT when keys do not ascend or do not fit the format, or what the source
 * returned. */
int bolt_plan(struct bolt_source *source, const struct bolt_write_options *options,
              struct bolt_plan *plan, struct err *err) MUST_CHECK;
/* Rewinds. ERR_DAMAGED when the source is not as it was planned: the image is then no good. */
int bolt_write(struct bolt_source *source, const struct bolt_plan *plan, bolt_sink_fn *sink,
               void *arg, struct err *err) MUST_CHECK;

static inline uint64_t bolt_plan_bytes(const struct bolt_plan *plan)
{
    return plan->pages * plan->page_bytes;
}

#endif
