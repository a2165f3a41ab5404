/* raft_cluster.c - see raft_cluster.h. */
#include "common/base/base.h"
#include "tests/lib/raft_cluster.h"

#include <stdio.h>

static void broken(struct cluster *cluster, const struct cluster_member *member, const char *what,
                   uint64_t a, uint64_t b)
{
    if (cluster->failure[0] == '\0')
        (void)snprintf(cluster->failure, sizeof(cluster->failure),
                       "%s: member %" PRIu64 ", %" PRIu64 ", %" PRIu64, what, member->id, a, b);
}

struct cluster_member *cluster_member(struct cluster *cluster, uint64_t id)
{
    must(id >= 1 && id <= cluster->member_count);
    return &cluster->members[id - 1];
}

/* ---- the disk ---- */

static uint64_t disk_last(const struct cluster_disk *disk)
{
    return disk->snapshot.index + disk->entry_count;
}

static void disk_append(struct cluster_disk *disk, const struct cluster_entry *entry)
{
    if (entry->index <= disk->snapshot.index)
        return;
    must(entry->index <= disk_last(disk) + 1);
    disk->entry_count = entry->index - disk->snapshot.index - 1;
    if (disk->entry_count == disk->entry_capacity) {
        disk->entry_capacity = MAX(disk->entry_capacity * 2, 16);
        disk->entries = xrealloc(disk->entries, disk->entry_capacity * sizeof(*disk->entries));
    }
    disk->entries[disk->entry_count++] = *entry;
}

static void disk_set_snapshot(struct cluster_disk *disk, const struct raft_snapshot_meta *meta,
                              uint64_t hash, bool keep_tail)
{
    size_t gone = meta->index - disk->snapshot.index;

    if (!keep_tail || gone > disk->entry_count) {
        disk->entry_count = 0;
    } else {
        disk->entry_count -= gone;
        memmove(disk->entries, disk->entries + gone, disk->entry_count * sizeof(*disk->entries));
    }
    disk->snapshot = *meta;
    disk->snapshot_hash = hash;
}

static void disk_write(struct cluster_disk *disk, const struct cluster_write *write)
{
    if (write->has_snapshot)
        disk_set_snapshot(disk, &write->snapshot, write->snapshot_hash, false);
    for (size_t i = 0; i < write->entry_count; i++)
        disk_append(disk, &write->entries[i]);
    if (write->has_state)
        disk->state = write->state;
}

static void drop_writes(struct cluster_member *member, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(member->writes[i].entries);
    member->write_count -= count;
    if (member->write_count != 0)
        memmove(member->writes, member->writes + count,
                member->write_count * sizeof(*member->writes));
}

/* ---- what is applied ---- */

static uint64_t hash_bytes(uint64_t hash, const void *data, size_t size)
{
    const uint8_t *at = data;

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ at[i]) * 0x100000001b3U;
    return hash;
}

static uint64_t hash_entry(uint64_t hash, const struct raft_entry *entry)
{
    uint64_t head[3] = {entry->index, entry->term, entry->type};

    hash = hash_bytes(hash, head, sizeof(head));
    return hash_bytes(hash, entry->data.data, entry->data.size);
}

static void applied(struct cluster *cluster, struct cluster_member *member, uint64_t index,
                    uint64_t term, uint64_t hash)
{
    must(index < CLUSTER_INDEX_MAX);
    if (cluster->hashes[index] == 0) {
        cluster->hashes[index] = hash;
        cluster->terms[index] = term;
    } else if (cluster->hashes[index] != hash) {
        broken(cluster, member, "R6: applied something else at an index", index, term);
    }
    member->applied = index;
    member->hash = hash;
    cluster->applied_max = MAX(cluster->applied_max, index);
}

static void apply_conf(struct cluster *cluster, struct cluster_member *member,
                       const struct raft_entry *entry)
{
    struct raft_event event = {.type = RAFT_EVENT_CONF_APPLIED};
    struct raft_conf_change change;
    struct raft_conf_change_v2 change_v2;
    struct err err = ERR_INIT;

    if (entry->type == RAFT_ENTRY_CONF_CHANGE) {
        must(raft_conf_change_decode(entry->data, &change, &err) == 0);
        event.conf_change = &change;
    } else {
        must(raft_conf_change_v2_decode(entry->data, &change_v2, &err) == 0);
        event.conf_change_v2 = &change_v2;
    }
    if (raft_step(member->raft, &event) != ERR_OK)
        broken(cluster, member, "a configuration change does not fit", entry->index, 0);
}

