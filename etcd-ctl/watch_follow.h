/*
 * watch_follow.h - follow one watch until it ends: print its events, run a command for each, take
 * up again where it was when the connection breaks (cli.md 2.6). Thread: one for each watch.
 */
#ifndef ETCD_CTL_WATCH_FOLLOW_H
#define ETCD_CTL_WATCH_FOLLOW_H

#include "etcd-ctl/ctl.h"

struct watch_order {
    ProtobufCBinaryData key, range_end; /* borrowed */
    int64_t revision;                   /* first one wanted; 0 = from now */
    bool prev_kv, progress_notify;
    const char *const *command; /* NULL at its end; NULL = none; borrowed */
};

/*
 * `ctl` belongs to this thread but for standard output, which is locked for each message. Returns
 * the exit code, with everything said. A command that fails ends the program.
 */
int watch_follow(struct ctl *ctl, const struct watch_order *order);

#endif
