/*
 * pbslot.h - where protobuf-c keeps the value of a field: in a struct, and in the array of a
 * repeated one. Pure; thread: any.
 */
#ifndef COMMON_SCHEMA_PBSLOT_H
#define COMMON_SCHEMA_PBSLOT_H

#include "common/base/base.h"

#include <protobuf-c/protobuf-c.h>

/* Bytes of one value of that type; of a text or a message: those of the pointer to it. */
static inline size_t pb_slot_bytes(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_ENUM:
    case PROTOBUF_C_TYPE_FLOAT:
        return 4;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    }
    must(!"protobuf-c has no other type");
    return 0;
}

#endif
