/*
 * pbjson_write.c - message, or its wire bytes, to JSON, written straight into a buf. Rules: api.md
 * 12.2 (gateway) and cli.md 2.5 (ctl).
 *
 * Both sources are brought to one form, struct value, and written by one function. Wire bytes are
 * walked once per message to note what each field is (the last of a field that is not a list
 * counts, and of a oneof only its last member) and where a list begins, for it is written in the
 * order of the descriptor. Nesting is bounded by JSON_DEPTH_MAX.
 */
#include "common/schema/pbjson.h"

#include "common/base/base64.h"
#include "common/base/limits.h"
#include "common/schema/pbslot.h"

#define FIELDS_MAX 64 /* fields of one message */

struct value {
    uint64_t number;                 /* integers sign-extended to 64 bits, enums, booleans */
    struct slice bytes;              /* strings, bytes, encoded messages */
    const ProtobufCMessage *message; /* a message in memory; NULL when `bytes` is its encoding */
};

struct writer {
    struct buf *out;
    enum pbjson_style style;
    unsigned depth;
};

static bool write_message(struct writer *writer, const ProtobufCMessage *message);
static bool write_encoded(struct writer *writer, const ProtobufCMessageDescriptor *descriptor,
                          struct slice bytes);

/* ---- strings ---- */

/* Length of the UTF-8 character at `at`, 1 for ASCII, 0 when it is none; *code is the character. */
static size_t utf8_decode(const uint8_t *at, const uint8_t *end, uint32_t *code)
{
    static const uint32_t lowest[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = at[0] < 0x80 ? 1 : at[0] < 0xc0 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;

    if (length == 0 || at[0] > 0xf4 || (size_t)(end - at) < length)
        return 0;
    *code = length == 1 ? at[0] : at[0] & (0x7fU >> length);
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        *code = *code << 6 | (at[i] & 0x3fU);
    }
    if (*code < lowest[length] || *code > 0x10ffff || (*code >= 0xd800 && *code <= 0xdfff))
        return 0;
    return length;
}

static bool is_plain(uint8_t c)
{
    return c >= ' ' && c < 0x80 && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&';
}

static bool write_escape(uint32_t code, struct buf *out)
{
    static const char names[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    const char *name = code != 0 && code < 0x80 ? strchr(names, (int)code) : NULL;

    if (name != NULL)
        return buf_append_byte(out, '\\') && buf_append_byte(out, (uint8_t)letters[name - names]);
    return buf_printf(out, "\\u%04x", (unsigned)code);
}

bool pbjson_write_string(struct slice text, struct buf *out)
{
    const uint8_t *at, *end, *start;
    uint32_t code = 0;
    size_t length;
    bool fits = buf_append_byte(out, '"');

    at = text.size != 0 ? text.data : (const uint8_t *)"";
    end = at + text.size;
    while (fits && at < end) {
        for (start = at; at < end && is_plain(*at);)
            at++;
        fits = buf_append(out, start, (size_t)(at - start));
        if (!fits || at == end)
            break;
        length = utf8_decode(at, end, &code);
        if (length == 0)
            fits = write_escape(0xfffd, out);
        else if (length > 1 && code != 0x2028 && code != 0x2029)
            fits = buf_append(out, at, length);
        else
            fits = write_escape(code, out);
        at += MAX(length, 1);
    }
    return fits && buf_append_byte(out, '"');
}

/* ---- values ---- */

static bool is_64_bits(ProtobufCType type)
{
    return type == PROTOBUF_C_TYPE_INT64 || type == PROTOBUF_C_TYPE_UINT64 ||
           type == PROTOBUF_C_TYPE_SINT64 || type == PROTOBUF_C_TYPE_FIXED64 ||
           type == PROTOBUF_C_TYPE_SFIXED64;
}

static bool write_number(struct writer *writer, const ProtobufCFieldDescriptor *field,
                         uint64_t number)
{
    bool quoted = writer->style == PBJSON_GATEWAY && is_64_bits(field->type);
    bool is_unsigned =
        field->type == PROTOBUF_C_TYPE_UINT64 || field->type == PROTOBUF_C_TYPE_FIXED64 ||
        field->type == PROTOBUF_C_TYPE_UINT32 || field->type == PROTOBUF_C_TYPE_FIXED32;

    return (!quoted || buf_append_byte(writer->out, '"')) &&
           (is_unsigned ? buf_append_uint(writer->out, number)
                        : buf_append_int(writer->out, (int64_t)number)) &&
           (!quoted || buf_append_byte(writer->out, '"'));
}

static bool write_enum(struct writer *writer, const ProtobufCFieldDescriptor *field, int32_t number)
{
    const ProtobufCEnumValue *value =
        writer->style == PBJSON_GATEWAY
            ? protobuf_c_enum_descriptor_get_value(field->descriptor, number)
            : NULL;

    if (value == NULL)
        return buf_append_int(writer->out, number);
    return pbjson_write_string(slice_text(value->name), writer->out);
}

static bool write_value(struct writer *writer, const ProtobufCFieldDescriptor *field,
                        const struct value *value)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_BOOL:
        return buf_append_text(writer->out, value->number != 0 ? "true" : "false");
    case PROTOBUF_C_TYPE_ENUM:
        return write_enum(writer, field, (int32_t)value->number);
    case PROTOBUF_C_TYPE_STRING:
        return pbjson_write_string(value->bytes, writer->out);
    case PROTOBUF_C_TYPE_BYTES:
        return buf_append_byte(writer->out, '"') && base64_encode(value->bytes, writer->out) &&
               buf_append_byte(writer->out, '"');
    case PROTOBUF_C_TYPE_MESSAGE:
        if (value->message != NULL)
            return write_message(writer, value->message);
        return write_encoded(writer, field->descriptor, value->bytes);
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return write_number(writer, field, value->number);
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        break;
    }
    must(!"the schema has no floating point");
    return false;
}

