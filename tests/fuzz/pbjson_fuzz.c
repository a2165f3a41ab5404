/*
 * pbjson_fuzz.c - any bytes as JSON of several messages, and as wire bytes of them. What is taken
 * must come back the same from its own JSON.
 */
#include "common/schema/pbjson.h"

#include "common/base/limits.h"
#include "common/schema/auth.pb-c.h"
#include "common/schema/rpc.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const ProtobufCMessageDescriptor *const types[] = {
    &etcdserverpb__txn_request__descriptor,          &etcdserverpb__put_request__descriptor,
    &etcdserverpb__watch_request__descriptor,        &etcdserverpb__range_response__descriptor,
    &etcdserverpb__member_list_response__descriptor, &authpb__role__descriptor,
};

static void through(const ProtobufCMessageDescriptor *type, struct slice text)
{
    struct buf first = BUF_INIT(64 * MIB), second = BUF_INIT(64 * MIB);
    struct err err = ERR_INIT;
    ProtobufCMessage *message;
    struct arena arena;
    size_t used;

    arena_init(&arena, 64 * MIB);
    if (pbjson_parse(type, text, &used, &arena, &message, &err) < 0) {
        must(err.code == ERR_FORMAT || err.code == ERR_NO_MEMORY);
    } else {
        must(used <= text.size);
        must(pbjson_write(message, PBJSON_GATEWAY, &first));
        must(pbjson_parse(type, buf_slice(&first), NULL, &arena, &message, &err) == 0);
        must(pbjson_write(message, PBJSON_GATEWAY, &second));
        must(slice_equal(buf_slice(&first), buf_slice(&second)));
    }
    arena_free(&arena);
    buf_free(&first);
    buf_free(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf out = BUF_INIT(1 * MIB);

    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        through(types[i], slice_of(data, size));
        buf_reset(&out);
        (void)pbjson_write_encoded(types[i], slice_of(data, size), PBJSON_CTL, &out);
    }
    buf_free(&out);
    return 0;
}
