/* cmd_version.c - version. */
#include "common/base/level.h"
#include "etcd-ctl/ctl.h"

/* Scripts read these two lines, under whichever name they call the program: the words are
 * etcdctl's. */
int cmd_version(struct ctl *ctl, const struct args *args)
{
    (void)args;
    buf_append_text(&ctl->out,
                    "etcdctl version: " ETCD_LEVEL "\nAPI version: " ETCD_API_VERSION "\n");
    return CTL_OK;
}
