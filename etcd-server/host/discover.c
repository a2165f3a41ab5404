/*
 * discover.c - see discover.h. Joining by a registry, whichever protocol it speaks:
 *
 *   size known -> list has room, or us -> enter ourselves -> list until `size` are in it
 *        ^ not reached: pause, 1 s growing to a minute, for ever
 *
 * The first `size` in the order of their entry are the cluster. Who stands in a complete list
 * already may have been a member with data: starting empty under the same id would break promises,
 * so that is refused.
 */
#include "etcd-server/host/discover_internal.h"

#include "common/base/duration.h"
#include "common/base/log.h"
#include "common/schema/bootstrap.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#define PAUSE_FIRST_MS 1000
#define PAUSE_MAX_MS 60000

/* ---- lists ---- */

static void list_fini(struct registry_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].id);
        free(list->items[i].value);
    }
    list->count = 0;
}

bool registry_list_add(struct registry_list *list, struct slice id, struct slice value,
                       uint64_t created)
{
    size_t at = list->count;

    if (list->count == RAFT_MEMBERS_MAX)
        return false;
    for (; at > 0 && list->items[at - 1].created > created; at--)
        list->items[at] = list->items[at - 1];
    list->items[at] = (struct registered){xstrndup((const char *)id.data, id.size),
                                          xstrndup((const char *)value.data, value.size), created};
    list->count++;
    return true;
}

static size_t position_of(const struct registry_list *list, const char *id)
{
    size_t at = 0;

    while (at < list->count && strcmp(list->items[at].id, id) != 0)
        at++;
    return at;
}

/* ---- joining ---- */

void discover_pause(uint64_t ms)
{
    struct timespec pause = {.tv_sec = (time_t)(ms / 1000),
                             .tv_nsec = (long)(ms % 1000) * NS_PER_MS};

    while (nanosleep(&pause, &pause) < 0)
        ; /* a signal that ends us does so by itself */
}

/* Size and list, asked for until they come. */
static int look(struct registry *registry, uint64_t *size, struct registry_list *list,
                struct err *err)
{
    for (uint64_t pause_ms = PAUSE_FIRST_MS;; pause_ms = MIN(pause_ms * 2, PAUSE_MAX_MS)) {
        struct err cause = ERR_INIT;

        list_fini(list);
        if (registry->ops->size(registry, size, &cause) == 0 &&
            registry->ops->list(registry, list, &cause) == 0)
            return 0;
        if (cause.code != ERR_NET) {
            *err = cause;
            return -1;
        }
        log_warn("cannot reach the discovery registry, trying again",
                 log_str("registry", registry->where), log_str("error", cause.text),
                 log_u64("pause-ms", pause_ms));
        discover_pause(pause_ms);
    }
}

static int enter(struct registry *registry, const char *id, const char *value, struct err *err)
{
    for (uint64_t pause_ms = PAUSE_FIRST_MS;; pause_ms = MIN(pause_ms * 2, PAUSE_MAX_MS)) {
        struct err cause = ERR_INIT;

        if (registry->ops->enter(registry, id, value, &cause) == 0) {
            log_info("entered this member into the discovery registry",
                     log_str("registry", registry->where), log_str("member-id", id),
                     log_str("value", value));
            return 0;
        }
        if (cause.code != ERR_NET) {
            *err = cause;
            return -1;
        }
        log_warn("cannot enter this member into the discovery registry, trying again",
                 log_str("registry", registry->where), log_str("error", cause.text),
                 log_u64("pause-ms", pause_ms));
        discover_pause(pause_ms);
    }
}

/* May we be one of the `size`? `begun`: a look before we entered ourselves. */
static int check_place(const struct registry *registry, const struct registry_list *list,
                       const char *id, uint64_t size, bool begun, struct err *err)
{
    size_t at = position_of(list, id);

    if (at >= size) {
        err_set(err, ERR_USAGE,
                "discovery: cluster is full: %s has its %" PRIu64
                " members; there is no proxy mode: add this member with etcd-ctl member add, or "
                "make a new token for a new cluster",
                registry->where, size);
        return -1;
    }
    if (begun && at < list->count && list->count >= size) {
        err_set(err, ERR_USAGE,
                "discovery: found duplicate id: %s of this member (%s) is one of the %" PRIu64
                " of a complete cluster at %s, so it may have lost data; remove it there and add "
                "it anew (etcd-ctl member remove, member add), or make a new token for a new "
                "cluster",
                id, registry->config->name, size, registry->where);
        return -1;
    }
    return 0;
}

