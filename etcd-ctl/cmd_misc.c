/* cmd_misc.c - version and options: what needs no server. */
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

int cmd_options(struct ctl *ctl, const struct args *args)
{
    if (args->word_count != 0)
        return ctl_bad_args("options takes no arguments, but \"%s\" was given", args->words[0]);
    args_help_globals(ctl->grammar, &ctl->out);
    return CTL_OK;
}
