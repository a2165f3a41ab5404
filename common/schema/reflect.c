/*
 * reflect.c - see reflect.h. The types are those that the table's requests and responses reach. A
 * name behind the package with a dot in it belongs into the message before the dot. Names of oneofs
 * are not in protobuf-c's descriptors: they are numbered.
 */
#include "common/schema/reflect.h"

#include "common/schema/pbwire.h"
#include "common/schema/rpc.h"

#include <stdio.h>

#define TYPES_MAX 256 /* messages and enums of all packages */

/* Field numbers of google/protobuf/descriptor.proto. */
enum {
    FILE_NAME = 1,
    FILE_PACKAGE = 2,
    FILE_DEPENDENCY = 3,
    FILE_MESSAGE = 4,
    FILE_ENUM = 5,
    FILE_SERVICE = 6,
    FILE_SYNTAX = 12,
    MESSAGE_NAME = 1,
    MESSAGE_FIELD = 2,
    MESSAGE_NESTED = 3,
    MESSAGE_ENUM = 4,
    MESSAGE_ONEOF = 8,
    FIELD_NAME = 1,
    FIELD_NUMBER = 3,
    FIELD_LABEL = 4,
    FIELD_TYPE = 5,
    FIELD_TYPE_NAME = 6,
    FIELD_ONEOF = 9,
    ENUM_NAME = 1,
    ENUM_VALUE = 2,
    VALUE_NAME = 1,
    VALUE_NUMBER = 2,
    SERVICE_NAME = 1,
    SERVICE_METHOD = 2,
    METHOD_NAME = 1,
    METHOD_INPUT = 2,
    METHOD_OUTPUT = 3,
    METHOD_CLIENT_STREAMS = 5,
    METHOD_SERVER_STREAMS = 6,
};

struct types {
    const ProtobufCMessageDescriptor *messages[TYPES_MAX];
    size_t message_count;
    const ProtobufCEnumDescriptor *enums[TYPES_MAX];
    size_t enum_count;
};

/* ---- what there is ---- */

static void add_enum(struct types *types, const ProtobufCEnumDescriptor *type)
{
    for (size_t i = 0; i < types->enum_count; i++)
        if (types->enums[i] == type)
            return;
    must(types->enum_count < TYPES_MAX);
    types->enums[types->enum_count++] = type;
}

static void add_message(struct types *types, const ProtobufCMessageDescriptor *type)
{
    for (size_t i = 0; i < types->message_count; i++)
        if (types->messages[i] == type)
            return;
    must(types->message_count < TYPES_MAX);
    types->messages[types->message_count++] = type;
}

static void collect(struct types *types)
{
    types->message_count = types->enum_count = 0;
    for (size_t i = 0; i < RPC_COUNT; i++) {
        add_message(types, rpc_row((enum rpc_id)i)->request);
        add_message(types, rpc_row((enum rpc_id)i)->response);
    }
    for (size_t i = 0; i < types->message_count; i++) { /* grows as it goes */
        const ProtobufCMessageDescriptor *type = types->messages[i];

        for (unsigned j = 0; j < type->n_fields; j++) {
            if (type->fields[j].type == PROTOBUF_C_TYPE_MESSAGE)
                add_message(types, type->fields[j].descriptor);
            else if (type->fields[j].type == PROTOBUF_C_TYPE_ENUM)
                add_enum(types, type->fields[j].descriptor);
        }
    }
}

/* ---- writing ---- */

static void put_varint(struct buf *out, unsigned field, uint64_t number)
{
    uint8_t *room = buf_reserve(out, 2 * PB_VARINT_MAX);
    uint8_t *at;

    must(room != NULL);
    at = pb_put_u64(room, field, number);
    buf_advance(out, (size_t)(at - room));
}

static void put_bytes(struct buf *out, unsigned field, struct slice bytes)
{
    uint8_t *room = buf_reserve(out, pb_bytes_field_bytes(bytes.size));

    must(room != NULL);
    (void)pb_put_bytes(room, field, bytes);
    buf_advance(out, pb_bytes_field_bytes(bytes.size));
}

