/*
 * snapshot_restore.h (edge) - make a data directory from a snapshot (formats.md 3.4).
 *
 * What comes out is what `etcdutl snapshot restore` makes, so that a real etcd starts from it as
 * well as etcd-server: member/snap/db (a bbolt file), one .snap file, a log of one segment.
 * It is built beside its place and moved there complete and synced at the end: a restore that is
 * killed leaves NAME.restore-XXXXXX, which nothing starts from. Thread: any.
 */
#ifndef COMMON_STORAGE_SNAPSHOT_RESTORE_H
#define COMMON_STORAGE_SNAPSHOT_RESTORE_H

#include "common/base/err.h"
#include "common/base/leftover.h"
#include "common/schema/bootstrap.h"

#define RESTORE_NAME_DEFAULT "default"
#define RESTORE_CLUSTER_DEFAULT "default=http://localhost:2380"
#define RESTORE_PEER_URLS_DEFAULT "http://localhost:2380"
#define RESTORE_TOKEN_DEFAULT "etcd-cluster"

struct snapshot_restore {        /* all texts borrowed; NULL or 0 = the default */
    const char *path;            /* the snapshot, or a copied database (then skip_hash_check) */
    const char *data_dir;        /* absent, or an empty directory; default NAME.etcd */
    const char *wal_dir;         /* absent; default DATA/member/wal */
    const char *name;            /* of this member */
    const char *initial_cluster; /* NAME=URL,... of all members */
    const char *initial_cluster_token;
    const char *peer_urls;         /* of this member, comma separated */
    bootstrap_resolve_fn *resolve; /* for names in the two lists; NULL: spelled alike or refused */
    void *resolve_arg;
    bool skip_hash_check;
    uint64_t bump_revision; /* together with mark_compacted or not at all */
    bool mark_compacted;
    struct leftover *leftover; /* knows of what is being made; borrowed */
};

/*
 * errors  ERR_USAGE (flags, URLs, membership), ERR_EXISTS (data-dir not empty, wal-dir exists),
 *         ERR_MISSING, ERR_FORMAT, ERR_DAMAGED, ERR_CHECKSUM (the file), ERR_IO. Nothing is left
 *         behind then.
 */
int snapshot_restore(const struct snapshot_restore *restore, struct err *err) MUST_CHECK;

#endif
