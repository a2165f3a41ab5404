/*
 * datadir_defrag.h (edge) - rewrite the database of a data directory without its free pages, while
 * no server runs on it: `defrag --data-dir`. Both kinds: LMDB of ours, bbolt of etcd. Thread: any.
 */
#ifndef COMMON_STORAGE_DATADIR_DEFRAG_H
#define COMMON_STORAGE_DATADIR_DEFRAG_H

#include "common/base/err.h"
#include "common/base/leftover.h"

/*
 * root           the directory with member/ in it
 * leftover       the new file is named there while it is not finished; NULL: nobody cleans up
 * before, after  bytes of the database file
 * errors         ERR_MISSING: no database there; ERR_LOCKED: a server has it; ERR_FORMAT,
 *                ERR_DAMAGED, ERR_IO: the old file is as it was
 */
int datadir_defrag(const char *root, struct leftover *leftover, uint64_t *before, uint64_t *after,
                   struct err *err) MUST_CHECK;

#endif
