/*
 * backend_mem.c - see backend.h: the buckets as persistent balanced trees in memory.
 *
 * A state of the store is one root per bucket. Nodes are counted and shared between states: a
 * commit copies the nodes on the way to what it changes (O(log n) a change, each node once a
 * commit), and puts the new roots in the place of the old ones. A read holds the roots it began
 * with, so it is a snapshot, and a clone is ten pointers.
 *
 *   committed --> roots[key] --> n4'--+--> n2 (shared)         n4' was copied by the last commit,
 *   a read    --> roots[key] --> n4 --+                        n2 was not touched
 *
 * The trees are AVL: the depth is bounded by DEPTH_MAX, and so is the recursion. A node that only
 * the tree being changed holds (references == 1) is changed in place.
 */
#include "common/storage/backend_impl.h"
#include "common/storage/batch.h"

#include <pthread.h>

#define DEPTH_MAX 92                /* AVL with 2^63 nodes */
#define ENTRY_OVERHEAD_BYTES 16ULL  /* what a page of a real file spends on an entry */
#define BYTES_WHEN_EMPTY (32 * KIB) /* a real file is never empty */

struct entry {
    atomic_uint references;
    uint32_t key_bytes;
    size_t value_bytes;
    uint8_t data[]; /* key, then value */
};

struct node {
    atomic_uint references;
    int height; /* of a leaf: 1 */
    struct node *left, *right;
    struct entry *entry;
};

struct state { /* what is committed at one moment */
    struct node *roots[BUCKET_COUNT];
    uint64_t bytes; /* of all entries */
};

struct mem {
    struct backend backend;
    struct backend_mem_options options;
    pthread_mutex_t lock;   /* over the two below: reads begin on any thread */
    struct state committed; /* a reference to each root */
    uint64_t file_bytes;    /* the most there has been since the last defrag */
};

struct mem_read {
    struct backend_read read;
    struct state state;
};

struct mem_cursor {
    struct backend_cursor cursor;
    struct node *root;     /* borrowed from the read */
    const struct node *at; /* NULL before the first seek and past the end */
};

/* ---- nodes ---- */

static struct slice entry_key(const struct entry *entry)
{
    return slice_of(entry->data, entry->key_bytes);
}

static struct slice entry_value(const struct entry *entry)
{
    return slice_of(entry->data + entry->key_bytes, entry->value_bytes);
}

static uint64_t entry_bytes(const struct entry *entry)
{
    return entry->key_bytes + entry->value_bytes + ENTRY_OVERHEAD_BYTES;
}

static struct entry *entry_new(struct slice key, struct slice value)
{
    struct entry *entry = xrealloc(NULL, sizeof(*entry) + key.size + value.size);

    atomic_init(&entry->references, 1);
    entry->key_bytes = (uint32_t)key.size;
    entry->value_bytes = value.size;
    memcpy(entry->data, key.data, key.size);
    if (value.size != 0)
        memcpy(entry->data + key.size, value.data, value.size);
    return entry;
}

static void entry_unref(struct entry *entry)
{
    if (atomic_fetch_sub(&entry->references, 1) == 1)
        free(entry);
}

static struct node *node_ref(struct node *node)
{
    if (node != NULL)
        atomic_fetch_add(&node->references, 1);
    return node;
}

static void node_unref(struct node *node) /* recursion: DEPTH_MAX */
{
    if (node == NULL || atomic_fetch_sub(&node->references, 1) != 1)
        return;
    node_unref(node->left);
    node_unref(node->right);
    entry_unref(node->entry);
    free(node);
}

/* Our own copy of the node at *place, unless nobody else holds it. */
static struct node *node_own(struct node **place)
{
    struct node *old = *place, *node;

    if (atomic_load(&old->references) == 1)
        return old;
    node = xalloc(sizeof(*node));
    atomic_init(&node->references, 1);
    node->height = old->height;
    node->left = node_ref(old->left);
    node->right = node_ref(old->right);
    node->entry = old->entry;
    atomic_fetch_add(&old->entry->references, 1);
    node_unref(old);
    *place = node;
    return node;
}

