/*
 * progress.h - what the leader knows of one member: how far its log goes, what is on the way to
 * it. Pure. Thread: core.
 */
#ifndef ETCD_SERVER_RAFT_PROGRESS_H
#define ETCD_SERVER_RAFT_PROGRESS_H

#include "common/base/base.h"
#include "common/base/limits.h"

enum progress_state { PROGRESS_PROBE, PROGRESS_REPLICATE, PROGRESS_SNAPSHOT };

struct inflight {
    uint64_t last_index; /* of the entries of one MsgApp */
    size_t bytes;
};

struct progress {
    uint64_t id;
    uint64_t match; /* its log is known to agree with ours up to here */
    uint64_t next;  /* the next entry to send; match < next */
    enum progress_state state;
    bool probe_sent;           /* probe: wait for an answer before anything more is sent */
    bool recent_active;        /* heard from since the last check of the quorum */
    bool send_empty;           /* a MsgApp is due even without entries */
    uint64_t read_acked;       /* newest read round it has answered (readonly.h) */
    struct inflight *inflight; /* owned ring of RAFT_INFLIGHT_MAX, made when first needed */
    size_t inflight_first, inflight_count, inflight_bytes;
};

struct progress *progress_new(uint64_t id, uint64_t match, uint64_t next);
void progress_free(struct progress *progress); /* NULL is fine */

/* Must nothing be sent now? */
bool progress_paused(const struct progress *progress);
/* A MsgApp with entries up to `last_index`, `bytes` long, goes out. */
void progress_sent(struct progress *progress, uint64_t last_index, size_t bytes);
/* The member has everything up to `index`. False: old news. */
bool progress_accepted(struct progress *progress, uint64_t index) MUST_CHECK;
/* The member refused the MsgApp behind `index`; its log may agree up to `hint`. False: old news. */
bool progress_rejected(struct progress *progress, uint64_t index, uint64_t hint) MUST_CHECK;

void progress_probe(struct progress *progress); /* next = match + 1 */
void progress_replicate(struct progress *progress);
void progress_snapshot(struct progress *progress); /* nothing is sent until it is there */
/* The snapshot of `index` arrived; 0 = it did not. Either way wait for an answer first. */
void progress_snapshot_done(struct progress *progress, uint64_t index);
void progress_heard(struct progress *progress); /* answered a heartbeat */

#endif