static bool is_default(const ProtobufCFieldDescriptor *field, const struct value *value)
{
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 || field->type == PROTOBUF_C_TYPE_MESSAGE)
        return false; /* there is there, even if empty */
    if (field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_BYTES)
        return value->bytes.size == 0;
    return value->number == 0;
}

static bool write_name(struct writer *writer, const ProtobufCFieldDescriptor *field, bool *first)
{
    size_t size = strlen(field->name);
    uint8_t *room = buf_reserve(writer->out, size + 4);

    if (room == NULL)
        return false;
    if (!*first)
        *room++ = ',';
    *room = '"';
    memcpy(room + 1, field->name, size);
    memcpy(room + 1 + size, "\":", 2);
    buf_advance(writer->out, size + (*first ? 3 : 4));
    *first = false;
    return true;
}

/*
 * etcdctl prints Go structs, in which a oneof is a member of its own: {"Response":{"response_put":
 * ...}}. The schema's oneofs are named after the first word of their members, as that one is.
 */
static bool write_wrapper(struct writer *writer, const ProtobufCFieldDescriptor *field, bool *first)
{
    size_t word = strcspn(field->name, "_");
    char initial = field->name[0];

    if (writer->style != PBJSON_CTL || (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0)
        return true;
    if (!*first && !buf_append_byte(writer->out, ','))
        return false;
    *first = true;
    if (initial >= 'a' && initial <= 'z')
        initial = (char)(initial - 'a' + 'A');
    return buf_append_byte(writer->out, '"') && buf_append_byte(writer->out, (uint8_t)initial) &&
           buf_append(writer->out, field->name + 1, word - 1) &&
           buf_append_text(writer->out, "\":{");
}

static bool write_single(struct writer *writer, const ProtobufCFieldDescriptor *field,
                         const struct value *value, bool *first)
{
    bool wrapped = writer->style == PBJSON_CTL && (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;

    if (is_default(field, value))
        return true;
    return write_wrapper(writer, field, first) && write_name(writer, field, first) &&
           write_value(writer, field, value) && (!wrapped || buf_append_byte(writer->out, '}'));
}

/* ---- from memory ---- */

static struct value value_at(const ProtobufCFieldDescriptor *field, const void *slot)
{
    struct value value = {0};

    switch (field->type) {
    case PROTOBUF_C_TYPE_BOOL:
        value.number = *(const protobuf_c_boolean *)slot != 0;
        break;
    case PROTOBUF_C_TYPE_ENUM:
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        value.number = (uint64_t)(int64_t) * (const int32_t *)slot;
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        value.number = *(const uint32_t *)slot;
        break;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        value.number = *(const uint64_t *)slot;
        break;
    case PROTOBUF_C_TYPE_STRING: {
        const char *text = *(char *const *)slot;
        value.bytes = text != NULL ? slice_text(text) : SLICE_EMPTY;
        break;
    }
    case PROTOBUF_C_TYPE_BYTES: {
        const ProtobufCBinaryData *bytes = slot;
        value.bytes = slice_of(bytes->data, bytes->len);
        break;
    }
    case PROTOBUF_C_TYPE_MESSAGE:
        value.message = *(ProtobufCMessage *const *)slot;
        break;
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        must(!"the schema has no floating point");
    }
    return value;
}

static bool write_list(struct writer *writer, const ProtobufCFieldDescriptor *field,
                       const uint8_t *list, size_t count, bool *first)
{
    if (count == 0)
        return true;
    if (!write_name(writer, field, first))
        return false;
    for (size_t i = 0; i < count; i++) {
        struct value value = value_at(field, list + i * pb_slot_bytes(field->type));

        if (!buf_append_byte(writer->out, i == 0 ? '[' : ',') ||
            !write_value(writer, field, &value))
            return false;
    }
    return buf_append_byte(writer->out, ']');
}

static bool write_field(struct writer *writer, const ProtobufCFieldDescriptor *field,
                        const ProtobufCMessage *message, bool *first)
{
    const uint8_t *base = (const uint8_t *)message;
    const void *slot = base + field->offset, *quantifier = base + field->quantifier_offset;
    struct value value;

    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return write_list(writer, field, *(uint8_t *const *)slot, *(const size_t *)quantifier,
                          first);
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 &&
        *(const uint32_t *)quantifier != field->id)
        return true;
    value = value_at(field, slot);
    if (field->type == PROTOBUF_C_TYPE_MESSAGE && value.message == NULL)
        return true;
    return write_single(writer, field, &value, first);
}

static bool write_message(struct writer *writer, const ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *descriptor = message->descriptor;
    bool first = true;

    if (writer->depth == JSON_DEPTH_MAX || !buf_append_byte(writer->out, '{'))
        return false;
    writer->depth++;
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        if (!write_field(writer, &descriptor->fields[i], message, &first))
            return false;
    }
    writer->depth--;
    return buf_append_byte(writer->out, '}');
}

