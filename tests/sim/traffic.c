/* traffic.c - random calls of every kind that a member serves, on few keys so that they meet. */
#include "tests/sim/sim.h"

#include <stdio.h>

#define LEASES 12      /* ids that are granted, used and revoked */
#define TXN_NEST_MAX 2 /* levels below the first */
#define TEXT_BYTES 32

static void *take(struct call *call, size_t bytes)
{
    void *memory = arena_zalloc(&call->arena, bytes);

    must(memory != NULL);
    return memory;
}

static ProtobufCBinaryData bytes_of(struct call *call, const char *text)
{
    size_t size = strlen(text);
    char *copy = take(call, size + 1);

    memcpy(copy, text, size);
    return (ProtobufCBinaryData){size, (uint8_t *)copy};
}

static ProtobufCBinaryData random_key(struct sim *sim, struct call *call)
{
    char text[TEXT_BYTES];

    (void)snprintf(text, sizeof(text), "k%02u", (unsigned)sim_draw(sim, sim->options.keys));
    return bytes_of(call, text);
}

/* One key, [key, key), a prefix, or all from key on. */
static void random_range(struct sim *sim, struct call *call, ProtobufCBinaryData *key,
                         ProtobufCBinaryData *range_end)
{
    *key = random_key(sim, call);
    *range_end = (ProtobufCBinaryData){0, NULL};
    switch (sim_draw(sim, 5)) {
    case 0:
        *range_end = random_key(sim, call);
        break;
    case 1:
        *range_end = (ProtobufCBinaryData){1, take(call, 1)};
        break;
    case 2:
        *key = bytes_of(call, "k1");
        *range_end = bytes_of(call, "k2");
        break;
    default:
        break;
    }
}

/* The serial number first, so that every put is told from every other. */
static ProtobufCBinaryData random_value(struct sim *sim, struct call *call)
{
    size_t size = 10 + sim_draw(sim, sim_chance(sim, 30) ? 8192 : sim->options.value_bytes);
    char *text = take(call, size + 1);

    (void)snprintf(text, size + 1, "s%08u", ++sim->serial);
    memset(text + 9, sim_chance(sim, 100) ? 0 : 'a' + (int)(sim->serial % 26), size - 9);
    return (ProtobufCBinaryData){size, (uint8_t *)text};
}

static int64_t random_revision(struct sim *sim)
{
    int64_t last = sim->asked->model.revision;

    return sim_chance(sim, 600) ? 0 : (int64_t)sim_draw(sim, (uint64_t)last + 3);
}

static int64_t random_lease(struct sim *sim)
{
    return (int64_t)(1 + sim_draw(sim, LEASES));
}

/* ---- requests ---- */

static void fill_put(struct sim *sim, struct call *call, Etcdserverpb__PutRequest *put, bool nested)
{
    put->key = random_key(sim, call);
    put->value = random_value(sim, call);
    put->prev_kv = sim_chance(sim, 300);
    put->lease = sim_chance(sim, 200) ? random_lease(sim) : 0;
    if (nested || !sim_chance(sim, 100))
        return;
    if (sim_chance(sim, 500)) {
        put->ignore_value = true;
        put->value.len = 0;
    } else {
        put->ignore_lease = true;
        put->lease = 0;
    }
}

static void fill_range(struct sim *sim, struct call *call, Etcdserverpb__RangeRequest *range)
{
    random_range(sim, call, &range->key, &range->range_end);
    range->revision = random_revision(sim);
    range->serializable = sim_chance(sim, 400);
    range->limit = sim_chance(sim, 300) ? (int64_t)sim_draw(sim, 6) : 0;
    range->keys_only = sim_chance(sim, 100);
    range->count_only = sim_chance(sim, 100);
    range->sort_order = (Etcdserverpb__RangeRequest__SortOrder)sim_draw(sim, 3);
    if (sim_chance(sim, 100))
        range->min_mod_revision = random_revision(sim);
    if (sim_chance(sim, 100))
        range->max_mod_revision = random_revision(sim);
    if (sim_chance(sim, 100))
        range->min_create_revision = random_revision(sim);
    if (sim_chance(sim, 100))
        range->max_create_revision = random_revision(sim);
}

