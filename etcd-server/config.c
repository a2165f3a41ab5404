/*
 * config.c - see config.h. Order as in etcd: flags; then the file alone, or the environment; then
 * feature gates and defaults that depend on each other; then config_check().
 */
#include "etcd-server/config.h"

#include "common/base/duration.h"
#include "common/base/file.h"
#include "common/base/level.h"
#include "common/base/limits.h"
#include "etcd-server/host/default_host.h"

#include <sys/utsname.h>

#define ADVERTISE_PEER_DEFAULT "http://localhost:2380"
#define ADVERTISE_CLIENT_DEFAULT "http://localhost:2379"

static int read_file(struct options *options, struct config *config, struct err *err)
{
    struct buf text = BUF_INIT(CONFIG_FILE_MAX_BYTES);
    char *path = xstrdup(config->config_file);
    int rc = -1;

    if (file_read_all(path, &text, err) < 0)
        goto out;
    if (options_read_yaml(options, buf_slice(&text), err) < 0) {
        err_prefix(err, "%s", path);
        goto out;
    }
    free(config->config_file);
    config->config_file = xstrdup(path);
    buf_printf(&options->notes,
               "loaded the settings from %s; all other flags and variables are ignored\n", path);
    rc = 0;
out:
    free(path);
    buf_free(&text);
    return rc;
}

/* ---- feature gates ---- */

enum gate_stage { GATE_ALPHA, GATE_BETA };

struct gate {
    const char *name;
    enum gate_stage stage;
    size_t offset;       /* of its bool in struct config; 0: it has none */
    const char *because; /* it changes nothing here; NULL: it does */
};

static const struct gate gates[] = {
    {"StopGRPCServiceOnDefrag", GATE_ALPHA, offsetof(struct config, stop_grpc_service_on_defrag),
     NULL},
    {"InitialCorruptCheck", GATE_ALPHA, offsetof(struct config, initial_corrupt_check), NULL},
    {"CompactHashCheck", GATE_ALPHA, offsetof(struct config, compact_hash_check_enabled), NULL},
    {"TxnModeWriteWithSharedBuffer", GATE_BETA,
     offsetof(struct config, txn_mode_write_with_shared_buffer), "the store has no such mode"},
    {"LeaseCheckpoint", GATE_ALPHA, offsetof(struct config, enable_lease_checkpoint), NULL},
    {"LeaseCheckpointPersist", GATE_ALPHA, offsetof(struct config, enable_lease_checkpoint_persist),
     NULL},
    {"SetMemberLocalAddr", GATE_ALPHA, 0, "the system chooses the address"},
    {"FastLeaseKeepAlive", GATE_BETA, 0,
     "an entry is applied as soon as it is committed, so a renewal never waits for that"},
    {"PriorityRequest", GATE_ALPHA, offsetof(struct config, priority_request), NULL},
};

static bool *gate_field(struct config *config, const struct gate *gate)
{
    return (bool *)(void *)((char *)config + gate->offset);
}

static bool name_is(const char *name, const char *text, size_t length)
{
    return strlen(name) == length && memcmp(name, text, length) == 0;
}

/*
 * AllAlpha, AllBeta: what is named beside them comes first. AllAlpha=false is what holds anyway,
 * but for what is on here by default or by a flag of its own. False: it is neither.
 */
static bool set_stage(struct config *config, const char *name, size_t length, bool yes, bool first)
{
    bool alpha = name_is("AllAlpha", name, length);

    if (!alpha && !name_is("AllBeta", name, length))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(gates) && first && (yes || !alpha); i++)
        if (gates[i].offset != 0 && (gates[i].stage == GATE_ALPHA) == alpha)
            *gate_field(config, &gates[i]) = yes;
    return true;
}

static bool set_gate(struct config *config, const char *name, size_t length, bool yes,
                     struct buf *notes)
{
    for (size_t i = 0; i < ARRAY_LEN(gates); i++) {
        if (!name_is(gates[i].name, name, length))
            continue;
        if (gates[i].offset != 0)
            *gate_field(config, &gates[i]) = yes;
        if (gates[i].because != NULL)
            buf_printf(notes, "feature gate %s=%s changes nothing: %s\n", gates[i].name,
                       yes ? "true" : "false", gates[i].because);
        return true;
    }
    return false;
}

