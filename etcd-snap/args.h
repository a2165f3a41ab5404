/*
 * args.h - the command line of etcd-snap: flags anywhere, `--` ends them, words in between
 * (cli.md 2.1, 3). Knows the flags of options.def; knows no command. Thread: main.
 */
#ifndef ETCD_SNAP_ARGS_H
#define ETCD_SNAP_ARGS_H

#include "common/base/buf.h"
#include "common/base/err.h"

enum option_kind { OPTION_TEXT, OPTION_BOOL, OPTION_NUMBER, OPTION_DURATION };

/* which commands know a flag */
enum {
    FOR_SAVE = 1,
    FOR_RESTORE = 2,
    FOR_HASHKV = 4,
    FOR_STATUS = 8,
    FOR_REST = 16,
    FOR_DEFRAG = 32,
    FOR_CHECK = 64,
    FOR_COMPLETION = 128,
    FOR_ALL = 255,
};

enum option {
#define OPTION(id, name, letter, kind, fallback, variable, commands, help) OPT_##id,
#include "etcd-snap/options.def"
#undef OPTION
    OPTIONS
};

struct option_row {
    const char *name;
    char letter; /* 0 = none */
    enum option_kind kind;
    const char *fallback;
    const char *variable;
    unsigned commands;
    const char *help;
};
extern const struct option_row option_rows[OPTIONS];

#define ARGS_WORDS_MAX 16

struct args {
    const char *values[OPTIONS]; /* borrowed from argv, the environment or the table */
    bool given[OPTIONS];         /* on the command line */
    const char *words[ARGS_WORDS_MAX];
    size_t word_count;
};

/*
 * Sort `argv` (after the program's name) into flags and words; all texts are borrowed.
 * Blank words (a backslash with a blank behind it) are left out.
 * errors  ERR_USAGE in etcdutl's words
 */
int args_parse(int argc, char *const *argv, struct args *args, struct err *err) MUST_CHECK;
/* A flag was given that `command` (FOR_...) does not know: ERR_USAGE "unknown flag: --x". */
int args_check(const struct args *args, unsigned command, struct err *err) MUST_CHECK;

bool args_bool(const struct args *args, enum option option);       /* checked by args_parse() */
uint64_t args_number(const struct args *args, enum option option); /* likewise */

#endif
