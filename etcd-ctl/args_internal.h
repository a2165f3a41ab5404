/*
 * args_internal.h - what args.c (flags and words), args_command.c (which command) and
 * args_variables.c (the environment) share. Pure. Thread: main. Errors: ERR_USAGE, in the words of
 * who typed it; a hint beside it.
 */
#ifndef ETCD_CTL_ARGS_INTERNAL_H
#define ETCD_CTL_ARGS_INTERNAL_H

#include "etcd-ctl/args.h"

#define NAME_MAX_BYTES 64 /* of a flag's or a variable's name */

/* Over the words of a command line; all borrowed. */
struct args_walk {
    const struct grammar *grammar; /* NULL for a line of txn */
    struct args *args;
    const char *const *texts;
    size_t count, at;
    struct err *err;
};

/* Is `name` the `length` bytes at `text`? */
static inline bool args_is(const char *name, const char *text, size_t length)
{
    return strlen(name) == length && memcmp(name, text, length) == 0;
}

static inline bool args_blank(const char *text)
{
    return text[strspn(text, " \t\r\n")] == '\0';
}

/* Today's name for an old flag ("-C" for short ones); NULL: it is none. */
const char *args_alias(const struct grammar *grammar, const char *old, size_t length);
/* Give `value` its text; `what` names flag or variable; add: behind a comma, if it is a list. */
bool args_set_value(struct flag_value *value, const char *what, const char *text, bool add,
                    struct err *err) MUST_CHECK;

/* ARGS_HELP on the first `length` bytes of `topic`. */
enum args_outcome args_help_on(struct args *args, const char *topic, size_t length);
/*
 * Which command do the leading words mean?
 * used     how many words it took
 * help     set when help was asked for in between
 * returns  ARGS_RUN with args->command set, or the end
 */
enum args_outcome args_choose(struct args_walk *walk, size_t *used, bool *help) MUST_CHECK;

/* The variables for the first `globals` values; what cannot be read is noted. */
bool args_read_environment(struct args *args, size_t globals, char *const *environment,
                           struct err *err) MUST_CHECK;

#endif