static int height_of(const struct node *node)
{
    return node != NULL ? node->height : 0;
}

static void set_height(struct node *node)
{
    node->height = 1 + MAX(height_of(node->left), height_of(node->right));
    must(node->height <= DEPTH_MAX);
}

static void rotate_left(struct node **place)
{
    struct node *top = node_own(place), *right = node_own(&top->right);

    top->right = right->left;
    right->left = top;
    set_height(top);
    set_height(right);
    *place = right;
}

static void rotate_right(struct node **place)
{
    struct node *top = node_own(place), *left = node_own(&top->left);

    top->left = left->right;
    left->right = top;
    set_height(top);
    set_height(left);
    *place = left;
}

/* After a change below *place, which is our own. */
static void balance(struct node **place)
{
    struct node *node = *place;
    int lean = height_of(node->left) - height_of(node->right);

    set_height(node);
    if (lean > 1) {
        if (height_of(node->left->left) < height_of(node->left->right))
            rotate_left((node_own(&node->left), &node->left));
        rotate_right(place);
    } else if (lean < -1) {
        if (height_of(node->right->right) < height_of(node->right->left))
            rotate_right((node_own(&node->right), &node->right));
        rotate_left(place);
    }
}

/* `entry` is taken. Returns the bytes of the entry it replaced. Recursion: DEPTH_MAX. */
static uint64_t tree_put(struct node **place, struct entry *entry)
{
    struct node *node;
    uint64_t replaced;
    int order;

    if (*place == NULL) {
        node = xalloc(sizeof(*node));
        atomic_init(&node->references, 1);
        node->height = 1;
        node->entry = entry;
        *place = node;
        return 0;
    }
    node = node_own(place);
    order = slice_compare(entry_key(entry), entry_key(node->entry));
    if (order == 0) {
        replaced = entry_bytes(node->entry);
        entry_unref(node->entry);
        node->entry = entry;
        return replaced;
    }
    replaced = tree_put(order < 0 ? &node->left : &node->right, entry);
    balance(place);
    return replaced;
}

/* Cut the first node out of the tree at *place and hand its entry (a reference) over. */
static struct entry *tree_take_first(struct node **place)
{
    struct node *node = node_own(place);
    struct entry *entry;

    if (node->left != NULL) {
        entry = tree_take_first(&node->left);
        balance(place);
        return entry;
    }
    entry = node->entry;
    *place = node->right;
    free(node);
    return entry;
}

/* The key is there: the caller looked. Recursion: DEPTH_MAX. */
static void tree_delete(struct node **place, struct slice key)
{
    struct node *node = node_own(place);
    int order = slice_compare(key, entry_key(node->entry));

    if (order != 0) {
        tree_delete(order < 0 ? &node->left : &node->right, key);
        balance(place);
        return;
    }
    entry_unref(node->entry);
    if (node->left == NULL || node->right == NULL) {
        *place = node->left != NULL ? node->left : node->right;
        free(node);
        return;
    }
    node->entry = tree_take_first(&node->right);
    balance(place);
}

/* The first node with key >= `key`, or > `key` when `above`. NULL past the end. */
static const struct node *tree_seek(const struct node *node, struct slice key, bool above)
{
    const struct node *found = NULL;

    while (node != NULL) {
        int order = slice_compare(entry_key(node->entry), key);

        if (order > 0 || (order == 0 && !above)) {
            found = node;
            node = node->left;
        } else {
            node = node->right;
        }
    }
    return found;
}

/* ---- states ---- */

static struct state state_ref(const struct state *state)
{
    for (int i = 0; i < BUCKET_COUNT; i++)
        (void)node_ref(state->roots[i]); /* the pointer is the one we have */
    return *state;
}

static void state_unref(struct state *state)
{
    for (int i = 0; i < BUCKET_COUNT; i++)
        node_unref(state->roots[i]);
    *state = (struct state){.bytes = 0};
}

static struct state state_take(struct mem *mem)
{
    struct state state;

