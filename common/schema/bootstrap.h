/*
 * bootstrap.h - the first members of a cluster from --initial-cluster and its token, and the checks
 * before a member may start with them (formats.md 10.3). Pure: which address a name has is asked of
 * a function that the caller hands in. Thread: any.
 */
#ifndef COMMON_SCHEMA_BOOTSTRAP_H
#define COMMON_SCHEMA_BOOTSTRAP_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/schema/member.h"

struct bootstrap {
    struct member *members; /* owned; ascending ids; names set, no client URLs, peer URLs sorted */
    size_t member_count;
    uint64_t cluster_id;
    size_t self; /* index of the member that starts */
};

/* `url` with an address for its host name, owned by who asks; ERR_NET. */
typedef int bootstrap_resolve_fn(void *arg, const char *url, char **resolved, struct err *err);

struct bootstrap_wish {          /* all borrowed */
    const char *name;            /* of the member that starts */
    const char *initial_cluster; /* "n1=http://...,n2=http://...": a name may occur several times */
    const char *token;
    const char *advertised; /* its own peer URLs, comma separated; NULL: they are not compared */
    bootstrap_resolve_fn *resolve; /* asked where spellings differ; NULL: then they differ */
    void *resolve_arg;
};

/* ERR_USAGE in etcd's words. Ids come from what --initial-cluster says, as it says it. */
int bootstrap_read(const struct bootstrap_wish *wish, struct bootstrap *bootstrap,
                   struct err *err) MUST_CHECK;
/* The same where the spellings must be alike. */
int bootstrap_parse(const char *name, const char *initial_cluster, const char *token,
                    const char *advertised, struct bootstrap *bootstrap,
                    struct err *err) MUST_CHECK;
/*
 * Are both sorted lists the same, or the same when names are resolved? If not, etcd's reason is
 * appended to `why`.
 */
bool bootstrap_urls_equal(char *const *own, size_t own_count, char *const *others,
                          size_t other_count, bootstrap_resolve_fn *resolve, void *resolve_arg,
                          struct buf *why) MUST_CHECK;
/* The URLs of the member that starts as --initial-cluster spells them, comma separated; owned. */
char *bootstrap_own_urls(const struct bootstrap *bootstrap);
void bootstrap_free(struct bootstrap *bootstrap); /* also after a failure */

#endif
