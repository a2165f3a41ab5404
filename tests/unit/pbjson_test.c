/* pbjson_test.c - every rule of the JSON mapping, and that random messages come back. */
#include "common/schema/pbjson.h"

#include "common/base/limits.h"
#include "common/schema/auth.pb-c.h"
#include "common/schema/kv.pb-c.h"
#include "common/schema/rpc.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define ARENA_MAX (4 * MIB)

/* Parse `json` and write the result as the gateway would; NULL when it is refused. */
static const char *through(const ProtobufCMessageDescriptor *descriptor, const char *json,
                           struct buf *out, struct err *err)
{
    struct arena arena;
    ProtobufCMessage *message;
    bool good;

    buf_reset(out);
    arena_init(&arena, ARENA_MAX);
    good = pbjson_parse(descriptor, slice_text(json), NULL, &arena, &message, err) == 0 &&
           pbjson_write(message, PBJSON_GATEWAY, out);
    arena_free(&arena);
    return good ? buf_text(out) : NULL;
}

struct through_case {
    const ProtobufCMessageDescriptor *descriptor;
    const char *json, *result; /* result NULL: refused with `error` in its text */
    const char *error;
};

static void run_cases(const struct through_case *cases, size_t count)
{
    struct buf out = BUF_INIT(BUF_UNLIMITED);

    for (size_t i = 0; i < count; i++) {
        struct err err = ERR_INIT;
        const char *got = through(cases[i].descriptor, cases[i].json, &out, &err);

        if (cases[i].result == NULL) {
            if (got != NULL)
                fail_msg("taken: %s", cases[i].json);
            if (strstr(err.text, cases[i].error) == NULL)
                fail_msg("%s\nsays:   %s\nwanted: %s", cases[i].json, err.text, cases[i].error);
            assert_int_equal(err.code, ERR_FORMAT);
        } else if (got == NULL) {
            fail_msg("refused: %s: %s", cases[i].json, err.text);
        } else if (strcmp(got, cases[i].result) != 0) {
            fail_msg("%s\ngives:  %s\nwanted: %s", cases[i].json, got, cases[i].result);
        }
    }
    buf_free(&out);
}

#define PUT (&etcdserverpb__put_request__descriptor)
#define RANGE (&etcdserverpb__range_request__descriptor)
#define TXN (&etcdserverpb__txn_request__descriptor)
#define REMOVE (&etcdserverpb__member_remove_request__descriptor)
#define MEMBER (&etcdserverpb__member__descriptor)
#define WATCH (&etcdserverpb__watch_request__descriptor)
#define GRANT (&etcdserverpb__lease_grant_request__descriptor)

static void integers(void **state)
{
    static const char *const twos[] = {"2",       "\"2\"",   "2.0",         "2e0", "20e-1",
                                       "\"2e0\"", "\"2.0\"", "\"\\u0032\"", " 2 ", "0.2e1"};
    static const struct through_case cases[] = {
        {RANGE, "{\"limit\":-0}", "{}", NULL},
        {RANGE, "{\"limit\":9223372036854775807}", "{\"limit\":\"9223372036854775807\"}", NULL},
        {RANGE, "{\"limit\":\"-9223372036854775808\"}", "{\"limit\":\"-9223372036854775808\"}",
         NULL},
        {REMOVE, "{\"ID\":\"18446744073709551615\"}", "{\"ID\":\"18446744073709551615\"}", NULL},
        {RANGE, "{\"limit\":9223372036854775808}", NULL, "out of range"},
        {RANGE, "{\"limit\":\"-9223372036854775809\"}", NULL, "out of range"},
        {RANGE, "{\"limit\":1e30}", NULL, "field \"limit\": 1e30 is out of range"},
        {REMOVE, "{\"ID\":\"18446744073709551616\"}", NULL, "out of range"},
        {REMOVE, "{\"ID\":-1}", NULL, "field \"ID\": -1 is out of range"},
        {RANGE, "{\"limit\":1.5}", NULL, "field \"limit\": 1.5 is not a whole number"},
        {RANGE, "{\"limit\":\"1.5\"}", NULL, "not a whole number"},
        {RANGE, "{\"limit\":\"\"}", NULL, "field \"limit\": \"\" is not a number"},
        {RANGE, "{\"limit\":\" 2\"}", NULL, "not a number"},
        {RANGE, "{\"limit\":\"+2\"}", NULL, "not a number"},
        {RANGE, "{\"limit\":\"02\"}", NULL, "not a number"},
        {RANGE, "{\"limit\":\"0x2\"}", NULL, "not a number"},
        {RANGE, "{\"limit\":\"two\"}", NULL, "not a number"},
        {RANGE, "{\"limit\":\"0,\"}", NULL, "not a number"},
        {RANGE, "{\"limit\":02}", NULL, "expected ',' or '}'"},
        {RANGE, "{\"limit\":true}", NULL, "expected a whole number, found true"},
        {RANGE, "{\"limit\":{}}", NULL, "expected a whole number, found an object"},
        {RANGE, "{\"limit\":[2]}", NULL, "expected a whole number, found a list"},
    };
    struct buf out = BUF_INIT(BUF_UNLIMITED);
    struct err err = ERR_INIT;
    char json[64];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(twos); i++) {
        (void)snprintf(json, sizeof(json), "{\"limit\":%s}", twos[i]);
        assert_string_equal(through(RANGE, json, &out, &err), "{\"limit\":\"2\"}");
    }
    buf_free(&out);
    run_cases(cases, ARRAY_LEN(cases));
}

