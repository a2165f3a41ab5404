/*
 * damage.c - one member's store is changed behind its back: the others must notice (formats.md
 * 11.5), and nobody may notice anything without that.
 *
 *   all is at rest -> a value in one database is another -> traffic and faults elsewhere ->
 *   faults end -> the alarm CORRUPT names that member, or it does not serve after a restart
 *
 * The member that was damaged is not asked for data any more. It is healed when its database holds
 * nothing else than the log made: by a snapshot of the leader, or by a compaction that took what
 * was changed away. Its own snapshots are lost on the way, for they would spread what they should
 * show.
 */
#include "common/schema/pbbytes.h"
#include "etcd-server/service/service_internal.h"
#include "etcd-server/state/revision.h"
#include "tests/sim/sim.h"

#include <stdio.h>

#define CALLS 30
#define NOTICE_MS 180000 /* without faults it takes no longer */
#define COMPACT_EVERY_MS 2000
#define REFUSALS_MAX 3  /* of each: of some that start at once each waits for one not yet there */
#define CLIENTS_ALARM 1 /* the member that clients name (traffic.c) */

/* ---- does it still differ? ---- */

static bool same_record(const struct model_key *key, const struct model_version *version,
                        const Mvccpb__KeyValue *kv)
{
    return slice_equal(key->name, pb_slice(kv->key)) &&
           (version->tombstone ||
            (version->create == kv->create_revision && version->main == kv->mod_revision &&
             version->version == kv->version && version->lease == kv->lease &&
             slice_equal(version->value, pb_slice(kv->value))));
}

/* Did the log make this record? */
static bool is_made(const struct model *model, struct slice name, struct slice record)
{
    Mvccpb__KeyValue *kv = mvccpb__key_value__unpack(NULL, record.size, record.data);
    struct revision revision;
    bool tombstone = false, found = false;

    if (kv != NULL && revision_decode(name, &revision, &tombstone))
        for (size_t i = 0; i < model->key_count; i++)
            for (size_t v = 0; v < model->keys[i].count && !found; v++) {
                const struct model_version *version = &model->keys[i].versions[v];

                found = version->main == revision.main && version->sub == revision.sub &&
                        version->tombstone == tombstone &&
                        same_record(&model->keys[i], version, kv);
            }
    mvccpb__key_value__free_unpacked(kv, NULL);
    return found;
}

/* The changed record as it was changed. */
static bool is_there(const struct sim *sim, struct backend_read *read)
{
    struct slice value;

    return backend_get(read, BUCKET_KEY, buf_slice(&sim->damage_name), &value) &&
           slice_equal(value, buf_slice(&sim->damage_record));
}

/* What the damaged member has in its database: mostly the changed record itself. */
static bool still_differs(const struct sim *sim)
{
    struct node *node = sim->damaged;
    struct backend_read *read = NULL;
    struct backend_cursor *cursor;
    struct slice name, record;
    struct err err = ERR_INIT;
    bool differs;

    must(backend_read_begin(node->backend, &read, &err) == 0);
    differs = is_there(sim, read);
    if (!differs) {
        cursor = backend_cursor_open(read, BUCKET_KEY);
        for (bool more = backend_cursor_seek(cursor, SLICE_EMPTY, &name, &record); more && !differs;
             more = backend_cursor_next(cursor, &name, &record))
            differs = !is_made(&node->model, name, record);
        backend_cursor_close(cursor);
    }
    backend_read_end(read);
    return differs;
}

/* What was asked of it went another way there. */
static bool went_another_way(const struct node *node)
{
    return node->engine != NULL && mvcc_revision(engine_mvcc(node->engine)) != node->model.revision;
}

/* ---- what must not be noticed ---- */

void damage_alarm(struct sim *sim, uint64_t member)
{
    if (member == CLIENTS_ALARM)
        return;
    sim_trace(sim, "corrupt", member, 0);
    sim_check(sim, sim->damaged != NULL,
              "the alarm CORRUPT is raised for member %" PRIx64 ", though all hold the same",
              member);
    sim_check(sim, member == 0 || member == sim->damaged->id,
              "the alarm CORRUPT is raised for member %" PRIx64 ", it is member %" PRIx64
              " that differs",
              member, sim->damaged->id);
    sim->damage_found = sim->damage_found || member == sim->damaged->id;
    sim->damage_unnamed = sim->damage_unnamed || member == 0;
}

