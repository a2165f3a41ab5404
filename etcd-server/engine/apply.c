/*
 * apply.c - the only writer of state: one committed entry after the other.
 *
 * A function of (state, entry), the same on every member. What the backend has already (index up to
 * backend_index) touches membership in memory only (raft.md 9.1). The answer for a waiting call is
 * built beside it and never changes what is applied.
 */
#include "common/base/base.h"
#include "common/base/limits.h"
#include "common/base/plants.h"
#include "common/schema/txn_unpack.h"
#include "etcd-server/engine/engine_internal.h"
#include "etcd-server/engine/v2request.h"

#include <stdio.h>

void apply_fill_header(const struct engine *engine, Etcdserverpb__ResponseHeader *header)
{
    header->cluster_id = engine->config.cluster_id;
    header->member_id = engine->config.member_id;
    header->raft_term = raft_term(engine->raft);
}

/* An answer of the form { header } of any message type: the first field of all of them is the
 * header. */
struct headed {
    ProtobufCMessage base;
    Etcdserverpb__ResponseHeader *header;
};

ProtobufCMessage *apply_header_only(const struct engine *engine,
                                    const ProtobufCMessageDescriptor *type, struct arena *arena)
{
    struct headed *message = arena_alloc(arena, type->sizeof_message);
    Etcdserverpb__ResponseHeader *header = arena_alloc(arena, sizeof(*header));

    if (message == NULL || header == NULL)
        return NULL;
    type->message_init(&message->base);
    etcdserverpb__response_header__init(header);
    engine_fill_header(engine, header);
    message->header = header;
    return &message->base;
}

/* mvcc filled in the revision; the rest of the outer header is ours. */
static ProtobufCMessage *headed(struct engine *engine, void *response)
{
    struct headed *message = response;

    if (message != NULL && message->header != NULL)
        apply_fill_header(engine, message->header);
    return response;
}

