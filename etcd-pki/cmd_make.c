/*
 * cmd_make.c - init, issue, kubeadm, cluster: each turns the command line into a plan.
 */
#include "etcd-pki/pki.h"
#include "etcd-pki/plan.h"
#include "etcd-pki/report.h"
#include "common/base/file.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <unistd.h>

static int too_many(const struct settings *settings, size_t most, const char *verb, struct err *err)
{
    if (settings->args.count <= most && settings->after.count == 0)
        return 0;
    err_set(err, ERR_USAGE, "%s: \"%.100s\" is one word too many; see etcd-pki help %s", verb,
            settings->args.count > most ? settings->args.items[most] : settings->after.items[0],
            verb);
    return -1;
}

static int check_member_name(const char *what, const char *name, struct err *err)
{
    if (x509_is_name(name))
        return 0;
    err_set(
        err, ERR_USAGE,
        "%s \"%.100s\": a name has lower-case letters, digits, '-' and '.', and begins and ends "
        "with a letter or digit",
        what, name);
    return -1;
}

static int finish(const struct settings *settings, struct plan *plan, int rc, struct err *err)
{
    int status = rc < 0 ? fail(settings, err) : plan_carry_out(plan);

    plan_free(plan);
    return status;
}

static void add_orgs(struct item *item, const struct texts *orgs)
{
    for (size_t i = 0; i < orgs->count; i++)
        texts_add(&item->orgs, orgs->items[i]);
}

/* ---- init ---- */

int cmd_init(struct settings *settings)
{
    const struct role *role = role_at(ROLE_ETCD_CA);
    struct plan plan = {0};
    struct err err = ERR_INIT;
    int rc = too_many(settings, 0, "init", &err);

    if (rc == 0 && (rc = plan_init(&plan, settings, true, &err)) == 0)
        add_orgs(plan_add_role(&plan, role, role->file, NULL, settings->cn), &settings->org);
    return finish(settings, &plan, rc, &err);
}

/* ---- issue ---- */

/* A member's certificate always fits its own host: name, localhost, both loopbacks. */
static int member_sans(struct x509_sans *sans, const char *name, const char *address,
                       struct err *err)
{
    if (x509_sans_add(sans, name, err) < 0 || x509_sans_add(sans, "localhost", err) < 0 ||
        (address != NULL && x509_sans_add(sans, address, err) < 0))
        return -1;
    return x509_sans_add(sans, "127.0.0.1", err) < 0 || x509_sans_add(sans, "::1", err) < 0 ? -1
                                                                                            : 0;
}

static int issue_sans(struct item *item, const struct role *role, const char *name,
                      const struct settings *settings, struct err *err)
{
    for (size_t i = 0; i < settings->ip.count; i++)
        if (!x509_is_address(settings->ip.items[i])) {
            err_set(err, ERR_USAGE, "--ip %.100s: not an address", settings->ip.items[i]);
            return -1;
        }
    for (size_t i = 0; i < settings->dns.count; i++)
        if (x509_sans_add_dns(&item->sans, settings->dns.items[i], err) < 0) {
            err_prefix(err, "--dns");
            return -1;
        }
    if (role->sans == SANS_MEMBER &&
        member_sans(&item->sans, name, settings->ip.count != 0 ? settings->ip.items[0] : NULL,
                    err) < 0)
        return -1;
    if (add_sans(&item->sans, &settings->ip, "--ip", err) < 0)
        return -1;
    return add_sans(&item->sans, &settings->san, "--san", err);
}

