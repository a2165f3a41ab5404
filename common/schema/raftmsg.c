/*
 * raftmsg.c - see raftmsg.h.
 *
 * Each message has three functions: x_bytes() (how long), put_x() (write into room of that length)
 * and x_decode(). Encoding sizes first, so that nested lengths need no second buffer; a mismatch
 * between the two is a bug of ours and stops (must). "Starred" fields of formats.md 8.1 are put
 * without looking at their value.
 */
#include "common/schema/raftmsg.h"
#include "common/schema/pbwire.h"

/* One byte of tag and a varint. */
static size_t u64_bytes(uint64_t number)
{
    return 1 + pb_varint_bytes(number);
}

static size_t optional_bytes(struct slice data)
{
    return data.size != 0 ? pb_bytes_field_bytes(data.size) : 0;
}

static uint8_t *put_optional(uint8_t *at, unsigned field, struct slice data)
{
    return data.size != 0 ? pb_put_bytes(at, field, data) : at;
}

/* ---- decoding helpers ---- */

static int get_u64(const struct pb_reader *reader, const struct pb_field *field, uint64_t *number,
                   struct err *err)
{
    if (pb_expect(reader, field, PB_VARINT, err) < 0)
        return -1;
    *number = field->value;
    return 0;
}

static int get_bool(const struct pb_reader *reader, const struct pb_field *field, bool *flag,
                    struct err *err)
{
    if (pb_expect(reader, field, PB_VARINT, err) < 0)
        return -1;
    *flag = field->value != 0;
    return 0;
}

static int get_bytes(const struct pb_reader *reader, const struct pb_field *field,
                     struct slice *bytes, struct err *err)
{
    if (pb_expect(reader, field, PB_BYTES, err) < 0)
        return -1;
    *bytes = field->bytes;
    return 0;
}

/* An enum from 0 to `last`. */
static int get_enum(const struct pb_reader *reader, const struct pb_field *field, unsigned last,
                    unsigned *value, struct err *err)
{
    if (pb_expect(reader, field, PB_VARINT, err) < 0)
        return -1;
    if (field->value > last) {
        err_set(err, ERR_FORMAT, "%s: field %" PRIu32 " is %" PRIu64 ", known are 0 to %u",
                reader->message, field->number, field->value, last);
        return -1;
    }
    *value = (unsigned)field->value;
    return 0;
}

/* ---- Entry ---- */

size_t raft_entry_encoded_bytes(const struct raft_entry *entry)
{
    return u64_bytes(entry->type) + u64_bytes(entry->term) + u64_bytes(entry->index) +
           optional_bytes(entry->data);
}

static uint8_t *put_entry(uint8_t *at, const struct raft_entry *entry)
{
    at = pb_put_u64(at, 1, entry->type);
    at = pb_put_u64(at, 2, entry->term);
    at = pb_put_u64(at, 3, entry->index);
    return put_optional(at, 4, entry->data);
}

/* Put the message into `out` after sizing it. */
#define ENCODE(out, bytes, put_expression)                                                         \
    size_t encoded = (bytes);                                                                      \
    uint8_t *room = buf_reserve((out), encoded);                                                   \
    if (room == NULL)                                                                              \
        return false;                                                                              \
    uint8_t *end = (put_expression);                                                               \
    must(end == room + encoded);                                                                   \
    buf_advance((out), encoded);                                                                   \
    return true

bool raft_entry_encode(const struct raft_entry *entry, struct buf *out)
{
    ENCODE(out, raft_entry_encoded_bytes(entry), put_entry(room, entry));
}

