/*
 * main.c - etcd-pki: certificates for etcd. The verbs and their flags are two tables; the texts of
 * --help are the manual's synopses.
 */
#include "common/base/limits.h"
#include "common/client/print.h"
#include "etcd-pki/pki.h"
#include "etcd-pki/report.h"

#include <jansson.h>
#include <stdio.h>
#include <sys/stat.h>

#define ARGS_MAX 4096 /* words of one command line */

enum verb_bit {
    V_INIT = 1 << 0,
    V_ISSUE = 1 << 1,
    V_CLUSTER = 1 << 2,
    V_KUBEADM = 1 << 3,
    V_SHOW = 1 << 4,
    V_DESCRIBE = 1 << 5,
    V_VERIFY = 1 << 6,
    V_FLAGS = 1 << 7,
    V_KEY = 1 << 8,
    V_CHECK = 1 << 9,
    V_RENEW = 1 << 10,
    V_RENEW_CA = 1 << 11,
    V_REVOKE = 1 << 12,
    V_CRL = 1 << 13,
    V_CSR = 1 << 14,
    V_SIGN = 1 << 15,
    V_ROTATE = 1 << 16,
    V_PROBE = 1 << 17,
    V_VERSION = 1 << 18,
    V_EXPIRATION = 1 << 19,
    V_MAKE = V_INIT | V_ISSUE | V_CLUSTER | V_KUBEADM,
    V_ENDS = V_MAKE | V_RENEW | V_RENEW_CA | V_SIGN,
    V_CA_KEY =
        V_ENDS | V_CHECK | V_EXPIRATION | V_REVOKE | V_CRL | V_ROTATE, /* open or make a CA's key */
    V_FOLLOW = V_ENDS | V_ROTATE | V_CHECK | V_REVOKE | V_CRL,         /* replace files */
    V_REPORT = V_ENDS | V_CSR | V_REVOKE | V_CRL | V_ROTATE | V_PROBE, /* say what they did */
    V_JSON = V_SHOW | V_DESCRIBE | V_VERIFY | V_CHECK | V_EXPIRATION | V_REPORT | V_VERSION,
    V_ALL = (V_EXPIRATION << 1) - 1,
};

