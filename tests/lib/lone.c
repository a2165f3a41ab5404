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

/* Forget the entries from `count` on. */
static void cut_log(struct lone *lone, size_t count)
{
    while (lone->log_end > count)
        free((void *)(uintptr_t)lone->log[--lone->log_end].data.data); /* ours, not const */
}

static void append(struct lone *lone, const struct raft_entry *entry)
{
    struct raft_entry copy = *entry;
    uint8_t *data = xalloc(entry->data.size + 1);

    must(entry->index >= 1 && entry->index <= lone->log_end + 1);
    cut_log(lone, (size_t)entry->index - 1);
    if (entry->data.size != 0)
        memcpy(data, entry->data.data, entry->data.size);
    copy.data.data = data;
    lone->log = xrealloc(lone->log, (lone->log_end + 1) * sizeof(*lone->log));
    lone->log[lone->log_end++] = copy;
}

static void write_log(struct host *host, struct log_write *request)
{
    struct lone *lone = of(host);

    if (request->has_state)
        lone->state = request->state;
    if (request->snapshot != NULL) {
        must(lone->snapshot == NULL); /* one at a time */
        lone->snapshot = request;
        lone->snapshots++;
        return;
    }
    lone->log_count++;
    lone->log_persist_id = request->persist_id;
    lone->entries += request->entry_count;
    for (size_t i = 0; i < request->entry_count; i++)
        append(lone, &request->entries[i]);
    log_write_free(request);
}

static void commit(struct host *host, struct batch *batch)
{
    struct lone *lone = of(host);

    must(lone->batch == NULL); /* one at a time */
    lone->batch = batch_ref(batch);
}

/* Say that the first message is lost; the others must stay as they are. */
static void lose_first(struct lone *lone, const struct raft_message *messages, size_t count)
{
    const struct raft_message *last = &messages[count - 1];
    uint8_t context[64];
    size_t bytes = last->context.size;

    must(bytes <= sizeof(context));
    if (bytes != 0)
        memcpy(context, last->context.data, bytes);
    engine_unreachable(lone->engine, messages[0].to);
    lone->spoilt |= last->context.size != bytes ||
                    (bytes != 0 && memcmp(context, last->context.data, bytes) != 0);
}

static void send(struct host *host, const struct raft_message *messages, size_t count)
{
    for (size_t i = 0; i < count; i++)
        of(host)->sent[messages[i].type]++;
    if (of(host)->loses)
        lose_first(of(host), messages, count);
}

static uint64_t connected_ms(struct host *host, uint64_t member)
{
    (void)member;
    return of(host)->connected_ms;
}

static void note(struct host *host, enum log_level level, const char *message,
                 const struct log_field *fields)
{
    (void)level;
    (void)fields;
    if (of(host)->note_count < ARRAY_LEN(of(host)->notes))
        of(host)->notes[of(host)->note_count++] = message;
}

static void stop(struct host *host, const struct err *cause)
{
    struct lone *lone = CONTAINER_OF(host, struct lone, host);

    must(lone->may_stop && cause->code != ERR_OK && cause->text[0] != '\0');
    lone->stopped = true;
}

static void run_job(struct host *host, struct host_job *job)
{
    must(of(host)->job_count < LONE_JOBS_MAX);
    of(host)->jobs[of(host)->job_count++] = job;
}

bool lone_job(struct lone *lone)
{
    struct host_job *job = lone->jobs[0];

    if (lone->job_count == 0)
        return false;
    lone->job_count--;
    memmove(lone->jobs, lone->jobs + 1, lone->job_count * sizeof(struct host_job *));
    job->run(job);
    job->done(job);
    return true;
}

static void produce(struct host *host, struct host_producer *producer)
{
    must(of(host)->producer_count < LONE_JOBS_MAX);
    of(host)->producers[of(host)->producer_count++] = producer;
}

static void produce_stop(struct host *host, struct host_producer *producer)
{
    (void)host; /* it ends in lone_produced() */
    (void)producer;
}

bool lone_produced(struct lone *lone)
{
    const struct err good = ERR_INIT;
    struct host_producer *producer;

    if (lone->producer_count == 0)
        return false;
    producer = lone->producers[--lone->producer_count];
    producer->done(producer, &good);
    return true;
}

static const struct host_ops ops = {.now_ms = now_ms,
                                    .unix_ms = now_ms,
                                    .random = random_number,
                                    .log_write = write_log,
                                    .commit = commit,
                                    .send = send,
                                    .connected_ms = connected_ms,
                                    .run_job = run_job,
                                    .produce = produce,
                                    .produce_stop = produce_stop,
                                    .note = note,
                                    .stop = stop};

/* On what is durable. */
static int start(struct lone *lone, struct err *err)
{
    struct engine_config config = lone->config;

    config.hard_state = lone->state_durable;
    if (lone->snapshot_saved != NULL) {
        config.snapshot = lone->snapshot_saved->snapshot->meta;
        config.snapshot_data = lone->snapshot_saved->snapshot->data;
    }
    config.entries = lone->log + config.snapshot.index;
    config.entry_count = lone->log_durable - (size_t)config.snapshot.index;
    return engine_new(&config, &lone->engine, err);
}

static void must_start(struct lone *lone)
{
    struct err err = ERR_INIT;
    int rc = start(lone, &err);

    must(rc == 0);
}

