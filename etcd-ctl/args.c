/*
 * args.c - see args.h.
 *
 * Two walks over the words: the first finds the command (for that it must know which flags take the
 * next word, so it looks them up in all tables), the second reads flags and arguments for it.
 */
#include "etcd-ctl/args.h"

#include "common/base/bool.h"
#include "common/client/print.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#define NAME_MAX_BYTES 64 /* of a flag's or a variable's name */

/* ---- tables ---- */

static const struct flag *find_flag(const struct flag *flags, size_t count, const char *name,
                                    size_t length)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(flags[i].name) == length && memcmp(flags[i].name, name, length) == 0)
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

static const char *find_alias(const struct grammar *grammar, const char *old, size_t length)
{
    for (size_t i = 0; i < grammar->alias_count; i++)
        if (strlen(grammar->aliases[i].old) == length &&
            memcmp(grammar->aliases[i].old, old, length) == 0)
            return grammar->aliases[i].name;
    return NULL;
}

static bool blank(const char *text)
{
    return text[strspn(text, " \t\r\n")] == '\0';
}

/* The value table of `args`, by name. */
static struct flag_value *find_value(struct args *args, const char *name, size_t length)
{
    for (size_t i = 0; i < args->value_count; i++)
        if (strlen(args->values[i].flag->name) == length &&
            memcmp(args->values[i].flag->name, name, length) == 0)
            return &args->values[i];
    return NULL;
}

/* ---- values ---- */

static bool parse_int(const char *text, int64_t *number)
{
    char *end;
    long long value;

    errno = 0;
    value = strtoll(text, &end, 0);
    if (*text == '\0' || isspace((unsigned char)*text) || *end != '\0' || errno != 0)
        return false;
    *number = value;
    return true;
}

/* Give `value` its text; `what` names flag or variable. */
static bool set_value(struct flag_value *value, const char *what, const char *text, bool add,
                      struct err *err)
{
    static const char *const wants[] = {[FLAG_BOOL] = "true or false",
                                        [FLAG_TEXT] = "a text",
                                        [FLAG_LIST] = "a list",
                                        [FLAG_INT] = "a whole number",
                                        [FLAG_DURATION] = "a duration such as 500ms, 5s or 1m30s"};
    int64_t number = 0;
    bool good = true, yes = false;
    char *old = value->text;

    switch (value->flag->type) {
    case FLAG_BOOL:
        good = bool_parse(text, &yes);
        number = yes;
        break;
    case FLAG_INT:
        good = parse_int(text, &number);
        break;
    case FLAG_DURATION:
        good = duration_parse(text, &number) && number >= 0;
        break;
    case FLAG_TEXT:
    case FLAG_LIST:
        break;
    }
    if (!good) {
        err_set(err, ERR_USAGE, "invalid argument \"%s\" for \"%s\" flag: it takes %s", text, what,
                wants[value->flag->type]);
        return false;
    }
    value->number = number;
    value->text =
        add && value->flag->type == FLAG_LIST ? xasprintf("%s,%s", old, text) : xstrdup(text);
    free(old);
    return true;
}

static void add_values(struct args *args, const struct flag *flags, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct err err = ERR_INIT;
        struct flag_value *value = &args->values[args->value_count++];

        must(args->value_count <= ARGS_FLAGS_MAX);
        value->flag = &flags[i];
        if (flags[i].fallback[0] == '\0' && flags[i].type != FLAG_BOOL)
            value->text = xstrdup("");
        else
            must(set_value(value, flags[i].name,
                           flags[i].fallback[0] != '\0' ? flags[i].fallback : "false", false,
                           &err));
    }
}

/* ---- reading the words ---- */

struct walk {
    const struct grammar *grammar; /* NULL for a line of txn */
    struct args *args;
    const char *const *texts;
    size_t count, at;
    struct err *err;
};

static bool unknown_flag(struct walk *walk, const char *text)
{
    size_t length = strcspn(text, "=");

    err_set(walk->err, ERR_USAGE, "unknown flag: %.*s", (int)MIN(length, 200), text);
    (void)snprintf(walk->args->hint, sizeof(walk->args->hint),
                   "See etcd-ctl %s --help; a word that begins with a dash goes behind \"--\".",
                   walk->args->command != NULL ? walk->args->command->words : "");
    return false;
}

static bool missing_value(struct walk *walk, const char *text)
{
    err_set(walk->err, ERR_USAGE, "flag needs an argument: %s", text);
    return false;
}

