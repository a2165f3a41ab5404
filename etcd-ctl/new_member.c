/* new_member.c - see new_member.h. A URL is looked up and dialled once, for a second at most. */
#include "etcd-ctl/new_member.h"
#include "common/base/url.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define DIAL_MS 1000

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

static struct addrinfo *look_up(const struct url *url, int *error)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    char port[8];

    (void)snprintf(port, sizeof(port), "%u", url->port); /* fits */
    *error = getaddrinfo(url->host, port, &hints, &list);
    return *error == 0 ? list : NULL;
}

static bool listens(const struct addrinfo *address)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), error = 0;
    struct pollfd wait = {.fd = fd, .events = POLLOUT};
    socklen_t bytes = sizeof(error);
    bool connected;

    if (fd < 0)
        return false;
    connected = connect(fd, address->ai_addr, address->ai_addrlen) == 0 ||
                (errno == EINPROGRESS && poll(&wait, 1, DIAL_MS) == 1 &&
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

static bool is_far(const char *text)
{
    struct err ignored = ERR_INIT; /* what does not parse says nothing */
    struct addrinfo *list = NULL;
    struct url url = {0};
    bool far = false;
    int error;

    if (url_parse(text, &url, &ignored) < 0)
        return false;
    if (url.port != 0)
        list = look_up(&url, &error);
    if (list != NULL)
        far = !is_loopback(list->ai_addr);
    if (list != NULL)
        freeaddrinfo(list);
    url_fini(&url);
    return far;
}

static void note_address(const struct url *url, const char *present)
{
    int error = 0;
    struct addrinfo *list = look_up(url, &error);

    if (list == NULL) {
        (void)fprintf(stderr,
                      "note: %s: %s does not resolve here (%s); every member must be able to reach "
                      "the new one by it\n",
                      url->text, url->host, gai_strerror(error));
        return;
    }
    if (is_loopback(list->ai_addr) && present != NULL && is_far(present))
        (void)fprintf(
            stderr,
            "note: %s is an address of each machine itself; members elsewhere (%s) cannot "
            "reach the new one by it\n",
            url->text, present);
    else if (listens(list))
        (void)fprintf(stderr,
                      "note: something listens at %s already; the new member has to, and is "
                      "started after this command\n",
                      url->text);
    freeaddrinfo(list);
}

static void note_url(const char *text, const Etcdserverpb__MemberListResponse *present)
{
    const char *other = first_url(present);
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
        note_address(&url, other);
    url_fini(&url);
}

void new_member_notes(const char *name, char *const *urls, size_t url_count, bool learner,
                      const Etcdserverpb__MemberListResponse *present)
{
    for (size_t i = 0; i < MIN(url_count, 4); i++) /* the rest would say the same */
        note_url(urls[i], present);
    if (!learner)
        note_quorum(name, urls[0], present);
}