bool pbjson_write(const ProtobufCMessage *message, enum pbjson_style style, struct buf *out)
{
    struct writer writer = {.out = out, .style = style};

    return write_message(&writer, message);
}

/* ---- from wire bytes ---- */

enum wire_type { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

struct record { /* one tag and what follows it */
    uint32_t id;
    uint32_t type;
    uint64_t number;    /* VARINT, 64, 32 */
    struct slice bytes; /* BYTES */
};

static bool read_varint(struct slice *bytes, uint64_t *number)
{
    *number = 0;
    for (unsigned i = 0; i < bytes->size && i < 10; i++) {
        uint8_t byte = bytes->data[i];

        if (i == 9 && byte > 1)
            return false;
        *number |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *bytes = slice_of(bytes->data + i + 1, bytes->size - i - 1);
            return true;
        }
    }
    return false;
}

static bool read_fixed(struct slice *bytes, size_t size, uint64_t *number)
{
    if (bytes->size < size)
        return false;
    *number = 0;
    for (size_t i = 0; i < size; i++)
        *number |= (uint64_t)bytes->data[i] << (8 * i);
    *bytes = slice_of(bytes->data + size, bytes->size - size);
    return true;
}

static bool read_record(struct slice *bytes, struct record *record)
{
    uint64_t tag;

    *record = (struct record){0};
    if (!read_varint(bytes, &tag) || tag >> 3 == 0 || tag > UINT32_MAX)
        return false;
    record->id = (uint32_t)(tag >> 3);
    record->type = tag & 7;
    switch (record->type) {
    case WIRE_VARINT:
        return read_varint(bytes, &record->number);
    case WIRE_64:
        return read_fixed(bytes, 8, &record->number);
    case WIRE_32:
        return read_fixed(bytes, 4, &record->number);
    case WIRE_BYTES:
        if (!read_varint(bytes, &record->number) || record->number > bytes->size)
            return false;
        record->bytes = slice_of(bytes->data, record->number);
        *bytes = slice_of(bytes->data + record->number, bytes->size - record->number);
        return true;
    default:
        return false; /* groups are not in this schema */
    }
}

static enum wire_type wire_type_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return WIRE_BYTES;
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return WIRE_32;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return WIRE_64;
    case PROTOBUF_C_TYPE_BOOL:
    case PROTOBUF_C_TYPE_ENUM:
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_UINT64:
        break;
    }
    return WIRE_VARINT;
}

/* What a number on the wire means for this type, sign-extended. */
static uint64_t number_of(ProtobufCType type, uint64_t number)
{
    if (type == PROTOBUF_C_TYPE_SINT32 || type == PROTOBUF_C_TYPE_SINT64)
        number = number >> 1 ^ (0 - (number & 1));
    if (type == PROTOBUF_C_TYPE_UINT32 || type == PROTOBUF_C_TYPE_FIXED32)
        return (uint32_t)number;
    if (type == PROTOBUF_C_TYPE_BOOL)
        return number != 0;
    return is_64_bits(type) ? number : (uint64_t)(int64_t)(int32_t)number;
}

