/* cmd_misc.c - version and completion: what needs no server. */
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

/* Is command `at` the first of its first word? Those of a group stand together in the table. */
static bool opens_group(const struct grammar *grammar, size_t at)
{
    const char *words = grammar->commands[at].words;
    size_t length = strcspn(words, " ");

    return at == 0 || strcspn(grammar->commands[at - 1].words, " ") != length ||
           strncmp(grammar->commands[at - 1].words, words, length) != 0;
}

static void first_words(const struct grammar *grammar, struct buf *out)
{
    for (size_t i = 0; i < grammar->command_count; i++)
        if (opens_group(grammar, i))
            buf_printf(out, "%.*s ", (int)strcspn(grammar->commands[i].words, " "),
                       grammar->commands[i].words);
}

/* bash: global flags, first words, and the second words of groups, all from the tables. */
static void bash(const struct grammar *grammar, struct buf *out)
{
    buf_append_text(out, "_etcd_ctl()\n{\n    local cur=${COMP_WORDS[COMP_CWORD]} words=\"");
    first_words(grammar, out);
    buf_append_text(out, "help\" w\n    for w in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
                         "        case $w in\n");
    for (size_t i = 0; i < grammar->command_count; i++) {
        const char *words = grammar->commands[i].words;
        size_t length = strcspn(words, " ");

        if (!opens_group(grammar, i))
            continue;
        buf_printf(out, "        %.*s) words=\"", (int)length, words);
        for (size_t j = i; words[length] != '\0' && j < grammar->command_count; j++)
            if (strncmp(grammar->commands[j].words, words, length + 1) == 0)
                buf_printf(out, "%s ", grammar->commands[j].words + length + 1);
        buf_append_text(out, "\" ;;\n");
    }
    buf_append_text(out, "        esac\n    done\n    [[ $cur == -* ]] && words=\"");
    for (size_t i = 0; i < grammar->global_count; i++)
        buf_printf(out, "--%s ", grammar->globals[i].name);
    buf_append_text(out, "--help\"\n    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\n"
                         "complete -o default -F _etcd_ctl etcd-ctl\n");
}

int cmd_completion(struct ctl *ctl, const struct args *args)
{
    if (args->word_count != 1 || strcmp(args->words[0], "bash") != 0)
        return ctl_bad_args("completion command needs the name of a shell: bash");
    bash(ctl->grammar, &ctl->out);
    return CTL_OK;
}
