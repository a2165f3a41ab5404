/* load_puts.h - puts at a steady rate on one connection, whether answers come or not; and how long
 * each took, from its frames being queued to its answer. */
#ifndef TESTS_BENCH_LOAD_PUTS_H
#define TESTS_BENCH_LOAD_PUTS_H

#include "tests/bench/load.h"

struct load_puts {
    /* the caller's; set before load_puts_start() */
    void *arg;
    /* The key of put number `number`; and its value, whose first 16 bytes are the number and the
     * time as uint64_t: `value` points behind them and may have `room` bytes. Returns how many. */
    size_t (*key)(void *arg, uint64_t number, char *key, size_t room);
    size_t value_bytes; /* at least 16 */
    double rate;        /* puts a second */
    bool scattered;     /* each at some moment of its step: else the server's own steps, of a
                         * millisecond too, would meet all of them or none */
    /* Called for each answer; NULL: none, `times` says how long they took. */
    void (*took)(void *arg, uint64_t sent_ns, uint64_t answered_ns);

    struct load_conn *conn;
    struct put_slot *slots, *spare; /* owned */
    uint64_t began_ns, begun;       /* of those that are due since then, how many were sent */
    uint64_t sent, answered;
    struct load_times times;
};

void load_puts_start(struct load_puts *puts, struct load *load, unsigned port);
void load_puts_free(struct load_puts *puts);
/* The schedule begins now: after a pause nothing is made up for. */
void load_puts_resume(struct load_puts *puts);
/* Send what is due; when the next one is. */
uint64_t load_puts_due(struct load_puts *puts, uint64_t now_ns);

#endif
