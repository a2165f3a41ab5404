/*
 * others.c - what the engine does because there are other members: messages, proposals that wait
 * for a leader, snapshots to and from others, leadership transfer, its own removal; whether
 * heartbeats leave in time, and the election ticks that are skipped when others are in reach.
 *
 *   a snapshot to a member        asked for -> taken when the open batch is sealed (index,
 *                                 configuration, members) -> sent when that batch is in the
 *                                 backend, with a read of its own
 *   a snapshot from the leader    .snap file and log record made durable -> the host begins anew
 *                                 from disk
 */
#include "common/base/base.h"
#include "common/base/plants.h"
#include "etcd-server/engine/engine_internal.h"

#define REMOVED_STOP_MS 1000   /* raft.md 9.2: the news still goes out */
#define ADVANCE_WITHIN_MS 5000 /* raft.md 9.6: of the start */
/* Proposals of others that nobody can take now are lost after that, or, when they wait for a
 * backend, after engine_patience_ms(), as our own do. */
#define HELD_MS 3000

struct outgoing_snapshot {
    struct outgoing_snapshot *next;
    uint64_t member;
    uint64_t term;           /* in which it was asked for: only who leads it may send it */
    uint64_t serial;         /* of the batch that must be in the backend; 0 = not taken yet */
    struct log_write *taken; /* owned: its snapshot, as for a file */
};

void others_step(struct engine *engine, const struct raft_event *event)
{
    enum err_code code = raft_step(engine->raft, event);
    struct err err = ERR_INIT;

    if (code != ERR_DAMAGED)
        return; /* other refusals of a message changed nothing: it is lost, as messages may be */
    err_set(&err, ERR_DAMAGED,
            "the log of this member contradicts its leader's below the commit index: one of them "
            "lost what it had promised; restore a snapshot, or remove this member and add it "
            "again");
    engine_fail(engine);
    engine->host->ops->stop(engine->host, &err);
}

/* ---- proposals of others that have to wait ---- */

/*
 * They reach a leader that is handing over, or that leads no more, and its successor is known in a
 * moment: without this the one who sent them would wait for its time-out. Or one whose backend has
 * to catch up.
 */
struct held_proposal {
    struct held_proposal *next;
    uint64_t deadline_ms;
    enum raft_entry_type type;
    size_t bytes;
    uint8_t data[];
};

void others_open(struct engine *engine)
{
    engine->held_end = &engine->held;
    if (engine->config.election_tick_advance)
        engine->advance_until_ms = host_now_ms(engine->host) + ADVANCE_WITHIN_MS;
}

/* What others propose counts like what is proposed here: they do not see this backend. */
static bool overtakes_backend(const struct engine *engine)
{
    return raft_role(engine->raft) == RAFT_LEADER && engine_writes_wait(engine);
}

static void hold(struct engine *engine, const struct raft_message *message)
{
    for (size_t i = 0; i < message->entry_count; i++) {
        const struct raft_entry *entry = &message->entries[i];
        size_t bytes = entry->data.size;
        struct held_proposal *held;

        if (engine->held_bytes + sizeof(*held) + bytes > HELD_PROPOSALS_MAX_BYTES)
            return; /* lost, as messages may be */
        held = xalloc(sizeof(*held) + bytes);
        held->deadline_ms = host_now_ms(engine->host) +
                            (overtakes_backend(engine) ? engine_patience_ms(engine) : HELD_MS);
        held->type = entry->type;
        held->bytes = bytes;
        if (bytes != 0)
            memcpy(held->data, entry->data.data, bytes);
        engine->held_bytes += bytes + sizeof(*held);
        *engine->held_end = held;
        engine->held_end = &held->next;
    }
}

static void drop_first_held(struct engine *engine)
{
    struct held_proposal *held = engine->held;

    engine->held = held->next;
    if (engine->held == NULL)
        engine->held_end = &engine->held;
    engine->held_bytes -= held->bytes + sizeof(*held);
    free(held);
}

static void send_held(struct engine *engine, uint64_t now_ms)
{
    while (engine->held != NULL) {
        struct raft_event event = {.type = RAFT_EVENT_PROPOSE,
                                   .entry_type = engine->held->type,
                                   .data = slice_of(engine->held->data, engine->held->bytes)};

        if (engine->held->deadline_ms > now_ms &&
            (overtakes_backend(engine) || raft_step(engine->raft, &event) != ERR_OK))
            return; /* nobody yet */
        drop_first_held(engine);
    }
}

/* ---- what comes in ---- */

