/*
 * server.c - see server.h.
 *
 *   start:  addresses taken -> data dir, lock -> log -> backend -> engine (replay)
 *           -> service, doors -> peers and metrics answered -> campaign -> name published
 *           -> clients answered -> "ready to serve client requests"
 *   stop:   listeners drain -> engine flushes to the backend -> loop ends -> threads end
 *           -> files close
 */
#include "etcd-server/server.h"
#include "common/base/duration.h"
#include "common/base/level.h"
#include "etcd-server/host/machine_cluster.h"
#include "etcd-server/host/notify.h"
#include "etcd-server/host/peer_gate.h"
#include "etcd-server/server_internal.h"

#include <malloc.h>
#include <signal.h>

#define HANDED_OVER_LINGER_MS 200

/* 0 is "off" or a default in most settings: less than a millisecond is one. */
static uint64_t whole_ms(int64_t ns)
{
    return ns > 0 ? (uint64_t)(ns / NS_PER_MS + (ns % NS_PER_MS != 0)) : 0;
}

static void enter(struct server *server, enum server_stage stage)
{
    must(stage > server->stage);
    server->stage = stage;
}

/* ---- engine ---- */

/* All but the host, which is made first. */
static struct engine_config engine_settings(struct server *server)
{
    const struct config *config = server->config;

    return (struct engine_config){
        .backend = server->backend,
        .member_id = server->boot.log.metadata.node_id,
        .cluster_id = server->boot.log.metadata.cluster_id,
        .election_ticks = (unsigned)(config->election_timeout_ms / config->heartbeat_interval_ms),
        .tick_ms = (unsigned)config->heartbeat_interval_ms,
        .election_tick_advance = config->initial_election_tick_advance,
        .pre_vote = config->pre_vote,
        .max_request_bytes = config->max_request_bytes,
        .quota_bytes = config->quota_backend_bytes,
        .priority_revokes = config->priority_request,
        .snapshot_count = config->snapshot_count,
        .catchup_entries = MAX(config->snapshot_catchup_entries, 1),
        /* who gives another number than the default means that number */
        .catchup_only = config->snapshot_catchup_entries != SNAPSHOT_CATCHUP_ENTRIES,
        .batch_interval_ms = whole_ms(config->backend_batch_interval_ns),
        .batch_limit = (uint64_t)config->backend_batch_limit,
        .compaction_batch = (uint64_t)config->compaction_batch_limit,
        .compaction_sleep_ms = whole_ms(config->compaction_sleep_interval_ns),
        .lease_checkpoint_persist = config->enable_lease_checkpoint_persist,
        .name = config->name,
        .client_urls = (const char *const *)config->advertise_client_urls.items,
        .client_url_count = config->advertise_client_urls.count,
        .hard_state = server->boot.log.hard_state,
        .snapshot = server->boot.snapshot.meta,
        .snapshot_data = server->boot.snapshot.data,
        .entries = server->boot.log.entries,
        .entry_count = server->boot.log.entry_count,
        .applied = slow_applied,
        .applied_arg = &server->slow,
        .measured = slow_measured,
        .measured_arg = &server->slow};
}

static int start_engine(struct server *server, struct err *err)
{
    const struct config *config = server->config;
    struct engine_config engine = engine_settings(server);
    struct machine_config machine = {.loop = server->loop,
                                     .wal = server->boot.wal,
                                     .backend = server->backend,
                                     .dir = &server->dir,
                                     .metrics = &server->metrics,
                                     .log_writer = {.fs = server->dir.fs,
                                                    .snap_dir = server->dir.snap,
                                                    .max_snapshots = config->max_snapshots,
                                                    .max_wals = config->max_wals,
                                                    .no_fsync = config->unsafe_no_fsync}};

    if (machine_new(&machine, &server->machine, err) < 0)
        return -1;
    server->boot.wal = NULL; /* the machine's now */
    engine.host = machine_host(server->machine);
    server->metrics.extensive = strcmp(config->metrics, "extensive") == 0;
    server->slow =
        (struct slow){.host = engine.host,
                      .metrics = &server->metrics,
                      .apply_ns = (uint64_t)MAX(config->warning_apply_duration_ns, 0),
                      .unary_ns = (uint64_t)MAX(config->warning_unary_request_duration_ns, 0),
                      .all = config->level == LOG_DEBUG};
    if (engine_new(&engine, &server->engine, err) < 0) {
        err_prefix(err, "%s with the log in %s", server->dir.db, server->dir.wal);
        return -1;
    }
    machine_set_engine(server->machine, server->engine);
    boot_clean(&server->dir, &server->boot, server->backend);
    boot_free(&server->boot);
    log_info("starting local member", log_hex("local-member-id", engine.member_id),
             log_hex("cluster-id", engine.cluster_id),
             log_u64("applied-index", engine_applied_index(server->engine)),
             log_i64("revision", mvcc_revision(engine_mvcc(server->engine))));
    return 0;
}