/* "--transport-false" was meant as "--transport=false"; the shortened name, or 0. */
static size_t typo_of_bool(struct args *args, const char *name, size_t length, const char **value)
{
    static const char *const ends[] = {"-false", "-true"};

    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        size_t end = strlen(ends[i]);
        const struct flag_value *found;

        if (length <= end || memcmp(name + length - end, ends[i], end) != 0)
            continue;
        found = find_value(args, name, length - end);
        if (found != NULL && found->flag->type == FLAG_BOOL) {
            *value = ends[i] + 1;
            return length - end;
        }
    }
    return 0;
}

/* Look up "--name" in today's spelling, an old one, or a known typo. */
static struct flag_value *find_spelling(struct walk *walk, const char *name, size_t length,
                                        const char **value)
{
    struct args *args = walk->args;
    struct flag_value *found = find_value(args, name, length);
    const char *today;
    size_t shorter;

    if (found != NULL || walk->grammar == NULL)
        return found;
    today = find_alias(walk->grammar, name, length);
    if (today != NULL) {
        buf_printf(&args->notes, "note: --%.*s is understood as --%s\n", (int)length, name, today);
        return find_value(args, today, strlen(today));
    }
    shorter = typo_of_bool(args, name, length, value);
    if (shorter == 0)
        return NULL;
    buf_printf(&args->notes, "note: --%.*s is understood as --%.*s=%s\n", (int)length, name,
               (int)shorter, name, *value);
    return find_value(args, name, shorter);
}

/* "--key=A --key=B": B counts, and an error would name only that. Only files: no secrets here. */
static void note_repetition(struct args *args, const struct flag_value *value, const char *text)
{
    static const char *const files[] = {"cacert", "cert", "key"};

    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        if (value->given && strcmp(value->flag->name, files[i]) == 0 &&
            strcmp(value->text, text) != 0)
            buf_printf(&args->notes, "note: --%s is given more than once: %s counts, not %s\n",
                       files[i], text, value->text);
}

static bool long_flag(struct walk *walk)
{
    const char *text = walk->texts[walk->at], *name = text + 2, *equals = strchr(name, '=');
    size_t length = equals != NULL ? (size_t)(equals - name) : strlen(name);
    const char *value = equals != NULL ? equals + 1 : NULL;
    struct flag_value *found;
    char what[NAME_MAX_BYTES + 3];

    if (walk->grammar != NULL && length == strlen("no-sync") &&
        memcmp(name, "no-sync", length) == 0) {
        buf_append_text(&walk->args->notes, "note: --no-sync is not needed any more\n");
        return true;
    }
    found = find_spelling(walk, name, length, &value);
    if (found == NULL)
        return unknown_flag(walk, text);
    if (value == NULL && found->flag->type == FLAG_BOOL)
        value = "true";
    if (value == NULL && walk->at + 1 == walk->count)
        return missing_value(walk, text);
    if (value == NULL)
        value = walk->texts[++walk->at];
    (void)snprintf(what, sizeof(what), "--%s", found->flag->name);
    note_repetition(walk->args, found, value);
    if (!set_value(found, what, value, found->given, walk->err))
        return false;
    found->given = true;
    return true;
}

static struct flag_value *value_of_letter(struct args *args, char letter)
{
    for (size_t i = 0; i < args->value_count; i++)
        if (args->values[i].flag->letter == letter)
            return &args->values[i];
    return NULL;
}

/* "-w json", "-w=json", "-wjson", "-i"; several letters in one word when they are booleans. */
static bool short_flags(struct walk *walk)
{
    const char *text = walk->texts[walk->at];

    for (const char *letter = text + 1; *letter != '\0'; letter++) {
        char old[3] = {'-', *letter, '\0'}, what[NAME_MAX_BYTES + 8];
        const char *today = walk->grammar != NULL ? find_alias(walk->grammar, old, 2) : NULL;
        struct flag_value *found = today != NULL ? find_value(walk->args, today, strlen(today))
                                                 : value_of_letter(walk->args, *letter);
        const char *value = "true";

        if (found == NULL) {
            err_set(walk->err, ERR_USAGE, "unknown shorthand flag: '%c' in %s", *letter, text);
            (void)snprintf(walk->args->hint, sizeof(walk->args->hint),
                           "Long flags take two dashes; a word that begins with a dash goes behind "
                           "\"--\".");
            return false;
        }
        if (today != NULL)
            buf_printf(&walk->args->notes, "note: %s is understood as --%s\n", old, today);
        if (found->flag->type != FLAG_BOOL || letter[1] == '=') {
            if (letter[1] != '\0')
                value = letter + 1 + (letter[1] == '=');
            else if (walk->at + 1 < walk->count)
                value = walk->texts[++walk->at];
            else
                return missing_value(walk, text);
        }
        (void)snprintf(what, sizeof(what), "-%c, --%s", *letter, found->flag->name);
        if (!set_value(found, what, value, found->given, walk->err))
            return false;
        found->given = true;
        if (value != NULL && (found->flag->type != FLAG_BOOL || letter[1] == '='))
            break;
    }
    return true;
}

