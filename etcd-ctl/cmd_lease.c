/* cmd_lease.c - lease grant, revoke, timetolive, list, keep-alive. Their json is flat
 * (cli.md 2.6). */
#include "common/base/clock.h"
#include "etcd-ctl/ctl.h"

#include "common/base/base64.h"
#include "common/schema/pbbytes.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

static int lease_id(const struct args *args, const char *command, int64_t *id)
{
    if (args->word_count != 1)
        return ctl_bad_args("%s command needs lease ID as argument", command);
    if (!parse_lease_id(args->words[0], id))
        return ctl_bad_args("bad lease ID arg (%s), expecting ID in Hex", args->words[0]);
    return CTL_OK;
}

/* "failed to grant lease (CAUSE)", with the exit code of its own when no client could be made. */
static int call(struct ctl *ctl, enum rpc_id id, const ProtobufCMessage *request,
                ProtobufCMessage **response, const char *failed, int code)
{
    struct err err = ERR_INIT;

    if (client_call(ctl->client, id, request, &ctl->arena, response, &err) == 0)
        return CTL_OK;
    if (failed != NULL && client_failure(ctl->client)->kind != CLIENT_FAILURE_LOGIN) {
        struct err said = err;

        err_set(&err, said.code, "failed to %s lease (%.900s)", failed, said.text);
    }
    return ctl_fail_err(ctl, code, &err);
}

static void json_header(struct buf *out, const Etcdserverpb__ResponseHeader *header)
{
    static const Etcdserverpb__ResponseHeader none;

    if (header == NULL)
        header = &none;
    buf_append_byte(out, '{');
    if (header->cluster_id != 0)
        buf_printf(out, "\"cluster_id\":%" PRIu64 ",", header->cluster_id);
    if (header->member_id != 0)
        buf_printf(out, "\"member_id\":%" PRIu64 ",", header->member_id);
    if (header->revision != 0)
        buf_printf(out, "\"revision\":%" PRId64 ",", header->revision);
    if (header->raft_term != 0)
        buf_printf(out, "\"raft_term\":%" PRIu64 ",", header->raft_term);
}

/* etcdctl writes only the header for protobuf here. */
static int show_protobuf(struct ctl *ctl, const Etcdserverpb__ResponseHeader *header)
{
    return header != NULL ? ctl_show(ctl, &header->base, NULL, NULL) : CTL_OK;
}

int cmd_lease_grant(struct ctl *ctl, const struct args *args)
{
    Etcdserverpb__LeaseGrantRequest request;
    const Etcdserverpb__LeaseGrantResponse *granted;
    ProtobufCMessage *response = NULL;
    char *end;
    int code;

    etcdserverpb__lease_grant_request__init(&request);
    if (args->word_count != 1)
        return ctl_bad_args("lease grant command needs TTL argument");
    errno = 0;
    request.ttl = strtoll(args->words[0], &end, 10);
    if (end == args->words[0] || isspace((unsigned char)args->words[0][0]) || *end != '\0' ||
        errno != 0)
        return ctl_bad_args("bad TTL (%s), it takes a whole number of seconds", args->words[0]);
    code = call(ctl, RPC_Lease_LeaseGrant, &request.base, &response, "grant", CTL_FAILED);
    if (code != CTL_OK)
        return code;
    granted = (const Etcdserverpb__LeaseGrantResponse *)response;
    switch (ctl->format) {
    case PRINT_SIMPLE:
        buf_printf(&ctl->out, "lease %016" PRIx64 " granted with TTL(%" PRId64 "s)\n",
                   (uint64_t)granted->id, granted->ttl);
        break;
    case PRINT_JSON:
        json_header(&ctl->out, granted->header);
        buf_printf(&ctl->out, "\"ID\":%" PRId64 ",\"TTL\":%" PRId64 ",\"Error\":\"\"}\n",
                   granted->id, granted->ttl);
        break;
    case PRINT_FIELDS:
        show_header(&ctl->out, granted->header);
        print_field_i64(&ctl->out, "ID", granted->id);
        print_field_i64(&ctl->out, "TTL", granted->ttl);
        break;
    case PRINT_TABLE:
        return ctl_refuse_format(ctl);
    case PRINT_PROTOBUF:
        return show_protobuf(ctl, granted->header);
    }
    return CTL_OK;
}

int cmd_lease_revoke(struct ctl *ctl, const struct args *args)
{
    Etcdserverpb__LeaseRevokeRequest request;
    ProtobufCMessage *response = NULL;
    int code;

    etcdserverpb__lease_revoke_request__init(&request);
    code = lease_id(args, "lease revoke", &request.id);
    if (code == CTL_OK)
        code = call(ctl, RPC_Lease_LeaseRevoke, &request.base, &response, "revoke", CTL_FAILED);
    if (code != CTL_OK)
        return code;
    if (ctl->format == PRINT_PROTOBUF)
        return ctl_refuse_format(ctl); /* as etcdctl */
    if (ctl->format != PRINT_SIMPLE)
        return ctl_show(ctl, response, NULL, show_header_fields);
    buf_printf(&ctl->out, "lease %016" PRIx64 " revoked\n", (uint64_t)request.id);
    return CTL_OK;
}

