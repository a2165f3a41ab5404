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

static void print_value(const struct set *set, const char *value)
{
    for (; *value != '\0'; value++) {
        if (*value != '%') {
            putchar(*value);
            continue;
        }
        value++;
        if (*value == 'L')
            (void)fputs(strcmp(set->host, "127.0.0.1") != 0 ? "https://127.0.0.1:2379," : "",
                        stdout);
        else
            (void)fputs(*value == 'D' ? set->dir : *value == 'H' ? set->host : set->name, stdout);
    }
}

int cmd_flags(struct settings *settings)
{
    const char *format = settings->format != NULL ? settings->format : "etcd";
    bool etcd = strcmp(format, "etcd") == 0, ctl = strcmp(format, "etcdctl") == 0;
    size_t count = ctl ? ARRAY_LEN(ctl_rows) : ARRAY_LEN(rows);
    struct err err = ERR_INIT;
    struct set set = {0};
    int status = EXIT_DONE;

    if (!etcd && !ctl && strcmp(format, "env") != 0 && strcmp(format, "systemd") != 0)
        err_set(&err, ERR_USAGE, "--for %.60s: one of etcd, env, systemd, etcdctl", format);
    else if (settings->args.count > 1)
        err_set(&err, ERR_USAGE, "flags: one member at a time");
    else
        (void)open_set(settings, &set, &err); /* err says it */
    if (err.code != ERR_OK)
        status = say(&err);
    for (size_t i = 0; status == EXIT_DONE && i < count; i++) {
        const char *value = ctl ? ctl_rows[i].value : rows[i].value;

        if (etcd)
            printf("%s=", rows[i].flag);
        else if (ctl)
            printf("export %s=", ctl_rows[i].variable);
        else
            printf("%s=", rows[i].variable);
        print_value(&set, value);
        printf("%s\n", etcd && i + 1 < count ? " \\" : "");
    }
    free(set.dir);
    free(set.host);
    free(set.name);
    return status;
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
