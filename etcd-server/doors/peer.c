/*
 * peer.c - see peer.h.
 *
 *   GET   /version /members /learners /downgrade/enabled   answered at once
 *   GET   /members/hashkv                                  waits for a hash of the store
 *   POST  /members/promote/ID /leases /leases/internal     waits for the service
 *         /raft and below                                  the transport's (host/peers.h)
 *
 * What waits is a run: the exchange and the query of peer_env, whichever ends first lets go of the
 * other. Ids and hashes are bare JSON numbers here, unlike at the gateway.
 */
#include "etcd-server/doors/peer.h"

#include "common/base/limits.h"
#include "common/schema/lease.pb-c.h"
#include "common/schema/pbjson.h"
#include "common/schema/rpc.pb-c.h"
#include "etcd-server/doors/ops.h"

#include <errno.h>
#include <stdio.h>

#define PARSE_BYTES_MAX (64UL * KIB) /* of {"revision":N} and whatever is around it */
#define FIELD_BYTES 64

struct peer_door {
    struct peer_env env;
};

struct hash_run {
    struct peer_hash query;
    struct peer_door *door;
    struct exchange *exchange;
    bool asks_living; /* whether a key lives, else of the history: what etcd does not tell */
};

struct peer_door *peer_door_new(const struct peer_env *env)
{
    struct peer_door *door = xalloc(sizeof(*door));

    door->env = *env;
    return door;
}

void peer_door_free(struct peer_door *door)
{
    free(door);
}

/* "X-Etcd-Cluster-Id: 2cb1862b8272ef26\r\n" */
static const char *cluster_field(const struct peer_door *door, char field[FIELD_BYTES])
{
    (void)snprintf(field, FIELD_BYTES, "X-Etcd-Cluster-Id: %" PRIx64 "\r\n",
                   door->env.cluster_id(door->env.arg));
    return field;
}

/* ---- members ---- */

static void put_urls(struct buf *out, const char *name, const struct peer_urls *urls)
{
    if (urls->count == 0)
        return;
    buf_printf(out, ",\"%s\":[", name);
    for (size_t i = 0; i < urls->count; i++) {
        if (i != 0)
            buf_append_byte(out, ',');
        (void)pbjson_write_string(slice_text(urls->items[i]), out); /* unlimited */
    }
    buf_append_byte(out, ']');
}

static void start_members(struct peer_door *door, struct exchange *exchange)
{
    struct buf body = BUF_INIT(BUF_UNLIMITED); /* RAFT_MEMBERS_MAX members */
    struct exchange_head head = {.status = 200, .content_type = "application/json"};
    const struct peer_member *members = NULL;
    size_t count = door->env.members(door->env.arg, &members);
    char field[FIELD_BYTES];

    buf_append_byte(&body, '[');
    for (size_t i = 0; i < count; i++) {
        const struct peer_member *member = &members[i];

        buf_printf(&body, "%s{\"id\":%" PRIu64, i != 0 ? "," : "", member->id);
        put_urls(&body, "peerURLs", &member->peer_urls);
        if (member->is_learner)
            buf_append_text(&body, ",\"isLearner\":true");
        if (member->name[0] != '\0') {
            buf_append_text(&body, ",\"name\":");
            (void)pbjson_write_string(slice_text(member->name), &body);
        }
        put_urls(&body, "clientURLs", &member->client_urls);
        buf_append_byte(&body, '}');
    }
    buf_append_text(&body, "]\n");
    head.fields = cluster_field(door, field);
    exchange_answer(exchange, &head, buf_slice(&body));
    buf_free(&body);
}

static void text_with_cluster(struct peer_door *door, struct exchange *exchange, unsigned status,
                              const char *text)
{
    char field[FIELD_BYTES], body[FIELD_BYTES + 128];
    struct exchange_head head = {.status = status,
                                 .content_type = "text/plain; charset=utf-8",
                                 .fields = "X-Content-Type-Options: nosniff\r\n"};

    head.more_fields = cluster_field(door, field);
    (void)snprintf(body, sizeof(body), "%s\n", text);
    exchange_answer(exchange, &head, slice_text(body));
}

