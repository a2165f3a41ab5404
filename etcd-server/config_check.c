/*
 * config_check.c - see config.h: what cannot be, with etcd's words (cli.md 1.5). Each check is one
 * function; config_check() lists them in etcd's order.
 */
#include "etcd-server/config.h"

#include "common/base/duration.h"
#include "common/base/limits.h"
#include "common/tls/tls.h"

#include <arpa/inet.h>

#define ELECTION_MAX_MS 50000

#define REFUSE(err, ...) (err_set((err), ERR_USAGE, __VA_ARGS__), -1)

/* ---- addresses ---- */

/* Host of a URL that option_set() has taken; "" for unix sockets. Into `host`, cut. */
static void host_of(const char *url, char *host, size_t size)
{
    const char *start = strstr(url, "://") + 3, *end = strrchr(start, ':');

    host[0] = '\0';
    if (strncmp(url, "unix", 4) == 0 || end == NULL)
        return;
    if (*start == '[' && end > start + 1 && end[-1] == ']') {
        start++;
        end--;
    }
    if ((size_t)(end - start) < size) {
        memcpy(host, start, (size_t)(end - start));
        host[end - start] = '\0';
    }
}

static bool is_tls(const char *url)
{
    return strncmp(url, "https://", 8) == 0 || strncmp(url, "unixs://", 8) == 0;
}

/* Listen hosts are IP addresses or localhost; also empty, which is all of them. */
static int check_binding(const struct option_list *urls, struct err *err)
{
    unsigned char address[sizeof(struct in6_addr)];
    char host[256];

    for (size_t i = 0; i < urls->count; i++) {
        if (strncmp(urls->items[i], "unix", 4) == 0)
            continue;
        host_of(urls->items[i], host, sizeof(host));
        host[strcspn(host, "%")] = '\0'; /* IPv6 zone */
        if (strcmp(host, "localhost") == 0 || inet_pton(AF_INET, host, address) == 1 ||
            inet_pton(AF_INET6, host, address) == 1)
            continue;
        return REFUSE(err, "expected IP in URL for binding (%.300s)", urls->items[i]);
    }
    return 0;
}

static int check_advertised(const struct option_list *urls, const char *flag, struct err *err)
{
    char host[256];

    for (size_t i = 0; i < urls->count; i++) {
        host_of(urls->items[i], host, sizeof(host));
        if (strncmp(urls->items[i], "unix", 4) == 0 || host[0] != '\0')
            continue;
        err_set(err, ERR_USAGE,
                "--%s \"%.300s\" must be \"host:port\" (the host is missing; others connect to it)",
                flag, urls->items[i]);
        return -1;
    }
    return 0;
}

static int check_tls_files(const struct option_list *urls, const char *kind, const char *prefix,
                           const char *cert, const char *key, bool automatic, struct err *err)
{
    if ((*cert == '\0') != (*key == '\0')) {
        err_set(err, ERR_USAGE, "--%scert-file and --%skey-file must be given together", prefix,
                prefix);
        return -1;
    }
    for (size_t i = 0; i < urls->count; i++) {
        if (!is_tls(urls->items[i]) || *cert != '\0' || automatic)
            continue;
        err_set(
            err, ERR_USAGE,
            "TLS key/cert (--%scert-file, --%skey-file) must be provided for %s url %.300s with "
            "HTTPS scheme",
            prefix, prefix, kind, urls->items[i]);
        return -1;
    }
    return 0;
}

static int check_double_listen(const struct config *config, struct err *err)
{
    for (size_t i = 0; i < config->listen_client_http_urls.count; i++) {
        for (size_t j = 0; j < config->listen_client_urls.count; j++) {
            if (strcmp(config->listen_client_http_urls.items[i],
                       config->listen_client_urls.items[j]) == 0)
                return REFUSE(
                    err,
                    "--listen-client-http-urls and --listen-client-urls both have %.300s; "
                    "give them different ports",
                    config->listen_client_urls.items[j]);
        }
    }
    return 0;
}

