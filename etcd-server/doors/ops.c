/*
 * ops.c - see ops.h. /health, /livez and /readyz are lists of checks; those that read a key may
 * take a while, so a run of checks is an object that answers when its last read is done.
 */
#include "etcd-server/doors/ops.h"

#include "common/base/limits.h"
#include "common/schema/pbjson.h"

#define TEXT_PLAIN "text/plain; charset=utf-8"
#define NOSNIFF "X-Content-Type-Options: nosniff\r\n"

enum probe { PROBE_LIVEZ, PROBE_READYZ, PROBE_HEALTH };

struct ops {
    struct ops_env env;
};

struct run_read {
    struct ops_read read; /* first: found back from it */
    struct run *run;
    bool asked;
    bool done;
    char *cause; /* owned; NULL: passed */
};

/* One request's checks. */
struct run {
    struct ops *ops;
    struct exchange *exchange;
    enum probe probe;
    bool wanted[METRICS_CHECKS];
    bool verbose;
    unsigned waiting;         /* reads not done, and one for the starter */
    struct run_read reads[2]; /* [0] linearizable, [1] serializable */
    struct ops_facts facts;
};

struct ops *ops_new(const struct ops_env *env)
{
    struct ops *ops = xalloc(sizeof(*ops));

    ops->env = *env;
    return ops;
}

void ops_free(struct ops *ops)
{
    free(ops);
}

/* ---- checks ---- */

static void run_free(struct run *run)
{
    for (size_t i = 0; i < ARRAY_LEN(run->reads); i++)
        free(run->reads[i].cause);
    free(run);
}

static void count_check(struct run *run, enum metrics_check check, bool passed)
{
    struct metrics_checked *checked = &run->ops->env.metrics->checks[check];

    if (passed)
        checked->passed[run->probe]++;
    else
        checked->failed[run->probe]++;
    checked->last_passed[run->probe] = passed;
}

/* NULL: passed. */
static const char *check_cause(const struct run *run, enum metrics_check check)
{
    switch (check) {
    case METRICS_CHECK_DATA_CORRUPTION:
        return run->facts.alarm_corrupt ? "alarm activated: CORRUPT" : NULL;
    case METRICS_CHECK_SERIALIZABLE_READ:
        return run->reads[1].cause;
    case METRICS_CHECK_LINEARIZABLE_READ:
        return run->reads[0].cause;
    case METRICS_CHECK_NON_LEARNER:
        return run->facts.is_learner ? "not supported for learner" : NULL;
    case METRICS_CHECKS:
        break;
    }
    return NULL;
}

static void answer_checks(struct run *run)
{
    struct exchange_head head = {.status = 200, .content_type = TEXT_PLAIN, .fields = NOSNIFF};
    struct buf body = BUF_INIT(BUF_UNLIMITED); /* a line per check */

    for (size_t i = 0; i < METRICS_CHECKS; i++) {
        const char *name = metrics_check_name((enum metrics_check)i), *cause;

        if (!run->wanted[i])
            continue;
        cause = check_cause(run, (enum metrics_check)i);
        count_check(run, (enum metrics_check)i, cause == NULL);
        if (cause == NULL) {
            buf_printf(&body, "[+]%s ok\n", name);
        } else {
            buf_printf(&body, "[-]%s failed: %s\n", name, cause);
            head.status = 503;
        }
    }
    if (head.status == 200 && !run->verbose)
        buf_reset(&body);
    buf_append_text(&body, head.status == 200 ? "ok\n" : "\n");
    exchange_answer(run->exchange, &head, buf_slice(&body));
    buf_free(&body);
}

static void answer_health(struct ops *ops, struct exchange *exchange, const char *reason)
{
    struct exchange_head head = {.status = 200, .content_type = TEXT_PLAIN};
    struct buf body = BUF_INIT(BUF_UNLIMITED);
    bool healthy = reason == NULL;

    if (healthy)
        ops->env.metrics->health_success++;
    else
        ops->env.metrics->health_failures++;
    buf_printf(&body, "{\"health\":\"%s\",\"reason\":", healthy ? "true" : "false");
    (void)pbjson_write_string(slice_text(healthy ? "" : reason), &body);
    buf_append_text(&body, healthy ? "}" : "}\n");
    if (!healthy) {
        head.status = 503;
        head.fields = NOSNIFF;
    }
    exchange_answer(exchange, &head, buf_slice(&body));
    buf_free(&body);
}

static void run_answer(struct run *run)
{
    char *reason = NULL;

    if (run->probe != PROBE_HEALTH) {
        answer_checks(run);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(run->reads) && reason == NULL; i++)
        if (run->reads[i].cause != NULL)
            reason = xasprintf("RANGE ERROR:%s", run->reads[i].cause);
    answer_health(run->ops, run->exchange, reason);
    free(reason);
}