int raft_entry_decode(struct slice bytes, struct raft_entry *entry, struct err *err)
{
    struct pb_reader reader = pb_reader_of(bytes, "raftpb.Entry");
    struct pb_field field;
    unsigned type = 0;
    int more = 0, rc = 0;

    *entry = (struct raft_entry){0};
    while (rc == 0 && (more = pb_next(&reader, &field, err)) > 0)
        switch (field.number) {
        case 1:
            rc = get_enum(&reader, &field, RAFT_ENTRY_CONF_CHANGE_V2, &type, err);
            break;
        case 2:
            rc = get_u64(&reader, &field, &entry->term, err);
            break;
        case 3:
            rc = get_u64(&reader, &field, &entry->index, err);
            break;
        case 4:
            rc = get_bytes(&reader, &field, &entry->data, err);
            break;
        }
    entry->type = (enum raft_entry_type)type;
    return more < 0 ? -1 : rc;
}

/* ---- HardState ---- */

static size_t hard_state_bytes(const struct raft_hard_state *state)
{
    return u64_bytes(state->term) + u64_bytes(state->vote) + u64_bytes(state->commit);
}

static uint8_t *put_hard_state(uint8_t *at, const struct raft_hard_state *state)
{
    at = pb_put_u64(at, 1, state->term);
    at = pb_put_u64(at, 2, state->vote);
    return pb_put_u64(at, 3, state->commit);
}

bool raft_hard_state_encode(const struct raft_hard_state *state, struct buf *out)
{
    ENCODE(out, hard_state_bytes(state), put_hard_state(room, state));
}

int raft_hard_state_decode(struct slice bytes, struct raft_hard_state *state, struct err *err)
{
    struct pb_reader reader = pb_reader_of(bytes, "raftpb.HardState");
    struct pb_field field;
    int more = 0, rc = 0;

    *state = (struct raft_hard_state){0};
    while (rc == 0 && (more = pb_next(&reader, &field, err)) > 0)
        switch (field.number) {
        case 1:
            rc = get_u64(&reader, &field, &state->term, err);
            break;
        case 2:
            rc = get_u64(&reader, &field, &state->vote, err);
            break;
        case 3:
            rc = get_u64(&reader, &field, &state->commit, err);
            break;
        }
    return more < 0 ? -1 : rc;
}

/* ---- ConfState ---- */

static size_t ids_bytes(const uint64_t *ids, size_t count)
{
    size_t bytes = 0;

    for (size_t at = 0; at < count; at++)
        bytes += u64_bytes(ids[at]);
    return bytes;
}

static uint8_t *put_ids(uint8_t *at, unsigned field, const uint64_t *ids, size_t count)
{
    for (size_t id = 0; id < count; id++)
        at = pb_put_u64(at, field, ids[id]);
    return at;
}

static size_t conf_state_bytes(const struct raft_conf_state *state)
{
    return ids_bytes(state->voters, state->voter_count) +
           ids_bytes(state->learners, state->learner_count) +
           ids_bytes(state->voters_outgoing, state->voter_outgoing_count) +
           ids_bytes(state->learners_next, state->learner_next_count) + u64_bytes(0);
}

static uint8_t *put_conf_state(uint8_t *at, const struct raft_conf_state *state)
{
    at = put_ids(at, 1, state->voters, state->voter_count);
    at = put_ids(at, 2, state->learners, state->learner_count);
    at = put_ids(at, 3, state->voters_outgoing, state->voter_outgoing_count);
    at = put_ids(at, 4, state->learners_next, state->learner_next_count);
    return pb_put_u64(at, 5, state->auto_leave ? 1 : 0);
}

bool raft_conf_state_encode(const struct raft_conf_state *state, struct buf *out)
{
    ENCODE(out, conf_state_bytes(state), put_conf_state(room, state));
}

/* Keep the list ascending, whatever order the sender used. */
static int add_id(uint64_t *ids, size_t *count, uint64_t id, struct err *err)
{
    size_t at;

    if (*count == RAFT_MEMBERS_MAX) {
        err_set(err, ERR_FORMAT, "raftpb.ConfState: more than %lu members in one list",
                RAFT_MEMBERS_MAX);
        return -1;
    }
    for (at = *count; at > 0 && ids[at - 1] > id; at--)
        ids[at] = ids[at - 1];
    ids[at] = id;
    ++*count;
    return 0;
}