static const char *port_of(const char *url)
{
    const char *colon = strrchr(url, ':');

    return colon != NULL ? colon + 1 : "";
}

/* What a browser sends as Origin, or all of them: else it would never match. */
static int check_cors(const struct config *config, struct err *err)
{
    for (size_t i = 0; i < config->cors.count; i++) {
        const char *origin = config->cors.items[i], *host = strstr(origin, "://");

        if (strcmp(origin, "*") == 0 || *origin == '\0')
            continue;
        if (host == NULL || host == origin || host[3] == '\0' || strpbrk(host + 3, "/?#") != NULL)
            return REFUSE(
                err,
                "--cors=%.200s: an origin is SCHEME://HOST or SCHEME://HOST:PORT, without "
                "a path",
                origin);
    }
    return 0;
}

/* A lost digit in one of the two is easily typed and hard to see. */
static void note_ports(const struct config *config, struct buf *notes)
{
    const struct option_list *listen = &config->listen_client_urls,
                             *told = &config->advertise_client_urls;

    for (size_t i = 0; i < listen->count; i++) {
        for (size_t j = 0; j < told->count; j++) {
            if (strncmp(listen->items[i], "unix", 4) == 0 ||
                strcmp(port_of(listen->items[i]), port_of(told->items[j])) == 0)
                return;
        }
    }
    if (listen->count != 0 && told->count != 0)
        buf_printf(notes,
                   "--listen-client-urls (%s) and --advertise-client-urls (%s) have no port in "
                   "common; fine only behind a proxy\n",
                   listen->items[0], told->items[0]);
}

static int check_urls(const struct config *config, const struct options *options, struct buf *notes,
                      struct err *err)
{
    enum option_source listen = options_source(options, "listen-client-urls");

    if ((listen == OPTION_FLAG || listen == OPTION_ENV) &&
        options_source(options, "advertise-client-urls") == OPTION_DEFAULT)
        return REFUSE(err, "--advertise-client-urls is required when --listen-client-urls is set "
                           "explicitly");
    if (check_binding(&config->listen_peer_urls, err) < 0 ||
        check_binding(&config->listen_client_urls, err) < 0 ||
        check_binding(&config->listen_client_http_urls, err) < 0 ||
        check_binding(&config->listen_metrics_urls, err) < 0 ||
        check_advertised(&config->initial_advertise_peer_urls, "initial-advertise-peer-urls", err) <
            0 ||
        check_advertised(&config->advertise_client_urls, "advertise-client-urls", err) < 0 ||
        check_double_listen(config, err) < 0 || check_cors(config, err) < 0 ||
        check_tls_files(&config->listen_client_urls, "client", "", config->cert_file,
                        config->key_file, config->auto_tls, err) < 0 ||
        check_tls_files(&config->listen_client_http_urls, "client", "", config->cert_file,
                        config->key_file, config->auto_tls, err) < 0 ||
        check_tls_files(&config->listen_metrics_urls, "metrics", "", config->cert_file,
                        config->key_file, config->auto_tls, err) < 0 ||
        check_tls_files(&config->listen_peer_urls, "peer", "peer-", config->peer_cert_file,
                        config->peer_key_file, config->peer_auto_tls, err) < 0)
        return -1;
    if (config->listen_client_urls.count == 0)
        return REFUSE(err, "--listen-client-urls is empty; give at least one URL");
    if (config->listen_peer_urls.count == 0)
        return REFUSE(err, "--listen-peer-urls is empty; give at least one URL");
    if (listen != OPTION_DEFAULT)
        note_ports(config, notes);
    return 0;
}

/* ---- times ---- */

