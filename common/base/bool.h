/* bool.h - yes and no as etcd's users write them (Go's ParseBool). Pure; thread: any. */
#ifndef COMMON_BASE_BOOL_H
#define COMMON_BASE_BOOL_H

#include "common/base/base.h"

/* "1 t T TRUE true True" or "0 f F FALSE false False"; *value is untouched when it is neither. */
bool bool_parse(const char *text, bool *value) MUST_CHECK;

#endif
