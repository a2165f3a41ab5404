/* resolve.c - see resolve.h. */
#include "common/base/resolve.h"
#include "common/base/clock.h"
#include "common/base/url.h"

#include <arpa/inet.h>
#include <netdb.h>

#define RESOLVE_WAIT_MS 30000 /* as etcd, and so the pause */
#define RESOLVE_PAUSE_MS 1000

static bool is_name(const struct url *url)
{
    unsigned char address[sizeof(struct in6_addr)];

    return (url->scheme == URL_HTTP || url->scheme == URL_HTTPS) && url->host[0] != '\0' &&
           strcmp(url->host, "localhost") != 0 && strchr(url->host, '%') == NULL /* a zone */ &&
           inet_pton(AF_INET, url->host, address) != 1 &&
           inet_pton(AF_INET6, url->host, address) != 1;
}

/* One attempt: 0, or what getaddrinfo() says. */
static int look_up(const struct url *url, char **resolved)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list = NULL;
    char host[INET6_ADDRSTRLEN + 20]; /* and a zone */
    int error = getaddrinfo(url->host, NULL, &hints, &list);

    if (error != 0)
        return error;
    error =
        getnameinfo(list->ai_addr, list->ai_addrlen, host, sizeof(host), NULL, 0, NI_NUMERICHOST);
    if (error == 0)
        *resolved = xasprintf(list->ai_family == AF_INET6 ? "%s://[%s]:%u" : "%s://%s:%u",
                              url->scheme == URL_HTTPS ? "https" : "http", host, url->port);
    freeaddrinfo(list);
    return error;
}

int resolve_url(void *arg, const char *text, char **resolved, struct err *err)
{
    struct resolve_wait *wait = arg;
    struct url url;
    int error;

    if (url_parse(text, &url, err) < 0)
        return -1;
    if (!is_name(&url)) {
        *resolved = xstrdup(url.text);
        url_fini(&url);
        return 0;
    }
    if (wait->until_ms == 0)
        wait->until_ms = clock_ms() + RESOLVE_WAIT_MS;
    while ((error = look_up(&url, resolved)) != 0 &&
           clock_ms() + RESOLVE_PAUSE_MS < wait->until_ms) {
        if (wait->again != NULL)
            wait->again(text, gai_strerror(error));
        clock_pause_ms(RESOLVE_PAUSE_MS);
    }
    if (error != 0)
        err_set(err, ERR_NET, "failed to resolve \"%s\" (%s)", text, gai_strerror(error));
    url_fini(&url);
    return error == 0 ? 0 : -1;
}