static void fill_delete(struct sim *sim, struct call *call,
                        Etcdserverpb__DeleteRangeRequest *request)
{
    random_range(sim, call, &request->key, &request->range_end);
    request->prev_kv = sim_chance(sim, 300);
    if (request->range_end.len != 0 && sim_chance(sim, 500))
        request->range_end.len = 0; /* else little would live */
    if (sim_chance(sim, 20)) {      /* and now and then nothing does */
        request->key = (ProtobufCBinaryData){1, take(call, 1)};
        request->range_end = request->key;
    }
}

static Etcdserverpb__Compare *random_compare(struct sim *sim, struct call *call)
{
    Etcdserverpb__Compare *compare = take(call, sizeof(*compare));
    int64_t operand = (int64_t)sim_draw(sim, (uint64_t)sim->asked->model.revision + 2);

    etcdserverpb__compare__init(compare);
    random_range(sim, call, &compare->key, &compare->range_end);
    compare->result = (Etcdserverpb__Compare__CompareResult)sim_draw(sim, 4);
    compare->target = (Etcdserverpb__Compare__CompareTarget)sim_draw(sim, 5);
    switch (compare->target) {
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION:
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
        compare->version = operand % 4;
        break;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE:
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION;
        compare->create_revision = operand;
        break;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD:
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
        compare->mod_revision = operand;
        break;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE:
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE;
        compare->value = bytes_of(call, "s000001");
        break;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE:
    case _ETCDSERVERPB__COMPARE__COMPARE_TARGET_IS_INT_SIZE:
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE;
        compare->lease = random_lease(sim);
        break;
    }
    return compare;
}

static void fill_txn(struct sim *sim, struct call *call, Etcdserverpb__TxnRequest *txn,
                     unsigned depth, bool reads);

static Etcdserverpb__RequestOp *random_op(struct sim *sim, struct call *call, unsigned depth,
                                          bool reads)
{
    Etcdserverpb__RequestOp *op = take(call, sizeof(*op));
    uint64_t kind = reads ? 0 : sim_draw(sim, depth < TXN_NEST_MAX ? 8 : 7);

    etcdserverpb__request_op__init(op);
    if (kind < 2) {
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
        op->request_range = take(call, sizeof(*op->request_range));
        etcdserverpb__range_request__init(op->request_range);
        fill_range(sim, call, op->request_range);
        if (sim_chance(sim, 800))
            op->request_range->revision = 0;
    } else if (kind < 6) {
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        op->request_put = take(call, sizeof(*op->request_put));
        etcdserverpb__put_request__init(op->request_put);
        fill_put(sim, call, op->request_put, true);
    } else if (kind == 6) {
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
        op->request_delete_range = take(call, sizeof(*op->request_delete_range));
        etcdserverpb__delete_range_request__init(op->request_delete_range);
        fill_delete(sim, call, op->request_delete_range);
    } else {
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
        op->request_txn = take(call, sizeof(*op->request_txn));
        etcdserverpb__txn_request__init(op->request_txn);
        fill_txn(sim, call, op->request_txn, depth + 1, false);
    }
    return op;
}

static void fill_txn(struct sim *sim, struct call *call, Etcdserverpb__TxnRequest *txn,
                     unsigned depth, bool reads)
{
    size_t lists[3] = {sim_draw(sim, 3), sim_draw(sim, 4), sim_draw(sim, 3)};

    txn->compare = take(call, 4 * sizeof(*txn->compare));
    txn->success = take(call, 4 * sizeof(*txn->success));
    txn->failure = take(call, 4 * sizeof(*txn->failure));
    while (txn->n_compare < lists[0])
        txn->compare[txn->n_compare++] = random_compare(sim, call);
    while (txn->n_success < lists[1])
        txn->success[txn->n_success++] = random_op(sim, call, depth, reads);
    while (txn->n_failure < lists[2])
        txn->failure[txn->n_failure++] = random_op(sim, call, depth, reads);
}

