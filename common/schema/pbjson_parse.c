/*
 * pbjson_parse.c - JSON to message, in one pass: json_reader.h hands over names and values, the
 * descriptor says where each goes. Rules: api.md 12.1.
 *
 * parse_message() and parse_field() call each other; JSON_DEPTH_MAX bounds that. Names are found by
 * a walk over the few fields of a message: the spelling of the schema first, then lowerCamelCase.
 * What must not come twice is remembered in two sets of bits, one per field and one per oneof (by
 * the index of its first member).
 */
#include "common/schema/pbjson.h"

#include "common/base/base64.h"
#include "common/base/json_reader.h"
#include "common/schema/pbslot.h"

#define FIELDS_MAX 64     /* fields of one message: bits of the sets */
#define NAME_RAW_MAX 512U /* bytes of an escaped name that could still be one of ours */
#define SHOWN_MAX 40      /* bytes of an offending value that an error repeats */
#define LIST_FIRST 4      /* elements a list has room for at first; then it doubles */

struct parser {
    struct json_reader reader;
    struct arena *arena;
};

static int parse_message(struct parser *parser, const ProtobufCMessageDescriptor *descriptor,
                         ProtobufCMessage **message, struct err *err);

static int no_memory(const struct parser *parser, struct err *err)
{
    err_set(err, ERR_NO_MEMORY,
            "the request needs more than %zu bytes of memory; send less at once",
            parser->arena->max);
    return -1;
}

/* For a value of the right kind that does not fit: `why` is e.g. "out of range for int64". */
static int bad_value(const ProtobufCFieldDescriptor *field, struct slice shown, const char *why,
                     struct err *err)
{
    err_set(err, ERR_FORMAT, "field \"%s\": %.*s%s is %s", field->name,
            (int)MIN(shown.size, SHOWN_MAX), (const char *)shown.data,
            shown.size > SHOWN_MAX ? "..." : "", why);
    return -1;
}

static int bad_kind(const ProtobufCFieldDescriptor *field, struct parser *parser,
                    const char *wanted, struct err *err)
{
    enum json_kind kind = json_peek(&parser->reader);

    if (kind == JSON_BAD || kind == JSON_END)
        return json_skip(&parser->reader, err); /* says what stands there */
    err_set(err, ERR_FORMAT, "field \"%s\" at byte %zu: expected %s, found %s", field->name,
            (size_t)(parser->reader.at - parser->reader.start) + 1, wanted, json_kind_name(kind));
    return -1;
}

/* ---- names ---- */

/* Is `text` the lowerCamelCase of `name`? It keeps capitals: ID has no other spelling. */
static bool camel_equal(const char *name, struct slice text)
{
    bool upper = false;
    size_t i = 0, j;

    for (j = 0; name[j] != '\0'; j++) {
        char c = name[j];

        if (c == '_') {
            upper = true;
            continue;
        }
        if (upper && c >= 'a' && c <= 'z')
            c = (char)(c - 'a' + 'A');
        upper = false;
        if (i == text.size || text.data[i++] != (uint8_t)c)
            return false;
    }
    return i == text.size;
}

static bool name_equal(const char *name, struct slice text)
{
    return strlen(name) == text.size && memcmp(name, text.data, text.size) == 0;
}

static const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *descriptor,
                                                  const struct json_string *string)
{
    uint8_t plain[NAME_RAW_MAX];
    struct slice name = string->raw;

    if (string->escaped) {
        if (name.size > sizeof(plain))
            return NULL;
        name = slice_of(plain, json_unescape(name, plain));
    }
    if (name.size == 0 || memchr(name.data, '\0', name.size) != NULL)
        return NULL;
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        if (descriptor->fields[i].name[0] == (char)name.data[0] &&
            name_equal(descriptor->fields[i].name, name))
            return &descriptor->fields[i];
    }
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        if (camel_equal(descriptor->fields[i].name, name))
            return &descriptor->fields[i];
    }
    return NULL;
}

/* ---- scalars ---- */

/* A string's bytes, in the arena when they had escapes, else borrowed from the text. */
static int plain_text(struct parser *parser, const struct json_string *string, struct slice *text,
                      struct err *err)
{
    uint8_t *plain;

    *text = string->raw;
    if (!string->escaped)
        return 0;
    plain = arena_alloc(parser->arena, string->raw.size);
    if (plain == NULL)
        return no_memory(parser, err);
    *text = slice_of(plain, json_unescape(string->raw, plain));
    return 0;
}

