/*
 * propose.c - what is asked of the engine: proposals, which go into the log, and reads, which wait
 * for an index.
 *
 *   engine_propose() -> may it be now? -> raft, or kept until a leader is known and the backend has
 *                       caught up (others.c) -> a waiter, until apply finishes it
 *   engine_read()    -> a waiter -> reads_ask(), once a turn -> raft -> reads_confirm(): its index
 *                       -> reads_answer(), when that is applied
 *
 * Reads are answered in order of arrival.
 */
#include "common/base/base.h"
#include "common/base/plants.h"
#include "etcd-server/engine/engine_internal.h"
#include "etcd-server/engine/v2request.h"

/* ---- proposals ---- */

uint64_t engine_next_id(struct engine *engine)
{
    return request_ids_next(&engine->ids);
}

size_t engine_backlog(const struct engine *engine)
{
    return batch_bytes(engine->open) +
           (engine->committing != NULL ? batch_bytes(engine->committing) : 0);
}

bool engine_is_full(const struct engine *engine)
{
    return engine->disk_full != 0 || engine_writes_wait(engine);
}

static enum err_code may_start(const struct engine *engine)
{
    if (engine->failed)
        return ERR_STOPPED;
    return engine->waiters.count >= PENDING_CALLS_MAX ? ERR_REQUEST_TOO_MANY_REQUESTS : ERR_OK;
}

/* A revoke takes keys away: held back with the rest, an overload feeds itself. */
static unsigned share_of(const struct engine *engine, bool revoke)
{
    return engine->config.priority_revokes && revoke ? 2 : 1;
}

static enum err_code may_propose(const struct engine *engine, bool revoke)
{
    unsigned share = share_of(engine, revoke);

    if (engine->failed)
        return ERR_STOPPED;
    if (engine->disk_full != 0)
        return ERR_DISK_FULL;
    if (engine->waiters.count >= share * PENDING_CALLS_MAX ||
        engine->unsent_bytes > share * engine->config.waiting_bytes)
        return ERR_REQUEST_TOO_MANY_REQUESTS;
    return ERR_OK;
}

bool engine_writes_wait(const struct engine *engine)
{
    return engine_backlog(engine) > engine->config.write_buffer_bytes;
}

/* Until the backend has caught up, and behind those that wait already. */
bool engine_keeps_write(const struct engine *engine, bool revoke)
{
    unsigned share = share_of(engine, revoke);

    return engine_backlog(engine) > share * engine->config.write_buffer_bytes ||
           (engine->unsent != 0 && share == 1);
}

/* What members propose for themselves, as small as it is, is no request of a client: without it the
 * member would never get ready. */
static bool is_of_member(const Etcdserverpb__InternalRaftRequest *request)
{
    return request->cluster_member_attr_set != NULL || request->cluster_version_set != NULL;
}

/* What lies in `scratch`; `keeps`: until the backend has caught up. */
static uint64_t propose_scratch(struct engine *engine, struct waiter call, bool keeps,
                                enum err_code *refusal)
{
    struct slice data = buf_slice(&engine->scratch);
    struct waiter *waiter;
    bool unsent = keeps;

    if (!unsent)
        *refusal = others_propose(engine, RAFT_ENTRY_NORMAL, data, &unsent);
    if (*refusal != ERR_OK)
        return 0;
    waiter = waiter_new(engine, WAIT_PROPOSAL, call.id, call.done, call.arg);
    waiter->arena = call.arena;
    if (unsent)
        others_keep(engine, waiter, RAFT_ENTRY_NORMAL, data);
    return waiter->id;
}

uint64_t engine_propose(struct engine *engine, Etcdserverpb__InternalRaftRequest *request,
                        struct arena *arena, engine_done_fn *done, void *arg,
                        enum err_code *refusal)
{
    Etcdserverpb__RequestHeader header = ETCDSERVERPB__REQUEST_HEADER__INIT;
    struct waiter call = {.done = done, .arg = arg, .arena = arena};
    bool revoke = request->lease_revoke != NULL;
    size_t bytes;

    *refusal = may_propose(engine, revoke);
    if (*refusal != ERR_OK)
        return 0;
    call.id = engine_next_id(engine);
    if (request->header == NULL)
        request->header = &header;
    request->header->id = call.id;
    bytes = etcdserverpb__internal_raft_request__get_packed_size(request);
    if (bytes > engine->config.max_request_bytes && !is_of_member(request)) {
        request->header = request->header == &header ? NULL : request->header;
        *refusal = ERR_REQUEST_TOO_LARGE;
        return 0;
    }
    buf_reset(&engine->scratch);
    must(etcdserverpb__internal_raft_request__pack(request, buf_reserve(&engine->scratch, bytes)) ==
         bytes);
    buf_advance(&engine->scratch, bytes);
    request->header = request->header == &header ? NULL : request->header;
    return propose_scratch(engine, call, engine_keeps_write(engine, revoke), refusal);
}

