/* log_test.c - both forms of a line, escapes, cuts, levels, several outputs, threads. */
#include "common/base/buf.h"
#include "common/base/file.h"
#include "common/base/limits.h"
#include "common/base/log.h"
#include "common/base/log_output.h"

#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

static int outputs[2];

static int setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(outputs); i++) {
        outputs[i] = memfd_create("log", 0);
        assert_int_equal(fcntl(outputs[i], F_SETFL, O_APPEND), 0);
    }
    log_output(outputs, ARRAY_LEN(outputs));
    log_setup(LOG_INFO, LOG_JSON);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    log_output(NULL, 0);
    for (size_t i = 0; i < ARRAY_LEN(outputs); i++)
        close(outputs[i]);
    return 0;
}

/* All that output `i` holds. */
static const char *logged(size_t i, struct buf *out)
{
    off_t size = lseek(outputs[i], 0, SEEK_END);

    buf_reset(out);
    if (size > 0) {
        uint8_t *room = buf_reserve(out, (size_t)size);
        assert_int_equal(pread(outputs[i], room, (size_t)size, 0), size);
        buf_advance(out, (size_t)size);
    }
    return buf_text(out);
}

/* Cut the time out of a line, after a look at its form. */
static void drop_time(char *line)
{
    static const char form[] = "dddd-dd-ddTdd:dd:dd.ddddddZ";
    char *at = strstr(line, "20");

    assert_non_null(at);
    for (size_t i = 0; form[i] != '\0'; i++) {
        if (form[i] == 'd')
            assert_in_range(at[i], '0', '9');
        else
            assert_int_equal(at[i], form[i]);
    }
    memmove(at, at + sizeof(form) - 1, strlen(at + sizeof(form) - 1) + 1);
}

static void json_line(void **state)
{
    struct buf out = BUF_INIT(BUF_UNLIMITED), second = BUF_INIT(BUF_UNLIMITED);
    char *line;

    (void)state;
    log_write(LOG_INFO, "etcd-server/engine/apply.c", 12, "became leader",
              (const struct log_field[]){log_u64("term", UINT64_MAX),
                                         log_i64("delta", -3),
                                         log_hex("member-id", 0x8e9e05c52164694d),
                                         log_str("name", "a\"\\\n\t\x01\x7f\xc3\xa9\xff"),
                                         log_str("none", NULL),
                                         log_bool("yes", true),
                                         log_bool("no", 0),
                                         {.kind = LOG_KIND_END}});
    line = xstrdup(logged(0, &out));
    assert_string_equal(line, logged(1, &second));
    drop_time(line);
    assert_string_equal(
        line, "{\"level\":\"info\",\"ts\":\"\",\"caller\":\"engine/apply.c:12\",\"msg\":\"became "
              "leader\",\"term\":18446744073709551615,\"delta\":-3,\"member-id\":"
              "\"8e9e05c52164694d\",\"name\":\"a\\\"\\\\\\n\\t\\u0001\\u007f\xc3\xa9\\ufffd\","
              "\"none\":\"\",\"yes\":true,\"no\":false}\n");
    free(line);
    buf_free(&out);
    buf_free(&second);
}

static void console_line(void **state)
{
    struct buf out = BUF_INIT(BUF_UNLIMITED);
    char *line;

    (void)state;
    log_setup(LOG_DEBUG, LOG_CONSOLE);
    log_write(LOG_WARN, "main.c", 7, "slow", (const struct log_field[]){{.kind = LOG_KIND_END}});
    line = xstrdup(logged(0, &out));
    drop_time(line);
    assert_string_equal(line, "\twarn\tmain.c:7\tslow\n");
    free(line);
    assert_int_equal(ftruncate(outputs[0], 0), 0);
    assert_int_equal(lseek(outputs[0], 0, SEEK_SET), 0);
    log_write(
        LOG_DEBUG, "/a/b/c.c", 7, "two\nlines",
        (const struct log_field[]){log_str("a", "b"), log_u64("n", 1), {.kind = LOG_KIND_END}});
    line = xstrdup(logged(0, &out));
    drop_time(line);
    assert_string_equal(line, "\tdebug\tb/c.c:7\ttwo\\nlines\t{\"a\": \"b\", \"n\": 1}\n");
    free(line);
    buf_free(&out);
}

static void durations(void **state)
{
    static const struct {
        uint64_t ms;
        const char *text;
    } cases[] = {
        {0, "0s"},
        {20, "20ms"},
        {999, "999ms"},
        {1000, "1s"},
        {1500, "1.5s"},
        {1050, "1.05s"},
        {1005, "1.005s"},
        {90000, "1m30s"},
        {60000, "1m0s"},
        {7200000, "2h0m0s"},
        {3600000 + 1, "1h0m0.001s"},
    };
    struct buf out = BUF_INIT(BUF_UNLIMITED);
    char wanted[64];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(ftruncate(outputs[0], 0), 0);
        assert_int_equal(lseek(outputs[0], 0, SEEK_SET), 0);
        log_info("took", log_ms("took", cases[i].ms));
        (void)snprintf(wanted, sizeof(wanted), "\"took\":\"%s\"}\n", cases[i].text);
        if (strstr(logged(0, &out), wanted) == NULL)
            fail_msg("%s not in %s", wanted, logged(0, &out));
    }
    buf_free(&out);
}

