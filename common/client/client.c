/*
 * client.c - see client.h.
 *
 * call -> choose an endpoint that answers -> login once -> attempt at an endpoint -> exchange
 * (transport) -> answer or refusal. What decides on another attempt is in next_step(): refusals are
 * final unless the token grew old or another endpoint may have a leader; a request that may have
 * arrived is repeated only when it changes nothing.
 */
#include "common/client/client.h"

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/limits.h"
#include "common/client/answer.h"
#include "common/client/client_internal.h"
#include "common/client/reread.h"
#include "common/schema/pbjson.h"
#include "common/schema/rpc.pb-c.h"

#include <jansson.h>
#include <stdio.h>

#define LEADER_PROBE_MS 700 /* a Status that asks whether there is a leader */

/* ---- making one ---- */

static char *copy(const char *text)
{
    return text != NULL ? xstrdup(text) : NULL;
}

static void free_endpoints(struct client *client)
{
    for (size_t i = 0; i < client->count; i++)
        endpoint_free(&client->endpoints[i]);
    free(client->endpoints);
    client->endpoints = NULL;
    client->count = client->current = 0;
    client->chosen = false;
}

static bool blank(struct slice text)
{
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] != ' ' && text.data[i] != '\t')
            return false;
    return true;
}

static int add_endpoint(struct client *client, struct slice text, struct err *err)
{
    const struct client_options *options = &client->options;
    bool tls = options->tls || options->cacert != NULL || options->cert != NULL;
    struct endpoint endpoint;
    struct err fault = ERR_INIT;

    if (client->count == ENDPOINTS_MAX) {
        err_set(err, ERR_USAGE, "more than %u endpoints were given", ENDPOINTS_MAX);
        return -1;
    }
    if (endpoint_parse(text, tls, &endpoint, &fault) < 0)
        endpoint_keep(text, &fault, &endpoint);
    if (options->server_name != NULL) {
        free(endpoint.host);
        endpoint.host = xstrdup(options->server_name);
    }
    client->endpoints =
        xrealloc(client->endpoints, (client->count + 1) * sizeof(*client->endpoints));
    client->endpoints[client->count++] = endpoint;
    return 0;
}

/* Is there one at all that can be tried? */
static int check_endpoints(const struct client *client, struct err *err)
{
    for (size_t i = 0; i < client->count; i++)
        if (client->endpoints[i].fault == NULL)
            return 0;
    if (client->count == 0)
        err_set(err, ERR_USAGE, "etcdclient: no available endpoints");
    else
        err_set(err, ERR_USAGE, "%s", client->endpoints[0].fault);
    return -1;
}

/* "host:port" in double quotes, as an environment file leaves them: etcdctl reads lists as CSV. */
static struct slice unquoted(struct slice text)
{
    if (text.size >= 2 && text.data[0] == '"' && text.data[text.size - 1] == '"')
        return slice_of(text.data + 1, text.size - 2);
    return text;
}

static int add_list(struct client *client, const char *list, struct err *err)
{
    while (true) {
        size_t length = strcspn(list, ",");
        struct slice one = unquoted(slice_of(list, length));

        if (!blank(one) && add_endpoint(client, one, err) < 0)
            return -1;
        if (list[length] == '\0')
            break;
        list += length + 1;
    }
    return 0;
}

static const char *flag_prefix(const struct client_options *options)
{
    return options->flag_prefix != NULL ? options->flag_prefix : "";
}

static int check_files(const struct client_options *options, struct client_failure *failure,
                       struct err *err)
{
    const struct {
        const char *value, *flag;
    } files[] = {{options->cacert, "cacert"}, {options->cert, "cert"}, {options->key, "key"}};

    failure->kind = CLIENT_FAILURE_SETUP;
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        if (files[i].value != NULL && files[i].value[0] == '\0') {
            err_set(err, ERR_USAGE, "empty string is passed to --%s%s option", flag_prefix(options),
                    files[i].flag);
            return -1;
        }
    }
    if ((options->cert == NULL) != (options->key == NULL)) {
        err_set(err, ERR_USAGE, "KeyFile and CertFile must both be present[key: %s, cert: %s]",
                options->key != NULL ? options->key : "",
                options->cert != NULL ? options->cert : "");
        (void)snprintf(failure->hint, sizeof(failure->hint), "Give --%s%s too.",
                       flag_prefix(options), options->cert != NULL ? "key" : "cert");
        return -1;
    }
    return 0;
}

