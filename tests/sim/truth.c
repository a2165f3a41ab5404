/*
 * truth.c - every entry that any member ever wrote, which of them are committed, and what Raft
 * guarantees (raft.md 11), checked when it happens and only for what is new.
 *
 *   record: one per (index, term), with a hash of all before it, so that two logs that agree in one
 *           record agree in all before
 *   node->log[]     -> the records that this member wrote, as far as it goes
 *   sim->committed[] -> what some member said was committed
 *
 * What a member promised to others (votes, entries) must be on its disk when it comes back.
 */
#include "tests/sim/sim.h"

#include <stdio.h>

struct node *truth_node(struct sim *sim, uint64_t id)
{
    for (size_t i = 0; i < sim->node_count; i++)
        if (sim->nodes[i]->id == id)
            return sim->nodes[i];
    return NULL;
}

/* ---- records ---- */

static uint64_t mix(uint64_t hash, uint64_t number)
{
    hash = (hash ^ number) * 0x9e3779b97f4a7c15U;
    return hash ^ (hash >> 29);
}

static uint64_t chain_of(const struct record *before, const struct raft_entry *entry)
{
    uint64_t hash = mix(before != NULL ? before->chain : 1, entry->term);
    size_t bytes = entry->data.size, at = 0;

    hash = mix(mix(hash, (uint64_t)entry->type), bytes);
    for (; at + 8 <= bytes; at += 8) {
        uint64_t word;

        memcpy(&word, entry->data.data + at, 8);
        hash = mix(hash, word);
    }
    for (; at < bytes; at++)
        hash = mix(hash, entry->data.data[at]);
    return hash;
}

/* A put that was refused must not turn up in the log (its value names it), nor an early revoke. */
static void check_may_be_written(struct sim *sim, struct record *record)
{
    const Etcdserverpb__InternalRaftRequest *request = record->request;
    unsigned serial = 0;

    if (request->put != NULL && request->put->value.len > 9)
        serial = (unsigned)strtoul((const char *)request->put->value.data + 1, NULL, 10);
    sim_check(sim, serial <= sim->serial && !sim->refused[serial],
              "put %u was refused, and is in the log", serial);
    if (request->lease_revoke != NULL && sim->verbose)
        printf("%8" PRIu64 " revoke of %" PRId64 " in entry %" PRIu64 " of term %" PRIu64 "\n",
               sim->now_ms, request->lease_revoke->id, record->entry.index, record->entry.term);
    if (request->lease_revoke != NULL)
        record->early_revoke = leasing_is_early(sim, request->lease_revoke->id);
}

static struct record *record_new(struct sim *sim, const struct raft_entry *entry, uint64_t chain)
{
    struct record *record = xalloc(sizeof(*record));
    uint8_t *copy = xalloc(entry->data.size + 1);

    if (entry->data.size != 0)
        memcpy(copy, entry->data.data, entry->data.size);
    record->entry = *entry;
    record->entry.data = slice_of(copy, entry->data.size);
    record->chain = chain;
    if (entry->type == RAFT_ENTRY_NORMAL && entry->data.size != 0) {
        record->request = etcdserverpb__internal_raft_request__unpack(NULL, entry->data.size, copy);
        must(record->request != NULL);
        check_may_be_written(sim, record);
    }
    return record;
}

static struct record *find(struct sim *sim, uint64_t index, uint64_t term)
{
    struct record *record = index <= sim->record_count ? sim->records[index - 1] : NULL;

    while (record != NULL && (record->entry.term != term || record->lost))
        record = record->next;
    return record;
}

static void insert(struct sim *sim, struct record *record)
{
    uint64_t index = record->entry.index;

    if (index > sim->record_capacity) {
        size_t capacity = MAX(sim->record_capacity * 2, 256);

        sim->records = xrealloc(sim->records, capacity * sizeof(struct record *));
        memset(sim->records + sim->record_capacity, 0,
               (capacity - sim->record_capacity) * sizeof(struct record *));
        sim->record_capacity = capacity;
    }
    sim->record_count = MAX(sim->record_count, index);
    record->next = sim->records[index - 1];
    sim->records[index - 1] = record;
}

static void log_push(struct node *node, struct record *record)
{
    if (node->log_count == node->log_capacity) {
        node->log_capacity = MAX(node->log_capacity * 2, 256);
        node->log = xrealloc(node->log, node->log_capacity * sizeof(struct record *));
    }
    node->log[node->log_count++] = record;
}

