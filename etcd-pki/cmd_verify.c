/*
 * cmd_verify.c - verify: reads etcd's command line behind "--" and prints the findings. Without one
 * the directory is judged as kubeadm would use it.
 */
#include "common/base/file.h"
#include "etcd-pki/verify.h"
#include "etcd-pki/report.h"
#include "etcd-pki/scan.h"

#include <jansson.h>
#include <stdio.h>

enum kind { KIND_TEXT, KIND_BOOL };
#define AT(field) offsetof(struct verify, field)
static const struct {
    const char *name;
    enum kind kind;
    size_t offset;
} etcd_flags[] = {
    {"cert-file", KIND_TEXT, AT(cert_file)},
    {"key-file", KIND_TEXT, AT(key_file)},
    {"trusted-ca-file", KIND_TEXT, AT(ca_file)},
    {"client-crl-file", KIND_TEXT, AT(crl_file)},
    {"client-cert-file", KIND_TEXT, AT(client_cert_file)},
    {"client-key-file", KIND_TEXT, AT(client_key_file)},
    {"client-cert-auth", KIND_BOOL, AT(client_cert_auth)},
    {"client-cert-allowed-hostname", KIND_TEXT, AT(allowed_hostname)},
    {"auto-tls", KIND_BOOL, AT(auto_tls)},
    {"peer-cert-file", KIND_TEXT, AT(peer_cert_file)},
    {"peer-key-file", KIND_TEXT, AT(peer_key_file)},
    {"peer-trusted-ca-file", KIND_TEXT, AT(peer_ca_file)},
    {"peer-crl-file", KIND_TEXT, AT(peer_crl_file)},
    {"peer-client-cert-file", KIND_TEXT, AT(peer_client_cert_file)},
    {"peer-client-key-file", KIND_TEXT, AT(peer_client_key_file)},
    {"peer-client-cert-auth", KIND_BOOL, AT(peer_client_cert_auth)},
    {"peer-cert-allowed-cn", KIND_TEXT, AT(peer_allowed_cn)},
    {"peer-cert-allowed-hostname", KIND_TEXT, AT(peer_allowed_hostname)},
    {"peer-auto-tls", KIND_BOOL, AT(peer_auto_tls)},
    {"listen-client-urls", KIND_TEXT, AT(listen_client_urls)},
    {"advertise-client-urls", KIND_TEXT, AT(advertise_client_urls)},
    {"listen-peer-urls", KIND_TEXT, AT(listen_peer_urls)},
    {"initial-advertise-peer-urls", KIND_TEXT, AT(peer_urls)},
    {"initial-cluster", KIND_TEXT, AT(initial_cluster)},
    {"name", KIND_TEXT, AT(name)},
    {"config-file", KIND_TEXT, AT(config_file)},
    {"enable-grpc-gateway", KIND_BOOL, AT(gateway)},
    {"listen-client-http-urls", KIND_TEXT, AT(http_urls)},
    {"tls-min-version", KIND_TEXT, AT(tls_min)},
    {"tls-max-version", KIND_TEXT, AT(tls_max)},
    {"cipher-suites", KIND_TEXT, AT(suites)},
    {"peer-skip-client-san-verification", KIND_BOOL, AT(skip_san)},
    {"experimental-peer-skip-client-san-verification", KIND_BOOL, AT(skip_san_old)},
};

/*
 * From the word of that number on, as Go's flag package: one dash or two, "=" or the next word; a
 * boolean needs "=".
 */
