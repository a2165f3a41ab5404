/*
 * boot.c - see boot.h.
 *
 *   new log  wal_create -> entries 1..N, an AddNode per member -> {term 1, commit N} -> sync
 *   import   db (bbolt) -> db.tmp.import (LMDB, synced) -> link db db.bbolt -> rename over db
 *
 * A crash in the first leaves a log without entries: it is filled at the next start. A crash in the
 * second leaves either the bbolt file under its name, or the LMDB file.
 */
#include "etcd-server/host/boot.h"
#include "common/base/level.h"
#include "common/base/log.h"
#include "common/schema/bootstrap.h"
#include "common/schema/versions.h"
#include "common/storage/bolt.h"
#include "common/storage/snapfile.h"
#include "common/storage/v2store.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

int boot_is_new(const struct datadir *dir, bool *is_new, struct err *err)
{
    bool exists = false;

    if (wal_exists(dir->fs, dir->wal, &exists, err) < 0)
        return -1;
    *is_new = !exists;
    return 0;
}

/* One ConfChange per member, ascending ids, term 1 (formats.md 3.4 step 5, as at a fresh
 * bootstrap). */
static int append_members(struct wal *wal, const struct bootstrap *bootstrap, struct err *err)
{
    struct raft_entry entries[RAFT_MEMBERS_MAX];
    struct buf data[RAFT_MEMBERS_MAX];
    struct raft_hard_state state = {.term = 1, .commit = bootstrap->member_count};
    int rc = -1;

    must(bootstrap->member_count <= RAFT_MEMBERS_MAX);
    for (size_t i = 0; i < bootstrap->member_count; i++) {
        struct buf context = BUF_INIT(BUF_UNLIMITED);
        struct raft_conf_change change = {.type = RAFT_CONF_ADD_NODE,
                                          .node_id = bootstrap->members[i].id};

        must(member_write_json(&bootstrap->members[i], false, &context));
        change.context = buf_slice(&context);
        data[i] = BUF_INIT(BUF_UNLIMITED);
        must(raft_conf_change_encode(&change, &data[i]));
        buf_free(&context);
        entries[i] = (struct raft_entry){
            .type = RAFT_ENTRY_CONF_CHANGE, .term = 1, .index = i + 1, .data = buf_slice(&data[i])};
    }
    if (wal_append(wal, &state, entries, bootstrap->member_count, err) == 0 &&
        wal_sync(wal, err) == 0)
        rc = 0;
    for (size_t i = 0; i < bootstrap->member_count; i++)
        buf_free(&data[i]);
    return rc;
}

static int parse_cluster(const struct boot_config *config, struct bootstrap *bootstrap,
                         struct err *err)
{
    if (bootstrap_parse(config->name, config->initial_cluster, config->token,
                        config->advertised_peer_urls, bootstrap, err) < 0)
        return -1;
    if (bootstrap->member_count <= RAFT_MEMBERS_MAX)
        return 0;
    err_set(err, ERR_USAGE, "--initial-cluster names %zu members; at most %lu are possible",
            bootstrap->member_count, RAFT_MEMBERS_MAX);
    return -1;
}

static int create_log(const struct boot_config *config, const struct wal_config *wal_config,
                      struct err *err)
{
    struct bootstrap bootstrap = {0};
    struct wal_metadata metadata;
    struct wal *wal = NULL;
    int rc = -1;

    if (config->join != NULL) { /* the leader sends the first entries, with the members in them */
        metadata = (struct wal_metadata){.node_id = config->join->member_id,
                                         .cluster_id = config->join->cluster_id};
        rc = wal_create(wal_config, &metadata, &wal, err);
        goto out;
    }
    if (parse_cluster(config, &bootstrap, err) < 0)
        goto out;
    metadata = (struct wal_metadata){.node_id = bootstrap.members[bootstrap.self].id,
                                     .cluster_id = bootstrap.cluster_id};
    if (wal_create(wal_config, &metadata, &wal, err) == 0 &&
        append_members(wal, &bootstrap, err) == 0)
        rc = 0;
out:
    wal_close(wal);
    bootstrap_free(&bootstrap);
    return rc;
}

