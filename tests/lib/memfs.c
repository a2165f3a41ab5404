/*
 * memfs.c - see memfs.h. A node stays while it has a name, a durable name, or is open.
 *
 *   now:      node->path, whole; a directory's content is what lies below its path
 *   durable:  (directory node, name) -> node, written by sync_dir: a directory that is renamed
 *             keeps what is in it, one whose own name was never synced is lost with all of it
 */
#include "tests/lib/memfs.h"

#include <errno.h>
#include <stdio.h>

#define SECTOR 512U

struct memfs_node {
    char *path; /* owned; NULL = removed, but still open */
    bool directory;
    uint8_t *now, *durable; /* owned */
    size_t now_bytes, durable_bytes;
    size_t opens;
    size_t durable_uses; /* by durable names: as what is named, or as the directory */
    bool locked;
};

struct memfs_name {
    struct memfs_node *directory; /* NULL = the root */
    struct memfs_node *node;
    char *name; /* owned; without slashes */
};

struct memfs_file {
    struct fs_file file;
    struct memfs *memfs;
    struct memfs_node *node;
    bool holds_lock;
};

static struct memfs *memfs_of(struct fs *fs)
{
    return CONTAINER_OF(fs, struct memfs, fs);
}

static struct memfs_file *file_of(struct fs_file *file)
{
    return CONTAINER_OF(file, struct memfs_file, file);
}

static int step(struct memfs *memfs, enum memfs_op op, const char *path, struct err *err)
{
    static const char *const words[] = {
        "open", "read",   "write",  "sync",  "stat",   "truncate",       "allocate space for",
        "lock", "rename", "remove", "mkdir", "remove", "sync directory", "list",
    };
    int sys = EIO;

    if (!memfs->cut) {
        sys = ++memfs->operations == memfs->fail_at ? memfs->fail_sys : 0;
        if (sys == 0 && memfs->fault != NULL)
            sys = memfs->fault(memfs->fault_arg, op, path);
        if (sys == 0)
            return 0;
    }
    err_sys(err, sys, "%s %s", words[op], path);
    return -1;
}

static struct memfs_node *find(struct memfs *memfs, const char *path)
{
    for (size_t at = 0; at < memfs->node_count; at++)
        if (memfs->nodes[at]->path != NULL && strcmp(memfs->nodes[at]->path, path) == 0)
            return memfs->nodes[at];
    return NULL;
}

static void drop_if_unused(struct memfs *memfs, struct memfs_node *node)
{
    size_t at = 0;

    if (node->path != NULL || node->opens != 0 || node->durable_uses != 0)
        return;
    while (memfs->nodes[at] != node)
        at++;
    memmove(&memfs->nodes[at], &memfs->nodes[at + 1],
            (memfs->node_count - at - 1) * sizeof(struct memfs_node *));
    memfs->node_count--;
    free(node->now);
    free(node->durable);
    free(node);
}

static void remove_name(struct memfs *memfs, struct memfs_node *node)
{
    free(node->path);
    node->path = NULL;
    drop_if_unused(memfs, node);
}

/* Kept in the order of paths. */
static void place(struct memfs *memfs, struct memfs_node *node)
{
    size_t at = memfs->node_count;

    memfs->nodes = xrealloc(memfs->nodes, (at + 1) * sizeof(struct memfs_node *));
    while (at > 0 && (memfs->nodes[at - 1]->path == NULL ||
                      strcmp(memfs->nodes[at - 1]->path, node->path) > 0)) {
        memfs->nodes[at] = memfs->nodes[at - 1];
        at--;
    }
    memfs->nodes[at] = node;
    memfs->node_count++;
}

static struct memfs_node *add(struct memfs *memfs, const char *path, bool directory)
{
    struct memfs_node *node = xalloc(sizeof(*node));

    node->path = xstrdup(path);
    node->directory = directory;
    place(memfs, node);
    return node;
}

static void resize(struct memfs_node *node, size_t bytes)
{
    node->now = xrealloc(node->now, bytes);
    if (bytes > node->now_bytes)
        memset(node->now + node->now_bytes, 0, bytes - node->now_bytes);
    node->now_bytes = bytes;
}

