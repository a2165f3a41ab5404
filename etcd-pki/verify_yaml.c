/*
 * verify_yaml.c - what operators keep as YAML, as etcd's flags. Of its configuration file: a list
 * becomes one text with commas, a key of a transport-security section the flag of that side. Of a
 * pod's manifest: the environment and the words of the container that runs etcd.
 */
#include "common/base/file.h"
#include "common/base/limits.h"
#include "etcd-pki/verify.h"

#include <yaml.h>

#define YAML_MAX_BYTES MIB
#define LOOKS_MAX 100000u   /* at nodes of a document, in which an alias stands for what it names */
#define TAKEN_MAX (4 * MIB) /* bytes of values, an alias as long as what it names */
#define DEPTH_MAX 16        /* of a manifest's mappings and lists; containers are four deep */

struct source {
    const char *path;
    yaml_document_t document;
    struct texts *words;
    bool cut;     /* a value has a NUL, where it would end for us */
    size_t taken; /* bytes of values; above TAKEN_MAX nothing more is taken, and it is refused */
};

/* NULL: it is none, or the file has too much of them. */
static const char *scalar_of(struct source *source, const yaml_node_t *node)
{
    if (node == NULL || node->type != YAML_SCALAR_NODE)
        return NULL;
    source->taken +=
        MIN(node->data.scalar.length + 1, TAKEN_MAX + 1 - MIN(source->taken, TAKEN_MAX));
    source->cut |= strlen((const char *)node->data.scalar.value) != node->data.scalar.length;
    return source->taken <= TAKEN_MAX ? (const char *)node->data.scalar.value : NULL;
}

/* What etcd takes for a value; owned. NULL: there is none. */
static char *value_of(struct source *source, const yaml_node_t *node)
{
    struct buf list = BUF_INIT(BUF_UNLIMITED);
    char *text = NULL;

    if (node->type == YAML_SCALAR_NODE) {
        const char *scalar = scalar_of(source, node);
        bool plain = node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;

        return scalar == NULL || scalar[0] == '\0' ||
                       (plain && (strcmp(scalar, "null") == 0 || strcmp(scalar, "~") == 0))
                   ? NULL
                   : xstrdup(scalar);
    }
    if (node->type != YAML_SEQUENCE_NODE)
        return NULL;
    for (yaml_node_item_t *item = node->data.sequence.items.start;
         item < node->data.sequence.items.top; item++) {
        const char *one = scalar_of(source, yaml_document_get_node(&source->document, *item));

        if (one != NULL)
            (void)buf_printf(&list, "%s%s", buf_used(&list) != 0 ? "," : "", one);
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

static void take_pair(struct source *source, const char *section, const char *key,
                      const yaml_node_t *node)
{
    size_t bytes = strlen(key);
    bool list = bytes >= 8 && strcmp(key + bytes - 8, "crl-file") == 0; /* it has no such key */
    char *value = list ? NULL : value_of(source, node);
    char *flag = flag_of(section, key);

    if (value != NULL) {
        char *word = xasprintf("--%s=%s", flag, value);

        texts_add(source->words, word);
        free(word);
    }
    free(value);
    free(flag);
}

/* A mapping: the file, or one of its sections. */
static void take_mapping(struct source *source, const char *section, const yaml_node_t *node)
{
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(&source->document, pair->key);
        const yaml_node_t *value = yaml_document_get_node(&source->document, pair->value);
        const char *name = key->type == YAML_SCALAR_NODE ? (char *)key->data.scalar.value : "";

        if (value->type != YAML_MAPPING_NODE)
            take_pair(source, section, name, value);
        else if (section[0] == '\0' && (strcmp(name, "client-transport-security") == 0 ||
                                        strcmp(name, "peer-transport-security") == 0))
            take_mapping(source, name, value);
    }
}

/* ---- manifest ---- */

/* NULL: the mapping has no such key. */
static const yaml_node_t *member_of(struct source *source, const yaml_node_t *mapping,
                                    const char *name)
{
    for (yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
         pair < mapping->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(&source->document, pair->key);

        if (key->type == YAML_SCALAR_NODE && strcmp((char *)key->data.scalar.value, name) == 0)
            return yaml_document_get_node(&source->document, pair->value);
    }
    return NULL;
}

static void add_words(struct source *source, const yaml_node_t *list, struct texts *words)
{
    if (list == NULL || list->type != YAML_SEQUENCE_NODE)
        return;
    for (yaml_node_item_t *item = list->data.sequence.items.start;
         item < list->data.sequence.items.top; item++) {
        const char *word = scalar_of(source, yaml_document_get_node(&source->document, *item));

        if (word != NULL)
            texts_add(words, word);
    }
}

/* env: a list of mappings with name and value; etcd's come before its flags, which win. */
static void add_environment(struct source *source, const yaml_node_t *list)
{
    if (list == NULL || list->type != YAML_SEQUENCE_NODE)
        return;
    for (yaml_node_item_t *item = list->data.sequence.items.start;
         item < list->data.sequence.items.top; item++) {
        const yaml_node_t *one = yaml_document_get_node(&source->document, *item);
        const char *name, *value;

        if (one->type != YAML_MAPPING_NODE)
            continue;
        name = scalar_of(source, member_of(source, one, "name"));
        value = scalar_of(source, member_of(source, one, "value"));
        if (name != NULL && value != NULL)
            verify_variable(name, value, source->words);
    }
}

/* How sure it is that this mapping is etcd's container; 0: it is none at all. */
static int likeness(struct source *source, const yaml_node_t *mapping, const struct texts *words)
{
    const yaml_node_t *name = member_of(source, mapping, "name");
    const char *program = words->count != 0 ? words->items[0] : "";
    bool flags = false;

    program = strrchr(program, '/') != NULL ? strrchr(program, '/') + 1 : program;
    for (size_t i = 0; i < words->count; i++)
        flags = flags || strncmp(words->items[i], "--", 2) == 0;
    if (strcmp(program, "etcd") == 0 || strcmp(program, "etcd-server") == 0)
        return 3;
    if (name != NULL && name->type == YAML_SCALAR_NODE &&
        strcmp((char *)name->data.scalar.value, "etcd") == 0 &&
        member_of(source, mapping, "image") != NULL)
        return 3;
    return flags ? 1 : 0;
}

struct container {
    const yaml_node_t *mapping; /* NULL: none was found yet */
    int likeness;
    unsigned looks;
};

static void find_container(struct source *source, const yaml_node_t *node, unsigned depth,
                           struct container *best)
{
    struct texts words = {0};
    int like;

    if (depth > DEPTH_MAX || ++best->looks > LOOKS_MAX)
        return;
    if (node->type == YAML_SEQUENCE_NODE) {
        for (yaml_node_item_t *item = node->data.sequence.items.start;
             item < node->data.sequence.items.top; item++)
            find_container(source, yaml_document_get_node(&source->document, *item), depth + 1,
                           best);
        return;
    }
    if (node->type != YAML_MAPPING_NODE)
        return;
    add_words(source, member_of(source, node, "command"), &words);
    add_words(source, member_of(source, node, "args"), &words);
    best->looks += (unsigned)words.count;
    like = likeness(source, node, &words);
    texts_free(&words);
    if (like > best->likeness)
        *best = (struct container){node, like, best->looks};
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top; pair++)
        find_container(source, yaml_document_get_node(&source->document, pair->value), depth + 1,
                       best);
}

