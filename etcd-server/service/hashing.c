/*
 * hashing.c - see hashing.h. A run is one walk over the store and all who wait for it:
 *
 *   WAITING (its revision) --its turn--> WALKING (view, compact revision) --slices--> answered
 *              |                                                                         |
 *              '---- compacted meanwhile: refused                                       gone
 *
 * A walk holds a view of the store and holds compactions up, so there is one at a time, and a
 * slice in a turn however many ask. A waiting run holds nothing: it is a revision and its askers.
 */
#include "etcd-server/service/hashing.h"
#include "common/base/base.h"
#include "common/base/limits.h"

#define HASH_SLICE_ENTRIES 2000 /* per turn: about a millisecond */

struct hash_run {
    struct hashing *hashing;
    struct hash_run *previous, *next; /* of those that wait */
    struct hash_query *queries;       /* in no order; never empty but while it ends */
    bool ends;                        /* its askers are being answered */
    bool of_member;                   /* one of them is a member */
    int64_t revision;                 /* as asked for; once it walks, the one that is hashed */
    int64_t compact_revision;         /* once it walks */
    struct mvcc_hash *hash;           /* NULL: it waits */
    uint64_t began_ns;
};

struct hashing {
    struct mvcc *mvcc;
    struct host *host;
    struct metrics *metrics;
    struct hash_run *walking;      /* NULL: none */
    struct hash_run *first, *last; /* that wait */
};

struct hashing *hashing_new(struct mvcc *mvcc, struct host *host, struct metrics *metrics)
{
    struct hashing *hashing = xalloc(sizeof(*hashing));

    *hashing = (struct hashing){.mvcc = mvcc, .host = host, .metrics = metrics};
    return hashing;
}

/* ---- runs and their askers ---- */

static void query_add(struct hash_run *run, struct hash_query *query)
{
    query->run = run;
    query->previous = NULL;
    query->next = run->queries;
    query->current_revision = mvcc_revision(run->hashing->mvcc);
    if (run->queries != NULL)
        run->queries->previous = query;
    run->queries = query;
    run->of_member = run->of_member || query->of_member;
}

static void query_remove(struct hash_query *query)
{
    if (query->previous != NULL)
        query->previous->next = query->next;
    else
        query->run->queries = query->next;
    if (query->next != NULL)
        query->next->previous = query->previous;
    query->run = NULL;
    query->previous = query->next = NULL;
}

static struct hash_run *run_new(struct hashing *hashing, int64_t revision)
{
    struct hash_run *run = xalloc(sizeof(*run));

    *run = (struct hash_run){.hashing = hashing, .previous = hashing->last, .revision = revision};
    if (hashing->last != NULL)
        hashing->last->next = run;
    else
        hashing->first = run;
    hashing->last = run;
    return run;
}

/* Not among those that wait, or not the one that walks any longer. */
static void run_leave(struct hash_run *run)
{
    struct hashing *hashing = run->hashing;

    if (hashing->walking == run) {
        hashing->walking = NULL;
        return;
    }
    if (run->previous != NULL)
        run->previous->next = run->next;
    else
        hashing->first = run->next;
    if (run->next != NULL)
        run->next->previous = run->previous;
    else
        hashing->last = run->previous;
    run->previous = run->next = NULL;
}

/* Its askers, who may be gone, are not told. */
static void run_free(struct hash_run *run)
{
    mvcc_hash_free(run->hash);
    free(run);
}

void hashing_free(struct hashing *hashing)
{
    struct hash_run *next;

    if (hashing == NULL)
        return;
    if (hashing->walking != NULL)
        run_free(hashing->walking);
    for (struct hash_run *run = hashing->first; run != NULL; run = next) {
        next = run->next;
        run_free(run);
    }
    free(hashing);
}

/* Answers may start and cancel others, of the same run too. */
static void end(struct hash_run *run, enum err_code code)
{
    struct mvcc_hash_result result = {0};

    if (code == ERR_OK)
        result = mvcc_hash_result(run->hash);
    run_leave(run);
    mvcc_hash_free(run->hash); /* compactions go on */
    run->hash = NULL;
    run->ends = true;
    while (run->queries != NULL) {
        struct hash_query *query = run->queries;

        query_remove(query);
        result.current_revision = query->current_revision;
        query->done(query, code, code == ERR_OK ? &result : NULL);
    }
    run_free(run);
}

/* ---- what is shared ---- */

static int64_t resolve(const struct hashing *hashing, int64_t revision)
{
    return revision == 0 ? mvcc_revision(hashing->mvcc) : revision;
}

/* Would a hash at `revision` be the one that is being made? What a compaction left behind at this
 * very revision is another one. */
