/*
 * waiters.c - the calls that wait for the log, a read index or the backend.
 *
 * A waiter is in exactly one queue and in the map of ids. It leaves both before its callback runs,
 * so the callback may start or forget other calls.
 */
#include "common/base/base.h"
#include "etcd-server/engine/engine_internal.h"

static struct waiter_queue *queue_of(struct engine *engine, enum waiter_kind kind)
{
    switch (kind) {
    case WAIT_PROPOSAL:
        return &engine->proposals;
    case WAIT_READ:
        return &engine->reads;
    case WAIT_COMMIT:
        return &engine->commit_waiters;
    case WAIT_DEFRAG:
        return &engine->defrag_waiters;
    case WAIT_COMPACTED:
        return &engine->compact_waiters;
    case WAIT_TRANSFER:
        return &engine->transfers;
    }
    return NULL;
}

static void link_last(struct waiter_queue *queue, struct waiter *waiter)
{
    waiter->previous = queue->last;
    waiter->next = NULL;
    if (queue->last != NULL)
        queue->last->next = waiter;
    else
        queue->first = waiter;
    queue->last = waiter;
}

static void unlink(struct waiter_queue *queue, struct waiter *waiter)
{
    if (waiter->previous != NULL)
        waiter->previous->next = waiter->next;
    else
        queue->first = waiter->next;
    if (waiter->next != NULL)
        waiter->next->previous = waiter->previous;
    else
        queue->last = waiter->previous;
}

struct waiter *waiter_new(struct engine *engine, enum waiter_kind kind, uint64_t id,
                          engine_done_fn *done, void *arg)
{
    struct waiter *waiter = engine->free_waiters;
    uint64_t now_ms = host_now_ms(engine->host);

    if (waiter != NULL)
        engine->free_waiters = waiter->next;
    else
        waiter = xalloc(sizeof(*waiter));
    *waiter = (struct waiter){.id = id,
                              .kind = kind,
                              .began_ms = now_ms,
                              .deadline_ms = now_ms + engine_patience_ms(engine),
                              .done = done,
                              .arg = arg};
    must(idmap_put(&engine->waiters, waiter->id, waiter));
    link_last(queue_of(engine, kind), waiter);
    return waiter;
}

void waiter_drop(struct engine *engine, struct waiter *waiter)
{
    unlink(queue_of(engine, waiter->kind), waiter);
    must(idmap_remove(&engine->waiters, waiter->id) == waiter);
    if (waiter->unsent != NULL)
        others_kept_away(engine, waiter);
    waiter->next = engine->free_waiters;
    engine->free_waiters = waiter;
}

void waiter_finish(struct engine *engine, struct waiter *waiter, enum err_code code,
                   ProtobufCMessage *response)
{
    struct engine_result result = {code, response};
    engine_done_fn *done = waiter->done;
    void *arg = waiter->arg;

    waiter_drop(engine, waiter);
    done(arg, &result);
}

/* Both in order: of revisions, and so of batches. */
void compact_waiters_seal(struct engine *engine)
{
    int64_t finished = mvcc_compact_finished(engine->mvcc);

    for (struct waiter *waiter = engine->compact_waiters.first;
         waiter != NULL && waiter->revision <= finished; waiter = waiter->next)
        if (waiter->batch_serial == 0)
            waiter->batch_serial = engine->batch_serial;
}

void compact_waiters_answer(struct engine *engine)
{
    struct waiter *waiter;

    while ((waiter = engine->compact_waiters.first) != NULL && waiter->batch_serial != 0 &&
           waiter->batch_serial <= engine->committed_serial)
        waiter_finish(engine, waiter, ERR_OK, waiter->response);
}

/* Every queue is in order of its deadlines, for all have the same time limit. */
static void expire(struct engine *engine, struct waiter_queue *queue, uint64_t now_ms,
                   enum err_code code)
{
    while (queue->first != NULL && queue->first->deadline_ms <= now_ms)
        waiter_finish(engine, queue->first, code, NULL);
}

