/*
 * config.h - every setting of the server, one struct that nobody changes after the start.
 *
 * Flags, ETCD_ variables and the YAML file are one table (config_flags.c), read by options.h;
 * config.c adds what depends on each other (cli.md 1.5), config_check.c refuses what cannot be.
 * Texts are owned by the struct and never NULL; "" means not given. Names of fields are those of
 * the flags, without `experimental-`, with the unit. Edge: config_load() reads the config file.
 * Thread: main, before the others start; read-only afterwards, any.
 */
#ifndef ETCD_SERVER_CONFIG_H
#define ETCD_SERVER_CONFIG_H

#include "common/base/log.h"
#include "common/base/options.h"
#include "etcd-server/host/log_rotation.h"

enum config_compaction { COMPACTION_OFF, COMPACTION_PERIODIC, COMPACTION_REVISION };

struct config {
    /* ---- worked out by config_load() from the fields below ---- */
    enum log_level level;
    enum log_format format;
    bool names_cluster; /* --initial-cluster is given, and not empty */
    enum config_compaction compaction;
    int64_t compaction_retention; /* PERIODIC: nanoseconds; REVISION: revisions to keep */
    /*
     * Also put right in place: data_dir (never ""), initial_cluster (never ""), quota_backend_bytes
     * (bytes; -1 = no quota), backend_batch_* and compaction_*, watch_progress_notify_interval_ns
     * (never 0), bcrypt_cost (4 to 31), the switches that --feature-gates names.
     */

    /* member */
    char *name;
    char *data_dir;
    char *wal_dir;
    uint64_t snapshot_count;
    uint64_t heartbeat_interval_ms;
    uint64_t election_timeout_ms;
    bool initial_election_tick_advance;
    struct option_list listen_peer_urls;
    struct option_list listen_client_urls;
    struct option_list listen_client_http_urls;
    uint64_t max_snapshots;
    uint64_t max_wals;
    int64_t quota_backend_bytes;
    char *backend_bbolt_freelist_type;
    int64_t backend_batch_interval_ns;
    int64_t backend_batch_limit;
    uint64_t max_txn_ops;
    uint64_t max_request_bytes;
    uint32_t max_concurrent_streams;
    int64_t grpc_keepalive_min_time_ns;
    int64_t grpc_keepalive_interval_ns;
    int64_t grpc_keepalive_timeout_ns;
    bool socket_reuse_port;
    bool socket_reuse_address;
    int64_t raft_read_timeout_ns;
    int64_t raft_write_timeout_ns;

    /* clustering */
    struct option_list initial_advertise_peer_urls;
    char *initial_cluster;
    char *initial_cluster_state;
    char *initial_cluster_token;
    struct option_list advertise_client_urls;
    char *discovery;
    char *discovery_fallback;
    char *discovery_proxy;
    char *discovery_srv;
    char *discovery_srv_name;
    bool strict_reconfig_check;
    bool pre_vote;
    char *auto_compaction_mode;
    char *auto_compaction_retention;
    bool enable_v2;
    char *v2_deprecation;

    /* discovery through an etcd cluster (3.6+) */
    char *discovery_token;
    struct option_list discovery_endpoints;
    int64_t discovery_dial_timeout_ns;
    int64_t discovery_request_timeout_ns;
    int64_t discovery_keepalive_time_ns;
    int64_t discovery_keepalive_timeout_ns;
    bool discovery_insecure_transport;
    bool discovery_insecure_skip_tls_verify;
    char *discovery_cert;
    char *discovery_key;
    char *discovery_cacert;
    char *discovery_user;
    char *discovery_password;

