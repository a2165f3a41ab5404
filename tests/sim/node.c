/*
 * node.c - the life of one member: start, crash, restart; and what must hold across.
 *
 *   DOWN --start: data dir, log, engine--> REPLAYING --engine_ready()--> SERVING
 *     ^---- crash: queues dropped, unsynced writes lost, sectors torn ------'
 *     ^---- a snapshot of the leader is on disk: the same, and nothing is lost
 *
 * Its model is what the committed entries make, up to the last one that it has applied. Entries it
 * has applied must be on its disk (durable before promised), so the model goes back only when the
 * member came back with an older commit index.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <stdio.h>

static void start(struct sim *sim, void *arg);

/* ---- life ---- */

struct node *node_new(struct sim *sim)
{
    struct node *node = xalloc(sizeof(*node));
    struct backend_mem_options hooks = {.commit = host_commit_fault, .arg = node};
    unsigned skew = sim->options.clock_skew_1000;

    must(sim->node_count < SIM_NODES_MAX);
    sim->nodes[sim->node_count++] = node;
    node->sim = sim;
    node->number = (unsigned)sim->node_count;
    (void)snprintf(node->name, sizeof(node->name), "m%u", node->number);
    (void)snprintf(node->peer_url, sizeof(node->peer_url), "http://10.0.0.%u:2380", node->number);
    node->clock_rate_1000 = 1000 - skew + (unsigned)sim_draw(sim, 2 * skew + 1);
    node->clock_offset_ms = skew != 0 ? sim_draw(sim, 100000) : 0;
    node->metrics = xalloc(sizeof(*node->metrics));
    memfs_init(&node->memfs);
    node->memfs.names_need_sync = true;
    node->memfs.fault = host_disk_fault;
    node->memfs.fault_arg = node;
    node->backend = backend_new_mem_with(&hooks);
    model_init(&node->model);
    return node;
}

static void drop_received(struct node *node)
{
    while (node->received != NULL) {
        struct received *received = node->received;

        node->received = received->next;
        backend_close(received->backend);
        free(received);
    }
}

void node_free(struct node *node)
{
    model_fini(&node->model);
    memfs_fini(&node->memfs);
    backend_close(node->backend);
    drop_received(node);
    free(node->metrics);
    free(node->log);
    free(node);
}

/* Did it lead the term of the entry, or a later one? */
static bool led_since(const struct sim *sim, uint64_t term, uint64_t id)
{
    while (term < SIM_TERMS_MAX && sim->leaders[term] != id)
        term++;
    return term < SIM_TERMS_MAX;
}

/* Who led two members and removed itself must stay until the other knows (confchange.c says why):
 * if it dies at once there is nobody to be elected, with etcd too. The entry may be one that a
 * leader before it left: it commits that with the first of its own. */
static void note_removed(struct sim *sim, const struct record *record, uint64_t removed,
                         const struct model *model)
{
    struct node *node = truth_node(sim, removed);

    if (node == NULL) { /* one of the first, which has not come up yet */
        if (sim->absent_count < SIM_NODES_MAX)
            sim->absent[sim->absent_count++] = (struct sim_absent){removed, model->index};
        return;
    }
    node->removed = model->index;
    if (roster_voters(&model->roster) == 1 && led_since(sim, record->entry.term, removed))
        sim->stranded = true;
}

void node_advance(struct node *node)
{
    uint64_t applied = engine_applied_index(node->engine);
    struct sim *sim = node->sim;

    if (node->model.index >= applied) {
        node->known = applied;
        return;
    }
    truth_observe(node);
    sim_check(sim, applied <= sim->committed_count,
              "member %u applies entry %" PRIu64 ", %zu are committed", node->number, applied,
              sim->committed_count);
    while (node->model.index < applied) {
        const struct record *record = sim->committed[node->model.index];
        uint64_t added = 0, removed = 0;

        model_apply(&node->model, &record->entry, record->request, &added, &removed);
        login_applied(node, record->request);
        if (added != 0)
            operator_added(sim, added, node->model.index);
        if (removed != 0)
            note_removed(sim, record, removed, &node->model);
    }
    node->promised = MAX(node->promised, applied);
    node->known = applied;
}

static void initial_cluster(const struct sim *sim, struct buf *text)
{
    for (size_t i = 0; i < sim->options.members; i++)
        buf_printf(text, "%s%s=%s", i != 0 ? "," : "", sim->nodes[i]->name,
                   sim->nodes[i]->peer_url);
}

