/*
 * store.c - the directory that is written to: its lock, what was replaced, pairs replaced together.
 *
 * A pair that is replaced: key and certificate are complete and synced under temporary names, then
 *
 *     rename key -> rename certificate
 *                `-> killed here: store_heal() finds the certificate that waits
 *
 * Symbolic links are refused; with --follow it is the files at their ends that are replaced, each
 * by a temporary file beside itself, and the links stay.
 */
#include "common/base/file.h"
#include "common/base/limits.h"
#include "etcd-pki/pki.h"
#include "etcd-pki/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEMPORARY_TAIL 7  /* ".XXXXXX" */
#define BACKUPS_MAX 1000u /* of one file in one second, or under one --backup-dir */

int store_lock(const char *dir, int *fd, struct err *err)
{
    struct stat info;

    if (file_make_dirs(dir, 0755, err) < 0)
        return -1;
    *fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0 || fstat(*fd, &info) < 0) {
        err_sys(err, errno, "open %s", dir);
        return -1;
    }
    if ((info.st_mode & S_IWOTH) != 0) {
        err_set(err, ERR_IO,
                "%s is writable by everybody (mode %o); keys do not go there: chmod o-w %s", dir,
                info.st_mode & 07777, dir);
        return -1;
    }
    if (flock(*fd, LOCK_EX | LOCK_NB) < 0) { /* ends with the process: nothing to clean up */
        if (errno == EWOULDBLOCK)
            err_set(err, ERR_LOCKED, "%s: another etcd-pki is writing there", dir);
        else
            err_sys(err, errno, "lock %s", dir);
        return -1;
    }
    return 0;
}

int store_back_up(const struct store *store, const char *base, const char *extension, char **made,
                  struct err *err)
{
    const char *dir = store->dir, *backup = store->backup;
    char *path = xasprintf("%s/%s%s", dir, base, extension), stamp[32], *copy, *slash;
    struct buf content = BUF_INIT(PEM_FILE_MAX_BYTES);
    int rc = -1;

    x509_time_text(store->now_s, stamp);
    copy = backup != NULL ? xasprintf("%s/%s%s", backup, base, extension)
                          : xasprintf("%s/.old/%s/%s%s", dir, stamp, base, extension);
    for (unsigned n = 1; file_exists(copy) && n < BACKUPS_MAX; n++) { /* twice in a second */
        free(copy);
        copy = backup != NULL ? xasprintf("%s/%s.%u%s", backup, base, n, extension)
                              : xasprintf("%s/.old/%s.%u/%s%s", dir, stamp, n, base, extension);
    }
    if (made != NULL)
        *made = file_exists(path) ? xstrdup(copy) : NULL;
    slash = strrchr(copy, '/');
    *slash = '\0';
    if (!file_exists(path)) {
        rc = 0;
    } else if (file_make_dirs(copy, 0700, err) == 0 && file_read_all(path, &content, err) == 0) {
        *slash = '/';
        rc = file_write_atomic(copy, buf_slice(&content),
                               strcmp(extension, ".crt") == 0 ? 0644 : 0600, false, err);
    }
    x509_wipe(&content);
    free(path);
    free(copy);
    return rc;
}

int store_load_ca(const char *dir, const char *base, const char *passphrase, int64_t now_s,
                  struct x509_list *certs, struct x509_key **key, struct err *err)
{
    char *cert_path = xasprintf("%s/%s.crt", dir, base),
         *key_path = xasprintf("%s/%s.key", dir, base);
    int rc = -1;

    if (!file_exists(cert_path))
        err_set(err, ERR_MISSING, "%s is not there; make the CA first (etcd-pki init)", cert_path);
    else if (!file_exists(key_path))
        err_set(err, ERR_MISSING,
                "%s is not there, so nothing can be signed here; sign where the CA's key is",
                key_path);
    else if (x509_list_read(cert_path, true, certs, err) == 0 &&
             ca_key_read(key_path, passphrase, key, err) == 0)
        rc = x509_ca_check(cert_path, certs->items[0], *key, now_s, err);
    free(cert_path);
    free(key_path);
    return rc;
}

const struct loaded_ca *ca_ring_load(struct ca_ring *ring, const struct settings *settings,
                                     const char *dir, const char *base, int64_t now_s,
                                     struct err *err)
{
    struct loaded_ca ca = {0};

