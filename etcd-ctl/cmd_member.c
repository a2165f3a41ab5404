/*
 * cmd_member.c - member list, add, remove, update, promote; move-leader.
 *
 * list: a table of cells, or fields, or JSON (with --hex as etcdctl writes it, which has a form of
 * its own). The changes: the id or the URLs from the words -> one call -> a sentence; add also
 * says with which variables the new member is to be started (new_member.h).
 */
#include "common/schema/pbjson.h"
#include "etcd-ctl/ctl.h"
#include "etcd-ctl/new_member.h"

#include <stdio.h>

static void join(struct buf *out, char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "%s%s", i > 0 ? "," : "", texts[i]);
}

static const char *joined(struct ctl *ctl, char *const *texts, size_t count)
{
    struct buf text = BUF_INIT(BUF_UNLIMITED);
    char *copy;

    join(&text, texts, count);
    copy = arena_strndup(&ctl->arena, buf_text(&text), text.size);
    must(copy != NULL);
    buf_free(&text);
    return copy;
}

/* ---- list ---- */

#define MEMBER_COLUMNS 6

static void member_cells(struct ctl *ctl, const Etcdserverpb__Member *member, const char **cells)
{
    cells[0] = show_text(ctl, "%" PRIx64, member->id);
    cells[1] = member->name[0] != '\0' ? "started" : "unstarted";
    cells[2] = member->name;
    cells[3] = joined(ctl, member->peerurls, member->n_peerurls);
    cells[4] = joined(ctl, member->clienturls, member->n_clienturls);
    cells[5] = member->islearner ? "true" : "false";
}

static void show_members(struct ctl *ctl, const ProtobufCMessage *response)
{
    static const char *const headings[MEMBER_COLUMNS] = {
        "ID", "STATUS", "NAME", "PEER ADDRS", "CLIENT ADDRS", "IS LEARNER"};
    const Etcdserverpb__MemberListResponse *list =
        (const Etcdserverpb__MemberListResponse *)response;
    const char **cells = xalloc((list->n_members + 1) * MEMBER_COLUMNS * sizeof(*cells));

    for (size_t i = 0; i < list->n_members; i++)
        member_cells(ctl, list->members[i], &cells[i * MEMBER_COLUMNS]);
    if (ctl->format == PRINT_TABLE)
        print_table(&ctl->out, headings, MEMBER_COLUMNS, cells, list->n_members);
    else
        for (size_t i = 0; i < list->n_members * MEMBER_COLUMNS; i++)
            buf_printf(&ctl->out, "%s%s", cells[i],
                       i % MEMBER_COLUMNS == MEMBER_COLUMNS - 1 ? "\n" : ", ");
    free(cells);
}

static void show_members_fields(struct ctl *ctl, const ProtobufCMessage *response)
{
    const Etcdserverpb__MemberListResponse *list =
        (const Etcdserverpb__MemberListResponse *)response;

    show_header(&ctl->out, list->header);
    for (size_t i = 0; i < list->n_members; i++) {
        const Etcdserverpb__Member *member = list->members[i];

        print_field_u64(&ctl->out, "ID", member->id);
        print_field_text(&ctl->out, "Name", slice_text(member->name));
        for (size_t j = 0; j < member->n_peerurls; j++)
            print_field_text(&ctl->out, "PeerURL", slice_text(member->peerurls[j]));
        for (size_t j = 0; j < member->n_clienturls; j++)
            print_field_text(&ctl->out, "ClientURL", slice_text(member->clienturls[j]));
        print_field_bool(&ctl->out, "IsLearner", member->islearner);
        buf_append_byte(&ctl->out, '\n');
    }
}

static void json_list(struct buf *out, const char *name, char *const *texts, size_t count)
{
    buf_printf(out, count == 0 ? ",\"%s\":null" : ",\"%s\":[", name);
    if (count == 0)
        return;
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_append_byte(out, ',');
        (void)pbjson_write_string(slice_text(texts[i]), out);
    }
    buf_append_byte(out, ']');
}

