/* process_test.c - the figures of this very process are plausible. */
#include "etcd-server/host/process.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <time.h>
#include <unistd.h>

static void plausible(void **state)
{
    struct process_usage before, usage;
    double now = (double)time(NULL);
    int fd;

    (void)state;
    process_usage(&before);
    fd = dup(0);
    process_usage(&usage);
    assert_int_equal(usage.open_fds, before.open_fds + (fd >= 0 ? 1 : 0));
    assert_true(usage.max_fds > usage.open_fds);
    assert_true(usage.resident_bytes > 100000 && usage.resident_bytes < usage.virtual_bytes);
    assert_true(usage.start_time_s > now - 300 && usage.start_time_s <= now + 2);
    assert_true(usage.cpu_seconds >= 0 && usage.cpu_seconds < 300);
    if (fd >= 0)
        (void)close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(plausible)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