int plan_issue(struct plan *plan, const struct settings *settings, struct err *err)
{
    const char *role_name = settings->args.count > 0 ? settings->args.items[0] : NULL;
    const char *name = settings->args.count > 1 ? settings->args.items[1] : NULL;
    const struct role *role = role_name != NULL ? role_named(role_name) : NULL;
    const char *issuer, *cn;
    struct item *item;
    char *base;

    if (role == NULL || role_is_ca(role)) {
        err_set(err, ERR_USAGE,
                "%s%.60s%s; roles are server, peer, client, healthcheck-client, "
                "apiserver-etcd-client and those of etcd-pki help%s",
                role_name != NULL ? "\"" : "which role", role_name != NULL ? role_name : "?",
                role_name == NULL ? ""
                : role != NULL    ? "\" is a CA"
                                  : "\" is no role",
                role != NULL ? "; etcd-pki init makes the CA" : "");
        return -1;
    }
    cn = settings->cn != NULL ? settings->cn : role->cn[0] != '\0' ? role->cn : name;
    if (cn == NULL) {
        err_set(err, ERR_USAGE, "%s: needs a name: %s NAME", role_name, role_name);
        return -1;
    }
    if (name != NULL && role->sans == SANS_MEMBER &&
        check_member_name("issue: member", name, err) < 0)
        return -1;
    if (role == role_at(ROLE_CLIENT) && settings->out == NULL &&
        (name == NULL || name[0] == '.' || strchr(name, '/') != NULL)) {
        err_set(err, ERR_USAGE, "issue client \"%.100s\": cannot be a file name; give --out",
                name != NULL ? name : "");
        return -1;
    }
    base = settings->out != NULL          ? xstrdup(settings->out)
           : role == role_at(ROLE_CLIENT) ? xasprintf("clients/%s", name)
                                          : xstrdup(role->file);
    issuer = settings->ca != NULL ? settings->ca : role_at(role->issuer)->file;
    item = plan_add_role(plan, role, base, issuer, cn);
    free(base);
    add_orgs(item, &settings->org);
    if (settings->no_client_auth) {
        item->usages &= ~X509_CLIENT;
        say_no_client_auth(role->name, role == role_at(ROLE_ETCD_PEER));
    }
    return issue_sans(item, role, name != NULL ? name : cn, settings, err);
}

int cmd_issue(struct settings *settings)
{
    struct plan plan = {0};
    struct err err = ERR_INIT;
    int rc = too_many(settings, 2, "issue", &err);

    if (rc == 0 && (rc = plan_init(&plan, settings, false, &err)) == 0)
        rc = plan_issue(&plan, settings, &err);
    return finish(settings, &plan, rc, &err);
}

/* ---- kubeadm ---- */

/* `member` is where kubeadm's file has it. */
static int refuse_missing(const struct settings *settings, const char *flag, const char *member,
                          const char *value, struct err *err)
{
    if (value != NULL)
        return 0;
    if (settings->kubeadm_config != NULL)
        err_set(err, ERR_USAGE, "%s: InitConfiguration has no %s; add it, or give %s",
                settings->kubeadm_config, member, flag);
    else
        err_set(err, ERR_USAGE, "kubeadm: %s is needed (or give kubeadm's file with --config)",
                flag);
    return -1;
}

/* "10.96.0.0/12" -> "10.96.0.1": the address after the network's own. */
static bool first_of_one(const char *cidr, char text[INET6_ADDRSTRLEN])
{
    const char *slash = strchr(cidr, '/');
    char *network = xstrndup(cidr, slash != NULL ? (size_t)(slash - cidr) : strlen(cidr));
    int family = strchr(network, ':') != NULL ? AF_INET6 : AF_INET;
    size_t bytes = family == AF_INET ? 4 : 16;
    char *end = NULL;
    unsigned long bits = slash != NULL ? strtoul(slash + 1, &end, 10) : 0;
    uint8_t binary[16];
    bool good = slash != NULL && slash[1] >= '0' && slash[1] <= '9' && *end == '\0' &&
                bits <= bytes * 8 - 1 && inet_pton(family, network, binary) == 1;

    if (good) {
        for (size_t i = 0; i < bytes; i++) {
            unsigned kept = bits >= (i + 1) * 8 ? 8 : bits > i * 8 ? (unsigned)(bits - i * 8) : 0;

            binary[i] &= (uint8_t)(0xff00u >> kept);
        }
        binary[bytes - 1] |= 1;
        must(inet_ntop(family, binary, text, INET6_ADDRSTRLEN) != NULL);
    }
    free(network);
    return good;
}

