/*
 * discover_v3.c - a registry in the keys of an etcd v3, ours or any, by its JSON gateway:
 *
 *   /_etcd/registry/TOKEN/_config/size     number of members
 *   /_etcd/registry/TOKEN/members/ID       name=url,name=url; in the order of creation
 *
 * Endpoints are tried in turn; one that answers is stayed with.
 */
#include "common/base/limits.h"
#include "common/schema/pbbytes.h"
#include "etcd-server/host/discover_internal.h"

#include "common/base/json_reader.h"
#include "common/client/fetch.h"
#include "common/schema/pbjson.h"
#include "common/schema/rpc.pb-c.h"

#include <inttypes.h>
#include <stdio.h>

#define POLL_MS 500

struct v3_registry {
    struct registry base;
    size_t endpoint;
    char *token; /* owned: of the user; NULL: none yet */
};

/* ---- calls ---- */

static char *endpoint_url(const struct v3_registry *registry)
{
    const struct discover_config *config = registry->base.config;
    const char *endpoint = config->endpoints[registry->endpoint];

    if (strstr(endpoint, "://") != NULL)
        return xstrdup(endpoint);
    return xasprintf("%s://%s", config->plain ? "http" : "https", endpoint);
}

/* One call at the present endpoint. The response lies in `arena`. ERR_NET: elsewhere, or later. */
static int call_here(struct v3_registry *registry, const char *path,
                     const ProtobufCMessage *request, const ProtobufCMessageDescriptor *type,
                     struct arena *arena, ProtobufCMessage **response, struct err *err)
{
    const struct discover_config *config = registry->base.config;
    struct buf body = BUF_INIT(BUF_UNLIMITED);
    char *url = endpoint_url(registry);
    char *fields =
        registry->token != NULL ? xasprintf("Authorization: %s\r\n", registry->token) : NULL;
    struct fetch question = {.method = "POST",
                             .url = url,
                             .path = path,
                             .content_type = "application/json",
                             .fields = fields,
                             .tls = config->tls,
                             .timeout_ms = config->request_timeout_ms,
                             .answer_max_bytes = BOOT_ANSWER_MAX_BYTES};
    struct fetch_answer answer = {0};
    int rc;

    must(pbjson_write(request, PBJSON_GATEWAY, &body));
    question.body = buf_slice(&body);
    rc = fetch(&question, &answer, err);
    if (rc < 0 && err->code == ERR_TLS)
        err->code = ERR_NET; /* a certificate can be put right meanwhile */
    if (rc == 0 && answer.status != 200) {
        err_set(err, answer.status >= 500 ? ERR_NET : ERR_USAGE,
                "discovery: %s%s answers %u: %.300s", url, path, answer.status,
                buf_text(&answer.body));
        rc = -1;
    }
    if (rc == 0)
        rc = pbjson_parse(type, buf_slice(&answer.body), NULL, arena, response, err);
    fetch_answer_free(&answer);
    buf_free(&body);
    free(fields);
    free(url);
    return rc;
}

static int call_in_turn(struct v3_registry *registry, const char *path,
                        const ProtobufCMessage *request, const ProtobufCMessageDescriptor *type,
                        struct arena *arena, ProtobufCMessage **response, struct err *err)
{
    for (size_t tries = registry->base.config->endpoint_count;; tries--) {
        if (call_here(registry, path, request, type, arena, response, err) == 0)
            return 0;
        if (err->code != ERR_NET || tries == 1)
            return -1;
        registry->endpoint = (registry->endpoint + 1) % registry->base.config->endpoint_count;
    }
}

static int log_in(struct v3_registry *registry, struct err *err)
{
    const struct discover_config *config = registry->base.config;
    const char *colon = strchr(config->user, ':');
    Etcdserverpb__AuthenticateRequest request = ETCDSERVERPB__AUTHENTICATE_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    struct arena arena;
    char *name = xstrndup(config->user, strcspn(config->user, ":"));
    char *password =
        xstrdup(config->password[0] == '\0' && colon != NULL ? colon + 1 : config->password);
    int rc;

    arena_init(&arena, BOOT_ANSWER_MAX_BYTES);
    request.name = name;
    request.password = password;
    rc = call_in_turn(registry, "/v3/auth/authenticate", (const ProtobufCMessage *)&request,
                      &etcdserverpb__authenticate_response__descriptor, &arena, &response, err);
    if (rc == 0)
        registry->token = xstrdup(((Etcdserverpb__AuthenticateResponse *)(void *)response)->token);
    arena_free(&arena);
    wipe(password, strlen(password));
    free(password);
    free(name);
    return rc;
}

static int call(struct v3_registry *registry, const char *path, const ProtobufCMessage *request,
                const ProtobufCMessageDescriptor *type, struct arena *arena,
                ProtobufCMessage **response, struct err *err)
{
    if (registry->base.config->user[0] != '\0' && registry->token == NULL &&
        log_in(registry, err) < 0)
        return -1;
    if (call_in_turn(registry, path, request, type, arena, response, err) == 0)
        return 0;
    if (registry->token != NULL && strstr(err->text, "invalid auth token") != NULL) {
        free(registry->token);
        registry->token = NULL;
        err->code = ERR_NET; /* log in again at the next try */
    }
    return -1;
}

