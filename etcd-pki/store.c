/*
 * store.c - the directory that is written to: its lock, what was replaced, pairs replaced together.
 *
 * A pair that is replaced: key and certificate are complete and synced under temporary names, then
 *     rename key -> (killed here: store_heal() finds the certificate that waits) -> rename
 * certificate
 */
#include "common/base/file.h"
#include "common/base/limits.h"
#include "etcd-pki/pki.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
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

int store_back_up(const char *dir, const char *backup, const char *base, const char *extension,
                  int64_t now_s, char **made, struct err *err)
{
    char *path = xasprintf("%s/%s%s", dir, base, extension), stamp[32], *copy, *slash;
    struct buf content = BUF_INIT(PEM_FILE_MAX_BYTES);
    int rc = -1;

    x509_time_text(now_s, stamp);
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

static int refuse_link(const char *path, struct err *err)
{
    struct stat info;

    if (lstat(path, &info) < 0 || S_ISREG(info.st_mode))
        return 0;
    err_set(err, ERR_EXISTS, "%s is no regular file; replace what it points to instead", path);
    return -1;
}

int store_stage(const char *dir, const char *backup, const char *base, const struct x509_key *key,
                const struct x509_list *certs, int64_t now_s, struct staged *staged,
                struct err *err)
{
    struct buf cert_pem = BUF_INIT(BUF_UNLIMITED), key_pem = BUF_INIT(BUF_UNLIMITED);
    int rc = -1;

    *staged = (struct staged){.key_path = xasprintf("%s/%s.key", dir, base),
                              .cert_path = xasprintf("%s/%s.crt", dir, base),
                              .root = backup != NULL ? backup : dir};
    for (size_t i = 0; i < certs->count; i++)
        x509_cert_pem(certs->items[i], &cert_pem);
    if (key != NULL)
        x509_key_pem(key, &key_pem);
    if (refuse_link(staged->cert_path, err) == 0 && refuse_link(staged->key_path, err) == 0 &&
        (key == NULL ||
         file_stage(staged->key_path, buf_slice(&key_pem), 0600, &staged->new_key, err) == 0) &&
        file_stage(staged->cert_path, buf_slice(&cert_pem), 0644, &staged->new_cert, err) == 0 &&
        (key == NULL ||
         store_back_up(dir, backup, base, ".key", now_s, &staged->backups[0], err) == 0) &&
        store_back_up(dir, backup, base, ".crt", now_s, &staged->backups[1], err) == 0)
        rc = 0;
    x509_wipe(&key_pem);
    buf_free(&cert_pem);
    return rc;
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

int store_replace(const char *dir, const char *backup, const char *base, const struct x509_key *key,
                  const struct x509_list *certs, int64_t now_s, struct err *err)
{
    struct staged staged;
    int rc = store_stage(dir, backup, base, key, certs, now_s, &staged, err);

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

/* ".NAME.crt.XXXXXX" or ".NAME.key.XXXXXX" */
static bool is_temporary(const char *entry, const char *name, const char *extension)
{
    size_t bytes = strlen(name);

    return entry[0] == '.' && strncmp(entry + 1, name, bytes) == 0 &&
           strncmp(entry + 1 + bytes, extension, 4) == 0 && entry[1 + bytes + 4] == '.' &&
           strlen(entry) == 1 + bytes + 4 + TEMPORARY_TAIL;
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

    (void)nftw(old, sweep_one, 8, FTW_PHYS);
    free(old);
}

int store_heal(const char *dir, const char *base, const char *passphrase, bool *healed,
               struct err *err)
{
    char *cert_path = xasprintf("%s/%s.crt", dir, base),
         *key_path = xasprintf("%s/%s.key", dir, base);
    char *slash = strrchr(cert_path, '/'),
         *parent = xstrndup(cert_path, (size_t)(slash - cert_path));
    const char *name = strrchr(base, '/') != NULL ? strrchr(base, '/') + 1 : base;
    DIR *directory = opendir(parent);
    struct dirent *entry;
    struct texts found = {0};

    *healed = false;
    while (directory != NULL && (entry = readdir(directory)) != NULL)
        if (is_temporary(entry->d_name, name, ".crt") ||
            is_temporary(entry->d_name, name, ".key")) {
            char *path = xasprintf("%s/%s", parent, entry->d_name);

            texts_add(&found, path);
            free(path);
        }
    if (directory != NULL)
        (void)closedir(directory);
    if (found.count == 0 || is_locked(key_path, passphrase))
        texts_free(&found);
    for (size_t i = 0; i < found.count; i++)
        take_waiting(cert_path, key_path, found.items[i], passphrase, healed);
    for (size_t i = 0; i < found.count; i++)
        (void)unlink(found.items[i]);
    texts_free(&found);
    free(parent);
    free(key_path);
    if (*healed && file_sync_parent(cert_path, err) < 0) {
        free(cert_path);
        return -1;
    }
    free(cert_path);
    return 0;
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
