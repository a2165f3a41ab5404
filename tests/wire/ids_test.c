/* ids_test.c - member and cluster ids against those of a real etcd, and the checks at bootstrap. */
#include "common/base/resolve.h"
#include "common/base/url.h"
#include "common/schema/bootstrap.h"
#include "common/schema/ids.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>
#include <jansson.h>

static const char *text_of(json_t *item, const char *key)
{
    return json_string_value(json_object_get(item, key));
}

static uint64_t hex_of(json_t *item, const char *key)
{
    return strtoull(text_of(item, key), NULL, 16);
}

static void check_bootstrap(json_t *item)
{
    json_t *members = json_object_get(item, "members");
    struct bootstrap bootstrap;
    struct err err = ERR_INIT;

    for (size_t at = 0; at < json_array_size(members); at++) {
        json_t *member = json_array_get(members, at);
        json_t *urls = json_object_get(member, "peerURLs_as_stored");
        struct buf own = BUF_INIT(1000);

        for (size_t url = json_array_size(urls); url-- > 0;) /* any order will do */
            buf_printf(&own, "%s%s", json_string_value(json_array_get(urls, url)),
                       url != 0 ? "," : "");
        if (bootstrap_parse(text_of(member, "name"), text_of(item, "initial_cluster"),
                            text_of(item, "token"), buf_text(&own), &bootstrap, &err) < 0)
            fail_msg("%s: %s", text_of(item, "case"), err.text);
        assert_true(bootstrap.cluster_id == hex_of(item, "cluster_id"));
        assert_int_equal(bootstrap.member_count, json_array_size(members));
        assert_true(bootstrap.members[bootstrap.self].id == hex_of(member, "id"));
        assert_int_equal(bootstrap.members[bootstrap.self].peer_url_count, json_array_size(urls));
        for (size_t url = 0; url < json_array_size(urls); url++)
            assert_string_equal(bootstrap.members[bootstrap.self].peer_urls[url],
                                json_string_value(json_array_get(urls, url)));
        bootstrap_free(&bootstrap);
        buf_free(&own);
    }
}

static void ids_equal_those_of_etcd(void **state)
{
    json_t *list = json_load_file("tests/wire/vectors/ids.json", JSON_DECODE_INT_AS_REAL, NULL);

    (void)state;
    assert_int_equal(json_array_size(list), 11);
    for (size_t at = 0; at < json_array_size(list); at++) {
        json_t *item = json_array_get(list, at);

        if (json_object_get(item, "initial_cluster") != NULL) {
            check_bootstrap(item);
        } else {
            const char *url =
                json_string_value(json_array_get(json_object_get(item, "peerURLs"), 0));
            int64_t time = (int64_t)json_number_value(json_object_get(item, "unix_seconds"));

            assert_true(ids_member(&url, 1, "", time) == hex_of(item, "id"));
        }
    }
    json_decref(list);
}

static void mistakes_are_named_in_the_words_of_etcd(void **state)
{
    static const struct {
        const char *name, *cluster, *own, *text;
    } cases[] = {
        {"n1", "n2=http://a:1", "http://a:1",
         "couldn't find local name \"n1\" in the initial cluster configuration"},
        {"n1", "n1=http://127.0.0.1:22381", "http://127.0.0.1:22380",
         "--initial-cluster has n1=http://127.0.0.1:22381 but missing from "
         "--initial-advertise-peer-urls=http://127.0.0.1:22380 (resolved urls: "
         "\"http://127.0.0.1:22380\" != \"http://127.0.0.1:22381\")"},
        {"n1", "n1=http://a:1", "http://a:1,http://b:1",
         "--initial-advertise-peer-urls has http://b:1 but missing from "
         "--initial-cluster=n1=http://a:1"},
        {"n1", "n1=http://a:1,n1=http://b:1", "http://a:1",
         "--initial-cluster has n1=http://b:1 but missing from "
         "--initial-advertise-peer-urls=http://a:1 (len([\"http://a:1\"]) != "
         "len([\"http://a:1\" \"http://b:1\"]))"},
        {"n1", "n1=http://a:1,n2=http://a:1", "http://a:1",
         "initial cluster n1=http://a:1,n2=http://a:1 has duplicate url"},
        {"n1", "n1=http://a:1,n1=http://a:1", "http://a:1",
         "initial cluster n1=http://a:1,n1=http://a:1 has duplicate url"},
        {"n1", "n1=foo", "http://a:1",
         "error setting up initial cluster: URL scheme must be http, https, unix, or unixs: foo"},
        {"n1", "n1", "http://a:1",
         "error setting up initial cluster: initial cluster \"n1\": \"n1\" is not of the form "
         "name=URL"},
        {"n1", "n1=http://a:1", "http://a:1/", "URL must not contain a path: http://a:1/"},
    };

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(cases); at++) {
        struct bootstrap bootstrap;
        struct err err = ERR_INIT;

        assert_int_equal(bootstrap_parse(cases[at].name, cases[at].cluster, "t", cases[at].own,
                                         &bootstrap, &err),
                         -1);
        assert_string_equal(err.text, cases[at].text);
        bootstrap_free(&bootstrap);
    }
    {
        struct bootstrap bootstrap;
        struct err err = ERR_INIT;

        assert_int_equal(bootstrap_parse("n1", "n1=http://a:1,,n2=http://b:1,", "t", "http://a:1",
                                         &bootstrap, &err),
                         0); /* commas too many do not matter, as in etcd */
        assert_int_equal(bootstrap.member_count, 2);
        bootstrap_free(&bootstrap);
    }
}

