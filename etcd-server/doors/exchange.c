/* exchange.c - see exchange.h: looking at requests, and the plain answers of Go's HTTP library. */
#include "etcd-server/doors/exchange.h"

#include <stdio.h>

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

bool exchange_name_starts(struct slice name, const char *lower_case)
{
    size_t i = 0;

    for (; lower_case[i] != '\0'; i++)
        if (i >= name.size || lower(name.data[i]) != (uint8_t)lower_case[i])
            return false;
    return true;
}

bool exchange_name_is(struct slice name, const char *lower_case)
{
    return exchange_name_starts(name, lower_case) && name.size == strlen(lower_case);
}

bool exchange_field(const struct exchange *exchange, const char *name, struct slice *value)
{
    for (size_t i = 0; i < exchange->field_count; i++)
        if (exchange_name_is(exchange->fields[i].name, name)) {
            *value = exchange->fields[i].value;
            return true;
        }
    return false;
}

bool exchange_path_is(const struct exchange *exchange, const char *path)
{
    return slice_equal(exchange->path, slice_text(path));
}

bool exchange_needs(struct exchange *exchange, enum exchange_method method, const char *allow)
{
    if (exchange->method == method)
        return true;
    exchange_not_allowed(exchange, allow);
    return false;
}

static void text_with(struct exchange *exchange, unsigned status, const char *text,
                      const char *fields)
{
    char body[ERR_TEXT_MAX];
    int length = snprintf(body, sizeof(body), "%s\n", text);
    struct exchange_head head = {
        .status = status,
        .content_type = "text/plain; charset=utf-8",
        .fields = "X-Content-Type-Options: nosniff\r\n",
        .more_fields = fields,
    };

    must(length >= 0);
    exchange_answer(exchange, &head, slice_of(body, MIN((size_t)length, sizeof(body) - 1)));
}

void exchange_text(struct exchange *exchange, unsigned status, const char *text)
{
    text_with(exchange, status, text, NULL);
}

void exchange_not_found(struct exchange *exchange)
{
    text_with(exchange, 404, "404 page not found", NULL);
}

void exchange_not_allowed(struct exchange *exchange, const char *allow)
{
    char field[64];

    must(snprintf(field, sizeof(field), "Allow: %s\r\n", allow != NULL ? allow : "") <
         (int)sizeof(field));
    text_with(exchange, 405, "Method Not Allowed", allow != NULL ? field : NULL);
}

bool exchange_next_parameter(struct slice *query, struct slice *name, struct slice *value)
{
    const uint8_t *end, *equals;
    struct slice pair;

    if (query->size == 0)
        return false;
    end = memchr(query->data, '&', query->size);
    pair = slice_of(query->data, end != NULL ? (size_t)(end - query->data) : query->size);
    *query = end != NULL ? slice_of(end + 1, query->size - pair.size - 1) : SLICE_EMPTY;
    equals = pair.size != 0 ? memchr(pair.data, '=', pair.size) : NULL;
    if (equals == NULL) {
        *name = pair;
        *value = SLICE_EMPTY;
    } else {
        *name = slice_of(pair.data, (size_t)(equals - pair.data));
        *value = slice_of(equals + 1, pair.size - name->size - 1);
    }
    return true;
}