static void start_service(struct server *server)
{
    const struct config *config = server->config;
    struct service_config service = {
        .engine = server->engine,
        .metrics = &server->metrics,
        .slow = &server->slow,
        .max_txn_ops = config->max_txn_ops,
        .quota_bytes = config->quota_backend_bytes,
        .strict_reconfig_check = config->strict_reconfig_check,
        .learners_max = (uint64_t)config->max_learners,
        .stop_on_defrag = config->stop_grpc_service_on_defrag,
        .lease_checkpoints = config->enable_lease_checkpoint,
        .max_message_bytes = config->max_request_bytes + REQUEST_OVERHEAD_BYTES,
        .watch_notify_ms = whole_ms(config->watch_progress_notify_interval_ns),
        .election_ticks = (unsigned)(config->election_timeout_ms / config->heartbeat_interval_ms)};
    enum autocompact_mode mode = config->compaction == COMPACTION_PERIODIC   ? AUTOCOMPACT_PERIODIC
                                 : config->compaction == COMPACTION_REVISION ? AUTOCOMPACT_REVISION
                                                                             : AUTOCOMPACT_OFF;
    uint64_t retention = (uint64_t)MAX(config->compaction_retention, 0);

    server_auth_settings(config, &service);
    service.jwt = server->jwt;
    server->service = service_new(&service);
    server->autocompact = autocompact_new(
        server->engine, mode, mode == AUTOCOMPACT_PERIODIC ? retention / NS_PER_MS : retention);
}

/* Needs the links to the others. */
static void start_checks(struct server *server)
{
    const struct config *config = server->config;
    struct corrupt_check_config check = {.engine = server->engine,
                                         .service = server->service,
                                         .initial = config->initial_corrupt_check,
                                         .period_ms = whole_ms(config->corrupt_check_time_ns)};
    struct version_duty_config versions = {
        .engine = server->engine, .downgrade_check_ms = whole_ms(config->downgrade_check_time_ns)};

    if (config->compact_hash_check_enabled)
        check.compact_ms = whole_ms(config->compact_hash_check_time_ns);
    server->corrupt_check = corrupt_check_new(&check);
    server->version_duty = version_duty_new(&versions);
}

/* ---- the other members ---- */

static int start_cluster(struct server *server, struct err *err)
{
    const struct config *config = server->config;
    struct machine_cluster_config cluster = {
        .loop = server->loop,
        .host = machine_host(server->machine),
        .engine = server->engine,
        .metrics = &server->metrics,
        .peer_urls = (const char *const *)config->initial_advertise_peer_urls.items,
        .peer_url_count = config->initial_advertise_peer_urls.count,
        .version = ETCD_LEVEL,
        .snap_dir = server->dir.snap,
        .tls = server->peer_dial_tls,
        .election_timeout_ms = config->election_timeout_ms,
        .read_timeout_ms = whole_ms(config->raft_read_timeout_ns),
        .write_timeout_ms = whole_ms(config->raft_write_timeout_ns)};

    if (machine_cluster_new(&cluster, &server->cluster, err) < 0)
        return -1;
    machine_set_cluster(server->machine, server->cluster);
    for (size_t i = 0; i < server->joined.member_count; i++) {
        const struct member *member = &server->joined.members[i];
        struct peers_member remote = {.id = member->id,
                                      .peer_urls = (const char *const *)member->peer_urls,
                                      .peer_url_count = member->peer_url_count};

        if (member->id != engine_member_id(server->engine))
            peers_add_remote(machine_cluster_peers(server->cluster), &remote);
    }
    return 0;
}

