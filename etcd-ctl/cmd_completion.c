/*
 * cmd_completion.c - completion bash | fish | powershell | zsh: scripts made from the tables. They
 * complete command words, words of groups and flags; values are left to the shell.
 */
#include "etcd-ctl/ctl.h"

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
                         "complete -o default -F _etcd_ctl etcd-ctl etcdctl\n");
}

static int refuse_words(const struct args *args)
{
    return ctl_bad_args("%s takes no arguments, but \"%s\" was given", args->command->words,
                        args->words[0]);
}

int cmd_completion_bash(struct ctl *ctl, const struct args *args)
{
    if (args->word_count != 0)
        return refuse_words(args);
    bash(ctl->grammar, &ctl->out);
    return CTL_OK;
}

/* zsh understands bash's ways when asked to. */
int cmd_completion_zsh(struct ctl *ctl, const struct args *args)
{
    if (args->word_count != 0)
        return refuse_words(args);
    buf_append_text(&ctl->out, "#compdef etcd-ctl etcdctl\nautoload -U +X bashcompinit\n"
                               "bashcompinit\n");
    bash(ctl->grammar, &ctl->out);
    return CTL_OK;
}

/* ---- fish ---- */

/* In single quotes: only the quote and the backslash are special. */
static void fish_quoted(const char *text, struct buf *out)
{
    buf_append_byte(out, '\'');
    for (; *text != '\0'; text++) {
        if (*text == '\'' || *text == '\\')
            buf_append_byte(out, '\\');
        buf_append_byte(out, (uint8_t)*text);
    }
    buf_append_byte(out, '\'');
}

static void fish_line(const char *condition, const char *what, const char *help, struct buf *out)
{
    buf_append_text(out, "complete -c etcd-ctl");
    if (condition[0] != '\0') {
        buf_append_text(out, " -n ");
        fish_quoted(condition, out);
    }
    buf_append_text(out, what);
    if (help != NULL) {
        buf_append_text(out, " -d ");
        fish_quoted(help, out);
    }
    buf_append_byte(out, '\n');
}

static void fish_flags(const char *condition, const struct flag *flags, size_t count,
                       bool descriptions, struct buf *out)
{
    for (size_t i = 0; i < count; i++) {
        char *what = xasprintf(" -l %s%s", flags[i].name, flags[i].type == FLAG_BOOL ? "" : " -r");

        fish_line(condition, what, descriptions ? flags[i].help : NULL, out);
        free(what);
    }
}

static void fish_command(const struct command *command, bool first, bool descriptions,
                         struct buf *out)
{
    size_t group = strcspn(command->words, " ");
    const char *second = command->words[group] != '\0' ? command->words + group + 1 : NULL;
    char *word = xasprintf(" -f -a %s", second != NULL ? second : command->words);
    char *condition =
        second != NULL ? xasprintf("__fish_seen_subcommand_from %.*s", (int)group, command->words)
                       : xstrdup("__fish_use_subcommand");
    char *there =
        xasprintf("__fish_seen_subcommand_from %s", second != NULL ? second : command->words);

    if (first && second != NULL) {
        char *opening = xasprintf(" -f -a %.*s", (int)group, command->words);

        fish_line("__fish_use_subcommand", opening, NULL, out);
        free(opening);
    }
    fish_line(condition, word, descriptions ? command->help : NULL, out);
    fish_flags(there, command->flags, command->flag_count, descriptions, out);
    free(word);
    free(condition);
    free(there);
}

int cmd_completion_fish(struct ctl *ctl, const struct args *args)
{
    const struct grammar *grammar = ctl->grammar;
    bool descriptions = !args_bool(args, "no-descriptions");

    if (args->word_count != 0)
        return refuse_words(args);
    for (size_t i = 0; i < grammar->command_count; i++)
        fish_command(&grammar->commands[i], opens_group(grammar, i), descriptions, &ctl->out);
    fish_flags("", grammar->globals, grammar->global_count, descriptions, &ctl->out);
    buf_append_text(&ctl->out, "complete -c etcdctl -w etcd-ctl\n");
    return CTL_OK;
}

/* ---- PowerShell ---- */

int cmd_completion_powershell(struct ctl *ctl, const struct args *args)
{
    const struct grammar *grammar = ctl->grammar;
    struct buf *out = &ctl->out;

    if (args->word_count != 0)
        return refuse_words(args);
    buf_append_text(out, "Register-ArgumentCompleter -Native -CommandName etcd-ctl, etcdctl "
                         "-ScriptBlock {\n"
                         "    param($word, $ast, $position)\n    $words = '");
    first_words(grammar, out);
    buf_append_text(out, "help' -split ' '\n"
                         "    foreach ($element in $ast.CommandElements) {\n"
                         "        switch ($element.ToString()) {\n");
    for (size_t i = 0; i < grammar->command_count; i++) {
        const char *words = grammar->commands[i].words;
        size_t length = strcspn(words, " ");

        if (!opens_group(grammar, i))
            continue;
        buf_printf(out, "            '%.*s' { $words = '", (int)length, words);
        for (size_t j = i; words[length] != '\0' && j < grammar->command_count; j++)
            if (strncmp(grammar->commands[j].words, words, length + 1) == 0)
                buf_printf(out, "%s ", grammar->commands[j].words + length + 1);
        buf_append_text(out, "' -split ' ' }\n");
    }
    buf_append_text(out, "        }\n    }\n    if ($word -like '-*') { $words = '");
    for (size_t i = 0; i < grammar->global_count; i++)
        buf_printf(out, "--%s ", grammar->globals[i].name);
    buf_append_text(out, "--help' -split ' ' }\n"
                         "    $words | Where-Object { $_ -and $_ -like \"$word*\" }\n}\n");
    return CTL_OK;
}
