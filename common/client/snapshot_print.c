/* snapshot_print.c - see snapshot_print.h. */
#include "common/client/snapshot_print.h"

#include <stdio.h>

#define CELL_BYTES 32

bool snapshot_print_status(struct buf *out, enum print_format format,
                           const struct snapshot_status *status)
{
    static const char *const headings[] = {"HASH", "REVISION", "TOTAL KEYS", "TOTAL SIZE"};
    char hash[CELL_BYTES], revision[CELL_BYTES], keys[CELL_BYTES], size[PRINT_SIZE_MAX];
    const char *cells[] = {hash, revision, keys, size};

    (void)snprintf(hash, sizeof(hash), "%" PRIx32, status->hash);
    (void)snprintf(revision, sizeof(revision), "%" PRId64, status->revision);
    (void)snprintf(keys, sizeof(keys), "%" PRIu64, status->entries);
    print_size_text(status->bytes, size);
    switch (format) {
    case PRINT_SIMPLE:
        buf_printf(out, "%s, %s, %s, %s\n", hash, revision, keys, size);
        return true;
    case PRINT_JSON:
        buf_printf(out,
                   "{\"hash\":%" PRIu32 ",\"revision\":%s,\"totalKey\":%s,\"totalSize\":%" PRIu64
                   "}\n",
                   status->hash, revision, keys, status->bytes);
        return true;
    case PRINT_FIELDS:
        print_field_u64(out, "Hash", status->hash);
        print_field_i64(out, "Revision", status->revision);
        print_field_u64(out, "Keys", status->entries);
        print_field_u64(out, "Size", status->bytes);
        return true;
    case PRINT_TABLE:
        print_table(out, headings, ARRAY_LEN(headings), cells, 1);
        return true;
    case PRINT_PROTOBUF:
        return false;
    }
    return false;
}

bool snapshot_print_hashkv(struct buf *out, enum print_format format,
                           const struct snapshot_hashkv *hash)
{
    static const char *const headings[] = {"HASH", "HASH REVISION", "COMPACT REVISION"};
    char sum[CELL_BYTES], revision[CELL_BYTES], compact[CELL_BYTES];
    const char *cells[] = {sum, revision, compact};

    (void)snprintf(sum, sizeof(sum), "%" PRIu32, hash->hash);
    (void)snprintf(revision, sizeof(revision), "%" PRId64, hash->hash_revision);
    (void)snprintf(compact, sizeof(compact), "%" PRId64, hash->compact_revision);
    switch (format) {
    case PRINT_SIMPLE:
        buf_printf(out, "%s, %s, %s\n", sum, revision, compact);
        return true;
    case PRINT_JSON:
        buf_printf(out, "{\"hash\":%s,\"hashRevision\":%s,\"compactRevision\":%s}\n", sum, revision,
                   compact);
        return true;
    case PRINT_FIELDS:
        print_field_u64(out, "Hash", hash->hash);
        print_field_i64(out, "Hash revision", hash->hash_revision);
        print_field_i64(out, "Compact revision", hash->compact_revision);
        return true;
    case PRINT_TABLE:
        print_table(out, headings, ARRAY_LEN(headings), cells, 1);
        return true;
    case PRINT_PROTOBUF:
        return false;
    }
    return false;
}
