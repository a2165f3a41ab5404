/*
 * keytree.c - see keytree.h. A red-black tree in order of begins (Cormen et al., chapter 13), the
 * latest end below each node beside it (chapter 14.3).
 *
 *   visit(range), in order     node left of it      only what is left of the node
 *                              node right of it     both sides, if [begin, latest end) meets it
 *                              they meet            left, the node itself, right
 *
 * "Meets" is asked of ranges that may be the wrong way round; then the second case passes by what
 * would have met. An end is a slice, and maybe a zero byte behind it: a single key ends there.
 */
#include "etcd-server/state/keytree.h"

#include "common/base/base.h"

struct edge {
    struct slice bytes; /* empty: behind every key */
    bool next;          /* a zero byte more */
};

struct keytree_node {
    struct edge begin, end, latest;
    size_t left, right, parent; /* 0: none */
    bool red;
};

struct visit {
    const struct keytree *tree;
    struct edge begin, end; /* asked for */
    bool met;               /* some node */
    struct edge first;      /* its begin ... */
    struct edge reached;    /* ... and how far those met reach without a gap */
};

static int compare(struct edge a, struct edge b)
{
    size_t bytes = MIN(a.bytes.size, b.bytes.size);
    int order;

    if (a.bytes.size == 0 || b.bytes.size == 0)
        return (a.bytes.size == 0) - (b.bytes.size == 0);
    order = memcmp(a.bytes.data, b.bytes.data, bytes);
    if (order != 0 || (!a.next && !b.next))
        return order != 0 ? order : slice_compare(a.bytes, b.bytes);
    if (a.bytes.size == b.bytes.size)
        return (int)a.next - (int)b.next;
    if (a.bytes.size < b.bytes.size) /* is the byte behind `a` there, and what does it meet? */
        return !a.next || b.bytes.data[bytes] != 0  ? -1
               : b.bytes.size > bytes + 1 || b.next ? -1
                                                    : 0;
    return !b.next || a.bytes.data[bytes] != 0 ? 1 : a.bytes.size > bytes + 1 || a.next ? 1 : 0;
}

void keytree_init(struct keytree *tree)
{
    *tree = (struct keytree){.count = 1, .capacity = 16};
    tree->nodes = xalloc(tree->capacity * sizeof(*tree->nodes));
}

void keytree_free(struct keytree *tree)
{
    free(tree->nodes);
    *tree = (struct keytree){.nodes = NULL};
}

/* ---- growing ---- */

/* Put `by` where `at` hangs. */
static void replace(struct keytree *tree, size_t at, size_t by)
{
    struct keytree_node *nodes = tree->nodes;
    size_t parent = nodes[at].parent;

    nodes[by].parent = parent;
    if (parent == 0)
        tree->root = by;
    else if (nodes[parent].left == at)
        nodes[parent].left = by;
    else
        nodes[parent].right = by;
    nodes[at].parent = by;
}

static void rotate_left(struct keytree *tree, size_t at)
{
    struct keytree_node *nodes = tree->nodes;
    size_t up = nodes[at].right;

    nodes[at].right = nodes[up].left;
    if (nodes[up].left != 0)
        nodes[nodes[up].left].parent = at;
    replace(tree, at, up);
    nodes[up].left = at;
}

static void rotate_right(struct keytree *tree, size_t at)
{
    struct keytree_node *nodes = tree->nodes;
    size_t up = nodes[at].left;

    nodes[at].left = nodes[up].right;
    if (nodes[up].right != 0)
        nodes[nodes[up].right].parent = at;
    replace(tree, at, up);
    nodes[up].right = at;
}

/* Two reds, one below the other: `at` and its parent. The red one that may be below a red now. */
static size_t mend(struct keytree *tree, size_t at)
{
    struct keytree_node *nodes = tree->nodes;
    size_t parent = nodes[at].parent, top = nodes[parent].parent;
    bool is_left = parent == nodes[top].left;
    size_t uncle = is_left ? nodes[top].right : nodes[top].left;

    nodes[top].red = true;
    if (uncle != 0 && nodes[uncle].red) {
        nodes[parent].red = nodes[uncle].red = false;
        return top;
    }
    if (is_left && at == nodes[parent].right) {
        rotate_left(tree, parent);
        parent = at;
    } else if (!is_left && at == nodes[parent].left) {
        rotate_right(tree, parent);
        parent = at;
    }
    nodes[parent].red = false;
    if (is_left)
        rotate_right(tree, top);
    else
        rotate_left(tree, top);
    return top; /* below `parent`, which is black */
}

