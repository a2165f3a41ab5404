/*
 * member.h - who belongs to the cluster: members, removed ids, cluster version (formats.md 2.4,
 * raft.md 9.2). Changes come from the log only; what they change in the buckets goes to a batch.
 * Pure. Thread: core.
 */
#ifndef ETCD_SERVER_STATE_MEMBER_H
#define ETCD_SERVER_STATE_MEMBER_H

#include "common/schema/member.h"
#include "common/schema/raftmsg.h"
#include "common/storage/backend.h"
#include "common/storage/batch.h"

struct member_store;

struct member_store *member_store_new(void);
void member_store_free(struct member_store *members);
/* Members come from a snapshot's text and the log; a running downgrade from its bucket. */
void member_store_restore_downgrade(struct member_store *members, struct backend_read *read);

/*
 * Make the bucket say what `members` say: those who are none are taken out of it, learners and
 * voters set right. etcd before 3.5.20 left both wrong, and etcd 3.6 believes the bucket
 * (formats.md 6.2). What differs goes to `batch`. Needs members as new as the database.
 */
void member_store_repair(const struct member_store *members, struct backend_read *read,
                         struct batch *batch);

size_t member_count(const struct member_store *members);
/* Ascending ids. */
const struct member *member_at(const struct member_store *members, size_t position);
const struct member *member_find(const struct member_store *members, uint64_t id); /* NULL: none */
size_t member_learner_count(const struct member_store *members);
bool member_is_removed(const struct member_store *members, uint64_t id);
const char *member_cluster_version(const struct member_store *members); /* "" until decided */

/*
 * Apply one configuration change (raft.md 9.2): validate against the membership, then carry it out.
 * `batch` NULL: in memory only (the backend has it already). Refusals: ERR_MEMBER_EXIST,
 * ERR_PEER_URL_EXIST, ERR_TOO_MANY_LEARNERS (of those that the entry allows), ERR_TOO_MANY_MEMBERS,
 * ERR_MEMBER_NOT_FOUND, ERR_MEMBER_NOT_LEARNER, ERR_MEMBER_NOT_ENOUGH_STARTED (the last voter).
 */
enum err_code member_apply_change(struct member_store *members,
                                  const struct raft_conf_change *change,
                                  struct batch *batch) MUST_CHECK;
/* A member publishes itself; unknown or removed ids are ignored. */
void member_apply_attributes(struct member_store *members, uint64_t id, const char *name,
                             const char *const *client_urls, size_t count, struct batch *batch);
void member_apply_version(struct member_store *members, const char *version, struct batch *batch);
/* A downgrade begins (`version` is its target) or ends. */
void member_apply_downgrade(struct member_store *members, bool enabled, const char *version,
                            struct batch *batch);
const char *member_downgrade_target(const struct member_store *members); /* "" when none runs */
/* The same two as an old v2 request (formats.md 9.3); other requests have no effect. */
void member_apply_v2(struct member_store *members, struct slice method, struct slice path,
                     struct slice value, struct batch *batch);
/* From the v2 text of a snapshot (formats.md 6.2), and that text of what is so now. */
int member_store_read_v2(struct member_store *members, struct slice text,
                         struct err *err) MUST_CHECK;
void member_store_write_v2(const struct member_store *members, uint64_t index, struct buf *out);
void member_store_set_removed(struct member_store *members, uint64_t id);

#endif
