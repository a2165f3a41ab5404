/* idmap.h - from 64-bit ids to pointers: open addressing, grows, never holds id 0. Pure; one thread
 * at a time. */
#ifndef COMMON_BASE_IDMAP_H
#define COMMON_BASE_IDMAP_H

#include "common/base/base.h"

struct idmap_slot {
    uint64_t id; /* 0 = empty */
    void *value;
};

struct idmap {
    struct idmap_slot *slots; /* owned; capacity is a power of two, at most half full */
    size_t capacity;
    size_t count;
};

void idmap_free(struct idmap *map); /* what the values point to is not touched */
/* False, and nothing changed, when `id` is there already. */
bool idmap_put(struct idmap *map, uint64_t id, void *value);
void *idmap_get(const struct idmap *map, uint64_t id); /* NULL when it is not there */
void *idmap_remove(struct idmap *map, uint64_t id);    /* what was there, or NULL */

#endif
