/* election.c - Campaign, Proclaim, Leader, Resign (api.md 14). The queue is candidate.c's. */
#include "common/base/base.h"
#include "common/schema/election.pb-c.h"
#include "common/schema/pbbytes.h"
#include "etcd-server/service/candidate.h"
#include "etcd-server/service/service_internal.h"

/* ---- Campaign ---- */

static void elected(struct call *call, const struct candidate_won *won)
{
    const V3electionpb__CampaignRequest *request =
        (const V3electionpb__CampaignRequest *)(const void *)call->request;
    V3electionpb__CampaignResponse response = V3ELECTIONPB__CAMPAIGN_RESPONSE__INIT;
    V3electionpb__LeaderKey leader = V3ELECTIONPB__LEADER_KEY__INIT;
    Etcdserverpb__ResponseHeader header = *won->first;

    leader.name = request->name;
    leader.key = pb_bytes(won->key);
    leader.rev = won->create_revision;
    leader.lease = won->lease;
    response.header = &header;
    response.leader = &leader;
    call->ops->reply(call, &response.base);
}

void election_campaign(struct service *service, struct call *call)
{
    const V3electionpb__CampaignRequest *request =
        (const V3electionpb__CampaignRequest *)(const void *)call->request;

    candidate_start(service, call, pb_slice(request->name), request->lease,
                    pb_slice(request->value), true, elected);
}

/* ---- the others: one txn each ---- */

struct election {
    struct subcall subcall;
    struct service *service;
    struct call *call;
    void (*answer)(struct call *call, const Etcdserverpb__TxnResponse *response);
    Etcdserverpb__TxnRequest txn;
    Etcdserverpb__Compare compare;
    Etcdserverpb__Compare *compares[1];
    Etcdserverpb__RequestOp op;
    Etcdserverpb__RequestOp *ops[1];
    Etcdserverpb__PutRequest put;
    Etcdserverpb__DeleteRangeRequest delete_range;
    Etcdserverpb__RangeRequest range;
};

static void leave(struct call *call)
{
    struct election *election = call->state;

    subcall_cancel(election->service, &election->subcall);
    subcall_fini(&election->subcall);
    free(election);
}

static void done(void *arg, enum err_code code, const char *text, const ProtobufCMessage *message)
{
    struct election *election = arg;
    struct call *call = election->call;

    call->cancel = NULL;
    if (code != ERR_OK)
        candidate_refuse(call, text);
    else
        election->answer(call, (const Etcdserverpb__TxnResponse *)(const void *)message);
    subcall_fini(&election->subcall);
    free(election);
}

static struct election *election_new(struct service *service, struct call *call,
                                     void (*answer)(struct call *call,
                                                    const Etcdserverpb__TxnResponse *response))
{
    struct election *election = xalloc(sizeof(*election));

    election->service = service;
    election->call = call;
    election->answer = answer;
    etcdserverpb__txn_request__init(&election->txn);
    etcdserverpb__compare__init(&election->compare);
    etcdserverpb__request_op__init(&election->op);
    election->compares[0] = &election->compare;
    election->ops[0] = &election->op;
    election->txn.success = election->ops;
    election->txn.n_success = 1;
    call->state = election;
    call->cancel = leave;
    return election;
}

static void start(struct election *election)
{
    subcall_start(election->service, &election->subcall, election->call, RPC_KV_Txn,
                  &election->txn.base, done, election);
}

/* Only while `leader` holds its key: its create revision is the proof. */
static void only_as(struct election *election, const V3electionpb__LeaderKey *leader)
{
    election->compare.key = leader->key;
    election->compare.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE;
    election->compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION;
    election->compare.create_revision = leader->rev;
    election->txn.compare = election->compares;
    election->txn.n_compare = 1;
}

static void proclaimed(struct call *call, const Etcdserverpb__TxnResponse *txn)
{
    V3electionpb__ProclaimResponse response = V3ELECTIONPB__PROCLAIM_RESPONSE__INIT;

    if (!txn->succeeded) {
        candidate_refuse(call, err_text(ERR_ELECTION_NOT_LEADER));
        return;
    }
    response.header = txn->header;
    call->ops->reply(call, &response.base);
}

void election_proclaim(struct service *service, struct call *call)
{
    const V3electionpb__ProclaimRequest *request =
        (const V3electionpb__ProclaimRequest *)(const void *)call->request;
    struct election *election;

    if (request->leader == NULL) {
        call_refuse(call, ERR_ELECTION_LEADER_MISSING);
        return;
    }
    election = election_new(service, call, proclaimed);
    only_as(election, request->leader);
    etcdserverpb__put_request__init(&election->put);
    election->put.key = request->leader->key;
    election->put.value = request->value;
    election->put.lease = request->leader->lease;
    /* Who leaves the lease out keeps it (etcd makes one, whose end is that of the leadership). */
    election->put.ignore_lease = request->leader->lease == 0 && request->leader->rev != 0;
    election->op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    election->op.request_put = &election->put;
    start(election);
}

static void resigned(struct call *call, const Etcdserverpb__TxnResponse *txn)
{
    V3electionpb__ResignResponse response = V3ELECTIONPB__RESIGN_RESPONSE__INIT;

    response.header = txn->header; /* who was no leader any more has resigned all the same */
    call->ops->reply(call, &response.base);
}

void election_resign(struct service *service, struct call *call)
{
    const V3electionpb__ResignRequest *request =
        (const V3electionpb__ResignRequest *)(const void *)call->request;
    struct election *election;

    if (request->leader == NULL) {
        call_refuse(call, ERR_ELECTION_LEADER_MISSING);
        return;
    }
    election = election_new(service, call, resigned);
    only_as(election, request->leader);
    etcdserverpb__delete_range_request__init(&election->delete_range);
    election->delete_range.key = request->leader->key;
    election->op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    election->op.request_delete_range = &election->delete_range;
    start(election);
}

static void leader_read(struct call *call, const Etcdserverpb__TxnResponse *txn)
{
    V3electionpb__LeaderResponse response = V3ELECTIONPB__LEADER_RESPONSE__INIT;
    const Etcdserverpb__RangeResponse *range =
        txn->n_responses == 1 ? txn->responses[0]->response_range : NULL; /* what was asked for */

    if (range == NULL || range->n_kvs == 0) {
        candidate_refuse(call, err_text(ERR_ELECTION_NO_LEADER));
        return;
    }
    response.header = txn->header;
    response.kv = range->kvs[0];
    call->ops->reply(call, &response.base);
}

void election_leader(struct service *service, struct call *call)
{
    const V3electionpb__LeaderRequest *request =
        (const V3electionpb__LeaderRequest *)(const void *)call->request;
    size_t size = request->name.len + 1;
    uint8_t *prefix = call_alloc(call, 2 * size), *past;
    struct election *election;

    if (prefix == NULL)
        return;
    past = prefix + size;
    if (request->name.len != 0) {
        memcpy(prefix, request->name.data, request->name.len);
        memcpy(past, request->name.data, request->name.len);
    }
    prefix[size - 1] = '/';
    past[size - 1] = '/' + 1;
    election = election_new(service, call, leader_read);
    etcdserverpb__range_request__init(&election->range);
    election->range.key = (ProtobufCBinaryData){size, prefix};
    election->range.range_end = (ProtobufCBinaryData){size, past};
    election->range.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND;
    election->range.sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__CREATE;
    election->range.limit = 1;
    election->op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    election->op.request_range = &election->range;
    start(election);
}
