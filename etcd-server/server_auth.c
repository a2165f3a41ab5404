/*
 * server_auth.c (edge) - what the settings say about passwords and tokens: --bcrypt-cost and
 * --auth-token=jwt,sign-method=RS256,priv-key=FILE,pub-key=FILE,ttl=10m. Reads the key files.
 */
#include "common/base/duration.h"
#include "common/base/file.h"
#include "etcd-server/server_internal.h"
#include "etcd-server/service/password.h"

#define JWT_TTL_S_DEFAULT 300

struct jwt_settings {
    char *method, *private_file, *public_file, *ttl; /* owned; NULL = not given */
};

static void settings_fini(struct jwt_settings *settings)
{
    free(settings->method);
    free(settings->private_file);
    free(settings->public_file);
    free(settings->ttl);
}

/* One NAME=VALUE of the list. */
static int take_setting(struct jwt_settings *settings, struct slice item, struct err *err)
{
    const struct {
        const char *name;
        char **value;
    } known[] = {{"sign-method", &settings->method},
                 {"priv-key", &settings->private_file},
                 {"pub-key", &settings->public_file},
                 {"ttl", &settings->ttl}};
    const uint8_t *equals = item.size != 0 ? memchr(item.data, '=', item.size) : NULL;
    struct slice name = slice_of(item.data, equals != NULL ? (size_t)(equals - item.data) : 0);

    for (size_t i = 0; equals != NULL && i < ARRAY_LEN(known); i++) {
        if (!slice_equal(name, slice_text(known[i].name)) || *known[i].value != NULL)
            continue;
        *known[i].value = xstrndup((const char *)equals + 1, item.size - name.size - 1);
        return 0;
    }
    err_set(err, ERR_USAGE,
            "auth: invalid auth options (\"%.*s\" in --auth-token=jwt,...); use sign-method, "
            "priv-key, pub-key and ttl, each once, as NAME=VALUE",
            (int)MIN(item.size, 100), (const char *)item.data);
    return -1;
}

/* What stands behind "jwt". */
static int read_settings(const char *text, struct jwt_settings *settings, struct err *err)
{
    while (*text == ',') {
        size_t bytes = strcspn(text + 1, ",");

        if (take_setting(settings, slice_of(text + 1, bytes), err) < 0)
            return -1;
        text += 1 + bytes;
    }
    return 0;
}

static int read_key(const char *path, const char *name, struct buf *out, struct err *err)
{
    if (path == NULL)
        return 0;
    if (file_read_all(path, out, err) == 0 && buf_used(out) != 0)
        return 0;
    if (err->code == ERR_OK)
        err_set(err, ERR_USAGE, "%s is empty", path);
    err_prefix(err, "--auth-token=jwt,%s=...", name);
    return -1;
}

static int make_jwt(const char *text, struct jwt **jwt, struct err *err)
{
    struct jwt_settings settings = {.method = NULL};
    struct jwt_options options = {.ttl_s = JWT_TTL_S_DEFAULT};
    struct buf private_key = BUF_INIT(PEM_FILE_MAX_BYTES);
    struct buf public_key = BUF_INIT(PEM_FILE_MAX_BYTES);
    int64_t ttl_ns = 0;
    int rc = -1;

    if (read_settings(text, &settings, err) < 0 ||
        read_key(settings.private_file, "priv-key", &private_key, err) < 0 ||
        read_key(settings.public_file, "pub-key", &public_key, err) < 0)
        goto out;
    if (settings.ttl != NULL) {
        if (!duration_parse(settings.ttl, &ttl_ns) || ttl_ns < NS_PER_S) {
            err_set(err, ERR_USAGE, "--auth-token=jwt,ttl=%.50s: use a time of 1s or more, as 10m",
                    settings.ttl);
            goto out;
        }
        options.ttl_s = ttl_ns / NS_PER_S;
    }
    options.method = settings.method;
    options.private_key = buf_slice(&private_key);
    options.public_key = buf_slice(&public_key);
    rc = jwt_new(&options, jwt, err);
out:
    if (private_key.data != NULL)
        wipe(private_key.data, private_key.size);
    buf_free(&private_key);
    buf_free(&public_key);
    settings_fini(&settings);
    return rc;
}

int server_make_jwt(const struct config *config, struct jwt **jwt, struct err *err)
{
    if (strncmp(config->auth_token, "jwt", 3) != 0)
        return 0;
    return make_jwt(config->auth_token + 3, jwt, err);
}

void server_auth_settings(const struct config *config, struct service_config *service)
{
    must(config->bcrypt_cost >= BCRYPT_COST_MIN && config->bcrypt_cost <= BCRYPT_COST_MAX);
    service->bcrypt_cost = (unsigned)config->bcrypt_cost; /* the settings were checked */
    service->token_ttl_ms = MIN(config->auth_token_ttl_s, UINT32_MAX) * 1000;
    service->certificates_name_users = config->client_cert_auth; /* a CA alone only lets them in */
}
