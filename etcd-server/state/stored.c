/*
 * stored.c - see stored.h.
 *
 *   0a len key | 10 create | 18 mod | 20 version | 2a len value | 30 lease
 */
#include "etcd-server/state/stored.h"

enum field { FIELD_KEY = 1, FIELD_CREATE, FIELD_MOD, FIELD_VERSION, FIELD_VALUE, FIELD_LEASE };
enum wire { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

#define VARINT_MAX 10 /* bytes */
#define TAG_TYPE_BITS 3

struct reader {
    const uint8_t *next, *end;
};

struct field_read {
    uint64_t tag;
    const uint8_t *start; /* where the tag begins */
    uint64_t number;      /* varint, fixed */
    struct slice bytes;
};

static size_t varint_bytes(uint64_t number)
{
    size_t bits = 64U - (size_t)__builtin_clzll(number | 1);

    return (bits + 6) / 7;
}

static uint8_t *put_varint(uint8_t *out, uint64_t number)
{
    while (number >= 0x80) {
        *out++ = (uint8_t)(number | 0x80);
        number >>= 7;
    }
    *out++ = (uint8_t)number;
    return out;
}

static size_t slice_field_bytes(struct slice slice)
{
    return slice.size == 0 ? 0 : 1 + varint_bytes(slice.size) + slice.size;
}

static size_t number_field_bytes(int64_t number)
{
    return number == 0 ? 0 : 1 + varint_bytes((uint64_t)number);
}

static uint8_t *put_slice_field(uint8_t *out, enum field field, struct slice slice)
{
    if (slice.size == 0)
        return out;
    *out++ = (uint8_t)(field << TAG_TYPE_BITS | WIRE_BYTES);
    out = put_varint(out, slice.size);
    memcpy(out, slice.data, slice.size);
    return out + slice.size;
}

static uint8_t *put_number_field(uint8_t *out, enum field field, int64_t number)
{
    if (number == 0)
        return out;
    *out++ = (uint8_t)(field << TAG_TYPE_BITS | WIRE_VARINT);
    return put_varint(out, (uint64_t)number);
}

size_t stored_bytes(const struct stored *stored)
{
    return slice_field_bytes(stored->key) + number_field_bytes(stored->create) +
           number_field_bytes(stored->mod) + number_field_bytes(stored->version) +
           slice_field_bytes(stored->value) + number_field_bytes(stored->lease);
}

void stored_encode(const struct stored *stored, uint8_t *out)
{
    out = put_slice_field(out, FIELD_KEY, stored->key);
    out = put_number_field(out, FIELD_CREATE, stored->create);
    out = put_number_field(out, FIELD_MOD, stored->mod);
    out = put_number_field(out, FIELD_VERSION, stored->version);
    out = put_slice_field(out, FIELD_VALUE, stored->value);
    (void)put_number_field(out, FIELD_LEASE, stored->lease); /* the end */
}

static bool read_varint(struct reader *reader, uint64_t *number)
{
    uint64_t result = 0;

    for (unsigned i = 0; i < VARINT_MAX && reader->next < reader->end; i++) {
        uint8_t byte = *reader->next++;

        result |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *number = result;
            return true;
        }
    }
    return false;
}

static bool read_bytes(struct reader *reader, uint64_t size, struct slice *bytes)
{
    if (size > (uint64_t)(reader->end - reader->next))
        return false;
    *bytes = slice_of(reader->next, (size_t)size);
    reader->next += size;
    return true;
}

static bool read_field(struct reader *reader, struct field_read *field)
{
    field->start = reader->next;
    if (!read_varint(reader, &field->tag) || field->tag >> TAG_TYPE_BITS == 0)
        return false;
    switch (field->tag & 7) {
    case WIRE_VARINT:
        return read_varint(reader, &field->number);
    case WIRE_BYTES:
        return read_varint(reader, &field->number) &&
               read_bytes(reader, field->number, &field->bytes);
    case WIRE_FIXED64:
        return read_bytes(reader, 8, &field->bytes);
    case WIRE_FIXED32:
        return read_bytes(reader, 4, &field->bytes);
    default:
        return false;
    }
}

bool stored_decode(struct slice bytes, struct stored *stored)
{
    struct reader reader = {.next = bytes.data, .end = bytes.data + bytes.size};
    struct field_read field;

    *stored = (struct stored){.create = 0};
    while (reader.next < reader.end) {
        if (!read_field(&reader, &field))
            return false;
        if (field.tag == (FIELD_KEY << TAG_TYPE_BITS | WIRE_BYTES))
            stored->key = field.bytes;
        else if (field.tag == (FIELD_CREATE << TAG_TYPE_BITS | WIRE_VARINT))
            stored->create = (int64_t)field.number;
        else if (field.tag == (FIELD_MOD << TAG_TYPE_BITS | WIRE_VARINT))
            stored->mod = (int64_t)field.number;
        else if (field.tag == (FIELD_VERSION << TAG_TYPE_BITS | WIRE_VARINT))
            stored->version = (int64_t)field.number;
        else if (field.tag == (FIELD_VALUE << TAG_TYPE_BITS | WIRE_BYTES))
            stored->value = field.bytes;
        else if (field.tag == (FIELD_LEASE << TAG_TYPE_BITS | WIRE_VARINT))
            stored->lease = (int64_t)field.number;
        else if (field.tag >> TAG_TYPE_BITS <= FIELD_LEASE)
            return false; /* one of ours with another wire type */
    }
    return true;
}

size_t stored_strip(struct slice bytes, uint8_t *out)
{
    struct reader reader = {.next = bytes.data, .end = bytes.data + bytes.size};
    struct field_read field;
    size_t size = 0;

    while (reader.next < reader.end) {
        must(read_field(&reader, &field)); /* restore has decoded every record */
        if (field.tag >> TAG_TYPE_BITS == FIELD_VALUE)
            continue;
        memcpy(out + size, field.start, (size_t)(reader.next - field.start));
        size += (size_t)(reader.next - field.start);
    }
    return size;
}
