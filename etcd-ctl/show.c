/* show.c - pieces of output that several commands share; see ctl.h and cli.md 2.5. */
#include "etcd-ctl/ctl.h"
#include "common/schema/pbbytes.h"

#include <stdarg.h>
#include <stdio.h>

void show_header(struct buf *out, const Etcdserverpb__ResponseHeader *header)
{
    print_field_u64(out, "ClusterID", header != NULL ? header->cluster_id : 0);
    print_field_u64(out, "MemberID", header != NULL ? header->member_id : 0);
    print_field_i64(out, "Revision", header != NULL ? header->revision : 0);
    print_field_u64(out, "RaftTerm", header != NULL ? header->raft_term : 0);
}

static void show_bytes(struct ctl *ctl, ProtobufCBinaryData bytes)
{
    if (ctl->hex)
        print_hex(&ctl->out, pb_slice(bytes));
    else
        buf_append_slice(&ctl->out, pb_slice(bytes));
    buf_append_byte(&ctl->out, '\n');
}

void show_kv(struct ctl *ctl, const Mvccpb__KeyValue *kv, bool value_only)
{
    if (!value_only)
        show_bytes(ctl, kv->key);
    show_bytes(ctl, kv->value);
}

void show_kv_fields(struct buf *out, const char *prefix, const Mvccpb__KeyValue *kv)
{
    char name[32];

#define NAMED(text) ((void)snprintf(name, sizeof(name), "%s%s", prefix, (text)), name)
    print_field_text(out, NAMED("Key"), pb_slice(kv->key));
    print_field_i64(out, NAMED("CreateRevision"), kv->create_revision);
    print_field_i64(out, NAMED("ModRevision"), kv->mod_revision);
    print_field_i64(out, NAMED("Version"), kv->version);
    print_field_text(out, NAMED("Value"), pb_slice(kv->value));
    print_field_i64(out, NAMED("Lease"), kv->lease);
#undef NAMED
}

void show_range(struct ctl *ctl, const ProtobufCMessage *response)
{
    const Etcdserverpb__RangeResponse *range = (const Etcdserverpb__RangeResponse *)response;

    for (size_t i = 0; i < range->n_kvs; i++)
        show_kv(ctl, range->kvs[i], false);
}

void show_put(struct ctl *ctl, const ProtobufCMessage *response)
{
    const Etcdserverpb__PutResponse *put = (const Etcdserverpb__PutResponse *)response;

    buf_append_text(&ctl->out, "OK\n");
    if (put->prev_kv != NULL)
        show_kv(ctl, put->prev_kv, false);
}

void show_delete(struct ctl *ctl, const ProtobufCMessage *response)
{
    const Etcdserverpb__DeleteRangeResponse *deleted =
        (const Etcdserverpb__DeleteRangeResponse *)response;

    buf_printf(&ctl->out, "%" PRId64 "\n", deleted->deleted);
    for (size_t i = 0; i < deleted->n_prev_kvs; i++)
        show_kv(ctl, deleted->prev_kvs[i], false);
}

void show_range_fields(struct ctl *ctl, const ProtobufCMessage *response)
{
    const Etcdserverpb__RangeResponse *range = (const Etcdserverpb__RangeResponse *)response;

    show_header(&ctl->out, range->header);
    for (size_t i = 0; i < range->n_kvs; i++)
        show_kv_fields(&ctl->out, "", range->kvs[i]);
    print_field_bool(&ctl->out, "More", range->more);
    print_field_i64(&ctl->out, "Count", range->count);
}

void show_put_fields(struct ctl *ctl, const ProtobufCMessage *response)
{
    const Etcdserverpb__PutResponse *put = (const Etcdserverpb__PutResponse *)response;

    show_header(&ctl->out, put->header);
    if (put->prev_kv != NULL)
        show_kv_fields(&ctl->out, "Prev", put->prev_kv);
}

void show_delete_fields(struct ctl *ctl, const ProtobufCMessage *response)
{
    const Etcdserverpb__DeleteRangeResponse *deleted =
        (const Etcdserverpb__DeleteRangeResponse *)response;

    show_header(&ctl->out, deleted->header);
    print_field_i64(&ctl->out, "Deleted", deleted->deleted);
    for (size_t i = 0; i < deleted->n_prev_kvs; i++)
        show_kv_fields(&ctl->out, "Prev", deleted->prev_kvs[i]);
}

void show_header_fields(struct ctl *ctl, const ProtobufCMessage *response)
{
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(response->descriptor, "header");
    const Etcdserverpb__ResponseHeader *header;

    must(field != NULL && field->descriptor == &etcdserverpb__response_header__descriptor);
    memcpy(&header, (const char *)response + field->offset, sizeof(header));
    show_header(&ctl->out, header);
}

const char *show_text(struct ctl *ctl, const char *format, ...)
{
    char line[1024];
    va_list args;
    char *copy;

    va_start(args, format);
    (void)vsnprintf(line, sizeof(line), format, args); /* a cell: cut is fine */
    va_end(args);
    copy = arena_strndup(&ctl->arena, line, strlen(line));
    must(copy != NULL);
    return copy;
}
