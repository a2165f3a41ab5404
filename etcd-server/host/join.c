/* join.c - see join.h. One question after the other; of lists the first that is of use
 * counts. */
#include "etcd-server/host/join.h"
#include "common/base/hex.h"
#include "common/base/json_reader.h"
#include "common/base/level.h"
#include "common/base/limits.h"
#include "common/client/fetch.h"
#include "common/schema/versions.h"

#include <stdio.h>

#define CLUSTER_LOWEST "3.0" /* cluster versions below it are not joined, as by etcd */

static int ask(const struct join_config *config, const char *peer_url, const char *path,
               struct fetch_answer *answer, struct err *err)
{
    struct fetch question = {.method = "GET",
                             .url = peer_url,
                             .path = path,
                             .tls = config->tls,
                             .timeout_ms = config->timeout_ms,
                             .answer_max_bytes = BOOT_ANSWER_MAX_BYTES};

    if (fetch(&question, answer, err) < 0)
        return -1;
    if (answer->status == 200)
        return 0;
    err_set(err, ERR_NET, "%s%s answers %u: %.200s", peer_url, path, answer->status,
            buf_text(&answer->body));
    fetch_answer_free(answer);
    return -1;
}

/* ERR_FORMAT: there is none, or a text that is no id. */
static int read_cluster_id(const struct fetch_answer *answer, uint64_t *id, struct err *err)
{
    struct slice value = fetch_field(answer, "X-Etcd-Cluster-ID");

    if (hex_read(value, id) && *id != 0)
        return 0;
    err_set(err, ERR_FORMAT, "X-Etcd-Cluster-ID: \"%.*s\" is no id", (int)MIN(value.size, 40),
            value.size != 0 ? (const char *)value.data : "");
    return -1;
}

