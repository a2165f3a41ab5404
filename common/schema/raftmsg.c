/*
 * raftmsg.c - see raftmsg.h.
 *
 * Each message is a table of its fields, in the order in which etcd writes them; one sizer, one
 * writer and one reader walk the tables. Sizes come first, so that nested lengths need no second
 * buffer; a mismatch between sizer and writer is a bug of ours and stops (must). "Starred" fields
 * of formats.md 8.1 (U64, FLAG, ENUM, ONE, SNAPSHOT) are put without looking at their value.
 */
#include "common/schema/raftmsg.h"
#include "common/schema/pbwire.h"

#include <stddef.h>

enum kind {
    U64,      /* uint64_t */
    U64_SET,  /* uint64_t, left out while it is 0 */
    FLAG,     /* bool */
    ENUM,     /* an enum from 0 to .last */
    BYTES,    /* struct slice, left out while it is empty */
    IDS,      /* uint64_t[RAFT_MEMBERS_MAX], ascending; as many as the size_t at .count says */
    ONE,      /* a message of type .of; one that comes in pieces is merged */
    LIST,     /* an array of RAFT_MEMBERS_MAX of them; .count as above */
    ENTRIES,  /* a pointer to as many as .count says, from the arena */
    SNAPSHOT, /* a pointer to one, from the arena; NULL is put as an empty one */
};

struct field {
    uint8_t number; /* below 16: the tag is one byte */
    enum kind kind;
    size_t at, count; /* offsets into the struct */
    unsigned last;
    const struct message_type *of;
};

struct message_type {
    const char *name;
    size_t size; /* of the struct */
    const struct field *fields;
    size_t field_count;
};

#define MESSAGE(called, type, table)                                                               \
    {                                                                                              \
        .name = (called), .size = sizeof(struct type), .fields = (table),                          \
        .field_count = ARRAY_LEN(table),                                                           \
    }
#define AT(type, member) .at = offsetof(struct type, member)
#define COUNT(type, member) .count = offsetof(struct type, member)

/* ---- the tables ---- */

static const struct field entry_fields[] = {
    {1, ENUM, AT(raft_entry, type), .last = RAFT_ENTRY_CONF_CHANGE_V2},
    {2, U64, AT(raft_entry, term)},
    {3, U64, AT(raft_entry, index)},
    {4, BYTES, AT(raft_entry, data)},
};
static const struct message_type entry_type = MESSAGE("raftpb.Entry", raft_entry, entry_fields);

static const struct field hard_state_fields[] = {
    {1, U64, AT(raft_hard_state, term)},
    {2, U64, AT(raft_hard_state, vote)},
    {3, U64, AT(raft_hard_state, commit)},
};
static const struct message_type hard_state_type =
    MESSAGE("raftpb.HardState", raft_hard_state, hard_state_fields);

static const struct field conf_state_fields[] = {
    {1, IDS, AT(raft_conf_state, voters), COUNT(raft_conf_state, voter_count)},
    {2, IDS, AT(raft_conf_state, learners), COUNT(raft_conf_state, learner_count)},
    {3, IDS, AT(raft_conf_state, voters_outgoing), COUNT(raft_conf_state, voter_outgoing_count)},
    {4, IDS, AT(raft_conf_state, learners_next), COUNT(raft_conf_state, learner_next_count)},
    {5, FLAG, AT(raft_conf_state, auto_leave)},
};
static const struct message_type conf_state_type =
    MESSAGE("raftpb.ConfState", raft_conf_state, conf_state_fields);

static const struct field snapshot_meta_fields[] = {
    {1, ONE, AT(raft_snapshot_meta, conf_state), .of = &conf_state_type},
    {2, U64, AT(raft_snapshot_meta, index)},
    {3, U64, AT(raft_snapshot_meta, term)},
};
static const struct message_type snapshot_meta_type =
    MESSAGE("raftpb.SnapshotMetadata", raft_snapshot_meta, snapshot_meta_fields);

static const struct field snapshot_fields[] = {
    {1, BYTES, AT(raft_snapshot, data)},
    {2, ONE, AT(raft_snapshot, meta), .of = &snapshot_meta_type},
};
static const struct message_type snapshot_type =
    MESSAGE("raftpb.Snapshot", raft_snapshot, snapshot_fields);