/* Is the client certificate what says who asks? */
static bool names_user(const struct client_options *options)
{
    return options->cert != NULL && options->user == NULL && options->token == NULL;
}

/* The rest of the options comes along as it is. `of`, NULL = nobody, knows how the files were
 * typed: its own may be copies. */
static int keep_files(const struct client_options *options, const struct client *of,
                      struct client *client, struct err *err)
{
    const char *const paths[] = {options->cacert, options->cert, options->key};
    char *again[ARRAY_LEN(paths)] = {NULL};
    int rc = 0;

    for (size_t i = 0; i < ARRAY_LEN(paths) && rc == 0; i++) {
        client->typed[i] = copy(of != NULL ? of->typed[i] : paths[i]);
        rc = reread_path(paths[i], &again[i], &client->copies[i], err);
    }
    client->options = *options;
    client->options.cacert = again[0];
    client->options.cert = again[1];
    client->options.key = again[2];
    client->options.server_name = client->options.user = client->options.password = NULL;
    return rc;
}

static int make(const struct client_options *options, const struct client *of,
                struct client *client, struct client_failure *failure, struct err *err)
{
    struct transport_options transport;

    if (check_files(options, failure, err) < 0 || keep_files(options, of, client, err) < 0)
        return -1;
    client->options.endpoints = NULL;
    client->options.server_name = copy(options->server_name);
    client->options.user = copy(options->user);
    client->options.password = copy(options->password);
    client->options.token = NULL;
    client->token = copy(options->token);
    if (options->dial_timeout_ms == 0)
        client->options.dial_timeout_ms = CLIENT_DIAL_TIMEOUT_MS_DEFAULT;
    if (options->patience_ms == 0)
        client->options.patience_ms = CLIENT_PATIENCE_MS_DEFAULT;
    transport =
        (struct transport_options){.cacert = client->options.cacert,
                                   .cert = client->options.cert,
                                   .key = client->options.key,
                                   .typed = {client->typed[0], client->typed[1], client->typed[2]},
                                   .skip_verify = options->skip_verify,
                                   .certificate_user = names_user(options),
                                   .dial_timeout_ms = client->options.dial_timeout_ms,
                                   .keepalive_time_ms = options->keepalive_time_ms,
                                   .keepalive_timeout_ms = options->keepalive_timeout_ms,
                                   .trace = options->trace};
    return transport_new(options->transport, &transport, &client->transport, failure, err);
}

static int make_client(const struct client_options *options, const struct client *of,
                       struct client **client, struct client_failure *failure, struct err *err)
{
    struct client *made = xalloc(sizeof(*made));
    struct client_failure ignored = {0};
    const char *list = options->endpoints != NULL ? options->endpoints : CLIENT_ENDPOINTS_DEFAULT;

    if (failure == NULL)
        failure = &ignored;
    *failure = (struct client_failure){0};
    for (size_t i = 0; i < ARRAY_LEN(made->copies); i++)
        made->copies[i] = -1;
    if (make(options, of, made, failure, err) < 0) {
        client_free(made);
        return -1;
    }
    /* a clone may be for the one that is none: its calls tell */
    if (add_list(made, list, err) < 0 || (of == NULL && check_endpoints(made, err) < 0)) {
        failure->kind = CLIENT_FAILURE_ENDPOINT;
        (void)snprintf(failure->hint, sizeof(failure->hint),
                       "Write --endpoints=HOST:PORT[,HOST:PORT...], for example "
                       "--endpoints=" CLIENT_ENDPOINTS_DEFAULT ".");
        client_free(made);
        return -1;
    }
    *client = made;
    return 0;
}

int client_new(const struct client_options *options, struct client **client,
               struct client_failure *failure, struct err *err)
{
    return make_client(options, NULL, client, failure, err);
}

void client_free(struct client *client)
{
    if (client == NULL)
        return;
    transport_free(client->transport);
    transport_free(client->prober);
    free_endpoints(client);
    for (size_t i = 0; i < ARRAY_LEN(client->copies); i++) {
        file_close(&client->copies[i]);
        free(client->typed[i]);
    }
    free((char *)(uintptr_t)client->options.cacert);
    free((char *)(uintptr_t)client->options.cert);
    free((char *)(uintptr_t)client->options.key);
    free((char *)(uintptr_t)client->options.server_name);
    free((char *)(uintptr_t)client->options.user);
    free_secret((char *)(uintptr_t)client->options.password);
    free_secret(client->token);
    free(client);
}

size_t client_endpoints(const struct client *client)
{
    return client->count;
}

