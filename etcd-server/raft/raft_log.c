/*
 * raft_log.c - see raft_log.h.
 *
 *      base_index     handed     committed, stable, appended     last_index
 *  ... dropped |  ring ...|........ (in any order) ..........|.......|
 *
 * Invariant: base <= handed <= committed <= last; handed <= stable <= appended <= last.
 * A follower may know that an entry is committed before it is durable here; it is handed out when
 * both hold. A cut takes back what requests under way would otherwise claim: the index they speak
 * of may hold another entry when they are done, whose own request comes later.
 */
#include "common/base/base.h"
#include "etcd-server/raft/raft_log.h"

#define RING_FIRST 64
/* A ring of up to that many places stays: it would soon be needed again. */
#define RING_KEPT 4096
#define RING_EMPTY 8 /* of a larger one, when one in so many places is taken at most, most go */

static struct raft_entry *slot(const struct raft_log *log, uint64_t index)
{
    return &log->ring[index & (log->capacity - 1)];
}

void raft_log_init(struct raft_log *log, uint64_t base_index, uint64_t base_term)
{
    *log = (struct raft_log){.base_index = base_index,
                             .base_term = base_term,
                             .last_index = base_index,
                             .appended = base_index,
                             .stable = base_index,
                             .committed = base_index,
                             .handed = base_index};
}

static void drop(struct raft_log *log, uint64_t index)
{
    struct raft_entry *entry = slot(log, index);

    if (index > log->committed)
        log->uncommitted_bytes -= entry->data.size;
    log->bytes -= entry->data.size + sizeof(*entry);
    /* a slice is const to its readers; the log owns it */
    free((void *)(uintptr_t)entry->data.data);
    *entry = (struct raft_entry){0};
}

void raft_log_fini(struct raft_log *log)
{
    for (uint64_t index = log->base_index + 1; index <= log->last_index; index++)
        drop(log, index);
    free(log->ring);
    *log = (struct raft_log){0};
}

/* Another ring with the same entries; what they point to stays where it is. */
static void resize(struct raft_log *log, size_t capacity)
{
    struct raft_log old = *log;

    must(capacity >= log->last_index - log->base_index);
    log->capacity = capacity;
    log->ring = xalloc(log->capacity * sizeof(*log->ring));
    for (uint64_t index = old.base_index + 1; index <= old.last_index; index++)
        *slot(log, index) = *slot(&old, index);
    free(old.ring);
}

/* Room for as many again stays, so that the next entries do not bring it back at once. */
static void shrink(struct raft_log *log)
{
    uint64_t count = log->last_index - log->base_index;
    size_t capacity = log->capacity;

    if (capacity <= RING_KEPT || count > capacity / RING_EMPTY)
        return;
    while (capacity > RING_KEPT && count <= capacity / 4)
        capacity /= 2;
    resize(log, capacity);
}

void raft_log_append(struct raft_log *log, enum raft_entry_type type, uint64_t term,
                     struct slice data)
{
    uint8_t *copy = NULL;

    if (log->last_index - log->base_index == log->capacity)
        resize(log, MAX(log->capacity * 2, RING_FIRST));
    if (data.size != 0) {
        copy = xalloc(data.size);
        memcpy(copy, data.data, data.size);
    }
    log->last_index++;
    *slot(log, log->last_index) = (struct raft_entry){
        .type = type, .term = term, .index = log->last_index, .data = slice_of(copy, data.size)};
    log->uncommitted_bytes += data.size;
    log->bytes += data.size + sizeof(struct raft_entry);
}

void raft_log_truncate(struct raft_log *log, uint64_t last_index)
{
    must(last_index >= log->committed); /* Raft 5.3: a committed entry is never overwritten */
    while (log->last_index > last_index) {
        drop(log, log->last_index);
        log->last_index--;
    }
    log->stable = MIN(log->stable, last_index);
    log->appended = MIN(log->appended, last_index);
    for (size_t i = 0; i < log->write_count; i++) {
        struct raft_log_write *write = &log->writes[(log->write_first + i) % RAFT_WRITES_MAX];

        write->last_index = MIN(write->last_index, last_index);
    }
}

void raft_log_restore(struct raft_log *log, uint64_t index, uint64_t term)
{
    must(index > log->committed);
    raft_log_truncate(log, log->committed);
    while (log->last_index > log->base_index) {
        drop(log, log->last_index);
        log->last_index--;
    }
    log->base_index = log->last_index = log->appended = log->stable = index;
    log->committed = log->handed = index;
    log->change_first = log->change_last = log->change_write_id = 0;
    log->base_term = term;
    shrink(log);
}

void raft_log_commit(struct raft_log *log, uint64_t index)
{
    must(index <= log->last_index);
    while (log->committed < index) {
        log->committed++;
        log->uncommitted_bytes -= slot(log, log->committed)->data.size;
        if (slot(log, log->committed)->type == RAFT_ENTRY_NORMAL)
            continue;
        if (log->change_first == 0)
            log->change_first = log->committed;
        log->change_last = log->committed;
    }
}

uint64_t raft_log_commit_told(const struct raft_log *log)
{
    return log->change_first != 0 ? log->change_first - 1 : log->committed;
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
    shrink(log);
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

bool raft_log_has(const struct raft_log *log, uint64_t index, uint64_t term)
{
    return index >= log->base_index && index <= log->last_index &&
           raft_log_term(log, index) == term;
}

bool raft_log_up_to_date(const struct raft_log *log, uint64_t index, uint64_t term)
{
    uint64_t last_term = raft_log_term(log, log->last_index);

    return term > last_term || (term == last_term && index >= log->last_index);
}

uint64_t raft_log_find_conflict(const struct raft_log *log, uint64_t index, uint64_t term)
{
    if (index > log->last_index)
        return index;
    while (index >= log->base_index && index > 0 && raft_log_term(log, index) > term)
        index--;
    return index;
}

bool raft_log_may_write(const struct raft_log *log)
{
    return log->write_count < RAFT_WRITES_MAX;
}

uint64_t raft_log_write(struct raft_log *log)
{
    must(raft_log_may_write(log));
    log->given_id++;
    log->writes[(log->write_first + log->write_count) % RAFT_WRITES_MAX] =
        (struct raft_log_write){log->given_id, log->last_index};
    log->write_count++;
    log->appended = log->last_index;
    return log->given_id;
}

void raft_log_written(struct raft_log *log, uint64_t id)
{
    while (log->write_count != 0 && log->writes[log->write_first].id <= id) {
        const struct raft_log_write *write = &log->writes[log->write_first];

        log->stable = MAX(log->stable, write->last_index);
        log->written_id = write->id;
        log->write_first = (log->write_first + 1) % RAFT_WRITES_MAX;
        log->write_count--;
    }
    must(log->stable <= log->last_index);
}