    for (size_t i = 0; i < ring->count; i++)
        if (strcmp(ring->items[i].base, base) == 0)
            return &ring->items[i];
    if (store_load_ca(dir, base, settings->passphrase, now_s, &ca.certs, &ca.key, err) < 0) {
        x509_list_free(&ca.certs);
        x509_key_free(ca.key);
        return NULL;
    }
    ca.base = xstrdup(base);
    ring->items = xrealloc(ring->items, (ring->count + 1) * sizeof *ring->items);
    ring->items[ring->count++] = ca;
    return &ring->items[ring->count - 1];
}

void ca_ring_free(struct ca_ring *ring)
{
    for (size_t i = 0; i < ring->count; i++) {
        free(ring->items[i].base);
        x509_list_free(&ring->items[i].certs);
        x509_key_free(ring->items[i].key);
    }
    free(ring->items);
    *ring = (struct ca_ring){0};
}

/* ---- where a file really is ---- */

static bool is_link(const char *path)
{
    struct stat info;

    return lstat(path, &info) == 0 && S_ISLNK(info.st_mode);
}

static bool same_file(const char *a, const char *b)
{
    struct stat first, second;

    return stat(a, &first) == 0 && stat(b, &second) == 0 && first.st_dev == second.st_dev &&
           first.st_ino == second.st_ino;
}

/* The file behind the link at `path`; owned. */
static char *follow_link(const char *path, bool follow, struct err *err)
{
    char to[PATH_MAX], *end;
    ssize_t bytes = readlink(path, to, sizeof to - 1);

    to[MAX(bytes, 0)] = '\0';
    if (!follow) {
        err_set(err, ERR_EXISTS,
                "%s is a symbolic link to %.200s; with --follow that file is replaced and the link "
                "stays",
                path, to);
        return NULL;
    }
    end = realpath(path, NULL);
    if (end == NULL)
        err_sys(err, errno, "follow the symbolic link %s to %.200s", path, to);
    return end;
}

/* Others could put their own key there, or take this one's name away. */
static int refuse_open_directory(const char *path, struct err *err)
{
    const char *slash = strrchr(path, '/');
    char *parent = slash == NULL ? xstrdup(".") : xstrndup(path, MAX((size_t)(slash - path), 1));
    struct stat info;
    int rc = 0;

    if (stat(parent, &info) == 0 && (info.st_mode & S_IWOTH) != 0) {
        err_set(err, ERR_IO,
                "%s is writable by everybody (mode %o); keys do not go there: chmod o-w %s", parent,
                info.st_mode & 07777, parent);
        rc = -1;
    }
    free(parent);
    return rc;
}

int store_target(const char *path, bool follow, bool secret, char **target, struct err *err)
{
    char *end = is_link(path) ? follow_link(path, follow, err) : xstrdup(path);
    struct stat info;

    if (end == NULL)
        return -1;
    if (lstat(end, &info) == 0 && !S_ISREG(info.st_mode)) {
        err_set(err, ERR_EXISTS, "%s is no regular file; remove it or write elsewhere", end);
        free(end);
        return -1;
    }
    if (secret && refuse_open_directory(end, err) < 0) {
        free(end);
        return -1;
    }
    *target = end;
    return 0;
}

int store_write(const char *path, struct slice content, unsigned mode, bool replace, bool follow,
                struct err *err)
{
    char *target;
    int rc;

    if (!replace) /* a link is something that is there */
        return file_write_atomic(path, content, mode, false, err);
    if (store_target(path, follow, false, &target, err) < 0)
        return -1;
    rc = file_write_atomic(target, content, mode, true, err);
    free(target);
    return rc;
}

/* ---- pairs replaced together ---- */

static int find_targets(const struct store *store, const char *base, bool with_key,
                        struct staged *staged, struct err *err)
{
    char *key_path = xasprintf("%s/%s.key", store->dir, base),
         *cert_path = xasprintf("%s/%s.crt", store->dir, base);
    int rc = -1;

    staged->key_followed = is_link(key_path);
    if (store_target(cert_path, store->follow, false, &staged->cert_path, err) == 0)
        rc = with_key ? store_target(key_path, store->follow, true, &staged->key_path, err) : 0;
    free(key_path);
    free(cert_path);
    return rc;
}