static int take_etcd_flags(struct verify *verify, const struct texts *words, size_t from,
                           struct err *err)
{
    for (size_t i = from; i < words->count; i++) {
        const char *word = words->items[i], *equals, *value;
        bool text = true; /* also of a flag that does not matter here, as --data-dir */
        size_t bytes;

        if (word[0] != '-') {
            if (i == 0) /* the program's name */
                continue;
            err_set(err, ERR_USAGE, "verify: \"%.100s\" among etcd's flags is no flag", word);
            return -1;
        }
        word += word[1] == '-' ? 2 : 1;
        equals = strchr(word, '=');
        bytes = equals != NULL ? (size_t)(equals - word) : strlen(word);
        value = equals != NULL                                          ? equals + 1
                : i + 1 < words->count && words->items[i + 1][0] != '-' ? words->items[i + 1]
                                                                        : NULL;
        for (size_t k = 0; k < ARRAY_LEN(etcd_flags); k++) {
            void *field = (char *)verify + etcd_flags[k].offset;

            if (strlen(etcd_flags[k].name) != bytes ||
                strncmp(etcd_flags[k].name, word, bytes) != 0)
                continue;
            if (etcd_flags[k].kind == KIND_BOOL) {
                *(bool *)field = equals == NULL || strcmp(equals + 1, "true") == 0;
            } else if (value == NULL) {
                err_set(err, ERR_USAGE, "verify: --%s needs a value", etcd_flags[k].name);
                return -1;
            } else if (value[0] != '\0') {
                *(const char **)field = value;
            }
            text = etcd_flags[k].kind == KIND_TEXT;
        }
        if (text && equals == NULL && value != NULL)
            i++;
    }
    return 0;
}

/* With --config-file among them etcd ignores all other flags and its environment. */
static int take_config_file(struct verify *verify, struct texts *kept, struct err *err)
{
    struct verify only = {.settings = verify->settings,
                          .at_s = verify->at_s,
                          .warn_s = verify->warn_s,
                          .version = verify->version,
                          .gateway = true,
                          .config_file = verify->config_file,
                          .crl_file = verify->crl_file, /* which R5 is about */
                          .peer_crl_file = verify->peer_crl_file};
    char *path = verify_path(verify, verify->config_file);
    size_t from = kept->count;
    int rc = verify_config(path, kept, err);

    if (rc == 0)
        rc = take_etcd_flags(&only, kept, from, err);
    if (rc == 0)
        *verify = only;
    free(path);
    return rc;
}

/* As kubeadm starts etcd on a node whose files lie in `dir` (pki.md 1.11), URLs left out. */
static void take_directory(struct verify *verify, const char *dir, struct texts *kept)
{
    static const char *const names[] = {"server.crt", "server.key", "ca.crt", "peer.crt",
                                        "peer.key"};
    size_t first = kept->count;

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char *path = xasprintf("%s/etcd/%s", dir, names[i]);

        texts_add(kept, path);
        free(path);
    }
    verify->cert_file = kept->items[first];
    verify->key_file = kept->items[first + 1];
    verify->ca_file = verify->peer_ca_file = kept->items[first + 2];
    verify->peer_cert_file = kept->items[first + 3];
    verify->peer_key_file = kept->items[first + 4];
    verify->client_cert_auth = verify->peer_client_cert_auth = true;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A node's directory, or one with a directory for each member: then one after the other. */
static int judge_directory(struct verify *verify, const char *dir, struct texts *kept,
                           struct err *err)
{
    static const char tail[] = "/etcd/server.crt";
    struct texts found = {0};
    size_t members = 0;
    int rc = scan_find(dir, ".crt", &found, err);
    char *own = xasprintf("%s%s", dir, tail);

    if (found.count != 0)
        qsort(found.items, found.count, sizeof *found.items, by_bytes);
    for (size_t i = 0; rc == 0 && !file_exists(own) && i < found.count; i++) {
        size_t bytes = strlen(found.items[i]), above = bytes - MIN(bytes, strlen(tail));
        char *member;

        if (above == 0 || strcmp(found.items[i] + above, tail) != 0)
            continue;
        member = xasprintf("%s/%.*s", dir, (int)above, found.items[i]);
        take_directory(verify, member, kept);
        verify_rules(verify);
        members++;
        free(member);
    }
    if (rc == 0 && members == 0) {
        take_directory(verify, dir, kept);
        verify_rules(verify);
    }
    free(own);
    texts_free(&found);
    return rc;
}

static void print_text(const struct verify *verify)
{
    for (size_t i = 0; i < verify->count; i++) {
        const struct finding *finding = &verify->findings[i];

        printf("%s %s  %s%s%s: %s\n      expected  %s\n      do        %s\n",
               finding->error ? "error  " : "warning", finding->id, finding->file,
               finding->file[0] != '\0' && finding->flag[0] != '\0' ? " " : "", finding->flag,
               finding->found, finding->expected, finding->todo);
    }
    if (!verify->settings->quiet)
        printf("%zu error%s, %zu warning%s\n", verify->errors, verify->errors != 1 ? "s" : "",
               verify->count - verify->errors, verify->count - verify->errors != 1 ? "s" : "");
}

