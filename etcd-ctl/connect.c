/*
 * connect.c - see connect.h.
 *
 *   flags -> common_options() + endpoints (given, or found by DNS), files, user -> make(): a
 * client, or the sentence and the exit code that say which flag is wrong
 *
 * A password lives as long as the options do, and is wiped.
 */
#include "etcd-ctl/connect.h"

#include "common/base/limits.h"
#include "common/client/srv.h"
#include "common/client/transport.h"
#include "etcd-ctl/password.h"

#include <stdio.h>
#include <unistd.h>

#define DISCOVERED_MAX (256UL * KIB) /* bytes of all endpoints of a domain */

/* NULL when the flag was given neither as flag nor as variable: "" is something else. */
static const char *given(const struct args *args, const char *name)
{
    const struct flag_value *value = args_value(args, name);

    return value->given || value->variable ? value->text : NULL;
}

static void forget(char *user, char *password)
{
    if (password != NULL)
        wipe(password, strlen(password));
    free(user);
    free(password);
}

/* etcd's client logs nobody in then; a certificate still tells who asks. */
static void tell_empty(const char *what)
{
    (void)fprintf(stderr, "note: the %s given is empty: the request goes without a user\n", what);
}

static char *ask(const char *prompt)
{
    char *password = password_ask(prompt);

    if (password == NULL || password[0] == '\0')
        tell_empty("password");
    return password;
}

static char *ask_source(void)
{
    return ask("Password: ");
}

static char *ask_destination(void)
{
    return ask("Destination Password: ");
}

/* --user NAME:PASSWORD, NAME with --password, or NAME alone, and a password to be asked for; an
 * empty --password is none. Both owned by the caller; NULL when one is empty. */
static void read_user(const char *text, const char *secret, char **user, char **password)
{
    const char *colon;

    if (text == NULL || text[0] == '\0')
        return;
    if (secret != NULL && secret[0] == '\0')
        secret = NULL;
    colon = secret == NULL ? strchr(text, ':') : NULL;
    *user = colon != NULL ? xstrndup(text, (size_t)(colon - text)) : xstrdup(text);
    if (secret != NULL)
        *password = xstrdup(secret);
    else if (colon != NULL)
        *password = xstrdup(colon + 1);
    if ((*user)[0] != '\0' && (*password == NULL || (*password)[0] != '\0'))
        return;
    tell_empty((*user)[0] == '\0' ? "user name" : "password");
    forget(*user, *password);
    *user = *password = NULL;
}

/* "/etc/etcd/server/crt" may have been meant as "/etc/etcd/server.crt". */
static bool suggest_sibling(const struct client_options *options)
{
    bool found = false;
    const char *files[] = {options->cacert, options->cert, options->key};

    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        char *guess = files[i] != NULL ? xstrdup(files[i]) : NULL;
        char *slash = guess != NULL ? strrchr(guess, '/') : NULL;

        if (slash != NULL && access(files[i], F_OK) != 0) {
            *slash = '.';
            if (access(guess, F_OK) == 0) {
                found = true;
                (void)fprintf(stderr, "Did you mean %s?\n", guess);
            }
        }
        free(guess);
    }
    return found;
}

/* --debug: what was asked, what came and when. */
static void trace(const char *url, long status, int64_t took_ms)
{
    (void)fprintf(stderr, "debug: %s: %s %ld after %" PRId64 "ms\n", url,
                  status != 0 ? "HTTP status" : "no answer,", status, took_ms);
}

/* Limits and transport, which both clients have of the global flags. */
static struct client_options common_options(const struct args *args)
{
    int64_t command_ms = args_number(args, "command-timeout") / NS_PER_MS;

    return (struct client_options){
        .transport = &transport_curl,
        .dial_timeout_ms = MAX(args_number(args, "dial-timeout") / NS_PER_MS, 1),
        .command_timeout_ms = command_ms > 0 ? command_ms : -1,
        /* who says how long to wait means it, also for a server that is not there yet */
        .patience_ms = args_value(args, "command-timeout")->given ? MAX(command_ms, 1) : 0,
        .keepalive_time_ms = args_number(args, "keepalive-time") / NS_PER_MS,
        .keepalive_timeout_ms = args_number(args, "keepalive-timeout") / NS_PER_MS,
        .request_bytes_max = (uint64_t)MAX(args_number(args, "max-request-bytes"), 0),
        .response_bytes_max = (uint64_t)MAX(args_number(args, "max-recv-bytes"), 0),
        .trace = args_bool(args, "debug") ? trace : NULL,
    };
}

/* The destination's flag for one of the source's; NULL: there is none. */
static const char *destination_flag(const char *flag, size_t bytes)
{
    static const struct {
        const char *flag, *instead;
    } flags[] = {{"--endpoints", "DESTINATION"}, {"--cacert", "--dest-cacert"},
                 {"--cert", "--dest-cert"},      {"--key", "--dest-key"},
                 {"--user", "--dest-user"},      {"--password", "--dest-password"}};

    for (size_t i = 0; i < ARRAY_LEN(flags); i++)
        if (strlen(flags[i].flag) == bytes && memcmp(flag, flags[i].flag, bytes) == 0)
            return flags[i].instead;
    return NULL;
}