static const struct verb {
    const char *name, *other;
    enum verb_bit bit;
    command_fn *run;
    const char *what;
    const char *synopsis;
} verbs[] = {
    {"init", NULL, V_INIT, cmd_init, "make a CA",
     "[--cn NAME] [--org NAME]... [--crl-sign] [MAKING]"},
    {"issue", NULL, V_ISSUE, cmd_issue, "make one pair for a role",
     "ROLE [NAME] [--ip ADDRESS]... [--dns NAME]... [--san LIST] [--cn NAME] [--org NAME]... "
     "[--ca BASE] [--out BASE] [--no-client-auth] [MAKING]"},
    {"cluster", NULL, V_CLUSTER, cmd_cluster, "make everything for N members",
     "(--member NAME=HOST[,SAN...]... | --initial-cluster LIST) [--client NAME]... [--kubernetes] "
     "[--with-ca-key] [--flags-file] [--crl-sign] [--ca-validity TIME] [MAKING]"},
    {"kubeadm", NULL, V_KUBEADM, cmd_kubeadm, "make a node's whole kubeadm set",
     "--node-name NAME --apiserver-advertise-address ADDRESS [--etcd-server-cert-extra-sans LIST] "
     "[--etcd-peer-cert-extra-sans LIST] [--apiserver-cert-extra-sans LIST] "
     "[--control-plane-endpoint HOST] [--service-cidr CIDR] [--service-dns-domain NAME] "
     "[--kubernetes-version VERSION] [--external-etcd] [--config FILE] [--ca-validity TIME] "
     "[MAKING]"},
    {"show", "inspect", V_SHOW, cmd_show, "say what is in these files", "[-o text|json] FILE..."},
    {"describe", NULL, V_DESCRIBE, cmd_describe, "describe directories, the same bytes each time",
     "[--normalise] [DIR...]"},
    {"verify", NULL, V_VERIFY, cmd_verify, "does this directory fit these etcd flags",
     "[--dir DIR] [--at TIME] [--warn TIME] [--root PREFIX] [--etcd-version VERSION] "
     "[-o text|json] "
     "[--manifest FILE | --config-file FILE | --env-file FILE | --pid NUMBER | -- etcd FLAG...]"},
    {"flags", NULL, V_FLAGS, cmd_flags, "print flags, environment or exports for a set",
     "[MEMBER] [--dir DIR] [--for etcd|env|systemd|etcdctl|manifest]"},
    {"check", NULL, V_CHECK, cmd_check, "what expires when",
     "[--warn TIME] [--crit TIME] [--at TIME] [--nagios] [--prometheus FILE] [--follow] "
     "[-o text|json] [FILE|DIR...]"},
    {"check-expiration", NULL, V_EXPIRATION, cmd_check_expiration, "the same, in kubeadm's tables",
     "[--dir DIR] [--at TIME] [-o text|json]"},
    {"renew", NULL, V_RENEW, cmd_renew, "the same certificates again, later",
     "(NAME...|all) [--if-expiring TIME] [--reuse-key | --key ALGORITHM] [--eku LIST] "
     "[--backup-dir DIR] [--validity TIME | --days N | --not-after TIME] [--backdate TIME] "
     "[--no-clamp] [--follow] [--dry-run]"},
    {"renew-ca", NULL, V_RENEW_CA, cmd_renew_ca, "a CA again, with the same key",
     "[CA] [--backup-dir DIR] [--validity TIME | --days N | --not-after TIME] [--backdate TIME] "
     "[--follow] [--dry-run]"},
    {"revoke", NULL, V_REVOKE, cmd_revoke, "put a certificate on the CA's revocation list",
     "(FILE|NAME|--serial HEX) [--reason WORD] [--ca BASE] [--next-update TIME] [--pem FILE] "
     "[--out FILE] [--follow] [--dry-run]"},
    {"crl", NULL, V_CRL, cmd_crl, "write the revocation list again",
     "[--ca BASE] [--next-update TIME] [--pem FILE] [--out FILE] [--follow] [--dry-run]"},
    {"csr", "generate-csr", V_CSR, cmd_csr, "make a key and a request",
     "ROLE [NAME] [--ip ADDRESS]... [--dns NAME]... [--san LIST] [--cn NAME] [--org NAME]... "
     "[--out BASE] [--key ALGORITHM] [--dry-run]"},
    {"sign", NULL, V_SIGN, cmd_sign, "sign a request for a role",
     "REQUEST --role ROLE [--san request|exact:LIST|add:LIST] [--ca BASE] [--out FILE] [--force] "
     "[--follow] [--validity TIME | --days N | --not-after TIME] [--backdate TIME] [--no-clamp] "
     "[--dry-run]"},
    {"probe", NULL, V_PROBE, cmd_probe, "what an endpoint serves, and whether it takes this client",
     "[--cacert FILE] [--cert FILE --key FILE] [--expect FILE] [--peer] [--timeout TIME] "
     "[--dir DIR] URL..."},
    {"rotate-ca", NULL, V_ROTATE, cmd_rotate_ca, "a new CA, with overlap",
     "prepare|status|switch|finish [--endpoints LIST] [--timeout TIME] [--ca BASE] "
     "[--key ALGORITHM] [--force] [--follow] [--backup-dir DIR] [-o text|json]"},
    {"certificate-key", NULL, V_KEY, cmd_certificate_key,
     "print a random key of 64 hexadecimal digits", ""},
    {"version", "--version", V_VERSION, cmd_version, "print the version", "[-o text|json]"},
};