/* One pass over the list: the first one is for the stages. */
static int apply_gates(struct config *config, bool first, struct buf *notes, struct err *err)
{
    for (const char *at = config->feature_gates; *at != '\0';) {
        size_t size = strcspn(at, ","), length = strcspn(at, "=");
        bool yes;

        if (length >= size) {
            err_set(err, ERR_USAGE,
                    "--feature-gates: missing bool value for %.*s (write Name=true)",
                    (int)MIN(size, 100), at);
            return -1;
        }
        yes = size - length == 5 && strncmp(at + length, "=true", 5) == 0;
        if (!yes && !(size - length == 6 && strncmp(at + length, "=false", 6) == 0)) {
            err_set(err, ERR_USAGE, "--feature-gates: invalid value of %.*s, use true or false",
                    (int)MIN(size, 100), at);
            return -1;
        }
        if (!set_stage(config, at, length, yes, first) && !first &&
            !set_gate(config, at, length, yes, notes)) {
            err_set(err, ERR_USAGE, "--feature-gates: unrecognized feature gate: %.*s",
                    (int)MIN(length, 100), at);
            return -1;
        }
        at += size + (at[size] == ',');
    }
    return 0;
}

/* ---- defaults that depend on each other ---- */

/*
 * Who listens at every address and advertises the default would send the others, and clients, to
 * themselves. As in etcd the first URL listened at counts, with its port. False: not so.
 */
static bool advertise_host(const struct option_list *listen, struct option_list *advertised,
                           const char *fallback, const char *host)
{
    if (listen->count == 0 || strstr(listen->items[0], "://0.0.0.0:") == NULL ||
        advertised->count != 1 || strcmp(advertised->items[0], fallback) != 0)
        return false;
    free(advertised->items[0]);
    advertised->items[0] = xasprintf("http://%s%s", host, strrchr(listen->items[0], ':'));
    return true;
}

/* True: the peers are told another address than the default. */
static bool default_addresses(struct config *config, struct buf *notes)
{
    char host[DEFAULT_HOST_BYTES];
    bool known = default_host(host);
    bool peer =
        known && advertise_host(&config->listen_peer_urls, &config->initial_advertise_peer_urls,
                                ADVERTISE_PEER_DEFAULT, host);
    bool client =
        known && advertise_host(&config->listen_client_urls, &config->advertise_client_urls,
                                ADVERTISE_CLIENT_DEFAULT, host);

    if (peer)
        buf_printf(notes, "detected default host for advertise: peers are told %s\n",
                   config->initial_advertise_peer_urls.items[0]);
    if (client)
        buf_printf(notes, "detected default host for advertise: clients are told %s\n",
                   config->advertise_client_urls.items[0]);
    return peer;
}

static void default_cluster(struct config *config, bool detected)
{
    const struct option_list *urls = &config->initial_advertise_peer_urls;
    struct buf cluster = BUF_INIT(BUF_UNLIMITED);
    /* As in etcd: a new address alone does not change it, and bootstrap says what is missing. But
     * one that nobody gave is taken, where an etcd does not start. */
    bool fixed = strcmp(config->name, "default") == 0 && !detected;

    if (*config->initial_cluster != '\0')
        return;
    if (fixed)
        buf_append_text(&cluster, "default=" ADVERTISE_PEER_DEFAULT);
    for (size_t i = 0; i < urls->count && !fixed; i++)
        buf_printf(&cluster, "%s%s=%s", i != 0 ? "," : "", config->name, urls->items[i]);
    free(config->initial_cluster);
    config->initial_cluster = xstrdup(buf_text(&cluster));
    buf_free(&cluster);
}