/* The entry that makes it a member (raft.md 10.1). */
static void append_member(struct lone *lone, const struct member *member)
{
    struct buf context = BUF_INIT(BUF_UNLIMITED), data = BUF_INIT(BUF_UNLIMITED);
    struct raft_conf_change change = {.type = RAFT_CONF_ADD_NODE, .node_id = member->id};
    struct raft_entry entry = {
        .type = RAFT_ENTRY_CONF_CHANGE, .term = 1, .index = lone->log_end + 1};

    must(member_write_json(member, false, &context));
    change.context = buf_slice(&context);
    must(raft_conf_change_encode(&change, &data));
    entry.data = buf_slice(&data);
    append(lone, &entry);
    buf_free(&context);
    buf_free(&data);
}

static struct engine_config prepare(struct lone *lone, struct backend *backend)
{
    *lone = (struct lone){.host = {&ops}, .now_ms = 1000000, .backend = backend};
    return (struct engine_config){.host = &lone->host,
                                  .backend = backend,
                                  .election_ticks = 10,
                                  .tick_ms = LONE_TICK_MS,
                                  .pre_vote = true,
                                  .max_request_bytes = 1 << 20,
                                  .quota_bytes = -1,
                                  .snapshot_count = 1000000,
                                  .batch_interval_ms = 100,
                                  .batch_limit = 10000,
                                  .compaction_batch = 1000,
                                  .name = "a",
                                  .hard_state = {.term = 1}};
}

static void init(struct lone *lone, const char *cluster,
                 void (*set_up)(struct engine_config *config))
{
    struct bootstrap bootstrap;
    struct engine_config config;
    struct err err = ERR_INIT;
    int rc;

    config = prepare(lone, backend_new_mem());
    rc = bootstrap_parse("a", cluster, "t", "http://127.0.0.1:1", &bootstrap, &err);
    must(rc == 0);
    config.member_id = bootstrap.members[bootstrap.self].id;
    config.cluster_id = bootstrap.cluster_id;
    for (size_t i = 0; i < bootstrap.member_count; i++)
        append_member(lone, &bootstrap.members[i]);
    lone->log_durable = config.hard_state.commit = lone->log_end;
    lone->state = lone->state_durable = config.hard_state;
    if (set_up != NULL)
        set_up(&config);
    lone->config = config;
    must_start(lone);
    bootstrap_free(&bootstrap);
}

void lone_init(struct lone *lone, void (*set_up)(struct engine_config *config))
{
    init(lone, "a=http://127.0.0.1:1", set_up);
}

void lone_init_of_three(struct lone *lone, void (*set_up)(struct engine_config *config))
{
    init(lone, "a=http://127.0.0.1:1,b=http://127.0.0.1:2,c=http://127.0.0.1:3", set_up);
}

int lone_init_at_snapshot(struct lone *lone, struct backend *backend,
                          void (*set_up)(struct engine_config *config), struct err *err)
{
    struct engine_config config = prepare(lone, backend);

    set_up(&config);
    while (lone->log_end < config.snapshot.index) /* what the snapshot stands for */
        append(lone, &(struct raft_entry){.term = 1, .index = lone->log_end + 1});
    lone->log_durable = config.hard_state.commit = lone->log_end;
    lone->state = lone->state_durable = config.hard_state;
    lone->config = config;
    lone->may_stop = true;
    return start(lone, err);
}

static void stop_engine(struct lone *lone)
{
    if (lone->engine != NULL)
        engine_fail(lone->engine);
    engine_free(lone->engine);
    log_write_free(lone->snapshot);
    batch_unref(lone->batch);
    lone->engine = NULL;
    lone->snapshot = NULL;
    lone->batch = NULL;
}

void lone_crash(struct lone *lone)
{
    stop_engine(lone);
    cut_log(lone, lone->log_durable);
    lone->state = lone->state_durable;
    lone->log_count = 0;
    must_start(lone);
}

void lone_fini(struct lone *lone)
{
    stop_engine(lone);
    log_write_free(lone->snapshot_saved);
    cut_log(lone, 0);
    free(lone->log);
    backend_close(lone->backend);
}

/* The log writer and the committer, once each. True when one of them did something. */
static bool work(struct lone *lone)
{
    struct err err = ERR_INIT;
    bool worked = false;

    if (lone->log_count != 0 && !lone->hold_log) {
        size_t count = lone->log_count;

        lone->log_count = 0;
        lone->log_durable = lone->log_end;
        lone->state_durable = lone->state;
        engine_log_written(lone->engine, lone->log_persist_id, count);
        worked = true;
    }
    if (lone->snapshot != NULL && !lone->hold_log) {
        log_write_free(lone->snapshot_saved);
        lone->snapshot_saved = lone->snapshot;
        lone->snapshot = NULL;
        lone->state_durable = lone->state;
        engine_snapshot_saved(lone->engine, lone->snapshot_saved->snapshot->meta.index);
        worked = true;
    }
    if (lone->batch != NULL && !lone->hold_commit) {
        int rc = backend_commit(lone->backend, lone->batch, &err);

        must(rc == 0);
        batch_unref(lone->batch);
        lone->batch = NULL;
        lone->commits++;
        engine_committed(lone->engine);
        worked = true;
    }
    return worked;
}

void lone_turn(struct lone *lone)
{
    do
        engine_turn(lone->engine);
    while (!lone->stopped && work(lone));
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
    uint64_t id = engine_propose(lone->engine, request, NULL, applied, &code, &refusal);

    if (id == 0)
        return refusal;
    lone_turn(lone);
    engine_forget(lone->engine, id); /* where it has no answer: `code` is gone soon */
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