static void types(void **state)
{
    static const struct through_case cases[] = {
        /* names */
        {RANGE, "{\"range_end\":\"YQ==\"}", "{\"range_end\":\"YQ==\"}", NULL},
        {RANGE, "{\"rangeEnd\":\"YQ==\"}", "{\"range_end\":\"YQ==\"}", NULL},
        {RANGE, "{\"range_End\":\"YQ==\",\"RangeEnd\":1,\"rangeend\":1,\"rang\":1,\"\":1}", "{}",
         NULL},
        {GRANT, "{\"id\":5,\"iD\":5,\"ttl\":6,\"tTL\":6}", "{}", NULL}, /* as in etcd */
        {GRANT, "{\"ID\":5,\"id\":6,\"TTL\":7}", "{\"TTL\":\"7\",\"ID\":\"5\"}", NULL},
        {MEMBER, "{\"peerURLs\":[\"a\"],\"isLearner\":true}",
         "{\"peerURLs\":[\"a\"],\"isLearner\":true}", NULL},
        {PUT, "{\"\\u006bey\":\"\\u0059Q==\"}", "{\"key\":\"YQ==\"}", NULL},
        {PUT, "{\"key\\u0000\":\"YQ==\"}", "{}", NULL},
        {PUT, "{\"x\":{\"y\":[1,{\"key\":2}]},\"key\":\"YQ\"}", "{\"key\":\"YQ==\"}", NULL},
        {PUT, "{\"x\":{\"y\":[1,{\"key\":}]}}", NULL, "syntax error"},
        /* twice */
        {RANGE, "{\"range_end\":\"\",\"rangeEnd\":\"\"}", NULL, "\"range_end\" of RangeRequest is"},
        {PUT, "{\"lease\":null,\"lease\":0}", NULL, "given twice"},
        {PUT, "{\"x\":1,\"x\":2}", "{}", NULL},
        {WATCH, "{\"create_request\":{},\"cancel_request\":{}}", NULL, "same oneof"},
        {WATCH, "{\"create_request\":{},\"cancel_request\":null}", "{\"create_request\":{}}", NULL},
        /* null */
        {PUT, "{\"key\":null,\"lease\":null,\"prev_kv\":null}", "{}", NULL},
        {TXN, "{\"compare\":null}", "{}", NULL},
        {TXN, "{\"compare\":[null]}", NULL, "expected an object, found null"},
        /* bool */
        {PUT, "{\"prev_kv\":true,\"ignore_value\":false}", "{\"prev_kv\":true}", NULL},
        {PUT, "{\"prev_kv\":\"true\"}", NULL, "expected true or false, found a string"},
        {PUT, "{\"prev_kv\":1}", NULL, "expected true or false, found a number"},
        {PUT, "{\"prev_kv\":truex}", NULL, "syntax error"},
        {PUT, "{\"prev_kv\":tru}", NULL, "expected true"},
        /* bytes */
        {PUT, "{\"key\":\"-_8\",\"value\":\"+/8=\"}", "{\"key\":\"+/8=\",\"value\":\"+/8=\"}",
         NULL},
        {PUT, "{\"key\":\"a-+a\"}", NULL, "field \"key\": a-+a is not base64"},
        {PUT, "{\"key\":\"YQ==\\n\"}", NULL, "not base64"}, /* no padding then */
        {PUT, "{\"key\":\"YQ\\n\"}", "{\"key\":\"YQ==\"}", NULL},
        {PUT, "{\"key\":\"YQ==\\r\\n\\r\\n\"}", "{\"key\":\"YQ==\"}", NULL},
        {PUT, "{\"key\":\"YQ\\n\\n\"}", NULL, "not base64"},
        {PUT, "{\"key\":\"Y-\\n_-\"}", "{\"key\":\"Y+/+\"}", NULL},
        {PUT, "{\"key\":\"Y\\n\"}", NULL, "not base64"},
        {PUT, "{\"key\":\"\\n\"}", "{}", NULL},
        {PUT, "{\"key\":5}", NULL, "expected a string in base64, found a number"},
        {PUT, "{\"key\":\"Y\x01Q==\"}", NULL, "control character"},
        {PUT, "{\"key\":\"\\x41\"}", NULL, "escape"},
        /* the whole */
        {PUT, "", "{}", NULL},
        {PUT, " \r\n\t ", "{}", NULL},
        {PUT, "[]", NULL, "expected an object, found '['"},
        {PUT, "null", NULL, "expected an object"},
        {PUT, "7", NULL, "expected an object"},
        {PUT, "\"key\"", NULL, "expected an object"},
        {PUT, "nonsense", NULL, "expected an object"},
        {PUT, "{", NULL, "found the end"},
        {PUT, "{\"key\":\"YQ==", NULL, "found the end"},
        {PUT, "{\"key\":\"YQ==\",}", NULL, "expected a name in quotes"},
        {PUT, "{\"key\":\"YQ==\"} nonsense", "{\"key\":\"YQ==\"}", NULL},
    };

    (void)state;
    run_cases(cases, ARRAY_LEN(cases));
}