/* ---- timetolive ---- */

static void show_ttl(struct ctl *ctl, const Etcdserverpb__LeaseTimeToLiveResponse *lease, bool keys)
{
    struct buf *out = &ctl->out;

    if (lease->grantedttl == 0 && lease->ttl == -1) {
        buf_printf(out, "lease %016" PRIx64 " already expired\n", (uint64_t)lease->id);
        return;
    }
    buf_printf(out, "lease %016" PRIx64 " granted with TTL(%" PRId64 "s), remaining(%" PRId64 "s)",
               (uint64_t)lease->id, lease->grantedttl, lease->ttl);
    if (keys) {
        buf_append_text(out, ", attached keys([");
        for (size_t i = 0; i < lease->n_keys; i++) {
            if (i > 0)
                buf_append_byte(out, ' ');
            buf_append(out, lease->keys[i].data, lease->keys[i].len);
        }
        buf_append_text(out, "])");
    }
    buf_append_byte(out, '\n');
}

static void show_ttl_json(struct ctl *ctl, const Etcdserverpb__LeaseTimeToLiveResponse *lease)
{
    struct buf *out = &ctl->out;

    json_header(out, lease->header);
    buf_printf(out, "\"id\":%" PRId64 ",\"ttl\":%" PRId64 ",\"granted-ttl\":%" PRId64 ",\"keys\":",
               lease->id, lease->ttl, lease->grantedttl);
    buf_append_text(out, lease->n_keys == 0 ? "null" : "[");
    for (size_t i = 0; i < lease->n_keys; i++) {
        buf_append_text(out, i > 0 ? ",\"" : "\"");
        (void)base64_encode(pb_slice(lease->keys[i]), out);
        buf_append_byte(out, '"');
    }
    buf_append_text(out, lease->n_keys == 0 ? "}\n" : "]}\n");
}

static void show_ttl_fields(struct ctl *ctl, const Etcdserverpb__LeaseTimeToLiveResponse *lease)
{
    show_header(&ctl->out, lease->header);
    print_field_i64(&ctl->out, "ID", lease->id);
    print_field_i64(&ctl->out, "TTL", lease->ttl);
    print_field_i64(&ctl->out, "GrantedTTL", lease->grantedttl);
    for (size_t i = 0; i < lease->n_keys; i++)
        print_field_text(&ctl->out, "Key", pb_slice(lease->keys[i]));
}

int cmd_lease_timetolive(struct ctl *ctl, const struct args *args)
{
    Etcdserverpb__LeaseTimeToLiveRequest request;
    const Etcdserverpb__LeaseTimeToLiveResponse *lease;
    ProtobufCMessage *response = NULL;
    int code;

    etcdserverpb__lease_time_to_live_request__init(&request);
    request.keys = args_bool(args, "keys");
    code = lease_id(args, "lease timetolive", &request.id);
    if (code == CTL_OK)
        code = call(ctl, RPC_Lease_LeaseTimeToLive, &request.base, &response, NULL, CTL_NO_CLIENT);
    if (code != CTL_OK)
        return code;
    lease = (const Etcdserverpb__LeaseTimeToLiveResponse *)response;
    if (ctl->format == PRINT_SIMPLE)
        show_ttl(ctl, lease, request.keys);
    else if (ctl->format == PRINT_JSON)
        show_ttl_json(ctl, lease);
    else if (ctl->format == PRINT_FIELDS)
        show_ttl_fields(ctl, lease);
    else if (ctl->format == PRINT_PROTOBUF)
        code = show_protobuf(ctl, lease->header);
    else
        code = ctl_refuse_format(ctl);
    return code;
}

/* ---- list ---- */

int cmd_lease_list(struct ctl *ctl, const struct args *args)
{
    Etcdserverpb__LeaseLeasesRequest request;
    const Etcdserverpb__LeaseLeasesResponse *list;
    ProtobufCMessage *response = NULL;
    struct buf *out = &ctl->out;
    int code;

    if (args->word_count != 0)
        return ctl_bad_args("lease list command takes no arguments");
    etcdserverpb__lease_leases_request__init(&request);
    code = call(ctl, RPC_Lease_LeaseLeases, &request.base, &response, NULL, CTL_NO_CLIENT);
    if (code != CTL_OK)
        return code;
    list = (const Etcdserverpb__LeaseLeasesResponse *)response;
    switch (ctl->format) {
    case PRINT_SIMPLE:
        buf_printf(out, "found %zu leases\n", list->n_leases);
        for (size_t i = 0; i < list->n_leases; i++)
            buf_printf(out, "%016" PRIx64 "\n", (uint64_t)list->leases[i]->id);
        break;
    case PRINT_JSON:
        json_header(out, list->header);
        buf_append_text(out, "\"leases\":[");
        for (size_t i = 0; i < list->n_leases; i++)
            buf_printf(out, "%s{\"id\":%" PRId64 "}", i > 0 ? "," : "", list->leases[i]->id);
        buf_append_text(out, "]}\n");
        break;
    case PRINT_FIELDS:
        show_header(out, list->header);
        for (size_t i = 0; i < list->n_leases; i++)
            print_field_i64(out, "ID", list->leases[i]->id);
        break;
    case PRINT_TABLE:
        return ctl_refuse_format(ctl);
    case PRINT_PROTOBUF:
        return show_protobuf(ctl, list->header);
    }
    return CTL_OK;
}