void connect_destination_hint(const char *hint)
{
    for (size_t bytes; *hint != '\0'; hint += bytes) {
        const char *instead;

        bytes =
            strncmp(hint, "--", 2) == 0 ? 2 + strspn(hint + 2, "abcdefghijklmnopqrstuvwxyz-") : 1;
        instead = destination_flag(hint, bytes);
        if (instead != NULL)
            (void)fputs(instead, stderr);
        else
            (void)fprintf(stderr, "%.*s", (int)bytes, hint);
    }
    (void)fputc('\n', stderr);
}

/* Of several endpoints; etcdctl goes on with the others without a word. */
static void tell_faults(const struct client *client)
{
    for (size_t i = 0; i < client_endpoints(client); i++)
        if (client_endpoint_fault(client, i) != NULL)
            (void)fprintf(stderr, "note: %s: it is left out\n", client_endpoint_fault(client, i));
}

static int make(const struct client_options *options, struct client **client)
{
    struct client_failure failure;
    struct err err = ERR_INIT;
    int code;

    if (client_new(options, client, &failure, &err) == 0) {
        tell_faults(*client);
        return CTL_OK;
    }
    if (failure.kind == CLIENT_FAILURE_ENDPOINT)
        code = options->endpoints[0] == '\0' ? CTL_NO_CLIENT : CTL_FAILED;
    else
        code = CTL_BAD_ARGS;
    (void)ctl_fail(code, "%s", err.text);
    if (suggest_sibling(options))
        return code;
    if (failure.hint[0] != '\0' && options->flag_prefix != NULL)
        connect_destination_hint(failure.hint);
    else if (failure.hint[0] != '\0')
        (void)fprintf(stderr, "%s\n", failure.hint);
    else
        (void)fprintf(stderr, "Check --%1$scacert, --%1$scert and --%1$skey.\n",
                      options->flag_prefix != NULL ? options->flag_prefix : "");
    return code;
}

/* ---- DNS ---- */

/* --insecure-discovery=false: only what is reached by TLS. */
static void drop_insecure(struct buf *list)
{
    char *all = xstrdup(buf_text(list)), *rest = all, *one;

    buf_reset(list);
    while ((one = strsep(&rest, ",")) != NULL) {
        if (strncmp(one, "http://", 7) == 0)
            (void)fprintf(stderr, "ignoring discovered insecure endpoint \"%s\"\n", one);
        else if (one[0] != '\0')
            buf_printf(list, "%s%s", buf_used(list) > 0 ? "," : "", one);
    }
    free(all);
}

/* --discovery-srv: its endpoints into `list`. */
static int discover(const struct args *args, const char *domain, struct buf *list)
{
    struct err err = ERR_INIT;

    if (srv_client_endpoints(domain, args_text(args, "discovery-srv-name"), list, &err) < 0) {
        (void)ctl_fail(CTL_FAILED, "%s", err.text);
        (void)fprintf(stderr, "Check the domain and its SRV records, or give --endpoints instead "
                              "of --discovery-srv.\n");
        return CTL_FAILED;
    }
    if (!args_bool(args, "insecure-discovery"))
        drop_insecure(list);
    return CTL_OK;
}

/* ---- both clients ---- */

int connect_source(struct ctl *ctl, const struct args *args)
{
    struct client_options options = common_options(args);
    const char *domain = args_text(args, "discovery-srv"), *token = given(args, "auth-jwt-token");
    struct buf list = BUF_INIT(DISCOVERED_MAX);
    char *user = NULL, *password = NULL;
    int code = CTL_OK;

    for (const char *at = token != NULL ? token : ""; *at != '\0'; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f) {
            code = ctl_fail(CTL_BAD_ARGS, "--auth-jwt-token: control character \\x%02x in it",
                            (unsigned)(unsigned char)*at);
            (void)fputs("A token goes into one line of the request: give it without line ends.\n",
                        stderr);
            return code;
        }
    options.endpoints = args_text(args, "endpoints");
    options.cacert = given(args, "cacert");
    options.cert = given(args, "cert");
    options.key = given(args, "key");
    options.tls = !args_bool(args, "insecure-transport");
    options.skip_verify = args_bool(args, "insecure-skip-tls-verify");
    if (domain[0] != '\0') {
        code = discover(args, domain, &list);
        if (buf_used(&list) > 0)
            options.endpoints = buf_text(&list);
        if (!args_bool(args, "insecure-discovery"))
            options.server_name = domain;
    }
    if (token != NULL && token[0] != '\0')
        options.token = token;
    else
        read_user(given(args, "user"), given(args, "password"), &user, &password);
    options.user = user;
    options.password = password;
    if (user != NULL && password == NULL)
        options.ask_password = ask_source; /* behind what the command asks for, as etcdctl */
    if (code == CTL_OK)
        code = make(&options, &ctl->client);
    forget(user, password);
    buf_free(&list);
    return code;
}

int connect_destination(const struct args *args, const char *endpoint, struct client **client)
{
    struct client_options options = common_options(args);
    char *user = NULL, *password = NULL;
    int code;

    options.endpoints = endpoint;
    options.cacert = given(args, "dest-cacert");
    options.cert = given(args, "dest-cert");
    options.key = given(args, "dest-key");
    options.flag_prefix = "dest-";
    options.tls = !args_bool(args, "dest-insecure-transport");
    options.skip_verify = args_bool(args, "insecure-skip-tls-verify");
    read_user(given(args, "dest-user"), given(args, "dest-password"), &user, &password);
    options.user = user;
    options.password = password;
    if (user != NULL && password == NULL)
        options.ask_password = ask_destination;
    code = make(&options, client);
    if (code == CTL_OK)
        client_ask_password(*client);
    forget(user, password);
    return code;
}