/* ---- effects ---- */

static void send_packet(struct cluster *cluster, const struct raft_message *message)
{
    struct cluster_packet packet = {.bytes = BUF_INIT(BUF_UNLIMITED),
                                    .from = message->from,
                                    .to = message->to,
                                    .type = message->type};

    if (message->snapshot != NULL)
        packet.snapshot_index = message->snapshot->meta.index;
    must(raft_message_encode(message, &packet.bytes));
    if (cluster->packet_count == cluster->packet_capacity) {
        cluster->packet_capacity = MAX(cluster->packet_capacity * 2, 64);
        cluster->packets =
            xrealloc(cluster->packets, cluster->packet_capacity * sizeof(*cluster->packets));
    }
    cluster->packets[cluster->packet_count++] = packet;
}

/* R1, R2, R10: what a message says must be true of the sender's disk. */
static void check_sent(struct cluster *cluster, const struct cluster_member *member,
                       const struct raft_message *message)
{
    const struct cluster_disk *disk = &member->disk;
    uint64_t term = message->term;

    if (term >= CLUSTER_TERM_MAX)
        return;
    if ((message->type == RAFT_MSG_VOTE_RESP && !message->reject) ||
        message->type == RAFT_MSG_VOTE) {
        uint64_t whom = message->type == RAFT_MSG_VOTE ? member->id : message->to;
        uint64_t *vote = &cluster->votes[member->id][term];

        if (disk->state.term < term || (disk->state.term == term && disk->state.vote != whom))
            broken(cluster, member, "R10: sent a vote that is not on disk", term, whom);
        if (*vote != 0 && *vote != whom)
            broken(cluster, member, "R2: voted twice in a term", term, whom);
        *vote = whom;
    }
    if (message->type == RAFT_MSG_APP_RESP && !message->reject && message->index != 0 &&
        disk->state.term <= term && disk_last(disk) < message->index)
        broken(cluster, member, "R10: acknowledged what is not on disk", message->index,
               disk_last(disk));
    if (message->type == RAFT_MSG_APP || message->type == RAFT_MSG_HEARTBEAT) {
        uint64_t *leader = &cluster->leaders[term];

        if (disk->state.term < term)
            broken(cluster, member, "R10: leads a term that is not on disk", term, 0);
        if (*leader != 0 && *leader != member->id)
            broken(cluster, member, "R1: two leaders in a term", term, *leader);
        *leader = member->id;
    }
}

static void send_snapshot(struct cluster *cluster, struct cluster_member *member, uint64_t to)
{
    struct raft_message message = raft_snapshot_message(member->raft, to);
    struct raft_snapshot snapshot = {.data = slice_of(&member->hash, sizeof(member->hash)),
                                     .meta = {.conf_state = *raft_conf_state(member->raft),
                                              .index = member->applied,
                                              .term = cluster->terms[member->applied]}};

    message.snapshot = &snapshot;
    send_packet(cluster, &message);
}

static void take_write(struct cluster_member *member, const struct raft_effects *effects)
{
    struct cluster_write write = {.id = effects->persist_id,
                                  .has_state = effects->hard_state_changed,
                                  .state = effects->hard_state};

    if (effects->snapshot != NULL) {
        write.has_snapshot = true;
        write.snapshot = effects->snapshot->meta;
        must(effects->snapshot->data.size == sizeof(write.snapshot_hash));
        memcpy(&write.snapshot_hash, effects->snapshot->data.data, sizeof(write.snapshot_hash));
    }
    if (effects->persist_last >= effects->persist_first) {
        write.entry_count = (size_t)(effects->persist_last - effects->persist_first + 1);
        write.entries = xalloc(write.entry_count * sizeof(*write.entries));
    }
    for (size_t i = 0; i < write.entry_count; i++) {
        const struct raft_entry *from = raft_entry_at(member->raft, effects->persist_first + i);
        struct cluster_entry *to = &write.entries[i];

        *to = (struct cluster_entry){from->type, from->term, from->index, from->data.size, {0}};
        must(from->data.size <= sizeof(to->data));
        if (from->data.size != 0)
            memcpy(to->data, from->data.data, from->data.size);
    }
    if (member->write_count == member->write_capacity) {
        member->write_capacity = MAX(member->write_capacity * 2, 16);
        member->writes = xrealloc(member->writes, member->write_capacity * sizeof(*member->writes));
    }
    member->writes[member->write_count++] = write;
}

