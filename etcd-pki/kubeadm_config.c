/*
 * kubeadm_config.c - kubeadm's configuration file: of its documents ClusterConfiguration and
 * InitConfiguration, and of these what certificates depend on (pki.md 1.4 to 1.6). What was given
 * as a flag stays.
 */
#include "common/base/file.h"
#include "common/base/limits.h"
#include "etcd-pki/pki.h"

#include <stdio.h>
#include <yaml.h>

#define CONFIG_MAX_BYTES MIB
#define API "kubeadm.k8s.io/"

struct reader {
    const char *path;
    struct slice text; /* of the whole file */
    struct settings *settings;
    yaml_document_t document; /* the one that is looked at */
    yaml_node_t *root;
};

/* "a.b.c" below the root; NULL: not there, or null. */
static yaml_node_t *find(struct reader *reader, const char *where)
{
    yaml_node_t *node = reader->root;

    while (*where != '\0' && node != NULL) {
        size_t bytes = strcspn(where, ".");
        yaml_node_t *next = NULL;

        for (yaml_node_pair_t *pair =
                 node->type == YAML_MAPPING_NODE ? node->data.mapping.pairs.start : NULL;
             pair != NULL && pair < node->data.mapping.pairs.top; pair++) {
            const yaml_node_t *key = yaml_document_get_node(&reader->document, pair->key);

            if (key->type == YAML_SCALAR_NODE && key->data.scalar.length == bytes &&
                memcmp(key->data.scalar.value, where, bytes) == 0)
                next = yaml_document_get_node(&reader->document, pair->value);
        }
        node = next;
        where += bytes + (where[bytes] == '.' ? 1 : 0);
    }
    if (node != NULL && node->type == YAML_SCALAR_NODE &&
        node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
        (node->data.scalar.length == 0 || strcmp((char *)node->data.scalar.value, "null") == 0 ||
         strcmp((char *)node->data.scalar.value, "~") == 0))
        return NULL;
    return node;
}

static int wrong_shape(struct reader *reader, const char *where, const yaml_node_t *node,
                       const char *wanted, struct err *err)
{
    err_set(err, ERR_USAGE, "%s:%zu: %s should be %s", reader->path, node->start_mark.line + 1,
            where, wanted);
    return -1;
}

/* The text, kept in the settings; NULL: not there. */
static int take_text(struct reader *reader, const char *where, const yaml_node_t *node,
                     const char **text, struct err *err)
{
    if (node->type != YAML_SCALAR_NODE ||
        strlen((char *)node->data.scalar.value) != node->data.scalar.length)
        return wrong_shape(reader, where, node, "a text", err);
    texts_add(&reader->settings->config_texts, (char *)node->data.scalar.value);
    *text = reader->settings->config_texts.items[reader->settings->config_texts.count - 1];
    return 0;
}

static int take_list(struct reader *reader, const char *where, struct texts *list, struct err *err)
{
    const yaml_node_t *node = find(reader, where);
    const char *text;

    if (node == NULL || list->count != 0)
        return 0;
    if (node->type != YAML_SEQUENCE_NODE)
        return wrong_shape(reader, where, node, "a list", err);
    for (yaml_node_item_t *item = node->data.sequence.items.start;
         item < node->data.sequence.items.top; item++) {
        if (take_text(reader, where, yaml_document_get_node(&reader->document, *item), &text, err) <
            0)
            return -1;
        texts_add(list, text);
    }
    return 0;
}

static int take_cluster(struct reader *reader, struct err *err)
{
    struct settings *settings = reader->settings;
    const struct {
        const char *where;
        const char **to;
    } texts[] = {
        {"certificatesDir", &settings->dir},
        {"certificateValidityPeriod", &settings->validity},
        {"caCertificateValidityPeriod", &settings->ca_validity},
        {"encryptionAlgorithm", &settings->key},
        {"kubernetesVersion", &settings->kubernetes_version},
        {"controlPlaneEndpoint", &settings->control_plane_endpoint},
        {"networking.serviceSubnet", &settings->service_cidr},
        {"networking.dnsDomain", &settings->dns_domain},
    };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        const yaml_node_t *node = find(reader, texts[i].where);

        if (texts[i].to == &settings->validity &&
            (settings->days != NULL || settings->not_after != NULL))
            continue;
        if (node != NULL && *texts[i].to == NULL &&
            take_text(reader, texts[i].where, node, texts[i].to, err) < 0)
            return -1;
    }
    if (find(reader, "etcd.external") != NULL)
        settings->external_etcd = true;
    return take_list(reader, "apiServer.certSANs", &settings->apiserver_sans, err) < 0 ||
                   take_list(reader, "etcd.local.serverCertSANs", &settings->server_sans, err) <
                       0 ||
                   take_list(reader, "etcd.local.peerCertSANs", &settings->peer_sans, err) < 0
               ? -1
               : 0;
}

