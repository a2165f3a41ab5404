/* pages.c - see pages.h. */
#include "etcd-ctl/pages.h"

#include "common/base/limits.h"

#define PAGE_KEYS_FIRST 100           /* in one answer; then as their size is */
#define PAGE_KEYS_MAX 1000            /* as etcdctl's */
#define PAGE_BYTES (8 * (int64_t)MIB) /* wanted in one answer */

struct pages {
    Etcdserverpb__RangeRequest request; /* of the next; its key's bytes are owned */
    int64_t left;                       /* keys wanted; 0 = all */
    int64_t size;                       /* keys that the next page may have */
    bool patient;
};

static void set_key(struct pages *pages, const uint8_t *bytes, size_t length, size_t zeros)
{
    pages->request.key.data = xrealloc(pages->request.key.data, length + zeros + 1);
    if (length > 0)
        memcpy(pages->request.key.data, bytes, length);
    memset(pages->request.key.data + length, 0, zeros);
    pages->request.key.len = length + zeros;
}

/* From just behind the last key, with as many as are about PAGE_BYTES. */
static void turn(struct pages *pages, const Etcdserverpb__RangeResponse *page)
{
    const Mvccpb__KeyValue *last = page->kvs[page->n_kvs - 1];
    int64_t bytes = 1;

    for (size_t i = 0; i < page->n_kvs; i++)
        bytes += (int64_t)(page->kvs[i]->key.len + page->kvs[i]->value.len);
    pages->size = MIN(PAGE_BYTES * (int64_t)page->n_kvs / bytes + 1, PAGE_KEYS_MAX);
    set_key(pages, last->key.data, last->key.len, 1);
}

/* One page: 1 when there are more, 0 when it was the last. */
static int read_page(struct client *client, struct pages *pages, struct arena *arena, page_fn *each,
                     void *arg, struct err *err)
{
    const Etcdserverpb__RangeResponse *page;
    ProtobufCMessage *response = NULL;
    struct err cause = ERR_INIT;
    bool told = false;

    pages->request.limit = pages->left > 0 ? MIN(pages->left, pages->size) : pages->size;
    while (client_call(client, RPC_KV_Range, &pages->request.base, arena, &response, &cause) < 0) {
        if (!pages->patient || !client_may_pass(client, &cause)) {
            *err = cause;
            return -1;
        }
        ctl_wait_for_server("source: ", &cause, &told);
        cause = ERR_INIT;
    }
    page = CONTAINER_OF(response, Etcdserverpb__RangeResponse, base);
    if (pages->request.revision == 0 && page->header != NULL)
        pages->request.revision = page->header->revision;
    if (each(arg, page, err) < 0)
        return -1;
    if (!page->more || page->n_kvs == 0 || (pages->left > 0 && pages->left <= (int64_t)page->n_kvs))
        return 0;
    if (pages->left > 0)
        pages->left -= (int64_t)page->n_kvs;
    turn(pages, page);
    return 1;
}

int pages_read(struct client *client, const Etcdserverpb__RangeRequest *range, page_fn *each,
               void *arg, bool patient, int64_t *revision, struct err *err)
{
    struct pages pages = {
        .request = *range, .left = range->limit, .size = PAGE_KEYS_FIRST, .patient = patient};
    struct arena arena;
    int rc;

    pages.request.key.data = NULL;
    set_key(&pages, range->key.data, range->key.len, 0);
    arena_init(&arena, CLIENT_RESPONSE_MAX);
    do {
        rc = read_page(client, &pages, &arena, each, arg, err);
        arena_reset(&arena);
    } while (rc > 0);
    *revision = pages.request.revision;
    arena_free(&arena);
    free(pages.request.key.data);
    return rc;
}
