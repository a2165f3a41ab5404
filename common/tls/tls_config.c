/*
 * tls_config.c - what can be judged without files: versions, suites, allow lists, in etcd's words
 * (cli.md 1.5, pki.md 2.12).
 */
#include "common/tls/tls_internal.h"

/*
 * Go's name, OpenSSL's name (NULL: known to Go, not built into OpenSSL), HTTP/2's demand.
 * TLS 1.3 suites may be listed but, as in Go, the list does not govern them.
 */
static const struct suite {
    const char *name;
    const char *openssl;
    enum { SUITE_OLD, SUITE_HTTP2, SUITE_TLS13 } kind;
} suites[] = {
    {"TLS_AES_128_GCM_SHA256", NULL, SUITE_TLS13},
    {"TLS_AES_256_GCM_SHA384", NULL, SUITE_TLS13},
    {"TLS_CHACHA20_POLY1305_SHA256", NULL, SUITE_TLS13},
    {"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256", SUITE_HTTP2},
    {"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256", SUITE_HTTP2},
    {"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384", SUITE_OLD},
    {"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384", SUITE_OLD},
    {"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305", SUITE_OLD},
    {"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305", SUITE_OLD},
    {"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", "ECDHE-ECDSA-CHACHA20-POLY1305", SUITE_OLD},
    {"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "ECDHE-RSA-CHACHA20-POLY1305", SUITE_OLD},
    {"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256", "ECDHE-ECDSA-AES128-SHA256", SUITE_OLD},
    {"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", "ECDHE-RSA-AES128-SHA256", SUITE_OLD},
    {"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", "ECDHE-ECDSA-AES128-SHA", SUITE_OLD},
    {"TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", "ECDHE-ECDSA-AES256-SHA", SUITE_OLD},
    {"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "ECDHE-RSA-AES128-SHA", SUITE_OLD},
    {"TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", "ECDHE-RSA-AES256-SHA", SUITE_OLD},
    {"TLS_RSA_WITH_AES_128_GCM_SHA256", "AES128-GCM-SHA256", SUITE_OLD},
    {"TLS_RSA_WITH_AES_256_GCM_SHA384", "AES256-GCM-SHA384", SUITE_OLD},
    {"TLS_RSA_WITH_AES_128_CBC_SHA256", "AES128-SHA256", SUITE_OLD},
    {"TLS_RSA_WITH_AES_128_CBC_SHA", "AES128-SHA", SUITE_OLD},
    {"TLS_RSA_WITH_AES_256_CBC_SHA", "AES256-SHA", SUITE_OLD},
    {"TLS_RSA_WITH_3DES_EDE_CBC_SHA", NULL, SUITE_OLD},
    {"TLS_RSA_WITH_RC4_128_SHA", NULL, SUITE_OLD},
    {"TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA", NULL, SUITE_OLD},
    {"TLS_ECDHE_RSA_WITH_RC4_128_SHA", NULL, SUITE_OLD},
    {"TLS_ECDHE_ECDSA_WITH_RC4_128_SHA", NULL, SUITE_OLD},
};

static const struct suite *suite_named(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(suites); i++)
        if (strcmp(suites[i].name, name) == 0)
            return &suites[i];
    return NULL;
}

bool tls_suite_known(const char *name)
{
    return suite_named(name) != NULL;
}

int tls_version_number(const char *text)
{
    if (text == NULL || text[0] == '\0')
        return 0;
    return strcmp(text, "TLS1.2") == 0   ? TLS1_2_VERSION
           : strcmp(text, "TLS1.3") == 0 ? TLS1_3_VERSION
                                         : -1;
}

static int check_versions(const struct tls_config *config, struct err *err)
{
    const char *const texts[] = {config->min_version, config->max_version};
    int min = tls_version_number(config->min_version),
        max = tls_version_number(config->max_version);

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (tls_version_number(texts[i]) < 0) {
            err_set(err, ERR_USAGE,
                    "unexpected TLS version \"%s\" (must be one of: TLS1.2, TLS1.3)", texts[i]);
            return -1;
        }
    if (max != 0 && min > max) {
        err_set(err, ERR_USAGE, "min version (%s) is greater than max version (%s)",
                config->min_version, config->max_version);
        return -1;
    }
    if (config->cipher_suites.count != 0 && min == TLS1_3_VERSION) {
        err_set(err, ERR_USAGE, "cipher suites cannot be configured when only TLS1.3 is enabled");
        return -1;
    }
    return 0;
}

static bool offers_http2(const struct tls_config *config)
{
    for (size_t i = 0; i < config->alpn.count; i++)
        if (strcmp(config->alpn.items[i], "h2") == 0)
            return true;
    return false;
}

static int check_suites(const struct tls_config *config, struct err *err)
{
    bool http2 = config->cipher_suites.count == 0 || !offers_http2(config);
    bool usable = config->cipher_suites.count == 0 ||
                  tls_version_number(config->max_version) != TLS1_2_VERSION; /* 1.3 has its own */

    for (size_t i = 0; i < config->cipher_suites.count; i++) {
        const struct suite *suite = suite_named(config->cipher_suites.items[i]);

        if (suite == NULL) {
            err_set(err, ERR_USAGE, "unexpected TLS cipher suite \"%s\"",
                    config->cipher_suites.items[i]);
            return -1;
        }
        http2 = http2 || suite->kind == SUITE_HTTP2;
        usable = usable || suite->openssl != NULL;
    }
    if (config->role == TLS_SERVER && !http2) {
        err_set(err, ERR_USAGE,
                "cipher suites are missing an HTTP/2-required AES_128_GCM_SHA256 cipher (need at "
                "least one of TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 or "
                "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)");
        return -1;
    }
    if (!usable) {
        err_set(err, ERR_USAGE,
                "none of the given TLS cipher suites is available here for TLS1.2; the first is "
                "\"%s\"",
                config->cipher_suites.items[0]);
        return -1;
    }
    return 0;
}

static void append_list(struct buf *out, struct tls_list list)
{
    (void)buf_append_byte(out, '[');
    for (size_t i = 0; i < list.count; i++)
        (void)buf_printf(out, "%s\"%s\"", i != 0 ? " " : "", list.items[i]);
    (void)buf_append_byte(out, ']');
}

int tls_config_check(const struct tls_config *config, struct err *err)
{
    const char *cert = config->cert_file != NULL ? config->cert_file : "";
    const char *key = config->key_file != NULL ? config->key_file : "";

    if ((cert[0] == '\0') != (key[0] == '\0') || (config->role == TLS_SERVER && cert[0] == '\0')) {
        err_set(err, ERR_USAGE, "KeyFile and CertFile must both be present[key: %s, cert: %s]", key,
                cert);
        return -1;
    }
    if (config->allowed_cns.count != 0 && config->allowed_hostnames.count != 0) {
        struct buf text = BUF_INIT(ERR_TEXT_MAX);

        append_list(&text, config->allowed_cns);
        (void)buf_append_text(&text, ", hostnames=");
        append_list(&text, config->allowed_hostnames);
        err_set(err, ERR_USAGE, "AllowedCNs and AllowedHostnames are mutually exclusive (cns=%s)",
                buf_text(&text));
        buf_free(&text);
        return -1;
    }
    return check_versions(config, err) < 0 || check_suites(config, err) < 0 ? -1 : 0;
}

char *tls_suites_list(const struct tls_config *config, bool *only_tls13)
{
    struct buf out = BUF_INIT(ERR_TEXT_MAX * 4);
    char *text = NULL;

    for (size_t i = 0; i < config->cipher_suites.count; i++) {
        const struct suite *suite = suite_named(config->cipher_suites.items[i]);

        if (suite != NULL && suite->openssl != NULL)
            (void)buf_printf(&out, "%s%s", buf_used(&out) != 0 ? ":" : "", suite->openssl);
    }
    *only_tls13 = config->cipher_suites.count != 0 && buf_used(&out) == 0;
    if (buf_used(&out) != 0)
        text = xstrdup(buf_text(&out));
    buf_free(&out);
    return text;
}
