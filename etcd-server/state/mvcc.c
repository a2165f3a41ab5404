/*
 * mvcc.c - the store's life, restart, puts and deletions.
 *
 * A change is: the next number {current + 1, changes}, the index, the record in the open batch, the
 * word to the watchers, the lease. When the request ends its changes become one revision.
 * A put writes its record from the index alone; only who hangs on a lease, or is asked for what
 * was before, reads the old record.
 */
#include "common/schema/pbbytes.h"
#include "etcd-server/state/mvcc_internal.h"

#include "common/base/limits.h"

struct mvcc *mvcc_new(const struct mvcc_env *env)
{
    struct mvcc *mvcc = xalloc(sizeof(*mvcc));

    mvcc->env = *env;
    mvcc->index = keyindex_new();
    mvcc->runs = runs_new();
    mvcc->current = 1;
    mvcc->compacted = mvcc->scheduled = mvcc->finished = -1;
    mvcc->pins.previous = mvcc->pins.next = &mvcc->pins;
    return mvcc;
}

void mvcc_free(struct mvcc *mvcc)
{
    if (mvcc == NULL)
        return;
    must(mvcc->pins.next == &mvcc->pins); /* no range or hash may be left */
    mvcc_range_free_spares(mvcc);
    keyindex_free(mvcc->index);
    runs_free(mvcc->runs);
    free(mvcc->compaction.from);
    free(mvcc);
}

int64_t mvcc_revision(const struct mvcc *mvcc)
{
    return mvcc->current;
}

int64_t mvcc_compact_revision(const struct mvcc *mvcc)
{
    return mvcc->compacted;
}

int64_t mvcc_key_count(const struct mvcc *mvcc)
{
    return (int64_t)keyindex_living(mvcc->index);
}

struct mvcc_stats mvcc_stats(const struct mvcc *mvcc)
{
    return mvcc->stats;
}

/* ---- restart ---- */

static int restore_mark(struct backend_read *read, const char *name, int64_t *mark, struct err *err)
{
    struct slice value;
    struct revision revision;
    bool tombstone;

    *mark = -1;
    if (!backend_get(read, BUCKET_META, slice_text(name), &value))
        return 0;
    if (!revision_decode(value, &revision, &tombstone) || tombstone ||
        revision.main > REVISION_MAX) {
        err_set(err, ERR_DAMAGED,
                "bucket meta: %s holds %zu bytes that are no revision; restore this member from a "
                "snapshot",
                name, value.size);
        return -1;
    }
    *mark = revision.main;
    return 0;
}

/* What the next put adds to must not be at its end. */
static bool counts_on(const struct stored *stored)
{
    return stored->create >= 0 && stored->create <= REVISION_MAX && stored->version >= 0 &&
           stored->version <= REVISION_MAX;
}

/* `last` is the revision of the record before, and moves on. */
static int restore_record(struct mvcc *mvcc, struct slice key, struct slice value,
                          struct revision *last, struct err *err)
{
    struct keyindex_entry *entry;
    struct revision revision;
    struct stored stored;
    bool tombstone;

    if (!revision_decode(key, &revision, &tombstone) || revision.main > REVISION_MAX ||
        revision.sub > KEYINDEX_SUB_MAX || revision_compare(*last, revision) >= 0) {
        err_set(err, ERR_DAMAGED,
                "bucket key: the %zu bytes of key behind revision %" PRId64 ".%" PRId64
                " are no later revision; restore this member from a snapshot",
                key.size, last->main, last->sub);
        return -1;
    }
    *last = revision;
    if (!stored_decode(value, &stored) || stored.key.size > KEYINDEX_KEY_MAX ||
        !counts_on(&stored)) {
        err_set(err, ERR_DAMAGED,
                "bucket key: revision %" PRId64 ".%" PRId64
                " holds %zu bytes that are no key-value; restore this member from a snapshot",
                revision.main, revision.sub, value.size);
        return -1;
    }
    mvcc->current = MAX(mvcc->current, revision.main);
    if (tombstone) {
        entry = keyindex_delete(mvcc->index, stored.key, revision);
        if (entry != NULL)
            entry->leased = false;
        return 0;
    }
    entry = keyindex_put(mvcc->index, stored.key, revision);
    entry->leased = stored.lease != 0;
    if (keyindex_previous(entry).main == 0) { /* its beginning was compacted away, perhaps */
        entry->create = stored.create;
        entry->version = stored.version;
    }
    return 0;
}

