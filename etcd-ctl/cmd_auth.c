/* cmd_auth.c - auth enable, disable, status. */
#include "etcd-ctl/ctl.h"

static int no_arguments(const struct args *args)
{
    if (args->word_count == 0)
        return CTL_OK;
    return ctl_bad_args("%s command does not accept any arguments", args->command->words);
}

/* etcdctl makes the role root and gives it to the user root when the server misses it. */
static int add_root_role(struct ctl *ctl)
{
    Etcdserverpb__AuthRoleAddRequest add;
    Etcdserverpb__AuthUserGrantRoleRequest grant;
    ProtobufCMessage *response = NULL;
    char root[] = "root";
    struct err err = ERR_INIT;

    etcdserverpb__auth_role_add_request__init(&add);
    add.name = root;
    if (client_call(ctl->client, RPC_Auth_RoleAdd, &add.base, &ctl->arena, &response, &err) < 0 &&
        err.code != ERR_ROLE_ALREADY_EXIST)
        return ctl_fail_err(ctl, CTL_FAILED, &err);
    etcdserverpb__auth_user_grant_role_request__init(&grant);
    grant.user = root;
    grant.role = root;
    return ctl_call(ctl, RPC_Auth_UserGrantRole, &grant.base, &response, CTL_FAILED);
}

static void show_status(struct ctl *ctl, const ProtobufCMessage *response)
{
    const Etcdserverpb__AuthStatusResponse *status =
        (const Etcdserverpb__AuthStatusResponse *)response;

    buf_printf(&ctl->out, "Authentication Status: %s\nAuthRevision: %" PRIu64 "\n",
               status->enabled ? "true" : "false", status->authrevision);
}

int cmd_auth_enable(struct ctl *ctl, const struct args *args)
{
    Etcdserverpb__AuthEnableRequest request;
    ProtobufCMessage *response = NULL;
    struct err err = ERR_INIT;
    int code = no_arguments(args);

    if (code != CTL_OK)
        return code;
    etcdserverpb__auth_enable_request__init(&request);
    if (client_call(ctl->client, RPC_Auth_AuthEnable, &request.base, &ctl->arena, &response, &err) <
        0) {
        if (err.code != ERR_ROOT_ROLE_NOT_EXIST)
            return ctl_fail_err(ctl, CTL_FAILED, &err);
        code = add_root_role(ctl);
        if (code == CTL_OK)
            code = ctl_call(ctl, RPC_Auth_AuthEnable, &request.base, &response, CTL_FAILED);
        if (code != CTL_OK)
            return code;
    }
    buf_append_text(&ctl->out, "Authentication Enabled\n"); /* whatever the format */
    return CTL_OK;
}

int cmd_auth_disable(struct ctl *ctl, const struct args *args)
{
    Etcdserverpb__AuthDisableRequest request;
    ProtobufCMessage *response = NULL;
    int code = no_arguments(args);

    etcdserverpb__auth_disable_request__init(&request);
    if (code == CTL_OK)
        code = ctl_call(ctl, RPC_Auth_AuthDisable, &request.base, &response, CTL_FAILED);
    if (code == CTL_OK)
        buf_append_text(&ctl->out, "Authentication Disabled\n");
    return code;
}

int cmd_auth_status(struct ctl *ctl, const struct args *args)
{
    Etcdserverpb__AuthStatusRequest request;
    ProtobufCMessage *response = NULL;
    int code = no_arguments(args);

    etcdserverpb__auth_status_request__init(&request);
    if (code == CTL_OK)
        code = ctl_call(ctl, RPC_Auth_AuthStatus, &request.base, &response, CTL_FAILED);
    return code != CTL_OK ? code : ctl_show(ctl, response, show_status, NULL);
}