static void take_reads(struct cluster *cluster, struct cluster_member *member,
                       const struct raft_effects *effects)
{
    for (size_t i = 0; i < effects->read_count; i++) {
        const struct raft_read *read = &effects->reads[i];
        char text[64];

        for (size_t at = 0; at < member->read_count; at++)
            if (member->reads[at].read_id == read->read_id && read->index != 0 &&
                read->index < member->reads[at].at_least)
                broken(cluster, member, "R14: a stale read index", read->index,
                       member->reads[at].at_least);
        if (read->index != 0)
            (void)snprintf(text, sizeof(text), "%c read %" PRIu64 " at %" PRIu64,
                           (char)('a' + member->id - 1), read->read_id, read->index);
        else
            (void)snprintf(text, sizeof(text), "%c read %" PRIu64 " failed",
                           (char)('a' + member->id - 1), read->read_id);
        if (cluster->note != NULL)
            cluster->note(cluster, text);
    }
}

/* R5, R7, R8, R9 */
static void check_member(struct cluster *cluster, struct cluster_member *member, bool new_leader)
{
    struct raft *raft = member->raft;
    uint64_t term = raft_term(raft), commit = raft_commit_index(raft);
    bool installing = false;

    for (size_t i = 0; i < member->write_count; i++)
        installing = installing || member->writes[i].has_snapshot;
    if (term < member->term_seen || commit < member->commit_seen)
        broken(cluster, member, "R7: term or commit fell", term, commit);
    if (commit > raft_last_index(raft) || member->applied > commit ||
        (!installing && raft_first_index(raft) > member->applied + 1))
        broken(cluster, member, "R8: indexes out of order", member->applied, commit);
    if (raft_role(raft) == RAFT_LEADER && commit > member->commit_seen &&
        member->term_seen == term && !new_leader && raft_term_at(raft, commit) != term)
        broken(cluster, member, "R9: committed by an older term's entry", commit, term);
    if (new_leader)
        for (uint64_t index = raft_first_index(raft); index <= cluster->applied_max; index++)
            if (index > raft_last_index(raft) ||
                (cluster->terms[index] != 0 && raft_term_at(raft, index) != cluster->terms[index]))
                broken(cluster, member, "R5: a leader lacks a committed entry", index, term);
    member->term_seen = term;
    member->commit_seen = commit;
}

static void take_effects(struct cluster *cluster, struct cluster_member *member)
{
    struct raft_effects effects;

    while (member->raft != NULL && raft_ready(member->raft, &effects)) {
        bool leads = effects.leader_changed && raft_role(member->raft) == RAFT_LEADER;

        if (effects.persist_id != 0)
            take_write(member, &effects);
        for (size_t i = 0; i < effects.message_count; i++) {
            check_sent(cluster, member, &effects.messages[i]);
            send_packet(cluster, &effects.messages[i]);
        }
        take_reads(cluster, member, &effects);
        for (size_t i = 0; i < effects.snapshot_member_count; i++)
            send_snapshot(cluster, member, effects.snapshot_members[i]);
        check_member(cluster, member, leads);
        for (uint64_t index = effects.apply_first; index <= effects.apply_last; index++) {
            const struct raft_entry *entry = raft_entry_at(member->raft, index);

            must(index == member->applied + 1);
            if (index > disk_last(&member->disk))
                broken(cluster, member, "applied before it was on disk", index, 0);
            applied(cluster, member, index, entry->term, hash_entry(member->hash, entry));
            if (entry->type != RAFT_ENTRY_NORMAL)
                apply_conf(cluster, member, entry);
        }
    }
}

enum err_code cluster_step(struct cluster *cluster, uint64_t id, struct raft_event *event)
{
    struct cluster_member *member = cluster_member(cluster, id);
    enum err_code code;

    if (member->raft == NULL)
        return ERR_STOPPED;
    if (event->type == RAFT_EVENT_READ)
        member->reads[member->read_count++ % ARRAY_LEN(member->reads)] =
            (struct cluster_read){event->read_id, cluster->applied_max};
    member->read_count = MIN(member->read_count, ARRAY_LEN(member->reads) - 1);
    code = raft_step(member->raft, event);
    if (code == ERR_DAMAGED || code == ERR_FORMAT)
        broken(cluster, member, "raft refused to go on", (uint64_t)event->type, code);
    take_effects(cluster, member);
    return code;
}

