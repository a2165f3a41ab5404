/*
 * v2store.h - the membership as the JSON text inside .snap files (formats.md 6.2): the smallest
 * text that etcd 3.5 takes, and reading of what it writes. Pure; thread: any.
 */
#ifndef COMMON_STORAGE_V2STORE_H
#define COMMON_STORAGE_V2STORE_H

#include "common/schema/member.h"

struct v2store {
    struct member *members; /* owned; ascending ids */
    size_t member_count;
    uint64_t *removed; /* owned; ids that may never come back */
    size_t removed_count;
    char *version;  /* owned; cluster version "3.5.0"; NULL = not decided yet */
    uint64_t index; /* CurrentIndex; any number will do */
};
void v2store_free(struct v2store *store); /* zeroed is fine */

bool v2store_write(const struct v2store *store, struct buf *out); /* false past out->max */

/*
 * store   set on success only; v2store_free()
 * errors  ERR_FORMAT: not JSON, no members directory, an id or a member that does not parse, an id
 *         twice, or keys that are not etcd's own (a v2 store in use, which 3.6 refuses too)
 */
int v2store_read(struct slice json, struct v2store *store, struct err *err) MUST_CHECK;

#endif
