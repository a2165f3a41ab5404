/* cmd_version.c - `version` and `completion SHELL`. */
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

int cmd_completion(const struct args *args, const char *const *arguments)
{
    (void)args;
    if (strcmp(arguments[0], "bash") != 0) {
        (void)fprintf(stderr, "Error: no completion for \"%s\"; there is one for bash\n",
                      arguments[0]);
        return EXIT_ERROR;
    }
    (void)fputs(
        "# bash completion for etcd-snap; load it with: source <(etcd-snap completion bash)\n"
        "_etcd_snap() {\n"
        "    local word=${COMP_WORDS[COMP_CWORD]}\n"
        "    case $word in\n"
        "    --*) COMPREPLY=($(compgen -W '",
        stdout);
    for (size_t i = 0; i < OPTIONS; i++)
        (void)printf("--%s ", option_rows[i].name);
    (void)fputs("' -- \"$word\")) ;;\n    *) COMPREPLY=($(compgen -f -W 'snapshot ", stdout);
    for (size_t i = 0; i < command_count; i++)
        (void)printf("%s ", commands[i].word);
    (void)fputs("' -- \"$word\")) ;;\n    esac\n}\ncomplete -o filenames -F _etcd_snap etcd-snap\n",
                stdout);
    return EXIT_OK;
}
