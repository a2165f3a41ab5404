/*
 * force_new.h - --force-new-cluster: keep the data, forget all other members (formats.md 12.1).
 *
 * What the log holds behind its commit is dropped; then changes that remove every other member are
 * written behind it and committed. Works over fs.h. Thread: core, at start.
 */
#ifndef ETCD_SERVER_HOST_FORCE_NEW_H
#define ETCD_SERVER_HOST_FORCE_NEW_H

#include "etcd-server/host/boot.h"

/*
 * Rewrite the end of the open log of `boot`, durably; `boot` then holds what the log says now.
 *
 * consistent_index  of the backend: at least that much is committed
 * removed           set to the number of members that were taken out
 */
int force_new_cluster(const struct boot_config *config, struct boot *boot,
                      uint64_t consistent_index, size_t *removed, struct err *err) MUST_CHECK;

#endif
