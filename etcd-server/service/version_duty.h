/*
 * version_duty.h - what only the leader does for the cluster's version (raft.md 9.6): ask every
 * member what it runs, raise the cluster version to the lowest of them (or lower it to the target
 * of a downgrade), and end a downgrade when all are there. Knows no call and no door. Pure.
 * Thread: core.
 */
#ifndef ETCD_SERVER_SERVICE_VERSION_DUTY_H
#define ETCD_SERVER_SERVICE_VERSION_DUTY_H

#include "common/schema/versions.h"
#include "etcd-server/engine/engine.h"

struct version_duty;

struct version_duty_config {
    struct engine *engine;       /* borrowed */
    uint64_t downgrade_check_ms; /* how often a downgrade is looked after; 0: never */
};

struct version_duty *version_duty_new(const struct version_duty_config *config);
void version_duty_free(struct version_duty *duty); /* before the engine; NULL is fine */
void version_duty_tick(struct version_duty *duty); /* stops the server when it fails the check */

/* ERR_USAGE: the cluster is above the own level and may use what this server cannot apply. */
int version_duty_check(struct engine *engine, struct err *err) MUST_CHECK;

/*
 * What the cluster version becomes. `now` is "3.4.0", or "" when there is none; `lowest` the lowest
 * that a member runs as version_level(), 0 when one of them did not say; `target` that of a
 * downgrade, "" when none runs. NULL: it stays as it is. Else the version, which may lie in `text`.
 */
const char *version_duty_decide(const char *now, unsigned lowest, const char *target,
                                char text[VERSION_TEXT_BYTES]);

#endif