int store_stage(const struct store *store, const char *base, const struct x509_key *key,
                const struct x509_list *certs, struct staged *staged, struct err *err)
{
    struct buf cert_pem = BUF_INIT(BUF_UNLIMITED), key_pem = BUF_INIT(BUF_UNLIMITED);
    int rc = -1;

    *staged = (struct staged){.root = store->backup != NULL ? store->backup : store->dir};
    for (size_t i = 0; i < certs->count; i++)
        x509_cert_pem(certs->items[i], &cert_pem);
    if (key != NULL)
        x509_key_pem(key, &key_pem);
    if (find_targets(store, base, key != NULL, staged, err) == 0 &&
        (key == NULL ||
         file_stage(staged->key_path, buf_slice(&key_pem), 0600, &staged->new_key, err) == 0) &&
        file_stage(staged->cert_path, buf_slice(&cert_pem), 0644, &staged->new_cert, err) == 0 &&
        (key == NULL || store_back_up(store, base, ".key", &staged->backups[0], err) == 0) &&
        store_back_up(store, base, ".crt", &staged->backups[1], err) == 0)
        rc = 0;
    x509_wipe(&key_pem);
    buf_free(&cert_pem);
    return rc;
}

int store_check_keys(const struct staged *staged, size_t count, struct err *err)
{
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; staged[i].key_followed && staged[i].new_key != NULL && k < count; k++)
            if (k != i && staged[k].new_key != NULL &&
                same_file(staged[i].key_path, staged[k].key_path)) {
                err_set(err, ERR_EXISTS,
                        "%s is by a symbolic link the key of %s and of %s; renew them with "
                        "--reuse-key",
                        staged[i].key_path, staged[i].cert_path, staged[k].cert_path);
                return -1;
            }
    return 0;
}

int store_put_in_place(struct staged *staged, struct err *err)
{
    for (size_t i = 0; i < 2; i++) { /* from here on they are wanted */
        free(staged->backups[i]);
        staged->backups[i] = NULL;
    }
    if (staged->new_key != NULL && rename(staged->new_key, staged->key_path) < 0) {
        err_sys(err, errno, "replace %s", staged->key_path);
        return -1;
    }
    if (rename(staged->new_cert, staged->cert_path) < 0) {
        err_sys(err, errno, "replace %s", staged->cert_path);
        return -1;
    }
    if (staged->key_followed && staged->new_key != NULL &&
        file_sync_parent(staged->key_path, err) < 0)
        return -1;
    return file_sync_parent(staged->cert_path, err);
}

/* A backup that nobody needs, and the directories above it that are empty now. */
static void drop_backup(const char *root, char *path)
{
    if (path == NULL)
        return;
    (void)unlink(path);
    for (char *slash = strrchr(path, '/'); slash != NULL && (size_t)(slash - path) > strlen(root);
         slash = strrchr(path, '/')) {
        *slash = '\0';
        if (rmdir(path) < 0)
            break;
    }
    free(path);
}

void store_drop(struct staged *staged)
{
    if (staged->new_key != NULL)
        (void)unlink(staged->new_key); /* gone already after a rename */
    if (staged->new_cert != NULL)
        (void)unlink(staged->new_cert);
    for (size_t i = 0; i < 2; i++)
        drop_backup(staged->root, staged->backups[i]);
    free(staged->new_key);
    free(staged->new_cert);
    free(staged->key_path);
    free(staged->cert_path);
    *staged = (struct staged){0};
}

int store_replace(const struct store *store, const char *base, const struct x509_key *key,
                  const struct x509_list *certs, struct err *err)
{
    struct staged staged;
    int rc = store_stage(store, base, key, certs, &staged, err);

    if (rc == 0)
        rc = store_put_in_place(&staged, err);
    store_drop(&staged);
    return rc;
}

/* Of this certificate, this key? A locked key is opened with the passphrase, or fits nothing. */
static bool pair_fits(const char *cert_path, const char *key_path, const char *passphrase)
{
    struct x509_list certs = {0};
    struct x509_key *key = NULL;
    struct err err = ERR_INIT;
    bool locked, fits = x509_list_read(cert_path, false, &certs, &err) == 0 &&
                        x509_key_open(key_path, passphrase, &key, &locked, &err) == 0 &&
                        key != NULL && x509_has_key(certs.items[0], key);

    x509_list_free(&certs);
    x509_key_free(key);
    return fits;
}

/* ".NAME.XXXXXX" beside `path`, whose last component is NAME. */
static void find_temporaries(const char *path, struct texts *found)
{
    const char *name = strrchr(path, '/') + 1;
    size_t bytes = strlen(name);
    char *parent = xstrndup(path, (size_t)(name - path));
    DIR *directory = opendir(parent);
    struct dirent *entry;

    while (directory != NULL && (entry = readdir(directory)) != NULL)
        if (entry->d_name[0] == '.' && strncmp(entry->d_name + 1, name, bytes) == 0 &&
            entry->d_name[1 + bytes] == '.' &&
            strlen(entry->d_name) == 1 + bytes + TEMPORARY_TAIL) {
            char *one = xasprintf("%s%s", parent, entry->d_name);

            texts_add(found, one);
            free(one);
        }
    if (directory != NULL)
        (void)closedir(directory);
    free(parent);
}