/* The second walk: `skip` words belong to the command. */
static bool read_words(struct walk *walk, size_t skip, bool *help)
{
    struct args *args = walk->args;
    bool only_words = false;

    args->words = xalloc((walk->count + 1) * sizeof(*args->words));
    args->dash_at = SIZE_MAX;
    for (walk->at = 0; walk->at < walk->count; walk->at++) {
        const char *text = walk->texts[walk->at];

        if (only_words || text[0] != '-' || text[1] == '\0') {
            if (skip > 0 && !only_words && blank(text))
                continue; /* noted in the first walk */
            if (skip > 0)
                skip--;
            else
                args->words[args->word_count++] = text;
        } else if (strcmp(text, "--") == 0) {
            only_words = true;
            args->dash_at = args->word_count;
            args->has_dash = true;
        } else if (strcmp(text, "--help") == 0 || strcmp(text, "-h") == 0) {
            *help = true;
        } else if (!(text[1] == '-' ? long_flag(walk) : short_flags(walk))) {
            return false;
        }
    }
    if (args->dash_at == SIZE_MAX)
        args->dash_at = args->word_count;
    return true;
}

/* ---- finding the command ---- */

/* Does the flag at `text` take the next word? Unknown ones do not. */
static bool takes_next(const struct grammar *grammar, const char *text)
{
    const struct flag *flag;
    const char *today;

    if (text[1] != '-') {
        char old[3] = {'-', text[1], '\0'};

        today = find_alias(grammar, old, 2);
        flag = today != NULL ? find_anywhere(grammar, today, strlen(today))
                             : find_letter(grammar, text[1]);
        return flag != NULL && flag->type != FLAG_BOOL && text[2] == '\0';
    }
    if (strchr(text, '=') != NULL)
        return false;
    today = find_alias(grammar, text + 2, strlen(text + 2));
    flag = find_anywhere(grammar, today != NULL ? today : text + 2,
                         strlen(today != NULL ? today : text + 2));
    return flag != NULL && flag->type != FLAG_BOOL;
}

/* The first two words that are neither flags nor their values; blank ones are dropped. */
static size_t leading_words(struct walk *walk, const char *words[2], bool *help)
{
    size_t count = 0;

    for (size_t i = 0; i < walk->count; i++) {
        const char *text = walk->texts[i];

        if (strcmp(text, "--") == 0)
            break;
        if (strcmp(text, "-h") == 0 || strcmp(text, "--help") == 0)
            *help = true;
        else if (text[0] == '-' && text[1] != '\0')
            i += takes_next(walk->grammar, text);
        else if (count == 0 && blank(text))
            buf_append_text(&walk->args->notes, "note: an empty word before the command was "
                                                "dropped (a blank after a backslash at the end of "
                                                "a line?)\n");
        else if (count < 2)
            words[count++] = text;
    }
    return count;
}

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

static enum args_outcome unknown_command(struct walk *walk, const char *word)
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

/* ---- variables ---- */

static void variable_name(const char *flag, char name[NAME_MAX_BYTES])
{
    size_t at = (size_t)snprintf(name, NAME_MAX_BYTES, "ETCDCTL_");

    for (; *flag != '\0' && at + 1 < NAME_MAX_BYTES; flag++)
        name[at++] = *flag == '-' ? '_' : (char)toupper((unsigned char)*flag);
    name[at] = '\0';
}

static bool known_elsewhere(const char *entry, size_t length)
{
    static const char *const others[] = {"ETCDCTL_API", "ETCDCTL_WATCH_KEY",
                                         "ETCDCTL_WATCH_RANGE_END"};

    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (strlen(others[i]) == length && memcmp(others[i], entry, length) == 0)
            return true;
    return false;
}

