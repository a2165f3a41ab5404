/*
 * bootstrap.h - the first members of a cluster from --initial-cluster and its token, and the checks
 * before a member may start with them (formats.md 10.3). Pure: names are not resolved, so a URL
 * must be spelled alike in --initial-cluster and --initial-advertise-peer-urls. Thread: any.
 */
#ifndef COMMON_SCHEMA_BOOTSTRAP_H
#define COMMON_SCHEMA_BOOTSTRAP_H

#include "common/base/err.h"
#include "common/schema/member.h"

struct bootstrap {
    struct member *members; /* owned; ascending ids; names set, no client URLs, peer URLs sorted */
    size_t member_count;
    uint64_t cluster_id;
    size_t self; /* index of the member that starts */
};

/*
 * name             of the member that starts
 * initial_cluster  "n1=http://...,n2=http://...": a name may occur several times
 * advertised       the member's own peer URLs, comma separated
 * errors           ERR_USAGE in etcd's words
 */
int bootstrap_parse(const char *name, const char *initial_cluster, const char *token,
                    const char *advertised, struct bootstrap *bootstrap,
                    struct err *err) MUST_CHECK;
void bootstrap_free(struct bootstrap *bootstrap); /* also after a failure */

#endif