/* R4: what has the same index and term is the same, and so is all before it. */
static struct record *take(struct node *node, const struct raft_entry *entry, bool may_be_new)
{
    struct sim *sim = node->sim;
    const struct record *before = node->log_count != 0 ? node->log[node->log_count - 1] : NULL;
    uint64_t chain;
    struct record *record;

    sim_check(sim, entry->index == node->log_count + 1,
              "member %u writes entry %" PRIu64 " behind entry %zu", node->number, entry->index,
              node->log_count);
    chain = chain_of(before, entry);
    record = find(sim, entry->index, entry->term);
    sim_check(sim, record == NULL || record->chain == chain,
              "log matching: member %u has another entry %" PRIu64 " of term %" PRIu64
              ", or another one before it",
              node->number, entry->index, entry->term);
    sim_check(sim, record != NULL || may_be_new,
              "member %u finds entry %" PRIu64 " of term %" PRIu64 " in its log, nobody wrote it",
              node->number, entry->index, entry->term);
    if (record == NULL) {
        record = record_new(sim, entry, chain);
        insert(sim, record);
    }
    log_push(node, record);
    return record;
}

/* R11: a leader takes no change of the members while one before it is not applied. */
static void check_change(struct node *node, uint64_t index)
{
    struct sim *sim = node->sim;
    const struct record *record = node->log[index - 1];
    uint64_t before = index - 1;

    if (raft_role(engine_raft(node->engine)) != RAFT_LEADER ||
        record->entry.term != raft_term(engine_raft(node->engine)))
        return;
    while (before > 0 && node->log[before - 1]->entry.type == RAFT_ENTRY_NORMAL)
        before--;
    sim_check(sim, before <= engine_applied_index(node->engine),
              "member %u takes a change of the members as entry %" PRIu64
              ", and that of entry %" PRIu64 " is not applied yet",
              node->number, index, before);
}

void truth_written(struct node *node, const struct raft_entry *entry)
{
    struct sim *sim = node->sim;
    uint64_t last = entry->index - 1;

    if (last < node->log_count) { /* what is overwritten */
        sim_check(sim, last >= node->commit_seen,
                  "member %u overwrites entry %" PRIu64 ", it knew that %" PRIu64 " were committed",
                  node->number, entry->index, node->commit_seen);
        node->log_count = last;
        node->promised = MIN(node->promised, last);
        node->cut_term = raft_term(engine_raft(node->engine));
    }
    (void)take(node, entry, true);
    if (entry->type != RAFT_ENTRY_NORMAL)
        check_change(node, entry->index);
}

/* A snapshot of the leader takes the place of the log. */
void truth_installs(struct node *node, uint64_t index)
{
    struct sim *sim = node->sim;
    uint64_t same = 0;

    sim_check(sim, index <= sim->committed_count,
              "member %u gets a snapshot of %" PRIu64 " entries, %zu are committed", node->number,
              index, sim->committed_count);
    while (same < index && same < node->log_count && node->log[same] == sim->committed[same])
        same++;
    node->promised = MIN(node->promised, same);
    node->cut_term = raft_term(engine_raft(node->engine));
    node->log_count = same;
    while (node->log_count < index)
        log_push(node, sim->committed[node->log_count]);
}

/* ---- promises ---- */

static void check_vote(struct node *node, uint64_t term, uint64_t candidate)
{
    sim_check(node->sim, term >= node->vote_term,
              "member %u votes in term %" PRIu64 " after it did in term %" PRIu64, node->number,
              term, node->vote_term);
    sim_check(node->sim, term > node->vote_term || candidate == node->vote,
              "member %u votes for %" PRIx64 " and for %" PRIx64 " in term %" PRIu64, node->number,
              node->vote, candidate, term);
    node->vote_term = term;
    node->vote = candidate;
}

static void check_leads(struct node *node, uint64_t term)
{
    struct sim *sim = node->sim;

    must(term < SIM_TERMS_MAX);
    sim_check(sim, sim->leaders[term] == 0 || sim->leaders[term] == node->id,
              "election safety: members %" PRIx64 " and %" PRIx64 " lead term %" PRIu64,
              sim->leaders[term], node->id, term);
    if (sim->leaders[term] == 0)
        sim->elections++;
    sim->leaders[term] = node->id;
}

