/* cmd_user.c - users: add, delete, get, list, passwd, grant-role, revoke-role. */
#include "etcd-ctl/cmd_role.h"
#include "etcd-ctl/password.h"

#include <stdio.h>

static char *text_of(const struct args *args, size_t at)
{
    return (char *)(uintptr_t)args->words[at]; /* messages are only read */
}

/* The first word, which is what etcdctl takes; false: more follow. */
static bool keep_word(char *text)
{
    static const char blanks[] = " \t\r\n\v\f";
    size_t begin = strspn(text, blanks), bytes = strcspn(text + begin, blanks);
    size_t end = begin + bytes;
    bool all = text[end + strspn(text + end, blanks)] == '\0';

    memmove(text, text + begin, bytes);
    wipe(text + bytes, strlen(text + bytes));
    return all;
}

/* Ask for a new password: twice, or (interactive false) one line. */
static int new_password(const char *name, bool interactive, char **password)
{
    char *prompt, *again;
    bool same;

    if (!interactive) {
        *password = password_ask(NULL);
        if (!keep_word(*password))
            (void)fputs("note: the password is the first word of the line, as etcdctl takes it\n",
                        stderr);
        if ((*password)[0] != '\0')
            return CTL_OK;
        return ctl_bad_args("empty password: give one line on standard input");
    }
    prompt = xasprintf("Password of %s: ", name);
    *password = password_ask(prompt);
    free(prompt);
    if ((*password)[0] == '\0')
        return ctl_bad_args("empty password");
    prompt = xasprintf("Type password of %s again for confirmation: ", name);
    again = password_ask(prompt);
    free(prompt);
    same = strcmp(*password, again) == 0;
    free_secret(again);
    return same ? CTL_OK : ctl_bad_args("given passwords are different");
}

/* NAME:PASSWORD, --new-user-password, --no-password or a prompt; both owned by the caller. */
static int user_and_password(const struct args *args, char **name, char **password)
{
    const char *given = args_text(args, "new-user-password"), *colon = strchr(args->words[0], ':');

    *password = NULL;
    if (given[0] != '\0' || args_bool(args, "no-password"))
        colon = NULL;
    *name = colon != NULL ? xstrndup(args->words[0], (size_t)(colon - args->words[0]))
                          : xstrdup(args->words[0]);
    if ((*name)[0] == '\0')
        return ctl_bad_args("empty user name is not allowed");
    if (args_bool(args, "no-password"))
        *password = xstrdup("");
    else if (given[0] != '\0')
        *password = xstrdup(given);
    else if (colon != NULL)
        *password = xstrdup(colon + 1);
    else
        return new_password(*name, args_bool(args, "interactive"), password);
    return CTL_OK;
}

int cmd_user_add(struct ctl *ctl, const struct args *args)
{
    Etcdserverpb__AuthUserAddRequest request;
    Authpb__UserAddOptions options;
    ProtobufCMessage *response = NULL;
    char *name = NULL, *password = NULL;
    int code;

    if (args->word_count != 1)
        return ctl_bad_args("user add command requires user name as its argument");
    code = user_and_password(args, &name, &password);
    if (code == CTL_OK) {
        etcdserverpb__auth_user_add_request__init(&request);
        authpb__user_add_options__init(&options);
        options.no_password = args_bool(args, "no-password");
        request.name = name;
        request.password = password;
        request.options = &options;
        code = ctl_call(ctl, RPC_Auth_UserAdd, &request.base, &response, CTL_FAILED);
    }
    if (code == CTL_OK && ctl->format != PRINT_SIMPLE)
        code = ctl_show(ctl, response, NULL, show_header_fields);
    else if (code == CTL_OK)
        buf_printf(&ctl->out, "User %s created\n", name);
    free(name);
    free_secret(password);
    return code;
}

int cmd_user_passwd(struct ctl *ctl, const struct args *args)
{
    Etcdserverpb__AuthUserChangePasswordRequest request;
    ProtobufCMessage *response = NULL;
    char *password = NULL;
    int code;

    if (args->word_count != 1)
        return ctl_bad_args("user passwd command requires user name as its argument");
    code = new_password(args->words[0], args_bool(args, "interactive"), &password);
    if (code == CTL_OK) {
        etcdserverpb__auth_user_change_password_request__init(&request);
        request.name = text_of(args, 0);
        request.password = password;
        code = ctl_call(ctl, RPC_Auth_UserChangePassword, &request.base, &response, CTL_FAILED);
    }
    free_secret(password);
    if (code != CTL_OK || ctl->format != PRINT_SIMPLE)
        return code != CTL_OK ? code : ctl_show(ctl, response, NULL, show_header_fields);
    buf_append_text(&ctl->out, "Password updated\n");
    return CTL_OK;
}

