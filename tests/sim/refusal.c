/*
 * refusal.c - may this call be refused, with that, now?
 *
 *   for who called       only when auth is on, and with writes only for a bad token
 *   before the log       it must never turn up there: sim->refused
 *   nobody knows         only while something is wrong, or was lately
 *   by apply, or a read  what the model says to it at what is applied now
 */
#include "tests/sim/door.h"

#define TROUBLE_MS 30000 /* calls may time out so long after something was wrong */

enum refusal {
    REFUSAL_BEFORE_LOG, /* it must never turn up in the log */
    REFUSAL_UNKNOWN,    /* it may */
    REFUSAL_APPLIED,    /* what apply, or a read, says to it */
};

static enum refusal kind_of(enum err_code code)
{
    switch ((int)code) {
    case ERR_DISK_FULL:
    case ERR_REQUEST_TOO_MANY_REQUESTS:
    case ERR_REQUEST_TOO_LARGE:
    case ERR_DUPLICATE_KEY:
    case ERR_TOO_MANY_OPS:
    case ERR_NO_LEADER:
    case ERR_MEMBER_BAD_URLS:
    case ERR_MEMBER_NOT_ENOUGH_STARTED:
    case ERR_NOT_SUPPORTED_FOR_LEARNER:
        return REFUSAL_BEFORE_LOG;
    case ERR_TIMEOUT:
    case ERR_TIMEOUT_DUE_TO_LEADER_FAIL:
    case ERR_TIMEOUT_DUE_TO_CONNECTION_LOST:
    case ERR_CALL_DEADLINE:
    case ERR_STOPPED:
    case ERR_LEADER_CHANGED:
        return REFUSAL_UNKNOWN;
    default:
        return REFUSAL_APPLIED;
    }
}

static bool is_read(const struct sim_call *own)
{
    return own->call.row->id == RPC_KV_Range ||
           (own->call.row->id == RPC_KV_Txn &&
            mvcc_txn_is_read_only((const void *)own->call.request));
}

/* Refused for who called, and not by an entry: so it may be with writes only for a bad token. True:
 * nothing else is to check. */
static bool is_refused_for_rights(struct sim_call *own, enum err_code code)
{
    struct node *node = own->node;
    struct sim *sim = own->sim;
    const char *method = own->call.row->method;

    node_advance(node);
    if (!login_matters(code) || !node->model.rights.enabled ||
        (door_is_mine(own) &&
         node->model.code == code)) /* else it may be another one's, the same */
        return false;
    login_check_refusal(node, own->call.token, method, code);
    if (is_read(own))
        sim_check(sim, code == ERR_INVALID_AUTH_TOKEN || door_expected_read(own) == code,
                  "%s is refused: %s", method, err_text(code));
    else if (own->call.row->service[0] == 'K' && own->call.row->id != RPC_KV_Compact)
        sim_check(sim, code == ERR_INVALID_AUTH_TOKEN, "%s is refused before it is applied: %s",
                  method, err_text(code));
    if (own->serial != 0)
        sim->refused[own->serial] = 1;
    if (own->call.row->id == RPC_Lease_LeaseRevoke)
        leasing_refused(
            sim, ((const Etcdserverpb__LeaseRevokeRequest *)(const void *)own->call.request)->id);
    return true;
}

void refusal_check(struct sim_call *own, enum err_code code)
{
    struct sim *sim = own->sim;
    enum rpc_id id = own->call.row->id;

    if (is_refused_for_rights(own, code))
        return;
    switch (kind_of(code)) {
    case REFUSAL_BEFORE_LOG:
        if (id == RPC_Lease_LeaseRevoke)
            leasing_refused(
                sim,
                ((const Etcdserverpb__LeaseRevokeRequest *)(const void *)own->call.request)->id);
        if (own->serial != 0)
            sim->refused[own->serial] = 1;
        return;
    case REFUSAL_UNKNOWN:
        sim->unknown++;
        sim_check(sim,
                  (code == ERR_STOPPED && own->node->dying) ||
                      (sim->options.members > 1 && !sim->quiet) ||
                      sim->now_ms < sim->trouble_ms + TROUBLE_MS ||
                      own->call.row->service[0] == 'C',
                  "%s: %s, though nothing was wrong", own->call.row->method, err_text(code));
        return;
    case REFUSAL_APPLIED:
        break;
    }
    if (id == RPC_Auth_Authenticate) {
        node_advance(own->node);
        if (code == ERR_AUTH_FAILED && own->node->model.rights.revision == own->rights_revision)
            login_check_failed(own->node, (const void *)own->call.request);
        return;
    }
    if (id == RPC_Maintenance_HashKV || id == RPC_Maintenance_MoveLeader ||
        own->call.row->service[0] == 'C')
        return; /* decided by the state of the moment; the answers are checked */
    node_advance(own->node);
    if (door_is_mine(own)) {
        sim_check(sim, own->node->model.code == code, "%s is refused: %s, expected: %s",
                  own->call.row->method, err_text(code), err_text(own->node->model.code));
        return;
    }
    if (code == ERR_NO_SPACE && sim->options.quota_bytes > 0) {
        if (own->serial != 0)
            sim->refused[own->serial] = 1;
        return;
    }
    sim_check(sim, door_expected_read(own) == code, "%s is refused: %s", own->call.row->method,
              err_text(code));
}
