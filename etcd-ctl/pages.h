/*
 * pages.h - a range of any size, read in pages at one revision: for get --stream and make-mirror.
 * Thread: the client's.
 */
#ifndef ETCD_CTL_PAGES_H
#define ETCD_CTL_PAGES_H

#include "etcd-ctl/ctl.h"

/* `page` dies when it returns. -1 with `err` filled ends it all. */
typedef int page_fn(void *arg, const Etcdserverpb__RangeResponse *page, struct err *err);

/*
 * Hand the keys of `range` to `each`, in ascending order; an empty range is one empty page. With a
 * limit there, no more than that; with a revision there, as of that one.
 *
 * range     borrowed; its sort fields are not for the caller
 * patient   a server that is away is waited for, which stderr is told
 * revision  the one that was read
 * errors    those of client_call(), and of `each`
 */
int pages_read(struct client *client, const Etcdserverpb__RangeRequest *range, page_fn *each,
               void *arg, bool patient, int64_t *revision, struct err *err) MUST_CHECK;

#endif
