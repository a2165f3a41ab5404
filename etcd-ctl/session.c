/*
 * session.c - see session.h. Threads tell main through a pipe, signals through a descriptor, so
 * that main waits for all of them in one poll().
 */
#include "etcd-ctl/session.h"

#include "common/base/clock.h"
#include "common/base/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

static void tell(const struct session *session, enum session_event event)
{
    uint8_t byte = (uint8_t)event;

    must(write(session->report, &byte, 1) == 1); /* a pipe has room for the few there are */
}

/* A client for one more thread: the same endpoints, without a time limit. */
static int clone_client(struct client *client, struct client **clone)
{
    struct err err = ERR_INIT;

    if (client_clone_all(client, 0, clone, &err) < 0)
        return ctl_fail(CTL_FAILED, "%s", err.text);
    client_set_timeout(*clone, 0);
    return CTL_OK;
}

static int start_thread(void *(*run)(void *), void *arg)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, run, arg) != 0)
        return ctl_fail(CTL_FAILED, "no thread could be started: is there a limit of processes?");
    (void)pthread_detach(thread); /* ends with the program */
    return CTL_OK;
}

/* ---- the lease ---- */

struct renewal {
    const struct session *session;
    struct client *client;
};

static void *keep_alive(void *arg)
{
    struct renewal *renewal = arg;
    int64_t ttl_ms = renewal->session->ttl * 1000, until = clock_ms() + ttl_ms, left = ttl_ms;
    Etcdserverpb__LeaseKeepAliveRequest request;
    struct arena arena;

    etcdserverpb__lease_keep_alive_request__init(&request);
    request.id = renewal->session->lease;
    arena_init(&arena, CLIENT_RESPONSE_MAX);
    clock_pause_ms(ttl_ms / 3);
    for (; left > 0; left = until - clock_ms()) {
        ProtobufCMessage *response = NULL;
        struct err err = ERR_INIT;
        int64_t asked = clock_ms(), ttl;

        client_set_timeout(renewal->client, MAX(MIN(until - asked, ttl_ms / 3), 1));
        if (client_call(renewal->client, RPC_Lease_LeaseKeepAlive, &request.base, &arena, &response,
                        &err) < 0) {
            clock_pause_ms(CTL_RETRY_PAUSE_MS); /* as long as the lease may be there */
            continue;
        }
        ttl = MIN(((const Etcdserverpb__LeaseKeepAliveResponse *)response)->ttl, INT32_MAX);
        arena_reset(&arena);
        if (ttl <= 0)
            break;
        until = asked + ttl * 1000;
        clock_pause_ms(ttl * 1000 / 3);
    }
    tell(renewal->session, SESSION_LOST);
    return NULL; /* the arena and the client end with the program */
}

/* A server that is not there yet is waited for, without limit: a signal ends that and us. */
static int grant(struct session *session, int64_t ttl)
{
    const struct ctl *ctl = session->ctl;
    Etcdserverpb__LeaseGrantRequest request;
    ProtobufCMessage *response = NULL;
    struct err err = ERR_INIT;
    bool told = false;

    etcdserverpb__lease_grant_request__init(&request);
    request.ttl = ttl;
    while (client_call(ctl->client, RPC_Lease_LeaseGrant, &request.base, &session->ctl->arena,
                       &response, &err) < 0) {
        if (!client_may_pass(ctl->client, &err))
            return ctl_fail_err(session->ctl, CTL_FAILED, &err);
        ctl_wait_for_server("", &err, &told);
        err = ERR_INIT;
    }
    session->lease = ((const Etcdserverpb__LeaseGrantResponse *)response)->id;
    session->ttl = MIN(((const Etcdserverpb__LeaseGrantResponse *)response)->ttl, INT32_MAX);
    return CTL_OK;
}

static int start_renewal(const struct session *session)
{
    struct renewal *renewal = xalloc(sizeof(*renewal));
    int code;

    *renewal = (struct renewal){.session = session};
    code = clone_client(session->ctl->client, &renewal->client);
    if (code == CTL_OK)
        code = start_thread(keep_alive, renewal);
    if (code != CTL_OK) {
        client_free(renewal->client);
        free(renewal);
    }
    return code;
}

int session_begin(struct session *session, struct ctl *ctl, int64_t ttl)
{
    int code = CTL_OK, ends[2];
    sigset_t signals;

    *session = (struct session){.ctl = ctl};
    if (ttl > 0)
        code = grant(session, ttl); /* while signals still end the program */
    if (code != CTL_OK)
        return code;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGINT);
    (void)sigaddset(&signals, SIGTERM);
    (void)pthread_sigmask(SIG_BLOCK, &signals, NULL); /* before threads, which inherit it */
    session->signals = signalfd(-1, &signals, SFD_CLOEXEC);
    if (session->signals < 0 || pipe2(ends, O_CLOEXEC) < 0)
        return ctl_fail(CTL_FAILED, "no descriptor for signals: %s", strerror(errno));
    session->events = ends[0];
    session->report = ends[1];
    return ttl > 0 ? start_renewal(session) : CTL_OK;
}

