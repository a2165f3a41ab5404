/* cmd_downgrade.c - downgrade validate, enable, cancel (cli.md 2.6; etcdctl has them since 3.6). */
#include "etcd-ctl/ctl.h"

static void show(struct ctl *ctl, const ProtobufCMessage *response, const char *what)
{
    buf_printf(&ctl->out, "Downgrade %s success, cluster version %s\n", what,
               CONTAINER_OF(response, Etcdserverpb__DowngradeResponse, base)->version);
}

static void show_validate(struct ctl *ctl, const ProtobufCMessage *response)
{
    show(ctl, response, "validate");
}

static void show_enable(struct ctl *ctl, const ProtobufCMessage *response)
{
    show(ctl, response, "enable");
}

static void show_cancel(struct ctl *ctl, const ProtobufCMessage *response)
{
    show(ctl, response, "cancel");
}

static int downgrade(struct ctl *ctl, Etcdserverpb__DowngradeRequest__DowngradeAction action,
                     const char *version, ctl_show_fn *simple)
{
    Etcdserverpb__DowngradeRequest request = ETCDSERVERPB__DOWNGRADE_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    int code = CTL_OK;

    request.action = action;
    request.version = (char *)(uintptr_t)version;
    if (ctl->format == PRINT_TABLE || ctl->format == PRINT_FIELDS)
        return ctl_refuse_format(ctl); /* before anything is changed */
    code = ctl_call(ctl, RPC_Maintenance_Downgrade, &request.base, &response, CTL_FAILED);
    return code != CTL_OK ? code : ctl_show(ctl, response, simple, NULL);
}

static int one_version(const struct args *args)
{
    if (args->word_count == 0)
        return ctl_bad_args("TARGET_VERSION not provided");
    if (args->word_count > 1)
        return ctl_bad_args("too many arguments: one version such as 3.4 is enough");
    return CTL_OK;
}

int cmd_downgrade_validate(struct ctl *ctl, const struct args *args)
{
    int code = one_version(args);

    return code != CTL_OK
               ? code
               : downgrade(ctl, ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__VALIDATE,
                           args->words[0], show_validate);
}

int cmd_downgrade_enable(struct ctl *ctl, const struct args *args)
{
    int code = one_version(args);

    return code != CTL_OK
               ? code
               : downgrade(ctl, ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__ENABLE,
                           args->words[0], show_enable);
}

int cmd_downgrade_cancel(struct ctl *ctl, const struct args *args)
{
    if (args->word_count != 0)
        return ctl_bad_args("too many arguments: downgrade cancel takes none");
    return downgrade(ctl, ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__CANCEL, "",
                     show_cancel);
}