/* A log that a crash left between its making and its first entries. */
static int fill_empty_log(const struct boot_config *config, struct boot *boot, struct err *err)
{
    struct bootstrap bootstrap = {0};
    int rc = -1;

    if (parse_cluster(config, &bootstrap, err) < 0)
        goto out;
    if (bootstrap.members[bootstrap.self].id != boot->log.metadata.node_id ||
        bootstrap.cluster_id != boot->log.metadata.cluster_id) {
        err_set(err, ERR_USAGE,
                "%s was begun for member %" PRIx64 " of cluster %" PRIx64
                " and holds nothing yet; start with the same cluster flags or remove it",
                config->dir->wal, boot->log.metadata.node_id, boot->log.metadata.cluster_id);
        goto out;
    }
    rc = append_members(boot->wal, &bootstrap, err);
out:
    bootstrap_free(&bootstrap);
    return rc;
}

static int open_existing(const struct boot_config *config, const struct wal_config *wal_config,
                         struct boot *boot, struct err *err)
{
    const struct datadir *dir = config->dir;
    struct wal_position start = {0};
    bool found = false;

    wal_positions_free(&boot->confirmed);
    buf_free(&boot->snapshot_bytes);
    boot->snapshot_bytes = BUF_INIT(SNAPFILE_MAX_BYTES);
    if (wal_valid_snapshots(dir->fs, dir->wal, &boot->confirmed, err) < 0 ||
        snapfile_load_newest(dir->fs, dir->snap, &boot->confirmed, &boot->snapshot_bytes,
                             &boot->snapshot, &found, err) < 0)
        return -1;
    if (found)
        start = (struct wal_position){boot->snapshot.meta.index, boot->snapshot.meta.term};
    else
        boot->snapshot = (struct raft_snapshot){0};
    return wal_open(wal_config, start, &boot->log, &boot->wal, err);
}

/*
 * A log is made before its database. A new log beside an old database would lose the first writes:
 * they would have indexes that the database says it has applied.
 */
static int refuse_lost_log(const struct datadir *dir, struct err *err)
{
    enum datadir_db kind;

    if (datadir_db_kind(dir->fs, dir->db, &kind, err) < 0)
        return -1;
    if (kind == DATADIR_DB_ABSENT)
        return 0;
    err_set(err, ERR_DAMAGED,
            "%s holds no log, but there is a database at %s: the log was removed, or lies where "
            "--wal-dir said before; put it back, or restore a snapshot into a new data directory",
            dir->wal, dir->db);
    return -1;
}

int boot_open_log(const struct boot_config *config, struct boot *boot, struct err *err)
{
    struct wal_config wal_config = {
        .fs = config->dir->fs, .dir = config->dir->wal, .segment_bytes = config->wal_segment_bytes};

    *boot = (struct boot){0};
    if (boot_is_new(config->dir, &boot->created, err) < 0)
        return -1;
    if (boot->created &&
        (refuse_lost_log(config->dir, err) < 0 || create_log(config, &wal_config, err) < 0))
        return -1;
    if (open_existing(config, &wal_config, boot, err) < 0)
        return -1;
    if (boot->log.entry_count != 0 || boot->snapshot.meta.index != 0 ||
        boot->log.hard_state.commit != 0 || boot->log.hard_state.term != 0 || config->joining)
        return 0;
    if (fill_empty_log(config, boot, err) < 0)
        return -1;
    wal_close(boot->wal);
    wal_log_free(&boot->log);
    boot->wal = NULL;
    return open_existing(config, &wal_config, boot, err);
}

void boot_free(struct boot *boot)
{
    wal_close(boot->wal);
    wal_log_free(&boot->log);
    wal_positions_free(&boot->confirmed);
    buf_free(&boot->snapshot_bytes);
    *boot = (struct boot){0};
}

void boot_clean(const struct datadir *dir, const struct boot *boot, struct backend *backend)
{
    struct err err = ERR_INIT;
    uint64_t index = 0;
    size_t removed = 0;

    if (boot_consistent_index(backend, &index, &err) < 0 ||
        snapfile_clean(dir->fs, dir->snap, &boot->confirmed, &boot->snapshot.meta, index, &removed,
                       &err) < 0)
        log_warn("cannot remove what a crash left", log_str("error", err.text));
    if (removed != 0)
        log_info("removed snapshots that the log does not know, or that are in the database",
                 log_str("directory", dir->snap), log_u64("files", removed));
}

