/* server_env.c - what the endpoints of operators and peers ask of the server. */
#include "etcd-server/server_internal.h"
#include "etcd-server/service/hashing.h"
#include "etcd-server/service/lease_duty.h"
#include "etcd-server/service/subcall.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* ---- ops: facts and reads ---- */

static void facts(void *arg, struct ops_facts *out)
{
    struct server *server = arg;
    const struct alarm_store *alarms = engine_alarms(server->engine);
    const struct member *self =
        member_find(engine_members(server->engine), engine_member_id(server->engine));

    (void)snprintf(out->server_version, sizeof(out->server_version), "%s",
                   SERVER_VERSION); /* fits */
    (void)snprintf(out->cluster_version, sizeof(out->cluster_version), "%s",
                   member_cluster_version(engine_members(server->engine))); /* fits */
    out->has_leader = raft_leader(engine_raft(server->engine)) != 0;
    out->is_learner = self != NULL && self->learner;
    out->alarm_nospace = alarm_active(alarms, ETCDSERVERPB__ALARM_TYPE__NOSPACE);
    out->alarm_corrupt = alarm_active(alarms, ETCDSERVERPB__ALARM_TYPE__CORRUPT);
}

struct pending_read {
    struct server *server;
    struct ops_read *read;
    uint64_t id;
};

static void read_done(void *arg, const struct engine_result *result)
{
    struct pending_read *pending = arg;
    struct ops_read *read = pending->read;

    free(pending);
    read->state = NULL;
    read->done(read, result->code == ERR_OK ? NULL : err_text(result->code));
}

static void start_read(void *arg, struct ops_read *read)
{
    struct server *server = arg;
    struct pending_read *pending;
    enum err_code refusal;

    if (read->serializable) { /* what a one-key read needs is this thread and the index: both are
                                 here */
        read->done(read, NULL);
        return;
    }
    pending = xalloc(sizeof(*pending));
    *pending = (struct pending_read){.server = server, .read = read};
    read->state = pending;
    pending->id = engine_read(server->engine, read_done, pending, &refusal);
    if (pending->id == 0) {
        free(pending);
        read->state = NULL;
        read->done(read, err_text(refusal));
    }
}

static void cancel_read(void *arg, struct ops_read *read)
{
    struct pending_read *pending = read->state;

    (void)arg;
    if (pending == NULL)
        return;
    engine_forget(pending->server->engine, pending->id);
    read->state = NULL;
    free(pending);
}

/* ---- ops: gauges at the time of a scrape ---- */

static void collect_process(struct metrics *metrics)
{
    struct rusage usage;
    struct rlimit files;
    unsigned long pages = 0, resident = 0;
    DIR *directory;
    FILE *statm = fopen("/proc/self/statm", "re");

    if (statm != NULL) {
        if (fscanf(statm, "%lu %lu", &pages, &resident) != 2)
            pages = resident = 0;
        (void)fclose(statm); /* read only */
    }
    metrics->virtual_bytes = (double)pages * (double)sysconf(_SC_PAGESIZE);
    metrics->resident_bytes = (double)resident * (double)sysconf(_SC_PAGESIZE);
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        metrics->cpu_seconds = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                               (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0)
        metrics->max_fds = (double)files.rlim_cur;
    metrics->open_fds = 0;
    directory = opendir("/proc/self/fd");
    while (directory != NULL && readdir(directory) != NULL)
        metrics->open_fds =
            metrics->open_fds > 3 ? metrics->open_fds - 3 : 0; /* ".", "..", this one */
    metrics->fd_used = metrics->open_fds;
    metrics->fd_limit = metrics->max_fds;
}