/* One id, or a packed list of them. */
static int get_ids(const struct pb_reader *reader, const struct pb_field *field, uint64_t *ids,
                   size_t *count, struct err *err)
{
    const uint8_t *at, *end;
    uint64_t id;

    if (field->wire != PB_BYTES)
        return pb_expect(reader, field, PB_VARINT, err) < 0 ? -1
                                                            : add_id(ids, count, field->value, err);
    at = field->bytes.data;
    end = at + field->bytes.size;
    while (at != end) {
        if (!pb_get_varint(&at, end, &id)) {
            err_set(err, ERR_FORMAT, "%s: the packed list in field %" PRIu32 " is cut short",
                    reader->message, field->number);
            return -1;
        }
        if (add_id(ids, count, id, err) < 0)
            return -1;
    }
    return 0;
}

/* Adds to `state`: a message may come in pieces that are to be merged. */
static int merge_conf_state(struct slice bytes, struct raft_conf_state *state, struct err *err)
{
    struct pb_reader reader = pb_reader_of(bytes, "raftpb.ConfState");
    struct pb_field field;
    int more = 0, rc = 0;

    while (rc == 0 && (more = pb_next(&reader, &field, err)) > 0)
        switch (field.number) {
        case 1:
            rc = get_ids(&reader, &field, state->voters, &state->voter_count, err);
            break;
        case 2:
            rc = get_ids(&reader, &field, state->learners, &state->learner_count, err);
            break;
        case 3:
            rc =
                get_ids(&reader, &field, state->voters_outgoing, &state->voter_outgoing_count, err);
            break;
        case 4:
            rc = get_ids(&reader, &field, state->learners_next, &state->learner_next_count, err);
            break;
        case 5:
            rc = get_bool(&reader, &field, &state->auto_leave, err);
            break;
        }
    return more < 0 ? -1 : rc;
}

int raft_conf_state_decode(struct slice bytes, struct raft_conf_state *state, struct err *err)
{
    *state = (struct raft_conf_state){0};
    return merge_conf_state(bytes, state, err);
}

/* ---- Snapshot, SnapshotMetadata ---- */

static size_t snapshot_meta_bytes(const struct raft_snapshot_meta *meta)
{
    return pb_bytes_field_bytes(conf_state_bytes(&meta->conf_state)) + u64_bytes(meta->index) +
           u64_bytes(meta->term);
}

static uint8_t *put_snapshot_meta(uint8_t *at, const struct raft_snapshot_meta *meta)
{
    at = pb_put_header(at, 1, conf_state_bytes(&meta->conf_state));
    at = put_conf_state(at, &meta->conf_state);
    at = pb_put_u64(at, 2, meta->index);
    return pb_put_u64(at, 3, meta->term);
}

static size_t snapshot_bytes(const struct raft_snapshot *snapshot)
{
    return optional_bytes(snapshot->data) +
           pb_bytes_field_bytes(snapshot_meta_bytes(&snapshot->meta));
}

static uint8_t *put_snapshot(uint8_t *at, const struct raft_snapshot *snapshot)
{
    at = put_optional(at, 1, snapshot->data);
    at = pb_put_header(at, 2, snapshot_meta_bytes(&snapshot->meta));
    return put_snapshot_meta(at, &snapshot->meta);
}

bool raft_snapshot_encode(const struct raft_snapshot *snapshot, struct buf *out)
{
    ENCODE(out, snapshot_bytes(snapshot), put_snapshot(room, snapshot));
}

