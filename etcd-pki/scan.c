/*
 * scan.c - every certificate below a directory, read and described, with its key and its issuer.
 * A kubeconfig counts as the certificate inside it.
 */
#include "common/base/base64.h"
#include "common/base/file.h"
#include "common/base/limits.h"
#include "etcd-pki/pki.h"
#include "etcd-pki/scan.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#define DEPTH_MAX 8      /* directories below one that is looked at */
#define FILES_MAX 10000u /* certificates below one that is looked at */
#define KUBECONFIG_KEY "client-certificate-data:"

struct finder {
    const char *root, *extension;
    struct texts *found;
    struct texts links; /* symbolic links to directories, to be entered when all else is known */
    struct seen {
        dev_t device;
        ino_t inode;
    } * seen; /* the directories that were entered; owned */
    size_t seen_count;
    bool linked; /* on the way through links: before that no directory is met twice */
};

/* False: it was entered before. Links may lead there, or round in a circle. */
static bool is_new(struct finder *finder, DIR *directory)
{
    struct stat info;

    if (fstat(dirfd(directory), &info) < 0)
        return false;
    for (size_t i = 0; finder->linked && i < finder->seen_count; i++)
        if (finder->seen[i].device == info.st_dev && finder->seen[i].inode == info.st_ino)
            return false;
    finder->seen = xrealloc(finder->seen, (finder->seen_count + 1) * sizeof *finder->seen);
    finder->seen[finder->seen_count++] = (struct seen){info.st_dev, info.st_ino};
    return true;
}

static int find_below(struct finder *finder, const char *below, unsigned depth, struct err *err);

/* `name`: below the root. */
static int look_at(struct finder *finder, const char *name, unsigned depth, struct err *err)
{
    char *path = xasprintf("%s/%s", finder->root, name);
    size_t bytes = strlen(name), tail = strlen(finder->extension);
    struct stat info;
    bool link = lstat(path, &info) == 0 && S_ISLNK(info.st_mode);
    bool directory = stat(path, &info) == 0 && S_ISDIR(info.st_mode) && depth < DEPTH_MAX;
    int rc = 0;

    if (directory && link)
        texts_add(&finder->links, name);
    else if (directory)
        rc = find_below(finder, name, depth + 1, err);
    else if (bytes > tail && strcmp(name + bytes - tail, finder->extension) == 0 &&
             finder->found->count < FILES_MAX)
        texts_add(finder->found, name);
    free(path);
    return rc;
}

static int find_below(struct finder *finder, const char *below, unsigned depth, struct err *err)
{
    char *path = below[0] != '\0' ? xasprintf("%s/%s", finder->root, below) : xstrdup(finder->root);
    DIR *directory = opendir(path);
    struct dirent *entry;
    bool fresh = directory != NULL && is_new(finder, directory);
    int rc = 0;

    if (directory == NULL) {
        err_sys(err, errno, "open directory %s", path);
        free(path);
        return -1;
    }
    while (rc == 0 && fresh && (entry = readdir(directory)) != NULL) {
        char *name;

        if (entry->d_name[0] == '.')
            continue;
        name = below[0] != '\0' ? xasprintf("%s/%s", below, entry->d_name) : xstrdup(entry->d_name);
        rc = look_at(finder, name, depth, err);
        free(name);
    }
    (void)closedir(directory);
    free(path);
    return rc;
}

static unsigned depth_of(const char *name)
{
    unsigned depth = 1;

    for (; *name != '\0'; name++)
        depth += *name == '/' ? 1 : 0;
    return depth;
}

int scan_find(const char *root, const char *extension, struct texts *found, struct err *err)
{
    struct finder finder = {.root = root, .extension = extension, .found = found};
    int rc = find_below(&finder, "", 0, err);

    finder.linked = true;
    for (size_t i = 0; rc == 0 && i < finder.links.count; i++) { /* which may bring more */
        char *name = xstrdup(finder.links.items[i]);

        rc = find_below(&finder, name, depth_of(name), err);
        free(name);
    }
    texts_free(&finder.links);
    free(finder.seen);
    return rc;
}

/* The certificate inside a kubeconfig: one base64 word behind its key. */
static int read_kubeconfig(const char *path, struct slice text, struct x509_list *chain,
                           struct err *err)
{
    const char *at = memmem(text.data, text.size, KUBECONFIG_KEY, strlen(KUBECONFIG_KEY));
    const char *end = (const char *)text.data + text.size;
    size_t bytes = 0, got = 0;
    uint8_t *pem;
    int rc = -1;

    at += strlen(KUBECONFIG_KEY);
    while (at < end && (*at == ' ' || *at == '"'))
        at++;
    while (at + bytes < end && at[bytes] != '\n' && at[bytes] != '\r' && at[bytes] != '"' &&
           at[bytes] != ' ')
        bytes++;
    pem = xalloc(BASE64_DECODED_MAX(bytes) + 1);
    if (!base64_decode(slice_of((const uint8_t *)at, bytes), pem, &got))
        err_set(err, ERR_TLS, "%s: its client-certificate-data is no base64", path);
    else
        rc = x509_list_parse(path, slice_of(pem, got), false, chain, err);
    free(pem);
    return rc;
}

static int read_entry(struct entry *entry, struct err *err)
{
    struct buf text = BUF_INIT(PEM_FILE_MAX_BYTES);
    int rc = -1;

    if (file_read_all(entry->path, &text, err) == 0) {
        struct slice all = buf_slice(&text);

        entry->kubeconfig = all.size != 0 && memmem(all.data, all.size, KUBECONFIG_KEY,
                                                    strlen(KUBECONFIG_KEY)) != NULL;
        rc = entry->kubeconfig ? read_kubeconfig(entry->path, all, &entry->chain, err)
                               : x509_list_parse(entry->path, all, false, &entry->chain, err);
    }
    x509_wipe(&text);
    return rc;
}

