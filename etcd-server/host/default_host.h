/*
 * default_host.h (edge) - the address by which this machine is seen from afar, for who listens at
 * 0.0.0.0 and advertises nothing (cli.md 1.5). Thread: any.
 */
#ifndef ETCD_SERVER_HOST_DEFAULT_HOST_H
#define ETCD_SERVER_HOST_DEFAULT_HOST_H

#include "common/base/base.h"

#define DEFAULT_HOST_BYTES 64

/* As it stands in a URL: "10.0.0.5", "[fd00::2]". IPv4 if there is; false: no default route. */
bool default_host(char host[DEFAULT_HOST_BYTES]) MUST_CHECK;

#endif