    must(pthread_mutex_lock(&mem->lock) == 0);
    state = state_ref(&mem->committed);
    must(pthread_mutex_unlock(&mem->lock) == 0);
    return state;
}

static void state_change(struct state *state, const struct batch_op *op)
{
    struct node **root = &state->roots[op->bucket];
    const struct node *old;
    struct entry *entry;

    switch (op->type) {
    case BATCH_PUT:
        entry = entry_new(op->key, op->value);
        state->bytes += entry_bytes(entry);
        state->bytes -= tree_put(root, entry);
        return;
    case BATCH_DELETE:
        old = tree_seek(*root, op->key, false);
        if (old == NULL || !slice_equal(entry_key(old->entry), op->key))
            return;
        state->bytes -= entry_bytes(old->entry);
        tree_delete(root, op->key);
        return;
    }
}

/* ---- the rows of backend_ops ---- */

static void mem_close(struct backend *backend)
{
    struct mem *mem = CONTAINER_OF(backend, struct mem, backend);

    state_unref(&mem->committed);
    must(pthread_mutex_destroy(&mem->lock) == 0);
    free(mem);
}

static int mem_commit(struct backend *backend, const struct batch *batch, struct err *err)
{
    struct mem *mem = CONTAINER_OF(backend, struct mem, backend);
    struct state state, old;

    if (mem->options.commit != NULL && mem->options.commit(mem->options.arg, batch, err) < 0)
        return -1;
    state = state_take(mem);
    for (size_t i = 0; i < batch_op_count(batch); i++)
        state_change(&state, batch_op_at(batch, i));
    must(pthread_mutex_lock(&mem->lock) == 0);
    old = mem->committed;
    mem->committed = state;
    mem->file_bytes = MAX(mem->file_bytes, BYTES_WHEN_EMPTY + state.bytes);
    must(pthread_mutex_unlock(&mem->lock) == 0);
    state_unref(&old);
    return 0;
}

static int mem_read_begin(struct backend *backend, struct backend_read **read, struct err *err)
{
    struct mem *mem = CONTAINER_OF(backend, struct mem, backend);
    struct mem_read *mine = xalloc(sizeof(*mine));

    (void)err; /* memory does not fail here */
    mine->state = state_take(mem);
    *read = &mine->read;
    return 0;
}

static void mem_read_end(struct backend_read *read)
{
    struct mem_read *mine = CONTAINER_OF(read, struct mem_read, read);

    state_unref(&mine->state);
    free(mine);
}

static int mem_read_renew(struct backend_read *read, struct err *err)
{
    struct mem_read *mine = CONTAINER_OF(read, struct mem_read, read);

    (void)err; /* memory does not fail here */
    state_unref(&mine->state);
    mine->state = state_take(CONTAINER_OF(read->backend, struct mem, backend));
    return 0;
}

static bool mem_get(struct backend_read *read, enum bucket bucket, struct slice key,
                    struct slice *value)
{
    struct mem_read *mine = CONTAINER_OF(read, struct mem_read, read);
    const struct node *node = tree_seek(mine->state.roots[bucket], key, false);

    if (node == NULL || !slice_equal(entry_key(node->entry), key))
        return false;
    *value = entry_value(node->entry);
    return true;
}

static struct backend_cursor *mem_cursor_open(struct backend_read *read, enum bucket bucket)
{
    struct mem_cursor *cursor = xalloc(sizeof(*cursor));

    cursor->root = CONTAINER_OF(read, struct mem_read, read)->state.roots[bucket];
    return &cursor->cursor;
}

static void mem_cursor_close(struct backend_cursor *cursor)
{
    free(CONTAINER_OF(cursor, struct mem_cursor, cursor));
}

static bool stand_at(struct mem_cursor *mine, const struct node *node, struct slice *found,
                     struct slice *value)
{
    mine->at = node;
    if (node == NULL)
        return false;
    *found = entry_key(node->entry);
    *value = entry_value(node->entry);
    return true;
}

static bool mem_cursor_seek(struct backend_cursor *cursor, struct slice key, struct slice *found,
                            struct slice *value)
{
    struct mem_cursor *mine = CONTAINER_OF(cursor, struct mem_cursor, cursor);

