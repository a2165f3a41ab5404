/*
 * corrupt_check.h - do all members hold the same? Hashes of the store are compared over the peer
 * port (formats.md 11.5, raft.md 4.5).
 *
 *   at start   this member's hash with the others' at the same revision, before it serves clients
 *   by time    the leader: its hash now with the others' at that revision
 *   compacted  the leader: the hash that a compaction left behind with the others' of the same one
 *
 * What most members hold is right; who differs from it gets the alarm CORRUPT. Without a majority
 * nobody can say who is right: the alarm names member 0, as that of a leading etcd always does. At
 * start a member without a majority on its side does not serve. Whoever sees the alarm compares
 * once more by itself: a member that finds itself on the wrong side serves no data and says at
 * which revision it differs from whom; so does one that the alarm names and that finds no majority
 * to compare with. Pure. Thread: core.
 */
#ifndef ETCD_SERVER_SERVICE_CORRUPT_CHECK_H
#define ETCD_SERVER_SERVICE_CORRUPT_CHECK_H

#include "etcd-server/service/service.h"

struct corrupt_check;

struct corrupt_check_config {
    struct engine *engine;   /* borrowed, as the service */
    struct service *service; /* its hashes */
    bool initial;            /* compare before clients are served */
    uint64_t period_ms;      /* between comparisons of the whole store; 0 = none */
    uint64_t compact_ms;     /* between looks for new hashes of compactions; 0 = none */
};

struct corrupt_check *corrupt_check_new(const struct corrupt_check_config *config);
void corrupt_check_free(struct corrupt_check *check); /* before the service; NULL is fine */
void corrupt_check_tick(struct corrupt_check *check);

enum corrupt_start {
    CORRUPT_START_PENDING, /* do not serve clients yet */
    CORRUPT_START_GOOD,    /* nobody differs, or most agree with this member */
    CORRUPT_START_UNKNOWN, /* nobody could be compared with: serve all the same */
    CORRUPT_START_DIFFERS  /* this member must not serve */
};
/* How the comparison at start stands; CORRUPT_START_DIFFERS fills in `err`. */
enum corrupt_start corrupt_check_start(const struct corrupt_check *check, struct err *err);

#endif
