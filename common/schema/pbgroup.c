/*
 * pbgroup.c - see pbgroup.h. A group is a start tag, fields, an end tag; what covers it has the
 * same tag but for the wire type, and a length that reaches to its end:
 *
 *     start(n) fields end(n)  ->  bytes(n) length ...      length takes up to 5 of the bytes there
 *
 * Messages are looked at one after the other, those within them put on a list: no recursion.
 */
#include "common/schema/pbgroup.h"

#include "common/schema/pbwire.h"

#define GROUP_START 3U
#define GROUP_END 4U
#define GROUP_BYTES_MIN 2U  /* two tags */
#define LENGTH_BYTES_MAX 5U /* that protobuf-c takes */

struct task {
    const ProtobufCMessageDescriptor *type;
    uint8_t *bytes;
    size_t size;
};

struct tasks {
    struct task *list; /* owned */
    size_t count, capacity;
};

static void add_task(struct tasks *tasks, const ProtobufCMessageDescriptor *type, uint8_t *bytes,
                     size_t size)
{
    if (size < GROUP_BYTES_MIN)
        return;
    if (tasks->count == tasks->capacity) {
        tasks->capacity = MAX(tasks->capacity * 2, 64);
        tasks->list = xrealloc(tasks->list, tasks->capacity * sizeof(*tasks->list));
    }
    tasks->list[tasks->count++] = (struct task){type, bytes, size};
}

/* The tag at the front, without taking it; false: none that protobuf-c takes. */
static bool peek_tag(const struct pb_reader *reader, size_t *tag_bytes, uint64_t *tag)
{
    const uint8_t *at = reader->at;

    if (!pb_get_varint(&at, reader->end, tag) || *tag >> 32 != 0 || *tag >> 3 == 0)
        return false;
    *tag_bytes = (size_t)(at - reader->at);
    return *tag_bytes <= LENGTH_BYTES_MAX;
}

/* Behind the group that begins here; its number. As in etcd, its end need not have the same. */
static bool skip_group(struct pb_reader *reader, uint32_t *number)
{
    struct pb_field field;
    size_t depth = 0, tag_bytes;
    uint64_t tag;

    if (!peek_tag(reader, &tag_bytes, &tag) || (tag & 7) != GROUP_START)
        return false;
    *number = (uint32_t)(tag >> 3);
    do {
        if (!peek_tag(reader, &tag_bytes, &tag))
            return false;
        if ((tag & 7) != GROUP_START && (tag & 7) != GROUP_END) {
            if (pb_skim(reader, &field) != 1)
                return false;
            continue;
        }
        reader->at += tag_bytes;
        if ((tag & 7) == GROUP_START)
            depth++;
        else
            depth--;
    } while (depth != 0);
    return true;
}

/* `room`: behind the tag, up to the end of the group. */
static void put_length(uint8_t *at, size_t room)
{
    size_t bytes = 1;

    while (bytes < LENGTH_BYTES_MAX && (room - bytes) >> (7 * bytes) != 0)
        bytes++;
    for (size_t i = 0, length = room - bytes; i < bytes; i++, length >>= 7)
        at[i] = (uint8_t)((length & 0x7f) | (i + 1 < bytes ? 0x80 : 0));
}

static void cover(uint8_t *group, size_t size)
{
    size_t tag_bytes = 1;

    while ((group[tag_bytes - 1] & 0x80) != 0)
        tag_bytes++;
    group[0] = (uint8_t)((group[0] & ~7U) | PB_BYTES);
    put_length(group + tag_bytes, size - tag_bytes);
}

static size_t cover_one_level(struct tasks *tasks, struct task task)
{
    struct pb_reader reader = pb_reader_of(slice_of(task.bytes, task.size), task.type->name);
    size_t count = 0;

    while (reader.at != reader.end) {
        const uint8_t *start = reader.at;
        uint8_t *here = task.bytes + (start - task.bytes);
        const ProtobufCFieldDescriptor *known;
        struct pb_field field;
        uint32_t number;

        if (pb_skim(&reader, &field) != 1) {
            reader.at = start;
            if (!skip_group(&reader, &number) ||
                protobuf_c_message_descriptor_get_field(task.type, number) != NULL)
                return count;
            cover(here, (size_t)(reader.at - start));
            count++;
            continue;
        }
        known = field.wire == PB_BYTES
                    ? protobuf_c_message_descriptor_get_field(task.type, field.number)
                    : NULL;
        if (known != NULL && known->type == PROTOBUF_C_TYPE_MESSAGE)
            add_task(tasks, known->descriptor, task.bytes + (field.bytes.data - task.bytes),
                     field.bytes.size);
    }
    return count;
}

size_t pb_cover_groups(const ProtobufCMessageDescriptor *type, uint8_t *bytes, size_t size)
{
    struct tasks tasks = {0};
    size_t count = 0;

    add_task(&tasks, type, bytes, size);
    while (tasks.count != 0)
        count += cover_one_level(&tasks, tasks.list[--tasks.count]);
    free(tasks.list);
    return count;
}