static int toy_resolve(void *arg, const char *url, char **resolved, struct err *err)
{
    unsigned *asked = arg;

    (*asked)++;
    if (strcmp(url, "http://gone:1") == 0) {
        err_set(err, ERR_NET, "failed to resolve \"%s\"", url);
        return -1;
    }
    *resolved = xstrdup(strcmp(url, "http://one:1") == 0 ? "http://10.0.0.1:1" : url);
    return 0;
}

/* As etcd: only where the lists are not spelled alike; ids come from what --initial-cluster says.
 */
static void names_are_resolved_where_lists_differ(void **state)
{
    static const struct {
        const char *cluster, *own, *text;
        unsigned asked;
    } cases[] = {
        {"n1=http://one:1", "http://10.0.0.1:1", NULL, 2},
        {"n1=http://10.0.0.1:1,n2=http://gone:1", "http://one:1", NULL, 2},
        {"n1=http://gone:1", "http://gone:1", NULL, 0},
        {"n1=http://one:1,n1=http://10.0.0.0:9", "http://10.0.0.1:1,http://10.0.0.0:9", NULL, 4},
        {"n1=http://one:1", "http://10.0.0.2:1",
         "--initial-cluster has n1=http://one:1 but missing from "
         "--initial-advertise-peer-urls=http://10.0.0.2:1 (resolved urls: \"http://10.0.0.2:1\" != "
         "\"http://10.0.0.1:1\")",
         2},
        {"n1=http://gone:1", "http://10.0.0.1:1",
         "--initial-cluster has n1=http://gone:1 but missing from "
         "--initial-advertise-peer-urls=http://10.0.0.1:1 (failed to resolve \"http://gone:1\")",
         2},
        {"n1=http://gone:1", NULL, NULL, 0},
    };

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(cases); at++) {
        unsigned asked = 0;
        struct bootstrap_wish wish = {.name = "n1",
                                      .initial_cluster = cases[at].cluster,
                                      .token = "t",
                                      .advertised = cases[at].own,
                                      .resolve = toy_resolve,
                                      .resolve_arg = &asked};
        struct bootstrap bootstrap;
        struct err err = ERR_INIT;
        int rc = bootstrap_read(&wish, &bootstrap, &err);
        char *own = rc == 0 ? bootstrap_own_urls(&bootstrap) : NULL;

        assert_string_equal(err.text, cases[at].text != NULL ? cases[at].text : "");
        assert_int_equal(rc, cases[at].text != NULL ? -1 : 0);
        assert_int_equal(asked, cases[at].asked);
        if (at == 3)
            assert_string_equal(own, "http://10.0.0.0:9,http://one:1");
        free(own);
        bootstrap_free(&bootstrap);
    }
}