static int open_log(struct node *node, const struct datadir *dir, struct boot *boot,
                    struct err *err)
{
    struct buf cluster = BUF_INIT(BUF_UNLIMITED);
    struct boot_config config = {.dir = dir,
                                 .wal_segment_bytes = node->sim->options.segment_bytes,
                                 .name = node->name,
                                 .token = "sim",
                                 .advertised_peer_urls = node->peer_url};
    int rc;

    initial_cluster(node->sim, &cluster);
    config.initial_cluster = buf_text(&cluster);
    if (node->join.member_id != 0) {
        config.joining = true;
        config.join = &node->join;
    }
    rc = boot_open_log(&config, boot, err);
    buf_free(&cluster);
    return rc;
}

static uint64_t last_index(const struct boot *boot)
{
    return boot->snapshot.meta.index + boot->log.entry_count;
}

/* The power goes now and nothing unsynced reaches the disk: is the entry there? */
void node_check_durable(struct node *node, uint64_t index)
{
    struct sim *sim = node->sim;
    struct memfs left;
    struct datadir dir = {0};
    struct boot boot = {0};
    struct err err = ERR_INIT;

    if (index <= node->durable_checked)
        return;
    memfs_copy_durable(&node->memfs, &left);
    sim_check(sim,
              datadir_open(&left.fs, SIM_ROOT, NULL, &dir, &err) == 0 &&
                  open_log(node, &dir, &boot, &err) == 0,
              "after a power cut now member %u would not start: %s", node->number, err.text);
    sim_check(sim, last_index(&boot) >= index,
              "member %u: entry %" PRIu64 " is promised, but only %" PRIu64 " are durable",
              node->number, index, last_index(&boot));
    node->durable_checked = last_index(&boot);
    boot_free(&boot);
    datadir_close(&dir);
    memfs_fini(&left);
}

/* ---- what a restart finds ---- */

static uint64_t meta_u64(struct backend_read *read, const char *name)
{
    struct slice value;
    uint64_t number = 0;

    if (!backend_get(read, BUCKET_META, slice_text(name), &value))
        return 0;
    for (size_t i = 0; i < value.size; i++)
        number = number << 8 | value.data[i];
    return number;
}

uint64_t node_consistent_index(struct backend_read *read)
{
    return meta_u64(read, "consistent_index");
}

static uint64_t consistent_index(struct node *node)
{
    struct backend_read *read = NULL;
    struct err err = ERR_INIT;
    uint64_t index;

    sim_check(node->sim, backend_read_begin(node->backend, &read, &err) == 0, "%s", err.text);
    index = node_consistent_index(read);
    backend_read_end(read);
    return index;
}

/* As boot_open_backend() does: what a leader sent stands in for an older database. */
static void take_received(struct node *node, uint64_t snapshot)
{
    struct backend_mem_options hooks = {.commit = host_commit_fault, .arg = node};

    if (snapshot > consistent_index(node))
        for (struct received *one = node->received; one != NULL; one = one->next)
            if (one->index == snapshot) {
                backend_close(node->backend);
                node->backend = backend_mem_clone(one->backend, &hooks);
                break;
            }
    if (snapshot != 0)
        drop_received(node);
}

/* The backend is a checkpoint of the log: exactly what the entries up to its index make. */
static void check_backend(struct node *node, const struct boot *boot)
{
    struct sim *sim = node->sim;
    struct backend_read *read = NULL;
    struct backend_cursor *cursor;
    struct slice key, value;
    struct err err = ERR_INIT;
    uint64_t index;
    int64_t revision = 0, expected;

    sim_check(sim, backend_read_begin(node->backend, &read, &err) == 0, "%s", err.text);
    index = meta_u64(read, "consistent_index");
    sim_check(sim, index <= sim->committed_count,
              "member %u: the backend has entry %" PRIu64 ", %zu are committed", node->number,
              index, sim->committed_count);
    sim_check(sim, index >= boot->snapshot.meta.index,
              "member %u: the snapshot stands for %" PRIu64 " entries, the backend has %" PRIu64,
              node->number, boot->snapshot.meta.index, index);
    expected = model_revision_at(&node->model, index);
    cursor = backend_cursor_open(read, BUCKET_KEY);
    if (backend_cursor_last(cursor, &key, &value))
        for (size_t i = 0; i < 8; i++)
            revision = (int64_t)((uint64_t)revision << 8 | key.data[i]);
    sim_check(sim, expected == 0 || MAX(revision, 1) == expected,
              "member %u: the backend holds revision %" PRId64 ", entry %" PRIu64 " makes %" PRId64,
              node->number, revision, index, expected);
    backend_cursor_close(cursor);
    backend_read_end(read);
}

