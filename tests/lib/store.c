/* store.c - see store.h. */
#include "tests/lib/store.h"

static struct view *env_view(void *arg)
{
    return ((struct store *)arg)->view;
}

static struct batch *env_batch(void *arg)
{
    return ((struct store *)arg)->batch;
}

static bool env_lease_exists(void *arg, int64_t lease)
{
    const struct store *store = arg;

    for (size_t i = 0; i < store->lease_count; i++) {
        if (store->leases[i] == lease)
            return true;
    }
    return false;
}

static void env_lease_attach(void *arg, int64_t lease, struct slice key)
{
    struct store *store = arg;

    must(key.size > 0);
    store->attached++;
    store->last_lease = lease;
}

static void env_lease_detach(void *arg, int64_t lease, struct slice key)
{
    struct store *store = arg;

    must(key.size > 0);
    store->detached++;
    store->last_lease = lease;
}

static void env_changed(void *arg, struct revision revision, bool tombstone, struct slice key_value)
{
    struct store *store = arg;

    must(revision.main > 1 && key_value.size > 0);
    store->changes++;
    watch_changed(store->watches, revision, tombstone, key_value);
}

static void env_revision_ended(void *arg, int64_t revision)
{
    watch_revision_ended(((struct store *)arg)->watches, revision);
}

static struct mvcc *env_mvcc(void *arg)
{
    return ((struct store *)arg)->mvcc;
}

static void new_view(struct store *store)
{
    struct err err = ERR_INIT;
    int rc;

    store->batch = batch_new();
    rc = view_new(store->backend, &store->batch, 1, &store->view, &err);
    must(rc == 0);
}

static void new_mvcc(struct store *store)
{
    const struct mvcc_env env = {
        .arg = store,
        .view = env_view,
        .batch = env_batch,
        .lease_exists = env_lease_exists,
        .lease_attach = env_lease_attach,
        .lease_detach = env_lease_detach,
        .changed = env_changed,
        .revision_ended = env_revision_ended,
    };
    const struct watch_env watches = {.arg = store, .mvcc = env_mvcc, .view = env_view};

    store->mvcc = mvcc_new(&env);
    store->watches = watch_hub_new(&watches);
}

void store_init(struct store *store)
{
    *store = (struct store){.backend = backend_new_mem()};
    arena_init(&store->arena, 64 * MIB);
    new_view(store);
    new_mvcc(store);
}

static void drop_memory(struct store *store)
{
    watch_hub_free(store->watches);
    mvcc_free(store->mvcc);
    view_unref(store->view);
    batch_unref(store->batch);
}

void store_fini(struct store *store)
{
    drop_memory(store);
    arena_free(&store->arena);
    backend_close(store->backend);
}

void store_turn(struct store *store)
{
    arena_reset(&store->arena);
}

void store_commit(struct store *store)
{
    struct err err = ERR_INIT;
    int rc = backend_commit(store->backend, store->batch, &err);

    must(rc == 0);
    store_turn(store);
    view_unref(store->view);
    batch_unref(store->batch);
    new_view(store);
}

static void restore(struct store *store)
{
    struct err err = ERR_INIT;
    int rc;

    new_view(store);
    new_mvcc(store);
    rc = mvcc_restore(store->mvcc, store->view->read, &err);
    must(rc == 0);
}

void store_init_with(struct store *store, struct backend *backend)
{
    *store = (struct store){.backend = backend};
    arena_init(&store->arena, 64 * MIB);
    restore(store);
}

void store_restart(struct store *store)
{
    store_commit(store);
    drop_memory(store);
    restore(store);
}

void store_compact_all(struct store *store)
{
    while (mvcc_compacting(store->mvcc))
        (void)mvcc_compact_step(store->mvcc, COMPACTION_BATCH_DEFAULT); /* asked again above */
}

void store_add_lease(struct store *store, int64_t id)
{
    must(store->lease_count < STORE_LEASES_MAX);
    store->leases[store->lease_count++] = id;
}

ProtobufCBinaryData store_bytes(const char *text)
{
    if (text == NULL)
        return (ProtobufCBinaryData){.len = 0};
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)text, .len = strlen(text)};
}

enum err_code store_put(struct store *store, const char *key, const char *value)
{
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__PutResponse *response;

    request.key = store_bytes(key);
    request.value = store_bytes(value);
    return mvcc_apply_put(store->mvcc, &request, NULL, &response);
}

int64_t store_delete(struct store *store, const char *key, const char *range_end)
{
    Etcdserverpb__DeleteRangeRequest request = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    Etcdserverpb__DeleteRangeResponse *response;
    enum err_code code;

    request.key = store_bytes(key);
    request.range_end = store_bytes(range_end);
    code = mvcc_apply_delete_range(store->mvcc, &request, &store->arena, &response);
    must(code == ERR_OK);
    return response->deleted;
}

struct mvcc_hash_result store_hash(struct store *store, int64_t revision)
{
    struct mvcc_hash *hash;
    struct mvcc_hash_result result;
    enum err_code code = mvcc_hash_start(store->mvcc, revision, &hash);

    must(code == ERR_OK);
    while (!mvcc_hash_step(hash, 3)) {
    }
    result = mvcc_hash_result(hash);
    mvcc_hash_free(hash);
    return result;
}
