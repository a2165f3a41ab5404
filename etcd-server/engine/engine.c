/*
 * engine.c - the life of the engine and its turn.
 *
 * One turn:  ask raft for a read index for all new reads (propose.c)
 *            -> raft_ready(): log writer, apply, confirmed reads    (again until nothing is left)
 *            -> compaction step, seal a batch, snapshot
 */
#include "common/base/base.h"
#include "common/base/plants.h"
#include "etcd-server/engine/engine_internal.h"

#define TURN_ROUNDS_MAX 16 /* callbacks start further calls; the rest waits for the next turn */

/* ---- what mvcc needs from above ---- */

static struct view *env_view(void *arg)
{
    return ((struct engine *)arg)->view;
}

static struct batch *env_batch(void *arg)
{
    return ((struct engine *)arg)->open;
}

static bool env_lease_exists(void *arg, int64_t lease)
{
    return lease_find(((struct engine *)arg)->leases, lease) != NULL;
}

static void env_lease_attach(void *arg, int64_t lease, struct slice key)
{
    lease_attach(((struct engine *)arg)->leases, lease, key);
}

static void env_lease_detach(void *arg, int64_t lease, struct slice key)
{
    lease_detach(((struct engine *)arg)->leases, lease, key);
}

static void env_changed(void *arg, struct revision revision, bool tombstone, struct slice key_value)
{
    watch_changed(((struct engine *)arg)->watches, revision, tombstone, key_value);
}

static void env_revision_ended(void *arg, int64_t revision)
{
    watch_revision_ended(((struct engine *)arg)->watches, revision);
}

static struct mvcc *env_mvcc(void *arg)
{
    return ((struct engine *)arg)->mvcc;
}

/* ---- start ---- */

static uint64_t read_u64(struct backend_read *read, const char *name)
{
    struct slice value;
    uint64_t number = 0;

    if (!backend_get(read, BUCKET_META, slice_text(name), &value) || value.size != 8)
        return 0;
    for (size_t i = 0; i < 8; i++)
        number = number << 8 | value.data[i];
    return number;
}

/*
 * The database has what the snapshot stands for (raft.md 9.3). It may be ahead of the log, as a
 * leader's is that came with a snapshot: the other voters have those entries.
 */
static int check_index(const struct engine *engine, struct err *err)
{
    uint64_t snapshot = engine->config.snapshot.index;

    if (engine->backend_index >= snapshot)
        return 0;
    err_set(err, ERR_DAMAGED,
            "the database (index %" PRIu64 ") is older than the snapshot (index %" PRIu64
            "): it was replaced or truncated; restore a snapshot into a new data directory",
            engine->backend_index, snapshot);
    return -1;
}

/* But nobody else has them when this is the only voter: what it would write at those indexes counts
 * as done already. */
static int check_alone(const struct engine *engine, struct err *err)
{
    const struct raft_conf_state *conf = raft_conf_state(engine->raft);
    uint64_t last = engine->config.snapshot.index + engine->config.entry_count;

    if (engine->backend_index <= last || conf->voter_count != 1 ||
        conf->voters[0] != engine->config.member_id)
        return 0;
    err_set(err, ERR_DAMAGED,
            "the database (index %" PRIu64 ") is ahead of the log (index %" PRIu64
            "): the log is an older copy or has lost its end, and what is written next would be "
            "lost; put the right log back, or restore the database into a new data directory "
            "(etcd-snap restore)",
            engine->backend_index, last);
    return -1;
}

static int restore_state(struct engine *engine, struct err *err)
{
    struct backend_read *read = NULL;
    int rc = -1;

    if (backend_read_begin(engine->backend, &read, err) < 0)
        return -1;
    engine->backend_index = read_u64(read, "consistent_index");
    if (check_index(engine, err) < 0)
        goto out;
    if (auth_store_restore(engine->auth, read, err) < 0 ||
        lease_store_restore(engine->leases, read, err) < 0 ||
        alarm_store_restore(engine->alarms, read, err) < 0)
        goto out;
    auth_store_complete(engine->auth, engine->open);
    /* Members are those of the snapshot; replay brings them up to date, with the verdicts of then
     * (formats.md 12.1). */
    if (engine->config.snapshot.index != 0 &&
        member_store_read_v2(engine->members, engine->config.snapshot_data, err) < 0)
        goto out;
    member_store_restore_downgrade(engine->members, read);
    rc = mvcc_restore(engine->mvcc, read, err);
out:
    backend_read_end(read);
    return rc;
}

