/*
 * autocompact.h - history that nobody asked for goes by itself (cli.md 1.12). Only the leader
 * proposes.
 *
 *   periodic R   a sample of the revision every R/10 (at most every 6 minutes); once R has passed,
 *                every min(R, 1 h) compact to the revision of R ago
 *   revision N   every 5 minutes compact to the current revision - N
 *
 * Pure: time is handed in. Thread: core.
 */
#ifndef ETCD_SERVER_SERVICE_AUTOCOMPACT_H
#define ETCD_SERVER_SERVICE_AUTOCOMPACT_H

#include "etcd-server/engine/engine.h"

enum autocompact_mode { AUTOCOMPACT_OFF, AUTOCOMPACT_PERIODIC, AUTOCOMPACT_REVISION };

struct autocompact;

/* retention  PERIODIC: milliseconds, at least 1; REVISION: revisions to keep */
struct autocompact *autocompact_new(struct engine *engine, enum autocompact_mode mode,
                                    uint64_t retention);
void autocompact_free(struct autocompact *autocompact); /* NULL is fine */
void autocompact_tick(struct autocompact *autocompact, uint64_t now_ms);

#endif
