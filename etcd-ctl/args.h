/*
 * args.h - the command line of etcd-ctl, from tables: flags anywhere, `--`, short flags,
 * abbreviated command words, old spellings with a note, ETCDCTL_ variables for the global flags
 * (cli.md 2.1, 2.2, section 4). Pure apart from the environment handed in; knows no command,
 * and of the flags by name only those of files and --no-sync. Thread: main.
 */
#ifndef ETCD_CTL_ARGS_H
#define ETCD_CTL_ARGS_H

#include "common/base/buf.h"
#include "common/base/err.h"

enum flag_type {
    FLAG_BOOL,
    FLAG_TEXT,
    FLAG_LIST,     /* a text; repeating the flag adds after a comma */
    FLAG_INT,      /* int64, 0x... too */
    FLAG_DURATION, /* a Go duration, kept in nanoseconds */
};

struct flag {
    const char *name; /* without dashes */
    char letter;      /* 0 = none */
    enum flag_type type;
    const char *fallback; /* the default as text; "" for none */
    const char *help;
};

struct ctl;
struct args;
typedef int command_fn(struct ctl *ctl, const struct args *args); /* returns the exit code */

struct command {
    const char *words;     /* "get", "member add" */
    const char *arguments; /* "KEY [RANGE_END]", for the help */
    const char *help;      /* one line */
    const struct flag *flags;
    size_t flag_count;
    command_fn *run;
    bool offline; /* needs no server */
};

/* An old spelling, understood with a note. */
struct alias {
    const char *old, *name;
};
/* A command word of old times, answered with today's. */
struct old_word {
    const char *word, *hint;
};

/* A command that overlooks an empty word behind so many, as etcdctl does: scripts leave one there.
 */
struct lax_command {
    const char *words;
    size_t most;
};

struct grammar {
    const struct command *commands;
    size_t command_count;
    const struct flag *globals; /* each has the variable ETCDCTL_<NAME> */
    size_t global_count;
    const struct alias *aliases; /* of long flags, and "-C", "-u" for short ones */
    size_t alias_count;
    const struct old_word *old_words;
    size_t old_word_count;
    const struct lax_command *lax;
    size_t lax_count;
};

#define ARGS_FLAGS_MAX 64

struct flag_value {
    const struct flag *flag;
    bool given;     /* on the command line */
    bool variable;  /* from its variable */
    char *text;     /* owned; the default when not given */
    int64_t number; /* INT, DURATION; BOOL: 0 or 1 */
};

enum args_outcome {
    ARGS_RUN,
    ARGS_HELP,  /* print the help of `topic` on standard output, exit 0 */
    ARGS_WRONG, /* exit 1; err and hint say why */
};

struct args {
    const struct command *command; /* ARGS_RUN */
    char topic[64]; /* ARGS_HELP: command words or a word of a group; "" = everything */
    struct flag_value values[ARGS_FLAGS_MAX];
    size_t value_count;
    const char **words; /* owned list of borrowed words behind the command's */
    size_t word_count;
    size_t dash_at;          /* words before "--"; word_count when there was none */
    bool has_dash;           /* there was one */
    struct buf notes;        /* lines for standard error: what was understood */
    char hint[ERR_TEXT_MAX]; /* ARGS_WRONG: what to do */
};

/*
 * Read `argv` (after the program's name) and `environment` (NAME=VALUE texts, NULL at the end; both
 * borrowed while args lives). Always ends in args_free().
 */
enum args_outcome args_parse(const struct grammar *grammar, int argc, char *const *argv,
                             char *const *environment, struct args *args, struct err *err);
/* Only the flags and words of one command (a line of txn); false with err filled. */
bool args_parse_command(const struct command *command, size_t count, const char *const *texts,
                        struct args *args, struct err *err) MUST_CHECK;
void args_free(struct args *args);

/* The value of a flag of the tables; asking for another is a bug. */
const struct flag_value *args_value(const struct args *args, const char *name);
bool args_bool(const struct args *args, const char *name);
const char *args_text(const struct args *args, const char *name);
int64_t args_number(const struct args *args, const char *name);

/* The help of a command, of a group ("member") or of everything (""). */
void args_help(const struct grammar *grammar, const char *program, const char *topic,
               struct buf *out);
/* Its last part: the global flags. */
void args_help_globals(const struct grammar *grammar, struct buf *out);

#endif