/* A whole number, written as number or (if `in_string`) as a string of one. */
static int parse_integer(struct parser *parser, const ProtobufCFieldDescriptor *field,
                         bool in_string, bool *negative, uint64_t *magnitude, struct err *err)
{
    enum json_kind kind = json_peek(&parser->reader);
    struct json_string string;
    struct slice text;

    if (kind == JSON_STRING && in_string) {
        if (json_take_string(&parser->reader, &string, err) < 0 ||
            plain_text(parser, &string, &text, err) < 0)
            return -1;
    } else if (kind == JSON_NUMBER) {
        if (json_number(&parser->reader, &text, err) < 0)
            return -1;
    } else {
        return bad_kind(field, parser, "a whole number", err);
    }
    switch (json_take_integer(text, negative, magnitude)) {
    case JSON_INTEGER_OK:
        return 0;
    case JSON_INTEGER_SYNTAX:
        return text.size == 0 ? bad_value(field, SLICE_LITERAL("\"\""), "not a number", err)
                              : bad_value(field, text, "not a number", err);
    case JSON_INTEGER_FRACTION:
        return bad_value(field, text, "not a whole number", err);
    case JSON_INTEGER_RANGE:
        return bad_value(field, text, "out of range", err);
    }
    return -1;
}

static int parse_signed(struct parser *parser, const ProtobufCFieldDescriptor *field,
                        bool in_string, int64_t lowest, int64_t highest, int64_t *value,
                        struct err *err)
{
    const uint8_t *start;
    uint64_t magnitude;
    bool negative;

    (void)json_peek(&parser->reader); /* skips blanks */
    start = parser->reader.at;
    if (parse_integer(parser, field, in_string, &negative, &magnitude, err) < 0)
        return -1;
    if (magnitude > (negative ? 0 - (uint64_t)lowest : (uint64_t)highest))
        return bad_value(field, slice_of(start, (size_t)(parser->reader.at - start)),
                         "out of range", err);
    *value = (int64_t)(negative ? 0 - magnitude : magnitude);
    return 0;
}

static int parse_unsigned(struct parser *parser, const ProtobufCFieldDescriptor *field,
                          uint64_t highest, uint64_t *value, struct err *err)
{
    const uint8_t *start;
    bool negative;

    (void)json_peek(&parser->reader); /* skips blanks */
    start = parser->reader.at;
    if (parse_integer(parser, field, true, &negative, value, err) < 0)
        return -1;
    if (negative || *value > highest)
        return bad_value(field, slice_of(start, (size_t)(parser->reader.at - start)),
                         "out of range", err);
    return 0;
}

/* A known name, or any number; an unknown name leaves *known false and is no error. */
static int parse_enum(struct parser *parser, const ProtobufCFieldDescriptor *field, int32_t *value,
                      bool *known, struct err *err)
{
    const ProtobufCEnumDescriptor *names = field->descriptor;
    struct json_string string;
    struct slice text;
    int64_t number;

    if (json_peek(&parser->reader) != JSON_STRING) {
        if (json_peek(&parser->reader) != JSON_NUMBER)
            return bad_kind(field, parser, "a name or number", err);
        if (parse_signed(parser, field, false, INT32_MIN, INT32_MAX, &number, err) < 0)
            return -1;
        *value = (int32_t)number;
        return 0;
    }
    if (json_take_string(&parser->reader, &string, err) < 0 ||
        plain_text(parser, &string, &text, err) < 0)
        return -1;
    *known = false;
    for (unsigned i = 0; i < names->n_values && !*known; i++) {
        if (name_equal(names->values[i].name, text)) {
            *value = names->values[i].value;
            *known = true;
        }
    }
    return 0;
}

static int parse_bool(struct parser *parser, const ProtobufCFieldDescriptor *field,
                      protobuf_c_boolean *value, struct err *err)
{
    enum json_kind kind = json_peek(&parser->reader);

    if (kind != JSON_TRUE && kind != JSON_FALSE)
        return bad_kind(field, parser, "true or false", err);
    *value = kind == JSON_TRUE;
    return json_word(&parser->reader, kind, err);
}

static int parse_string(struct parser *parser, const ProtobufCFieldDescriptor *field, char **value,
                        struct err *err)
{
    struct json_string string;
    size_t size;
    char *text;

    if (json_peek(&parser->reader) != JSON_STRING)
        return bad_kind(field, parser, "a string", err);
    if (json_take_string(&parser->reader, &string, err) < 0)
        return -1;
    text = arena_alloc(parser->arena, string.raw.size + 1);
    if (text == NULL)
        return no_memory(parser, err);
    size = string.raw.size;
    if (string.escaped)
        size = json_unescape(string.raw, (uint8_t *)text);
    else if (size != 0)
        memcpy(text, string.raw.data, size);
    text[size] = '\0';
    if (memchr(text, '\0', size) != NULL)
        return bad_value(field, string.raw, "a text with a NUL character in it; leave it out", err);
    *value = text;
    return 0;
}

