/*
 * keytree.h - does a user have a range of keys that ends at or before its begin? It holds no key,
 * and etcd's answer depends on how its interval tree of the permissions has grown. What goes
 * through the log is judged by every member, so ours grows the same one (keyranges.h answers all
 * other questions). Pure; one thread at a time.
 */
#ifndef ETCD_SERVER_STATE_KEYTREE_H
#define ETCD_SERVER_STATE_KEYTREE_H

#include "common/base/slice.h"

struct keytree {
    struct keytree_node *nodes; /* owned; [0] stands for no node */
    size_t count, capacity;
    size_t root;
};

static inline bool keytree_is_asked(struct slice key, struct slice range_end)
{
    return range_end.size != 0 && !(range_end.size == 1 && range_end.data[0] == 0) &&
           slice_compare(range_end, key) <= 0;
}

void keytree_init(struct keytree *tree);
void keytree_free(struct keytree *tree);
/* A permission; in etcd's order, for the tree follows from it. Both are borrowed until the end. */
void keytree_add(struct keytree *tree, struct slice key, struct slice range_end);
void keytree_grown(struct keytree *tree); /* after the last add and before the first question */
/* Is [key, range_end) covered, as etcd sees it? For keytree_is_asked(). */
bool keytree_covers(const struct keytree *tree, struct slice key, struct slice range_end);

#endif