static void restore_leases(struct mvcc *mvcc, struct backend_read *read)
{
    struct keyindex_cursor cursor;
    struct keyindex_entry *entry;

    keyindex_seek(mvcc->index, SLICE_EMPTY, &cursor);
    while ((entry = keyindex_next(&cursor)) != NULL) {
        uint8_t key[REVISION_BYTES_MAX];
        size_t size = revision_encode(keyindex_newest(entry), false, key);
        struct stored stored;
        struct slice value;
        bool found;

        if (!entry->leased)
            continue;
        found = backend_get(read, BUCKET_KEY, slice_of(key, size), &value) &&
                stored_decode(value, &stored);
        must(found); /* it was a moment ago */
        mvcc->env.lease_attach(mvcc->env.arg, stored.lease, keyindex_key(entry));
    }
}

int mvcc_restore(struct mvcc *mvcc, struct backend_read *read, struct err *err)
{
    struct revision last = {.main = -1};
    struct backend_cursor *cursor;
    int64_t finished, scheduled;
    struct slice key, value;
    int rc = 0;

    must(keyindex_entries(mvcc->index) == 0 && mvcc->current == 1);
    if (restore_mark(read, "finishedCompactRev", &finished, err) < 0 ||
        restore_mark(read, "scheduledCompactRev", &scheduled, err) < 0)
        return -1;
    cursor = backend_cursor_open(read, BUCKET_KEY);
    for (bool found = backend_cursor_seek(cursor, SLICE_EMPTY, &key, &value); found && rc == 0;
         found = backend_cursor_next(cursor, &key, &value))
        rc = restore_record(mvcc, key, value, &last, err);
    backend_cursor_close(cursor);
    if (rc < 0)
        return -1;
    mvcc->current = MAX(mvcc->current, MAX(finished, scheduled));
    restore_leases(mvcc, read);
    mvcc_compact_restore(mvcc, finished, scheduled);
    return 0;
}

/* ---- ranges of keys, pins, records ---- */

struct key_range key_range_of(ProtobufCBinaryData key, ProtobufCBinaryData range_end)
{
    struct key_range range = {.from = pb_slice(key), .to = pb_slice(range_end)};

    range.one = range.to.size == 0;
    if (range.to.size == 1 && range.to.data[0] == 0)
        range.to = SLICE_EMPTY;
    return range;
}

bool key_range_is_empty(const struct key_range *range)
{
    return !range->one && range->to.size > 0 && slice_compare(range->to, range->from) <= 0;
}

void mvcc_pin_add(struct mvcc *mvcc, struct mvcc_pin *pin, int64_t at)
{
    pin->at = at;
    pin->previous = &mvcc->pins;
    pin->next = mvcc->pins.next;
    pin->next->previous = pin;
    mvcc->pins.next = pin;
}

void mvcc_pin_remove(struct mvcc_pin *pin)
{
    pin->previous->next = pin->next;
    pin->next->previous = pin->previous;
}

bool mvcc_pinned_below(const struct mvcc *mvcc, int64_t revision)
{
    for (const struct mvcc_pin *pin = mvcc->pins.next; pin != &mvcc->pins; pin = pin->next) {
        if (pin->at < revision)
            return true;
    }
    return false;
}

/* As stored, key and value; borrowed while the view lives. */
static struct slice read_at(struct view *view, struct revision revision, bool tombstone)
{
    struct slice key_value;
    bool found = view_get(view, revision, tombstone, &key_value);

    must(found);
    return key_value;
}

