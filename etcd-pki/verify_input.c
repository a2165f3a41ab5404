/*
 * verify_input.c - etcd's flags from where operators keep them: behind "--", in an environment
 * file, in a running process; verify_yaml.c has its configuration file and the static-pod manifest.
 */
#include "common/base/file.h"
#include "common/base/limits.h"
#include "etcd-pki/verify.h"

#include <ctype.h>
#include <stdio.h>

#define INPUT_MAX_BYTES (1UL * MIB)

static char *trimmed(const char *from, size_t bytes)
{
    while (bytes != 0 && (*from == ' ' || *from == '\t' || *from == '"' || *from == '\''))
        from++, bytes--;
    while (bytes != 0 && strchr(" \t\r\"'", from[bytes - 1]) != NULL)
        bytes--;
    return xstrndup(from, bytes);
}

void verify_variable(const char *name, const char *value, struct texts *words)
{
    char *flag, *word;

    if (strncmp(name, "ETCD_", 5) != 0)
        return;
    flag = xstrdup(name + 5);
    for (char *c = flag; *c != '\0'; c++)
        *c = *c == '_' ? '-' : (char)tolower((unsigned char)*c);
    word = xasprintf("--%s=%s", flag, value);
    texts_add(words, word);
    free(word);
    free(flag);
}

/* "ETCD_CERT_FILE=..." */
static void environment_line(const char *line, size_t bytes, struct texts *words)
{
    char *text = trimmed(line, bytes), *at = text, *equals = strchr(text, '=');

    if (strncmp(at, "export ", 7) == 0)
        at += 7;
    if (equals != NULL) {
        char *value = trimmed(equals + 1, strlen(equals + 1));

        *equals = '\0';
        verify_variable(at, value, words);
        free(value);
    }
    free(text);
}

enum form { FORM_ENVIRONMENT, FORM_PROCESS, FORM_PROCESS_ENVIRONMENT };

static int take_file(const char *path, enum form form, struct texts *words, struct err *err)
{
    struct buf text = BUF_INIT(INPUT_MAX_BYTES);
    const char *at, *end;
    int rc = file_read_all(path, &text, err);

    at = rc == 0 ? (const char *)buf_slice(&text).data : NULL;
    end = rc == 0 ? at + buf_slice(&text).size : NULL;
    while (rc == 0 && at < end) {
        const char *stop = memchr(at, form >= FORM_PROCESS ? '\0' : '\n', (size_t)(end - at));
        size_t bytes = (size_t)((stop != NULL ? stop : end) - at);
        char *word;

        switch (form) {
        case FORM_ENVIRONMENT:
        case FORM_PROCESS_ENVIRONMENT:
            environment_line(at, bytes, words);
            break;
        case FORM_PROCESS:
            word = xstrndup(at, bytes);
            texts_add(words, word);
            free(word);
            break;
        }
        at += bytes + 1;
    }
    buf_free(&text);
    return rc;
}

static int refuse_none(const char *path, const struct texts *words, struct err *err)
{
    if (words->count != 0)
        return 0;
    err_set(err, ERR_USAGE, "verify: %.200s: none of etcd's flags in it", path);
    return -1;
}

static int take_some(const char *path, enum form form, struct texts *words, struct err *err)
{
    return take_file(path, form, words, err) < 0 ? -1 : refuse_none(path, words, err);
}

/* As etcd: its environment first, then its command line, which wins. */
static int take_process(const char *pid, struct texts *words, struct err *err)
{
    char *line = xasprintf("/proc/%s/cmdline", pid), *own = xasprintf("/proc/%s/environ", pid);
    struct texts given = {0};
    struct err why = ERR_INIT;
    int rc = take_some(line, FORM_PROCESS, &given, err);

    if (rc == 0) {
        texts_add(words, given.items[0]); /* the program */
        if (take_file(own, FORM_PROCESS_ENVIRONMENT, words, &why) < 0)
            (void)fprintf(stderr, "etcd-pki: %s; its command line alone is judged\n", why.text);
        for (size_t i = 1; i < given.count; i++)
            texts_add(words, given.items[i]);
    }
    texts_free(&given);
    free(line);
    free(own);
    return rc;
}

int verify_input(const struct settings *settings, struct texts *words, struct err *err)
{
    int given = (settings->manifest != NULL) + (settings->etcd_config != NULL) +
                (settings->env_file != NULL) + (settings->pid != NULL) +
                (settings->after.count != 0);

    if (given > 1) {
        err_set(err, ERR_USAGE,
                "verify: one of --manifest, --config-file, --env-file, --pid and -- etcd FLAG...");
        return -1;
    }
    for (size_t i = 0; i < settings->after.count; i++)
        texts_add(words, settings->after.items[i]);
    if (settings->manifest != NULL || settings->etcd_config != NULL) {
        const char *path = settings->manifest != NULL ? settings->manifest : settings->etcd_config;
        int rc = settings->manifest != NULL ? verify_manifest(path, words, err)
                                            : verify_config(path, words, err);

        return rc < 0 ? -1 : refuse_none(path, words, err);
    }
    if (settings->env_file != NULL)
        return take_some(settings->env_file, FORM_ENVIRONMENT, words, err);
    if (settings->pid == NULL)
        return 0;
    if (settings->pid[strspn(settings->pid, "0123456789")] != '\0') {
        err_set(err, ERR_USAGE, "--pid %.40s: the number of a process", settings->pid);
        return -1;
    }
    return take_process(settings->pid, words, err);
}
