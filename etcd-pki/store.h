/*
 * store.h (edge) - the directory that is written to: its lock, the files that are replaced and
 * where they are kept, pairs replaced together, and the CAs in it that sign. What a run that was
 * killed leaves is found by the next. Thread: main.
 * Errors: ERR_IO what the disk says; ERR_LOCKED, ERR_EXISTS, ERR_MISSING of files; those of x509.h.
 */
#ifndef ETCD_PKI_STORE_H
#define ETCD_PKI_STORE_H

#include "etcd-pki/pki.h"

/* ---- CAs that sign ---- */

struct loaded_ca { /* owned by its ring */
    char *base;
    struct x509_list certs;
    struct x509_key *key;
};
struct ca_ring { /* each is read, opened and checked once */
    struct loaded_ca *items;
    size_t count;
};
/* The CA `dir`/`base`, checked; borrowed from the ring until the next call. NULL: err says why. */
const struct loaded_ca *ca_ring_load(struct ca_ring *ring, const struct settings *settings,
                                     const char *dir, const char *base, int64_t now_s,
                                     struct err *err);
void ca_ring_free(struct ca_ring *ring);

/* ---- files ---- */

/* Make and lock it; the lock ends with the process, or when *fd is closed. */
int store_lock(const char *dir, int *fd, struct err *err) MUST_CHECK;
struct store { /* a directory that is written to, and how; all borrowed */
    const char *dir;
    const char *backup; /* where what is replaced is kept; NULL: DIR/.old/TIME */
    bool follow;        /* --follow: replace what symbolic links point to */
    int64_t now_s;
};
/*
 * Keep a copy of what will be replaced; absent is fine.
 * made  the copy's path, owned, NULL if there was nothing to copy; NULL: not wanted
 */
int store_back_up(const struct store *store, const char *base, const char *extension, char **made,
                  struct err *err) MUST_CHECK;
/*
 * The file to be replaced or made: `path`, or what the symbolic link there ends at. Refused are a
 * link without `follow`, one that ends nowhere, what is no regular file, and for a `secret` a
 * directory to which everybody can write.
 * target  set on success only; owned
 */
int store_target(const char *path, bool follow, bool secret, char **target,
                 struct err *err) MUST_CHECK;
/* file_write_atomic() to the target of `path`; nothing secret. */
int store_write(const char *path, struct slice content, unsigned mode, bool replace, bool follow,
                struct err *err) MUST_CHECK;
/* The CA that signs, checked; both owned. passphrase: of its key; NULL: none. */
int store_load_ca(const char *dir, const char *base, const char *passphrase, int64_t now_s,
                  struct x509_list *certs, struct x509_key **key, struct err *err) MUST_CHECK;
struct staged { /* a pair that is complete on disk under temporary names, with its backups */
    char *key_path, *cert_path;
    char *new_key, *new_cert; /* NULL: no key; in place */
    char *backups[2];         /* NULL: none, or to be kept */
    const char *root;         /* directories made for backups lie below it; borrowed */
    bool key_followed;        /* the key was reached by a symbolic link */
};
/*
 * Half of store_replace(), for several pairs at once: all staged, then all put in place.
 * store_drop() in any case: what was not put in place is removed, backups too.
 */
int store_stage(const struct store *store, const char *base, const struct x509_key *key,
                const struct x509_list *certs, struct staged *staged, struct err *err) MUST_CHECK;
/* Refused: two of them would replace one key, by a symbolic link. */
int store_check_keys(const struct staged *staged, size_t count, struct err *err) MUST_CHECK;
int store_put_in_place(struct staged *staged, struct err *err) MUST_CHECK;
void store_drop(struct staged *staged);
/*
 * Replace what is there, key first, then certificate, back to back, when both are complete on disk.
 * key NULL: the certificate alone. `certs` in this order. What was there is backed up.
 */
int store_replace(const struct store *store, const char *base, const struct x509_key *key,
                  const struct x509_list *certs, struct err *err) MUST_CHECK;
/*
 * After a run that was killed: put the certificate in place that waits for a key which is there
 * already, and remove temporary files of the pair. *healed: something was put in place. A locked
 * key without its passphrase leaves all as it is.
 */
int store_heal(const struct store *store, const char *base, const char *passphrase, bool *healed,
               struct err *err) MUST_CHECK;
#define ROTATION_FILE "rotation.json"
/* Remove half-written copies in .old, and of ROTATION_FILE. */
void store_sweep(const char *dir);
/* Where in .old the certificate of this key is, or the key of this certificate; owned, or NULL. */
char *store_backup_of(const char *dir, const char *base, const char *passphrase);

#endif
