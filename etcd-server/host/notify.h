/* notify.h (edge) - tells systemd how the server is: the datagrams of sd_notify(3). Thread: any. */
#ifndef ETCD_SERVER_HOST_NOTIFY_H
#define ETCD_SERVER_HOST_NOTIFY_H

#include "common/base/err.h"

/* Send `state` ("READY=1") to the socket that NOTIFY_SOCKET names; without the variable nothing is
 * sent. */
int notify_send(const char *state, struct err *err) MUST_CHECK;

#endif
