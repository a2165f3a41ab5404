/* join_test.c - what a member that joins makes of the others' answers, good and bad. */
#include "etcd-server/host/join.h"
#include "tests/lib/http_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>

#define OURS "http://127.0.0.1:1"

/* Join through one peer that answers `fields` and `body`, in which @ is its URL. */
static int join_via(const char *fields, const char *body, struct join *join, char *url,
                    struct err *err)
{
    struct bootstrap expected = {0};
    struct join_config config = {.expected = &expected, .timeout_ms = HTTP_PEER_WAIT_MS};
    struct http_peer peer;
    char answer[2048] = "", content[1024], cluster[256];
    const char *mark = strchr(body, '@');
    int rc;

    http_peer_start(&peer, answer, NULL);
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
    rc = join_cluster(&config, join, err);
    bootstrap_free(&expected);
    http_peer_stop(&peer);
    assert_memory_equal(peer.got, "GET /members HTTP/1.1\r\n", 23);
    return rc;
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
    refuse(ok, "[{\"id\":1,\"peerURLs\":[\"@\"]},", ERR_FORMAT,
           "the list of members that a peer answered with: ");
    refuse(ok, "{\"id\":1,\"peerURLs\":[\"@\"]}", ERR_FORMAT, "a list");
    refuse(ok, "[{\"id\":1,\"peerURLs\":7}]", ERR_FORMAT, "peerURLs is no list");
    refuse(ok, "", ERR_FORMAT, "the end");
    refuse("503 Service Unavailable", "not yet", ERR_NET, "/members answers 503: not yet");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_itself),
        cmocka_unit_test(tells_what_does_not_fit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