struct stored mvcc_read_stored(struct view *view, struct revision revision)
{
    struct stored stored;
    bool sound = stored_decode(read_at(view, revision, false), &stored);

    must(sound); /* ours, or decoded at the start */
    return stored;
}

static struct view *current_view(const struct mvcc *mvcc)
{
    return mvcc->env.view(mvcc->env.arg);
}

bool mvcc_kv_at(const struct mvcc *mvcc, struct slice key, int64_t revision,
                struct slice *key_value)
{
    const struct keyindex_entry *entry;
    struct revision found;

    if (revision < mvcc->compacted)
        return false;
    entry = keyindex_find(mvcc->index, key);
    if (entry == NULL || !keyindex_get(entry, revision, &found))
        return false;
    *key_value = read_at(current_view(mvcc), found, false);
    return true;
}

/* ---- answers ---- */

void *mvcc_answer_alloc(struct mvcc *mvcc, struct arena *arena, size_t bytes)
{
    void *memory = arena_alloc(arena, bytes);

    if (memory == NULL)
        mvcc->answer_too_large = true;
    return memory;
}

Etcdserverpb__ResponseHeader *mvcc_answer_header(struct mvcc *mvcc, struct arena *arena,
                                                 int64_t revision)
{
    Etcdserverpb__ResponseHeader *header = mvcc_answer_alloc(mvcc, arena, sizeof(*header));

    if (header == NULL)
        return NULL;
    *header = (Etcdserverpb__ResponseHeader)ETCDSERVERPB__RESPONSE_HEADER__INIT;
    header->revision = revision;
    return header;
}

/* Generated code has no const; nobody writes to an answer's bytes. */
Mvccpb__KeyValue *mvcc_answer_kv(struct mvcc *mvcc, struct arena *arena, struct slice key_value)
{
    Mvccpb__KeyValue *kv = mvcc_answer_alloc(mvcc, arena, sizeof(*kv));
    struct stored stored;
    bool sound;

    if (kv == NULL)
        return NULL;
    sound = stored_decode(key_value, &stored);
    must(sound);
    *kv = (Mvccpb__KeyValue)MVCCPB__KEY_VALUE__INIT;
    kv->key = pb_bytes(stored.key);
    kv->create_revision = stored.create;
    kv->mod_revision = stored.mod;
    kv->version = stored.version;
    kv->value = pb_bytes(stored.value);
    kv->lease = stored.lease;
    return kv;
}

enum err_code mvcc_answer_end(struct mvcc *mvcc)
{
    bool too_large = mvcc->answer_too_large;

    mvcc->answer_too_large = false;
    return too_large ? ERR_NO_MEMORY : ERR_OK;
}

/* ---- changes ---- */

static struct revision next_change(struct mvcc *mvcc)
{
    return (struct revision){.main = mvcc->current + 1, .sub = mvcc->changes++};
}

void mvcc_write_end(struct mvcc *mvcc)
{
    if (mvcc->changes == 0)
        return;
    mvcc->current++;
    mvcc->changes = 0;
    if (mvcc->env.revision_ended != NULL)
        mvcc->env.revision_ended(mvcc->env.arg, mvcc->current);
}

/* The living entry of a key, or NULL. */
static struct keyindex_entry *find_living(const struct mvcc *mvcc, struct slice key)
{
    struct keyindex_entry *entry = keyindex_find(mvcc->index, key);

    return entry != NULL && !entry->tombstone ? entry : NULL;
}

static void write_record(struct mvcc *mvcc, struct revision revision, bool tombstone,
                         const struct stored *stored)
{
    uint8_t key[REVISION_BYTES_MAX];
    size_t size = stored_bytes(stored), key_size = revision_encode(revision, tombstone, key);
    uint8_t *out = batch_put_reserve(mvcc->env.batch(mvcc->env.arg), BUCKET_KEY,
                                     slice_of(key, key_size), size);

    stored_encode(stored, out);
    if (mvcc->env.changed != NULL)
        mvcc->env.changed(mvcc->env.arg, revision, tombstone, slice_of(out, size));
}

