/*
 * publish.c - what a member says of itself in the log: its name and client URLs, and the leader the
 * cluster version (raft.md 9.6).
 *
 *   cluster version unknown, 3.5 or above -> requests 1301 and 1300
 *   below 3.5                             -> the same as v2 requests: etcd 3.4 stops, at every
 *                                            start, at a request that it does not know
 *
 * Who does not find itself among the members yet does not know the cluster's version either.
 */
#include "common/base/base.h"
#include "common/base/duration.h"
#include "common/schema/versions.h"
#include "etcd-server/engine/engine_internal.h"
#include "etcd-server/engine/v2request.h"

#include <stdio.h>

#define REQUESTS_LEVEL "3.5.0" /* the lowest that knows requests 1300 and 1301 */

static bool knows_requests(const struct engine *engine)
{
    unsigned level = version_level(member_cluster_version(engine->members));

    return level == 0 || level >= version_level(REQUESTS_LEVEL);
}

static uint64_t propose_own_v2(struct engine *engine, engine_done_fn *done, enum err_code *refusal)
{
    struct v2_request request = {.method = SLICE_LITERAL("PUT")};
    struct buf value = BUF_INIT(BUF_UNLIMITED);
    struct member own;
    char path[64];
    uint64_t id;

    member_init(&own, engine->config.member_id);
    member_set_name(&own, engine->config.name);
    member_set_client_urls(&own, engine->config.client_urls, engine->config.client_url_count);
    must(member_write_attributes(&own, &value));
    (void)snprintf(path, sizeof(path), "/0/members/%" PRIx64 "/attributes", own.id);
    request.path = slice_text(path);
    request.value = buf_slice(&value);
    id = propose_v2(engine, &request, done, engine, refusal);
    member_fini(&own);
    buf_free(&value);
    return id;
}

static uint64_t propose_own(struct engine *engine, engine_done_fn *done, enum err_code *refusal)
{
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Membershippb__ClusterMemberAttrSetRequest set =
        MEMBERSHIPPB__CLUSTER_MEMBER_ATTR_SET_REQUEST__INIT;
    Membershippb__Attributes attributes = MEMBERSHIPPB__ATTRIBUTES__INIT;

    if (!knows_requests(engine))
        return propose_own_v2(engine, done, refusal);
    set.member_id = engine->config.member_id;
    /* protobuf-c has no const; it is only read */
    attributes.name = (char *)(uintptr_t)engine->config.name;
    attributes.client_urls = (char **)(uintptr_t)engine->config.client_urls;
    attributes.n_client_urls = engine->config.client_url_count;
    set.member_attributes = &attributes;
    request.cluster_member_attr_set = &set;
    return engine_propose(engine, &request, NULL, done, engine, refusal);
}

uint64_t engine_propose_version(struct engine *engine, const char *version, engine_done_fn *done,
                                void *arg, enum err_code *refusal)
{
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Membershippb__ClusterVersionSetRequest set = MEMBERSHIPPB__CLUSTER_VERSION_SET_REQUEST__INIT;
    struct v2_request old = {.method = SLICE_LITERAL("PUT"),
                             .path = SLICE_LITERAL("/0/version"),
                             .value = slice_text(version)};

    if (!knows_requests(engine))
        return propose_v2(engine, &old, done, arg, refusal);
    set.ver = (char *)(uintptr_t)version; /* as above */
    request.cluster_version_set = &set;
    return engine_propose(engine, &request, NULL, done, arg, refusal);
}

static void published(void *arg, const struct engine_result *result)
{
    struct engine *engine = arg;

    if (engine->published || result->code != ERR_OK)
        return;
    engine->published = true;
    host_note(engine->host, LOG_INFO, "published local member to cluster through raft",
              log_hex("local-member-id", engine->config.member_id),
              log_hex("cluster-id", engine->config.cluster_id));
}

static void ignore_result(void *arg, const struct engine_result *result)
{
    (void)arg;
    (void)result; /* tried again at a later tick when it failed */
}

void publish_turn(struct engine *engine, uint64_t now_ms)
{
    bool has_version = member_cluster_version(engine->members)[0] != '\0';
    enum err_code refusal; /* tried again at a later tick */

    if ((engine->published && has_version) || raft_leader(engine->raft) == 0 ||
        now_ms < engine->publish_after_ms ||
        member_find(engine->members, engine->config.member_id) == NULL)
        return;
    engine->publish_after_ms = now_ms + engine_patience_ms(engine);
    if (!engine->published && propose_own(engine, published, &refusal) == 0)
        return;
    if (raft_role(engine->raft) == RAFT_LEADER && !has_version &&
        engine_propose_version(engine, CLUSTER_VERSION, ignore_result, engine, &refusal) == 0)
        return;
}

/* Clients wait until it is published: say why, as long as it takes. */
static void warn_unpublished(struct engine *engine, uint64_t now_ms)
{
    uint64_t patience_ms = engine_patience_ms(engine);
    struct buf text = BUF_INIT(ERR_TEXT_MAX);

    if (now_ms < engine->unpublished_warn_ms)
        return;
    if (engine->unpublished_warn_ms != 0) {
        (void)duration_write((int64_t)patience_ms * NS_PER_MS, &text); /* fits */
        host_note(engine->host, LOG_WARN, "failed to publish local member to cluster through raft",
                  log_hex("local-member-id", engine->config.member_id),
                  log_str("publish-timeout", buf_text(&text)),
                  log_str("error", raft_leader(engine->raft) == 0
                                       ? "no leader: most members have to be up and in reach; "
                                         "clients wait until then"
                                       : "etcdserver: request timed out"));
    }
    engine->unpublished_warn_ms = now_ms + patience_ms;
    buf_free(&text);
}

void publish_tick(struct engine *engine, uint64_t now_ms)
{
    publish_turn(engine, now_ms);
    if (!engine->published)
        warn_unpublished(engine, now_ms);
}

bool engine_ready(const struct engine *engine)
{
    return engine->published;
}