static void fill_alarm(struct sim *sim, Etcdserverpb__AlarmRequest *alarm)
{
    bool raise = sim_chance(sim, 100);

    alarm->action = raise ? ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE
                          : ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE;
    alarm->alarm = sim_chance(sim, 700) ? ETCDSERVERPB__ALARM_TYPE__NOSPACE
                                        : ETCDSERVERPB__ALARM_TYPE__CORRUPT;
    alarm->memberid = 1;
    for (size_t i = 0; !raise && i < sim->asked->model.alarm_count; i++) { /* what is there goes */
        alarm->memberid = sim->asked->model.alarms[i].memberid;
        alarm->alarm = sim->asked->model.alarms[i].alarm;
    }
}

/* ---- calls ---- */

static void member_call(struct node *node)
{
    struct sim *sim = node->sim;
    struct sim_call *made;
    uint64_t id =
        sim->asked->model.roster.members[sim_draw(sim, sim->asked->model.roster.count)].id;
    struct call *call;
    char url[TEXT_BYTES];
    char **urls;

    (void)snprintf(url, sizeof(url), "http://10.0.0.1:%u", 2000 + ++sim->serial % 60000);
    if (sim_chance(sim, 400)) {
        made = door_call(node, RPC_Cluster_MemberAdd);
        call = door_inner(made);
        Etcdserverpb__MemberAddRequest *add = (void *)call->request;
        urls = take(call, sizeof(*urls));
        urls[0] = (char *)bytes_of(call, url).data;
        add->peerurls = urls;
        add->n_peerurls = 1;
        add->islearner = true;
    } else if (sim_chance(sim, 700)) {
        made = door_call(node, RPC_Cluster_MemberRemove);
        ((Etcdserverpb__MemberRemoveRequest *)(void *)door_inner(made)->request)->id = id;
    } else {
        made = door_call(node, RPC_Cluster_MemberUpdate);
        call = door_inner(made);
        Etcdserverpb__MemberUpdateRequest *update = (void *)call->request;
        urls = take(call, sizeof(*urls));
        urls[0] = (char *)bytes_of(call, url).data;
        update->peerurls = urls;
        update->n_peerurls = 1;
        update->id = id;
    }
    door_start(made);
}

/* What is asked now and then: kinds of calls with requests that are one field, or none. */
static void rare_call(struct node *node)
{
    struct sim *sim = node->sim;
    static const enum rpc_id ids[] = {
        RPC_KV_Compact,
        RPC_KV_Compact,
        RPC_KV_Compact,
        RPC_Lease_LeaseGrant,
        RPC_Lease_LeaseGrant,
        RPC_Lease_LeaseRevoke,
        RPC_Maintenance_Alarm,
        RPC_Cluster_MemberList,
        RPC_Maintenance_HashKV,
        RPC_Maintenance_HashKV,
        RPC_Maintenance_Hash,
        RPC_Maintenance_Snapshot,
        RPC_Maintenance_Defragment,
        RPC_Maintenance_Status,
        RPC_COUNT,
    };
    enum rpc_id id = ids[sim_draw(sim, ARRAY_LEN(ids))];
    struct sim_call *made;
    void *request;

    if (id == RPC_COUNT) {
        if (sim->options.members == 1) /* others: operator.c */
            member_call(node);
        return;
    }
    if (id == RPC_KV_Compact && sim->damaged != NULL)
        return; /* what was changed must stay in the hashes */
    made = door_call(node, id);
    request = door_inner(made)->request;
    if (id == RPC_KV_Compact) {
        Etcdserverpb__CompactionRequest *compact = request;
        int64_t from = MAX(sim->asked->model.compacted, 0);

        compact->revision =
            from + (int64_t)sim_draw(sim, (uint64_t)(sim->asked->model.revision - from) + 2);
        compact->physical = sim_chance(sim, 400);
    } else if (id == RPC_Lease_LeaseGrant) {
        ((Etcdserverpb__LeaseGrantRequest *)request)->id =
            sim_chance(sim, 900) || sim->asked->model.lease_count > 100 ? random_lease(sim) : 0;
        ((Etcdserverpb__LeaseGrantRequest *)request)->ttl =
            (int64_t)sim_draw(sim, sim_chance(sim, 500) ? 5 : 1000);
    } else if (id == RPC_Lease_LeaseRevoke) {
        ((Etcdserverpb__LeaseRevokeRequest *)request)->id = random_lease(sim);
    } else if (id == RPC_Maintenance_Alarm) {
        fill_alarm(sim, request);
    } else if (id == RPC_Cluster_MemberList) {
        ((Etcdserverpb__MemberListRequest *)request)->linearizable = sim_chance(sim, 500);
    } else if (id == RPC_Maintenance_HashKV) {
        ((Etcdserverpb__HashKVRequest *)request)->revision = random_revision(sim);
    }
    door_start(made);
}

