/*
 * fetch.h (edge) - one HTTP/1.1 request and its whole answer, waited for: what a server asks of
 * others before its loop runs (the members of a cluster that it joins, discovery).
 *
 * A connection per request; no redirects, no proxies, no cookies: the caller sees status and
 * fields. Knows no JSON. Blocks, until the deadline at most, the name's resolution included.
 * Thread: any; `tls` belongs to one.
 */
#ifndef COMMON_CLIENT_FETCH_H
#define COMMON_CLIENT_FETCH_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/tls/tls.h"

/* Everything is borrowed for the call. */
struct fetch {
    const char *method; /* "GET" */
    /* http:// or https://, host, port (80 or 443), path, query; a fragment is not sent. Or unix://
     * or unixs:// and a socket's path. */
    const char *url;
    const char *path;         /* put behind the URL, "/members"; NULL: nothing */
    const char *content_type; /* of the body; NULL: none */
    const char *fields;       /* further lines, each "Name: value\r\n"; NULL: none */
    struct slice body;
    struct tls_context *tls; /* TLS_CLIENT; NULL: https:// and unixs:// are refused */
    uint64_t timeout_ms;     /* for all of it: name, connection, TLS, request, answer; not 0 */
    size_t answer_max_bytes; /* of the answer's body; above it ERR_NET */
};

struct fetch_answer {
    unsigned status;   /* 200 */
    struct buf fields; /* owned: lines as they came, "Name: value\n" */
    struct buf body;   /* owned */
};

/*
 * Any status is an answer. answer: set on success only; fetch_answer_free()
 * errors  ERR_USAGE (the URL), ERR_TLS (handshake, certificate, with the cause in words), ERR_NET
 *         (unknown host, refused, closed too early, no HTTP, too large, too late and what was
 *         waited for); texts begin with the URL
 */
int fetch(const struct fetch *fetch, struct fetch_answer *answer, struct err *err) MUST_CHECK;
void fetch_answer_free(struct fetch_answer *answer); /* zeroed is fine */

/* The value of the first field of that name (case does not matter), blanks trimmed; empty when
 * there is none. Borrowed from the answer. */
struct slice fetch_field(const struct fetch_answer *answer, const char *name);

#endif