enum flag_kind { FLAG_TEXT, FLAG_LIST, FLAG_MANY, FLAG_BOOL };
#define AT(field) offsetof(struct settings, field)
static const struct flag {
    const char *name;
    enum flag_kind kind;
    unsigned verbs;
    size_t offset;
} flags[] = {
    {"--dir", FLAG_TEXT, V_ALL, AT(dir)},
    {"--cert-dir", FLAG_TEXT, V_ALL, AT(dir)},
    {"--output", FLAG_TEXT, V_ALL, AT(output)},
    {"-o", FLAG_TEXT, V_ALL, AT(output)},
    {"--write-out", FLAG_TEXT, V_ALL, AT(output)},
    {"-w", FLAG_TEXT, V_ALL, AT(output)},
    {"--quiet", FLAG_BOOL, V_ALL, AT(quiet)},
    {"-q", FLAG_BOOL, V_ALL, AT(quiet)},
    {"--help", FLAG_BOOL, V_ALL, AT(help)},
    {"-h", FLAG_BOOL, V_ALL, AT(help)},
    {"--version", FLAG_BOOL, V_ALL, AT(version)},
    {"--force", FLAG_BOOL, V_MAKE | V_SIGN | V_ROTATE, AT(force)},
    {"--follow", FLAG_BOOL, V_FOLLOW, AT(follow)},
    {"--dry-run", FLAG_BOOL, V_ENDS | V_CSR | V_REVOKE | V_CRL, AT(dry_run)},
    {"--key", FLAG_TEXT, V_MAKE | V_RENEW | V_CSR | V_ROTATE | V_PROBE, AT(key)},
    {"--validity", FLAG_TEXT, V_ENDS, AT(validity)},
    {"--ca-validity", FLAG_TEXT, V_CLUSTER | V_KUBEADM, AT(ca_validity)},
    {"--days", FLAG_TEXT, V_ENDS, AT(days)},
    {"--not-after", FLAG_TEXT, V_ENDS, AT(not_after)},
    {"--backdate", FLAG_TEXT, V_ENDS, AT(backdate)},
    {"--no-clamp", FLAG_BOOL, V_ENDS & ~(unsigned)V_RENEW_CA, AT(no_clamp)},
    {"--cn", FLAG_TEXT, V_INIT | V_ISSUE | V_CSR, AT(cn)},
    {"--org", FLAG_MANY, V_INIT | V_ISSUE | V_CSR, AT(org)},
    {"--crl-sign", FLAG_BOOL, V_INIT | V_CLUSTER, AT(crl_sign)},
    {"--ip", FLAG_LIST, V_ISSUE | V_CSR, AT(ip)},
    {"--dns", FLAG_LIST, V_ISSUE | V_CSR, AT(dns)},
    {"--san", FLAG_LIST, V_ISSUE | V_CSR | V_SIGN, AT(san)},
    {"--ca", FLAG_TEXT, V_ISSUE | V_REVOKE | V_CRL | V_SIGN | V_ROTATE, AT(ca)},
    {"--out", FLAG_TEXT, V_ISSUE | V_REVOKE | V_CRL | V_SIGN | V_CSR, AT(out)},
    {"--no-client-auth", FLAG_BOOL, V_ISSUE, AT(no_client_auth)},
    {"--member", FLAG_MANY, V_CLUSTER, AT(member)},
    {"--initial-cluster", FLAG_TEXT, V_CLUSTER, AT(initial_cluster)},
    {"--client", FLAG_LIST, V_CLUSTER, AT(client)},
    {"--kubernetes", FLAG_BOOL, V_CLUSTER, AT(kubernetes)},
    {"--with-ca-key", FLAG_BOOL, V_CLUSTER, AT(with_ca_key)},
    {"--flags-file", FLAG_BOOL, V_CLUSTER, AT(flags_file)},
    {"--node-name", FLAG_TEXT, V_KUBEADM, AT(node_name)},
    {"--apiserver-advertise-address", FLAG_TEXT, V_KUBEADM, AT(advertise_address)},
    {"--etcd-server-cert-extra-sans", FLAG_LIST, V_KUBEADM, AT(server_sans)},
    {"--etcd-peer-cert-extra-sans", FLAG_LIST, V_KUBEADM, AT(peer_sans)},
    {"--apiserver-cert-extra-sans", FLAG_LIST, V_KUBEADM, AT(apiserver_sans)},
    {"--control-plane-endpoint", FLAG_TEXT, V_KUBEADM, AT(control_plane_endpoint)},
    {"--service-cidr", FLAG_TEXT, V_KUBEADM, AT(service_cidr)},
    {"--service-dns-domain", FLAG_TEXT, V_KUBEADM, AT(dns_domain)},
    {"--kubernetes-version", FLAG_TEXT, V_KUBEADM, AT(kubernetes_version)},
    {"--config", FLAG_TEXT, V_KUBEADM, AT(kubeadm_config)},
    {"--external-etcd", FLAG_BOOL, V_KUBEADM, AT(external_etcd)},
    {"--normalise", FLAG_BOOL, V_DESCRIBE, AT(normalise)},
    {"--normalize", FLAG_BOOL, V_DESCRIBE, AT(normalise)},
    {"--at", FLAG_TEXT, V_VERIFY | V_CHECK | V_EXPIRATION, AT(at)},
    {"--warn", FLAG_TEXT, V_VERIFY | V_CHECK, AT(warn)},
    {"--crit", FLAG_TEXT, V_CHECK, AT(crit)},
    {"--nagios", FLAG_BOOL, V_CHECK, AT(nagios)},
    {"--prometheus", FLAG_TEXT, V_CHECK, AT(prometheus)},
    {"--root", FLAG_TEXT, V_VERIFY, AT(root)},
    {"--if-expiring", FLAG_TEXT, V_RENEW, AT(if_expiring)},
    {"--reuse-key", FLAG_BOOL, V_RENEW, AT(reuse_key)},
    {"--eku", FLAG_LIST, V_RENEW, AT(eku)},
    {"--backup-dir", FLAG_TEXT, V_RENEW | V_RENEW_CA | V_ROTATE, AT(backup_dir)},
    {"--serial", FLAG_TEXT, V_REVOKE, AT(serial)},
    {"--reason", FLAG_TEXT, V_REVOKE, AT(reason)},
    {"--next-update", FLAG_TEXT, V_REVOKE | V_CRL, AT(next_update)},
    {"--pem", FLAG_TEXT, V_REVOKE | V_CRL, AT(pem)},
    {"--role", FLAG_TEXT, V_SIGN, AT(role)},
    {"--cacert", FLAG_TEXT, V_PROBE, AT(cacert)},
    {"--cert", FLAG_TEXT, V_PROBE, AT(cert)},
    {"--expect", FLAG_TEXT, V_PROBE, AT(expect)},
    {"--peer", FLAG_BOOL, V_PROBE, AT(peer)},
    {"--timeout", FLAG_TEXT, V_PROBE | V_ROTATE, AT(timeout)},
    {"--endpoints", FLAG_TEXT, V_ROTATE, AT(endpoints)},
    {"--etcd-version", FLAG_TEXT, V_VERIFY, AT(etcd_version)},
    {"--manifest", FLAG_TEXT, V_VERIFY, AT(manifest)},
    {"--config-file", FLAG_TEXT, V_VERIFY, AT(etcd_config)},
    {"--env-file", FLAG_TEXT, V_VERIFY, AT(env_file)},
    {"--pid", FLAG_TEXT, V_VERIFY, AT(pid)},
    {"--for", FLAG_TEXT, V_FLAGS, AT(format)},
    {"--ca-passphrase-file", FLAG_TEXT, V_CA_KEY, AT(passphrase_file)},
    {"--ca-passphrase-fd", FLAG_TEXT, V_CA_KEY, AT(passphrase_fd)},
};