static int check_ticks(const struct config *config, struct err *err)
{
    uint64_t heartbeat = config->heartbeat_interval_ms, election = config->election_timeout_ms;

    if (heartbeat == 0)
        return REFUSE(err, "--heartbeat-interval must be >0 (set to %s)", "0ms");
    if (election == 0)
        return REFUSE(err, "--election-timeout must be >0 (set to %s)", "0ms");
    if (heartbeat > election / 5) {
        err_set(err, ERR_USAGE,
                "--election-timeout[%" PRIu64
                "ms] should be at least as 5 times as --heartbeat-interval[%" PRIu64 "ms]",
                election, heartbeat);
        return -1;
    }
    if (election > ELECTION_MAX_MS) {
        err_set(err, ERR_USAGE,
                "--election-timeout[%" PRIu64 "ms] is too long, and should be set less than %dms",
                election, ELECTION_MAX_MS);
        return -1;
    }
    return 0;
}

static int check_compaction(struct config *config, struct err *err)
{
    const char *mode = config->auto_compaction_mode, *text = config->auto_compaction_retention;
    struct buf hours = BUF_INIT(64);
    bool good, digits = *text != '\0' && strspn(text, "0123456789") == strlen(text);

    if (*mode != '\0' && strcmp(mode, "periodic") != 0 && strcmp(mode, "revision") != 0)
        return REFUSE(err, "unknown auto-compaction-mode \"%.200s\"", mode);
    if (*text == '\0' || strcmp(text, "0") == 0)
        return 0;
    if (*mode == '\0')
        return REFUSE(err,
                      "unsupported compaction mode %s(--auto-compaction-mode is empty; give "
                      "periodic or revision)",
                      mode);
    if (strcmp(mode, "revision") == 0) {
        char *end;

        config->compaction_retention = digits && strlen(text) < 19 ? strtoll(text, &end, 10) : -1;
        if (config->compaction_retention < 0)
            return REFUSE(err,
                          "error parsing CompactionRetention: \"%.200s\" is not a number of "
                          "revisions",
                          text);
    } else {
        buf_printf(&hours, digits ? "%.20sh" : "%.60s", text);
        good = duration_parse(buf_text(&hours), &config->compaction_retention) &&
               config->compaction_retention >= 0;
        buf_free(&hours);
        if (!good)
            return REFUSE(
                err, "error parsing CompactionRetention: time: invalid duration \"%.200s\"", text);
    }
    if (config->compaction_retention != 0)
        config->compaction =
            strcmp(mode, "revision") == 0 ? COMPACTION_REVISION : COMPACTION_PERIODIC;
    return 0;
}

/* ---- TLS and auth ---- */

static int check_versions(const struct config *config, struct err *err)
{
    const char *low = config->tls_min_version, *high = config->tls_max_version;
    const char *const versions[] = {low, high};

    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        if (*versions[i] != '\0' && strcmp(versions[i], "TLS1.2") != 0 &&
            strcmp(versions[i], "TLS1.3") != 0)
            return REFUSE(err, "unexpected TLS version \"%.100s\" (must be one of: TLS1.2, TLS1.3)",
                          versions[i]);
    }
    if (*high != '\0' && strcmp(low, high) > 0) {
        err_set(err, ERR_USAGE, "min version (%s) is greater than max version (%s)", low, high);
        return -1;
    }
    if (strcmp(low, "TLS1.3") == 0 && config->cipher_suites.count != 0)
        return REFUSE(err, "cipher suites cannot be configured when only TLS1.3 is enabled");
    return 0;
}

/* Also where no listener has TLS: a name that is wrong stays wrong. */
static int check_suites(const struct config *config, struct err *err)
{
    const struct option_list *suites = &config->cipher_suites;

    for (size_t i = 0; i < suites->count; i++)
        if (!tls_suite_known(suites->items[i]))
            return REFUSE(err, "unexpected TLS cipher suite \"%.100s\"", suites->items[i]);
    return 0;
}

static int check_pair(const char *cert, const char *key, const char *prefix, struct err *err)
{
    if ((*cert == '\0') == (*key == '\0'))
        return 0;
    err_set(err, ERR_USAGE, "--%sclient-cert-file and --%sclient-key-file must be given together",
            prefix, prefix);
    return -1;
}

