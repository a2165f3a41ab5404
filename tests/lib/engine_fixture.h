/*
 * engine_fixture.h - `lone`, a member that leads, made anew for every test of the engine; a call's
 * outcome, and what the store holds. Static functions: include it once per program.
 */
#ifndef TESTS_LIB_ENGINE_FIXTURE_H
#define TESTS_LIB_ENGINE_FIXTURE_H

#include "etcd-server/engine/engine_internal.h"
#include "tests/lib/lone.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct lone lone;

/* A call's end: how often it came, and with what. */
struct outcome {
    unsigned count;
    enum err_code code;
};

static inline void note_outcome(void *arg, const struct engine_result *result)
{
    struct outcome *outcome = arg;

    outcome->count++;
    outcome->code = result->code;
}

static inline void start(void (*config)(struct engine_config *config))
{
    lone_init(&lone, config);
    lone_lead(&lone);
}

static inline int set_up(void **state)
{
    (void)state;
    start(NULL);
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    lone_fini(&lone);
    return 0;
}

static inline void restart_with(void (*config)(struct engine_config *config))
{
    lone_fini(&lone);
    start(config);
}

/* Time passes in ticks, as it does. */
static inline void pass(uint64_t ms)
{
    for (uint64_t gone = 0; gone < ms; gone += LONE_TICK_MS) {
        lone.now_ms += LONE_TICK_MS;
        engine_tick(lone.engine);
        lone_turn(&lone);
    }
}

static inline uint64_t propose_put(const char *key, const char *value, struct outcome *outcome,
                                   enum err_code *refusal)
{
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;

    put.key.data = (uint8_t *)(uintptr_t)key; /* only read */
    put.key.len = strlen(key);
    put.value.data = (uint8_t *)(uintptr_t)value;
    put.value.len = strlen(value);
    request.put = &put;
    return engine_propose(lone.engine, &request, NULL, note_outcome, outcome, refusal);
}

static inline uint64_t must_propose(const char *key, struct outcome *outcome)
{
    enum err_code refusal;
    uint64_t id = propose_put(key, "v", outcome, &refusal);

    assert_int_not_equal(id, 0);
    return id;
}

static inline int64_t revision(void)
{
    return mvcc_revision(engine_mvcc(lone.engine));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
