/*
 * cmd_endpoint.c - endpoint health, status, hashkv. Each endpoint is asked by itself; health asks
 * all at once (a thread and a client each) and prints them in the order of their answers.
 */
#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/schema/pbbytes.h"
#include "common/schema/pbjson.h"
#include "common/storage/datadir_defrag.h"
#include "etcd-ctl/ctl.h"

#include <pthread.h>
#include <stdio.h>

#define HEALTH_ANSWER_MAX (16UL * MIB) /* bytes of the answer to a range of one key */

/* With --cluster: from now on the client URLs of all members. */
static int use_cluster(struct ctl *ctl, const struct args *args)
{
    Etcdserverpb__MemberListRequest request;
    const Etcdserverpb__MemberListResponse *list;
    ProtobufCMessage *response = NULL;
    const char **urls = NULL;
    size_t count = 0;
    struct err err = ERR_INIT;
    int code;

    if (!args_bool(args, "cluster"))
        return CTL_OK;
    etcdserverpb__member_list_request__init(&request);
    request.linearizable = true;
    code = ctl_call(ctl, RPC_Cluster_MemberList, &request.base, &response, CTL_FAILED);
    if (code != CTL_OK)
        return code;
    list = (const Etcdserverpb__MemberListResponse *)response;
    for (size_t i = 0; i < list->n_members; i++) {
        urls = xrealloc(urls, (count + list->members[i]->n_clienturls + 1) * sizeof(*urls));
        for (size_t j = 0; j < list->members[i]->n_clienturls; j++)
            urls[count++] = list->members[i]->clienturls[j];
    }
    if (client_set_endpoints(ctl->client, urls, count, &err) < 0)
        code = ctl_fail(CTL_FAILED, "%s", err.text);
    free(urls);
    return code;
}

static int only_args(const struct args *args)
{
    if (args->word_count == 0)
        return CTL_OK;
    return ctl_bad_args("%s takes no arguments, but \"%s\" was given", args->command->words,
                        args->words[0]);
}

static int no_protobuf(const struct ctl *ctl)
{
    return ctl->format == PRINT_PROTOBUF ? ctl_refuse_format(ctl) : CTL_OK;
}

static int begin(struct ctl *ctl, const struct args *args)
{
    int code = only_args(args);

    if (code == CTL_OK)
        code = no_protobuf(ctl);
    return code == CTL_OK ? use_cluster(ctl, args) : code;
}

/* ---- health ---- */

struct health {
    struct client *client; /* owned */
    const char *endpoint;
    pthread_t thread;
    bool threaded;
    bool healthy;
    bool timed;   /* a request was made */
    bool nowhere; /* nobody answered */
    int64_t took_ns;
    int64_t done_ns; /* when, for the order */
    char error[ERR_TEXT_MAX];
    char hint[ERR_TEXT_MAX];
};

static void look_for_alarms(struct health *health, struct arena *arena)
{
    Etcdserverpb__AlarmRequest request;
    const Etcdserverpb__AlarmResponse *alarms;
    ProtobufCMessage *response = NULL;
    struct err err = ERR_INIT;
    struct buf text = BUF_INIT(ERR_TEXT_MAX - 1);

    etcdserverpb__alarm_request__init(&request);
    if (client_call(health->client, RPC_Maintenance_Alarm, &request.base, arena, &response, &err) <
        0) {
        if (err.code != ERR_PERMISSION_DENIED) {
            health->healthy = false;
            (void)snprintf(health->error, sizeof(health->error), "Unable to fetch the alarm list");
        }
        return;
    }
    alarms = (const Etcdserverpb__AlarmResponse *)response;
    if (alarms->n_alarms == 0)
        return;
    health->healthy = false;
    buf_append_text(&text, "Active Alarm(s): ");
    for (size_t i = 0; i < alarms->n_alarms; i++)
        buf_printf(&text, "%s ",
                   alarms->alarms[i]->alarm == ETCDSERVERPB__ALARM_TYPE__NOSPACE ? "NOSPACE"
                                                                                 : "CORRUPT");
    (void)snprintf(health->error, sizeof(health->error), "%s", buf_text(&text));
    buf_free(&text);
}

