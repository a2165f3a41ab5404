/* srv_test.c - SRV records out of DNS messages. */
#include "common/client/srv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void be16(struct buf *out, unsigned value)
{
    buf_append_byte(out, (uint8_t)(value >> 8));
    buf_append_byte(out, (uint8_t)value);
}

/* "a.b" as labels; "" is the root. */
static void name(struct buf *out, const char *text)
{
    while (*text != '\0') {
        size_t length = strcspn(text, ".");

        buf_append_byte(out, (uint8_t)length);
        buf_append_slice(out, slice_of(text, length));
        text += length + (text[length] == '.');
    }
    buf_append_byte(out, 0);
}

static struct buf message(unsigned records)
{
    struct buf out = BUF_INIT(4096);

    be16(&out, 0x1234);
    be16(&out, 0x8180); /* an answer */
    be16(&out, 1);
    be16(&out, records);
    be16(&out, 0);
    be16(&out, 0);
    name(&out, "_etcd-client._tcp.x.test");
    be16(&out, 33); /* SRV */
    be16(&out, 1);
    return out;
}

static void record(struct buf *out, unsigned type, unsigned priority, unsigned weight,
                   unsigned port, const char *target)
{
    struct buf host = BUF_INIT(300);

    name(&host, target);
    be16(out, 0xc00c); /* the name of the question */
    be16(out, type);
    be16(out, 1);
    be16(out, 0);
    be16(out, 60);
    be16(out, (unsigned)(6 + buf_used(&host)));
    be16(out, priority);
    be16(out, weight);
    be16(out, port);
    buf_append_slice(out, buf_slice(&host));
    buf_free(&host);
}

static void expect(struct buf *answer, int count, const char *wanted)
{
    struct buf list = BUF_INIT(4096);

    assert_int_equal(srv_read(buf_slice(answer), "https", &list), count);
    assert_string_equal(buf_text(&list), wanted);
    buf_free(&list);
}

static void targets_by_priority_then_weight(void **state)
{
    struct buf answer = message(3);

    (void)state;
    record(&answer, 33, 10, 0, 2379, "c.x.test");
    record(&answer, 33, 1, 5, 2379, "b.x.test");
    record(&answer, 33, 1, 9, 80, "a.x.test");
    expect(&answer, 3, "https://a.x.test:80,https://b.x.test:2379,https://c.x.test:2379");
    buf_free(&answer);
}

static void no_service_and_other_records_are_left_out(void **state)
{
    struct buf answer = message(3);

    (void)state;
    record(&answer, 33, 0, 0, 2379, "");         /* "." : not here */
    record(&answer, 33, 0, 0, 0, "a.x.test");    /* no port */
    record(&answer, 16, 0, 0, 2379, "a.x.test"); /* no SRV record */
    expect(&answer, 0, "");
    buf_free(&answer);
}

static void every_cut_is_refused_or_read_in_part(void **state)
{
    struct buf answer = message(2);

    (void)state;
    record(&answer, 33, 1, 1, 2379, "a.x.test");
    record(&answer, 33, 2, 1, 2379, "b.x.test");
    for (size_t bytes = 0; bytes < buf_used(&answer); bytes++) {
        struct buf list = BUF_INIT(4096);
        uint8_t *copy = xalloc(bytes + 1); /* its end is the end: sanitizers look */

        memcpy(copy, answer.data, bytes);
        assert_true(srv_read(slice_of(copy, bytes), "http", &list) < 2);
        free(copy);
        buf_free(&list);
    }
    buf_free(&answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets_by_priority_then_weight),
        cmocka_unit_test(no_service_and_other_records_are_left_out),
        cmocka_unit_test(every_cut_is_refused_or_read_in_part),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
