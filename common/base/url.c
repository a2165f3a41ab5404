/* url.c - see url.h. */
#include "common/base/url.h"

#include <strings.h>

static const struct {
    const char *name;
    bool socket;
} schemes[] = {
    [URL_HTTP] = {"http", false},
    [URL_HTTPS] = {"https", false},
    [URL_UNIX] = {"unix", true},
    [URL_UNIXS] = {"unixs", true},
};

static int refuse(struct err *err, const char *why, const char *text)
{
    err_set(err, ERR_USAGE, "%s: %s", why, text);
    return -1;
}

/* "2380" up to the end of `text`. */
static bool parse_port(const char *text, uint16_t *port)
{
    uint32_t number = 0;

    if (*text == '\0' || strlen(text) > 5)
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return false;
        number = number * 10 + (uint32_t)(*text - '0');
    }
    *port = (uint16_t)number;
    return number <= UINT16_MAX;
}

/* host:port or [host]:port; `authority` has nothing else in it. */
static bool parse_authority(const char *authority, struct url *url)
{
    const char *colon = strrchr(authority, ':');
    const char *start = authority, *end = colon;

    if (colon == NULL || !parse_port(colon + 1, &url->port))
        return false;
    if (*authority == '[') {
        start++;
        end--;
        if (end <= start || *end != ']' || memchr(start, ']', (size_t)(end - start)) != NULL)
            return false;
    } else if (strpbrk(authority, "[]") != NULL || strchr(authority, ':') != colon) {
        return false;
    }
    url->host = xstrndup(start, (size_t)(end - start));
    return true;
}

static int parse_rest(const char *rest, const char *text, struct url *url, struct err *err)
{
    if (schemes[url->scheme].socket) {
        if (*rest == '\0')
            return refuse(err, "URL has no path of a socket", text);
        url->host = xstrdup(rest);
        return 0;
    }
    if (strpbrk(rest, "@?#") != NULL)
        return refuse(err, "URL must be scheme://host:port and nothing else", text);
    if (strchr(rest, '/') != NULL)
        return refuse(err, "URL must not contain a path", text);
    if (!parse_authority(rest, url))
        return refuse(err, "URL address does not have the form \"host:port\"", text);
    return 0;
}

static bool find_scheme(const char *text, struct url *url, const char **rest)
{
    for (size_t at = 0; at < ARRAY_LEN(schemes); at++) {
        size_t bytes = strlen(schemes[at].name);

        if (strncasecmp(text, schemes[at].name, bytes) == 0 && text[bytes] == ':') {
            url->scheme = (enum url_scheme)at;
            *rest = text + bytes + 1;
            return true;
        }
    }
    return false;
}

static char *trimmed(const char *text)
{
    static const char blanks[] = " \t\r\n";
    size_t bytes;

    text += strspn(text, blanks);
    bytes = strlen(text);
    while (bytes > 0 && strchr(blanks, text[bytes - 1]) != NULL)
        bytes--;
    return xstrndup(text, bytes);
}

int url_parse(const char *text, struct url *url, struct err *err)
{
    struct url parsed = {0};
    const char *rest;
    char *copy = NULL;
    int rc = -1;

    if (strlen(text) > URL_MAX_BYTES) {
        err_set(err, ERR_USAGE, "URL of %zu bytes, at most %d are allowed: %.64s...", strlen(text),
                URL_MAX_BYTES, text);
        return -1;
    }
    copy = trimmed(text);
    for (const char *at = copy; *at != '\0'; at++)
        if ((unsigned char)*at <= ' ' || *at == 0x7f) {
            (void)refuse(err, "URL contains a blank or control character", copy);
            goto out;
        }
    if (!find_scheme(copy, &parsed, &rest)) {
        (void)refuse(err, "URL scheme must be http, https, unix, or unixs", copy);
        goto out;
    }
    if (strncmp(rest, "//", 2) == 0) {
        rest += 2;
    } else if (!schemes[parsed.scheme].socket) {
        (void)refuse(err, "URL address does not have the form \"host:port\"", copy);
        goto out;
    }
    if (parse_rest(rest, copy, &parsed, err) < 0)
        goto out;
    parsed.text = xasprintf("%s:%s", schemes[parsed.scheme].name, strchr(copy, ':') + 1);
    *url = parsed;
    rc = 0;
out:
    free(copy);
    return rc;
}

void url_fini(struct url *url)
{
    free(url->host);
    free(url->text);
    *url = (struct url){0};
}
