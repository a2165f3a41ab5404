/*
 * reread.h (edge) - a file that is read more than once, although it may be a pipe: `<(...)` of a
 * shell. Thread: any.
 */
#ifndef COMMON_CLIENT_REREAD_H
#define COMMON_CLIENT_REREAD_H

#include "common/base/err.h"

/*
 * A path under which what `path` holds can be read any number of times: the same, or that of a copy
 * in memory when `path` is no regular file.
 *
 * path    NULL is fine: *again is NULL then
 * again   owned
 * fd      of the copy, which lives until it is closed; -1 when there is none
 * errors  ERR_IO, ERR_NO_MEMORY: it cannot be read, or is too large for a certificate
 */
int reread_path(const char *path, char **again, int *fd, struct err *err) MUST_CHECK;

#endif
