/*
 * request_text.h - a request as a line of text for the log, in etcd's form, without what is secret:
 *
 *     key:"foo" value_size:3 lease:5
 *     compare:<target:VALUE key:"a" value_size:1> success:<request_put:<key:"a" value_size:9>>
 *
 * Of bytes only keys, ends of ranges and names are shown; of others their size. Of texts only those
 * that name somebody or something: passwords, their hashes and tokens are left out, and so is
 * whatever a later schema adds until it is listed here. Pure; thread: any.
 */
#ifndef ETCD_SERVER_SERVICE_REQUEST_TEXT_H
#define ETCD_SERVER_SERVICE_REQUEST_TEXT_H

#include "common/base/buf.h"

#include <protobuf-c/protobuf-c.h>

/* Append it to `out`, up to about REQUEST_TEXT_MAX_BYTES; what is longer is cut, as the log cuts
 * it. */
void request_text(const ProtobufCMessage *message, struct buf *out);

#endif