void traffic_call(struct node *node)
{
    struct sim *sim = node->sim;
    uint64_t kind = sim_draw(sim, 100);
    struct sim_call *made;
    struct call *call;

    sim->asked = node;
    if (kind >= 85) {
        rare_call(node);
        return;
    }
    made = door_call(node, kind < 40   ? RPC_KV_Put
                           : kind < 65 ? RPC_KV_Range
                           : kind < 80 ? RPC_KV_Txn
                                       : RPC_KV_DeleteRange);
    call = door_inner(made);
    if (kind < 40)
        fill_put(sim, call, (void *)call->request, false);
    else if (kind < 65)
        fill_range(sim, call, (void *)call->request);
    else if (kind < 80)
        fill_txn(sim, call, (void *)call->request, 0, sim_chance(sim, 150));
    else
        fill_delete(sim, call, (void *)call->request);
    door_start(made);
}

/* ---- reads of everything ---- */

static void range_all(struct node *node, int64_t revision, bool serializable)
{
    struct sim_call *made = door_call(node, RPC_KV_Range);
    struct call *call = door_inner(made);
    Etcdserverpb__RangeRequest *range = (void *)call->request;

    range->key = (ProtobufCBinaryData){1, take(call, 1)};
    range->range_end = range->key;
    range->revision = revision;
    range->serializable = serializable;
    door_start(made);
}

void traffic_check(struct node *node)
{
    struct sim *sim = node->sim;
    struct sim_call *made;

    sim->asked = node;
    range_all(node, 0, true);
    for (int64_t revision = MAX(sim->asked->model.compacted - 1, 1);
         revision <= sim->asked->model.revision; revision += 1 + (int64_t)sim_draw(sim, 20))
        range_all(node, revision, true);
    for (size_t i = 0; i < 3 && sim->hash_count != 0; i++) { /* as before the restart? */
        made = door_call(node, RPC_Maintenance_HashKV);
        ((Etcdserverpb__HashKVRequest *)(void *)door_inner(made)->request)->revision =
            sim->hashes[sim_draw(sim, sim->hash_count)].revision;
        door_start(made);
    }
    made = door_call(node, RPC_Maintenance_HashKV);
    door_start(made);
}

void traffic_put(struct node *node)
{
    struct sim_call *made = door_call(node, RPC_KV_Put);
    struct call *call = door_inner(made);
    Etcdserverpb__PutRequest *put = (void *)call->request;

    put->key = bytes_of(call, "z");
    put->value = random_value(node->sim, call);
    door_start(made);
}

void traffic_compact(struct node *node, int64_t revision)
{
    struct sim_call *made = door_call(node, RPC_KV_Compact);

    ((Etcdserverpb__CompactionRequest *)(void *)door_inner(made)->request)->revision = revision;
    door_start(made);
}

void traffic_read(struct node *node)
{
    range_all(node, 0, false);
}
