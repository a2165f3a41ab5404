/* v2request.c - see v2request.h. A walk over the wire bytes; anything odd means "not a v2
 * request". */
#include "etcd-server/engine/v2request.h"

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