static void collect(void *arg, struct metrics *metrics)
{
    struct server *server = arg;
    struct engine *engine = server->engine;
    const struct raft *raft = engine_raft(engine);
    const struct member *self = member_find(engine_members(engine), engine_member_id(engine));
    struct mvcc_stats stats = mvcc_stats(engine_mvcc(engine));
    struct watch_stats watch = watch_stats(engine_watches(engine));
    struct engine_stats engine_numbers = engine_stats(engine);
    const char *version = member_cluster_version(engine_members(engine)), *patch;

    metrics->has_leader = raft_leader(raft) != 0;
    metrics->is_leader = raft_role(raft) == RAFT_LEADER;
    metrics->is_learner = self != NULL && self->learner;
    metrics->leader_changes_seen = engine_numbers.leader_changes;
    metrics->proposals_committed = (double)raft_commit_index(raft);
    metrics->proposals_applied = (double)engine_applied_index(engine);
    metrics->proposals_pending = (double)engine_numbers.proposals_pending;
    metrics->proposals_failed = engine_numbers.proposals_failed;
    metrics->slow_read_indexes = engine_numbers.read_indexes_slow;
    metrics->read_indexes_failed = engine_numbers.read_indexes_failed;
    metrics->quota_backend_bytes = (double)server->config->quota_backend_bytes;
    metrics->db_size_bytes = (double)engine_size(engine);
    metrics->db_size_in_use_bytes = (double)engine_size_in_use(engine);
    metrics->db_open_reads = backend_reads_open(engine_backend(engine));
    metrics->watchers = (double)watch.watchers;
    metrics->slow_watchers = (double)watch.slow;
    metrics->watch_streams = (double)watch.streams;
    metrics->pending_events = (double)watch.pending;
    metrics->events = watch.events;
    metrics->puts = stats.puts;
    metrics->deletes = stats.deletes;
    metrics->ranges = stats.ranges;
    metrics->debug_ranges = stats.ranges;
    metrics->txns = stats.txns;
    metrics->put_bytes = (double)stats.put_bytes;
    metrics->compaction_keys = stats.compacted_keys;
    metrics->keys = (double)mvcc_key_count(engine_mvcc(engine));
    metrics->current_revision = (double)mvcc_revision(engine_mvcc(engine));
    metrics->compact_revision = (double)mvcc_compact_revision(engine_mvcc(engine));
    metrics->server_id = engine_member_id(engine);
    (void)snprintf(metrics->server_version, sizeof(metrics->server_version), "%s",
                   SERVER_VERSION); /* fits */
    patch = strrchr(version, '.');
    (void)snprintf(metrics->cluster_version, sizeof(metrics->cluster_version), "%.*s",
                   patch != NULL ? (int)(patch - version) : 0, version); /* major.minor */
    metrics->start_time_s = (double)server->start_unix_s;
    metrics->network_receive_bytes = (double)net_received_bytes(server->net);
    metrics->network_transmit_bytes = (double)net_sent_bytes(server->net);
    collect_process(metrics);
}

struct ops_env server_ops_env(struct server *server)
{
    return (struct ops_env){.arg = server,
                            .facts = facts,
                            .read = start_read,
                            .cancel_read = cancel_read,
                            .collect = collect,
                            .metrics = &server->metrics,
                            .argc = server->argc,
                            .argv = server->argv};
}

/* ---- peer ---- */

static uint64_t peer_cluster_id(void *arg)
{
    return engine_cluster_id(((struct server *)arg)->engine);
}

static size_t peer_members(void *arg, const struct peer_member **out)
{
    struct server *server = arg;
    const struct member_store *members = engine_members(server->engine);
    size_t count = member_count(members);

    free(server->peer_members);
    server->peer_members = xalloc(count * sizeof(*server->peer_members));
    for (size_t i = 0; i < count; i++) {
        const struct member *member = member_at(members, i);

        server->peer_members[i] = (struct peer_member){
            .id = member->id,
            .name = member->name,
            .peer_urls = {(const char *const *)member->peer_urls, member->peer_url_count},
            .client_urls = {(const char *const *)member->client_urls, member->client_url_count},
            .is_learner = member->learner};
    }
    *out = server->peer_members;
    return count;
}

static bool peer_downgrade(void *arg)
{
    return member_downgrade_target(engine_members(((struct server *)arg)->engine))[0] != '\0';
}

struct peer_hash_run {
    struct hash_query query;
    struct peer_hash *asked;
};

static void peer_hash_done(struct hash_query *query, enum err_code code,
                           const struct mvcc_hash_result *result)
{
    struct peer_hash_run *run = CONTAINER_OF(query, struct peer_hash_run, query);
    struct peer_hash *asked = run->asked;

    asked->state = NULL;
    free(run);
    if (code != ERR_OK)
        asked->done(asked, code, 0, 0, 0);
    else
        asked->done(asked, code, result->current_revision, result->hash, result->compact_revision);
}

static void peer_hash(void *arg, struct peer_hash *asked)
{
    struct server *server = arg;
    struct peer_hash_run *run = xalloc(sizeof(*run));

    *run = (struct peer_hash_run){.query = {.revision = asked->revision, .done = peer_hash_done},
                                  .asked = asked};
    asked->state = run;
    hashing_start(service_hashing(server->service), &run->query);
}

