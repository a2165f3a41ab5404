/*
 * raft_log.c - see raft_log.h.
 *
 *      base_index          handed        committed       stable     last_index
 *  ... dropped |  ring ......|..............|..............|............|
 *
 * Invariant: base <= handed <= committed <= last, handed <= stable <= last.
 */
#include "common/base/base.h"
#include "etcd-server/raft/raft_log.h"

#define RING_FIRST 64

static struct raft_entry *slot(const struct raft_log *log, uint64_t index)
{
    return &log->ring[index & (log->capacity - 1)];
}

void raft_log_init(struct raft_log *log, uint64_t base_index, uint64_t base_term)
{
    *log = (struct raft_log){.base_index = base_index,
                             .base_term = base_term,
                             .last_index = base_index,
                             .stable = base_index,
                             .committed = base_index,
                             .handed = base_index};
}

static void drop(struct raft_log *log, uint64_t index)
{
    struct raft_entry *entry = slot(log, index);

    log->bytes -= entry->data.size;
    free(
        (void *)(uintptr_t)entry->data.data); /* a slice is const to its readers; the log owns it */
    *entry = (struct raft_entry){0};
}

void raft_log_fini(struct raft_log *log)
{
    for (uint64_t index = log->base_index + 1; index <= log->last_index; index++)
        drop(log, index);
    free(log->ring);
    *log = (struct raft_log){0};
}

static void grow(struct raft_log *log)
{
    struct raft_log old = *log;

    log->capacity = MAX(old.capacity * 2, RING_FIRST);
    log->ring = xalloc(log->capacity * sizeof(*log->ring));
    for (uint64_t index = old.base_index + 1; index <= old.last_index; index++)
        *slot(log, index) = *slot(&old, index);
    free(old.ring);
}

void raft_log_append(struct raft_log *log, enum raft_entry_type type, uint64_t term,
                     struct slice data)
{
    uint8_t *copy = NULL;

    if (log->last_index - log->base_index == log->capacity)
        grow(log);
    if (data.size != 0) {
        copy = xalloc(data.size);
        memcpy(copy, data.data, data.size);
    }
    log->last_index++;
    *slot(log, log->last_index) = (struct raft_entry){
        .type = type, .term = term, .index = log->last_index, .data = slice_of(copy, data.size)};
    log->bytes += data.size;
}

void raft_log_truncate(struct raft_log *log, uint64_t last_index)
{
    must(last_index >= log->committed); /* Raft 5.3: a committed entry is never overwritten */
    while (log->last_index > last_index) {
        drop(log, log->last_index);
        log->last_index--;
    }
    log->stable = MIN(log->stable, last_index);
}

void raft_log_compact(struct raft_log *log, uint64_t index)
{
    index = MIN(index, log->handed);
    if (index <= log->base_index)
        return;
    log->base_term = raft_log_term(log, index);
    for (uint64_t at = log->base_index + 1; at <= index; at++)
        drop(log, at);
    log->base_index = index;
}

const struct raft_entry *raft_log_at(const struct raft_log *log, uint64_t index)
{
    must(index > log->base_index && index <= log->last_index);
    return slot(log, index);
}

uint64_t raft_log_term(const struct raft_log *log, uint64_t index)
{
    if (index == log->base_index)
        return log->base_term;
    if (index < log->base_index || index > log->last_index)
        return 0;
    return slot(log, index)->term;
}