/* One entry that nobody can apply, and all members stop, at each start: it is kept out. */
static bool may_be_proposed(struct engine *engine, const struct raft_message *message)
{
    for (size_t i = 0; i < message->entry_count; i++)
        if (message->entries[i].data.size > WAL_ENTRY_MAX_BYTES ||
            !apply_knows(engine, &message->entries[i]))
            return false;
    return true;
}

void engine_message(struct engine *engine, const struct raft_message *message)
{
    struct raft_event event = {.type = RAFT_EVENT_MESSAGE, .message = message};
    enum err_code code;

    if (engine->failed)
        return;
    if (message->type == RAFT_MSG_APP && message->entry_count != 0 &&
        engine_backlog(engine) > engine->config.backlog_bytes)
        return; /* lost, as messages may be: it comes again */
    if (message->type != RAFT_MSG_PROP) {
        others_step(engine, &event);
        return;
    }
    if (!may_be_proposed(engine, message))
        return;
    code = overtakes_backend(engine) ? ERR_NO_LEADER : raft_step(engine->raft, &event);
    if (code == ERR_NO_LEADER || code == ERR_LEADER_CHANGED) /* what others want is not lost */
        hold(engine, message);
}

/* Said from within host->send() too, which has raft's messages in its hands: raft hears of it at
 * the next turn. */
void engine_unreachable(struct engine *engine, uint64_t member)
{
    size_t i = 0;

    while (i < engine->unreachable_count && engine->unreachable[i] != member)
        i++;
    if (i == engine->unreachable_count && i < RAFT_MEMBERS_MAX)
        engine->unreachable[engine->unreachable_count++] = member;
}

void others_hear_unreachable(struct engine *engine)
{
    size_t count = engine->unreachable_count;

    engine->unreachable_count = 0;
    for (size_t i = 0; i < count && !engine->failed; i++) {
        struct raft_event event = {.type = RAFT_EVENT_UNREACHABLE,
                                   .member = engine->unreachable[i]};

        others_step(engine, &event);
    }
}

void engine_snapshot_sent(struct engine *engine, uint64_t member, uint64_t index, bool ok)
{
    struct raft_event event = {
        .type = RAFT_EVENT_SNAPSHOT_SENT, .member = member, .index = index, .ok = ok};

    if (engine->failed)
        return;
    others_step(engine, &event);
    if (ok)
        log_keep_sent_snapshot(engine, member);
}

/* ---- own proposals that have to wait ---- */

enum err_code others_propose(struct engine *engine, enum raft_entry_type type, struct slice data,
                             bool *unsent)
{
    struct raft_event event = {.type = RAFT_EVENT_PROPOSE, .entry_type = type, .data = data};
    enum err_code code = raft_step(engine->raft, &event);

    *unsent = code == ERR_NO_LEADER || code == ERR_LEADER_CHANGED;
    engine->stats.proposals_failed += !*unsent && code != ERR_OK;
    return *unsent ? ERR_OK : code;
}

void others_keep(struct engine *engine, struct waiter *waiter, enum raft_entry_type type,
                 struct slice data)
{
    waiter->unsent = xalloc(MAX(data.size, 1));
    memcpy(waiter->unsent, data.data, data.size);
    waiter->unsent_bytes = data.size;
    waiter->unsent_type = type;
    engine->unsent++;
    engine->unsent_bytes += data.size;
}

void others_kept_away(struct engine *engine, struct waiter *waiter)
{
    engine->unsent--;
    engine->unsent_bytes -= waiter->unsent_bytes;
    free(waiter->unsent);
    waiter->unsent = NULL;
}

static void send_kept(struct engine *engine)
{
    for (struct waiter *waiter = engine->proposals.first; waiter != NULL && engine->unsent != 0;
         waiter = waiter->next) {
        struct raft_event event = {.type = RAFT_EVENT_PROPOSE, .entry_type = waiter->unsent_type};

        if (waiter->unsent == NULL)
            continue;
        if (engine_is_full(engine))
            return;
        event.data = slice_of(waiter->unsent, waiter->unsent_bytes);
        if (raft_step(engine->raft, &event) != ERR_OK)
            return; /* still nobody to give it to */
        if (PLANTED(KEPT_TWICE) && raft_step(engine->raft, &event) != ERR_OK)
            return;
        others_kept_away(engine, waiter);
    }
}

/* ---- messages and snapshots of raft ---- */

static void want_snapshot(struct engine *engine, uint64_t member)
{
    struct outgoing_snapshot *outgoing = xalloc(sizeof(*outgoing));

    outgoing->next = engine->outgoing;
    outgoing->member = member;
    outgoing->term = raft_term(engine->raft);
    engine->outgoing = outgoing;
    engine->commit_wanted = true;
}

/* What the leader sent instead of entries: make it durable; engine_log_written() then ends this
 * engine. */