void truth_sent(struct node *node, const struct raft_message *message)
{
    struct sim *sim = node->sim;

    switch ((int)message->type) {
    case RAFT_MSG_VOTE:
        check_vote(node, message->term, node->id);
        break;
    case RAFT_MSG_VOTE_RESP:
        if (!message->reject)
            check_vote(node, message->term, message->to);
        break;
    case RAFT_MSG_APP:
    case RAFT_MSG_SNAP:
    case RAFT_MSG_HEARTBEAT:
        check_leads(node, message->term);
        node->term_promised = MAX(node->term_promised, message->term);
        break;
    case RAFT_MSG_APP_RESP:
        if (message->reject || message->index == 0 || message->term < node->cut_term)
            break; /* held back by the disk, it speaks of entries that were overwritten since */
        sim_check(sim, message->index <= node->log_count,
                  "member %u says it has entry %" PRIu64 ", it has %zu", node->number,
                  message->index, node->log_count);
        node->promised = MAX(node->promised, message->index);
        if (sim_chance(sim, 10))
            node_check_durable(node, message->index);
        break;
    default:
        break;
    }
}

/* ---- commit ---- */

static bool is_in(const uint64_t *ids, size_t count, uint64_t id)
{
    for (size_t i = 0; i < count; i++)
        if (ids[i] == id)
            return true;
    return false;
}

/* Of these voters, do most have the entry, and have they said so? */
static bool quorum_has(struct node *leader, const struct raft_conf_state *conf, uint64_t index)
{
    struct sim *sim = leader->sim;
    size_t have = 0;

    for (size_t i = 0; i < sim->node_count; i++) {
        const struct node *node = sim->nodes[i];

        if (is_in(conf->voters, conf->voter_count, node->id) && node->log_count >= index &&
            node->log[index - 1] == leader->log[index - 1] &&
            (node == leader || node->promised >= index))
            have++;
    }
    return have > conf->voter_count / 2;
}

/* R9, and what a leader commits is on the disks of a quorum. */
static void check_leader_commit(struct node *node, uint64_t commit)
{
    const struct raft *raft = engine_raft(node->engine);
    struct sim *sim = node->sim;

    sim_check(sim, node->log[commit - 1]->entry.term == raft_term(raft),
              "member %u leads term %" PRIu64 " and commits entry %" PRIu64 " of term %" PRIu64,
              node->number, raft_term(raft), commit, node->log[commit - 1]->entry.term);
    sim_check(
        sim,
        quorum_has(node, &node->conf, commit) || quorum_has(node, raft_conf_state(raft), commit),
        "member %u commits entry %" PRIu64 ", which no quorum of voters has", node->number, commit);
}

static void check_commit(struct sim *sim, struct record *record)
{
    const Etcdserverpb__InternalRaftRequest *request = record->request;
    unsigned serial;

    if (request == NULL)
        return;
    sim_check(sim, !record->early_revoke,
              "lease %" PRId64 " is ended by entry %" PRIu64
              ", made while a client still had its promise",
              request->lease_revoke->id, record->entry.index);
    if (request->lease_revoke != NULL)
        leasing_ended(sim, request->lease_revoke->id);
    if (request->alarm != NULL && request->alarm->alarm == ETCDSERVERPB__ALARM_TYPE__CORRUPT &&
        request->alarm->action == ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE)
        damage_alarm(sim, request->alarm->memberid);
    if (request->put == NULL || request->put->value.len <= 9)
        return;
    serial = (unsigned)strtoul((const char *)request->put->value.data + 1, NULL, 10);
    sim_check(sim, !sim->written[serial], "put %u is in the log twice", serial);
    sim->written[serial] = 1;
}

static void commit_to(struct node *node, uint64_t commit)
{
    struct sim *sim = node->sim;

    sim_check(sim, commit >= node->commit_seen,
              "member %u: commit falls from %" PRIu64 " to %" PRIu64, node->number,
              node->commit_seen, commit);
    sim_check(sim, commit <= node->log_count,
              "member %u: %" PRIu64 " entries are committed, its log ends at %zu", node->number,
              commit, node->log_count);
    if (commit > node->commit_seen && commit > sim->committed_count &&
        raft_role(engine_raft(node->engine)) == RAFT_LEADER)
        check_leader_commit(node, commit);
    while (sim->committed_count < commit) {
        struct record *record = node->log[sim->committed_count];

        if (sim->committed_count == sim->committed_capacity) {
            sim->committed_capacity = MAX(sim->committed_capacity * 2, 256);
            sim->committed =
                xrealloc(sim->committed, sim->committed_capacity * sizeof(struct record *));
        }
        check_commit(sim, record);
        sim->committed[sim->committed_count++] = record;
    }
    sim_check(sim, commit == 0 || node->log[commit - 1] == sim->committed[commit - 1],
              "state machine safety: member %u takes entry %" PRIu64 " of term %" PRIu64
              " for committed, others that of term %" PRIu64,
              node->number, commit, node->log[commit - 1]->entry.term,
              sim->committed[commit - 1]->entry.term);
    node->commit_seen = commit;
}

