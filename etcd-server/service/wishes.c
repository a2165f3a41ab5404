/* wishes.c - see wishes.h. */
#include "etcd-server/service/wishes.h"

#include "etcd-server/service/service_internal.h"

static void append(struct wishes *wishes, struct wish *wish)
{
    wish->in = wishes;
    wish->next = NULL;
    wish->previous = wishes->last;
    if (wishes->last != NULL)
        wishes->last->next = wish;
    else
        wishes->first = wish;
    wishes->last = wish;
}

static void leave(struct wish *wish)
{
    if (wish->previous != NULL)
        wish->previous->next = wish->next;
    else
        wish->in->first = wish->next;
    if (wish->next != NULL)
        wish->next->previous = wish->previous;
    else
        wish->in->last = wish->previous;
}

static void cancel(struct call *call)
{
    leave(call->state);
}

bool wishes_add(struct wishes *wishes, struct call *call)
{
    struct wish *wish = call_alloc(call, sizeof(*wish));

    if (wish == NULL)
        return false;
    wish->call = call;
    call->state = wish;
    call->cancel = cancel;
    append(wishes, wish);
    return true;
}

void wish_move(struct wish *wish, struct wishes *to)
{
    leave(wish);
    append(to, wish);
}

void wishes_move(struct wishes *from, struct wishes *to)
{
    while (from->first != NULL)
        wish_move(from->first, to);
}

struct call *wish_end(struct wish *wish)
{
    struct call *call = wish->call;

    leave(wish);
    call->cancel = NULL;
    return call;
}
