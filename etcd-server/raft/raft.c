/*
 * raft.c - see raft.h. Raft for a configuration of one voter; messages between members come with
 * the peer transport.
 *
 *            campaign, sole voter
 *  FOLLOWER ----------------------> LEADER      (term + 1, vote for itself, one empty entry)
 *
 * A sole voter is its own quorum: an entry commits when it is durable here (5.3), and only by an
 * entry of the own term (5.4.2). Hard state and entries of one raft_ready() travel in one request,
 * so term and vote are durable before anything of that term commits.
 */
#include "common/base/base.h"
#include "etcd-server/raft/raft.h"
#include "etcd-server/raft/raft_log.h"
#include "etcd-server/raft/quorum.h"

#define PERSISTS_MAX                                                                               \
    1024 /* requests to the log writer under way; raft_ready() waits at this many */

struct persist {
    uint64_t id;
    uint64_t last_index;
};

struct raft {
    uint64_t id;
    unsigned election_ticks, elapsed_ticks, timeout_ticks;
    uint64_t random;
    enum raft_role role;
    uint64_t leader;
    struct raft_hard_state hard_state; /* commit is kept in log.committed until it is saved */
    struct raft_hard_state saved;      /* as last handed out */
    struct raft_log log;
    uint64_t appended; /* entries handed out to be made durable */
    struct raft_conf_state conf;
    uint64_t pending_conf_index; /* newest conf change in the log; one at a time */

    struct persist persists[PERSISTS_MAX]; /* ring, in order */
    size_t persist_first, persist_count;
    uint64_t next_persist_id;

    struct raft_read *reads; /* owned: answered reads not yet handed out */
    size_t read_count, read_capacity;
    struct raft_read *waiting; /* owned: reads before the first commit of this term */
    size_t waiting_count, waiting_capacity;
    size_t reads_given; /* handed out by the last raft_ready() */
    bool leader_changed;
};

static uint64_t next_random(struct raft *raft)
{
    uint64_t x = raft->random; /* xorshift64: never 0 */

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return raft->random = x;
}

static void reset_timer(struct raft *raft)
{
    raft->elapsed_ticks = 0;
    raft->timeout_ticks =
        raft->election_ticks + (unsigned)(next_random(raft) % raft->election_ticks);
}

static bool is_sole_voter(const struct raft *raft)
{
    return raft->conf.voter_count == 1 && raft->conf.voters[0] == raft->id &&
           raft->conf.voter_outgoing_count == 0;
}

struct raft *raft_new(const struct raft_config *config)
{
    struct raft *raft = xalloc(sizeof(*raft));

    must(config->id != 0 && config->election_ticks != 0);
    raft->id = config->id;
    raft->election_ticks = config->election_ticks;
    raft->random = config->seed | 1;
    raft->hard_state = config->hard_state;
    raft->conf = config->snapshot.conf_state;
    raft_log_init(&raft->log, config->snapshot.index, config->snapshot.term);
    for (size_t i = 0; i < config->entry_count; i++) {
        must(config->entries[i].index == raft->log.last_index + 1);
        raft_log_append(&raft->log, config->entries[i].type, config->entries[i].term,
                        config->entries[i].data);
    }
    raft->log.stable = raft->log.last_index;
    raft->appended = raft->log.last_index;
    raft->log.committed =
        MIN(MAX(config->hard_state.commit, config->snapshot.index), raft->log.last_index);
    must(config->applied >= config->snapshot.index && config->applied <= raft->log.committed);
    raft->log.handed = config->applied;
    raft->hard_state.commit = raft->log.committed;
    raft->saved = raft->hard_state;
    reset_timer(raft);
    return raft;
}

void raft_free(struct raft *raft)
{
    if (raft == NULL)
        return;
    raft_log_fini(&raft->log);
    free(raft->reads);
    free(raft->waiting);
    free(raft);
}

static void push_read(struct raft_read **reads, size_t *count, size_t *capacity,
                      struct raft_read read)
{
    if (*count == *capacity) {
        *capacity = MAX(*capacity * 2, 16);
        *reads = xrealloc(*reads, *capacity * sizeof(**reads));
    }
    (*reads)[(*count)++] = read;
}

