/*
 * cmd_flags.c - flags: how to call etcd and etcdctl with a set; certificate-key: 32 random bytes.
 */
#include "common/base/file.h"
#include "etcd-pki/pki.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

struct set { /* where the files of a member are */
    char *dir;
    char *host; /* an address of its own, or a name; from the server certificate */
    char *name; /* its CN */
};

static void first_own_address(void *arg, char kind, const char *text)
{
    struct set *set = arg;

    if (kind == 'I' && set->host == NULL && strncmp(text, "127.", 4) != 0 &&
        strcmp(text, "::1") != 0)
        set->host = strchr(text, ':') != NULL ? xasprintf("[%s]", text) : xstrdup(text);
}

static int open_set(const struct settings *settings, struct set *set, struct err *err)
{
    const char *dir = reading_dir(settings);
    char *path;
    struct x509_list certs;
    struct x509_info info;

    *set = (struct set){0};
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
    x509_sans_each(certs.items[0], first_own_address, set);
    x509_describe(certs.items[0], &info);
    set->name = xstrdup(info.cn);
    if (set->host == NULL)
        set->host = xstrdup("127.0.0.1");
    x509_info_free(&info);
    x509_list_free(&certs);
    free(path);
    return 0;
}

static const struct {
    const char *flag, *variable, *value; /* value: %D directory, %H host, %N name,
                                         %L loopback's URL and a comma, unless it is the host's */
} rows[] =
    {
        {"--name", "ETCD_NAME", "%N"},
        {"--listen-client-urls", "ETCD_LISTEN_CLIENT_URLS", "%Lhttps://%H:2379"},
        {"--advertise-client-urls", "ETCD_ADVERTISE_CLIENT_URLS", "https://%H:2379"},
        {"--listen-peer-urls", "ETCD_LISTEN_PEER_URLS", "https://%H:2380"},
        {"--initial-advertise-peer-urls", "ETCD_INITIAL_ADVERTISE_PEER_URLS", "https://%H:2380"},
        {"--cert-file", "ETCD_CERT_FILE", "%D/etcd/server.crt"},
        {"--key-file", "ETCD_KEY_FILE", "%D/etcd/server.key"},
        {"--client-cert-auth", "ETCD_CLIENT_CERT_AUTH", "true"},
        {"--trusted-ca-file", "ETCD_TRUSTED_CA_FILE", "%D/etcd/ca.crt"},
        {"--peer-cert-file", "ETCD_PEER_CERT_FILE", "%D/etcd/peer.crt"},
        {"--peer-key-file", "ETCD_PEER_KEY_FILE", "%D/etcd/peer.key"},
        {"--peer-client-cert-auth", "ETCD_PEER_CLIENT_CERT_AUTH", "true"},
        {"--peer-trusted-ca-file", "ETCD_PEER_TRUSTED_CA_FILE", "%D/etcd/ca.crt"},
},
  ctl_rows[] = {
      {"--endpoints", "ETCDCTL_ENDPOINTS", "https://%H:2379"},
      {"--cacert", "ETCDCTL_CACERT", "%D/etcd/ca.crt"},
      {"--cert", "ETCDCTL_CERT", "%D/etcd/healthcheck-client.crt"},
      {"--key", "ETCDCTL_KEY", "%D/etcd/healthcheck-client.key"},
};

enum form { FORM_ETCD, FORM_ENV, FORM_SYSTEMD, FORM_CTL, FORM_MANIFEST, FORMS };
static const char *const forms[FORMS] = {"etcd", "env", "systemd", "etcdctl", "manifest"};

static void fill(const struct set *set, const char *value, struct buf *out)
{
    for (; *value != '\0'; value++) {
        if (*value != '%') {
            (void)buf_append_byte(out, (uint8_t)*value);
            continue;
        }
        value++;
        if (*value == 'L')
            (void)buf_printf(out, "%s",
                             strcmp(set->host, "127.0.0.1") != 0 ? "https://127.0.0.1:2379," : "");
        else
            (void)buf_printf(out, "%s",
                             *value == 'D'   ? set->dir
                             : *value == 'H' ? set->host
                                             : set->name);
    }
}

/* For a shell in single quotes, for environment files and YAML in double ones; bare if it can be.
 */