static const struct field conf_change_fields[] = {
    {1, U64, AT(raft_conf_change, id)},
    {2, ENUM, AT(raft_conf_change, type), .last = RAFT_CONF_ADD_LEARNER},
    {3, U64, AT(raft_conf_change, node_id)},
    {4, BYTES, AT(raft_conf_change, context)},
};
static const struct message_type conf_change_type =
    MESSAGE("raftpb.ConfChange", raft_conf_change, conf_change_fields);

static const struct field conf_single_fields[] = {
    {1, ENUM, AT(raft_conf_change_single, type), .last = RAFT_CONF_ADD_LEARNER},
    {2, U64, AT(raft_conf_change_single, node_id)},
};
static const struct message_type conf_single_type =
    MESSAGE("raftpb.ConfChangeSingle", raft_conf_change_single, conf_single_fields);

static const struct field conf_change_v2_fields[] = {
    {1, ENUM, AT(raft_conf_change_v2, transition), .last = RAFT_CONF_JOINT_EXPLICIT},
    {2, LIST, AT(raft_conf_change_v2, changes), COUNT(raft_conf_change_v2, change_count),
     .of = &conf_single_type},
    {3, BYTES, AT(raft_conf_change_v2, context)},
};
static const struct message_type conf_change_v2_type =
    MESSAGE("raftpb.ConfChangeV2", raft_conf_change_v2, conf_change_v2_fields);

/* 3.5 writes field 9 always, and knows no field 13. */
static const struct field message_fields[] = {
    {1, ENUM, AT(raft_message, type), .last = RAFT_MSG_PRE_VOTE_RESP},
    {2, U64, AT(raft_message, to)},
    {3, U64, AT(raft_message, from)},
    {4, U64, AT(raft_message, term)},
    {5, U64, AT(raft_message, log_term)},
    {6, U64, AT(raft_message, index)},
    {7, ENTRIES, AT(raft_message, entries), COUNT(raft_message, entry_count), .of = &entry_type},
    {8, U64, AT(raft_message, commit)},
    {9, SNAPSHOT, AT(raft_message, snapshot), .of = &snapshot_type},
    {10, FLAG, AT(raft_message, reject)},
    {11, U64, AT(raft_message, reject_hint)},
    {12, BYTES, AT(raft_message, context)},
    {13, U64_SET, AT(raft_message, vote)},
};
static const struct message_type message_type =
    MESSAGE("raftpb.Message", raft_message, message_fields);

/* ---- what a field holds ---- */

static const struct raft_snapshot no_snapshot;

static const void *inside(const void *message, size_t offset)
{
    return (const char *)message + offset;
}

static uint64_t number_in(const struct field *field, const void *message)
{
    const void *at = inside(message, field->at);

    if (field->kind == FLAG)
        return *(const bool *)at ? 1 : 0;
    return field->kind == ENUM ? *(const unsigned *)at : *(const uint64_t *)at;
}

/* How many numbers or messages a field is put as, and the first of them. */
static size_t parts_in(const struct field *field, const void *message, const void **first)
{
    const void *at = inside(message, field->at);

    *first = at;
    switch (field->kind) {
    case ENTRIES:
        *first = *(const void *const *)at;
        return *(const size_t *)inside(message, field->count);
    case SNAPSHOT:
        *first = *(const void *const *)at;
        if (*first == NULL)
            *first = &no_snapshot;
        return 1;
    case IDS:
    case LIST:
        return *(const size_t *)inside(message, field->count);
    case BYTES:
        return ((const struct slice *)at)->size != 0;
    case U64_SET:
        return *(const uint64_t *)at != 0;
    case U64:
    case FLAG:
    case ENUM:
    case ONE:
        break;
    }
    return 1;
}

/* ---- encoding ---- */

static size_t bytes_of(const struct message_type *type, const void *message)
{
    size_t bytes = 0;

    for (const struct field *field = type->fields; field < type->fields + type->field_count;
         field++) {
        const void *first;
        size_t parts = parts_in(field, message, &first);

        for (size_t part = 0; part < parts; part++)
            if (field->of != NULL)
                bytes += pb_bytes_field_bytes(
                    bytes_of(field->of, inside(first, part * field->of->size)));
            else if (field->kind == BYTES)
                bytes += pb_bytes_field_bytes(((const struct slice *)first)->size);
            else if (field->kind == IDS)
                bytes += 1 + pb_varint_bytes(((const uint64_t *)first)[part]);
            else
                bytes += 1 + pb_varint_bytes(number_in(field, message));
    }
    return bytes;
}