static int merge_snapshot_meta(struct slice bytes, struct raft_snapshot_meta *meta, struct err *err)
{
    struct pb_reader reader = pb_reader_of(bytes, "raftpb.SnapshotMetadata");
    struct pb_field field;
    struct slice conf;
    int more = 0, rc = 0;

    while (rc == 0 && (more = pb_next(&reader, &field, err)) > 0)
        switch (field.number) {
        case 1:
            rc = get_bytes(&reader, &field, &conf, err);
            if (rc == 0)
                rc = merge_conf_state(conf, &meta->conf_state, err);
            break;
        case 2:
            rc = get_u64(&reader, &field, &meta->index, err);
            break;
        case 3:
            rc = get_u64(&reader, &field, &meta->term, err);
            break;
        }
    return more < 0 ? -1 : rc;
}

int raft_snapshot_decode(struct slice bytes, struct raft_snapshot *snapshot, struct err *err)
{
    struct pb_reader reader = pb_reader_of(bytes, "raftpb.Snapshot");
    struct pb_field field;
    struct slice meta;
    int more = 0, rc = 0;

    *snapshot = (struct raft_snapshot){0};
    while (rc == 0 && (more = pb_next(&reader, &field, err)) > 0)
        switch (field.number) {
        case 1:
            rc = get_bytes(&reader, &field, &snapshot->data, err);
            break;
        case 2:
            rc = get_bytes(&reader, &field, &meta, err);
            if (rc == 0)
                rc = merge_snapshot_meta(meta, &snapshot->meta, err);
            break;
        }
    return more < 0 ? -1 : rc;
}

/* ---- ConfChange, ConfChangeV2 ---- */

bool raft_conf_change_encode(const struct raft_conf_change *change, struct buf *out)
{
    ENCODE(out,
           u64_bytes(change->id) + u64_bytes(change->type) + u64_bytes(change->node_id) +
               optional_bytes(change->context),
           put_optional(pb_put_u64(pb_put_u64(pb_put_u64(room, 1, change->id), 2, change->type), 3,
                                   change->node_id),
                        4, change->context));
}

int raft_conf_change_decode(struct slice bytes, struct raft_conf_change *change, struct err *err)
{
    struct pb_reader reader = pb_reader_of(bytes, "raftpb.ConfChange");
    struct pb_field field;
    unsigned type = 0;
    int more = 0, rc = 0;

    *change = (struct raft_conf_change){0};
    while (rc == 0 && (more = pb_next(&reader, &field, err)) > 0)
        switch (field.number) {
        case 1:
            rc = get_u64(&reader, &field, &change->id, err);
            break;
        case 2:
            rc = get_enum(&reader, &field, RAFT_CONF_ADD_LEARNER, &type, err);
            break;
        case 3:
            rc = get_u64(&reader, &field, &change->node_id, err);
            break;
        case 4:
            rc = get_bytes(&reader, &field, &change->context, err);
            break;
        }
    change->type = (enum raft_conf_change_type)type;
    return more < 0 ? -1 : rc;
}

static size_t conf_single_bytes(const struct raft_conf_change_single *single)
{
    return u64_bytes(single->type) + u64_bytes(single->node_id);
}

static size_t conf_change_v2_bytes(const struct raft_conf_change_v2 *change)
{
    size_t bytes = u64_bytes(change->transition) + optional_bytes(change->context);

    for (size_t at = 0; at < change->change_count; at++)
        bytes += pb_bytes_field_bytes(conf_single_bytes(&change->changes[at]));
    return bytes;
}

static uint8_t *put_conf_change_v2(uint8_t *at, const struct raft_conf_change_v2 *change)
{
    at = pb_put_u64(at, 1, change->transition);
    for (size_t single = 0; single < change->change_count; single++) {
        at = pb_put_header(at, 2, conf_single_bytes(&change->changes[single]));
        at = pb_put_u64(at, 1, change->changes[single].type);
        at = pb_put_u64(at, 2, change->changes[single].node_id);
    }
    return put_optional(at, 3, change->context);
}

bool raft_conf_change_v2_encode(const struct raft_conf_change_v2 *change, struct buf *out)
{
    ENCODE(out, conf_change_v2_bytes(change), put_conf_change_v2(room, change));
}

