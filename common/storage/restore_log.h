/*
 * restore_log.h (edge) - for snapshot_restore.c: the log and the .snap file that start a member of
 * a new cluster (formats.md 3.4, steps 5 to 7). Thread: any.
 */
#ifndef COMMON_STORAGE_RESTORE_LOG_H
#define COMMON_STORAGE_RESTORE_LOG_H

#include "common/schema/bootstrap.h"

#define RESTORE_TERM 1 /* of all that a restore writes; no election is ever won in it */

/*
 * Write `snap_dir`/<term>-<index>.snap, then the log as `wal_dir`, which must not exist; synced.
 * At most RAFT_MEMBERS_MAX members. ERR_IO, ERR_USAGE (they are too large).
 */
int restore_log_write(const struct bootstrap *bootstrap, const char *snap_dir, const char *wal_dir,
                      struct err *err) MUST_CHECK;

#endif
