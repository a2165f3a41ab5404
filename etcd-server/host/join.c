/* join.c - see join.h. One question after the other with libcurl; the first good answer counts. */
#include "etcd-server/host/join.h"
#include "common/base/log.h"

#include <curl/curl.h>
#include <jansson.h>
#include <stdio.h>

#define ANSWER_MAX_BYTES (1UL * 1024 * 1024)
#define CLUSTER_ID_FIELD "X-Etcd-Cluster-ID:"

struct answer {
    struct buf body;
    uint64_t cluster_id;
};

static size_t take_body(char *data, size_t size, size_t count, void *arg)
{
    struct answer *answer = arg;

    return buf_append(&answer->body, data, size * count) ? count : 0;
}

static size_t take_field(char *data, size_t size, size_t count, void *arg)
{
    struct answer *answer = arg;
    char text[64];

    (void)snprintf(text, sizeof(text), "%.*s", (int)MIN(size * count, sizeof(text) - 1),
                   data); /* cut is fine */
    /* a text that is no id is no cluster id: 0, which match() does not accept */
    if (strncasecmp(text, CLUSTER_ID_FIELD, sizeof(CLUSTER_ID_FIELD) - 1) == 0)
        answer->cluster_id = strtoull(text + sizeof(CLUSTER_ID_FIELD) - 1, NULL, 16);
    return count;
}

static int ask(const struct join_config *config, const char *peer_url, struct answer *answer,
               struct err *err)
{
    CURL *curl = curl_easy_init();
    char *url = xasprintf("%s/members", peer_url), words[CURL_ERROR_SIZE] = "";
    long status = 0;
    CURLcode code;

    must(curl != NULL);
    buf_reset(&answer->body);
    answer->cluster_id = 0;
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1); /* pki.md 2.13 */
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)config->timeout_ms);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, words);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_field);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, answer);
    if (config->ca_file[0] != '\0')
        curl_easy_setopt(curl, CURLOPT_CAINFO, config->ca_file);
    if (config->cert_file[0] != '\0') {
        curl_easy_setopt(curl, CURLOPT_SSLCERT, config->cert_file);
        curl_easy_setopt(curl, CURLOPT_SSLKEY, config->key_file);
    }
    code = curl_easy_perform(curl);
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(curl);
    if (code != CURLE_OK)
        err_set(err, ERR_NET, "%s: %s", url, words[0] != '\0' ? words : curl_easy_strerror(code));
    else if (status != 200)
        err_set(err, ERR_NET, "%s answers %ld", url, status);
    free(url);
    return code == CURLE_OK && status == 200 ? 0 : -1;
}

/* The list of members; each element is read from its own text, for ids do not fit jansson's
 * integers. */
static int read_members(struct slice json, struct join *join, struct err *err)
{
    size_t depth = 0, start = 0;
    bool quoted = false;

    join->members = xalloc(RAFT_MEMBERS_MAX * sizeof(*join->members));
    for (size_t i = 0; i < json.size; i++) {
        uint8_t c = json.data[i];

        if (quoted) {
            if (c == '\\')
                i++;
            quoted = c != '"';
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{') {
            if (depth++ == 0)
                start = i;
        } else if (c == '}' && depth != 0 && --depth == 0) {
            if (join->member_count == RAFT_MEMBERS_MAX) {
                err_set(err, ERR_FORMAT, "more than %lu members in the list", RAFT_MEMBERS_MAX);
                return -1;
            }
            if (member_read_json(slice_of(json.data + start, i + 1 - start),
                                 &join->members[join->member_count], NULL, err) < 0)
                return -1;
            join->member_count++;
        }
    }
    return 0;
}

static bool same_urls(const struct member *a, const struct member *b)
{
    if (a->peer_url_count != b->peer_url_count)
        return false;
    for (size_t i = 0; i < a->peer_url_count; i++) {
        bool found = false;

        for (size_t k = 0; k < b->peer_url_count; k++)
            found = found || strcmp(a->peer_urls[i], b->peer_urls[k]) == 0;
        if (!found)
            return false;
    }
    return true;
}

/* Every member that we expect must be in the cluster's list, by its URLs, and no other. */
static int match(const struct join_config *config, struct join *join, struct err *err)
{
    const struct bootstrap *expected = config->expected;

    if (expected->member_count != join->member_count) {
        err_set(err, ERR_USAGE,
                "error validating peerURLs: member count is unequal: --initial-cluster names %zu, "
                "the cluster has %zu; "
                "add this member first (etcd-ctl member add), then start it with the list that it "
                "prints",
                expected->member_count, join->member_count);
        return -1;
    }
    for (size_t i = 0; i < expected->member_count; i++) {
        const struct member *wanted = &expected->members[i], *found = NULL;

        for (size_t k = 0; k < join->member_count; k++)
            if (same_urls(wanted, &join->members[k]))
                found = &join->members[k];
        if (found == NULL) {
            err_set(err, ERR_USAGE,
                    "error validating peerURLs: unmatched member while checking PeerURLs: %s=%s is "
                    "in --initial-cluster "
                    "but not in the cluster",
                    wanted->name, wanted->peer_url_count != 0 ? wanted->peer_urls[0] : "");
            return -1;
        }
        if (i == expected->self)
            join->member_id = found->id;
    }
    return 0;
}

int join_cluster(const struct join_config *config, struct join *join, struct err *err)
{
    const struct bootstrap *expected = config->expected;
    struct answer answer = {.body = BUF_INIT(ANSWER_MAX_BYTES)};
    struct err last = ERR_INIT;
    int rc = -1;

    *join = (struct join){0};
    err_set(&last, ERR_NET, "--initial-cluster names no other member");
    for (size_t i = 0; i < expected->member_count && rc < 0; i++) {
        for (size_t k = 0; k < expected->members[i].peer_url_count && rc < 0; k++)
            if (i != expected->self)
                rc = ask(config, expected->members[i].peer_urls[k], &answer, &last);
    }
    if (rc < 0) {
        err_set(err, ERR_NET,
                "cannot fetch cluster info from peer urls: could not retrieve cluster information "
                "from the given URLs: "
                "%.700s",
                last.text);
    } else {
        join->cluster_id = answer.cluster_id;
        rc = read_members(buf_slice(&answer.body), join, err) == 0 ? match(config, join, err) : -1;
    }
    if (rc < 0)
        join_free(join);
    buf_free(&answer.body);
    return rc;
}

void join_free(struct join *join)
{
    for (size_t i = 0; i < join->member_count; i++)
        member_fini(&join->members[i]);
    free(join->members);
    *join = (struct join){0};
}