static int print_help(const struct verb *verb)
{
    if (verb != NULL) {
        printf("usage: etcd-pki %s %s\n%s.\n", verb->name, verb->synopsis, verb->what);
        if ((verb->bit & V_MAKE) != 0)
            printf(
                "MAKING: [--dir DIR] [--key ALGORITHM] [--validity TIME | --days N | --not-after "
                "TIME] [--backdate TIME] [--no-clamp] [--force] [--follow] [--dry-run] [-q]\n");
        if ((verb->bit & V_CA_KEY) != 0)
            printf("A CA key with a passphrase: [--ca-passphrase-file FILE | --ca-passphrase-fd "
                   "NUMBER], or ETCD_PKI_CA_PASSPHRASE\n");
        return EXIT_DONE;
    }
    printf("usage: etcd-pki VERB [FLAG...]\n\n");
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        printf("    %-16s %s\n", verbs[i].name, verbs[i].what);
    printf("    %-16s %s\n\n", "help [VERB]", "print this, or a verb's flags");
    printf("Roles: ");
    for (int i = 0; i < ROLES; i++)
        printf("%s%s", i != 0 ? ", " : "", role_at((enum role_id)i)->name);
    printf(
        ".\nExit status: 0 done, 1 could not, 2 usage, 3 found an error, 4 found warnings only.\n");
    return EXIT_DONE;
}

static const struct verb *verb_named(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (strcmp(verbs[i].name, name) == 0 ||
            (verbs[i].other != NULL && strcmp(verbs[i].other, name) == 0))
            return &verbs[i];
    return NULL;
}