static void make_durable(struct memfs_node *node)
{
    node->durable = xrealloc(node->durable, node->now_bytes);
    if (node->now_bytes != 0)
        memcpy(node->durable, node->now, node->now_bytes);
    node->durable_bytes = node->now_bytes;
}

static int mem_open(struct fs *fs, const char *path, int flags, unsigned mode,
                    struct fs_file **file, struct err *err)
{
    struct memfs *memfs = memfs_of(fs);
    struct memfs_node *node = find(memfs, path);
    struct memfs_file *made;

    (void)mode;
    if (step(memfs, MEMFS_OPEN, path, err) < 0)
        return -1;
    if (node == NULL && (flags & FS_CREATE) == 0) {
        err_sys(err, ENOENT, "open %s", path);
        return -1;
    }
    if (node != NULL && (flags & FS_EXCLUSIVE) != 0) {
        err_set(err, ERR_EXISTS, "open %s: it exists", path);
        return -1;
    }
    if (node == NULL)
        node = add(memfs, path, false);
    if ((flags & FS_TRUNCATE) != 0)
        resize(node, 0);
    made = xalloc(sizeof(*made));
    *made = (struct memfs_file){.file = {fs->ops}, .memfs = memfs, .node = node};
    node->opens++;
    *file = &made->file;
    return 0;
}

static void mem_close(struct fs_file *file)
{
    struct memfs_file *mine = file_of(file);

    mine->node->opens--;
    if (mine->holds_lock)
        mine->node->locked = false;
    drop_if_unused(mine->memfs, mine->node);
    free(mine);
}

static const char *name_of(const struct memfs_file *file)
{
    return file->node->path != NULL ? file->node->path : "(removed)";
}

static int mem_read_at(struct fs_file *file, uint64_t offset, void *data, size_t bytes, size_t *got,
                       struct err *err)
{
    struct memfs_file *mine = file_of(file);

    if (step(mine->memfs, MEMFS_READ, name_of(mine), err) < 0)
        return -1;
    *got = offset >= mine->node->now_bytes ? 0 : MIN(bytes, mine->node->now_bytes - offset);
    if (*got != 0)
        memcpy(data, mine->node->now + offset, *got);
    return 0;
}

static int mem_write_at(struct fs_file *file, uint64_t offset, struct slice data, struct err *err)
{
    struct memfs_file *mine = file_of(file);
    bool was_cut = mine->memfs->cut;
    int rc = step(mine->memfs, MEMFS_WRITE, name_of(mine), err);

    if (rc < 0 && was_cut)
        data.size = 0;
    else if (rc < 0) /* a write that fails has written some of it */
        data.size /= 2;
    if (rc < 0 && mine->memfs->fault != NULL) /* as real ones: a disk stops between two sectors */
        data.size -= MIN(data.size, (size_t)((offset + data.size) % SECTOR));
    if (data.size != 0 && offset + data.size > mine->node->now_bytes)
        resize(mine->node, (size_t)offset + data.size);
    if (data.size != 0)
        memcpy(mine->node->now + offset, data.data, data.size);
    return rc;
}

static int mem_sync(struct fs_file *file, struct err *err)
{
    struct memfs_file *mine = file_of(file);

    if (step(mine->memfs, MEMFS_SYNC, name_of(mine), err) < 0)
        return -1;
    make_durable(mine->node);
    return 0;
}

static int mem_size(struct fs_file *file, uint64_t *bytes, struct err *err)
{
    struct memfs_file *mine = file_of(file);

    *bytes = mine->node->now_bytes;
    return step(mine->memfs, MEMFS_STAT, name_of(mine), err);
}

static int mem_truncate(struct fs_file *file, uint64_t bytes, struct err *err)
{
    struct memfs_file *mine = file_of(file);

    if (step(mine->memfs, MEMFS_TRUNCATE, name_of(mine), err) < 0)
        return -1;
    resize(mine->node, (size_t)bytes);
    return 0;
}

static int mem_allocate(struct fs_file *file, uint64_t bytes, struct err *err)
{
    struct memfs_file *mine = file_of(file);

    if (step(mine->memfs, MEMFS_ALLOCATE, name_of(mine), err) < 0)
        return -1;
    if (bytes > mine->node->now_bytes)
        resize(mine->node, (size_t)bytes);
    return 0;
}