static bool puts_at_top(const Etcdserverpb__TxnRequest *txn)
{
    for (size_t i = 0; i < txn->n_success; i++)
        if (txn->success[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT)
            return true;
    for (size_t i = 0; i < txn->n_failure; i++)
        if (txn->failure[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT)
            return true;
    return false;
}

/* What an active alarm refuses (api.md 10.3). */
static enum err_code refused_by_alarm(const struct engine *engine,
                                      const Etcdserverpb__InternalRaftRequest *request)
{
    bool grows = request->put != NULL || request->lease_grant != NULL ||
                 (request->txn != NULL && puts_at_top(request->txn));
    bool writes = grows || request->delete_range != NULL || request->txn != NULL ||
                  request->compaction != NULL || request->lease_revoke != NULL;

    if (writes && alarm_active(engine->alarms, ETCDSERVERPB__ALARM_TYPE__CORRUPT))
        return ERR_CORRUPT;
    if (grows && alarm_active(engine->alarms, ETCDSERVERPB__ALARM_TYPE__NOSPACE))
        return ERR_NO_SPACE;
    return ERR_OK;
}

static int64_t least_ttl_s(const struct engine *engine)
{
    uint64_t ticks = (uint64_t)engine->config.election_ticks * 3 / 2; /* whole ones, as in etcd */

    return (int64_t)((ticks * engine->config.tick_ms + 999) / 1000); /* ceil(1.5 E) (raft.md 1) */
}

static enum err_code apply_lease_grant(struct engine *engine,
                                       const Etcdserverpb__LeaseGrantRequest *request,
                                       struct arena *arena, ProtobufCMessage **response)
{
    int64_t ttl_s = MAX(request->ttl, least_ttl_s(engine));
    enum err_code code = lease_apply_grant(engine->leases, request->id, ttl_s,
                                           host_now_ms(engine->host), engine->open);

    if (code == ERR_OK && arena != NULL) {
        *response =
            apply_header_only(engine, &etcdserverpb__lease_grant_response__descriptor, arena);
        if (*response != NULL) {
            Etcdserverpb__LeaseGrantResponse *grant =
                (Etcdserverpb__LeaseGrantResponse *)(void *)*response;

            grant->id = request->id;
            grant->ttl = ttl_s;
        }
    }
    return code;
}

/* The keys first, ascending and in one revision, then the lease (raft.md 9.6). */
static enum err_code apply_lease_revoke(struct engine *engine, int64_t id)
{
    struct key_set set = lease_take_keys(engine->leases, id);

    if (set.count != 0 && !PLANTED(LEASE_TAKEN)) {
        struct slice *keys = xalloc(set.count * sizeof(*keys));

        key_set_list(&set, keys);
        mvcc_apply_delete_keys(engine->mvcc, keys, set.count);
        free(keys);
    }
    key_set_free(&set);
    return lease_apply_revoke(engine->leases, id, engine->open);
}

/* Stored only when asked for, or when no member is older than 3.6 (api.md 8). */
static void apply_lease_checkpoint(struct engine *engine,
                                   const Etcdserverpb__LeaseCheckpointRequest *request)
{
    const char *version = member_cluster_version(engine->members);
    bool store = engine->config.lease_checkpoint_persist ||
                 (strncmp(version, "3.", 2) == 0 && version[2] >= '6' && version[2] <= '9');

    for (size_t i = 0; i < request->n_checkpoints; i++)
        lease_apply_checkpoint(engine->leases, request->checkpoints[i]->id,
                               request->checkpoints[i]->remaining_ttl, store ? engine->open : NULL);
}

static void apply_membership(struct engine *engine,
                             const Etcdserverpb__InternalRaftRequest *request, struct batch *batch)
{
    if (request->downgrade_info_set != NULL)
        member_apply_downgrade(engine->members, request->downgrade_info_set->enabled,
                               request->downgrade_info_set->ver, batch);
    if (request->cluster_version_set != NULL)
        member_apply_version(engine->members, request->cluster_version_set->ver, batch);
    if (request->cluster_member_attr_set != NULL &&
        request->cluster_member_attr_set->member_attributes != NULL) {
        const Membershippb__Attributes *attributes =
            request->cluster_member_attr_set->member_attributes;

        member_apply_attributes(engine->members, request->cluster_member_attr_set->member_id,
                                attributes->name, (const char *const *)attributes->client_urls,
                                attributes->n_client_urls, batch);
    }
}

/* One operation that changes more than membership; `arena` NULL when nobody waits. */
static enum err_code apply_request(struct engine *engine,
                                   const Etcdserverpb__InternalRaftRequest *request,
                                   struct arena *arena, ProtobufCMessage **response)
{
    enum err_code code = refused_by_alarm(engine, request);

    *response = NULL;
    /* Also while an alarm is up, which etcd 3.5 forgets (api.md 16). */
    if (code == ERR_OK && (arena != NULL || !PLANTED(AUTH_AT_PROPOSAL)))
        code = auth_check_request(engine->auth, engine->leases, request);
    if (code != ERR_OK)
        return code;
    if (request->put != NULL) {
        Etcdserverpb__PutResponse *put = NULL;

        code = mvcc_apply_put(engine->mvcc, request->put, arena, &put);
        *response = headed(engine, put);
    } else if (request->txn != NULL) {
        Etcdserverpb__TxnResponse *txn = NULL;

        code = mvcc_apply_txn(engine->mvcc, request->txn, arena, &txn);
        *response = headed(engine, txn);
    } else if (request->delete_range != NULL) {
        Etcdserverpb__DeleteRangeResponse *deleted = NULL;

        code = mvcc_apply_delete_range(engine->mvcc, request->delete_range, arena, &deleted);
        *response = headed(engine, deleted);
    } else if (request->compaction != NULL) {
        code = mvcc_apply_compact(engine->mvcc, request->compaction->revision);
        engine->commit_wanted = engine->commit_wanted || code == ERR_OK;
        if (code == ERR_OK && arena != NULL)
            *response =
                apply_header_only(engine, &etcdserverpb__compaction_response__descriptor, arena);
    } else if (request->lease_grant != NULL) {
        code = apply_lease_grant(engine, request->lease_grant, arena, response);
    } else if (request->lease_revoke != NULL) {
        code = apply_lease_revoke(engine, request->lease_revoke->id);
        if (code == ERR_OK && arena != NULL)
            *response =
                apply_header_only(engine, &etcdserverpb__lease_revoke_response__descriptor, arena);
    } else if (request->lease_checkpoint != NULL) {
        apply_lease_checkpoint(engine, request->lease_checkpoint);
    } else if (request->alarm != NULL) {
        Etcdserverpb__AlarmResponse *alarms = NULL;

        code = alarm_apply(engine->alarms, request->alarm, engine->open, arena, &alarms);
        if (alarms != NULL)
            engine_fill_header(engine, alarms->header);
        *response = (ProtobufCMessage *)alarms;
    } else if (apply_is_auth(request)) {
        code = apply_auth(engine, request, arena, response);
    }
    return code;
}

/* The same, and the host's clock says how long it took. */
static enum err_code apply_timed(struct engine *engine,
                                 const Etcdserverpb__InternalRaftRequest *request,
                                 struct arena *arena, ProtobufCMessage **response)
{
    const struct engine_config *config = &engine->config;
    uint64_t began_ns;
    enum err_code code;

    if (config->applied == NULL)
        return apply_request(engine, request, arena, response);
    began_ns = host_now_ns(engine->host);
    code = apply_request(engine, request, arena, response);
    config->applied(config->applied_arg, request, code, *response,
                    host_now_ns(engine->host) - began_ns);
    return code;
}

/* A physical compaction is answered when the history is gone for good; everything else now. */
static void answer(struct engine *engine, struct waiter *waiter,
                   const Etcdserverpb__InternalRaftRequest *request, enum err_code code,
                   ProtobufCMessage *response)
{
    if (code == ERR_OK && request->compaction != NULL && request->compaction->physical &&
        mvcc_compacting(engine->mvcc)) {
        engine_done_fn *done = waiter->done;
        void *arg = waiter->arg;
        uint64_t id = waiter->id; /* the caller knows the call by it */

        waiter_drop(engine, waiter);
        waiter = waiter_new(engine, WAIT_COMPACTED, id, done, arg);
        waiter->response = response;
        waiter->revision = request->compaction->revision;
        return;
    }
    waiter_finish(engine, waiter, code, response);
}

static struct waiter *waiter_of(struct engine *engine, uint64_t id)
{
    struct waiter *waiter = idmap_get(&engine->waiters, id);

    return waiter != NULL && waiter->kind == WAIT_PROPOSAL ? waiter : NULL;
}

static struct waiter *waiter_for(struct engine *engine,
                                 const Etcdserverpb__InternalRaftRequest *request)
{
    return waiter_of(engine, request->id != 0 || request->header == NULL ? request->id
                                                                         : request->header->id);
}

static void stop_applying(struct engine *engine, uint64_t index, const char *why)
{
    err_set(&engine->apply_err, ERR_DAMAGED, "log entry %" PRIu64 ": %s", index, why);
    engine_fail(engine);
    engine->host->ops->stop(engine->host, &engine->apply_err);
}

/* The request of an entry, in the arena for it; NULL: it is none. */
static Etcdserverpb__InternalRaftRequest *unpack(struct engine *engine, struct slice data)
{
    engine->entry_arena.max = raft_request_unpack_max(data.size);
    return raft_request_unpack(data, &engine->entry_arena);
}

static void forget_request(struct engine *engine)
{
    arena_reset(&engine->entry_arena);
    if (engine->entry_arena.used > ENTRY_ARENA_KEPT_BYTES)
        arena_free(&engine->entry_arena); /* of a large entry */
}

bool apply_knows(struct engine *engine, const struct raft_entry *entry)
{
    struct v2_request v2;
    bool known;

    if (entry->type != RAFT_ENTRY_NORMAL) /* raft looks at what is in a change */
        return entry->type == RAFT_ENTRY_CONF_CHANGE;
    if (entry->data.size == 0 || v2_request_decode(entry->data, &v2))
        return true;
    known = unpack(engine, entry->data) != NULL;
    forget_request(engine);
    return known;
}

static void apply_normal(struct engine *engine, const struct raft_entry *entry, bool full)
{
    struct v2_request v2;
    Etcdserverpb__InternalRaftRequest *request;
    ProtobufCMessage *response = NULL;
    struct waiter *waiter;
    enum err_code code = ERR_OK;

    if (entry->data.size == 0)
        return; /* the first entry of a term */
    if (v2_request_decode(entry->data, &v2)) {
        member_apply_v2(engine->members, v2.method, v2.path, v2.value, full ? engine->open : NULL);
        waiter = waiter_of(engine, v2.id);
        if (waiter != NULL)
            waiter_finish(engine, waiter, ERR_OK, NULL);
        return;
    }
    request = unpack(engine, entry->data);
    if (request == NULL) {
        stop_applying(engine, entry->index,
                      "is no request of etcd 3; the log is damaged, restore a snapshot");
        return;
    }
    apply_membership(engine, request, full ? engine->open : NULL);
    waiter = waiter_for(engine, request);
    if (full)
        code = apply_timed(engine, request, waiter != NULL ? waiter->arena : NULL, &response);
    if (waiter != NULL)
        answer(engine, waiter, request, code, response);
    forget_request(engine);
}

static void apply_conf_change(struct engine *engine, const struct raft_entry *entry, bool full)
{
    struct raft_conf_change change;
    struct raft_event event = {.type = RAFT_EVENT_CONF_APPLIED};
    struct err err = ERR_INIT;
    struct waiter *waiter;
    enum err_code code;

    if (raft_conf_change_decode(entry->data, &change, &err) < 0) {
        stop_applying(engine, entry->index, err.text);
        return;
    }
    code = member_apply_change(engine->members, &change, full ? engine->open : NULL);
    if (code == ERR_OK)
        event.conf_change = &change;
    others_step(engine, &event); /* told in every case, or the next one is blocked */
    if (code == ERR_OK)
        others_members_changed(engine, &change);
    waiter = change.id != 0 ? idmap_get(&engine->waiters, change.id) : NULL;
    if (waiter != NULL)
        waiter_finish(engine, waiter, code, NULL);
}

void apply_entry(struct engine *engine, const struct raft_entry *entry)
{
    struct raft_entry own = *entry;
    bool full = own.index > engine->backend_index || PLANTED(REPLAY_TWICE);

    must(own.index == engine->applied_index + 1);
    engine->applied_index = own.index; /* the batch that gets its changes gets this index too */
    engine->applied_term = own.term;
    engine->unsaved_bytes += own.data.size + sizeof(own);
    switch (own.type) {
    case RAFT_ENTRY_NORMAL:
        apply_normal(engine, &own, full);
        return;
    case RAFT_ENTRY_CONF_CHANGE:
        apply_conf_change(engine, &own, full);
        return;
    case RAFT_ENTRY_CONF_CHANGE_V2:
        stop_applying(engine, own.index,
                      "is a joint configuration change, which no etcd server writes");
        return;
    }
}
