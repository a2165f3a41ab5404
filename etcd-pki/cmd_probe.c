/*
 * cmd_probe.c - probe: what an endpoint serves, whether that is the file on disk, whether Go's
 * clients would take it, and whether it takes this client certificate, or why not (pki.md 4.6).
 */
#include "common/base/file.h"
#include "etcd-pki/life.h"
#include "etcd-pki/report.h"

#include <errno.h>
#include <jansson.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

int probe_target_parse(const char *url, struct probe_target *target, struct err *err)
{
    const char *host = strstr(url, "://") != NULL ? strstr(url, "://") + 3 : url;
    const char *end = *host == '[' ? strchr(host, ']') : host;
    const char *colon = end != NULL ? strchr(end, ':') : NULL;

    *target = (struct probe_target){.url = url};
    if (strncmp(url, "http://", 7) == 0) {
        err_set(err, ERR_USAGE, "probe %.100s: there is no TLS behind http://", url);
        return -1;
    }
    target->host = url_host(url);
    if (target->host == NULL || end == NULL || (colon != NULL && colon[1] == '\0')) {
        err_set(err, ERR_USAGE, "probe %.100s: write it as https://HOST:PORT", url);
        free(target->host);
        target->host = NULL;
        return -1;
    }
    target->port =
        xstrndup(colon != NULL ? colon + 1 : "2379", colon != NULL ? strcspn(colon + 1, "/") : 4);
    return 0;
}

void probe_target_free(struct probe_target *target)
{
    free(target->host);
    free(target->port);
}

int probe_dial(const struct probe_target *target, int64_t timeout_s, int *fd, struct err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    struct timeval limit = {.tv_sec = (time_t)timeout_s};
    int rc = getaddrinfo(target->host, target->port, &hints, &list), saved = 0;

    *fd = -1;
    if (rc != 0) {
        err_set(err, ERR_IO, "%s: %s", target->url, gai_strerror(rc));
        return -1;
    }
    for (struct addrinfo *at = list; at != NULL && *fd < 0; at = at->ai_next) {
        *fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, 0);
        if (*fd < 0)
            continue;
        (void)setsockopt(*fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        (void)setsockopt(*fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit); /* connect() too */
        if (connect(*fd, at->ai_addr, at->ai_addrlen) < 0) {
            saved = errno == EINPROGRESS ? ETIMEDOUT : errno;
            file_close(fd);
        }
    }
    freeaddrinfo(list);
    if (*fd >= 0)
        return 0;
    err_sys(err, saved, "connect to %s", target->url);
    return -1;
}

#define SAID_MAX 300 /* bytes of an answer that are repeated */