static void put_key(struct mvcc *mvcc, struct slice key, struct slice value, int64_t lease)
{
    struct revision revision = next_change(mvcc);
    struct keyindex_entry *entry = keyindex_put(mvcc->index, key, revision);
    struct stored stored = {.key = key,
                            .create = entry->create,
                            .mod = revision.main,
                            .version = entry->version,
                            .value = value,
                            .lease = lease};
    int64_t old = 0;

    if (entry->leased)
        old = mvcc_read_stored(current_view(mvcc), keyindex_previous(entry)).lease;
    entry->leased = lease != 0;
    write_record(mvcc, revision, false, &stored);
    mvcc->stats.puts++;
    mvcc->stats.put_bytes += key.size + value.size;
    if (old == lease)
        return;
    if (old != 0)
        mvcc->env.lease_detach(mvcc->env.arg, old, keyindex_key(entry));
    if (lease != 0)
        mvcc->env.lease_attach(mvcc->env.arg, lease, keyindex_key(entry));
}

/* Does not touch the key it was found by after the lease heard of it: that may be the lease's. */
static void delete_entry(struct mvcc *mvcc, struct keyindex_entry *entry)
{
    struct revision revision = next_change(mvcc);
    struct stored stored = {.key = keyindex_key(entry)};
    int64_t lease = 0;

    if (entry->leased)
        lease = mvcc_read_stored(current_view(mvcc), keyindex_newest(entry)).lease;
    entry = keyindex_delete(mvcc->index, stored.key, revision);
    must(entry != NULL); /* it lived */
    entry->leased = false;
    write_record(mvcc, revision, true, &stored);
    mvcc->stats.deletes++;
    if (lease != 0)
        mvcc->env.lease_detach(mvcc->env.arg, lease, keyindex_key(entry));
}

enum err_code mvcc_check_lease(const struct mvcc *mvcc, const Etcdserverpb__PutRequest *request)
{
    if (request->lease != 0 && !mvcc->env.lease_exists(mvcc->env.arg, request->lease))
        return ERR_LEASE_NOT_FOUND;
    return ERR_OK;
}

enum err_code mvcc_check_present(const struct mvcc *mvcc, const Etcdserverpb__PutRequest *request)
{
    if ((request->ignore_value || request->ignore_lease) &&
        find_living(mvcc, pb_slice(request->key)) == NULL)
        return ERR_KEY_NOT_FOUND;
    return ERR_OK;
}

Etcdserverpb__PutResponse *mvcc_put(struct mvcc *mvcc, const Etcdserverpb__PutRequest *request,
                                    struct arena *arena)
{
    Etcdserverpb__PutResponse *response = NULL;
    struct slice key = pb_slice(request->key), value = pb_slice(request->value);
    int64_t lease = request->lease;

    if (arena != NULL && (response = mvcc_answer_alloc(mvcc, arena, sizeof(*response))) != NULL) {
        *response = (Etcdserverpb__PutResponse)ETCDSERVERPB__PUT_RESPONSE__INIT;
        response->header = mvcc_answer_header(mvcc, arena, mvcc->current + 1);
    }
    if (request->prev_kv || request->ignore_value || request->ignore_lease) {
        struct keyindex_entry *entry = find_living(mvcc, key);
        struct stored stored = {.lease = 0}; /* the key may be gone: deleted earlier in a txn */

        if (entry != NULL)
            stored = mvcc_read_stored(current_view(mvcc), keyindex_newest(entry));
        if (request->ignore_value)
            value = stored.value;
        if (request->ignore_lease)
            lease = stored.lease;
        if (request->prev_kv && entry != NULL && response != NULL)
            response->prev_kv = mvcc_answer_kv(
                mvcc, arena, read_at(current_view(mvcc), keyindex_newest(entry), false));
    }
    put_key(mvcc, key, value, lease);
    return response;
}