    return stand_at(mine, tree_seek(mine->root, key, false), found, value);
}

static bool mem_cursor_next(struct backend_cursor *cursor, struct slice *found, struct slice *value)
{
    struct mem_cursor *mine = CONTAINER_OF(cursor, struct mem_cursor, cursor);

    if (mine->at == NULL)
        return false;
    return stand_at(mine, tree_seek(mine->root, entry_key(mine->at->entry), true), found, value);
}

static bool mem_cursor_last(struct backend_cursor *cursor, struct slice *found, struct slice *value)
{
    struct mem_cursor *mine = CONTAINER_OF(cursor, struct mem_cursor, cursor);
    const struct node *node = mine->root;

    while (node != NULL && node->right != NULL)
        node = node->right;
    return stand_at(mine, node, found, value);
}

static uint64_t mem_size(struct backend *backend)
{
    struct mem *mem = CONTAINER_OF(backend, struct mem, backend);
    uint64_t bytes;

    must(pthread_mutex_lock(&mem->lock) == 0);
    bytes = mem->file_bytes;
    must(pthread_mutex_unlock(&mem->lock) == 0);
    return bytes;
}

static uint64_t mem_size_in_use(struct backend *backend)
{
    struct mem *mem = CONTAINER_OF(backend, struct mem, backend);
    uint64_t bytes;

    must(pthread_mutex_lock(&mem->lock) == 0);
    bytes = BYTES_WHEN_EMPTY + mem->committed.bytes;
    must(pthread_mutex_unlock(&mem->lock) == 0);
    return bytes;
}

static int mem_defrag(struct backend *backend, struct err *err)
{
    struct mem *mem = CONTAINER_OF(backend, struct mem, backend);

    (void)err; /* memory does not fail here */
    must(pthread_mutex_lock(&mem->lock) == 0);
    mem->file_bytes = BYTES_WHEN_EMPTY + mem->committed.bytes;
    must(pthread_mutex_unlock(&mem->lock) == 0);
    return 0;
}

static const struct backend_ops mem_ops = {
    .close = mem_close,
    .commit = mem_commit,
    .read_begin = mem_read_begin,
    .read_end = mem_read_end,
    .read_renew = mem_read_renew,
    .get = mem_get,
    .cursor_open = mem_cursor_open,
    .cursor_close = mem_cursor_close,
    .cursor_seek = mem_cursor_seek,
    .cursor_next = mem_cursor_next,
    .cursor_last = mem_cursor_last,
    .size = mem_size,
    .size_in_use = mem_size_in_use,
    .defrag = mem_defrag,
};

struct backend *backend_new_mem_with(const struct backend_mem_options *options)
{
    struct mem *mem = xalloc(sizeof(*mem));

    mem->backend.ops = &mem_ops;
    atomic_init(&mem->backend.reads, 0);
    if (options != NULL)
        mem->options = *options;
    must(pthread_mutex_init(&mem->lock, NULL) == 0);
    mem->file_bytes = BYTES_WHEN_EMPTY;
    return &mem->backend;
}

struct backend *backend_new_mem(void)
{
    return backend_new_mem_with(NULL);
}

struct backend *backend_mem_clone(struct backend *backend,
                                  const struct backend_mem_options *options)
{
    struct backend *clone = backend_new_mem_with(options);
    struct mem *mem = CONTAINER_OF(clone, struct mem, backend);

    must(backend->ops == &mem_ops);
    mem->committed = state_take(CONTAINER_OF(backend, struct mem, backend));
    mem->file_bytes = backend_size(backend);
    return clone;
}

struct backend *backend_mem_of_read(struct backend_read *read,
                                    const struct backend_mem_options *options)
{
    struct backend *copy = backend_new_mem_with(options);
    struct mem *mem = CONTAINER_OF(copy, struct mem, backend);

    mem->committed = state_ref(&CONTAINER_OF(read, struct mem_read, read)->state);
    mem->file_bytes = MAX(mem->committed.bytes, mem->file_bytes);
    return copy;
}
