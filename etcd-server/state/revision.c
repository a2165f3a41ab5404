/*
 * revision.c - see revision.h.
 *
 *   main, 8 bytes BE | '_' | sub, 8 bytes BE | 't' when it is a deletion
 */
#include "etcd-server/state/revision.h"

#include <endian.h>

#define SEPARATOR '_'
#define TOMBSTONE_MARK 't'

static void store_be64(uint8_t *out, uint64_t number)
{
    number = htobe64(number);
    memcpy(out, &number, sizeof(number));
}

static uint64_t load_be64(const uint8_t *bytes)
{
    uint64_t number;

    memcpy(&number, bytes, sizeof(number));
    return be64toh(number);
}

size_t revision_encode(struct revision revision, bool tombstone, uint8_t out[REVISION_BYTES_MAX])
{
    store_be64(out, (uint64_t)revision.main);
    out[8] = SEPARATOR;
    store_be64(out + 9, (uint64_t)revision.sub);
    if (!tombstone)
        return REVISION_BYTES;
    out[REVISION_BYTES] = TOMBSTONE_MARK;
    return REVISION_BYTES_MAX;
}

bool revision_decode(struct slice bytes, struct revision *revision, bool *tombstone)
{
    uint64_t main, sub;

    if (bytes.size != REVISION_BYTES && bytes.size != REVISION_BYTES_MAX)
        return false;
    if (bytes.data[8] != SEPARATOR ||
        (bytes.size == REVISION_BYTES_MAX && bytes.data[REVISION_BYTES] != TOMBSTONE_MARK))
        return false;
    main = load_be64(bytes.data);
    sub = load_be64(bytes.data + 9);
    if (main > INT64_MAX || sub > INT64_MAX)
        return false;
    *revision = (struct revision){.main = (int64_t)main, .sub = (int64_t)sub};
    *tombstone = bytes.size == REVISION_BYTES_MAX;
    return true;
}
