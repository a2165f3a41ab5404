/*
 * lease_bench.c - what leases cost by themselves: 100,000 granted, renewed, listed, and all of them
 * running out within one second. No log, no socket. Run by hand; prints one figure a line.
 */
#include "etcd-server/service/lease_duty.h"
#include "tests/lib/lone.h"

#include <malloc.h>
#include <stdio.h>
#include <time.h>

#define LEASES 100000
#define TTL_S 10

static double now_s(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* this clock exists */
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static size_t allocated(void)
{
    return mallinfo2().uordblks + mallinfo2().hblkhd;
}

static void bench_store(void)
{
    struct lease_store *leases = lease_store_new();
    struct batch *batch = batch_new();
    struct lease_place *places = xalloc(LEASES * sizeof(*places));
    size_t granted = 0, memory = allocated(), batch_before = batch_bytes(batch);
    double begin = now_s();
    const struct lease *lease;
    char key[32];

    lease_promote(leases, 0, 0, false, 0);
    for (int64_t id = 1; id <= LEASES; id++)
        granted +=
            lease_apply_grant(leases, id * 7919, TTL_S, (uint64_t)id % 1000, batch) == ERR_OK;
    must(granted == LEASES);
    printf("grant                     %8.3f us\n", (now_s() - begin) / LEASES * 1e6);
    memory = allocated() - memory - (batch_bytes(batch) - batch_before);
    printf("memory                    %8.1f bytes a lease\n", (double)memory / LEASES);
    memory = allocated();
    for (int64_t id = 1; id <= LEASES; id++)
        lease_attach(
            leases, id * 7919,
            slice_of(key, (size_t)snprintf(key, sizeof(key), "/registry/events/%07d", (int)id)));
    printf("memory                    %8.1f bytes a key of 24\n",
           (double)(allocated() - memory) / LEASES);
    begin = now_s();
    for (int64_t id = 1; id <= LEASES; id++)
        lease_renew(leases, id * 7919, 1000 + (uint64_t)id % 1000);
    printf("renew                     %8.3f us\n", (now_s() - begin) / LEASES * 1e6);
    begin = now_s();
    lease_collect(leases, places);
    printf("collect %d           %8.3f ms\n", LEASES, (now_s() - begin) * 1e3);
    begin = now_s();
    lease_places_sort(places, LEASES);
    printf("sort them               %8.3f ms\n", (now_s() - begin) * 1e3);
    begin = now_s();
    while ((lease = lease_next_due(leases, UINT64_MAX - 1)) != NULL)
        granted -= lease_apply_revoke(leases, lease->id, batch) == ERR_OK;
    printf("revoke, state only        %8.3f us\n", (now_s() - begin) / LEASES * 1e6);
    must(granted == 0);
    free(places);
    lease_store_free(leases);
    batch_unref(batch);
}

/* Notice, propose, apply with a key deleted: all but the log's own write. */
static void bench_storm(void)
{
    struct lone lone;
    struct lease_duty *duty;
    double begin, worst = 0, spent = 0;
    unsigned ticks = 0;
    char key[32];

    lone_init(&lone, NULL);
    duty = lease_duty_new(&(struct lease_duty_config){.engine = lone.engine});
    lone_lead(&lone);
    (void)lease_duty_turn(duty);
    for (int64_t id = 1; id <= LEASES; id++) {
        enum err_code code = lone_grant(&lone, id, TTL_S);

        (void)snprintf(key, sizeof(key), "/registry/events/%07d", (int)id); /* fits */
        if (code == ERR_OK)
            code = lone_put(&lone, key, id);
        must(code == ERR_OK);
    }
    lone_turn(&lone);
    (void)lease_duty_turn(duty);
    for (; lease_count(engine_leases(lone.engine)) != 0; ticks++) {
        lone.now_ms += LONE_TICK_MS;
        engine_tick(lone.engine);
        begin = now_s();
        lease_duty_tick(duty);
        lone_turn(&lone);
        (void)lease_duty_turn(duty);
        begin = now_s() - begin;
        spent += begin;
        worst = MAX(worst, begin);
    }
    printf("revoke, propose to apply  %8.3f us\n", spent / LEASES * 1e6);
    printf("the worst tick            %8.3f ms\n", worst * 1e3);
    printf("the storm lasts           %8.1f s\n", ticks * LONE_TICK_MS / 1e3 - TTL_S);
    engine_fail(lone.engine);
    lease_duty_free(duty);
    lone_fini(&lone);
}

int main(void)
{
    bench_store();
    bench_storm();
    return 0;
}
