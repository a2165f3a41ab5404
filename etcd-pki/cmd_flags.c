/*
 * cmd_flags.c - flags: how to call etcd and etcdctl with a set, also for the files of cluster;
 * certificate-key: 32 random bytes.
 */
#include "common/base/file.h"
#include "etcd-pki/verify.h"
#include "etcd-pki/report.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

#define ENV_FILE "etcd.env" /* what cluster --flags-file writes beside the files */

struct own_names { /* what a server certificate has beside what all have */
    const char *cn;
    char *address, *name; /* owned; NULL: none */
};

static void first_own_name(void *arg, char kind, const char *text)
{
    struct own_names *own = arg;

    if (kind == 'I' && own->address == NULL && strncmp(text, "127.", 4) != 0 &&
        strcmp(text, "::1") != 0)
        own->address = host_in_url(text);
    if (kind == 'D' && own->name == NULL && strcmp(text, "localhost") != 0 &&
        strcmp(text, own->cn) != 0 && text[0] != '*')
        own->name = xstrdup(text);
}

static void set_free(struct member_flags *set)
{
    free(set->dir);
    free(set->name);
    free(set->host);
    free(set->bind);
    free(set->peer_urls);
    free(set->listen_peer_urls);
    free(set->initial_cluster);
    texts_free(&set->given);
}

/* What cluster has written, and the operator has changed since, says more than the certificate. */
static int take_env_file(struct member_flags *set, struct err *err)
{
    char *path = xasprintf("%s/" ENV_FILE, set->dir);
    const struct settings from = {.env_file = path};
    int rc = file_exists(path) ? verify_input(&from, &set->given, err) : 0;

    free(path);
    return rc;
}

/* From the server certificate: the name is its CN, the host an address or name of its own. */
static int open_set(const struct settings *settings, struct member_flags *set, struct err *err)
{
    const char *dir = reading_dir(settings);
    char *path;
    struct x509_list certs;
    struct x509_info info;
    struct own_names own = {0};

    *set = (struct member_flags){0};
    set->dir =
        settings->args.count != 0 ? xasprintf("%s/%s", dir, settings->args.items[0]) : xstrdup(dir);
    path = xasprintf("%s/etcd/server.crt", set->dir);
    if (!file_exists(path)) {
        err_set(err, ERR_MISSING,
                "%s is not there; give the member's name (etcd-pki flags MEMBER) and --dir", path);
        free(path);
        return -1;
    }
    if (x509_list_read(path, false, &certs, err) < 0) {
        free(path);
        return -1;
    }
    x509_describe(certs.items[0], &info);
    own.cn = info.cn;
    x509_sans_each(certs.items[0], first_own_name, &own);
    set->name = xstrdup(info.cn);
    set->host = xstrdup(own.address != NULL ? own.address
                        : own.name != NULL  ? own.name
                                            : "127.0.0.1");
    /* etcd listens on addresses only */
    set->bind = xstrdup(own.address == NULL && own.name != NULL ? "0.0.0.0" : set->host);
    set->peer_urls = xasprintf("https://%s:2380", set->host);
    set->listen_peer_urls = xasprintf("https://%s:2380", set->bind);
    free(own.address);
    free(own.name);
    x509_info_free(&info);
    x509_list_free(&certs);
    free(path);
    return take_env_file(set, err);
}

static const struct row {
    const char *flag, *variable, *value; /* %X: see part_of() */
} rows[] =
    {
        {"--name", "ETCD_NAME", "%N"},
        {"--listen-client-urls", "ETCD_LISTEN_CLIENT_URLS", "%Lhttps://%B:2379"},
        {"--advertise-client-urls", "ETCD_ADVERTISE_CLIENT_URLS", "https://%H:2379"},
        {"--listen-peer-urls", "ETCD_LISTEN_PEER_URLS", "%Q"},
        {"--initial-advertise-peer-urls", "ETCD_INITIAL_ADVERTISE_PEER_URLS", "%P"},
        {"--cert-file", "ETCD_CERT_FILE", "%D/etcd/server.crt"},
        {"--key-file", "ETCD_KEY_FILE", "%D/etcd/server.key"},
        {"--client-cert-auth", "ETCD_CLIENT_CERT_AUTH", "true"},
        {"--trusted-ca-file", "ETCD_TRUSTED_CA_FILE", "%D/etcd/ca.crt"},
        {"--peer-cert-file", "ETCD_PEER_CERT_FILE", "%D/etcd/peer.crt"},
        {"--peer-key-file", "ETCD_PEER_KEY_FILE", "%D/etcd/peer.key"},
        {"--peer-client-cert-auth", "ETCD_PEER_CLIENT_CERT_AUTH", "true"},
        {"--peer-trusted-ca-file", "ETCD_PEER_TRUSTED_CA_FILE", "%D/etcd/ca.crt"},
        {"--initial-cluster", "ETCD_INITIAL_CLUSTER", "%C"},
},
  ctl_rows[] = {
      {"--endpoints", "ETCDCTL_ENDPOINTS", "https://%H:2379"},
      {"--cacert", "ETCDCTL_CACERT", "%D/etcd/ca.crt"},
      {"--cert", "ETCDCTL_CERT", "%D/etcd/healthcheck-client.crt"},
      {"--key", "ETCDCTL_KEY", "%D/etcd/healthcheck-client.key"},
};