static void texts_enums_and_lists(void **state)
{
    static const struct through_case cases[] = {
        /* strings */
        {MEMBER, "{\"name\":\"a\\\"\\u00e9\\ud83d\\ude00<\"}",
         "{\"name\":\"a\\\"\xc3\xa9\xf0\x9f\x98\x80\\u003c\"}", NULL},
        {MEMBER, "{\"name\":5}", NULL, "expected a string, found a number"},
        {MEMBER, "{\"name\":[\"x\"]}", NULL, "expected a string, found a list"},
        {MEMBER, "{\"name\":\"a\\u0000b\"}", NULL, "NUL"},
        {MEMBER, "{\"name\":\"\xff\"}", NULL, "UTF-8"},
        /* enums */
        {RANGE, "{\"sort_order\":\"DESCEND\"}", "{\"sort_order\":\"DESCEND\"}", NULL},
        {RANGE, "{\"sort_order\":2}", "{\"sort_order\":\"DESCEND\"}", NULL},
        {RANGE, "{\"sort_order\":2.0}", "{\"sort_order\":\"DESCEND\"}", NULL},
        {RANGE, "{\"sort_order\":9}", "{\"sort_order\":9}", NULL},
        {RANGE, "{\"sort_order\":-1}", "{\"sort_order\":-1}", NULL},
        {RANGE, "{\"sort_order\":\"2\"}", "{}", NULL},
        {RANGE, "{\"sort_order\":\"descend\"}", "{}", NULL},
        {RANGE, "{\"sort_order\":\"\"}", "{}", NULL},
        {RANGE, "{\"sort_order\":\"NONE\\u0000DESCEND\"}", "{}", NULL},
        {RANGE, "{\"sort_order\":\"XX\",\"sortOrder\":\"DESCEND\"}", NULL, "given twice"},
        {RANGE, "{\"sort_order\":true}", NULL, "expected a name or number, found true"},
        {RANGE, "{\"sort_order\":1.5}", NULL, "not a whole number"},
        {RANGE, "{\"sort_order\":[\"READ\"]}", NULL, "expected a name or number, found a list"},
        {RANGE, "{\"sort_order\":2147483648}", NULL, "out of range"},
        {WATCH, "{\"create_request\":{\"filters\":[\"NODELETE\",\"FOO\",1,7,\"NOPUT\"]}}",
         "{\"create_request\":{\"filters\":[\"NODELETE\",\"NODELETE\",7,\"NOPUT\"]}}", NULL},
        /* lists and messages */
        {MEMBER, "{\"peerURLs\":\"http://127.0.0.1:1\"}", NULL, "expected a list, found a string"},
        {MEMBER, "{\"peerURLs\":[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\"]}",
         "{\"peerURLs\":[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\"]}", NULL},
        {MEMBER, "{\"peerURLs\":[\"a\",]}", NULL, "found ']'"},
        {MEMBER, "{\"peerURLs\":[]}", "{}", NULL},
        {WATCH, "{\"create_request\":\"y\"}", NULL, "expected an object, found a string"},
        {WATCH, "{\"create_request\":[]}", NULL, "expected an object, found a list"},
        {TXN, "{\"compare\":[{\"version\":0,\"key\":\"YQ==\"},{}]}",
         "{\"compare\":[{\"key\":\"YQ==\",\"version\":\"0\"},{}]}", NULL},
        {TXN, "{\"compare\":[[[[]]]]}", NULL, "expected an object, found a list"},
    };

    (void)state;
    run_cases(cases, ARRAY_LEN(cases));
}