/* Commit what is durable here, if it is of this term (5.4.2); then reads that waited for that may
 * go. */
static void advance_commit(struct raft *raft)
{
    uint64_t index = raft->log.stable;

    if (raft->role != RAFT_LEADER || !is_sole_voter(raft) || index <= raft->log.committed ||
        raft_log_term(&raft->log, index) != raft->hard_state.term)
        return;
    raft->log.committed = index;
    raft->hard_state.commit = index;
    for (size_t i = 0; i < raft->waiting_count; i++)
        push_read(&raft->reads, &raft->read_count, &raft->read_capacity,
                  (struct raft_read){raft->waiting[i].read_id, index});
    raft->waiting_count = 0;
}

static void campaign(struct raft *raft)
{
    if (raft->role == RAFT_LEADER || !is_sole_voter(raft))
        return;
    raft->hard_state.term++;
    raft->hard_state.vote = raft->id;
    raft->role = RAFT_LEADER;
    raft->leader = raft->id;
    raft->leader_changed = true;
    raft->pending_conf_index = raft->log.last_index; /* a change may be in the tail: be careful */
    reset_timer(raft);
    raft_log_append(&raft->log, RAFT_ENTRY_NORMAL, raft->hard_state.term, SLICE_EMPTY);
}

static enum err_code propose(struct raft *raft, const struct raft_event *event)
{
    struct slice data = event->data;
    enum raft_entry_type type = event->entry_type;

    if (raft->role != RAFT_LEADER)
        return ERR_NO_LEADER;
    if (raft->log.bytes > RAFT_UNCOMMITTED_MAX_BYTES)
        return ERR_REQUEST_TOO_MANY_REQUESTS;
    if (type == RAFT_ENTRY_CONF_CHANGE) {
        if (raft->pending_conf_index > raft->log.handed) { /* one at a time (raft.md 8.11) */
            type = RAFT_ENTRY_NORMAL;
            data = SLICE_EMPTY;
        } else {
            raft->pending_conf_index = raft->log.last_index + 1;
        }
    }
    raft_log_append(&raft->log, type, raft->hard_state.term, data);
    return ERR_OK;
}

static enum err_code read_index(struct raft *raft, uint64_t read_id)
{
    struct raft_read read = {read_id, raft->log.committed};

    if (raft->role != RAFT_LEADER)
        return ERR_NO_LEADER;
    if (raft_log_term(&raft->log, raft->log.committed) != raft->hard_state.term)
        push_read(&raft->waiting, &raft->waiting_count, &raft->waiting_capacity, read);
    else
        push_read(&raft->reads, &raft->read_count, &raft->read_capacity, read);
    return ERR_OK;
}

static void persisted(struct raft *raft, uint64_t persist_id)
{
    while (raft->persist_count != 0) {
        struct persist *oldest = &raft->persists[raft->persist_first];

        if (oldest->id > persist_id)
            break;
        raft->log.stable = MAX(raft->log.stable, MIN(oldest->last_index, raft->log.last_index));
        raft->persist_first = (raft->persist_first + 1) % PERSISTS_MAX;
        raft->persist_count--;
    }
    advance_commit(raft);
}

