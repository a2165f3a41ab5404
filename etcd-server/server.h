/*
 * server.h (edge) - puts the parts together: data directory, log, backend, engine, service, doors,
 * listeners; runs them; takes them apart. Thread: core.
 */
#ifndef ETCD_SERVER_SERVER_H
#define ETCD_SERVER_SERVER_H

#include "etcd-server/config.h"

/*
 * Run a member until SIGTERM, SIGINT or a failure.
 *
 * signal_number  set to the signal that ended it, 0 for none
 * errors         why it could not start; or had to stop: then it is logged, and err->text is ""
 */
int server_run(const struct config *config, int argc, const char *const *argv, int *signal_number,
               struct err *err) MUST_CHECK;

#endif
