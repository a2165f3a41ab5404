/*
 * client.h (edge) - calls to a server through its JSON gateway: endpoints and
 * failover, TLS, time limits, user and password. Used by etcd-ctl and etcd-snap.
 *
 * What fails is told twice: `err` is the cause with the offending value in one sentence,
 * client_failure() says what kind it is and what to do. Knows nothing of commands and output.
 * Errors where no other is named: those of client_call(), and ERR_USAGE what was given.
 * Thread: a client belongs to one thread; different clients may be used by different threads.
 */
#ifndef COMMON_CLIENT_CLIENT_H
#define COMMON_CLIENT_CLIENT_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/schema/rpc.h"

#define CLIENT_ENDPOINTS_DEFAULT "127.0.0.1:2379"
#define CLIENT_DIAL_TIMEOUT_MS_DEFAULT 2000
#define CLIENT_PATIENCE_MS_DEFAULT 1500

#define CLIENT_KEEPALIVE_TIME_MS_DEFAULT 2000
#define CLIENT_KEEPALIVE_TIMEOUT_MS_DEFAULT 6000

/* One exchange: no bodies, no secrets. `status` is 0 when no answer came. */
typedef void client_trace_fn(const char *url, long status, int64_t took_ms);

struct transport_kind; /* transport.h: transport_curl, transport_direct */
struct client; /* endpoints, credentials and one kept-alive connection; ends in client_free() */

/* All texts borrowed until client_new() returns; zero is "plain, no user, defaults". */
struct client_options {
    const struct transport_kind *transport; /* who carries the calls; never NULL */
    const char *endpoints; /* comma separated host:port, URL or unix socket; NULL = default */
    const char *cacert;    /* PEM file of trusted CAs; NULL = the system's */
    const char *cert;      /* PEM client certificate (chain); with key or not at all */
    const char *key;       /* its PEM key */
    bool tls;              /* TLS for endpoints without a scheme (--insecure-transport=false) */
    bool skip_verify;      /* take any server certificate */
    const char *user;      /* NULL = no authentication */
    const char *password;  /* NULL = "" */
    char *(*ask_password)(void); /* asked once, when it is first needed, instead; owned by us. "" or
                                    NULL: no user after all. NULL = nobody to ask */
    const char *token;           /* a token that was got elsewhere; NULL = none */
    const char *server_name; /* certificates are checked against it; NULL = the endpoint's host */
    const char *flag_prefix; /* of cacert, cert and key in errors, static; NULL = "" */
    int64_t dial_timeout_ms; /* connection and handshake; 0 = default */
    int64_t command_timeout_ms;   /* one call with all its retries; 0 = no limit, < 0 = no time */
    int64_t keepalive_time_ms;    /* a silent connection is probed after so long; 0 = default */
    int64_t keepalive_timeout_ms; /* and given up after so much longer; 0 = default */
    uint64_t request_bytes_max;   /* of a request as a message; 0 = no limit */
    uint64_t response_bytes_max;  /* of an answer as JSON; 0 = CLIENT_RESPONSE_MAX */
    client_trace_fn *trace;       /* told of each exchange; NULL = nobody */
    int64_t patience_ms; /* how long a known cause that may pass (refused, no leader) is waited out;
                            0 = default; never beyond the command timeout */
};

enum client_failure_kind {
    CLIENT_FAILURE_NONE,
    CLIENT_FAILURE_SETUP,    /* files or endpoints: nothing was sent (etcdctl: 128, or 2) */
    CLIENT_FAILURE_ENDPOINT, /* --endpoints is empty or unusable (etcdctl: exit code 2) */
    CLIENT_FAILURE_LOGIN,    /* user and password were refused (etcdctl: exit code 2) */
    CLIENT_FAILURE_CONNECT,  /* refused, unknown host, TLS, not this protocol */
    CLIENT_FAILURE_TIMEOUT,  /* the time limit passed while waiting for an answer */
    CLIENT_FAILURE_REFUSED,  /* the server answered with an error: grpc and err->text say which */
    CLIENT_FAILURE_LOCAL,    /* a bug of a server, or what a stream's callback returned */
};

struct client_failure {
    enum client_failure_kind kind;
    enum grpc_code grpc;     /* for REFUSED and LOGIN */
    char hint[ERR_TEXT_MAX]; /* what to do, one sentence; "" when there is nothing to say */
};

/*
 * Check the options and read the certificate files; opens no connection.
 *
 * client   owned by the caller, ends in client_free()
 * failure  filled on failure; may be NULL
 * errors   ERR_USAGE (endpoints, only one of cert and key), ERR_IO, ERR_TLS (not PEM, key does not
 *          fit the certificate)
 */
int client_new(const struct client_options *options, struct client **client,
               struct client_failure *failure, struct err *err) MUST_CHECK;
void client_free(struct client *client); /* NULL is fine */

