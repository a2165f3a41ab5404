/* hashing.c - see hashing.h. A run whose asker went away is freed at its next turn. */
#include "etcd-server/service/hashing.h"
#include "common/base/base.h"

#define HASH_SLICE_ENTRIES 2000 /* per turn: about a millisecond */

struct hash_run {
    struct hash_run *next;
    struct hash_query *query; /* NULL: nobody waits */
    struct mvcc_hash *hash;
};

struct hashing {
    struct mvcc *mvcc;
    struct hash_run *runs;
};

struct hashing *hashing_new(struct mvcc *mvcc)
{
    struct hashing *hashing = xalloc(sizeof(*hashing));

    *hashing = (struct hashing){.mvcc = mvcc};
    return hashing;
}

static void run_free(struct hash_run *run)
{
    mvcc_hash_free(run->hash);
    free(run);
}

void hashing_free(struct hashing *hashing)
{
    if (hashing == NULL)
        return;
    while (hashing->runs != NULL) {
        struct hash_run *run = hashing->runs;

        hashing->runs = run->next;
        run_free(run);
    }
    free(hashing);
}

void hashing_start(struct hashing *hashing, struct hash_query *query)
{
    struct mvcc_hash *hash = NULL;
    enum err_code code = mvcc_hash_start(hashing->mvcc, query->revision, &hash);
    struct hash_run *run;

    query->run = NULL;
    if (code != ERR_OK) {
        query->done(query, code, NULL);
    } else if (mvcc_hash_step(hash, HASH_SLICE_ENTRIES)) {
        struct mvcc_hash_result result = mvcc_hash_result(hash);

        mvcc_hash_free(hash);
        query->done(query, ERR_OK, &result);
    } else {
        run = xalloc(sizeof(*run));
        *run = (struct hash_run){.next = hashing->runs, .query = query, .hash = hash};
        hashing->runs = run;
        query->run = run;
    }
}

void hashing_cancel(struct hash_query *query)
{
    if (query->run == NULL)
        return;
    query->run->query = NULL;
    query->run = NULL;
}

/* The first run that is finished or forgotten, out of the list; NULL: none. */
static struct hash_run *take_ended(struct hashing *hashing)
{
    for (struct hash_run **at = &hashing->runs; *at != NULL; at = &(*at)->next) {
        struct hash_run *run = *at;

        if (run->query != NULL && !mvcc_hash_step(run->hash, HASH_SLICE_ENTRIES))
            continue;
        *at = run->next;
        return run;
    }
    return NULL;
}

bool hashing_turn(struct hashing *hashing)
{
    struct hash_run *run = take_ended(hashing); /* one a turn: done() may change the list */

    if (run != NULL && run->query != NULL) {
        struct hash_query *query = run->query;
        struct mvcc_hash_result result = mvcc_hash_result(run->hash);

        query->run = NULL;
        query->done(query, ERR_OK, &result);
    }
    if (run != NULL)
        run_free(run);
    return hashing->runs != NULL;
}
