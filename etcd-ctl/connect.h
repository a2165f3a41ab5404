/*
 * connect.h - from flags to clients: the one of the global flags, and make-mirror's destination.
 * Thread: main.
 */
#ifndef ETCD_CTL_CONNECT_H
#define ETCD_CTL_CONNECT_H

#include "etcd-ctl/ctl.h"

/* The client of the global flags, in ctl->client. 0, or the exit code with everything said. */
int connect_source(struct ctl *ctl, const struct args *args) MUST_CHECK;
/* The client of the --dest-... flags, for `endpoint`; owned. 0, or the exit code. */
int connect_destination(const struct args *args, const char *endpoint,
                        struct client **client) MUST_CHECK;
/* A client's hint on standard error, with the flags of the destination for those of the source. */
void connect_destination_hint(const char *hint);

#endif
