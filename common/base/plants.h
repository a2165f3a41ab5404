/*
 * plants.h - known bugs that can be planted, to prove that the simulator would find them.
 *
 * Only in a build with -DSIM_PLANTS (make sim-plants), where the simulator chooses one; in every
 * other build PLANTED() is the constant false and what it guards is not compiled in. One line per
 * bug, at one place in the code. Thread: any.
 */
#ifndef COMMON_BASE_PLANTS_H
#define COMMON_BASE_PLANTS_H

#define PLANTS(PLANT)                                                                              \
    PLANT(ACK_BEFORE_FSYNC, "requests are reported durable before the sync")                       \
    PLANT(INDEX_APART, "the consistent index is committed after the data it speaks of")            \
    PLANT(TORN_TAIL, "a torn record at the end of the log is taken for good")                      \
    PLANT(APPLY_EARLY, "entries are applied before they are durable")                              \
    PLANT(SNAPSHOT_EARLY, "a snapshot is saved before the backend has what it stands for")         \
    PLANT(SEGMENT_NAME, "the directory is not synced after a new segment got its name")            \
    PLANT(COMPACTION_MARK, "the mark of an ordered compaction is not saved")                       \
    PLANT(WATCH_SEAM, "a watcher that begins at the newest revision does not read it")             \
    PLANT(WATCH_PROGRESS, "progress is told to watchers that have events coming")                  \
    PLANT(LEASE_GONE, "the renewal of a revoked lease is accepted")                                \
    PLANT(LEASE_EARLY, "a renewal is answered, but the lease expires as before")

#define PLANT_ID(name, words) PLANT_##name,
enum plant { PLANT_NONE, PLANTS(PLANT_ID) PLANT_COUNT };
#undef PLANT_ID

#ifdef SIM_PLANTS
extern enum plant planted; /* defined by the simulator */
#define PLANTED(name) (planted == PLANT_##name)
#else
#define PLANTED(name) 0
#endif

#endif
