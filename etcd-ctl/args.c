/*
 * args.c - see args.h.
 *
 * Two walks over the words: the first finds the command (args_command.c), the second reads flags
 * and arguments for it; then the variables (args_variables.c), for flags win.
 */
#include "etcd-ctl/args_internal.h"

#include "common/base/bool.h"
#include "common/base/duration.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

const char *args_alias(const struct grammar *grammar, const char *old, size_t length)
{
    for (size_t i = 0; i < grammar->alias_count; i++)
        if (args_is(grammar->aliases[i].old, old, length))
            return grammar->aliases[i].name;
    return NULL;
}

/* The value table of `args`, by name. */
static struct flag_value *find_value(struct args *args, const char *name, size_t length)
{
    for (size_t i = 0; i < args->value_count; i++)
        if (args_is(args->values[i].flag->name, name, length))
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

bool args_set_value(struct flag_value *value, const char *what, const char *text, bool add,
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
            must(args_set_value(value, flags[i].name,
                                flags[i].fallback[0] != '\0' ? flags[i].fallback : "false", false,
                                &err));
    }
}

/* ---- reading the words ---- */

static bool unknown_flag(struct args_walk *walk, const char *text)
{
    size_t length = strcspn(text, "=");

    err_set(walk->err, ERR_USAGE, "unknown flag: %.*s", (int)MIN(length, 200), text);
    (void)snprintf(walk->args->hint, sizeof(walk->args->hint),
                   "See etcd-ctl %s --help; a word that begins with a dash goes behind \"--\".",
                   walk->args->command != NULL ? walk->args->command->words : "");
    return false;
}

static bool missing_value(struct args_walk *walk, const char *text)
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
static struct flag_value *find_spelling(struct args_walk *walk, const char *name, size_t length,
                                        const char **value)
{
    struct args *args = walk->args;
    struct flag_value *found = find_value(args, name, length);
    const char *today;
    size_t shorter;

    if (found != NULL || walk->grammar == NULL)
        return found;
    today = args_alias(walk->grammar, name, length);
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

static bool long_flag(struct args_walk *walk)
{
    const char *text = walk->texts[walk->at], *name = text + 2, *equals = strchr(name, '=');
    size_t length = equals != NULL ? (size_t)(equals - name) : strlen(name);
    const char *value = equals != NULL ? equals + 1 : NULL;
    struct flag_value *found;
    char what[NAME_MAX_BYTES + 3];

    if (walk->grammar != NULL && args_is("no-sync", name, length)) {
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
    if (!args_set_value(found, what, value, found->given, walk->err))
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
static bool short_flags(struct args_walk *walk)
{
    const char *text = walk->texts[walk->at];

    for (const char *letter = text + 1; *letter != '\0'; letter++) {
        char old[3] = {'-', *letter, '\0'}, what[NAME_MAX_BYTES + 8];
        const char *today = walk->grammar != NULL ? args_alias(walk->grammar, old, 2) : NULL;
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
        if (!args_set_value(found, what, value, found->given, walk->err))
            return false;
        found->given = true;
        if (found->flag->type != FLAG_BOOL || letter[1] == '=')
            break;
    }
    return true;
}

/* The second walk: `skip` words belong to the command. */
static bool read_words(struct args_walk *walk, size_t skip, bool *help)
{
    struct args *args = walk->args;
    bool only_words = false;

    args->words = xalloc((walk->count + 1) * sizeof(*args->words));
    args->dash_at = SIZE_MAX;
    for (walk->at = 0; walk->at < walk->count; walk->at++) {
        const char *text = walk->texts[walk->at];

        if (only_words || text[0] != '-' || text[1] == '\0') {
            if (skip > 0 && !only_words && args_blank(text))
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

/* ---- entry points ---- */

/* Words behind "--" are those of a command to be run, or were meant. */
static void drop_empty(const struct grammar *grammar, struct args *args)
{
    for (size_t i = 0; i < grammar->lax_count && !args->has_dash; i++) {
        const struct lax_command *lax = &grammar->lax[i];

        if (strcmp(lax->words, args->command->words) != 0)
            continue;
        while (args->word_count > lax->most && args->words[args->word_count - 1][0] == '\0')
            args->word_count--;
        args->dash_at = args->word_count;
    }
}

enum args_outcome args_parse(const struct grammar *grammar, int argc, char *const *argv,
                             char *const *environment, struct args *args, struct err *err)
{
    struct args_walk walk = {.grammar = grammar,
                             .args = args,
                             .texts = (const char *const *)argv,
                             .count = (size_t)argc,
                             .err = err};
    enum args_outcome outcome;
    bool help = false;
    size_t used = 0;

    *args = (struct args){.notes = BUF_INIT(BUF_UNLIMITED)};
    add_values(args, grammar->globals, grammar->global_count);
    outcome = args_choose(&walk, &used, &help);
    if (outcome == ARGS_WRONG || help || (outcome == ARGS_HELP && used > 0))
        return outcome == ARGS_RUN ? args_help_on(args, args->command->words, SIZE_MAX) : outcome;
    if (outcome == ARGS_RUN)
        add_values(args, args->command->flags, args->command->flag_count);
    if (!read_words(&walk, used, &help))
        return ARGS_WRONG;
    if (outcome != ARGS_RUN)
        return outcome;
    drop_empty(grammar, args);
    return args_read_environment(args, grammar->global_count, environment, err) ? ARGS_RUN
                                                                                : ARGS_WRONG;
}

bool args_parse_command(const struct command *command, size_t count, const char *const *texts,
                        struct args *args, struct err *err)
{
    struct args_walk walk = {.args = args, .texts = texts, .count = count, .err = err};
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