enum err_code raft_step(struct raft *raft, const struct raft_event *event)
{
    if (raft->reads_given != 0) { /* what was borrowed dies with this call */
        raft->read_count -= raft->reads_given;
        memmove(raft->reads, raft->reads + raft->reads_given,
                raft->read_count * sizeof(*raft->reads));
        raft->reads_given = 0;
    }
    switch (event->type) {
    case RAFT_EVENT_TICK:
        raft->elapsed_ticks++;
        if (raft->role != RAFT_LEADER && raft->elapsed_ticks >= raft->timeout_ticks)
            campaign(raft);
        return ERR_OK;
    case RAFT_EVENT_CAMPAIGN:
        campaign(raft);
        return ERR_OK;
    case RAFT_EVENT_PROPOSE:
        return propose(raft, event);
    case RAFT_EVENT_READ:
        return read_index(raft, event->read_id);
    case RAFT_EVENT_PERSISTED:
        persisted(raft, event->persist_id);
        return ERR_OK;
    case RAFT_EVENT_CONF_APPLIED:
        if (event->conf_change != NULL)
            must(quorum_change(&raft->conf, event->conf_change->type, event->conf_change->node_id));
        advance_commit(raft);
        return ERR_OK;
    case RAFT_EVENT_COMPACT:
        raft_log_compact(&raft->log, event->index);
        return ERR_OK;
    case RAFT_EVENT_TRANSFER:
        return event->member == raft->id ? ERR_OK : ERR_BAD_LEADER_TRANSFEREE;
    case RAFT_EVENT_MESSAGE:
    case RAFT_EVENT_UNREACHABLE:
    case RAFT_EVENT_SNAPSHOT_SENT:
        return ERR_OK; /* a sole voter has nobody to hear from */
    }
    return ERR_OK;
}

/* A change of commit alone travels with the next entries: after a crash it is learnt again. */
static void collect_persist(struct raft *raft, struct raft_effects *effects)
{
    bool entries = raft->log.last_index > raft->appended;
    bool vote_changed =
        raft->hard_state.term != raft->saved.term || raft->hard_state.vote != raft->saved.vote;
    bool state = vote_changed || (entries && raft->hard_state.commit != raft->saved.commit);

    if ((!entries && !state) || raft->persist_count == PERSISTS_MAX)
        return;
    effects->persist_id = ++raft->next_persist_id;
    effects->hard_state_changed = state;
    effects->hard_state = raft->hard_state;
    effects->must_sync = entries || vote_changed;
    effects->persist_first = raft->appended + 1;
    effects->persist_last = raft->log.last_index;
    raft->appended = raft->log.last_index;
    raft->saved = raft->hard_state;
    raft->persists[(raft->persist_first + raft->persist_count) % PERSISTS_MAX] =
        (struct persist){effects->persist_id, raft->log.last_index};
    raft->persist_count++;
}

bool raft_ready(struct raft *raft, struct raft_effects *effects)
{
    *effects = (struct raft_effects){.persist_first = 1, .apply_first = 1};
    collect_persist(raft, effects);
    uint64_t applicable = MIN(raft->log.committed, raft->log.stable);
    if (applicable > raft->log.handed) {
        effects->apply_first = raft->log.handed + 1;
        effects->apply_last = applicable;
        raft->log.handed = applicable;
    }
    if (raft->read_count > raft->reads_given) {
        effects->reads = raft->reads + raft->reads_given;
        effects->read_count = raft->read_count - raft->reads_given;
        raft->reads_given = raft->read_count;
    }
    effects->leader_changed = raft->leader_changed;
    raft->leader_changed = false;
    return effects->persist_id != 0 || effects->apply_last >= effects->apply_first ||
           effects->read_count != 0 || effects->leader_changed;
}

const struct raft_entry *raft_entry_at(const struct raft *raft, uint64_t index)
{
    return raft_log_at(&raft->log, index);
}

uint64_t raft_first_index(const struct raft *raft)
{
    return raft->log.base_index + 1;
}

uint64_t raft_last_index(const struct raft *raft)
{
    return raft->log.last_index;
}

uint64_t raft_term_at(const struct raft *raft, uint64_t index)
{
    return raft_log_term(&raft->log, index);
}

uint64_t raft_term(const struct raft *raft)
{
    return raft->hard_state.term;
}

uint64_t raft_leader(const struct raft *raft)
{
    return raft->leader;
}

enum raft_role raft_role(const struct raft *raft)
{
    return raft->role;
}

uint64_t raft_commit_index(const struct raft *raft)
{
    return raft->log.committed;
}

struct raft_hard_state raft_hard_state(const struct raft *raft)
{
    return raft->hard_state;
}

const struct raft_conf_state *raft_conf_state(const struct raft *raft)
{
    return &raft->conf;
}
