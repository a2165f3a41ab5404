/*
 * commands.h - what etcd-snap can do: a function per command, each in its cmd_*.c. They print
 * results on standard output and everything else on standard error, and return the exit status.
 * Thread: main.
 */
#ifndef ETCD_SNAP_COMMANDS_H
#define ETCD_SNAP_COMMANDS_H

#include "etcd-snap/args.h"

/* etcdutl's (cli.md 2.4) */
enum exit_status {
    EXIT_OK = 0,
    EXIT_ERROR = 1,
    EXIT_NO_CLIENT = 2,
    EXIT_BAD_FORMAT = 4,
    EXIT_SAVE_FAILED = 5,
    EXIT_BAD_ARGS = 128,
};

struct command {
    const char *word;
    const char *arguments; /* for the usage line */
    size_t argument_count; /* exactly */
    unsigned flags;        /* FOR_... */
    const char *help;
    int (*run)(const struct args *args, const char *const *arguments);
};
extern const struct command commands[];
extern const size_t command_count;

int cmd_save(const struct args *args, const char *const *arguments);
int cmd_status(const struct args *args, const char *const *arguments);
int cmd_restore(const struct args *args, const char *const *arguments);
int cmd_hashkv(const struct args *args, const char *const *arguments);
int cmd_defrag(const struct args *args, const char *const *arguments);
int cmd_check(const struct args *args, const char *const *arguments);
int cmd_version(const struct args *args, const char *const *arguments);
int cmd_completion(const struct args *args, const char *const *arguments);

/* "Error: <what err says>" on standard error; returns `status`. */
int complain(const struct err *err, int status);
/* The text of --write-out as a format; false after complaining. */
bool wanted_format(const struct args *args, int *format) MUST_CHECK;

#endif
