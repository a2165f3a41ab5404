/*
 * watch_index.c - see watch_index.h. An AVL tree ordered by {from, serial}; each node knows which
 * range of its subtree ends last, so whole subtrees that end before a key are passed over:
 *
 *              [d, m)  furthest: [b, z)
 *             /      \
 *       [b, z)        [k, l)          find("p"): [b, z) only; [k, l) is not looked at
 *
 * The height is at most 1.45 log2(n): recursion is bounded by that.
 */
#include "etcd-server/state/watch_index.h"

static unsigned height_of(const struct watch_node *node)
{
    return node != NULL ? node->height : 0;
}

static int compare(const struct watch_node *a, const struct watch_node *b)
{
    int order = slice_compare(watch_node_from(a), watch_node_from(b));

    return order != 0 ? order : (a->serial > b->serial) - (a->serial < b->serial);
}

/* The first key behind the range: `to`, or for one key that key and a zero byte. */
struct range_end {
    struct slice bytes;
    bool zero; /* one more zero byte */
};

static struct range_end end_of(const struct watch_node *node)
{
    bool one = node->span == WATCH_SPAN_ONE;

    return (struct range_end){one ? watch_node_from(node) : watch_node_to(node), one};
}

static int compare_range_ends(const struct range_end *a, const struct range_end *b)
{
    size_t common = MIN(a->bytes.size, b->bytes.size);
    int order = common != 0 ? memcmp(a->bytes.data, b->bytes.data, common) : 0;

    if (order != 0)
        return order;
    if (a->bytes.size == b->bytes.size)
        return (int)a->zero - (int)b->zero;
    if (a->bytes.size > b->bytes.size)
        return -compare_range_ends(b, a); /* once: then a is the shorter one */
    if (!a->zero || b->bytes.data[common] != 0)
        return -1;
    return b->bytes.size == common + 1 && !b->zero ? 0 : -1;
}

/* Does the range of `a` end behind that of `b`? */
static bool ends_later(const struct watch_node *a, const struct watch_node *b)
{
    struct range_end a_end = end_of(a), b_end = end_of(b);

    if (a->span == WATCH_SPAN_OPEN || b->span == WATCH_SPAN_OPEN)
        return b->span != WATCH_SPAN_OPEN;
    return compare_range_ends(&a_end, &b_end) > 0;
}

static bool ends_behind(const struct watch_node *node, struct slice key)
{
    switch ((enum watch_span)node->span) {
    case WATCH_SPAN_ONE:
        return slice_compare(key, watch_node_from(node)) <= 0;
    case WATCH_SPAN_RANGE:
        return slice_compare(key, watch_node_to(node)) < 0;
    case WATCH_SPAN_OPEN:
        return true;
    }
    return false;
}

static void update(struct watch_node *node)
{
    node->height = (uint8_t)(1 + MAX(height_of(node->left), height_of(node->right)));
    node->furthest = node;
    if (node->left != NULL && ends_later(node->left->furthest, node->furthest))
        node->furthest = node->left->furthest;
    if (node->right != NULL && ends_later(node->right->furthest, node->furthest))
        node->furthest = node->right->furthest;
}

static struct watch_node *rotate_right(struct watch_node *node)
{
    struct watch_node *top = node->left;

    node->left = top->right;
    top->right = node;
    update(node);
    update(top);
    return top;
}

static struct watch_node *rotate_left(struct watch_node *node)
{
    struct watch_node *top = node->right;

    node->right = top->left;
    top->left = node;
    update(node);
    update(top);
    return top;
}

static struct watch_node *balance(struct watch_node *node)
{
    unsigned left = height_of(node->left), right = height_of(node->right);

    if (left > right + 1) {
        if (height_of(node->left->left) < height_of(node->left->right))
            node->left = rotate_left(node->left);
        return rotate_right(node);
    }
    if (right > left + 1) {
        if (height_of(node->right->right) < height_of(node->right->left))
            node->right = rotate_right(node->right);
        return rotate_left(node);
    }
    update(node);
    return node;
}

static struct watch_node *insert(struct watch_node *root, struct watch_node *node)
{
    int order;

    if (root == NULL) {
        node->left = node->right = NULL;
        update(node);
        return node;
    }
    order = compare(node, root);
    must(order != 0);
    if (order < 0)
        root->left = insert(root->left, node);
    else
        root->right = insert(root->right, node);
    return balance(root);
}

/* Take the first node of a subtree out of it. */
static struct watch_node *take_first(struct watch_node *root, struct watch_node **first)
{
    if (root->left == NULL) {
        *first = root;
        return root->right;
    }
    root->left = take_first(root->left, first);
    return balance(root);
}

static struct watch_node *removed(struct watch_node *root, const struct watch_node *node)
{
    struct watch_node *next;
    int order;

    must(root != NULL);
    order = compare(node, root);
    if (order < 0) {
        root->left = removed(root->left, node);
    } else if (order > 0) {
        root->right = removed(root->right, node);
    } else {
        must(root == node);
        if (root->right == NULL)
            return root->left;
        root->right = take_first(root->right, &next);
        next->left = root->left;
        next->right = root->right;
        root = next;
    }
    return balance(root);
}

void watch_index_insert(struct watch_index *index, struct watch_node *node)
{
    index->root = insert(index->root, node);
    index->count++;
}

void watch_index_remove(struct watch_index *index, struct watch_node *node)
{
    index->root = removed(index->root, node);
    index->count--;
}

static void find(struct watch_node *node, struct slice key, watch_hit_fn *hit, void *arg)
{
    while (node != NULL && ends_behind(node->furthest, key)) {
        find(node->left, key, hit, arg);
        if (slice_compare(watch_node_from(node), key) > 0)
            return; /* and so begin all to the right */
        if (ends_behind(node, key))
            hit(arg, node);
        node = node->right;
    }
}

void watch_index_find(const struct watch_index *index, struct slice key, watch_hit_fn *hit,
                      void *arg)
{
    find(index->root, key, hit, arg);
}