/* ---- doors ---- */

static void open_port(struct server *server, struct http1_door *http1, struct client *client,
                      bool grpc, struct http2_door **http2, struct port *port)
{
    const struct config *config = server->config;
    struct http2_config both = {
        .http = client_handler(client),
        .max_streams = config->max_concurrent_streams,
        .window_bytes = (uint32_t)MIN(
            config->max_request_bytes + REQUEST_OVERHEAD_BYTES + HTTP_HEADER_MAX_BYTES, INT32_MAX),
        .ping_min_ms = whole_ms(config->grpc_keepalive_min_time_ns),
        .ping_interval_ms = whole_ms(config->grpc_keepalive_interval_ns),
        .ping_timeout_ms = whole_ms(config->grpc_keepalive_timeout_ns)};

    if (both.ping_timeout_ms == 0) /* nobody would be waited for */
        both.ping_interval_ms = 0;
    if (grpc)
        both.grpc = grpc_handler(server->grpc);
    http1_door_init(http1, client_handler(client));
    *http2 = http2_door_new(&both);
    *port = (struct port){.http1 = http1_link_door(http1), .http2 = http2_link_door(*http2)};
}

static void start_doors(struct server *server)
{
    const struct config *config = server->config;
    struct door_config calls = {.service = server->service,
                                .start = service_start,
                                .cancel = service_cancel,
                                .ended = service_ended,
                                .metrics = &server->metrics,
                                .max_message_bytes =
                                    config->max_request_bytes + REQUEST_OVERHEAD_BYTES};
    struct ops_env ops = server_ops_env(server);
    struct peer_env peer;
    struct client_config client = {.cors = (const char *const *)config->cors.items,
                                   .cors_count = config->cors.count,
                                   .hosts = (const char *const *)config->host_whitelist.items,
                                   .host_count = config->host_whitelist.count};
    struct client_config metrics = {.monitoring = true};
    bool split = config->listen_client_http_urls.count != 0;

    if (config->enable_grpc_gateway)
        server->gateway = gateway_new(&calls);
    server->grpc = grpc_new(&calls);
    server->ops = ops_new(&ops);
    server->raft_handler = peers_handler(machine_cluster_peers(server->cluster));
    server->peer_answers = peer_answers_new(server->engine, server->service);
    peer = server_peer_env(server);
    client.ops = metrics.ops = server->ops;
    server->metrics_client = client_new(&metrics);
    client.gateway = server->gateway;
    server->http_client = client_new(&client);
    if (split) { /* HTTP has ports of its own: the client URLs are left to gRPC */
        client.gateway = NULL;
        client.ops = NULL;
    }
    server->client = client_new(&client);
    server->peer = peer_door_new(&peer);
    open_port(server, &server->client_door, server->client, true, &server->client_http2,
              &server->client_port);
    open_port(server, &server->http_door, server->http_client, false, &server->http_http2,
              &server->http_port);
    open_port(server, &server->metrics_door, server->metrics_client, false, &server->metrics_http2,
              &server->metrics_port);
    http1_door_init(&server->peer_door, peer_door_handler(server->peer));
    server->peer_door.handler.streams = peers_streams_body; /* a database may be of any size */
}

/* ---- listeners ---- */

static int accept_clients(struct server *server, struct err *err)
{
    struct link_door client = port_link_door(&server->client_port);
    struct link_door http = port_link_door(&server->http_port);

    if (server_accept(server, PORTS_CLIENT, &client, err) < 0)
        return -1;
    return server_accept(server, PORTS_CLIENT_HTTP, &http, err);
}

static int serve_clients(struct server *server, struct err *err)
{
    const struct config *config = server->config;
    struct err notice = ERR_INIT;

    if (accept_clients(server, err) < 0)
        return -1;
    for (size_t i = 0; i < config->listen_client_urls.count; i++) {
        if (strncmp(config->listen_client_urls.items[i], "http:", 5) == 0)
            log_warn("serving client traffic insecurely; this is strongly discouraged!",
                     log_str("address", config->listen_client_urls.items[i]));
        else
            log_info("serving client traffic securely",
                     log_str("address", config->listen_client_urls.items[i]));
    }
    (void)malloc_trim(0); /* what replaying the log needed goes back to the system */
    log_info("ready to serve client requests");
    if (notify_send("READY=1", &notice) < 0)
        log_warn("cannot notify systemd", log_str("error", notice.text));
    enter(server, SERVER_SERVING);
    server->served = true;
    return 0;
}

