/*
 * store.h - a store for tests: memory backend, one open batch, a current view, leases as a table.
 * What the engine does for the real one, in few lines.
 */
#ifndef TESTS_LIB_STORE_H
#define TESTS_LIB_STORE_H

#include "etcd-server/state/watch.h"

#define STORE_LEASES_MAX 64

struct store {
    struct backend *backend;
    struct batch *batch;
    struct view *view;
    struct mvcc *mvcc;
    struct watch_hub *watches;        /* its streams end before the store, and before a restart */
    struct arena arena;               /* of the answers; store_turn() drops them */
    int64_t leases[STORE_LEASES_MAX]; /* that exist */
    size_t lease_count;
    size_t attached, detached; /* calls */
    int64_t last_lease;        /* of the last such call */
    size_t changes;            /* that watchers would have heard of */
};

void store_init(struct store *store);
void store_init_with(struct store *store, struct backend *backend); /* taken; restores from it */
void store_fini(struct store *store);
void store_turn(struct store *store);        /* the answers die */
void store_commit(struct store *store);      /* the open batch goes to the backend */
void store_restart(struct store *store);     /* commit, forget everything in memory, restore */
void store_compact_all(struct store *store); /* step until nothing is left */
void store_add_lease(struct store *store, int64_t id);

ProtobufCBinaryData store_bytes(const char *text);
enum err_code store_put(struct store *store, const char *key, const char *value);
int64_t store_delete(struct store *store, const char *key, const char *range_end); /* how many */
struct mvcc_hash_result store_hash(struct store *store, int64_t revision);

#endif