static bool is_line_end(uint8_t byte)
{
    return byte == '\n' || byte == '\r';
}

/*
 * `text` without its line ends, as etcd's gateway reads base64: they are passed over, but it is the
 * length with them that decides whether there is padding (a multiple of 4) or none. Empty: that is
 * not why it cannot be read, or there is nothing else in it.
 */
static struct slice without_line_ends(struct parser *parser, struct slice text)
{
    uint8_t *plain = arena_alloc(parser->arena, MAX(text.size, 1));
    bool padded = text.size % 4 == 0;
    size_t size = 0;

    if (plain == NULL)
        return SLICE_EMPTY;
    for (size_t i = 0; i < text.size; i++)
        if (!is_line_end(text.data[i]))
            plain[size++] = text.data[i];
    if ((padded && size % 4 != 0) || (!padded && memchr(plain, '=', size) != NULL))
        return SLICE_EMPTY;
    return slice_of(plain, size);
}

static bool decode_lines(struct parser *parser, struct slice text, uint8_t *bytes, size_t *size)
{
    size_t line_ends = 0;

    for (size_t i = 0; i < text.size; i++)
        line_ends += is_line_end(text.data[i]);
    if (line_ends == 0)
        return false;
    if (line_ends != text.size) {
        text = without_line_ends(parser, text);
        return text.size != 0 && base64_decode(text, bytes, size);
    }
    *size = 0;
    return true;
}

static int parse_bytes(struct parser *parser, const ProtobufCFieldDescriptor *field,
                       ProtobufCBinaryData *value, struct err *err)
{
    struct json_string string;
    struct slice text;
    uint8_t *bytes;

    if (json_peek(&parser->reader) != JSON_STRING)
        return bad_kind(field, parser, "a string in base64", err);
    if (json_take_string(&parser->reader, &string, err) < 0 ||
        plain_text(parser, &string, &text, err) < 0)
        return -1;
    bytes = arena_alloc(parser->arena, BASE64_DECODED_MAX(text.size));
    if (bytes == NULL)
        return no_memory(parser, err);
    if (!base64_decode(text, bytes, &value->len) && !decode_lines(parser, text, bytes, &value->len))
        return bad_value(field, string.raw, "not base64", err);
    value->data = bytes;
    return 0;
}

/* ---- fields ---- */

/* Read one value into `slot`; *known becomes false when it is to be ignored (an enum's name). */
static int parse_value(struct parser *parser, const ProtobufCFieldDescriptor *field, void *slot,
                       bool *known, struct err *err)
{
    uint64_t unsigned_value = 0;
    int64_t signed_value = 0;
    int rc;

    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        rc = parse_signed(parser, field, true, INT32_MIN, INT32_MAX, &signed_value, err);
        *(int32_t *)slot = (int32_t)signed_value;
        return rc;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return parse_signed(parser, field, true, INT64_MIN, INT64_MAX, slot, err);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        rc = parse_unsigned(parser, field, UINT32_MAX, &unsigned_value, err);
        *(uint32_t *)slot = (uint32_t)unsigned_value;
        return rc;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return parse_unsigned(parser, field, UINT64_MAX, slot, err);
    case PROTOBUF_C_TYPE_ENUM:
        return parse_enum(parser, field, slot, known, err);
    case PROTOBUF_C_TYPE_BOOL:
        return parse_bool(parser, field, slot, err);
    case PROTOBUF_C_TYPE_STRING:
        return parse_string(parser, field, slot, err);
    case PROTOBUF_C_TYPE_BYTES:
        return parse_bytes(parser, field, slot, err);
    case PROTOBUF_C_TYPE_MESSAGE:
        if (json_peek(&parser->reader) != JSON_OBJECT)
            return bad_kind(field, parser, "an object", err);
        return parse_message(parser, field->descriptor, slot, err);
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        break;
    }
    must(!"the schema has no floating point");
    return -1;
}

static int parse_list(struct parser *parser, const ProtobufCFieldDescriptor *field, void **list,
                      size_t *count, struct err *err)
{
    size_t size = pb_slot_bytes(field->type), room = 0;
    uint8_t *elements = NULL, *larger;
    bool first = true, more, known;

    if (json_peek(&parser->reader) != JSON_LIST)
        return bad_kind(field, parser, "a list", err);
    if (json_enter(&parser->reader, JSON_LIST, err) < 0)
        return -1;
    for (;;) {
        if (json_next_element(&parser->reader, &first, &more, err) < 0)
            return -1;
        if (!more)
            break;
        if (*count == room) {
            room = room == 0 ? LIST_FIRST : room * 2;
            larger = arena_alloc(parser->arena, room * size);
            if (larger == NULL)
                return no_memory(parser, err);
            if (*count != 0)
                memcpy(larger, elements, *count * size);
            elements = larger;
        }
        known = true;
        if (parse_value(parser, field, elements + *count * size, &known, err) < 0)
            return -1;
        *count += known;
    }
    *list = elements;
    return 0;
}