static void *check_health(void *arg)
{
    struct health *health = arg;
    Etcdserverpb__RangeRequest request;
    ProtobufCMessage *response = NULL;
    struct err err = ERR_INIT;
    struct arena arena;
    int64_t started = clock_ns();

    arena_init(&arena, HEALTH_ANSWER_MAX);
    etcdserverpb__range_request__init(&request);
    request.key = pb_text("health");
    health->healthy =
        client_call(health->client, RPC_KV_Range, &request.base, &arena, &response, &err) == 0 ||
        err.code == ERR_PERMISSION_DENIED;
    health->took_ns = clock_ns() - started;
    health->timed = client_failure(health->client)->kind != CLIENT_FAILURE_LOGIN;
    health->nowhere = client_failure(health->client)->kind == CLIENT_FAILURE_CONNECT ||
                      client_failure(health->client)->kind == CLIENT_FAILURE_TIMEOUT;
    if (health->healthy) {
        look_for_alarms(health, &arena);
    } else {
        (void)snprintf(health->error, sizeof(health->error), "%s", err.text);
        (void)snprintf(health->hint, sizeof(health->hint), "%s",
                       client_failure(health->client)->hint);
    }
    arena_free(&arena);
    health->done_ns = clock_ns();
    return NULL;
}

/* Those who are not there come last: etcdctl waits for them all the time there is. */
static int by_completion(const void *a, const void *b)
{
    const struct health *left = a, *right = b;

    if (left->nowhere != right->nowhere)
        return left->nowhere ? 1 : -1;
    return (left->done_ns > right->done_ns) - (left->done_ns < right->done_ns);
}

static const char *took_text(struct ctl *ctl, const struct health *health)
{
    struct buf text = BUF_INIT(64);
    const char *copy = "";

    if (health->timed) {
        print_duration(&text, health->took_ns);
        copy = show_text(ctl, "%s", buf_text(&text));
    }
    buf_free(&text);
    return copy;
}

static void show_health_json(struct ctl *ctl, const struct health *all, size_t count)
{
    buf_append_byte(&ctl->out, '[');
    for (size_t i = 0; i < count; i++) {
        buf_append_text(&ctl->out, i > 0 ? ",{\"endpoint\":" : "{\"endpoint\":");
        (void)pbjson_write_string(slice_text(all[i].endpoint), &ctl->out);
        buf_printf(&ctl->out, ",\"health\":%s,\"took\":\"%s\"", all[i].healthy ? "true" : "false",
                   took_text(ctl, &all[i]));
        if (all[i].error[0] != '\0') {
            buf_append_text(&ctl->out, ",\"error\":");
            (void)pbjson_write_string(slice_text(all[i].error), &ctl->out);
        }
        buf_append_byte(&ctl->out, '}');
    }
    buf_append_text(&ctl->out, "]\n");
}

static void show_health_table(struct ctl *ctl, const struct health *all, size_t count)
{
    static const char *const headings[] = {"ENDPOINT", "HEALTH", "TOOK", "ERROR"};
    const char **cells = xalloc(count * 4 * sizeof(*cells));

    for (size_t i = 0; i < count; i++) {
        cells[i * 4] = all[i].endpoint;
        cells[i * 4 + 1] = all[i].healthy ? "true" : "false";
        cells[i * 4 + 2] = took_text(ctl, &all[i]);
        cells[i * 4 + 3] = all[i].error;
    }
    print_table(&ctl->out, headings, 4, cells, count);
    free(cells);
}

static void show_one_health(struct ctl *ctl, const struct health *health)
{
    if (ctl->format == PRINT_FIELDS) {
        print_field_text(&ctl->out, "Endpoint", slice_text(health->endpoint));
        print_field_bool(&ctl->out, "Health", health->healthy);
        buf_printf(&ctl->out, "\"Took\" : %s\n", took_text(ctl, health));
        buf_printf(&ctl->out, "\"Error\" : %s\n\n", health->error);
    } else if (health->healthy) {
        buf_printf(&ctl->out, "%s is healthy: successfully committed proposal: took = %s\n",
                   health->endpoint, took_text(ctl, health));
    } else {
        (void)fprintf(stderr, "%s is unhealthy: failed to commit proposal: %s\n", health->endpoint,
                      health->error);
        if (health->hint[0] != '\0')
            (void)fprintf(stderr, "%s\n", health->hint);
    }
}

static void show_health(struct ctl *ctl, const struct health *all, size_t count)
{
    if (ctl->format == PRINT_JSON)
        show_health_json(ctl, all, count);
    else if (ctl->format == PRINT_TABLE)
        show_health_table(ctl, all, count);
    else
        for (size_t i = 0; i < count; i++)
            show_one_health(ctl, &all[i]);
}

