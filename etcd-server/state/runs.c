/* runs.c - see runs.h. A table by stamp, and a list from what was asked for last to what was not
 * for longest. */
#include "etcd-server/state/runs.h"

#include "common/base/limits.h"
#include "common/schema/pbwire.h"
#include "common/schema/rpc.h"

#define BUCKETS 1024U /* stamps are given in turn, so they spread by themselves */
#define ASKED 1024U   /* stamps remembered, one for each remainder */

struct runs {
    struct run *buckets[BUCKETS];
    uint64_t asked[ASKED];
    struct run *newest, *oldest;
    size_t bytes;
};

struct runs *runs_new(void)
{
    return xalloc(sizeof(struct runs));
}

/* Memory of a run with so many bytes of key-values. */
static size_t run_bytes(size_t bytes)
{
    return sizeof(struct run) + sizeof(struct shared) + bytes;
}

static void unlink_run(struct runs *runs, struct run *run)
{
    *(run->newer != NULL ? &run->newer->older : &runs->newest) = run->older;
    *(run->older != NULL ? &run->older->newer : &runs->oldest) = run->newer;
}

static void link_newest(struct runs *runs, struct run *run)
{
    run->newer = NULL;
    run->older = runs->newest;
    *(run->older != NULL ? &run->older->newer : &runs->oldest) = run;
    runs->newest = run;
}

static void drop_oldest(struct runs *runs)
{
    struct run *run = runs->oldest, **at = &runs->buckets[run->stamp % BUCKETS];

    must(run->older == NULL);
    while (*at != run)
        at = &(*at)->chain;
    *at = run->chain;
    unlink_run(runs, run);
    runs->bytes -= run_bytes(run->bytes->size);
    shared_unref(run->bytes);
    free(run);
}

void runs_free(struct runs *runs)
{
    if (runs == NULL)
        return;
    while (runs->oldest != NULL)
        drop_oldest(runs);
    free(runs);
}

const struct run *runs_find(struct runs *runs, uint64_t stamp)
{
    struct run *run = runs->buckets[stamp % BUCKETS];

    while (run != NULL && run->stamp != stamp)
        run = run->chain;
    if (run == NULL || run == runs->newest)
        return run;
    unlink_run(runs, run);
    link_newest(runs, run);
    return run;
}

bool runs_asked_before(struct runs *runs, uint64_t stamp)
{
    uint64_t *asked = &runs->asked[stamp % ASKED];
    bool before = *asked == stamp;

    *asked = stamp;
    return before;
}

static struct run *run_new(uint64_t stamp, const struct slice *key_values, size_t count,
                           size_t bytes)
{
    struct run *run = xalloc(sizeof(*run));
    uint8_t *at;

    run->stamp = stamp;
    run->count = count;
    run->bytes = shared_new(bytes);
    at = run->bytes->data;
    for (size_t i = 0; i < count; i++) {
        at = pb_put_bytes(at, RANGE_KVS_FIELD, key_values[i]);
        run->ends[i] = (uint32_t)(at - run->bytes->data);
    }
    return run;
}

const struct run *runs_add(struct runs *runs, uint64_t stamp, const struct slice *key_values,
                           size_t count)
{
    struct run *run;
    size_t bytes = 0;

    must(count <= KEYINDEX_LEAF_MAX);
    for (size_t i = 0; i < count; i++)
        bytes += pb_bytes_field_bytes(key_values[i].size);
    if (bytes > RUN_MAX_BYTES)
        return NULL;
    while (runs->oldest != NULL && runs->bytes + run_bytes(bytes) > RUNS_MAX_BYTES)
        drop_oldest(runs);
    run = run_new(stamp, key_values, count, bytes);
    run->chain = runs->buckets[stamp % BUCKETS];
    runs->buckets[stamp % BUCKETS] = run;
    link_newest(runs, run);
    runs->bytes += run_bytes(bytes);
    return run;
}

size_t runs_bytes(const struct runs *runs)
{
    return runs->bytes;
}