/* What no call tells: leases, alarms, members. */
void node_check_state(struct node *node)
{
    struct lease_store *leases = engine_leases(node->engine);
    const struct model *model = &node->model;
    struct sim *sim = node->sim;

    sim_check(sim, mvcc_revision(engine_mvcc(node->engine)) == model->revision,
              "member %u: revision %" PRId64 ", expected %" PRId64, node->number,
              mvcc_revision(engine_mvcc(node->engine)), model->revision);
    sim_check(sim, mvcc_compact_revision(engine_mvcc(node->engine)) == model->compacted,
              "member %u: compacted at %" PRId64 ", expected %" PRId64, node->number,
              mvcc_compact_revision(engine_mvcc(node->engine)), model->compacted);
    sim_check(sim, lease_count(leases) == model->lease_count, "member %u: %zu leases, expected %zu",
              node->number, lease_count(leases), model->lease_count);
    for (size_t i = 0; i < model->lease_count; i++) {
        const struct lease *lease = lease_find(leases, model->leases[i]);
        size_t keys = model_lease_keys(model, model->leases[i]);

        sim_check(sim, lease != NULL && lease->keys.count == keys,
                  "member %u: lease %" PRIx64 " is %s with %zu keys, expected %zu", node->number,
                  (uint64_t)model->leases[i], lease != NULL ? "there" : "missing",
                  lease != NULL ? lease->keys.count : 0, keys);
    }
    login_check_state(node);
    sim_check(sim, alarm_count(engine_alarms(node->engine)) == model->alarm_count,
              "member %u: %zu alarms, expected %zu", node->number,
              alarm_count(engine_alarms(node->engine)), model->alarm_count);
    sim_check(sim, member_count(engine_members(node->engine)) == model->roster.count,
              "member %u: %zu members, expected %zu", node->number,
              member_count(engine_members(node->engine)), model->roster.count);
}

/* ---- down ---- */

void node_take_down(struct node *node)
{
    node->dying = true;
    network_drop_served(node);
    door_cancel_all(node);
    watching_cancel_all(node);
    leasing_cancel_all(node);
    locking_cancel_all(node);
    observing_cancel_all(node);
    login_forget(node);
    queue_drop(node->sim, node);
    corrupt_check_free(node->check);
    peer_door_free(node->peer_door);
    peer_answers_free(node->answers);
    service_free(node->service);
    engine_free(node->engine);
    node->check = NULL;
    node->peer_door = NULL;
    node->answers = NULL;
    node->service = NULL;
    node->engine = NULL;
    queue_drop(node->sim, node);
    host_fini(node);
    datadir_close(&node->dir);
    node->serving = node->dying = node->stopped = node->stop_expected = node->restart = false;
    node->wake_ms = node->still_until_ms = 0;
    node->term_seen = 0;
    node->revision_seen = 0;
}

void node_start_later(struct node *node)
{
    if (!node->gone)
        (void)sim_after(node->sim, NULL, 1 + sim_draw(node->sim, 500), start, node);
}

/* The process dies; with the power gone, what was not synced may be lost. */
void node_crash(struct node *node)
{
    struct backend_mem_options hooks = {.commit = host_commit_fault, .arg = node};
    struct sim *sim = node->sim;
    struct backend *left;
    bool only_process;

    sim_trace(sim, "crash", node->number, node->log_count);
    sim->crashes++;
    only_process = !node->memfs.cut && sim_chance(sim, 300);
    node->memfs.cut = true;
    node_take_down(node);
    if (only_process) /* it is killed: what it wrote will get to the disk, unless the power goes */
        node->memfs.cut = false;
    else
        memfs_crash(&node->memfs, sim_draw(sim, UINT64_MAX));
    left = backend_mem_clone(node->backend, &hooks);
    backend_close(node->backend);
    node->backend = left;
    node->fail_in = 0;
    sim->trouble_ms = MAX(sim->trouble_ms, sim->now_ms);
    node_start_later(node);
}

/* A snapshot of the leader is on the disk: a new engine begins with it, in the same process. */
static void begin_anew(struct node *node)
{
    struct sim *sim = node->sim;

    sim_trace(sim, "begin anew", node->number, sim->now_ms);
    sim->trouble_ms = MAX(sim->trouble_ms, sim->now_ms);
    node_take_down(node);
    (void)sim_after(sim, NULL, 1, start, node);
}

/* ---- up ---- */

