/* lone.c - see lone.h. */
#include "tests/lib/lone.h"
#include "common/schema/bootstrap.h"

static struct lone *of(struct host *host)
{
    return (struct lone *)(void *)host;
}

static uint64_t now_ms(struct host *host)
{
    return of(host)->now_ms;
}

static uint64_t random_number(struct host *host)
{
    return of(host)->random += 0x9E3779B97F4A7C15;
}

static void write_log(struct host *host, struct log_write *request)
{
    struct lone *lone = of(host);

    must(request->snapshot == NULL); /* no test is that long */
    lone->log_count++;
    lone->log_persist_id = request->persist_id;
    lone->entries += request->entry_count;
    log_write_free(request);
}

static void commit(struct host *host, struct batch *batch)
{
    struct lone *lone = of(host);
    struct err err = ERR_INIT;
    int rc = backend_commit(lone->backend, batch, &err);

    must(rc == 0);
    lone->committed = true;
}

static void note(struct host *host, enum log_level level, const char *message,
                 const struct log_field *fields)
{
    (void)host;
    (void)level;
    (void)message;
    (void)fields;
}

static void stop(struct host *host, const struct err *cause)
{
    (void)host;
    (void)cause;
    must(!"a lone engine has no reason to stop");
}

static const struct host_ops ops = {.now_ms = now_ms,
                                    .unix_ms = now_ms,
                                    .random = random_number,
                                    .log_write = write_log,
                                    .commit = commit,
                                    .note = note,
                                    .stop = stop};

void lone_init(struct lone *lone, void (*set_up)(struct engine_config *config))
{
    struct bootstrap bootstrap;
    struct buf context = BUF_INIT(BUF_UNLIMITED), data = BUF_INIT(BUF_UNLIMITED);
    struct raft_conf_change change = {.type = RAFT_CONF_ADD_NODE};
    struct raft_entry entry = {.type = RAFT_ENTRY_CONF_CHANGE, .term = 1, .index = 1};
    struct engine_config config = {.election_ticks = 10,
                                   .tick_ms = LONE_TICK_MS,
                                   .max_request_bytes = 1 << 20,
                                   .quota_bytes = -1,
                                   .snapshot_count = 1000000,
                                   .batch_interval_ms = 100,
                                   .batch_limit = 10000,
                                   .compaction_batch = 1000,
                                   .name = "a",
                                   .hard_state = {.term = 1, .commit = 1},
                                   .entry_count = 1};
    struct err err = ERR_INIT;
    int rc;

    *lone = (struct lone){.host = {&ops}, .now_ms = 1000000, .backend = backend_new_mem()};
    rc = bootstrap_parse("a", "a=http://127.0.0.1:1", "t", "http://127.0.0.1:1", &bootstrap, &err);
    must(rc == 0);
    config.member_id = change.node_id = bootstrap.members[0].id;
    config.cluster_id = bootstrap.cluster_id;
    must(member_write_json(&bootstrap.members[0], false, &context));
    change.context = buf_slice(&context);
    must(raft_conf_change_encode(&change, &data));
    entry.data = buf_slice(&data);
    config.entries = &entry;
    config.host = &lone->host;
    config.backend = lone->backend;
    if (set_up != NULL)
        set_up(&config);
    rc = engine_new(&config, &lone->engine, &err);
    must(rc == 0);
    bootstrap_free(&bootstrap);
    buf_free(&context);
    buf_free(&data);
}

void lone_fini(struct lone *lone)
{
    engine_fail(lone->engine);
    engine_free(lone->engine);
    backend_close(lone->backend);
}

void lone_turn(struct lone *lone)
{
    engine_turn(lone->engine);
    while ((lone->log_count != 0 && !lone->hold_log) || lone->committed) {
        if (lone->log_count != 0 && !lone->hold_log) {
            size_t count = lone->log_count;

            lone->log_count = 0;
            engine_log_written(lone->engine, lone->log_persist_id, count);
        }
        if (lone->committed) {
            lone->committed = false;
            engine_committed(lone->engine);
        }
        engine_turn(lone->engine);
    }
}

void lone_lead(struct lone *lone)
{
    engine_campaign(lone->engine);
    lone_turn(lone);
    engine_tick(lone->engine); /* publishes */
    lone_turn(lone);
    must(engine_ready(lone->engine));
}

static void applied(void *arg, const struct engine_result *result)
{
    *(enum err_code *)arg = result->code;
}

enum err_code lone_apply(struct lone *lone, Etcdserverpb__InternalRaftRequest *request)
{
    enum err_code code = ERR_TIMEOUT, refusal;

    if (engine_propose(lone->engine, request, NULL, applied, &code, &refusal) == 0)
        return refusal;
    lone_turn(lone);
    return code;
}

enum err_code lone_grant(struct lone *lone, int64_t id, int64_t ttl_s)
{
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__LeaseGrantRequest grant = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;

    grant.id = id;
    grant.ttl = ttl_s;
    request.lease_grant = &grant;
    return lone_apply(lone, &request);
}

enum err_code lone_put(struct lone *lone, const char *key, int64_t lease)
{
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;

    put.key.data = (uint8_t *)(uintptr_t)key; /* only read */
    put.key.len = strlen(key);
    put.lease = lease;
    request.put = &put;
    return lone_apply(lone, &request);
}