static void save_received(struct engine *engine, const struct raft_effects *effects)
{
    struct log_write *request = xalloc(sizeof(*request));

    request->persist_id = effects->persist_id;
    request->snapshot = xalloc(sizeof(*request->snapshot));
    *request->snapshot = *effects->snapshot;
    request->bytes = effects->snapshot->data.size;
    request->memory = xalloc(MAX(request->bytes, 1));
    memcpy(request->memory, effects->snapshot->data.data, request->bytes);
    request->snapshot->data = slice_of(request->memory, request->bytes);
    request->has_state = true;
    request->state = effects->hard_state;
    request->must_sync = true;
    engine->installing = true;
    engine->log_requests++;
    engine->host->ops->log_write(engine->host, request);
}

/* Members that hear of the leader too late begin to doubt it: the one before was more than two
 * ticks ago. */
static void time_heartbeat(struct engine *engine, uint64_t member, uint64_t now_ms)
{
    struct heartbeat_times *times = &engine->heartbeats;
    uint64_t allowed_ms = 2 * (uint64_t)engine->config.tick_ms, took_ms;
    size_t i = 0;

    while (i < times->count && times->items[i].member != member)
        i++;
    if (i == RAFT_MEMBERS_MAX)
        return;
    took_ms = i < times->count ? now_ms - times->items[i].sent_ms : 0;
    times->count = MAX(times->count, i + 1);
    times->items[i].member = member;
    times->items[i].sent_ms = now_ms;
    if (took_ms <= allowed_ms)
        return;
    engine->stats.heartbeats_late++;
    host_note(engine->host, LOG_WARN,
              "leader failed to send out heartbeat on time; took too long, leader is overloaded "
              "likely from slow disk",
              log_hex("to", member), log_ms("heartbeat-interval", engine->config.tick_ms),
              log_ms("expected-duration", allowed_ms),
              log_ms("exceeded-duration", took_ms - allowed_ms));
}

static void time_heartbeats(struct engine *engine, const struct raft_effects *effects)
{
    uint64_t now_ms = host_now_ms(engine->host);

    for (size_t i = 0; i < effects->message_count; i++)
        if (effects->messages[i].type == RAFT_MSG_HEARTBEAT)
            time_heartbeat(engine, effects->messages[i].to, now_ms);
}

void others_send(struct engine *engine, const struct raft_effects *effects)
{
    if (effects->snapshot != NULL)
        save_received(engine, effects);
    if (effects->message_count != 0 && raft_role(engine->raft) == RAFT_LEADER)
        time_heartbeats(engine, effects);
    if (effects->message_count != 0 && engine->host->ops->send != NULL)
        engine->host->ops->send(engine->host, effects->messages, effects->message_count);
    for (size_t i = 0; i < effects->snapshot_member_count; i++)
        want_snapshot(engine, effects->snapshot_members[i]);
}

void others_sealed(struct engine *engine)
{
    for (struct outgoing_snapshot *outgoing = engine->outgoing; outgoing != NULL;
         outgoing = outgoing->next) {
        if (outgoing->serial != 0)
            continue;
        outgoing->serial = engine->batch_serial;
        outgoing->taken = snapshot_take(engine);
    }
}

static void send_outgoing(struct engine *engine, const struct outgoing_snapshot *outgoing)
{
    struct raft_message message = raft_snapshot_message(engine->raft, outgoing->member);
    struct backend_read *read = NULL;
    struct err err = ERR_INIT;

    if ((raft_role(engine->raft) != RAFT_LEADER || raft_term(engine->raft) != outgoing->term) &&
        !PLANTED(SNAPSHOT_LATE))
        return; /* whoever takes it would take this member for the leader */
    message.snapshot = outgoing->taken->snapshot;
    if (engine->host->ops->send_snapshot == NULL ||
        backend_read_begin(engine->backend, &read, &err) < 0) {
        engine_snapshot_sent(engine, outgoing->member, message.snapshot->meta.index, false);
        return;
    }
    host_note(engine->host, LOG_INFO, "sending a snapshot", log_hex("to", outgoing->member),
              log_u64("snapshot-index", message.snapshot->meta.index));
    engine->host->ops->send_snapshot(engine->host, &message, read);
}

void others_committed(struct engine *engine)
{
    for (struct outgoing_snapshot **at = &engine->outgoing; *at != NULL;) {
        struct outgoing_snapshot *outgoing = *at;

        if (outgoing->serial == 0 || outgoing->serial > engine->committed_serial) {
            at = &outgoing->next;
            continue;
        }
        *at = outgoing->next;
        send_outgoing(engine, outgoing);
        log_write_free(outgoing->taken);
        free(outgoing);
    }
}

