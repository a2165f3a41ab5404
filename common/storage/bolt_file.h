/* bolt_file.h (edge) - a bbolt image into a new file. Thread: any. */
#ifndef COMMON_STORAGE_BOLT_FILE_H
#define COMMON_STORAGE_BOLT_FILE_H

#include "common/storage/bolt_writer.h"

/*
 * Write what `source` has to `path` (mode 0600), and sync it. A failure leaves a part.
 * errors  ERR_IO, also when something is there already; what bolt_plan() and bolt_write() say
 */
int bolt_file_write(struct bolt_source *source, uint32_t page_bytes, const char *path,
                    struct err *err) MUST_CHECK;
/* The same to an open file that need not last: nothing is synced. `name` is for texts. */
int bolt_file_write_to(struct bolt_source *source, int fd, const char *name,
                       struct err *err) MUST_CHECK;

#endif