uint64_t propose_v2(struct engine *engine, struct v2_request *request, engine_done_fn *done,
                    void *arg, enum err_code *refusal)
{
    struct waiter call = {.done = done, .arg = arg};

    *refusal = may_propose(engine, false);
    if (*refusal != ERR_OK)
        return 0;
    call.id = request->id = engine_next_id(engine);
    buf_reset(&engine->scratch);
    v2_request_encode(request, &engine->scratch);
    return propose_scratch(engine, call, engine_keeps_write(engine, false), refusal);
}

uint64_t engine_propose_change(struct engine *engine, struct raft_conf_change *change,
                               engine_done_fn *done, void *arg, enum err_code *refusal)
{
    struct waiter *waiter;
    bool unsent;

    *refusal = may_start(engine);
    if (*refusal == ERR_OK && engine_is_full(engine))
        *refusal = engine->disk_full != 0 ? ERR_DISK_FULL : ERR_REQUEST_TOO_MANY_REQUESTS;
    if (*refusal != ERR_OK)
        return 0;
    change->id = engine_next_id(engine);
    buf_reset(&engine->scratch);
    must(raft_conf_change_encode(change, &engine->scratch));
    *refusal = others_propose(engine, RAFT_ENTRY_CONF_CHANGE, buf_slice(&engine->scratch), &unsent);
    if (*refusal != ERR_OK)
        return 0;
    waiter = waiter_new(engine, WAIT_PROPOSAL, change->id, done, arg);
    if (unsent)
        others_keep(engine, waiter, RAFT_ENTRY_CONF_CHANGE, buf_slice(&engine->scratch));
    return waiter->id;
}

/* ---- reads ---- */

uint64_t engine_read(struct engine *engine, engine_done_fn *done, void *arg, enum err_code *refusal)
{
    *refusal = may_start(engine);
    if (*refusal != ERR_OK)
        return 0;
    return waiter_new(engine, WAIT_READ, engine_next_id(engine), done, arg)->id;
}

void reads_ask(struct engine *engine, uint64_t now_ms)
{
    struct waiter *waiter = engine->reads.last;
    struct raft_event event = {.type = RAFT_EVENT_READ, .read_id = engine->next_read_id + 1};

    if (waiter == NULL || waiter->read_id != 0 || raft_step(engine->raft, &event) != ERR_OK)
        return; /* without a leader they are asked again at the next turn, until their time is up */
    engine->next_read_id++;
    for (; waiter != NULL && waiter->read_id == 0; waiter = waiter->previous) {
        waiter->read_id = engine->next_read_id;
        waiter->asked_ms = now_ms;
    }
}

void reads_ask_again(struct engine *engine, uint64_t now_ms)
{
    for (struct waiter *waiter = engine->reads.last; waiter != NULL; waiter = waiter->previous) {
        if (waiter->read_index != 0)
            break;
        if (waiter->read_id != 0 && now_ms - waiter->asked_ms < READ_RESEND_MS)
            return; /* the newest question is young: it answers for the older ones, too */
        waiter->read_id = 0;
    }
}

void reads_confirm(struct engine *engine, const struct raft_read *read)
{
    const struct waiter *first = engine->reads.first;

    if (read->index == 0) {
        engine->stats.read_indexes_failed++;
        while (engine->reads.first != NULL && engine->reads.first->read_index == 0 &&
               engine->reads.first->read_id != 0 && engine->reads.first->read_id <= read->read_id)
            waiter_finish(engine, engine->reads.first, ERR_LEADER_CHANGED, NULL);
        return;
    }
    if (first != NULL && first->read_index == 0 && first->read_id != 0 &&
        first->read_id <= read->read_id &&
        host_now_ms(engine->host) - first->began_ms > READ_RESEND_MS)
        engine->stats.read_indexes_slow++;
    for (struct waiter *waiter = engine->reads.first; waiter != NULL; waiter = waiter->next) {
        if (waiter->read_id == 0 || waiter->read_id > read->read_id)
            break;
        if (waiter->read_index == 0)
            waiter->read_index = read->index;
    }
}

void reads_answer(struct engine *engine)
{
    struct waiter *waiter;

    while ((waiter = engine->reads.first) != NULL && waiter->read_index != 0 &&
           (waiter->read_index <= engine->applied_index || PLANTED(READ_UNAPPLIED)))
        waiter_finish(engine, waiter, ERR_OK, NULL);
}
