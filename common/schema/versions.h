/*
 * versions.h - what a member says of itself at /version: {"etcdserver":"3.5.30","etcdcluster":
 * "3.5.0"} (raft.md 4.4), and versions in numbers. Pure. Thread: any.
 */
#ifndef COMMON_SCHEMA_VERSIONS_H
#define COMMON_SCHEMA_VERSIONS_H

#include "common/base/err.h"
#include "common/base/slice.h"

#define VERSION_TEXT_BYTES 48

struct versions {
    char server[VERSION_TEXT_BYTES];
    char cluster[VERSION_TEXT_BYTES]; /* "not_decided" until there is one */
};

/* ERR_FORMAT when it is no such object; a version that is missing is "". */
int versions_read_json(struct slice json, struct versions *versions, struct err *err) MUST_CHECK;

/* "3.5", "3.5.30", "3.6.0-rc.1", "3.6.0+build": its major and minor; false when it is none. */
bool version_read(const char *text, unsigned *major, unsigned *minor) MUST_CHECK;

/* The same as one number that compares, 3 * 1000 + 5; 0 when it is no version ("not_decided"). */
unsigned version_level(const char *text);

#endif
