/*
 * mvcc_hash.c - HashKV (formats.md 11.3), in steps over a pinned view.
 *
 *   FIND_KEPT   is there any key that keeps something, that is, lives?
 *   RECORDS     every record through the rule
 *   DONE
 *
 * etcd makes a set of all revisions kept and asks it. Here the index is asked about each record it
 * matters for, those not above the compact revision: the pin holds later compactions off, and what
 * the index says of revisions <= `at` changes by nothing else.
 *
 * The history (struct mvcc_history) asks what was seen at the compact revision, too: a compaction
 * up to `at`, which the pin lets pass, makes the index forget that.
 */
#include "etcd-server/state/mvcc_hash.h"

#include "common/base/crc32c.h"

enum hash_phase { HASH_FIND_KEPT, HASH_RECORDS, HASH_DONE };

struct mvcc_hash {
    struct mvcc *mvcc; /* borrowed */
    struct view *view; /* a reference; NULL when the hash was remembered */
    struct mvcc_pin pin;
    enum hash_phase phase;
    struct hash_rule rule;
    struct mvcc_hash_result result;
    uint32_t history;
    uint8_t *from; /* owned: key where the search for a kept one goes on */
    size_t from_bytes;
    struct records records;
};

/* ---- the rule ---- */

uint32_t hash_begin(void)
{
    struct slice name = slice_text(bucket_name(BUCKET_KEY));

    return crc32c(0, name.data, name.size);
}

uint32_t hash_record(uint32_t hash, const struct record *record)
{
    hash = crc32c(hash, record->key.data, record->key.size);
    return record->value.size == 0 ? hash : crc32c(hash, record->value.data, record->value.size);
}

/* Is `kept` asked for this record? */
static bool asks_kept(const struct hash_rule *rule, const struct record *record)
{
    return rule->keep_any && record->revision.main <= rule->compacted;
}

bool hash_takes(const struct hash_rule *rule, const struct record *record, bool kept)
{
    if (record->revision.main > rule->at)
        return false;
    if (asks_kept(rule, record) && !kept)
        return false;
    return !(record->tombstone && record->revision.main == rule->compacted);
}

/* Of its key; NULL when there is none. */
static const struct keyindex_entry *entry_of(const struct mvcc *mvcc, const struct record *record)
{
    struct stored stored;
    bool sound = stored_decode(record->value, &stored);

    must(sound);
    return keyindex_find(mvcc->index, stored.key);
}

bool mvcc_keeps(const struct mvcc *mvcc, const struct record *record, int64_t at)
{
    const struct keyindex_entry *entry = entry_of(mvcc, record);
    struct revision picked;
    bool tombstone;

    return entry != NULL && keyindex_pick(entry, at, &picked, &tombstone) &&
           revision_compare(picked, record->revision) == 0;
}

bool mvcc_sees(const struct mvcc *mvcc, const struct record *record, int64_t at)
{
    const struct keyindex_entry *entry = entry_of(mvcc, record);
    struct revision seen;

    return entry != NULL && keyindex_get(entry, at, &seen) &&
           revision_compare(seen, record->revision) == 0;
}

/* ---- one hash ---- */

static void begin_records(struct mvcc_hash *hash)
{
    hash->phase = HASH_RECORDS;
    hash->result.hash = hash->history = hash_begin();
    records_init(&hash->records, hash->view, (struct revision){.main = -1});
}

/* How many of `keys` are left to look at when it knows. */
static size_t find_kept(struct mvcc_hash *hash, size_t keys)
{
    struct keyindex_cursor cursor;
    struct keyindex_entry *entry;

    keyindex_seek(hash->mvcc->index, slice_of(hash->from, hash->from_bytes), &cursor);
    while ((entry = keyindex_next(&cursor)) != NULL) {
        struct revision picked;
        bool tombstone;

        if (keys == 0) {
            hash->from = xrealloc(hash->from, entry->key_size + 1U);
            hash->from_bytes = entry->key_size;
            memcpy(hash->from, entry->key, entry->key_size);
            return 0;
        }
        keys--;
        if (keyindex_pick(entry, hash->rule.at, &picked, &tombstone) && !tombstone) {
            hash->rule.keep_any = true;
            break;
        }
    }
    begin_records(hash);
    return keys;
}

static const struct remembered_hash *find_remembered(const struct mvcc *mvcc, int64_t revision)
{
    for (size_t i = 0; i < mvcc->remembered_count && revision != 0; i++) {
        if (mvcc->remembered[i].revision == revision)
            return &mvcc->remembered[i];
    }
    return NULL;
}

int64_t mvcc_hash_remembered(const struct mvcc *mvcc)
{
    return mvcc->remembered_count != 0 ? mvcc->remembered[mvcc->remembered_count - 1].revision : -1;
}