/*
 * Are the members as new as the database? What is known to be committed may end before it, and the
 * log, too, when the database came with a leader's snapshot: who was added since then would be
 * taken for a ghost, and the entry, when it is replayed, would not put it back.
 */
static bool members_are_current(const struct engine *engine)
{
    uint64_t first = engine->config.snapshot.index + 1; /* entries[0] */

    for (uint64_t index = engine->applied_index + 1; index <= engine->backend_index; index++)
        if (index - first >= engine->config.entry_count ||
            engine->config.entries[index - first].type != RAFT_ENTRY_NORMAL)
            return false;
    return true;
}

/* Once the log was replayed, the members are right: their bucket follows. If they are not, the next
 * start sees to it. */
static int repair_members(struct engine *engine, struct err *err)
{
    struct backend_read *read = NULL;

    if (!members_are_current(engine))
        return 0;
    if (backend_read_begin(engine->backend, &read, err) < 0)
        return -1;
    member_store_repair(engine->members, read, engine->open);
    backend_read_end(read);
    return 0;
}

static void start_raft(struct engine *engine)
{
    const struct engine_config *config = &engine->config;
    struct raft_config raft = {.id = config->member_id,
                               .election_ticks = config->election_ticks,
                               .heartbeat_ticks = 1,
                               .pre_vote = config->pre_vote,
                               .seed = engine->host->ops->random(engine->host),
                               .hard_state = config->hard_state,
                               .snapshot = config->snapshot,
                               .entries = config->entries,
                               .entry_count = config->entry_count,
                               .applied = config->snapshot.index};

    engine->raft = raft_new(&raft);
    engine->applied_index = config->snapshot.index;
    engine->applied_term = config->snapshot.term;
    engine->snapshot_index = config->snapshot.index;
}

static void set_limits(struct engine_config *config)
{
    if (config->write_buffer_bytes == 0)
        config->write_buffer_bytes = WRITE_BUFFER_MAX_BYTES;
    if (config->waiting_bytes == 0)
        config->waiting_bytes = PROPOSALS_WAITING_MAX_BYTES;
    if (config->backlog_bytes == 0)
        config->backlog_bytes = BACKLOG_MAX_BYTES;
    if (config->snapshot_bytes == 0)
        config->snapshot_bytes = SNAPSHOT_LOG_BYTES;
    if (config->log_kept_bytes == 0)
        config->log_kept_bytes = LOG_KEPT_MAX_BYTES;
    if (config->catchup_entries == 0)
        config->catchup_entries = SNAPSHOT_CATCHUP_ENTRIES;
}

int engine_new(const struct engine_config *config, struct engine **out, struct err *err)
{
    struct engine *engine = xalloc(sizeof(*engine));
    struct mvcc_env env = {.arg = engine,
                           .view = env_view,
                           .batch = env_batch,
                           .lease_exists = env_lease_exists,
                           .lease_attach = env_lease_attach,
                           .lease_detach = env_lease_detach,
                           .changed = env_changed,
                           .revision_ended = env_revision_ended};
    struct watch_env watches = {.arg = engine, .mvcc = env_mvcc, .view = env_view};

    engine->config = *config;
    set_limits(&engine->config);
    engine->host = config->host;
    engine->backend = config->backend;
    engine->mvcc = mvcc_new(&env);
    engine->watches = watch_hub_new(&watches);
    engine->leases = lease_store_new();
    engine->alarms = alarm_store_new();
    engine->members = member_store_new();
    engine->auth = auth_store_new();
    request_ids_init(&engine->ids, config->member_id, engine->host->ops->unix_ms(engine->host));
    /* bounded by max_request_bytes, checked before packing */
    engine->scratch = BUF_INIT(BUF_UNLIMITED);
    arena_init(&engine->entry_arena, ENTRY_ARENA_KEPT_BYTES);
    checkpoint_open(engine);
    others_open(engine);
    if (restore_state(engine, err) < 0) {
        engine_free(engine);
        return -1;
    }
    start_raft(engine);
    engine_turn(engine); /* what is known to be committed is applied before anybody asks */
    if (engine->apply_err.code != ERR_OK)
        *err = engine->apply_err;
    if (engine->apply_err.code != ERR_OK || check_alone(engine, err) < 0 ||
        repair_members(engine, err) < 0) {
        engine_free(engine);
        return -1;
    }
    *out = engine;
    return 0;
}