/*
 * The comparison at its start says that it must not serve. Another one than who was damaged may
 * only find that it differs from that one, for as long as no majority answers: it tries again. A
 * compaction may have taken the changed record away since the damaged one made its hash.
 */
void damage_refused(struct node *node, const char *text)
{
    struct sim *sim = node->sim;
    char differs_from[32];

    sim_trace(sim, "refused", node->number, 0);
    sim_check(sim,
              sim->damaged != NULL &&
                  (node == sim->damaged || still_differs(sim) || went_another_way(sim->damaged)),
              "member %u does not serve, though all hold the same: %s", node->number, text);
    node->stopped = true;
    if (node == sim->damaged) {
        sim->damage_found = true;
        node->gone = true;
        return;
    }
    (void)snprintf(differs_from, sizeof(differs_from), ", member %" PRIx64 " (", sim->damaged->id);
    sim_check(sim, strstr(text, differs_from) != NULL,
              "member %u does not serve, it is member %u that differs: %s", node->number,
              sim->damaged->number, text);
    sim->damage_refusals += sim->quiet;
    sim_check(sim, sim->damage_refusals <= REFUSALS_MAX * sim->node_count,
              "member %u does not serve, though most hold the same, who are there: %s",
              node->number, text);
}

void damage_check(struct node *node)
{
    sim_check(node->sim, node == node->sim->damaged || !service_differs(node->service),
              "member %u takes itself for damaged, though it holds what all hold", node->number);
}

/* ---- the damage ---- */

/* A version that every hash takes in: the newest of a living key, above the last compaction. */
static const struct model_version *some_version(struct sim *sim, const struct model *model)
{
    const struct model_version *found = NULL;
    uint64_t count = 0;

    for (size_t i = 0; i < model->key_count; i++) {
        const struct model_key *key = &model->keys[i];
        const struct model_version *last = &key->versions[MAX(key->count, 1) - 1];

        if (key->count != 0 && !last->tombstone && last->main > model->compacted &&
            sim_draw(sim, ++count) == 0)
            found = last;
    }
    return found;
}

/* False: it is not in the backend yet. */
static bool change_record(struct node *node, const struct model_version *version)
{
    struct batch *batch;
    struct backend_read *read = NULL;
    struct slice old;
    struct err err = ERR_INIT;
    uint8_t name[REVISION_BYTES_MAX], *packed;
    size_t bytes =
        revision_encode((struct revision){.main = version->main, .sub = version->sub}, false, name);
    Mvccpb__KeyValue *kv;

    must(backend_read_begin(node->backend, &read, &err) == 0);
    if (!backend_get(read, BUCKET_KEY, slice_of(name, bytes), &old)) {
        backend_read_end(read);
        return false;
    }
    batch = batch_new();
    kv = mvccpb__key_value__unpack(NULL, old.size, old.data);
    must(kv != NULL && kv->value.len != 0);
    kv->value.data[sim_draw(node->sim, kv->value.len)] ^= 1;
    packed = xalloc(old.size);
    must(mvccpb__key_value__pack(kv, packed) == old.size);
    batch_put(batch, BUCKET_KEY, slice_of(name, bytes), slice_of(packed, old.size));
    buf_append(&node->sim->damage_name, name, bytes);
    buf_append(&node->sim->damage_record, packed, old.size);
    backend_read_end(read);
    must(backend_commit(node->backend, batch, &err) == 0);
    batch_unref(batch);
    free(packed);
    mvccpb__key_value__free_unpacked(kv, NULL);
    return true;
}

static bool alarm_is_up(const struct model *model)
{
    for (size_t i = 0; i < model->alarm_count; i++)
        if (model->alarms[i].alarm == ETCDSERVERPB__ALARM_TYPE__CORRUPT)
            return true;
    return false;
}

/* ---- clients meanwhile ---- */

static struct node *some_other(struct sim *sim)
{
    struct node *node = sim->nodes[sim_draw(sim, sim->node_count)];

    return node != sim->damaged && node_acts(node) ? node : NULL;
}