enum err_code mvcc_hash_check(const struct mvcc *mvcc, int64_t revision, bool *ready)
{
    *ready = find_remembered(mvcc, revision) != NULL;
    if (!*ready && revision > 0 && revision < mvcc->compacted)
        return ERR_COMPACTED;
    return !*ready && revision > mvcc->current ? ERR_FUTURE_REV : ERR_OK;
}

enum err_code mvcc_hash_start(struct mvcc *mvcc, int64_t revision, struct mvcc_hash **hash)
{
    const struct remembered_hash *remembered = find_remembered(mvcc, revision);
    struct mvcc_hash *made;
    bool ready;
    enum err_code code = mvcc_hash_check(mvcc, revision, &ready);

    if (code != ERR_OK)
        return code;
    made = xalloc(sizeof(*made));
    made->mvcc = mvcc;
    made->rule.at = revision == 0 ? mvcc->current : revision;
    made->rule.compacted = mvcc->compacted;
    made->result = (struct mvcc_hash_result){
        .compact_revision = mvcc->compacted,
        .hash_revision = made->rule.at,
        .current_revision = mvcc->current,
    };
    *hash = made;
    if (remembered != NULL) {
        made->phase = HASH_DONE;
        made->result.hash = remembered->hash;
        made->result.compact_revision = remembered->compact_revision;
        made->result.living = remembered->living;
        made->result.history = (struct mvcc_history){.known = !remembered->living,
                                                     .hash = remembered->history,
                                                     .compact_revision = revision};
        return ERR_OK;
    }
    made->view = view_ref(mvcc->env.view(mvcc->env.arg));
    mvcc_pin_add(mvcc, &made->pin, made->rule.at);
    made->phase = HASH_FIND_KEPT;
    return ERR_OK;
}

/*
 * Without a key that lives the rule takes in what it finds, be it about to be deleted by a
 * compaction that is at work; here that counts as deleted, so that the hash is the same before the
 * end of the work and after it.
 */
static bool is_going(const struct mvcc_hash *hash, const struct record *record)
{
    return !hash->rule.keep_any && record->revision.main <= hash->rule.compacted &&
           !mvcc_keeps(hash->mvcc, record, hash->rule.compacted);
}

static bool is_history(const struct mvcc_hash *hash, const struct record *record)
{
    return !hash->rule.keep_any && (record->revision.main > hash->rule.compacted ||
                                    mvcc_sees(hash->mvcc, record, hash->rule.compacted));
}

static void hash_records(struct mvcc_hash *hash, size_t entries)
{
    struct record record;

    for (size_t i = 0; i < entries; i++) {
        bool kept;

        if (!records_next(&hash->records, &record) || record.revision.main > hash->rule.at) {
            hash->phase = HASH_DONE;
            return;
        }
        kept = asks_kept(&hash->rule, &record) && mvcc_keeps(hash->mvcc, &record, hash->rule.at) &&
               !record.tombstone;
        if (hash_takes(&hash->rule, &record, kept) && !is_going(hash, &record))
            hash->result.hash = hash_record(hash->result.hash, &record);
        if (is_history(hash, &record))
            hash->history = hash_record(hash->history, &record);
    }
}

bool mvcc_hash_step(struct mvcc_hash *hash, size_t entries)
{
    must(entries > 0);
    switch (hash->phase) {
    case HASH_FIND_KEPT:
        entries = find_kept(hash, entries);
        if (hash->phase == HASH_RECORDS)
            hash_records(hash, entries);
        break;
    case HASH_RECORDS:
        hash_records(hash, entries);
        break;
    case HASH_DONE:
        break;
    }
    return hash->phase == HASH_DONE;
}

static struct mvcc_history walked_history(const struct mvcc_hash *hash)
{
    bool undisturbed = hash->mvcc->compacted == hash->rule.compacted;

    return (struct mvcc_history){.known = undisturbed && !hash->rule.keep_any,
                                 .hash = hash->history,
                                 .compact_revision = hash->rule.compacted};
}

struct mvcc_hash_result mvcc_hash_result(const struct mvcc_hash *hash)
{
    struct mvcc_hash_result result = hash->result;

    must(hash->phase == HASH_DONE);
    if (hash->view != NULL) {
        result.living = hash->rule.keep_any;
        result.history = walked_history(hash);
    }
    result.vague = result.compact_revision >= 0 && !result.living;
    return result;
}

void mvcc_hash_free(struct mvcc_hash *hash)
{
    if (hash == NULL)
        return;
    if (hash->records.view != NULL)
        records_fini(&hash->records);
    if (hash->view != NULL) {
        mvcc_pin_remove(&hash->pin);
        view_unref(hash->view);
    }
    free(hash->from);
    free(hash);
}
