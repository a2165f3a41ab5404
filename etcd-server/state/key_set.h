/*
 * key_set.h - the keys that hang on one lease: a set in key order, small for one key and O(log n)
 * for a million. Pure. Thread: core.
 */
#ifndef ETCD_SERVER_STATE_KEY_SET_H
#define ETCD_SERVER_STATE_KEY_SET_H

#include "common/base/slice.h"

struct key_set_node;

struct key_set { /* zeroed is empty */
    struct key_set_node *root;
    size_t count;
};

bool key_set_add(struct key_set *set, struct slice key);    /* copied; false: it is there */
bool key_set_remove(struct key_set *set, struct slice key); /* false: it is not there */
/* Every key, ascending, into `out` with room for `count`; borrowed until the set changes. */
void key_set_list(const struct key_set *set, struct slice *out);
void key_set_free(struct key_set *set); /* empty afterwards */

#endif
