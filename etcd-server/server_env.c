/* server_env.c - what the endpoints of operators and peers ask of the server. */
#include "etcd-server/server_internal.h"

#include "common/base/level.h"
#include "etcd-server/host/process.h"

#include <stdio.h>

/* ---- ops: facts and reads ---- */

static void facts(void *arg, struct ops_facts *out)
{
    struct server *server = arg;
    const struct alarm_store *alarms = engine_alarms(server->engine);
    const struct member *self =
        member_find(engine_members(server->engine), engine_member_id(server->engine));

    (void)snprintf(out->server_version, sizeof(out->server_version), "%s", ETCD_LEVEL); /* fits */
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
    struct process_usage usage;

    process_usage(&usage);
    metrics->cpu_seconds = usage.cpu_seconds;
    metrics->start_time_s = usage.start_time_s;
    metrics->resident_bytes = (double)usage.resident_bytes;
    metrics->virtual_bytes = (double)usage.virtual_bytes;
    metrics->virtual_max_bytes = (double)usage.virtual_max_bytes;
    metrics->open_fds = metrics->fd_used = (double)usage.open_fds;
    metrics->max_fds = metrics->fd_limit = (double)usage.max_fds;
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
    metrics->heartbeat_send_failures = engine_numbers.heartbeats_late;
    metrics->snapshot_apply_in_progress = engine_numbers.installing;
    metrics->defrag_inflight = engine_numbers.defragging;
    metrics->auth_revision = (double)auth_revision(engine_auth(engine));
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
    /* fits */
    (void)snprintf(metrics->server_version, sizeof(metrics->server_version), "%s", ETCD_LEVEL);
    patch = strrchr(version, '.');
    (void)snprintf(metrics->cluster_version, sizeof(metrics->cluster_version), "%.*s",
                   patch != NULL ? (int)(patch - version) : 0, version); /* major.minor */
    metrics->network_receive_bytes = (double)net_received_bytes(server->net);
    metrics->network_transmit_bytes = (double)net_sent_bytes(server->net);
    collect_process(metrics);
}

/* ---- ops: raft.status of /debug/vars, as etcd names what is in it ---- */

static void put_progress(const struct engine *engine, struct buf *out)
{
    const struct raft *raft = engine_raft(engine);
    const struct raft_conf_state *conf = raft_conf_state(raft);
    const char *comma = "";
    struct raft_peer peer;

    for (size_t i = 0; i < conf->voter_count + conf->learner_count; i++) {
        uint64_t id =
            i < conf->voter_count ? conf->voters[i] : conf->learners[i - conf->voter_count];

        if (raft_role(raft) != RAFT_LEADER || !raft_peer(raft, id, &peer))
            continue;
        buf_printf(
            out, "%s\"%" PRIx64 "\":{\"match\":%" PRIu64 ",\"next\":%" PRIu64 ",\"state\":\"%s\"}",
            comma, id, peer.match, peer.next,
            peer.snapshot                                    ? "StateSnapshot"
            : peer.probing && id != engine_member_id(engine) ? "StateProbe"
                                                             : "StateReplicate");
        comma = ",";
    }
}

static void raft_status(void *arg, struct buf *out)
{
    static const char *const roles[] = {[RAFT_FOLLOWER] = "StateFollower",
                                        [RAFT_PRE_CANDIDATE] = "StatePreCandidate",
                                        [RAFT_CANDIDATE] = "StateCandidate",
                                        [RAFT_LEADER] = "StateLeader"};
    const struct engine *engine = ((struct server *)arg)->engine;
    const struct raft *raft = engine_raft(engine);
    struct raft_hard_state state = raft_hard_state(raft);

    buf_printf(out,
               "{\"id\":\"%" PRIx64 "\",\"term\":%" PRIu64 ",\"vote\":\"%" PRIx64
               "\",\"commit\":%" PRIu64 ",\"lead\":\"%" PRIx64
               "\",\"raftState\":\"%s\",\"applied\":%" PRIu64 ",\"progress\":{",
               engine_member_id(engine), state.term, state.vote, state.commit, raft_leader(raft),
               roles[raft_role(raft)], engine_applied_index(engine));
    put_progress(engine, out);
    buf_printf(out, "},\"leadtransferee\":\"%" PRIx64 "\"}", raft_transferee(raft));
}

struct ops_env server_ops_env(struct server *server)
{
    return (struct ops_env){.arg = server,
                            .facts = facts,
                            .read = start_read,
                            .cancel_read = cancel_read,
                            .collect = collect,
                            .raft_status = raft_status,
                            .metrics = &server->metrics,
                            .argc = server->argc,
                            .argv = server->argv};
}

/* ---- peer ---- */

struct peer_env server_peer_env(struct server *server)
{
    struct peer_env env = peer_answers_env(server->peer_answers);

    env.raft = &server->raft_handler;
    env.ops = server->ops;
    return env;
}
