/*
 * bolt_fuzz.c - any bytes as a bbolt file: opened, checked, walked, searched. The checksums of the
 * metas are put right first, or nothing behind them would be reached. A walk that ends well is
 * written out again and must give the same entries.
 */
#include "common/base/buf.h"
#include "common/storage/bolt_overlay.h"
#include "common/storage/bolt_page.h"
#include "common/storage/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void mend(uint8_t *file, size_t bytes, size_t offset)
{
    uint8_t *meta = file + offset + BOLT_HEADER_BYTES;

    if (bytes < BOLT_HEADER_BYTES + BOLT_META_BYTES ||
        offset > bytes - BOLT_HEADER_BYTES - BOLT_META_BYTES)
        return;
    bolt_store(meta, BOLT_MAGIC, 4);
    bolt_store(meta + 4, BOLT_VERSION, 4);
    bolt_store(meta + BOLT_META_SUMMED, bolt_fnv(meta, BOLT_META_SUMMED), 8);
}

static void search(const struct bolt *bolt)
{
    static const char *const names[] = {"key", "meta", "members", ""};
    struct bolt_bucket bucket;
    struct bolt_cursor cursor;
    struct bolt_entry entry;
    struct slice value;
    struct err err = ERR_INIT;
    bool found;

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (bolt_bucket_find(bolt, slice_text(names[i]), &bucket, &found, &err) < 0 || !found)
            continue;
        (void)!bolt_get(&bucket, SLICE_LITERAL("consistent_index"), &value, &found, &err);
        bolt_cursor_init(&cursor, &bucket);
        if (bolt_cursor_last(&cursor, &entry, &found, &err) == 0 && found)
            (void)!bolt_cursor_seek(&cursor, entry.key, &entry, &found, &err);
        (void)!bolt_cursor_next(&cursor, &entry, &found, &err);
    }
}

static int image_sink(void *arg, struct buf *bytes, struct err *err)
{
    (void)err;
    return buf_append_slice(arg, buf_slice(bytes)) ? 0 : -1;
}

static void rewrite(const struct bolt *bolt, const struct snapshot_status *before)
{
    struct bolt_write_options options = {.page_bytes = 1024};
    struct snapshot_status after;
    struct buf image = BUF_INIT(64 * MIB);
    struct bolt_overlay overlay;
    struct bolt_plan plan;
    struct bolt *copy = NULL;
    struct err err = ERR_INIT;

    bolt_overlay_init(&overlay, bolt, NULL, 0, NULL, 0);
    if (bolt_plan(&overlay.source, &options, &plan, &err) == 0 &&
        bolt_write(&overlay.source, &plan, image_sink, &image, &err) == 0) {
        must(bolt_open_bytes(buf_slice(&image), "copy", &copy, &err) == 0);
        must(snapshot_status_of(copy, &after, NULL, NULL, &err) == 0);
        must(after.hash == before->hash && after.entries == before->entries);
    }
    bolt_close(copy);
    buf_free(&image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    uint8_t *file = xalloc(MAX(bytes, 1U));
    struct snapshot_status status;
    struct bolt *bolt = NULL;
    struct err err = ERR_INIT;
    uint64_t findings;

    if (bytes != 0)
        memcpy(file, data, bytes);
    mend(file, bytes, 0);
    mend(file, bytes, bytes >= BOLT_HEADER_BYTES + BOLT_META_BYTES ? bolt_u32(file + 24) : 0);
    if (bolt_open_bytes(slice_of(file, bytes), "fuzz", &bolt, &err) == 0) {
        must(bolt_check(bolt, NULL, NULL, &findings, &err) == 0);
        search(bolt);
        if (snapshot_status_of(bolt, &status, NULL, NULL, &err) == 0)
            rewrite(bolt, &status);
    }
    bolt_close(bolt);
    free(file);
    return 0;
}
