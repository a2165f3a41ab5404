/* bolt_overlay.c - see bolt_overlay.h. A merge of two ascending lists, once for buckets and once
 * for entries; at equal keys the change wins. */
#include "common/storage/bolt_overlay.h"

static struct bolt_overlay *overlay_of(struct bolt_source *source)
{
    return CONTAINER_OF(source, struct bolt_overlay, source);
}

static int overlay_rewind(struct bolt_source *source, struct err *err)
{
    struct bolt_overlay *overlay = overlay_of(source);
    struct bolt_bucket root = bolt_root(overlay->bolt);

    bolt_cursor_init(&overlay->outer, &root);
    overlay->name = SLICE_EMPTY;
    overlay->change = 0;
    overlay->more_entries = false;
    return bolt_cursor_first(&overlay->outer, &overlay->bucket, &overlay->more_buckets, err);
}

static bool is_emptied(const struct bolt_overlay *overlay, struct slice name)
{
    for (size_t i = 0; i < overlay->emptied_count; i++)
        if (slice_equal(name, slice_text(overlay->emptied[i])))
            return true;
    return false;
}

/* Take the file's bucket in hand and look at the one behind it. */
static int enter_bucket(struct bolt_overlay *overlay, struct err *err)
{
    struct bolt_bucket bucket;

    overlay->more_entries = false;
    if (!is_emptied(overlay, overlay->bucket.key)) {
        if (bolt_bucket_open(overlay->bolt, &overlay->bucket, &bucket, err) < 0)
            return -1;
        bolt_cursor_init(&overlay->inner, &bucket);
        if (bolt_cursor_first(&overlay->inner, &overlay->entry, &overlay->more_entries, err) < 0)
            return -1;
    }
    return bolt_cursor_next(&overlay->outer, &overlay->bucket, &overlay->more_buckets, err);
}

static int overlay_next_bucket(struct bolt_source *source, struct slice *name, bool *found,
                               struct err *err)
{
    struct bolt_overlay *overlay = overlay_of(source);
    const struct bolt_change *changes = overlay->changes;
    bool changed;
    int order;

    while (overlay->name.data != NULL && overlay->change < overlay->change_count &&
           slice_equal(changes[overlay->change].bucket, overlay->name))
        overlay->change++; /* entries of the last bucket that were not asked for */
    overlay->more_entries = false;
    changed = overlay->change < overlay->change_count;
    *found = changed || overlay->more_buckets;
    if (!*found)
        return 0;
    order = !changed ? -1
            : !overlay->more_buckets
                ? 1
                : slice_compare(overlay->bucket.key, changes[overlay->change].bucket);
    overlay->name = order <= 0 ? overlay->bucket.key : changes[overlay->change].bucket;
    *name = overlay->name;
    return order <= 0 ? enter_bucket(overlay, err) : 0;
}

static int overlay_next_entry(struct bolt_source *source, struct slice *key, struct slice *value,
                              bool *found, struct err *err)
{
    struct bolt_overlay *overlay = overlay_of(source);
    const struct bolt_change *change =
        overlay->change < overlay->change_count ? &overlay->changes[overlay->change] : NULL;
    int order;

    if (change != NULL && !slice_equal(change->bucket, overlay->name))
        change = NULL;
    *found = change != NULL || overlay->more_entries;
    if (!*found)
        return 0;
    order = change == NULL           ? -1
            : !overlay->more_entries ? 1
                                     : slice_compare(overlay->entry.key, change->key);
    *key = order < 0 ? overlay->entry.key : change->key;
    *value = order < 0 ? overlay->entry.value : change->value;
    if (order < 0 && overlay->entry.is_bucket) {
        err_set(err, ERR_FORMAT, "not a database of etcd: a bucket inside bucket \"%.*s\"",
                (int)MIN(overlay->name.size, 64U), (const char *)overlay->name.data);
        return -1;
    }
    overlay->change += order >= 0;
    return order <= 0
               ? bolt_cursor_next(&overlay->inner, &overlay->entry, &overlay->more_entries, err)
               : 0;
}

void bolt_overlay_init(struct bolt_overlay *overlay, const struct bolt *bolt,
                       const char *const *emptied, size_t emptied_count,
                       const struct bolt_change *changes, size_t change_count)
{
    static const struct bolt_source_ops ops = {overlay_rewind, overlay_next_bucket,
                                               overlay_next_entry};

    *overlay = (struct bolt_overlay){.source = {.ops = &ops},
                                     .bolt = bolt,
                                     .emptied = emptied,
                                     .emptied_count = emptied_count,
                                     .changes = changes,
                                     .change_count = change_count};
}
