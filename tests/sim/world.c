/*
 * world.c - the life of the member: start, events, crashes, restarts; and what must hold across.
 *
 *   DOWN --start: data dir, log, engine, campaign--> REPLAYING --engine_ready()--> SERVING
 *     ^---------- crash: queues dropped, unsynced writes lost, sectors torn ----------'
 *
 * The truth is the list of all entries ever handed to the log writer, and the model they make.
 * Entries the engine has applied must be on the disk (durable before promised), so the model never
 * has to go back. A tail that nobody was promised may be lost: then it is dropped from the list.
 */
#include "etcd-server/host/boot.h"
#include "tests/sim/sim.h"

#include <errno.h>

#define TICK_MS 100
#define QUIET_LIMIT_MS 60000 /* without faults everything ends within */
#define BOOTS_MAX 20

static void start(struct sim *sim, void *arg);

/* ---- the log and the model ---- */

/* A put that was refused must not turn up in the log (its value names it), nor an early revoke. */
static void check_may_be_written(struct sim *sim, const struct raft_entry *entry)
{
    Etcdserverpb__InternalRaftRequest *request;
    unsigned serial = 0;

    if (entry->type != RAFT_ENTRY_NORMAL || entry->data.size == 0)
        return;
    request = etcdserverpb__internal_raft_request__unpack(NULL, entry->data.size, entry->data.data);
    must(request != NULL);
    if (request->put != NULL && request->put->value.len > 9)
        serial = (unsigned)strtoul((const char *)request->put->value.data + 1, NULL, 10);
    sim_check(sim, serial <= sim->serial && !sim->refused[serial],
              "put %u was refused, and is in the log", serial);
    if (request->lease_revoke != NULL)
        leasing_check_revoke(sim, request->lease_revoke->id);
    etcdserverpb__internal_raft_request__free_unpacked(request, NULL);
}

void world_log_entry(struct sim *sim, const struct raft_entry *entry)
{
    uint8_t *copy = xalloc(entry->data.size + 1);

    sim_check(sim, entry->index == sim->log_count + 1,
              "entry %" PRIu64 " is written behind entry %zu", entry->index, sim->log_count);
    if (sim->log_count == sim->log_capacity) {
        sim->log_capacity = MAX(sim->log_capacity * 2, 256);
        sim->log = xrealloc(sim->log, sim->log_capacity * sizeof(*sim->log));
    }
    if (entry->data.size != 0)
        memcpy(copy, entry->data.data, entry->data.size);
    check_may_be_written(sim, entry);
    sim->log[sim->log_count] = *entry;
    sim->log[sim->log_count++].data = slice_of(copy, entry->data.size);
}

static void drop_entries(struct sim *sim, uint64_t last)
{
    while (sim->log_count > last)
        free((void *)(uintptr_t)sim->log[--sim->log_count].data.data);
}

void world_advance(struct sim *sim)
{
    uint64_t applied = engine_applied_index(sim->engine);

    sim_check(sim, applied <= sim->log_count, "entry %" PRIu64 " is applied, the log ends at %zu",
              applied, sim->log_count);
    while (sim->model.index < applied)
        model_apply(&sim->model, &sim->log[sim->model.index]);
}

static int open_log(struct sim *sim, const struct datadir *dir, struct boot *boot, struct err *err)
{
    struct boot_config config = {.dir = dir,
                                 .wal_segment_bytes = sim->options.segment_bytes,
                                 .name = "m1",
                                 .initial_cluster = "m1=http://127.0.0.1:2380",
                                 .token = "sim",
                                 .advertised_peer_urls = "http://127.0.0.1:2380"};

    return boot_open_log(&config, boot, err);
}

static uint64_t last_index(const struct boot *boot)
{
    return boot->snapshot.meta.index + boot->log.entry_count;
}

