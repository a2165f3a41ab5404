/*
 * options_flags.c - see options.h: the command line and the environment.
 *
 *   --name=value  --name value  --bool        by name or old name; the last one counts
 *   PREFIX_NAME=value                         by name in upper case, old name, or an alias
 *
 * Words that are no flags are refused. A variable whose flag was given must say the same.
 */
#include "common/base/options.h"

#define VARIABLE_MAX 128 /* bytes of a variable's name with its prefix */

static const struct option *find_row(const struct option_table *table, const char *name,
                                     size_t length)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct option *row = &table->rows[i];

        if ((strlen(row->name) == length && memcmp(row->name, name, length) == 0) ||
            (row->old_name != NULL && strlen(row->old_name) == length &&
             memcmp(row->old_name, name, length) == 0))
            return row;
    }
    return NULL;
}

static bool is_word(const char *text, size_t length, const char *word)
{
    return strlen(word) == length && memcmp(text, word, length) == 0;
}

/* Rows without a field: true when that settles it (*rc is the result). */
static bool is_gone(struct options *options, const struct option *row, int *rc, struct err *err)
{
    *rc = 0;
    if (row->status == OPTION_REMOVED) {
        err_set(err, ERR_USAGE, "flag provided but not defined: -%s; %s", row->name, row->advice);
        *rc = -1;
        return true;
    }
    if (row->status == OPTION_VERY_OLD) {
        buf_printf(&options->notes, "--%s is ignored: %s\n", row->name,
                   row->advice != NULL ? row->advice : "it has no meaning any more");
        return true;
    }
    return false;
}

/* Take one flag at argv[*i] and the word behind it if that is its value. */
static int read_flag(struct options *options, int argc, const char *const argv[], int *i,
                     struct err *err)
{
    const char *name = argv[*i] + 1 + (argv[*i][1] == '-'), *value;
    size_t length = strcspn(name, "=");
    const struct option *row = find_row(options->table, name, length);
    struct buf why = BUF_INIT(ERR_TEXT_MAX);
    int rc = -1;

    if (length == 0 || *name == '-') {
        err_set(err, ERR_USAGE, "bad flag syntax: %s", argv[*i]);
        return -1;
    }
    value = name[length] == '=' ? name + length + 1 : NULL;
    if (is_word(name, length, "h") || is_word(name, length, "help"))
        options->help = true;
    if (is_word(name, length, "version"))
        options->version = true;
    if (options->help || options->version)
        return 0;
    if (row == NULL) {
        err_set(err, ERR_USAGE, "flag provided but not defined: -%.*s", (int)MIN(length, 200),
                name);
        return -1;
    }
    if (row->status == OPTION_REMOVED)
        return is_gone(options, row, &rc, err) ? rc : -1;
    if (value == NULL && row->kind == OPTION_BOOL) {
        value = "true";
    } else if (value == NULL) {
        if (*i + 1 == argc) {
            err_set(err, ERR_USAGE, "flag needs an argument: -%.*s", (int)length, name);
            return -1;
        }
        value = argv[++*i];
    }
    if (is_gone(options, row, &rc, err))
        return rc;
    rc = -1;
    if (!option_set(row, options->target, value, &why)) {
        err_set(err, ERR_USAGE, "invalid value \"%.200s\" for flag -%.*s: %s", value, (int)length,
                name, buf_text(&why));
        goto out;
    }
    options->sources[row - options->table->rows] = OPTION_FLAG;
    rc = 0;
out:
    buf_free(&why);
    return rc;
}

int options_read_flags(struct options *options, int argc, const char *const argv[], struct err *err)
{
    options->exit_status = 2;
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-' || argv[i][1] == '\0' || strcmp(argv[i], "--") == 0) {
            i += strcmp(argv[i], "--") == 0;
            if (i >= argc)
                break;
            options->exit_status = 1;
            err_set(err, ERR_USAGE, "'%.200s' is not a valid flag", argv[i]);
            return -1;
        }
        if (read_flag(options, argc, argv, &i, err) < 0)
            return -1;
        if (options->help || options->version)
            break;
    }
    options->exit_status = 1;
    return 0;
}

/* ---- environment ---- */

/* Does the variable's name behind the prefix, `length` bytes, spell this flag? */
static bool variable_is(const char *variable, size_t length, const char *flag)
{
    size_t i;

    for (i = 0; i < length && flag[i] != '\0'; i++) {
        char c = flag[i] == '-'                     ? '_'
                 : flag[i] >= 'a' && flag[i] <= 'z' ? (char)(flag[i] - 'a' + 'A')
                                                    : flag[i];
        if (variable[i] != c)
            return false;
    }
    return i == length && flag[i] == '\0';
}

