/* endpoint_test.c - endpoints as people type them. */
#include "common/client/endpoint.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void spellings_are_taken_apart(void **state)
{
    static const struct {
        const char *text;
        bool tls_wanted;
        const char *base, *host, *port, *socket;
        bool tls;
    } cases[] = {
        {"127.0.0.1:2379", false, "http://127.0.0.1:2379", "127.0.0.1", "2379", NULL, false},
        {" etcd.example:1 ", true, "https://etcd.example:1", "etcd.example", "1", NULL, true},
        {"http://h:2379/", true, "http://h:2379", "h", "2379", NULL, false},
        {"https://h:2379", false, "https://h:2379", "h", "2379", NULL, true},
        {"https://[::1]:2379", false, "https://[::1]:2379", "::1", "2379", NULL, true},
        {"[fe80::1]:65535", false, "http://[fe80::1]:65535", "fe80::1", "65535", NULL, false},
        {"unix:///run/e.sock", false, "http://localhost", "localhost", "", "/run/e.sock", false},
        {"unix:/run/e.sock", false, "http://localhost", "localhost", "", "/run/e.sock", false},
        {"unix://e.sock:1", false, "http://localhost", "localhost", "", "e.sock:1", false},
        {"unixs:///e", false, "https://localhost", "localhost", "", "/e", true},
        /* what etcdctl dials as well */
        {"HTTPS://h:2379", false, "https://h:2379", "h", "2379", NULL, true},
        {":2379", false, "http://localhost:2379", "localhost", "2379", NULL, false},
        {"http://u:p@h:1", false, "http://h:1", "h", "1", NULL, false},
        {"http://u:p@[::1]:1/", false, "http://[::1]:1", "::1", "1", NULL, false},
        {"http://h:1/v3/kv?x=a@b:c", false, "http://h:1", "h", "1", NULL, false},
        {"http://[fe80::1%25lo]:1", false, "http://[fe80::1%lo]:1", "fe80::1%lo", "1", NULL, false},
        {"[fe80::1%25]:1", false, "http://[fe80::1%25]:1", "fe80::1%25", "1", NULL, false},
        {"https://h:1#f", false, "https://h:1", "h", "1", NULL, true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct endpoint endpoint;
        struct err err = ERR_INIT;

        assert_int_equal(
            endpoint_parse(slice_text(cases[i].text), cases[i].tls_wanted, &endpoint, &err), 0);
        assert_string_equal(endpoint.base, cases[i].base);
        assert_string_equal(endpoint.host, cases[i].host);
        assert_string_equal(endpoint.port, cases[i].port);
        assert_int_equal(endpoint.tls, cases[i].tls);
        assert_int_equal(endpoint.socket != NULL, cases[i].socket != NULL);
        if (cases[i].socket != NULL)
            assert_string_equal(endpoint.socket, cases[i].socket);
        endpoint_free(&endpoint);
    }
}

static void others_are_refused_by_name(void **state)
{
    static const struct {
        const char *text, *error;
    } cases[] = {{"127.0.0.1", "\"127.0.0.1\" has no port"},
                 {"h:", "no port"},
                 {":", "no port"},
                 {"http://u:p@h", "no port"},
                 {"h:2379/", "\"2379/\" is not a port"},
                 {"", "no port"},
                 {"https://", "no port"},
                 {"::1", "[ADDRESS]:PORT"},
                 {"h:0", "\"0\" is not a port"},
                 {"h:65536", "\"65536\" is not a port"},
                 {"h:23x", "\"23x\" is not a port"},
                 {"ftp://h:1", "the scheme must be http, https"},
                 {"ftp://h", "the scheme must be http, https"},
                 {"a b:1", "neither"},
                 {"u@h:1", "neither"},
                 {"unix://", "path of a unix socket"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct endpoint endpoint;
        struct err err = ERR_INIT;

        if (endpoint_parse(slice_text(cases[i].text), false, &endpoint, &err) == 0)
            fail_msg("\"%s\" was taken for an endpoint", cases[i].text);
        if (strstr(err.text, cases[i].error) == NULL)
            fail_msg("\"%s\": %s", cases[i].text, err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spellings_are_taken_apart),
        cmocka_unit_test(others_are_refused_by_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