/* Write the elements of one record of a list: one, or many when it is packed. */
static bool write_record_elements(struct writer *writer, const ProtobufCFieldDescriptor *field,
                                  const struct record *record, bool *any)
{
    enum wire_type type = wire_type_of(field->type);
    struct slice packed = record->bytes;
    struct value value = {.number = number_of(field->type, record->number), .bytes = packed};
    uint64_t number;

    if (type == WIRE_BYTES || record->type != WIRE_BYTES) {
        if (*any && !buf_append_byte(writer->out, ','))
            return false;
        *any = true;
        return write_value(writer, field, &value);
    }
    while (packed.size != 0) {
        if (!(type == WIRE_VARINT ? read_varint(&packed, &number)
                                  : read_fixed(&packed, type == WIRE_64 ? 8 : 4, &number)))
            return false;
        value = (struct value){.number = number_of(field->type, number)};
        if ((*any && !buf_append_byte(writer->out, ',')) || !write_value(writer, field, &value))
            return false;
        *any = true;
    }
    return true;
}

/* `bytes` begins with the first record of `field`. */
static bool write_encoded_list(struct writer *writer, const ProtobufCFieldDescriptor *field,
                               struct slice bytes, bool *first)
{
    struct record record;
    bool any = false;

    if (!write_name(writer, field, first) || !buf_append_byte(writer->out, '['))
        return false;
    while (bytes.size != 0) {
        if (!read_record(&bytes, &record))
            return false;
        if (record.id == field->id && !write_record_elements(writer, field, &record, &any))
            return false;
    }
    return buf_append_byte(writer->out, ']');
}

/* The records of a field. */
struct place {
    size_t first; /* bytes left from the first one to the end; 0 = there is none */
    struct record last;
};

/* Fields of a message are few and mostly in order: look behind the last one found first. */
static unsigned index_of(const ProtobufCMessageDescriptor *descriptor, uint32_t id, unsigned guess)
{
    if (guess < descriptor->n_fields && descriptor->fields[guess].id == id)
        return guess;
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        if (descriptor->fields[i].id == id)
            return i;
    }
    return descriptor->n_fields;
}

static bool find_places(const ProtobufCMessageDescriptor *descriptor, struct slice bytes,
                        struct place *places)
{
    const ProtobufCFieldDescriptor *fields = descriptor->fields;
    struct record record;
    unsigned i = 0;

    while (bytes.size != 0) {
        size_t here = bytes.size;

        if (!read_record(&bytes, &record))
            return false;
        i = index_of(descriptor, record.id, i);
        if (i == descriptor->n_fields) {
            i = 0;
            continue; /* unknown: skipped */
        }
        if (record.type != wire_type_of(fields[i].type) &&
            (record.type != WIRE_BYTES || fields[i].label != PROTOBUF_C_LABEL_REPEATED))
            return false;
        if ((fields[i].flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
            for (unsigned j = 0; j < descriptor->n_fields; j++) {
                if (fields[j].quantifier_offset == fields[i].quantifier_offset)
                    places[j] = (struct place){0};
            }
        }
        if (places[i].first == 0)
            places[i].first = here;
        places[i].last = record;
        if (fields[i].label != PROTOBUF_C_LABEL_REPEATED)
            i++;
    }
    return true;
}

static bool write_encoded(struct writer *writer, const ProtobufCMessageDescriptor *descriptor,
                          struct slice bytes)
{
    struct place places[FIELDS_MAX];
    bool first = true;

    must(descriptor->n_fields <= FIELDS_MAX);
    memset(places, 0, descriptor->n_fields * sizeof(places[0]));
    if (writer->depth == JSON_DEPTH_MAX || !find_places(descriptor, bytes, places) ||
        !buf_append_byte(writer->out, '{'))
        return false;
    writer->depth++;
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        struct place *place = &places[i];

        if (place->first == 0)
            continue;
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            struct slice from = slice_of(bytes.data + (bytes.size - place->first), place->first);

            if (!write_encoded_list(writer, field, from, &first))
                return false;
            continue;
        }
        struct value value = {.number = number_of(field->type, place->last.number),
                              .bytes = place->last.bytes};
        if (!write_single(writer, field, &value, &first))
            return false;
    }
    writer->depth--;
    return buf_append_byte(writer->out, '}');
}

bool pbjson_write_encoded(const ProtobufCMessageDescriptor *descriptor, struct slice bytes,
                          enum pbjson_style style, struct buf *out)
{
    struct writer writer = {.out = out, .style = style};

    return write_encoded(&writer, descriptor, bytes);
}
