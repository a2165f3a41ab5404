/*
 * http2_head.c - is the head of a request, or its trailer section, well-formed? RFC 9113 8.2
 * and 8.3.
 *
 * nghttp2 could look, but it takes no :authority with a slash, and etcd's Go client before 3.5 puts
 * its whole endpoint there ("http://10.0.0.1:2379") in all calls to one member: status, hashes,
 * defragmentation. gRPC servers take any. So the rest of nghttp2's look is done here too:
 *
 *   line()  pseudo-headers: known, once, before the others, not in trailers; no header of a single
 *           connection; names in lower case. A name or value with other wrong bytes is ignored.
 *   whole() :method, :scheme and :path are there, and :authority or host
 */
#include "etcd-server/doors/http2_internal.h"

#include "common/base/limits.h"

#define LENGTH_DIGITS_MAX 18 /* below 2^63 */

/* what of a head has come */
enum {
    SEEN_METHOD = 1,
    SEEN_SCHEME = 2,
    SEEN_PATH = 4,
    SEEN_AUTHORITY = 8,
    SEEN_HOST = 16,
    SEEN_LENGTH = 32,
    SEEN_REGULAR = 64, /* a header that is no pseudo-header */
};

static bool first(unsigned *seen, unsigned one)
{
    bool is_first = (*seen & one) == 0;

    *seen |= one;
    return is_first;
}

/* RFC 3986 3.1 */
static bool scheme_is_good(struct slice scheme)
{
    for (size_t i = 0; i < scheme.size; i++) {
        uint8_t byte = scheme.data[i];
        bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
        bool other = (byte >= '0' && byte <= '9') || byte == '+' || byte == '-' || byte == '.';

        if (!letter && (i == 0 || !other))
            return false;
    }
    return scheme.size != 0;
}

static bool path_is_good(struct slice path)
{
    return path.size != 0 && (path.data[0] == '/' || (path.size == 1 && path.data[0] == '*')) &&
           nghttp2_check_path(path.data, path.size) != 0;
}

static bool pseudo_is_good(unsigned *seen, struct slice name, struct slice value)
{
    if ((*seen & SEEN_REGULAR) != 0)
        return false;
    if (slice_equal(name, SLICE_LITERAL(":method")))
        return first(seen, SEEN_METHOD) && nghttp2_check_method(value.data, value.size) != 0;
    if (slice_equal(name, SLICE_LITERAL(":scheme")))
        return first(seen, SEEN_SCHEME) && scheme_is_good(value);
    if (slice_equal(name, SLICE_LITERAL(":path")))
        return first(seen, SEEN_PATH) && path_is_good(value);
    if (slice_equal(name, SLICE_LITERAL(":authority")))
        return first(seen, SEEN_AUTHORITY) &&
               nghttp2_check_header_value_rfc9113(value.data, value.size) != 0;
    return false; /* :status is for answers, :protocol for those who offer it */
}

static bool length_is_good(struct slice text)
{
    if (text.size == 0 || text.size > LENGTH_DIGITS_MAX)
        return false;
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
    return true;
}

/* The headers of which the rules know; all others are fine. */
static bool regular_is_good(unsigned *seen, struct slice name, struct slice value)
{
    switch (name.size) {
    case 2:
        return !slice_equal(name, SLICE_LITERAL("te")) || exchange_name_is(value, "trailers");
    case 4:
        return !slice_equal(name, SLICE_LITERAL("host")) || first(seen, SEEN_HOST);
    case 7:
        return !slice_equal(name, SLICE_LITERAL("upgrade"));
    case 10:
        return !slice_equal(name, SLICE_LITERAL("connection")) &&
               !slice_equal(name, SLICE_LITERAL("keep-alive"));
    case 14:
        return !slice_equal(name, SLICE_LITERAL("content-length")) ||
               (first(seen, SEEN_LENGTH) && length_is_good(value));
    case 16:
        return !slice_equal(name, SLICE_LITERAL("proxy-connection"));
    case 17:
        return !slice_equal(name, SLICE_LITERAL("transfer-encoding"));
    default:
        return true;
    }
}

static bool has_capitals(struct slice name)
{
    for (size_t i = 0; i < name.size; i++)
        if (name.data[i] >= 'A' && name.data[i] <= 'Z')
            return true;
    return false;
}

enum http2_verdict http2_head_line(unsigned *seen, struct slice name, struct slice value)
{
    if (name.size != 0 && name.data[0] == ':')
        return pseudo_is_good(seen, name, value) ? HTTP2_KEEP : HTTP2_MALFORMED;
    *seen |= SEEN_REGULAR;
    if (nghttp2_check_header_name(name.data, name.size) == 0)
        return has_capitals(name) ? HTTP2_MALFORMED : HTTP2_IGNORE;
    if (!regular_is_good(seen, name, value))
        return HTTP2_MALFORMED;
    return nghttp2_check_header_value_rfc9113(value.data, value.size) != 0 ? HTTP2_KEEP
                                                                           : HTTP2_IGNORE;
}

bool http2_head_whole(unsigned *seen)
{
    const unsigned needed = SEEN_METHOD | SEEN_SCHEME | SEEN_PATH;

    *seen |= SEEN_REGULAR; /* what comes now are trailers */
    return (*seen & needed) == needed && (*seen & (SEEN_AUTHORITY | SEEN_HOST)) != 0;
}
