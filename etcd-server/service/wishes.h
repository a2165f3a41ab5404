/*
 * wishes.h - calls that wait for the same long work: it is done once for all of them, and those
 * that come while it is being done share the next. Thread: core.
 */
#ifndef ETCD_SERVER_SERVICE_WISHES_H
#define ETCD_SERVER_SERVICE_WISHES_H

#include "etcd-server/service/call.h"

struct wishes {
    struct wish *first, *last;
};

/* A call in a list; in the call's own arena. */
struct wish {
    struct call *call;
    struct wishes *in; /* borrowed */
    struct wish *previous, *next;
};

/*
 * The call waits in `wishes`, at the end; when it is cancelled it leaves them by itself. False: it
 * was refused for want of memory, and has ended.
 */
bool wishes_add(struct wishes *wishes, struct call *call) MUST_CHECK;
/* To the end of another list. */
void wish_move(struct wish *wish, struct wishes *to);
void wishes_move(struct wishes *from, struct wishes *to); /* all of them */
/* The call does not wait any longer: answer it. */
struct call *wish_end(struct wish *wish);

#endif