static int conf_single_decode(struct slice bytes, struct raft_conf_change_single *single,
                              struct err *err)
{
    struct pb_reader reader = pb_reader_of(bytes, "raftpb.ConfChangeSingle");
    struct pb_field field;
    unsigned type = 0;
    int more = 0, rc = 0;

    *single = (struct raft_conf_change_single){0};
    while (rc == 0 && (more = pb_next(&reader, &field, err)) > 0)
        switch (field.number) {
        case 1:
            rc = get_enum(&reader, &field, RAFT_CONF_ADD_LEARNER, &type, err);
            break;
        case 2:
            rc = get_u64(&reader, &field, &single->node_id, err);
            break;
        }
    single->type = (enum raft_conf_change_type)type;
    return more < 0 ? -1 : rc;
}

int raft_conf_change_v2_decode(struct slice bytes, struct raft_conf_change_v2 *change,
                               struct err *err)
{
    struct pb_reader reader = pb_reader_of(bytes, "raftpb.ConfChangeV2");
    struct pb_field field;
    struct slice single;
    unsigned transition = 0;
    int more = 0, rc = 0;

    *change = (struct raft_conf_change_v2){0};
    while (rc == 0 && (more = pb_next(&reader, &field, err)) > 0)
        switch (field.number) {
        case 1:
            rc = get_enum(&reader, &field, RAFT_CONF_JOINT_EXPLICIT, &transition, err);
            break;
        case 2:
            if (change->change_count == ARRAY_LEN(change->changes)) {
                err_set(err, ERR_FORMAT, "raftpb.ConfChangeV2: more than %lu changes",
                        RAFT_MEMBERS_MAX);
                return -1;
            }
            rc = get_bytes(&reader, &field, &single, err);
            if (rc == 0)
                rc = conf_single_decode(single, &change->changes[change->change_count++], err);
            break;
        case 3:
            rc = get_bytes(&reader, &field, &change->context, err);
            break;
        }
    change->transition = (enum raft_conf_transition)transition;
    return more < 0 ? -1 : rc;
}

/* ---- Message ---- */

/* 3.5 writes field 9 always, and knows no field 13: it is left out while it is 0. */
static const struct raft_snapshot no_snapshot;

static size_t message_bytes(const struct raft_message *message)
{
    const struct raft_snapshot *snapshot =
        message->snapshot != NULL ? message->snapshot : &no_snapshot;
    size_t bytes = u64_bytes(message->type) + u64_bytes(message->to) + u64_bytes(message->from) +
                   u64_bytes(message->term) + u64_bytes(message->log_term) +
                   u64_bytes(message->index) + u64_bytes(message->commit) +
                   pb_bytes_field_bytes(snapshot_bytes(snapshot)) + u64_bytes(0) +
                   u64_bytes(message->reject_hint) + optional_bytes(message->context) +
                   (message->vote != 0 ? u64_bytes(message->vote) : 0);

    for (size_t at = 0; at < message->entry_count; at++)
        bytes += pb_bytes_field_bytes(raft_entry_encoded_bytes(&message->entries[at]));
    return bytes;
}

static uint8_t *put_message(uint8_t *at, const struct raft_message *message)
{
    const struct raft_snapshot *snapshot =
        message->snapshot != NULL ? message->snapshot : &no_snapshot;

    at = pb_put_u64(at, 1, message->type);
    at = pb_put_u64(at, 2, message->to);
    at = pb_put_u64(at, 3, message->from);
    at = pb_put_u64(at, 4, message->term);
    at = pb_put_u64(at, 5, message->log_term);
    at = pb_put_u64(at, 6, message->index);
    for (size_t entry = 0; entry < message->entry_count; entry++) {
        at = pb_put_header(at, 7, raft_entry_encoded_bytes(&message->entries[entry]));
        at = put_entry(at, &message->entries[entry]);
    }
    at = pb_put_u64(at, 8, message->commit);
    at = pb_put_header(at, 9, snapshot_bytes(snapshot));
    at = put_snapshot(at, snapshot);
    at = pb_put_u64(at, 10, message->reject ? 1 : 0);
    at = pb_put_u64(at, 11, message->reject_hint);
    at = put_optional(at, 12, message->context);
    return message->vote != 0 ? pb_put_u64(at, 13, message->vote) : at;
}