/* ---- the backend ---- */

static int bolt_index(const char *path, uint64_t *index, struct err *err)
{
    struct bolt *bolt = NULL;
    struct bolt_bucket meta;
    struct slice value;
    bool found = false;
    int rc = -1;

    *index = 0;
    if (bolt_open_held(path, &bolt, err) < 0 ||
        bolt_bucket_find(bolt, SLICE_LITERAL("meta"), &meta, &found, err) < 0)
        goto out;
    if (found && bolt_get(&meta, SLICE_LITERAL("consistent_index"), &value, &found, err) < 0)
        goto out;
    for (size_t i = 0; found && value.size == 8 && i < 8; i++)
        *index = *index << 8 | value.data[i];
    rc = 0;
out:
    bolt_close(bolt);
    return rc;
}

static int db_index(const struct datadir *dir, enum datadir_db kind,
                    const struct backend_options *options, uint64_t *index, struct err *err)
{
    struct backend *backend = NULL;
    int rc;

    *index = 0;
    if (kind == DATADIR_DB_BOLT)
        return bolt_index(dir->db, index, err);
    if (kind != DATADIR_DB_LMDB)
        return 0;
    rc = backend_open_lmdb(dir->db, options, &backend, err);
    if (rc == 0)
        rc = boot_consistent_index(backend, index, err);
    backend_close(backend);
    return rc;
}

/*
 * formats.md 7: a snapshot of a leader was recorded, but its database has not got its name yet. It
 * is what the snapshot stands for: an older database makes way for it.
 */
static int take_received(struct datadir *dir, uint64_t snapshot_index,
                         const struct backend_options *options, enum datadir_db *kind, bool *taken,
                         struct err *err)
{
    char *received = datadir_received_db(dir, snapshot_index);
    uint64_t index = 0;
    int rc = 0;

    if (snapshot_index == 0 || !dir->fs->ops->exists(dir->fs, received))
        goto out;
    rc = db_index(dir, *kind, options, &index, err);
    if (rc < 0 || index >= snapshot_index)
        goto out;
    rc = datadir_replace_db(dir, received, err);
    if (rc == 0)
        rc = datadir_db_kind(dir->fs, dir->db, kind, err);
    *taken = true;
out:
    free(received);
    return rc;
}

/*
 * What a cluster above the own level has written may be beyond this server (raft.md 9.6), and once
 * it was imported its own server could not open it any more. The version is the snapshot's; without
 * one it is in the database.
 */
static int check_level(const char *version, const struct datadir *dir, struct err *err)
{
    if (version_level(version) <= version_level(ETCD_LEVEL))
        return 0;
    err_set(err, ERR_USAGE,
            "invalid downgrade; server version is lower than determined cluster version: %s is of "
            "a cluster at %.20s, this server is at %s; nothing was changed: run a server of that "
            "version on it, or downgrade the cluster there first (etcdctl downgrade enable)",
            dir->db, version, ETCD_LEVEL);
    return -1;
}

static int check_snapshot_level(const struct boot *boot, const struct datadir *dir, struct err *err)
{
    struct v2store store;
    int rc;

    if (v2store_read(boot->snapshot.data, &store, err) < 0)
        return -1;
    rc = store.version != NULL ? check_level(store.version, dir, err) : 0;
    v2store_free(&store);
    return rc;
}

static int check_bolt_level(const struct datadir *dir, struct err *err)
{
    struct bolt *bolt = NULL;
    struct bolt_bucket cluster;
    struct slice value;
    char version[20] = "";
    bool found = false;
    int rc = -1;

    if (bolt_open_held(dir->db, &bolt, err) < 0 ||
        bolt_bucket_find(bolt, SLICE_LITERAL("cluster"), &cluster, &found, err) < 0)
        goto out;
    if (found && bolt_get(&cluster, SLICE_LITERAL("clusterVersion"), &value, &found, err) < 0)
        goto out;
    if (found)
        (void)snprintf(version, sizeof(version), "%.*s", (int)MIN(value.size, sizeof(version) - 1),
                       (const char *)value.data);
    rc = check_level(version, dir, err);
out:
    bolt_close(bolt);
    return rc;
}

