/* server_discover.c - the settings of discovery as discover.h wants them. */
#include "common/base/duration.h"
#include "etcd-server/host/discover.h"
#include "etcd-server/server_internal.h"

#define PUBLIC_SERVICE "://discovery.etcd.io"

bool server_discovers(const struct config *config)
{
    return config->discovery[0] != '\0' || config->discovery_token[0] != '\0' ||
           config->discovery_srv[0] != '\0';
}

/* SCHEME://HOST/TOKEN, and not the service that is gone. */
static int check_url(const char *url, struct err *err)
{
    const char *host = strstr(url, "://"), *slash;

    if (strstr(url, PUBLIC_SERVICE) != NULL) {
        err_set(err, ERR_USAGE,
                "--discovery=%.200s: the public discovery service is gone; name the members with "
                "--initial-cluster, or give the URL of a registry of your own",
                url);
        return -1;
    }
    slash = host != NULL ? strchr(host + 3, '/') : NULL;
    if ((strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0) || slash == NULL ||
        slash == host + 3 || slash[1] == '\0') {
        err_set(err, ERR_USAGE,
                "discovery: invalid URL: --discovery=%.200s is not http(s)://HOST[:PORT]/TOKEN; "
                "name the members with --initial-cluster when there is no registry",
                url);
        return -1;
    }
    return 0;
}

static int make_tls(const struct config *config, struct tls_context **context, struct err *err)
{
    bool v2 = config->discovery[0] != '\0';
    struct tls_config tls = {.role = TLS_CLIENT,
                             .min_version = config->tls_min_version,
                             .max_version = config->tls_max_version};

    if (!v2) {
        tls.cert_file = config->discovery_cert;
        tls.key_file = config->discovery_key;
        tls.ca_file = config->discovery_cacert;
        tls.skip_verify = config->discovery_insecure_skip_tls_verify;
    }
    if (v2 && strncmp(config->discovery, "https:", 6) != 0)
        return 0;
    if (!v2 && config->discovery_token[0] == '\0')
        return 0;
    return tls_context_new(&tls, context, err);
}

int server_discover(const struct config *config, struct discovered *found, struct err *err)
{
    bool secured = !config->discovery_insecure_transport || config->discovery_cert[0] != '\0' ||
                   config->discovery_cacert[0] != '\0';
    struct discover_config discovery = {
        .name = config->name,
        .peer_urls = (const char *const *)config->initial_advertise_peer_urls.items,
        .peer_url_count = config->initial_advertise_peer_urls.count,
        .cluster_token = config->initial_cluster_token,
        .url = config->discovery,
        .token = config->discovery_token,
        .endpoints = (const char *const *)config->discovery_endpoints.items,
        .endpoint_count = config->discovery_endpoints.count,
        .plain = !secured,
        .user = config->discovery_user,
        .password = config->discovery_password,
        .request_timeout_ms =
            (uint64_t)MAX(config->discovery_dial_timeout_ns + config->discovery_request_timeout_ns,
                          NS_PER_MS) /
            NS_PER_MS,
        .srv_domain = config->discovery_srv,
        .srv_name = config->discovery_srv_name};
    int rc = -1;

    if ((config->discovery[0] == '\0' || check_url(config->discovery, err) == 0) &&
        make_tls(config, &discovery.tls, err) == 0)
        rc = discover(&discovery, found, err);
    tls_context_free(discovery.tls);
    return rc;
}
