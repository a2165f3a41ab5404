/*
 * discover_srv.c - the first members from SRV records: _etcd-server-ssl[-NAME]._tcp.DOMAIN are
 * https, _etcd-server[-NAME]._tcp.DOMAIN http. The record whose address is one of our own peer
 * URLs is ours and gets our name, the others are called 0, 1, ... as in etcd: the names do not
 * matter, the URLs are what ids are made of.
 */
#include "etcd-server/host/discover_internal.h"

#include "common/base/log.h"
#include "common/base/url.h"
#include "common/client/srv.h"

#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>

struct srv_run {
    const struct discover_config *config;
    struct buf cluster; /* "0=https://a:1,name=https://b:1" */
    struct buf own;     /* our URLs as the records spell them */
    size_t own_count;
    struct buf words; /* what went wrong, per service */
};

/* ---- is it the same place? ---- */

static struct addrinfo *look_up(const struct url *url)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    char port[8];

    (void)snprintf(port, sizeof(port), "%u", url->port); /* fits */
    return getaddrinfo(url->host, port, &hints, &list) == 0 ? list : NULL;
}

static bool share_address(const struct addrinfo *a, const struct addrinfo *b)
{
    for (; a != NULL; a = a->ai_next)
        for (const struct addrinfo *other = b; other != NULL; other = other->ai_next)
            if (a->ai_addrlen == other->ai_addrlen &&
                memcmp(a->ai_addr, other->ai_addr, a->ai_addrlen) == 0)
                return true;
    return false;
}

static bool same_place(const struct url *a, const struct url *b)
{
    struct addrinfo *left, *right;
    bool same;

    if (a->port != b->port)
        return false;
    if (strcasecmp(a->host, b->host) == 0)
        return true;
    left = look_up(a);
    right = look_up(b);
    same = share_address(left, right);
    if (left != NULL)
        freeaddrinfo(left);
    if (right != NULL)
        freeaddrinfo(right);
    return same;
}

/* Our own peer URL at the place of `target`, NULL: none. */
static const char *own_at(const struct discover_config *config, const struct url *target)
{
    const char *found = NULL;

    for (size_t i = 0; i < config->peer_url_count && found == NULL; i++) {
        struct err ignored = ERR_INIT; /* bootstrap says what is wrong with our own URLs */
        struct url own = {0};

        if (url_parse(config->peer_urls[i], &own, &ignored) == 0 && own.port != 0 &&
            same_place(&own, target))
            found = config->peer_urls[i];
        url_fini(&own);
    }
    return found;
}

/* ---- one service ---- */

static void take_target(struct srv_run *run, const char *text, const char *service, size_t *number)
{
    const struct discover_config *config = run->config;
    struct err why = ERR_INIT;
    struct url target = {0};
    const char *own;

    if (url_parse(text, &target, &why) < 0) {
        log_warn("passing over an SRV record", log_str("url", text), log_str("error", why.text));
        return;
    }
    own = own_at(config, &target);
    if (own != NULL && strncmp(own, text, strcspn(own, ":") + 1) != 0) {
        buf_printf(&run->words,
                   "%sbootstrap at %s from DNS for %s has scheme mismatch with expected peer %s",
                   buf_used(&run->words) != 0 ? "; " : "", text, service, own);
    } else {
        buf_printf(&run->cluster, "%s", buf_used(&run->cluster) != 0 ? "," : "");
        if (own != NULL) {
            buf_printf(&run->cluster, "%s=%s", config->name, text);
            buf_printf(&run->own, "%s%s", run->own_count++ != 0 ? "," : "", text);
        } else {
            buf_printf(&run->cluster, "%zu=%s", (*number)++, text);
        }
        log_info("found a member in DNS", log_str("service", service), log_str("url", text));
    }
    url_fini(&target);
}

static void ask_service(struct srv_run *run, const char *service, const char *scheme)
{
    struct buf list = BUF_INIT(BUF_UNLIMITED), words = BUF_INIT(ERR_TEXT_MAX);
    size_t number = 0, bytes;

    if (srv_lookup(service, run->config->srv_name, run->config->srv_domain, scheme, &list,
                   &words) == 0) {
        buf_printf(&run->words, "%serror querying DNS SRV records for _%s (%s)",
                   buf_used(&run->words) != 0 ? "; " : "", service, buf_text(&words));
    } else {
        for (const char *at = buf_text(&list); *at != '\0'; at += bytes + (at[bytes] == ',')) {
            char *text;

            bytes = strcspn(at, ",");
            text = xstrndup(at, bytes);
            take_target(run, text, service, &number);
            free(text);
        }
    }
    buf_free(&words);
    buf_free(&list);
}

int discover_srv(const struct discover_config *config, char **cluster, char **advertised,
                 struct err *err)
{
    struct srv_run run = {.config = config,
                          .cluster = BUF_INIT(BUF_UNLIMITED),
                          .own = BUF_INIT(BUF_UNLIMITED),
                          .words = BUF_INIT(ERR_TEXT_MAX / 2)};
    int rc = -1;

    ask_service(&run, "etcd-server-ssl", "https");
    ask_service(&run, "etcd-server", "http");
    if (buf_used(&run.cluster) == 0) {
        err_set(err, ERR_NET, "error setting up initial cluster: %s", buf_text(&run.words));
    } else if (run.own_count == 0) {
        err_set(err, ERR_USAGE,
                "cannot find local etcd member \"%s\" in SRV records: none of %.400s is at %s; "
                "advertise an address of one of them with --initial-advertise-peer-urls, or add a "
                "record%s%.200s",
                config->name, buf_text(&run.cluster),
                config->peer_url_count != 0 ? config->peer_urls[0] : "",
                buf_used(&run.words) != 0 ? "; " : "", buf_text(&run.words));
    } else {
        *cluster = xstrdup(buf_text(&run.cluster));
        if (run.own_count == config->peer_url_count) { /* else bootstrap says what is missing */
            free(*advertised);
            *advertised = xstrdup(buf_text(&run.own));
        }
        log_info("found the cluster in DNS", log_str("initial-cluster", *cluster));
        rc = 0;
    }
    buf_free(&run.cluster);
    buf_free(&run.own);
    buf_free(&run.words);
    return rc;
}
