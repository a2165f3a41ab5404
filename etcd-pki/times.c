/* times.c - now, --at, and lengths of time as they are typed and as kubeadm shows them. */
#include "etcd-pki/pki.h"

#include <time.h>

#define DURATION_MAX_S (1000LL * 365 * 86400)

int64_t clock_s(void)
{
    return (int64_t)time(NULL);
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