static int parse_field(struct parser *parser, const ProtobufCFieldDescriptor *field,
                       ProtobufCMessage *message, struct err *err)
{
    uint8_t *base = (uint8_t *)message;
    bool known = true;

    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return parse_list(parser, field, (void **)(void *)(base + field->offset),
                          (size_t *)(void *)(base + field->quantifier_offset), err);
    if (parse_value(parser, field, base + field->offset, &known, err) < 0)
        return -1;
    if (!known)
        return 0;
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0)
        *(uint32_t *)(void *)(base + field->quantifier_offset) = field->id;
    else if (field->label == PROTOBUF_C_LABEL_OPTIONAL && field->type != PROTOBUF_C_TYPE_MESSAGE &&
             field->type != PROTOBUF_C_TYPE_STRING)
        *(protobuf_c_boolean *)(void *)(base + field->quantifier_offset) = true;
    return 0;
}

/* Refuse a field, or a oneof, that was there already. */
static int note_seen(const ProtobufCMessageDescriptor *descriptor,
                     const ProtobufCFieldDescriptor *field, bool is_null, uint64_t *seen,
                     uint64_t *seen_oneofs, struct err *err)
{
    uint64_t bit = UINT64_C(1) << (field - descriptor->fields);
    unsigned first = 0;

    if ((*seen & bit) != 0) {
        err_set(err, ERR_FORMAT, "field \"%s\" of %s is given twice; keep one", field->name,
                descriptor->short_name);
        return -1;
    }
    *seen |= bit;
    if (is_null || (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0)
        return 0;
    while ((descriptor->fields[first].flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0 ||
           descriptor->fields[first].quantifier_offset != field->quantifier_offset)
        first++;
    bit = UINT64_C(1) << first;
    if ((*seen_oneofs & bit) != 0) {
        err_set(err, ERR_FORMAT,
                "field \"%s\" of %s: another member of the same oneof is given too; keep one",
                field->name, descriptor->short_name);
        return -1;
    }
    *seen_oneofs |= bit;
    return 0;
}

static int parse_message(struct parser *parser, const ProtobufCMessageDescriptor *descriptor,
                         ProtobufCMessage **message, struct err *err)
{
    uint64_t seen = 0, seen_oneofs = 0;
    const ProtobufCFieldDescriptor *field;
    struct json_string name;
    bool first = true, more, is_null;
    ProtobufCMessage *made;

    must(descriptor->n_fields <= FIELDS_MAX);
    made = arena_alloc(parser->arena, descriptor->sizeof_message);
    if (made == NULL)
        return no_memory(parser, err);
    protobuf_c_message_init(descriptor, made);
    if (json_enter(&parser->reader, JSON_OBJECT, err) < 0)
        return -1;
    for (;;) {
        if (json_next_name(&parser->reader, &first, &name, &more, err) < 0)
            return -1;
        if (!more)
            break;
        field = find_field(descriptor, &name);
        if (field == NULL) {
            if (json_skip(&parser->reader, err) < 0)
                return -1;
            continue;
        }
        is_null = json_peek(&parser->reader) == JSON_NULL;
        if (note_seen(descriptor, field, is_null, &seen, &seen_oneofs, err) < 0)
            return -1;
        if ((is_null ? json_word(&parser->reader, JSON_NULL, err)
                     : parse_field(parser, field, made, err)) < 0)
            return -1;
    }
    *message = made;
    return 0;
}

int pbjson_parse(const ProtobufCMessageDescriptor *descriptor, struct slice text, size_t *used,
                 struct arena *arena, ProtobufCMessage **message, struct err *err)
{
    struct parser parser = {.arena = arena};
    ProtobufCMessage *made;

    json_reader_init(&parser.reader, text);
    if (json_peek(&parser.reader) == JSON_END) {
        made = arena_alloc(arena, descriptor->sizeof_message);
        if (made == NULL)
            return no_memory(&parser, err);
        protobuf_c_message_init(descriptor, made);
        *message = made;
    } else if (parse_message(&parser, descriptor, message, err) < 0) {
        return -1;
    }
    (void)json_peek(&parser.reader); /* skips the blanks behind it */
    if (used != NULL)
        *used = (size_t)(parser.reader.at - parser.reader.start);
    return 0;
}
