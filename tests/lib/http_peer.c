/* http_peer.c - see http_peer.h. */
#include "tests/lib/http_peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static void listen_on(struct http_peer *peer, const char *scheme)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    peer->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(bind(peer->listener, (struct sockaddr *)&address, sizeof(address)) == 0);
    must(listen(peer->listener, 4) == 0);
    must(getsockname(peer->listener, (struct sockaddr *)&address, &size) == 0);
    (void)snprintf(peer->url, sizeof(peer->url), "%s://127.0.0.1:%u", scheme,
                   ntohs(address.sin_port));
}

static bool readable(int fd)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};

    return poll(&ready, 1, HTTP_PEER_WAIT_MS) == 1;
}

static void pump_out(struct tls_session *session, int fd)
{
    struct slice out = tls_session_output(session);

    while (out.size != 0) {
        ssize_t sent = send(fd, out.data, out.size, MSG_NOSIGNAL);

        if (sent <= 0)
            return;
        tls_session_output_sent(session, (size_t)sent);
        out = tls_session_output(session);
    }
}

/* More plaintext into got[]; false at the end. */
static bool take(struct http_peer *peer, struct tls_session *session, int fd)
{
    size_t used = strlen(peer->got), room_bytes = sizeof(peer->got) - 1 - used, got = 0;
    struct err err = ERR_INIT;
    ssize_t n;

    if (!readable(fd))
        return false;
    if (session == NULL) {
        n = recv(fd, peer->got + used, room_bytes, 0);
        return n > 0;
    }
    {
        size_t input_bytes = 0;
        uint8_t *room = tls_session_input_room(session, &input_bytes);

        n = recv(fd, room, input_bytes, 0);
        if (n <= 0)
            return false;
        tls_session_input_advance(session, (size_t)n);
    }
    switch (tls_session_handshake(session, &err)) {
    case TLS_OK:
        break;
    case TLS_AGAIN:
        pump_out(session, fd);
        return true;
    case TLS_EOF:
    case TLS_ERROR:
        pump_out(session, fd);
        return false;
    }
    pump_out(session, fd);
    return tls_session_read(session, peer->got + used, room_bytes, &got, &err) != TLS_ERROR;
}

static bool whole(const char *got)
{
    const char *end = strstr(got, "\r\n\r\n"), *length = strstr(got, "Content-Length: ");

    if (got[0] == 0x16) /* a TLS handshake, on a plain connection: answered at once */
        return true;
    return end != NULL && (length == NULL || strlen(end + 4) >= strtoul(length + 16, NULL, 10));
}

static bool serve_one(struct http_peer *peer)
{
    struct tls_session *session = NULL;
    struct err err = ERR_INIT;
    size_t taken = 0;
    int fd;

    if (!readable(peer->listener))
        return false;
    fd = accept(peer->listener, NULL, NULL);
    if (fd < 0)
        return false; /* http_peer_stop() before anybody came */
    memset(peer->got, 0, sizeof(peer->got));
    if (peer->tls != NULL)
        must(tls_session_new(peer->tls, NULL, &session, &err) == 0);
    while (!whole(peer->got) && take(peer, session, fd))
        ;
    if (peer->answer == NULL) {
        while (take(peer, session, fd))
            ;
    } else if (session == NULL) {
        (void)send(fd, peer->answer, strlen(peer->answer), MSG_NOSIGNAL);
    } else if (tls_session_open(session)) {
        must(tls_session_write(session, slice_text(peer->answer), &taken, &err) == TLS_OK);
        pump_out(session, fd);
    }
    tls_session_free(session);
    (void)close(fd);
    return true;
}

static void *serve(void *arg)
{
    struct http_peer *peer = arg;

    for (size_t i = 0; serve_one(peer) && i < peer->more_count; i++)
        peer->answer = peer->more[i];
    return NULL;
}

void http_peer_start(struct http_peer *peer, const char *answer, struct tls_context *tls)
{
    *peer = (struct http_peer){.answer = answer, .tls = tls};
    listen_on(peer, tls != NULL ? "https" : "http");
    must(pthread_create(&peer->thread, NULL, serve, peer) == 0);
}

void http_peer_start_answers(struct http_peer *peer, const char *const *answers, size_t count,
                             struct tls_context *tls)
{
    *peer = (struct http_peer){
        .answer = answers[0], .more = answers + 1, .more_count = count - 1, .tls = tls};
    listen_on(peer, tls != NULL ? "https" : "http");
    must(pthread_create(&peer->thread, NULL, serve, peer) == 0);
}

void http_peer_stop(struct http_peer *peer)
{
    (void)shutdown(peer->listener, SHUT_RDWR); /* a thread that still waits there wakes up */
    must(pthread_join(peer->thread, NULL) == 0);
    (void)close(peer->listener);
}