static void levels(void **state)
{
    struct buf out = BUF_INIT(BUF_UNLIMITED);

    (void)state;
    log_setup(LOG_WARN, LOG_JSON);
    log_debug("no");
    log_info("no");
    log_warn("yes");
    log_error("yes", log_str("why", "because"));
    log_fatal("yes");
    assert_null(strstr(logged(0, &out), "no"));
    assert_non_null(strstr(logged(0, &out), "\"level\":\"fatal\""));
    assert_non_null(strstr(logged(0, &out), "\"caller\":\"unit/log_test.c:"));
    log_setup(LOG_SILENT, LOG_JSON);
    assert_false(log_enabled(LOG_FATAL));
    buf_free(&out);
}

static void long_texts_are_cut(void **state)
{
    struct buf out = BUF_INIT(BUF_UNLIMITED);
    char *text = xalloc(LOG_LINE_MAX * 2);
    json_error_t error;
    json_t *line;

    (void)state;
    for (int escaped = 0; escaped < 2; escaped++) {
        for (int format = LOG_JSON; format <= LOG_CONSOLE; format++) {
            const char *brace;

            assert_int_equal(ftruncate(outputs[0], 0), 0);
            assert_int_equal(lseek(outputs[0], 0, SEEK_SET), 0);
            log_setup(LOG_INFO, (enum log_format)format);
            memset(text, escaped ? 1 : 'x', LOG_LINE_MAX * 2 - 1);
            log_info("long", log_str("a", text), log_str("b", text), log_str("c", text),
                     log_str("d", text), log_str("e", text), log_u64("n", 1));
            assert_true(strlen(logged(0, &out)) <= LOG_LINE_MAX);
            brace = strchr(logged(0, &out), '{');
            line = json_loads(brace, 0, &error);
            if (line == NULL)
                fail_msg("%s: %s", error.text, brace);
            assert_true(json_is_true(json_object_get(line, "cut")));
            assert_int_equal(json_integer_value(json_object_get(line, "n")), 1);
            json_decref(line);
        }
    }
    free(text);
    buf_free(&out);
}

static void *log_much(void *text)
{
    for (int i = 0; i < 500; i++)
        log_info(text, log_u64("i", i));
    return NULL;
}

static void threads_do_not_mix(void **state)
{
    static char a[] = "aaaaaaaaaaaaaaaaaaaaaaaaaa", b[] = "bbbbbbbbbbbbbbbbbbbbbbbbbb";
    struct buf out = BUF_INIT(BUF_UNLIMITED);
    pthread_t threads[2];
    size_t lines = 0;
    const char *at;

    (void)state;
    assert_int_equal(pthread_create(&threads[0], NULL, log_much, a), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, log_much, b), 0);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    for (at = logged(0, &out); *at != '\0'; at = strchr(at, '\n') + 1) {
        assert_memory_equal(at, "{\"level\":\"info\"", 15);
        lines++;
    }
    assert_int_equal(lines, 1000);
    buf_free(&out);
}

static void opens_outputs(void **state)
{
    char a[] = "/tmp/log_test.XXXXXX", missing[] = "/nonexistent/log", null[] = "/dev/null";
    char first[] = "stderr", second[] = "default";
    char *doubles[] = {a, first, a, second}, *bad[] = {a, missing}, *silent[] = {a, null};
    struct buf text = BUF_INIT(BUF_UNLIMITED);
    struct log_outputs outputs_opened;
    struct err err = ERR_INIT;

    (void)state;
    close(mkstemp(a));
    assert_int_equal(log_outputs_open(&outputs_opened, doubles, ARRAY_LEN(doubles), &err), 0);
    assert_int_equal(outputs_opened.count, 2);
    outputs_opened.count = 1;
    log_output(outputs_opened.fds, 1); /* not to stderr here */
    log_setup(LOG_INFO, LOG_JSON);
    log_info("once");
    log_outputs_close(&outputs_opened);
    assert_int_equal(log_outputs_open(&outputs_opened, bad, ARRAY_LEN(bad), &err), -1);
    assert_non_null(strstr(err.text, "cannot open /nonexistent/log: No such file"));
    assert_int_equal(log_outputs_open(&outputs_opened, silent, ARRAY_LEN(silent), &err), 0);
    log_info("never");
    log_outputs_close(&outputs_opened);
    assert_int_equal(file_read_all(a, &text, &err), 0);
    assert_non_null(strstr(buf_text(&text), "once"));
    assert_null(strstr(buf_text(&text), "never"));
    buf_free(&text);
    unlink(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(json_line, setup, teardown),
        cmocka_unit_test_setup_teardown(console_line, setup, teardown),
        cmocka_unit_test_setup_teardown(durations, setup, teardown),
        cmocka_unit_test_setup_teardown(levels, setup, teardown),
        cmocka_unit_test_setup_teardown(long_texts_are_cut, setup, teardown),
        cmocka_unit_test(opens_outputs),
        cmocka_unit_test_setup_teardown(threads_do_not_mix, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
