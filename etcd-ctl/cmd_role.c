/* cmd_role.c - roles and their permissions; role_show() serves user get --detail too. */
#include "etcd-ctl/cmd_role.h"
#include "common/schema/pbbytes.h"

#include <strings.h>

static char *text_of(const struct args *args, size_t at)
{
    return (char *)(uintptr_t)args->words[at]; /* messages are only read */
}

static bool open_ended(ProtobufCBinaryData end)
{
    return end.len == 1 && end.data[0] == 0;
}

/* "foo", "[a, c)", "[/app/, /app0) (prefix /app/)" or "[k, <open ended>", as etcdctl
 * prints them. */
static void permission_text(struct ctl *ctl, const Authpb__Permission *permission)
{
    ProtobufCBinaryData key = permission->key, end = permission->range_end;
    struct buf *out = &ctl->out;

    buf_append_text(out, end.len > 0 ? "\t[" : "\t");
    buf_append(out, key.data, key.len);
    if (open_ended(end)) {
        buf_append_text(out, ", <open ended>");
    } else if (end.len > 0) {
        buf_append_text(out, ", ");
        buf_append(out, end.data, end.len);
        buf_append_byte(out, ')');
    }
    if (key.len > 0 && slice_equal(pb_slice(kv_prefix_end(ctl, key)), pb_slice(end))) {
        buf_append_text(out, " (prefix "); /* 0xff bytes alone: an open end is their prefix's */
        buf_append(out, key.data, key.len);
        buf_append_byte(out, ')');
    }
    buf_append_byte(out, '\n');
}

static void role_text(struct ctl *ctl, const char *name,
                      const Etcdserverpb__AuthRoleGetResponse *role)
{
    buf_printf(&ctl->out, "Role %s\nKV Read:\n", name);
    for (size_t i = 0; i < role->n_perm; i++)
        if (role->perm[i]->permtype != AUTHPB__PERMISSION__TYPE__WRITE)
            permission_text(ctl, role->perm[i]);
    buf_append_text(&ctl->out, "KV Write:\n");
    for (size_t i = 0; i < role->n_perm; i++)
        if (role->perm[i]->permtype != AUTHPB__PERMISSION__TYPE__READ)
            permission_text(ctl, role->perm[i]);
}

static int one_role(const struct args *args, const char *command)
{
    if (args->word_count == 1)
        return CTL_OK;
    return ctl_bad_args("role %s command requires role name as its argument", command);
}

int cmd_role_add(struct ctl *ctl, const struct args *args)
{
    Etcdserverpb__AuthRoleAddRequest request;
    ProtobufCMessage *response = NULL;
    int code = one_role(args, "add");

    if (code != CTL_OK)
        return code;
    etcdserverpb__auth_role_add_request__init(&request);
    request.name = text_of(args, 0);
    code = ctl_call(ctl, RPC_Auth_RoleAdd, &request.base, &response, CTL_FAILED);
    if (code != CTL_OK || ctl->format != PRINT_SIMPLE)
        return code != CTL_OK ? code : ctl_show(ctl, response, NULL, show_header_fields);
    buf_printf(&ctl->out, "Role %s created\n", request.name);
    return CTL_OK;
}

int cmd_role_delete(struct ctl *ctl, const struct args *args)
{
    Etcdserverpb__AuthRoleDeleteRequest request;
    ProtobufCMessage *response = NULL;
    int code = one_role(args, "delete");

    if (code != CTL_OK)
        return code;
    etcdserverpb__auth_role_delete_request__init(&request);
    request.role = text_of(args, 0);
    code = ctl_call(ctl, RPC_Auth_RoleDelete, &request.base, &response, CTL_FAILED);
    if (code != CTL_OK || ctl->format != PRINT_SIMPLE)
        return code != CTL_OK ? code : ctl_show(ctl, response, NULL, show_header_fields);
    buf_printf(&ctl->out, "Role %s deleted\n", request.role);
    return CTL_OK;
}

