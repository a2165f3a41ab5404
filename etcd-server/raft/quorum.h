/* quorum.h - who counts, and what a majority of them agrees on (Raft 5.2; joint consensus: 6).
 * A joint configuration has two halves, `voters` (incoming) and `voters_outgoing`; it agrees when
 * each half does. Pure; thread: any. */
#ifndef ETCD_SERVER_RAFT_QUORUM_H
#define ETCD_SERVER_RAFT_QUORUM_H

#include "common/schema/raftmsg.h"

#define QUORUM_IDS_MAX (3 * RAFT_MEMBERS_MAX) /* both halves and the learners */

/* Position of `id` among `count` ascending ids, or `count` when it is not there. */
size_t quorum_position(const uint64_t *ids, size_t count, uint64_t id);
bool quorum_is_voter(const struct raft_conf_state *conf, uint64_t id);   /* of either half */
bool quorum_is_learner(const struct raft_conf_state *conf, uint64_t id); /* or is to become one */
bool quorum_is_joint(const struct raft_conf_state *conf);
/* Everybody, ascending, each once; `ids` has room for QUORUM_IDS_MAX. Returns how many. */
size_t quorum_members(const struct raft_conf_state *conf, uint64_t *ids);

enum quorum_result { QUORUM_PENDING, QUORUM_WON, QUORUM_LOST };
enum quorum_answer { QUORUM_NO_ANSWER, QUORUM_YES, QUORUM_NO };
typedef enum quorum_answer quorum_answer_fn(const void *arg, uint64_t id);
/* Lost: so many said no that the others cannot make a majority any more. */
enum quorum_result quorum_tally(const struct raft_conf_state *conf, quorum_answer_fn *answer,
                                const void *arg);

typedef uint64_t quorum_number_fn(const void *arg, uint64_t id);
/* The largest number that a majority has reached; UINT64_MAX when there are no voters. */
uint64_t quorum_reached(const struct raft_conf_state *conf, quorum_number_fn *number,
                        const void *arg);

/*
 * Apply one simple change (raft.md 8.11): AddNode makes or promotes a voter, AddLearner adds or
 * demotes, RemoveNode takes out of both, UpdateNode changes nothing. False, and no change, when it
 * would pass RAFT_MEMBERS_MAX or leave no voter, or the configuration is joint.
 */
bool quorum_change(struct raft_conf_state *conf, enum raft_conf_change_type type,
                   uint64_t id) MUST_CHECK;

/*
 * Apply a change of the second kind: none = leave the joint configuration; one without a wish for
 * a transition = as above; else enter a joint one. A change of node 0 was vetoed and is left out.
 * False, and no change: as above, or it changes a joint configuration, or leaves what is none.
 */
bool quorum_change_v2(struct raft_conf_state *conf,
                      const struct raft_conf_change_v2 *change) MUST_CHECK;

#endif