static void streams_go_on_behind_a_value(void **state)
{
    struct slice text = SLICE_LITERAL(" {\"ID\":1} {\"ID\":\"2\"}\n \n");
    struct err err = ERR_INIT;
    ProtobufCMessage *message;
    struct arena arena;
    uint64_t id = 0;
    size_t used;

    (void)state;
    arena_init(&arena, ARENA_MAX);
    while (text.size != 0) {
        assert_int_equal(pbjson_parse(REMOVE, text, &used, &arena, &message, &err), 0);
        assert_int_equal(((Etcdserverpb__MemberRemoveRequest *)message)->id, ++id);
        text = slice_of(text.data + used, text.size - used);
    }
    assert_int_equal(id, 2);
    arena_free(&arena);
}

static void limits_depth_and_memory(void **state)
{
    static const char open[] = "{\"success\":[{\"request_txn\":";
    struct buf json = BUF_INIT(BUF_UNLIMITED), out = BUF_INIT(BUF_UNLIMITED);
    struct err err = ERR_INIT;
    ProtobufCMessage *message;
    struct arena arena;

    (void)state;
    for (size_t i = 0; i < JSON_DEPTH_MAX / 3 + 1; i++)
        buf_append_text(&json, open);
    assert_null(through(TXN, buf_text(&json), &out, &err));
    assert_int_equal(err.code, ERR_FORMAT);
    assert_non_null(strstr(err.text, "nested deeper than 392"));

    buf_reset(&json);
    buf_append_text(&json, "{\"compare\":[{}");
    for (size_t i = 0; i < 10000; i++)
        buf_append_text(&json, ",{}");
    buf_append_text(&json, "]}");
    for (size_t max = 0; max < 900000; max += max < 1000 ? 16 : 20000) {
        err = ERR_INIT;
        arena_init(&arena, max);
        assert_int_equal(pbjson_parse(TXN, buf_slice(&json), NULL, &arena, &message, &err), -1);
        assert_int_equal(err.code, ERR_NO_MEMORY);
        arena_free(&arena);
    }
    buf_free(&json);
    buf_free(&out);
}