/* R5: whoever leads a term has all that was committed in those before. */
static void check_leader(struct node *node)
{
    const struct raft *raft = engine_raft(node->engine);
    struct sim *sim = node->sim;
    uint64_t term = raft_term(raft), index = sim->committed_count;

    must(term < SIM_TERMS_MAX);
    if (sim->leaders[term] == node->id)
        return;
    check_leads(node, term);
    while (index > 0 && sim->committed[index - 1]->entry.term >= term)
        index--;
    if (index == 0)
        return;
    sim_check(sim, raft_last_index(raft) >= index,
              "leader completeness: member %u leads term %" PRIu64 " with %" PRIu64
              " entries, %" PRIu64 " were committed before",
              node->number, term, raft_last_index(raft), index);
    sim_check(sim,
              raft_first_index(raft) > index ||
                  raft_term_at(raft, index) == sim->committed[index - 1]->entry.term,
              "leader completeness: member %u leads term %" PRIu64 ", its entry %" PRIu64
              " is of term %" PRIu64 ", that of term %" PRIu64 " was committed",
              node->number, term, index, raft_term_at(raft, index),
              sim->committed[index - 1]->entry.term);
}

void truth_observe(struct node *node)
{
    const struct raft *raft = engine_raft(node->engine);
    uint64_t commit = raft_commit_index(raft);

    if (raft_role(raft) == RAFT_LEADER)
        check_leader(node);
    if (commit <= node->log_count) /* else a snapshot is being installed */
        commit_to(node, commit);
}

/* ---- after a restart ---- */

/* The log on the disk against what was written; its order of events is lost with the power. */
void truth_found(struct node *node, const struct boot *boot)
{
    struct sim *sim = node->sim;
    uint64_t snapshot = boot->snapshot.meta.index;
    struct record **before = node->log;
    size_t before_count = node->log_count;
    struct raft_hard_state state = boot->log.hard_state;

    node->log = NULL;
    node->log_count = node->log_capacity = 0;
    sim_check(sim, snapshot <= sim->committed_count,
              "member %u: its snapshot stands for %" PRIu64 " entries, %zu are committed",
              node->number, snapshot, sim->committed_count);
    while (node->log_count < snapshot)
        log_push(node, sim->committed[node->log_count]);
    sim_check(sim, snapshot == 0 || node->log[snapshot - 1]->entry.term == boot->snapshot.meta.term,
              "member %u: its snapshot is of another term", node->number);
    for (size_t i = 0; i < boot->log.entry_count; i++)
        (void)take(node, &boot->log.entries[i], node->id == 0);
    sim_check(sim, node->log_count >= node->promised,
              "member %u: its log ends at entry %zu, but %" PRIu64 " was promised or applied",
              node->number, node->log_count, node->promised);
    for (size_t i = (size_t)snapshot; i < node->promised && i < before_count; i++)
        sim_check(sim, node->log[i] == before[i],
                  "member %u: entry %zu is not the one that it promised or applied", node->number,
                  i + 1);
    /* A sole voter whose term went with its entries may lead it again: nobody had heard of it. */
    for (size_t i = node->log_count; i < before_count; i++)
        if (before[i]->entry.term > state.term && sim->leaders[before[i]->entry.term] == node->id &&
            before[i]->entry.term > node->term_promised)
            before[i]->lost = true;
    free(before);
    sim_check(sim, state.term >= MAX(node->vote_term, node->term_promised),
              "member %u comes back in term %" PRIu64 ", it had been in %" PRIu64, node->number,
              state.term, MAX(node->vote_term, node->term_promised));
    sim_check(sim, state.term > node->vote_term || node->vote == 0 || state.vote == node->vote,
              "member %u forgot its vote of term %" PRIu64, node->number, state.term);
    node->commit_seen = 0;
    node->durable_checked = 0; /* names and lengths may have changed on the disk */
}

void truth_free(struct sim *sim)
{
    for (size_t i = 0; i < sim->record_count; i++)
        for (struct record *next, *record = sim->records[i]; record != NULL; record = next) {
            next = record->next;
            if (record->request != NULL)
                etcdserverpb__internal_raft_request__free_unpacked(record->request, NULL);
            free((void *)(uintptr_t)record->entry.data.data);
            free(record);
        }
    free(sim->records);
    free(sim->committed);
}
