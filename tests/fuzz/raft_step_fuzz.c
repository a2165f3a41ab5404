/*
 * raft_step_fuzz.c - any sequence of events to one raft, messages of any content among them: no
 * crash, and what holds within one member holds after each step, whatever the others say.
 *
 *   byte 0   the shape: voters, learners, joint or not, with or without a snapshot
 *   then     one event after the other, its kind and its parts in the next bytes; numbers are
 *            small and around what the member has, so that messages fit often; kind 0 is a
 *            raftpb.Message as it comes from the wire
 *
 * The driver keeps the contract of raft.h: requests are persisted in order, entries applied in
 * order and changes of the configuration told back. Checked (raft.md 11): terms and commits only
 * grow, one vote a term, nothing is promised that is not durable, what is applied follows on and is
 * committed and durable, terms in the log never fall.
 */
#include "etcd-server/raft/raft.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SELF 1
#define WRITES_MAX 256
#define LOG_MAX 400 /* entries; a longer one teaches nothing new */
#define STEPS_MAX 2000

struct write {
    uint64_t id;
    bool has_state;
    struct raft_hard_state state;
    uint64_t first, last; /* entries */
    uint64_t snapshot;    /* index; 0 = none */
};

struct run {
    struct slice input;
    struct raft *raft;
    struct write writes[WRITES_MAX];
    size_t write_count;
    struct raft_hard_state durable, seen;
    uint64_t durable_last, applied;
    uint64_t snapshot_member; /* one asked for, not sent yet; 0 = none */
    uint8_t context[64];      /* of the last question of this member to others */
    size_t context_bytes;
    uint64_t next_read;
    bool over; /* ERR_DAMAGED: a real member stops here */
};

static uint8_t take(struct run *run)
{
    uint8_t byte = 0;

    if (run->input.size != 0) {
        byte = run->input.data[0];
        run->input = slice_of(run->input.data + 1, run->input.size - 1);
    }
    return byte;
}

/* Around `at`: 3 below to 4 above, now and then anything. */
static uint64_t around(struct run *run, uint64_t at)
{
    uint8_t byte = take(run);

    if (byte == 255)
        return UINT64_MAX - take(run);
    if (byte == 254)
        return (uint64_t)take(run) << 56;
    return at + byte % 8 >= 3 ? at + byte % 8 - 3 : 0;
}

/* ---- what was promised ---- */

static void check_message(const struct run *run, const struct raft_message *message)
{
    if (message->type == RAFT_MSG_VOTE_RESP && !message->reject)
        must(run->durable.term == message->term && run->durable.vote == message->to);
    if (message->type == RAFT_MSG_APP_RESP && !message->reject &&
        message->index != 0) /* 0 only tells an old leader of the term */
        must(run->durable.term >= message->term && message->index <= run->durable_last);
    if (message->type == RAFT_MSG_VOTE)
        must(run->durable.term >= message->term && run->durable.vote == SELF);
    must(message->from == SELF || message->type == RAFT_MSG_PROP ||
         message->type == RAFT_MSG_READ_INDEX || message->type == RAFT_MSG_TRANSFER_LEADER);
}

static void check_state(struct run *run)
{
    struct raft_hard_state now = raft_hard_state(run->raft);
    uint64_t last = raft_last_index(run->raft), term = 0;

    must(now.term >= run->seen.term && now.commit >= run->seen.commit);
    if (now.term == run->seen.term && run->seen.vote != 0)
        must(now.vote == run->seen.vote);
    must(now.commit <= last && now.commit == raft_commit_index(run->raft));
    for (uint64_t index = raft_first_index(run->raft); index <= last; index++) {
        const struct raft_entry *entry = raft_entry_at(run->raft, index);

        must(entry->index == index && entry->term >= term && entry->term <= now.term);
        term = entry->term;
    }
    run->seen = now;
}

/* ---- carrying out what raft asks for ---- */

static void step(struct run *run, const struct raft_event *event)
{
    if (!run->over && raft_step(run->raft, event) == ERR_DAMAGED)
        run->over = true;
    if (!run->over)
        check_state(run);
}

static void apply(struct run *run, uint64_t first, uint64_t last)
{
    for (uint64_t index = first; index <= last && !run->over; index++) {
        const struct raft_entry *entry = raft_entry_at(run->raft, index);
        struct raft_event event = {.type = RAFT_EVENT_CONF_APPLIED};
        struct raft_conf_change change;
        struct raft_conf_change_v2 change_v2;
        struct err err = ERR_INIT;

        must(index == run->applied + 1 && index <= run->durable_last);
        run->applied = index;
        if (entry->type == RAFT_ENTRY_CONF_CHANGE) {
            if (raft_conf_change_decode(entry->data, &change, &err) == 0)
                event.conf_change = &change;
            step(run, &event);
        } else if (entry->type == RAFT_ENTRY_CONF_CHANGE_V2) {
            if (raft_conf_change_v2_decode(entry->data, &change_v2, &err) == 0)
                event.conf_change_v2 = &change_v2;
            step(run, &event);
        }
    }
}

