/*
 * snapshot_restore.c (edge) - see snapshot_restore.h.
 *
 *     check everything -> build in a temporary directory -> sync -> move into place -> sync parents
 *
 * The temporary directory is a sibling of DATA; when DATA is there already (empty, perhaps a mount
 * point) it lies inside, so that the move is a rename in every case. A log elsewhere has a
 * temporary sibling of its own and moves first: a log without its database does not start, a
 * database without its log would start as something else. One that is to lie in what is moved is
 * built there.
 */
#include "common/storage/snapshot_restore.h"
#include "common/base/file.h"
#include "common/base/limits.h"
#include "common/schema/bootstrap.h"
#include "common/storage/bolt_file.h"
#include "common/storage/bolt_overlay.h"
#include "common/storage/restore_log.h"
#include "common/storage/snapshot.h"
#include "common/storage/snapshot_open.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define REVISION_BYTES 17U
#define CHANGES_MAX (RAFT_MEMBERS_MAX + 4)
#define MEMBER_JSON_MAX (256 * KIB) /* one record of bucket `members` */

struct places {                /* all owned */
    char *data;                /* without slashes at the end */
    char *wal;                 /* final; NULL = moved with data */
    char *inside;              /* where in data, then; "member/wal" when nobody said */
    char *temporary;           /* holds member/; NULL = not made yet */
    char *wal_temporary;       /* NULL = inside `temporary`, or not made yet */
    struct leftover *leftover; /* borrowed; may be NULL */
    struct file_dirs parents;  /* that were made for the two */
    bool data_exists;
    bool wal_moved, data_moved;
};

/* ---- where ---- */

static char *trimmed(const char *path)
{
    size_t length = strlen(path);

    while (length > 1 && path[length - 1] == '/')
        length--;
    return xstrndup(path, length);
}

/* What a restore that is killed leaves behind: beside the directory, or in one that was there. */
#define LEFT_BEHIND ".restore-"

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Nothing there, or an empty directory. */
static int check_data_dir(const char *path, bool *exists, struct err *err)
{
    DIR *directory = opendir(path);
    const struct dirent *entry = NULL;
    int rc = -1;

    *exists = directory != NULL;
    if (directory == NULL && errno == ENOENT && !file_exists(path))
        return 0;
    if (directory == NULL) {
        err_sys(err, errno, "data-dir \"%s\" not empty or could not be read%s", path,
                errno == ENOENT ? " (a symbolic link to nothing)" : "");
        return -1;
    }
    while ((entry = readdir(directory)) != NULL && is_dots(entry->d_name))
        ;
    if (entry == NULL)
        rc = 0;
    else if (strncmp(entry->d_name, LEFT_BEHIND, strlen(LEFT_BEHIND)) == 0)
        err_set(err, ERR_EXISTS,
                "data-dir \"%s\" not empty: %s/%s is what a restore that was killed left behind; "
                "remove it, then restore again",
                path, path, entry->d_name);
    else
        err_set(err, ERR_EXISTS,
                "data-dir \"%s\" not empty or could not be read; restore into a new directory, or "
                "move the old one away first",
                path);
    (void)closedir(directory);
    return rc;
}

/* What of `path` comes behind "DIRECTORY/"; NULL: it is not in there. */
static const char *below(const char *path, const char *directory)
{
    size_t bytes = strlen(directory);

    if (strncmp(path, directory, bytes) != 0 || path[bytes] != '/')
        return NULL;
    return path + bytes + strspn(path + bytes, "/");
}

/* Names behind the real path of a directory; in what is not there yet ".." is the name before. */
static void append_names(struct buf *place, const char *names)
{
    while (*names != '\0') {
        size_t bytes = strcspn(names, "/");

        if (bytes == 2 && memcmp(names, "..", 2) == 0) {
            while (place->size > 0 && place->data[--place->size] != '/')
                ;
        } else if (bytes > 1 || (bytes == 1 && *names != '.')) {
            buf_printf(place, "/%.*s", (int)bytes, names);
        }
        names += bytes + strspn(names + bytes, "/");
    }
}

