/*
 * door.c - the clients' side of struct call, and what each answer is held against.
 *
 * An answer to a write comes while its entry is applied, so engine_applied_index() names the entry:
 * it must ask for what the call asked, be durable, and the model must have foretold the answer. An
 * answer to a read must be the model's at what is applied now, which is never behind an
 * acknowledgement. A call without an answer is unknown: its entry may turn up or not, whole.
 */
#include "common/schema/pbwire.h"
#include "tests/sim/answer.h"
#include "tests/sim/door.h"

#include <openssl/sha.h>
#include <stdio.h>

#define RESUME_MS 50 /* a full client reads on within */
#define ARENA_BYTES (4 * MIB)

struct call *door_inner(struct sim_call *call)
{
    return &call->call;
}

static void call_free(struct sim_call *own)
{
    struct sim_call **at = &own->sim->calls;

    while (*at != own)
        at = &(*at)->next;
    *at = own->next;
    if (own->slow != NULL)
        own->slow->free(own->slow);
    buf_free(&own->expected);
    buf_free(&own->got);
    buf_free(&own->blob);
    arena_free(&own->call.arena);
    free(own);
}

static void free_later(struct sim *sim, void *arg)
{
    (void)sim;
    call_free(arg);
}

/* The door frees a call later: not inside its own answer, nor while a resume is on its way. */
static void end(struct sim_call *own)
{
    struct sim_event *event;

    sim_check(own->sim, !own->ended, "%s was answered twice", own->call.row->method);
    own->ended = true;
    event = sim_after(own->sim, own->node, RESUME_MS, free_later, own);
    event->drop = free_later;
}

/* ---- headers ---- */

static void check_header(struct sim_call *own, const Etcdserverpb__ResponseHeader *header,
                         bool current)
{
    struct sim *sim = own->sim;

    sim_check(sim, header != NULL, "%s: an answer without a header", own->call.row->method);
    sim_check(sim, header->raft_term >= own->node->term_seen,
              "%s: term %" PRIu64 " after %" PRIu64 " was seen", own->call.row->method,
              header->raft_term, own->node->term_seen);
    own->node->term_seen = header->raft_term;
    if (!current)
        return;
    sim_check(sim, header->revision >= own->node->revision_seen,
              "%s: revision %" PRId64 " after %" PRId64 " was seen", own->call.row->method,
              header->revision, own->node->revision_seen);
    sim_check(sim, header->revision == own->node->model.revision,
              "%s: revision %" PRId64 ", expected %" PRId64, own->call.row->method,
              header->revision, own->node->model.revision);
    own->node->revision_seen = header->revision;
}

static void compare(struct sim_call *own, const char *what)
{
    sim_trace_bytes(own->sim, buf_slice(&own->got));
    sim_check(own->sim, slice_equal(buf_slice(&own->got), buf_slice(&own->expected)),
              "%s: %s is\n   %s\n  expected\n   %s", own->call.row->method, what,
              buf_text(&own->got), buf_text(&own->expected));
}

/* ---- writes ---- */

bool door_is_mine(struct sim_call *own)
{
    struct sim *sim = own->sim;
    uint64_t index = engine_applied_index(own->node->engine);
    const struct record *record =
        index != 0 && index <= sim->committed_count ? sim->committed[index - 1] : NULL;

    return record != NULL && entry_carries(record, &own->call);
}

/* The call is acknowledged: what it asked for is in the log, for good. */
static void check_written(struct sim_call *own)
{
    struct sim *sim = own->sim;
    uint64_t index = engine_applied_index(own->node->engine);

    sim_check(sim, door_is_mine(own), "%s is acknowledged, but entry %" PRIu64 " is another's",
              own->call.row->method, index);
    sim_check(sim, own->node->model.code == ERR_OK, "%s is acknowledged, but must be refused: %s",
              own->call.row->method, err_text(own->node->model.code));
    if (own->call.row->service[0] == 'K' && own->call.row->id != RPC_KV_Compact)
        login_check_entry(own->node, own->call.token, own->call.row->method,
                          sim->committed[index - 1]->request);
    node_check_durable(own->node, index);
    sim->acknowledged = MAX(sim->acknowledged, index);
}

/* ---- reads ---- */

enum err_code door_expected_read(struct sim_call *own)
{
    struct model *model = &own->node->model;
    const void *request = own->call.request;
    enum err_code code = ERR_OK;

