/*
 * door.h - a call of a client, for door.c (how it is made and answered) and refusal.c (whether it
 * may be refused).
 */
#ifndef TESTS_SIM_DOOR_H
#define TESTS_SIM_DOOR_H

#include "tests/sim/sim.h"

struct sim_call {
    struct call call; /* first */
    struct sim_call *next;
    struct sim *sim;
    struct node *node; /* whom it asks */
    bool ended;
    bool for_voters;       /* and the member that it asks has no vote: it must be refused */
    unsigned serial;       /* of a put; 0 = none */
    uint64_t acknowledged; /* when it began */
    uint64_t began_ms;
    bool rights_on;           /* when it began */
    uint64_t rights_revision; /* then */
    bool token_over;          /* its token must not be taken any more */
    struct kv_source *slow;   /* a range that is still being read */
    struct buf expected, got;
    struct buf blob; /* of a snapshot */
    uint64_t remaining_bytes;
    int64_t slow_count, slow_revision;
    struct shared_pieces slow_pieces; /* of it; or count 0 */
};

static inline struct sim_call *door_own(struct call *call)
{
    return CONTAINER_OF(call, struct sim_call, call);
}

/* Does the entry applied last carry this call? */
bool door_is_mine(struct sim_call *own);

/* A read: what the model says to it now; its answer goes to own->expected. */
enum err_code door_expected_read(struct sim_call *own);

/* refusal.c: it is refused with that, now. */
void refusal_check(struct sim_call *own, enum err_code code);

#endif