static int mem_lock(struct fs_file *file, struct err *err)
{
    struct memfs_file *mine = file_of(file);

    if (step(mine->memfs, MEMFS_LOCK, name_of(mine), err) < 0)
        return -1;
    if (mine->node->locked && !mine->holds_lock) {
        err_set(err, ERR_LOCKED, "%s: locked by another process", name_of(mine));
        return -1;
    }
    mine->node->locked = mine->holds_lock = true;
    return 0;
}

/* Is `path` below `directory`? */
static bool below(const char *path, const char *directory)
{
    size_t bytes = strlen(directory);

    return strncmp(path, directory, bytes) == 0 && path[bytes] == '/';
}

static int mem_rename(struct fs *fs, const char *from, const char *to, struct err *err)
{
    struct memfs *memfs = memfs_of(fs);
    struct memfs_node *old = find(memfs, to), **moved;
    size_t count = 0;

    if (step(memfs, MEMFS_RENAME, from, err) < 0)
        return -1;
    if (find(memfs, from) == NULL) {
        err_sys(err, ENOENT, "rename %s to %s", from, to);
        return -1;
    }
    if (old != NULL)
        remove_name(memfs, old);
    moved = xalloc(memfs->node_count * sizeof(struct memfs_node *));
    for (size_t at = 0; at < memfs->node_count; at++) {
        struct memfs_node *node = memfs->nodes[at];

        if (node->path != NULL && (strcmp(node->path, from) == 0 || below(node->path, from)))
            moved[count++] = node;
    }
    for (size_t at = 0; at < count; at++) {
        size_t place_at = 0;
        char *path = xasprintf("%s%s", to, moved[at]->path + strlen(from));

        while (memfs->nodes[place_at] != moved[at])
            place_at++;
        memmove(&memfs->nodes[place_at], &memfs->nodes[place_at + 1],
                (memfs->node_count - place_at - 1) * sizeof(struct memfs_node *));
        memfs->node_count--;
        free(moved[at]->path);
        moved[at]->path = path;
        place(memfs, moved[at]);
    }
    free(moved);
    return 0;
}

static int mem_unlink(struct fs *fs, const char *path, struct err *err)
{
    struct memfs *memfs = memfs_of(fs);
    struct memfs_node *node = find(memfs, path);

    if (step(memfs, MEMFS_UNLINK, path, err) < 0)
        return -1;
    if (node != NULL)
        remove_name(memfs, node);
    return 0;
}

static int mem_mkdir(struct fs *fs, const char *path, unsigned mode, struct err *err)
{
    struct memfs *memfs = memfs_of(fs);

    (void)mode;
    if (step(memfs, MEMFS_MKDIR, path, err) < 0)
        return -1;
    if (find(memfs, path) == NULL)
        (void)add(memfs, path, true);
    return 0;
}

static int mem_remove_tree(struct fs *fs, const char *path, struct err *err)
{
    struct memfs *memfs = memfs_of(fs);

    if (step(memfs, MEMFS_REMOVE_TREE, path, err) < 0)
        return -1;
    for (size_t at = memfs->node_count; at-- > 0;) {
        struct memfs_node *node = memfs->nodes[at];

        if (node->path != NULL && (strcmp(node->path, path) == 0 || below(node->path, path)))
            remove_name(memfs, node);
    }
    return 0;
}

/* ---- durable names ---- */

/* The length of the part of `path` that names its directory; 0 for the root. */
static size_t directory_bytes(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? (size_t)(slash - path) : 0;
}

static bool lies_in(const char *path, const char *directory)
{
    size_t bytes = strcmp(directory, "/") == 0 ? 0 : strlen(directory);

    return directory_bytes(path) == bytes && strncmp(path, directory, bytes) == 0;
}

static void forget_name(struct memfs *memfs, size_t at)
{
    struct memfs_name gone = memfs->names[at];

    memfs->names[at] = memfs->names[--memfs->name_count];
    free(gone.name);
    gone.node->durable_uses--;
    drop_if_unused(memfs, gone.node);
    if (gone.directory != NULL) {
        gone.directory->durable_uses--;
        drop_if_unused(memfs, gone.directory);
    }
}