/* What is asked for is not done on a listener without TLS: nobody may think that it is. */
static void note_plain(const struct option_list *urls, const char *prefix, bool certificate,
                       bool trusted, bool client_auth, bool crl, struct buf *notes)
{
    for (size_t i = 0; i < urls->count; i++) {
        const char *url = urls->items[i];

        if (is_tls(url))
            continue;
        if (certificate)
            buf_printf(notes,
                       "scheme is not HTTPS while key and cert files are present; ignoring "
                       "--%scert-file and --%skey-file for %s\n",
                       prefix, prefix, url);
        if (client_auth)
            buf_printf(notes,
                       "scheme is not HTTPS while --%sclient-cert-auth is enabled; ignoring client "
                       "cert auth for %s: whoever reaches it is let in\n",
                       prefix, url);
        if (trusted || crl)
            buf_printf(notes,
                       "scheme is not HTTPS: ignoring --%s%s for %s; no certificate is asked for "
                       "there\n",
                       prefix,
                       trusted           ? "trusted-ca-file"
                       : *prefix != '\0' ? "crl-file"
                                         : "client-crl-file",
                       url);
    }
}

static int check_tls(const struct config *config, struct buf *notes, struct err *err)
{
    bool automatic = (config->auto_tls && *config->cert_file == '\0') ||
                     (config->peer_auto_tls && *config->peer_cert_file == '\0');

    if (check_versions(config, err) < 0 || check_suites(config, err) < 0 ||
        check_pair(config->client_cert_file, config->client_key_file, "", err) < 0 ||
        check_pair(config->peer_client_cert_file, config->peer_client_key_file, "peer-", err) < 0)
        return -1;
    if (config->client_cert_allowed_cn.count != 0 &&
        config->client_cert_allowed_hostname.count != 0)
        return REFUSE(err, "AllowedCNs and AllowedHostnames are mutually exclusive "
                           "(--client-cert-allowed-cn, --client-cert-allowed-hostname); give one");
    if (config->peer_cert_allowed_cn.count != 0 && config->peer_cert_allowed_hostname.count != 0)
        return REFUSE(err, "AllowedCNs and AllowedHostnames are mutually exclusive "
                           "(--peer-cert-allowed-cn, --peer-cert-allowed-hostname); give one");
    if (automatic && config->self_signed_cert_validity_years == 0)
        return REFUSE(err, "selfSignedCertValidity is invalid,it should be greater than 0");
    if (automatic && config->self_signed_cert_validity_years > SELF_SIGNED_YEARS_MAX)
        return REFUSE(err, "--self-signed-cert-validity=%" PRIu64 ": at most %lu years",
                      (uint64_t)config->self_signed_cert_validity_years, SELF_SIGNED_YEARS_MAX);
    if (config->auto_tls && *config->cert_file != '\0')
        buf_append_text(notes, "--auto-tls is ignored, for --cert-file is given\n");
    if (config->peer_auto_tls && *config->peer_cert_file != '\0')
        buf_append_text(notes, "--peer-auto-tls is ignored, for --peer-cert-file is given\n");
    note_plain(&config->listen_client_urls, "", *config->cert_file != '\0',
               *config->trusted_ca_file != '\0', config->client_cert_auth,
               *config->client_crl_file != '\0', notes);
    note_plain(&config->listen_peer_urls, "peer-", *config->peer_cert_file != '\0',
               *config->peer_trusted_ca_file != '\0', config->peer_client_cert_auth,
               *config->peer_crl_file != '\0', notes);
    if (strncmp(config->auth_token, "simple,", 7) == 0)
        buf_printf(notes,
                   "--auth-token=%.100s: what stands behind simple has no effect; how long a token "
                   "lives is --auth-token-ttl\n",
                   config->auth_token);
    if (strcmp(config->auth_token, "simple") != 0 &&
        strncmp(config->auth_token, "simple,", 7) != 0 && strcmp(config->auth_token, "jwt") != 0 &&
        strncmp(config->auth_token, "jwt,", 4) != 0)
        return REFUSE(err,
                      "auth: invalid auth options (--auth-token=%.100s; use simple or jwt,...)",
                      config->auth_token);
    return 0;
}

