/*
 * keyranges.h - a set of keys as the union of half-open ranges: what one user may read, or write.
 * Ranges are written as everywhere in the API (api.md 6.2): an empty end is one key, one zero byte
 * is no end. Adjacent and overlapping ranges become one, so a range across two permissions that
 * touch is covered. Pure; one thread at a time.
 */
#ifndef ETCD_SERVER_STATE_KEYRANGES_H
#define ETCD_SERVER_STATE_KEYRANGES_H

#include "common/base/slice.h"

struct keyranges_one {
    uint8_t *begin, *end; /* owned */
    size_t begin_size, end_size;
    bool endless; /* `end` is not looked at */
};

struct keyranges {
    struct keyranges_one
        *items; /* owned; after keyranges_unite() ascending, apart from each other */
    size_t count, capacity;
};

void keyranges_free(struct keyranges *set); /* back to the empty set */

/* Copy a range into the set; one that holds no key (end <= key) is left out, and one that begins
 * with the empty key. */
void keyranges_add(struct keyranges *set, struct slice key, struct slice range_end);
/* After the last add and before the first question. */
void keyranges_unite(struct keyranges *set);
/* Is every key of the range in the set? One that holds no key asks for its first (etcd:
 * keytree.h). */
bool keyranges_covers(const struct keyranges *set, struct slice key, struct slice range_end);

#endif