/* Of "10.96.0.0/16,fd00:10:96::/112", both families, the first counts, as with kubeadm. */
static int first_of_cidr(const char *cidr, char text[INET6_ADDRSTRLEN], struct err *err)
{
    struct texts networks = {0};
    char other[INET6_ADDRSTRLEN];
    bool good;

    texts_add_list(&networks, cidr);
    good = networks.count >= 1 && networks.count <= 2 && first_of_one(networks.items[0], text) &&
           (networks.count == 1 || (first_of_one(networks.items[1], other) &&
                                    (strchr(text, ':') != NULL) != (strchr(other, ':') != NULL)));
    texts_free(&networks);
    if (!good)
        err_set(err, ERR_USAGE,
                "--service-cidr %.100s: write it as 10.96.0.0/12, or two with a comma, one of each "
                "family",
                cidr);
    return good ? 0 : -1;
}

static int apiserver_sans(struct x509_sans *sans, const struct settings *settings, struct err *err)
{
    const char *domain = settings->dns_domain != NULL ? settings->dns_domain : "cluster.local";
    const char *cidr = settings->service_cidr != NULL ? settings->service_cidr : "10.96.0.0/12";
    char first[INET6_ADDRSTRLEN], *service = xasprintf("kubernetes.default.svc.%s", domain);
    char *endpoint = settings->control_plane_endpoint != NULL
                         ? url_host(settings->control_plane_endpoint)
                         : NULL;
    int rc = -1;

    if (x509_sans_add(sans, settings->node_name, err) == 0 &&
        x509_sans_add(sans, "kubernetes", err) == 0 &&
        x509_sans_add(sans, "kubernetes.default", err) == 0 &&
        x509_sans_add(sans, "kubernetes.default.svc", err) == 0 &&
        x509_sans_add(sans, service, err) == 0 && first_of_cidr(cidr, first, err) == 0 &&
        x509_sans_add(sans, first, err) == 0 &&
        x509_sans_add(sans, settings->advertise_address, err) == 0 &&
        (endpoint == NULL || x509_sans_add(sans, endpoint, err) == 0))
        rc = add_sans(sans, &settings->apiserver_sans, "--apiserver-cert-extra-sans", err);
    free(service);
    free(endpoint);
    return rc;
}

/*
 * kubeadm also takes the name of a file that says which release is meant, "stable-1" by default.
 * True: the newest; else *version is behind it, "1.30" of "stable-1.30".
 */
static bool is_newest(const char **version)
{
    static const char *const names[] = {"stable", "latest"};
    const char *text = *version;

    text += strncmp(text, "ci/", 3) == 0 ? 3 : 0;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        size_t bytes = strlen(names[i]);

        if (strncmp(text, names[i], bytes) != 0)
            continue;
        text += bytes;
        if (strcmp(text, "") == 0 || strcmp(text, "-1") == 0)
            return true;
        if (strncmp(text, "-1.", 3) == 0)
            *version = text + 1;
    }
    return false;
}

/* Whose O an old Kubernetes wrote (pki.md 1.8). */
static int old_orgs(const struct settings *settings, enum role_id id, struct item *item,
                    struct err *err)
{
    const char *version = settings->kubernetes_version, *dot;
    unsigned long minor, patch = 999;
    char *end = NULL;

    if (version == NULL || is_newest(&version))
        return 0;
    version += version[0] == 'v' ? 1 : 0;
    dot = strchr(version, '.');
    minor = dot != NULL ? strtoul(dot + 1, &end, 10) : 0;
    if (strncmp(version, "1.", 2) != 0 || end == dot + 1 || (*end != '\0' && *end != '.') ||
        minor > 999) {
        err_set(err, ERR_USAGE,
                "--kubernetes-version %.40s: write it as 1.36, 1.36.1 or stable-1.36",
                settings->kubernetes_version);
        return -1;
    }
    if (*end == '.')
        patch = strtoul(end + 1, NULL, 10);
    if (minor < 29 &&
        (id == ROLE_KUBELET_CLIENT || id == ROLE_HEALTHCHECK || id == ROLE_ETCD_CLIENT))
        texts_add(&item->orgs, "system:masters");
    else if (id == ROLE_KUBELET_CLIENT && (minor < 36 || (minor == 36 && patch < 1)))
        texts_add(&item->orgs, "kubeadm:cluster-admins");
    return 0;
}