static void make_names_durable(struct memfs *memfs, struct memfs_node *directory, const char *path)
{
    if (directory != NULL)
        directory->durable_uses++; /* it stays while its names are exchanged */
    for (size_t at = memfs->name_count; at-- > 0;)
        if (memfs->names[at].directory == directory)
            forget_name(memfs, at);
    for (size_t at = 0; at < memfs->node_count; at++) {
        struct memfs_node *node = memfs->nodes[at];

        if (node->path == NULL || !lies_in(node->path, path))
            continue;
        memfs->names = xrealloc(memfs->names, (memfs->name_count + 1) * sizeof(struct memfs_name));
        memfs->names[memfs->name_count++] = (struct memfs_name){
            directory, node, xstrdup(node->path + directory_bytes(node->path) + 1)};
        node->durable_uses++;
        if (directory != NULL)
            directory->durable_uses++;
    }
    if (directory != NULL)
        directory->durable_uses--;
}

static int mem_sync_dir(struct fs *fs, const char *path, struct err *err)
{
    struct memfs *memfs = memfs_of(fs);
    struct memfs_node *directory = find(memfs, path);

    if (step(memfs, MEMFS_SYNC_DIR, path, err) < 0)
        return -1;
    if (memfs->names_need_sync && (directory != NULL || strcmp(path, "/") == 0))
        make_names_durable(memfs, directory, path);
    return 0;
}

/* The path of each node by its durable names, NULL without one; owned, as each of them. */
static char **durable_paths(const struct memfs *memfs)
{
    char **paths = xalloc((memfs->node_count + 1) * sizeof(*paths));
    bool found = true;

    while (found) { /* a directory before what is in it */
        found = false;
        for (size_t at = 0; at < memfs->name_count; at++) {
            const struct memfs_name *name = &memfs->names[at];
            const char *directory = "";
            size_t node = 0;

            while (memfs->nodes[node] != name->node)
                node++;
            for (size_t i = 0; name->directory != NULL && i < memfs->node_count; i++)
                if (memfs->nodes[i] == name->directory)
                    directory = paths[i];
            if (paths[node] != NULL || directory == NULL)
                continue;
            paths[node] = xasprintf("%s/%s", directory, name->name);
            found = true;
        }
    }
    return paths;
}

static bool mem_exists(struct fs *fs, const char *path)
{
    struct memfs *memfs = memfs_of(fs);

    for (size_t at = 0; at < memfs->node_count; at++)
        if (memfs->nodes[at]->path != NULL &&
            (strcmp(memfs->nodes[at]->path, path) == 0 || below(memfs->nodes[at]->path, path)))
            return true;
    return false;
}

static int mem_list(struct fs *fs, const char *path, fs_list_fn *each, void *arg, struct err *err)
{
    struct memfs *memfs = memfs_of(fs);
    int rc = step(memfs, MEMFS_LIST, path, err);

    for (size_t at = 0; rc == 0 && at < memfs->node_count; at++) {
        const char *name = memfs->nodes[at]->path;

        if (name != NULL && below(name, path) && strchr(name + strlen(path) + 1, '/') == NULL)
            rc = each(arg, name + strlen(path) + 1, err);
    }
    return rc;
}

void memfs_init(struct memfs *memfs)
{
    static const struct fs_ops ops = {
        .open = mem_open,
        .close = mem_close,
        .read_at = mem_read_at,
        .write_at = mem_write_at,
        .sync = mem_sync,
        .size = mem_size,
        .truncate = mem_truncate,
        .allocate = mem_allocate,
        .lock = mem_lock,
        .rename = mem_rename,
        .unlink = mem_unlink,
        .mkdir = mem_mkdir,
        .remove_tree = mem_remove_tree,
        .sync_dir = mem_sync_dir,
        .exists = mem_exists,
        .list = mem_list,
    };

    *memfs = (struct memfs){.fs = {&ops}, .fail_sys = EIO};
}

void memfs_fini(struct memfs *memfs)
{
    while (memfs->name_count != 0)
        forget_name(memfs, memfs->name_count - 1);
    free(memfs->names);
    memfs->names = NULL;
    while (memfs->node_count != 0) {
        must(memfs->nodes[0]->opens == 0);
        remove_name(memfs, memfs->nodes[0]);
    }
    free(memfs->nodes);
    memfs->nodes = NULL;
}

