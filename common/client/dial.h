/*
 * dial.h (edge) - a TCP connection or a unix socket, opened before a deadline: the name is looked
 * up, its addresses are tried in turn. Blocks until the deadline at most, the lookup included.
 * Thread: any.
 */
#ifndef COMMON_CLIENT_DIAL_H
#define COMMON_CLIENT_DIAL_H

#include "common/base/base.h"

struct dial_target {
    const char *host; /* a name or an address, without brackets; borrowed, as all of these */
    uint16_t port;
    const char *socket; /* path of a unix socket: then neither host nor port; NULL: TCP */
    int64_t until_ms;   /* clock_ms() by which it has to be done */
};

enum dial_stage { DIAL_LOOK_UP, DIAL_CONNECT };

struct dial_failure {
    enum dial_stage stage;
    bool too_late;     /* the deadline passed */
    int os_error;      /* errno of the last address tried; 0: see cause */
    const char *cause; /* in words; static */
};

/* Only the first half. list: owned, ends in freeaddrinfo(); set on success only. */
struct addrinfo;
int dial_look_up(const struct dial_target *target, struct addrinfo **list,
                 struct dial_failure *failure) MUST_CHECK;

/* fd: owned, does not block, closed on exec; set on success only. failure: set on failure only. */
int dial(const struct dial_target *target, int *fd, struct dial_failure *failure) MUST_CHECK;

#endif
