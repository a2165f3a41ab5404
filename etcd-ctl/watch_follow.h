/*
 * watch_follow.h - follow one watch until it ends: print its events, run a command for each, take
 * up again where it was when the connection breaks (cli.md 2.6). Thread: one for each watch.
 */
#ifndef ETCD_CTL_WATCH_FOLLOW_H
#define ETCD_CTL_WATCH_FOLLOW_H

#include "etcd-ctl/ctl.h"
#include "etcd-ctl/watch_stream.h"

/*
 * `ctl` belongs to this thread but for standard output, which is locked for each message. Returns
 * the exit code, with everything said. A command that fails ends the program.
 */
int watch_follow(struct ctl *ctl, const struct watch_order *order);

#endif