static bool decimal_id(struct slice text, uint64_t *id)
{
    uint64_t number = 0;

    if (text.size == 0 || text.size > 20)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        unsigned digit = (unsigned)text.data[i] - '0';

        if (digit > 9 || number > (UINT64_MAX - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    *id = number;
    return true;
}

/* ---- promotion ---- */

struct promote_run {
    struct peer_promote query;
    struct peer_door *door;
    struct exchange *exchange;
    char *token; /* owned */
};

static void promote_free(struct promote_run *run)
{
    free(run->token);
    free(run);
}

static void promote_done(struct peer_promote *query, enum err_code code, const char *text)
{
    struct promote_run *run = CONTAINER_OF(query, struct promote_run, query);
    struct peer_door *door = run->door;
    struct exchange *exchange = run->exchange;

    if (code == ERR_OK)
        start_members(door, exchange);
    else if (code == ERR_MEMBER_NOT_FOUND)
        text_with_cluster(door, exchange, 404, "membership: ID not found");
    else if (code == ERR_MEMBER_NOT_LEARNER)
        text_with_cluster(door, exchange, 412, "membership: can only promote a learner member");
    else
        text_with_cluster(door, exchange, code == ERR_LEARNER_NOT_READY ? 412 : 500, text);
    promote_free(run);
}

static void promote_gone(struct exchange *exchange)
{
    struct promote_run *run = exchange->state;

    run->door->env.cancel_promote(run->door->env.arg, &run->query);
    promote_free(run);
}

static void start_promote(struct peer_door *door, struct exchange *exchange, struct slice name)
{
    struct promote_run *run;
    char text[FIELD_BYTES + 64];
    struct slice token;
    uint64_t id = 0;

    if (!decimal_id(name, &id)) {
        (void)snprintf(text, sizeof(text), "member %.*s not found in cluster",
                       (int)MIN(name.size, 40), (const char *)name.data);
        text_with_cluster(door, exchange, 404, text);
        return;
    }
    run = xalloc(sizeof(*run));
    *run = (struct promote_run){
        .query = {.id = id, .done = promote_done}, .door = door, .exchange = exchange};
    if (exchange_field(exchange, "authorization", &token) && token.size != 0)
        run->query.token = run->token =
            xasprintf("%.*s", (int)MIN(token.size, TOKEN_BYTES_MAX), (const char *)token.data);
    exchange->state = run;
    exchange->gone = promote_gone;
    door->env.promote(door->env.arg, &run->query);
}

/* ---- hashkv ---- */

static void hash_done(struct peer_hash *query, enum err_code code,
                      const struct peer_hash_facts *facts)
{
    static const char prefix[] = "etcdserver: ";
    struct hash_run *run = CONTAINER_OF(query, struct hash_run, query);
    struct exchange_head head = {.status = 200, .content_type = "application/json"};
    char field[FIELD_BYTES], body[256], compacted[48] = "", history[80] = "";
    const char *text;
    int length;

    if (facts != NULL && facts->compact_revision != 0) /* Go leaves out what is 0 */
        (void)snprintf(compacted, sizeof(compacted), ",\"compact_revision\":%" PRId64,
                       facts->compact_revision); /* fits, as the next */
    if (facts != NULL && run->asks_living && facts->has_history)
        (void)snprintf(history, sizeof(history),
                       ",\"history\":%" PRIu32 ",\"history_compact_revision\":%" PRId64,
                       facts->history, facts->history_compact_revision);
    if (code != ERR_OK) {
        text = err_text(code);
        if (strncmp(text, prefix, sizeof(prefix) - 1) == 0)
            text += sizeof(prefix) - 1;
        exchange_text(run->exchange, 400, text);
    } else {
        length = snprintf(body, sizeof(body),
                          "{\"header\":{\"revision\":%" PRId64 "},\"hash\":%" PRIu32 "%s%s%s}\n",
                          facts->revision, facts->hash, compacted,
                          !run->asks_living ? ""
                          : facts->living   ? ",\"living\":true"
                                            : ",\"living\":false",
                          history);
        must(length > 0 && (size_t)length < sizeof(body));
        head.fields = cluster_field(run->door, field);
        exchange_answer(run->exchange, &head, slice_of(body, (size_t)length));
    }
    free(run);
}

static void hash_gone(struct exchange *exchange)
{
    struct hash_run *run = exchange->state;

    run->door->env.cancel_hash(run->door->env.arg, &run->query);
    free(run);
}

/* {"revision":N}; an empty body is no request here. */
static bool parse_revision(struct slice body, int64_t *revision)
{
    ProtobufCMessage *message = NULL;
    struct arena arena;
    struct err err = ERR_INIT;
    bool good;

    if (body.size == 0 || body.size > PARSE_BYTES_MAX || body.data[0] != '{')
        return false;
    arena_init(&arena, PARSE_BYTES_MAX * 4);
    good = pbjson_parse(&etcdserverpb__hash_kvrequest__descriptor, body, NULL, &arena, &message,
                        &err) == 0;
    if (good)
        *revision = ((const Etcdserverpb__HashKVRequest *)(const void *)message)->revision;
    arena_free(&arena);
    return good;
}

static void start_hash(struct peer_door *door, struct exchange *exchange)
{
    struct hash_run *run;
    struct slice cluster, ask;
    char ours[32];
    int64_t revision = 0;

    (void)snprintf(ours, sizeof(ours), "%" PRIx64, door->env.cluster_id(door->env.arg));
    if (exchange_field(exchange, "x-etcd-cluster-id", &cluster) && cluster.size != 0 &&
        !slice_equal(cluster, slice_text(ours))) {
        exchange_text(exchange, 412, "cluster ID mismatch");
        return;
    }
    if (!parse_revision(exchange->body, &revision)) {
        exchange_text(exchange, 400, "error unmarshalling request");
        return;
    }
    run = xalloc(sizeof(*run));
    run->door = door;
    run->exchange = exchange;
    run->asks_living = exchange_field(exchange, "x-hashkv-living", &ask);
    run->query = (struct peer_hash){.revision = revision, .done = hash_done};
    exchange->state = run;
    exchange->gone = hash_gone;
    door->env.hash(door->env.arg, &run->query);
}

/* ---- leases ---- */

struct lease_run {
    struct peer_lease query;
    struct peer_door *door;
    struct exchange *exchange;
};

static void answer_message(struct exchange *exchange, const ProtobufCMessage *message)
{
    struct exchange_head head = {.status = 200, .content_type = "application/protobuf"};
    size_t bytes = protobuf_c_message_get_packed_size(message);
    uint8_t *body = xalloc(bytes);

    must(protobuf_c_message_pack(message, body) == bytes);
    exchange_answer(exchange, &head, slice_of(body, bytes));
    free(body);
}

/* The header is there and empty, as the asker's decoder wants it. */
static void answer_time_to_live(const struct lease_run *run, const struct peer_lease_facts *facts)
{
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    Etcdserverpb__LeaseTimeToLiveResponse inner = ETCDSERVERPB__LEASE_TIME_TO_LIVE_RESPONSE__INIT;
    Leasepb__LeaseInternalResponse response = LEASEPB__LEASE_INTERNAL_RESPONSE__INIT;
    ProtobufCBinaryData *keys = xalloc(facts->key_count * sizeof(*keys));

    for (size_t i = 0; i < facts->key_count; i++) {
        keys[i].data = (uint8_t *)(uintptr_t)facts->keys[i].data; /* only read */
        keys[i].len = facts->keys[i].size;
    }
    inner.header = &header;
    inner.id = run->query.id;
    inner.ttl = facts->ttl_s;
    inner.grantedttl = facts->granted_ttl_s;
    inner.keys = keys;
    inner.n_keys = facts->key_count;
    response.leasetimetoliveresponse = &inner;
    answer_message(run->exchange, (const ProtobufCMessage *)&response);
    free(keys);
}

static void refuse_lease(const struct lease_run *run, enum err_code code)
{
    if (code == ERR_LEASE_NOT_FOUND)
        exchange_text(run->exchange, 404, "lease not found");
    else if (code == ERR_TIMEOUT_WAIT_APPLIED_INDEX)
        exchange_text(run->exchange, 408,
                      "waiting for node to catch up its applied index has timed out");
    else if (code == ERR_NOT_LEADER)
        exchange_text(run->exchange, run->query.renew ? 400 : 500, "not a primary lessor");
    else
        exchange_text(run->exchange, 500, err_text(code));
}

static void lease_done(struct peer_lease *query, enum err_code code,
                       const struct peer_lease_facts *facts)
{
    struct lease_run *run = CONTAINER_OF(query, struct lease_run, query);
    Etcdserverpb__LeaseKeepAliveResponse renewed = ETCDSERVERPB__LEASE_KEEP_ALIVE_RESPONSE__INIT;

    if (code != ERR_OK) {
        refuse_lease(run, code);
    } else if (query->renew) {
        renewed.id = query->id;
        renewed.ttl = facts->ttl_s;
        answer_message(run->exchange, (const ProtobufCMessage *)&renewed);
    } else {
        answer_time_to_live(run, facts);
    }
    free(run);
}

static void lease_gone(struct exchange *exchange)
{
    struct lease_run *run = exchange->state;

    run->door->env.cancel_lease(run->door->env.arg, &run->query);
    free(run);
}

/* False: it is no such message. */
static bool parse_lease(struct slice body, bool renew, struct peer_lease *query)
{
    const ProtobufCMessageDescriptor *type =
        renew ? &etcdserverpb__lease_keep_alive_request__descriptor
              : &leasepb__lease_internal_request__descriptor;
    ProtobufCMessage *message;
    struct arena arena;
    bool good;

    if (body.size > PARSE_BYTES_MAX)
        return false;
    arena_init(&arena, PARSE_BYTES_MAX * 4);
    message = protobuf_c_message_unpack(type, &arena.allocator, body.size, body.data);
    good = message != NULL;
    if (good && renew) {
        query->id = ((const Etcdserverpb__LeaseKeepAliveRequest *)(const void *)message)->id;
    } else if (good) {
        const Etcdserverpb__LeaseTimeToLiveRequest *request =
            ((const Leasepb__LeaseInternalRequest *)(const void *)message)->leasetimetoliverequest;

        good = request != NULL;
        query->id = good ? request->id : 0;
        query->keys = good && request->keys;
    }
    arena_free(&arena);
    return good;
}

static void start_lease(struct peer_door *door, struct exchange *exchange, bool renew)
{
    struct peer_lease query = {.renew = renew, .done = lease_done};
    struct lease_run *run;

    if (exchange->body_too_large || !parse_lease(exchange->body, renew, &query)) {
        exchange_text(exchange, 400, "error unmarshalling request");
        return;
    }
    run = xalloc(sizeof(*run));
    run->door = door;
    run->exchange = exchange;
    run->query = query;
    exchange->state = run;
    exchange->gone = lease_gone;
    door->env.lease(door->env.arg, &run->query);
}

/* ---- routing ---- */

static void start_downgrade(struct peer_door *door, struct exchange *exchange)
{
    struct exchange_head head = {.status = 200, .content_type = "text/plain"};
    char field[FIELD_BYTES];

    head.fields = cluster_field(door, field);
    exchange_answer(exchange, &head,
                    door->env.downgrade_enabled(door->env.arg) ? SLICE_LITERAL("true")
                                                               : SLICE_LITERAL("false"));
}

/* Not of etcd, which answers 404: its members let one learner in at a time. */
static void start_learners(struct peer_door *door, struct exchange *exchange)
{
    struct exchange_head head = {.status = 200, .content_type = "text/plain"};
    char field[FIELD_BYTES];
    struct buf body = BUF_INIT(FIELD_BYTES);

    head.fields = cluster_field(door, field);
    buf_printf(&body, "%" PRIu64, door->env.learners_max(door->env.arg));
    exchange_answer(exchange, &head, buf_slice(&body));
    buf_free(&body);
}

static void start(void *arg, struct exchange *exchange)
{
    struct slice path = exchange->path, promote = SLICE_LITERAL("/members/promote/");
    struct peer_door *door = arg;

    if (exchange_path_is(exchange, "/version")) {
        ops_version(door->env.ops, exchange);
    } else if (exchange_path_is(exchange, "/members")) {
        if (exchange_needs(exchange, METHOD_GET, "GET"))
            start_members(door, exchange);
    } else if (exchange_path_is(exchange, "/members/hashkv")) {
        if (exchange_needs(exchange, METHOD_GET, "GET"))
            start_hash(door, exchange);
    } else if (exchange_path_is(exchange, "/downgrade/enabled")) {
        if (exchange_needs(exchange, METHOD_GET, "GET"))
            start_downgrade(door, exchange);
    } else if (exchange_path_is(exchange, "/learners")) {
        if (exchange_needs(exchange, METHOD_GET, "GET"))
            start_learners(door, exchange);
    } else if (slice_starts_with(path, promote)) {
        if (exchange_needs(exchange, METHOD_POST, "POST"))
            start_promote(door, exchange,
                          slice_of(path.data + promote.size, path.size - promote.size));
    } else if (exchange_path_is(exchange, "/leases") ||
               exchange_path_is(exchange, "/leases/internal")) {
        if (exchange_needs(exchange, METHOD_POST, NULL))
            start_lease(door, exchange, exchange_path_is(exchange, "/leases"));
    } else if (exchange_path_is(exchange, "/raft") ||
               slice_starts_with(path, SLICE_LITERAL("/raft/"))) {
        if (door->env.raft != NULL)
            door->env.raft->start(door->env.raft->arg, exchange);
        else if (!exchange_path_is(exchange, "/raft") ||
                 exchange_needs(exchange, METHOD_POST, "POST"))
            exchange_not_found(exchange);
    } else {
        exchange_not_found(exchange);
    }
}

struct exchange_handler peer_door_handler(struct peer_door *door)
{
    return (struct exchange_handler){.arg = door, .start = start};
}