static const struct option *find_variable(const struct option_table *table, const char *variable,
                                          size_t length)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct option *row = &table->rows[i];

        if (row->status == OPTION_REMOVED)
            continue;
        if (variable_is(variable, length, row->name) ||
            (row->old_name != NULL && variable_is(variable, length, row->old_name)))
            return row;
    }
    return NULL;
}

/* The name that a misspelled or foreign variable stands for; NULL = none. */
static const char *alias_of(const struct option_table *table, const char *variable, size_t length)
{
    for (size_t i = 0; i < table->env_alias_count; i++)
        if (is_word(variable, length, table->env_aliases[i][0]))
            return table->env_aliases[i][1];
    return NULL;
}

/* It counts only where nothing else says anything: its right name or the flag are what is meant. */
static const struct option *find_alias(struct options *options, const char *variable, size_t length)
{
    const struct option_table *table = options->table;
    const char *right = alias_of(table, variable, length);
    const struct option *row = find_variable(table, right, strlen(right));
    bool counts = row != NULL && options->sources[row - table->rows] == OPTION_DEFAULT;

    buf_printf(&options->notes,
               counts ? "%s%.*s is taken as %s%s\n"
                      : "%s%.*s is ignored, for %s%s or its flag is given\n",
               table->env_prefix, (int)length, variable, table->env_prefix, right);
    return counts ? row : NULL;
}

static void note_unknown(struct options *options, const char *variable, size_t length)
{
    const struct option_table *table = options->table;

    for (size_t i = 0; i < table->env_quiet_count; i++)
        if (is_word(variable, length, table->env_quiet[i]))
            return;
    buf_printf(&options->notes, "unrecognized environment variable %s%.*s\n", table->env_prefix,
               (int)MIN(length, VARIABLE_MAX), variable);
}

/* The flag was given too: fine when both say the same, else nobody knows what was meant. */
static int shadowed(struct options *options, const struct option *row, const char *variable,
                    int length, const char *value, struct err *err)
{
    int rc = option_is(row, options->target, value) ? 0 : -1;

    if (rc == 0)
        buf_printf(&options->notes, "%s%.*s is set to what --%s says; the flag is used\n",
                   options->table->env_prefix, length, variable, row->name);
    else
        err_set(err, ERR_USAGE,
                "conflicting environment variable %s%.*s=%.200s is shadowed by --%s; unset the "
                "variable or leave the flag out",
                options->table->env_prefix, length, variable, value, row->name);
    return rc;
}

/* Aliases are read behind all others. */
static int read_variable(struct options *options, const char *variable, size_t length,
                         const char *value, bool aliases, struct err *err)
{
    bool alias = alias_of(options->table, variable, length) != NULL;
    const struct option *row = alias ? NULL : find_variable(options->table, variable, length);
    struct buf why = BUF_INIT(ERR_TEXT_MAX);
    uint8_t *source;
    int rc = 0;

    if (alias != aliases)
        return 0;
    if (alias)
        row = find_alias(options, variable, length);
    else if (row == NULL)
        note_unknown(options, variable, length);
    if (row == NULL || row->status == OPTION_VERY_OLD)
        return 0;
    source = &options->sources[row - options->table->rows];
    if (*source == OPTION_FLAG)
        return shadowed(options, row, variable, (int)MIN(length, VARIABLE_MAX), value, err);
    if (!option_set(row, options->target, value, &why)) {
        err_set(err, ERR_USAGE, "invalid value \"%.200s\" for %s%.*s: %s", value,
                options->table->env_prefix, (int)MIN(length, VARIABLE_MAX), variable,
                buf_text(&why));
        rc = -1;
    }
    *source = OPTION_ENV;
    buf_free(&why);
    return rc;
}

static int read_variables(struct options *options, const char *const env[], bool aliases,
                          struct err *err)
{
    size_t prefix = strlen(options->table->env_prefix);

    for (; *env != NULL; env++) {
        const char *equals = strchr(*env, '=');

        if (equals == NULL || equals[1] == '\0' ||
            strncmp(*env, options->table->env_prefix, prefix) != 0)
            continue;
        if (read_variable(options, *env + prefix, (size_t)(equals - *env) - prefix, equals + 1,
                          aliases, err) < 0)
            return -1;
    }
    return 0;
}

int options_read_env(struct options *options, const char *const env[], struct err *err)
{
    if (read_variables(options, env, false, err) < 0)
        return -1;
    return read_variables(options, env, true, err);
}
