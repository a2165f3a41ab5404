/*
 * watch_follow.h - follow one watch until it ends: print its events, run a command for each, take
 * up again where it was when the connection breaks (cli.md 2.6). Thread: one for each watch.
 */
#ifndef ETCD_CTL_WATCH_FOLLOW_H
#define ETCD_CTL_WATCH_FOLLOW_H

#include "etcd-ctl/ctl.h"
#include "etcd-ctl/watch_stream.h"

struct watch_follow {
    struct ctl *ctl;                 /* of the watch's thread, but for its output */
    const struct watch_order *order; /* borrowed */
    /* of watch_follow.c, below its lock; zero at first */
    int64_t next; /* every event of lower revisions was shown */
    bool began, ended;
    bool asked;          /* for progress, which is told as soon as what is up to */
    int64_t asked_after; /* this revision was shown */
    Etcdserverpb__ResponseHeader asked_header;
};

/* Standard output is locked for each message. Returns the exit code, with everything said. */
int watch_follow(struct watch_follow *follow);

/* Any other thread: wait until the server took the watch (true), or it ended. */
bool watch_follow_began(struct watch_follow *follow);

/*
 * The same thread: have the revision shown that is current, as soon as the watch has shown the
 * events up to it. No watch, no answer. `asker` carries the question.
 */
void watch_follow_progress(struct watch_follow *follow, struct ctl *asker);

#endif
