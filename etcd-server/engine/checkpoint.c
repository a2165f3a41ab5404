/*
 * checkpoint.c - from applied changes to the backend, and from there to raft snapshots.
 *
 *   open batch -- seal --> committing -- engine_committed() --> in the backend
 *                 puts consistent index, term and conf state into it
 *
 * One batch is on its way at a time; the open one goes on growing meanwhile. The current view shows
 * both until they are in the backend, so nobody waits for a commit but those who asked to.
 * A raft snapshot at index S is saved only after the batch that holds S is in the backend
 * (formats.md 3.5: consistent index >= snapshot index).
 */
#include "common/base/base.h"
#include "common/base/plants.h"
#include "etcd-server/engine/engine_internal.h"

static void renew_view(struct engine *engine)
{
    struct batch *batches[2];
    size_t count = 0;
    struct view *view;
    struct err err = ERR_INIT;

    if (engine->committing != NULL)
        batches[count++] = engine->committing;
    batches[count++] = engine->open;
    if (view_new(engine->backend, batches, count, &view, &err) < 0) {
        if (!engine->view_stale)
            host_note(engine->host, LOG_WARN, "cannot renew the view of the backend, trying again",
                      log_str("error", err.text));
        engine->view_stale = true; /* the old view goes on showing the same: it holds the batches */
        return;
    }
    view_unref(engine->view);
    engine->view = view;
    engine->view_stale = false;
}

void checkpoint_open(struct engine *engine)
{
    engine->open = batch_new();
    engine->batch_serial = 1;
    renew_view(engine);
}

static void put_u64(struct batch *batch, const char *name, uint64_t number)
{
    uint8_t bytes[8];

    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(number >> (56 - 8 * i));
    batch_put(batch, BUCKET_META, slice_text(name), slice_of(bytes, sizeof(bytes)));
}

static void append_ids(struct buf *out, const char *name, const uint64_t *ids, size_t count)
{
    if (count == 0)
        return;
    buf_printf(out, "\"%s\":[", name);
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "%s%" PRIu64, i == 0 ? "" : ",", ids[i]);
    buf_append_text(out, "],");
}

static void put_conf_state(struct batch *batch, const struct raft_conf_state *conf)
{
    struct buf json = BUF_INIT(BUF_UNLIMITED);

    buf_append_byte(&json, '{');
    append_ids(&json, "voters", conf->voters, conf->voter_count);
    append_ids(&json, "learners", conf->learners, conf->learner_count);
    append_ids(&json, "voters_outgoing", conf->voters_outgoing, conf->voter_outgoing_count);
    append_ids(&json, "learners_next", conf->learners_next, conf->learner_next_count);
    buf_printf(&json, "\"auto_leave\":%s}", conf->auto_leave ? "true" : "false");
    batch_put(batch, BUCKET_META, SLICE_LITERAL("confState"), buf_slice(&json));
    buf_free(&json);
}

/* Everything a snapshot at the applied index needs, taken now. */
struct log_write *snapshot_take(struct engine *engine)
{
    struct log_write *request = xalloc(sizeof(*request));
    struct buf text = BUF_INIT(BUF_UNLIMITED);

    member_store_write_v2(engine->members, engine->applied_index, &text);
    request->snapshot = xalloc(sizeof(*request->snapshot));
    request->snapshot->meta.index = engine->applied_index;
    request->snapshot->meta.term = engine->applied_term;
    request->snapshot->meta.conf_state = *raft_conf_state(engine->raft);
    request->bytes = buf_used(&text);
    request->memory = text.data; /* taken over from the buf */
    request->snapshot->data = slice_of(text.data, request->bytes);
    request->has_state = true; /* a snapshot counts only below the saved commit (formats.md 5.5) */
    request->state = raft_hard_state(engine->raft);
    request->must_sync = true;
    return request;
}

/* Its log record must not take back what went to the log since it was taken: a term, a vote, that a
 * change of the members is committed. */
static void save_snapshot(struct engine *engine)
{
    struct log_write *request = engine->snapshot_request;

    if (!PLANTED(SNAPSHOT_TERM))
        request->state = raft_saved_state(engine->raft);
    request->state.commit = MAX(request->state.commit, request->snapshot->meta.index);
    engine->snapshot_state = SNAPSHOT_SAVING;
    engine->log_requests++;
    engine->host->ops->log_write(engine->host, engine->snapshot_request);
    engine->snapshot_request = NULL;
}