static bool is_walked(const struct hashing *hashing, int64_t revision)
{
    const struct hash_run *run = hashing->walking;
    bool ready;

    return run != NULL && run->revision == resolve(hashing, revision) &&
           run->compact_revision == mvcc_compact_revision(hashing->mvcc) &&
           mvcc_hash_check(hashing->mvcc, revision, &ready) == ERR_OK && !ready;
}

/* Who waits for what is walked now comes along. */
static void gather(struct hashing *hashing)
{
    struct hash_run *next;

    for (struct hash_run *run = hashing->first; run != NULL; run = next) {
        next = run->next;
        if (!is_walked(hashing, run->revision))
            continue;
        while (run->queries != NULL) {
            struct hash_query *query = run->queries;

            query_remove(query);
            query_add(hashing->walking, query);
        }
        run_leave(run);
        run_free(run);
    }
}

static struct hash_run *find_waiting(const struct hashing *hashing, int64_t revision)
{
    for (struct hash_run *run = hashing->first; run != NULL; run = run->next)
        if (run->revision == revision)
            return run;
    return NULL;
}

static bool is_full(const struct hashing *hashing, bool of_member)
{
    size_t count = 0;

    for (const struct hash_run *run = hashing->first; run != NULL; run = run->next)
        count += run->of_member == of_member;
    return count >= HASHES_WAITING_MAX;
}

/* ---- turns ---- */

/* Its turn has come. False: it has ended. */
static bool begin(struct hash_run *run)
{
    struct hashing *hashing = run->hashing;
    bool ready = false;
    enum err_code code = mvcc_hash_check(hashing->mvcc, run->revision, &ready);

    if (code == ERR_OK)
        code = mvcc_hash_start(hashing->mvcc, run->revision, &run->hash);
    for (struct hash_query *query = run->queries; query != NULL; query = query->next)
        query->current_revision = mvcc_revision(hashing->mvcc);
    if (code != ERR_OK || ready) {
        end(run, code);
        return false;
    }
    run_leave(run);
    run->began_ns = host_now_ns(hashing->host);
    run->revision = resolve(hashing, run->revision);
    run->compact_revision = mvcc_compact_revision(hashing->mvcc);
    hashing->walking = run;
    gather(hashing);
    return true;
}

static struct hash_run *first_in_line(const struct hashing *hashing)
{
    for (struct hash_run *run = hashing->first; run != NULL; run = run->next)
        if (run->of_member)
            return run;
    return hashing->first;
}

bool hashing_turn(struct hashing *hashing)
{
    struct hash_run *run = hashing->walking;

    if (run == NULL) {
        run = first_in_line(hashing);
        if (run != NULL && !begin(run))
            run = NULL;
    }
    if (run != NULL && mvcc_hash_step(run->hash, HASH_SLICE_ENTRIES)) {
        metrics_observe(hashing->metrics, METRICS_HASH_REV,
                        (double)(host_now_ns(hashing->host) - run->began_ns) / 1e9);
        end(run, ERR_OK);
    }
    return hashing->walking != NULL || hashing->first != NULL;
}

/* Without a walk. */
static void answer_at_once(struct hashing *hashing, struct hash_query *query)
{
    struct mvcc_hash *hash = NULL;
    struct mvcc_hash_result result = {0};
    enum err_code code = mvcc_hash_start(hashing->mvcc, query->revision, &hash);

    if (code == ERR_OK)
        result = mvcc_hash_result(hash);
    mvcc_hash_free(hash);
    query->done(query, code, code == ERR_OK ? &result : NULL);
}

void hashing_start(struct hashing *hashing, struct hash_query *query)
{
    bool idle = hashing->walking == NULL && hashing->first == NULL, ready = false;
    struct hash_run *run;

    query->run = NULL;
    if (mvcc_hash_check(hashing->mvcc, query->revision, &ready) != ERR_OK || ready) {
        answer_at_once(hashing, query);
        return;
    }
    run = is_walked(hashing, query->revision) ? hashing->walking
                                              : find_waiting(hashing, query->revision);
    if (run == NULL && is_full(hashing, query->of_member)) {
        query->done(query, ERR_REQUEST_TOO_MANY_REQUESTS, NULL);
        return;
    }
    query_add(run != NULL ? run : run_new(hashing, query->revision), query);
    if (idle)
        (void)hashing_turn(hashing); /* the next turn looks again */
}

void hashing_cancel(struct hash_query *query)
{
    struct hash_run *run = query->run;

    if (run == NULL)
        return;
    query_remove(query);
    if (run->queries != NULL || run->ends)
        return;
    run_leave(run);
    run_free(run);
}
