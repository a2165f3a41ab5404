/*
 * cmd_check.c - check perf: does the cluster keep up with a load? check datascale: how much memory
 * does a server take for many keys? (cli.md 2.6)
 *
 *   prefix must be empty -> load with a progress line -> delete, compact, defragment -> verdict
 */
#include "common/base/limits.h"
#include "common/schema/pbbytes.h"
#include "etcd-ctl/ctl.h"
#include "etcd-ctl/load.h"
#include "etcd-ctl/progress.h"

#include <stdio.h>

#define PERF_SECONDS 60
#define PERF_KEY_BYTES 256
#define PERF_VALUE_BYTES 1024
#define PERF_RATE_SHARE 0.9 /* of the rate wanted that has to be reached */
#define PERF_SLOWEST_S 0.5  /* the longest that one put may take */
#define PERF_STDDEV_S 0.1
#define SCALE_KEY_BYTES 512
#define SCALE_VALUE_BYTES 512
#define METRICS_MAX (16UL * MIB) /* bytes of /metrics */
#define BYTES_PER_MB (1024.0 * 1024.0)

struct model {
    const char *name, *long_name;
    uint64_t perf_rate;
    size_t perf_clients;
    uint64_t scale_puts;
    size_t scale_clients;
};

static const struct model models[] = {
    {"s", "small", 150, 50, 10000, 50},
    {"m", "medium", 1000, 200, 100000, 200},
    {"l", "large", 8000, 500, 1000000, 500},
    {"xl", "xLarge", 15000, 1000, 3000000, 1000},
};

static const struct model *find_model(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(models); i++)
        if (strcmp(models[i].name, name) == 0 || strcmp(models[i].long_name, name) == 0)
            return &models[i];
    return NULL;
}

/* ---- before ---- */

static int no_keys(struct ctl *ctl, const char *prefix)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    int code;

    request.key = pb_text(prefix);
    request.range_end = kv_prefix_end(ctl, request.key);
    request.limit = 1;
    code = ctl_call(ctl, RPC_KV_Range, &request.base, &response, CTL_FAILED);
    if (code != CTL_OK)
        return code;
    if (CONTAINER_OF(response, Etcdserverpb__RangeResponse, base)->n_kvs == 0)
        return CTL_OK;
    return ctl_fail(CTL_BAD_INPUT,
                    "prefix \"%s\" has keys. Delete with 'etcd-ctl del --prefix %s' first", prefix,
                    prefix);
}

static int begin(struct ctl *ctl, const struct args *args, const struct model **model)
{
    if (args->word_count != 0)
        return ctl_bad_args("%s takes no arguments, but \"%s\" was given", args->command->words,
                            args->words[0]);
    *model = find_model(args_text(args, "load"));
    if (*model == NULL)
        return ctl_fail(CTL_BAD_FORMAT, "unknown load option %s (s, m, l or xl)",
                        args_text(args, "load"));
    if (args_text(args, "prefix")[0] == '\0')
        return ctl_bad_args("--prefix must not be empty: its keys are deleted in the end");
    return no_keys(ctl, args_text(args, "prefix"));
}

typedef int check_fn(struct ctl *ctl, const struct args *args, const struct model *model,
                     struct load_result *result);

static int check(struct ctl *ctl, const struct args *args, check_fn *work)
{
    const struct model *model = NULL;
    struct load_result *result;
    int code = begin(ctl, args, &model);

    if (code != CTL_OK)
        return code;
    result = xalloc(sizeof(*result)); /* too large for the stack */
    code = work(ctl, args, model, result);
    free(result);
    return code;
}

/* ---- while it runs ---- */

struct drawing {
    struct ctl *ctl;
    uint64_t unit, total; /* shown: done / unit of total */
    int width;
};

static void draw(void *arg, uint64_t done, int64_t elapsed_ms)
{
    struct drawing *drawing = arg;

    progress_line(&drawing->ctl->out, MIN(done / drawing->unit, drawing->total), drawing->total,
                  elapsed_ms, drawing->width);
    ctl_flush(drawing->ctl);
}

