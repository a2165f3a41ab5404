/*
 * snapshot_print.h - what `snapshot status` and `hashkv` print, in the forms of etcdutl 3.5 that
 * scripts parse (cli.md 3). Used by etcd-ctl and etcd-snap. Pure; thread: any.
 */
#ifndef COMMON_CLIENT_SNAPSHOT_PRINT_H
#define COMMON_CLIENT_SNAPSHOT_PRINT_H

#include "common/client/print.h"
#include "common/storage/snapshot.h"

/* False: `format` has no such form (protobuf). */
bool snapshot_print_status(struct buf *out, enum print_format format,
                           const struct snapshot_status *status) MUST_CHECK;
bool snapshot_print_hashkv(struct buf *out, enum print_format format,
                           const struct snapshot_hashkv *hash) MUST_CHECK;

#endif