void engine_free(struct engine *engine)
{
    if (engine == NULL)
        return;
    waiters_fail_all(engine, ERR_STOPPED);
    others_drop(engine);
    raft_free(engine->raft);
    watch_hub_free(engine->watches);
    mvcc_free(engine->mvcc);
    lease_store_free(engine->leases);
    alarm_store_free(engine->alarms);
    member_store_free(engine->members);
    auth_store_free(engine->auth);
    view_unref(engine->view);
    batch_unref(engine->committing);
    batch_unref(engine->open);
    log_write_free(engine->snapshot_request);
    idmap_free(&engine->waiters);
    for (struct waiter *next, *waiter = engine->free_waiters; waiter != NULL; waiter = next) {
        next = waiter->next;
        free(waiter);
    }
    buf_free(&engine->scratch);
    arena_free(&engine->entry_arena);
    free(engine);
}

/* ---- the turn ---- */

/* Copy what must become durable: raft's memory may move on before the writer has written it. */
static void write_log(struct engine *engine, const struct raft_effects *effects)
{
    struct log_write *request = xalloc(sizeof(*request));
    uint64_t first = effects->persist_first, last = effects->persist_last;
    uint8_t *at;

    request->persist_id = effects->persist_id;
    request->has_state = effects->hard_state_changed;
    request->state = effects->hard_state;
    if (PLANTED(VOTE_FORGOTTEN))
        request->state.vote = 0;
    request->must_sync = effects->must_sync;
    if (last >= first) {
        request->entry_count = (size_t)(last - first + 1);
        request->entries = xalloc(request->entry_count * sizeof(*request->entries));
        for (size_t i = 0; i < request->entry_count; i++)
            request->bytes += raft_entry_at(engine->raft, first + i)->data.size;
        request->memory = at = xalloc(request->bytes);
        for (size_t i = 0; i < request->entry_count; i++) {
            struct raft_entry entry = *raft_entry_at(engine->raft, first + i);

            if (entry.data.size != 0)
                memcpy(at, entry.data.data, entry.data.size);
            entry.data.data = at;
            at += entry.data.size;
            request->entries[i] = entry;
        }
    }
    engine->log_requests++;
    engine->host->ops->log_write(engine->host, request);
}

/* A change is another leader, or one after there was none; that it is lost is none yet. A role or
 * term that changes nothing of it is not told: without a quorum there is one every second. */
static void see_leader(struct engine *engine)
{
    uint64_t leader = raft_leader(engine->raft), before = engine->seen_leader;

    if (leader == before)
        return;
    engine->stats.leader_changes += leader != 0;
    engine->seen_leader = leader;
    host_note(engine->host, LOG_INFO,
              leader == 0   ? "lost leader"
              : before == 0 ? "elected leader"
                            : "changed leader",
              log_hex("leader", leader), log_hex("before", before),
              log_u64("term", raft_term(engine->raft)));
}

static bool raft_round(struct engine *engine)
{
    struct raft_effects effects;

    if (!raft_ready(engine->raft, &effects))
        return false;
    if (effects.persist_id != 0 && effects.snapshot == NULL)
        write_log(engine, &effects);
    others_send(engine, &effects);
    for (size_t i = 0; i < effects.read_count; i++)
        reads_confirm(engine, &effects.reads[i]);
    if (effects.leader_changed) {
        see_leader(engine);
        engine->heartbeats.count = 0;
        if (raft_leader(engine->raft) != 0)
            engine->leader_elected_ms = host_now_ms(engine->host);
    }
    for (uint64_t index = effects.apply_first; index <= effects.apply_last && !engine->failed;
         index++)
        apply_entry(engine, raft_entry_at(engine->raft, index));
    return true;
}

void engine_turn(struct engine *engine)
{
    uint64_t now_ms = host_now_ms(engine->host);

    if (engine->failed)
        return;
    others_hear_unreachable(engine);
    for (int round = 0; round < TURN_ROUNDS_MAX && !engine->failed; round++) {
        reads_ask(engine, now_ms);
        bool moved = raft_round(engine);
        reads_answer(engine);
        if (!moved && (engine->reads.last == NULL || engine->reads.last->read_id != 0))
            break;
    }
    if (engine->failed)
        return;
    others_turn(engine, now_ms);
    compact_turn(engine, now_ms);
    snapshot_turn(engine);
    log_keep_turn(engine);
    checkpoint_turn(engine, now_ms);
}

uint64_t engine_wake_at(const struct engine *engine)
{
    return mvcc_compacting(engine->mvcc) ? engine->compact_after_ms : UINT64_MAX;
}

/* ---- time ---- */

void engine_campaign(struct engine *engine)
{
    struct raft_event event = {.type = RAFT_EVENT_CAMPAIGN};

    others_step(engine, &event);
    engine_turn(engine);
    publish_turn(engine, host_now_ms(engine->host));
    engine_turn(engine);
}

