/*
 * main.c - etcd-snap: save, inspect and restore snapshots. Finds the command (with or without the
 * word `snapshot`, as etcdutl has it), checks its flags and arguments, runs it.
 */
#include "common/client/print.h"
#include "etcd-snap/commands.h"

#include <errno.h>
#include <stdio.h>

const struct command commands[] = {
    {"check", "v2store", 1, FOR_CHECK, "does a directory hold keys of the API version 2?",
     cmd_check},
    {"completion", "SHELL", 1, FOR_COMPLETION,
     "print a completion script for bash, fish, powershell or zsh", cmd_completion},
    {"defrag", "", 0, FOR_DEFRAG, "give free space of a directory's database back", cmd_defrag},
    {"hashkv", "FILE", 1, FOR_HASHKV, "hash the key-value history of a file", cmd_hashkv},
    {"restore", "FILE", 1, FOR_RESTORE, "make a data directory from a snapshot", cmd_restore},
    {"save", "FILE", 1, FOR_SAVE, "fetch a snapshot from a server", cmd_save},
    {"status", "FILE", 1, FOR_STATUS, "check a snapshot and tell what is in it", cmd_status},
    {"version", "", 0, FOR_REST, "print the version", cmd_version},
};
const size_t command_count = ARRAY_LEN(commands);

int complain(const struct err *err, int status)
{
    (void)fprintf(stderr, "Error: %s\n", err->text);
    if (err->sys == ENOSPC || err->sys == EDQUOT)
        (void)fputs("Free some space, or name a place on another disk; nothing was left behind.\n",
                    stderr);
    return status;
}

static void print_flags(FILE *to, unsigned flags)
{
    static const char *const kinds[] = {[OPTION_TEXT] = "=TEXT",
                                        [OPTION_BOOL] = "",
                                        [OPTION_NUMBER] = "=N",
                                        [OPTION_DURATION] = "=DURATION"};

    for (size_t i = 0; i < OPTIONS; i++) {
        const struct option_row *row = &option_rows[i];
        char left[64];

        if ((row->commands & flags) == 0)
            continue;
        (void)snprintf(left, sizeof(left), "--%s%s", row->name, kinds[row->kind]);
        (void)fprintf(to, row->letter != 0 ? "  -%c, " : "      ", row->letter);
        (void)fprintf(to, "%-34s %s", left, row->help);
        if (row->kind != OPTION_BOOL && *row->fallback != '\0')
            (void)fprintf(to, " (default %s)", row->fallback);
        (void)fputc('\n', to);
    }
}

static void print_usage(FILE *to, const struct command *command)
{
    if (command != NULL) {
        (void)fprintf(to, "Usage: etcd-snap [snapshot] %s [flags]%s%s\n%s\n\nFlags:\n",
                      command->word, *command->arguments != '\0' ? " " : "", command->arguments,
                      command->help);
        print_flags(to, command->flags);
        return;
    }
    (void)fputs("Usage: etcd-snap [snapshot] COMMAND [flags] [argument]\n"
                "Save, inspect and restore snapshots of etcd (etcd-snap " SUITE_VERSION
                ").\n\nCommands:\n",
                to);
    for (size_t i = 0; i < command_count; i++)
        (void)fprintf(to, "  %-10s %-7s %s\n", commands[i].word, commands[i].arguments,
                      commands[i].help);
    (void)fputs("\nFlags (each command takes those that `etcd-snap COMMAND --help` lists):\n", to);
    print_flags(to, FOR_ALL);
}

/* The command a word or its unique beginning names; NULL = none or several. */
static const struct command *find_command(const char *word)
{
    const struct command *found = NULL;

    for (size_t i = 0; i < command_count; i++) {
        if (strcmp(commands[i].word, word) == 0)
            return &commands[i];
        if (strncmp(commands[i].word, word, strlen(word)) == 0)
            found = found == NULL ? &commands[i] : commands + command_count;
    }
    return found == commands + command_count ? NULL : found;
}

/* The word etcdutl has before save, status and restore. */
static bool is_group(const char *word)
{
    return strlen(word) >= 2 && strncmp("snapshot", word, strlen(word)) == 0;
}

