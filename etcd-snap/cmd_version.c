/* cmd_version.c - `version`. */
#include "common/base/level.h"
#include "etcd-snap/commands.h"

#include <stdio.h>

/* Scripts read these two lines, under whichever name they call the program: the words are
 * etcdutl's. */
int cmd_version(const struct args *args, const char *const *arguments)
{
    (void)args;
    (void)arguments;
    (void)puts("etcdutl version: " ETCD_LEVEL "\nAPI version: " ETCD_API_VERSION);
    return EXIT_OK;
}
