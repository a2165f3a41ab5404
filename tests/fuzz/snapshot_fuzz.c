/*
 * snapshot_fuzz.c - any bytes as a snapshot file, as it is: hash, status and HashKV at several
 * revisions. What differs from bolt_fuzz.c is what lies behind sound pages: revisions and records.
 */
#include "common/storage/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const int64_t revisions[] = {0, 1, 110, 216, INT64_MAX};
    uint8_t *file = xalloc(MAX(bytes, 1U)); /* a copy of exact size, for the sanitizer to watch */
    struct snapshot_status status;
    struct snapshot_hashkv hash;
    struct bolt *bolt = NULL;
    struct err err = ERR_INIT;

    if (bytes != 0)
        memcpy(file, data, bytes);
    (void)snapshot_hash_check(slice_of(file, bytes), NULL, NULL);
    if (bolt_open_bytes(slice_of(file, bytes), "fuzz", &bolt, &err) == 0) {
        (void)!snapshot_status_of(bolt, &status, NULL, NULL, &err);
        for (size_t i = 0; i < ARRAY_LEN(revisions); i++)
            (void)!snapshot_hashkv(bolt, revisions[i], &hash, &err);
    }
    bolt_close(bolt);
    free(file);
    return 0;
}