/* --hex -w json: IDs as texts; only here etcdctl 3.5 writes "clientURLS", what is empty, and no
 * word about learners. */
static void show_members_hex_json(struct ctl *ctl, const Etcdserverpb__MemberListResponse *list)
{
    struct buf *out = &ctl->out;
    const Etcdserverpb__ResponseHeader *header = list->header;

    buf_printf(out,
               "{\"header\":{\"cluster_id\":\"%" PRIx64 "\",\"member_id\":\"%" PRIx64
               "\",\"raft_term\":%" PRIu64 "},\"members\":[",
               header != NULL ? header->cluster_id : 0, header != NULL ? header->member_id : 0,
               header != NULL ? header->raft_term : 0);
    for (size_t i = 0; i < list->n_members; i++) {
        const Etcdserverpb__Member *member = list->members[i];

        buf_printf(out, "%s{\"ID\":\"%" PRIx64 "\"", i > 0 ? "," : "", member->id);
        buf_append_text(out, ",\"name\":");
        (void)pbjson_write_string(slice_text(member->name), out);
        json_list(out, "peerURLs", member->peerurls, member->n_peerurls);
        json_list(out, "clientURLS", member->clienturls, member->n_clienturls);
        buf_append_byte(out, '}');
    }
    buf_append_text(out, "]}\n");
}

int cmd_member_list(struct ctl *ctl, const struct args *args)
{
    Etcdserverpb__MemberListRequest request;
    ProtobufCMessage *response = NULL;
    int code;

    if (args->word_count != 0)
        return ctl_bad_args("member list command takes no arguments");
    etcdserverpb__member_list_request__init(&request);
    request.linearizable = true;
    code = ctl_call(ctl, RPC_Cluster_MemberList, &request.base, &response, CTL_FAILED);
    if (code != CTL_OK)
        return code;
    if (ctl->format == PRINT_TABLE)
        show_members(ctl, response);
    else if (ctl->format == PRINT_JSON && ctl->hex)
        show_members_hex_json(ctl, (const Etcdserverpb__MemberListResponse *)response);
    else
        code = ctl_show(ctl, response, show_members, show_members_fields);
    return code;
}

/* ---- changes ---- */

static int member_id(const struct args *args, uint64_t *id)
{
    if (args->word_count != 1)
        return ctl_bad_args("member ID is not provided");
    if (!parse_hex_id(args->words[0], id))
        return ctl_bad_args("bad member ID arg (%s), expecting ID in Hex", args->words[0]);
    return CTL_OK;
}

/* --peer-urls=A,B as texts in the arena; blanks around them do not count. */
static int peer_urls(struct ctl *ctl, const struct args *args, char ***urls, size_t *count)
{
    const char *text = args_text(args, "peer-urls"), *rest;
    size_t room = 1, bytes;

    if (text[0] == '\0')
        return ctl_bad_args("member peer urls not provided");
    for (const char *at = text; *at != '\0'; at++)
        room += *at == ',';
    *urls = arena_alloc(&ctl->arena, room * sizeof(**urls));
    must(*urls != NULL);
    for (*count = 0; *count < room; text += strcspn(text, ",") + 1, (*count)++) {
        text += strspn(text, " \t");
        bytes = strcspn(text, ", \t");
        if (strncmp(text, "http://", 7) != 0 && strncmp(text, "https://", 8) != 0 &&
            strncmp(text, "unix://", 7) != 0 && strncmp(text, "unixs://", 8) != 0)
            return ctl_fail(CTL_FAILED, "URL scheme must be http, https, unix, or unixs: %.*s",
                            (int)strcspn(text, ","), text);
        rest = text + bytes + strspn(text + bytes, " \t");
        if (*rest != ',' && *rest != '\0')
            return ctl_fail(CTL_FAILED,
                            "a blank inside the URL \"%.*s\" of --peer-urls: separate URLs with "
                            "commas",
                            (int)strcspn(text, ","), text);
        (*urls)[*count] = arena_strndup(&ctl->arena, text, bytes);
        must((*urls)[*count] != NULL);
    }
    return CTL_OK;
}

