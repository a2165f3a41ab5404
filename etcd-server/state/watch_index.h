/*
 * watch_index.h - ranges of keys, found by a key that lies in them: O(log n) and the hits.
 *
 * Nodes are embedded in what the caller owns and stay linked until removed; the index allocates
 * nothing. Order of hits: by beginning of the range, then by serial. Pure; thread: core.
 */
#ifndef ETCD_SERVER_STATE_WATCH_INDEX_H
#define ETCD_SERVER_STATE_WATCH_INDEX_H

#include "common/base/slice.h"

enum watch_span {
    WATCH_SPAN_ONE,   /* only `from` */
    WATCH_SPAN_RANGE, /* [from, to) */
    WATCH_SPAN_OPEN,  /* everything from `from` on */
};

struct watch_node {
    struct watch_node *left, *right;
    const struct watch_node *furthest; /* whose range ends last, of this one and those below */
    const uint8_t *bytes;              /* borrowed: `from`, then `to` */
    uint64_t serial;                   /* unlike any other's in the index */
    uint32_t from_size, to_size;
    uint8_t span;   /* enum watch_span */
    uint8_t height; /* of the subtree, from 1 */
};

struct watch_index {
    struct watch_node *root;
    size_t count;
};

static inline struct slice watch_node_from(const struct watch_node *node)
{
    return slice_of(node->bytes, node->from_size);
}

static inline struct slice watch_node_to(const struct watch_node *node)
{
    return slice_of(node->bytes + node->from_size, node->to_size);
}

/* `node` has bytes, sizes, span and serial set; borrowed until watch_index_remove(). */
void watch_index_insert(struct watch_index *index, struct watch_node *node);
void watch_index_remove(struct watch_index *index, struct watch_node *node); /* it is in there */

/* Call `hit` for each node whose range holds `key`; it must not change the index. */
typedef void watch_hit_fn(void *arg, struct watch_node *node);
void watch_index_find(const struct watch_index *index, struct slice key, watch_hit_fn *hit,
                      void *arg);

#endif