/* err: why it was not judged to the end; ERR_OK: it was. */
static void print_json(const struct verify *verify, const struct err *err)
{
    json_t *list = json_array(), *all;

    for (size_t i = 0; i < verify->count; i++) {
        const struct finding *finding = &verify->findings[i];
        json_t *json =
            json_pack("{s:s, s:s, s:o, s:o, s:o, s:s, s:o}", "id", finding->id, "severity",
                      finding->error ? "error" : "warning", "file", json_text(finding->file),
                      "flag", json_text(finding->flag), "found", json_text(finding->found),
                      "expected", finding->expected, "do", json_text(finding->todo));

        must(json != NULL && json_array_append_new(list, json) == 0);
    }
    all = json_pack("{s:b, s:I, s:I, s:o}", "ok", err->code == ERR_OK && verify->errors == 0,
                    "errors", (json_int_t)verify->errors, "warnings",
                    (json_int_t)(verify->count - verify->errors), "findings", list);
    must(all != NULL);
    if (err->code != ERR_OK)
        must(json_object_set_new(all, "error", json_text(err->text)) == 0);
    json_put(all);
}

/* "3.5.30", "v3.6", "3.6.14-rc.0" */
static int take_version(const struct settings *settings, int *version, struct err *err)
{
    const char *text = settings->etcd_version;
    int parts[3] = {0};

    *version = 99999;
    if (text == NULL)
        return 0;
    text += *text == 'v' ? 1 : 0;
    if (sscanf(text, "%2d.%2d.%2d", &parts[0], &parts[1], &parts[2]) < 2 || parts[0] != 3) {
        err_set(err, ERR_USAGE, "--etcd-version %.40s: write it as 3.5.30", settings->etcd_version);
        return -1;
    }
    *version = parts[0] * 10000 + parts[1] * 100 + parts[2];
    return 0;
}

static int prepare(struct verify *verify, const struct settings *settings, struct texts *kept,
                   struct err *err)
{
    *verify = (struct verify){
        .settings = settings, .at_s = clock_s(), .warn_s = WARN_S_DEFAULT, .gateway = true};
    if (take_at(settings, &verify->at_s, err) < 0)
        return -1;
    if (settings->warn != NULL &&
        parse_duration("--warn", settings->warn, &verify->warn_s, err) < 0)
        return -1;
    if (settings->args.count != 0) {
        err_set(err, ERR_USAGE,
                "verify: \"%.100s\": give the directory with --dir, etcd's flags behind --",
                settings->args.items[0]);
        return -1;
    }
    if (take_version(settings, &verify->version, err) < 0 || verify_input(settings, kept, err) < 0)
        return -1;
    if (kept->count != 0 && take_etcd_flags(verify, kept, 0, err) < 0)
        return -1;
    if (kept->count != 0)
        return verify->config_file != NULL ? take_config_file(verify, kept, err) : 0;
    verify->by_directory = true;
    return judge_directory(verify, reading_dir(settings), kept, err);
}

int cmd_verify(struct settings *settings)
{
    struct verify verify = {.settings = settings};
    struct texts kept = {0};
    struct err err = ERR_INIT;
    bool bad, as_json = wants_json(settings, &err, &bad);
    int status;

    if (bad || prepare(&verify, settings, &kept, &err) < 0) {
        if (as_json && err.code != ERR_USAGE)
            print_json(&verify, &err);
        verify_free(&verify);
        texts_free(&kept);
        return say(&err);
    }
    if (!verify.by_directory)
        verify_rules(&verify);
    if (verify.by_directory || settings->dir != NULL)
        verify_set(&verify, reading_dir(settings));
    if (as_json)
        print_json(&verify, &err);
    else
        print_text(&verify);
    status = verify.errors != 0 ? EXIT_FINDING : verify.count != 0 ? EXIT_WARNINGS : EXIT_DONE;
    verify_free(&verify);
    texts_free(&kept);
    return status;
}
