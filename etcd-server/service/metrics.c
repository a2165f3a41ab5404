/*
 * metrics.c - see metrics.h. Numbers are written as Go writes them ('g', shortest): the fewest
 * digits that read back as the same double, with an exponent below 1e-04 and from 1e+06 on, so
 * 2147483648 is "2.147483648e+09".
 */
#include "etcd-server/service/metrics.h"

#include <math.h>
#include <stdio.h>

#define NUMBER_BYTES 40

struct histogram_row {
    const char *name;
    const char *help;
    double first;
    double factor;
    const double *list; /* NULL: they are first, first * factor, ... */
    size_t bounds;
};

static const struct histogram_row histogram_rows[METRICS_HISTOGRAMS] = {
#define COUNTER(field, name_, help_)
#define GAUGE(field, name_, help_)
#define HISTOGRAM(id, name_, first_, factor_, bounds_, help_)                                      \
    [METRICS_##id] = {                                                                             \
        .name = name_, .help = help_, .first = first_, .factor = factor_, .bounds = bounds_},
#include "etcd-server/service/metrics.def"
#undef HISTOGRAM
#undef GAUGE
#undef COUNTER
};

static const struct histogram_row apply_row = {
    .name = "etcd_server_apply_duration_seconds",
    .help = "Time to apply an entry.",
    .first = 0.0001,
    .factor = 2,
    .bounds = 20,
};

