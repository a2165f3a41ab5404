/*
 * authorise_test.c - who a caller is, and what the service lets him do before anything is looked
 * at: certificates that name users, and those that only let a client in.
 */
#include "etcd-server/service/service.h"
#include "tests/lib/lone.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct lone lone;
static struct metrics metrics;
static struct service *service;
static enum err_code code;

static void replied(struct call *call, const ProtobufCMessage *response)
{
    (void)call;
    (void)response;
    code = ERR_OK;
}

static void replied_range(struct call *call, const ProtobufCMessage *head, struct kv_source *source)
{
    (void)call;
    (void)head;
    source->free(source);
    code = ERR_OK;
}

static void finished(struct call *call, enum err_code refusal, const char *text)
{
    (void)call;
    (void)text;
    code = refusal;
}

static bool sent(struct call *call, const ProtobufCMessage *message)
{
    (void)call;
    (void)message;
    code = ERR_OK;
    return true;
}

static const struct call_ops ops = {
    .reply = replied, .reply_range = replied_range, .send = sent, .finish = finished};

static char *plain(const char *text)
{
    return (char *)(uintptr_t)text; /* requests are only read */
}

static void add_root(void)
{
    Etcdserverpb__InternalRaftRequest add = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__InternalRaftRequest grant = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__InternalRaftRequest on = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__AuthUserAddRequest user = ETCDSERVERPB__AUTH_USER_ADD_REQUEST__INIT;
    Etcdserverpb__AuthUserGrantRoleRequest role = ETCDSERVERPB__AUTH_USER_GRANT_ROLE_REQUEST__INIT;
    Etcdserverpb__AuthEnableRequest enable = ETCDSERVERPB__AUTH_ENABLE_REQUEST__INIT;

    user.name = role.user = role.role = plain("root");
    user.hashedpassword = plain("aGFzaA==");
    add.auth_user_add = &user;
    grant.auth_user_grant_role = &role;
    on.auth_enable = &enable;
    assert_int_equal(lone_apply(&lone, &add), ERR_OK);
    assert_int_equal(lone_apply(&lone, &grant), ERR_OK);
    assert_int_equal(lone_apply(&lone, &on), ERR_OK);
}

static void serve(bool certificates_name_users)
{
    struct service_config config = {.metrics = &metrics,
                                    .max_txn_ops = 16,
                                    .quota_bytes = -1,
                                    .max_message_bytes = 2 * MIB,
                                    .election_ticks = 10,
                                    .bcrypt_cost = 4,
                                    .token_ttl_ms = 300000,
                                    .certificates_name_users = certificates_name_users};

    lone_init(&lone, NULL);
    lone_lead(&lone);
    config.engine = lone.engine;
    service = service_new(&config);
}

static int tear_down(void **state)
{
    (void)state;
    service_free(service);
    lone_fini(&lone);
    return 0;
}

/* A serializable read of "a" by whom the certificate says. */
static enum err_code read_by(const char *common_name, bool through_gateway, bool as_certificate)
{
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    struct call call = {.row = rpc_row(RPC_KV_Range),
                        .ops = &ops,
                        .request = &range.base,
                        .common_name = common_name,
                        .through_gateway = through_gateway,
                        .as_certificate = as_certificate};

    arena_init(&call.arena, 1 * MIB);
    range.key = (ProtobufCBinaryData){1, (uint8_t *)(uintptr_t) "a"};
    range.serializable = true;
    code = ERR_NO_LEADER;
    service_start(service, &call);
    arena_free(&call.arena);
    return code;
}

static enum err_code read_as(const char *common_name, bool through_gateway)
{
    return read_by(common_name, through_gateway, false);
}

static void certificates_that_name_users(void **state)
{
    (void)state;
    serve(true);
    add_root();
    assert_int_equal(read_as("root", false), ERR_OK);
    assert_int_equal(read_as("nobody", false), ERR_PERMISSION_DENIED);
    assert_int_equal(read_as(NULL, false), ERR_USER_EMPTY);
    assert_int_equal(read_as("root", true), ERR_COMMON_NAME_IGNORED);
    assert_int_equal(read_by("root", true, true), ERR_OK); /* he says that he is the one */
    assert_int_equal(read_by("nobody", true, true), ERR_PERMISSION_DENIED);
    assert_int_equal(read_by(NULL, true, true), ERR_USER_EMPTY);
}

/* --trusted-ca-file without --client-cert-auth: whoever has a certificate comes in, as nobody. */
static void certificates_that_only_let_in(void **state)
{
    (void)state;
    serve(false);
    add_root();
    assert_int_equal(read_as("root", false), ERR_USER_EMPTY);
    assert_int_equal(read_as("nobody", false), ERR_USER_EMPTY);
    assert_int_equal(read_as("root", true), ERR_USER_EMPTY);
    assert_int_equal(read_by("root", true, true), ERR_USER_EMPTY);
}

/* Those that balance load or read the schema have no password. */
static void health_and_schema_are_for_all(void **state)
{
    static const enum rpc_id free_for_all[] = {RPC_Health_List, RPC_Health_Check,
                                               RPC_ServerReflection_ServerReflectionInfo};

    (void)state;
    serve(false);
    add_root();
    for (size_t i = 0; i < ARRAY_LEN(free_for_all); i++) {
        struct call call = {.row = rpc_row(free_for_all[i]), .ops = &ops};

        arena_init(&call.arena, 1 * MIB);
        call.request = arena_zalloc(&call.arena, call.row->request->sizeof_message);
        assert_non_null(call.request);
        protobuf_c_message_init(call.row->request, call.request);
        code = ERR_OK;
        service_start(service, &call);
        assert_int_not_equal(code, ERR_USER_EMPTY);
        service_cancel(service, &call);
        arena_free(&call.arena);
    }
}

/* Nobody renews anything any more once there are users, not even a lease without keys. */
static void a_stream_older_than_the_users(void **state)
{
    Etcdserverpb__LeaseKeepAliveRequest renew = ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;
    struct call call = {.row = rpc_row(RPC_Lease_LeaseKeepAlive), .ops = &ops};

    (void)state;
    serve(false);
    assert_int_equal(lone_grant(&lone, 5, 60), ERR_OK);
    arena_init(&call.arena, 1 * MIB);
    renew.id = 5;
    code = ERR_NO_LEADER;
    service_start(service, &call);
    for (unsigned i = 0; i < 3 && code != ERR_OK; i++) { /* until it is sure that it leads */
        if (i == 0)
            call.message(&call, &renew.base);
        (void)service_turn(service);
        lone_turn(&lone);
        (void)service_turn(service);
    }
    assert_int_equal(code, ERR_OK);
    add_root();
    call.message(&call, &renew.base);
    assert_int_equal(code, ERR_USER_EMPTY);
    arena_free(&call.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(certificates_that_name_users, tear_down),
        cmocka_unit_test_teardown(certificates_that_only_let_in, tear_down),
        cmocka_unit_test_teardown(health_and_schema_are_for_all, tear_down),
        cmocka_unit_test_teardown(a_stream_older_than_the_users, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
