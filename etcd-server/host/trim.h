/*
 * trim.h - memory that was needed for a moment, for large answers or a flood of clients, goes back
 * to the system: the allocator keeps what is free below the last block in use. Edge; thread: core.
 */
#ifndef ETCD_SERVER_HOST_TRIM_H
#define ETCD_SERVER_HOST_TRIM_H

#include "common/base/base.h"

struct trim {
    uint64_t next_ms; /* when to look again */
};

/* Cheap; now and then it looks, and gives back if it is worth it. */
void trim_tick(struct trim *trim, uint64_t now_ms);

#endif
