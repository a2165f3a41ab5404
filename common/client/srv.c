/* srv.c - see srv.h. */
#include "common/client/srv.h"

#include "common/base/limits.h"

#include <arpa/nameser.h>
#include <netdb.h>
#include <resolv.h>

#define DNS_ANSWER_MAX 65535U /* bytes of a DNS message over TCP */
#define DNS_WAIT_S 2          /* for an answer of one name server */
#define DNS_TRIES 1
#define SRV_FIXED_BYTES 6 /* priority, weight, port */

struct target {
    unsigned priority, weight, port;
    char host[NS_MAXDNAME];
};

/* Lowest priority value first, then the heaviest: RFC 2782 would draw lots among these. */
static int by_priority(const void *a, const void *b)
{
    const struct target *left = a, *right = b;

    if (left->priority != right->priority)
        return left->priority < right->priority ? -1 : 1;
    if (left->weight != right->weight)
        return left->weight > right->weight ? -1 : 1;
    return strcmp(left->host, right->host);
}

static unsigned be16(const uint8_t *at)
{
    return (unsigned)at[0] << 8 | at[1];
}

/* Record `at` of the answer section; false when it is no SRV record of a host. */
static bool read_target(ns_msg *message, int at, struct target *target)
{
    ns_rr record;

    if (ns_parserr(message, ns_s_an, at, &record) < 0 || ns_rr_type(record) != ns_t_srv ||
        ns_rr_rdlen(record) <= SRV_FIXED_BYTES)
        return false;
    target->priority = be16(ns_rr_rdata(record));
    target->weight = be16(ns_rr_rdata(record) + 2);
    target->port = be16(ns_rr_rdata(record) + 4);
    if (dn_expand(ns_msg_base(*message), ns_msg_end(*message),
                  ns_rr_rdata(record) + SRV_FIXED_BYTES, target->host, sizeof(target->host)) < 0)
        return false;
    return target->port != 0 && target->host[0] != '\0'; /* "." says: no such service here */
}

int srv_read(struct slice answer, const char *scheme, struct buf *list)
{
    struct target targets[ENDPOINTS_MAX];
    size_t count = 0;
    ns_msg message;

    if (answer.size > DNS_ANSWER_MAX || ns_initparse(answer.data, (int)answer.size, &message) < 0)
        return -1;
    for (int i = 0; i < ns_msg_count(message, ns_s_an) && count < ENDPOINTS_MAX; i++)
        count += read_target(&message, i, &targets[count]);
    qsort(targets, count, sizeof(*targets), by_priority);
    for (size_t i = 0; i < count; i++)
        buf_printf(list, "%s%s://%s:%u", buf_used(list) > 0 ? "," : "", scheme, targets[i].host,
                   targets[i].port);
    return (int)count;
}

int srv_lookup(const char *service, const char *name, const char *domain, const char *scheme,
               struct buf *list, struct buf *words)
{
    char *query = xasprintf("_%s%s%s._tcp.%s", service, name[0] != '\0' ? "-" : "", name, domain);
    uint8_t *answer = xalloc(DNS_ANSWER_MAX);
    struct __res_state state = {0};
    int length = -1, found = 0, cause = NETDB_INTERNAL;

    if (res_ninit(&state) == 0) {
        state.retrans = DNS_WAIT_S;
        state.retry = DNS_TRIES;
        length = res_nquery(&state, query, ns_c_in, ns_t_srv, answer, DNS_ANSWER_MAX);
        cause = state.res_h_errno;
        res_nclose(&state);
    }
    if (length > 0)
        found = srv_read(slice_of(answer, MIN((size_t)length, DNS_ANSWER_MAX)), scheme, list);
    if (found <= 0)
        buf_printf(words, "%s%s: %s", buf_used(words) > 0 ? " and " : "", query,
                   length < 0  ? hstrerror(cause)
                   : found < 0 ? "the answer is not a DNS message"
                               : "no SRV record");
    free(answer);
    free(query);
    return MAX(found, 0);
}

int srv_client_endpoints(const char *domain, const char *name, struct buf *list, struct err *err)
{
    struct buf words = BUF_INIT(ERR_TEXT_MAX);
    int found = srv_lookup("etcd-client-ssl", name, domain, "https", list, &words);

    found += srv_lookup("etcd-client", name, domain, "http", list, &words);
    if (found == 0)
        err_set(err, ERR_NET, "dns lookup errors: %s", buf_text(&words));
    buf_free(&words);
    return found > 0 ? 0 : -1;
}