static int plan_kubeadm_role(struct plan *plan, enum role_id id, struct err *err)
{
    const struct settings *settings = plan->settings;
    const struct role *role = role_at(id);
    const char *issuer = role_is_ca(role) ? NULL : role_at(role->issuer)->file;
    struct item *item = plan_add_role(plan, role, role->file, issuer,
                                      role->cn[0] == '\0' ? settings->node_name : NULL);

    item->any_name = item->ca;
    if (old_orgs(settings, id, item, err) < 0)
        return -1;
    if (role->sans == SANS_APISERVER)
        return apiserver_sans(&item->sans, settings, err);
    if (role->sans != SANS_MEMBER)
        return 0;
    if (member_sans(&item->sans, settings->node_name, settings->advertise_address, err) < 0)
        return -1;
    return id == ROLE_ETCD_SERVER
               ? add_sans(&item->sans, &settings->server_sans, "--etcd-server-cert-extra-sans", err)
               : add_sans(&item->sans, &settings->peer_sans, "--etcd-peer-cert-extra-sans", err);
}

static int plan_kubeadm(struct plan *plan, const struct settings *settings, struct err *err)
{
    if (refuse_missing(settings, "--node-name", "nodeRegistration.name", settings->node_name, err) <
            0 ||
        refuse_missing(settings, "--apiserver-advertise-address",
                       "localAPIEndpoint.advertiseAddress", settings->advertise_address, err) < 0 ||
        check_member_name("--node-name", settings->node_name, err) < 0)
        return -1;
    if (!x509_is_address(settings->advertise_address)) {
        err_set(err, ERR_USAGE, "--apiserver-advertise-address %.100s: not an address",
                settings->advertise_address);
        return -1;
    }
    plan->any_external = true;
    for (int id = 0; id < ROLES; id++) {
        bool etcd = id == ROLE_ETCD_CA || role_at((enum role_id)id)->issuer == ROLE_ETCD_CA;

        if (id != ROLE_CLIENT && !(etcd && settings->external_etcd) &&
            plan_kubeadm_role(plan, (enum role_id)id, err) < 0)
            return -1;
    }
    (void)plan_add(plan, ITEM_SERVICE_ACCOUNT, "sa", NULL);
    return 0;
}

int cmd_kubeadm(struct settings *settings)
{
    struct plan plan = {0};
    struct err err = ERR_INIT;
    int rc = too_many(settings, 0, "kubeadm", &err);

    if (rc == 0 && settings->kubeadm_config != NULL)
        rc = kubeadm_config(settings, &err);
    if (rc == 0 && (rc = plan_init(&plan, settings, false, &err)) == 0)
        rc = plan_kubeadm(&plan, settings, &err);
    return finish(settings, &plan, rc, &err);
}

/* ---- cluster ---- */

struct member { /* a name, its peer URLs and their hosts */
    char *name;
    struct texts hosts, urls;
};

static struct member *member_named(struct member **members, size_t *count, const char *name)
{
    for (size_t i = 0; i < *count; i++)
        if (strcmp((*members)[i].name, name) == 0)
            return &(*members)[i];
    *members = xrealloc(*members, (*count + 1) * sizeof **members);
    (*members)[*count] = (struct member){.name = xstrdup(name)};
    return &(*members)[(*count)++];
}

/* "NAME=HOST[,SAN...]", or of --initial-cluster "NAME=URL": hosts are what the SANs become. */
static int take_member(const char *text, const char *flag, struct member **members, size_t *count,
                       struct err *err)
{
    const char *equals = strchr(text, '=');
    char *name = xstrndup(text, equals != NULL ? (size_t)(equals - text) : strlen(text));
    struct texts hosts = {0};
    int rc = check_member_name(flag, name, err);

