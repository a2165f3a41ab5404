/* args.c - see args.h. */
#include "etcd-snap/args.h"
#include "common/base/bool.h"
#include "common/client/print.h"

#include <errno.h>

const struct option_row option_rows[OPTIONS] = {
#define OPTION(id, name, letter, kind, fallback, variable, commands, help)                         \
    {name, letter, kind, fallback, variable, commands, help},
#include "etcd-snap/options.def"
#undef OPTION
};

static bool number_of(const char *text, uint64_t *value)
{
    char *end = NULL;

    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    *value = strtoull(text, &end, 0);
    return errno == 0 && *end == '\0';
}

static int set_value(struct args *args, size_t option, const char *value, struct err *err)
{
    const struct option_row *row = &option_rows[option];
    const char *type = "";
    uint64_t number;
    int64_t duration;
    bool yes, good = true;

    switch (row->kind) {
    case OPTION_TEXT:
        break;
    case OPTION_BOOL:
        good = bool_parse(value, &yes);
        type = "true or false";
        break;
    case OPTION_NUMBER:
        good = number_of(value, &number);
        type = "a number";
        break;
    case OPTION_DURATION:
        good = duration_parse(value, &duration) && duration >= 0;
        type = "a duration such as 10s";
        break;
    }
    if (!good) {
        err_set(err, ERR_USAGE, "invalid argument \"%s\" for \"--%s\" flag: must be %s", value,
                row->name, type);
        return -1;
    }
    args->values[option] = value;
    return 0;
}

static size_t find_long(const char *name, size_t length)
{
    for (size_t i = 0; i < OPTIONS; i++)
        if (strlen(option_rows[i].name) == length && memcmp(option_rows[i].name, name, length) == 0)
            return i;
    return OPTIONS;
}

static size_t find_letter(char letter)
{
    for (size_t i = 0; i < OPTIONS; i++)
        if (option_rows[i].letter == letter)
            return i;
    return OPTIONS;
}

/* The flag in argv[*at]; its value may be the word behind it, then *at moves on. */
static int parse_flag(struct args *args, int argc, char *const *argv, int *at, struct err *err)
{
    const char *text = argv[*at], *value = NULL;
    bool is_long = text[1] == '-';
    size_t length = is_long ? strcspn(text + 2, "=") : 1;
    size_t option = is_long ? find_long(text + 2, length) : find_letter(text[1]);

    if (option == OPTIONS) {
        if (is_long)
            err_set(err, ERR_USAGE, "unknown flag: --%.*s", (int)length, text + 2);
        else
            err_set(err, ERR_USAGE, "unknown shorthand flag: '%c' in %s", text[1], text);
        return -1;
    }
    if (is_long && text[2 + length] == '=')
        value = text + 2 + length + 1;
    else if (!is_long && text[2] != '\0')
        value = text + (text[2] == '=' ? 3 : 2);
    else if (option_rows[option].kind == OPTION_BOOL)
        value = "true";
    else if (*at + 1 < argc)
        value = argv[++*at];
    if (value == NULL) {
        err_set(err, ERR_USAGE, "flag needs an argument: %s", text);
        return -1;
    }
    args->given[option] = true;
    return set_value(args, option, value, err);
}

static int defaults(struct args *args, struct err *err)
{
    for (size_t i = 0; i < OPTIONS; i++) {
        const struct option_row *row = &option_rows[i];
        const char *variable = *row->variable != '\0' ? getenv(row->variable) : NULL;

        args->values[i] = row->fallback;
        if (variable != NULL && set_value(args, i, variable, err) < 0) {
            err_prefix(err, "environment variable %s", row->variable);
            return -1;
        }
    }
    return 0;
}

static bool is_blank(const char *word)
{
    return word[strspn(word, " \t")] == '\0';
}

int args_parse(int argc, char *const *argv, struct args *args, struct err *err)
{
    bool flags = true;

    *args = (struct args){0};
    if (defaults(args, err) < 0)
        return -1;
    for (int at = 0; at < argc; at++) {
        if (flags && strcmp(argv[at], "--") == 0) {
            flags = false;
        } else if (flags && argv[at][0] == '-' && argv[at][1] != '\0') {
            if (parse_flag(args, argc, argv, &at, err) < 0)
                return -1;
        } else if (args->word_count == ARGS_WORDS_MAX) {
            err_set(err, ERR_USAGE, "too many arguments, \"%s\" is the first too many", argv[at]);
            return -1;
        } else if (!is_blank(argv[at])) {
            args->words[args->word_count++] = argv[at];
        }
    }
    return 0;
}

int args_check(const struct args *args, unsigned command, struct err *err)
{
    for (size_t i = 0; i < OPTIONS; i++) {
        if (args->given[i] && (option_rows[i].commands & command) == 0) {
            err_set(err, ERR_USAGE, "unknown flag: --%s", option_rows[i].name);
            return -1;
        }
    }
    return 0;
}

bool args_bool(const struct args *args, enum option option)
{
    bool value = false;

    must(bool_parse(args->values[option], &value));
    return value;
}

uint64_t args_number(const struct args *args, enum option option)
{
    uint64_t value = 0;

    must(number_of(args->values[option], &value));
    return value;
}
