/* args_help.c - the help texts of etcd-ctl, printed from the tables. */
#include "etcd-ctl/args.h"

#include <stdio.h>

static void help_flags(const struct flag *flags, size_t count, struct buf *out)
{
    static const char *const values[] = {[FLAG_BOOL] = "",
                                         [FLAG_TEXT] = "=TEXT",
                                         [FLAG_LIST] = "=LIST",
                                         [FLAG_INT] = "=N",
                                         [FLAG_DURATION] = "=DURATION"};

    for (size_t i = 0; i < count; i++) {
        char left[64];

        (void)snprintf(left, sizeof(left), "--%s%s", flags[i].name, values[flags[i].type]);
        if (flags[i].letter != 0)
            buf_printf(out, "  -%c, %-32s %s", flags[i].letter, left, flags[i].help);
        else
            buf_printf(out, "      %-32s %s", left, flags[i].help);
        if (flags[i].fallback[0] != '\0')
            buf_printf(out, " (default %s)", flags[i].fallback);
        buf_append_byte(out, '\n');
    }
}

static bool in_topic(const char *words, const char *topic)
{
    size_t group = strcspn(topic, " "), length = strlen(topic);

    if (length == 0 || strcmp(words, topic) == 0)
        return true;
    return topic[group] == '\0' && strncmp(words, topic, group) == 0 && words[group] == ' ';
}

static const struct command *exact(const struct grammar *grammar, const char *topic)
{
    for (size_t i = 0; i < grammar->command_count; i++)
        if (strcmp(grammar->commands[i].words, topic) == 0)
            return &grammar->commands[i];
    return NULL;
}

void args_help_globals(const struct grammar *grammar, struct buf *out)
{
    buf_append_text(out, "Global flags (each also as variable, --dial-timeout as "
                         "ETCDCTL_DIAL_TIMEOUT):\n");
    help_flags(grammar->globals, grammar->global_count, out);
}

void args_help(const struct grammar *grammar, const char *program, const char *topic,
               struct buf *out)
{
    const struct command *command = exact(grammar, topic);
    char group[64];

    if (command != NULL) {
        buf_printf(out, "%s %s - %s\n\nUsage: %s %s [flags] %s\n", program, topic, command->help,
                   program, topic, command->arguments);
        if (command->flag_count > 0)
            buf_append_text(out, "\nFlags:\n");
        help_flags(command->flags, command->flag_count, out);
    } else {
        (void)snprintf(group, sizeof(group), "%s", topic);
        buf_printf(out,
                   "%s " SUITE_VERSION
                   " - client of an etcd v3 server\n\nUsage: %s [flags] COMMAND [flags] "
                   "[arguments]\n\nCommands:\n",
                   program, program);
        for (size_t i = 0; i < grammar->command_count; i++) {
            const struct command *each = &grammar->commands[i];

            if (in_topic(each->words, group))
                buf_printf(out, "  %-24s %s\n", each->words, each->help);
        }
    }
    buf_append_byte(out, '\n');
    args_help_globals(grammar, out);
}
