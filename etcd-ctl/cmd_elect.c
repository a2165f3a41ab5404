/*
 * cmd_elect.c - elect: be a candidate and, when elected, hold until a signal comes; or print every
 * leader as it comes (cli.md 2.6).
 */
#include "common/schema/election.pb-c.h"
#include "common/schema/pbbytes.h"
#include "etcd-ctl/session.h"

/* ---- candidate ---- */

static int show_leader(struct ctl *ctl, ProtobufCBinaryData key)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    int code;

    request.key = key;
    code = ctl_call(ctl, RPC_KV_Range, &request.base, &response, CTL_FAILED);
    if (code == CTL_OK)
        code = ctl_show(ctl, response, show_range, show_range_fields);
    ctl_flush(ctl);
    return code;
}

static int resign(struct ctl *ctl, V3electionpb__LeaderKey *leader)
{
    V3electionpb__ResignRequest request = V3ELECTIONPB__RESIGN_REQUEST__INIT;
    ProtobufCMessage *response = NULL;

    request.leader = leader;
    return ctl_call(ctl, RPC_Election_Resign, &request.base, &response, CTL_FAILED);
}

static int lead(struct session_call *call)
{
    struct ctl *ctl = call->session->ctl;
    V3electionpb__LeaderKey *leader;
    int code = session_call(call), resigned;

    if (code == CTL_OK)
        code = session_wait_answer(call);
    if (code != CTL_OK)
        return code;
    leader = CONTAINER_OF(call->response, V3electionpb__CampaignResponse, base)->leader;
    if (leader == NULL)
        return ctl_fail(CTL_FAILED, "the server's answer does not say which key leads");
    code = show_leader(ctl, leader->key);
    if (code == CTL_OK && session_wait(call->session) != SESSION_SIGNAL)
        return ctl_fail(CTL_FAILED, "elect: session expired");
    resigned = resign(ctl, leader);
    return code != CTL_OK ? code : resigned;
}

static int campaign(struct ctl *ctl, const char *name, const char *proposal)
{
    V3electionpb__CampaignRequest request = V3ELECTIONPB__CAMPAIGN_REQUEST__INIT;
    struct session session;
    struct session_call call = {
        .session = &session, .id = RPC_Election_Campaign, .request = &request.base};
    int code = session_begin(&session, ctl, SESSION_TTL_DEFAULT);

    if (code == CTL_OK) {
        request.name = pb_text(name);
        request.value = pb_text(proposal);
        request.lease = session.lease;
        code = lead(&call);
    }
    session_end(&session, code);
}

/* ---- observer ---- */

/* In the thread of the call. */
static int on_leader(void *arg, const ProtobufCMessage *message, struct err *err)
{
    struct session_call *call = arg;
    const V3electionpb__LeaderResponse *leader = (const void *)message;
    Etcdserverpb__RangeResponse range = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    Mvccpb__KeyValue *kv = leader->kv;

    (void)err;
    range.header = leader->header;
    range.kvs = &kv;
    range.n_kvs = kv != NULL ? 1 : 0;
    /* the format was looked at before */
    (void)ctl_show(&call->ctl, &range.base, show_range, show_range_fields);
    ctl_flush(&call->ctl);
    return 0;
}

static int observe(struct ctl *ctl, const char *name)
{
    V3electionpb__LeaderRequest request = V3ELECTIONPB__LEADER_REQUEST__INIT;
    struct session session;
    struct session_call call = {.session = &session,
                                .id = RPC_Election_Observe,
                                .request = &request.base,
                                .each = on_leader};
    int code = session_begin(&session, ctl, 0);

    request.name = pb_text(name);
    if (code == CTL_OK)
        code = session_call(&call);
    if (code == CTL_OK && session_wait(&session) == SESSION_ANSWERED)
        code = call.failed ? ctl_fail_err(&call.ctl, CTL_FAILED, &call.err)
                           : ctl_fail(CTL_FAILED, "elect: observer lost");
    session_end(&session, code);
}

int cmd_elect(struct ctl *ctl, const struct args *args)
{
    bool listen = args_bool(args, "listen");

    if (args->word_count != 1 && args->word_count != 2)
        return ctl_bad_args(
            "elect takes one election name argument and an optional proposal argument");
    if (listen && args->word_count == 2)
        return ctl_bad_args("proposal given but -l is set");
    if (!listen && args->word_count == 1)
        return ctl_bad_args("no proposal argument but -l not set");
    if (ctl->format == PRINT_TABLE)
        return ctl_refuse_format(ctl);
    return listen ? observe(ctl, args->words[0]) : campaign(ctl, args->words[0], args->words[1]);
}
