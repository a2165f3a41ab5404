/*
 * config_fixture.h - a configuration loaded from words, and what it says. Static functions: include
 * it once per program.
 */
#ifndef TESTS_LIB_CONFIG_FIXTURE_H
#define TESTS_LIB_CONFIG_FIXTURE_H

#include "etcd-server/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#define ARGS_MAX 16

struct loaded {
    struct config config;
    enum config_action action;
    struct buf notes;
    struct err err;
    int rc, status;
};

/* From words between blanks, and variables (NULL: none). */
static inline void load(struct loaded *loaded, const char *words, const char *const *env)
{
    static const char *const no_env[] = {NULL};
    const char *argv[ARGS_MAX] = {"etcd-server"};
    char *copy = xstrdup(words), *rest = copy, *word;
    int argc = 1;

    *loaded = (struct loaded){.notes = BUF_INIT(BUF_UNLIMITED)};
    while ((word = strsep(&rest, " ")) != NULL && argc < ARGS_MAX) {
        if (*word != '\0')
            argv[argc++] = word;
    }
    loaded->rc = config_load(argc, argv, env != NULL ? env : no_env, &loaded->config,
                             &loaded->action, &loaded->notes, &loaded->status, &loaded->err);
    free(copy);
}

static inline void unload(struct loaded *loaded)
{
    config_free(&loaded->config);
    buf_free(&loaded->notes);
}

struct refusal {
    const char *words;
    int status;
    const char *text;
};

static inline void expect_refusals(const struct refusal *cases, size_t count)
{
    struct loaded loaded;

    for (size_t i = 0; i < count; i++) {
        load(&loaded, cases[i].words, NULL);
        if (loaded.rc == 0)
            fail_msg("taken: %s", cases[i].words);
        if (strstr(loaded.err.text, cases[i].text) == NULL || loaded.status != cases[i].status)
            fail_msg("%s\nsays:   %s (exit %d)\nwanted: %s (exit %d)", cases[i].words,
                     loaded.err.text, loaded.status, cases[i].text, cases[i].status);
        unload(&loaded);
    }
}

#endif