/* ---- the loop ---- */

static void fail(struct server *server, const struct err *err)
{
    server->failure = *err;
    loop_stop(server->loop);
}

static bool may_serve(struct server *server)
{
    struct err err = ERR_INIT;

    switch (corrupt_check_start(server->corrupt_check, &err)) {
    case CORRUPT_START_PENDING:
        return false;
    case CORRUPT_START_GOOD:
    case CORRUPT_START_UNKNOWN:
        return engine_ready(server->engine);
    case CORRUPT_START_DIFFERS:
        fail(server, &err);
        return false;
    }
    return false;
}

static void on_drained(void *arg)
{
    struct server *server = arg;

    if (server->stage == SERVER_LEAVING)
        enter(server, SERVER_DRAINED);
    engine_flush(server->engine);
}

/* Send the clients away. Those of a leader go when another one leads: wherever they turn to, there
 * is a leader, which a watch that requires one is refused without. */
static void leave(struct server *server)
{
    if (server->stage >= SERVER_LEAVING)
        return;
    enter(server, SERVER_LEAVING);
    net_shutdown(server->net, on_drained, server);
}

static void on_turn_end(void *arg)
{
    struct server *server = arg;
    struct err err = ERR_INIT;

    engine_turn(server->engine);
    if (server->stage == SERVER_HANDED_OVER)
        leave(server);
    server->wake_ms = MIN(service_turn(server->service), engine_wake_at(server->engine));
    if (server->stage == SERVER_STARTING && may_serve(server) && serve_clients(server, &err) < 0)
        fail(server, &err);
    if (server->stage == SERVER_DRAINED && engine_idle(server->engine) &&
        loop_now_ms() >= server->linger_until_ms)
        loop_stop(server->loop);
}

static void on_rest(void *arg)
{
    struct server *server = arg;
    uint64_t wake_ms = MIN(server->wake_ms, service_rest(server->service));

    loop_timer_set(server->wake_timer, wake_ms != UINT64_MAX ? MAX(wake_ms, 1) : 0);
}

static void on_wake(void *arg)
{
    (void)arg; /* the end of this turn does the work */
}

static void on_tick(void *arg)
{
    struct server *server = arg;
    uint64_t now_ms = loop_now_ms();

    engine_tick(server->engine);
    service_tick(server->service);
    autocompact_tick(server->autocompact, now_ms);
    corrupt_check_tick(server->corrupt_check);
    version_duty_tick(server->version_duty);
    trim_tick(&server->trim, now_ms);
    if (server->stage >= SERVER_HANDING_OVER && now_ms >= server->linger_until_ms)
        leave(server);
    server->next_tick_ms += server->config->heartbeat_interval_ms;
    if (server->next_tick_ms <= now_ms) /* ticks that were missed are not made up for in a burst */
        server->next_tick_ms = now_ms + server->config->heartbeat_interval_ms;
    loop_timer_set(server->tick_timer, server->next_tick_ms);
}

/* What the others send here until they have heard of the new leader is passed on to it. */
static void handed_over(void *arg, const struct engine_result *result)
{
    struct server *server = arg;

    (void)result; /* if it failed, the others elect a leader by themselves */
    server->linger_until_ms = loop_now_ms() + HANDED_OVER_LINGER_MS;
    if (server->stage == SERVER_HANDING_OVER) /* else it took too long, or the engine has failed */
        enter(server, SERVER_HANDED_OVER);
}

/* A leader that goes gives the lead away first: to the voter whose link has been up longest
 * (raft.md 8.9). It waits for that, but not longer than a follower waits for a leader. */
