/* pbwire.c - see pbwire.h. Every read is checked against `end` before it is made. */
#include "common/schema/pbwire.h"

bool pb_get_varint(const uint8_t **at, const uint8_t *end, uint64_t *number)
{
    const uint8_t *byte = *at;
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (byte == end || (shift == 63 && *byte > 1))
            return false;
        value |= (uint64_t)(*byte & 0x7f) << shift;
        if ((*byte++ & 0x80) == 0) {
            *at = byte;
            *number = value;
            return true;
        }
    }
    return false;
}

static int malformed(const struct pb_reader *reader, const char *what, struct err *err)
{
    err_set(err, ERR_FORMAT, "%s: %s, %zu bytes before its end", reader->message, what,
            (size_t)(reader->end - reader->at));
    return -1;
}

static int get_fixed(struct pb_reader *reader, struct pb_field *field, size_t bytes,
                     struct err *err)
{
    if ((size_t)(reader->end - reader->at) < bytes)
        return malformed(reader, "a fixed-width field is cut short", err);
    field->value = 0;
    for (size_t at = bytes; at-- > 0;)
        field->value = field->value << 8 | reader->at[at];
    reader->at += bytes;
    return 1;
}

int pb_next(struct pb_reader *reader, struct pb_field *field, struct err *err)
{
    uint64_t tag, length;

    if (reader->at == reader->end)
        return 0;
    if (!pb_get_varint(&reader->at, reader->end, &tag) || tag >> 32 != 0 || tag >> 3 == 0)
        return malformed(reader, "a field has no valid tag", err);
    *field = (struct pb_field){.number = (uint32_t)(tag >> 3)};
    switch (tag & 7) {
    case PB_VARINT:
        field->wire = PB_VARINT;
        if (!pb_get_varint(&reader->at, reader->end, &field->value))
            return malformed(reader, "a number is cut short or over 64 bits", err);
        return 1;
    case PB_FIXED64:
        field->wire = PB_FIXED64;
        return get_fixed(reader, field, 8, err);
    case PB_FIXED32:
        field->wire = PB_FIXED32;
        return get_fixed(reader, field, 4, err);
    case PB_BYTES:
        field->wire = PB_BYTES;
        if (!pb_get_varint(&reader->at, reader->end, &length) ||
            length > (uint64_t)(reader->end - reader->at))
            return malformed(reader, "a length points past the end", err);
        field->bytes = slice_of(reader->at, (size_t)length);
        reader->at += length;
        return 1;
    default:
        return malformed(reader, "a field has a wire type that is not in use", err);
    }
}

/* Of at most `most` bytes; bits over 64 are dropped. */
static bool skim_varint(struct pb_reader *reader, unsigned most, uint64_t *number)
{
    *number = 0;
    for (unsigned i = 0; i < most && reader->at != reader->end; i++) {
        uint8_t byte = *reader->at++;

        *number |= (uint64_t)(byte & 0x7f) << (7 * i);
        if ((byte & 0x80) == 0)
            return true;
    }
    return false;
}

static int skim_fixed(struct pb_reader *reader, size_t bytes)
{
    if ((size_t)(reader->end - reader->at) < bytes)
        return -1;
    reader->at += bytes;
    return 1;
}

int pb_skim(struct pb_reader *reader, struct pb_field *field)
{
    uint64_t tag, length;

    if (reader->at == reader->end)
        return 0;
    if ((*reader->at & 0xf8) == 0 || !skim_varint(reader, 5, &tag))
        return -1;
    *field = (struct pb_field){.number = (uint32_t)(tag >> 3), .wire = (enum pb_wire)(tag & 7)};
    switch (tag & 7) {
    case PB_VARINT:
        return skim_varint(reader, PB_VARINT_MAX, &length) ? 1 : -1;
    case PB_FIXED64:
        return skim_fixed(reader, 8);
    case PB_FIXED32:
        return skim_fixed(reader, 4);
    case PB_BYTES:
        if (!skim_varint(reader, 5, &length) || length > (uint64_t)(reader->end - reader->at))
            return -1;
        field->bytes = slice_of(reader->at, (size_t)length);
        reader->at += length;
        return 1;
    default:
        return -1;
    }
}

int pb_expect(const struct pb_reader *reader, const struct pb_field *field, enum pb_wire wire,
              struct err *err)
{
    if (field->wire == wire)
        return 0;
    err_set(err, ERR_FORMAT, "%s: field %" PRIu32 " has wire type %u, expected %u", reader->message,
            field->number, (unsigned)field->wire, (unsigned)wire);
    return -1;
}

static bool has_messages(const ProtobufCMessageDescriptor *type)
{
    for (unsigned i = 0; i < type->n_fields; i++)
        if (type->fields[i].type == PROTOBUF_C_TYPE_MESSAGE)
            return true;
    return false;
}

bool pb_depth_within(const ProtobufCMessageDescriptor *type, struct slice bytes, unsigned depth)
{
    struct pb_reader reader = pb_reader_of(bytes, type->name);
    struct pb_field field;

    if (depth == 0)
        return false;
    if (!has_messages(type))
        return true;
    while (pb_skim(&reader, &field) == 1) {
        const ProtobufCFieldDescriptor *known =
            field.wire == PB_BYTES ? protobuf_c_message_descriptor_get_field(type, field.number)
                                   : NULL;

        if (known != NULL && known->type == PROTOBUF_C_TYPE_MESSAGE &&
            !pb_depth_within(known->descriptor, field.bytes, depth - 1))
            return false;
    }
    return true;
}

void pb_drop_unknown(ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    uint8_t *base = (uint8_t *)message;

    message->n_unknown_fields = 0;
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        void *slot = base + field->offset, *quantifier = base + field->quantifier_offset;
        ProtobufCMessage **list = slot;
        size_t count = 1;

        if (field->type != PROTOBUF_C_TYPE_MESSAGE)
            continue;
        if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0)
            count = *(const uint32_t *)quantifier == field->id;
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            count = *(const size_t *)quantifier;
            list = *(ProtobufCMessage ***)slot;
        }
        for (size_t j = 0; j < count; j++)
            if (list[j] != NULL)
                pb_drop_unknown(list[j]);
    }
}