static void one_less(struct run *run)
{
    if (--run->waiting != 0)
        return;
    run_answer(run);
    run_free(run);
}

static void read_done(struct ops_read *base, const char *text)
{
    struct run_read *read = CONTAINER_OF(base, struct run_read, read);

    must(!read->done);
    read->done = true;
    read->cause = text != NULL ? xstrdup(text) : NULL;
    one_less(read->run);
}

static void on_gone(struct exchange *exchange)
{
    struct run *run = exchange->state;

    for (size_t i = 0; i < ARRAY_LEN(run->reads); i++)
        if (run->reads[i].asked && !run->reads[i].done)
            run->ops->env.cancel_read(run->ops->env.arg, &run->reads[i].read);
    run_free(run);
}

static struct run *run_new(struct ops *ops, struct exchange *exchange, enum probe probe)
{
    struct run *run = xalloc(sizeof(*run));

    run->ops = ops;
    run->exchange = exchange;
    run->probe = probe;
    run->waiting = 1;
    ops->env.facts(ops->env.arg, &run->facts);
    return run;
}

static void run_start(struct run *run, bool linearizable, bool serializable)
{
    bool wanted[2] = {linearizable, serializable};

    run->exchange->state = run;
    run->exchange->gone = on_gone;
    for (size_t i = 0; i < 2; i++) {
        if (!wanted[i])
            continue;
        run->waiting++;
        run->reads[i] = (struct run_read){
            .read = {.serializable = i == 1, .done = read_done}, .run = run, .asked = true};
        run->ops->env.read(run->ops->env.arg, &run->reads[i].read);
    }
    one_less(run);
}

/* ---- /livez, /readyz, /health ---- */

static void exclude(struct run *run, struct slice name)
{
    for (size_t i = 0; i < METRICS_CHECKS; i++)
        if (slice_equal(name, slice_text(metrics_check_name((enum metrics_check)i))))
            run->wanted[i] = false;
}

static bool check_of(enum probe probe, enum metrics_check check)
{
    return probe == PROBE_READYZ || check == METRICS_CHECK_SERIALIZABLE_READ;
}

/* `below`: what follows "/livez" or "/readyz": "", or "/<check>". */
static void start_checks(struct ops *ops, struct exchange *exchange, enum probe probe,
                         struct slice below)
{
    struct slice query = exchange->query, name, value;
    size_t only = METRICS_CHECKS;
    struct run *run;

    for (size_t i = 0; i < METRICS_CHECKS && below.size != 0; i++)
        if (check_of(probe, (enum metrics_check)i) &&
            slice_equal(slice_of(below.data + 1, below.size - 1),
                        slice_text(metrics_check_name((enum metrics_check)i))))
            only = i;
    if (below.size != 0 && only == METRICS_CHECKS) {
        exchange_not_found(exchange);
        return;
    }
    if (exchange->method != METHOD_GET) {
        exchange_not_allowed(exchange, "GET");
        return;
    }
    run = run_new(ops, exchange, probe);
    for (size_t i = 0; i < METRICS_CHECKS; i++)
        run->wanted[i] =
            only == METRICS_CHECKS ? check_of(probe, (enum metrics_check)i) : i == only;
    while (exchange_next_parameter(&query, &name, &value)) {
        if (slice_equal(name, SLICE_LITERAL("verbose")))
            run->verbose = true;
        else if (slice_equal(name, SLICE_LITERAL("exclude")))
            exclude(run, value);
    }
    run_start(run, run->wanted[METRICS_CHECK_LINEARIZABLE_READ],
              run->wanted[METRICS_CHECK_SERIALIZABLE_READ]);
}

static void start_health(struct ops *ops, struct exchange *exchange)
{
    struct slice query = exchange->query, name, value;
    bool nospace = true, corrupt = true, serializable = false, first = true;
    const char *reason = NULL;
    struct ops_facts facts;

    if (exchange->method != METHOD_GET) {
        exchange_not_allowed(exchange, "GET");
        return;
    }
    while (exchange_next_parameter(&query, &name, &value)) {
        if (slice_equal(name, SLICE_LITERAL("serializable"))) {
            if (first) /* Go looks at the first one only */
                serializable = slice_equal(value, SLICE_LITERAL("true"));
            first = false;
        } else if (slice_equal(name, SLICE_LITERAL("exclude"))) {
            nospace = nospace && !slice_equal(value, SLICE_LITERAL("NOSPACE"));
            corrupt = corrupt && !slice_equal(value, SLICE_LITERAL("CORRUPT"));
        }
    }
    memset(&facts, 0, sizeof(facts));
    ops->env.facts(ops->env.arg, &facts);
    if (nospace && facts.alarm_nospace)
        reason = "ALARM NOSPACE";
    else if (corrupt && facts.alarm_corrupt)
        reason = "ALARM CORRUPT";
    else if (!serializable && !facts.has_leader)
        reason = "RAFT NO LEADER";
    if (reason != NULL)
        answer_health(ops, exchange, reason);
    else
        run_start(run_new(ops, exchange, PROBE_HEALTH), !serializable, serializable);
}