static void fill_in(struct config *config, struct buf *notes)
{
    if (*config->data_dir == '\0') {
        free(config->data_dir);
        config->data_dir = xasprintf("%s.etcd", config->name);
        buf_printf(notes, "'data-dir' was empty; using %s\n", config->data_dir);
    }
    config->names_cluster = *config->initial_cluster != '\0';
    default_cluster(config, default_addresses(config, notes));
    if (config->snapshot_count == 0) {
        config->snapshot_count = SNAPSHOT_COUNT_DEFAULT;
        buf_printf(notes, "--snapshot-count=0 stands for the default; using %lu\n",
                   SNAPSHOT_COUNT_DEFAULT);
    }
    if (config->quota_backend_bytes == 0)
        config->quota_backend_bytes = QUOTA_BACKEND_BYTES_DEFAULT;
    else if (config->quota_backend_bytes < 0)
        config->quota_backend_bytes = -1;
    if (config->backend_batch_interval_ns <= 0)
        config->backend_batch_interval_ns = (int64_t)BACKEND_BATCH_INTERVAL_MS_DEFAULT * NS_PER_MS;
    if (config->backend_batch_limit <= 0)
        config->backend_batch_limit = BACKEND_BATCH_LIMIT_DEFAULT;
    if (config->compaction_batch_limit <= 0)
        config->compaction_batch_limit = COMPACTION_BATCH_DEFAULT;
    if (config->compaction_sleep_interval_ns <= 0)
        config->compaction_sleep_interval_ns = (int64_t)COMPACTION_SLEEP_MS_DEFAULT * NS_PER_MS;
    if (config->watch_progress_notify_interval_ns <= 0)
        config->watch_progress_notify_interval_ns = WATCH_NOTIFY_S_DEFAULT * NS_PER_S;
    if (config->bcrypt_cost < BCRYPT_COST_MIN || config->bcrypt_cost > BCRYPT_COST_MAX) {
        buf_printf(notes, "--bcrypt-cost=%" PRIu64 " is outside %d to %d; using %d\n",
                   config->bcrypt_cost, BCRYPT_COST_MIN, BCRYPT_COST_MAX, BCRYPT_COST_DEFAULT);
        config->bcrypt_cost = BCRYPT_COST_DEFAULT;
    }
}

static int load(struct options *options, int argc, const char *const argv[],
                const char *const env[], struct config *config, struct err *err)
{
    if (options_read_flags(options, argc, argv, err) < 0)
        return -1;
    if (options->help || options->version)
        return 0;
    if (options_source(options, "config-file") != OPTION_FLAG) {
        for (const char *const *at = env; *at != NULL && *config->config_file == '\0'; at++) {
            if (strncmp(*at, "ETCD_CONFIG_FILE=", 17) == 0) {
                free(config->config_file);
                config->config_file = xstrdup(*at + 17);
            }
        }
    }
    if (*config->config_file != '\0') {
        if (read_file(options, config, err) < 0)
            return -1;
    } else if (options_read_env(options, env, err) < 0) {
        return -1;
    }
    if (apply_gates(config, true, &options->notes, err) < 0 ||
        apply_gates(config, false, &options->notes, err) < 0 ||
        options_check_status(options, err) < 0)
        return -1;
    fill_in(config, &options->notes);
    return config_check(config, options, &options->notes, err);
}

int config_load(int argc, const char *const argv[], const char *const env[], struct config *config,
                enum config_action *action, struct buf *notes, int *exit_status, struct err *err)
{
    struct options options;
    int rc;

    memset(config, 0, sizeof(*config));
    options_init(&options, config_table(), config);
    rc = load(&options, argc, argv, env, config, err);
    *action = options.help ? CONFIG_HELP : options.version ? CONFIG_VERSION : CONFIG_RUN;
    *exit_status = rc < 0 ? options.exit_status : 0;
    buf_append_slice(notes, buf_slice(&options.notes));
    options_free(&options);
    return rc;
}

void config_free(struct config *config)
{
    wipe(config->discovery_password,
         config->discovery_password != NULL ? strlen(config->discovery_password) : 0);
    options_free_fields(config_table(), config);
}

void config_usage(struct buf *out)
{
    buf_append_text(out, "Usage:\n\n"
                         "  etcd-server [flags]\n    Start a member.\n\n"
                         "  etcd-server --version\n    Show the version.\n\n"
                         "  etcd-server -h | --help\n    Show all flags.\n\n"
                         "  etcd-server --config-file FILE\n"
                         "    Take all settings from FILE (YAML); other flags and variables are "
                         "ignored.\n");
}

void config_help(struct buf *out)
{
    options_help(config_table(), out);
    buf_append_text(out, "\nGeneral:\n  --version\n    Show the version.\n"
                         "  -h, --help\n    Show this.\n");
}

void config_version(struct buf *out)
{
    struct utsname machine;

    if (uname(&machine) < 0)
        memset(&machine, 0, sizeof(machine));
    buf_printf(out,
               "etcd Version: %s\nGit SHA: none\nGo Version: none (C11)\nGo OS/Arch: linux/%s\n"
               "etcd-server Version: %s\n",
               ETCD_LEVEL,
               strcmp(machine.machine, "x86_64") == 0    ? "amd64"
               : strcmp(machine.machine, "aarch64") == 0 ? "arm64"
                                                         : machine.machine,
               SUITE_VERSION);
}