/* ---- the registry ---- */

static char *key_of(const struct v3_registry *registry, const char *rest)
{
    return xasprintf("/_etcd/registry/%s/%s", registry->base.config->token, rest);
}

static int range(struct v3_registry *registry, const char *rest, bool prefix, struct arena *arena,
                 const Etcdserverpb__RangeResponse **found, struct err *err)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    char *key = key_of(registry, rest), *end = xstrdup(key);
    ProtobufCMessage *response = NULL;
    int rc;

    end[strlen(end) - 1]++; /* '/' becomes '0' */
    request.key = pb_text(key);
    if (prefix)
        request.range_end = pb_text(end);
    rc = call(registry, "/v3/kv/range", (const ProtobufCMessage *)&request,
              &etcdserverpb__range_response__descriptor, arena, &response, err);
    *found = (const Etcdserverpb__RangeResponse *)(const void *)response;
    free(key);
    free(end);
    return rc;
}

static int size(struct registry *base, uint64_t *size, struct err *err)
{
    struct v3_registry *registry = CONTAINER_OF(base, struct v3_registry, base);
    const Etcdserverpb__RangeResponse *found = NULL;
    struct slice value = SLICE_EMPTY;
    struct arena arena;
    bool negative = false;
    int rc;

    arena_init(&arena, 4 * BOOT_ANSWER_MAX_BYTES);
    rc = range(registry, "_config/size", false, &arena, &found, err);
    if (rc == 0 && found->n_kvs != 0)
        value = pb_slice(found->kvs[0]->value);
    *size = 0;
    if (rc == 0 && found->n_kvs == 0) {
        err_set(err, ERR_USAGE,
                "discovery: size key not found: %s has no key /_etcd/registry/%s/_config/size; put "
                "the number of members there first",
                base->where, base->config->token);
        rc = -1;
    } else if (rc == 0 && (json_take_integer(value, &negative, size) != JSON_INTEGER_OK ||
                           negative || *size == 0 || *size > RAFT_MEMBERS_MAX)) {
        err_set(err, ERR_USAGE,
                "discovery: size key is bad: /_etcd/registry/%s/_config/size is \"%.*s\"",
                base->config->token, (int)MIN(value.size, 60), (const char *)value.data);
        rc = -1;
    }
    arena_free(&arena);
    return rc;
}

static int list(struct registry *base, struct registry_list *list, struct err *err)
{
    struct v3_registry *registry = CONTAINER_OF(base, struct v3_registry, base);
    const Etcdserverpb__RangeResponse *found = NULL;
    char *prefix = key_of(registry, "members/");
    struct arena arena;
    int rc;

    arena_init(&arena, 4 * BOOT_ANSWER_MAX_BYTES);
    rc = range(registry, "members/", true, &arena, &found, err);
    for (size_t i = 0; rc == 0 && i < found->n_kvs; i++) {
        const Mvccpb__KeyValue *kv = found->kvs[i];
        size_t bytes = MIN(strlen(prefix), kv->key.len);

        if (!registry_list_add(list, slice_of(kv->key.data + bytes, kv->key.len - bytes),
                               pb_slice(kv->value), (uint64_t)kv->create_revision)) {
            err_set(err, ERR_USAGE, "discovery: more than %lu members below %s", RAFT_MEMBERS_MAX,
                    prefix);
            rc = -1;
        }
    }
    arena_free(&arena);
    free(prefix);
    return rc;
}

static int enter(struct registry *base, const char *id, const char *value, struct err *err)
{
    struct v3_registry *registry = CONTAINER_OF(base, struct v3_registry, base);
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    char *rest = xasprintf("members/%s", id), *key = key_of(registry, rest);
    char *copy = xstrdup(value);
    ProtobufCMessage *response = NULL;
    struct arena arena;
    int rc;

    arena_init(&arena, BOOT_ANSWER_MAX_BYTES);
    request.key = pb_text(key);
    request.value = pb_text(copy);
    rc = call(registry, "/v3/kv/put", (const ProtobufCMessage *)&request,
              &etcdserverpb__put_response__descriptor, &arena, &response, err);
    arena_free(&arena);
    free(copy);
    free(key);
    free(rest);
    return rc;
}

static void wait(struct registry *base)
{
    (void)base;
    discover_pause(POLL_MS);
}

static const struct registry_ops ops = {.size = size, .list = list, .enter = enter, .wait = wait};

int discover_v3(const struct discover_config *config, char **cluster, struct err *err)
{
    struct buf where = BUF_INIT(BUF_UNLIMITED);
    struct v3_registry registry = {.base = {.ops = &ops, .config = config}};
    int rc;

    for (size_t i = 0; i < config->endpoint_count; i++)
        buf_printf(&where, "%s%s", i != 0 ? "," : "", config->endpoints[i]);
    registry.base.where = buf_text(&where);
    rc = registry_join(&registry.base, config->token, cluster, err);
    if (registry.token != NULL)
        wipe(registry.token, strlen(registry.token));
    free(registry.token);
    buf_free(&where);
    return rc;
}
