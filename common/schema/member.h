/*
 * member.h - a member of the cluster as a struct and as etcd's JSON (formats.md 2.4, 6.2, 8.2).
 *
 * The JSON is an interface: bucket `members`, contexts of configuration changes, the v2 text of
 * .snap files and GET /members hold it. Order of names and Go's escapes (\u003c ...) are kept.
 * Pure. Thread: any.
 */
#ifndef COMMON_SCHEMA_MEMBER_H
#define COMMON_SCHEMA_MEMBER_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/limits.h"

struct member {
    uint64_t id;
    char *name;       /* owned; "" until published */
    char **peer_urls; /* owned, each owned */
    size_t peer_url_count;
    char **client_urls; /* owned, each owned; none until published */
    size_t client_url_count;
    bool learner;
    /*
     * Of a proposal that adds a learner only: how many there may be then, as the member that took
     * the call is set; 0: not said, which is etcd's 1. It travels in the entry, so that all members
     * obey it alike ("maxLearners"; etcd does not read it).
     */
    uint64_t learners_max;
};

void member_init(struct member *member, uint64_t id);
void member_fini(struct member *member);
void member_copy(struct member *to, const struct member *from); /* `to` is not initialised */
void member_set_name(struct member *member, const char *name);
/* Replace a list; the texts are copied. At most MEMBER_URLS_MAX are kept. */
void member_set_peer_urls(struct member *member, const char *const *urls, size_t count);
void member_set_client_urls(struct member *member, const char *const *urls, size_t count);

/*
 * {"id":N,"peerURLs":[...],"isLearner":true,"maxLearners":N,"name":"...","clientURLs":[...]},
 * without what is empty. `promote` writes {"id":N,"peerURLs":null,"isPromote":true}. False past
 * out->max.
 */
bool member_write_json(const struct member *member, bool promote, struct buf *out);
/* {"peerURLs":[...],"isLearner":true} and {"name":"...","clientURLs":[...]}: the two v2 values. */
bool member_write_raft_attributes(const struct member *member, struct buf *out);
bool member_write_attributes(const struct member *member, struct buf *out);

/*
 * Read any of the forms above; what is absent is left empty. `promote` may be NULL.
 * ERR_FORMAT names what is wrong; `member` is then not initialised.
 */
int member_read_json(struct slice json, struct member *member, bool *promote,
                     struct err *err) MUST_CHECK;

#endif