    if (own->call.row->id == RPC_KV_Range) {
        code = rights_check_range(model, own->call.token, request);
        return code == ERR_OK ? model_range(model, request, &own->expected) : code;
    }
    if (own->call.row->id == RPC_KV_Txn) {
        code = rights_check_txn(model, own->call.token, request);
        return code == ERR_OK ? model_read_txn(model, request, &own->expected) : code;
    }
    return code;
}

/* ---- refusals, and the end of streams ---- */

static void finish(struct call *call, enum err_code code, const char *text)
{
    struct sim_call *own = door_own(call);
    struct sim *sim = own->sim;

    (void)text;
    sim_trace(sim, call->row->method, (uint64_t)code, sim->now_ms);
    sim_check(sim, own->for_voters == (code == ERR_NOT_SUPPORTED_FOR_LEARNER),
              "%s at member %u, %s vote: %s", call->row->method, own->node->number,
              roster_is_learner(&own->node->model.roster, own->node->id) ? "without" : "with a",
              err_text(code));
    if (code == ERR_OK) { /* a snapshot is whole */
        uint8_t sum[SHA256_DIGEST_LENGTH];
        size_t bytes = buf_used(&own->blob);

        sim_check(sim, bytes > sizeof(sum) && own->remaining_bytes == 0,
                  "a snapshot ends after %zu bytes, %" PRIu64 " are missing", bytes,
                  own->remaining_bytes);
        SHA256(own->blob.data, bytes - sizeof(sum), sum);
        sim_check(sim, memcmp(sum, own->blob.data + bytes - sizeof(sum), sizeof(sum)) == 0,
                  "a snapshot of %zu bytes has another checksum", bytes);
    } else {
        refusal_check(own, code);
    }
    sim->answered++;
    end(own);
}

/* ---- answers ---- */

static void reply_kv(struct sim_call *own, const ProtobufCMessage *response)
{
    struct sim *sim = own->sim;
    bool read =
        own->call.row->id == RPC_KV_Txn && mvcc_txn_is_read_only((const void *)own->call.request);

    if (own->call.row->id == RPC_KV_Txn)
        answer_txn(&own->got, (const void *)response);
    else if (own->call.row->id == RPC_KV_Put)
        answer_put(&own->got, (const void *)response);
    else
        answer_delete(&own->got, (const void *)response);
    if (read) {
        enum err_code code = door_expected_read(own);

        sim_check(sim, code == ERR_OK, "a read is answered that must be refused: %s",
                  err_text(code));
    } else {
        check_written(own);
        buf_append_slice(&own->expected, buf_slice(&own->node->model.answer));
    }
    compare(own, "the answer");
}

static void reply_hash_kv(struct sim_call *own, const Etcdserverpb__HashKVResponse *response)
{
    const Etcdserverpb__HashKVRequest *request = (const void *)own->call.request;
    struct sim *sim = own->sim;
    int64_t revision = request->revision > 0 ? request->revision : response->header->revision;

    sim_check(sim, response->compact_revision <= own->node->model.compacted,
              "HashKV: compacted at %" PRId64 ", expected at most %" PRId64,
              response->compact_revision, own->node->model.compacted);
    /* With nothing kept, what a compaction has not yet deleted counts (formats.md 11.3). */
    if (!model_keeps_at(&own->node->model, revision))
        return;
    for (size_t i = 0; i < sim->hash_count; i++) {
        const struct sim_hash *known = &sim->hashes[i];

        if (known->revision != revision || known->compacted != response->compact_revision)
            continue;
        sim_check(sim, known->hash == response->hash,
                  "HashKV at %" PRId64 " (compacted at %" PRId64 ") is %08" PRIx32
                  ", it was %08" PRIx32,
                  revision, known->compacted, response->hash, known->hash);
        return;
    }
    if (sim->hash_count < SIM_HASHES_MAX)
        sim->hashes[sim->hash_count++] =
            (struct sim_hash){revision, response->compact_revision, response->hash};
}

static void reply_members(struct sim_call *own, size_t count)
{
    sim_check(own->sim, count == own->node->model.roster.count,
              "%s lists %zu members, expected %zu", own->call.row->method, count,
              own->node->model.roster.count);
}

/* Whoever was asked knows of it; it may have been removed since. */
static void reply_promoted(struct sim_call *own)
{
    const Etcdserverpb__MemberPromoteRequest *request = (const void *)own->call.request;

    sim_check(own->sim, !roster_is_learner(&own->node->model.roster, request->id),
              "the promotion of %" PRIx64 " is acknowledged, and member %u has it without a vote",
              request->id, own->node->number);
    own->sim->promoted += raft_role(engine_raft(own->node->engine)) != RAFT_LEADER;
}

