/*
 * keyindex.c - see keyindex.h: a B+tree of pointers to entries.
 *
 *   inner   keys[i] = least entry below children[i], living[i] = living keys below it
 *   leaf    keys[i] = the entries, one bit each in `living`; leaves are chained
 *
 * A node is searched without touching entries: `prefix` bytes are common to all of its keys and
 * compared once, then `hints` holds the four bytes behind them. Only keys with equal hints are
 * looked at. The prefix may be shorter than it could be, never longer.
 *
 * Nodes are split when full; a node filled from its end (keys that ascend) stays full. Nodes that
 * become small are joined with a neighbour; depth is bounded by that and by TREE_DEPTH_MAX.
 */
#include "etcd-server/state/keyindex_internal.h"

#include "common/base/plants.h"

#define FANOUT KEYINDEX_LEAF_MAX
#define JOIN_BELOW (FANOUT / 4)     /* a node with fewer keys looks for a neighbour to join ... */
#define JOIN_MAX (FANOUT * 3U / 4U) /* ... if both have no more than this */
#define TREE_DEPTH_MAX 16U

struct node {
    uint16_t count;
    uint16_t height; /* 0 = leaf */
    uint32_t prefix; /* bytes all keys share */
    uint32_t hints[FANOUT];
    struct keyindex_entry *keys[FANOUT];
};

struct leaf {
    struct node node;
    uint64_t living; /* bit i: the newest revision of keys[i] is a put */
    uint64_t stamp;  /* see keyindex.h */
    struct leaf *previous, *next;
};

struct inner {
    struct node node;
    struct node *children[FANOUT];
    uint32_t living[FANOUT];
};

/* The way from the root to a leaf. */
struct path {
    unsigned depth;
    struct inner *nodes[TREE_DEPTH_MAX];
    unsigned positions[TREE_DEPTH_MAX];
};

struct keyindex {
    struct node *root; /* owned */
    size_t entries, living;
    uint64_t stamps; /* given so far */
    size_t node_bytes;
    struct entry_pool pool;
};

_Static_assert(FANOUT == 64, "living is one bit per key in 64");

static struct leaf *as_leaf(struct node *node)
{
    must(node->height == 0);
    return CONTAINER_OF(node, struct leaf, node);
}

static struct inner *as_inner(struct node *node)
{
    must(node->height > 0);
    return CONTAINER_OF(node, struct inner, node);
}

/* Its keys, or the newest revision of one, are not what they were. */
static void touch(struct keyindex *index, struct leaf *leaf)
{
    leaf->stamp = ++index->stamps;
}

static struct node *node_new(struct keyindex *index, unsigned height)
{
    size_t bytes = height == 0 ? sizeof(struct leaf) : sizeof(struct inner);
    struct node *node = xalloc(bytes);

    must(height < TREE_DEPTH_MAX);
    node->height = (uint16_t)height;
    index->node_bytes += bytes;
    if (height == 0)
        touch(index, as_leaf(node));
    return node;
}

static void node_free(struct keyindex *index, struct node *node)
{
    index->node_bytes -= node->height == 0 ? sizeof(struct leaf) : sizeof(struct inner);
    free(node->height == 0 ? (void *)as_leaf(node) : (void *)as_inner(node));
}

/* ---- searching one node ---- */

static uint32_t hint_of(struct slice key, size_t prefix)
{
    uint32_t hint = 0;

    if (key.size >= prefix + sizeof(hint)) {
        memcpy(&hint, key.data + prefix, sizeof(hint));
        return __builtin_bswap32(hint); /* the machines we run on are little-endian */
    }
    for (size_t i = 0; i < sizeof(hint); i++)
        hint = hint << 8 | (prefix + i < key.size ? key.data[prefix + i] : 0);
    return hint;
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "hint_of() swaps");

static size_t common_prefix(const struct keyindex_entry *a, const struct keyindex_entry *b)
{
    size_t most = MIN(a->key_size, b->key_size), common = 0;

    while (common < most && a->key[common] == b->key[common])
        common++;
    return common;
}

static int compare_behind(struct slice key, const struct keyindex_entry *entry, size_t prefix)
{
    if (key.size == prefix) /* also the empty key, whose data may be NULL */
        return entry->key_size > prefix ? -1 : 0;
    return slice_compare(slice_of(key.data + prefix, key.size - prefix),
                         slice_of(entry->key + prefix, entry->key_size - prefix));
}

