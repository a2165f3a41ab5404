/*
 * snapshot_fetch.h (edge) - `snapshot save`: Maintenance.Snapshot through a client, into a file.
 * Used by etcd-ctl and etcd-snap. Thread: the client's.
 */
#ifndef COMMON_CLIENT_SNAPSHOT_FETCH_H
#define COMMON_CLIENT_SNAPSHOT_FETCH_H

#include "common/base/leftover.h"
#include "common/client/client.h"
#include "common/storage/snapshot.h"

/* After each piece; `remaining` counts the image only. */
typedef void snapshot_progress_fn(void *arg, uint64_t received, uint64_t remaining);

/*
 * Fetch a snapshot from the one endpoint of `client` and put it at `path`, durably, mode 0600.
 *
 * leftover  knows of the file that is not whole yet; may be NULL
 * progress  may be NULL
 * version   the server's storage version (3.6 and later), else ""
 * errors    ERR_USAGE (more than one endpoint), snapshot_save.h's, client_stream()'s
 */
int snapshot_fetch(struct client *client, const char *path, struct leftover *leftover,
                   snapshot_progress_fn *progress, void *arg, char version[SNAPSHOT_VERSION_MAX],
                   struct err *err) MUST_CHECK;

#endif