/* `unit`: what one step of the progress line is of load.puts or load.duration_ms. */
static int run(struct ctl *ctl, const struct load *load, uint64_t unit, struct load_result *result)
{
    uint64_t all = load->puts > 0 ? load->puts : (uint64_t)load->duration_ms;
    struct drawing drawing = {
        .ctl = ctl, .unit = unit, .total = all / unit, .width = progress_width()};
    int code = load_run(ctl, load, draw, &drawing, result);

    if (code != CTL_OK)
        return code;
    progress_end(&ctl->out, drawing.total, (int64_t)(result->elapsed_s * 1000), drawing.width);
    ctl_flush(ctl);
    return CTL_OK;
}

/* ---- after ---- */

static int delete_keys(struct ctl *ctl, const char *prefix, int64_t *revision)
{
    Etcdserverpb__DeleteRangeRequest request = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    const Etcdserverpb__DeleteRangeResponse *deleted;
    ProtobufCMessage *response = NULL;
    int code;

    request.key = pb_text(prefix);
    request.range_end = kv_prefix_end(ctl, request.key);
    code = ctl_call(ctl, RPC_KV_DeleteRange, &request.base, &response, CTL_FAILED);
    if (code != CTL_OK)
        return code;
    deleted = CONTAINER_OF(response, Etcdserverpb__DeleteRangeResponse, base);
    *revision = deleted->header != NULL ? deleted->header->revision : 0;
    return CTL_OK;
}

static int compact(struct ctl *ctl, int64_t revision)
{
    Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    int code;

    request.revision = revision;
    request.physical = true;
    buf_printf(&ctl->out, "Compacting with revision %" PRId64 "\n", revision);
    ctl_flush(ctl);
    code = ctl_call(ctl, RPC_KV_Compact, &request.base, &response, CTL_FAILED);
    if (code == CTL_OK)
        buf_printf(&ctl->out, "Compacted with revision %" PRId64 "\n", revision);
    return code;
}

static int defragment(struct ctl *ctl, size_t at)
{
    Etcdserverpb__DefragmentRequest request = ETCDSERVERPB__DEFRAGMENT_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    struct err err = ERR_INIT;

    buf_printf(&ctl->out, "Defragmenting \"%s\"\n", client_endpoint(ctl->client, at));
    ctl_flush(ctl);
    if (client_call_at(ctl->client, at, RPC_Maintenance_Defragment, &request.base, &ctl->arena,
                       &response, &err) < 0)
        return ctl_fail_err(ctl, CTL_FAILED, &err);
    buf_printf(&ctl->out, "Defragmented \"%s\"\n", client_endpoint(ctl->client, at));
    return CTL_OK;
}

/* Take away what the load wrote. */
static int clean_up(struct ctl *ctl, const struct args *args)
{
    size_t defragmented = args_bool(args, "auto-defrag") ? client_endpoints(ctl->client) : 0;
    int64_t revision = 0;
    int code;

    client_set_timeout(ctl->client, 0); /* millions of keys take their time */
    code = delete_keys(ctl, args_text(args, "prefix"), &revision);
    if (code == CTL_OK && args_bool(args, "auto-compact"))
        code = compact(ctl, revision);
    for (size_t i = 0; code == CTL_OK && i < defragmented; i++)
        code = defragment(ctl, i);
    ctl_flush(ctl);
    return code;
}

static int interrupted(void)
{
    return ctl_fail(CTL_FAILED, "interrupted before the end; the keys are deleted");
}

static bool no_errors(struct ctl *ctl, const struct load_result *result)
{
    if (result->failed == 0)
        return true;
    buf_append_text(&ctl->out, "FAIL: too many errors\n");
    for (size_t i = 0; i < result->error_count; i++)
        buf_printf(&ctl->out, "FAIL: ERROR(%s) -> %" PRIu64 "\n", result->errors[i].text,
                   result->errors[i].count);
    return false;
}

/* ---- perf ---- */