const char *client_endpoint(const struct client *client, size_t at)
{
    must(at < client->count);
    return client->endpoints[at].typed;
}

const char *client_endpoint_fault(const struct client *client, size_t at)
{
    must(at < client->count);
    return client->endpoints[at].fault;
}

int client_set_endpoints(struct client *client, const char *const *endpoints, size_t count,
                         struct err *err)
{
    free_endpoints(client);
    for (size_t i = 0; i < count; i++)
        if (add_endpoint(client, slice_text(endpoints[i]), err) < 0)
            return -1;
    return check_endpoints(client, err);
}

void client_ask_password(struct client *client)
{
    struct client_options *options = &client->options;

    if (options->ask_password == NULL || options->user == NULL)
        return;
    options->password = options->ask_password();
    options->ask_password = NULL;
    if (options->password != NULL && options->password[0] != '\0')
        return;
    free((char *)(uintptr_t)options->password);
    free((char *)(uintptr_t)options->user);
    options->user = options->password = NULL;
    transport_set_certificate_user(client->transport, names_user(options));
}

int client_clone(struct client *client, size_t at, struct client **clone, struct err *err)
{
    struct client_options options;

    client_ask_password(client);
    options = client->options;
    options.endpoints = client_endpoint(client, at);
    options.token = client->token;
    if (make_client(&options, client, clone, NULL, err) < 0)
        return -1;
    (*clone)->login_done = client->login_done;
    return 0;
}

int client_clone_all(struct client *client, size_t at, struct client **clone, struct err *err)
{
    const char **endpoints = xalloc(client->count * sizeof(*endpoints));
    int rc;

    for (size_t i = 0; i < client->count; i++)
        endpoints[i] = client_endpoint(client, i);
    *clone = NULL;
    rc = client_clone(client, at, clone, err);
    if (rc == 0)
        rc = client_set_endpoints(*clone, endpoints, client->count, err);
    free(endpoints);
    if (rc == 0)
        (*clone)->current = at;
    if (rc < 0) {
        client_free(*clone);
        *clone = NULL;
    }
    return rc;
}

void client_set_timeout(struct client *client, int64_t command_timeout_ms)
{
    client->options.command_timeout_ms = command_timeout_ms;
}

const struct client_failure *client_failure(const struct client *client)
{
    return &client->failure;
}

bool client_may_pass(const struct client *client, const struct err *err)
{
    const struct client_failure *failure = &client->failure;

    if (client->options.command_timeout_ms < 0)
        return false; /* no_time(): so it stays */
    return (failure->kind == CLIENT_FAILURE_CONNECT && err->code != ERR_TLS) ||
           failure->kind == CLIENT_FAILURE_TIMEOUT ||
           (failure->kind == CLIENT_FAILURE_REFUSED && failure->grpc == GRPC_UNAVAILABLE);
}

/* ---- one answer ---- */

bool client_on_piece(void *arg, long status, struct slice piece)
{
    struct answer *answer = arg;

    answer->status = status;
    if (buf_append_slice(&answer->body, piece))
        return true;
    err_set(answer->err, ERR_NO_MEMORY, "%s: the answer is larger than %lu bytes",
            answer->endpoint->typed, (unsigned long)answer->body.max);
    answer->client->failure.kind = CLIENT_FAILURE_LOCAL;
    answer->failed = true;
    return false;
}

enum leader { LEADER_UNKNOWN, LEADER_NONE, LEADER_THERE };

/* What the server behind `endpoint` says of its leader. */
static enum leader find_leader(struct client *client, const struct endpoint *endpoint)
{
    struct transport_options options = {.cacert = client->options.cacert,
                                        .cert = client->options.cert,
                                        .key = client->options.key,
                                        .skip_verify = client->options.skip_verify,
                                        .certificate_user = names_user(&client->options),
                                        .dial_timeout_ms = LEADER_PROBE_MS};
    struct err err = ERR_INIT;
    struct client_failure failure = {0};
    struct answer answer = {
        .client = client, .endpoint = endpoint, .body = BUF_INIT(JSON_BODY_MAX_BYTES), .err = &err};
    struct exchange exchange = {.endpoint = endpoint,
                                .path = rpc_row(RPC_Maintenance_Status)->path,
                                .body = SLICE_LITERAL("{}"),
                                .token = client->token,
                                .timeout_ms = LEADER_PROBE_MS,
                                .chunk = client_on_piece,
                                .arg = &answer};
    struct transport *transport = NULL;
    enum leader found = LEADER_UNKNOWN;

