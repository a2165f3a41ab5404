/*
 * hashing.c - see hashing.h. A queue: the first run is being made, the others have not begun. Each
 * holds a view of the store and holds compactions up, so it is one at a time, and a slice in a turn
 * however many ask.
 */
#include "etcd-server/service/hashing.h"
#include "common/base/base.h"

#define HASH_SLICE_ENTRIES 2000 /* per turn: about a millisecond */

struct hash_run {
    struct hashing *hashing;
    struct hash_run *previous, *next;
    struct hash_query *query;
    struct mvcc_hash *hash; /* NULL: it has not begun */
    uint64_t began_ns;
};

struct hashing {
    struct mvcc *mvcc;
    struct host *host;
    struct metrics *metrics;
    struct hash_run *first, *last;
};

struct hashing *hashing_new(struct mvcc *mvcc, struct host *host, struct metrics *metrics)
{
    struct hashing *hashing = xalloc(sizeof(*hashing));

    *hashing = (struct hashing){.mvcc = mvcc, .host = host, .metrics = metrics};
    return hashing;
}

/* Out of the queue. Its query, which may be gone, is not told. */
static void run_free(struct hash_run *run)
{
    struct hashing *hashing = run->hashing;

    if (run->previous != NULL)
        run->previous->next = run->next;
    else
        hashing->first = run->next;
    if (run->next != NULL)
        run->next->previous = run->previous;
    else
        hashing->last = run->previous;
    mvcc_hash_free(run->hash);
    free(run);
}

static struct hash_run *run_new(struct hashing *hashing, struct hash_query *query)
{
    struct hash_run *run = xalloc(sizeof(*run));

    *run = (struct hash_run){.hashing = hashing, .previous = hashing->last, .query = query};
    if (hashing->last != NULL)
        hashing->last->next = run;
    else
        hashing->first = run;
    hashing->last = run;
    query->run = run;
    return run;
}

void hashing_free(struct hashing *hashing)
{
    struct hash_run *next;

    if (hashing == NULL)
        return;
    for (struct hash_run *run = hashing->first; run != NULL; run = next) {
        next = run->next;
        mvcc_hash_free(run->hash);
        free(run);
    }
    free(hashing);
}

/* A slice of the run, which may end it. */
static void step(struct hash_run *run)
{
    struct hashing *hashing = run->hashing;
    struct hash_query *query = run->query;
    struct mvcc_hash_result result;
    enum err_code code = ERR_OK;

    if (run->hash == NULL) {
        run->began_ns = host_now_ns(hashing->host);
        code = mvcc_hash_start(hashing->mvcc, query->revision, &run->hash);
    }
    if (code == ERR_OK) {
        if (!mvcc_hash_step(run->hash, HASH_SLICE_ENTRIES))
            return;
        result = mvcc_hash_result(run->hash);
        metrics_observe(hashing->metrics, METRICS_HASH_REV,
                        (double)(host_now_ns(hashing->host) - run->began_ns) / 1e9);
    }
    query->run = NULL;
    run_free(run);
    query->done(query, code, code == ERR_OK ? &result : NULL); /* may start and cancel others */
}

void hashing_start(struct hashing *hashing, struct hash_query *query)
{
    struct hash_run *run = run_new(hashing, query);

    if (run == hashing->first)
        step(run);
}

void hashing_cancel(struct hash_query *query)
{
    if (query->run != NULL)
        run_free(query->run);
    query->run = NULL;
}

bool hashing_turn(struct hashing *hashing)
{
    if (hashing->first != NULL)
        step(hashing->first);
    return hashing->first != NULL;
}
