/* outbox.c - see outbox.h. */
#include "common/base/base.h"
#include "etcd-server/raft/outbox.h"

static void drop_all(struct outgoing *items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(items[i].memory);
}

void outbox_fini(struct outbox *outbox)
{
    drop_all(outbox->items, outbox->count);
    drop_all(outbox->given, outbox->given_count);
    free(outbox->items);
    free(outbox->given);
    *outbox = (struct outbox){0};
}

static void push(struct outgoing **items, size_t *count, size_t *capacity, struct outgoing item)
{
    if (*count == *capacity) {
        *capacity = MAX(*capacity * 2, 16);
        *items = xrealloc(*items, *capacity * sizeof(**items));
    }
    (*items)[(*count)++] = item;
}

static struct slice copy_slice(uint8_t **at, struct slice from)
{
    struct slice copy = {*at, from.size};

    if (from.size != 0)
        memcpy(*at, from.data, from.size);
    *at += from.size;
    return copy;
}

static struct outgoing copy_message(const struct raft_message *message)
{
    struct outgoing out = {.message = *message};
    size_t bytes = message->entry_count * sizeof(*message->entries) + message->context.size;
    uint8_t *at;

    for (size_t i = 0; i < message->entry_count; i++)
        bytes += message->entries[i].data.size;
    if (bytes == 0)
        return out;
    out.memory = xalloc(bytes);
    out.message.entries = out.memory;
    at = (uint8_t *)(out.message.entries + message->entry_count);
    for (size_t i = 0; i < message->entry_count; i++) {
        out.message.entries[i] = message->entries[i];
        out.message.entries[i].data = copy_slice(&at, message->entries[i].data);
    }
    out.message.context = copy_slice(&at, message->context);
    return out;
}

/* Of several acceptances of one leader's entries in one request, the last says it all. */
static bool replaces(const struct outgoing *old, const struct raft_message *message)
{
    return old->wait_id == OUTBOX_UNTAGGED && old->message.type == RAFT_MSG_APP_RESP &&
           message->type == RAFT_MSG_APP_RESP && !old->message.reject && !message->reject &&
           old->message.to == message->to && old->message.term == message->term &&
           old->message.index <= message->index;
}

/* An acceptance that still waits says as much: a leader that asks again and again while the disk
 * hangs fills nothing. */
static bool is_said(const struct outbox *outbox, const struct raft_message *message)
{
    for (size_t i = outbox->count; i-- > 0;) {
        const struct raft_message *old = &outbox->items[i].message;

        if (old->type == RAFT_MSG_APP_RESP && !old->reject && old->to == message->to &&
            old->term == message->term && outbox->items[i].wait_id != 0)
            return message->type == RAFT_MSG_APP_RESP && !message->reject &&
                   old->index >= message->index;
    }
    return false;
}

void outbox_put(struct outbox *outbox, const struct raft_message *message, bool promise)
{
    struct outgoing out;

    if (promise && is_said(outbox, message))
        return;
    out = copy_message(message);
    out.wait_id = promise ? OUTBOX_UNTAGGED : 0;
    if (promise && outbox->count != 0 && replaces(&outbox->items[outbox->count - 1], message)) {
        free(outbox->items[outbox->count - 1].memory);
        outbox->items[outbox->count - 1] = out;
        return;
    }
    push(&outbox->items, &outbox->count, &outbox->capacity, out);
}

void outbox_tag(struct outbox *outbox, uint64_t given_id)
{
    for (size_t i = outbox->count; i-- > 0;)
        if (outbox->items[i].wait_id == OUTBOX_UNTAGGED)
            outbox->items[i].wait_id = given_id;
}

void outbox_release(struct outbox *outbox, uint64_t written_id)
{
    size_t kept = 0;

    for (size_t i = 0; i < outbox->count; i++) {
        if (outbox->items[i].wait_id <= written_id)
            push(&outbox->given, &outbox->given_count, &outbox->given_capacity, outbox->items[i]);
        else
            outbox->items[kept++] = outbox->items[i];
    }
    outbox->count = kept;
}

void outbox_give_back(struct outbox *outbox)
{
    drop_all(outbox->given, outbox->given_count);
    outbox->given_count = 0;
}