    if (transport_new(client->options.transport, &options, &transport, &failure, &err) == 0 &&
        transport_exchange(transport, &exchange, &failure, &err) == TRANSPORT_ANSWERED &&
        exchange.status == 200) {
        json_t *root = json_loadb((const char *)answer.body.data, buf_used(&answer.body), 0, NULL);
        const char *leader = json_string_value(json_object_get(root, "leader"));

        if (root != NULL)
            found = leader == NULL || strcmp(leader, "0") == 0 ? LEADER_NONE : LEADER_THERE;
        json_decref(root);
    }
    transport_free(transport);
    buf_free(&answer.body);
    return found;
}

static bool on_idle(void *arg, int64_t waited_ms)
{
    struct answer *answer = arg;
    struct client *client = answer->client;

    int64_t limit = client->options.command_timeout_ms;

    if (!answer->probe_leader || (limit > 0 && waited_ms + LEADER_PROBE_MS > limit))
        return true;
    switch (find_leader(client, answer->endpoint)) {
    case LEADER_UNKNOWN: /* it does not answer that either: do not ask again */
        answer->probe_leader = false;
        return true;
    case LEADER_THERE:
        answer->leaderless = 0;
        return true;
    case LEADER_NONE:
        break;
    }
    if (++answer->leaderless < 2 || waited_ms < client->options.patience_ms)
        return true; /* an election takes a moment: only the second look counts */
    err_set(answer->err, ERR_NO_LEADER, "%s: %s", answer->endpoint->typed, err_text(ERR_NO_LEADER));
    client->failure.kind = CLIENT_FAILURE_TIMEOUT;
    answer_hint(ERR_NO_LEADER, &client->failure);
    answer->failed = true;
    return false;
}

/* ---- one attempt ---- */

static bool only_reads(enum rpc_id id)
{
    switch ((int)id) {
    case RPC_KV_Range:
    case RPC_Cluster_MemberList:
    case RPC_Maintenance_Status:
    case RPC_Maintenance_Hash:
    case RPC_Maintenance_HashKV:
    case RPC_Maintenance_Snapshot:
    case RPC_Lease_LeaseTimeToLive:
    case RPC_Lease_LeaseLeases:
    case RPC_Auth_Authenticate:
    case RPC_Auth_AuthStatus:
    case RPC_Auth_UserGet:
    case RPC_Auth_UserList:
    case RPC_Auth_RoleGet:
    case RPC_Auth_RoleList:
        return true;
    default:
        return false;
    }
}

static int parse_answer(struct answer *answer, struct arena *arena, ProtobufCMessage **response,
                        struct err *err)
{
    struct slice text = buf_slice(&answer->body);
    struct err cause = ERR_INIT;

    if (answer->row->kind != RPC_UNARY) /* keep-alive --once: the first line of a stream */
        text = answer_result(text);
    if (text.size == 0) /* an empty message is {}: nothing at all was not said by the server */
        err_set(&cause, ERR_FORMAT, "it is empty");
    else if (pbjson_parse(answer->row->response, text, NULL, arena, response, &cause) == 0)
        return 0;
    answer_odd_hint(&answer->client->failure);
    err_set(err, cause.code, "%s: the answer is not what %s answers: %s", answer->endpoint->typed,
            answer->row->method, cause.text);
    return -1;
}

static size_t response_max(const struct client *client)
{
    uint64_t most = client->options.response_bytes_max;

    return most == 0 ? CLIENT_RESPONSE_MAX : MIN(most, CLIENT_RESPONSE_MAX);
}

static enum transport_result attempt(struct client *client, size_t at, const struct rpc_row *row,
                                     struct slice body, int64_t timeout_ms, struct arena *arena,
                                     ProtobufCMessage **response, struct err *err)
{
    struct answer answer = {.client = client,
                            .endpoint = &client->endpoints[at],
                            .row = row,
                            .body = BUF_INIT(response_max(client)),
                            .probe_leader = row->id != RPC_Maintenance_Status,
                            .err = err};
    struct exchange exchange = {.endpoint = answer.endpoint,
                                .path = row->path,
                                .body = body,
                                .token = client->token,
                                .timeout_ms = timeout_ms,
                                .chunk = client_on_piece,
                                .idle = on_idle,
                                .arg = &answer};
    enum transport_result result =
        transport_exchange(client->transport, &exchange, &client->failure, err);

    if (result == TRANSPORT_ANSWERED) {
        if (exchange.status != 200 || answer_is_stream_refusal(buf_slice(&answer.body)))
            answer_refusal(answer.endpoint->typed, exchange.status, buf_slice(&answer.body),
                           &client->failure, err);
        else if (parse_answer(&answer, arena, response, err) == 0)
            client->failure.kind = CLIENT_FAILURE_NONE;
    }
    buf_free(&answer.body);
    return result;
}