    /* security */
    char *cert_file;
    char *key_file;
    bool client_cert_auth;
    char *trusted_ca_file;
    char *client_cert_file;
    char *client_key_file;
    char *client_crl_file;
    struct option_list client_cert_allowed_cn; /* in etcd of the file only */
    struct option_list client_cert_allowed_hostname;
    bool auto_tls;
    char *peer_cert_file;
    char *peer_key_file;
    bool peer_client_cert_auth;
    char *peer_trusted_ca_file;
    char *peer_client_cert_file;
    char *peer_client_key_file;
    char *peer_crl_file;
    struct option_list peer_cert_allowed_cn;
    struct option_list peer_cert_allowed_hostname;
    bool peer_auto_tls;
    uint64_t self_signed_cert_validity_years;
    struct option_list cipher_suites;
    char *tls_min_version;
    char *tls_max_version;
    struct option_list cors;
    struct option_list host_whitelist;

    /* authentication */
    char *auth_token;
    uint64_t bcrypt_cost;
    uint64_t auth_token_ttl_s;

    /* logging, monitoring, tracing */
    char *logger;
    struct option_list log_outputs;
    char *log_level;
    char *log_format;
    bool enable_log_rotation;
    char *log_rotation_config_json;
    struct log_rotation_limits log_rotation; /* of it, when enabled */
    bool enable_pprof;
    char *metrics;
    struct option_list listen_metrics_urls;
    bool enable_grpc_gateway;

    /* behaviour switches (3.5 spelling: with the prefix `experimental-`; 3.6+: without it) */
    bool initial_corrupt_check;
    int64_t corrupt_check_time_ns;
    bool compact_hash_check_enabled;
    int64_t compact_hash_check_time_ns;
    bool priority_request; /* of --feature-gates only */
    bool enable_lease_checkpoint;
    bool enable_lease_checkpoint_persist;
    int64_t compaction_batch_limit;
    int64_t compaction_sleep_interval_ns;
    int64_t watch_progress_notify_interval_ns;
    int64_t downgrade_check_time_ns;
    int64_t warning_apply_duration_ns;
    int64_t warning_unary_request_duration_ns;
    bool memory_mlock;
    bool txn_mode_write_with_shared_buffer;
    uint64_t bootstrap_defrag_threshold_megabytes;
    bool stop_grpc_service_on_defrag;
    uint64_t snapshot_catchup_entries;
    bool peer_skip_client_san_verification;
    bool enable_distributed_tracing;
    char *distributed_tracing_address;
    char *distributed_tracing_service_name;
    char *distributed_tracing_instance_id;
    uint64_t distributed_tracing_sampling_rate;
    char *enable_v2v3;

    /* new in 3.6 and 3.7 */
    char *feature_gates;
    int64_t max_learners;

    /* unsafe and general */
    bool force_new_cluster;
    bool unsafe_no_fsync;
    char *config_file;

    /* deprecated */
    char *proxy;
};

enum config_action { CONFIG_RUN, CONFIG_HELP, CONFIG_VERSION };

/*
 * Read everything and check it.
 *
 * env          "NAME=value" texts, NULL at the end
 * config       what it says when *action is CONFIG_RUN; after a failure with status 1 what was read
 *              until then, with where the log goes. Always ends in config_free()
 * notes        appended: what the user should know, a line each, for stderr or as warnings
 * exit_status  on failure: 2 for flag syntax (then the usage belongs behind the error), else 1
 * errors       ERR_USAGE, ERR_FORMAT, ERR_IO (the config file)
 */
int config_load(int argc, const char *const argv[], const char *const env[], struct config *config,
                enum config_action *action, struct buf *notes, int *exit_status,
                struct err *err) MUST_CHECK;
void config_free(struct config *config);

/* What --help prints: usage (stderr) and all flags (stdout); what --version prints. */
void config_usage(struct buf *out);
void config_help(struct buf *out);
void config_version(struct buf *out);

/* The table, for tests that compare it with the manual. */
const struct option_table *config_table(void);

/* For config_load(): refuse settings that are wrong each or together, with etcd's words. */
int config_check(struct config *config, const struct options *options, struct buf *notes,
                 struct err *err) MUST_CHECK;

#endif