static void show_role_fields(struct ctl *ctl, const ProtobufCMessage *response)
{
    static const char *const kinds[] = {"READ", "WRITE", "READWRITE"};
    const Etcdserverpb__AuthRoleGetResponse *role =
        (const Etcdserverpb__AuthRoleGetResponse *)response;

    show_header(&ctl->out, role->header);
    for (size_t i = 0; i < role->n_perm; i++) {
        const Authpb__Permission *permission = role->perm[i];
        unsigned kind = (unsigned)permission->permtype;

        buf_printf(&ctl->out, "\"PermType\" :  %s\n",
                   kind < ARRAY_LEN(kinds) ? kinds[kind] : "UNKNOWN");
        print_field_text(&ctl->out, "Key", pb_slice(permission->key));
        print_field_text(&ctl->out, "RangeEnd", pb_slice(permission->range_end));
    }
}

int role_show(struct ctl *ctl, const char *name, const ProtobufCMessage *response)
{
    if (ctl->format != PRINT_SIMPLE)
        return ctl_show(ctl, response, NULL, show_role_fields);
    role_text(ctl, name, (const Etcdserverpb__AuthRoleGetResponse *)response);
    return CTL_OK;
}

int cmd_role_get(struct ctl *ctl, const struct args *args)
{
    Etcdserverpb__AuthRoleGetRequest request;
    ProtobufCMessage *response = NULL;
    int code = one_role(args, "get");

    if (code != CTL_OK)
        return code;
    etcdserverpb__auth_role_get_request__init(&request);
    request.role = text_of(args, 0);
    code = ctl_call(ctl, RPC_Auth_RoleGet, &request.base, &response, CTL_FAILED);
    return code != CTL_OK ? code : role_show(ctl, request.role, response);
}

static void show_roles(struct ctl *ctl, const ProtobufCMessage *response)
{
    const Etcdserverpb__AuthRoleListResponse *list =
        (const Etcdserverpb__AuthRoleListResponse *)response;

    for (size_t i = 0; i < list->n_roles; i++)
        buf_printf(&ctl->out, "%s\n", list->roles[i]);
}

static void show_roles_fields(struct ctl *ctl, const ProtobufCMessage *response)
{
    const Etcdserverpb__AuthRoleListResponse *list =
        (const Etcdserverpb__AuthRoleListResponse *)response;

    show_header(&ctl->out, list->header);
    buf_append_text(&ctl->out, "\"Roles\" :");
    for (size_t i = 0; i < list->n_roles; i++) {
        buf_append_byte(&ctl->out, ' ');
        print_quoted(&ctl->out, slice_text(list->roles[i]));
    }
    buf_append_byte(&ctl->out, '\n');
}

int cmd_role_list(struct ctl *ctl, const struct args *args)
{
    Etcdserverpb__AuthRoleListRequest request;
    ProtobufCMessage *response = NULL;
    int code;

    if (args->word_count != 0)
        return ctl_bad_args("role list command requires no arguments");
    etcdserverpb__auth_role_list_request__init(&request);
    code = ctl_call(ctl, RPC_Auth_RoleList, &request.base, &response, CTL_FAILED);
    return code != CTL_OK ? code : ctl_show(ctl, response, show_roles, show_roles_fields);
}