static void carry_out(struct run *run)
{
    struct raft_effects effects;

    while (!run->over && raft_ready(run->raft, &effects)) {
        uint64_t apply_first = effects.apply_first, apply_last = effects.apply_last;

        if (effects.persist_id != 0) {
            if (run->write_count == WRITES_MAX) {
                run->over = true; /* the end of this input */
                return;
            }
            run->writes[run->write_count++] = (struct write){
                .id = effects.persist_id,
                .has_state = effects.hard_state_changed,
                .state = effects.hard_state,
                .first = effects.persist_first,
                .last = effects.persist_last,
                .snapshot = effects.snapshot != NULL ? effects.snapshot->meta.index : 0};
        }
        for (size_t i = 0; i < effects.message_count; i++) {
            check_message(run, &effects.messages[i]);
            if (effects.messages[i].context.size - 1 < sizeof(run->context)) {
                run->context_bytes = effects.messages[i].context.size;
                memcpy(run->context, effects.messages[i].context.data, run->context_bytes);
            }
        }
        for (size_t i = 0; i < effects.read_count; i++)
            must(effects.reads[i].index <= raft_commit_index(run->raft) ||
                 raft_role(run->raft) != RAFT_LEADER);
        if (effects.snapshot_member_count != 0)
            run->snapshot_member = effects.snapshot_members[0];
        apply(run, apply_first, apply_last);
    }
}

static void persist(struct run *run)
{
    struct raft_event event = {.type = RAFT_EVENT_PERSISTED};
    struct write *write = &run->writes[0];

    if (run->write_count == 0)
        return;
    event.persist_id = write->id;
    if (write->has_state)
        run->durable = write->state;
    if (write->snapshot != 0)
        run->durable_last = run->applied = MAX(write->snapshot, run->applied);
    if (write->first <= write->last)
        run->durable_last = write->last;
    run->write_count--;
    memmove(run->writes, run->writes + 1, run->write_count * sizeof(*write));
    step(run, &event);
}

/* ---- events ---- */

static void take_conf(struct run *run, struct raft_conf_state *conf)
{
    uint8_t mask = take(run), joint = take(run);

    *conf = (struct raft_conf_state){0};
    for (uint64_t id = 1; id <= 6; id++) {
        if (mask >> (id - 1) & 1)
            conf->voters[conf->voter_count++] = id;
        else if (mask >> 6 & 1)
            conf->learners[conf->learner_count++] = id;
        if (joint >> 7 && joint >> (id - 1) & 1)
            conf->voters_outgoing[conf->voter_outgoing_count++] = id;
    }
    conf->auto_leave = joint >> 6 & 1;
}

static size_t make_data(struct run *run, enum raft_entry_type type, struct buf *bytes)
{
    size_t before = buf_used(bytes);
    struct raft_conf_change change = {.id = 7};
    struct raft_conf_change_v2 change_v2 = {0};
    uint8_t kind = take(run);

    if (type == RAFT_ENTRY_CONF_CHANGE) {
        change.type = (enum raft_conf_change_type)(kind & 3);
        change.node_id = kind >> 2 & 7;
        must(raft_conf_change_encode(&change, bytes));
    } else if (type == RAFT_ENTRY_CONF_CHANGE_V2) {
        change_v2.transition = (enum raft_conf_transition)(kind % 3);
        for (; kind >= 16 && change_v2.change_count < 3; kind /= 4)
            change_v2.changes[change_v2.change_count++] = (struct raft_conf_change_single){
                (enum raft_conf_change_type)(kind & 3), 1 + (kind >> 2) % 6};
        must(raft_conf_change_v2_encode(&change_v2, bytes));
    } else {
        (void)buf_append(bytes, "data", kind % 5);
    }
    if (kind == 3) /* nonsense */
        (void)buf_append(bytes, "\xff\xff\xff", 3);
    return buf_used(bytes) - before;
}

static void send_made_up(struct run *run)
{
    static struct raft_snapshot snapshot;
    struct raft_entry entries[4];
    size_t sizes[4];
    struct buf bytes = BUF_INIT(4096);
    uint64_t term = raft_term(run->raft), last = raft_last_index(run->raft);
    struct raft_message message = {
        .type = (enum raft_message_type)(take(run) % 20), .to = SELF, .from = take(run) % 8};
    uint8_t flags = take(run);
    size_t at = 0;

    message.term = flags & 1 ? term : around(run, term);
    message.index = flags & 2 ? raft_commit_index(run->raft) : around(run, last);
    message.log_term =
        flags & 4 ? raft_term_at(run->raft, MIN(message.index, last)) : around(run, message.term);
    message.commit = around(run, raft_commit_index(run->raft));
    message.reject = flags & 8;
    message.reject_hint = around(run, message.index);
    message.vote = take(run) % 8;
    message.entry_count = flags >> 4 & 3;
    for (size_t i = 0; i < message.entry_count; i++) {
        uint8_t kind = take(run);

        entries[i] = (struct raft_entry){.type = (enum raft_entry_type)(kind & 3),
                                         .index = message.index + 1 + i + (kind >> 7),
                                         .term = kind & 4 ? message.term : message.log_term};
        sizes[i] = make_data(run, entries[i].type, &bytes);
    }
    for (size_t i = 0; i < message.entry_count; at += sizes[i++])
        if (sizes[i] != 0)
            entries[i].data = slice_of(buf_slice(&bytes).data + at, sizes[i]);
    message.entries = entries;
    if (flags & 64)
        message.context = slice_of(run->context, run->context_bytes);
    else if (flags & 128)
        message.context = SLICE_LITERAL("CampaignTransfer");
    if (message.type == RAFT_MSG_SNAP) {
        take_conf(run, &snapshot.meta.conf_state);
        snapshot.meta.index = around(run, last);
        snapshot.meta.term = around(run, message.term);
        snapshot.data = SLICE_LITERAL("{}");
        message.snapshot = flags & 16 ? NULL : &snapshot;
    }
    step(run, &(struct raft_event){.type = RAFT_EVENT_MESSAGE, .message = &message});
    buf_free(&bytes);
}