/* One spelling of every path, so that two can be compared: absolute, no links, no dots. Owned. */
static char *one_spelling(const char *path)
{
    struct buf place = BUF_INIT(BUF_UNLIMITED);
    size_t there = strlen(path); /* of the path: what exists, as far as we know */
    char *real = realpath(path, NULL), *spelling;

    while (real == NULL && there > 0) {
        char *begin;

        while (there > 0 && path[there - 1] != '/')
            there--;
        begin = there > 0 ? xstrndup(path, there) : xstrdup(".");
        real = realpath(begin, NULL);
        free(begin);
        while (there > 0 && path[there - 1] == '/')
            there--;
    }
    if (real == NULL)
        return xstrdup(path); /* there is no current directory */
    if (strcmp(real, "/") != 0)
        buf_append_text(&place, real);
    append_names(&place, path + there + strspn(path + there, "/"));
    spelling = xstrdup(place.size != 0 ? buf_text(&place) : "/");
    buf_free(&place);
    free(real);
    return spelling;
}

/* A log in the data directory: with what is moved there, or after that, as one from elsewhere. */
static int place_wal_at(struct places *places, const char *data, const char *wal, struct err *err)
{
    const char *rest = below(wal, data);

    if (strcmp(wal, data) == 0 || below(data, wal) != NULL ||
        (rest != NULL && (strcmp(rest, "member") == 0 || strcmp(rest, "member/snap") == 0 ||
                          below(rest, "member/snap") != NULL))) {
        err_set(err, ERR_USAGE,
                "wal-dir \"%s\" is where other things of data-dir \"%s\" go; name a directory of "
                "its own for the log, or none: then it is member/wal",
                places->wal, places->data);
        return -1;
    }
    if (rest == NULL || (places->data_exists && below(rest, "member") == NULL))
        return 0;
    places->inside = xstrdup(rest);
    free(places->wal);
    places->wal = NULL;
    return 0;
}

static int place_wal(struct places *places, struct err *err)
{
    char *data = one_spelling(places->data), *wal = one_spelling(places->wal);
    int rc = place_wal_at(places, data, wal, err);

    free(data);
    free(wal);
    return rc;
}

static int find_places(const struct snapshot_restore *restore, struct places *places,
                       struct err *err)
{
    places->data = restore->data_dir != NULL ? trimmed(restore->data_dir)
                                             : xasprintf("%s.etcd", restore->name);
    if (check_data_dir(places->data, &places->data_exists, err) < 0)
        return -1;
    if (restore->wal_dir == NULL)
        return 0;
    places->wal = trimmed(restore->wal_dir);
    if (file_exists(places->wal)) {
        err_set(err, ERR_EXISTS, "wal-dir \"%s\" exists; name a new one, or move it away first",
                places->wal);
        return -1;
    }
    return place_wal(places, err);
}

static int make_parent(const char *path, struct file_dirs *made, struct err *err)
{
    const char *slash = strrchr(path, '/');
    char *parent;
    int rc;

    if (slash == NULL || slash == path)
        return 0;
    parent = xstrndup(path, (size_t)(slash - path));
    rc = file_make_noted_dirs(parent, 0700, made, err);
    free(parent);
    return rc;
}

/* In what leads to `path`, which is made as well. */
static char *make_temporary(struct places *places, const char *path, const char *pattern,
                            struct err *err)
{
    struct leftover *leftover = places->leftover;
    struct file_dirs made = {0};
    char *temporary = NULL;

    leftover_hold(leftover);
    if (make_parent(path, &made, err) == 0) {
        temporary = xstrdup(pattern);
        if (mkdtemp(temporary) != NULL) { /* mode 0700 */
            leftover_add(leftover, temporary);
        } else {
            err_sys(err, errno, "make the directory %s", pattern);
            free(temporary);
            temporary = NULL;
        }
    }
    leftover_add_dirs(leftover, &made);
    leftover_release(leftover);
    file_dirs_add(&places->parents, &made);
    file_dirs_fini(&made);
    return temporary;
}

static int make_places(struct places *places, struct err *err)
{
    char *pattern =
        xasprintf("%s%s" LEFT_BEHIND "XXXXXX", places->data, places->data_exists ? "/" : "");

    places->temporary = make_temporary(places, places->data, pattern, err);
    free(pattern);
    if (places->temporary == NULL || places->wal == NULL)
        return places->temporary == NULL ? -1 : 0;
    pattern = xasprintf("%s" LEFT_BEHIND "XXXXXX", places->wal);
    places->wal_temporary = make_temporary(places, places->wal, pattern, err);
    free(pattern);
    return places->wal_temporary == NULL ? -1 : 0;
}