static void ctl_style(void **state)
{
    static const char json[] =
        "{\"header\":{\"revision\":8},\"responses\":[{\"response_put\":{\"header\":{\"revision\":"
        "8}}},{\"response_range\":{\"kvs\":[{\"key\":\"YQ==\",\"version\":6}],\"count\":1}},{}]}";
    struct buf out = BUF_INIT(BUF_UNLIMITED);
    struct err err = ERR_INIT;
    ProtobufCMessage *message;
    struct arena arena;

    (void)state;
    arena_init(&arena, ARENA_MAX);
    assert_int_equal(pbjson_parse(&etcdserverpb__txn_response__descriptor, SLICE_LITERAL(json),
                                  NULL, &arena, &message, &err),
                     0);
    assert_true(pbjson_write(message, PBJSON_CTL, &out));
    assert_string_equal(
        buf_text(&out),
        "{\"header\":{\"revision\":8},\"responses\":[{\"Response\":{\"response_put\":{\"header\":{"
        "\"revision\":8}}}},{\"Response\":{\"response_range\":{\"kvs\":[{\"key\":\"YQ==\","
        "\"version\":6}],\"count\":1}}},{}]}");
    buf_reset(&out);
    assert_int_equal(pbjson_parse(&authpb__permission__descriptor,
                                  SLICE_LITERAL("{\"permType\":\"READWRITE\"}"), NULL, &arena,
                                  &message, &err),
                     0);
    assert_true(pbjson_write(message, PBJSON_CTL, &out));
    assert_string_equal(buf_text(&out), "{\"permType\":2}");
    arena_free(&arena);
    buf_free(&out);
}

static void strings(void **state)
{
    struct buf out = BUF_INIT(BUF_UNLIMITED);

    (void)state;
    assert_true(pbjson_write_string(
        SLICE_LITERAL("a\"\\\b\f\n\r\t\x01\x7f/<>&\xc3\xa9\xe2\x80\xa8\xff\xe2\x82|\xed\xa0\x80"),
        &out));
    assert_string_equal(buf_text(&out),
                        "\"a\\\"\\\\\\b\\f\\n\\r\\t\\u0001\x7f/\\u003c\\u003e\\u0026\xc3\xa9\\u2028"
                        "\\ufffd\\ufffd\\ufffd|\\ufffd\\ufffd\\ufffd\"");
    buf_reset(&out);
    assert_true(pbjson_write_string(SLICE_LITERAL("a\0b"), &out));
    assert_string_equal(buf_text(&out), "\"a\\u0000b\"");
    buf_reset(&out);
    assert_true(pbjson_write_string(SLICE_EMPTY, &out));
    assert_string_equal(buf_text(&out), "\"\"");
    buf_free(&out);
}