static const struct flag *flag_named(const char *name, size_t bytes, const struct verb *verb,
                                     bool *elsewhere)
{
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        if (strlen(flags[i].name) != bytes || strncmp(flags[i].name, name, bytes) != 0)
            continue;
        if ((flags[i].verbs & verb->bit) != 0)
            return &flags[i];
        *elsewhere = true;
    }
    return NULL;
}

static int set_flag(struct settings *settings, const struct flag *flag, const char *value,
                    struct err *err)
{
    void *field = (char *)settings + flag->offset;
    size_t before;

    switch (flag->kind) {
    case FLAG_TEXT:
        *(const char **)field = value;
        break;
    case FLAG_LIST:
        before = ((struct texts *)field)->count;
        texts_add_list(field, value);
        if (((struct texts *)field)->count == before) {
            err_set(err, ERR_USAGE, "%s \"%.100s\": nothing in that list", flag->name, value);
            return -1;
        }
        break;
    case FLAG_MANY:
        texts_add(field, value);
        break;
    case FLAG_BOOL:
        if (value != NULL && strcmp(value, "true") != 0 && strcmp(value, "false") != 0) {
            err_set(err, ERR_USAGE, "%s=%s: true or false, or the flag alone", flag->name, value);
            return -1;
        }
        *(bool *)field = value == NULL || strcmp(value, "true") == 0;
        break;
    }
    return 0;
}

static int parse_line(int argc, char **argv, const struct verb *verb, struct settings *settings,
                      struct err *err)
{
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i], *equals = strchr(word, '='), *value;
        size_t bytes = equals != NULL ? (size_t)(equals - word) : strlen(word);
        bool elsewhere = false;
        const struct flag *flag;

        if (strcmp(word, "--") == 0) {
            while (++i < argc)
                texts_add(&settings->after, argv[i]);
            break;
        }
        if (word[0] != '-' || word[1] == '\0') {
            texts_add(&settings->args, word);
            continue;
        }
        flag = flag_named(word, bytes, verb, &elsewhere);
        if (flag == NULL) {
            err_set(err, ERR_USAGE, "%s: %s %.*s; see etcd-pki help %s", verb->name,
                    elsewhere ? "does not take the flag" : "unknown flag", (int)MIN(bytes, 100),
                    word, verb->name);
            return -1;
        }
        value = equals != NULL ? equals + 1 : NULL;
        if (flag->kind != FLAG_BOOL && value == NULL) {
            if (++i == argc) {
                err_set(err, ERR_USAGE, "%s: %s needs a value", verb->name, flag->name);
                return -1;
            }
            value = argv[i];
        }
        if (flag->kind != FLAG_BOOL && value[0] == '\0') {
            err_set(err, ERR_USAGE, "%s: empty value for %s", verb->name, flag->name);
            return -1;
        }
        if (set_flag(settings, flag, value, err) < 0)
            return -1;
    }
    return 0;
}

static void settings_free(struct settings *settings)
{
    struct texts *const lists[] = {
        &settings->org,         &settings->ip,        &settings->dns,
        &settings->san,         &settings->member,    &settings->client,
        &settings->server_sans, &settings->peer_sans, &settings->apiserver_sans,
        &settings->args,        &settings->after,     &settings->config_texts,
        &settings->eku};

    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        texts_free(lists[i]);
    if (settings->passphrase != NULL)
        wipe(settings->passphrase, strlen(settings->passphrase));
    free(settings->passphrase);
    report_drop(settings);
}

static int print_version(const struct settings *settings)
{
    if (settings->output != NULL && strcmp(settings->output, "json") == 0)
        json_put(json_pack("{s:s, s:s}", "name", "etcd-pki", "version", SUITE_VERSION));
    else
        printf("etcd-pki %s\n", SUITE_VERSION);
    return EXIT_DONE;
}

int cmd_version(struct settings *settings)
{
    struct err err = ERR_INIT;

    if (settings->args.count == 0)
        return print_version(settings);
    err_set(&err, ERR_USAGE, "version: \"%.100s\" is one word too many", settings->args.items[0]);
    return fail(settings, &err);
}

/* What asks for JSON gets JSON, or is told that there is none. */
static int take_output(struct settings *settings, const struct verb *verb, struct err *err)
{
    bool bad, as_json = wants_json(settings, err, &bad);

    if (as_json && (verb->bit & V_JSON) == 0) {
        err_set(err, ERR_USAGE, "%s: there is no JSON of it; -o text", verb->name);
        return -1;
    }
    if (as_json && (verb->bit & V_REPORT) != 0)
        report_begin(settings);
    return bad ? -1 : 0;
}

