/* ctl_txn_test.c - the grammar of txn: comparisons, words, Go string literals. */
#include "common/schema/pbbytes.h"
#include "etcd-ctl/txn_parse.h"

#include "common/client/goquote.h"
#include "common/client/print.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void comparisons_are_read(void **state)
{
    static const struct {
        const char *line, *key;
        int target, result;
        int64_t number;
        const char *value;
    } cases[] = {
        {"value(\"k\") = \"v\"", "k", 3, 0, 0, "v"},
        {"val(\"a\\\"b\")  !=  \"\\x41\\u00e9\"", "a\"b", 3, 3, 0, "A\u00e9"},
        {"mod(\"k\") > \"12\"", "k", 2, 1, 12, NULL},
        {"m(\"k\") < \"-1\"", "k", 2, 2, -1, NULL},
        {"create( \"k\") = \"0\"", "k", 1, 0, 0, NULL},
        {"c(`k\\n`) = `7`", "k\\n", 1, 0, 7, NULL},
        {"version(\"k\") = \"3\"", "k", 0, 0, 3, NULL},
        {"ver(\"\") = \"3\"", "", 0, 0, 3, NULL},
        {"lease(\"k\") = \"1234\"", "k", 4, 0, 1234, NULL},
        {"lease(\"k\") = \"7b3c\"", "k", 4, 0, 0x7b3c, NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Etcdserverpb__Compare compare;
        struct err err = ERR_INIT;
        struct arena arena;

        arena_init(&arena, 1UL << 20);
        assert_int_equal(txn_parse_compare(slice_text(cases[i].line), &arena, &compare, &err), 0);
        assert_true(slice_equal(pb_slice(compare.key), slice_text(cases[i].key)));
        assert_int_equal(compare.target, cases[i].target);
        assert_int_equal(compare.result, cases[i].result);
        if (cases[i].value != NULL)
            assert_true(slice_equal(pb_slice(compare.value), slice_text(cases[i].value)));
        else
            assert_int_equal(compare.version, cases[i].number);
        arena_free(&arena);
    }
}

static void bad_comparisons_are_named(void **state)
{
    static const struct {
        const char *line, *error;
    } cases[] = {
        {"hello", "malformed comparison: hello"},
        {"", "malformed comparison"},
        {"bogus(\"k\") = \"0\"", "(unknown target bogus)"},
        {"value(k) = \"0\"", "malformed comparison"},
        {"value(\"k\") = v", "malformed comparison"},
        {"value(\"k\") == \"v\"", "malformed comparison"},
        {"value(\"k\") =\"v\"", "malformed comparison"},
        {"value(\"k) = \"v\"", "malformed comparison"},
        {"value(\"k\") = \"v\" more", "malformed comparison"},
        {"value(\"k\") = \"\\q\"", "malformed comparison"},
        {"mod(\"k\") = \"x\"", "invalid txn compare request: mod"},
        {"mod(\"k\") = \"\"", "invalid txn compare request"},
        {"ver(\"k\") = \"99999999999999999999\"", "invalid txn compare request"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Etcdserverpb__Compare compare;
        struct err err = ERR_INIT;
        struct arena arena;

        arena_init(&arena, 1UL << 20);
        assert_int_equal(txn_parse_compare(slice_text(cases[i].line), &arena, &compare, &err), -1);
        assert_non_null(strstr(err.text, cases[i].error));
        arena_free(&arena);
    }
}

static void words_are_cut(void **state)
{
    static const struct {
        const char *line;
        size_t count;
        const char *words[4];
    } cases[] = {
        {"put k v", 3, {"put", "k", "v"}},
        {"  put  'a b\\n'  \"c\\td\" ", 3, {"put", "a b\\n", "c\td"}},
        {"get '' --prefix", 3, {"get", "", "--prefix"}},
        {"put a=b it's", 3, {"put", "a=b", "it's"}},
        {"", 0, {NULL}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *words[TXN_WORDS_MAX];
        struct err err = ERR_INIT;
        struct arena arena;
        size_t count;

        arena_init(&arena, 1UL << 20);
        assert_int_equal(txn_parse_words(slice_text(cases[i].line), &arena, words, &count, &err),
                         0);
        assert_int_equal(count, cases[i].count);
        for (size_t j = 0; j < count; j++)
            assert_string_equal(words[j], cases[i].words[j]);
        arena_free(&arena);
    }
}

static void bad_words_are_named(void **state)
{
    static const struct {
        const char *line, *error;
    } cases[] = {
        {"put 'a", "bad quotes"}, {"put \"a", "bad quotes"}, {"put \"\\x00\"", "a NUL byte"}};
    char many[TXN_WORDS_MAX * 2 + 3];
    const char *words[TXN_WORDS_MAX];
    struct err err = ERR_INIT;
    struct arena arena;
    size_t count;

    (void)state;
    arena_init(&arena, 1UL << 20);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(txn_parse_words(slice_text(cases[i].line), &arena, words, &count, &err),
                         -1);
        assert_non_null(strstr(err.text, cases[i].error));
    }
    for (size_t i = 0; i + 1 < sizeof(many); i++)
        many[i] = i % 2 == 0 ? 'w' : ' ';
    many[sizeof(many) - 1] = '\0';
    assert_int_equal(txn_parse_words(slice_text(many), &arena, words, &count, &err), -1);
    assert_non_null(strstr(err.text, "too many words"));
    arena_free(&arena);
}

/* What print_quoted() writes, goquote_parse() reads. */
static void literals_round_trip(void **state)
{
    uint8_t bytes[256];
    struct buf text = BUF_INIT(BUF_UNLIMITED), back = BUF_INIT(BUF_UNLIMITED);

    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)i;
    print_quoted(&text, slice_of(bytes, sizeof(bytes)));
    assert_int_equal(goquote_parse(buf_slice(&text), &back), text.size);
    assert_true(slice_equal(buf_slice(&back), slice_of(bytes, sizeof(bytes))));
    buf_reset(&back);
    assert_int_equal(goquote_parse(slice_text("\"\\101\\U0001f600\"rest"), &back), 16);
    assert_string_equal(buf_text(&back), "A\U0001f600");
    assert_int_equal(goquote_parse(slice_text("\"\\ud800\""), &back), 0);
    assert_int_equal(goquote_parse(slice_text("\"\\x4"), &back), 0);
    assert_int_equal(goquote_parse(slice_text("'a'"), &back), 0);
    buf_free(&text);
    buf_free(&back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comparisons_are_read), cmocka_unit_test(bad_comparisons_are_named),
        cmocka_unit_test(words_are_cut),        cmocka_unit_test(bad_words_are_named),
        cmocka_unit_test(literals_round_trip),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