bool raft_message_encode(const struct raft_message *message, struct buf *out)
{
    ENCODE(out, message_bytes(message), put_message(room, message));
}

static int out_of_arena(const struct arena *arena, struct err *err)
{
    err_set(err, ERR_NO_MEMORY, "raftpb.Message: decoded it needs more than the %zu bytes allowed",
            arena->max);
    return -1;
}

/* Field 7 is counted before its list is made. */
static int count_entries(struct slice bytes, size_t *count, struct err *err)
{
    struct pb_reader reader = pb_reader_of(bytes, "raftpb.Message");
    struct pb_field field;
    int more;

    *count = 0;
    while ((more = pb_next(&reader, &field, err)) > 0)
        *count += field.number == 7;
    return more;
}

/* A snapshot with index 0 stands for none (formats.md 8.1). */
static int get_snapshot(const struct pb_reader *reader, const struct pb_field *field,
                        struct arena *arena, struct raft_message *message, struct err *err)
{
    struct raft_snapshot snapshot;
    struct slice bytes;

    if (get_bytes(reader, field, &bytes, err) < 0 ||
        raft_snapshot_decode(bytes, &snapshot, err) < 0)
        return -1;
    if (snapshot.meta.index == 0)
        return 0;
    message->snapshot = arena_copy(arena, &snapshot, sizeof(snapshot));
    return message->snapshot == NULL ? out_of_arena(arena, err) : 0;
}

static int get_message_field(const struct pb_reader *reader, const struct pb_field *field,
                             struct arena *arena, struct raft_message *message, struct err *err)
{
    struct slice entry;
    unsigned type;

    switch (field->number) {
    case 1:
        if (get_enum(reader, field, RAFT_MSG_PRE_VOTE_RESP, &type, err) < 0)
            return -1;
        message->type = (enum raft_message_type)type;
        return 0;
    case 2:
        return get_u64(reader, field, &message->to, err);
    case 3:
        return get_u64(reader, field, &message->from, err);
    case 4:
        return get_u64(reader, field, &message->term, err);
    case 5:
        return get_u64(reader, field, &message->log_term, err);
    case 6:
        return get_u64(reader, field, &message->index, err);
    case 7:
        if (get_bytes(reader, field, &entry, err) < 0)
            return -1;
        return raft_entry_decode(entry, &message->entries[message->entry_count++], err);
    case 8:
        return get_u64(reader, field, &message->commit, err);
    case 9:
        return get_snapshot(reader, field, arena, message, err);
    case 10:
        return get_bool(reader, field, &message->reject, err);
    case 11:
        return get_u64(reader, field, &message->reject_hint, err);
    case 12:
        return get_bytes(reader, field, &message->context, err);
    case 13:
        return get_u64(reader, field, &message->vote, err);
    default:
        return 0;
    }
}

int raft_message_decode(struct slice bytes, struct arena *arena, struct raft_message *message,
                        struct err *err)
{
    struct pb_reader reader = pb_reader_of(bytes, "raftpb.Message");
    struct pb_field field;
    size_t entries;
    int more;

    *message = (struct raft_message){0};
    if (count_entries(bytes, &entries, err) < 0)
        return -1;
    if (entries != 0) {
        message->entries = entries <= arena->max / sizeof(*message->entries)
                               ? arena_alloc(arena, entries * sizeof(*message->entries))
                               : NULL;
        if (message->entries == NULL)
            return out_of_arena(arena, err);
    }
    while ((more = pb_next(&reader, &field, err)) > 0)
        if (get_message_field(&reader, &field, arena, message, err) < 0)
            return -1;
    return more;
}