/* Locked, and the passphrase does not open it (or there is none): nothing can be said. */
static bool is_locked(const char *key_path, const char *passphrase)
{
    struct x509_key *key = NULL;
    struct err err = ERR_INIT;
    bool locked = false;

    (void)!x509_key_open(key_path, passphrase, &key, &locked, &err);
    locked = locked && key == NULL;
    x509_key_free(key);
    return locked;
}

static void take_waiting(const char *cert_path, const char *key_path, const char *temporary,
                         const char *passphrase, bool *healed)
{
    if (!*healed && !pair_fits(cert_path, key_path, passphrase) &&
        pair_fits(temporary, key_path, passphrase))
        *healed = rename(temporary, cert_path) == 0;
}

/* Half-written copies of an interrupted run. */
static int sweep_one(const char *path, const struct stat *info, int type, struct FTW *at)
{
    const char *name = path + at->base;
    size_t bytes = strlen(name);

    (void)info;
    if (type == FTW_F && name[0] == '.' && bytes > TEMPORARY_TAIL + 5 &&
        name[bytes - TEMPORARY_TAIL] == '.')
        (void)unlink(path);
    return 0;
}

void store_sweep(const char *dir)
{
    char *old = xasprintf("%s/.old", dir);

    char *rotation = xasprintf("%s/" ROTATION_FILE, dir);
    struct texts found = {0};

    (void)nftw(old, sweep_one, 8, FTW_PHYS);
    find_temporaries(rotation, &found);
    for (size_t i = 0; i < found.count; i++)
        (void)unlink(found.items[i]);
    texts_free(&found);
    free(rotation);
    free(old);
}

static int heal_pair(const char *cert_path, const char *key_path, const char *passphrase,
                     bool *healed, struct err *err)
{
    struct texts found = {0};

    find_temporaries(cert_path, &found);
    find_temporaries(key_path, &found);
    if (found.count == 0 || is_locked(key_path, passphrase))
        texts_free(&found);
    for (size_t i = 0; i < found.count; i++)
        take_waiting(cert_path, key_path, found.items[i], passphrase, healed);
    for (size_t i = 0; i < found.count; i++)
        (void)unlink(found.items[i]);
    texts_free(&found);
    return *healed ? file_sync_parent(cert_path, err) : 0;
}

int store_heal(const struct store *store, const char *base, const char *passphrase, bool *healed,
               struct err *err)
{
    char *cert_path = xasprintf("%s/%s.crt", store->dir, base),
         *key_path = xasprintf("%s/%s.key", store->dir, base);
    char *cert = NULL, *key = NULL;
    struct err ignored = ERR_INIT; /* what cannot be replaced was not half replaced */
    int rc = 0;

    *healed = false;
    if (store_target(cert_path, store->follow, false, &cert, &ignored) == 0 &&
        store_target(key_path, store->follow, true, &key, &ignored) == 0)
        rc = heal_pair(cert, key, passphrase, healed, err);
    free(cert);
    free(key);
    free(cert_path);
    free(key_path);
    return rc;
}

char *store_backup_of(const char *dir, const char *base, const char *passphrase)
{
    char *old = xasprintf("%s/.old", dir), *cert_path = xasprintf("%s/%s.crt", dir, base);
    char *key_path = xasprintf("%s/%s.key", dir, base), *best = NULL;
    DIR *directory = opendir(old);
    struct dirent *entry;

    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        char *cert = xasprintf("%s/%s/%s.crt", old, entry->d_name, base);
        char *key = xasprintf("%s/%s/%s.key", old, entry->d_name, base);
        char *fits = NULL;

        if (entry->d_name[0] != '.' && file_exists(key) && pair_fits(cert_path, key, passphrase))
            fits = xstrdup(key);
        else if (entry->d_name[0] != '.' && file_exists(cert) &&
                 pair_fits(cert, key_path, passphrase))
            fits = xstrdup(cert);
        if (fits != NULL && (best == NULL || strcmp(fits, best) > 0)) {
            free(best);
            best = fits;
        } else {
            free(fits);
        }
        free(cert);
        free(key);
    }
    if (directory != NULL)
        (void)closedir(directory);
    free(old);
    free(cert_path);
    free(key_path);
    return best;
}