static const double handling_bounds[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
static const struct histogram_row handling_row = {
    .name = "grpc_server_handling_seconds",
    .help = "Time of a call, from its start to its end.",
    .list = handling_bounds,
    .bounds = ARRAY_LEN(handling_bounds),
};

static const struct histogram_row round_trip_row = {
    .name = "etcd_network_peer_round_trip_time_seconds",
    .help = "Round trip time of a probe of a member.",
    .first = 0.0001,
    .factor = 2,
    .bounds = 16,
};
static const struct histogram_row image_rows[2] = {
    {.name = "etcd_network_snapshot_send_total_duration_seconds",
     .help = "Time to send a database to a member.",
     .first = 0.1,
     .factor = 2,
     .bounds = 10},
    {.name = "etcd_network_snapshot_receive_total_duration_seconds",
     .help = "Time to receive a database from a member.",
     .first = 0.1,
     .factor = 2,
     .bounds = 10},
};

static const char *const apply_names[METRICS_APPLIES] = {
    [METRICS_APPLY_RANGE] = "Range",
    [METRICS_APPLY_PUT] = "Put",
    [METRICS_APPLY_DELETE_RANGE] = "DeleteRange",
    [METRICS_APPLY_TXN] = "Txn",
    [METRICS_APPLY_COMPACTION] = "Compaction",
    [METRICS_APPLY_LEASE_GRANT] = "LeaseGrant",
    [METRICS_APPLY_LEASE_REVOKE] = "LeaseRevoke",
    [METRICS_APPLY_LEASE_CHECKPOINT] = "LeaseCheckpoint",
    [METRICS_APPLY_ALARM] = "Alarm",
    [METRICS_APPLY_AUTH] = "Auth",
    [METRICS_APPLY_CLUSTER_VERSION_SET] = "ClusterVersionSet",
    [METRICS_APPLY_CLUSTER_MEMBER_ATTR_SET] = "ClusterMemberAttrSet",
    [METRICS_APPLY_DOWNGRADE_INFO_SET] = "DowngradeInfoSet",
};

const char *metrics_check_name(enum metrics_check check)
{
    static const char *const names[METRICS_CHECKS] = {
        [METRICS_CHECK_DATA_CORRUPTION] = "data_corruption",
        [METRICS_CHECK_SERIALIZABLE_READ] = "serializable_read",
        [METRICS_CHECK_LINEARIZABLE_READ] = "linearizable_read",
        [METRICS_CHECK_NON_LEARNER] = "non_learner",
    };

    must((unsigned)check < METRICS_CHECKS);
    return names[check];
}

/* ---- counting ---- */

/* Bound `i`; `last` is the one before it. */
static double bound_of(const struct histogram_row *row, size_t i, double last)
{
    if (row->list != NULL)
        return row->list[i];
    return i == 0 ? row->first : last * row->factor;
}

static void observe(struct histogram *histogram, const struct histogram_row *row, double value)
{
    double bound = 0;

    histogram->count++;
    histogram->sum += value;
    for (size_t i = 0; i < row->bounds; i++) {
        bound = bound_of(row, i, bound);
        if (value <= bound) {
            histogram->buckets[i]++;
            return;
        }
    }
}

void metrics_observe(struct metrics *metrics, enum metrics_histogram which, double value)
{
    must((unsigned)which < METRICS_HISTOGRAMS);
    observe(&metrics->histograms[which], &histogram_rows[which], value);
}

void metrics_observe_apply(struct metrics *metrics, enum metrics_apply operation, bool success,
                           double seconds)
{
    must((unsigned)operation < METRICS_APPLIES);
    observe(&metrics->applies[operation][success ? 1 : 0], &apply_row, seconds);
}

void metrics_observe_call(struct metrics *metrics, const struct rpc_row *row, double seconds)
{
    if (metrics->extensive)
        observe(&metrics->handling[row->id], &handling_row, seconds);
}

/* Its row, or one that is free, or one that must be shared. */
static struct metrics_peer *find_peer(struct metrics *metrics, uint64_t id)
{
    struct metrics_peer *found = NULL;

    for (size_t i = 0; i < metrics->peer_count; i++)
        if (metrics->peers[i].id == id)
            return &metrics->peers[i];
    if (metrics->peer_count < METRICS_PEERS_MAX)
        return &metrics->peers[metrics->peer_count++];
    for (size_t i = 0; i < metrics->peer_count; i++) {
        struct metrics_peer *peer = &metrics->peers[i];

        if (peer->links == 0 && peer->sent_images.inflight == 0 &&
            peer->received_images.inflight == 0 &&
            (found == NULL || peer->left_at < found->left_at))
            found = peer;
    }
    if (found == NULL)
        return &metrics->peers[metrics->peer_count - 1];
    *found = (struct metrics_peer){0};
    return found;
}

struct metrics_peer *metrics_peer(struct metrics *metrics, uint64_t id)
{
    struct metrics_peer *peer = find_peer(metrics, id);

    if (peer->links++ == 0)
        peer->id = id;
    return peer;
}

void metrics_peer_left(struct metrics *metrics, struct metrics_peer *peer)
{
    must(peer->links != 0);
    if (--peer->links != 0)
        return;
    peer->active = false;
    peer->left_at = ++metrics->peers_left;
}

void metrics_observe_round_trip(struct metrics_peer *peer, double seconds)
{
    observe(&peer->round_trip, &round_trip_row, seconds);
}

void metrics_image_ended(struct metrics_images *images, bool success, double seconds)
{
    must(images->inflight != 0);
    images->inflight--;
    images->succeeded += success;
    images->failed += !success;
    if (success)
        observe(&images->took, &image_rows[0], seconds); /* both have the same bounds */
}

void metrics_begin_anew(struct metrics *metrics)
{
    for (size_t i = 0; i < metrics->peer_count; i++) {
        metrics->peers[i].active = false;
        metrics->peers[i].links = 0;
        metrics->peers[i].sent_images.inflight = 0;
        metrics->peers[i].received_images.inflight = 0;
    }
}

/* A version is a label: only short ones of harmless characters are told apart. */
static bool version_usable(struct slice version)
{
    if (version.size == 0 || version.size >= METRICS_VERSION_BYTES)
        return false;
    for (size_t i = 0; i < version.size; i++)
        if (version.data[i] <= ' ' || version.data[i] > '~' || version.data[i] == '"' ||
            version.data[i] == '\\')
            return false;
    return true;
}

static struct metrics_client *client_of(struct metrics *metrics, struct slice version)
{
    struct metrics_client *client;

    if (!version_usable(version))
        version = SLICE_LITERAL("unknown");
    for (size_t i = 0; i < metrics->client_count; i++)
        if (slice_equal(slice_text(metrics->clients[i].version), version))
            return &metrics->clients[i];
    if (metrics->client_count == METRICS_API_VERSIONS_MAX)
        return &metrics->clients[0];
    client = &metrics->clients[metrics->client_count++];
    memcpy(client->version, version.data, version.size);
    return client;
}

void metrics_call_started(struct metrics *metrics, const struct rpc_row *row, struct slice version)
{
    struct metrics_client *client = client_of(metrics, version);

    metrics->rpcs[row->id].started++;
    metrics->rpcs[row->id].received++;
    if (row->kind == RPC_UNARY)
        client->unary++;
    else
        client->streams++;
}

void metrics_call_handled(struct metrics *metrics, const struct rpc_row *row, enum grpc_code code)
{
    must((unsigned)code < METRICS_GRPC_CODES);
    metrics->rpcs[row->id].handled[code]++;
}

void metrics_promotion_failed(struct metrics *metrics, enum err_code why)
{
    size_t at = 0;

    while (at < metrics->promotion_count && metrics->promotions[at].code != why)
        at++;
    if (at == METRICS_REASONS_MAX)
        at--; /* the newest share the last one */
    else if (at == metrics->promotion_count)
        metrics->promotions[metrics->promotion_count++].code = why;
    metrics->promotions[at].count++;
}

/* ---- text ---- */

/* `number` as Go's strconv.FormatFloat(number, 'g', -1, 64). */
static const char *go_number(double number, char text[NUMBER_BYTES])
{
    char digits[NUMBER_BYTES], *mark;
    int precision = 0, exponent;

    if (isnan(number))
        return "NaN";
    if (isinf(number))
        return number > 0 ? "+Inf" : "-Inf";
    do
        (void)snprintf(digits, sizeof(digits), "%.*e", precision, number);
    while (strtod(digits, NULL) != number && ++precision < 17);
    mark = strchr(digits, 'e');
    must(mark != NULL);
    exponent = (int)strtol(mark + 1, NULL, 10);
    if (exponent < -4 || exponent >= 6) {
        (void)snprintf(text, NUMBER_BYTES, "%s", digits);
        return text;
    }
    (void)snprintf(text, NUMBER_BYTES, "%.*f", MAX(precision - exponent, 0), number);
    return text;
}

static void put_number(struct buf *out, double number)
{
    char text[NUMBER_BYTES];

    if (number >= 0 && number < 1000000 && number == (double)(uint64_t)number)
        buf_append_uint(out, (uint64_t)number);
    else
        buf_append_text(out, go_number(number, text));
}

static void put_kind(struct buf *out, const char *name, const char *kind, const char *help)
{
    buf_append_text(out, "# HELP ");
    buf_append_text(out, name);
    buf_append_text(out, " ");
    buf_append_text(out, help);
    buf_append_text(out, "\n# TYPE ");
    buf_append_text(out, name);
    buf_append_text(out, " ");
    buf_append_text(out, kind);
    buf_append_text(out, "\n");
}

static void put_sample(struct buf *out, const char *name, const char *suffix, const char *labels,
                       double number)
{
    buf_append_text(out, name);
    buf_append_text(out, suffix);
    if (labels[0] != '\0')
        buf_printf(out, "{%s}", labels);
    buf_append_byte(out, ' ');
    put_number(out, number);
    buf_append_byte(out, '\n');
}

static void put_simple(struct buf *out, const char *name, const char *kind, const char *help,
                       double number)
{
    put_kind(out, name, kind, help);
    put_sample(out, name, "", "", number);
}

static void put_histogram(struct buf *out, const struct histogram_row *row,
                          const struct histogram *histogram, const char *labels)
{
    const char *comma = labels[0] != '\0' ? "," : "";
    uint64_t below = 0;
    double bound = 0;
    char number[NUMBER_BYTES];

    for (size_t i = 0; i < row->bounds; i++) {
        bound = bound_of(row, i, bound);
        below += histogram->buckets[i];
        buf_printf(out, "%s_bucket{%s%sle=\"%s\"} ", row->name, labels, comma,
                   go_number(bound, number));
        put_number(out, (double)below);
        buf_append_byte(out, '\n');
    }
    buf_printf(out, "%s_bucket{%s%sle=\"+Inf\"} ", row->name, labels, comma);
    put_number(out, (double)histogram->count);
    buf_append_byte(out, '\n');
    put_sample(out, row->name, "_sum", labels, histogram->sum);
    put_sample(out, row->name, "_count", labels, (double)histogram->count);
}

static void put_applies(const struct metrics *metrics, struct buf *out)
{
    char labels[128];

    put_kind(out, apply_row.name, "histogram", apply_row.help);
    for (size_t i = 0; i < METRICS_APPLIES; i++)
        for (size_t success = 0; success < 2; success++) {
            if (metrics->applies[i][success].count == 0)
                continue;
            (void)snprintf(labels, sizeof(labels), "op=\"%s\",success=\"%s\",version=\"v3\"",
                           apply_names[i], success != 0 ? "true" : "false");
            put_histogram(out, &apply_row, &metrics->applies[i][success], labels);
        }
}

static void rpc_labels(const struct rpc_row *row, const char *code, char labels[256])
{
    static const char *const kinds[] = {
        [RPC_UNARY] = "unary", [RPC_SERVER_STREAM] = "server_stream", [RPC_BIDI] = "bidi_stream"};

    (void)snprintf(labels, 256, "%s%s%sgrpc_method=\"%s\",grpc_service=\"%s.%s\",grpc_type=\"%s\"",
                   code != NULL ? "grpc_code=\"" : "", code != NULL ? code : "",
                   code != NULL ? "\"," : "", row->method, row->package, row->service,
                   kinds[row->kind]);
}

static void put_rpcs(const struct metrics *metrics, struct buf *out)
{
    char labels[256];

    put_kind(out, "grpc_server_started_total", "counter", "Calls begun.");
    for (size_t i = 0; i < RPC_COUNT; i++) {
        rpc_labels(rpc_row((enum rpc_id)i), NULL, labels);
        put_sample(out, "grpc_server_started_total", "", labels, (double)metrics->rpcs[i].started);
    }
    put_kind(out, "grpc_server_msg_received_total", "counter", "Messages received.");
    for (size_t i = 0; i < RPC_COUNT; i++) {
        rpc_labels(rpc_row((enum rpc_id)i), NULL, labels);
        put_sample(out, "grpc_server_msg_received_total", "", labels,
                   (double)metrics->rpcs[i].received);
    }
    put_kind(out, "grpc_server_msg_sent_total", "counter", "Messages sent.");
    for (size_t i = 0; i < RPC_COUNT; i++) {
        rpc_labels(rpc_row((enum rpc_id)i), NULL, labels);
        put_sample(out, "grpc_server_msg_sent_total", "", labels, (double)metrics->rpcs[i].sent);
    }
    put_kind(out, "grpc_server_handled_total", "counter", "Calls ended, by code.");
    for (size_t i = 0; i < RPC_COUNT; i++)
        for (size_t code = 0; code < METRICS_GRPC_CODES; code++) {
            rpc_labels(rpc_row((enum rpc_id)i), grpc_code_name((enum grpc_code)code), labels);
            put_sample(out, "grpc_server_handled_total", "", labels,
                       (double)metrics->rpcs[i].handled[code]);
        }
}

static void put_handling(const struct metrics *metrics, struct buf *out)
{
    char labels[256];

    if (!metrics->extensive)
        return;
    put_kind(out, handling_row.name, "histogram", handling_row.help);
    for (size_t i = 0; i < RPC_COUNT; i++) {
        rpc_labels(rpc_row((enum rpc_id)i), NULL, labels);
        put_histogram(out, &handling_row, &metrics->handling[i], labels);
    }
}

static void put_clients(const struct metrics *metrics, struct buf *out)
{
    static const char name[] = "etcd_server_client_requests_total";
    char labels[128];

    put_kind(out, name, "counter", "Requests of clients, by their version.");
    for (size_t i = 0; i < metrics->client_count; i++) {
        const struct metrics_client *client = &metrics->clients[i];

        (void)snprintf(labels, sizeof(labels), "client_api_version=\"%s\",type=\"stream\"",
                       client->version);
        if (client->streams != 0)
            put_sample(out, name, "", labels, (double)client->streams);
        (void)snprintf(labels, sizeof(labels), "client_api_version=\"%s\",type=\"unary\"",
                       client->version);
        if (client->unary != 0)
            put_sample(out, name, "", labels, (double)client->unary);
    }
}

/* The reasons as etcd's server has them: some of its clients' words are others. Before the first
 * failure there is no such family. */
static void put_promotions(const struct metrics *metrics, struct buf *out)
{
    static const char name[] = "etcd_server_learner_promote_failures";
    char labels[256];

    if (metrics->promotion_count == 0)
        return;
    put_kind(out, name, "counter", "Learners not promoted while this member led, by reason.");
    for (size_t i = 0; i < metrics->promotion_count; i++) {
        enum err_code code = metrics->promotions[i].code;

        (void)snprintf(labels, sizeof(labels), "Reason=\"%s\"",
                       code == ERR_MEMBER_NOT_FOUND     ? "membership: ID not found"
                       : code == ERR_MEMBER_NOT_LEARNER ? "membership: can only promote a learner "
                                                          "member"
                                                        : err_text(code));
        put_sample(out, name, "", labels, (double)metrics->promotions[i].count);
    }
}

/* One family: a number of every peer, under `label`. */
static void put_peer_family(const struct metrics *metrics, struct buf *out, const char *name,
                            const char *kind, const char *help, const char *label, size_t offset)
{
    char labels[64];

    put_kind(out, name, kind, help);
    for (size_t i = 0; i < metrics->peer_count; i++) {
        const struct metrics_peer *peer = &metrics->peers[i];
        uint64_t number;

        memcpy(&number, (const uint8_t *)peer + offset, sizeof(number));
        (void)snprintf(labels, sizeof(labels), "%s=\"%" PRIx64 "\"", label, peer->id);
        put_sample(out, name, "", labels, (double)number);
    }
}

static void put_links(const struct metrics *metrics, struct buf *out)
{
    static const char active[] = "etcd_network_active_peers",
                      lost[] = "etcd_network_disconnected_peers_total";
    char labels[96];

    for (int which = 0; which < 2; which++) {
        const char *name = which == 0 ? active : lost;

        put_kind(out, name, which == 0 ? "gauge" : "counter",
                 which == 0 ? "1 while a link to the member works." : "Links lost to the member.");
        for (size_t i = 0; i < metrics->peer_count; i++) {
            const struct metrics_peer *peer = &metrics->peers[i];

            (void)snprintf(labels, sizeof(labels), "Local=\"%" PRIx64 "\",Remote=\"%" PRIx64 "\"",
                           metrics->server_id, peer->id);
            put_sample(out, name, "", labels,
                       which == 0 ? (peer->active ? 1 : 0) : (double)peer->disconnected);
        }
    }
}

static void put_peer_histogram(const struct metrics *metrics, struct buf *out,
                               const struct histogram_row *row, const char *label, size_t offset)
{
    char labels[64];

    put_kind(out, row->name, "histogram", row->help);
    for (size_t i = 0; i < metrics->peer_count; i++) {
        struct histogram histogram;

        memcpy(&histogram, (const uint8_t *)&metrics->peers[i] + offset, sizeof(histogram));
        (void)snprintf(labels, sizeof(labels), "%s=\"%" PRIx64 "\"", label, metrics->peers[i].id);
        put_histogram(out, row, &histogram, labels);
    }
}

/* With no other member there is nothing to tell, as in etcd. */
static void put_peers(const struct metrics *metrics, struct buf *out)
{
    static const struct {
        const char *name, *kind, *help, *label;
        size_t offset;
    } families[] = {
#define FAMILY(name_, kind_, label_, field_, help_)                                                \
    {"etcd_network_" name_, kind_, help_, label_, offsetof(struct metrics_peer, field_)}
        FAMILY("peer_sent_bytes_total", "counter", "To", sent_bytes, "Bytes sent to members."),
        FAMILY("peer_received_bytes_total", "counter", "From", received_bytes,
               "Bytes received from members."),
        FAMILY("peer_sent_failures_total", "counter", "To", sent_failures,
               "Messages that could not be sent to members."),
        FAMILY("peer_received_failures_total", "counter", "From", received_failures,
               "Messages of members that could not be taken."),
        FAMILY("snapshot_send_success", "counter", "To", sent_images.succeeded,
               "Databases sent to members."),
        FAMILY("snapshot_send_failures", "counter", "To", sent_images.failed,
               "Databases that could not be sent."),
        FAMILY("snapshot_send_inflights_total", "gauge", "To", sent_images.inflight,
               "Databases being sent."),
        FAMILY("snapshot_receive_success", "counter", "From", received_images.succeeded,
               "Databases received from members."),
        FAMILY("snapshot_receive_failures", "counter", "From", received_images.failed,
               "Databases that could not be received."),
        FAMILY("snapshot_receive_inflights_total", "gauge", "From", received_images.inflight,
               "Databases being received."),
#undef FAMILY
    };

    if (metrics->peer_count == 0)
        return;
    put_links(metrics, out);
    for (size_t i = 0; i < ARRAY_LEN(families); i++)
        put_peer_family(metrics, out, families[i].name, families[i].kind, families[i].help,
                        families[i].label, families[i].offset);
    put_peer_histogram(metrics, out, &round_trip_row, "To",
                       offsetof(struct metrics_peer, round_trip));
    put_peer_histogram(metrics, out, &image_rows[0], "To",
                       offsetof(struct metrics_peer, sent_images.took));
    put_peer_histogram(metrics, out, &image_rows[1], "From",
                       offsetof(struct metrics_peer, received_images.took));
}

static void put_checks(const struct metrics *metrics, struct buf *out)
{
    static const char *const types[2] = {"livez", "readyz"};
    char labels[128];

    put_kind(out, "etcd_server_healthcheck", "gauge", "Last result of a check: 1 = passed.");
    for (size_t i = 0; i < METRICS_CHECKS; i++)
        for (size_t type = 0; type < 2; type++) {
            const struct metrics_checked *checked = &metrics->checks[i];

            if (checked->passed[type] + checked->failed[type] == 0)
                continue;
            (void)snprintf(labels, sizeof(labels), "name=\"%s\",type=\"%s\"",
                           metrics_check_name((enum metrics_check)i), types[type]);
            put_sample(out, "etcd_server_healthcheck", "", labels,
                       checked->last_passed[type] ? 1 : 0);
        }
    put_kind(out, "etcd_server_healthchecks_total", "counter", "Checks made.");
    for (size_t i = 0; i < METRICS_CHECKS; i++)
        for (size_t type = 0; type < 2; type++)
            for (size_t passed = 0; passed < 2; passed++) {
                const struct metrics_checked *checked = &metrics->checks[i];
                uint64_t count = passed != 0 ? checked->passed[type] : checked->failed[type];

                if (count == 0)
                    continue;
                (void)snprintf(labels, sizeof(labels), "name=\"%s\",status=\"%s\",type=\"%s\"",
                               metrics_check_name((enum metrics_check)i),
                               passed != 0 ? "success" : "error", types[type]);
                put_sample(out, "etcd_server_healthchecks_total", "", labels, (double)count);
            }
}

static void put_identity(const struct metrics *metrics, struct buf *out)
{
    char labels[128];

    put_kind(out, "etcd_server_id", "gauge", "The id of this member, as a label.");
    (void)snprintf(labels, sizeof(labels), "server_id=\"%" PRIx64 "\"", metrics->server_id);
    put_sample(out, "etcd_server_id", "", labels, 1);
    put_kind(out, "etcd_server_version", "gauge", "The API version served, as a label.");
    (void)snprintf(labels, sizeof(labels), "server_version=\"%s\"", metrics->server_version);
    if (metrics->server_version[0] != '\0')
        put_sample(out, "etcd_server_version", "", labels, 1);
    put_kind(out, "etcd_cluster_version", "gauge", "The version of the cluster, as a label.");
    (void)snprintf(labels, sizeof(labels), "cluster_version=\"%s\"", metrics->cluster_version);
    if (metrics->cluster_version[0] != '\0')
        put_sample(out, "etcd_cluster_version", "", labels, 1);
}

/* The kernel's counters are set as gauges are; some gauges of etcd are called _total. */
static const char *gauge_kind(const char *name)
{
    bool kernels = strncmp(name, "process_", strlen("process_")) == 0;
    const char *end = strrchr(name, '_');

    return kernels && strcmp(end, "_total") == 0 ? "counter" : "gauge";
}

bool metrics_write(const struct metrics *metrics, struct buf *out)
{
#define COUNTER(field, name, help) put_simple(out, name, "counter", help, (double)metrics->field);
#define GAUGE(field, name, help) put_simple(out, name, gauge_kind(name), help, metrics->field);
#define HISTOGRAM(id, name, first, factor, bounds, help)                                           \
    put_kind(out, name, "histogram", help);                                                        \
    put_histogram(out, &histogram_rows[METRICS_##id], &metrics->histograms[METRICS_##id], "");
#include "etcd-server/service/metrics.def"
#undef HISTOGRAM
#undef GAUGE
#undef COUNTER
    put_identity(metrics, out);
    put_applies(metrics, out);
    put_clients(metrics, out);
    put_promotions(metrics, out);
    put_checks(metrics, out);
    put_peers(metrics, out);
    put_rpcs(metrics, out);
    put_handling(metrics, out);
    return !out->overflow;
}