/* ---- logging ---- */

static int check_level(struct config *config, struct err *err)
{
    static const struct {
        const char *name;
        enum log_level level;
    } levels[] = {
        {"debug", LOG_DEBUG},  {"info", LOG_INFO},   {"warn", LOG_WARN},   {"error", LOG_ERROR},
        {"dpanic", LOG_FATAL}, {"panic", LOG_FATAL}, {"fatal", LOG_FATAL},
    };

    config->level = LOG_INFO;
    if (*config->log_level == '\0')
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
        if (strcasecmp(config->log_level, levels[i].name) == 0) {
            config->level = levels[i].level;
            return 0;
        }
    }
    return REFUSE(err,
                  "unrecognized level: --log-level=%.100s; use debug, info, warn, error, dpanic, "
                  "panic or fatal",
                  config->log_level);
}

static bool is_log_file(const char *output)
{
    return strcmp(output, "default") != 0 && strcmp(output, "stderr") != 0 &&
           strcmp(output, "stdout") != 0 && strcmp(output, "systemd/journal") != 0 &&
           strcmp(output, "/dev/null") != 0;
}

static int check_rotation(struct config *config, struct buf *notes, struct err *err)
{
    size_t files = 0;

    if (!config->enable_log_rotation)
        return 0;
    for (size_t i = 0; i < config->log_outputs.count; i++)
        files += is_log_file(config->log_outputs.items[i]);
    if (files != 1)
        return REFUSE(
            err,
            "--log-outputs requires a single file path when --enable-log-rotation is set, "
            "it has %zu",
            files);
    return log_rotation_parse(config->log_rotation_config_json, &config->log_rotation, notes, err);
}

/* Nobody means a server that says nothing: an empty list in the file is none, and after the flag
 * (a variable of the shell that is not set) something is missing. */
static int check_outputs(struct config *config, const struct options *options, struct err *err)
{
    struct option_list *outputs = &config->log_outputs;
    bool defaults = false, others = false;

    if (outputs->count == 0 && options_source(options, "log-outputs") == OPTION_FLAG)
        return REFUSE(err, "--log-outputs is given without an output; use default, stderr, stdout "
                           "or a file path");
    if (outputs->count == 0) {
        outputs->items = xrealloc(outputs->items, sizeof(*outputs->items));
        outputs->items[outputs->count++] = xstrdup("default");
    }
    if (outputs->count > LOG_OUTPUTS_MAX)
        return REFUSE(err, "--log-outputs has more than 16 outputs");
    for (size_t i = 0; i < outputs->count; i++) {
        if (*outputs->items[i] == '\0')
            return REFUSE(err, "--log-outputs has an empty output");
        others = others || strcmp(outputs->items[i], "default") != 0;
        defaults = defaults || strcmp(outputs->items[i], "default") == 0;
        if (defaults && others)
            return REFUSE(err, "multi logoutput for \"%s\" is not supported yet", "default");
    }
    return 0;
}

static int check_logging(struct config *config, const struct options *options, struct buf *notes,
                         struct err *err)
{
    if (check_level(config, err) < 0)
        return -1;
    config->format = strcmp(config->log_format, "console") == 0 ? LOG_CONSOLE : LOG_JSON;
    if (strcmp(config->logger, "capnslog") == 0)
        return REFUSE(err, "--logger=%s is removed in v3.5", config->logger);
    if (strcmp(config->logger, "zap") != 0)
        return REFUSE(err, "unknown logger option \"%.100s\"", config->logger);
    if (check_outputs(config, options, err) < 0)
        return -1;
    return check_rotation(config, notes, err);
}

