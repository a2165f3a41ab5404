/*
 * key_set.c - see key_set.h. An AVL tree: the heights of two siblings differ by one at most, so its
 * height is below 1.45 log2(n), which bounds the path of every walk. A node is one allocation with
 * its key behind it: 21 bytes and the key.
 */
#include "etcd-server/state/key_set.h"

#define HEIGHT_MAX 64 /* of 2^44 keys; the memory ends before */

struct key_set_node {
    struct key_set_node *child[2]; /* smaller, greater */
    uint32_t size;                 /* of the key */
    uint8_t height;                /* 1 = a leaf */
    uint8_t key[];
};

static struct slice key_of(const struct key_set_node *node)
{
    return slice_of(node->key, node->size);
}

static int height(const struct key_set_node *node)
{
    return node != NULL ? node->height : 0;
}

static void measure(struct key_set_node *node)
{
    node->height = (uint8_t)(1 + MAX(height(node->child[0]), height(node->child[1])));
}

/* Lift the child on `side` above its parent. */
static struct key_set_node *rotate(struct key_set_node *node, int side)
{
    struct key_set_node *up = node->child[side];

    node->child[side] = up->child[!side];
    up->child[!side] = node;
    measure(node);
    measure(up);
    return up;
}

static struct key_set_node *balance(struct key_set_node *node)
{
    int lean = height(node->child[1]) - height(node->child[0]), side = lean > 0;
    struct key_set_node *child = node->child[side];

    measure(node);
    if (lean >= -1 && lean <= 1)
        return node;
    if (height(child->child[!side]) > height(child->child[side]))
        node->child[side] = rotate(child, !side);
    return rotate(node, side);
}

/* The links from the root to where `key` is or would be: path[0] is the root's. Its length. */
static size_t walk(struct key_set *set, struct slice key, struct key_set_node **path[HEIGHT_MAX])
{
    struct key_set_node **link = &set->root;
    size_t length = 0;

    for (;;) {
        int order;

        must(length < HEIGHT_MAX);
        path[length++] = link;
        if (*link == NULL)
            return length;
        order = slice_compare(key, key_of(*link));
        if (order == 0)
            return length;
        link = &(*link)->child[order > 0];
    }
}

/* From the last but one link up. */
static void balance_path(struct key_set_node **path[HEIGHT_MAX], size_t length)
{
    while (length-- > 0)
        if (*path[length] != NULL)
            *path[length] = balance(*path[length]);
}

bool key_set_add(struct key_set *set, struct slice key)
{
    struct key_set_node **path[HEIGHT_MAX], *node;
    size_t length = walk(set, key, path);

    if (*path[length - 1] != NULL)
        return false;
    must(key.size <= UINT32_MAX);
    node = xalloc(offsetof(struct key_set_node, key) + key.size);
    node->size = (uint32_t)key.size;
    node->height = 1;
    if (key.size != 0)
        memcpy(node->key, key.data, key.size);
    *path[length - 1] = node;
    balance_path(path, length - 1);
    set->count++;
    return true;
}

bool key_set_remove(struct key_set *set, struct slice key)
{
    struct key_set_node **path[HEIGHT_MAX], *gone, *next;
    size_t length = walk(set, key, path), at = length - 1;

    gone = *path[at];
    if (gone == NULL)
        return false;
    if (gone->child[0] == NULL || gone->child[1] == NULL) {
        *path[at] = gone->child[gone->child[0] == NULL];
    } else { /* the next greater key takes its place */
        path[length++] = &gone->child[1];
        while ((*path[length - 1])->child[0] != NULL) {
            must(length < HEIGHT_MAX);
            path[length] = &(*path[length - 1])->child[0];
            length++;
        }
        next = *path[length - 1];
        *path[length - 1] = next->child[1];
        next->child[0] = gone->child[0];
        next->child[1] = gone->child[1];
        *path[at] = next;
        path[at + 1] = &next->child[1]; /* was a link inside the node that goes */
    }
    free(gone);
    balance_path(path, length);
    set->count--;
    return true;
}

void key_set_list(const struct key_set *set, struct slice *out)
{
    const struct key_set_node *above[HEIGHT_MAX], *node = set->root;
    size_t depth = 0, count = 0;

    while (node != NULL || depth != 0) {
        for (; node != NULL; node = node->child[0]) {
            must(depth < HEIGHT_MAX);
            above[depth++] = node;
        }
        node = above[--depth];
        out[count++] = key_of(node);
        node = node->child[1];
    }
    must(count == set->count);
}

void key_set_free(struct key_set *set)
{
    struct key_set_node *node = set->root;

    while (node != NULL) { /* turn it into a list to the right, freeing from its head */
        struct key_set_node *smaller = node->child[0], *next = node->child[1];

        if (smaller != NULL) {
            node->child[0] = smaller->child[1];
            smaller->child[1] = node;
            next = smaller;
        } else {
            free(node);
        }
        node = next;
    }
    *set = (struct key_set){0};
}
