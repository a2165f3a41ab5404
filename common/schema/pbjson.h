/*
 * pbjson.h - any protobuf message <-> JSON, by walking its descriptor; one mapper for all messages.
 *
 * The mapping is the proto3 JSON mapping as etcd's gateway speaks it (api.md 12.1, 12.2): names as
 * in the schema, lowerCamelCase accepted, 64-bit integers as strings, bytes as base64, defaults
 * left out. Used by the gateway door, etcd-ctl and etcd-snap. Pure; thread: any.
 *
 * Read in one pass by json_reader.h, not by way of a tree: 64-bit numbers stay exact and a put
 * costs a fraction of a microsecond. Stricter than etcd in three things: "0," is no number, a line
 * break inside base64 is refused, and so is U+0000 in a string (C strings end there).
 */
#ifndef COMMON_SCHEMA_PBJSON_H
#define COMMON_SCHEMA_PBJSON_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/err.h"

#include <protobuf-c/protobuf-c.h>

enum pbjson_style {
    PBJSON_GATEWAY, /* 64-bit integers as strings, enums by name, as the gateway answers */
    PBJSON_CTL,     /* 64-bit integers and enums as bare numbers, as etcdctl -w json prints */
};

/*
 * Parse the first JSON value of `text` as a message of type `descriptor`.
 *
 * text      UTF-8 JSON; blank or empty is an empty message; borrowed
 * used      set to the bytes taken, blanks behind the value too, so that streams can go on there
 *           until nothing is left; may be NULL
 * message   from the arena; every string and byte field is a copy in the arena
 * errors    ERR_FORMAT (bad JSON, wrong type, range, unknown base64 ...: names the field; nested
 *           deeper than JSON_DEPTH_MAX), ERR_NO_MEMORY (arena maximum)
 */
int pbjson_parse(const ProtobufCMessageDescriptor *descriptor, struct slice text, size_t *used,
                 struct arena *arena, ProtobufCMessage **message, struct err *err) MUST_CHECK;

/*
 * Append `message` as one JSON object without blanks; false when out->max is passed (then a part of
 * it may have been appended), or when it nests deeper than JSON_DEPTH_MAX. PBJSON_CTL wraps oneofs
 * as etcdctl does: {"Response":{"response_put":{}}}.
 */
bool pbjson_write(const ProtobufCMessage *message, enum pbjson_style style, struct buf *out);

/*
 * The same for one already encoded message (wire bytes), without building it: what a range answers
 * is mvccpb.KeyValue bytes. False when out->max is passed or `bytes` is not a message of that type.
 */
bool pbjson_write_encoded(const ProtobufCMessageDescriptor *descriptor, struct slice bytes,
                          enum pbjson_style style, struct buf *out);

/* JSON string with quotes, escaped; invalid UTF-8 becomes U+FFFD. False when out->max is passed. */
bool pbjson_write_string(struct slice text, struct buf *out);

#endif
