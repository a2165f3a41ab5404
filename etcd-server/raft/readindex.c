/*
 * readindex.c - linearizable reads (Raft 6.4; raft.md 8.8).
 *
 *   asked here, or by a follower -> waiting (no commit of this term yet) -> asked -> answered
 *                                                                            ^ a quorum answered a
 *   asked here, not the leader   -> forwarded -> answered by the leader        heartbeat sent since
 *
 * All reads between two collections of effects share one round of heartbeats. Whatever ends the
 * leadership, or changes the leader known here, fails what is pending: its answer may be stale.
 */
#include "common/base/base.h"
#include "common/base/plants.h"
#include "etcd-server/raft/raft_internal.h"

static void name_request(struct raft *raft, struct read_request *request)
{
    uint64_t name = raft->next_context++;

    request->context_size = sizeof(name);
    for (size_t i = 0; i < sizeof(name); i++)
        request->context[i] = (uint8_t)(name >> (56 - 8 * i));
}

static void answer(struct raft *raft, const struct read_request *request, uint64_t index)
{
    struct raft_entry entry = {.data = read_request_context(request)};

    if (request->from == raft->id)
        readonly_answer(&raft->reads, request->read_id, index);
    else
        raft_send(raft, (struct raft_message){.type = RAFT_MSG_READ_INDEX_RESP,
                                              .to = request->from,
                                              .index = index,
                                              .entries = &entry,
                                              .entry_count = 1});
}

static uint64_t acked_by(const void *arg, uint64_t id)
{
    const struct progress *member = raft_member(arg, id);

    return member != NULL ? member->read_acked : 0;
}

static void answer_confirmed(struct raft *raft)
{
    struct read_queue *asked = &raft->reads.asked;
    struct progress *own = raft_member(raft, raft->id);
    uint64_t confirmed;
    size_t count = 0;

    if (own != NULL)
        own->read_acked = raft->reads.next_number; /* we know that we lead */
    confirmed = quorum_reached(&raft->conf, acked_by, raft);
    for (; count < asked->count && asked->items[count].number <= confirmed; count++)
        answer(raft, &asked->items[count], asked->items[count].index);
    read_queue_drop(asked, count);
}

static bool has_committed_in_term(const struct raft *raft)
{
    return PLANTED(READ_EARLY) ||
           raft_log_term(&raft->log, raft->log.committed) == raft->hard_state.term;
}

static void ask(struct raft *raft, struct read_request *request)
{
    if (!has_committed_in_term(raft)) {
        read_queue_push(&raft->reads.waiting, request);
        return;
    }
    request->number = ++raft->reads.next_number;
    request->index = raft->log.committed;
    read_queue_push(&raft->reads.asked, request);
    if (PLANTED(READ_UNASKED)) {
        answer(raft, request, request->index);
        raft->reads.asked.count--;
        return;
    }
    answer_confirmed(raft); /* a sole voter has nobody to ask */
    raft->reads.round_due = raft->reads.asked.count != 0;
}

static bool has_room(const struct raft *raft)
{
    return raft->reads.waiting.count + raft->reads.asked.count < RAFT_READS_MAX;
}

/* The answer to a later one is as good for those before it: the oldest may have been lost. */
static void forward(struct raft *raft, const struct read_request *request)
{
    if (read_queue_is_full(&raft->reads.forwarded))
        read_queue_drop(&raft->reads.forwarded, RAFT_READS_MAX / 4);
    read_queue_push(&raft->reads.forwarded, request);
}

enum err_code raft_read_asked(struct raft *raft, uint64_t read_id)
{
    struct read_request request = {.from = raft->id, .read_id = read_id};
    struct raft_entry entry;

    if (raft->leader == 0)
        return ERR_NO_LEADER;
    if (!has_room(raft))
        return ERR_REQUEST_TOO_MANY_REQUESTS;
    name_request(raft, &request);
    if (raft->role == RAFT_LEADER) {
        ask(raft, &request);
        return ERR_OK;
    }
    forward(raft, &request);
    entry = (struct raft_entry){.data = read_request_context(&request)};
    raft_send(raft, (struct raft_message){.type = RAFT_MSG_READ_INDEX,
                                          .to = raft->leader,
                                          .entries = &entry,
                                          .entry_count = 1});
    return ERR_OK;
}

void raft_read_forwarded(struct raft *raft, const struct raft_message *message)
{
    struct read_request request = {.from = message->from};
    struct slice context;

    if (raft->role != RAFT_LEADER || message->entry_count != 1 || !has_room(raft))
        return; /* the asker repeats it */
    context = message->entries[0].data;
    if (context.size == 0 || context.size > sizeof(request.context) ||
        read_queue_find(&raft->reads.asked, context) != raft->reads.asked.count ||
        read_queue_find(&raft->reads.waiting, context) != raft->reads.waiting.count)
        return;
    memcpy(request.context, context.data, context.size);
    request.context_size = context.size;
    ask(raft, &request);
}

void raft_read_answered(struct raft *raft, const struct raft_message *message)
{
    struct read_queue *forwarded = &raft->reads.forwarded;
    size_t at;

    if (raft->role == RAFT_LEADER || message->from != raft->leader || message->entry_count != 1 ||
        message->index == 0)
        return;
    at = read_queue_find(forwarded, message->entries[0].data);
    if (at == forwarded->count)
        return;
    for (size_t i = 0; i <= at; i++) /* what was asked before is as good with this index */
        readonly_answer(&raft->reads, forwarded->items[i].read_id, message->index);
    read_queue_drop(forwarded, at + 1);
}

void raft_read_acked(struct raft *raft, struct progress *member, struct slice context)
{
    const struct read_queue *asked = &raft->reads.asked;
    size_t at = read_queue_find(asked, context);

    if (at == asked->count)
        return;
    member->read_acked = MAX(member->read_acked, asked->items[at].number);
    answer_confirmed(raft);
}

void raft_reads_release(struct raft *raft)
{
    struct read_queue *waiting = &raft->reads.waiting;

    if (has_committed_in_term(raft)) {
        for (size_t i = 0; i < waiting->count; i++)
            ask(raft, &waiting->items[i]);
        waiting->count = 0;
    }
    answer_confirmed(raft);
}

struct slice raft_read_context(const struct raft *raft)
{
    const struct read_queue *asked = &raft->reads.asked;

    return asked->count != 0 ? read_request_context(&asked->items[asked->count - 1]) : SLICE_EMPTY;
}