/* The list of members; each element is a text of its own for member.h. */
static int read_members(struct slice json, struct join *join, struct err *err)
{
    struct json_reader reader;
    bool first = true, more = true;

    join->members = xalloc(RAFT_MEMBERS_MAX * sizeof(*join->members));
    json_reader_init(&reader, json);
    if (json_enter(&reader, JSON_LIST, err) < 0)
        return -1;
    for (;;) {
        const uint8_t *start;

        if (json_next_element(&reader, &first, &more, err) < 0)
            return -1;
        if (!more)
            return 0;
        if (join->member_count == RAFT_MEMBERS_MAX) {
            err_set(err, ERR_FORMAT, "more than %lu members in the list", RAFT_MEMBERS_MAX);
            return -1;
        }
        (void)json_peek(&reader); /* blanks */
        start = reader.at;
        if (json_skip(&reader, err) < 0 ||
            member_read_json(slice_of(start, (size_t)(reader.at - start)),
                             &join->members[join->member_count], NULL, err) < 0)
            return -1;
        join->member_count++;
    }
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names are resolved only where no member has the very URLs. The cluster's list need not be
 * sorted. */
static const struct member *find_same(const struct join_config *config, const struct join *join,
                                      const struct member *wanted, bool resolve, struct buf *why)
{
    for (size_t k = 0; k < join->member_count; k++) {
        struct member *member = &join->members[k];

        if (member->peer_url_count != 0)
            qsort(member->peer_urls, member->peer_url_count, sizeof(*member->peer_urls), by_text);
        buf_reset(why);
        if (bootstrap_urls_equal(member->peer_urls, member->peer_url_count, wanted->peer_urls,
                                 wanted->peer_url_count, resolve ? config->resolve : NULL,
                                 config->resolve_arg, why))
            return member;
    }
    return NULL;
}

/* Every member that we expect must be in the cluster's list, by its URLs, and no other. */
static int match(const struct join_config *config, struct join *join, struct err *err)
{
    const struct bootstrap *expected = config->expected;
    struct buf why = BUF_INIT(ERR_TEXT_MAX / 2);

    if (expected->member_count != join->member_count) {
        err_set(err, ERR_USAGE,
                "error validating peerURLs: member count is unequal: --initial-cluster names %zu, "
                "the cluster has %zu; add this member first (etcd-ctl member add), then start it "
                "with the list that it prints",
                expected->member_count, join->member_count);
        return -1;
    }
    for (size_t i = 0; i < expected->member_count; i++) {
        const struct member *wanted = &expected->members[i];
        const struct member *found = find_same(config, join, wanted, false, &why);

        if (found == NULL)
            found = find_same(config, join, wanted, true, &why);
        if (found == NULL) {
            err_set(err, ERR_USAGE,
                    "error validating peerURLs: unmatched member while checking PeerURLs: %s=%s is "
                    "in --initial-cluster but not in the cluster (%s)",
                    wanted->name, wanted->peer_url_count != 0 ? wanted->peer_urls[0] : "",
                    buf_text(&why));
            buf_free(&why);
            return -1;
        }
        if (i == expected->self)
            join->member_id = found->id;
    }
    buf_free(&why);
    return 0;
}

/* What the member at `peer_url` says: the cluster's id, and who is in it. */
static int ask_list(const struct join_config *config, const char *peer_url, struct join *join,
                    struct err *err)
{
    struct fetch_answer answer = {0};
    int rc;

    if (ask(config, peer_url, "/members", &answer, err) < 0)
        return -1;
    rc = read_cluster_id(&answer, &join->cluster_id, err);
    if (rc == 0)
        rc = read_members(buf_slice(&answer.body), join, err);
    if (rc == 0 && join->member_count == 0) {
        err_set(err, ERR_FORMAT, "the list of members is empty");
        rc = -1;
    }
    if (rc < 0) {
        err_prefix(err, "%s/members", peer_url);
        join_free(join);
    }
    fetch_answer_free(&answer);
    return rc;
}

/* The first of the others' URLs that gives an answer that is of use. */
static int ask_all(const struct join_config *config, struct join *join, struct err *err)
{
    const struct bootstrap *expected = config->expected;
    struct err last = ERR_INIT;

    err_set(&last, ERR_NET, "--initial-cluster names no other member");
    for (size_t i = 0; i < expected->member_count; i++) {
        for (size_t k = 0; k < expected->members[i].peer_url_count; k++)
            if (i != expected->self &&
                ask_list(config, expected->members[i].peer_urls[k], join, &last) == 0)
                return 0;
    }
    err_set(err, ERR_NET,
            "cannot fetch cluster info from peer urls: could not retrieve cluster information from "
            "the given URLs: %.700s",
            last.text);
    return -1;
}

/* ---- versions (raft.md 10.3) ---- */

/* By any of the member's URLs. */
static bool ask_member(const struct join_config *config, const struct member *member,
                       const char *path, struct fetch_answer *answer)
{
    struct err ignored = ERR_INIT; /* it may be down just now; another one answers */

    for (size_t i = 0; i < member->peer_url_count; i++)
        if (ask(config, member->peer_urls[i], path, answer, &ignored) == 0)
            return true;
    return false;
}

/* The first that answers knows it for all. */
static bool downgrade_runs(const struct join_config *config, const struct join *join)
{
    struct fetch_answer answer = {0};
    bool runs = false;

    for (size_t i = 0; i < join->member_count; i++) {
        if (join->members[i].id == join->member_id ||
            !ask_member(config, &join->members[i], "/downgrade/enabled", &answer))
            continue;
        runs = slice_equal(buf_slice(&answer.body), SLICE_LITERAL("true"));
        fetch_answer_free(&answer);
        break;
    }
    return runs;
}

/* No member may be of a cluster version that this server cannot work with; one must have
 * told its. */
static int check_versions(const struct join_config *config, const struct join *join,
                          struct err *err)
{
    unsigned own = version_level(ETCD_LEVEL), lowest = version_level(CLUSTER_LOWEST);
    struct err ignored = ERR_INIT;
    struct versions versions;
    bool told = false;

    if (downgrade_runs(config, join))
        lowest = ++own; /* it is on its way down to this one */
    for (size_t i = 0; i < join->member_count; i++) {
        struct fetch_answer answer = {0};
        unsigned level = 0;

        if (join->members[i].id == join->member_id ||
            !ask_member(config, &join->members[i], "/version", &answer))
            continue;
        if (versions_read_json(buf_slice(&answer.body), &versions, &ignored) == 0)
            level = version_level(versions.cluster);
        fetch_answer_free(&answer);
        if (level == 0)
            continue; /* not decided yet */
        if (level < lowest || level > own) {
            err_set(err, ERR_USAGE,
                    "incompatible with current running cluster: its version is %.20s, and this "
                    "server, which is at %s, joins clusters from %u.%u to %u.%u",
                    versions.cluster, ETCD_LEVEL, lowest / 1000, lowest % 1000, own / 1000,
                    own % 1000);
            return -1;
        }
        told = true;
    }
    if (told)
        return 0;
    err_set(err, ERR_NET,
            "incompatible with current running cluster: none of its members tells the cluster's "
            "version; wait until it has a leader");
    return -1;
}

int join_not_bootstrapped(const struct join_config *config, struct err *err)
{
    const struct member *self = &config->expected->members[config->expected->self];
    struct err ignored = ERR_INIT; /* nobody there, or nobody who makes sense: a new cluster */
    struct join join = {0};
    int rc = 0;

    if (ask_all(config, &join, &ignored) < 0)
        return 0;
    for (size_t i = 0; i < join.member_count; i++)
        if (join.members[i].id == self->id && join.members[i].client_url_count != 0)
            rc = -1;
    if (rc < 0)
        err_set(err, ERR_USAGE,
                "member %016" PRIx64 " has already been bootstrapped: the cluster knows it, and "
                "here is no data of it. Give it its data directory back; if that is lost, remove "
                "the member, add it again, and start it with --initial-cluster-state=existing",
                self->id);
    join_free(&join);
    return rc;
}

int join_cluster(const struct join_config *config, struct join *join, struct err *err)
{
    *join = (struct join){0};
    if (ask_all(config, join, err) < 0)
        return -1;
    if (match(config, join, err) == 0 && check_versions(config, join, err) == 0)
        return 0;
    join_free(join);
    return -1;
}

void join_free(struct join *join)
{
    for (size_t i = 0; i < join->member_count; i++)
        member_fini(&join->members[i]);
    free(join->members);
    *join = (struct join){0};
}