/* Its argument is a command too, for etcdutl: without one it is asked what there is. */
static bool is_family(const struct command *command)
{
    return command->run == cmd_check || command->run == cmd_completion;
}

static const char no_advice[] = "`etcd-snap --help` lists them";

/* Commands of etcdutl that have no place here: what to do instead. */
static const char *instead_of(const char *word)
{
    static const struct {
        const char *word, *advice;
    } others[] = {
        {"backup", "take DIR/member/snap/db of the stopped server: `etcd-snap restore "
                   "DIR/member/snap/db --skip-hash-check --data-dir NEW`"},
        {"migrate", "directories are of version 3.5, and so they stay; snapshots move data between "
                    "versions"},
    };

    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (strcmp(others[i].word, word) == 0)
            return others[i].advice;
    return no_advice;
}

static int wrong_count(const struct command *command, size_t count)
{
    struct err err = ERR_INIT;

    err_set(&err, ERR_USAGE, "%s requires exactly %zu argument%s%s%s, got %zu", command->word,
            command->argument_count, command->argument_count == 1 ? "" : "s",
            *command->arguments != '\0' ? ", " : "", command->arguments, count);
    (void)complain(&err, 0);
    print_usage(stderr, command);
    return EXIT_BAD_ARGS;
}

static int run(int argc, char *const *argv)
{
    const struct command *command;
    const char *const *words;
    struct args args;
    struct err err = ERR_INIT;
    size_t count;
    bool group = false;

    if (args_parse(argc, argv, &args, &err) < 0) {
        if (argc > 0 && find_command(argv[0]) == NULL && instead_of(argv[0]) != no_advice)
            err_set(&err, ERR_USAGE, "unknown command \"%s\" for \"etcd-snap\"; %s", argv[0],
                    instead_of(argv[0])); /* not its flags are wrong */
        (void)complain(&err, 0);
        (void)fputs("Run `etcd-snap --help` for the flags.\n", stderr);
        return EXIT_ERROR;
    }
    words = args.words;
    count = args.word_count;
    while (count != 0 && (is_group(*words) || strcmp(*words, "help") == 0)) {
        group |= is_group(*words);
        args.given[OPT_HELP] |= strcmp(*words, "help") == 0;
        args.values[OPT_HELP] = args.given[OPT_HELP] ? "true" : "false";
        words++;
        count--;
    }
    if (count == 0) {
        print_usage(stdout, NULL);
        return EXIT_OK;
    }
    command = find_command(*words);
    if (command == NULL) {
        if (group) /* as etcdutl */
            print_usage(stdout, NULL);
        err_set(&err, ERR_USAGE, "unknown command \"%s\" for \"etcd-snap\"; %s", *words,
                instead_of(*words));
        return complain(&err, group ? EXIT_OK : EXIT_ERROR);
    }
    if (args_bool(&args, OPT_HELP) || (count == 1 && is_family(command))) {
        print_usage(stdout, command);
        return EXIT_OK;
    }
    if (args_check(&args, command->flags, &err) < 0) {
        (void)complain(&err, 0);
        print_usage(stderr, command);
        return EXIT_ERROR;
    }
    if ((command->run == cmd_restore || command->run == cmd_defrag) && !args.given[OPT_DATA_DIR]) {
        err_set(&err, ERR_USAGE, "required flag(s) \"data-dir\" not set; give --data-dir=DIR");
        (void)complain(&err, 0);
        print_usage(stderr, command);
        return EXIT_ERROR;
    }
    if (count - 1 != command->argument_count)
        return wrong_count(command, count - 1);
    return command->run(&args, words + 1);
}

int main(int argc, char **argv)
{
    int status;

    print_guard_descriptors();
    status = run(argc > 0 ? argc - 1 : 0, argv + (argc > 0));

    if ((fflush(stdout) != 0 || ferror(stdout) != 0) && status == EXIT_OK) {
        (void)fputs("Error: could not write to standard output\n", stderr);
        status = EXIT_ERROR;
    }
    return status;
}