static uint64_t true_delay(const struct node *node, uint64_t own_ms)
{
    return (own_ms * 1000 + node->clock_rate_1000 - 1) / node->clock_rate_1000;
}

static void tick(struct sim *sim, void *arg)
{
    struct node *node = arg;

    engine_tick(node->engine);
    service_tick(node->service);
    corrupt_check_tick(node->check);
    (void)sim_after(sim, node, true_delay(node, SIM_TICK_MS), tick, node);
}

static bool is_alone(const struct engine *engine)
{
    const struct raft_conf_state *conf = raft_conf_state(engine_raft(engine));

    return conf->voter_count == 1 && conf->voters[0] == engine_member_id(engine);
}

/* Its state may be older than what it showed before: the model begins again. */
static void rewind_model(struct node *node)
{
    if (node->model.index <= engine_applied_index(node->engine))
        return;
    model_fini(&node->model);
    model_init(&node->model);
}

static void open_peer_door(struct node *node)
{
    struct peer_env env;

    node->answers = peer_answers_new(node->engine, node->service);
    env = peer_answers_env(node->answers);
    node->peer_door = peer_door_new(&env);
}

static void start_corrupt_check(struct node *node)
{
    const struct sim_options *options = &node->sim->options;
    struct corrupt_check_config check = {.engine = node->engine,
                                         .service = node->service,
                                         .initial = options->check_at_start,
                                         .period_ms = options->check_ms,
                                         .compact_ms = options->check_compacted_ms};

    node->check = corrupt_check_new(&check);
}

static void start_engine(struct node *node, struct boot *boot)
{
    static const char *const urls[] = {"http://127.0.0.1:2379"};
    struct sim *sim = node->sim;
    const struct sim_options *options = &sim->options;
    struct engine_config config = {.host = &node->host.host,
                                   .backend = node->backend,
                                   .member_id = boot->log.metadata.node_id,
                                   .cluster_id = boot->log.metadata.cluster_id,
                                   .election_ticks = SIM_ELECTION_TICKS,
                                   .tick_ms = SIM_TICK_MS,
                                   .election_tick_advance = node->sim->seed % 2 == 0,
                                   .pre_vote = true,
                                   .max_request_bytes = 1572864,
                                   .quota_bytes = options->quota_bytes,
                                   .snapshot_count = options->snapshot_count,
                                   .catchup_entries = options->catchup_entries,
                                   .log_kept_bytes = options->log_kept_bytes,
                                   .snapshot_bytes = options->snapshot_bytes,
                                   .write_buffer_bytes = options->write_buffer_bytes,
                                   .waiting_bytes = options->waiting_bytes,
                                   .backlog_bytes = options->backlog_bytes,
                                   .batch_interval_ms = options->batch_interval_ms,
                                   .batch_limit = options->batch_limit,
                                   .compaction_batch = options->compaction_batch,
                                   .compaction_sleep_ms = options->compaction_sleep_ms,
                                   .applied = slow_applied,
                                   .applied_arg = &node->slow,
                                   .name = node->name,
                                   .client_urls = urls,
                                   .client_url_count = 1,
                                   .hard_state = boot->log.hard_state,
                                   .snapshot = boot->snapshot.meta,
                                   .snapshot_data = boot->snapshot.data,
                                   .entries = boot->log.entries,
                                   .entry_count = boot->log.entry_count};
    struct err err = ERR_INIT;

    sim->cluster_id = config.cluster_id;
    host_init(node, boot->wal);
    boot->wal = NULL;
    node->slow = (struct slow){.host = &node->host.host, .metrics = node->metrics};
    sim_check(sim, engine_new(&config, &node->engine, &err) == 0, "member %u does not start: %s",
              node->number, err.text);
    node->id = config.member_id;
    for (size_t i = 0; i < sim->absent_count; i++)
        if (sim->absent[i].id == node->id)
            node->removed = sim->absent[i].index;
    rewind_model(node);
    node->known = 0;
    node->conf = *raft_conf_state(engine_raft(node->engine));
    truth_observe(node);
    node_advance(node);
}

static void start_service(struct node *node)
{
    const struct sim_options *options = &node->sim->options;
    struct service_config config = {.engine = node->engine,
                                    .metrics = node->metrics,
                                    .slow = &node->slow,
                                    .max_txn_ops = 16,
                                    .quota_bytes = options->quota_bytes,
                                    .strict_reconfig_check = true,
                                    .lease_checkpoints = true,
                                    .max_message_bytes = 2 * MIB,
                                    .watch_notify_ms = 600000,
                                    .election_ticks = SIM_ELECTION_TICKS,
                                    .bcrypt_cost = 4,
                                    .token_ttl_ms = options->token_ttl_ms};

    node->service = service_new(&config);
    open_peer_door(node);
    start_corrupt_check(node);
}

