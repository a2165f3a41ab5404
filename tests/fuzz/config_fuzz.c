/*
 * config_fuzz.c - any bytes as a config file, and, split at line ends, as a command line and as
 * environment.
 */
#include "etcd-server/config.h"

#define WORDS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void as_yaml(struct slice text)
{
    struct config config = {0};
    struct options options;
    struct err err = ERR_INIT;

    options_init(&options, config_table(), &config);
    if (options_read_yaml(&options, text, &err) < 0 || options_check_status(&options, &err) < 0)
        must(err.code != ERR_OK && err.text[0] != '\0');
    options_free(&options);
    options_free_fields(config_table(), &config);
}

static void as_words(struct slice text)
{
    const char *argv[WORDS_MAX + 1] = {"etcd-server"}, *env[WORDS_MAX + 1];
    char *copy = xalloc(text.size + 1), *rest = copy, *word;
    struct buf notes = BUF_INIT(BUF_UNLIMITED);
    struct err err = ERR_INIT;
    enum config_action action;
    struct config config;
    size_t count = 0;
    int argc = 1, status;

    if (text.size != 0)
        memcpy(copy, text.data, text.size);
    while ((word = strsep(&rest, "\n")) != NULL) {
        if (*word == '-' && argc < WORDS_MAX && strstr(word, "config-file") == NULL)
            argv[argc++] = word;
        else if (count < WORDS_MAX && strncmp(word, "ETCD_CONFIG_FILE", 16) != 0)
            env[count++] = word;
    }
    env[count] = NULL;
    if (config_load(argc, argv, env, &config, &action, &notes, &status, &err) < 0)
        must(status != 0 && err.text[0] != '\0');
    config_free(&config);
    buf_free(&notes);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    as_yaml(slice_of(data, size));
    as_words(slice_of(data, size));
    return 0;
}