static void encoded(void **state)
{
    static const struct {
        const ProtobufCMessageDescriptor *descriptor;
        struct slice bytes;
        const char *json; /* NULL: refused */
    } cases[] = {
        {PUT, SLICE_LITERAL(""), "{}"},
        {PUT,
         SLICE_LITERAL("\x0a\x01"
                       "a\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
         "{\"key\":\"YQ==\",\"lease\":\"-1\"}"},
        {PUT,
         SLICE_LITERAL("\x18\x05\x0a\x01"
                       "a\x0a\x01"
                       "b\x18\x00"),
         "{\"key\":\"Yg==\"}"}, /* any order, the last counts, a default is left out */
        {PUT, SLICE_LITERAL("\x78\x01\x7a\x02xx\x79\x31\x32\x33\x34\x35\x36\x37\x38\x20\x01"),
         "{\"prev_kv\":true}"}, /* unknown fields */
        {WATCH, SLICE_LITERAL("\x0a\x00\x1a\x00"), "{\"progress_request\":{}}"}, /* the last */
        {WATCH, SLICE_LITERAL("\x0a\x06\x2a\x02\x01\x00\x28\x05"),
         "{\"create_request\":{\"filters\":[\"NODELETE\",\"NOPUT\",5]}}"}, /* packed and not */
        {MEMBER,
         SLICE_LITERAL("\x1a\x01"
                       "a\x12\x01n\x1a\x01"
                       "b"),
         "{\"name\":\"n\",\"peerURLs\":[\"a\",\"b\"]}"},
        {PUT, SLICE_LITERAL("\x0a"), NULL},
        {PUT,
         SLICE_LITERAL("\x0a\x02"
                       "a"),
         NULL},
        {PUT, SLICE_LITERAL("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), NULL},
        {PUT, SLICE_LITERAL("\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), NULL},
        {PUT, SLICE_LITERAL("\x08\x01"), NULL},     /* a number where bytes belong */
        {PUT, SLICE_LITERAL("\x1a\x01\x01"), NULL}, /* bytes where a number belongs */
        {PUT, SLICE_LITERAL("\x00\x01"), NULL},     /* field 0 */
        {PUT, SLICE_LITERAL("\x0b"), NULL},         /* a group */
        {WATCH, SLICE_LITERAL("\x0a\x02\x2a\x01"), NULL},
    };
    struct buf out = BUF_INIT(BUF_UNLIMITED);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bool good;

        buf_reset(&out);
        good = pbjson_write_encoded(cases[i].descriptor, cases[i].bytes, PBJSON_GATEWAY, &out);
        if (good != (cases[i].json != NULL))
            fail_msg("case %zu", i);
        if (good)
            assert_string_equal(buf_text(&out), cases[i].json);
    }
    buf_free(&out);
}

static void stops_at_the_maximum_of_the_buf(void **state)
{
    struct buf out = BUF_INIT(BUF_UNLIMITED);
    struct err err = ERR_INIT;
    ProtobufCMessage *message;
    struct arena arena;
    size_t whole;

    (void)state;
    arena_init(&arena, ARENA_MAX);
    assert_int_equal(pbjson_parse(MEMBER,
                                  SLICE_LITERAL("{\"ID\":12,\"name\":\"a<b\",\"peerURLs\":[\"x\","
                                                "\"y\"],\"isLearner\":true}"),
                                  NULL, &arena, &message, &err),
                     0);
    assert_true(pbjson_write(message, PBJSON_GATEWAY, &out));
    whole = buf_used(&out);
    for (size_t max = 0; max < whole; max++) {
        struct buf small = BUF_INIT(max);

        assert_false(pbjson_write(message, PBJSON_GATEWAY, &small));
        buf_free(&small);
    }
    arena_free(&arena);
    buf_free(&out);
}

/* ---- random messages come back: message -> wire -> JSON (both ways) -> message -> wire ---- */

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static ProtobufCMessage *random_message(const ProtobufCMessageDescriptor *descriptor,
                                        unsigned depth, uint64_t *seed, struct arena *arena);

static void random_value(const ProtobufCFieldDescriptor *field, void *slot, unsigned depth,
                         uint64_t *seed, struct arena *arena)
{
    uint64_t number = next_random(seed) >> (next_random(seed) % 64);
    size_t size = next_random(seed) % 20;
    char *text;

    switch (field->type) {
    case PROTOBUF_C_TYPE_BOOL:
        *(protobuf_c_boolean *)slot = number & 1;
        break;
    case PROTOBUF_C_TYPE_ENUM:
        *(int32_t *)slot = (int32_t)(number % 7);
        break;
    case PROTOBUF_C_TYPE_STRING:
        text = arena_zalloc(arena, size + 1);
        for (size_t i = 0; i < size; i++)
            text[i] = (char)(next_random(seed) % 127 + 1);
        *(char **)slot = text;
        break;
    case PROTOBUF_C_TYPE_BYTES: {
        ProtobufCBinaryData *bytes = slot;
        bytes->len = size;
        bytes->data = arena_zalloc(arena, size);
        for (size_t i = 0; i < size; i++)
            bytes->data[i] = (uint8_t)next_random(seed);
        break;
    }
    case PROTOBUF_C_TYPE_MESSAGE:
        *(ProtobufCMessage **)slot = random_message(field->descriptor, depth + 1, seed, arena);
        break;
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_UINT32:
        *(uint32_t *)slot = (uint32_t)number;
        break;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64:
        *(uint64_t *)slot = number;
        break;
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        fail_msg("the schema has no such field: %s", field->name);
    }
}

static ProtobufCMessage *random_message(const ProtobufCMessageDescriptor *descriptor,
                                        unsigned depth, uint64_t *seed, struct arena *arena)
{
    ProtobufCMessage *message = arena_alloc(arena, descriptor->sizeof_message);

    protobuf_c_message_init(descriptor, message);
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        uint8_t *base = (uint8_t *)message;

        if (next_random(seed) % 3 == 0 || (field->type == PROTOBUF_C_TYPE_MESSAGE && depth > 4))
            continue;
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            size_t count = next_random(seed) % 4;
            uint8_t *list = arena_zalloc(arena, count * 16);
            size_t size =
                field->type == PROTOBUF_C_TYPE_BYTES                                         ? 16
                : field->type == PROTOBUF_C_TYPE_ENUM || field->type == PROTOBUF_C_TYPE_BOOL ? 4
                                                                                             : 8;
            for (size_t j = 0; j < count; j++)
                random_value(field, list + j * size, depth, seed, arena);
            *(size_t *)(void *)(base + field->quantifier_offset) = count;
            *(void **)(void *)(base + field->offset) = list;
            continue;
        }
        if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
            if (*(uint32_t *)(void *)(base + field->quantifier_offset) != 0)
                continue;
            *(uint32_t *)(void *)(base + field->quantifier_offset) = field->id;
        }
        random_value(field, base + field->offset, depth, seed, arena);
    }
    return message;
}

static void random_messages_come_back(void **state)
{
    static const ProtobufCMessageDescriptor *const types_of[] = {
        &etcdserverpb__txn_request__descriptor,
        &etcdserverpb__txn_response__descriptor,
        &etcdserverpb__watch_request__descriptor,
        &etcdserverpb__watch_response__descriptor,
        &etcdserverpb__range_request__descriptor,
        &etcdserverpb__member_list_response__descriptor,
        &etcdserverpb__status_response__descriptor,
        &authpb__role__descriptor,
        &authpb__user__descriptor,
        &etcdserverpb__hash_kvresponse__descriptor,
    };
    struct buf json = BUF_INIT(BUF_UNLIMITED), again = BUF_INIT(BUF_UNLIMITED);
    uint64_t seed = 20251122;

    (void)state;
    for (unsigned round = 0; round < 3000; round++) {
        const ProtobufCMessageDescriptor *descriptor = types_of[round % ARRAY_LEN(types_of)];
        ProtobufCMessage *message, *back;
        struct err err = ERR_INIT;
        struct arena arena;
        uint8_t *wire, *wire_back;
        size_t size;

        arena_init(&arena, ARENA_MAX);
        message = random_message(descriptor, 0, &seed, &arena);
        size = protobuf_c_message_get_packed_size(message);
        wire = arena_alloc(&arena, size);
        wire_back = arena_alloc(&arena, size);
        protobuf_c_message_pack(message, wire);
        buf_reset(&json);
        buf_reset(&again);
        assert_true(pbjson_write(message, PBJSON_GATEWAY, &json));
        assert_true(pbjson_write_encoded(descriptor, slice_of(wire, size), PBJSON_GATEWAY, &again));
        assert_string_equal(buf_text(&json), buf_text(&again));
        if (pbjson_parse(descriptor, buf_slice(&json), NULL, &arena, &back, &err) < 0)
            fail_msg("%s: %s", buf_text(&json), err.text);
        assert_int_equal(protobuf_c_message_get_packed_size(back), size);
        protobuf_c_message_pack(back, wire_back);
        assert_memory_equal(wire, wire_back, size);
        buf_reset(&again);
        assert_true(pbjson_write(message, PBJSON_CTL, &again));
        arena_free(&arena);
    }
    buf_free(&json);
    buf_free(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers),
        cmocka_unit_test(types),
        cmocka_unit_test(texts_enums_and_lists),
        cmocka_unit_test(streams_go_on_behind_a_value),
        cmocka_unit_test(limits_depth_and_memory),
        cmocka_unit_test(ctl_style),
        cmocka_unit_test(strings),
        cmocka_unit_test(encoded),
        cmocka_unit_test(stops_at_the_maximum_of_the_buf),
        cmocka_unit_test(random_messages_come_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