/* A physical compaction is answered long after its entry: its header is that of then. */
static void reply_compact(struct sim_call *own, const Etcdserverpb__CompactionResponse *response)
{
    const Etcdserverpb__CompactionRequest *request = (const void *)own->call.request;
    struct sim *sim = own->sim;

    sim_check(sim, own->node->model.compacted >= request->revision,
              "a compaction at %" PRId64 " is acknowledged, compacted at %" PRId64,
              request->revision, own->node->model.compacted);
    if (request->physical) {
        node_check_durable(own->node, engine_applied_index(own->node->engine));
        return;
    }
    check_written(own);
    check_header(own, response->header, true);
}

static void check_sees_all(struct sim_call *own)
{
    struct sim *sim = own->sim;
    uint64_t applied = engine_applied_index(own->node->engine);

    if (sim->options.members != 1 && !entry_is_linearizable(&own->call))
        return; /* of one member's state there is no older view */
    sim_check(sim, applied >= own->acknowledged,
              "%s at member %u sees entry %" PRIu64 ", but %" PRIu64
              " was acknowledged before it began",
              own->call.row->method, own->node->number, applied, own->acknowledged);
    sim->acknowledged = MAX(sim->acknowledged, applied); /* whoever reads later sees that much */
}

/* It was answered: so its token was good, if tokens count. */
static void check_token(struct sim_call *own)
{
    const char *token = own->call.token;

    if (!own->rights_on || !own->node->model.rights.enabled)
        return;
    sim_check(own->sim, !own->token_over,
              "%s is answered to a token that was not used at member %u for its life",
              own->call.row->method, own->node->number);
    login_shown(own->node, token);
    login_took(own->node, token, own->began_ms);
}

struct headed {
    ProtobufCMessage base;
    Etcdserverpb__ResponseHeader *header;
};

/* What every answer of its kind is looked at for. */
enum { WRITTEN = 1, HEADER = 2, CURRENT = 4 };

static unsigned looks(const struct rpc_row *row)
{
    switch ((int)row->id) {
    case RPC_KV_Put:
    case RPC_KV_DeleteRange:
    case RPC_KV_Txn: /* reply_kv() knows which are writes */
    case RPC_Auth_Authenticate:
    case RPC_Maintenance_Status:
        return HEADER | CURRENT;
    case RPC_Lease_LeaseGrant:
    case RPC_Lease_LeaseRevoke:
    case RPC_Maintenance_Alarm:
        return WRITTEN | HEADER | CURRENT;
    case RPC_Cluster_MemberAdd:
    case RPC_Cluster_MemberRemove:
    case RPC_Cluster_MemberUpdate:
        return WRITTEN | HEADER;
    case RPC_Cluster_MemberPromote:
    case RPC_Maintenance_HashKV:
        return HEADER;
    default: /* questions of Auth are in the log, too */
        return row->service[0] == 'A' ? WRITTEN | HEADER | CURRENT : 0;
    }
}

/* What only this kind has. */
static void look_into(struct sim_call *own, const ProtobufCMessage *response)
{
    const void *answer = response;

    switch ((int)own->call.row->id) {
    case RPC_KV_Put:
    case RPC_KV_DeleteRange:
    case RPC_KV_Txn:
        reply_kv(own, response);
        break;
    case RPC_KV_Compact:
        reply_compact(own, answer);
        break;
    case RPC_Lease_LeaseGrant:
        leasing_promised(own->sim, ((const Etcdserverpb__LeaseGrantResponse *)answer)->id,
                         ((const Etcdserverpb__LeaseGrantResponse *)answer)->ttl, own->began_ms);
        break;
    case RPC_Auth_Authenticate:
        login_check(own->node, (const void *)own->call.request, answer);
        break;
    case RPC_Auth_AuthStatus:
        login_check_status(own->node, answer);
        break;
    case RPC_Auth_UserGet:
    case RPC_Auth_UserList:
    case RPC_Auth_RoleGet:
    case RPC_Auth_RoleList:
        login_check_look(own->node, &own->call, response);
        break;
    case RPC_Cluster_MemberPromote:
        reply_promoted(own);
        break;
    case RPC_Cluster_MemberList:
        reply_members(own, ((const Etcdserverpb__MemberListResponse *)answer)->n_members);
        break;
    case RPC_Maintenance_HashKV:
        reply_hash_kv(own, answer);
        break;
    case RPC_Maintenance_Status:
        sim_check(own->sim,
                  ((const Etcdserverpb__StatusResponse *)answer)->islearner ==
                      roster_is_learner(&own->node->model.roster, own->node->id),
                  "Status of member %u is wrong about its vote", own->node->number);
        break;
    }
}

