/* request_text.c - see request_text.h. Fields in the order of the descriptor, those with their
 * default left out, as Go prints a message. Nesting is bounded by MESSAGE_DEPTH_MAX. */
#include "etcd-server/service/request_text.h"

#include "common/base/limits.h"
#include "common/schema/pbslot.h"

static const char *const shown_bytes[] = {"key", "range_end", "name"};
static const char *const shown_texts[] = {"name", "user", "role", "username", "ver", "client_urls"};

struct writer {
    struct buf *out;
    unsigned depth;
    bool first; /* of its message */
};

static bool is_full(const struct writer *writer)
{
    return writer->out->overflow || buf_used(writer->out) > REQUEST_TEXT_MAX_BYTES;
}

static bool is_one_of(const char *name, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(name, list[i]) == 0)
            return true;
    return false;
}

/* As Go quotes bytes. */
static void write_quoted(struct writer *writer, struct slice bytes)
{
    static const char names[] = "\"\\\n\r\t", letters[] = "\"\\nrt";

    buf_append_byte(writer->out, '"');
    for (size_t i = 0; i < bytes.size && !is_full(writer); i++) {
        uint8_t c = bytes.data[i];
        const char *name = c != 0 ? strchr(names, c) : NULL;

        if (name != NULL)
            buf_printf(writer->out, "\\%c", letters[name - names]);
        else if (c < ' ' || c > '~')
            buf_printf(writer->out, "\\%03o", c);
        else
            buf_append_byte(writer->out, c);
    }
    buf_append_byte(writer->out, '"');
}

static void write_name(struct writer *writer, const char *name, const char *suffix)
{
    if (!writer->first)
        buf_append_byte(writer->out, ' ');
    writer->first = false;
    buf_append_text(writer->out, name);
    buf_append_text(writer->out, suffix);
    buf_append_byte(writer->out, ':');
}

static void write_bytes(struct writer *writer, const ProtobufCFieldDescriptor *field,
                        struct slice bytes)
{
    if (is_one_of(field->name, shown_bytes, ARRAY_LEN(shown_bytes))) {
        write_name(writer, field->name, "");
        write_quoted(writer, bytes);
    } else {
        write_name(writer, field->name, "_size");
        buf_append_uint(writer->out, bytes.size);
    }
}

static void write_text(struct writer *writer, const ProtobufCFieldDescriptor *field,
                       struct slice text)
{
    if (!is_one_of(field->name, shown_texts, ARRAY_LEN(shown_texts)))
        return;
    write_name(writer, field->name, "");
    write_quoted(writer, text);
}

static void write_number(struct writer *writer, const ProtobufCFieldDescriptor *field,
                         uint64_t number)
{
    const ProtobufCEnumValue *value = NULL;

    write_name(writer, field->name, "");
    if (field->type == PROTOBUF_C_TYPE_ENUM)
        value = protobuf_c_enum_descriptor_get_value(field->descriptor, (int)(int64_t)number);
    if (value != NULL)
        buf_append_text(writer->out, value->name);
    else if (field->type == PROTOBUF_C_TYPE_BOOL)
        buf_append_text(writer->out, number != 0 ? "true" : "false");
    else if (field->type == PROTOBUF_C_TYPE_UINT64 || field->type == PROTOBUF_C_TYPE_UINT32)
        buf_append_uint(writer->out, number);
    else
        buf_append_int(writer->out, (int64_t)number);
}

static void write_message(struct writer *writer, const ProtobufCMessage *message);

/* One value; those that are the default only where `always`. */
static void write_value(struct writer *writer, const ProtobufCFieldDescriptor *field,
                        const void *slot, bool always)
{
    uint64_t number = 0;

    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING: {
        const char *text = *(char *const *)slot;

        if (always || (text != NULL && *text != '\0'))
            write_text(writer, field, slice_text(text != NULL ? text : ""));
        return;
    }
    case PROTOBUF_C_TYPE_BYTES: {
        const ProtobufCBinaryData *bytes = slot;

        if (always || bytes->len != 0)
            write_bytes(writer, field, slice_of(bytes->data, bytes->len));
        return;
    }
    case PROTOBUF_C_TYPE_MESSAGE:
        if (*(ProtobufCMessage *const *)slot == NULL)
            return;
        write_name(writer, field->name, "");
        buf_append_byte(writer->out, '<');
        write_message(writer, *(ProtobufCMessage *const *)slot);
        buf_append_byte(writer->out, '>');
        return;
    case PROTOBUF_C_TYPE_BOOL:
        number = *(const protobuf_c_boolean *)slot != 0;
        break;
    case PROTOBUF_C_TYPE_ENUM:
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        number = (uint64_t)(int64_t) * (const int32_t *)slot;
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        number = *(const uint32_t *)slot;
        break;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        number = *(const uint64_t *)slot;
        break;
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        must(!"the schema has no floating point");
    }
    if (always || number != 0)
        write_number(writer, field, number);
}

static void write_field(struct writer *writer, const ProtobufCFieldDescriptor *field,
                        const ProtobufCMessage *message)
{
    const uint8_t *base = (const uint8_t *)message;
    const void *slot = base + field->offset, *quantifier = base + field->quantifier_offset;
    bool of_oneof = (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;

    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        const uint8_t *list = *(uint8_t *const *)slot;
        size_t count = *(const size_t *)quantifier;

        for (size_t i = 0; i < count && !is_full(writer); i++)
            write_value(writer, field, list + i * pb_slot_bytes(field->type), true);
    } else if (!of_oneof || *(const uint32_t *)quantifier == field->id) {
        write_value(writer, field, slot, of_oneof);
    }
}

static void write_message(struct writer *writer, const ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *descriptor = message->descriptor;

    if (writer->depth == MESSAGE_DEPTH_MAX)
        return;
    writer->depth++;
    writer->first = true;
    for (unsigned i = 0; i < descriptor->n_fields && !is_full(writer); i++)
        write_field(writer, &descriptor->fields[i], message);
    writer->first = false;
    writer->depth--;
}

void request_text(const ProtobufCMessage *message, struct buf *out)
{
    struct writer writer = {.out = out};

    write_message(&writer, message);
}