static bool connected_since(const struct engine *engine, uint64_t member, uint64_t ms)
{
    struct host *host = engine->host;

    return host->ops->connected_ms == NULL || host->ops->connected_ms(host, member) >= ms;
}

/* Was a quorum of the members connected all the time? */
static bool quorum_since(const struct engine *engine, uint64_t ms)
{
    size_t connected = 1, count = member_count(engine->members);

    for (size_t i = 0; i < count; i++) {
        uint64_t id = member_at(engine->members, i)->id;

        connected += id != engine->config.member_id && connected_since(engine, id, ms);
    }
    return connected >= count / 2 + 1;
}

/* Why a proposal is without an answer, as far as it can be known here: what became of it is open,
 * but for one that never had a leader to go to. */
static enum err_code why_late(const struct engine *engine, const struct waiter *waiter,
                              uint64_t now_ms)
{
    uint64_t leader = raft_leader(engine->raft), elected_ms = engine->leader_elected_ms;
    uint64_t waited_ms = now_ms - waiter->began_ms;
    bool connected;

    if (waiter->unsent != NULL)
        return leader == 0              ? ERR_CALL_DEADLINE
               : engine->disk_full != 0 ? ERR_DISK_FULL
                                        : ERR_REQUEST_TOO_MANY_REQUESTS;
    if (waiter->began_ms < elected_ms &&
        waiter->began_ms + 2 * engine_election_ms(engine) > elected_ms)
        return ERR_TIMEOUT_DUE_TO_LEADER_FAIL;
    if (leader == 0)
        return ERR_TIMEOUT;
    connected = leader == engine->config.member_id ? quorum_since(engine, waited_ms)
                                                   : connected_since(engine, leader, waited_ms);
    return connected ? ERR_TIMEOUT : ERR_TIMEOUT_DUE_TO_CONNECTION_LOST;
}

/* As etcd, which has one question at a time, tell of it once in the time that one has. */
static void note_late_reads(struct engine *engine, uint64_t now_ms)
{
    const struct waiter *first = engine->reads.first;
    uint64_t limit_ms;

    if (first == NULL || first->deadline_ms > now_ms || first->read_index != 0 ||
        now_ms < engine->late_reads_after_ms)
        return;
    limit_ms = first->deadline_ms - first->began_ms;
    engine->late_reads_after_ms = now_ms + limit_ms;
    engine->stats.read_indexes_slow++;
    host_note(engine->host, LOG_WARN,
              "timed out waiting for read index response (local node might have slow network)",
              log_ms("timeout", limit_ms));
}

void waiters_expire(struct engine *engine, uint64_t now_ms)
{
    struct waiter *late;

    while ((late = engine->proposals.first) != NULL && late->deadline_ms <= now_ms) {
        engine->stats.proposals_failed++;
        waiter_finish(engine, late, why_late(engine, late, now_ms), NULL);
    }
    note_late_reads(engine, now_ms);
    expire(engine, &engine->reads, now_ms, ERR_TIMEOUT);
    expire(engine, &engine->transfers, now_ms, ERR_TIMEOUT_LEADER_TRANSFER);
}

void waiters_fail_all(struct engine *engine, enum err_code code)
{
    struct waiter_queue *queues[] = {&engine->proposals,       &engine->reads,
                                     &engine->commit_waiters,  &engine->defrag_waiters,
                                     &engine->compact_waiters, &engine->transfers};

    for (size_t i = 0; i < ARRAY_LEN(queues); i++)
        while (queues[i]->first != NULL)
            waiter_finish(engine, queues[i]->first, code, NULL);
}

void engine_forget(struct engine *engine, uint64_t id)
{
    struct waiter *waiter = idmap_get(&engine->waiters, id);

    if (waiter == NULL)
        return;
    if (waiter->kind == WAIT_PROPOSAL)
        engine->stats.proposals_failed++;
    waiter_drop(engine, waiter);
}