static int move(const char *from, const char *to, bool *moved, struct err *err)
{
    if (rename(from, to) < 0) {
        if (errno == ENOTEMPTY || errno == EEXIST)
            err_set(err, ERR_EXISTS,
                    "%s was made by somebody else meanwhile, perhaps another restore: look at it, "
                    "then restore into a new directory",
                    to);
        else
            err_sys(err, errno, "move %s to %s", from, to);
        return -1;
    }
    *moved = true;
    return file_sync_parent(to, err);
}

static int move_wal(struct places *places, struct err *err)
{
    char *built = xasprintf("%s/wal", places->wal_temporary);
    int rc = move(built, places->wal, &places->wal_moved, err);

    free(built);
    return rc;
}

/* Where member/ comes to lie, or DATA itself when that is made. */
static char *moved_place(const struct places *places)
{
    return places->data_exists ? xasprintf("%s/member", places->data) : xstrdup(places->data);
}

static int move_data(struct places *places, struct err *err)
{
    char *from = places->data_exists ? xasprintf("%s/member", places->temporary)
                                     : xstrdup(places->temporary);
    char *to = moved_place(places);
    int rc = move(from, to, &places->data_moved, err);

    if (rc == 0)
        rc = file_dirs_sync(&places->parents, err);
    if (rc == 0 && places->data_exists)
        (void)rmdir(places->temporary); /* empty; what is left of it hurts nobody */
    free(from);
    free(to);
    return rc;
}

/* Remove what was made: all of it after a failure, else what is not in place. */
static void drop_places(struct places *places, bool failed)
{
    struct err ignored = ERR_INIT;

    if (places->temporary != NULL && failed)
        (void)!file_remove_tree(places->temporary, &ignored);
    if (places->wal_temporary != NULL)
        (void)!file_remove_tree(places->wal_temporary, &ignored);
    if (places->data_moved && failed) {
        char *place = moved_place(places);

        (void)!file_remove_tree(place, &ignored);
        free(place);
    }
    if (places->wal_moved && failed)
        (void)!file_remove_tree(places->wal, &ignored);
    if (failed)
        file_dirs_remove(&places->parents);
    file_dirs_fini(&places->parents);
    free(places->data);
    free(places->wal);
    free(places->inside);
    free(places->temporary);
    free(places->wal_temporary);
}

/* ---- the database ---- */

struct changes {
    struct bolt_change rows[CHANGES_MAX];
    size_t count;
    struct buf bytes; /* holds what the rows point to; reserved at once, so it never moves */
};

static struct slice keep(struct changes *changes, const void *data, size_t bytes)
{
    size_t at = changes->bytes.size;

    must(bytes <= changes->bytes.capacity - at);
    must(buf_append(&changes->bytes, data, bytes));
    return slice_of(changes->bytes.data + at, bytes);
}

static void change(struct changes *changes, const char *bucket, struct slice key,
                   struct slice value)
{
    must(changes->count < CHANGES_MAX);
    changes->rows[changes->count++] =
        (struct bolt_change){slice_text(bucket), keep(changes, key.data, key.size),
                             value.size != 0 ? keep(changes, value.data, value.size) : value};
}

static int change_order(const void *left, const void *right)
{
    const struct bolt_change *a = left, *b = right;
    int order = slice_compare(a->bucket, b->bucket);

    return order != 0 ? order : slice_compare(a->key, b->key);
}

static void store_u64(uint8_t at[8], uint64_t number)
{
    for (unsigned i = 0; i < 8; i++)
        at[i] = (uint8_t)(number >> (8 * (7 - i)));
}

static void change_u64(struct changes *changes, const char *key, uint64_t number)
{
    uint8_t bytes[8];

    store_u64(bytes, number);
    change(changes, "meta", slice_text(key), slice_of(bytes, sizeof(bytes)));
}

static int greatest_revision(const struct bolt *bolt, int64_t *revision, struct err *err)
{
    struct snapshot_revision last = {0};
    struct bolt_entry entry;
    bool found;

    if (bolt_last(bolt, SLICE_LITERAL("key"), &entry, &found, err) < 0)
        return -1;
    if (found && !snapshot_revision_parse(entry.key, &last)) {
        err_set(err, ERR_FORMAT,
                "bucket \"key\" ends with what is not a revision; this is "
                "not a database of etcd");
        return -1;
    }
    *revision = last.main;
    return 0;
}

/* formats.md 3.4 step 3: an empty record far ahead, and everything up to it compacted. */
static int bump(const struct snapshot_restore *restore, const struct bolt *bolt,
                struct changes *changes, struct err *err)
{
    uint8_t bytes[REVISION_BYTES] = {0};
    int64_t revision = 0, most = REVISION_MAX / 2; /* the member is to count on */

