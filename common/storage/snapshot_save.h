/*
 * snapshot_save.h (edge) - receive a snapshot in pieces and put it in place only when it is whole.
 *
 * The pieces go to PATH.part (mode 0600), summed on the way; the end checks the size (a whole
 * number of sectors plus the hash) and that nothing changed on the way: by the SHA-256 behind the
 * image, or, a tenth of the work, by a CRC-32C that the sender gives beside it. Then it syncs and
 * renames. Whatever goes wrong, PATH is as it was. Knows no network: who fetches the pieces is
 * snapshot_fetch.h, or a test. Thread: one.
 */
#ifndef COMMON_STORAGE_SNAPSHOT_SAVE_H
#define COMMON_STORAGE_SNAPSHOT_SAVE_H

#include "common/base/err.h"
#include "common/base/leftover.h"
#include "common/base/slice.h"

struct snapshot_save; /* owned; ends in snapshot_save_finish() or snapshot_save_abort() */

/* `leftover`: knows of PATH.part, as long as it is there; borrowed for the save; may be NULL. */
int snapshot_save_begin(const char *path, struct leftover *leftover, struct snapshot_save **save,
                        struct err *err) MUST_CHECK;
/*
 * Where the next bytes would best be received, `*bytes` of room: handed to snapshot_save_add() from
 * there they need no copying. Valid until that call.
 */
uint8_t *snapshot_save_room(struct snapshot_save *save, size_t *bytes);
/* The next bytes of image or hash, in order; borrowed. ERR_IO; the save is then to be aborted. */
int snapshot_save_add(struct snapshot_save *save, struct slice bytes, struct err *err) MUST_CHECK;
/* Before the first bytes: the sender will tell their CRC-32C at the end. */
void snapshot_save_expect_crc(struct snapshot_save *save);
/* At the end, as the sender told it. When it never came the file is read once more for the hash. */
void snapshot_save_crc(struct snapshot_save *save, uint32_t crc);
uint64_t snapshot_save_bytes(const struct snapshot_save *save); /* received so far */
/*
 * Everything was received. `save` is taken.
 * errors  ERR_TORN (size: the stream was cut), ERR_CHECKSUM, ERR_IO; PATH.part is gone then
 */
int snapshot_save_finish(struct snapshot_save *save, struct err *err) MUST_CHECK;
/* Drop PATH.part and free. NULL is fine. */
void snapshot_save_abort(struct snapshot_save *save);

#endif
