/* ctl_args_test.c - the command line of etcd-ctl, over a small table of its own. */
#include "etcd-ctl/args.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct flag globals[] = {
    {"endpoints", 0, FLAG_LIST, "127.0.0.1:2379", "servers"},
    {"write-out", 'w', FLAG_TEXT, "simple", "format"},
    {"insecure-transport", 0, FLAG_BOOL, "true", "no TLS"},
    {"command-timeout", 0, FLAG_DURATION, "5s", "time"},
    {"cert", 0, FLAG_TEXT, "", "certificate"},
};
static const struct flag get_flags[] = {
    {"prefix", 'p', FLAG_BOOL, "", "prefix"},
    {"limit", 'l', FLAG_INT, "0", "limit"},
};
static const struct flag mirror_flags[] = {{"prefix", 0, FLAG_TEXT, "", "prefix"}};
static const struct command commands[] = {
    {"get", "KEY", "get", get_flags, 2, NULL, false},
    {"defrag", "", "defrag", NULL, 0, NULL, false},
    {"del", "KEY", "del", NULL, 0, NULL, false},
    {"member add", "NAME", "add", NULL, 0, NULL, false},
    {"member list", "", "list", NULL, 0, NULL, false},
    {"mirror", "DEST", "mirror", mirror_flags, 1, NULL, false},
};
static const struct alias aliases[] = {{"cert-file", "cert"}, {"-C", "endpoints"}};
static const struct old_word old_words[] = {{"ls", "get DIR --prefix --keys-only"}};
static const struct lax_command lax[] = {{"get", 2}};
static const struct grammar grammar = {
    commands,  ARRAY_LEN(commands),  globals, ARRAY_LEN(globals), aliases, ARRAY_LEN(aliases),
    old_words, ARRAY_LEN(old_words), lax,     ARRAY_LEN(lax),
};

#define WORDS_MAX 12

/* Parse the words of `line`, separated by '|'. */
static enum args_outcome parse_env(const char *line, char *const *environment, struct args *args,
                                   struct err *err, char **copy)
{
    char *words[WORDS_MAX];
    int count = 0;

    *copy = xstrdup(line);
    for (char *at = *copy; at != NULL && count < WORDS_MAX;) {
        words[count++] = at;
        at = strchr(at, '|');
        if (at != NULL)
            *at++ = '\0';
    }
    if (line[0] == '\0')
        count = 0;
    *err = ERR_INIT;
    return args_parse(&grammar, count, words, environment, args, err);
}

static enum args_outcome parse(const char *line, struct args *args, struct err *err, char **copy)
{
    static char *none[] = {NULL};

    return parse_env(line, none, args, err, copy);
}

static void flags_stand_anywhere(void **state)
{
    static const char *const lines[] = {
        "get|foo|--prefix|--limit=7|-w|json",           "-w=json|get|--limit|7|foo|--prefix",
        "--write-out|json|--prefix|g|--limit=0x7|foo",  "get|-wjson|-pl7|foo",
        "--endpoints|h:1|get|-p=true|-l=7|-w=json|foo",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct args args;
        struct err err;
        char *copy;

        assert_int_equal(parse(lines[i], &args, &err, &copy), ARGS_RUN);
        assert_string_equal(args.command->words, "get");
        assert_int_equal(args.word_count, 1);
        assert_string_equal(args.words[0], "foo");
        assert_true(args_bool(&args, "prefix"));
        assert_int_equal(args_number(&args, "limit"), 7);
        assert_string_equal(args_text(&args, "write-out"), "json");
        args_free(&args);
        free(copy);
    }
}

static void two_dashes_end_the_flags(void **state)
{
    struct args args;
    struct err err;
    char *copy;

    (void)state;
    assert_int_equal(parse("get|a|--|-v|--prefix|--", &args, &err, &copy), ARGS_RUN);
    assert_int_equal(args.word_count, 4);
    assert_int_equal(args.dash_at, 1);
    assert_string_equal(args.words[1], "-v");
    assert_string_equal(args.words[3], "--");
    assert_false(args_bool(&args, "prefix"));
    args_free(&args);
    free(copy);
    assert_int_equal(parse("get|-", &args, &err, &copy), ARGS_RUN);
    assert_string_equal(args.words[0], "-");
    args_free(&args);
    free(copy);
}