static int take_init(struct reader *reader, struct err *err)
{
    struct settings *settings = reader->settings;
    const yaml_node_t *name = find(reader, "nodeRegistration.name");
    const yaml_node_t *address = find(reader, "localAPIEndpoint.advertiseAddress");

    if (name != NULL && settings->node_name == NULL &&
        take_text(reader, "nodeRegistration.name", name, &settings->node_name, err) < 0)
        return -1;
    return address != NULL && settings->advertise_address == NULL
               ? take_text(reader, "localAPIEndpoint.advertiseAddress", address,
                           &settings->advertise_address, err)
               : 0;
}

/* One document; *used: it was one of ours. */
static int take_document(struct reader *reader, bool *used, struct err *err)
{
    const yaml_node_t *kind, *api;

    reader->root = yaml_document_get_root_node(&reader->document);
    kind = find(reader, "kind");
    api = find(reader, "apiVersion");
    if (kind == NULL || kind->type != YAML_SCALAR_NODE || api == NULL ||
        api->type != YAML_SCALAR_NODE ||
        strncmp((char *)api->data.scalar.value, API, strlen(API)) != 0)
        return 0;
    if (strcmp((char *)kind->data.scalar.value, "ClusterConfiguration") == 0) {
        *used = true;
        return take_cluster(reader, err);
    }
    if (strcmp((char *)kind->data.scalar.value, "InitConfiguration") == 0) {
        *used = true;
        return take_init(reader, err);
    }
    return 0;
}

/* Counted from 1. What is no text at all has an offset and no mark. */
static size_t line_of_problem(const struct reader *reader, const yaml_parser_t *parser)
{
    size_t line = 1;

    if (parser->error != YAML_READER_ERROR)
        return parser->problem_mark.line + 1;
    for (size_t at = 0; at < MIN(parser->problem_offset, reader->text.size); at++)
        line += reader->text.data[at] == '\n';
    return line;
}

static int take_all(struct reader *reader, yaml_parser_t *parser, struct err *err)
{
    bool used = false, end = false;
    int rc = 0;

    while (rc == 0 && !end) {
        if (yaml_parser_load(parser, &reader->document) != 1) {
            err_set(err, ERR_USAGE, "%s:%zu: no YAML: %s", reader->path,
                    line_of_problem(reader, parser),
                    parser->problem != NULL ? parser->problem : "out of memory");
            return -1;
        }
        end = yaml_document_get_root_node(&reader->document) == NULL;
        if (!end)
            rc = take_document(reader, &used, err);
        yaml_document_delete(&reader->document);
    }
    if (rc == 0 && !used) {
        err_set(err, ERR_USAGE,
                "%s: no document of the kind ClusterConfiguration or InitConfiguration and the "
                "apiVersion " API "...",
                reader->path);
        rc = -1;
    }
    return rc;
}

int kubeadm_config(struct settings *settings, struct err *err)
{
    struct reader reader = {.path = settings->kubeadm_config, .settings = settings};
    struct buf text = BUF_INIT(CONFIG_MAX_BYTES);
    yaml_parser_t parser;
    int rc = -1;

    if (file_read_all(reader.path, &text, err) == 0) {
        must(yaml_parser_initialize(&parser) == 1);
        reader.text = buf_slice(&text);
        yaml_parser_set_input_string(&parser, reader.text.data, reader.text.size);
        rc = take_all(&reader, &parser, err);
        yaml_parser_delete(&parser);
    }
    buf_free(&text);
    return rc;
}
