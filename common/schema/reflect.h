/*
 * reflect.h - the schema described by itself, for gRPC server reflection: FileDescriptorProto made
 * from the table of RPCs and protobuf-c's descriptors. One file per package, "<package>.proto".
 * Pure; thread: any.
 */
#ifndef COMMON_SCHEMA_REFLECT_H
#define COMMON_SCHEMA_REFLECT_H

#include "common/base/buf.h"

/* The package whose file holds a service, method, message or enum ("etcdserverpb.KV",
 * "etcdserverpb.KV.Range"); NULL for none. */
const char *reflect_package_of(struct slice symbol);
/* The package whose file has this name; NULL for none. */
const char *reflect_package_of_file(struct slice file);
/* Append the encoded FileDescriptorProto of `package`. */
void reflect_file(const char *package, struct buf *out);
/* The `index`th service, "etcdserverpb.KV", into `name`; false behind the last. */
bool reflect_service(size_t index, char *name, size_t name_bytes);

#endif
