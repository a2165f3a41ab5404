/*
 * ctl.h - what a command of etcd-ctl is given, and how it calls, prints and fails. Thread: main.
 */
#ifndef ETCD_CTL_CTL_H
#define ETCD_CTL_CTL_H

#include "common/client/client.h"
#include "common/client/print.h"
#include "common/schema/rpc.pb-c.h"
#include "etcd-ctl/args.h"

#define CTL_RETRY_PAUSE_MS 500 /* before a watch, a mirror or a lease tries again */

/* Exit codes (cli.md 2.4). */
enum ctl_exit {
    CTL_OK = 0,
    CTL_FAILED = 1, /* the request failed; unknown command or flag */
    CTL_NO_CLIENT = 2,
    CTL_BAD_INPUT = 3,  /* of txn */
    CTL_BAD_FORMAT = 4, /* output format, sort order, consistency */
    CTL_CANCELLED = 5,  /* watch cancelled, snapshot not saved */
    CTL_BAD_ARGS = 128,
};

struct ctl {
    const struct grammar *grammar;
    enum print_format format;
    bool hex;
    struct client *client; /* NULL for commands that need no server */
    struct arena arena;    /* requests and answers, until the command ends */
    struct buf out;        /* standard output, written when the command ends */
};

/* Print "Error: ..." on standard error and return `code`. */
int ctl_fail(int code, const char *format, ...) PRINTF_LIKE(2, 3);
/* The same with the words of `err` and, on a second line, what to do. */
int ctl_fail_err(struct ctl *ctl, int code, const struct err *err);
/* "not one argument" and the like: exit code 128. */
#define ctl_bad_args(...) ctl_fail(CTL_BAD_ARGS, __VA_ARGS__)

/* One call; 0, or the exit code with everything said: `code`, or 2 when there is no client. */
int ctl_call(struct ctl *ctl, enum rpc_id id, const ProtobufCMessage *request,
             ProtobufCMessage **response, int code) MUST_CHECK;

typedef void ctl_show_fn(struct ctl *ctl, const ProtobufCMessage *response);
/*
 * Show `response` in the format wanted. json and protobuf need no help; simple and fields have
 * their function, NULL where the format is refused (exit code 4).
 */
int ctl_show(struct ctl *ctl, const ProtobufCMessage *response, ctl_show_fn *simple,
             ctl_show_fn *fields);
/* A call failed with `cause`, client_may_pass(): say once, after `whose`, that its server is waited
 * for, and let a moment pass. */
void ctl_wait_for_server(const char *whose, const struct err *cause, bool *told);
int ctl_refuse_format(const struct ctl *ctl); /* "X not supported as output format" */
void ctl_flush(struct ctl *ctl);              /* what is in `out` goes to standard output now */

/* ---- pieces of output (show.c) ---- */
void show_header(struct buf *out, const Etcdserverpb__ResponseHeader *header);
void show_kv(struct ctl *ctl, const Mvccpb__KeyValue *kv, bool value_only);
void show_kv_fields(struct buf *out, const char *prefix, const Mvccpb__KeyValue *kv);
void show_range(struct ctl *ctl, const ProtobufCMessage *response);
void show_put(struct ctl *ctl, const ProtobufCMessage *response);
void show_delete(struct ctl *ctl, const ProtobufCMessage *response);
void show_range_fields(struct ctl *ctl, const ProtobufCMessage *response);
void show_put_fields(struct ctl *ctl, const ProtobufCMessage *response);
void show_delete_fields(struct ctl *ctl, const ProtobufCMessage *response);
void show_header_fields(struct ctl *ctl, const ProtobufCMessage *response); /* only the header */
/* In the arena; for cells of tables. */
const char *show_text(struct ctl *ctl, const char *format, ...) PRINTF_LIKE(2, 3);

/* ---- requests shared with txn (cmd_kv.c); return 0 or an exit code with everything said ---- */
int kv_range_request(struct ctl *ctl, const struct args *args, Etcdserverpb__RangeRequest *request);
int kv_put_request(struct ctl *ctl, const struct args *args, bool from_stdin,
                   Etcdserverpb__PutRequest *request);
int kv_delete_request(struct ctl *ctl, const struct args *args,
                      Etcdserverpb__DeleteRangeRequest *request);
/* The end of the keys that begin with `key`; one zero byte when there is none. In the arena. */
ProtobufCBinaryData kv_prefix_end(struct ctl *ctl, ProtobufCBinaryData key);
bool parse_hex_id(const char *text, uint64_t *id);
bool parse_lease_id(const char *text, int64_t *id); /* signed, as etcd's are */

extern const struct grammar ctl_grammar;

command_fn cmd_put, cmd_get, cmd_del, cmd_compaction, cmd_txn;
command_fn cmd_endpoint_health, cmd_endpoint_status, cmd_endpoint_hashkv;
command_fn cmd_member_list, cmd_member_add, cmd_member_remove, cmd_member_update,
    cmd_member_promote;
command_fn cmd_alarm_list, cmd_alarm_disarm, cmd_defrag, cmd_move_leader;
command_fn cmd_lease_grant, cmd_lease_revoke, cmd_lease_timetolive, cmd_lease_list,
    cmd_lease_keep_alive;
command_fn cmd_auth_enable, cmd_auth_disable, cmd_auth_status;
command_fn cmd_user_add, cmd_user_delete, cmd_user_get, cmd_user_list, cmd_user_passwd,
    cmd_user_grant_role, cmd_user_revoke_role;
command_fn cmd_role_add, cmd_role_delete, cmd_role_get, cmd_role_list, cmd_role_grant_permission,
    cmd_role_revoke_permission;
command_fn cmd_snapshot_save, cmd_snapshot_status, cmd_snapshot_restore;
command_fn cmd_watch;
command_fn cmd_lock, cmd_elect;
command_fn cmd_make_mirror, cmd_check_perf, cmd_check_datascale;
command_fn cmd_downgrade_cancel, cmd_downgrade_enable, cmd_downgrade_validate;
command_fn cmd_completion_bash, cmd_completion_fish, cmd_completion_powershell, cmd_completion_zsh;
command_fn cmd_version, cmd_options;

#endif
