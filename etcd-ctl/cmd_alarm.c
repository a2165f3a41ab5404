/* cmd_alarm.c - alarm list and disarm. */
#include "etcd-ctl/ctl.h"

static const char *alarm_name(Etcdserverpb__AlarmType alarm)
{
    return alarm == ETCDSERVERPB__ALARM_TYPE__NOSPACE   ? "NOSPACE"
           : alarm == ETCDSERVERPB__ALARM_TYPE__CORRUPT ? "CORRUPT"
                                                        : "NONE";
}

static void show_alarms(struct ctl *ctl, const ProtobufCMessage *response)
{
    const Etcdserverpb__AlarmResponse *list = (const Etcdserverpb__AlarmResponse *)response;

    for (size_t i = 0; i < list->n_alarms; i++)
        buf_printf(&ctl->out, "memberID:%" PRIu64 " alarm:%s \n", list->alarms[i]->memberid,
                   alarm_name(list->alarms[i]->alarm));
}

static void show_alarms_fields(struct ctl *ctl, const ProtobufCMessage *response)
{
    const Etcdserverpb__AlarmResponse *list = (const Etcdserverpb__AlarmResponse *)response;

    show_header(&ctl->out, list->header);
    for (size_t i = 0; i < list->n_alarms; i++) {
        print_field_u64(&ctl->out, "MemberID", list->alarms[i]->memberid);
        buf_printf(&ctl->out, "\"AlarmType\" : %s\n\n", alarm_name(list->alarms[i]->alarm));
    }
}

static int call_alarm(struct ctl *ctl, Etcdserverpb__AlarmRequest__AlarmAction action,
                      const Etcdserverpb__AlarmMember *alarm,
                      const Etcdserverpb__AlarmResponse **found)
{
    Etcdserverpb__AlarmRequest request;
    ProtobufCMessage *response = NULL;
    int code;

    etcdserverpb__alarm_request__init(&request);
    request.action = action;
    if (alarm != NULL) {
        request.memberid = alarm->memberid;
        request.alarm = alarm->alarm;
    }
    code = ctl_call(ctl, RPC_Maintenance_Alarm, &request.base, &response, CTL_FAILED);
    *found = (const Etcdserverpb__AlarmResponse *)response;
    return code;
}

int cmd_alarm_list(struct ctl *ctl, const struct args *args)
{
    const Etcdserverpb__AlarmResponse *found;
    int code;

    if (args->word_count != 0)
        return ctl_bad_args("alarm list command accepts no arguments");
    code = call_alarm(ctl, ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__GET, NULL, &found);
    return code != CTL_OK ? code : ctl_show(ctl, &found->base, show_alarms, show_alarms_fields);
}

int cmd_alarm_disarm(struct ctl *ctl, const struct args *args)
{
    const Etcdserverpb__AlarmResponse *found, *gone;
    Etcdserverpb__AlarmResponse all;
    int code;

    if (args->word_count != 0)
        return ctl_bad_args("alarm disarm command accepts no arguments");
    code = call_alarm(ctl, ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__GET, NULL, &found);
    if (code != CTL_OK)
        return code;
    etcdserverpb__alarm_response__init(&all); /* no header: this sums up several answers */
    all.alarms = arena_alloc(&ctl->arena, (found->n_alarms + 1) * sizeof(*all.alarms));
    must(all.alarms != NULL);
    for (size_t i = 0; i < found->n_alarms; i++) {
        code = call_alarm(ctl, ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE,
                          found->alarms[i], &gone);
        if (code != CTL_OK)
            return code;
        if (gone->n_alarms > 0)
            all.alarms[all.n_alarms++] = gone->alarms[0];
    }
    return ctl_show(ctl, &all.base, show_alarms, show_alarms_fields);
}