static uint64_t cluster_of(const Etcdserverpb__ResponseHeader *header)
{
    return header != NULL ? header->cluster_id : 0;
}

static int show_change(struct ctl *ctl, const ProtobufCMessage *response, uint64_t id,
                       const char *what, const Etcdserverpb__ResponseHeader *header)
{
    if (ctl->format != PRINT_SIMPLE)
        return ctl_show(ctl, response, NULL, show_header_fields);
    buf_printf(&ctl->out, "Member %16" PRIx64 " %s cluster %16" PRIx64 "\n", id, what,
               cluster_of(header));
    return CTL_OK;
}

static void show_line(struct buf *out, const char *name, const char *value)
{
    buf_append_text(out, name);
    print_quoted(out, slice_text(value));
    buf_append_byte(out, '\n');
}

/* The lines a shell can source to start the new member; its URLs as they were typed. */
static void show_added(struct ctl *ctl, const char *name, const char *urls,
                       const Etcdserverpb__MemberAddResponse *added, uint64_t id)
{
    struct buf list = BUF_INIT(BUF_UNLIMITED), *out = &ctl->out;
    bool first = true;

    for (size_t i = 0; i < added->n_members; i++) {
        const Etcdserverpb__Member *member = added->members[i];

        for (size_t j = 0; j < member->n_peerurls; j++, first = false)
            buf_printf(&list, "%s%s=%s", first ? "" : ",", member->id == id ? name : member->name,
                       member->peerurls[j]);
    }
    show_line(out, "\nETCD_NAME=", name);
    show_line(out, "ETCD_INITIAL_CLUSTER=", buf_text(&list));
    show_line(out, "ETCD_INITIAL_ADVERTISE_PEER_URLS=", urls);
    show_line(out, "ETCD_INITIAL_CLUSTER_STATE=", "existing");
    buf_free(&list);
}

/* Before it happens. Who is there is asked without agreement: no list, no notes. */
static void say_what_will_be(struct ctl *ctl, const char *name,
                             const Etcdserverpb__MemberAddRequest *add)
{
    Etcdserverpb__MemberListRequest request;
    ProtobufCMessage *response = NULL;
    struct err ignored = ERR_INIT; /* the call that matters says it */

    etcdserverpb__member_list_request__init(&request);
    if (client_call(ctl->client, RPC_Cluster_MemberList, &request.base, &ctl->arena, &response,
                    &ignored) == 0)
        new_member_notes(name, add->peerurls, add->n_peerurls, add->islearner,
                         (const Etcdserverpb__MemberListResponse *)response);
}

int cmd_member_add(struct ctl *ctl, const struct args *args)
{
    Etcdserverpb__MemberAddRequest request;
    const Etcdserverpb__MemberAddResponse *added;
    ProtobufCMessage *response = NULL;
    uint64_t id;
    int code;

    if (args->word_count == 0)
        return ctl_bad_args("member name not provided");
    if (args->word_count > 1)
        return ctl_bad_args("too many arguments, did you mean --peer-urls=%s", args->words[1]);
    etcdserverpb__member_add_request__init(&request);
    code = peer_urls(ctl, args, &request.peerurls, &request.n_peerurls);
    if (code != CTL_OK)
        return code;
    request.islearner = args_bool(args, "learner");
    say_what_will_be(ctl, args->words[0], &request);
    code = ctl_call(ctl, RPC_Cluster_MemberAdd, &request.base, &response, CTL_FAILED);
    if (code != CTL_OK)
        return code;
    added = (const Etcdserverpb__MemberAddResponse *)response;
    id = added->member != NULL ? added->member->id : 0;
    code = show_change(ctl, response, id, "added to", added->header);
    if (code == CTL_OK && ctl->format == PRINT_SIMPLE)
        show_added(ctl, args->words[0], args_text(args, "peer-urls"), added, id);
    return code;
}