/* Nagios takes 2 for an alarm; a command line that cannot be read is 3, unknown. */
static int say_usage(const struct settings *settings, const struct err *err, int argc, char **argv)
{
    int status = fail(settings, err);

    for (int i = 0; i < argc; i++)
        if (strcmp(argv[i], "--nagios") == 0)
            return 3;
    return status;
}

static bool wants_other(const struct settings *settings, struct err *err)
{
    bool bad;

    (void)wants_json(settings, err, &bad);
    return bad;
}

static int run(const struct verb *verb, int argc, char **argv)
{
    struct settings settings = {0};
    struct err err = ERR_INIT;
    int status;

    if (parse_line(argc, argv, verb, &settings, &err) < 0)
        status = say_usage(&settings, &err, argc, argv);
    else if (settings.help)
        status = print_help(verb);
    else if (settings.version && !wants_other(&settings, &err))
        status = print_version(&settings);
    else if (settings.version || take_output(&settings, verb, &err) < 0 ||
             ((verb->bit & V_CA_KEY) != 0 && passphrase_take(&settings, &err) < 0))
        status = say_usage(&settings, &err, argc, argv);
    else
        status = verb->run(&settings);
    if (settings.report != NULL && status != EXIT_USAGE)
        report_print(&settings, status == EXIT_DONE);
    settings_free(&settings);
    return status;
}

/* "init phase certs NAME" is kubeadm's; what is typed here depends on the name. */
static int say_phase(const char *name)
{
    const struct role *role = role_named(name);
    struct err err = ERR_INIT;

    if (role == role_at(ROLE_ETCD_CA))
        err_set(&err, ERR_USAGE, "init phase certs %s is kubeadm's; here it is: etcd-pki init",
                name);
    else if (role != NULL && role->issuer == ROLE_ETCD_CA)
        err_set(&err, ERR_USAGE,
                "init phase certs %s is kubeadm's; here it is: etcd-pki issue %s%s", name,
                role->name, role->cn[0] == '\0' ? " NAME [--ip ADDRESS]..." : "");
    else
        err_set(&err, ERR_USAGE,
                "init phase certs %.60s is kubeadm's; here a node's whole set is made, and what is "
                "there is kept: etcd-pki kubeadm --node-name NAME --apiserver-advertise-address "
                "ADDRESS, or --config FILE",
                name);
    return say(&err);
}

static int act(int argc, char **argv)
{
    const struct verb *verb;
    struct err err = ERR_INIT;
    bool help = false;

    if (argc > ARGS_MAX) {
        err_set(&err, ERR_USAGE, "%d words on the command line; at most %d are read", argc,
                ARGS_MAX);
        return say(&err);
    }
    if (argc > 0 && strcmp(argv[0], "certs") == 0) /* kubeadm certs ... */
        argc--, argv++;
    if (argc == 0) {
        (void)print_help(NULL);
        return EXIT_USAGE;
    }
    if (strcmp(argv[0], "help") == 0 || strcmp(argv[0], "--help") == 0 ||
        strcmp(argv[0], "-h") == 0)
        help = true;
    if (help && argc == 1)
        return print_help(NULL);
    if (argc > 2 && strcmp(argv[0], "init") == 0 && strcmp(argv[1], "phase") == 0)
        return say_phase(argc > 3 ? argv[3] : "all");
    verb = verb_named(argv[help ? 1 : 0]);
    if (verb == NULL) {
        err_set(&err, ERR_USAGE, "unknown verb \"%.100s\"; see etcd-pki help", argv[help ? 1 : 0]);
        return say(&err);
    }
    return help ? print_help(verb) : run(verb, argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
    struct err err = ERR_INIT;
    int status;

    print_guard_descriptors(); /* else a key is opened in the place of a closed standard output */
    (void)umask(022);          /* directories come out 0755 whatever it was; files set their mode */
    status = act(argc > 0 ? argc - 1 : 0, argv + (argc > 0 ? 1 : 0));
    if ((fflush(stdout) != 0 || ferror(stdout) != 0) && status == EXIT_DONE) {
        err_set(&err, ERR_IO, "cannot write to standard output");
        status = say(&err);
    }
    return status;
}