void engine_tick(struct engine *engine)
{
    struct raft_event event = {.type = RAFT_EVENT_TICK};
    uint64_t now_ms = host_now_ms(engine->host);

    if (engine->failed)
        return;
    others_step(engine, &event);
    waiters_expire(engine, now_ms);
    others_tick(engine, now_ms);
    log_keep_tick(engine, now_ms);
    publish_tick(engine, now_ms);
}

void engine_log_written(struct engine *engine, uint64_t persist_id, size_t count)
{
    struct raft_event event = {.type = RAFT_EVENT_PERSISTED, .persist_id = persist_id};

    must(engine->log_requests >= count);
    engine->log_requests -= count;
    others_step(engine, &event);
}

void engine_disk_full(struct engine *engine, enum engine_disk disk, bool full)
{
    bool was_full = engine->disk_full != 0;

    engine->disk_full = full ? engine->disk_full | disk : engine->disk_full & ~(unsigned)disk;
    full = engine->disk_full != 0;
    if (full != was_full)
        host_note(
            engine->host, full ? LOG_ERROR : LOG_INFO,
            full ? "no space left on the disk: writes are refused, reads go on; free some space"
                 : "there is space on the disk again: writes are taken");
}

void engine_fail(struct engine *engine)
{
    engine->failed = true;
    waiters_fail_all(engine, ERR_STOPPED);
}

void engine_flush(struct engine *engine)
{
    engine->commit_wanted =
        engine->applied_index > engine->backend_index || batch_op_count(engine->open) != 0;
    checkpoint_turn(engine, host_now_ms(engine->host));
}

bool engine_idle(const struct engine *engine)
{
    if (engine->disk_full != 0)
        return !engine->defragging; /* nothing arrives before there is room */
    return engine->log_requests == 0 && engine->committing == NULL && !engine->defragging &&
           !engine->commit_wanted;
}

bool engine_waited_for(const struct engine *engine)
{
    return engine->proposals.first != NULL || engine->reads.first != NULL ||
           engine->log_requests != 0;
}

/* ---- facts ---- */

struct mvcc *engine_mvcc(struct engine *engine)
{
    return engine->mvcc;
}

struct watch_hub *engine_watches(struct engine *engine)
{
    return engine->watches;
}

struct lease_store *engine_leases(struct engine *engine)
{
    return engine->leases;
}

struct alarm_store *engine_alarms(struct engine *engine)
{
    return engine->alarms;
}

struct member_store *engine_members(struct engine *engine)
{
    return engine->members;
}

struct host *engine_host(struct engine *engine)
{
    return engine->host;
}

const struct raft *engine_raft(const struct engine *engine)
{
    return engine->raft;
}

struct backend *engine_backend(struct engine *engine)
{
    return engine->backend;
}

uint64_t engine_member_id(const struct engine *engine)
{
    return engine->config.member_id;
}

uint64_t engine_cluster_id(const struct engine *engine)
{
    return engine->config.cluster_id;
}

unsigned engine_tick_ms(const struct engine *engine)
{
    return engine->config.tick_ms;
}

uint64_t engine_election_ms(const struct engine *engine)
{
    return (uint64_t)engine->config.election_ticks * engine->config.tick_ms;
}

uint64_t engine_patience_ms(const struct engine *engine)
{
    return REQUEST_PATIENCE_MS + 2 * engine_election_ms(engine);
}

uint64_t engine_applied_index(const struct engine *engine)
{
    return engine->applied_index;
}

uint64_t engine_size(struct engine *engine)
{
    return backend_size(engine->backend) + batch_bytes(engine->open) +
           (engine->committing != NULL ? batch_bytes(engine->committing) : 0);
}

uint64_t engine_size_in_use(struct engine *engine)
{
    return backend_size_in_use(engine->backend) + batch_bytes(engine->open) +
           (engine->committing != NULL ? batch_bytes(engine->committing) : 0);
}

void engine_fill_header(const struct engine *engine, Etcdserverpb__ResponseHeader *header)
{
    apply_fill_header(engine, header);
    header->revision = mvcc_revision(engine->mvcc);
}

struct engine_stats engine_stats(const struct engine *engine)
{
    struct engine_stats stats = engine->stats;

    for (const struct waiter *waiter = engine->proposals.first; waiter != NULL;
         waiter = waiter->next)
        stats.proposals_pending++;
    stats.installing = engine->installing;
    stats.defragging = engine->defragging;
    return stats;
}
