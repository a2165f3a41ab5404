/*
 * new_member.c - see new_member.h. URLs are looked up and dialled once, all of them within a
 * second: what is not known by then does not hold the command up.
 */
#include "etcd-ctl/new_member.h"
#include "common/base/clock.h"
#include "common/base/url.h"
#include "common/client/dial.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define LOOK_MS 1000

struct notes {
    const char *present; /* a URL of the members there are; NULL = none */
    int64_t until_ms;
};

/* ---- the quorum ---- */

static void note_quorum(const char *name, const char *url,
                        const Etcdserverpb__MemberListResponse *present)
{
    size_t voters = 1, quorum;

    for (size_t i = 0; i < present->n_members; i++)
        voters += !present->members[i]->islearner;
    quorum = voters / 2 + 1;
    if (quorum > voters - 1)
        (void)fprintf(stderr,
                      "note: %s counts at once: %zu of %zu voters must run, so nothing can be "
                      "written or read until it runs at %s\n",
                      name, quorum, voters, url);
    else
        (void)fprintf(stderr,
                      "note: %s counts at once: %zu of %zu voters must run, so until it runs at "
                      "%s %s\n",
                      name, quorum, voters, url,
                      quorum == voters - 1 ? "no other may fail" : "one more failure counts");
    (void)fprintf(stderr,
                  "note: without that risk: etcd-ctl member add %s --learner --peer-urls=%s, start "
                  "it, etcd-ctl member promote ID\n",
                  name, url);
}

/* ---- the URLs ---- */

static bool is_loopback(const struct sockaddr *address)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;

    if (address->sa_family == AF_INET)
        return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    return address->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

static struct addrinfo *look_up(const struct url *url, int64_t until_ms,
                                struct dial_failure *failure)
{
    const struct dial_target target = {.host = url->host, .port = url->port, .until_ms = until_ms};
    struct addrinfo *list = NULL;

    *failure = (struct dial_failure){.stage = DIAL_LOOK_UP};
    return dial_look_up(&target, &list, failure) == 0 ? list : NULL;
}

static bool listens(const struct addrinfo *address, int64_t until_ms)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), error = 0;
    struct pollfd wait = {.fd = fd, .events = POLLOUT};
    socklen_t bytes = sizeof(error);
    bool connected;

    if (fd < 0)
        return false;
    connected = connect(fd, address->ai_addr, address->ai_addrlen) == 0 ||
                (errno == EINPROGRESS && poll(&wait, 1, (int)MAX(until_ms - clock_ms(), 0)) == 1 &&
                 getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes) == 0 && error == 0);
    (void)close(fd); /* nothing was sent */
    return connected;
}

/* A peer URL of the members there are that tells how they reach each other; NULL: none. */
static const char *first_url(const Etcdserverpb__MemberListResponse *present)
{
    for (size_t i = 0; i < present->n_members; i++)
        if (present->members[i]->n_peerurls != 0)
            return present->members[i]->peerurls[0];
    return NULL;
}

static bool is_far(const char *text, int64_t until_ms)
{
    struct err ignored = ERR_INIT; /* what does not parse says nothing */
    struct addrinfo *list = NULL;
    struct url url = {0};
    struct dial_failure failure;
    bool far = false;

    if (url_parse(text, &url, &ignored) < 0)
        return false;
    if (url.port != 0)
        list = look_up(&url, until_ms, &failure);
    if (list != NULL)
        far = !is_loopback(list->ai_addr);
    if (list != NULL)
        freeaddrinfo(list);
    url_fini(&url);
    return far;
}

static void note_address(const struct url *url, const struct notes *notes)
{
    struct dial_failure failure;
    struct addrinfo *list = look_up(url, notes->until_ms, &failure);
    const char *present = notes->present;

    if (list == NULL) {
        (void)fprintf(stderr,
                      "note: %s: %s does not resolve here (%s); every member must be able to reach "
                      "the new one by it\n",
                      url->text, url->host, failure.cause);
        return;
    }
    if (is_loopback(list->ai_addr) && present != NULL && is_far(present, notes->until_ms))
        (void)fprintf(
            stderr,
            "note: %s is an address of each machine itself; members elsewhere (%s) cannot "
            "reach the new one by it\n",
            url->text, present);
    else if (listens(list, notes->until_ms))
        (void)fprintf(stderr,
                      "note: something listens at %s already; the new member has to, and is "
                      "started after this command\n",
                      url->text);
    freeaddrinfo(list);
}

static void note_url(const char *text, const struct notes *notes)
{
    const char *other = notes->present;
    struct err ignored = ERR_INIT; /* the cluster refuses it */
    struct url url = {0};

    if (url_parse(text, &url, &ignored) < 0)
        return;
    if (other != NULL && url.port != 0 &&
        url_is_tls(&url) != (strncmp(other, "https:", 6) == 0 || strncmp(other, "unixs:", 6) == 0))
        (void)fprintf(stderr, "note: %s %s TLS, the members there are (%s) %s\n", url.text,
                      url_is_tls(&url) ? "means" : "has no", other,
                      url_is_tls(&url) ? "have none" : "use it");
    if (url.port != 0)
        note_address(&url, notes);
    url_fini(&url);
}

void new_member_notes(const char *name, char *const *urls, size_t url_count, bool learner,
                      const Etcdserverpb__MemberListResponse *present)
{
    const struct notes notes = {.present = first_url(present), .until_ms = clock_ms() + LOOK_MS};

    for (size_t i = 0; i < MIN(url_count, 4); i++) /* the rest would say the same */
        note_url(urls[i], &notes);
    if (!learner)
        note_quorum(name, urls[0], present);
}