/* ---- the call that waits ---- */

static int ask_once(struct session_call *call)
{
    struct ctl *ctl = &call->ctl;

    call->err = ERR_INIT;
    if (call->each != NULL)
        return client_stream(ctl->client, call->id, call->request, call->each, call, &call->err);
    return client_call(ctl->client, call->id, call->request, &ctl->arena, &call->response,
                       &call->err);
}

/*
 * A server that goes away takes the place in the queue with it, but not the lease: stand in line
 * again, which gives the same key, for as long as the lease lives. Without a lease: without end.
 */
static void *run_call(void *arg)
{
    struct session_call *call = arg;
    bool told = false;
    int rc;

    while ((rc = ask_once(call)) < 0 && client_may_pass(call->ctl.client, &call->err)) {
        if (!told)
            (void)fprintf(stderr, "%s; trying again\n", call->err.text);
        told = true;
        clock_pause_ms(CTL_RETRY_PAUSE_MS);
    }
    call->failed = rc < 0;
    tell(call->session, SESSION_ANSWERED);
    return NULL;
}

int session_call(struct session_call *call)
{
    int code;

    call->ctl = *call->session->ctl;
    call->ctl.client = NULL;
    call->ctl.out = BUF_INIT(BUF_UNLIMITED);
    call->err = ERR_INIT;
    arena_init(&call->ctl.arena, CLIENT_RESPONSE_MAX);
    code = clone_client(call->session->ctl->client, &call->ctl.client);
    return code == CTL_OK ? start_thread(run_call, call) : code;
}

enum session_event session_wait(const struct session *session)
{
    for (;;) {
        struct pollfd wait[2] = {{.fd = session->signals, .events = POLLIN},
                                 {.fd = session->events, .events = POLLIN}};
        struct signalfd_siginfo info;
        uint8_t byte;

        if (poll(wait, ARRAY_LEN(wait), -1) < 0)
            continue; /* stopped and continued by the shell */
        if (wait[0].revents != 0 && read(session->signals, &info, sizeof(info)) == sizeof(info))
            return SESSION_SIGNAL;
        if (wait[1].revents != 0 && read(session->events, &byte, 1) == 1)
            return (enum session_event)byte;
    }
}

/* A signal from a terminal went to the command as well: it has the same process group. */
static void pass_on(int signals, pid_t child)
{
    struct signalfd_siginfo info;

    if (read(signals, &info, sizeof(info)) == sizeof(info) && info.ssi_code != SI_KERNEL)
        (void)kill(child, (int)info.ssi_signo); /* it may have ended: that is seen next */
}

void session_guard(const struct session *session, pid_t child)
{
    int process = (int)syscall(SYS_pidfd_open, child, 0);
    struct pollfd wait[3] = {{.fd = process, .events = POLLIN},
                             {.fd = session->signals, .events = POLLIN},
                             {.fd = session->events, .events = POLLIN}};
    uint8_t byte;

    while (process >= 0) { /* without: the caller waits, and signals wait with it */
        if (poll(wait, ARRAY_LEN(wait), -1) < 0)
            continue; /* stopped and continued by the shell */
        if (wait[0].revents != 0)
            break;
        if (wait[1].revents != 0)
            pass_on(session->signals, child);
        if (wait[2].revents != 0 && read(session->events, &byte, 1) == 1 && byte == SESSION_LOST)
            (void)fprintf(stderr, "session expired: the command goes on without the lock\n");
    }
    if (process >= 0)
        (void)close(process);
}

/* With the lease goes the place in the queue. */
static void give_back(const struct session *session)
{
    Etcdserverpb__LeaseRevokeRequest request;
    ProtobufCMessage *response = NULL;
    struct err err = ERR_INIT;

    etcdserverpb__lease_revoke_request__init(&request);
    request.id = session->lease;
    if (session->lease != 0 &&
        client_call(session->ctl->client, RPC_Lease_LeaseRevoke, &request.base,
                    &session->ctl->arena, &response, &err) < 0)
        (void)fprintf(stderr,
                      "The lease %016" PRIx64 " could not be revoked (%s): it ends by itself in "
                      "%" PRId64 "s.\n",
                      (uint64_t)session->lease, err.text, session->ttl);
}

int session_wait_answer(struct session_call *call)
{
    int code = CTL_OK;

    switch (session_wait(call->session)) {
    case SESSION_ANSWERED:
        if (call->failed)
            code = ctl_fail_err(&call->ctl, CTL_FAILED, &call->err);
        break;
    case SESSION_LOST:
        return ctl_fail(CTL_FAILED, "session expired");
    case SESSION_SIGNAL:
        code = ctl_fail(CTL_FAILED, "context canceled");
        break;
    }
    if (code != CTL_OK)
        give_back(call->session);
    return code;
}

void session_end(const struct session *session, int code)
{
    ctl_flush(session->ctl);
    _exit(code); /* exit() would take libraries down under the threads */
}
