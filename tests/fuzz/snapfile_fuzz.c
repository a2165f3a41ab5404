/*
 * snapfile_fuzz.c - any bytes as a .snap file, and as the membership text in one: refused with a
 * sentence, or written again to something that reads the same. The checksum is put right first, so
 * that what is behind it gets its share.
 */
#include "common/storage/snapfile.h"
#include "common/storage/v2store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_text(struct slice text)
{
    struct v2store store, again;
    struct buf out = BUF_INIT(BUF_UNLIMITED);
    struct err err = ERR_INIT;

    if (v2store_read(text, &store, &err) < 0) {
        must(err.code == ERR_FORMAT && err.text[0] != '\0');
        return;
    }
    must(v2store_write(&store, &out));
    if (v2store_read(buf_slice(&out), &again, &err) == 0) {
        must(again.member_count == store.member_count);
        must(again.removed_count == store.removed_count);
        v2store_free(&again);
    } else {
        must(!"what we write we can read");
    }
    v2store_free(&store);
    buf_free(&out);
}

static void try_file(struct slice bytes)
{
    struct raft_snapshot snapshot;
    struct buf out = BUF_INIT(BUF_UNLIMITED);
    struct err err = ERR_INIT;

    if (snapfile_decode(bytes, &snapshot, &err) == 0) {
        must(snapfile_encode(&snapshot, &out));
        must(snapfile_decode(buf_slice(&out), &snapshot, &err) == 0);
        try_text(snapshot.data);
    } else {
        must(err.code != ERR_OK && err.text[0] != '\0');
    }
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct raft_snapshot snapshot;
    struct buf out = BUF_INIT(BUF_UNLIMITED);
    struct err err = ERR_INIT;

    try_file(slice_of(data, size));
    try_text(slice_of(data, size));
    if (raft_snapshot_decode(slice_of(data, size), &snapshot, &err) == 0) {
        must(snapfile_encode(&snapshot, &out));
        try_file(buf_slice(&out));
    }
    buf_free(&out);
    return 0;
}