/* Into room for bytes_of() it; returns the end. */
static uint8_t *put(uint8_t *at, const struct message_type *type, const void *message)
{
    for (const struct field *field = type->fields; field < type->fields + type->field_count;
         field++) {
        const void *first;
        size_t parts = parts_in(field, message, &first);

        for (size_t part = 0; part < parts; part++)
            if (field->of != NULL) {
                const void *nested = inside(first, part * field->of->size);

                at = pb_put_header(at, field->number, bytes_of(field->of, nested));
                at = put(at, field->of, nested);
            } else if (field->kind == BYTES)
                at = pb_put_bytes(at, field->number, *(const struct slice *)first);
            else if (field->kind == IDS)
                at = pb_put_u64(at, field->number, ((const uint64_t *)first)[part]);
            else
                at = pb_put_u64(at, field->number, number_in(field, message));
    }
    return at;
}

static bool encode(const struct message_type *type, const void *message, struct buf *out)
{
    size_t bytes = bytes_of(type, message);
    uint8_t *room = buf_reserve(out, bytes);

    if (room == NULL)
        return false;
    must(put(room, type, message) == room + bytes);
    buf_advance(out, bytes);
    return true;
}

/* ---- decoding ---- */

static int decode(const struct message_type *type, struct slice bytes, struct arena *arena,
                  void *message, struct err *err);

static int too_many(const struct message_type *type, const char *what, struct err *err)
{
    err_set(err, ERR_FORMAT, "%s: more than %lu %s", type->name, RAFT_MEMBERS_MAX, what);
    return -1;
}

static int out_of_arena(const struct message_type *type, const struct arena *arena, struct err *err)
{
    err_set(err, ERR_NO_MEMORY, "%s: decoded it needs more than the %zu bytes allowed", type->name,
            arena->max);
    return -1;
}

static int get_enum(const struct pb_reader *reader, const struct field *field,
                    const struct pb_field *seen, unsigned *value, struct err *err)
{
    if (seen->value > field->last) {
        err_set(err, ERR_FORMAT, "%s: field %" PRIu32 " is %" PRIu64 ", known are 0 to %u",
                reader->message, seen->number, seen->value, field->last);
        return -1;
    }
    *value = (unsigned)seen->value;
    return 0;
}

/* Keep the list ascending, whatever order the sender used. */
static int add_id(const struct message_type *type, uint64_t *ids, size_t *count, uint64_t id,
                  struct err *err)
{
    size_t at;

    if (*count == RAFT_MEMBERS_MAX)
        return too_many(type, "members in one list", err);
    for (at = *count; at > 0 && ids[at - 1] > id; at--)
        ids[at] = ids[at - 1];
    ids[at] = id;
    ++*count;
    return 0;
}

/* One id, or a packed list of them. */
static int get_ids(const struct message_type *type, const struct pb_reader *reader,
                   const struct pb_field *seen, uint64_t *ids, size_t *count, struct err *err)
{
    const uint8_t *at, *end;
    uint64_t id;

    if (seen->wire != PB_BYTES)
        return pb_expect(reader, seen, PB_VARINT, err) < 0
                   ? -1
                   : add_id(type, ids, count, seen->value, err);
    at = seen->bytes.data;
    end = at + seen->bytes.size;
    while (at != end) {
        if (!pb_get_varint(&at, end, &id)) {
            err_set(err, ERR_FORMAT, "%s: the packed list in field %" PRIu32 " is cut short",
                    reader->message, seen->number);
            return -1;
        }
        if (add_id(type, ids, count, id, err) < 0)
            return -1;
    }
    return 0;
}

/* A snapshot with index 0 stands for none (formats.md 8.1). */
static int get_snapshot(const struct message_type *type, struct slice bytes, struct arena *arena,
                        struct raft_snapshot **kept, struct err *err)
{
    struct raft_snapshot snapshot = {0};

    if (decode(&snapshot_type, bytes, NULL, &snapshot, err) < 0)
        return -1;
    if (snapshot.meta.index == 0)
        return 0;
    *kept = arena_copy(arena, &snapshot, sizeof(snapshot));
    return *kept == NULL ? out_of_arena(type, arena, err) : 0;
}