static void print_word(enum form form, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "-_./:,=@%+";
    bool shell = form == FORM_ETCD || form == FORM_CTL;
    const char *escaped = shell ? "" : form == FORM_MANIFEST ? "\"\\" : "\"\\$`";
    const char *odd = word + strspn(word, plain);

    /* https://[::1]:2379 is a pattern for shells that no file fits: $(etcd-pki flags) works */
    while (form != FORM_CTL && (*odd == '[' || *odd == ']'))
        odd += 1 + strspn(odd + 1, plain);
    if (*odd == '\0') {
        (void)fputs(word, stdout);
        return;
    }
    putchar(shell ? '\'' : '"');
    for (; *word != '\0'; word++)
        if (shell && *word == '\'')
            (void)fputs("'\\''", stdout);
        else if (strchr(escaped, *word) != NULL)
            printf("\\%c", *word);
        else
            putchar(*word);
    putchar(shell ? '\'' : '"');
}

/* What a static pod needs for its certificates; the rest of its manifest is the operator's. */
static void print_manifest(const struct set *set)
{
    char *mount;

    printf("# Of a static pod's manifest what its certificates need: image, --data-dir and\n"
           "# --initial-cluster are to be added.\n"
           "apiVersion: v1\nkind: Pod\nmetadata:\n  name: etcd\n  namespace: kube-system\nspec:\n"
           "  hostNetwork: true\n  containers:\n  - name: etcd\n    command:\n    - etcd\n");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf word = BUF_INIT(BUF_UNLIMITED);

        (void)buf_printf(&word, "%s=", rows[i].flag);
        fill(set, rows[i].value, &word);
        printf("    - ");
        print_word(FORM_MANIFEST, buf_text(&word));
        printf("\n");
        buf_free(&word);
    }
    mount = xasprintf("%s/etcd", set->dir); /* no more than kubeadm lets it see */
    printf("    volumeMounts:\n    - name: etcd-certs\n      mountPath: ");
    print_word(FORM_MANIFEST, mount);
    printf("\n      readOnly: true\n  volumes:\n  - name: etcd-certs\n    hostPath:\n      path: ");
    print_word(FORM_MANIFEST, mount);
    printf("\n      type: Directory\n");
    free(mount);
}

static void print_lines(const struct set *set, enum form form)
{
    size_t count = form == FORM_CTL ? ARRAY_LEN(ctl_rows) : ARRAY_LEN(rows);

    for (size_t i = 0; i < count; i++) {
        struct buf value = BUF_INIT(BUF_UNLIMITED);

        fill(set, form == FORM_CTL ? ctl_rows[i].value : rows[i].value, &value);
        if (form == FORM_ETCD)
            printf("%s=", rows[i].flag);
        else if (form == FORM_CTL)
            printf("export %s=", ctl_rows[i].variable);
        else
            printf("%s=", rows[i].variable);
        print_word(form, buf_text(&value));
        printf("%s\n", form == FORM_ETCD && i + 1 < count ? " \\" : "");
        buf_free(&value);
    }
}

/* A pod's paths are absolute. */
static int make_absolute(struct set *set, struct err *err)
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
    struct err err = ERR_INIT;
    struct set set = {0};
    int rc = -1;

    while (form < FORMS && strcmp(forms[form], named) != 0)
        form++;
    if (form == FORMS)
        err_set(&err, ERR_USAGE, "--for %.60s: one of etcd, env, systemd, etcdctl, manifest",
                named);
    else if (settings->args.count > 1)
        err_set(&err, ERR_USAGE, "flags: one member at a time");
    else if (open_set(settings, &set, &err) == 0)
        rc = form == FORM_MANIFEST ? make_absolute(&set, &err) : 0;
    if (rc == 0 && !(printable(set.dir) && printable(set.name))) {
        err_set(&err, ERR_USAGE,
                "flags: a control character in the directory or in the name of its server "
                "certificate; rename the one, reissue the other");
        rc = -1;
    }
    if (rc == 0 && form == FORM_MANIFEST)
        print_manifest(&set);
    else if (rc == 0)
        print_lines(&set, form);
    free(set.dir);
    free(set.host);
    free(set.name);
    return rc < 0 ? say(&err) : EXIT_DONE;
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
        return say(&err);
    for (size_t i = 0; i < sizeof bytes; i++)
        printf("%02x", bytes[i]);
    printf("\n");
    wipe(bytes, sizeof bytes);
    return EXIT_DONE;
}