static void wrong_words_are_named(void **state)
{
    static const struct {
        const char *line, *error, *hint;
    } cases[] = {
        {"nosuch", "unknown command \"nosuch\"", "--help"},
        {"gte|foo", "unknown command \"gte\"", "get"},
        {"de|foo", "unknown command \"de\"", "defrag, del"},
        {"ls|/", "unknown command \"ls\"", "get DIR --prefix --keys-only"},
        {"get|foo|--nosuch=1", "unknown flag: --nosuch", "--help"},
        {"get|foo|-x", "unknown shorthand flag: 'x' in -x", "--"},
        {"get|foo|--limit=many", "\"many\" for \"--limit\"", ""},
        {"get|foo|--limit", "needs an argument: --limit", ""},
        {"get|foo|--prefix=perhaps", "--prefix", ""},
        {"get|foo|--command-timeout=5", "--command-timeout", ""},
        {"get|foo|-w", "needs an argument: -w", ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct args args;
        struct err err;
        char *copy;

        assert_int_equal(parse(cases[i].line, &args, &err, &copy), ARGS_WRONG);
        assert_non_null(strstr(err.text, cases[i].error));
        assert_non_null(strstr(args.hint, cases[i].hint));
        args_free(&args);
        free(copy);
    }
}

static void old_spellings_are_understood_with_a_note(void **state)
{
    struct args args;
    struct err err;
    char *copy;

    (void)state;
    assert_int_equal(parse("--cert-file=c.crt|-C|a:1|--insecure-transport-false|--no-sync|get|k",
                           &args, &err, &copy),
                     ARGS_RUN);
    assert_string_equal(args_text(&args, "cert"), "c.crt");
    assert_string_equal(args_text(&args, "endpoints"), "a:1");
    assert_false(args_bool(&args, "insecure-transport"));
    assert_non_null(strstr(buf_text(&args.notes), "--cert-file is understood as --cert"));
    assert_non_null(strstr(buf_text(&args.notes), "--insecure-transport=false"));
    args_free(&args);
    free(copy);
    assert_int_equal(parse(" |get|k", &args, &err, &copy), ARGS_RUN);
    assert_string_equal(args.words[0], "k");
    assert_non_null(strstr(buf_text(&args.notes), "blank after a backslash"));
    args_free(&args);
    free(copy);
}

static void lists_add_up(void **state)
{
    struct args args;
    struct err err;
    char *copy;

    (void)state;
    assert_int_equal(parse("get|k|--endpoints=a:1|--endpoints|b:2,c:3", &args, &err, &copy),
                     ARGS_RUN);
    assert_string_equal(args_text(&args, "endpoints"), "a:1,b:2,c:3");
    args_free(&args);
    free(copy);
}

static void help_has_a_topic(void **state)
{
    static const struct {
        const char *line, *topic;
    } cases[] = {{"", ""},
                 {"help", ""},
                 {"--help", ""},
                 {"get|-h", "get"},
                 {"help|get", "get"},
                 {"member", "member"},
                 {"member|lst", "member"},
                 {"mem|l|--help", "member list"},
                 {"help|member", "member"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf out = BUF_INIT(BUF_UNLIMITED);
        struct args args;
        struct err err;
        char *copy;

        assert_int_equal(parse(cases[i].line, &args, &err, &copy), ARGS_HELP);
        assert_string_equal(args.topic, cases[i].topic);
        args_help(&grammar, "etcd-ctl", args.topic, &out);
        assert_non_null(strstr(buf_text(&out), "--endpoints"));
        buf_free(&out);
        args_free(&args);
        free(copy);
    }
}

static void variables_stand_behind_flags(void **state)
{
    char *environment[] = {(char[]){"ETCDCTL_API=3"},
                           (char[]){"ETCDCTL_ENDPOINTS=env:1"},
                           (char[]){"ETCDCTL_WRITE_OUT=table"},
                           (char[]){"ETCDCTL_COMMAND_TIMEOUT=soon"},
                           (char[]){"ETCDCTL_CERT="},
                           (char[]){"ETCDCTL_PREFIX=true"},
                           (char[]){"OTHER=1"},
                           NULL};
    char *version4[] = {(char[]){"ETCDCTL_API=4"}, NULL};
    struct args args;
    struct err err;
    char *copy;

    (void)state;
    assert_int_equal(parse_env("get|k|-w|json", environment, &args, &err, &copy), ARGS_RUN);
    assert_string_equal(args_text(&args, "endpoints"), "env:1");
    assert_string_equal(args_text(&args, "write-out"), "json");
    assert_int_equal(args_number(&args, "command-timeout"), 5000000000);
    assert_false(args_value(&args, "cert")->variable);
    assert_non_null(
        strstr(buf_text(&args.notes), "unrecognized environment variable ETCDCTL_PREFIX"));
    assert_non_null(strstr(buf_text(&args.notes), "\"soon\""));
    assert_null(strstr(buf_text(&args.notes), "ETCDCTL_API"));
    args_free(&args);
    free(copy);
    assert_int_equal(parse_env("get|k", version4, &args, &err, &copy), ARGS_WRONG);
    assert_non_null(strstr(err.text, "unsupported API version: 4"));
    args_free(&args);
    free(copy);
}

/* --prefix has a value in one command only; an empty word too many counts as nothing in get. */
static void commands_differ(void **state)
{
    struct err err = ERR_INIT;
    struct args args;
    char *copy;

    (void)state;
    assert_int_equal(parse("--prefix|src/|mirror|there", &args, &err, &copy), ARGS_RUN);
    assert_string_equal(args.command->words, "mirror");
    assert_string_equal(args_text(&args, "prefix"), "src/");
    assert_int_equal(args.word_count, 1);
    args_free(&args);
    free(copy);
    assert_int_equal(parse("--prefix|get|k", &args, &err, &copy), ARGS_RUN);
    assert_string_equal(args.command->words, "get");
    assert_true(args_bool(&args, "prefix"));
    args_free(&args);
    free(copy);
    assert_int_equal(parse("get|k||", &args, &err, &copy), ARGS_RUN);
    assert_int_equal(args.word_count, 2);
    args_free(&args);
    free(copy);
    assert_int_equal(parse("del|k||", &args, &err, &copy), ARGS_RUN);
    assert_int_equal(args.word_count, 3);
    args_free(&args);
    free(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_stand_anywhere),
        cmocka_unit_test(two_dashes_end_the_flags),
        cmocka_unit_test(wrong_words_are_named),
        cmocka_unit_test(old_spellings_are_understood_with_a_note),
        cmocka_unit_test(lists_add_up),
        cmocka_unit_test(help_has_a_topic),
        cmocka_unit_test(variables_stand_behind_flags),
        cmocka_unit_test(commands_differ),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
