/* quorum.h - who counts, and what a majority of them agrees on (Raft 5.2; joint consensus: 6).
 * Pure. */
#ifndef ETCD_SERVER_RAFT_QUORUM_H
#define ETCD_SERVER_RAFT_QUORUM_H

#include "common/schema/raftmsg.h"

/* Position of `id` among `count` ascending ids, or `count` when it is not there. */
size_t quorum_position(const uint64_t *ids, size_t count, uint64_t id);
bool quorum_is_voter(const struct raft_conf_state *conf, uint64_t id);
bool quorum_is_learner(const struct raft_conf_state *conf, uint64_t id);

/*
 * Apply one simple change (raft.md 8.11): AddNode makes or promotes a voter, AddLearner adds or
 * demotes, RemoveNode takes out of both, UpdateNode changes nothing. False, and no change, when it
 * would pass RAFT_MEMBERS_MAX or leave no voter.
 */
bool quorum_change(struct raft_conf_state *conf, enum raft_conf_change_type type,
                   uint64_t id) MUST_CHECK;

#endif