static bool hand_over(struct server *server)
{
    const struct member_store *members = engine_members(server->engine);
    struct host *host = machine_host(server->machine);
    uint64_t best = 0, best_ms = 0;
    enum err_code refusal;

    for (size_t i = 0; i < member_count(members); i++) {
        const struct member *member = member_at(members, i);
        uint64_t connected_ms = host->ops->connected_ms(host, member->id);

        if (!member->learner && connected_ms > best_ms) {
            best = member->id;
            best_ms = connected_ms;
        }
    }
    if (best == 0 || engine_transfer(server->engine, best, handed_over, server, &refusal) == 0)
        return false;
    log_info("handing the lead over", log_hex("to", best));
    server->linger_until_ms = loop_now_ms() + server->config->election_timeout_ms;
    return true;
}

static void stop(struct server *server, int number)
{
    if (server->signal_number == 0)
        server->signal_number = number;
    if (server->stage >= SERVER_HANDING_OVER) {
        log_warn("stopping already; once more to stop at once");
        loop_stop(server->loop);
        return;
    }
    enter(server, SERVER_HANDING_OVER);
    log_info("closing etcd server", log_str("name", server->config->name),
             log_i64("signal", number));
    if (server->engine == NULL || raft_role(engine_raft(server->engine)) != RAFT_LEADER ||
        !hand_over(server))
        leave(server);
}

static void on_sigterm(void *arg)
{
    stop(arg, SIGTERM);
}

static void on_sigint(void *arg)
{
    stop(arg, SIGINT);
}

static bool is_alone(const struct engine *engine)
{
    const struct raft_conf_state *conf = raft_conf_state(engine_raft(engine));

    return conf->voter_count == 1 && conf->voters[0] == engine_member_id(engine);
}

/* A peer's certificate must fit the address that it calls from (pki.md 2.5), unless that is
 * switched off. */
static struct link_door peer_link_door(struct server *server)
{
    struct link_door door = http1_link_door(&server->peer_door);

    if (server->peer_tls == NULL || server->config->peer_skip_client_san_verification)
        return door;
    server->peer_gate = peer_gate_new(server->loop, &door, "rejected connection on peer endpoint");
    return peer_gate_door(server->peer_gate);
}

/* So must that of who reads metrics by https. */
static struct link_door metrics_link_door(struct server *server)
{
    struct link_door door = port_link_door(&server->metrics_port);

    if (server->client_tls == NULL)
        return door;
    server->metrics_gate =
        peer_gate_new(server->loop, &door, "rejected connection on metrics endpoint");
    return peer_gate_door(server->metrics_gate);
}

/* The others have to reach this member before any client can, and operators as well. */
static int accept_others(struct server *server, struct err *err)
{
    struct link_door peer = peer_link_door(server);
    struct link_door metrics = metrics_link_door(server);

    if (server_accept(server, PORTS_PEER, &peer, err) < 0 ||
        server_accept(server, PORTS_METRICS, &metrics, err) < 0)
        return -1;
    server_log_serving(server);
    return 0;
}

static int run(struct server *server, struct err *err)
{
    server->tick_timer = loop_timer_new(server->loop, on_tick, server);
    server->wake_timer = loop_timer_new(server->loop, on_wake, server);
    server->signals[0] = loop_signal_new(server->loop, SIGTERM, on_sigterm, server);
    server->signals[1] = loop_signal_new(server->loop, SIGINT, on_sigint, server);
    if (accept_others(server, err) < 0)
        return -1;
    loop_at_turn_end(server->loop, LOOP_PHASE_ENGINE, on_turn_end, server);
    loop_at_turn_end(server->loop, LOOP_PHASE_REST, on_rest, server);
    server->next_tick_ms = loop_now_ms() + server->config->heartbeat_interval_ms;
    loop_timer_set(server->tick_timer, server->next_tick_ms);
    if (is_alone(server->engine))
        engine_campaign(server->engine); /* nobody else could */
    loop_run(server->loop);
    if (machine_wants_restart(server->machine) && server->signal_number == 0) {
        log_info("installing the snapshot that the leader sent");
        server->again = true;
        return 0;
    }
    if (server->failure.code != ERR_OK) {
        *err = server->failure;
        return -1;
    }
    if (machine_removed(server->machine) && server->served) {
        /* Whoever removed it wanted this: nobody is to start it again. */
        log_warn("data-dir used by this member must be removed",
                 log_str("data-dir", server->config->data_dir));
        return 0;
    }
    if (machine_failed(server->machine)) {
        err_set(err, ERR_IO, "%s", ""); /* said already */
        return -1;
    }
    log_info("closed etcd server", log_str("name", server->config->name));
    return 0;
}