    if (greatest_revision(bolt, &revision, err) < 0)
        return -1;
    if (revision > most || restore->bump_revision > (uint64_t)(most - revision)) {
        err_set(err, ERR_USAGE,
                "--bump-revision %" PRIu64 " on top of revision %" PRId64
                " is beyond the largest revision; use a smaller one",
                restore->bump_revision, revision);
        return -1;
    }
    store_u64(bytes, (uint64_t)revision + restore->bump_revision);
    bytes[8] = '_';
    change(changes, "key", slice_of(bytes, sizeof(bytes)), SLICE_EMPTY);
    change(changes, "meta", SLICE_LITERAL("scheduledCompactRev"), slice_of(bytes, sizeof(bytes)));
    return 0;
}

static int list_changes(const struct snapshot_restore *restore, const struct bolt *bolt,
                        const struct bootstrap *bootstrap, struct changes *changes, struct err *err)
{
    struct buf json = BUF_INIT(MEMBER_JSON_MAX);
    int rc = -1;

    buf_init(&changes->bytes, BUF_UNLIMITED);
    if (bootstrap->member_count > RAFT_MEMBERS_MAX) {
        err_set(err, ERR_USAGE, "--initial-cluster lists %zu members, %lu is the most",
                bootstrap->member_count, RAFT_MEMBERS_MAX);
        return -1;
    }
    must(buf_reserve(&changes->bytes, (MEMBER_JSON_MAX + 32) * bootstrap->member_count + 1024) !=
         NULL);
    for (size_t i = 0; i < bootstrap->member_count; i++) {
        char id[17];

        buf_reset(&json);
        if (!member_write_json(&bootstrap->members[i], false, &json)) {
            err_set(err, ERR_USAGE, "name and peer URLs of one member take more than %lu bytes",
                    MEMBER_JSON_MAX);
            goto out;
        }
        (void)snprintf(id, sizeof(id), "%" PRIx64, bootstrap->members[i].id);
        change(changes, "members", slice_text(id), buf_slice(&json));
    }
    change_u64(changes, "consistent_index", bootstrap->member_count);
    change_u64(changes, "term", RESTORE_TERM);
    if (restore->bump_revision != 0 && bump(restore, bolt, changes, err) < 0)
        goto out;
    qsort(changes->rows, changes->count, sizeof(changes->rows[0]), change_order);
    rc = 0;
out:
    buf_free(&json);
    return rc;
}

static int write_db(const struct snapshot_restore *restore, const struct bolt *bolt,
                    const struct bootstrap *bootstrap, const char *path, struct err *err)
{
    static const char *const emptied[] = {"members", "members_removed"};
    struct changes *changes = xalloc(sizeof(*changes));
    struct bolt_overlay overlay;
    int rc = -1;

    if (list_changes(restore, bolt, bootstrap, changes, err) == 0) {
        bolt_overlay_init(&overlay, bolt, emptied, ARRAY_LEN(emptied), changes->rows,
                          changes->count);
        rc = bolt_file_write(&overlay.source, bolt_info(bolt).page_bytes, path, err);
    }
    buf_free(&changes->bytes);
    free(changes);
    return rc;
}

/* ---- the file ---- */

static void append_hash(struct buf *out, const uint8_t hash[SHA256_BYTES])
{
    for (size_t i = 0; i < SHA256_BYTES; i++)
        buf_printf(out, "%02x", hash[i]);
}

static int check_hash(const struct snapshot_restore *restore, const struct bolt *bolt,
                      struct err *err)
{
    uint8_t found[SHA256_BYTES], computed[SHA256_BYTES];
    struct buf text = BUF_INIT(KIB);
    enum snapshot_hash hash = snapshot_hash_check(bolt_bytes(bolt), found, computed);

    if (hash == SNAPSHOT_HASH_GOOD)
        return 0;
    if (hash == SNAPSHOT_HASH_NONE) {
        err_set(err, ERR_CHECKSUM,
                "%s: snapshot missing hash but --skip-hash-check=false; if it is a copy of "
                "member/snap/db, add --skip-hash-check, else it was cut short",
                restore->path);
        return -1;
    }
    append_hash(&text, found);
    buf_append_text(&text, ", got ");
    append_hash(&text, computed);
    err_set(err, ERR_CHECKSUM,
            "%s: expected sha256 %s: the file was changed after it was saved; use another copy",
            restore->path, buf_text(&text));
    buf_free(&text);
    return -1;
}