static void read_variable(struct args *args, size_t globals, const char *entry)
{
    size_t length = strcspn(entry, "=");
    const char *text = entry + length + (entry[length] == '=');

    for (size_t i = 0; i < globals; i++) {
        struct flag_value *value = &args->values[i];
        struct err err = ERR_INIT;
        char name[NAME_MAX_BYTES];

        variable_name(value->flag->name, name);
        if (strlen(name) != length || memcmp(name, entry, length) != 0)
            continue;
        if (value->given || text[0] == '\0')
            return; /* the flag wins; an empty variable counts as unset */
        if (set_value(value, name, text, false, &err))
            value->variable = true;
        else
            buf_printf(&args->notes, "warning: %s; the variable is ignored\n", err.text);
        return;
    }
    if (!known_elsewhere(entry, length))
        buf_printf(&args->notes, "warning: unrecognized environment variable %.*s\n",
                   (int)MIN(length, 200), entry);
}

static bool read_environment(struct args *args, size_t globals, char *const *environment,
                             struct err *err)
{
    for (; *environment != NULL; environment++) {
        const char *entry = *environment;

        if (strncmp(entry, "ETCDCTL_API=", 12) == 0 && entry[12] != '\0' &&
            strcmp(entry + 12, "3") != 0) {
            err_set(err, ERR_USAGE, "unsupported API version: %.200s", entry + 12);
            (void)snprintf(args->hint, sizeof(args->hint),
                           "This tool speaks version 3: unset ETCDCTL_API or set it to 3.");
            return false;
        }
        if (strncmp(entry, "ETCDCTL_", 8) == 0)
            read_variable(args, globals, entry);
    }
    return true;
}

/* ---- entry points ---- */

static enum args_outcome help_on(struct args *args, const char *topic, size_t length)
{
    length = MIN(MIN(length, strlen(topic)), sizeof(args->topic) - 1);
    memcpy(args->topic, topic, length); /* zeroed before */
    return ARGS_HELP;
}

/* Which command do the leading words mean? ARGS_RUN with args->command set, or the end. */
static enum args_outcome choose(struct walk *walk, size_t *used, bool *help)
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
        return help_on(walk->args, "", 0);
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
            return help_on(walk->args, group->words, first_word(group));
        *used = 2;
    }
    return from == 1 ? help_on(walk->args, walk->args->command->words, SIZE_MAX) : ARGS_RUN;
}

enum args_outcome args_parse(const struct grammar *grammar, int argc, char *const *argv,
                             char *const *environment, struct args *args, struct err *err)
{
    struct walk walk = {.grammar = grammar,
                        .args = args,
                        .texts = (const char *const *)argv,
                        .count = (size_t)argc,
                        .err = err};
    enum args_outcome outcome;
    bool help = false;
    size_t used = 0;

    *args = (struct args){.notes = BUF_INIT(BUF_UNLIMITED)};
    add_values(args, grammar->globals, grammar->global_count);
    outcome = choose(&walk, &used, &help);
    if (outcome == ARGS_WRONG || help || (outcome == ARGS_HELP && used > 0))
        return outcome == ARGS_RUN ? help_on(args, args->command->words, SIZE_MAX) : outcome;
    if (outcome == ARGS_RUN)
        add_values(args, args->command->flags, args->command->flag_count);
    if (!read_words(&walk, used, &help))
        return ARGS_WRONG;
    if (outcome != ARGS_RUN)
        return outcome;
    return read_environment(args, grammar->global_count, environment, err) ? ARGS_RUN : ARGS_WRONG;
}

bool args_parse_command(const struct command *command, size_t count, const char *const *texts,
                        struct args *args, struct err *err)
{
    struct walk walk = {.args = args, .texts = texts, .count = count, .err = err};
    bool help = false;

    *args = (struct args){.command = command, .notes = BUF_INIT(BUF_UNLIMITED)};
    add_values(args, command->flags, command->flag_count);
    return read_words(&walk, 0, &help);
}

void args_free(struct args *args)
{
    for (size_t i = 0; i < args->value_count; i++) {
        if (args->values[i].text != NULL)
            wipe(args->values[i].text, strlen(args->values[i].text)); /* may be a password */
        free(args->values[i].text);
    }
    free(args->words);
    buf_free(&args->notes);
    *args = (struct args){0};
}

const struct flag_value *args_value(const struct args *args, const char *name)
{
    for (size_t i = 0; i < args->value_count; i++)
        if (strcmp(args->values[i].flag->name, name) == 0)
            return &args->values[i];
    must_failed("a flag of the tables", __FILE__, __LINE__);
}

bool args_bool(const struct args *args, const char *name)
{
    return args_value(args, name)->number != 0;
}

const char *args_text(const struct args *args, const char *name)
{
    return args_value(args, name)->text;
}

int64_t args_number(const struct args *args, const char *name)
{
    return args_value(args, name)->number;
}