int cmd_endpoint_health(struct ctl *ctl, const struct args *args)
{
    int code = begin(ctl, args);
    size_t count = client_endpoints(ctl->client);
    struct health *all;
    struct err err = ERR_INIT;
    bool healthy = true;

    if (code != CTL_OK)
        return code;
    all = xalloc(count * sizeof(*all));
    for (size_t i = 0; i < count; i++) {
        all[i].endpoint = client_endpoint(ctl->client, i);
        if (client_clone(ctl->client, i, &all[i].client, &err) < 0)
            (void)snprintf(all[i].error, sizeof(all[i].error), "%s", err.text);
        else if (pthread_create(&all[i].thread, NULL, check_health, &all[i]) != 0)
            (void)check_health(&all[i]); /* no thread to be had: one after the other */
        else
            all[i].threaded = true;
    }
    for (size_t i = 0; i < count; i++) {
        if (all[i].threaded)
            must(pthread_join(all[i].thread, NULL) == 0);
        client_free(all[i].client);
        healthy = healthy && all[i].healthy;
    }
    qsort(all, count, sizeof(*all), by_completion);
    show_health(ctl, all, count);
    free(all);
    ctl_flush(ctl);
    return healthy ? CTL_OK : ctl_fail(CTL_FAILED, "unhealthy cluster");
}

/* ---- status ---- */

#define STATUS_COLUMNS 10

struct found {
    const char *endpoint;
    const ProtobufCMessage *response;
};

static const char *status_errors(struct ctl *ctl, const Etcdserverpb__StatusResponse *status)
{
    struct buf text = BUF_INIT(ERR_TEXT_MAX);
    const char *copy;

    for (size_t i = 0; i < status->n_errors; i++)
        buf_printf(&text, "%s%s", i > 0 ? ", " : "", status->errors[i]);
    copy = show_text(ctl, "%s", buf_text(&text));
    buf_free(&text);
    return copy;
}

static void status_cells(struct ctl *ctl, const struct found *found, const char **cells)
{
    const Etcdserverpb__StatusResponse *status =
        (const Etcdserverpb__StatusResponse *)found->response;
    uint64_t member = status->header != NULL ? status->header->member_id : 0;
    char size[PRINT_SIZE_MAX];

    print_size_text((uint64_t)MAX(status->dbsize, 0), size);
    cells[0] = found->endpoint;
    cells[1] = show_text(ctl, "%" PRIx64, member);
    cells[2] = status->version;
    cells[3] = show_text(ctl, "%s", size);
    cells[4] = status->leader == member ? "true" : "false";
    cells[5] = status->islearner ? "true" : "false";
    cells[6] = show_text(ctl, "%" PRIu64, status->raftterm);
    cells[7] = show_text(ctl, "%" PRIu64, status->raftindex);
    cells[8] = show_text(ctl, "%" PRIu64, status->raftappliedindex);
    cells[9] = status_errors(ctl, status);
}

static void status_fields(struct ctl *ctl, const struct found *found)
{
    const Etcdserverpb__StatusResponse *status =
        (const Etcdserverpb__StatusResponse *)found->response;
    struct buf *out = &ctl->out;

    show_header(out, status->header);
    print_field_text(out, "Version", slice_text(status->version));
    print_field_i64(out, "DBSize", status->dbsize);
    print_field_u64(out, "Leader", status->leader);
    print_field_bool(out, "IsLearner", status->islearner);
    print_field_u64(out, "RaftIndex", status->raftindex);
    print_field_u64(out, "RaftTerm", status->raftterm);
    print_field_u64(out, "RaftAppliedIndex", status->raftappliedindex);
    buf_append_text(out, "\"Errors\" : [");
    for (size_t i = 0; i < status->n_errors; i++)
        buf_printf(out, "%s%s", i > 0 ? " " : "", status->errors[i]);
    buf_append_text(out, "]\n");
    print_field_text(out, "Endpoint", slice_text(found->endpoint));
    buf_append_byte(out, '\n');
}

