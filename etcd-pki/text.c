/* text.c - the small things of pki.h: lists, durations, hosts, the table of roles. */
#include "etcd-pki/pki.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define DURATION_MAX_S (1000LL * 365 * 86400)

static const struct role roles[ROLES] = {
#define ROLE(id, name, other, file, cn, usages, sans, issuer)                                      \
    [ROLE_##id] = {name, other, file, cn, usages, sans, ROLE_##issuer},
#include "etcd-pki/profiles.def"
#undef ROLE
};

const struct role *role_at(enum role_id id)
{
    return &roles[id];
}

bool role_is_ca(const struct role *role)
{
    return &roles[role->issuer] == role;
}

const struct role *role_named(const char *name)
{
    for (size_t i = 0; i < ROLES; i++)
        if (strcmp(roles[i].name, name) == 0 || strcmp(roles[i].other, name) == 0 ||
            strcmp(roles[i].file, name) == 0)
            return &roles[i];
    return NULL;
}

const struct role *role_of_file(const char *base)
{
    for (size_t i = 0; i < ROLES; i++)
        if (strcmp(roles[i].file, base) == 0)
            return &roles[i];
    return NULL;
}

void texts_add(struct texts *texts, const char *text)
{
    texts->items = xrealloc(texts->items, (texts->count + 1) * sizeof *texts->items);
    texts->items[texts->count++] = xstrdup(text);
}

void texts_add_list(struct texts *texts, const char *list)
{
    char *copy = xstrdup(list), *save = NULL;

    for (char *at = strtok_r(copy, ",", &save); at != NULL; at = strtok_r(NULL, ",", &save)) {
        size_t bytes;

        while (*at == ' ')
            at++;
        for (bytes = strlen(at); bytes != 0 && at[bytes - 1] == ' '; bytes--)
            at[bytes - 1] = '\0';
        if (*at != '\0')
            texts_add(texts, at);
    }
    free(copy);
}

void texts_free(struct texts *texts)
{
    for (size_t i = 0; i < texts->count; i++)
        free(texts->items[i]);
    free(texts->items);
    *texts = (struct texts){0};
}

int say(const struct err *err)
{
    (void)fflush(stdout);
    (void)fprintf(stderr, "etcd-pki: %s\n", err->text);
    return err->code == ERR_USAGE ? EXIT_USAGE : EXIT_FAILED;
}

int64_t clock_s(void)
{
    return (int64_t)time(NULL);
}

void say_no_client_auth(const char *name, bool peer)
{
    if (peer)
        (void)fprintf(stderr,
                      "etcd-pki: %s: without clientAuth the other members refuse it when this one "
                      "dials them; give etcd --peer-client-cert-file then\n",
                      name);
    else
        (void)fprintf(stderr,
                      "etcd-pki: %s: without clientAuth etcd's gateway (HTTP and JSON) fails with "
                      "\"bad certificate\" when client certificates are demanded; give etcd "
                      "--client-cert-file then\n",
                      name);
}

int parse_duration(const char *flag, const char *text, int64_t *seconds, struct err *err)
{
    int64_t sum = 0;
    const char *at = text;

    while (*at != '\0') {
        int64_t number = 0, unit;
        const char *digits = at;

        for (; *at >= '0' && *at <= '9' && number <= DURATION_MAX_S; at++)
            number = number * 10 + (*at - '0');
        unit = *at == 's'   ? 1
               : *at == 'm' ? 60
               : *at == 'h' ? 3600
               : *at == 'd' ? 86400
               : *at == 'y' ? 365 * 86400
                            : 0;
        if (at == digits || unit == 0 || number > DURATION_MAX_S / unit)
            break;
        sum += number * unit;
        at++;
    }
    if (*at != '\0' || sum <= 0 || sum > DURATION_MAX_S) {
        err_set(err, ERR_USAGE,
                "%s %.60s: not a length of time; write 8760h, 365d or 1y, more than nothing and at "
                "most 1000y",
                flag, text);
        return -1;
    }
    *seconds = sum;
    return 0;
}

static const char *default_dir(const struct settings *settings)
{
    const char *given = getenv("ETCD_PKI_DIR");

    if (settings->dir != NULL)
        return settings->dir;
    return given != NULL && given[0] != '\0' ? given : NULL;
}

const char *writing_dir(const struct settings *settings)
{
    const char *dir = default_dir(settings);

    return dir != NULL ? dir : "./pki";
}

const char *reading_dir(const struct settings *settings)
{
    const char *dir = default_dir(settings);

    if (dir != NULL)
        return dir;
    return access("./pki", F_OK) == 0 ? "./pki" : "/etc/kubernetes/pki";
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

bool wants_json(const struct settings *settings, struct err *err, bool *bad)
{
    *bad = settings->output != NULL && strcmp(settings->output, "json") != 0 &&
           strcmp(settings->output, "text") != 0;
    if (*bad)
        err_set(err, ERR_USAGE, "-o %.60s: text or json", settings->output);
    return !*bad && settings->output != NULL && strcmp(settings->output, "json") == 0;
}

/* kubeadm's steps (pki.md 1.10): always the two largest units that still say something. */
char *residual(int64_t until_s, int64_t now_s)
{
    int64_t left = MAX(until_s, now_s - 2) - now_s; /* a date that was no date is INT64_MIN */
    int64_t minutes = left / 60, hours = left / 3600, days = hours / 24;

    if (left < -1)
        return xstrdup("<invalid>");
    if (left < 120)
        return xasprintf("%" PRId64 "s", MAX(left, 0));
    if (minutes < 10)
        return left % 60 == 0 ? xasprintf("%" PRId64 "m", minutes)
                              : xasprintf("%" PRId64 "m%" PRId64 "s", minutes, left % 60);
    if (minutes < 180)
        return xasprintf("%" PRId64 "m", minutes);
    if (hours < 8)
        return minutes % 60 == 0 ? xasprintf("%" PRId64 "h", hours)
                                 : xasprintf("%" PRId64 "h%" PRId64 "m", hours, minutes % 60);
    if (hours < 48)
        return xasprintf("%" PRId64 "h", hours);
    if (days < 8)
        return hours % 24 == 0 ? xasprintf("%" PRId64 "d", days)
                               : xasprintf("%" PRId64 "d%" PRId64 "h", days, hours % 24);
    if (days < 365 * 2)
        return xasprintf("%" PRId64 "d", days);
    if (days < 365 * 8)
        return days % 365 == 0 ? xasprintf("%" PRId64 "y", days / 365)
                               : xasprintf("%" PRId64 "y%" PRId64 "d", days / 365, days % 365);
    return xasprintf("%" PRId64 "y", days / 365);
}

int take_at(const struct settings *settings, int64_t *at_s, struct err *err)
{
    *at_s = clock_s();
    if (settings->at == NULL || x509_time_parse(settings->at, at_s))
        return 0;
    err_set(err, ERR_USAGE, "--at %.60s: write it as 2027-11-22T01:42:28Z or 2027-11-22",
            settings->at);
    return -1;
}