static void put_text(struct buf *out, unsigned field, const char *text)
{
    put_bytes(out, field, slice_text(text));
}

/* A part made in a buffer of its own, which is freed. */
static void put_part(struct buf *out, unsigned field, struct buf *part)
{
    put_bytes(out, field, buf_slice(part));
    buf_free(part);
}

static void put_type_name(struct buf *out, unsigned field, const char *name)
{
    struct buf text = BUF_INIT(BUF_UNLIMITED);

    buf_printf(&text, ".%s", name);
    put_part(out, field, &text);
}

/* Is `name` directly inside `parent` ("etcdserverpb" or "etcdserverpb.RangeRequest")? */
static bool is_inside(const char *name, const char *parent)
{
    size_t size = strlen(parent);

    return strncmp(name, parent, size) == 0 && name[size] == '.' &&
           strchr(name + size + 1, '.') == NULL;
}

static unsigned type_number(ProtobufCType type)
{
    static const struct {
        ProtobufCType type;
        unsigned number;
    } numbers[] = {
        {PROTOBUF_C_TYPE_DOUBLE, 1},    {PROTOBUF_C_TYPE_FLOAT, 2},
        {PROTOBUF_C_TYPE_INT64, 3},     {PROTOBUF_C_TYPE_UINT64, 4},
        {PROTOBUF_C_TYPE_INT32, 5},     {PROTOBUF_C_TYPE_FIXED64, 6},
        {PROTOBUF_C_TYPE_FIXED32, 7},   {PROTOBUF_C_TYPE_BOOL, 8},
        {PROTOBUF_C_TYPE_STRING, 9},    {PROTOBUF_C_TYPE_MESSAGE, 11},
        {PROTOBUF_C_TYPE_BYTES, 12},    {PROTOBUF_C_TYPE_UINT32, 13},
        {PROTOBUF_C_TYPE_ENUM, 14},     {PROTOBUF_C_TYPE_SFIXED32, 15},
        {PROTOBUF_C_TYPE_SFIXED64, 16}, {PROTOBUF_C_TYPE_SINT32, 17},
        {PROTOBUF_C_TYPE_SINT64, 18},
    };

    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        if (numbers[i].type == type)
            return numbers[i].number;
    return 0;
}

