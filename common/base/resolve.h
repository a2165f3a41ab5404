/*
 * resolve.h (edge) - which address the host name of a URL has at this moment, for lists of URLs
 * that are compared by address (cli.md 1.5). Blocks, up to half a minute in all: a name server may
 * come up together with us. Thread: any, one call of a wait at a time.
 */
#ifndef COMMON_BASE_RESOLVE_H
#define COMMON_BASE_RESOLVE_H

#include "common/base/err.h"

struct resolve_wait {
    int64_t until_ms; /* 0: the first call sets it, of clock_ms() */
    /* before each attempt that follows one that failed; may be NULL */
    void (*again)(const char *url, const char *why);
};

/*
 * The URL with its first address for its name. An address, `localhost` and a socket stay what they
 * are, as in etcd.
 *
 * wait      struct resolve_wait; the type is that of bootstrap_resolve_fn
 * resolved  set on success only; owned by the caller
 * errors    ERR_USAGE (no URL), ERR_NET "failed to resolve ..."
 */
int resolve_url(void *wait, const char *url, char **resolved, struct err *err) MUST_CHECK;

#endif
