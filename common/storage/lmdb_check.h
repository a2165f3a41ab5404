/*
 * lmdb_check.h (edge) - is this file one that LMDB can be trusted with?
 *
 * LMDB believes what it maps: a cut or altered file makes it read past the end. So backend_lmdb.c
 * has the structure walked here before it opens a file: metas, every page of every tree, every
 * overflow run and the list of free pages; each page used once, keys ascending, all inside the
 * file. Values are not looked at. Costs one look at each tree page; the index rebuild that follows
 * a start reads the same pages.
 */
#ifndef COMMON_STORAGE_LMDB_CHECK_H
#define COMMON_STORAGE_LMDB_CHECK_H

#include "common/base/err.h"

#define LMDB_MAGIC 0xBEEFC0DEU          /* at byte 16 of a database of etcd-server */
#define LMDB_MAP_BYTES_MAX (1ULL << 44) /* a last page above this is damage, not data */

/*
 * errors  ERR_FORMAT: not an LMDB file, or one without exactly our buckets (a bbolt file is named
 *         as such); ERR_DAMAGED: ours, but cut off or altered; ERR_IO, ERR_NO_MEMORY
 * thread  any; nobody may write the file meanwhile
 */
int lmdb_check(const char *path, struct err *err) MUST_CHECK;

#endif
