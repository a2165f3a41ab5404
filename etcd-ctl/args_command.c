/*
 * args_command.c - the first walk over the words: which command do they mean? To pass over flags it
 * must know which of them take the next word, so it looks them up in all tables.
 *
 *   leading words -> a group by its first word, or the beginning of one -> the command in it
 *                 -> none: what may have been meant
 */
#include "etcd-ctl/args_internal.h"

#include <stdio.h>

/* ---- tables ---- */

static const struct flag *find_flag(const struct flag *flags, size_t count, const char *name,
                                    size_t length)
{
    for (size_t i = 0; i < count; i++)
        if (args_is(flags[i].name, name, length))
            return &flags[i];
    return NULL;
}

/* In the globals, else in any command: enough to know whether it takes a value. */
static const struct flag *find_anywhere(const struct grammar *grammar, const char *name,
                                        size_t length)
{
    const struct flag *flag = find_flag(grammar->globals, grammar->global_count, name, length);

    for (size_t i = 0; flag == NULL && i < grammar->command_count; i++)
        flag = find_flag(grammar->commands[i].flags, grammar->commands[i].flag_count, name, length);
    return flag;
}

static const struct flag *find_letter(const struct grammar *grammar, char letter)
{
    for (size_t i = 0; i < grammar->global_count; i++)
        if (grammar->globals[i].letter == letter)
            return &grammar->globals[i];
    for (size_t i = 0; i < grammar->command_count; i++)
        for (size_t j = 0; j < grammar->commands[i].flag_count; j++)
            if (grammar->commands[i].flags[j].letter == letter)
                return &grammar->commands[i].flags[j];
    return NULL;
}

/* ---- words ---- */

static size_t first_word(const struct command *command)
{
    return strcspn(command->words, " ");
}

/* Is `word` the beginning (or all, then *exact) of the first word of the command? */
static bool begins(const struct command *command, const char *word, bool *exact)
{
    size_t length = strlen(word);

    *exact = length == first_word(command);
    return length > 0 && length <= first_word(command) && memcmp(command->words, word, length) == 0;
}

/* Any command whose first word `word` means; NULL when none or several do. */
static const struct command *find_group(const struct grammar *grammar, const char *word)
{
    const struct command *found = NULL;

    for (size_t i = 0; i < grammar->command_count; i++) {
        const struct command *command = &grammar->commands[i];
        bool exact;

        if (!begins(command, word, &exact))
            continue;
        if (exact)
            return command;
        if (found != NULL && (first_word(found) != first_word(command) ||
                              memcmp(found->words, command->words, first_word(found)) != 0))
            return NULL;
        found = command;
    }
    return found;
}

/* A flag with a value in one command and none in another (--prefix) takes what is no command. */
static bool may_take(const struct grammar *grammar, const char *name, const char *next)
{
    for (size_t i = 0; i < grammar->command_count; i++) {
        const struct command *command = &grammar->commands[i];

        for (size_t j = 0; j < command->flag_count; j++)
            if (strcmp(command->flags[j].name, name) == 0 && command->flags[j].type != FLAG_BOOL)
                return next != NULL && next[0] != '-' && find_group(grammar, next) == NULL;
    }
    return false;
}

/* Does the flag at `text` take the next word? Unknown ones do not. */
static bool takes_next(const struct grammar *grammar, const char *text, const char *next)
{
    const struct flag *flag;
    const char *today;

    if (text[1] != '-') {
        char old[3] = {'-', text[1], '\0'};

        today = args_alias(grammar, old, 2);
        flag = today != NULL ? find_anywhere(grammar, today, strlen(today))
                             : find_letter(grammar, text[1]);
        return flag != NULL && flag->type != FLAG_BOOL && text[2] == '\0';
    }
    if (strchr(text, '=') != NULL)
        return false;
    today = args_alias(grammar, text + 2, strlen(text + 2));
    flag = find_anywhere(grammar, today != NULL ? today : text + 2,
                         strlen(today != NULL ? today : text + 2));
    if (flag != NULL && flag->type == FLAG_BOOL)
        return may_take(grammar, flag->name, next);
    return flag != NULL;
}