/* A name for the original that is not taken: db.bbolt, db.bbolt.1, ... */
static int keep_original(const char *db, char **kept, struct err *err)
{
    for (unsigned n = 0; n < 1000; n++) {
        *kept = n == 0 ? xasprintf("%s.bbolt", db) : xasprintf("%s.bbolt.%u", db, n);
        if (link(db, *kept) == 0)
            return 0;
        if (errno != EEXIST)
            err_sys(err, errno, "link %s to %s", db, *kept);
        free(*kept);
        *kept = NULL;
        if (errno != EEXIST)
            return -1;
    }
    err_set(err, ERR_EXISTS, "%s.bbolt and its followers exist already; remove the old ones", db);
    return -1;
}

static int import(struct datadir *dir, const struct backend_options *options, bool keep,
                  struct err *err)
{
    char *temporary = xasprintf("%s.tmp.import", dir->db), *lock = xasprintf("%s-lock", temporary);
    struct backend *backend = NULL;
    char *kept = NULL;
    int rc = -1;

    log_info("the database is bbolt's: importing it", log_str("path", dir->db));
    if (dir->fs->ops->unlink(dir->fs, temporary, err) < 0 ||
        backend_open_lmdb(temporary, options, &backend, err) < 0)
        goto out;
    rc = backend_import_bolt(backend, dir->db, err);
    backend_close(backend);
    (void)unlink(lock); /* LMDB's lock file of the temporary name, if there is one */
    if (rc == 0 && keep)
        rc = keep_original(dir->db, &kept, err);
    if (rc == 0)
        rc = datadir_replace_db(dir, temporary, err);
    if (rc == 0)
        log_info("imported the database", log_str("original-kept-as", kept));
out:
    free(kept);
    free(temporary);
    free(lock);
    return rc;
}

int boot_open_backend(struct datadir *dir, const struct boot *boot,
                      const struct backend_options *options, struct backend **backend,
                      struct err *err)
{
    uint64_t snapshot_index = boot->snapshot.meta.index;
    enum datadir_db kind;
    bool taken = false;

    if (datadir_db_kind(dir->fs, dir->db, &kind, err) < 0 ||
        take_received(dir, snapshot_index, options, &kind, &taken, err) < 0)
        return -1;
    switch (kind) {
    case DATADIR_DB_BOLT:
        if ((snapshot_index != 0 ? check_snapshot_level(boot, dir, err)
                                 : check_bolt_level(dir, err)) < 0 ||
            import(dir, options, !taken, err) < 0)
            return -1;
        break;
    case DATADIR_DB_UNKNOWN:
        err_set(err, ERR_FORMAT,
                "%s is neither a database of this server nor of etcd; restore a snapshot into a "
                "new data directory",
                dir->db);
        return -1;
    case DATADIR_DB_ABSENT:
        if (snapshot_index != 0) {
            err_set(err, ERR_DAMAGED,
                    "the database %s is missing, and the log begins behind the snapshot of index "
                    "%" PRIu64 "; put it back, or restore a snapshot into a new data directory",
                    dir->db, snapshot_index);
            return -1;
        }
        /* an empty file that holds the lock: the log has everything */
        if (dir->fs->ops->unlink(dir->fs, dir->db, err) < 0 ||
            backend_open_lmdb(dir->db, options, backend, err) < 0)
            return -1;
        return datadir_relock(dir, err);
    case DATADIR_DB_LMDB:
        break;
    }
    return backend_open_lmdb(dir->db, options, backend, err);
}

int boot_consistent_index(struct backend *backend, uint64_t *index, struct err *err)
{
    struct backend_read *read = NULL;
    struct slice value;

    *index = 0;
    if (backend_read_begin(backend, &read, err) < 0)
        return -1;
    if (backend_get(read, BUCKET_META, SLICE_LITERAL("consistent_index"), &value) &&
        value.size == 8)
        for (size_t i = 0; i < 8; i++)
            *index = *index << 8 | value.data[i];
    backend_read_end(read);
    return 0;
}