void cluster_write_done(struct cluster *cluster, uint64_t id)
{
    struct cluster_member *member = cluster_member(cluster, id);
    struct raft_event event = {.type = RAFT_EVENT_PERSISTED};
    const struct cluster_write *write = &member->writes[0];

    if (member->raft == NULL || member->write_count == 0)
        return;
    disk_write(&member->disk, write);
    if (write->has_snapshot)
        applied(cluster, member, write->snapshot.index, write->snapshot.term, write->snapshot_hash);
    event.persist_id = write->id;
    drop_writes(member, 1);
    (void)cluster_step(cluster, id, &event); /* never refused */
}

/* ---- lives ---- */

void cluster_crash(struct cluster *cluster, uint64_t id, size_t writes_kept, size_t entries_kept)
{
    struct cluster_member *member = cluster_member(cluster, id);

    raft_free(member->raft);
    member->raft = NULL;
    for (size_t i = 0; i < member->write_count; i++) {
        struct cluster_write *write = &member->writes[i];

        if (i < writes_kept) {
            disk_write(&member->disk, write);
            continue;
        }
        for (size_t at = 0; !write->has_snapshot && at < MIN(entries_kept, write->entry_count);
             at++)
            disk_append(&member->disk, &write->entries[at]);
        break;
    }
    drop_writes(member, member->write_count);
    member->read_count = 0;
}

void cluster_restart(struct cluster *cluster, uint64_t id)
{
    struct cluster_member *member = cluster_member(cluster, id);
    const struct cluster_disk *disk = &member->disk;
    struct raft_entry *entries = xalloc((disk->entry_count + 1) * sizeof(*entries));
    struct raft_config config = {.id = id,
                                 .election_ticks = CLUSTER_TICKS,
                                 .heartbeat_ticks = 1,
                                 .pre_vote = cluster->pre_vote,
                                 .seed = member->seed++,
                                 .hard_state = disk->state,
                                 .snapshot = disk->snapshot,
                                 .entries = entries,
                                 .entry_count = disk->entry_count,
                                 .applied = disk->snapshot.index};

    must(member->raft == NULL);
    for (size_t i = 0; i < disk->entry_count; i++)
        entries[i] = (struct raft_entry){disk->entries[i].type, disk->entries[i].term,
                                         disk->entries[i].index,
                                         slice_of(disk->entries[i].data, disk->entries[i].size)};
    member->raft = raft_new(&config);
    free(entries);
    member->applied = disk->snapshot.index;
    member->hash = disk->snapshot_hash;
    member->term_seen = disk->state.term;
    member->commit_seen = 0;
    member->stalled = false;
    take_effects(cluster, member);
}

void cluster_init(struct cluster *cluster, size_t member_count, const struct raft_conf_state *conf,
                  uint64_t seed)
{
    *cluster = (struct cluster){.member_count = member_count, .pre_vote = seed % 4 != 0};
    must(member_count <= CLUSTER_MEMBERS_MAX);
    cluster->hashes[1] = 1;
    cluster->terms[1] = 1;
    cluster->applied_max = 1;
    for (size_t i = 0; i < member_count; i++) {
        struct cluster_member *member = &cluster->members[i];
        bool known = false;

        member->id = i + 1;
        member->seed = seed * 1000;
        for (size_t at = 0; at < conf->voter_count; at++)
            known = known || conf->voters[at] == member->id;
        for (size_t at = 0; at < conf->learner_count; at++)
            known = known || conf->learners[at] == member->id;
        if (known) {
            member->disk.snapshot = (struct raft_snapshot_meta){*conf, 1, 1};
            member->disk.snapshot_hash = 1;
            member->disk.state.term = 1;
        }
        cluster_restart(cluster, member->id);
    }
}

static void remove_packet(struct cluster *cluster, size_t at)
{
    cluster->packet_count--;
    memmove(cluster->packets + at, cluster->packets + at + 1,
            (cluster->packet_count - at) * sizeof(*cluster->packets));
}

void cluster_fini(struct cluster *cluster)
{
    for (size_t i = 0; i < cluster->member_count; i++) {
        struct cluster_member *member = &cluster->members[i];

        raft_free(member->raft);
        drop_writes(member, member->write_count);
        free(member->writes);
        free(member->disk.entries);
    }
    for (size_t i = 0; i < cluster->packet_count; i++)
        buf_free(&cluster->packets[i].bytes);
    free(cluster->packets);
}

/* ---- the network ---- */