/* ---- a call: login, endpoints in turn, retries ---- */

static int call(struct client *client, size_t only, enum rpc_id id, struct slice body,
                struct arena *arena, ProtobufCMessage **response, struct err *err);

int client_login(struct client *client, struct err *err)
{
    Etcdserverpb__AuthenticateRequest request;
    struct buf body = BUF_INIT(JSON_BODY_MAX_BYTES);
    ProtobufCMessage *response = NULL;
    struct arena arena;
    int rc = 0;

    client->login_done = true; /* also keeps call() from coming back here */
    client_ask_password(client);
    if (client->options.user == NULL)
        return 0;
    etcdserverpb__authenticate_request__init(&request);
    free_secret(client->token);
    client->token = NULL;
    request.name = (char *)(uintptr_t)client->options.user;
    request.password =
        (char *)(uintptr_t)(client->options.password != NULL ? client->options.password : "");
    arena_init(&arena, JSON_BODY_MAX_BYTES);
    must(pbjson_write(&request.base, PBJSON_GATEWAY, &body));
    if (call(client, SIZE_MAX, RPC_Auth_Authenticate, buf_slice(&body), &arena, &response, err) ==
        0) {
        client->token =
            xstrdup(CONTAINER_OF(response, Etcdserverpb__AuthenticateResponse, base)->token);
    } else if (err->code == ERR_AUTH_NOT_ENABLED) {
        *err = ERR_INIT; /* credentials are ignored while authentication is off */
    } else {
        client->login_done = false;
        if (client->failure.kind == CLIENT_FAILURE_REFUSED)
            client->failure.kind = CLIENT_FAILURE_LOGIN;
        rc = -1;
    }
    wipe(body.data, body.size);
    buf_free(&body);
    arena_free(&arena);
    return rc;
}

int client_log_in(struct client *client, struct err *err)
{
    return client->options.user != NULL && !client->login_done ? client_login(client, err) : 0;
}

bool client_old_token(const struct client *client, const struct err *err)
{
    return client->token != NULL && client->failure.kind == CLIENT_FAILURE_REFUSED &&
           (err->code == ERR_INVALID_AUTH_TOKEN || err->code == ERR_AUTH_OLD_REVISION);
}

/* May another endpoint know better? */
static bool ask_another(const struct client *client, const struct err *err)
{
    return client->failure.kind == CLIENT_FAILURE_REFUSED &&
           (err->code == ERR_NO_LEADER || err->code == ERR_NOT_LEADER || err->code == ERR_STOPPED ||
            err->code == ERR_NOT_SUPPORTED_FOR_LEARNER);
}

enum step { STEP_DONE, STEP_FAIL, STEP_NEXT, STEP_LOGIN };

static enum step next_step(const struct client *client, enum transport_result result,
                           enum rpc_id id, const struct err *err)
{
    switch (result) {
    case TRANSPORT_ANSWERED:
        if (client->failure.kind == CLIENT_FAILURE_NONE)
            return STEP_DONE;
        if (client_old_token(client, err))
            return STEP_LOGIN;
        return ask_another(client, err) ? STEP_NEXT : STEP_FAIL;
    case TRANSPORT_NOT_SENT:
    case TRANSPORT_PASSING:
        return STEP_NEXT;
    case TRANSPORT_UNSURE:
        return only_reads(id) ? STEP_NEXT : STEP_FAIL;
    case TRANSPORT_STOPPED:
        return STEP_FAIL;
    }
    return STEP_FAIL;
}

/* What is told when several endpoints failed: the first that is more than "refused". */
struct cause {
    bool kept;
    bool passing; /* anything else tells more */
    struct err err;
    struct client_failure failure;
};

static void keep_cause(struct cause *cause, const struct client *client,
                       enum transport_result result, const struct err *err)
{
    if (cause->kept && (result == TRANSPORT_PASSING || !cause->passing))
        return;
    *cause = (struct cause){.kept = true,
                            .passing = result == TRANSPORT_PASSING,
                            .err = *err,
                            .failure = client->failure};
}

