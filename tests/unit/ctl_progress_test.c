/* ctl_progress_test.c - the progress line of etcd-ctl check, as etcdctl draws it. */
#include "etcd-ctl/progress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void expect_line(uint64_t done, uint64_t total, int64_t elapsed_ms, int width,
                        const char *wanted)
{
    struct buf out = BUF_INIT(1024);

    progress_line(&out, done, total, elapsed_ms, width);
    assert_string_equal(buf_text(&out), wanted);
    buf_free(&out);
}

static void without_a_terminal(void **state)
{
    struct buf out = BUF_INIT(1024);

    (void)state;
    expect_line(0, 60, 0, 0, "\r 0 / 60    0.00%");
    expect_line(1, 60, 1000, 0, "\r 1 / 60    1.67% 00m59s");
    expect_line(812, 10000, 200, 0, "\r 812 / 10000    8.12% 00m02s");
    expect_line(1, 10000, 1000, 0, "\r 1 / 10000    0.01% 02h46m39s");
    expect_line(59, 60, 59000, 0, "\r 59 / 60   98.33% 00m01s");
    progress_end(&out, 60, 60012, 0);
    assert_string_equal(buf_text(&out), "\r 60 / 60  100.00% 1m0s\n");
    buf_free(&out);
}

static void with_a_bar(void **state)
{
    (void)state;
    expect_line(30, 60, 30000, 74, "\r 30 / 60 Boooom     !   50.00% 00m30s");
    expect_line(0, 60, 0, 74, "\r 0 / 60 B          !    0.00%       ");
    expect_line(0, 60, 0, 73, "\r 0 / 60    0.00%       "); /* no room for one */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_terminal),
        cmocka_unit_test(with_a_bar),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
