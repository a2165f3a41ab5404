/* server_tls.c - the contexts of the listeners and of dialling, from the settings (pki.md 2). */
#include "common/base/url.h"
#include "common/tls/tls_auto.h"
#include "etcd-server/server_internal.h"

#include <time.h>

static struct tls_list list_of(const struct option_list *list)
{
    return (struct tls_list){(const char *const *)list->items, list->count};
}

static bool wants_tls(const struct option_list *urls)
{
    for (size_t i = 0; i < urls->count; i++)
        if (strncmp(urls->items[i], "https:", 6) == 0 || strncmp(urls->items[i], "unixs:", 6) == 0)
            return true;
    return false;
}

/* The self-signed pair of --auto-tls for the hosts of `urls`. */
static int auto_pair(const struct server *server, const char *kind, const struct option_list *urls,
                     char **cert, char **key, struct err *err)
{
    const char **hosts = xalloc(urls->count * sizeof(*hosts));
    struct url *parsed = xalloc(urls->count * sizeof(*parsed));
    struct tls_list list = {hosts, 0};
    bool made = false;
    int rc = 0;

    for (size_t i = 0; i < urls->count && rc == 0; i++) {
        rc = url_parse(urls->items[i], &parsed[i], err);
        if (rc == 0 && url_is_tls(&parsed[i]))
            hosts[list.count++] = parsed[i].host;
    }
    if (rc == 0)
        rc = tls_auto_pair(server->config->data_dir, kind, list,
                           (unsigned)server->config->self_signed_cert_validity_years,
                           (int64_t)time(NULL), cert, key, &made, err);
    if (rc == 0 && made)
        log_info("made a self-signed certificate", log_str("path", *cert));
    for (size_t i = 0; i < urls->count; i++)
        url_fini(&parsed[i]);
    free(parsed);
    free(hosts);
    return rc;
}

static int make_context(const struct server *server, struct tls_config *tls, bool make_own,
                        const char *kind, const struct option_list *urls,
                        struct tls_context **context, struct err *err)
{
    const struct config *config = server->config;
    char *cert = NULL, *key = NULL;
    int rc = 0;

    tls->role = TLS_SERVER;
    tls->cipher_suites = list_of(&config->cipher_suites);
    tls->min_version = config->tls_min_version;
    tls->max_version = config->tls_max_version;
    if (tls->cert_file[0] == '\0' && make_own) {
        rc = auto_pair(server, kind, urls, &cert, &key, err);
        tls->cert_file = cert;
        tls->key_file = key;
    }
    if (rc == 0)
        rc = tls_context_new(tls, context, err);
    if (rc == 0)
        log_info("TLS is on", log_str("listener", kind),
                 log_str("certificate", tls_context_describe(*context)));
    if (rc == 0 && tls_context_note(*context)[0] != '\0')
        log_warn("TLS files are not as usual", log_str("listener", kind),
                 log_str("note", tls_context_note(*context)));
    free(cert);
    free(key);
    return rc;
}

/* What this member shows and trusts when it dials the others (pki.md 2.2). */
static int start_dial_tls(struct server *server, struct err *err)
{
    const struct config *config = server->config;
    bool own = config->peer_client_cert_file[0] != '\0';
    struct tls_config dial = {
        .role = TLS_CLIENT,
        .cert_file = own ? config->peer_client_cert_file : config->peer_cert_file,
        .key_file = own ? config->peer_client_key_file : config->peer_key_file,
        .ca_file = config->peer_trusted_ca_file,
        .crl_file = config->peer_crl_file,
        .skip_verify = config->peer_auto_tls && config->peer_cert_file[0] == '\0',
        .allowed_cns = list_of(&config->peer_cert_allowed_cn),
        .allowed_hostnames = list_of(&config->peer_cert_allowed_hostname),
        .cipher_suites = list_of(&config->cipher_suites),
        .min_version = config->tls_min_version,
        .max_version = config->tls_max_version};

    if (!wants_tls(&config->listen_peer_urls) && !wants_tls(&config->initial_advertise_peer_urls))
        return 0;
    return tls_context_new(&dial, &server->peer_dial_tls, err);
}

int server_make_tls(struct server *server, struct err *err)
{
    static const char *const both[] = {"h2", "http/1.1"}, *const protocols[] = {"http/1.1"};
    const struct config *config = server->config;
    struct tls_config client = {.cert_file = config->cert_file,
                                .key_file = config->key_file,
                                .ca_file = config->trusted_ca_file,
                                .crl_file = config->client_crl_file,
                                .client_cert_auth = config->client_cert_auth,
                                .allowed_cns = list_of(&config->client_cert_allowed_cn),
                                .allowed_hostnames = list_of(&config->client_cert_allowed_hostname),
                                .alpn = {both, ARRAY_LEN(both)}};
    struct tls_config peer = {.cert_file = config->peer_cert_file,
                              .key_file = config->peer_key_file,
                              .ca_file = config->peer_trusted_ca_file,
                              .crl_file = config->peer_crl_file,
                              .client_cert_auth = config->peer_client_cert_auth,
                              .allowed_cns = list_of(&config->peer_cert_allowed_cn),
                              .allowed_hostnames = list_of(&config->peer_cert_allowed_hostname),
                              .alpn = {protocols, ARRAY_LEN(protocols)}};

    if ((wants_tls(&config->listen_client_urls) || wants_tls(&config->listen_client_http_urls) ||
         wants_tls(&config->listen_metrics_urls)) &&
        make_context(server, &client, config->auto_tls, "client", &config->listen_client_urls,
                     &server->client_tls, err) < 0)
        return -1;
    if (start_dial_tls(server, err) < 0)
        return -1;
    if (wants_tls(&config->listen_peer_urls) &&
        make_context(server, &peer, config->peer_auto_tls, "peer", &config->listen_peer_urls,
                     &server->peer_tls, err) < 0)
        return -1;
    return 0;
}
