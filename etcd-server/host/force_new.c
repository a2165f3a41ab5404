/*
 * force_new.c - see force_new.h.
 *
 *   log:  ... committed | not committed        ->   ... committed | remove b | remove c
 *
 * A record of an index that was there already takes its place and drops what is behind it
 * (formats.md 5.5), so appending is all that has to be done.
 */
#include "etcd-server/host/force_new.h"
#include "common/schema/member.h"
#include "etcd-server/raft/quorum.h"

#define CHANGES_MAX (2 * RAFT_MEMBERS_MAX + 1)
/* what etcd gives a member that does not know its own */
#define LOCAL_PEER_URL "http://localhost:2380"

/* The configuration at `commit`: the snapshot's, changed by the entries up to there. */
static int conf_at(const struct boot *boot, uint64_t commit, struct raft_conf_state *conf,
                   struct err *err)
{
    *conf = boot->snapshot.meta.conf_state;
    for (size_t i = 0; i < boot->log.entry_count && boot->log.entries[i].index <= commit; i++) {
        struct raft_conf_change change;

        if (boot->log.entries[i].type != RAFT_ENTRY_CONF_CHANGE)
            continue;
        if (raft_conf_change_decode(boot->log.entries[i].data, &change, err) < 0) {
            err_prefix(err, "log entry %" PRIu64, boot->log.entries[i].index);
            return -1;
        }
        if (!quorum_change(conf, change.type, change.node_id))
            continue; /* it was refused then, too */
    }
    return 0;
}

struct changes {
    struct raft_entry entries[CHANGES_MAX];
    struct buf data[CHANGES_MAX];
    size_t count;
    uint64_t term, next_index;
};

static void add_change(struct changes *changes, enum raft_conf_change_type type, uint64_t id,
                       struct slice context)
{
    struct raft_conf_change change = {.type = type, .node_id = id, .context = context};
    struct buf *data = &changes->data[changes->count];

    must(changes->count < CHANGES_MAX);
    *data = BUF_INIT(BUF_UNLIMITED);
    must(raft_conf_change_encode(&change, data));
    changes->entries[changes->count++] = (struct raft_entry){.type = RAFT_ENTRY_CONF_CHANGE,
                                                             .term = changes->term,
                                                             .index = changes->next_index++,
                                                             .data = buf_slice(data)};
}

static void add_self(struct changes *changes, uint64_t id, bool learner)
{
    static const char *const urls[] = {LOCAL_PEER_URL};
    struct buf context = BUF_INIT(BUF_UNLIMITED);
    struct member self;

    member_init(&self, id);
    member_set_peer_urls(&self, urls, ARRAY_LEN(urls));
    must(member_write_json(&self, learner, &context)); /* a learner is promoted */
    add_change(changes, RAFT_CONF_ADD_NODE, id, buf_slice(&context));
    member_fini(&self);
    buf_free(&context);
}

/*
 * Alone already, but behind the commit may stand the change that would end that, a member added
 * and never started: something must take its place.
 */
static void add_empty(struct changes *changes)
{
    changes->data[changes->count] = BUF_INIT(BUF_UNLIMITED);
    changes->entries[changes->count++] = (struct raft_entry){
        .type = RAFT_ENTRY_NORMAL, .term = changes->term, .index = changes->next_index++};
}

static void plan(struct changes *changes, const struct raft_conf_state *conf, uint64_t self)
{
    if (!quorum_is_voter(conf, self))
        add_self(changes, self, quorum_is_learner(conf, self));
    for (size_t i = 0; i < conf->voter_count; i++)
        if (conf->voters[i] != self)
            add_change(changes, RAFT_CONF_REMOVE_NODE, conf->voters[i], SLICE_EMPTY);
    for (size_t i = 0; i < conf->learner_count; i++)
        if (conf->learners[i] != self)
            add_change(changes, RAFT_CONF_REMOVE_NODE, conf->learners[i], SLICE_EMPTY);
}

int force_new_cluster(const struct boot_config *config, struct boot *boot,
                      uint64_t consistent_index, size_t *removed, struct err *err)
{
    uint64_t last = boot->snapshot.meta.index + boot->log.entry_count;
    uint64_t commit =
        MAX(MAX(boot->log.hard_state.commit, consistent_index), boot->snapshot.meta.index);
    struct raft_hard_state state = boot->log.hard_state;
    struct changes *changes = xalloc(sizeof(*changes));
    struct raft_conf_state conf;
    int rc = -1;

    commit = MIN(commit, last);
    *removed = 0;
    if (conf_at(boot, commit, &conf, err) < 0)
        goto out;
    changes->term = MAX(state.term, 1);
    changes->next_index = commit + 1;
    plan(changes, &conf, boot->log.metadata.node_id);
    if (changes->count == 0 && last > commit)
        add_empty(changes);
    rc = 0;
    if (changes->count == 0)
        goto out;
    for (size_t i = 0; i < conf.voter_count; i++)
        *removed += conf.voters[i] != boot->log.metadata.node_id;
    *removed += conf.learner_count;
    state.term = changes->term;
    state.commit = changes->next_index - 1;
    rc = wal_append(boot->wal, &state, changes->entries, changes->count, err);
    if (rc == 0)
        rc = wal_sync(boot->wal, err);
    if (rc == 0) {
        boot_free(boot);
        rc = boot_open_log(config, boot, err);
    }
out:
    for (size_t i = 0; i < changes->count; i++)
        buf_free(&changes->data[i]);
    free(changes);
    return rc;
}
