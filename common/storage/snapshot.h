/*
 * snapshot.h (edge) - snapshot files: a bbolt image and, behind it, its SHA-256 (formats.md 3).
 *
 * Also takes a copy of member/snap/db, which has no hash. What is in the file is looked at here;
 * turning it into a data directory is snapshot_restore.h, fetching it from a server
 * snapshot_save.h. Thread: any.
 */
#ifndef COMMON_STORAGE_SNAPSHOT_H
#define COMMON_STORAGE_SNAPSHOT_H

#include "common/base/sha256.h"
#include "common/storage/bolt.h"

#define SNAPSHOT_SECTOR_BYTES 512U /* pages are multiples of it: what is over is the hash */
#define SNAPSHOT_VERSION_MAX 32U

enum snapshot_hash {
    SNAPSHOT_HASH_NONE, /* the file carries none: a copied database, or a cut file */
    SNAPSHOT_HASH_GOOD,
    SNAPSHOT_HASH_BAD,
};

/* Compare the file's hash with its content; `found`, `computed` (may be NULL) get both. */
enum snapshot_hash snapshot_hash_check(struct slice file, uint8_t found[SHA256_BYTES],
                                       uint8_t computed[SHA256_BYTES]);

struct snapshot_status {
    uint32_t hash;                      /* CRC-32C over names, keys and values of all buckets */
    int64_t revision;                   /* of the last change */
    uint64_t entries;                   /* of all buckets: "total keys" of 3.5 */
    uint64_t bytes;                     /* of the image: pages in use times page size */
    char version[SNAPSHOT_VERSION_MAX]; /* storage version (3.6 and later); "" = none */
    enum snapshot_hash file_hash;
};

/*
 * What `snapshot status` tells. The integrity check of bolt.h comes first; `finding` as there.
 * errors  ERR_DAMAGED "snapshot file integrity check failed. N errors found.", else bolt_open()'s
 */
int snapshot_status(const char *path, struct snapshot_status *status, bolt_finding_fn *finding,
                    void *arg, struct err *err) MUST_CHECK;
int snapshot_status_of(const struct bolt *bolt, struct snapshot_status *status,
                       bolt_finding_fn *finding, void *arg, struct err *err) MUST_CHECK;

/* Revision of a key of bucket `key` (formats.md 2.1). */
struct snapshot_revision {
    int64_t main;
    int64_t sub;
    bool tombstone;
};
/* False when the key has another form. */
bool snapshot_revision_parse(struct slice key, struct snapshot_revision *revision) MUST_CHECK;

struct snapshot_hashkv {
    uint32_t hash;
    int64_t revision;         /* current one of the file */
    int64_t compact_revision; /* -1 = never compacted */
    int64_t hash_revision;    /* what was hashed */
};
/*
 * HashKV at `revision` (0 = current) over a file, as the server would answer after a start from it
 * (formats.md 11). ERR_COMPACTED, ERR_FUTURE_REV, or a damaged file.
 */
int snapshot_hashkv(const struct bolt *bolt, int64_t revision, struct snapshot_hashkv *out,
                    struct err *err) MUST_CHECK;

#endif
