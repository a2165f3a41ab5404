/*
 * poll.h - one question to all other members at once, by their peer URLs, and what each says. Pure.
 * Thread: core.
 */
#ifndef ETCD_SERVER_SERVICE_POLL_H
#define ETCD_SERVER_SERVICE_POLL_H

#include "etcd-server/engine/engine.h"

struct poll;

struct poll_config {
    struct engine *engine; /* borrowed */
    const char *path;      /* "/version"; GET; borrowed until the end */
    uint64_t timeout_ms;   /* of each question */
    bool started_only;     /* leave out who has not published its name yet */
    void *arg;
    /* Once for each of them. status 0: no answer; body borrowed for the call. */
    void (*answered)(void *arg, uint64_t member, unsigned status, struct slice body);
    /* Once, behind the last answer; may be before poll_start() returns. The poll is dead then. */
    void (*done)(void *arg);
};

/* NULL: done() was called already, for nobody is there or all have answered at once. */
struct poll *poll_start(const struct poll_config *config);
void poll_cancel(struct poll *poll); /* nothing is called any more; NULL is fine */

#endif