enum form { FORM_ETCD, FORM_ENV, FORM_SYSTEMD, FORM_CTL, FORM_MANIFEST, FORMS };
static const char *const forms[FORMS] = {"etcd", "env", "systemd", "etcdctl", "manifest"};

static const char *part_of(const struct member_flags *set, char letter)
{
    switch (letter) {
    case 'D':
        return set->dir;
    case 'N':
        return set->name;
    case 'H':
        return set->host;
    case 'B':
        return set->bind;
    case 'P':
        return set->peer_urls;
    case 'Q':
        return set->listen_peer_urls;
    case 'C':
        return set->initial_cluster;
    case 'L': /* loopback too, unless it is among them */
        return strcmp(set->bind, "127.0.0.1") != 0 && strcmp(set->bind, "0.0.0.0") != 0
                   ? "https://127.0.0.1:2379,"
                   : "";
    }
    must(false);
    return NULL;
}

/* What etcd.env says there; paths are those of the set, wherever that is. NULL: nothing. */
static const char *given(const struct member_flags *set, const char *flag, const char *value)
{
    size_t bytes;

    if (strcmp(flag, "--endpoints") == 0) /* etcdctl's, of which etcd says */
        flag = "--advertise-client-urls";
    bytes = strlen(flag);
    for (size_t i = set->given.count;
         value[0] != '\0' && strncmp(value, "%D", 2) != 0 && i-- > 0;) {
        const char *word = set->given.items[i];

        if (strncmp(word, flag, bytes) == 0 && word[bytes] == '=' && word[bytes + 1] != '\0')
            return word + bytes + 1;
    }
    return NULL;
}

/* false: nothing is known to say there. */
static bool fill(const struct member_flags *set, const struct row *row, struct buf *out)
{
    const char *value = row->value;
    const char *known = given(set, row->flag, value);

    if (known != NULL) {
        (void)buf_printf(out, "%s", known);
        return true;
    }
    for (; *value != '\0'; value++) {
        const char *part = *value == '%' ? part_of(set, *++value) : NULL;

        if (*value == 'C' && part == NULL)
            return false;
        if (part == NULL)
            (void)buf_append_byte(out, (uint8_t)*value);
        else
            (void)buf_printf(out, "%s", part);
    }
    return true;
}

/* For a shell in single quotes, for environment files and YAML in double ones; bare if it
 * can be. */
static void put_word(enum form form, const char *word, struct buf *out)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "-_./:,=@%+";
    bool shell = form == FORM_ETCD || form == FORM_CTL;
    const char *quote = shell ? "'" : "\"";
    const char *escaped = shell ? "" : form == FORM_MANIFEST ? "\"\\" : "\"\\$`";
    const char *odd = word + strspn(word, plain);

    /* https://[::1]:2379 is a pattern for shells that no file fits: $(etcd-pki flags) works */
    while (form != FORM_CTL && (*odd == '[' || *odd == ']'))
        odd += 1 + strspn(odd + 1, plain);
    if (*odd == '\0') {
        (void)buf_printf(out, "%s", word);
        return;
    }
    (void)buf_printf(out, "%s", quote);
    for (; *word != '\0'; word++)
        if (shell && *word == '\'')
            (void)buf_printf(out, "'\\''");
        else
            (void)buf_printf(out, "%s%c", strchr(escaped, *word) != NULL ? "\\" : "", *word);
    (void)buf_printf(out, "%s", quote);
}