static void end_loop(void *arg)
{
    loop_stop(arg);
}

/* What the threads posted last still owns memory: let it be delivered. */
static void deliver_posts(struct server *server)
{
    loop_post(server->loop, end_loop, server->loop);
    loop_run(server->loop);
}

static void take_apart(struct server *server)
{
    enter(server, SERVER_ENDED);
    if (server->engine != NULL)
        engine_fail(server->engine);     /* whoever waits still gets an answer that nobody reads */
    loop_timer_free(server->tick_timer); /* deliver_posts() runs the loop once more */
    server->tick_timer = NULL;
    version_duty_free(server->version_duty);
    corrupt_check_free(server->corrupt_check);
    machine_cluster_stop(server->cluster);
    net_close(server->net); /* streams on the pool end */
    machine_end_threads(server->machine);
    if (server->service != NULL)
        deliver_posts(server);
    net_free(server->net); /* until here the loop had its hooks */
    if (server->machine != NULL)
        machine_set_cluster(server->machine, NULL);
    peer_gate_free(server->peer_gate);
    peer_gate_free(server->metrics_gate);
    machine_cluster_free(server->cluster);
    join_free(&server->joined);
    for (size_t i = 0; i < ARRAY_LEN(server->signals); i++)
        loop_signal_free(server->signals[i]);
    loop_timer_free(server->wake_timer);
    machine_free(server->machine);
    autocompact_free(server->autocompact);
    peer_answers_free(server->peer_answers);
    service_free(server->service);
    jwt_free(server->jwt);
    peer_door_free(server->peer);
    client_free(server->client);
    client_free(server->http_client);
    client_free(server->metrics_client);
    http2_door_free(server->client_http2);
    http2_door_free(server->http_http2);
    http2_door_free(server->metrics_http2);
    gateway_free(server->gateway);
    grpc_free(server->grpc);
    ops_free(server->ops);
    engine_free(server->engine);
    backend_close(server->backend);
    boot_free(&server->boot);
    datadir_close(&server->dir);
    tls_context_free(server->client_tls);
    tls_context_free(server->peer_tls);
    tls_context_free(server->peer_dial_tls);
    loop_free(server->loop);
}

/* One life of the member; *again: it took a snapshot of the leader and begins anew with it, and
 * goes on with what was *counted (owned by the caller; NULL in the first life). */
static int live(const struct config *config, int argc, const char *const *argv, int *signal_number,
                bool *again, struct metrics **counted, struct err *err)
{
    struct server *server = xalloc(sizeof(*server));
    int rc = -1;

    server->config = config;
    server->argc = argc;
    server->argv = argv;
    if (*counted != NULL) {
        server->metrics = **counted;
        metrics_begin_anew(&server->metrics);
    }
    if (server_make_tls(server, err) < 0 || server_make_jwt(config, &server->jwt, err) < 0 ||
        loop_new(&server->loop, err) < 0)
        goto out;
    server->net = net_new(server->loop);
    if (server_bind(server, err) < 0)
        goto out;
    server_log_settings(config);
    if (server_open_files(server, err) < 0 || start_engine(server, err) < 0 ||
        version_duty_check(server->engine, err) < 0 || start_cluster(server, err) < 0)
        goto out;
    start_service(server);
    start_checks(server);
    start_doors(server);
    rc = run(server, err);
out:
    take_apart(server);
    *signal_number = server->signal_number; /* it may have come while we took it apart */
    *again = server->again && server->signal_number == 0;
    if (*again && *counted == NULL)
        *counted = xalloc(sizeof(**counted));
    if (*again)
        **counted = server->metrics;
    free(server);
    return rc;
}

int server_run(const struct config *config, int argc, const char *const *argv, int *signal_number,
               struct err *err)
{
    struct metrics *counted = NULL;
    bool again;
    int rc;

    do {
        again = false;
        rc = live(config, argc, argv, signal_number, &again, &counted, err);
    } while (rc == 0 && again);
    free(counted);
    return rc;
}
