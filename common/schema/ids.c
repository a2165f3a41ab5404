/* ids.c - see ids.h. */
#include "common/schema/ids.h"
#include "common/base/buf.h"

#include <openssl/evp.h>

#define COUNTER_MASK ((UINT64_C(1) << 48) - 1)
#define TIME_MASK ((UINT64_C(1) << 40) - 1)

/* First 8 bytes of SHA-1, big endian. SHA-1 is the format here, not a defence. */
static uint64_t sha1_head(struct slice bytes)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    uint64_t head = 0;

    must(EVP_Digest(bytes.data, bytes.size, digest, &size, EVP_sha1(), NULL) == 1 && size == 20);
    for (int at = 0; at < 8; at++)
        head = head << 8 | digest[at];
    return head;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

uint64_t ids_member(const char *const *urls, size_t url_count, const char *token,
                    int64_t unix_seconds)
{
    const char **sorted = xalloc(url_count * sizeof(*sorted));
    struct buf text = BUF_INIT(BUF_UNLIMITED); /* bounded by the caller's list */
    uint64_t id;

    for (size_t at = 0; at < url_count; at++)
        sorted[at] = urls[at];
    qsort(sorted, url_count, sizeof(*sorted), by_text);
    for (size_t at = 0; at < url_count; at++)
        must(buf_append_text(&text, sorted[at]));
    must(buf_append_text(&text, token));
    if (unix_seconds != IDS_NO_TIME)
        must(buf_append_int(&text, unix_seconds));
    id = sha1_head(buf_slice(&text));
    buf_free(&text);
    free(sorted);
    return id;
}

static int by_number(const void *a, const void *b)
{
    uint64_t one = *(const uint64_t *)a, two = *(const uint64_t *)b;

    return (one > two) - (one < two);
}

uint64_t ids_cluster(const uint64_t *members, size_t member_count)
{
    uint64_t *sorted = xalloc(member_count * sizeof(*sorted));
    struct buf bytes = BUF_INIT(BUF_UNLIMITED); /* bounded by the caller's list */
    uint64_t id;

    if (member_count != 0)
        memcpy(sorted, members, member_count * sizeof(*sorted));
    qsort(sorted, member_count, sizeof(*sorted), by_number);
    for (size_t at = 0; at < member_count; at++)
        for (int shift = 56; shift >= 0; shift -= 8)
            must(buf_append_byte(&bytes, (uint8_t)(sorted[at] >> shift)));
    id = sha1_head(buf_slice(&bytes));
    buf_free(&bytes);
    free(sorted);
    return id;
}

void request_ids_init(struct request_ids *ids, uint64_t member_id, uint64_t unix_ms)
{
    ids->high = member_id << 48;
    ids->counter = (unix_ms & TIME_MASK) << 8;
}

uint64_t request_ids_next(struct request_ids *ids)
{
    ids->counter = (ids->counter + 1) & COUNTER_MASK;
    return ids->high | ids->counter;
}