static void send_from_wire(struct run *run)
{
    size_t bytes = take(run);
    struct raft_message message;
    struct err err = ERR_INIT;
    struct arena arena;

    bytes = MIN(bytes, run->input.size);
    arena_init(&arena, MIB);
    if (raft_message_decode(slice_of(run->input.data, bytes), &arena, &message, &err) == 0)
        step(run, &(struct raft_event){.type = RAFT_EVENT_MESSAGE, .message = &message});
    arena_free(&arena);
    run->input = slice_of(run->input.data + bytes, run->input.size - bytes);
}

static void propose(struct run *run)
{
    struct buf bytes = BUF_INIT(4096);
    struct raft_event event = {.type = RAFT_EVENT_PROPOSE};

    event.entry_type = (enum raft_entry_type)(take(run) % 3);
    (void)make_data(run, event.entry_type, &bytes);
    event.data = buf_slice(&bytes);
    step(run, &event);
    buf_free(&bytes);
}

static void any_event(struct run *run)
{
    struct raft_event event = {0};
    uint8_t kind = take(run);

    switch (kind % 14) {
    case 0:
        send_from_wire(run);
        return;
    case 1:
        persist(run);
        return;
    case 2:
        while (run->write_count != 0 && !run->over) {
            persist(run);
            carry_out(run);
        }
        return;
    case 3:
        propose(run);
        return;
    case 4:
        event = (struct raft_event){.type = RAFT_EVENT_READ, .read_id = ++run->next_read};
        break;
    case 5:
        event.type = RAFT_EVENT_CAMPAIGN;
        break;
    case 6:
        event = (struct raft_event){.type = RAFT_EVENT_TRANSFER, .member = take(run) % 8};
        break;
    case 7:
        event = (struct raft_event){.type = RAFT_EVENT_UNREACHABLE, .member = take(run) % 8};
        break;
    case 8:
        event = (struct raft_event){.type = RAFT_EVENT_SNAPSHOT_SENT,
                                    .member = run->snapshot_member,
                                    .index = run->applied,
                                    .ok = kind >= 128};
        run->snapshot_member = 0;
        break;
    case 9: /* no further than what is applied and durable */
        event =
            (struct raft_event){.type = RAFT_EVENT_COMPACT, .index = run->applied - kind / 14 % 2};
        break;
    case 10:
        for (unsigned ticks = kind / 14; ticks > 0 && !run->over; ticks--)
            step(run, &event); /* TICK is 0 */
        break;
    default:
        send_made_up(run);
        return;
    }
    step(run, &event);
}

static void begin(struct run *run)
{
    uint8_t shape = take(run);
    struct raft_entry entries[3];
    struct raft_config config = {.id = SELF,
                                 .election_ticks = 5,
                                 .heartbeat_ticks = 1,
                                 .pre_vote = shape & 1,
                                 .seed = shape,
                                 .hard_state = {.term = 2, .commit = 2},
                                 .snapshot = {.index = 2, .term = 1},
                                 .entries = entries,
                                 .applied = 2};

    take_conf(run, &config.snapshot.conf_state);
    if (config.snapshot.conf_state.voter_count == 0)
        config.snapshot.conf_state.voters[config.snapshot.conf_state.voter_count++] = SELF;
    if (shape & 2)
        config.hard_state.vote = 2;
    config.entry_count = shape >> 2 & 3;
    for (size_t i = 0; i < config.entry_count; i++)
        entries[i] = (struct raft_entry){
            .index = 3 + i, .term = i == 0 ? 1 : 2, .data = SLICE_LITERAL("old")};
    run->raft = raft_new(&config);
    run->durable = config.hard_state;
    run->seen = raft_hard_state(run->raft);
    run->durable_last = 2 + config.entry_count;
    run->applied = 2;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run *run = xalloc(sizeof(*run));

    run->input = slice_of(data, size);
    begin(run);
    for (unsigned steps = 0; steps < STEPS_MAX && run->input.size != 0 && !run->over; steps++) {
        any_event(run);
        carry_out(run);
        if (!run->over && raft_last_index(run->raft) - raft_first_index(run->raft) + 1 > LOG_MAX)
            break;
    }
    raft_free(run->raft);
    free(run);
    return 0;
}