static uint64_t draw(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005U + 1442695040888963407U;
    return *seed >> 33;
}

/* Some directories get to the disk as they are now, the others stay as they were synced. */
static void crash_names(struct memfs *memfs, uint64_t *seed)
{
    struct memfs_node **old;
    size_t count;
    char **paths;

    if (draw(seed) % 2 == 0)
        make_names_durable(memfs, NULL, "/");
    for (size_t at = 0; at < memfs->node_count; at++)
        if (memfs->nodes[at]->directory && memfs->nodes[at]->path != NULL && draw(seed) % 2 == 0)
            make_names_durable(memfs, memfs->nodes[at], memfs->nodes[at]->path);
    old = memfs->nodes;
    count = memfs->node_count;
    paths = durable_paths(memfs);
    memfs->nodes = NULL;
    memfs->node_count = 0;
    for (size_t at = 0; at < count; at++) { /* without a path first: place() puts them behind */
        free(old[at]->path);
        old[at]->path = paths[at];
        if (paths[at] != NULL)
            place(memfs, old[at]);
    }
    for (size_t at = 0; at < count; at++)
        if (paths[at] == NULL) {
            memfs->nodes =
                xrealloc(memfs->nodes, (memfs->node_count + 1) * sizeof(struct memfs_node *));
            memfs->nodes[memfs->node_count++] = old[at];
        }
    for (size_t at = memfs->name_count; at-- > 0;)
        if (memfs->names[at].node->path == NULL)
            forget_name(memfs, at);
    for (size_t at = memfs->node_count; at-- > 0;)
        drop_if_unused(memfs, memfs->nodes[at]);
    free(paths);
    free(old);
}

void memfs_crash(struct memfs *memfs, uint64_t seed)
{
    must(memfs_open_files(memfs) == 0);
    memfs->cut = false;
    if (memfs->names_need_sync)
        crash_names(memfs, &seed);
    for (size_t at = 0; at < memfs->node_count; at++) {
        struct memfs_node *node = memfs->nodes[at];
        size_t bytes = draw(&seed) % 2 == 0 ? node->durable_bytes : node->now_bytes;
        size_t known = node->now_bytes;

        resize(node, bytes);
        for (size_t sector = 0; sector < bytes; sector += SECTOR) {
            size_t piece = MIN(SECTOR, bytes - sector);
            size_t old =
                sector < node->durable_bytes ? MIN(piece, node->durable_bytes - sector) : 0;

            if (sector < known && draw(&seed) % 2 == 0)
                continue;
            memset(node->now + sector, 0, piece);
            if (old != 0)
                memcpy(node->now + sector, node->durable + sector, old);
        }
        make_durable(node);
    }
}

void memfs_copy_durable(const struct memfs *from, struct memfs *to)
{
    char **paths = from->names_need_sync ? durable_paths(from) : NULL;

    memfs_init(to);
    for (size_t at = 0; at < from->node_count; at++) {
        const struct memfs_node *node = from->nodes[at];
        const char *path = paths != NULL ? paths[at] : node->path;

        if (path != NULL && node->directory)
            (void)add(to, path, true);
        else if (path != NULL)
            memfs_put(to, path, slice_of(node->durable, node->durable_bytes));
        if (paths != NULL)
            free(paths[at]);
    }
    free(paths);
}

void memfs_put(struct memfs *memfs, const char *path, struct slice content)
{
    struct memfs_node *node = find(memfs, path);

    if (node == NULL)
        node = add(memfs, path, false);
    resize(node, content.size);
    if (content.size != 0)
        memcpy(node->now, content.data, content.size);
    make_durable(node);
}

struct slice memfs_get(struct memfs *memfs, const char *path)
{
    struct memfs_node *node = find(memfs, path);

    return node == NULL ? SLICE_EMPTY : slice_of(node->now, node->now_bytes);
}

size_t memfs_open_files(const struct memfs *memfs)
{
    size_t count = 0;

    for (size_t at = 0; at < memfs->node_count; at++)
        count += memfs->nodes[at]->opens;
    return count;
}
