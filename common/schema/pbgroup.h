/*
 * pbgroup.h - groups (wire types 3 and 4) among the fields that a message's type does not know.
 *
 * Etcd's decoder skips them and its encoder keeps them, so they can be in what its members write;
 * protobuf-c refuses them. Pure; thread: any.
 */
#ifndef COMMON_SCHEMA_PBGROUP_H
#define COMMON_SCHEMA_PBGROUP_H

#include "common/base/base.h"

#include <protobuf-c/protobuf-c.h>

/*
 * Make each such group, in the message in `bytes` and in those within it however deep, an unknown
 * field of bytes of the same size: its content is then walked over. Everything else stays as it is,
 * and the rules for it are those of pb_skim(). How deep groups nest in groups does not matter.
 *
 * returns  how many; a message that cannot be read stays as it is from there on, and a group in
 *          place of a field that the type knows ends it, too
 */
size_t pb_cover_groups(const ProtobufCMessageDescriptor *type, uint8_t *bytes, size_t size);

#endif
