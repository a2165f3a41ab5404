/*
 * pbbytes.h - the bytes of a field as a slice, and back: borrowed both ways, so that a message made
 * of slices must not be freed with its parts. Pure; thread: any.
 */
#ifndef COMMON_SCHEMA_PBBYTES_H
#define COMMON_SCHEMA_PBBYTES_H

#include "common/base/slice.h"

#include <protobuf-c/protobuf-c.h>

static inline struct slice pb_slice(ProtobufCBinaryData bytes)
{
    return slice_of(bytes.data, bytes.len);
}

static inline ProtobufCBinaryData pb_bytes(struct slice slice)
{
    return (ProtobufCBinaryData){slice.size, (uint8_t *)(uintptr_t)slice.data}; /* only read */
}

static inline ProtobufCBinaryData pb_text(const char *text)
{
    return pb_bytes(slice_text(text));
}

#endif