/* The power goes now and nothing unsynced reaches the disk: is the entry there? */
void world_check_durable(struct sim *sim, uint64_t index)
{
    struct memfs left;
    struct datadir dir = {0};
    struct boot boot = {0};
    struct err err = ERR_INIT;

    if (index <= sim->durable_checked)
        return;
    memfs_copy_durable(&sim->memfs, &left);
    sim_check(sim,
              datadir_open(&left.fs, SIM_ROOT, NULL, &dir, &err) == 0 &&
                  open_log(sim, &dir, &boot, &err) == 0,
              "after a power cut now the member would not start: %s", err.text);
    sim_check(sim, last_index(&boot) >= index,
              "entry %" PRIu64 " is promised, but only %" PRIu64 " are durable", index,
              last_index(&boot));
    sim->durable_checked = last_index(&boot);
    boot_free(&boot);
    datadir_close(&dir);
    memfs_fini(&left);
}

/* ---- what a restart finds ---- */

static void check_log(struct sim *sim, const struct boot *boot)
{
    uint64_t last = last_index(boot);

    if (sim->log_count == 0)
        for (size_t i = 0; i < boot->log.entry_count; i++)
            world_log_entry(sim, &boot->log.entries[i]);
    sim_check(sim, last >= sim->acknowledged,
              "the log ends at entry %" PRIu64 ", but %" PRIu64 " was acknowledged", last,
              sim->acknowledged);
    sim_check(sim, last >= sim->model.index,
              "the log ends at entry %" PRIu64 ", but %" PRIu64 " was applied", last,
              sim->model.index);
    sim_check(sim, last <= sim->log_count,
              "the log ends at entry %" PRIu64 ", only %zu were ever written", last,
              sim->log_count);
    for (size_t i = 0; i < boot->log.entry_count; i++) {
        const struct raft_entry *found = &boot->log.entries[i], *written;

        written = &sim->log[found->index - 1];
        sim_check(sim,
                  found->term == written->term && found->type == written->type &&
                      slice_equal(found->data, written->data),
                  "entry %" PRIu64 " of the log is not what was written", found->index);
    }
    drop_entries(sim, last);
    sim->durable_checked = 0; /* names and lengths may have changed on the disk */
}

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

/* The backend is a checkpoint of the log: exactly what the entries up to its index make. */
static void check_backend(struct sim *sim, const struct boot *boot)
{
    struct model model;
    struct backend_read *read = NULL;
    struct backend_cursor *cursor;
    struct slice key, value;
    struct err err = ERR_INIT;
    uint64_t index;
    int64_t revision = 0;

    sim_check(sim, backend_read_begin(sim->backend, &read, &err) == 0, "%s", err.text);
    index = meta_u64(read, "consistent_index");
    sim_check(sim, index <= sim->log_count,
              "the backend has entry %" PRIu64 ", the log ends at %zu", index, sim->log_count);
    sim_check(sim, index >= boot->snapshot.meta.index,
              "the snapshot stands for %" PRIu64 " entries, the backend has %" PRIu64,
              boot->snapshot.meta.index, index);
    model_init(&model);
    while (model.index < index)
        model_apply(&model, &sim->log[model.index]);
    cursor = backend_cursor_open(read, BUCKET_KEY);
    if (backend_cursor_last(cursor, &key, &value))
        for (size_t i = 0; i < 8; i++)
            revision = (int64_t)((uint64_t)revision << 8 | key.data[i]);
    sim_check(sim, MAX(revision, 1) == model.revision,
              "the backend holds revision %" PRId64 ", entry %" PRIu64 " makes %" PRId64, revision,
              index, model.revision);
    backend_cursor_close(cursor);
    backend_read_end(read);
    model_fini(&model);
}

