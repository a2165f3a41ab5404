/*
 * snapshot_open.h (edge) - open what a snapshot is made of, whatever holds it: a snapshot file, a
 * copy of etcd's member/snap/db, or that of an etcd-server that is not running. Thread: any.
 */
#ifndef COMMON_STORAGE_SNAPSHOT_OPEN_H
#define COMMON_STORAGE_SNAPSHOT_OPEN_H

#include "common/storage/bolt.h"

/*
 * As bolt_open(). An LMDB file of ours is read, never written, and made into a bbolt image without
 * a SHA-256: a file without a name in $TMPDIR, else /var/tmp, which bolt_close() gives back. It is
 * locked while that is made, so that no server and no defrag begins on it meanwhile.
 *
 * errors  those of bolt_open(); ERR_DAMAGED, ERR_FORMAT of backend_open_lmdb(); ERR_IO: no room for
 *         the image
 */
int snapshot_open(const char *path, struct bolt **bolt, struct err *err) MUST_CHECK;

#endif
