/*
 * link_test.c - a link's output: bytes of its own and pieces of others come out in the order in
 * which they went in, however they are taken, and every reference goes back.
 */
#include "common/base/limits.h"
#include "etcd-server/host/link.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define STEPS 20000

static uint64_t random_state = 88172645463325252U;

static uint32_t draw(uint32_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)((random_state >> 16) % below);
}

/* What went in, and not yet out. */
struct expected {
    struct link link;
    struct buf bytes;
    uint8_t next; /* byte: they count up */
    struct shared *shared;
};

static void add_own(struct expected *expected, size_t size)
{
    for (; size > 0; size--) {
        assert_true(buf_append_byte(&expected->link.out, expected->next));
        assert_true(buf_append_byte(&expected->bytes, expected->next++));
    }
}

/* The shared bytes count up, too: the piece begins where the next byte is due. */
static void add_piece(struct expected *expected, size_t size)
{
    const uint8_t *data = expected->shared->data + expected->next;

    assert_true(buf_append(&expected->bytes, data, size));
    link_lend(&expected->link,
              (struct shared_slice){shared_ref(expected->shared), slice_of(data, size)});
    expected->next = (uint8_t)(expected->next + size);
}

/* All slices, as one; sent in part. */
static void take(struct expected *expected, size_t most_slices, size_t most_bytes)
{
    struct slice slices[8];
    size_t count = link_next(&expected->link, slices, most_slices), seen = 0;

    assert_true(count <= most_slices);
    assert_int_equal(count == 0, buf_used(&expected->bytes) == 0);
    for (size_t i = 0; i < count; i++) {
        assert_true(slices[i].size != 0 && slices[i].size <= buf_used(&expected->bytes) - seen);
        assert_memory_equal(slices[i].data, buf_slice(&expected->bytes).data + seen,
                            slices[i].size);
        seen += slices[i].size;
    }
    seen = MIN(seen, most_bytes);
    link_sent(&expected->link, seen);
    buf_consume(&expected->bytes, seen);
}

static void what_goes_in_comes_out(void **state)
{
    struct expected expected = {.link = {.out = BUF_INIT(BUF_UNLIMITED)},
                                .bytes = BUF_INIT(BUF_UNLIMITED),
                                .shared = shared_new(1024)};

    (void)state;
    for (size_t i = 0; i < expected.shared->size; i++)
        expected.shared->data[i] = (uint8_t)i;
    for (unsigned i = 0; i < STEPS; i++) {
        switch (draw(4)) {
        case 0:
            add_own(&expected, draw(20));
            break;
        case 1:
            add_piece(&expected, 1 + draw(700));
            break;
        default:
            take(&expected, 2 + draw(7), draw(3) == 0 ? SIZE_MAX : draw(800));
            break;
        }
        assert_int_equal(link_waiting(&expected.link), buf_used(&expected.bytes));
        if (draw(500) == 0) {
            link_out_reset(&expected.link);
            buf_reset(&expected.bytes);
            assert_int_equal(expected.shared->references, 1);
        }
    }
    while (link_waiting(&expected.link) != 0)
        take(&expected, 8, SIZE_MAX);
    assert_int_equal(expected.shared->references, 1);
    add_piece(&expected, 5);
    link_out_free(&expected.link);
    assert_int_equal(expected.shared->references, 1);
    shared_unref(expected.shared);
    buf_free(&expected.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_goes_in_comes_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