/* The first two words that are neither flags nor their values; blank ones are dropped. */
static size_t leading_words(struct args_walk *walk, const char *words[2], bool *help)
{
    size_t count = 0;

    for (size_t i = 0; i < walk->count; i++) {
        const char *text = walk->texts[i];

        if (strcmp(text, "--") == 0)
            break;
        if (strcmp(text, "-h") == 0 || strcmp(text, "--help") == 0)
            *help = true;
        else if (text[0] == '-' && text[1] != '\0')
            i += takes_next(walk->grammar, text, i + 1 < walk->count ? walk->texts[i + 1] : NULL);
        else if (count == 0 && args_blank(text))
            buf_append_text(&walk->args->notes, "note: an empty word before the command was "
                                                "dropped (a blank after a backslash at the end of "
                                                "a line?)\n");
        else if (count < 2)
            words[count++] = text;
    }
    return count;
}

static const struct command *find_sub(const struct grammar *grammar, const struct command *group,
                                      const char *word)
{
    size_t length = first_word(group) + 1, have = strlen(word);
    const struct command *found = NULL;

    for (size_t i = 0; i < grammar->command_count; i++) {
        const struct command *command = &grammar->commands[i];
        const char *sub = command->words + length;

        if (strncmp(command->words, group->words, length) != 0 || strncmp(sub, word, have) != 0 ||
            have == 0)
            continue;
        if (sub[have] == '\0')
            return command;
        if (found != NULL)
            return NULL;
        found = command;
    }
    return found;
}

static size_t distance(const char *a, const char *b)
{
    size_t row[NAME_MAX_BYTES + 1], lb = MIN(strlen(b), NAME_MAX_BYTES);

    for (size_t j = 0; j <= lb; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        size_t corner = row[0];

        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            size_t above = row[j];

            row[j] = MIN(MIN(row[j] + 1, row[j - 1] + 1), corner + (a[i - 1] != b[j - 1]));
            corner = above;
        }
    }
    return row[lb];
}

static void suggest(const struct grammar *grammar, const char *word, char *hint, size_t bytes)
{
    struct buf names = BUF_INIT(bytes / 2);
    const char *last = "";

    for (size_t i = 0; i < grammar->command_count; i++) {
        char name[NAME_MAX_BYTES];

        (void)snprintf(name, sizeof(name), "%.*s", (int)first_word(&grammar->commands[i]),
                       grammar->commands[i].words);
        if (strncmp(last, name, strlen(name)) == 0 && last[strcspn(last, " ")] != '\0')
            continue;
        if (strncmp(name, word, strlen(word)) == 0 || distance(name, word) <= 2)
            buf_printf(&names, "%s%s", buf_used(&names) > 0 ? ", " : "", name);
        last = grammar->commands[i].words;
    }
    if (buf_used(&names) > 0)
        (void)snprintf(hint, bytes, "Did you mean: %s?", buf_text(&names));
    else
        (void)snprintf(hint, bytes, "Run 'etcd-ctl --help' for the list of commands.");
    buf_free(&names);
}

static enum args_outcome unknown_command(struct args_walk *walk, const char *word)
{
    const struct grammar *grammar = walk->grammar;
    struct args *args = walk->args;

    err_set(walk->err, ERR_USAGE, "unknown command \"%.200s\" for \"etcd-ctl\"", word);
    suggest(grammar, word, args->hint, sizeof(args->hint));
    for (size_t i = 0; i < grammar->old_word_count; i++)
        if (strcmp(grammar->old_words[i].word, word) == 0)
            (void)snprintf(args->hint, sizeof(args->hint), "In v3 it is: etcd-ctl %s",
                           grammar->old_words[i].hint);
    return ARGS_WRONG;
}

enum args_outcome args_help_on(struct args *args, const char *topic, size_t length)
{
    length = MIN(MIN(length, strlen(topic)), sizeof(args->topic) - 1);
    memcpy(args->topic, topic, length); /* zeroed before */
    return ARGS_HELP;
}

enum args_outcome args_choose(struct args_walk *walk, size_t *used, bool *help)
{
    const struct grammar *grammar = walk->grammar;
    const char *words[2] = {NULL, NULL};
    size_t count = leading_words(walk, words, help), from = 0;
    const struct command *group;

    if (count > 0 && strcmp(words[0], "help") == 0) {
        *help = true;
        from = 1;
    }
    if (count == from)
        return args_help_on(walk->args, "", 0);
    group = find_group(grammar, words[from]);
    if (group == NULL)
        return unknown_command(walk, words[from]);
    *used = 1;
    if (group->words[first_word(group)] == '\0') {
        walk->args->command = group;
    } else {
        if (count > from + 1)
            walk->args->command = find_sub(grammar, group, words[from + 1]);
        if (walk->args->command == NULL)
            return args_help_on(walk->args, group->words, first_word(group));
        *used = 2;
    }
    return from == 1 ? args_help_on(walk->args, walk->args->command->words, SIZE_MAX) : ARGS_RUN;
}
