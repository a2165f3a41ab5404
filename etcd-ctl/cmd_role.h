/* cmd_role.h - a role as it is shown, for role get and user get --detail. Thread: main. */
#ifndef ETCD_CTL_CMD_ROLE_H
#define ETCD_CTL_CMD_ROLE_H

#include "etcd-ctl/ctl.h"

/* RoleGet, in the format asked for. Returns an exit code. */
int role_show(struct ctl *ctl, const char *name, const ProtobufCMessage *response);

#endif