size_t client_endpoints(const struct client *client);
/* As typed, blanks trimmed; borrowed until client_set_endpoints() or client_free(). */
const char *client_endpoint(const struct client *client, size_t at);
/* Why it is no endpoint; NULL: it is one. Of several one that is none counts as one that is down.
 */
const char *client_endpoint_fault(const struct client *client, size_t at);
/* Use these from now on (client URLs of the member list). */
int client_set_endpoints(struct client *client, const char *const *endpoints, size_t count,
                         struct err *err) MUST_CHECK;
/* A new client for one endpoint of `client`, with its files, token and limits; owned. */
int client_clone(struct client *client, size_t at, struct client **clone,
                 struct err *err) MUST_CHECK;
/* The same for all of its endpoints, in their order; the one `at` is tried first. */
int client_clone_all(struct client *client, size_t at, struct client **clone,
                     struct err *err) MUST_CHECK;
/* Ask for the password now, if that is still to be done: who reads stdin may want it first. */
void client_ask_password(struct client *client);
/* Log in now, if there is a user and that is still to be done. */
int client_log_in(struct client *client, struct err *err) MUST_CHECK;
void client_set_timeout(struct client *client, int64_t command_timeout_ms); /* 0 = no limit */

/*
 * One unary call; tries the endpoints in turn, beginning with the one that worked last. A call that
 * changes something is not repeated once it may have reached a server.
 *
 * request   of the row's request type; borrowed
 * response  of the row's response type, from the arena
 * errors    the row of errors.def for the server's text where there is one, else ERR_NET, ERR_TLS,
 *           ERR_FORMAT, ERR_NO_MEMORY; see client_failure()
 */
int client_call(struct client *client, enum rpc_id id, const ProtobufCMessage *request,
                struct arena *arena, ProtobufCMessage **response, struct err *err) MUST_CHECK;

/* The same at endpoint `at` only. */
int client_call_at(struct client *client, size_t at, enum rpc_id id,
                   const ProtobufCMessage *request, struct arena *arena,
                   ProtobufCMessage **response, struct err *err) MUST_CHECK;

/*
 * Called per message of a stream; `message` (of the row's response type) dies when it returns.
 * returns  0 to go on, 1 to end the stream without failure, -1 with `err` filled to end it with one
 */
typedef int client_message_fn(void *arg, const ProtobufCMessage *message, struct err *err);

/*
 * One request, many answers (Snapshot, Watch with its create request). Returns 0 at the stream's
 * end or when `each` returned 1. The time limit covers connection and first message only.
 */
int client_stream(struct client *client, enum rpc_id id, const ProtobufCMessage *request,
                  client_message_fn *each, void *arg, struct err *err) MUST_CHECK;

/*
 * GET `path` ("/metrics") at endpoint `at`.
 *
 * body    the answer is appended to it, up to its maximum
 * errors  as client_call(); any status but 200 is ERR_FORMAT
 */
int client_get(struct client *client, size_t at, const char *path, struct buf *body,
               struct err *err) MUST_CHECK;

/* What an answer that is no JSON says about itself. */
struct client_octets {
    bool given;         /* the body is application/octet-stream */
    uint64_t length;    /* bytes of all of it; 0 = not told */
    bool crc_announced; /* the CRC-32C of the body will follow it (RFC 9530, in a trailer) */
    bool crc_came;
    uint32_t crc;
};
/* The next bytes of such an answer; `crc` is not there yet. -1 with `err` filled ends it. */
typedef int client_bytes_fn(void *arg, struct slice bytes, const struct client_octets *octets,
                            struct err *err) MUST_CHECK;
/* Where the next bytes would best lie, `*bytes` at least 1: then they need no copying. */
typedef uint8_t *client_room_fn(void *arg, size_t *bytes);
struct client_sink { /* what is done with a stream's answer */
    client_message_fn *each;
    client_bytes_fn *bytes; /* NULL: a body that is no JSON is not understood */
    client_room_fn *room;   /* for `bytes`; may be NULL */
    void *arg;
    bool require_leader; /* a server without one refuses (ERR_NO_LEADER), and ends what is there */
};
/*
 * As client_stream(), and says that bare bytes are understood, too (application/octet-stream): what
 * the server gives goes to `bytes` or to `each`, never to both. etcd gives messages. `octets`: set
 * on success.
 */
int client_stream_bytes(struct client *client, enum rpc_id id, const ProtobufCMessage *request,
                        const struct client_sink *sink, struct client_octets *octets,
                        struct err *err) MUST_CHECK;

/* Of the last call that returned -1; borrowed, overwritten by the next call. */
const struct client_failure *client_failure(const struct client *client);
/* Is its cause that no server can be reached, or none that is ready, so that waiting may help? What
 * TLS refuses is not: `err` is what that call left. */
bool client_may_pass(const struct client *client, const struct err *err);

#endif
