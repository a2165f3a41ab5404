/* base_test.c - bytes that grow to a limit, memory that dies at once, ids to pointers, errors in
 * words. */
#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/hex.h"
#include "common/base/idmap.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void a_buf_stops_at_its_maximum(void **state)
{
    struct buf buf = BUF_INIT(10);

    (void)state;
    assert_true(buf_append_text(&buf, "12345678"));
    assert_false(buf_append_text(&buf, "abc"));
    assert_true(buf.overflow);
    assert_string_equal(buf_text(&buf), "12345678"); /* nothing of the rest */
    assert_true(buf_append_text(&buf, "90"));
    assert_false(buf_append_byte(&buf, 'x'));
    buf_reset(&buf);
    assert_false(buf.overflow);
    assert_true(buf_append_int(&buf, INT64_MIN) == false); /* 20 characters do not fit */
    buf_free(&buf);
}

static void a_buf_is_a_queue(void **state)
{
    struct buf buf = BUF_INIT(64);

    (void)state;
    for (int round = 0; round < 1000;
         round++) { /* the room is used again, however much went through */
        assert_true(buf_printf(&buf, "%d,", round));
        assert_true(buf_used(&buf) <= 64);
        if (buf_used(&buf) > 32)
            buf_consume(&buf, 16);
    }
    assert_true(buf.capacity <= 256);
    buf_consume(&buf, buf_used(&buf));
    assert_int_equal(buf_used(&buf), 0);
    buf_shrink(&buf);
    assert_null(buf.data);
}

static void numbers_are_written_in_full(void **state)
{
    struct buf buf = BUF_INIT(BUF_UNLIMITED);

    (void)state;
    buf_append_uint(&buf, UINT64_MAX);
    buf_append_byte(&buf, ' ');
    buf_append_int(&buf, INT64_MIN);
    buf_append_byte(&buf, ' ');
    buf_append_uint(&buf, 0);
    assert_string_equal(buf_text(&buf), "18446744073709551615 -9223372036854775808 0");
    buf_free(&buf);
}

static void hexadecimal_numbers_are_whole_or_refused(void **state)
{
    static const char *const refused[] = {"", "-1", " 5", "0x5", "5 ", "g", "11112222333344445"};
    uint64_t number = 7;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++)
        assert_false(hex_read(slice_text(refused[i]), &number));
    assert_false(hex16_read("ABCDEF0123456789", &number)); /* no name of a file of ours */
    assert_false(hex16_read("123456789abcdef", &number));  /* short */
    assert_true(number == 7);
    assert_true(hex_read(SLICE_LITERAL("0"), &number));
    assert_true(number == 0);
    assert_true(hex_read(SLICE_LITERAL("FfffFFFFffffffff"), &number));
    assert_true(number == UINT64_MAX);
    assert_true(hex16_read("0123456789abcdef-x", &number));
    assert_true(number == UINT64_C(0x0123456789abcdef));
}

static void an_arena_has_a_maximum_and_can_be_used_again(void **state)
{
    struct arena arena;

    (void)state;
    arena_init(&arena, 100000);
    for (int round = 0; round < 50; round++) {
        size_t got = 0;

        for (size_t bytes = 1; arena_alloc(&arena, bytes) != NULL; bytes = bytes * 2 + 1)
            got += bytes;
        assert_true(got > 10000 && got <= 100000);
        assert_true(arena.used <= 100000);
        arena_reset(&arena);
    }
    assert_null(arena_alloc(&arena, 100001));
    assert_null(arena_alloc(&arena, SIZE_MAX));
    assert_string_equal(arena_strndup(&arena, "abcdef", 3), "abc");
    arena_free(&arena);
}

static void an_idmap_keeps_what_it_was_given(void **state)
{
    static char values[5000];
    struct idmap map = {0};
    uint64_t x = 88172645463325252;
    size_t held = 0;
    static uint64_t ids[5000];

    (void)state;
    for (size_t i = 0; i < 5000; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        ids[i] = i % 3 == 0 ? i + 1 : x | 1; /* dense and scattered ids together */
        if (idmap_put(&map, ids[i], &values[i]))
            held++;
        else
            ids[i] = 0;
        if (i % 2 == 1 && ids[i / 2] != 0) { /* and gaps in between */
            assert_ptr_equal(idmap_remove(&map, ids[i / 2]), &values[i / 2]);
            ids[i / 2] = 0;
            held--;
        }
    }
    assert_int_equal(map.count, held);
    for (size_t i = 0; i < 5000; i++)
        if (ids[i] != 0)
            assert_ptr_equal(idmap_get(&map, ids[i]), &values[i]);
    assert_null(idmap_get(&map, 0));
    assert_null(idmap_remove(&map, UINT64_MAX));
    idmap_free(&map);
    assert_null(idmap_get(&map, 1));
}

static void an_error_says_what_was_tried(void **state)
{
    struct err err = ERR_INIT;
    static char text[2 * ERR_TEXT_MAX];

    (void)state;
    err_sys(&err, 2, "open %s", "/x");
    assert_string_equal(err.text, "open /x: No such file or directory");
    err_prefix(&err, "member %d", 7);
    assert_string_equal(err.text, "member 7: open /x: No such file or directory");
    memset(text, 'y', sizeof(text) - 1);
    err_set(&err, ERR_FORMAT, "%s", text); /* cut, never past the end */
    assert_int_equal(strlen(err.text), ERR_TEXT_MAX - 1);
    assert_int_equal(err_grpc_code(ERR_COMPACTED), GRPC_OUT_OF_RANGE);
    assert_string_equal(err_text(ERR_COMPACTED),
                        "etcdserver: mvcc: required revision has been compacted");
    assert_int_equal(err_grpc_code(ERR_IO), GRPC_UNKNOWN);
    assert_string_equal(grpc_code_name(GRPC_OUT_OF_RANGE), "OutOfRange");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_buf_stops_at_its_maximum),
        cmocka_unit_test(a_buf_is_a_queue),
        cmocka_unit_test(numbers_are_written_in_full),
        cmocka_unit_test(hexadecimal_numbers_are_whole_or_refused),
        cmocka_unit_test(an_arena_has_a_maximum_and_can_be_used_again),
        cmocka_unit_test(an_idmap_keeps_what_it_was_given),
        cmocka_unit_test(an_error_says_what_was_tried),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
