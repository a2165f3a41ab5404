/*
 * verify_config.c - etcd's configuration file as the flags that mean the same: a list becomes one
 * text with commas, a key of a transport-security section the flag of that side.
 */
#include "common/base/file.h"
#include "common/base/limits.h"
#include "etcd-pki/verify.h"

#include <yaml.h>

#define CONFIG_MAX_BYTES MIB

struct config {
    const char *path;
    yaml_document_t document;
    struct texts *words;
};

/* What etcd takes for a value; owned. NULL: there is none. */
static char *value_of(struct config *config, const yaml_node_t *node)
{
    struct buf list = BUF_INIT(BUF_UNLIMITED);
    char *text = NULL;

    if (node->type == YAML_SCALAR_NODE) {
        const char *scalar = (const char *)node->data.scalar.value;
        bool plain = node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;

        return node->data.scalar.length == 0 ||
                       (plain && (strcmp(scalar, "null") == 0 || strcmp(scalar, "~") == 0))
                   ? NULL
                   : xstrdup(scalar);
    }
    if (node->type != YAML_SEQUENCE_NODE)
        return NULL;
    for (yaml_node_item_t *item = node->data.sequence.items.start;
         item < node->data.sequence.items.top; item++) {
        const yaml_node_t *one = yaml_document_get_node(&config->document, *item);

        if (one->type == YAML_SCALAR_NODE)
            (void)buf_printf(&list, "%s%s", buf_used(&list) != 0 ? "," : "",
                             (const char *)one->data.scalar.value);
    }
    if (buf_used(&list) != 0)
        text = xstrdup(buf_text(&list));
    buf_free(&list);
    return text;
}

/* In a section keys are shorter than the flags, or have another name, also in the plural. */
static char *flag_of(const char *section, const char *key)
{
    const char *side = strcmp(section, "peer-transport-security") == 0 ? "peer-" : "";

    if (section[0] == '\0')
        return xstrdup(key);
    if (strcmp(key, "allowed-cn") == 0 || strcmp(key, "allowed-cns") == 0)
        return xasprintf("%scert-allowed-cn", side[0] != '\0' ? side : "client-");
    if (strcmp(key, "allowed-hostname") == 0 || strcmp(key, "allowed-hostnames") == 0)
        return xasprintf("%scert-allowed-hostname", side[0] != '\0' ? side : "client-");
    return xasprintf("%s%s", side, key);
}

static void take_pair(struct config *config, const char *section, const char *key,
                      const yaml_node_t *node)
{
    size_t bytes = strlen(key);
    bool list = bytes >= 8 && strcmp(key + bytes - 8, "crl-file") == 0; /* it has no such key */
    char *value = list ? NULL : value_of(config, node);
    char *flag = flag_of(section, key);

    if (value != NULL) {
        char *word = xasprintf("--%s=%s", flag, value);

        texts_add(config->words, word);
        free(word);
    }
    free(value);
    free(flag);
}

/* A mapping: the file, or one of its sections. */
static void take_mapping(struct config *config, const char *section, const yaml_node_t *node)
{
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(&config->document, pair->key);
        const yaml_node_t *value = yaml_document_get_node(&config->document, pair->value);
        const char *name = key->type == YAML_SCALAR_NODE ? (char *)key->data.scalar.value : "";

        if (value->type != YAML_MAPPING_NODE)
            take_pair(config, section, name, value);
        else if (section[0] == '\0' && (strcmp(name, "client-transport-security") == 0 ||
                                        strcmp(name, "peer-transport-security") == 0))
            take_mapping(config, name, value);
    }
}

static int take_document(struct config *config, yaml_parser_t *parser, struct err *err)
{
    const yaml_node_t *root;
    int rc = -1;

    if (yaml_parser_load(parser, &config->document) != 1) {
        err_set(err, ERR_USAGE, "%s:%zu: no YAML: %s", config->path, parser->problem_mark.line + 1,
                parser->problem != NULL ? parser->problem : "out of memory");
        return -1;
    }
    root = yaml_document_get_root_node(&config->document);
    if (root == NULL || root->type != YAML_MAPPING_NODE) {
        err_set(err, ERR_USAGE, "%s: no configuration of etcd: lines of KEY: VALUE are expected",
                config->path);
    } else {
        take_mapping(config, "", root);
        rc = 0;
    }
    yaml_document_delete(&config->document);
    return rc;
}

int verify_config(const char *path, struct texts *words, struct err *err)
{
    struct config config = {.path = path, .words = words};
    struct buf text = BUF_INIT(CONFIG_MAX_BYTES);
    yaml_parser_t parser;
    int rc = -1;

    if (file_read_all(path, &text, err) == 0) {
        struct slice all = buf_slice(&text);

        must(yaml_parser_initialize(&parser) == 1);
        yaml_parser_set_input_string(&parser, all.data, all.size);
        rc = take_document(&config, &parser, err);
        yaml_parser_delete(&parser);
    }
    buf_free(&text);
    return rc;
}