/* The list of a field of kind ENTRIES, for as many as the bytes hold; its count stays 0. */
static int make_entries(const struct message_type *type, const struct field *field,
                        struct slice bytes, struct arena *arena, struct raft_entry **entries,
                        struct err *err)
{
    struct pb_reader reader = pb_reader_of(bytes, type->name);
    struct pb_field seen;
    size_t count = 0;
    int more;

    must(arena != NULL); /* who decodes a type with entries gives one */
    while ((more = pb_next(&reader, &seen, err)) > 0)
        count += seen.number == field->number;
    if (more < 0 || count == 0)
        return more;
    if (count <= arena->max / sizeof(**entries))
        *entries = arena_alloc(arena, count * sizeof(**entries));
    return *entries == NULL ? out_of_arena(type, arena, err) : 0;
}

static int get(const struct message_type *type, const struct field *field,
               const struct pb_reader *reader, const struct pb_field *seen, struct arena *arena,
               void *message, struct err *err)
{
    void *at = (char *)message + field->at;
    size_t *count = (size_t *)((char *)message + field->count); /* where the kind has one */
    bool numeric =
        field->kind == U64 || field->kind == U64_SET || field->kind == FLAG || field->kind == ENUM;

    if (field->kind != IDS && pb_expect(reader, seen, numeric ? PB_VARINT : PB_BYTES, err) < 0)
        return -1;
    switch (field->kind) {
    case U64:
    case U64_SET:
        *(uint64_t *)at = seen->value;
        return 0;
    case FLAG:
        *(bool *)at = seen->value != 0;
        return 0;
    case ENUM:
        return get_enum(reader, field, seen, at, err);
    case BYTES:
        *(struct slice *)at = seen->bytes;
        return 0;
    case IDS:
        return get_ids(type, reader, seen, at, count, err);
    case ONE:
        return decode(field->of, seen->bytes, arena, at, err);
    case LIST:
        if (*count == RAFT_MEMBERS_MAX)
            return too_many(type, "changes", err);
        return decode(field->of, seen->bytes, arena, (char *)at + field->of->size * (*count)++,
                      err);
    case ENTRIES: /* there is room: make_entries() */
        at = *(struct raft_entry **)at + (*count)++;
        memset(at, 0, sizeof(struct raft_entry));
        return decode(field->of, seen->bytes, arena, at, err);
    case SNAPSHOT:
        return get_snapshot(type, seen->bytes, arena, at, err);
    }
    return 0;
}

/* Adds to `message`, which the caller has cleared: what comes in pieces is merged. */
static int decode(const struct message_type *type, struct slice bytes, struct arena *arena,
                  void *message, struct err *err)
{
    struct pb_reader reader = pb_reader_of(bytes, type->name);
    struct pb_field seen;
    int more;

    for (const struct field *field = type->fields; field < type->fields + type->field_count;
         field++)
        if (field->kind == ENTRIES &&
            make_entries(type, field, bytes, arena,
                         (struct raft_entry **)((char *)message + field->at), err) < 0)
            return -1;
    while ((more = pb_next(&reader, &seen, err)) > 0) {
        if (seen.number == 0 || seen.number > type->field_count) /* tables have no gaps */
            continue;
        if (get(type, &type->fields[seen.number - 1], &reader, &seen, arena, message, err) < 0)
            return -1;
    }
    return more;
}

/* ---- the messages by name ---- */

#define CODEC(name)                                                                                \
    bool raft_##name##_encode(const struct raft_##name *name, struct buf *out)                     \
    {                                                                                              \
        return encode(&name##_type, name, out);                                                    \
    }
#define CODEC_BOTH(name)                                                                           \
    CODEC(name)                                                                                    \
    int raft_##name##_decode(struct slice bytes, struct raft_##name *name, struct err *err)        \
    {                                                                                              \
        *name = (struct raft_##name){0};                                                           \
        return decode(&name##_type, bytes, NULL, name, err);                                       \
    }
CODEC_BOTH(entry)
CODEC_BOTH(hard_state)
CODEC_BOTH(conf_state)
CODEC_BOTH(snapshot)
CODEC_BOTH(conf_change)
CODEC_BOTH(conf_change_v2)
CODEC(message)

size_t raft_entry_encoded_bytes(const struct raft_entry *entry)
{
    return bytes_of(&entry_type, entry);
}

int raft_message_decode(struct slice bytes, struct arena *arena, struct raft_message *message,
                        struct err *err)
{
    *message = (struct raft_message){0};
    return decode(&message_type, bytes, arena, message, err);
}
