/*
 * wal_fuzz.c - any bytes as the one segment of a log: opened for writing they are refused with a
 * sentence, or give a log that takes an entry and reads back with it.
 */
#include "common/storage/wal.h"
#include "tests/lib/memfs.h"

#define DIR "m/wal"
#define FIRST DIR "/0000000000000000-0000000000000000.wal"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct memfs memfs;
    struct wal_config config = {.fs = &memfs.fs, .dir = DIR, .segment_bytes = 4096};
    struct wal_position start = {0, 0};
    struct raft_entry entry = {.term = 1, .data = SLICE_LITERAL("x")};
    struct wal_positions valid;
    struct wal_log log, again;
    struct wal *wal = NULL;
    struct err err = ERR_INIT;

    memfs_init(&memfs);
    memfs_put(&memfs, FIRST, slice_of(data, size));
    if (wal_valid_snapshots(&memfs.fs, DIR, &valid, &err) == 0)
        wal_positions_free(&valid);
    err = ERR_INIT;
    if (wal_open(&config, start, &log, &wal, &err) == 0) {
        entry.index = log.entry_count + 1;
        must(wal_append(wal, NULL, &entry, 1, &err) == 0);
        must(wal_sync(wal, &err) == 0);
        must(wal_read(&memfs.fs, DIR, start, &again, &err) == 0);
        must(again.entry_count == log.entry_count + 1 && again.torn_bytes == 0);
        wal_log_free(&again);
    } else {
        must(err.code != ERR_OK && err.text[0] != '\0');
    }
    wal_log_free(&log);
    wal_close(wal);
    memfs_fini(&memfs);
    return 0;
}