/* KEY [END] [--prefix] [--from-key], from word `at` on. */
static int permission_range(struct ctl *ctl, const struct args *args, size_t at,
                            ProtobufCBinaryData *key, ProtobufCBinaryData *end)
{
    bool prefix = args_bool(args, "prefix"), from = args_bool(args, "from-key");
    static const char zero[1] = {0};

    if (prefix && from)
        return ctl_bad_args("--from-key and --prefix flags are mutually exclusive");
    if (args->word_count > at + 1 && (prefix || from))
        return ctl_bad_args("unexpected endkey argument with --%s flag",
                            prefix ? "prefix" : "from-key");
    *key = pb_text(args->words[at]);
    if (args->word_count > at + 1)
        *end = pb_text(args->words[at + 1]);
    if (key->len == 0) /* the first key there can be */
        *key = (ProtobufCBinaryData){.len = 1, .data = (uint8_t *)(uintptr_t)zero};
    if (from || (prefix && key->len == 1 && key->data[0] == 0))
        *end = (ProtobufCBinaryData){.len = 1, .data = (uint8_t *)(uintptr_t)zero};
    else if (prefix)
        *end = kv_prefix_end(ctl, *key);
    return CTL_OK;
}

static int permission_kind(const char *text, Authpb__Permission__Type *kind)
{
    if (strcasecmp(text, "read") == 0)
        *kind = AUTHPB__PERMISSION__TYPE__READ;
    else if (strcasecmp(text, "write") == 0)
        *kind = AUTHPB__PERMISSION__TYPE__WRITE;
    else if (strcasecmp(text, "readwrite") == 0)
        *kind = AUTHPB__PERMISSION__TYPE__READWRITE;
    else
        return ctl_bad_args("invalid permission type: %s (read, write or readwrite)", text);
    return CTL_OK;
}

int cmd_role_grant_permission(struct ctl *ctl, const struct args *args)
{
    Etcdserverpb__AuthRoleGrantPermissionRequest request;
    Authpb__Permission permission;
    ProtobufCMessage *response = NULL;
    int code;

    if (args->word_count < 3 || args->word_count > 4)
        return ctl_bad_args("role grant-permission command requires role name, permission type, "
                            "and key [endkey] as its argument");
    etcdserverpb__auth_role_grant_permission_request__init(&request);
    authpb__permission__init(&permission);
    request.name = text_of(args, 0);
    request.perm = &permission;
    code = permission_kind(args->words[1], &permission.permtype);
    if (code == CTL_OK)
        code = permission_range(ctl, args, 2, &permission.key, &permission.range_end);
    if (code == CTL_OK)
        code = ctl_call(ctl, RPC_Auth_RoleGrantPermission, &request.base, &response, CTL_FAILED);
    if (code != CTL_OK || ctl->format != PRINT_SIMPLE)
        return code != CTL_OK ? code : ctl_show(ctl, response, NULL, show_header_fields);
    buf_printf(&ctl->out, "Role %s updated\n", request.name);
    return CTL_OK;
}

int cmd_role_revoke_permission(struct ctl *ctl, const struct args *args)
{
    Etcdserverpb__AuthRoleRevokePermissionRequest request;
    ProtobufCMessage *response = NULL;
    struct buf *out = &ctl->out;
    int code;

    if (args->word_count < 2 || args->word_count > 3)
        return ctl_bad_args("role revoke-permission command requires role name and key [endkey] as "
                            "its argument");
    etcdserverpb__auth_role_revoke_permission_request__init(&request);
    request.role = text_of(args, 0);
    code = permission_range(ctl, args, 1, &request.key, &request.range_end);
    if (code == CTL_OK)
        code = ctl_call(ctl, RPC_Auth_RoleRevokePermission, &request.base, &response, CTL_FAILED);
    if (code != CTL_OK || ctl->format != PRINT_SIMPLE)
        return code != CTL_OK ? code : ctl_show(ctl, response, NULL, show_header_fields);
    buf_append_text(out,
                    request.range_end.len == 0 ? "Permission of key " : "Permission of range [");
    buf_append_text(out, args->words[1]); /* as it was typed */
    if (open_ended(request.range_end)) {
        buf_append_text(out, ", <open ended>");
    } else if (request.range_end.len > 0) {
        buf_append_text(out, ", ");
        buf_append(out, request.range_end.data, request.range_end.len);
        buf_append_byte(out, ')');
    }
    buf_printf(out, " is revoked from role %s\n", request.role);
    return CTL_OK;
}