static void arrival(struct sim *sim, void *arg)
{
    struct node *node = some_other(sim);

    (void)arg;
    if (node != NULL && !sim->quiet) {
        traffic_call(node);
        if (sim_chance(sim, sim->options.crash_1000))
            node->stopped = true;
        node_turn(node);
    }
    if (!sim->quiet && sim_chance(sim, sim->options.partition_1000))
        network_fault(sim);
    if (--sim->damage_calls != 0)
        (void)sim_after(sim, NULL, sim_draw(sim, 5 * sim->options.call_gap_ms + 1), arrival, NULL);
}

/* Compactions leave the hashes that are compared, if the one before had ended: until one is
 * noticed. */
static void compaction(struct sim *sim, void *arg)
{
    struct node *node = some_other(sim);

    (void)arg;
    if (node != NULL) {
        if (node->model.compacted < node->model.revision)
            traffic_compact(node, node->model.revision);
        else
            traffic_put(node);
        node_turn(node);
    }
    (void)sim_after(sim, NULL, COMPACT_EVERY_MS, compaction, NULL);
}

/* ---- the run ---- */

/* It leads, and somebody would need its snapshot: there is no majority to compare with. */
static bool leads_alone(const struct sim *sim)
{
    return sim->damaged->engine != NULL && sim->damage_snapshots != 0 &&
           raft_role(engine_raft(sim->damaged->engine)) == RAFT_LEADER;
}

static bool is_noticed(struct sim *sim)
{
    const struct model *model = &world_furthest(sim)->model;
    struct node *node = sim->damaged;

    if (went_another_way(node))
        return true; /* it has not the same revisions: there is nothing to compare */
    if (sim->damage_unnamed && leads_alone(sim))
        return true;
    if (sim->options.damage == SIM_DAMAGE_COMPACTED && model->alarm_count != 0)
        return true; /* a full store is not compacted again */
    if (!still_differs(sim))
        return true;
    if (!sim->damage_found && !sim->damage_unnamed)
        return false; /* whom it does not name finds out by itself */
    if (node->engine == NULL || node->gone)
        return true;
    return service_differs(node->service); /* it knows it, too: it gives no data */
}

/* Whose store, and what of it: NULL = not this time. */
static struct node *choose(struct sim *sim, const struct model_version **version)
{
    struct node *node = sim->nodes[sim_draw(sim, sim->node_count)];

    if (sim->options.damage == SIM_DAMAGE_NONE || sim->stranded || node->engine == NULL ||
        !node->serving || node->removed != 0 || alarm_is_up(&node->model) ||
        node->model.roster.count < 3)
        return NULL;
    *version = some_version(sim, &node->model);
    return *version != NULL ? node : NULL;
}

static void run_until_noticed(struct sim *sim)
{
    static const char *const ways[] = {[SIM_DAMAGE_START] = "compared at its start",
                                       [SIM_DAMAGE_WHOLE] = "compared by time",
                                       [SIM_DAMAGE_COMPACTED] = "compared after compactions"};
    uint64_t limit_ms = sim->now_ms + NOTICE_MS;

    while (!is_noticed(sim)) {
        sim_check(sim, sim->now_ms < limit_ms,
                  "member %u differs from the others (%s), and nobody notices",
                  sim->damaged->number, ways[sim->options.damage]);
        world_step(sim);
    }
}

bool damage_run(struct sim *sim)
{
    const struct model_version *version;
    struct node *node = choose(sim, &version);

    if (node == NULL || !change_record(node, version))
        return false;
    sim_trace(sim, "damage", node->number, (uint64_t)version->main);
    sim->damaged = node;
    sim->damage_calls = CALLS;
    watching_cancel_all(node);
    sim->quiet = sim->options.damage == SIM_DAMAGE_START; /* it asks others, who are all there */
    node_crash(node); /* who goes on reads what it has opened, until its next commit */
    (void)sim_after(sim, NULL, 0, arrival, NULL);
    if (sim->options.damage == SIM_DAMAGE_COMPACTED)
        (void)sim_after(sim, NULL, sim_draw(sim, COMPACT_EVERY_MS), compaction, NULL);
    while (sim->damage_calls != 0)
        world_step(sim);
    world_quiet(sim);
    run_until_noticed(sim);
    return true;
}
