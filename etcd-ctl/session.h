/*
 * session.h - what lock and elect need beside their calls: a lease kept alive, one call that waits
 * without limit, and the signals that end both (cli.md 2.6). Thread: main, where not said.
 */
#ifndef ETCD_CTL_SESSION_H
#define ETCD_CTL_SESSION_H

#include "etcd-ctl/ctl.h"

#include <sys/types.h>

#define SESSION_TTL_DEFAULT 60 /* seconds */

/* Its threads run until the program ends: it lives in main's frame below session_end(). */
struct session {
    struct ctl *ctl;
    int64_t lease;
    int64_t ttl; /* seconds, as granted; 0 = no lease */
    int events;  /* one byte, of enum session_event, for each thing that happened in a thread */
    int report;  /* the other end of it */
    int signals; /* SIGINT and SIGTERM arrive here */
};

enum session_event {
    SESSION_LOST = 'L',     /* the lease is gone, or nobody renewed it in time */
    SESSION_ANSWERED = 'A', /* the call in a thread ended */
    SESSION_SIGNAL = 'S',   /* SIGINT or SIGTERM */
};

/* Take the signals. `ttl` > 0: also grant a lease and keep it alive. 0, or the exit code with
 * everything said. */
int session_begin(struct session *session, struct ctl *ctl, int64_t ttl) MUST_CHECK;

/* A call in a thread, with a connection and an arena of its own and no time limit. */
struct session_call {
    const struct session *session;
    enum rpc_id id;
    const ProtobufCMessage *request; /* borrowed until the program ends */
    client_message_fn *each;         /* of a stream, called in that thread; NULL = one answer */
    struct ctl ctl;                  /* for its thread; main's again after SESSION_ANSWERED */
    ProtobufCMessage *response;
    struct err err;
    bool failed;
};

/* Start it; `call` lives until the program ends. 0, or the exit code with everything said. */
int session_call(struct session_call *call) MUST_CHECK;

/* Wait for what happens next. */
enum session_event session_wait(const struct session *session);
/* The same for the answer of `call`: 0 when it is there, else the exit code with everything said
 * and the lease, if any, given back. */
int session_wait_answer(struct session_call *call) MUST_CHECK;

/* Until `child` ends: it gets the signals; that the lease is gone is told. It is still to be waited
 * for. */
void session_guard(const struct session *session, pid_t child);

/* Print what there is and end the program, whose threads may be in the middle of a call. */
_Noreturn void session_end(const struct session *session, int code);

#endif