static bool judge(struct ctl *ctl, uint64_t wanted, const struct load_result *result)
{
    double rate = result->elapsed_s > 0 ? (double)result->puts / result->elapsed_s : 0;
    bool good = no_errors(ctl, result), fast = rate / (double)wanted > PERF_RATE_SHARE;
    bool prompt = result->slowest_s <= PERF_SLOWEST_S, even = result->stddev_s <= PERF_STDDEV_S;

    buf_printf(&ctl->out,
               fast ? "PASS: Throughput is %" PRIu64 " writes/s\n"
                    : "FAIL: Throughput too low: %" PRIu64 " writes/s\n",
               (uint64_t)rate + 1);
    buf_printf(&ctl->out,
               prompt ? "PASS: Slowest request took %fs\n" : "Slowest request took too long: %fs\n",
               result->slowest_s);
    buf_printf(&ctl->out, even ? "PASS: Stddev is %fs\n" : "Stddev too high: %fs\n",
               result->stddev_s);
    good = good && fast && prompt && even;
    buf_append_text(&ctl->out, good ? "PASS\n" : "FAIL\n");
    return good;
}

static int load_and_judge(struct ctl *ctl, const struct args *args, const struct model *model,
                          struct load_result *result)
{
    const struct load load = {.prefix = args_text(args, "prefix"),
                              .clients = model->perf_clients,
                              .key_bytes = PERF_KEY_BYTES,
                              .value_bytes = PERF_VALUE_BYTES,
                              .rate = model->perf_rate,
                              .duration_ms = PERF_SECONDS * 1000};
    int code = run(ctl, &load, 1000, result);

    if (code == CTL_OK)
        code = clean_up(ctl, args);
    if (code == CTL_OK && !judge(ctl, model->perf_rate, result))
        code = CTL_FAILED;
    return code == CTL_OK && result->stopped ? interrupted() : code;
}

int cmd_check_perf(struct ctl *ctl, const struct args *args)
{
    return check(ctl, args, load_and_judge);
}

/* ---- datascale ---- */

/* process_resident_memory_bytes of the first endpoint. */
static int read_memory(struct ctl *ctl, double *bytes)
{
    static const char name[] = "\nprocess_resident_memory_bytes ";
    struct buf page = BUF_INIT(METRICS_MAX);
    struct err err = ERR_INIT;
    const char *at;
    int code = CTL_OK;

    buf_append_byte(&page, '\n');
    if (client_get(ctl->client, 0, "/metrics", &page, &err) < 0)
        code = ctl_fail_err(ctl, CTL_FAILED, &err);
    else if ((at = strstr(buf_text(&page), name)) == NULL)
        code = ctl_fail(CTL_FAILED, "%s/metrics does not say process_resident_memory_bytes",
                        client_endpoint(ctl->client, 0));
    else
        *bytes = strtod(at + sizeof(name) - 1, NULL);
    buf_free(&page);
    return code;
}

static int load_and_measure(struct ctl *ctl, const struct args *args, const struct model *model,
                            struct load_result *result)
{
    const struct load load = {.prefix = args_text(args, "prefix"),
                              .clients = model->scale_clients,
                              .key_bytes = SCALE_KEY_BYTES,
                              .value_bytes = SCALE_VALUE_BYTES,
                              .puts = model->scale_puts};
    double before = 0, after = 0;
    int code = read_memory(ctl, &before), cleaned;

    if (code == CTL_OK) {
        buf_printf(&ctl->out,
                   "Start data scale check for work load [%" PRIu64
                   " key-value pairs, %d bytes per key-value, %zu concurrent clients].\n",
                   load.puts, SCALE_KEY_BYTES + SCALE_VALUE_BYTES, load.clients);
        code = run(ctl, &load, 1, result);
    }
    if (code != CTL_OK)
        return code;
    code = read_memory(ctl, &after);
    cleaned = clean_up(ctl, args);
    if (code != CTL_OK || cleaned != CTL_OK)
        return code != CTL_OK ? code : cleaned;
    if (!no_errors(ctl, result))
        return CTL_FAILED;
    if (result->stopped)
        return interrupted();
    buf_printf(&ctl->out, "PASS: Approximate system memory used : %.2f MB.\n",
               (after - before) / BYTES_PER_MB);
    return CTL_OK;
}

int cmd_check_datascale(struct ctl *ctl, const struct args *args)
{
    return check(ctl, args, load_and_measure);
}
