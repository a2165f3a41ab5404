/*
 * cmd_lock.c - lock: hold a lock until a signal comes or a command has ended (cli.md 2.6).
 *
 *   grant a lease -> wait for the lock -> print the key, or run the command -> unlock
 *
 * The lease is left to expire.
 */
#include "common/schema/lock.pb-c.h"
#include "common/schema/pbbytes.h"
#include "etcd-ctl/session.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static int unlock(struct ctl *ctl, ProtobufCBinaryData key)
{
    V3lockpb__UnlockRequest request = V3LOCKPB__UNLOCK_REQUEST__INIT;
    ProtobufCMessage *response = NULL;

    request.key = key;
    return ctl_call(ctl, RPC_Lock_Unlock, &request.base, &response, CTL_FAILED);
}

/* ---- with a command ---- */

static void set_variables(struct ctl *ctl, const V3lockpb__LockResponse *lock)
{
    int64_t revision = lock->header != NULL ? lock->header->revision : 0;
    char *key = xstrndup((const char *)lock->key.data, lock->key.len);

    must(setenv("ETCD_LOCK_KEY", key, 1) == 0);
    free(key);
    must(setenv("ETCD_LOCK_REV", show_text(ctl, "%" PRId64, revision), 1) == 0);
}

/* 0 or the cause. Its standard input is empty, its signals are as they were before the session. */
static int start_command(const char *const *command, pid_t *pid)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none;
    int cause;

    (void)sigemptyset(&none);
    cause = posix_spawnattr_init(&attributes);
    if (cause != 0)
        return cause;
    cause = posix_spawn_file_actions_init(&files);
    if (cause == 0) {
        (void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
        (void)posix_spawnattr_setsigmask(&attributes, &none);
        cause = posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
        if (cause == 0)
            cause = posix_spawnp(pid, command[0], &files, &attributes,
                                 (char *const *)(uintptr_t)command, environ);
        (void)posix_spawn_file_actions_destroy(&files);
    }
    (void)posix_spawnattr_destroy(&attributes);
    return cause;
}

/* Its exit code, with a word about it when it is not 0. Signals meanwhile are for the command. */
static int run_command(const struct session *session, const char *const *command)
{
    pid_t pid = 0;
    int cause = start_command(command, &pid), status = 0;

    if (cause == ENOENT && strchr(command[0], '/') == NULL)
        return ctl_fail(CTL_FAILED, "exec: \"%s\": executable file not found in $PATH", command[0]);
    if (cause != 0)
        return ctl_fail(CTL_FAILED, "exec: \"%s\": %s", command[0], strerror(cause));
    session_guard(session, pid);
    while (waitpid(pid, &status, 0) < 0)
        must(errno == EINTR);
    if (WIFSIGNALED(status))
        return ctl_fail(255, "signal: %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    if (WEXITSTATUS(status) != 0)
        return ctl_fail(WEXITSTATUS(status), "exit status %d", WEXITSTATUS(status));
    return CTL_OK;
}

/* ---- without one ---- */

static int show_lock(struct ctl *ctl, ProtobufCBinaryData key)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    int code;

    request.key = key;
    code = ctl_call(ctl, RPC_KV_Range, &request.base, &response, CTL_FAILED);
    if (code != CTL_OK)
        return code;
    if (((const Etcdserverpb__RangeResponse *)response)->n_kvs == 0)
        return ctl_fail(CTL_FAILED, "lock lost on init");
    code = ctl_show(ctl, response, show_range, show_range_fields);
    ctl_flush(ctl);
    return code;
}

static int hold(const struct session *session, ProtobufCBinaryData key)
{
    int code = show_lock(session->ctl, key), freed;

    if (code == CTL_OK && session_wait(session) != SESSION_SIGNAL)
        return ctl_fail(CTL_FAILED, "session expired");
    freed = unlock(session->ctl, key);
    return code != CTL_OK ? code : freed;
}

/* ---- both ---- */

static int lock(struct session_call *call, const char *const *command)
{
    struct ctl *ctl = call->session->ctl;
    const V3lockpb__LockResponse *held;
    int code = session_call(call), freed;

    if (code == CTL_OK)
        code = session_wait_answer(call);
    if (code != CTL_OK)
        return code;
    held = (const V3lockpb__LockResponse *)call->response;
    if (command == NULL)
        return hold(call->session, held->key);
    set_variables(ctl, held);
    code = run_command(call->session, command);
    freed = unlock(ctl, held->key);
    return code != CTL_OK ? code : freed;
}

int cmd_lock(struct ctl *ctl, const struct args *args)
{
    V3lockpb__LockRequest request = V3LOCKPB__LOCK_REQUEST__INIT;
    int64_t ttl = args_number(args, "ttl");
    const char **command = NULL;
    struct session session;
    struct session_call call = {.session = &session, .id = RPC_Lock_Lock, .request = &request.base};
    int code;

    if (args->word_count == 0)
        return ctl_bad_args("lock takes a lock name argument and an optional command to execute");
    if (args->word_count > 1) {
        command = arena_zalloc(&ctl->arena, args->word_count * sizeof(*command));
        must(command != NULL); /* the arguments of a process are few */
        memcpy(command, args->words + 1, (args->word_count - 1) * sizeof(*command));
    } else if (ctl->format == PRINT_TABLE) {
        return ctl_refuse_format(ctl);
    }
    code = session_begin(&session, ctl, ttl > 0 ? ttl : SESSION_TTL_DEFAULT);
    if (code == CTL_OK) {
        request.name = pb_text(args->words[0]);
        request.lease = session.lease;
        code = lock(&call, command);
    }
    session_end(&session, code);
}