int cmd_member_remove(struct ctl *ctl, const struct args *args)
{
    Etcdserverpb__MemberRemoveRequest request;
    ProtobufCMessage *response = NULL;
    int code;

    etcdserverpb__member_remove_request__init(&request);
    code = member_id(args, &request.id);
    if (code == CTL_OK)
        code = ctl_call(ctl, RPC_Cluster_MemberRemove, &request.base, &response, CTL_FAILED);
    if (code != CTL_OK)
        return code;
    return show_change(ctl, response, request.id, "removed from",
                       ((const Etcdserverpb__MemberRemoveResponse *)response)->header);
}

int cmd_member_update(struct ctl *ctl, const struct args *args)
{
    Etcdserverpb__MemberUpdateRequest request;
    ProtobufCMessage *response = NULL;
    int code;

    etcdserverpb__member_update_request__init(&request);
    code = member_id(args, &request.id);
    if (code == CTL_OK)
        code = peer_urls(ctl, args, &request.peerurls, &request.n_peerurls);
    if (code == CTL_OK)
        code = ctl_call(ctl, RPC_Cluster_MemberUpdate, &request.base, &response, CTL_FAILED);
    if (code != CTL_OK)
        return code;
    return show_change(ctl, response, request.id, "updated in",
                       ((const Etcdserverpb__MemberUpdateResponse *)response)->header);
}

int cmd_member_promote(struct ctl *ctl, const struct args *args)
{
    Etcdserverpb__MemberPromoteRequest request;
    ProtobufCMessage *response = NULL;
    int code;

    etcdserverpb__member_promote_request__init(&request);
    code = member_id(args, &request.id);
    if (code == CTL_OK)
        code = ctl_call(ctl, RPC_Cluster_MemberPromote, &request.base, &response, CTL_FAILED);
    if (code != CTL_OK)
        return code;
    return show_change(ctl, response, request.id, "promoted in",
                       ((const Etcdserverpb__MemberPromoteResponse *)response)->header);
}

/* ---- move-leader ---- */

int cmd_move_leader(struct ctl *ctl, const struct args *args)
{
    Etcdserverpb__MoveLeaderRequest request;
    Etcdserverpb__StatusRequest status;
    size_t leader_at = SIZE_MAX;
    ProtobufCMessage *response = NULL;
    struct err err = ERR_INIT;
    uint64_t leader = 0;

    if (args->word_count != 1)
        return ctl_bad_args("move-leader command needs 1 argument");
    etcdserverpb__move_leader_request__init(&request);
    if (!parse_hex_id(args->words[0], &request.targetid))
        return ctl_bad_args("bad member ID arg (%s), expecting ID in Hex", args->words[0]);
    etcdserverpb__status_request__init(&status);
    for (size_t i = 0; i < client_endpoints(ctl->client) && leader_at == SIZE_MAX; i++) {
        const Etcdserverpb__StatusResponse *found;

        if (client_call_at(ctl->client, i, RPC_Maintenance_Status, &status.base, &ctl->arena,
                           &response, &err) < 0)
            return ctl_fail_err(ctl, CTL_FAILED, &err);
        found = (const Etcdserverpb__StatusResponse *)response;
        leader = found->leader;
        if (found->header != NULL && found->header->member_id == leader)
            leader_at = i;
    }
    if (leader_at == SIZE_MAX)
        return ctl_bad_args("no leader endpoint given at [%s]", args_text(args, "endpoints"));
    if (client_call_at(ctl->client, leader_at, RPC_Maintenance_MoveLeader, &request.base,
                       &ctl->arena, &response, &err) < 0)
        return ctl_fail_err(ctl, CTL_FAILED, &err);
    if (ctl->format != PRINT_SIMPLE)
        return ctl_show(ctl, response, NULL, show_header_fields);
    buf_printf(&ctl->out, "Leadership transferred from %" PRIx64 " to %" PRIx64 "\n", leader,
               request.targetid);
    return CTL_OK;
}
