/*
 * model.h - what the store must be, written a second time and as simply as possible: every version
 * of every key is kept for ever, every question is answered by walking all of it (api.md 6, 8, 10).
 *
 * It is driven by the log: model_apply() takes the entries in order and says what the answer to
 * each must be. Answers are texts (see answer.h), so that a difference can be read.
 */
#ifndef TESTS_SIM_MODEL_H
#define TESTS_SIM_MODEL_H

#include "common/schema/raft_internal.pb-c.h"
#include "common/schema/raftmsg.h"
#include "tests/sim/rights.h"
#include "tests/sim/roster.h"

#define MODEL_KEYS_MAX 128
#define MODEL_LEASES_MAX 512
#define MODEL_ALARMS_MAX 16

struct model_version {
    int64_t main, sub, create, version, lease;
    bool tombstone;
    struct slice value; /* owned */
};

struct model_key {
    struct slice name; /* owned */
    struct model_version *versions;
    size_t count, capacity;
};

struct model {
    struct model_key keys[MODEL_KEYS_MAX]; /* ascending */
    size_t key_count;
    int64_t revision, compacted; /* 1; -1 = never */
    int64_t writes;              /* of the entry being applied */
    int64_t leases[MODEL_LEASES_MAX];
    size_t lease_count;
    Etcdserverpb__AlarmMember alarms[MODEL_ALARMS_MAX];
    size_t alarm_count;
    struct roster roster;
    struct rights rights;
    uint64_t index;     /* applied */
    int64_t *revisions; /* owned: after entry i + 1 */
    size_t revision_capacity;
    /* of the last entry applied */
    enum err_code code;
    struct buf answer; /* text; empty when it is not foretold */
};

void model_init(struct model *model);
void model_fini(struct model *model);

/* `request` is what the entry holds, NULL: a change of the members, or nothing. *added and
 * *removed: the member that it was about, unless it was refused. */
void model_apply(struct model *model, const struct raft_entry *entry,
                 const Etcdserverpb__InternalRaftRequest *request, uint64_t *added,
                 uint64_t *removed);
int64_t model_revision_at(const struct model *model, uint64_t index); /* 0: not applied yet */

/* The outcome of a read now; the text is appended to `answer`. */
enum err_code model_range(struct model *model, const Etcdserverpb__RangeRequest *request,
                          struct buf *answer);
enum err_code model_read_txn(struct model *model, const Etcdserverpb__TxnRequest *request,
                             struct buf *answer);
/* Does a compaction at `revision` surely keep something: a key that lives and was there before? */
bool model_keeps_at(const struct model *model, int64_t revision);
/* The first event of a range that is not before (main, sub). */
struct model_event {
    struct slice key;
    const struct model_version *version; /* borrowed until the next model_apply() */
    bool overwritten;                    /* by a later one of the same key and revision */
};
bool model_next_event(const struct model *model, ProtobufCBinaryData key,
                      ProtobufCBinaryData range_end, int64_t main, int64_t sub,
                      struct model_event *event);
/* As a watcher gets it; borrowed as the version. */
void model_event_key_value(const struct model_event *event, Mvccpb__KeyValue *kv);
/* The key as `revision` sees it; false when it does not live there. */
bool model_key_at(const struct model *model, struct slice name, int64_t revision,
                  Mvccpb__KeyValue *kv);
/* The key under `prefix` that was made first of those that live at `revision`; false: none does. */
bool model_oldest_at(const struct model *model, struct slice prefix, int64_t revision,
                     Mvccpb__KeyValue *kv);
bool model_has_lease(const struct model *model, int64_t id);
size_t model_lease_keys(const struct model *model, int64_t id); /* attached to it now */

#endif