int cmd_user_delete(struct ctl *ctl, const struct args *args)
{
    Etcdserverpb__AuthUserDeleteRequest request;
    ProtobufCMessage *response = NULL;
    int code;

    if (args->word_count != 1)
        return ctl_bad_args("user delete command requires user name as its argument");
    etcdserverpb__auth_user_delete_request__init(&request);
    request.name = text_of(args, 0);
    code = ctl_call(ctl, RPC_Auth_UserDelete, &request.base, &response, CTL_FAILED);
    if (code != CTL_OK || ctl->format != PRINT_SIMPLE)
        return code != CTL_OK ? code : ctl_show(ctl, response, NULL, show_header_fields);
    buf_printf(&ctl->out, "User %s deleted\n", request.name);
    return CTL_OK;
}

static int show_details(struct ctl *ctl, const Etcdserverpb__AuthUserGetResponse *user)
{
    for (size_t i = 0; i < user->n_roles; i++) {
        Etcdserverpb__AuthRoleGetRequest request;
        ProtobufCMessage *response = NULL;
        int code;

        etcdserverpb__auth_role_get_request__init(&request);
        request.role = user->roles[i];
        code = ctl_call(ctl, RPC_Auth_RoleGet, &request.base, &response, CTL_FAILED);
        if (code == CTL_OK) {
            buf_append_byte(&ctl->out, '\n');
            code = role_show(ctl, user->roles[i], response);
        }
        if (code != CTL_OK)
            return code;
    }
    return CTL_OK;
}

int cmd_user_get(struct ctl *ctl, const struct args *args)
{
    Etcdserverpb__AuthUserGetRequest request;
    const Etcdserverpb__AuthUserGetResponse *user;
    ProtobufCMessage *response = NULL;
    int code;

    if (args->word_count != 1)
        return ctl_bad_args("user get command requires user name as its argument");
    etcdserverpb__auth_user_get_request__init(&request);
    request.name = text_of(args, 0);
    code = ctl_call(ctl, RPC_Auth_UserGet, &request.base, &response, CTL_FAILED);
    if (code != CTL_OK || (ctl->format != PRINT_SIMPLE && !args_bool(args, "detail")))
        return code != CTL_OK ? code : ctl_show(ctl, response, NULL, NULL);
    user = (const Etcdserverpb__AuthUserGetResponse *)response;
    buf_printf(&ctl->out, "User: %s\n", request.name);
    if (args_bool(args, "detail")) /* in every format, as etcdctl does */
        return show_details(ctl, user);
    buf_append_text(&ctl->out, "Roles:");
    for (size_t i = 0; i < user->n_roles; i++)
        buf_printf(&ctl->out, " %s", user->roles[i]);
    buf_append_byte(&ctl->out, '\n');
    return CTL_OK;
}

static void show_users(struct ctl *ctl, const ProtobufCMessage *response)
{
    const Etcdserverpb__AuthUserListResponse *list =
        (const Etcdserverpb__AuthUserListResponse *)response;

    for (size_t i = 0; i < list->n_users; i++)
        buf_printf(&ctl->out, "%s\n", list->users[i]);
}

int cmd_user_list(struct ctl *ctl, const struct args *args)
{
    Etcdserverpb__AuthUserListRequest request;
    ProtobufCMessage *response = NULL;
    int code;

    if (args->word_count != 0)
        return ctl_bad_args("user list command requires no arguments");
    etcdserverpb__auth_user_list_request__init(&request);
    code = ctl_call(ctl, RPC_Auth_UserList, &request.base, &response, CTL_FAILED);
    return code != CTL_OK ? code : ctl_show(ctl, response, show_users, NULL);
}

int cmd_user_grant_role(struct ctl *ctl, const struct args *args)
{
    Etcdserverpb__AuthUserGrantRoleRequest request;
    ProtobufCMessage *response = NULL;
    int code;

    if (args->word_count != 2)
        return ctl_bad_args("user grant-role command requires user name and role name as its "
                            "argument");
    etcdserverpb__auth_user_grant_role_request__init(&request);
    request.user = text_of(args, 0);
    request.role = text_of(args, 1);
    code = ctl_call(ctl, RPC_Auth_UserGrantRole, &request.base, &response, CTL_FAILED);
    if (code != CTL_OK || ctl->format != PRINT_SIMPLE)
        return code != CTL_OK ? code : ctl_show(ctl, response, NULL, show_header_fields);
    buf_printf(&ctl->out, "Role %s is granted to user %s\n", request.role, request.user);
    return CTL_OK;
}

int cmd_user_revoke_role(struct ctl *ctl, const struct args *args)
{
    Etcdserverpb__AuthUserRevokeRoleRequest request;
    ProtobufCMessage *response = NULL;
    int code;

    if (args->word_count != 2)
        return ctl_bad_args("user revoke-role command requires user name and role name as its "
                            "argument");
    etcdserverpb__auth_user_revoke_role_request__init(&request);
    request.name = text_of(args, 0);
    request.role = text_of(args, 1);
    code = ctl_call(ctl, RPC_Auth_UserRevokeRole, &request.base, &response, CTL_FAILED);
    if (code != CTL_OK || ctl->format != PRINT_SIMPLE)
        return code != CTL_OK ? code : ctl_show(ctl, response, NULL, show_header_fields);
    buf_printf(&ctl->out, "Role %s is revoked from user %s\n", request.role, request.name);
    return CTL_OK;
}