static int take_manifest(struct source *source, const yaml_node_t *root, struct err *err)
{
    struct container container = {0};
    struct texts words = {0};
    size_t first = 0;

    (void)err;
    find_container(source, root, 0, &container);
    if (container.mapping == NULL)
        return 0;
    add_environment(source, member_of(source, container.mapping, "env"));
    add_words(source, member_of(source, container.mapping, "command"), &words);
    add_words(source, member_of(source, container.mapping, "args"), &words);
    while (first < words.count && strncmp(words.items[first], "-", 1) != 0)
        first++; /* the program, and what starts it */
    for (; first < words.count; first++)
        texts_add(source->words, words.items[first]);
    texts_free(&words);
    return 0;
}

/* ---- files ---- */

static int take_config(struct source *source, const yaml_node_t *root, struct err *err)
{
    if (root->type != YAML_MAPPING_NODE) {
        err_set(err, ERR_USAGE, "%s: no configuration of etcd: lines of KEY: VALUE are expected",
                source->path);
        return -1;
    }
    take_mapping(source, "", root);
    return 0;
}

typedef int take_fn(struct source *source, const yaml_node_t *root, struct err *err);

/* The first document; of a manifest each, until one has etcd in it. */
static int take_documents(struct source *source, yaml_parser_t *parser, take_fn *take,
                          struct err *err)
{
    int rc = 0;

    do {
        const yaml_node_t *root;

        if (yaml_parser_load(parser, &source->document) != 1) {
            err_set(err, ERR_USAGE, "%s:%zu: no YAML: %s", source->path,
                    parser->problem_mark.line + 1,
                    parser->problem != NULL ? parser->problem : "out of memory");
            return -1;
        }
        root = yaml_document_get_root_node(&source->document);
        if (root == NULL) { /* the end */
            yaml_document_delete(&source->document);
            return 0;
        }
        rc = take(source, root, err);
        yaml_document_delete(&source->document);
        if (rc == 0 && source->cut) {
            err_set(err, ERR_USAGE, "%s: a value has a NUL byte; no file has such a name",
                    source->path);
            rc = -1;
        }
        if (rc == 0 && source->taken > TAKEN_MAX) {
            err_set(err, ERR_USAGE,
                    "%s: more than %lu MiB of values, with aliases written out: is it etcd's?",
                    source->path, TAKEN_MAX / MIB);
            rc = -1;
        }
    } while (rc == 0 && take == take_manifest && source->words->count == 0);
    return rc;
}

static int take_file(const char *path, take_fn *take, struct texts *words, struct err *err)
{
    struct source source = {.path = path, .words = words};
    struct buf text = BUF_INIT(YAML_MAX_BYTES);
    yaml_parser_t parser;
    int rc = -1;

    if (file_read_all(path, &text, err) == 0) {
        struct slice all = buf_slice(&text);

        must(yaml_parser_initialize(&parser) == 1);
        yaml_parser_set_input_string(&parser, all.data, all.size);
        rc = take_documents(&source, &parser, take, err);
        yaml_parser_delete(&parser);
    }
    buf_free(&text);
    return rc;
}

int verify_config(const char *path, struct texts *words, struct err *err)
{
    return take_file(path, take_config, words, err);
}

int verify_manifest(const char *path, struct texts *words, struct err *err)
{
    return take_file(path, take_manifest, words, err);
}
