/* server_log.c - the lines that say what a server was started with, under etcd's names. */
#include "common/base/duration.h"
#include "common/base/level.h"
#include "etcd-server/server_internal.h"

char *server_list_text(const struct option_list *list)
{
    struct buf text = BUF_INIT(BUF_UNLIMITED);
    char *joined;

    for (size_t i = 0; i < list->count; i++)
        buf_printf(&text, "%s%s", i != 0 ? "," : "", list->items[i]);
    joined = xstrdup(buf_text(&text));
    buf_free(&text);
    return joined;
}

/* The lists of URLs, joined. */
struct places {
    char *peer_listen, *client_listen, *http_listen, *metrics_listen, *peer_told, *client_told;
};

static struct places places_of(const struct config *config)
{
    return (struct places){.peer_listen = server_list_text(&config->listen_peer_urls),
                           .client_listen = server_list_text(&config->listen_client_urls),
                           .http_listen = server_list_text(&config->listen_client_http_urls),
                           .metrics_listen = server_list_text(&config->listen_metrics_urls),
                           .peer_told = server_list_text(&config->initial_advertise_peer_urls),
                           .client_told = server_list_text(&config->advertise_client_urls)};
}

static void places_free(struct places *places)
{
    free(places->peer_listen);
    free(places->client_listen);
    free(places->http_listen);
    free(places->metrics_listen);
    free(places->peer_told);
    free(places->client_told);
}

static const char *retention_text(const struct config *config, struct buf *text)
{
    if (config->compaction == COMPACTION_REVISION)
        buf_printf(text, "%" PRId64, config->compaction_retention);
    else
        (void)duration_write(config->compaction_retention, text); /* fits */
    return buf_text(text);
}

void server_log_settings(const struct config *config)
{
    struct places places = places_of(config);
    struct buf retention = BUF_INIT(64);
    char *cors = server_list_text(&config->cors),
         *hosts = server_list_text(&config->host_whitelist);

    log_info("starting an etcd server", log_str("etcd-version", ETCD_LEVEL),
             log_str("suite-version", SUITE_VERSION), log_str("name", config->name),
             log_str("data-dir", config->data_dir), log_str("wal-dir", config->wal_dir),
             log_bool("force-new-cluster", config->force_new_cluster),
             log_bool("unsafe-no-fsync", config->unsafe_no_fsync),
             log_ms("heartbeat-interval", config->heartbeat_interval_ms),
             log_ms("election-timeout", config->election_timeout_ms),
             log_bool("initial-election-tick-advance", config->initial_election_tick_advance),
             log_u64("snapshot-count", config->snapshot_count),
             log_u64("max-wals", config->max_wals), log_u64("max-snapshots", config->max_snapshots),
             log_u64("snapshot-catchup-entries", config->snapshot_catchup_entries),
             log_str("initial-advertise-peer-urls", places.peer_told),
             log_str("listen-peer-urls", places.peer_listen),
             log_str("advertise-client-urls", places.client_told),
             log_str("listen-client-urls", places.client_listen),
             log_str("listen-client-http-urls", places.http_listen),
             log_str("listen-metrics-urls", places.metrics_listen), log_str("cors", cors),
             log_str("host-whitelist", hosts), log_str("initial-cluster", config->initial_cluster),
             log_str("initial-cluster-state", config->initial_cluster_state),
             log_str("initial-cluster-token", config->initial_cluster_token),
             log_i64("quota-backend-bytes", config->quota_backend_bytes),
             log_u64("max-request-bytes", config->max_request_bytes),
             log_u64("max-txn-ops", config->max_txn_ops),
             log_u64("max-concurrent-streams", config->max_concurrent_streams),
             log_bool("pre-vote", config->pre_vote),
             log_bool("strict-reconfig-check", config->strict_reconfig_check),
             log_bool("initial-corrupt-check", config->initial_corrupt_check),
             log_ms("corrupt-check-time-interval", config->corrupt_check_time_ns / NS_PER_MS),
             log_bool("compact-check-time-enabled", config->compact_hash_check_enabled),
             log_ms("compact-check-time-interval", config->compact_hash_check_time_ns / NS_PER_MS),
             log_str("auto-compaction-mode", config->auto_compaction_mode),
             log_str("auto-compaction-retention", retention_text(config, &retention)),
             log_ms("downgrade-check-interval", config->downgrade_check_time_ns / NS_PER_MS));
    free(cors);
    free(hosts);
    buf_free(&retention);
    places_free(&places);
}

void server_log_serving(const struct server *server)
{
    struct places places = places_of(server->config);

    log_info("now serving peer/client/metrics",
             log_hex("local-member-id", engine_member_id(server->engine)),
             log_str("initial-advertise-peer-urls", places.peer_told),
             log_str("listen-peer-urls", places.peer_listen),
             log_str("advertise-client-urls", places.client_told),
             log_str("listen-client-urls", places.client_listen),
             log_str("listen-metrics-urls", places.metrics_listen));
    places_free(&places);
}