static char *own_value(const struct discover_config *config)
{
    struct buf text = BUF_INIT(BUF_UNLIMITED);
    char *value;

    for (size_t i = 0; i < config->peer_url_count; i++)
        buf_printf(&text, "%s%s=%s", i != 0 ? "," : "", config->name, config->peer_urls[i]);
    value = xstrdup(buf_text(&text));
    buf_free(&text);
    return value;
}

static char *joined_urls(const struct discover_config *config)
{
    struct buf text = BUF_INIT(BUF_UNLIMITED);
    char *joined;

    for (size_t i = 0; i < config->peer_url_count; i++)
        buf_printf(&text, "%s%s", i != 0 ? "," : "", config->peer_urls[i]);
    joined = xstrdup(buf_text(&text));
    buf_free(&text);
    return joined;
}

/* Our id as a cluster of our own with that token would give it: what etcd enters itself under. */
static int own_id(const struct discover_config *config, const char *token, const char *value,
                  char id[17], struct err *err)
{
    struct bootstrap alone = {0};
    char *urls = joined_urls(config);
    int rc = bootstrap_parse(config->name, value, token, urls, &alone, err);

    if (rc == 0)
        (void)snprintf(id, 17, "%" PRIx64, alone.members[alone.self].id); /* fits */
    bootstrap_free(&alone);
    free(urls);
    return rc;
}

static char *join_values(const struct registry_list *list, size_t size)
{
    struct buf text = BUF_INIT(BUF_UNLIMITED);
    char *joined;

    for (size_t i = 0; i < size; i++)
        buf_printf(&text, "%s%s", i != 0 ? "," : "", list->items[i].value);
    joined = xstrdup(buf_text(&text));
    buf_free(&text);
    return joined;
}

/* Each of them must be a member of its own: two of one name would become one. */
static int check_names(const struct registry *registry, const struct registry_list *list,
                       size_t size, struct err *err)
{
    for (size_t i = 1; i < size; i++) {
        const char *value = list->items[i].value;
        size_t bytes = strcspn(value, "=") + 1;

        for (size_t k = 0; k < i; k++) {
            if (strncmp(value, list->items[k].value, bytes) != 0)
                continue;
            err_set(err, ERR_USAGE,
                    "discovery: found duplicate name: %.300s and %.300s in %s; give each member a "
                    "--name of its own and make a new token",
                    list->items[k].value, value, registry->where);
            return -1;
        }
    }
    return 0;
}

int registry_join(struct registry *registry, const char *ids_token, char **cluster, struct err *err)
{
    const struct discover_config *config = registry->config;
    struct registry_list *list = xalloc(sizeof(*list));
    char *value = own_value(config), id[17];
    uint64_t size = 0;
    size_t known = SIZE_MAX;
    int rc = -1;

    if (own_id(config, ids_token, value, id, err) < 0 || look(registry, &size, list, err) < 0 ||
        check_place(registry, list, id, size, true, err) < 0)
        goto out;
    if (position_of(list, id) == list->count && enter(registry, id, value, err) < 0)
        goto out;
    for (;;) {
        if (look(registry, &size, list, err) < 0 ||
            check_place(registry, list, id, size, false, err) < 0)
            goto out;
        if (list->count >= size)
            break;
        if (list->count != known)
            log_info("found members in the discovery registry, waiting for more",
                     log_str("registry", registry->where), log_u64("found", list->count),
                     log_u64("needed", size));
        known = list->count;
        registry->ops->wait(registry);
    }
    *cluster = join_values(list, size);
    log_info("found all members in the discovery registry", log_str("registry", registry->where),
             log_str("initial-cluster", *cluster));
    rc = check_names(registry, list, size, err);
out:
    list_fini(list);
    free(list);
    free(value);
    return rc;
}

/* ---- the ways ---- */

int discover(const struct discover_config *config, struct discovered *discovered, struct err *err)
{
    int rc;

    *discovered = (struct discovered){.advertised = joined_urls(config)};
    if (config->url[0] != '\0') {
        discovered->token = xstrdup(config->url);
        rc = discover_v2(config, &discovered->initial_cluster, err);
    } else if (config->token[0] != '\0') {
        discovered->token = xstrdup(config->token);
        rc = discover_v3(config, &discovered->initial_cluster, err);
    } else {
        discovered->token = xstrdup(config->cluster_token);
        rc = discover_srv(config, &discovered->initial_cluster, &discovered->advertised, err);
    }
    if (rc < 0)
        discovered_free(discovered);
    return rc;
}

void discovered_free(struct discovered *discovered)
{
    free(discovered->initial_cluster);
    free(discovered->token);
    free(discovered->advertised);
    *discovered = (struct discovered){0};
}