/* getaddrinfo() knows these without asking anybody. */
static void urls_are_resolved(void **state)
{
    static const char *const cases[][2] = {
        {"http://127.1:2380", "http://127.0.0.1:2380"},
        {"https://0x7f.2:1", "https://127.0.0.2:1"},
        {"http://localhost:1", "http://localhost:1"}, /* as in etcd */
        {"http://10.0.0.1:1", "http://10.0.0.1:1"},
        {"http://[::1]:1", "http://[::1]:1"},
        {"unix://a:1", "unix://a:1"},
    };
    struct resolve_wait late = {.until_ms = 1};
    struct err err = ERR_INIT;
    char *resolved = NULL;

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(cases); at++) {
        assert_int_equal(resolve_url(&late, cases[at][0], &resolved, &err), 0);
        assert_string_equal(resolved, cases[at][1]);
        free(resolved);
    }
    assert_int_equal(resolve_url(&late, "http://a..b:1", &resolved, &err), -1);
    assert_non_null(strstr(err.text, "failed to resolve \"http://a..b:1\" ("));
    assert_int_equal(resolve_url(&late, "a:1", &resolved, &err), -1);
}

static void good_urls_come_apart(void **state)
{
    static const struct {
        const char *text, *host, *printed;
        enum url_scheme scheme;
        uint16_t port;
    } cases[] = {
        {" http://127.0.0.1:2380 ", "127.0.0.1", "http://127.0.0.1:2380", URL_HTTP, 2380},
        {"HTTPS://Node-A:65535", "Node-A", "https://Node-A:65535", URL_HTTPS, 65535},
        {"http://[::1]:0", "::1", "http://[::1]:0", URL_HTTP, 0},
        {"http://:1", "", "http://:1", URL_HTTP, 1},
        {"unix:///run/etcd.sock", "/run/etcd.sock", "unix:///run/etcd.sock", URL_UNIX, 0},
        {"unix:/run/etcd.sock", "/run/etcd.sock", "unix:/run/etcd.sock", URL_UNIX, 0},
        {"unixs://localhost:12", "localhost:12", "unixs://localhost:12", URL_UNIXS, 0},
    };

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(cases); at++) {
        struct err err = ERR_INIT;
        struct url url;

        if (url_parse(cases[at].text, &url, &err) < 0)
            fail_msg("%s", err.text);
        assert_string_equal(url.host, cases[at].host);
        assert_string_equal(url.text, cases[at].printed);
        assert_int_equal(url.scheme, cases[at].scheme);
        assert_int_equal(url.port, cases[at].port);
        url_fini(&url);
    }
}

static void bad_urls_are_refused(void **state)
{
    static const char *const cases[] = {
        "",           "foo",           "http:",           "http://",        "http://a",
        "http://a:",  "http://a:b",    "http://a:65536",  "http://a:1/",    "http://a:1/x",
        "ftp://a:1",  "http:a:1",      "http://::1:2380", "http://[::1]",   "http://[::1:2380",
        "http://[]:", "http://u@a:1",  "http://a:1?x",    "http://a b:1",   "http://a:-1",
        "unix://",    "http://[[]]:1", "http://[]:1",     "http://a:1\x01", "://a:1",
    };

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(cases); at++) {
        struct err err = ERR_INIT;
        struct url url;

        if (url_parse(cases[at], &url, &err) == 0)
            fail_msg("taken: %s", cases[at]);
        assert_int_equal(err.code, ERR_USAGE);
    }
}

static void request_ids_count_up(void **state)
{
    struct request_ids ids;

    (void)state;
    request_ids_init(&ids, 0x65c036664b72b63, 0x18000000000);
    assert_true(request_ids_next(&ids) == 0x2b63800000000001);
    assert_true(request_ids_next(&ids) == 0x2b63800000000002);
    request_ids_init(&ids, 0x8000, 0);
    ids.counter = (UINT64_C(1) << 48) - 1;
    assert_true(request_ids_next(&ids) == UINT64_C(1) << 63); /* begins anew in its 48 bits */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_equal_those_of_etcd),
        cmocka_unit_test(mistakes_are_named_in_the_words_of_etcd),
        cmocka_unit_test(names_are_resolved_where_lists_differ),
        cmocka_unit_test(urls_are_resolved),
        cmocka_unit_test(good_urls_come_apart),
        cmocka_unit_test(bad_urls_are_refused),
        cmocka_unit_test(request_ids_count_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