void others_drop(struct engine *engine)
{
    while (engine->held != NULL)
        drop_first_held(engine);
    while (engine->outgoing != NULL) {
        struct outgoing_snapshot *outgoing = engine->outgoing;

        engine->outgoing = outgoing->next;
        log_write_free(outgoing->taken);
        free(outgoing);
    }
}

/* ---- membership ---- */

/* Of who has left; another one needs the room. */
static void forget_heartbeat(struct heartbeat_times *times, uint64_t member)
{
    for (size_t i = 0; i < times->count; i++)
        if (times->items[i].member == member)
            times->items[i] = times->items[--times->count];
}

void others_members_changed(struct engine *engine, const struct raft_conf_change *change)
{
    if (change->type == RAFT_CONF_REMOVE_NODE)
        forget_heartbeat(&engine->heartbeats, change->node_id);
    if (engine->host->ops->members_changed != NULL)
        engine->host->ops->members_changed(engine->host);
    if (change->type != RAFT_CONF_REMOVE_NODE || change->node_id != engine->config.member_id ||
        engine->removed)
        return;
    engine->removed = true;
    engine->removed_ms = host_now_ms(engine->host);
}

static void stop_when_removed(struct engine *engine, uint64_t now_ms)
{
    struct err err = ERR_INIT;

    if (!engine->removed || now_ms - engine->removed_ms < REMOVED_STOP_MS)
        return;
    err_set(&err, ERR_REMOVED,
            "this member has been permanently removed from the cluster; its data directory is of "
            "no more use: to come back, remove it and add a new member");
    engine_fail(engine);
    engine->host->ops->stop(engine->host, &err);
}

/* ---- leadership ---- */

uint64_t engine_transfer(struct engine *engine, uint64_t member, engine_done_fn *done, void *arg,
                         enum err_code *refusal)
{
    struct raft_event event = {.type = RAFT_EVENT_TRANSFER, .member = member};
    struct waiter *waiter;

    *refusal = engine->failed ? ERR_STOPPED : ERR_OK;
    if (*refusal == ERR_OK && raft_role(engine->raft) != RAFT_LEADER)
        *refusal = ERR_NOT_LEADER;
    if (*refusal == ERR_OK)
        *refusal = raft_step(engine->raft, &event);
    if (*refusal != ERR_OK)
        return 0;
    waiter = waiter_new(engine, WAIT_TRANSFER, engine_next_id(engine), done, arg);
    waiter->to_member = member;
    return waiter->id;
}

static void finish_transfers(struct engine *engine)
{
    uint64_t leader = raft_leader(engine->raft);

    while (engine->transfers.first != NULL && leader == engine->transfers.first->to_member)
        waiter_finish(engine, engine->transfers.first, ERR_OK, NULL);
}

void others_turn(struct engine *engine, uint64_t now_ms)
{
    if (engine->unsent != 0 && raft_leader(engine->raft) != 0)
        send_kept(engine);
    if (engine->held != NULL)
        send_held(engine, now_ms);
    if (engine->transfers.first != NULL)
        finish_transfers(engine);
    stop_when_removed(engine, now_ms);
}

static size_t others_in_reach(const struct engine *engine)
{
    struct host *host = engine->host;
    size_t count = 0;

    for (size_t i = 0; i < member_count(engine->members); i++) {
        uint64_t id = member_at(engine->members, i)->id;

        count += id != engine->config.member_id && host->ops->connected_ms != NULL &&
                 host->ops->connected_ms(host, id) != 0;
    }
    return count;
}

/*
 * Who starts beside others that it reaches has waited long enough: a leader's heartbeat would be
 * here within two ticks. The random part of the timeout stays, so that not all stand at once.
 */
static void skip_first_ticks(struct engine *engine, uint64_t now_ms)
{
    unsigned ticks = engine->config.election_ticks;
    struct raft_event event = {.type = RAFT_EVENT_SKIP, .ticks = ticks > 2 ? ticks - 2 : 0};
    size_t reached;

    if (raft_leader(engine->raft) != 0 || now_ms >= engine->advance_until_ms) {
        engine->advance_until_ms = 0;
        return;
    }
    reached = others_in_reach(engine);
    if (reached < 2)
        return;
    engine->advance_until_ms = 0;
    host_note(engine->host, LOG_INFO,
              "initialized peer connections; fast-forwarding election ticks",
              log_u64("forward-ticks", event.ticks), log_u64("election-ticks", ticks),
              log_u64("active-remote-members", reached));
    others_step(engine, &event);
}

void others_tick(struct engine *engine, uint64_t now_ms)
{
    if (engine->advance_until_ms != 0)
        skip_first_ticks(engine, now_ms);
    reads_ask_again(engine, now_ms);
}