/* What no call tells: leases, alarms, members. */
static void check_state(struct sim *sim)
{
    struct lease_store *leases = engine_leases(sim->engine);
    const struct model *model = &sim->model;

    sim_check(sim, mvcc_revision(engine_mvcc(sim->engine)) == model->revision,
              "revision %" PRId64 ", expected %" PRId64, mvcc_revision(engine_mvcc(sim->engine)),
              model->revision);
    sim_check(sim, mvcc_compact_revision(engine_mvcc(sim->engine)) == model->compacted,
              "compacted at %" PRId64 ", expected %" PRId64,
              mvcc_compact_revision(engine_mvcc(sim->engine)), model->compacted);
    sim_check(sim, lease_count(leases) == model->lease_count, "%zu leases, expected %zu",
              lease_count(leases), model->lease_count);
    for (size_t i = 0; i < model->lease_count; i++) {
        const struct lease *lease = lease_find(leases, model->leases[i]);
        size_t keys = model_lease_keys(model, model->leases[i]);

        sim_check(sim, lease != NULL && lease->keys.count == keys,
                  "lease %" PRIx64 " is %s with %zu keys, expected %zu", (uint64_t)model->leases[i],
                  lease != NULL ? "there" : "missing", lease != NULL ? lease->keys.count : 0, keys);
    }
    sim_check(sim, alarm_count(engine_alarms(sim->engine)) == model->alarm_count,
              "%zu alarms, expected %zu", alarm_count(engine_alarms(sim->engine)),
              model->alarm_count);
    sim_check(sim, member_count(engine_members(sim->engine)) == model->member_count,
              "%zu members, expected %zu", member_count(engine_members(sim->engine)),
              model->member_count);
}

/* ---- down ---- */

static void drop_events(struct sim *sim)
{
    for (struct sim_event **at = &sim->events; *at != NULL;) {
        struct sim_event *event = *at;

        if (!event->of_member) {
            at = &event->next;
            continue;
        }
        *at = event->next;
        if (event->drop != NULL)
            event->drop(sim, event->arg); /* may add events: begin again */
        free(event);
        at = &sim->events;
    }
}

static void take_down(struct sim *sim)
{
    sim->dying = true;
    door_cancel_all(sim);
    watching_cancel_all(sim);
    leasing_cancel_all(sim);
    drop_events(sim);
    service_free(sim->service);
    engine_free(sim->engine);
    sim->service = NULL;
    sim->engine = NULL;
    host_fini(sim);
    datadir_close(&sim->dir);
    sim->serving = sim->dying = sim->stopped = sim->stop_expected = false;
    sim->wake_ms = 0;
}

static void start_later(struct sim *sim)
{
    sim_after(sim, 1 + sim_draw(sim, 500), start, NULL)->of_member = false;
}

/* The process dies; with the power gone, what was not synced may be lost. */
static void crash(struct sim *sim)
{
    struct backend_mem_options hooks = {.commit = host_commit_fault, .arg = sim};
    struct backend *left;

    sim_trace(sim, "crash", sim->now_ms, sim->log_count);
    sim->crashes++;
    sim->memfs.cut = true;
    take_down(sim);
    memfs_crash(&sim->memfs, sim_draw(sim, UINT64_MAX));
    left = backend_mem_clone(sim->backend, &hooks);
    backend_close(sim->backend);
    sim->backend = left;
    sim->fail_in = 0;
    sim->trouble_ms = sim->now_ms;
    start_later(sim);
}

/* ---- up ---- */

static void tick(struct sim *sim, void *arg)
{
    (void)arg;
    engine_tick(sim->engine);
    service_tick(sim->service);
    (void)sim_after(sim, TICK_MS, tick, NULL);
}

static void start_engine(struct sim *sim, struct boot *boot)
{
    static const char *const urls[] = {"http://127.0.0.1:2379"};
    const struct sim_options *options = &sim->options;
    struct engine_config config = {.host = &sim->host.host,
                                   .backend = sim->backend,
                                   .member_id = boot->log.metadata.node_id,
                                   .cluster_id = boot->log.metadata.cluster_id,
                                   .election_ticks = 10,
                                   .tick_ms = TICK_MS,
                                   .max_request_bytes = 1572864,
                                   .quota_bytes = options->quota_bytes,
                                   .snapshot_count = options->snapshot_count,
                                   .batch_interval_ms = options->batch_interval_ms,
                                   .batch_limit = options->batch_limit,
                                   .compaction_batch = options->compaction_batch,
                                   .compaction_sleep_ms = options->compaction_sleep_ms,
                                   .name = "m1",
                                   .client_urls = urls,
                                   .client_url_count = 1,
                                   .hard_state = boot->log.hard_state,
                                   .snapshot = boot->snapshot.meta,
                                   .snapshot_data = boot->snapshot.data,
                                   .entries = boot->log.entries,
                                   .entry_count = boot->log.entry_count};
    struct service_config service = {.metrics = sim->metrics,
                                     .max_txn_ops = 16,
                                     .quota_bytes = options->quota_bytes,
                                     .strict_reconfig_check = true,
                                     .lease_checkpoints = true,
                                     .max_message_bytes = 2 * MIB,
                                     .watch_notify_ms = 600000,
                                     .election_ticks = 10,
                                     .bcrypt_cost = 4,
                                     .token_ttl_ms = 300000};
    struct err err = ERR_INIT;

    host_init(sim, boot->wal);
    boot->wal = NULL;
    sim_check(sim, engine_new(&config, &sim->engine, &err) == 0, "the member does not start: %s",
              err.text);
    service.engine = sim->engine;
    sim->service = service_new(&service);
    (void)sim_after(sim, TICK_MS, tick, NULL);
    engine_campaign(sim->engine);
}

