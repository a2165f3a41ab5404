/* readonly.c - see readonly.h. */
#include "common/base/base.h"
#include "etcd-server/raft/readonly.h"

void readonly_fini(struct readonly *readonly)
{
    free(readonly->waiting.items);
    free(readonly->asked.items);
    free(readonly->forwarded.items);
    free(readonly->answers);
    *readonly = (struct readonly){0};
}

bool read_queue_is_full(const struct read_queue *queue)
{
    return queue->count == RAFT_READS_MAX;
}

void read_queue_push(struct read_queue *queue, const struct read_request *request)
{
    must(!read_queue_is_full(queue));
    if (queue->count == queue->capacity) {
        queue->capacity = MAX(queue->capacity * 2, 16);
        queue->items = xrealloc(queue->items, queue->capacity * sizeof(*queue->items));
    }
    queue->items[queue->count++] = *request;
}

void read_queue_drop(struct read_queue *queue, size_t count)
{
    if (count == 0)
        return;
    must(count <= queue->count);
    queue->count -= count;
    memmove(queue->items, queue->items + count, queue->count * sizeof(*queue->items));
}

struct slice read_request_context(const struct read_request *request)
{
    return slice_of(request->context, request->context_size);
}

size_t read_queue_find(const struct read_queue *queue, struct slice context)
{
    for (size_t i = queue->count; i-- > 0;)
        if (slice_equal(read_request_context(&queue->items[i]), context))
            return i;
    return queue->count;
}

void readonly_answer(struct readonly *readonly, uint64_t read_id, uint64_t index)
{
    if (readonly->answer_count == readonly->answer_capacity) {
        readonly->answer_capacity = MAX(readonly->answer_capacity * 2, 16);
        readonly->answers =
            xrealloc(readonly->answers, readonly->answer_capacity * sizeof(*readonly->answers));
    }
    readonly->answers[readonly->answer_count++] = (struct raft_read){read_id, index};
}

static void fail(struct readonly *readonly, struct read_queue *queue, uint64_t id)
{
    for (size_t i = 0; i < queue->count; i++)
        if (queue->items[i].from == id)
            readonly_answer(readonly, queue->items[i].read_id, 0);
    queue->count = 0;
}

void readonly_fail_all(struct readonly *readonly, uint64_t id)
{
    fail(readonly, &readonly->asked, id);
    fail(readonly, &readonly->waiting, id);
    fail(readonly, &readonly->forwarded, id);
    readonly->round_due = false;
}