    if (rc == 0 && (equals == NULL || equals[1] == '\0')) {
        err_set(err, ERR_USAGE, "%s %.100s: write it as %s", flag, text,
                strcmp(flag, "--member") == 0 ? "NAME=HOST[,SAN...]" : "NAME=https://HOST:2380");
        rc = -1;
    }
    if (rc == 0) {
        struct member *member = member_named(members, count, name);

        texts_add_list(&hosts, equals + 1);
        for (size_t i = 0; i < hosts.count; i++) {
            char *host = url_host(hosts.items[i]);

            if (host != NULL && (strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0)) {
                err_set(
                    err, ERR_USAGE,
                    "%s %.100s: %s is where a member listens; give the address or name by which "
                    "others reach it",
                    flag, text, host);
                rc = -1;
            } else if (host != NULL) {
                texts_add(&member->hosts, host);
                if (strcmp(flag, "--member") != 0)
                    texts_add(&member->urls, hosts.items[i]);
            } else {
                err_set(err, ERR_USAGE, "%s %.100s: there is no host in it", flag, hosts.items[i]);
                rc = -1;
            }
            free(host);
        }
    }
    texts_free(&hosts);
    free(name);
    return rc;
}

static int take_members(const struct settings *settings, struct member **members, size_t *count,
                        struct err *err)
{
    struct texts entries = {0};
    int rc = 0;

    if ((settings->member.count != 0) == (settings->initial_cluster != NULL)) {
        err_set(err, ERR_USAGE,
                "cluster: give the members as --member NAME=HOST, once for each, or "
                "as --initial-cluster NAME=URL,...");
        return -1;
    }
    for (size_t i = 0; rc == 0 && i < settings->member.count; i++)
        rc = take_member(settings->member.items[i], "--member", members, count, err);
    if (settings->initial_cluster != NULL)
        texts_add_list(&entries, settings->initial_cluster);
    for (size_t i = 0; rc == 0 && i < entries.count; i++)
        rc = take_member(entries.items[i], "--initial-cluster", members, count, err);
    if (rc == 0 && *count == 0) {
        err_set(err, ERR_USAGE, "--initial-cluster %.100s: there is no member in it",
                settings->initial_cluster);
        rc = -1;
    }
    texts_free(&entries);
    return rc;
}

static int plan_member(struct plan *plan, const struct member *member, struct err *err)
{
    static const enum role_id roles[] = {ROLE_ETCD_SERVER, ROLE_ETCD_PEER, ROLE_HEALTHCHECK,
                                         ROLE_ETCD_CLIENT};
    const struct settings *settings = plan->settings;

    for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
        const struct role *role = role_at(roles[i]);
        char *base = xasprintf("%s/%s", member->name, role->file);
        struct item *item;

        if (roles[i] == ROLE_ETCD_CLIENT && !settings->kubernetes) {
            free(base);
            break;
        }
        item = plan_add_role(plan, role, base, "ca/etcd/ca",
                             role->cn[0] == '\0' ? member->name : NULL);
        free(base);
        if (role->sans != SANS_MEMBER)
            continue;
        if (member_sans(&item->sans, member->name,
                        member->hosts.count != 0 ? member->hosts.items[0] : NULL, err) < 0 ||
            add_sans(&item->sans, &member->hosts, member->name, err) < 0)
            return -1;
    }
    for (int key = 0; key < (settings->with_ca_key ? 2 : 1); key++) {
        char *copy = xasprintf("%s/etcd/ca%s", member->name, key != 0 ? ".key" : ".crt");

        (void)plan_add(plan, ITEM_COPY, copy, key != 0 ? "ca/etcd/ca.key" : "ca/etcd/ca.crt");
        free(copy);
    }
    return 0;
}

/* Where the member has no URLs of its own the first host's, on etcd's usual port. */
static char *peer_urls(const struct member *member)
{
    struct buf out = BUF_INIT(BUF_UNLIMITED);
    char *host = host_in_url(member->hosts.items[0]), *text;

    for (size_t i = 0; i < member->urls.count; i++)
        (void)buf_printf(&out, "%s%s", i != 0 ? "," : "", member->urls.items[i]);
    if (member->urls.count == 0)
        (void)buf_printf(&out, "https://%s:2380", host);
    text = xstrdup(buf_text(&out));
    buf_free(&out);
    free(host);
    return text;
}