/* ---- the rest ---- */

static int check_clustering(const struct config *config, struct err *err)
{
    int ways =
        config->names_cluster + (*config->discovery != '\0') + (*config->discovery_srv != '\0');
    bool v3 = *config->discovery_token != '\0';

    if (ways + v3 > 1)
        return REFUSE(err,
                      "multiple discovery or bootstrap flags are set. Choose one of "
                      "\"initial-cluster\", \"discovery\"%s or \"discovery-srv\"",
                      v3 ? ", \"discovery-endpoints\"" : "");
    if (v3 != (config->discovery_endpoints.count != 0))
        return REFUSE(err, "both --discovery-token and --discovery-endpoints must be set");
    if (strpbrk(config->discovery_token, "/?# ") != NULL)
        return REFUSE(err, "--discovery-token=%.100s: a token has no slash, blank, ? or #",
                      config->discovery_token);
    if ((*config->discovery_cert != '\0') != (*config->discovery_key != '\0'))
        return REFUSE(err, "--discovery-cert and --discovery-key must be given together");
    if (*config->name == '\0')
        return REFUSE(err, "--name is empty; give this member a name");
    if (strpbrk(config->name, ",=") != NULL)
        return REFUSE(err, "--name=%.100s: a name has no comma and no equals sign", config->name);
    return 0;
}

static int check_hashes(const struct config *config, struct err *err)
{
    struct buf text = BUF_INIT(64);

    if (config->compact_hash_check_time_ns <= 0) {
        duration_write(config->compact_hash_check_time_ns, &text);
        (void)REFUSE(err, "--experimental-compact-hash-check-time must be >0 (set to %s)",
                     buf_text(&text));
        buf_free(&text);
        return -1;
    }
    if (config->enable_lease_checkpoint_persist && !config->enable_lease_checkpoint)
        return REFUSE(err, "setting experimental-enable-lease-checkpoint-persist requires "
                           "experimental-enable-lease-checkpoint");
    if (config->max_learners < 1)
        return REFUSE(err, "--max-learners must be >0 (set to %" PRId64 ")", config->max_learners);
    if (config->max_txn_ops == 0 || config->max_request_bytes == 0)
        return REFUSE(err, "--max-txn-ops and --max-request-bytes must be >0");
    if (config->max_request_bytes > WAL_ENTRY_MAX_BYTES)
        return REFUSE(err,
                      "--max-request-bytes=%" PRIu64
                      " is more than an entry of the log can hold; use at most %lu",
                      config->max_request_bytes, WAL_ENTRY_MAX_BYTES);
    return 0;
}

int config_check(struct config *config, const struct options *options, struct buf *notes,
                 struct err *err)
{
    if (check_logging(config, options, notes, err) < 0 || check_clustering(config, err) < 0 ||
        check_urls(config, options, notes, err) < 0 || check_ticks(config, err) < 0 ||
        check_compaction(config, err) < 0 || check_tls(config, notes, err) < 0 ||
        check_hashes(config, err) < 0)
        return -1;
    if (config->enable_lease_checkpoint && !config->enable_lease_checkpoint_persist)
        buf_append_text(notes, "Detected that checkpointing is enabled without persistence. "
                               "Consider enabling experimental-enable-lease-checkpoint-persist\n");
    if (config->quota_backend_bytes > (int64_t)(8 * GIB))
        buf_printf(notes, "--quota-backend-bytes=%" PRId64 " is more than the 8 GiB advised\n",
                   config->quota_backend_bytes);
    if (config->max_request_bytes > 10 * MIB)
        buf_printf(notes, "--max-request-bytes=%" PRIu64 " is more than the 10 MiB advised\n",
                   config->max_request_bytes);
    if (config->unsafe_no_fsync)
        buf_append_text(notes, "--unsafe-no-fsync: a power cut may lose acknowledged writes\n");
    return 0;
}