/* Hash, or, where the user waives it, the structure: nothing damaged becomes a database. */
static int check_file(const struct snapshot_restore *restore, const struct bolt *bolt,
                      struct err *err)
{
    uint64_t findings;

    if (!restore->skip_hash_check)
        return check_hash(restore, bolt, err);
    if (bolt_check(bolt, NULL, NULL, &findings, err) < 0)
        return -1;
    if (findings == 0)
        return 0;
    err_set(err, ERR_DAMAGED,
            "%s: integrity check failed, %" PRIu64
            " errors found (`etcd-snap status` lists them); use another copy",
            restore->path, findings);
    return -1;
}

static int build(const struct snapshot_restore *restore, const struct bolt *bolt,
                 const struct bootstrap *bootstrap, struct places *places, struct err *err)
{
    struct file_dirs inside = {0}; /* go with the rest */
    char *snap, *db, *wal;
    int rc = -1;

    if (make_places(places, err) < 0)
        return -1;
    snap = xasprintf("%s/member/snap", places->temporary);
    db = xasprintf("%s/db", snap);
    if (places->wal_temporary != NULL)
        wal = xasprintf("%s/wal", places->wal_temporary);
    else
        wal = xasprintf("%s/%s", places->temporary,
                        places->inside != NULL ? places->inside : "member/wal");
    if (file_make_dirs(snap, 0700, err) == 0 && make_parent(wal, &inside, err) == 0 &&
        write_db(restore, bolt, bootstrap, db, err) == 0 &&
        restore_log_write(bootstrap, snap, wal, err) == 0 && file_sync_parent(db, err) == 0 &&
        file_sync_parent(snap, err) == 0 && file_sync_parent(wal, err) == 0) {
        char *member = xasprintf("%s/member", places->temporary);

        rc = file_sync_parent(member, err);
        free(member);
    }
    file_dirs_fini(&inside);
    free(snap);
    free(db);
    free(wal);
    return rc;
}

static int check_flags(const struct snapshot_restore *restore, struct err *err)
{
    if ((restore->bump_revision != 0) == restore->mark_compacted)
        return 0;
    err_set(err, ERR_USAGE, "%s",
            restore->mark_compacted
                ? "--mark-compacted requires --bump-revision > 0; give both or neither"
                : "--mark-compacted required if --revision-bump > 0; give both or neither");
    return -1;
}

int snapshot_restore(const struct snapshot_restore *options, struct err *err)
{
    struct snapshot_restore restore = *options;
    struct bootstrap bootstrap = {0};
    struct bootstrap_wish wish;
    struct places places = {.leftover = options->leftover};
    struct bolt *bolt = NULL;
    int rc = -1;

    restore.name = restore.name != NULL ? restore.name : RESTORE_NAME_DEFAULT;
    restore.initial_cluster =
        restore.initial_cluster != NULL ? restore.initial_cluster : RESTORE_CLUSTER_DEFAULT;
    restore.initial_cluster_token = restore.initial_cluster_token != NULL
                                        ? restore.initial_cluster_token
                                        : RESTORE_TOKEN_DEFAULT;
    restore.peer_urls = restore.peer_urls != NULL ? restore.peer_urls : RESTORE_PEER_URLS_DEFAULT;
    wish = (struct bootstrap_wish){.name = restore.name,
                                   .initial_cluster = restore.initial_cluster,
                                   .token = restore.initial_cluster_token,
                                   .advertised = restore.peer_urls,
                                   .resolve = restore.resolve,
                                   .resolve_arg = restore.resolve_arg};
    if (check_flags(&restore, err) == 0 && bootstrap_read(&wish, &bootstrap, err) == 0 &&
        find_places(&restore, &places, err) == 0 && snapshot_open(restore.path, &bolt, err) == 0 &&
        check_file(&restore, bolt, err) == 0 &&
        build(&restore, bolt, &bootstrap, &places, err) == 0)
        rc = 0;
    leftover_hold(places.leftover); /* a signal comes before all that follows or after it */
    if (rc == 0 && places.wal != NULL)
        rc = move_wal(&places, err);
    if (rc == 0)
        rc = move_data(&places, err);
    drop_places(&places, rc < 0);
    leftover_release(places.leftover);
    bolt_close(bolt);
    bootstrap_free(&bootstrap);
    return rc;
}