enum err_code mvcc_apply_put(struct mvcc *mvcc, const Etcdserverpb__PutRequest *request,
                             struct arena *arena, Etcdserverpb__PutResponse **response)
{
    enum err_code code;

    must(mvcc->changes == 0);
    *response = NULL;
    if ((code = mvcc_check_lease(mvcc, request)) != ERR_OK ||
        (code = mvcc_check_present(mvcc, request)) != ERR_OK)
        return code;
    *response = mvcc_put(mvcc, request, arena);
    mvcc_write_end(mvcc);
    if ((code = mvcc_answer_end(mvcc)) != ERR_OK)
        *response = NULL;
    return code;
}

/* Delete what lives in `range`; `kvs`, when it is not NULL, takes what was there. */
static size_t delete_keys_in(struct mvcc *mvcc, const struct key_range *range, struct arena *arena,
                             Mvccpb__KeyValue **kvs)
{
    struct keyindex_cursor cursor;
    struct keyindex_entry *entry;
    size_t deleted = 0;

    keyindex_seek(mvcc->index, range->from, &cursor);
    while ((entry = keyindex_next(&cursor)) != NULL &&
           key_range_reaches(range, keyindex_key(entry))) {
        if (entry->tombstone)
            continue;
        if (kvs != NULL)
            kvs[deleted] = mvcc_answer_kv(
                mvcc, arena, read_at(current_view(mvcc), keyindex_newest(entry), false));
        delete_entry(mvcc, entry); /* adds and drops no entry: the cursor stays good */
        deleted++;
    }
    return deleted;
}

static size_t count_living(const struct mvcc *mvcc, const struct key_range *range)
{
    if (range->one)
        return find_living(mvcc, range->from) != NULL;
    return keyindex_count(mvcc->index, range->from, range->to);
}

Etcdserverpb__DeleteRangeResponse *
mvcc_delete_range(struct mvcc *mvcc, const Etcdserverpb__DeleteRangeRequest *request,
                  struct arena *arena)
{
    struct key_range range = key_range_of(request->key, request->range_end);
    size_t count = key_range_is_empty(&range) ? 0 : count_living(mvcc, &range);
    Etcdserverpb__DeleteRangeResponse *response = NULL;
    Mvccpb__KeyValue **kvs = NULL;

    if (arena != NULL && request->prev_kv && count > 0)
        kvs = mvcc_answer_alloc(mvcc, arena, count * sizeof(Mvccpb__KeyValue *));
    if (count > 0) {
        size_t deleted = delete_keys_in(mvcc, &range, arena, kvs);

        must(deleted == count);
    }
    if (arena == NULL || (response = mvcc_answer_alloc(mvcc, arena, sizeof(*response))) == NULL)
        return NULL;
    *response = (Etcdserverpb__DeleteRangeResponse)ETCDSERVERPB__DELETE_RANGE_RESPONSE__INIT;
    response->header = mvcc_answer_header(mvcc, arena, mvcc_visible(mvcc));
    response->deleted = (int64_t)count;
    response->prev_kvs = kvs;
    response->n_prev_kvs = kvs != NULL ? count : 0;
    return response;
}

enum err_code mvcc_apply_delete_range(struct mvcc *mvcc,
                                      const Etcdserverpb__DeleteRangeRequest *request,
                                      struct arena *arena,
                                      Etcdserverpb__DeleteRangeResponse **response)
{
    enum err_code code;

    must(mvcc->changes == 0);
    *response = mvcc_delete_range(mvcc, request, arena);
    mvcc_write_end(mvcc);
    if ((code = mvcc_answer_end(mvcc)) != ERR_OK)
        *response = NULL;
    return code;
}

void mvcc_apply_delete_keys(struct mvcc *mvcc, const struct slice *keys, size_t count)
{
    must(mvcc->changes == 0);
    for (size_t i = 0; i < count; i++) {
        struct keyindex_entry *entry = find_living(mvcc, keys[i]);

        if (entry != NULL)
            delete_entry(mvcc, entry);
    }
    mvcc_write_end(mvcc);
}
