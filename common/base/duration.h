/*
 * duration.h - spans of time as etcd's users write them: Go durations ("300ms", "1h30m", "1.5s").
 * In nanoseconds, signed, exact to the nanosecond. Pure; thread: any.
 */
#ifndef COMMON_BASE_DURATION_H
#define COMMON_BASE_DURATION_H

#include "common/base/buf.h"

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)

/* False for anything else than a Go duration ("5" and "" too; "0" is one), or past int64. */
bool duration_parse(const char *text, int64_t *ns) MUST_CHECK;

/* "1m30s", "1.5s", "20ms", "0s"; false when out->max is passed. */
bool duration_write(int64_t ns, struct buf *out);

#endif
