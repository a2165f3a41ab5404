/* hosts.c - hosts in URLs and as names of a certificate. */
#include "etcd-pki/pki.h"

char *url_host(const char *url)
{
    const char *scheme = strstr(url, "://");
    const char *host = scheme != NULL ? scheme + 3 : url;
    size_t bytes;

    if (*host == '[') {
        host++;
        bytes = strchr(host, ']') != NULL ? strcspn(host, "]") : 0;
    } else if (x509_is_address(host)) { /* a bare IPv6 address has colons too */
        bytes = strlen(host);
    } else {
        bytes = strcspn(host, ":/");
    }
    return bytes != 0 ? xstrndup(host, bytes) : NULL;
}

char *host_in_url(const char *host)
{
    return strchr(host, ':') != NULL ? xasprintf("[%s]", host) : xstrdup(host);
}

int add_sans(struct x509_sans *sans, const struct texts *texts, const char *flag, struct err *err)
{
    for (size_t i = 0; i < texts->count; i++)
        if (x509_sans_add(sans, texts->items[i], err) < 0) {
            err_prefix(err, "%s", flag);
            return -1;
        }
    return 0;
}
