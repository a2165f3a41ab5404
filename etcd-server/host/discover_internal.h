/* discover_internal.h - what the ways of discovery share. Thread: core. */
#ifndef ETCD_SERVER_HOST_DISCOVER_INTERNAL_H
#define ETCD_SERVER_HOST_DISCOVER_INTERNAL_H

#include "common/base/limits.h"
#include "etcd-server/host/discover.h"

/* One member in a registry: "name=url1,name=url2" under its id. */
struct registered {
    char *id;    /* owned: hex */
    char *value; /* owned */
    uint64_t created;
};

struct registry_list {
    struct registered items[RAFT_MEMBERS_MAX]; /* in the order in which they came */
    size_t count;
};

/* Copies; false when the list is full. */
bool registry_list_add(struct registry_list *list, struct slice id, struct slice value,
                       uint64_t created);

/*
 * A registry as the steps of joining need it. ERR_NET: try again later; any other code is final.
 * wait() returns when the list may have changed, or after a while.
 */
struct registry;
struct registry_ops {
    int (*size)(struct registry *registry, uint64_t *size, struct err *err);
    int (*list)(struct registry *registry, struct registry_list *list, struct err *err);
    int (*enter)(struct registry *registry, const char *id, const char *value, struct err *err);
    void (*wait)(struct registry *registry);
};
struct registry {
    const struct registry_ops *ops;
    const struct discover_config *config;
    const char *where; /* for texts: the URL, the endpoints */
};

void discover_pause(uint64_t ms);

/* Enter ourselves with `ids_token` in the id, wait for the others; *cluster is owned. */
int registry_join(struct registry *registry, const char *ids_token, char **cluster,
                  struct err *err) MUST_CHECK;

int discover_v2(const struct discover_config *config, char **cluster, struct err *err) MUST_CHECK;
int discover_v3(const struct discover_config *config, char **cluster, struct err *err) MUST_CHECK;
/* *advertised: as the records spell our URLs; left alone when they do not name us. */
int discover_srv(const struct discover_config *config, char **cluster, char **advertised,
                 struct err *err) MUST_CHECK;

#endif