/* First position whose key is >= `key`; `equal` when it is the key. */
static unsigned node_search(const struct node *node, struct slice key, bool *equal)
{
    unsigned low = 0, high = node->count;
    uint32_t hint;

    *equal = false;
    if (node->count == 0)
        return 0;
    if (node->prefix > 0) {
        size_t size = MIN(key.size, node->prefix);
        int order = size != 0 ? memcmp(key.data, node->keys[0]->key, size) : 0;

        if (order != 0 || key.size < node->prefix)
            return order > 0 ? node->count : 0;
    }
    hint = hint_of(key, node->prefix);
    while (low < high) {
        unsigned middle = (low + high) / 2;

        if (node->hints[middle] < hint)
            low = middle + 1;
        else
            high = middle;
    }
    /* Equal hints are few, or the prefix would be longer; still they are halved, not walked. */
    high = low;
    for (unsigned step = 1; high < node->count && node->hints[high] == hint; step *= 2)
        high = MIN(high + step, node->count);
    while (low < high) {
        unsigned middle = (low + high) / 2;
        int order =
            node->hints[middle] > hint ? -1 : compare_behind(key, node->keys[middle], node->prefix);

        if (order == 0) {
            *equal = true;
            return middle;
        }
        if (order > 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static unsigned child_position(const struct node *node, struct slice key)
{
    bool equal;
    unsigned position = node_search(node, key, &equal);

    return equal || position == 0 ? position : position - 1;
}

static struct leaf *find_leaf(const struct keyindex *index, struct slice key)
{
    struct node *node = index->root;

    while (node->height > 0)
        node = as_inner(node)->children[child_position(node, key)];
    return as_leaf(node);
}

static struct leaf *find_path(const struct keyindex *index, struct slice key, struct path *path)
{
    struct node *node = index->root;

    path->depth = 0;
    while (node->height > 0) {
        struct inner *inner = as_inner(node);
        unsigned position = child_position(node, key);

        path->nodes[path->depth] = inner;
        path->positions[path->depth++] = position;
        node = inner->children[position];
    }
    return as_leaf(node);
}

/* ---- changing one node ---- */

static void node_rebuild(struct node *node)
{
    if (node->count == 0)
        return;
    node->prefix = (uint32_t)common_prefix(node->keys[0], node->keys[node->count - 1]);
    for (unsigned i = 0; i < node->count; i++)
        node->hints[i] = hint_of(keyindex_key(node->keys[i]), node->prefix);
}

/* keys[position] is new: only a new first or last key can shorten what all share. */
static void node_refresh(struct node *node, unsigned position)
{
    if (node->count == 1 ||
        ((position == 0 || position == node->count - 1U) &&
         common_prefix(node->keys[0], node->keys[node->count - 1]) < node->prefix)) {
        node_rebuild(node);
        return;
    }
    node->hints[position] = hint_of(keyindex_key(node->keys[position]), node->prefix);
}

static void node_insert(struct node *node, unsigned position, struct keyindex_entry *key)
{
    size_t behind = node->count - position;

    must(node->count < FANOUT);
    memmove(node->keys + position + 1, node->keys + position, behind * sizeof(node->keys[0]));
    memmove(node->hints + position + 1, node->hints + position, behind * sizeof(node->hints[0]));
    node->keys[position] = key;
    node->count++;
    node_refresh(node, position);
}

static void node_remove(struct node *node, unsigned position)
{
    size_t behind = node->count - position - 1;

    memmove(node->keys + position, node->keys + position + 1, behind * sizeof(node->keys[0]));
    memmove(node->hints + position, node->hints + position + 1, behind * sizeof(node->hints[0]));
    node->count--;
}

static uint64_t bits_below(unsigned position)
{
    return position >= FANOUT ? UINT64_MAX : (UINT64_C(1) << position) - 1;
}

static void leaf_insert(struct keyindex *index, struct leaf *leaf, unsigned position,
                        struct keyindex_entry *entry)
{
    uint64_t below = leaf->living & bits_below(position);
    uint64_t above = leaf->living & ~bits_below(position);

    must(position < FANOUT);
    touch(index, leaf);
    leaf->living = below | above << 1 | (uint64_t)!entry->tombstone << position;
    node_insert(&leaf->node, position, entry);
}

static void leaf_remove(struct keyindex *index, struct leaf *leaf, unsigned position)
{
    uint64_t below = leaf->living & bits_below(position);
    uint64_t above = leaf->living & ~bits_below(position + 1);

    touch(index, leaf);
    leaf->living = below | above >> 1;
    node_remove(&leaf->node, position);
}

static uint32_t node_living(struct node *node)
{
    uint32_t living = 0;

    if (node->height == 0)
        return (uint32_t)__builtin_popcountll(as_leaf(node)->living);
    for (unsigned i = 0; i < node->count; i++)
        living += as_inner(node)->living[i];
    return living;
}

static void inner_insert(struct inner *inner, unsigned position, struct node *child)
{
    size_t behind = inner->node.count - position;

    memmove(inner->children + position + 1, inner->children + position,
            behind * sizeof(inner->children[0]));
    memmove(inner->living + position + 1, inner->living + position,
            behind * sizeof(inner->living[0]));
    inner->children[position] = child;
    inner->living[position] = node_living(child);
    node_insert(&inner->node, position, child->keys[0]);
}

static void inner_remove(struct inner *inner, unsigned position)
{
    size_t behind = inner->node.count - position - 1;

    memmove(inner->children + position, inner->children + position + 1,
            behind * sizeof(inner->children[0]));
    memmove(inner->living + position, inner->living + position + 1,
            behind * sizeof(inner->living[0]));
    node_remove(&inner->node, position);
}

/* Move the keys from `from` on behind those of `to`, a node of the same height. */
static void move_tail(struct keyindex *index, struct node *to, struct node *node, unsigned from)
{
    unsigned moved = node->count - from;

    must(to->height == node->height && to->count + moved <= FANOUT);
    if (moved == 0)
        return;
    memcpy(to->keys + to->count, node->keys + from, moved * sizeof(node->keys[0]));
    if (node->height == 0) {
        struct leaf *source = as_leaf(node), *target = as_leaf(to);
        uint64_t bits = source->living & ~bits_below(from);

        target->living |= bits >> from << to->count;
        source->living &= bits_below(from);
        touch(index, source);
        touch(index, target);
    } else {
        struct inner *source = as_inner(node), *target = as_inner(to);

        memcpy(target->children + to->count, source->children + from,
               moved * sizeof(source->children[0]));
        memcpy(target->living + to->count, source->living + from,
               moved * sizeof(source->living[0]));
    }
    to->count = (uint16_t)(to->count + moved);
    node->count = (uint16_t)from;
    node_rebuild(to);
    node_rebuild(node);
}

/* A full node gives its upper half, or nothing when it is filled from its end, to a new one. */
static struct node *node_split(struct keyindex *index, struct node *node, unsigned position)
{
    struct node *right = node_new(index, node->height);

    move_tail(index, right, node, position == node->count ? node->count : node->count / 2U);
    if (node->height == 0) {
        struct leaf *old = as_leaf(node), *made = as_leaf(right);

        made->previous = old;
        made->next = old->next;
        if (old->next != NULL)
            old->next->previous = made;
        old->next = made;
    }
    return right;
}

/* ---- inserting and removing ---- */

static void set_first(struct inner *parent, unsigned position, const struct node *child)
{
    if (parent->node.keys[position] == child->keys[0])
        return;
    parent->node.keys[position] = child->keys[0];
    node_refresh(&parent->node, position);
}

/* Put `right`, split from child `position`, behind it; what splits off `parent` then. */
static struct node *insert_right(struct keyindex *index, struct inner *parent, unsigned position,
                                 struct node *right)
{
    struct node *split = NULL;

    parent->living[position] = node_living(parent->children[position]);
    position++;
    if (parent->node.count == FANOUT) {
        split = node_split(index, &parent->node, position);
        if (position > parent->node.count || parent->node.count == FANOUT) {
            position -= parent->node.count;
            parent = as_inner(split);
        }
    }
    inner_insert(parent, position, right);
    return split;
}

static void tree_insert(struct keyindex *index, struct path *path, struct leaf *leaf,
                        unsigned position, struct keyindex_entry *entry)
{
    struct node *left = &leaf->node, *right = NULL;

    if (left->count == FANOUT) {
        right = node_split(index, left, leaf->next == NULL ? position : 0);
        if (position > left->count || left->count == FANOUT) {
            position -= left->count;
            leaf = as_leaf(right);
        }
    }
    leaf_insert(index, leaf, position, entry);
    for (unsigned depth = path->depth; depth-- > 0;) {
        struct inner *parent = path->nodes[depth];
        unsigned at = path->positions[depth];

        set_first(parent, at, left);
        if (right != NULL)
            right = insert_right(index, parent, at, right);
        else
            parent->living[at] += !entry->tombstone;
        left = &parent->node;
    }
    if (right != NULL) {
        struct inner *root = as_inner(node_new(index, left->height + 1U));

        inner_insert(root, 0, left);
        inner_insert(root, 1, right);
        index->root = &root->node;
    }
    index->entries++;
    index->living += !entry->tombstone;
}

static void drop_node(struct keyindex *index, struct inner *parent, unsigned position)
{
    struct node *node = parent->children[position];

    if (node->height == 0) {
        struct leaf *leaf = as_leaf(node);

        if (leaf->previous != NULL)
            leaf->previous->next = leaf->next;
        if (leaf->next != NULL)
            leaf->next->previous = leaf->previous;
    }
    inner_remove(parent, position);
    node_free(index, node);
}

/* Child `position` has become small: drop it, or join it with a neighbour. */
static void settle(struct keyindex *index, struct inner *parent, unsigned position)
{
    struct node *child = parent->children[position];
    unsigned left;

    if (child->count == 0) {
        drop_node(index, parent, position);
        return;
    }
    set_first(parent, position, child);
    if (child->count >= JOIN_BELOW || parent->node.count < 2)
        return;
    left = position + 1U < parent->node.count ? position : position - 1;
    if (parent->children[left]->count + parent->children[left + 1]->count > (int)JOIN_MAX)
        return;
    move_tail(index, parent->children[left], parent->children[left + 1], 0);
    parent->living[left] += parent->living[left + 1];
    drop_node(index, parent, left + 1);
}

static void tree_remove(struct keyindex *index, struct keyindex_entry *entry)
{
    struct path path;
    struct leaf *leaf = find_path(index, keyindex_key(entry), &path);
    bool equal;
    unsigned position = node_search(&leaf->node, keyindex_key(entry), &equal);

    must(equal && entry->tombstone); /* the living counts above stay as they are */
    leaf_remove(index, leaf, position);
    index->entries--;
    for (unsigned depth = path.depth; depth-- > 0;)
        settle(index, path.nodes[depth], path.positions[depth]);
    while (index->root->height > 0 && index->root->count <= 1) {
        struct node *root = index->root;

        index->root = root->count == 1 ? as_inner(root)->children[0] : node_new(index, 0);
        node_free(index, root);
    }
    entry_free(&index->pool, entry);
}

/* ---- entry points ---- */

struct keyindex *keyindex_new(void)
{
    struct keyindex *index = xalloc(sizeof(*index));

    index->root = node_new(index, 0);
    return index;
}

/* Height bounds the recursion. */
static void free_tree(struct keyindex *index, struct node *node)
{
    for (unsigned i = 0; i < node->count; i++) {
        if (node->height > 0)
            free_tree(index, as_inner(node)->children[i]);
        else
            entry_free(&index->pool, node->keys[i]);
    }
    node_free(index, node);
}

void keyindex_free(struct keyindex *index)
{
    if (index == NULL)
        return;
    free_tree(index, index->root);
    entry_pool_fini(&index->pool);
    free(index);
}

size_t keyindex_entries(const struct keyindex *index)
{
    return index->entries;
}

size_t keyindex_living(const struct keyindex *index)
{
    return index->living;
}

size_t keyindex_bytes(const struct keyindex *index)
{
    return sizeof(*index) + index->node_bytes + index->pool.bytes;
}

struct keyindex_entry *keyindex_find(const struct keyindex *index, struct slice key)
{
    const struct leaf *leaf = find_leaf(index, key);
    bool equal;
    unsigned position = node_search(&leaf->node, key, &equal);

    return equal ? leaf->node.keys[position] : NULL;
}

/* The key at `position` of `leaf` begins or stops to live. */
static void set_living(struct keyindex *index, const struct path *path, struct leaf *leaf,
                       unsigned position, bool living)
{
    uint32_t change = living ? 1 : UINT32_MAX;

    leaf->living ^= UINT64_C(1) << position;
    for (unsigned depth = 0; depth < path->depth; depth++)
        path->nodes[depth]->living[path->positions[depth]] += change;
    index->living = living ? index->living + 1 : index->living - 1;
}

struct keyindex_entry *keyindex_put(struct keyindex *index, struct slice key,
                                    struct revision revision)
{
    struct path path;
    struct leaf *leaf = find_path(index, key, &path);
    struct keyindex_entry *entry;
    bool equal;
    unsigned position = node_search(&leaf->node, key, &equal);

    if (equal) {
        bool deleted;

        entry = leaf->node.keys[position];
        deleted = entry->tombstone;
        if (!PLANTED(LEAF_UNTOUCHED))
            touch(index, leaf);
        entry_append(&index->pool, entry, revision, false);
        entry->version = deleted ? 1 : entry->version + 1;
        if (deleted) {
            entry->create = revision.main;
            set_living(index, &path, leaf, position, true);
        }
        return entry;
    }
    entry = entry_new(&index->pool, key, revision);
    entry->create = revision.main;
    entry->version = 1;
    tree_insert(index, &path, leaf, position, entry);
    return entry;
}

struct keyindex_entry *keyindex_delete(struct keyindex *index, struct slice key,
                                       struct revision revision)
{
    struct path path;
    struct leaf *leaf = find_path(index, key, &path);
    struct keyindex_entry *entry;
    bool equal;
    unsigned position = node_search(&leaf->node, key, &equal);

    if (equal) {
        entry = leaf->node.keys[position];
        if (entry->tombstone)
            return NULL;
        touch(index, leaf);
        entry_append(&index->pool, entry, revision, true);
        set_living(index, &path, leaf, position, false);
        return entry;
    }
    entry = entry_new(&index->pool, key, revision);
    entry->tombstone = true;
    tree_insert(index, &path, leaf, position, entry);
    return NULL;
}

/* Living keys before `key`. */
static size_t rank(const struct keyindex *index, struct slice key)
{
    struct node *node = index->root;
    size_t living = 0;
    bool equal;

    while (node->height > 0) {
        const struct inner *inner = as_inner(node);
        unsigned position = child_position(node, key);

        for (unsigned i = 0; i < position; i++)
            living += inner->living[i];
        node = inner->children[position];
    }
    return living + (size_t)__builtin_popcountll(as_leaf(node)->living &
                                                 bits_below(node_search(node, key, &equal)));
}

size_t keyindex_count(const struct keyindex *index, struct slice from, struct slice to)
{
    size_t before = rank(index, from);
    size_t until = to.size == 0 ? index->living : rank(index, to);

    return until > before ? until - before : 0;
}

void keyindex_seek(const struct keyindex *index, struct slice key, struct keyindex_cursor *cursor)
{
    const struct leaf *leaf = find_leaf(index, key);
    bool equal;

    *cursor = (struct keyindex_cursor){
        .leaf = leaf,
        .position = node_search(&leaf->node, key, &equal),
    };
}

struct keyindex_entry *keyindex_next(struct keyindex_cursor *cursor)
{
    const struct leaf *leaf = cursor->leaf;

    while (leaf != NULL && cursor->position == leaf->node.count) {
        leaf = leaf->next;
        cursor->leaf = leaf;
        cursor->position = 0;
    }
    return leaf != NULL ? leaf->node.keys[cursor->position++] : NULL;
}

bool keyindex_next_leaf(struct keyindex_cursor *cursor, struct keyindex_leaf *leaf)
{
    const struct leaf *at = cursor->leaf;

    while (at != NULL && cursor->position == at->node.count) {
        at = at->next;
        cursor->position = 0;
    }
    if (at == NULL)
        return false;
    *leaf = (struct keyindex_leaf){.stamp = at->stamp,
                                   .entries = at->node.keys,
                                   .count = at->node.count,
                                   .position = cursor->position,
                                   .living = at->living};
    *cursor = (struct keyindex_cursor){.leaf = at, .position = at->node.count};
    return true;
}

bool keyindex_compact(struct keyindex *index, struct slice from, size_t keys, int64_t at,
                      bool *picked, struct slice *next)
{
    struct keyindex_entry *gone[FANOUT], *entry;
    struct keyindex_cursor cursor;
    bool more = true;

    while (more && keys > 0) {
        size_t count = 0, walked = 0;

        keyindex_seek(index, from, &cursor);
        while ((entry = keyindex_next(&cursor)) != NULL && walked < MIN(keys, FANOUT)) {
            walked++;
            if (!entry_compact(&index->pool, entry, at, picked))
                gone[count++] = entry;
        }
        keys -= walked;
        more = entry != NULL;
        if (more)
            from = *next = keyindex_key(entry);
        while (count > 0)
            tree_remove(index, gone[--count]);
    }
    return !more;
}