static void snapshot_arrived(struct cluster *cluster, const struct cluster_packet *packet, bool ok)
{
    struct raft_event event = {.type = RAFT_EVENT_SNAPSHOT_SENT,
                               .member = packet->to,
                               .index = packet->snapshot_index,
                               .ok = ok};

    if (packet->snapshot_index != 0)
        (void)cluster_step(cluster, packet->from, &event); /* never refused; may be crashed */
}

void cluster_deliver(struct cluster *cluster, size_t at)
{
    struct cluster_packet packet = cluster->packets[at];
    struct raft_event event = {.type = RAFT_EVENT_MESSAGE};
    struct raft_message message;
    struct err err = ERR_INIT;
    struct arena arena;

    if (cluster->cut[packet.from][packet.to] || cluster_member(cluster, packet.to)->raft == NULL) {
        cluster_drop(cluster, at);
        return;
    }
    remove_packet(cluster, at);
    arena_init(&arena, 1UL << 20);
    must(raft_message_decode(buf_slice(&packet.bytes), &arena, &message, &err) == 0);
    event.message = &message;
    (void)cluster_step(cluster, packet.to, &event); /* a refusal is noted there */
    snapshot_arrived(cluster, &packet, true);
    arena_free(&arena);
    buf_free(&packet.bytes);
}

void cluster_drop(struct cluster *cluster, size_t at)
{
    struct cluster_packet packet = cluster->packets[at];

    remove_packet(cluster, at);
    snapshot_arrived(cluster, &packet, false);
    buf_free(&packet.bytes);
}

void cluster_duplicate(struct cluster *cluster, size_t at)
{
    struct cluster_packet copy = cluster->packets[at];

    copy.bytes = BUF_INIT(BUF_UNLIMITED);
    must(buf_append_slice(&copy.bytes, buf_slice(&cluster->packets[at].bytes)));
    if (cluster->packet_count == cluster->packet_capacity) {
        cluster->packet_capacity *= 2;
        cluster->packets =
            xrealloc(cluster->packets, cluster->packet_capacity * sizeof(*cluster->packets));
    }
    cluster->packets[cluster->packet_count++] = copy;
}

void cluster_settle(struct cluster *cluster)
{
    bool moved = true;

    for (int round = 0; moved && round < 100000; round++) {
        moved = false;
        for (size_t i = 0; i < cluster->member_count; i++) {
            struct cluster_member *member = &cluster->members[i];

            while (member->raft != NULL && !member->stalled && member->write_count != 0) {
                cluster_write_done(cluster, member->id);
                moved = true;
            }
        }
        if (cluster->packet_count != 0) {
            cluster_deliver(cluster, 0);
            moved = true;
        }
    }
    must(!moved);
}

void cluster_compact(struct cluster *cluster, uint64_t id, uint64_t keep)
{
    struct cluster_member *member = cluster_member(cluster, id);
    struct raft_event event = {.type = RAFT_EVENT_COMPACT};
    struct raft_snapshot_meta meta;

    /* A snapshot under way to the disk would be overtaken by this one. */
    if (member->raft == NULL || member->applied <= member->disk.snapshot.index)
        return;
    meta = (struct raft_snapshot_meta){*raft_conf_state(member->raft), member->applied,
                                       cluster->terms[member->applied]};
    for (size_t i = 0; i < member->write_count; i++)
        if (member->writes[i].has_snapshot)
            return;
    disk_set_snapshot(&member->disk, &meta, member->hash, true);
    event.index = member->applied > keep ? member->applied - keep : 0;
    (void)cluster_step(cluster, id, &event); /* never refused */
}

void cluster_check_logs(struct cluster *cluster)
{
    for (size_t a = 0; a < cluster->member_count; a++) {
        for (size_t b = a + 1; b < cluster->member_count; b++) {
            const struct raft *one = cluster->members[a].raft, *two = cluster->members[b].raft;
            bool same = false;

            if (one == NULL || two == NULL)
                continue;
            for (uint64_t index = MIN(raft_last_index(one), raft_last_index(two));
                 index >= MAX(raft_first_index(one), raft_first_index(two)); index--) {
                const struct raft_entry *x = raft_entry_at(one, index);
                const struct raft_entry *y = raft_entry_at(two, index);

                same = same || x->term == y->term;
                if (same &&
                    (x->term != y->term || x->type != y->type || !slice_equal(x->data, y->data)))
                    broken(cluster, &cluster->members[a], "R4: logs differ", index, b + 1);
            }
        }
    }
}
