/* v2request.c - see v2request.h. A walk over the wire bytes; anything odd means "not a v2
 * request". */
#include "etcd-server/engine/v2request.h"

#include "common/base/base.h"
#include "common/schema/pbwire.h"

static bool read_varint(struct slice *at, uint64_t *number)
{
    *number = 0;
    for (unsigned shift = 0; shift < 64 && at->size != 0; shift += 7) {
        uint8_t byte = *at->data;

        at->data++;
        at->size--;
        *number |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0)
            return true;
    }
    return false;
}

static bool is_method(struct slice word)
{
    static const char *const methods[] = {"PUT", "POST", "DELETE", "QGET", "SYNC"};

    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        if (slice_equal(word, slice_text(methods[i])))
            return true;
    return false;
}

bool v2_request_decode(struct slice data, struct v2_request *request)
{
    *request = (struct v2_request){0};
    while (data.size != 0) {
        uint64_t tag, number;

        if (!read_varint(&data, &tag) || !read_varint(&data, &number))
            return false;
        if ((tag & 7) == 2) {
            struct slice bytes = slice_of(data.data, (size_t)number);

            if (number > data.size)
                return false;
            data.data += number;
            data.size -= (size_t)number;
            if (tag >> 3 == 2)
                request->method = bytes;
            else if (tag >> 3 == 3)
                request->path = bytes;
            else if (tag >> 3 == 4)
                request->value = bytes;
        } else if ((tag & 7) != 0) {
            return false;
        } else if (tag >> 3 == 1) {
            request->id = number;
        }
        if (tag >> 3 >= 2 && !is_method(request->method))
            return false;
    }
    return is_method(request->method);
}

void v2_request_encode(const struct v2_request *request, struct buf *out)
{
    /* Dir, PrevValue, PrevIndex, Expiration, Wait ... Stream: all zero */
    static const uint8_t rest[] = {0x28, 0, 0x32, 0, 0x38, 0, 0x48, 0, 0x50, 0,    0x58, 0,
                                   0x60, 0, 0x68, 0, 0x70, 0, 0x78, 0, 0x80, 0x01, 0};
    size_t most = 4 * 11 + request->method.size + request->path.size + request->value.size;
    uint8_t *start = buf_reserve(out, most), *at = start;

    must(start != NULL);
    at = pb_put_u64(at, 1, request->id);
    at = pb_put_bytes(at, 2, request->method);
    at = pb_put_bytes(at, 3, request->path);
    at = pb_put_bytes(at, 4, request->value);
    buf_advance(out, (size_t)(at - start));
    must(buf_append(out, rest, sizeof(rest)));
}