static void peer_cancel_hash(void *arg, struct peer_hash *asked)
{
    struct peer_hash_run *run = asked->state;

    (void)arg;
    if (run == NULL)
        return;
    hashing_cancel(&run->query);
    free(run);
}

struct peer_lease_run {
    struct lease_query query;
    struct server *server;
    struct peer_lease *asked;
};

static void peer_lease_done(struct lease_query *query, enum err_code code,
                            const struct lease *lease)
{
    struct peer_lease_run *run = CONTAINER_OF(query, struct peer_lease_run, query);
    struct peer_lease *asked = run->asked;
    struct peer_lease_facts facts = {0};
    struct slice *keys = NULL;

    asked->state = NULL;
    if (code == ERR_OK) {
        facts.ttl_s = asked->renew
                          ? lease->ttl_s
                          : lease_remaining_s(lease, host_now_ms(engine_host(run->server->engine)));
        facts.granted_ttl_s = lease->ttl_s;
        if (asked->keys && lease->keys.count != 0) {
            keys = xalloc(lease->keys.count * sizeof(*keys));
            key_set_list(&lease->keys, keys);
            facts.keys = keys;
            facts.key_count = lease->keys.count;
        }
    }
    free(run);
    asked->done(asked, code, code == ERR_OK ? &facts : NULL);
    free(keys);
}

static void peer_lease(void *arg, struct peer_lease *asked)
{
    struct server *server = arg;
    struct peer_lease_run *run = xalloc(sizeof(*run));

    run->server = server;
    run->asked = asked;
    run->query = (struct lease_query){
        .id = asked->id, .renew = asked->renew, .from_peer = true, .done = peer_lease_done};
    asked->state = run;
    lease_ask(service_leases(server->service), &run->query);
}

static void peer_cancel_lease(void *arg, struct peer_lease *asked)
{
    struct peer_lease_run *run = asked->state;

    (void)arg;
    if (run == NULL)
        return;
    asked->state = NULL;
    lease_forget(&run->query);
    free(run);
}

struct peer_promote_run {
    struct subcall subcall;
    struct server *server;
    struct peer_promote *asked;
    Etcdserverpb__MemberPromoteRequest request;
};

static void promote_run_free(struct peer_promote_run *run)
{
    subcall_fini(&run->subcall);
    free(run);
}

static void free_later(void *arg)
{
    promote_run_free(arg);
}

static void peer_promoted(void *arg, enum err_code code, const char *text,
                          const ProtobufCMessage *response)
{
    struct peer_promote_run *run = arg;
    struct peer_promote *asked = run->asked;

    (void)response; /* the door lists the members */
    asked->state = NULL;
    asked->done(asked, code, text);
    loop_post(run->server->loop, free_later, run); /* the handler still stands on its call */
}

/* As a call of the client who asked the follower, with his rights. */
static void peer_promote(void *arg, struct peer_promote *asked)
{
    struct server *server = arg;
    struct peer_promote_run *run = xalloc(sizeof(*run));
    struct call parent = {.token = asked->token, .from_peer = true};

    run->server = server;
    run->asked = asked;
    etcdserverpb__member_promote_request__init(&run->request);
    run->request.id = asked->id;
    asked->state = run;
    subcall_start(server->service, &run->subcall, &parent, RPC_Cluster_MemberPromote,
                  &run->request.base, peer_promoted, run);
}

static void peer_cancel_promote(void *arg, struct peer_promote *asked)
{
    struct peer_promote_run *run = asked->state;

    (void)arg;
    if (run == NULL)
        return;
    asked->state = NULL;
    subcall_cancel(run->server->service, &run->subcall);
    promote_run_free(run);
}

struct peer_env server_peer_env(struct server *server)
{
    return (struct peer_env){.arg = server,
                             .cluster_id = peer_cluster_id,
                             .members = peer_members,
                             .downgrade_enabled = peer_downgrade,
                             .hash = peer_hash,
                             .cancel_hash = peer_cancel_hash,
                             .lease = peer_lease,
                             .cancel_lease = peer_cancel_lease,
                             .promote = peer_promote,
                             .cancel_promote = peer_cancel_promote,
                             .raft = &server->raft_handler,
                             .ops = server->ops};
}