static void reply(struct call *call, const ProtobufCMessage *response)
{
    struct sim_call *own = door_own(call);
    const struct headed *headed = (const void *)response;
    struct sim *sim = own->sim;
    unsigned wanted = looks(call->row);

    node_advance(own->node);
    sim_trace(sim, call->row->method, own->node->model.index, sim->now_ms);
    sim_check(sim, response->descriptor == call->row->response, "%s answers with a %s",
              call->row->method, response->descriptor->name);
    check_sees_all(own);
    check_token(own);
    look_into(own, response);
    if ((wanted & WRITTEN) != 0)
        check_written(own);
    if ((wanted & HEADER) != 0)
        check_header(own, headed->header, (wanted & CURRENT) != 0);
    sim->answered++;
    end(own);
}

/* ---- ranges ---- */

static void take_key_value(struct sim_call *own, struct slice encoded)
{
    Mvccpb__KeyValue *kv = mvccpb__key_value__unpack(NULL, encoded.size, encoded.data);

    sim_check(own->sim, kv != NULL, "a range gives %zu bytes that are no KeyValue", encoded.size);
    answer_key_value(&own->got, kv);
    mvccpb__key_value__free_unpacked(kv, NULL);
}

/* What was read before comes as fields `kvs`. */
static void take_pieces(struct sim_call *own)
{
    for (size_t i = 0; i < own->slow_pieces.count; i++) {
        struct pb_reader reader = pb_reader_of(own->slow_pieces.all[i].bytes, "RangeResponse");
        struct pb_field field;

        while (pb_skim(&reader, &field) == 1) {
            sim_check(own->sim, field.number == RANGE_KVS_FIELD && field.wire == PB_BYTES,
                      "a range gives field %" PRIu32 " as a key-value", field.number);
            take_key_value(own, field.bytes);
        }
        sim_check(own->sim, reader.at == reader.end, "a piece of a range ends in a field");
    }
}

/* The head is written last, for `more` is known at the end. */
static void finish_range(struct sim_call *own)
{
    struct buf kvs = own->got;

    own->got = BUF_INIT(BUF_UNLIMITED);
    answer_range_head(&own->got, own->slow_revision, own->slow_count, own->slow->more(own->slow));
    buf_append_slice(&own->got, buf_slice(&kvs));
    buf_free(&kvs);
    own->slow->free(own->slow);
    own->slow = NULL;
    compare(own, "the range");
    own->sim->answered++;
    end(own);
}

static void read_on(struct sim *sim, void *arg)
{
    struct sim_call *own = arg;
    struct slice encoded;
    size_t left = 1 + sim_draw(sim, 4);

    if (own->slow_pieces.count != 0) {
        take_pieces(own);
        finish_range(own);
        return;
    }
    while (left-- > 0) {
        if (!own->slow->next(own->slow, &encoded)) {
            finish_range(own);
            return;
        }
        take_key_value(own, encoded);
    }
    sim_after(sim, own->node, sim_draw(sim, 100), read_on, own)->drop = free_later;
}

static void reply_range(struct call *call, const ProtobufCMessage *head, struct kv_source *source)
{
    struct sim_call *own = door_own(call);
    struct sim *sim = own->sim;
    const Etcdserverpb__RangeResponse *response = (const void *)head;
    bool slow = !sim->quiet && sim_chance(sim, 300);
    struct slice encoded;
    size_t key_values;
    enum err_code code;

    node_advance(own->node);
    sim_trace(sim, "Range", own->node->model.index, sim->now_ms);
    check_sees_all(own);
    check_token(own);
    check_header(own, response->header, true);
    code = door_expected_read(own);
    sim_check(sim, code == ERR_OK, "a Range is answered that must be refused: %s", err_text(code));
    own->slow = source;
    own->slow_count = response->count;
    own->slow_revision = response->header->revision;
    if (!source->pieces(source, &own->slow_pieces, &key_values))
        own->slow_pieces.count = 0;
    if (slow) { /* the client reads as it likes; what it gets is what was at the start */
        sim_after(sim, own->node, sim_draw(sim, 100), read_on, own)->drop = free_later;
        return;
    }
    take_pieces(own);
    while (own->slow_pieces.count == 0 && source->next(source, &encoded))
        take_key_value(own, encoded);
    finish_range(own);
}