/* The passphrase is for CAs: etcd has to read the others' keys, and cannot ask for one. */
static void look_for_key(const char *passphrase, struct entry *entry)
{
    size_t bytes = strlen(entry->path);
    char *path;
    struct x509_key *key = NULL;
    struct err err = ERR_INIT;
    bool locked = false;

    if (bytes < 4 || strcmp(entry->path + bytes - 4, ".crt") != 0)
        return;
    path = xasprintf("%.*s.key", (int)(bytes - 4), entry->path);
    entry->key_there = file_exists(path);
    if (entry->key_there && (entry->info.ca ? x509_key_open(path, passphrase, &key, &locked, &err)
                                            : x509_key_read(path, &key, &err)) < 0)
        entry->key_error = xstrdup(err.text);
    entry->key_locked = locked && key == NULL && entry->key_error == NULL;
    entry->key_fits =
        entry->key_locked || (key != NULL && x509_has_key(entry->chain.items[0], key));
    x509_key_free(key);
    free(path);
}

static void look_at_file(struct entry *entry)
{
    struct stat info;

    entry->link = lstat(entry->path, &info) == 0 && S_ISLNK(info.st_mode);
    if (stat(entry->path, &info) < 0)
        return;
    entry->device = (uint64_t)info.st_dev;
    entry->inode = (uint64_t)info.st_ino;
}

void scan_add(struct scan *scan, const char *base, const char *path)
{
    const struct role *role = role_of_file(base != NULL ? base : path);
    struct err err = ERR_INIT;
    struct entry *entry;

    scan->items = xrealloc(scan->items, (scan->count + 1) * sizeof *scan->items);
    entry = &scan->items[scan->count++];
    *entry = (struct entry){.base = xstrdup(base != NULL ? base : path),
                            .path = xstrdup(path),
                            .name = xstrdup(role != NULL   ? role->name
                                            : base != NULL ? base
                                                           : path)};
    entry->missing = !file_exists(path);
    if (entry->missing)
        return;
    look_at_file(entry);
    if (read_entry(entry, &err) < 0) {
        entry->error = xstrdup(err.text);
        return;
    }
    x509_describe(entry->chain.items[0], &entry->info);
    look_for_key(scan->passphrase, entry);
}

static int by_base(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->base, ((const struct entry *)b)->base);
}

/* A better CA has its key here. */
static void find_issuer(const struct scan *scan, struct entry *entry)
{
    entry->ca = NULL;
    if (entry->chain.count == 0)
        return;
    if (entry->info.ca && entry->info.self_issued) {
        entry->ca = entry;
        return;
    }
    for (size_t i = 0; i < scan->count; i++) {
        struct entry *other = &scan->items[i];

        if (other == entry || other->chain.count == 0 || !other->info.ca ||
            (entry->ca != NULL && !other->key_fits))
            continue;
        for (size_t k = 0; k < other->chain.count; k++)
            if (x509_issued_by(entry->chain.items[0], other->chain.items[k]) &&
                (entry->ca == NULL || !entry->ca->key_fits || strcmp(other->name, "etcd-ca") == 0))
                entry->ca = other;
    }
}

/* A link is the same as what it points to, if that is here, else as the first link to it. */
static void find_same(const struct scan *scan, struct entry *entry)
{
    entry->same_as = NULL;
    for (size_t i = 0; entry->link && entry->inode != 0 && i < scan->count; i++) {
        const struct entry *other = &scan->items[i];

        if (other->inode == entry->inode && other->device == entry->device && other != entry &&
            (!other->link || (other < entry && entry->same_as == NULL)))
            entry->same_as = other;
    }
}

void scan_sort(struct scan *scan)
{
    if (scan->count != 0)
        qsort(scan->items, scan->count, sizeof *scan->items, by_base);
    for (size_t i = 0; i < scan->count; i++)
        find_issuer(scan, &scan->items[i]);
    for (size_t i = 0; i < scan->count; i++)
        find_same(scan, &scan->items[i]);
}

int scan_directory(const char *dir, const char *passphrase, struct scan *scan, struct err *err)
{
    struct texts found = {0};
    int rc = scan_find(dir, ".crt", &found, err);

    *scan = (struct scan){.dir = dir, .passphrase = passphrase};
    for (size_t i = 0; rc == 0 && i < found.count; i++) {
        char *path = xasprintf("%s/%s", dir, found.items[i]);
        char *base = xstrndup(found.items[i], strlen(found.items[i]) - 4);

        scan_add(scan, base, path);
        free(base);
        free(path);
    }
    texts_free(&found);
    scan_sort(scan);
    return rc;
}

struct entry *scan_named(const struct scan *scan, const char *name)
{
    const struct role *role = role_named(name);
    size_t bytes = strlen(name);

    if (bytes > 4 && strcmp(name + bytes - 4, ".crt") == 0)
        bytes -= 4;
    for (size_t i = 0; i < scan->count; i++) {
        struct entry *entry = &scan->items[i];

        if (strcmp(entry->path, name) == 0 ||
            (strncmp(entry->base, name, bytes) == 0 && entry->base[bytes] == '\0') ||
            (role != NULL && strcmp(entry->base, role->file) == 0))
            return entry;
    }
    return NULL;
}

void scan_free(struct scan *scan)
{
    for (size_t i = 0; i < scan->count; i++) {
        struct entry *entry = &scan->items[i];

        free(entry->base);
        free(entry->path);
        free(entry->name);
        free(entry->error);
        free(entry->key_error);
        x509_list_free(&entry->chain);
        x509_info_free(&entry->info);
    }
    free(scan->items);
    *scan = (struct scan){0};
}