static void seal(struct engine *engine)
{
    struct batch *sealed = engine->open;

    if (engine->applied_index > engine->backend_index && !PLANTED(INDEX_APART)) {
        put_u64(sealed, "consistent_index", engine->applied_index);
        put_u64(sealed, "term", engine->applied_term);
        put_conf_state(sealed, raft_conf_state(engine->raft));
    }
    if (engine->snapshot_state == SNAPSHOT_WANTED) {
        engine->snapshot_request = snapshot_take(engine);
        engine->snapshot_serial = engine->batch_serial;
        engine->snapshot_state = SNAPSHOT_COMMITTING;
        engine->unsaved_bytes = 0;
        if (PLANTED(SNAPSHOT_EARLY))
            save_snapshot(engine);
    }
    others_sealed(engine);
    engine->committing = sealed;
    engine->open = batch_new();
    if (PLANTED(INDEX_APART) && batch_op_count(sealed) > 1)
        put_u64(engine->open, "consistent_index", engine->applied_index);
    engine->batch_serial++;
    engine->open_since_ms = 0;
    engine->commit_wanted = false;
    view_add_batch(engine->view, engine->open);
    engine->host->ops->commit(engine->host, sealed);
}

static bool seal_is_due(const struct engine *engine, uint64_t now_ms)
{
    size_t operations = batch_op_count(engine->open);

    if (engine->committing != NULL || engine->defragging || engine->view_stale || engine->failed)
        return false;
    if (engine->commit_wanted || engine->snapshot_state == SNAPSHOT_WANTED)
        return true;
    return operations >= engine->config.batch_limit ||
           (operations != 0 && now_ms - engine->open_since_ms >= engine->config.batch_interval_ms);
}

void checkpoint_turn(struct engine *engine, uint64_t now_ms)
{
    if (engine->view_stale)
        renew_view(engine);
    if (engine->open_since_ms == 0 && batch_op_count(engine->open) != 0)
        engine->open_since_ms = now_ms;
    if (engine->defrag_waiters.first != NULL && engine->committing == NULL && !engine->defragging) {
        engine->defragging = true;
        engine->host->ops->defrag(engine->host);
    }
    if (seal_is_due(engine, now_ms))
        seal(engine);
}

void engine_committed(struct engine *engine)
{
    must(engine->committing != NULL);
    batch_unref(engine->committing);
    engine->committing = NULL;
    if (engine->failed)
        return; /* nobody waits, and the host takes no more work */
    engine->committed_serial = engine->batch_serial - 1;
    renew_view(engine);
    while (engine->commit_waiters.first != NULL &&
           engine->commit_waiters.first->batch_serial <= engine->committed_serial)
        waiter_finish(engine, engine->commit_waiters.first, ERR_OK, NULL);
    others_committed(engine);
    compact_waiters_answer(engine);
    if (engine->snapshot_state == SNAPSHOT_COMMITTING &&
        engine->committed_serial >= engine->snapshot_serial)
        save_snapshot(engine);
}

void engine_defragged(struct engine *engine, const struct err *err)
{
    engine->defragging = false;
    renew_view(engine);
    while (engine->defrag_waiters.first != NULL)
        waiter_finish(engine, engine->defrag_waiters.first,
                      err->code == ERR_OK ? ERR_OK : ERR_DISK_FULL, NULL);
}

uint64_t engine_when_committed(struct engine *engine, engine_done_fn *done, void *arg)
{
    struct waiter *waiter = waiter_new(engine, WAIT_COMMIT, engine_next_id(engine), done, arg);

    waiter->batch_serial = engine->batch_serial;
    engine->commit_wanted = true;
    return waiter->id;
}

uint64_t engine_defrag(struct engine *engine, engine_done_fn *done, void *arg)
{
    return waiter_new(engine, WAIT_DEFRAG, engine_next_id(engine), done, arg)->id;
}

/* Is it time for a raft snapshot? */
void snapshot_turn(struct engine *engine)
{
    if (engine->snapshot_state == SNAPSHOT_NONE && engine->disk_full == 0 &&
        (engine->applied_index - engine->snapshot_index > engine->config.snapshot_count ||
         (engine->unsaved_bytes > engine->config.snapshot_bytes &&
          engine->applied_index > engine->snapshot_index)))
        engine->snapshot_state = SNAPSHOT_WANTED;
}

void engine_snapshot_saved(struct engine *engine, uint64_t index)
{
    must(engine->log_requests != 0);
    engine->log_requests--;
    if (engine->installing) { /* that of the leader: state, log and database begin anew */
        engine_fail(engine);
        engine->host->ops->restart(engine->host);
        return;
    }
    engine->snapshot_state = SNAPSHOT_NONE;
    engine->snapshot_index = index;
    host_note(engine->host, LOG_INFO, "saved snapshot", log_u64("snapshot-index", index));
}