static int call(struct client *client, size_t only, enum rpc_id id, struct slice body,
                struct arena *arena, ProtobufCMessage **response, struct err *err)
{
    int64_t begin = clock_ms(), limit = client->options.command_timeout_ms;
    size_t tries = only == SIZE_MAX ? client->count : 1;
    struct cause cause = {.kept = false};
    bool again = true, logged_in = false;

    if (only == SIZE_MAX)
        client_choose(client);
    while (again) {
        cause.kept = false;
        again = false;
        for (size_t i = 0; i < tries; i++) {
            size_t at = only == SIZE_MAX ? (client->current + i) % client->count : only;
            int64_t left = limit > 0 ? MAX(begin + limit - clock_ms(), 1) : 0;
            enum transport_result result =
                attempt(client, at, rpc_row(id), body, left, arena, response, err);
            enum step step = next_step(client, result, id, err);

            if (step == STEP_LOGIN && !logged_in) {
                logged_in = true;
                if (client_login(client, err) < 0)
                    return -1;
                i--; /* the same endpoint once more */
                continue;
            }
            if (step == STEP_DONE)
                client->current = only == SIZE_MAX ? at : client->current;
            if (client->failure.kind == CLIENT_FAILURE_TIMEOUT)
                client->chosen = false; /* it may be silent from now on */
            if (step != STEP_NEXT)
                return step == STEP_DONE ? 0 : -1;
            again |= result == TRANSPORT_PASSING;
            keep_cause(&cause, client, result, err);
            if (limit > 0 && clock_ms() - begin >= limit)
                break;
        }
        again = again && clock_ms() - begin + CLIENT_RETRY_PAUSE_MS < client->options.patience_ms &&
                (limit == 0 || clock_ms() - begin + CLIENT_RETRY_PAUSE_MS < limit);
        if (again)
            clock_pause_ms(CLIENT_RETRY_PAUSE_MS);
    }
    *err = cause.err;
    client->failure = cause.failure;
    if (tries > 1)
        err_prefix(err, "none of the %zu endpoints could be used; first", tries);
    return -1;
}

static bool too_large(struct client *client, const ProtobufCMessage *request, struct err *err)
{
    uint64_t most = client->options.request_bytes_max, bytes;

    if (most == 0)
        return false;
    bytes = protobuf_c_message_get_packed_size(request);
    if (bytes <= most)
        return false;
    client->failure = (struct client_failure){.kind = CLIENT_FAILURE_LOCAL};
    (void)snprintf(client->failure.hint, sizeof(client->failure.hint),
                   "Raise --max-request-bytes; the server has a limit of its own.");
    err_set(err, ERR_NO_MEMORY,
            "the request has %" PRIu64 " bytes, the most that is sent is %" PRIu64, bytes, most);
    return true;
}

/* As etcdctl, whose context ends before it begins. */
static bool no_time(struct client *client, struct err *err)
{
    if (client->options.command_timeout_ms >= 0)
        return false;
    client->failure = (struct client_failure){.kind = CLIENT_FAILURE_TIMEOUT};
    (void)snprintf(client->failure.hint, sizeof(client->failure.hint),
                   "Give --command-timeout more than that; 5s is the default.");
    err_set(err, ERR_NET, "context deadline exceeded: less than a millisecond was given");
    return true;
}

int client_call_at(struct client *client, size_t at, enum rpc_id id,
                   const ProtobufCMessage *request, struct arena *arena,
                   ProtobufCMessage **response, struct err *err)
{
    struct buf body = BUF_INIT(CLIENT_RESPONSE_MAX);
    int rc = -1;

    must(client->count > 0 && rpc_row(id)->path != NULL);
    must(request->descriptor == rpc_row(id)->request);
    if (too_large(client, request, err) || no_time(client, err))
        return -1;
    if (client_log_in(client, err) < 0)
        return -1;
    if (pbjson_write(request, PBJSON_GATEWAY, &body)) {
        rc = call(client, at, id, buf_slice(&body), arena, response, err);
    } else {
        client->failure = (struct client_failure){.kind = CLIENT_FAILURE_LOCAL};
        err_set(err, ERR_NO_MEMORY, "the request is larger than %lu bytes",
                (unsigned long)CLIENT_RESPONSE_MAX);
    }
    buf_free(&body);
    return rc;
}

int client_call(struct client *client, enum rpc_id id, const ProtobufCMessage *request,
                struct arena *arena, ProtobufCMessage **response, struct err *err)
{
    return client_call_at(client, SIZE_MAX, id, request, arena, response, err);
}
