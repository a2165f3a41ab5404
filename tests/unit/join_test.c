/* join_test.c - what a member that joins makes of the others' answers, good and bad. */
#include "etcd-server/host/join.h"
#include "common/base/resolve.h"
#include "tests/lib/http_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>

#define OURS "http://127.0.0.1:1"

#define ANSWER(text_, size_) "HTTP/1.1 200 OK\r\nContent-Length: " size_ "\r\n\r\n" text_
/* of /downgrade/enabled and /version */
#define NO_DOWNGRADE ANSWER("false", "5")
#define AT_3_5 ANSWER("{\"etcdserver\":\"3.5.1\",\"etcdcluster\":\"3.5.0\"}", "44")
#define NOT_THERE "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"

static bool resolves; /* names in lists that differ */

/*
 * Ask a peer that answers `fields` and `body`, in which @ is its URL, and then with the two of
 * `further` (/downgrade/enabled, /version): to join, or (further NULL) whether we may be new.
 */
static int join_with(const char *fields, const char *body, const char *const further[2],
                     struct join *join, char *url, struct err *err)
{
    struct bootstrap expected = {0};
    struct resolve_wait wait = {0};
    struct join_config config = {.expected = &expected,
                                 .resolve = resolves ? resolve_url : NULL,
                                 .resolve_arg = &wait,
                                 .timeout_ms = HTTP_PEER_WAIT_MS};
    struct http_peer peer;
    char answer[2048] = "", content[1024], cluster[256];
    const char *mark = strchr(body, '@');
    const char *answers[] = {answer, further != NULL ? further[0] : NULL,
                             further != NULL ? further[1] : NULL};
    int rc;

    http_peer_start_answers(&peer, answers, further != NULL ? 3 : 1, NULL);
    (void)snprintf(url, sizeof(peer.url), "%s", peer.url);
    if (mark != NULL)
        (void)snprintf(content, sizeof(content), "%.*s%s%s", (int)(mark - body), body, peer.url,
                       mark + 1);
    else
        (void)snprintf(content, sizeof(content), "%s", body);
    (void)snprintf(answer, sizeof(answer), "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n%s", fields,
                   strlen(content), content);
    (void)snprintf(cluster, sizeof(cluster), "new=" OURS ",old=%s", peer.url);
    assert_int_equal(bootstrap_parse("new", cluster, "token", OURS, &expected, err), 0);
    rc = further == NULL ? join_not_bootstrapped(&config, err) : join_cluster(&config, join, err);
    bootstrap_free(&expected);
    http_peer_stop(&peer);
    if (further == NULL || rc < 0)
        assert_true(strncmp(peer.got, "GET /members HTTP/1.1\r\n", 23) == 0 ||
                    strncmp(peer.got, "GET /version ", 13) == 0);
    return rc;
}

static int join_via(const char *fields, const char *body, struct join *join, char *url,
                    struct err *err)
{
    static const char *const further[] = {NO_DOWNGRADE, AT_3_5};

    return join_with(fields, body, further, join, url, err);
}