/* [{"Endpoint":"...","NAME":{...}},...] */
static void show_found_json(struct ctl *ctl, const char *name, const struct found *all,
                            size_t count)
{
    buf_append_byte(&ctl->out, '[');
    for (size_t i = 0; i < count; i++) {
        buf_append_text(&ctl->out, i > 0 ? ",{\"Endpoint\":" : "{\"Endpoint\":");
        (void)pbjson_write_string(slice_text(all[i].endpoint), &ctl->out);
        buf_printf(&ctl->out, ",\"%s\":", name);
        must(pbjson_write(all[i].response, PBJSON_CTL, &ctl->out));
        buf_append_byte(&ctl->out, '}');
    }
    buf_append_text(&ctl->out, "]\n");
}

static void show_status_rows(struct ctl *ctl, const struct found *all, size_t count)
{
    static const char *const headings[STATUS_COLUMNS] = {
        "ENDPOINT",           "ID",         "VERSION",   "DB SIZE",
        "IS LEADER",          "IS LEARNER", "RAFT TERM", "RAFT INDEX",
        "RAFT APPLIED INDEX", "ERRORS"};
    const char **cells = xalloc((count + 1) * STATUS_COLUMNS * sizeof(*cells));

    for (size_t i = 0; i < count; i++)
        status_cells(ctl, &all[i], &cells[i * STATUS_COLUMNS]);
    if (ctl->format == PRINT_TABLE)
        print_table(&ctl->out, headings, STATUS_COLUMNS, cells, count);
    else
        for (size_t i = 0; i < count * STATUS_COLUMNS; i++)
            buf_printf(&ctl->out, "%s%s", cells[i],
                       i % STATUS_COLUMNS == STATUS_COLUMNS - 1 ? "\n" : ", ");
    free(cells);
}

/* Ask every endpoint; those that fail are told on standard error. *count is how many answered.
 * User and password are not tried at the next one when the first refuses them. */
static int ask_all(struct ctl *ctl, enum rpc_id id, const ProtobufCMessage *request,
                   const char *what, struct found *all, size_t *found)
{
    size_t count = 0;

    for (size_t i = 0; i < client_endpoints(ctl->client); i++) {
        const char *endpoint = client_endpoint(ctl->client, i);
        ProtobufCMessage *response = NULL;
        struct err err = ERR_INIT;

        if (client_call_at(ctl->client, i, id, request, &ctl->arena, &response, &err) == 0) {
            all[count++] = (struct found){.endpoint = endpoint, .response = response};
            continue;
        }
        if (client_failure(ctl->client)->kind == CLIENT_FAILURE_LOGIN)
            return ctl_fail_err(ctl, CTL_NO_CLIENT, &err);
        (void)fprintf(stderr, "Failed to get the %s of endpoint %s (%s)\n", what, endpoint,
                      err.text);
        if (client_failure(ctl->client)->hint[0] != '\0')
            (void)fprintf(stderr, "%s\n", client_failure(ctl->client)->hint);
    }
    *found = count;
    return CTL_OK;
}

int cmd_endpoint_status(struct ctl *ctl, const struct args *args)
{
    Etcdserverpb__StatusRequest request;
    int code = begin(ctl, args);
    struct found *all;
    size_t count = 0;

    if (code != CTL_OK)
        return code;
    etcdserverpb__status_request__init(&request);
    all = xalloc(client_endpoints(ctl->client) * sizeof(*all));
    code = ask_all(ctl, RPC_Maintenance_Status, &request.base, "status", all, &count);
    if (code != CTL_OK) {
        free(all);
        return code;
    }
    if (ctl->format == PRINT_JSON)
        show_found_json(ctl, "Status", all, count);
    else if (ctl->format == PRINT_FIELDS)
        for (size_t i = 0; i < count; i++)
            status_fields(ctl, &all[i]);
    else
        show_status_rows(ctl, all, count);
    free(all);
    return count == client_endpoints(ctl->client) ? CTL_OK : CTL_FAILED;
}

/* ---- hashkv ---- */

static void hash_fields(struct ctl *ctl, const struct found *found)
{
    const Etcdserverpb__HashKVResponse *hash =
        (const Etcdserverpb__HashKVResponse *)found->response;

    show_header(&ctl->out, hash->header);
    print_field_text(&ctl->out, "Endpoint", slice_text(found->endpoint));
    print_field_u64(&ctl->out, "Hash", hash->hash);
    buf_append_byte(&ctl->out, '\n');
}

