/* rpc_test.c - the table of RPCs: every row is whole, and every spelling finds it. */
#include "common/schema/rpc.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void every_row_is_found_by_its_spellings(void **state)
{
    (void)state;
    for (int id = 0; id < RPC_COUNT; id++) {
        const struct rpc_row *row = rpc_row((enum rpc_id)id);

        assert_int_equal(row->id, id);
        assert_non_null(row->request);
        assert_non_null(row->response);
        assert_ptr_equal(rpc_find_by_grpc(slice_text(row->grpc)), row);
        if (row->path != NULL)
            assert_ptr_equal(rpc_find_by_path(slice_text(row->path)), row);
        if (row->alias != NULL)
            assert_ptr_equal(rpc_find_by_path(slice_text(row->alias)), row);
    }
}

static void unknown_paths_find_nothing(void **state)
{
    (void)state;
    assert_null(rpc_find_by_path(slice_text("/v3/kv/rang")));
    assert_null(rpc_find_by_path(slice_text("/v3/kv/range/")));
    assert_null(rpc_find_by_path(SLICE_EMPTY));
    assert_null(rpc_find_by_grpc(slice_text("/etcdserverpb.KV/range")));
}

static void a_row_says_what_the_schema_says(void **state)
{
    const struct rpc_row *row = rpc_row(RPC_Maintenance_Snapshot);

    (void)state;
    assert_string_equal(row->grpc, "/etcdserverpb.Maintenance/Snapshot");
    assert_string_equal(row->path, "/v3/maintenance/snapshot");
    assert_int_equal(row->kind, RPC_SERVER_STREAM);
    assert_string_equal(row->response->name, "etcdserverpb.SnapshotResponse");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_found_by_its_spellings),
        cmocka_unit_test(unknown_paths_find_nothing),
        cmocka_unit_test(a_row_says_what_the_schema_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