static void finds_itself(void **state)
{
    struct join join;
    struct err err = ERR_INIT;
    char url[64];

    (void)state;
    if (join_via("200 OK\r\nX-Etcd-Cluster-Id: cdf818194e3a8c32",
                 " [ {\"id\":18446744073709551615,\"peerURLs\":[\"@\"],\"name\":\"o}]\\\"{d\"} ,\n"
                 "{\"id\":10276657743932975437,\"peerURLs\":[\"" OURS "\"],\"name\":\"\"}]\n",
                 &join, url, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(join.member_id == 10276657743932975437U);
    assert_true(join.cluster_id == 0xcdf818194e3a8c32U);
    assert_int_equal(join.member_count, 2);
    assert_true(join.members[0].id == UINT64_MAX);
    assert_string_equal(join.members[0].name, "o}]\"{d");
    assert_string_equal(join.members[0].peer_urls[0], url);
    join_free(&join);
}

/* raft.md 10.3: who gives no list that is of use is passed over. */
static void asks_the_next_one(void **state)
{
    static const char *const odd[] = {ANSWER("<html>", "6"), NO_DOWNGRADE, AT_3_5};
    struct bootstrap expected = {0};
    struct join_config config = {.expected = &expected, .timeout_ms = HTTP_PEER_WAIT_MS};
    struct http_peer first, second;
    struct join join;
    struct err err = ERR_INIT;
    char answer[512], list[256], cluster[256];
    const char *answers[] = {answer, AT_3_5};

    (void)state;
    http_peer_start_answers(&first, odd, ARRAY_LEN(odd), NULL);
    http_peer_start_answers(&second, answers, ARRAY_LEN(answers), NULL);
    (void)snprintf(list, sizeof(list),
                   "[{\"id\":1,\"peerURLs\":[\"%s\"]},{\"id\":2,\"peerURLs\":[\"" OURS "\"]},"
                   "{\"id\":3,\"peerURLs\":[\"%s\"]}]",
                   first.url, second.url);
    (void)snprintf(answer, sizeof(answer),
                   "HTTP/1.1 200 OK\r\nX-Etcd-Cluster-Id: 7\r\nContent-Length: %zu\r\n\r\n%s",
                   strlen(list), list);
    (void)snprintf(cluster, sizeof(cluster), "new=" OURS ",a=%s,b=%s", first.url, second.url);
    assert_int_equal(bootstrap_parse("new", cluster, "token", OURS, &expected, &err), 0);
    if (join_cluster(&config, &join, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(join.cluster_id, 7);
    assert_int_equal(join.member_count, 3);
    join_free(&join);
    bootstrap_free(&expected);
    http_peer_stop(&first);
    http_peer_stop(&second);
}

/* The cluster spells our address in another way. getaddrinfo() knows 127.1 without asking. */
static void finds_itself_by_address(void **state)
{
    static const char body[] = "[{\"id\":1,\"peerURLs\":[\"@\"]},"
                               "{\"id\":2,\"peerURLs\":[\"http://127.1:1\"]}]",
                      two[] = "[{\"id\":1,\"peerURLs\":[\"@\"]},"
                              "{\"id\":2,\"peerURLs\":[\"http://127.1:1\",\"http://127.2:1\"]}]";
    struct join join;
    struct err err = ERR_INIT;
    char url[64];

    (void)state;
    assert_int_equal(join_via("200 OK\r\nX-Etcd-Cluster-Id: 1", body, &join, url, &err), -1);
    assert_non_null(strstr(err.text, "(resolved urls: \"http://127.1:1\" != \"" OURS "\")"));
    resolves = true;
    if (join_via("200 OK\r\nX-Etcd-Cluster-Id: 1", body, &join, url, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(join.member_id, 2);
    join_free(&join);
    assert_int_equal(join_via("200 OK\r\nX-Etcd-Cluster-Id: 1", two, &join, url, &err), -1);
    resolves = false;
    assert_non_null(strstr(err.text, "unmatched member while checking PeerURLs: new="));
}

static void refuse(const char *fields, const char *body, enum err_code code, const char *words)
{
    struct join join;
    struct err err = ERR_INIT;
    char url[64];

    assert_int_equal(join_via(fields, body, &join, url, &err), -1);
    if (err.code != code || strstr(err.text, words) == NULL)
        fail_msg("%s: not: %s", words, err.text);
    assert_null(join.members);
}

static void tells_what_does_not_fit(void **state)
{
    static const char ok[] = "200 OK\r\nX-Etcd-Cluster-Id: 1";

    (void)state;
    refuse(ok, "[{\"id\":1,\"peerURLs\":[\"@\"]}]", ERR_USAGE,
           "member count is unequal: --initial-cluster names 2, the cluster has 1; add this");
    refuse(ok, "[{\"id\":1,\"peerURLs\":[\"@\"]},{\"id\":2,\"peerURLs\":[\"http://a:1\"]}]",
           ERR_USAGE, "unmatched member while checking PeerURLs: new=" OURS);
    refuse(ok, "[{\"id\":1,\"peerURLs\":[\"@\"]},", ERR_NET, "/members: JSON syntax error");
    refuse(ok, "[]", ERR_NET, "/members: the list of members is empty");
    refuse("200 OK", "[]", ERR_NET, "/members: X-Etcd-Cluster-ID: \"\" is no id");
    refuse("200 OK\r\nX-Etcd-Cluster-Id: -1", "[]", ERR_NET, "\"-1\" is no id");
    refuse("200 OK\r\nX-Etcd-Cluster-Id: 10000000000000000", "[]", ERR_NET, "is no id");
    refuse(ok, "{\"id\":1,\"peerURLs\":[\"@\"]}", ERR_NET, "a list");
    refuse(ok, "[{\"id\":1,\"peerURLs\":7}]", ERR_NET, "peerURLs is no list");
    refuse(ok, "", ERR_NET, "the end");
    refuse("503 Service Unavailable", "not yet", ERR_NET, "/members answers 503: not yet");
}

/* The members fit; `further` and what is said of the versions. NULL: nothing, it may join. */
static void versions(const char *const further[2], const char *words)
{
    struct join join;
    struct err err = ERR_INIT;
    char url[64];
    int rc = join_with("200 OK\r\nX-Etcd-Cluster-Id: 1",
                       "[{\"id\":1,\"peerURLs\":[\"@\"]},{\"id\":2,\"peerURLs\":[\"" OURS "\"]}]",
                       further, &join, url, &err);

    if ((rc == 0) != (words == NULL) || (words != NULL && strstr(err.text, words) == NULL))
        fail_msg("%s: not: %s", words != NULL ? words : "joined", err.text);
    if (rc == 0)
        join_free(&join);
}

static void joins_clusters_of_its_level(void **state)
{
    static const char low[] = ANSWER("{\"etcdserver\":\"3.4.9\",\"etcdcluster\":\"3.4.0\"}", "44"),
                      high[] = ANSWER("{\"etcdserver\":\"3.6.9\",\"etcdcluster\":\"3.6.0\"}", "44"),
                      two[] = ANSWER("{\"etcdserver\":\"2.3.0\",\"etcdcluster\":\"2.3.0\"}", "44"),
                      open[] = ANSWER("{\"etcdserver\":\"3.5.9\",\"etcdcluster\":\"not_decided\"}",
                                      "50"),
                      odd[] = ANSWER("[1]", "3"), down[] = ANSWER("true", "4");

    (void)state;
    versions((const char *const[]){NO_DOWNGRADE, low}, NULL);
    versions((const char *const[]){NOT_THERE, AT_3_5}, NULL);
    versions((const char *const[]){down, high}, NULL);
    versions((const char *const[]){NO_DOWNGRADE, high}, "its version is 3.6.0, and this server");
    versions((const char *const[]){down, AT_3_5}, "joins clusters from 3.6 to 3.6");
    versions((const char *const[]){NO_DOWNGRADE, two}, "joins clusters from 3.0 to 3.5");
    versions((const char *const[]){NO_DOWNGRADE, open}, "none of its members tells");
    versions((const char *const[]){NO_DOWNGRADE, odd}, "incompatible with current running cluster");
    versions((const char *const[]){NO_DOWNGRADE, NOT_THERE}, "none of its members tells");
}

/* With its data it lost what it voted for, so it may not begin again under its old id. */
static void is_new_once(void **state)
{
    struct bootstrap self = {0};
    struct err err = ERR_INIT;
    char body[512], url[64];
    uint64_t id;

    (void)state;
    assert_int_equal(join_with("200 OK", "[]", NULL, NULL, url, &err), 0);
    assert_int_equal(join_with("503 Later", "", NULL, NULL, url, &err), 0);
    assert_int_equal(join_with("200 OK", "x", NULL, NULL, url, &err), 0);
    assert_int_equal(bootstrap_parse("new", "new=" OURS, "token", OURS, &self, &err), 0);
    id = self.members[0].id;
    bootstrap_free(&self);
    (void)snprintf(body, sizeof(body), "[{\"id\":%" PRIu64 ",\"peerURLs\":[\"" OURS "\"]}]", id);
    assert_int_equal(join_with("200 OK", body, NULL, NULL, url, &err), 0);
    (void)snprintf(
        body, sizeof(body),
        "[{\"id\":%" PRIu64 ",\"peerURLs\":[\"" OURS "\"],\"clientURLs\":[\"http://c:1\"]}]", id);
    assert_int_equal(join_with("200 OK", body, NULL, NULL, url, &err), 0); /* of no cluster */
    assert_int_equal(join_with("200 OK\r\nX-Etcd-Cluster-Id: 1", body, NULL, NULL, url, &err), -1);
    assert_non_null(strstr(err.text, "has already been bootstrapped"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_itself),
        cmocka_unit_test(asks_the_next_one),
        cmocka_unit_test(finds_itself_by_address),
        cmocka_unit_test(tells_what_does_not_fit),
        cmocka_unit_test(joins_clusters_of_its_level),
        cmocka_unit_test(is_new_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
