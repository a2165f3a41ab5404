/* cmd_role.h - a role in words, for role get and user get --detail. Thread: main. */
#ifndef ETCD_CTL_CMD_ROLE_H
#define ETCD_CTL_CMD_ROLE_H

#include "etcd-ctl/ctl.h"

void role_text(struct ctl *ctl, const char *name, const Etcdserverpb__AuthRoleGetResponse *role);

#endif