/* ---- keep-alive ---- */

static int show_renewal(struct ctl *ctl, const Etcdserverpb__LeaseKeepAliveResponse *lease)
{
    if (ctl->format == PRINT_SIMPLE) {
        buf_printf(&ctl->out, "lease %016" PRIx64 " keepalived with TTL(%" PRId64 ")\n",
                   (uint64_t)lease->id, lease->ttl);
    } else if (ctl->format == PRINT_JSON) {
        json_header(&ctl->out, lease->header);
        buf_printf(&ctl->out, "\"ID\":%" PRId64 ",\"TTL\":%" PRId64 "}\n", lease->id, lease->ttl);
    } else if (ctl->format == PRINT_FIELDS) {
        show_header(&ctl->out, lease->header);
        print_field_i64(&ctl->out, "ID", lease->id);
        print_field_i64(&ctl->out, "TTL", lease->ttl);
    } else if (ctl->format == PRINT_PROTOBUF) {
        return show_protobuf(ctl, lease->header);
    } else {
        return ctl_refuse_format(ctl);
    }
    return CTL_OK;
}

/* etcdctl prints no words among the JSON. */
static void show_gone(struct ctl *ctl, int64_t id)
{
    if (ctl->format == PRINT_SIMPLE)
        buf_printf(&ctl->out, "lease %016" PRIx64 " expired or revoked.\n", (uint64_t)id);
}

/* A lease that was renewed lives until `until_ms`: so long a server that is away is asked again. */
static int renew(struct ctl *ctl, const Etcdserverpb__LeaseKeepAliveRequest *request,
                 int64_t ttl_ms, int64_t until_ms, ProtobufCMessage **response)
{
    bool told = false;

    for (;;) {
        int64_t left = until_ms - clock_ms();
        struct err err = ERR_INIT;

        if (left <= 0)
            return CTL_OK;
        client_set_timeout(ctl->client, MAX(MIN(left, ttl_ms / 3), 1));
        if (client_call(ctl->client, RPC_Lease_LeaseKeepAlive, &request->base, &ctl->arena,
                        response, &err) == 0)
            return CTL_OK;
        if (!client_may_pass(ctl->client, &err))
            return ctl_fail_err(ctl, CTL_FAILED, &err);
        ctl_wait_for_server("", &err, &told);
    }
}

static int keep_alive(struct ctl *ctl, const Etcdserverpb__LeaseKeepAliveRequest *request,
                      const Etcdserverpb__LeaseKeepAliveResponse *lease, int64_t until_ms)
{
    while (lease != NULL && lease->ttl > 0) {
        int64_t ttl_ms = MIN(lease->ttl, INT32_MAX) * 1000, asked;
        ProtobufCMessage *response = NULL;
        int code = show_renewal(ctl, lease);

        ctl_flush(ctl);
        if (code != CTL_OK)
            return code;
        clock_pause_ms(ttl_ms / 3);
        arena_reset(&ctl->arena);
        asked = clock_ms();
        code = renew(ctl, request, ttl_ms, until_ms, &response);
        if (code != CTL_OK)
            return code;
        lease = (const Etcdserverpb__LeaseKeepAliveResponse *)response;
        if (lease != NULL)
            until_ms = asked + MIN(lease->ttl, INT32_MAX) * 1000;
    }
    show_gone(ctl, request->id);
    return CTL_OK;
}

int cmd_lease_keep_alive(struct ctl *ctl, const struct args *args)
{
    const Etcdserverpb__LeaseKeepAliveResponse *lease;
    Etcdserverpb__LeaseKeepAliveRequest request;
    bool once = args_bool(args, "once");
    ProtobufCMessage *response = NULL;
    int64_t asked = clock_ms();
    int code;

    etcdserverpb__lease_keep_alive_request__init(&request);
    code = lease_id(args, "lease keep-alive", &request.id);
    if (code == CTL_OK)
        code = call(ctl, RPC_Lease_LeaseKeepAlive, &request.base, &response, NULL,
                    once ? CTL_NO_CLIENT : CTL_FAILED);
    if (code != CTL_OK)
        return code;
    lease = (const Etcdserverpb__LeaseKeepAliveResponse *)response;
    if (!once)
        return keep_alive(ctl, &request, lease, asked + MIN(lease->ttl, INT32_MAX) * 1000);
    if (lease->ttl <= 0)
        return ctl_fail(CTL_NO_CLIENT, "%s", err_text(ERR_LEASE_NOT_FOUND));
    return show_renewal(ctl, lease);
}