/* A start may meet faults too; then it fails in words and another one follows. */
static void start(struct sim *sim, void *arg)
{
    struct boot boot = {0};
    struct err err = ERR_INIT;
    bool cut;

    (void)arg;
    if (!sim->quiet && sim_chance(sim, 150)) {
        sim->fail_in = 1 + sim_draw(sim, 40);
        sim->fail_sys = sim_chance(sim, 500) ? 0 : EIO;
    }
    if (datadir_open(&sim->memfs.fs, SIM_ROOT, NULL, &sim->dir, &err) < 0 ||
        open_log(sim, &sim->dir, &boot, &err) < 0) {
        cut = sim->memfs.cut || sim->stop_expected;
        boot_free(&boot);
        datadir_close(&sim->dir);
        sim_trace(sim, "start failed", (uint64_t)err.code, 0);
        sim_check(sim, (cut || sim->disk_full) && err.code != ERR_DAMAGED,
                  "the log does not open: %s", err.text);
        crash(sim);
        return;
    }
    sim_trace(sim, "start", boot.snapshot.meta.index, boot.log.entry_count);
    check_log(sim, &boot);
    check_backend(sim, &boot);
    start_engine(sim, &boot);
    boot_free(&boot);
}

/* ---- events ---- */

static void begin_serving(struct sim *sim)
{
    sim->serving = true;
    world_advance(sim);
    sim_check(sim, sim->model.index == engine_applied_index(sim->engine),
              "the member serves at entry %" PRIu64 ", it had applied %" PRIu64 " before",
              engine_applied_index(sim->engine), sim->model.index);
    check_state(sim);
    traffic_check(sim);
}

/* After each event, as server.c does. */
static void turn(struct sim *sim)
{
    uint64_t wake_ms;

    if (sim->engine == NULL)
        return;
    if (sim->memfs.cut || sim->stopped) {
        crash(sim);
        return;
    }
    engine_turn(sim->engine);
    wake_ms = engine_wake_at(sim->engine);
    if (service_turn(sim->service))
        wake_ms = sim->now_ms;
    if (wake_ms != UINT64_MAX && sim->wake_ms <= sim->now_ms) {
        sim->wake_ms = MAX(wake_ms, sim->now_ms + 1);
        (void)sim_after(sim, sim->wake_ms - sim->now_ms, NULL, NULL);
    }
    if (!sim->serving && engine_ready(sim->engine))
        begin_serving(sim);
    if (sim->serving)
        world_advance(sim);
}

static void disk_has_room(struct sim *sim, void *arg)
{
    (void)arg;
    sim_trace(sim, "room", 0, 0);
    sim->disk_full = false;
    sim->trouble_ms = sim->now_ms;
}

static void maybe_fault(struct sim *sim)
{
    if (!sim_chance(sim, sim->options.fault_1000))
        return;
    switch (sim_draw(sim, 5)) {
    case 0:
        sim_trace(sim, "full", 0, 0);
        sim->disk_full = true;
        sim_after(sim, sim_draw(sim, 12000), disk_has_room, NULL)->of_member = false;
        break;
    case 1:
        sim->backend_fails = true;
        break;
    case 2:
        sim->fail_in = 1 + sim_draw(sim, 30);
        sim->fail_sys = sim->fail_in % 2 == 0 ? EIO : ENOSPC; /* final all the same, for a sync */
        break;
    default: /* the power goes in the middle of what the disk does */
        sim->fail_in = 1 + sim_draw(sim, 30);
        sim->fail_sys = 0;
        break;
    }
}