/* etcd listens on addresses only: where the URL has a name, on all of them. */
static char *listen_urls(const char *urls)
{
    struct texts list = {0};
    struct buf out = BUF_INIT(BUF_UNLIMITED);
    char *text;

    texts_add_list(&list, urls);
    for (size_t i = 0; i < list.count; i++) {
        const char *url = list.items[i], *scheme = strstr(url, "://");
        const char *port = strrchr(url, ':');
        char *host = url_host(url);

        (void)buf_printf(&out, "%s", i != 0 ? "," : "");
        if (scheme == NULL || x509_is_address(host))
            (void)buf_printf(&out, "%s", url);
        else
            (void)buf_printf(&out, "%.*s://0.0.0.0%s", (int)(scheme - url), url,
                             port > scheme ? port : "");
        free(host);
    }
    text = xstrdup(buf_text(&out));
    buf_free(&out);
    texts_free(&list);
    return text;
}

/* MEMBER/etcd.env travels with the files it names, so it names them from there. */
static void plan_flags_file(struct plan *plan, const struct member *members, size_t count,
                            const struct member *member)
{
    struct buf cluster = BUF_INIT(BUF_UNLIMITED), text = BUF_INIT(BUF_UNLIMITED);
    char *urls = peer_urls(member), *listen = listen_urls(urls), *one;
    char *host = host_in_url(member->hosts.items[0]), dot[] = ".", any[] = "0.0.0.0";
    char *base = xasprintf("%s/etcd.env", member->name);
    bool address = x509_is_address(member->hosts.items[0]);

    for (size_t i = 0; i < count; i++) {
        struct texts list = {0};

        one = peer_urls(&members[i]);
        texts_add_list(&list, one);
        for (size_t k = 0; k < list.count; k++)
            (void)buf_printf(&cluster, "%s%s=%s", buf_used(&cluster) != 0 ? "," : "",
                             members[i].name, list.items[k]);
        texts_free(&list);
        free(one);
    }
    one = xstrdup(buf_text(&cluster));
    member_flags_env(&(struct member_flags){.dir = dot,
                                            .name = member->name,
                                            .host = host,
                                            .bind = address ? host : any,
                                            .peer_urls = urls,
                                            .listen_peer_urls = listen,
                                            .initial_cluster = one},
                     &text);
    plan_add(plan, ITEM_TEXT, base, NULL)->text =
        xasprintf("# The paths are seen from the directory of this file: start etcd there. For\n"
                  "# absolute ones run etcd-pki flags --for systemd --dir with that directory.\n%s",
                  buf_text(&text));
    buf_free(&cluster);
    buf_free(&text);
    free(urls);
    free(listen);
    free(one);
    free(host);
    free(base);
}

static int plan_cluster(struct plan *plan, const struct settings *settings, struct err *err)
{
    struct member *members = NULL;
    size_t count = 0;
    int rc = take_members(settings, &members, &count, err);

    if (rc == 0)
        plan_add_role(plan, role_at(ROLE_ETCD_CA), "ca/etcd/ca", NULL, NULL)->any_name = true;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        if (strcmp(members[i].name, "ca") == 0 || strcmp(members[i].name, "clients") == 0) {
            err_set(err, ERR_USAGE,
                    "a member cannot be called \"%s\": that directory has another use",
                    members[i].name);
            rc = -1;
        } else {
            rc = plan_member(plan, &members[i], err);
        }
        if (rc == 0 && settings->flags_file)
            plan_flags_file(plan, members, count, &members[i]);
    }
    for (size_t i = 0; rc == 0 && i < settings->client.count; i++) {
        const char *name = settings->client.items[i];
        char *base = xasprintf("clients/%s", name);

        if (name[0] == '.' || strchr(name, '/') != NULL) {
            err_set(err, ERR_USAGE, "--client \"%.100s\": cannot be a file name", name);
            rc = -1;
        } else {
            (void)plan_add_role(plan, role_at(ROLE_CLIENT), base, "ca/etcd/ca", name);
        }
        free(base);
    }
    for (size_t i = 0; i < count; i++) {
        free(members[i].name);
        texts_free(&members[i].hosts);
        texts_free(&members[i].urls);
    }
    free(members);
    return rc;
}

int cmd_cluster(struct settings *settings)
{
    struct plan plan = {0};
    struct err err = ERR_INIT;
    int rc = too_many(settings, 0, "cluster", &err);

    if (rc == 0 && (rc = plan_init(&plan, settings, false, &err)) == 0)
        rc = plan_cluster(&plan, settings, &err);
    return finish(settings, &plan, rc, &err);
}
