/* peer_request.c - see peer_request.h. */
#include "etcd-server/host/peer_request.h"

#include "common/base/limits.h"

/* The text behind "http://": what a Host header says. */
static const char *authority(const char *url)
{
    const char *colon = strstr(url, "://");

    return colon == NULL ? url : colon + 3;
}

void peer_request_write(const struct peer_ask *ask, struct buf *out)
{
    bool unix_socket = strncmp(ask->url, "unix", 4) == 0;
    bool has_body = ask->body.size != 0 || ask->more_bytes != 0 || strcmp(ask->method, "POST") == 0;

    buf_reset(out);
    if (out->capacity > HTTP_OUT_HIGH_BYTES)
        buf_free(out);
    buf_printf(out, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: etcd-server\r\n", ask->method,
               ask->path, unix_socket ? "localhost" : authority(ask->url));
    if (has_body)
        buf_printf(out, "Content-Length: %" PRIu64 "\r\n",
                   (uint64_t)ask->body.size + ask->more_bytes);
    if (ask->content_type != NULL)
        buf_printf(out, "Content-Type: %s\r\n", ask->content_type);
    if (ask->fields != NULL)
        buf_append_text(out, ask->fields);
    buf_append_text(out, "\r\n");
    buf_append_slice(out, ask->body);
}