/* ---- the plain ones ---- */

void ops_version(struct ops *ops, struct exchange *exchange)
{
    struct exchange_head head = {.status = 200, .content_type = "application/json"};
    struct buf body = BUF_INIT(BUF_UNLIMITED);
    struct ops_facts facts;

    if (exchange->method != METHOD_GET) {
        exchange_not_allowed(exchange, "GET");
        return;
    }
    memset(&facts, 0, sizeof(facts));
    ops->env.facts(ops->env.arg, &facts);
    buf_printf(&body, "{\"etcdserver\":\"%s\",\"etcdcluster\":\"%s\"}", facts.server_version,
               facts.cluster_version[0] != '\0' ? facts.cluster_version : "not_decided");
    exchange_answer(exchange, &head, buf_slice(&body));
    buf_free(&body);
}

static void start_metrics(struct ops *ops, struct exchange *exchange)
{
    struct exchange_head head = {
        .status = 200,
        .content_type = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"};
    struct buf body = BUF_INIT(BUF_UNLIMITED); /* bounded by the table */

    if (ops->env.collect != NULL)
        ops->env.collect(ops->env.arg, ops->env.metrics);
    (void)metrics_write(ops->env.metrics, &body);
    exchange_answer(exchange, &head, buf_slice(&body));
    buf_free(&body);
}

static void start_vars(struct ops *ops, struct exchange *exchange)
{
    struct exchange_head head = {.status = 200, .content_type = "application/json; charset=utf-8"};
    struct metrics *metrics = ops->env.metrics;
    struct buf body = BUF_INIT(BUF_UNLIMITED);

    if (exchange->method != METHOD_GET) {
        exchange_not_allowed(exchange, "GET");
        return;
    }
    if (ops->env.collect != NULL)
        ops->env.collect(ops->env.arg, metrics);
    buf_append_text(&body, "{\n\"cmdline\": [");
    for (int i = 0; i < ops->env.argc; i++) {
        if (i != 0)
            buf_append_byte(&body, ',');
        (void)pbjson_write_string(slice_text(ops->env.argv[i]), &body);
    }
    buf_printf(&body,
               "],\n\"file_descriptor_limit\": %.0f,\n\"memstats\": {\"Sys\":%.0f,"
               "\"Resident\":%.0f},\n\"raft.status\": ",
               metrics->fd_limit, metrics->virtual_bytes, metrics->resident_bytes);
    if (ops->env.raft_status != NULL)
        ops->env.raft_status(ops->env.arg, &body);
    else
        buf_append_text(&body, "null");
    buf_append_text(&body, "\n}\n");
    exchange_answer(exchange, &head, buf_slice(&body));
    buf_free(&body);
}

/* False: it is none of them, and nothing was done. */
static bool monitored(struct ops *ops, struct exchange *exchange, struct slice path)
{
    static const struct slice livez = SLICE_LITERAL("/livez"), readyz = SLICE_LITERAL("/readyz");

    if (slice_equal(path, SLICE_LITERAL("/health")))
        start_health(ops, exchange);
    else if (slice_equal(path, SLICE_LITERAL("/metrics")))
        start_metrics(ops, exchange);
    else if (slice_starts_with(path, livez) &&
             (path.size == livez.size || path.data[livez.size] == '/'))
        start_checks(ops, exchange, PROBE_LIVEZ,
                     slice_of(path.data + livez.size, path.size - livez.size));
    else if (slice_starts_with(path, readyz) &&
             (path.size == readyz.size || path.data[readyz.size] == '/'))
        start_checks(ops, exchange, PROBE_READYZ,
                     slice_of(path.data + readyz.size, path.size - readyz.size));
    else
        return false;
    return true;
}

void ops_monitor(struct ops *ops, struct exchange *exchange, struct slice path)
{
    if (!monitored(ops, exchange, path))
        exchange_not_found(exchange);
}

void ops_start(struct ops *ops, struct exchange *exchange, struct slice path)
{
    if (slice_equal(path, SLICE_LITERAL("/version")))
        ops_version(ops, exchange);
    else if (slice_equal(path, SLICE_LITERAL("/debug/vars")))
        start_vars(ops, exchange);
    else
        ops_monitor(ops, exchange, path);
}