/* The process is suspended, or its machine: all clocks jump, and everything is late at once. */
static void stall(struct sim *sim)
{
    sim->now_ms += sim_draw(sim, 20000);
    sim->trouble_ms = sim->now_ms;
    sim_trace(sim, "stall", sim->now_ms, 0);
}

static void arrival(struct sim *sim, void *arg)
{
    (void)arg;
    if (sim->serving && !sim->stopped) {
        traffic_call(sim);
        maybe_fault(sim);
        if (sim->engine != NULL && sim_chance(sim, sim->options.crash_1000))
            crash(sim);
        if (sim_chance(sim, 20))
            door_cancel_some(sim);
        if (sim->engine != NULL && sim->serving && sim_chance(sim, 80))
            watching_act(sim);
        if (sim->engine != NULL && sim->serving && sim_chance(sim, 60))
            leasing_renew(sim);
        if (sim_chance(sim, 2))
            stall(sim);
    }
    if (sim->started < sim->options.calls)
        sim_after(sim, sim_draw(sim, sim->options.call_gap_ms + 1), arrival, NULL)->of_member =
            false;
}

struct sim_event *sim_after(struct sim *sim, uint64_t delay_ms, sim_event_fn *run, void *arg)
{
    struct sim_event *event = xalloc(sizeof(*event)), **at = &sim->events;

    *event = (struct sim_event){
        .at_ms = sim->now_ms + delay_ms, .run = run, .arg = arg, .of_member = true};
    while (*at != NULL && (*at)->at_ms <= event->at_ms)
        at = &(*at)->next;
    event->next = *at;
    *at = event;
    return event;
}

static void step(struct sim *sim)
{
    struct sim_event *event = sim->events;

    sim->events = event->next;
    sim->now_ms = MAX(sim->now_ms, event->at_ms);
    if (event->run != NULL)
        event->run(sim, event->arg);
    free(event);
    turn(sim);
}

/* Faults are over: whatever waits must come to its end, and the state be whole. */
static void settle(struct sim *sim)
{
    uint64_t limit_ms = sim->now_ms + QUIET_LIMIT_MS;

    sim->quiet = true;
    sim->fail_in = 0;
    sim->backend_fails = false;
    while (sim->disk_full || !sim->serving || sim->calls != NULL || !engine_idle(sim->engine) ||
           watching_behind(sim) || leasing_busy(sim)) {
        sim_check(sim, sim->now_ms < limit_ms, "something never ends: %s",
                  sim->calls != NULL ? door_inner(sim->calls)->row->method
                                     : "a start, a write, a watch or a renewal");
        step(sim);
    }
    check_state(sim);
    traffic_check(sim);
}

/* An orderly stop loses nothing, not even from the backend. */
static void stop_in_order(struct sim *sim)
{
    uint64_t limit_ms = sim->now_ms + QUIET_LIMIT_MS;

    engine_flush(sim->engine);
    while (!engine_idle(sim->engine)) {
        sim_check(sim, sim->now_ms < limit_ms, "an orderly stop does not end");
        step(sim);
        if (sim->engine == NULL) /* news of an earlier fault came first: it crashed */
            return;
    }
    take_down(sim);
    sim->memfs.cut = false;
    start_later(sim);
}

void world_run(struct sim *sim)
{
    struct backend_mem_options hooks = {.commit = host_commit_fault, .arg = sim};

    sim->backend = backend_new_mem_with(&hooks);
    sim->memfs.names_need_sync = true;
    sim->memfs.fault = host_disk_fault;
    sim->memfs.fault_arg = sim;
    start_later(sim);
    sim_after(sim, 0, arrival, NULL)->of_member = false;
    while (sim->started < sim->options.calls)
        step(sim);
    settle(sim);
    stop_in_order(sim);
    settle(sim);
    crash(sim);
    settle(sim);
    sim->memfs.cut = true;
    take_down(sim);
    while (sim->events != NULL) {
        struct sim_event *event = sim->events;

        sim->events = event->next;
        free(event);
    }
    drop_entries(sim, 0);
}