static void hang(struct keytree *tree, size_t added)
{
    struct keytree_node *nodes = tree->nodes;
    size_t parent = 0, at = tree->root;

    while (at != 0) {
        parent = at;
        at = compare(nodes[added].begin, nodes[at].begin) < 0 ? nodes[at].left : nodes[at].right;
    }
    nodes[added].parent = parent;
    if (parent == 0)
        tree->root = added;
    else if (compare(nodes[added].begin, nodes[parent].begin) < 0)
        nodes[parent].left = added;
    else
        nodes[parent].right = added;
}

void keytree_add(struct keytree *tree, struct slice key, struct slice range_end)
{
    size_t at = tree->count++;
    bool endless = range_end.size == 1 && range_end.data[0] == 0;

    if (at == tree->capacity) {
        tree->capacity *= 2;
        tree->nodes = xrealloc(tree->nodes, tree->capacity * sizeof(*tree->nodes));
    }
    tree->nodes[at] = (struct keytree_node){.begin = {key, false}, .red = true};
    if (range_end.size == 0) /* behind no bytes there is one zero byte: no edge behind every key */
        tree->nodes[at].end =
            key.size != 0 ? (struct edge){key, true} : (struct edge){slice_of("\0", 1), false};
    else if (!endless)
        tree->nodes[at].end = (struct edge){range_end, false};
    hang(tree, at);
    while (tree->nodes[at].parent != 0 && tree->nodes[tree->nodes[at].parent].red)
        at = mend(tree, at);
    tree->nodes[tree->root].red = false;
}

/* ---- asking ---- */

/* As deep as the tree is high, which is twice the bits of its count; so is visit(). */
static void find_latest(struct keytree *tree, size_t at)
{
    struct keytree_node *node = &tree->nodes[at];
    const size_t below[] = {node->left, node->right};

    node->latest = node->end;
    for (size_t i = 0; i < ARRAY_LEN(below); i++) {
        if (below[i] == 0)
            continue;
        find_latest(tree, below[i]);
        if (compare(tree->nodes[below[i]].latest, node->latest) > 0)
            node->latest = tree->nodes[below[i]].latest;
    }
}

/* Where [a, b) lies beside [c, d): -1 left, 1 right, 0 they meet. */
static int beside(struct edge a, struct edge b, struct edge c, struct edge d)
{
    if (compare(a, c) < 0 && compare(b, c) <= 0)
        return -1;
    return compare(a, d) >= 0;
}

/* False: there is a gap, nothing else counts. */
static bool meet(struct visit *visit, const struct keytree_node *node)
{
    if (!visit->met) {
        visit->met = true;
        visit->first = node->begin;
        visit->reached = node->end;
        return true;
    }
    if (compare(visit->reached, node->begin) < 0)
        return false;
    if (compare(node->end, visit->reached) > 0)
        visit->reached = node->end;
    return true;
}

static bool visit_from(struct visit *visit, size_t at)
{
    const struct keytree_node *node = &visit->tree->nodes[at];
    int where;

    if (at == 0)
        return true;
    where = beside(visit->begin, visit->end, node->begin, node->end);
    if (where < 0)
        return visit_from(visit, node->left);
    if (where > 0 && beside(node->begin, node->latest, visit->begin, visit->end) != 0)
        return true;
    return visit_from(visit, node->left) && (where != 0 || meet(visit, node)) &&
           visit_from(visit, node->right);
}

void keytree_grown(struct keytree *tree)
{
    if (tree->root != 0)
        find_latest(tree, tree->root);
}

bool keytree_covers(const struct keytree *tree, struct slice key, struct slice range_end)
{
    struct visit visit = {.tree = tree, .begin = {key, false}, .end = {range_end, false}};

    return visit_from(&visit, tree->root) && visit.met && compare(visit.reached, visit.end) >= 0 &&
           compare(visit.first, visit.begin) <= 0;
}