static void show_hash_rows(struct ctl *ctl, const struct found *all, size_t count)
{
    static const char *const headings[] = {"ENDPOINT", "HASH"};
    const char **cells = xalloc((count + 1) * 2 * sizeof(*cells));

    for (size_t i = 0; i < count; i++) {
        const Etcdserverpb__HashKVResponse *hash =
            (const Etcdserverpb__HashKVResponse *)all[i].response;

        cells[i * 2] = all[i].endpoint;
        cells[i * 2 + 1] = show_text(ctl, "%" PRIu32, hash->hash);
        if (ctl->format == PRINT_SIMPLE)
            buf_printf(&ctl->out, "%s, %" PRIu32 "\n", all[i].endpoint, hash->hash);
    }
    if (ctl->format == PRINT_TABLE)
        print_table(&ctl->out, headings, 2, cells, count);
    free(cells);
}

int cmd_endpoint_hashkv(struct ctl *ctl, const struct args *args)
{
    Etcdserverpb__HashKVRequest request;
    int code = begin(ctl, args);
    struct found *all;
    size_t count = 0;

    if (code != CTL_OK)
        return code;
    etcdserverpb__hash_kvrequest__init(&request);
    request.revision = args_number(args, "rev");
    all = xalloc(client_endpoints(ctl->client) * sizeof(*all));
    code = ask_all(ctl, RPC_Maintenance_HashKV, &request.base, "hash", all, &count);
    if (code != CTL_OK) {
        free(all);
        return code;
    }
    if (ctl->format == PRINT_JSON)
        show_found_json(ctl, "HashKV", all, count);
    else if (ctl->format == PRINT_FIELDS)
        for (size_t i = 0; i < count; i++)
            hash_fields(ctl, &all[i]);
    else
        show_hash_rows(ctl, all, count);
    free(all);
    if (count == client_endpoints(ctl->client))
        return CTL_OK;
    ctl_flush(ctl);
    return ctl_fail(CTL_FAILED, "not every endpoint gave its hash");
}

/* ---- defrag: endpoint by endpoint, too ---- */

static int defrag_offline(const char *path)
{
    char had[PRINT_SIZE_MAX], has[PRINT_SIZE_MAX];
    uint64_t before = 0, after = 0;
    struct leftover *leftover = NULL;
    struct err err = ERR_INIT;
    int rc = leftover_begin(&leftover, &err);

    if (rc == 0)
        rc = datadir_defrag(path, leftover, &before, &after, &err);
    leftover_end(leftover);
    if (rc < 0) {
        (void)ctl_fail(CTL_FAILED, "Failed to defragment etcd data[%s] (%s)", path, err.text);
        if (err.code == ERR_LOCKED)
            (void)fprintf(stderr, "Stop the server first, or leave --data-dir out to ask it.\n");
        else if (err.code == ERR_MISSING)
            (void)fprintf(stderr, "--data-dir is the directory of a server, with member/ in it.\n");
        return CTL_FAILED;
    }
    print_size_text(before, had);
    print_size_text(after, has);
    (void)fprintf(stderr, "%s/member/snap/db: %s, was %s\n", path, has, had);
    return CTL_OK;
}

int cmd_defrag(struct ctl *ctl, const struct args *args)
{
    Etcdserverpb__DefragmentRequest request;
    const char *offline = args_text(args, "data-dir");
    int code = only_args(args);

    if (code == CTL_OK && offline[0] != '\0')
        return defrag_offline(offline);
    if (code == CTL_OK)
        code = use_cluster(ctl, args);
    if (code != CTL_OK)
        return code;
    etcdserverpb__defragment_request__init(&request);
    for (size_t i = 0; i < client_endpoints(ctl->client); i++) {
        const char *endpoint = client_endpoint(ctl->client, i);
        ProtobufCMessage *response = NULL;
        struct err err = ERR_INIT;

        if (client_call_at(ctl->client, i, RPC_Maintenance_Defragment, &request.base, &ctl->arena,
                           &response, &err) == 0) {
            buf_printf(&ctl->out, "Finished defragmenting etcd member[%s]\n", endpoint);
            ctl_flush(ctl);
            continue;
        }
        if (client_failure(ctl->client)->kind == CLIENT_FAILURE_LOGIN)
            return ctl_fail_err(ctl, CTL_NO_CLIENT, &err);
        (void)fprintf(stderr, "Failed to defragment etcd member[%s] (%s)\n", endpoint, err.text);
        if (client_failure(ctl->client)->hint[0] != '\0')
            (void)fprintf(stderr, "%s\n", client_failure(ctl->client)->hint);
        code = CTL_FAILED;
    }
    return code;
}
