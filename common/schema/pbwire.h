/*
 * pbwire.h - protobuf's wire format by hand, for the few hot records that are not generated.
 *
 * Writers put into room that the caller has sized with the *_bytes() functions; the reader walks
 * fields of untrusted bytes and never passes their end. Pure; thread: any.
 */
#ifndef COMMON_SCHEMA_PBWIRE_H
#define COMMON_SCHEMA_PBWIRE_H

#include "common/base/err.h"
#include "common/base/slice.h"

#include <protobuf-c/protobuf-c.h>

enum pb_wire { PB_VARINT = 0, PB_FIXED64 = 1, PB_BYTES = 2, PB_FIXED32 = 5 };

#define PB_VARINT_MAX 10                                         /* bytes of a 64-bit varint */
#define PB_TAG(number, wire) ((uint8_t)((number) << 3 | (wire))) /* field numbers below 16 */

static inline size_t pb_varint_bytes(uint64_t number)
{
    return (size_t)(63 - __builtin_clzll(number | 1)) / 7 + 1;
}

/* A length-delimited field with a one-byte tag and `bytes` of content. */
static inline size_t pb_bytes_field_bytes(size_t bytes)
{
    return 1 + pb_varint_bytes(bytes) + bytes;
}

static inline uint8_t *pb_put_varint(uint8_t *at, uint64_t number)
{
    while (number >= 0x80) {
        *at++ = (uint8_t)(number | 0x80);
        number >>= 7;
    }
    *at++ = (uint8_t)number;
    return at;
}

static inline uint8_t *pb_put_u64(uint8_t *at, unsigned field, uint64_t number)
{
    *at++ = PB_TAG(field, PB_VARINT);
    return pb_put_varint(at, number);
}

/* Tag and length; the content follows. */
static inline uint8_t *pb_put_header(uint8_t *at, unsigned field, size_t bytes)
{
    *at++ = PB_TAG(field, PB_BYTES);
    return pb_put_varint(at, bytes);
}

static inline uint8_t *pb_put_bytes(uint8_t *at, unsigned field, struct slice bytes)
{
    at = pb_put_header(at, field, bytes.size);
    if (bytes.size != 0)
        memcpy(at, bytes.data, bytes.size);
    return at + bytes.size;
}

struct pb_reader {
    const uint8_t *at; /* borrowed */
    const uint8_t *end;
    const char *message; /* for error texts, e.g. "raftpb.Entry" */
};

struct pb_field {
    uint32_t number;
    enum pb_wire wire;
    uint64_t value;     /* PB_VARINT, PB_FIXED64, PB_FIXED32 */
    struct slice bytes; /* PB_BYTES; borrowed from the input */
};

static inline struct pb_reader pb_reader_of(struct slice bytes, const char *message)
{
    return (struct pb_reader){bytes.data, bytes.size != 0 ? bytes.data + bytes.size : bytes.data,
                              message};
}

/* 1 = `field` is filled, 0 = the end, -1 = ERR_FORMAT: not protobuf, or a group. */
int pb_next(struct pb_reader *reader, struct pb_field *field, struct err *err) MUST_CHECK;

/*
 * The same by protobuf-c's rules, for what is unpacked by it as well: exactly the fields that it
 * takes, such as numbers over 64 bits, which pb_next() refuses. `value` is not filled.
 *
 * returns  1 = `field` is filled, 0 = the end, -1 = protobuf-c refuses the message
 */
int pb_skim(struct pb_reader *reader, struct pb_field *field) MUST_CHECK;

/* A varint from the front of *at, which moves behind it; false when it is cut or over 64 bits. */
bool pb_get_varint(const uint8_t **at, const uint8_t *end, uint64_t *number) MUST_CHECK;

/* 0 when the field has this wire type, else -1 and ERR_FORMAT. */
int pb_expect(const struct pb_reader *reader, const struct pb_field *field, enum pb_wire wire,
              struct err *err) MUST_CHECK;

/*
 * Do the messages in `bytes`, a `type`, nest at most `depth` deep? protobuf-c unpacks by recursion
 * without a limit: ask before it is given what a client sent. Bytes that are no message pass.
 */
bool pb_depth_within(const ProtobufCMessageDescriptor *type, struct slice bytes,
                     unsigned depth) MUST_CHECK;

/* Forget the fields of no schema in `message` and all messages within: as deep as they nest. */
void pb_drop_unknown(ProtobufCMessage *message);

#endif
