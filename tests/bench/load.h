/*
 * load.h - a gRPC load generator's client: connections on one epoll, calls on them, one thread.
 *
 * Speaks to any etcd on 127.0.0.1. Whatever goes wrong with a connection ends the process with a
 * line that says so: a figure of a broken run is worth nothing.
 */
#ifndef TESTS_BENCH_LOAD_H
#define TESTS_BENCH_LOAD_H

#include "common/base/buf.h"

#include <nghttp2/nghttp2.h>
#include <protobuf-c/protobuf-c.h>

struct load; /* the epoll and the time of this turn */
struct load_conn;

struct load_call {
    /* the caller's; set before load_call_start() */
    void *arg;
    void (*message)(struct load_call *call, struct slice message); /* borrowed */
    void (*ended)(struct load_call *call); /* with grpc-status 0, else the process ends */

    struct load_conn *conn;
    int32_t id;
    struct buf in, out;
    bool out_ended, deferred;
};

struct load *load_new(void);
void load_free(struct load *load); /* with its connections */
struct load_conn *load_connect(struct load *load, unsigned port);

/* Start `call` (the caller's memory, zeroed but for its callbacks) at an RPC's path. */
void load_call_start(struct load_call *call, struct load_conn *conn, const char *path);
/* A message on it; `last`: the client's end. */
void load_call_send(struct load_call *call, const ProtobufCMessage *message, bool last);
void load_call_reset(struct load_call *call); /* give it up, hear no more of it */
void load_call_free(struct load_call *call);  /* its buffers; it has ended, or the load has */

/* Send, wait until `until_ns` at most, and take what comes. */
void load_turn(struct load *load, uint64_t until_ns);
uint64_t load_now_ns(void);

/* Latencies: a histogram of 1 us steps, then coarser; the worst of a share of them, in ms. */
struct load_times {
    uint32_t *counts; /* owned */
    uint64_t count;
    uint64_t worst_ns;
};
void load_times_init(struct load_times *times);
void load_times_free(struct load_times *times);
void load_times_reset(struct load_times *times);
void load_times_add(struct load_times *times, uint64_t ns);
double load_times_ms(const struct load_times *times, double share);

#endif
