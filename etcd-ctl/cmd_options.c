/* cmd_options.c - options: the global flags. */
#include "etcd-ctl/ctl.h"

int cmd_options(struct ctl *ctl, const struct args *args)
{
    if (args->word_count != 0)
        return ctl_bad_args("options takes no arguments, but \"%s\" was given", args->words[0]);
    args_help_globals(ctl->grammar, &ctl->out);
    return CTL_OK;
}