/* ---- snapshots ---- */

static void resume(struct sim *sim, void *arg)
{
    struct sim_call *own = arg;

    (void)sim;
    if (!own->ended && own->call.resume != NULL)
        own->call.resume(&own->call);
}

static bool send_message(struct call *call, const ProtobufCMessage *message)
{
    struct sim_call *own = door_own(call);
    const Etcdserverpb__SnapshotResponse *response = (const void *)message;

    buf_append(&own->blob, response->blob.data, response->blob.len);
    own->remaining_bytes = response->remaining_bytes;
    if (!sim_chance(own->sim, 200))
        return true;
    (void)sim_after(own->sim, own->node, sim_draw(own->sim, RESUME_MS), resume, own);
    return false;
}

/* ---- life ---- */

struct sim_call *door_call(struct node *node, enum rpc_id id)
{
    static const struct call_ops ops = {
        .reply = reply, .reply_range = reply_range, .send = send_message, .finish = finish};
    struct sim_call *own = xalloc(sizeof(*own));

    own->sim = node->sim;
    own->node = node;
    own->call.row = rpc_row(id);
    own->call.ops = &ops;
    arena_init(&own->call.arena, ARENA_BYTES);
    own->expected = own->got = own->blob = BUF_INIT(BUF_UNLIMITED);
    own->call.request = arena_zalloc(&own->call.arena, own->call.row->request->sizeof_message);
    must(own->call.request != NULL);
    protobuf_c_message_init(own->call.row->request, own->call.request);
    own->next = node->sim->calls;
    node->sim->calls = own;
    return own;
}

/* api.md 1: a member without a vote answers what it can tell by itself. */
static bool is_for_voters(const struct sim_call *own)
{
    switch ((int)own->call.row->id) {
    case RPC_KV_Range:
        return !((const Etcdserverpb__RangeRequest *)(const void *)own->call.request)->serializable;
    case RPC_Maintenance_Status:
    case RPC_Maintenance_Snapshot:
        return false;
    default:
        return true;
    }
}

/* Copied: what the model holds may change while the call is under way. */
static void take_token(struct sim_call *call)
{
    struct node *node = call->node;
    const char *token = call->call.row->id != RPC_Auth_Authenticate ? login_token(node) : NULL;

    call->rights_on = node->model.rights.enabled;
    call->rights_revision = node->model.rights.revision;
    if (token == NULL)
        return;
    call->call.token = arena_strndup(&call->call.arena, token, strlen(token));
    must(call->call.token != NULL);
    call->token_over = login_is_over(node, token);
    login_shown(node, token);
}

void door_start(struct sim_call *call)
{
    struct sim *sim = call->sim;

    take_token(call);
    call->acknowledged = sim->acknowledged;
    call->began_ms = sim->now_ms;
    if (call->call.row->id == RPC_KV_Put)
        call->serial = sim->serial;
    if (call->call.row->id == RPC_Lease_LeaseRevoke)
        leasing_asked(sim, ((Etcdserverpb__LeaseRevokeRequest *)(void *)call->call.request)->id);
    sim->started++;
    sim_trace(sim, call->call.row->method, sim->started, call->node->number);
    call->for_voters =
        is_for_voters(call) && roster_is_learner(&call->node->model.roster, call->node->id);
    service_start(call->node->service, &call->call);
    sim_check(sim, !call->for_voters || call->ended, "%s goes on at member %u, which has no vote",
              call->call.row->method, call->node->number);
}

void door_cancel_some(struct node *node)
{
    struct sim *sim = node->sim;
    struct sim_call *call = sim->calls;

    while (call != NULL &&
           (call->node != node || call->ended || call->slow != NULL || sim_chance(sim, 500)))
        call = call->next;
    if (call == NULL)
        return;
    sim_trace(sim, "cancel", call->call.row->id, 0);
    sim->unknown++;
    service_cancel(node->service, &call->call);
    end(call);
}

void door_cancel_all(struct node *node)
{
    for (struct sim_call *call = node->sim->calls; call != NULL; call = call->next) {
        if (call->node != node || call->ended || call->slow != NULL)
            continue;
        node->sim->unknown++;
        service_cancel(node->service, &call->call);
        end(call);
    }
}
