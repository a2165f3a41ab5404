/* cmd_completion.c - `completion SHELL`: scripts that complete commands, flags and file names. */
#include "etcd-snap/commands.h"

#include <stdio.h>

static void words(void)
{
    (void)fputs("snapshot ", stdout);
    for (size_t i = 0; i < command_count; i++)
        (void)printf("%s ", commands[i].word);
}

static void flags(void)
{
    for (size_t i = 0; i < OPTIONS; i++)
        (void)printf("--%s ", option_rows[i].name);
}

static void bash(void)
{
    (void)fputs("_etcd_snap() {\n"
                "    local word=${COMP_WORDS[COMP_CWORD]}\n"
                "    case $word in\n"
                "    --*) COMPREPLY=($(compgen -W '",
                stdout);
    flags();
    (void)fputs("' -- \"$word\")) ;;\n    *) COMPREPLY=($(compgen -f -W '", stdout);
    words();
    (void)fputs("' -- \"$word\")) ;;\n    esac\n}\n"
                "complete -o filenames -F _etcd_snap etcd-snap etcdutl\n",
                stdout);
}

/* zsh understands bash's ways when asked to. */
static void zsh(void)
{
    (void)fputs("#compdef etcd-snap etcdutl\nautoload -U +X bashcompinit\nbashcompinit\n", stdout);
    bash();
}

static void fish(void)
{
    (void)fputs("complete -c etcd-snap -n __fish_use_subcommand -a '", stdout);
    words();
    (void)fputs("'\n", stdout);
    for (size_t i = 0; i < OPTIONS; i++)
        (void)printf("complete -c etcd-snap -l %s%s\n", option_rows[i].name,
                     option_rows[i].kind == OPTION_BOOL ? "" : " -r");
    (void)fputs("complete -c etcdutl -w etcd-snap\n", stdout);
}

static void powershell(void)
{
    (void)fputs(
        "Register-ArgumentCompleter -Native -CommandName etcd-snap, etcdutl -ScriptBlock {\n"
        "    param($word, $ast, $position)\n"
        "    $words = if ($word -like '-*') { '",
        stdout);
    flags();
    (void)fputs("' } else { '", stdout);
    words();
    (void)fputs("' }\n    $words -split ' ' | Where-Object { $_ -and $_ -like \"$word*\" }\n}\n",
                stdout);
}

int cmd_completion(const struct args *args, const char *const *arguments)
{
    static const struct {
        const char *name;
        void (*print)(void);
    } shells[] = {{"bash", bash}, {"fish", fish}, {"powershell", powershell}, {"zsh", zsh}};

    (void)args;
    for (size_t i = 0; i < ARRAY_LEN(shells); i++) {
        if (strcmp(shells[i].name, arguments[0]) == 0) {
            shells[i].print();
            return EXIT_OK;
        }
    }
    (void)fprintf(stderr,
                  "Error: no completion for \"%s\"; there is one for bash, fish, powershell and "
                  "zsh\n",
                  arguments[0]);
    return EXIT_ERROR;
}
