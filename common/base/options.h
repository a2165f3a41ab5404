/*
 * options.h - flags, environment and YAML file into one struct, from one table per program.
 *
 * A row says how a setting is spelled in the three places, what it is, what it is when nobody sets
 * it, where it goes and whether it works. Syntax is that of Go's flag package (cli.md 1.1): one or
 * two dashes, --flag=value or --flag value, the last one wins. Nothing is printed here: what a user
 * should know besides the error is appended to `notes`, one line each. Edge only in reading the
 * config file. Thread: any.
 */
#ifndef COMMON_BASE_OPTIONS_H
#define COMMON_BASE_OPTIONS_H

#include "common/base/buf.h"
#include "common/base/err.h"

struct option_list { /* texts of a comma separated list */
    char **items;    /* owned */
    size_t count;
};

enum option_kind {
    OPTION_STRING,   /* char *, owned, never NULL */
    OPTION_CHOICE,   /* char *, one of `choices`; another is a flag error */
    OPTION_BOOL,     /* bool */
    OPTION_INT,      /* int64_t */
    OPTION_UINT,     /* uint64_t */
    OPTION_UINT32,   /* uint32_t */
    OPTION_DURATION, /* int64_t, nanoseconds; the file gives a number of them */
    OPTION_URLS,     /* struct option_list; scheme://host:port without a path, sorted, no doubles */
    OPTION_COMMAS,   /* struct option_list; one comma separated text in the file too */
    OPTION_LIST,     /* struct option_list; a YAML list in the file */
};

enum option_status {
    OPTION_WORKS,     /* and so do rows that say nothing */
    OPTION_LATER,     /* refused unless it has its default: `advice` says why */
    OPTION_NO_EFFECT, /* accepted; a note with `advice` when it is set */
    OPTION_REMOVED,   /* a flag that is gone: exit 2 with `advice`; has no field */
    OPTION_VERY_OLD,  /* accepted with any value and ignored, noted; has no field */
};

struct option {
    const char *group;        /* heading in --help; NULL = same as the row above */
    const char *name;         /* of the flag, without dashes */
    const char *old_name;     /* other spelling, NULL = none; the last one given counts */
    const char *file_key;     /* "a.b" is b in section a; NULL = as `name` */
    const char *old_file_key; /* another spelling there, beside old_name; NULL = none */
    const char *fallback;     /* default, as written behind the flag */
    const char *choices;      /* OPTION_CHOICE: "a|b" */
    const char *advice;
    const char *help;
    bool not_in_file; /* on the command line only */
    size_t offset;    /* of the field in the program's struct */
    enum option_kind kind;
    enum option_status status;
};

struct option_table {
    const struct option *rows;
    size_t count;
    const char *env_prefix;              /* "ETCD_" */
    const char *const (*env_aliases)[2]; /* {"CA_FILE", "TRUSTED_CA_FILE"}, ... */
    size_t env_alias_count;              /* and then a note */
    const char *const *env_quiet;        /* variables of others with the prefix */
    size_t env_quiet_count;
};

enum option_source { OPTION_DEFAULT, OPTION_FLAG, OPTION_ENV, OPTION_FILE };

struct options {
    const struct option_table *table; /* borrowed */
    void *target;                     /* the program's struct; borrowed */
    uint8_t *sources;                 /* enum option_source per row; owned */
    bool help, version;               /* --help, --version: nothing else counts then */
    int exit_status;                  /* what a failure should end with: 2 flag syntax, else 1 */
    struct buf notes;                 /* lines for stderr */
};

/* Put every default into `target` (zeroed by the caller). A default that is none is a bug. */
void options_init(struct options *options, const struct option_table *table, void *target);
void options_reset(struct options *options); /* back to the defaults */
void options_free(struct options *options);  /* not the fields */
void options_free_fields(const struct option_table *table, void *target);

/* ERR_USAGE; argv[0] is skipped; stops at --help and --version. */
int options_read_flags(struct options *options, int argc, const char *const argv[],
                       struct err *err) MUST_CHECK;
/*
 * `env` is "NAME=value" texts, NULL at the end; an empty value counts as unset. A variable whose
 * flag is given too is an error when the two differ (nobody knows which one was meant), else a
 * note.
 */
int options_read_env(struct options *options, const char *const env[], struct err *err) MUST_CHECK;
/* Back to the defaults, then what the file sets. ERR_FORMAT, ERR_USAGE. Unknown keys are noted. */
int options_read_yaml(struct options *options, struct slice yaml, struct err *err) MUST_CHECK;
/* Refuse rows that are OPTION_LATER and not at their default; note the others. After reading. */
int options_check_status(struct options *options, struct err *err) MUST_CHECK;

/* Where the row called `name` (a row's own name) got its value. */
enum option_source options_source(const struct options *options, const char *name);

/* One row's value from text, as behind a flag; `*why` says what is wrong with it. */
bool option_set(const struct option *row, void *target, const char *text,
                struct buf *why) MUST_CHECK;
/* Is the field what `text` would make of it? False when `text` is no value for it. */
bool option_is(const struct option *row, const void *target, const char *text);

void options_help(const struct option_table *table, struct buf *out); /* all flags, by group */

#endif