/* Position of the field's oneof among those of its message; -1: it is in none. */
static int oneof_of(const ProtobufCMessageDescriptor *type, unsigned field)
{
    int index = -1;

    if ((type->fields[field].flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0)
        return -1;
    for (unsigned i = 0; i < type->n_fields; i++) {
        bool first = (type->fields[i].flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;

        for (unsigned j = 0; j < i && first; j++)
            first = (type->fields[j].flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0 ||
                    type->fields[j].quantifier_offset != type->fields[i].quantifier_offset;
        index += first;
        if (type->fields[i].quantifier_offset == type->fields[field].quantifier_offset && first)
            return index;
    }
    return index;
}

static int put_field(struct buf *out, const ProtobufCMessageDescriptor *type, unsigned index)
{
    const ProtobufCFieldDescriptor *field = &type->fields[index];
    struct buf part = BUF_INIT(BUF_UNLIMITED);
    int oneof = oneof_of(type, index);

    put_text(&part, FIELD_NAME, field->name);
    put_varint(&part, FIELD_NUMBER, field->id);
    put_varint(&part, FIELD_LABEL, field->label == PROTOBUF_C_LABEL_REPEATED ? 3 : 1);
    put_varint(&part, FIELD_TYPE, type_number(field->type));
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        put_type_name(&part, FIELD_TYPE_NAME,
                      ((const ProtobufCMessageDescriptor *)field->descriptor)->name);
    else if (field->type == PROTOBUF_C_TYPE_ENUM)
        put_type_name(&part, FIELD_TYPE_NAME,
                      ((const ProtobufCEnumDescriptor *)field->descriptor)->name);
    if (oneof >= 0)
        put_varint(&part, FIELD_ONEOF, (uint64_t)oneof);
    put_part(out, MESSAGE_FIELD, &part);
    return oneof;
}

static void put_enum(struct buf *out, unsigned field, const ProtobufCEnumDescriptor *type)
{
    struct buf part = BUF_INIT(BUF_UNLIMITED);

    put_text(&part, ENUM_NAME, type->short_name);
    for (int pass = 0; pass < 2; pass++) /* proto3: zero first */
        for (unsigned i = 0; i < type->n_values; i++) {
            struct buf value = BUF_INIT(BUF_UNLIMITED);

            if ((type->values[i].value == 0) != (pass == 0))
                continue;
            put_text(&value, VALUE_NAME, type->values[i].name);
            put_varint(&value, VALUE_NUMBER, (uint64_t)(int64_t)type->values[i].value);
            put_part(&part, ENUM_VALUE, &value);
        }
    put_part(out, field, &part);
}

/* With everything nested in it; the schema nests two deep at most. */
static void put_message(struct buf *out, unsigned number, const struct types *types,
                        const ProtobufCMessageDescriptor *type)
{
    struct buf part = BUF_INIT(BUF_UNLIMITED);
    int oneofs = -1;

    put_text(&part, MESSAGE_NAME, strrchr(type->name, '.') + 1);
    for (unsigned i = 0; i < type->n_fields; i++) {
        int oneof = put_field(&part, type, i);

        oneofs = MAX(oneofs, oneof);
    }
    for (size_t i = 0; i < types->message_count; i++)
        if (is_inside(types->messages[i]->name, type->name))
            put_message(&part, MESSAGE_NESTED, types, types->messages[i]);
    for (size_t i = 0; i < types->enum_count; i++)
        if (is_inside(types->enums[i]->name, type->name))
            put_enum(&part, MESSAGE_ENUM, types->enums[i]);
    for (int i = 0; i <= oneofs; i++) {
        struct buf oneof = BUF_INIT(BUF_UNLIMITED), name = BUF_INIT(BUF_UNLIMITED);

        buf_printf(&name, "oneof_%d", i);
        put_part(&oneof, MESSAGE_NAME, &name);
        put_part(&part, MESSAGE_ONEOF, &oneof);
    }
    put_part(out, number, &part);
}

static void put_service(struct buf *out, const struct rpc_row *first)
{
    struct buf part = BUF_INIT(BUF_UNLIMITED);

    put_text(&part, SERVICE_NAME, first->service);
    for (size_t i = 0; i < RPC_COUNT; i++) {
        const struct rpc_row *row = rpc_row((enum rpc_id)i);
        struct buf method = BUF_INIT(BUF_UNLIMITED);

        if (strcmp(row->package, first->package) != 0 || strcmp(row->service, first->service) != 0)
            continue;
        put_text(&method, METHOD_NAME, row->method);
        put_type_name(&method, METHOD_INPUT, row->request->name);
        put_type_name(&method, METHOD_OUTPUT, row->response->name);
        if (row->kind == RPC_BIDI)
            put_varint(&method, METHOD_CLIENT_STREAMS, 1);
        if (row->kind != RPC_UNARY)
            put_varint(&method, METHOD_SERVER_STREAMS, 1);
        put_part(&part, SERVICE_METHOD, &method);
    }
    put_part(out, FILE_SERVICE, &part);
}

/* Does this row bring its service for the first time? */
static bool is_first(size_t index)
{
    const struct rpc_row *row = rpc_row((enum rpc_id)index);

    for (size_t i = 0; i < index; i++)
        if (strcmp(rpc_row((enum rpc_id)i)->package, row->package) == 0 &&
            strcmp(rpc_row((enum rpc_id)i)->service, row->service) == 0)
            return false;
    return true;
}

static bool uses(const ProtobufCMessageDescriptor *type, const char *package)
{
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];

        if (field->type == PROTOBUF_C_TYPE_MESSAGE &&
            strcmp(((const ProtobufCMessageDescriptor *)field->descriptor)->package_name,
                   package) == 0)
            return true;
        if (field->type == PROTOBUF_C_TYPE_ENUM &&
            strcmp(((const ProtobufCEnumDescriptor *)field->descriptor)->package_name, package) ==
                0)
            return true;
    }
    return false;
}

static void put_dependencies(struct buf *out, const char *package, const struct types *types)
{
    const char *done[TYPES_MAX];
    size_t done_count = 0;

    for (size_t i = 0; i < types->message_count; i++) {
        const char *other = types->messages[i]->package_name;
        struct buf name = BUF_INIT(BUF_UNLIMITED);
        bool needed = false;

        if (strcmp(other, package) == 0)
            continue;
        for (size_t j = 0; j < done_count; j++)
            if (strcmp(done[j], other) == 0)
                goto next;
        done[done_count++] = other;
        for (size_t j = 0; j < types->message_count && !needed; j++)
            needed = strcmp(types->messages[j]->package_name, package) == 0 &&
                     uses(types->messages[j], other);
        if (needed) {
            buf_printf(&name, "%s.proto", other);
            put_part(out, FILE_DEPENDENCY, &name);
        }
    next:;
    }
}

/* ---- entry points ---- */

void reflect_file(const char *package, struct buf *out)
{
    struct types types;
    struct buf name = BUF_INIT(BUF_UNLIMITED);

    collect(&types);
    buf_printf(&name, "%s.proto", package);
    put_part(out, FILE_NAME, &name);
    put_text(out, FILE_PACKAGE, package);
    put_dependencies(out, package, &types);
    for (size_t i = 0; i < types.message_count; i++)
        if (is_inside(types.messages[i]->name, package))
            put_message(out, FILE_MESSAGE, &types, types.messages[i]);
    for (size_t i = 0; i < types.enum_count; i++)
        if (is_inside(types.enums[i]->name, package))
            put_enum(out, FILE_ENUM, types.enums[i]);
    for (size_t i = 0; i < RPC_COUNT; i++)
        if (is_first(i) && strcmp(rpc_row((enum rpc_id)i)->package, package) == 0)
            put_service(out, rpc_row((enum rpc_id)i));
    put_text(out, FILE_SYNTAX, "proto3");
}

bool reflect_service(size_t index, char *name, size_t name_bytes)
{
    for (size_t i = 0; i < RPC_COUNT; i++) {
        if (!is_first(i) || index-- != 0)
            continue;
        (void)snprintf(name, name_bytes, "%s.%s", rpc_row((enum rpc_id)i)->package,
                       rpc_row((enum rpc_id)i)->service); /* the table's names fit */
        return true;
    }
    return false;
}

const char *reflect_package_of_file(struct slice file)
{
    static const struct slice end = SLICE_LITERAL(".proto");
    struct types types;

    if (file.size < end.size || memcmp(file.data + file.size - end.size, end.data, end.size) != 0)
        return NULL;
    file.size -= end.size;
    collect(&types);
    for (size_t i = 0; i < types.message_count; i++)
        if (slice_equal(slice_text(types.messages[i]->package_name), file))
            return types.messages[i]->package_name;
    return NULL;
}

const char *reflect_package_of(struct slice symbol)
{
    struct types types;

    if (symbol.size != 0 && symbol.data[0] == '.')
        symbol = slice_of(symbol.data + 1, symbol.size - 1);
    for (size_t i = 0; i < RPC_COUNT; i++) {
        const struct rpc_row *row = rpc_row((enum rpc_id)i);
        char name[192];
        int length = snprintf(name, sizeof(name), "%s.%s", row->package, row->service);

        if (slice_equal(slice_text(name), symbol))
            return row->package;
        (void)snprintf(name + length, sizeof(name) - (size_t)length, ".%s", row->method);
        if (slice_equal(slice_text(name), symbol))
            return row->package;
    }
    collect(&types);
    for (size_t i = 0; i < types.message_count; i++)
        if (slice_equal(slice_text(types.messages[i]->name), symbol))
            return types.messages[i]->package_name;
    for (size_t i = 0; i < types.enum_count; i++)
        if (slice_equal(slice_text(types.enums[i]->name), symbol))
            return types.enums[i]->package_name;
    return NULL;
}
