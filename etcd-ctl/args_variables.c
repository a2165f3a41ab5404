/* args_variables.c - the environment: ETCDCTL_<FLAG> for each global flag that was not given. */
#include "etcd-ctl/args_internal.h"

#include <ctype.h>
#include <stdio.h>

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
        if (args_is(others[i], entry, length))
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
        if (!args_is(name, entry, length))
            continue;
        if (value->given || text[0] == '\0')
            return; /* the flag wins; an empty variable counts as unset */
        if (args_set_value(value, name, text, false, &err))
            value->variable = true;
        else
            buf_printf(&args->notes, "warning: %s; the variable is ignored\n", err.text);
        return;
    }
    if (!known_elsewhere(entry, length))
        buf_printf(&args->notes, "warning: unrecognized environment variable %.*s\n",
                   (int)MIN(length, 200), entry);
}

bool args_read_environment(struct args *args, size_t globals, char *const *environment,
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