/* Every etcd has /version but on a port for metrics alone; a listener for gRPC sends frames. */
char *probe_refusal(const struct x509_seen *seen)
{
    const char *answer = seen->answer, *space = strchr(answer, ' ');
    const char *body = strstr(answer, "\r\n\r\n");
    int status = space != NULL ? (int)strtol(space, NULL, 10) : 0;
    char *text;

    if (answer[0] == '\0')
        return NULL;
    if (strncmp(answer, "HTTP/", 5) != 0 || space == NULL)
        return xstrdup("it answers, but not in HTTP");
    if ((status >= 200 && status < 400) || status == 404)
        return NULL;
    body = body != NULL ? body + 4 : "";
    text = xasprintf("it answers %.*s%s%.*s", (int)MIN(strcspn(space + 1, "\r\n"), 60), space + 1,
                     *body != '\0' ? ": " : "", (int)MIN(strcspn(body, "\r\n"), SAID_MAX), body);
    for (char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    return text;
}

/* ---- one endpoint ---- */

struct probe {
    const struct settings *settings;
    struct probe_target target;
    bool peer;
    char *expect, *cacert, *cert, *key; /* owned paths; NULL: none */
    struct x509_list own;
    struct x509_key *own_key;
    struct x509_seen seen;
    bool wrong, headed;
    json_t *report; /* this endpoint's row; NULL: text is wanted */
};

static char *if_there(const struct settings *settings, const char *given, const char *base)
{
    char *path = given != NULL ? xstrdup(given) : xasprintf("%s/%s", reading_dir(settings), base);

    if (given != NULL || file_exists(path))
        return path;
    free(path);
    return NULL;
}

/* Without flags: the files that kubeadm's layout suggests for that port. */
static int choose_files(struct probe *probe, struct err *err)
{
    const struct settings *settings = probe->settings;

    probe->peer = settings->peer || strcmp(probe->target.port, "2380") == 0;
    probe->expect =
        if_there(settings, settings->expect, probe->peer ? "etcd/peer.crt" : "etcd/server.crt");
    probe->cacert = if_there(settings, settings->cacert, "etcd/ca.crt");
    if ((settings->cert != NULL) != (settings->key != NULL)) {
        err_set(err, ERR_USAGE, "probe: --cert and --key go together");
        return -1;
    }
    if (settings->cert != NULL || probe->peer) {
        probe->cert = if_there(settings, settings->cert, "etcd/peer.crt");
        probe->key = if_there(settings, settings->key, "etcd/peer.key");
    } else {
        probe->cert = if_there(settings, NULL, "apiserver-etcd-client.crt");
        probe->key = if_there(settings, NULL, "apiserver-etcd-client.key");
        if (probe->cert == NULL || probe->key == NULL) {
            free(probe->cert);
            free(probe->key);
            probe->cert = if_there(settings, NULL, "etcd/healthcheck-client.crt");
            probe->key = if_there(settings, NULL, "etcd/healthcheck-client.key");
        }
    }
    if (probe->cert == NULL || probe->key == NULL)
        return 0;
    if (x509_list_read(probe->cert, false, &probe->own, err) < 0 ||
        x509_key_read(probe->key, &probe->own_key, err) < 0)
        return -1;
    if (x509_has_key(probe->own.items[0], probe->own_key))
        return 0;
    err_set(err, ERR_TLS, "%s: %s is not its key", probe->cert, probe->key);
    return -1;
}

/* Once; with -q when there is something wrong to say below it. */
static void show_head(struct probe *probe)
{
    if (!probe->headed)
        printf("%s  %s %s\n", probe->target.url, probe->seen.version, probe->seen.cipher);
    probe->headed = true;
}

static void row(struct probe *probe, bool good, const char *name, const char *what,
                const char *verdict)
{
    json_t *check = report_row(probe->report, "checks");

    probe->wrong = probe->wrong || !good;
    report_text(check, "check", name);
    report_text(check, "of", what);
    report_flag(check, "ok", good);
    report_text(check, "verdict", verdict);
    if (probe->report != NULL || (good && probe->settings->quiet))
        return;
    show_head(probe);
    printf("  %-12s %-36s %s\n", name, what, verdict);
}

static void judge_served(struct probe *probe)
{
    const struct x509_list *chain = &probe->seen.chain;
    struct x509_list file = {0};
    struct x509_info info;
    struct err err = ERR_INIT;
    int64_t now_s = clock_s();
    char *left;

    x509_describe(chain->items[0], &info);
    left = residual(info.not_after_s, now_s);
    report_cert(probe->report, chain->items[0]);
    report_number(probe->report, "residualTime", info.not_after_s - now_s);
    if (says(probe->settings))
        printf("  %-12s %s  serial %s  until %s (%s)\n", "served", info.subject, info.serial,
               info.not_after, left);
    free(left);
    if (now_s > info.not_after_s || now_s < info.not_before_s)
        row(probe, false, "dates", "",
            now_s > info.not_after_s ? "expired: every handshake fails" : "not valid yet");
    if (probe->expect != NULL && x509_list_read(probe->expect, false, &file, &err) < 0)
        row(probe, false, "same as", probe->expect, err.text);
    else if (probe->expect != NULL)
        row(probe, x509_certs_equal(file.items[0], chain->items[0]), "same as", probe->expect,
            x509_certs_equal(file.items[0], chain->items[0])
                ? "yes"
                : "no: the member serves another certificate than this file");
    x509_list_free(&file);
    err = ERR_INIT;
    if (probe->cacert != NULL) {
        if (x509_list_read(probe->cacert, true, &file, &err) == 0 &&
            x509_chain_check(chain, &file, X509_SERVER, &err) == 0 &&
            x509_chain_dates(chain, &file, now_s, &err) == 0)
            row(probe, true, "chain", probe->cacert, "ok");
        else
            row(probe, false, "chain", probe->cacert, err.text);
        x509_list_free(&file);
    }
    if (info.usages != 0 && (info.usages & (X509_SERVER | X509_ANY)) == 0)
        row(probe, false, "usage", info.extended_usage, "lacks serverAuth: clients refuse it");
    if (x509_fits_host(chain->items[0], probe->target.host))
        row(probe, true, "name", probe->target.host, "ok");
    else
        row(probe, false, "name", probe->target.host, info.sans);
    x509_info_free(&info);
}

/* What an alert means here (pki.md 2.13). */
static char *verdict_of(const struct probe *probe)
{
    struct x509_info info = {0};
    const char *issuer = "?";
    char *text;

    if (probe->own.count != 0) {
        x509_describe(probe->own.items[0], &info);
        issuer = info.issuer;
    }
    switch (probe->seen.alert) {
    case 0:
        text = xasprintf("refused after the handshake, %s: revoked%s", probe->seen.said,
                         probe->peer ? ", or the certificate's SANs do not fit the source address"
                                     : "");
        break;
    case 42:
    case 43: /* etcd-server's word for a wrong usage */
        text = xasprintf("refused: %s: its usage is %s, or an allow list has not its "
                         "name; clientAuth is needed",
                         probe->seen.alert == 42 ? "bad_certificate" : "unsupported_certificate",
                         info.extended_usage != NULL ? info.extended_usage : "?");
        break;
    case 44:
        text = xasprintf("refused: certificate_revoked: it is in the member's revocation list");
        break;
    case 45:
        text = xasprintf("refused: certificate_expired: it ended on %s, or a clock is wrong",
                         info.not_after);
        break;
    case 48:
        text = xasprintf("refused: unknown_ca: the member does not trust its issuer %s; a CA file "
                         "changed on disk is read only at restart",
                         issuer);
        break;
    case 80:
        text = xasprintf("refused: internal_error: the member cannot load its own pair (key and "
                         "certificate do not belong together, or one is missing)");
        break;
    case 116:
        text = xasprintf("refused: certificate_required: the member demands one; give --cert and "
                         "--key");
        break;
    default:
        text = xasprintf("refused: alert %d: %s", probe->seen.alert, probe->seen.said);
    }
    x509_info_free(&info);
    return text;
}

static void judge_client(struct probe *probe)
{
    char *count =
        xasprintf("%zu CA name%s", probe->seen.asks_count, probe->seen.asks_count != 1 ? "s" : "");
    const char *mine = probe->own.count != 0 ? probe->cert : "none";
    char *verdict, *refusal = probe_refusal(&probe->seen);

    verdict = refusal != NULL ? xasprintf("refused: %s", refusal) : verdict_of(probe);
    if (probe->seen.asked)
        row(probe, true, "asks for", probe->seen.asks, count);
    else
        row(probe, true, "asks for", "no client certificate", "");
    if (probe->seen.step == X509_STEP_ANSWERED && refusal == NULL)
        row(probe, true, "client cert", mine, probe->seen.asked ? "accepted" : "not asked for");
    else
        row(probe, false, "client cert", mine, verdict);
    free(refusal);
    free(verdict);
    free(count);
}

static void show_version(struct probe *probe)
{
    const char *at = strstr(probe->seen.answer, "\"etcdserver\":\"");
    char *version;

    if (probe->seen.step != X509_STEP_ANSWERED)
        return;
    at = at != NULL ? at + strlen("\"etcdserver\":\"") : NULL;
    version = at != NULL ? xstrndup(at, MIN(strcspn(at, "\""), 40)) : xstrdup("?");
    report_text(probe->report, "etcd", version);
    if (says(probe->settings))
        printf("  %-12s %s\n", "etcd", at != NULL ? version : "did not say its version");
    free(version);
}

static int probe_one(struct probe *probe, int64_t timeout_s, struct err *err)
{
    int fd = -1, rc;

    if (probe_dial(&probe->target, timeout_s, &fd, err) < 0)
        return -1;
    rc = x509_probe(fd, probe->target.host, "/version", probe->own.count != 0 ? &probe->own : NULL,
                    probe->own_key, &probe->seen, err);
    file_close(&fd);
    if (rc < 0)
        return -1;
    if (probe->seen.chain.count == 0) {
        err_set(err, ERR_TLS, "%s: the handshake failed before a certificate was served: %s%s",
                probe->target.url, probe->seen.said,
                probe->seen.alert == 80 ? "; the member cannot load its own pair" : "");
        return -1;
    }
    report_text(probe->report, "tls", probe->seen.version);
    report_text(probe->report, "cipher", probe->seen.cipher);
    if (says(probe->settings))
        show_head(probe);
    judge_served(probe);
    judge_client(probe);
    show_version(probe);
    return 0;
}

static void probe_free(struct probe *probe)
{
    probe_target_free(&probe->target);
    free(probe->expect);
    free(probe->cacert);
    free(probe->cert);
    free(probe->key);
    x509_list_free(&probe->own);
    x509_key_free(probe->own_key);
    x509_seen_free(&probe->seen);
}

int cmd_probe(struct settings *settings)
{
    struct err err = ERR_INIT;
    int64_t timeout_s = PROBE_TIMEOUT_S_DEFAULT;
    int status = EXIT_DONE;

    (void)signal(SIGPIPE, SIG_IGN); /* a closed connection is an answer */
    if (settings->args.count == 0)
        err_set(&err, ERR_USAGE, "probe: which endpoint? https://HOST:2379");
    if (settings->args.count == 0 ||
        (settings->timeout != NULL &&
         parse_duration("--timeout", settings->timeout, &timeout_s, &err) < 0))
        return fail(settings, &err);
    for (size_t i = 0; i < settings->args.count; i++) {
        struct probe probe = {.settings = settings,
                              .report = report_row(settings->report, "endpoints")};

        err = ERR_INIT;
        report_text(probe.report, "url", settings->args.items[i]);
        if (probe_target_parse(settings->args.items[i], &probe.target, &err) < 0 ||
            choose_files(&probe, &err) < 0 || probe_one(&probe, timeout_s, &err) < 0)
            status = say(&err);
        else if (probe.wrong && status == EXIT_DONE)
            status = EXIT_FINDING;
        report_flag(probe.report, "ok", err.code == ERR_OK && !probe.wrong);
        if (err.code != ERR_OK)
            report_text(probe.report, "error", err.text);
        probe_free(&probe);
    }
    return status;
}
