/*
 * ids.h - the ids that members agree on without talking (formats.md 10): of members, of the
 * cluster, of requests. Pure: the time is handed in. Thread: any, one at a time.
 */
#ifndef COMMON_SCHEMA_IDS_H
#define COMMON_SCHEMA_IDS_H

#include "common/base/base.h"

/*
 * Member id: from the texts of its peer URLs, in any order, and the cluster token. A member added
 * at run time has the token "" and the time of the call, others pass IDS_NO_TIME.
 */
#define IDS_NO_TIME INT64_MIN
uint64_t ids_member(const char *const *urls, size_t url_count, const char *token,
                    int64_t unix_seconds) MUST_CHECK;

/* Cluster id: from the ids of its first members, in any order. */
uint64_t ids_cluster(const uint64_t *members, size_t member_count) MUST_CHECK;

/* Request ids: unique across members and restarts. Owned by the proposer. */
struct request_ids {
    uint64_t high;    /* top 16 bits: low 16 of the member id */
    uint64_t counter; /* low 48 bits; incremented before each use */
};
void request_ids_init(struct request_ids *ids, uint64_t member_id, uint64_t unix_ms);
uint64_t request_ids_next(struct request_ids *ids) MUST_CHECK;

#endif
