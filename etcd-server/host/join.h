/*
 * join.h (edge) - what a member asks of the others before it has a log (raft.md 10): GET /members
 * of their peer URLs, checked against its own --initial-cluster, and when it joins their versions.
 * Blocks. Thread: core, at the start only.
 */
#ifndef ETCD_SERVER_HOST_JOIN_H
#define ETCD_SERVER_HOST_JOIN_H

#include "common/base/limits.h"
#include "common/schema/bootstrap.h"
#include "common/tls/tls.h"

struct join_config {
    /* from --initial-cluster: who should be there, and who we are */
    const struct bootstrap *expected;
    bootstrap_resolve_fn
        *resolve; /* where its URLs are not spelled as the cluster's; may be NULL */
    void *resolve_arg;
    struct tls_context *tls; /* borrowed; for https peers, NULL = none */
    uint64_t timeout_ms;     /* of each question */
};

struct join {
    uint64_t member_id, cluster_id; /* ours, as the cluster knows them */
    struct member *members;         /* owned: the cluster's list */
    size_t member_count;
};

/*
 * join    set on success only; join_free()
 * errors  ERR_NET "cannot fetch cluster info from peer urls ..." with the last cause;
 *         ERR_USAGE "error validating peerURLs ...": the lists differ, with what to do;
 *         "incompatible with current running cluster ...": of another version (ERR_NET: of none)
 */
int join_cluster(const struct join_config *config, struct join *join, struct err *err) MUST_CHECK;
/*
 * For a member of a new cluster: it must not be one that the others have seen serving already, for
 * then it has lost what it promised, and would vote a second time.
 * errors  ERR_USAGE "member ... has already been bootstrapped ..."; nobody there is none
 */
int join_not_bootstrapped(const struct join_config *config, struct err *err) MUST_CHECK;
void join_free(struct join *join); /* zeroed is fine */

#endif