/* A start may meet faults too; then it fails in words and another one follows. */
static void start(struct sim *sim, void *arg)
{
    struct node *node = arg;
    struct boot boot = {0};
    struct err err = ERR_INIT;
    bool cut;

    node->memfs.cut = false;
    if (!sim->quiet && sim_chance(sim, 150)) {
        node->fail_in = 1 + sim_draw(sim, 40);
        node->fail_sys = sim_chance(sim, 500) ? 0 : EIO;
    }
    if (datadir_open(&node->memfs.fs, SIM_ROOT, NULL, &node->dir, &err) < 0 ||
        open_log(node, &node->dir, &boot, &err) < 0) {
        cut = node->memfs.cut || node->stop_expected;
        boot_free(&boot);
        datadir_close(&node->dir);
        sim_trace(sim, "start failed", (uint64_t)err.code, node->number);
        sim_check(sim, (cut || node->disk_full) && err.code != ERR_DAMAGED,
                  "member %u: the log does not open: %s", node->number, err.text);
        node_crash(node);
        return;
    }
    sim_trace(sim, "start", boot.snapshot.meta.index << 8 | node->number, boot.log.entry_count);
    truth_found(node, &boot);
    take_received(node, boot.snapshot.meta.index);
    node->backend_index = consistent_index(node);
    check_backend(node, &boot);
    boot_clean(&node->dir, &boot, node->backend);
    if (node->memfs.cut) { /* the power went meanwhile; any other fault may be lived with */
        boot_free(&boot);
        datadir_close(&node->dir);
        node_crash(node);
        return;
    }
    start_engine(node, &boot);
    start_service(node);
    (void)sim_after(sim, node, true_delay(node, SIM_TICK_MS), tick, node);
    if (is_alone(node->engine))
        engine_campaign(node->engine);
    boot_free(&boot);
    node_turn(node);
}

/* ---- events ---- */

static void begin_serving(struct node *node)
{
    node->serving = true;
    node_advance(node);
    if (node == node->sim->damaged)
        return;
    node_check_state(node);
    traffic_check(node);
}

/* As server.c: who differs from the others at its start does not serve. */
static bool may_serve(struct node *node)
{
    struct err err = ERR_INIT;

    switch (corrupt_check_start(node->check, &err)) {
    case CORRUPT_START_PENDING:
        return false;
    case CORRUPT_START_GOOD:
    case CORRUPT_START_UNKNOWN:
        return engine_ready(node->engine);
    case CORRUPT_START_DIFFERS:
        damage_refused(node, err.text);
        return false;
    }
    return false;
}

bool node_acts(const struct node *node)
{
    return node->engine != NULL && node->serving && !node->stopped && !node->restart &&
           node->still_until_ms <= node->sim->now_ms;
}

/* After each event, as server.c does. */
void node_turn(struct node *node)
{
    struct sim *sim = node->sim;
    uint64_t wake_ms, now_ms = host_clock_ms(node);

    if (node->engine == NULL)
        return;
    if (node->memfs.cut || node->stopped) {
        node_crash(node);
        return;
    }
    if (node->restart) {
        begin_anew(node);
        return;
    }
    node->conf = *raft_conf_state(engine_raft(node->engine));
    engine_turn(node->engine);
    wake_ms = service_turn(node->service);
    wake_ms = MIN(wake_ms, service_rest(node->service));
    wake_ms = MIN(wake_ms, engine_wake_at(node->engine));
    if (wake_ms != UINT64_MAX && node->wake_ms <= sim->now_ms) {
        uint64_t delay_ms = wake_ms > now_ms ? true_delay(node, wake_ms - now_ms) : 1;

        node->wake_ms = sim->now_ms + MAX(delay_ms, 1);
        (void)sim_after(sim, node, node->wake_ms - sim->now_ms, NULL, NULL);
    }
    if (!node->serving && may_serve(node))
        begin_serving(node);
    truth_observe(node);
    node_advance(node);
    damage_check(node);
    sim_check(sim,
              !node->serving || node == sim->damaged ||
                  /* it compares with what it holds */ mvcc_revision(engine_mvcc(node->engine)) ==
                      node->model.revision,
              "member %u: revision %" PRId64 ", expected %" PRId64, node->number,
              mvcc_revision(engine_mvcc(node->engine)), node->model.revision);
}