/* What a static pod needs for its certificates; the rest of its manifest is the operator's. */
static void put_manifest(const struct member_flags *set, struct buf *out)
{
    char *mount = xasprintf("%s/etcd", set->dir); /* no more than kubeadm lets it see */

    (void)buf_printf(
        out, "# Of a static pod's manifest what its certificates need: image, --data-dir and\n"
             "# --initial-cluster are to be added.\n"
             "apiVersion: v1\nkind: Pod\nmetadata:\n  name: etcd\n  namespace: kube-system\nspec:\n"
             "  hostNetwork: true\n  containers:\n  - name: etcd\n    command:\n    - etcd\n");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf word = BUF_INIT(BUF_UNLIMITED);

        (void)buf_printf(&word, "%s=", rows[i].flag);
        if (fill(set, &rows[i], &word)) {
            (void)buf_printf(out, "    - ");
            put_word(FORM_MANIFEST, buf_text(&word), out);
            (void)buf_printf(out, "\n");
        }
        buf_free(&word);
    }
    (void)buf_printf(out, "    volumeMounts:\n    - name: etcd-certs\n      mountPath: ");
    put_word(FORM_MANIFEST, mount, out);
    (void)buf_printf(out,
                     "\n      readOnly: true\n  volumes:\n  - name: etcd-certs\n    hostPath:\n"
                     "      path: ");
    put_word(FORM_MANIFEST, mount, out);
    (void)buf_printf(out, "\n      type: Directory\n");
    free(mount);
}

static void put_lines(const struct member_flags *set, enum form form, struct buf *out)
{
    size_t count = form == FORM_CTL ? ARRAY_LEN(ctl_rows) : ARRAY_LEN(rows);

    for (size_t i = 0; i < count; i++) {
        struct buf value = BUF_INIT(BUF_UNLIMITED);

        if (fill(set, form == FORM_CTL ? &ctl_rows[i] : &rows[i], &value)) {
            if (form == FORM_ETCD)
                (void)buf_printf(out, "%s%s=", i != 0 ? " \\\n" : "", rows[i].flag);
            else if (form == FORM_CTL)
                (void)buf_printf(out, "export %s=", ctl_rows[i].variable);
            else
                (void)buf_printf(out, "%s=", rows[i].variable);
            put_word(form, buf_text(&value), out);
            (void)buf_printf(out, "%s", form == FORM_ETCD ? "" : "\n");
        }
        buf_free(&value);
    }
    (void)buf_printf(out, "%s", form == FORM_ETCD ? "\n" : "");
}

void member_flags_env(const struct member_flags *set, struct buf *out)
{
    put_lines(set, FORM_ENV, out);
}

/* Who starts a pod or a service does so from elsewhere. */
static int make_absolute(struct member_flags *set, struct err *err)
{
    char *path = realpath(set->dir, NULL);

    if (path == NULL) {
        err_sys(err, errno, "find the absolute path of %s", set->dir);
        return -1;
    }
    free(set->dir);
    set->dir = path;
    return 0;
}

static bool printable(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return false;
    return true;
}

int cmd_flags(struct settings *settings)
{
    const char *named = settings->format != NULL ? settings->format : "etcd";
    enum form form = FORM_ETCD;
    struct buf out = BUF_INIT(BUF_UNLIMITED);
    struct err err = ERR_INIT;
    struct member_flags set = {0};
    int rc = -1;

    while (form < FORMS && strcmp(forms[form], named) != 0)
        form++;
    if (form == FORMS)
        err_set(&err, ERR_USAGE, "--for %.60s: one of etcd, env, systemd, etcdctl, manifest",
                named);
    else if (settings->args.count > 1)
        err_set(&err, ERR_USAGE, "flags: one member at a time");
    else if (open_set(settings, &set, &err) == 0)
        rc = form == FORM_MANIFEST || form == FORM_SYSTEMD ? make_absolute(&set, &err) : 0;
    for (size_t i = 0; rc == 0 && i < set.given.count; i++)
        if (!printable(set.given.items[i])) {
            err_set(&err, ERR_USAGE, "flags: a control character in " ENV_FILE ": %.100s",
                    set.given.items[i]);
            rc = -1;
        }
    if (rc == 0 && !(printable(set.dir) && printable(set.name))) {
        err_set(&err, ERR_USAGE,
                "flags: a control character in the directory or in the name of its server "
                "certificate; rename the one, reissue the other");
        rc = -1;
    }
    if (rc == 0 && form == FORM_MANIFEST)
        put_manifest(&set, &out);
    else if (rc == 0)
        put_lines(&set, form, &out);
    (void)fputs(buf_text(&out), stdout);
    buf_free(&out);
    set_free(&set);
    return rc < 0 ? fail(settings, &err) : EXIT_DONE;
}

int cmd_certificate_key(struct settings *settings)
{
    uint8_t bytes[32] = {0};
    struct err err = ERR_INIT;

    if (settings->args.count != 0)
        err_set(&err, ERR_USAGE, "certificate-key: takes no words");
    else if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        err_sys(&err, errno, "read random bytes");
    if (err.code != ERR_OK)
        return fail(settings, &err);
    for (size_t i = 0; i < sizeof bytes; i++)
        printf("%02x", bytes[i]);
    printf("\n");
    wipe(bytes, sizeof bytes);
    return EXIT_DONE;
}
