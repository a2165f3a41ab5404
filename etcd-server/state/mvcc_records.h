/*
 * mvcc_records.h - every stored revision in order, as a view shows it: the backend's, then those of
 * the batches, without the ones a batch deletes. For compaction and hashes. Pure.
 * Thread: core.
 */
#ifndef ETCD_SERVER_STATE_MVCC_RECORDS_H
#define ETCD_SERVER_STATE_MVCC_RECORDS_H

#include "etcd-server/state/view.h"

struct record {
    struct revision revision;
    bool tombstone;
    struct slice key;   /* 17 or 18 bytes */
    struct slice value; /* encoded mvccpb.KeyValue */
};

/* What is appended to an open batch after records_init() is not seen. */
struct records {
    struct view *view; /* borrowed */
    struct backend_cursor *cursor;
    bool sought;                        /* the cursor stands somewhere */
    bool in_batches;                    /* the backend is done with */
    struct revision last;               /* looked at last */
    size_t ops[VIEW_BATCHES_MAX];       /* of each batch, at the beginning */
    size_t batch, op;                   /* next to look at */
    struct revision *deleted;           /* owned; ascending */
    size_t deleted_count, deleted_next; /* those before are <= last */
};

/* Begin behind `last`; {-1, 0} for all. */
void records_init(struct records *records, struct view *view, struct revision last);
void records_fini(struct records *records);
/* Borrowed while the view lives; false at the end. */
bool records_next(struct records *records, struct record *record) MUST_CHECK;

#endif
