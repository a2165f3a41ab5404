/*
 * stalls.h - when the machine itself stood still: a virtual one does, whenever its host runs
 * another.
 *
 * A thread on each processor, above every real-time priority that a bench gives, wakes every
 * quarter of a millisecond. Nothing that is measured can keep it from that; so where it comes late,
 * nobody on this processor ran, and what was under way then says nothing about the program.
 */
#ifndef TESTS_BENCH_STALLS_H
#define TESTS_BENCH_STALLS_H

#include "common/base/base.h"

struct stalls;

/* NULL where real-time priority is not to be had: then nothing is known about stalls. Owned. */
struct stalls *stalls_watch(void);
void stalls_free(struct stalls *stalls); /* NULL is fine */

/* Did a processor stand still between these (CLOCK_MONOTONIC), or shortly before them? To be asked
 * a few ms after `to_ns`: a stall is known when it is over. */
bool stalls_between(struct stalls *stalls, uint64_t from_ns, uint64_t to_ns);

#endif
