/*
 * plants.h - known bugs that can be planted, to prove that the simulator would find them.
 *
 * Only in a build with -DSIM_PLANTS (make sim-plants), where the simulator chooses one; in every
 * other build PLANTED() is the constant false and what it guards is not compiled in. One line per
 * bug, at one place in the code. Thread: any.
 */
#ifndef COMMON_BASE_PLANTS_H
#define COMMON_BASE_PLANTS_H

#define PLANTS(PLANT)                                                                              \
    PLANT(ACK_BEFORE_FSYNC, "requests are reported durable before the sync")                       \
    PLANT(INDEX_APART, "the consistent index is committed after the data it speaks of")            \
    PLANT(TORN_TAIL, "a torn record at the end of the log is taken for good")                      \
    PLANT(APPLY_EARLY, "entries are applied before they are durable")                              \
    PLANT(SNAPSHOT_EARLY, "a snapshot is saved before the backend has what it stands for")         \
    PLANT(SEGMENT_NAME, "the directory is not synced after a new segment got its name")            \
    PLANT(COMPACTION_MARK, "the mark of an ordered compaction is not saved")                       \
    PLANT(LEAF_UNTOUCHED, "a range that was asked for before does not see a put")                  \
    PLANT(WATCH_SEAM, "a watcher that begins at the newest revision does not read it")             \
    PLANT(WATCH_PROGRESS, "progress is told to watchers that have events coming")                  \
    PLANT(LEASE_GONE, "the renewal of a revoked lease is accepted")                                \
    PLANT(LEASE_EARLY, "a renewal is answered, but the lease expires as before")                   \
    PLANT(VOTE_FORGOTTEN, "the vote is not written to the log")                                    \
    PLANT(TERM_UNSAVED, "a vote is given before it is durable")                                    \
    PLANT(APPEND_EARLY, "a follower acknowledges entries before they are durable")                 \
    PLANT(COMMIT_OLD_TERM, "a leader counts replicas of an entry of an older term")                \
    PLANT(STALE_VOTE, "a vote is given to a candidate with an older log")                          \
    PLANT(LEARNER_COUNTS, "a learner counts in the quorum of a commit")                            \
    PLANT(HEARTBEAT_COMMIT, "a heartbeat commits what the follower has, whosever it is")           \
    PLANT(TWO_CHANGES, "a second change of the members is taken before the first is applied")      \
    PLANT(READ_UNASKED, "a read index is given without asking a quorum")                           \
    PLANT(READ_EARLY, "a read index is given before the leader committed in its term")             \
    PLANT(READ_UNAPPLIED, "a confirmed read does not wait until its index is applied")             \
    PLANT(SNAPSHOT_TERM, "a snapshot's log record takes back the vote given since")                \
    PLANT(SNAPSHOT_LATE, "a snapshot is sent by who does not lead any more")                       \
    PLANT(SNAPSHOT_TAIL, "entries behind a snapshot of the leader come back")                      \
    PLANT(REPLAY_TWICE, "entries that the backend has are applied to it again")                    \
    PLANT(KEPT_TWICE, "a proposal that waited for a leader is sent twice")                         \
    PLANT(LEASE_UNEXTENDED, "a new leader takes all leases for expired")                           \
    PLANT(LEASE_DEPOSED, "who led before goes on ending leases")                                   \
    PLANT(LEASE_TAKEN, "keys of a revoked lease stay")                                             \
    PLANT(HASH_REVISION, "members' stores are compared at whatever revision each has")             \
    PLANT(HASH_COMPACTED, "members' stores are compared though compacted at other revisions")      \
    PLANT(HASH_VAGUE, "stores without keys are compared with what is not deleted yet")             \
    PLANT(HASH_BLAME, "the member that compares takes its own store for the right one")            \
    PLANT(HASH_FORGOTTEN, "hashes that compactions left behind are not compared")                  \
    PLANT(HASH_UNTOLD, "the leader finds members whose stores differ and raises no alarm")         \
    PLANT(HASH_SERVED, "who differs from the others at its start serves all the same")             \
    PLANT(WATCH_RIGHTS, "nobody is asked for his rights before he watches")                        \
    PLANT(LEASE_RIGHTS, "whoever may write nothing of a lease renews it")                          \
    PLANT(USER_ROLES_CUT, "UserGet leaves out all roles but the first")                            \
    PLANT(ROLE_PERMISSIONS_CUT, "RoleGet leaves out the last permission")                          \
    PLANT(USER_LIST_CUT, "UserList leaves out the last user")                                      \
    PLANT(ROLE_LIST_CUT, "RoleList leaves out the last role")                                      \
    PLANT(PROMOTE_EARLY, "a follower answers a promotion that it does not know of yet")            \
    PLANT(LOCK_UNCHECKED, "who has waited owns the lock, whether its key is there or not")         \
    PLANT(LOCK_PREDECESSOR, "who waits for a lock overlooks the key right before its own")         \
    PLANT(LOCK_ASLEEP, "who waits for a lock misses a deletion right behind its look")             \
    PLANT(LOCK_LEFT, "who leaves the line for a lock leaves its key there")                        \
    PLANT(OBSERVE_BLIND, "who observes hears nothing more when its history was compacted")         \
    PLANT(OBSERVE_DEAF, "who observes does not read who leads after the leader's key went")        \
    PLANT(OBSERVE_ANYBODY, "who observes takes any key that is put for the leader's")              \
    PLANT(OBSERVE_AGAIN, "who observes is told again what it knows")                               \
    PLANT(AUTH_AT_PROPOSAL, "only the member that proposed checks who may do what it applies")     \
    PLANT(AUTH_STALE_TOKEN, "a token is good after its user's password was changed")               \
    PLANT(AUTH_TOKEN_FOREVER, "tokens that nobody uses do not expire")                             \
    PLANT(AUTH_OLD_REVISION, "what was proposed before rights changed is carried out after it")    \
    PLANT(AUTH_LOGIN_RACE, "a login is not checked again when users changed meanwhile")            \
    PLANT(AUTH_RANGES_KEPT, "what a user may do is not made anew when rights change")              \
    PLANT(AUTH_REVISION_UNSAVED, "the auth revision is not stored, and goes back at a restart")

#define PLANT_ID(name, words) PLANT_##name,
enum plant { PLANT_NONE, PLANTS(PLANT_ID) PLANT_COUNT };
#undef PLANT_ID

#ifdef SIM_PLANTS
extern enum plant planted; /* defined by the simulator */
#define PLANTED(name) (planted == PLANT_##name)
#else
#define PLANTED(name) 0
#endif

#endif
