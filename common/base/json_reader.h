/*
 * json_reader.h - a strict pull reader for JSON (RFC 8259): the caller asks for the next thing.
 *
 * No tree is built and nothing is copied, so memory is bounded by what the caller keeps; numbers
 * stay text until json_take_integer() takes them exactly (all of int64 and uint64, "2.0", "20e-1":
 * what a library that makes doubles or int64 of them cannot give). Strings are checked when they
 * are read: UTF-8 valid, escapes and surrogate pairs whole. Nesting is limited by JSON_DEPTH_MAX.
 *
 *     json_reader_init(&reader, text);
 *     json_enter(&reader, JSON_OBJECT, err);
 *     while (json_next_name(&reader, &first, &name, &more, err) == 0 && more)
 *         json_peek(&reader) ... json_take_string(), json_number(), json_skip() ...
 *
 * Functions that return int give -1 with ERR_FORMAT, at the depth limit too; texts name the byte
 * (from 1) and what stands there. Pure; thread: any, one at a time.
 */
#ifndef COMMON_BASE_JSON_READER_H
#define COMMON_BASE_JSON_READER_H

#include "common/base/err.h"
#include "common/base/slice.h"

enum json_kind {
    JSON_END, /* nothing but blanks is left */
    JSON_OBJECT,
    JSON_LIST,
    JSON_STRING,
    JSON_NUMBER,
    JSON_TRUE,
    JSON_FALSE,
    JSON_NULL,
    JSON_BAD, /* begins no JSON value */
};

struct json_reader {
    const uint8_t *start; /* borrowed text */
    const uint8_t *at;    /* next byte */
    const uint8_t *end;
    unsigned depth; /* open objects and lists */
};

struct json_string {
    struct slice raw; /* between the quotes; borrowed from the text */
    bool escaped;     /* holds a backslash: json_unescape() it before use */
};

void json_reader_init(struct json_reader *reader, struct slice text);

/* Skip blanks; what comes next, judged by its first byte. */
enum json_kind json_peek(struct json_reader *reader);
const char *json_kind_name(enum json_kind kind); /* "a string", "the end" ... */

/* Take the opening bracket of `kind` (JSON_OBJECT or JSON_LIST). */
int json_enter(struct json_reader *reader, enum json_kind kind, struct err *err) MUST_CHECK;

/*
 * Take the comma, the next name and its colon, or the closing bracket: then more = false.
 * `first` is true before the first call and is kept by these functions.
 */
int json_next_name(struct json_reader *reader, bool *first, struct json_string *name, bool *more,
                   struct err *err) MUST_CHECK;
/* Take the comma before the next element, or the closing bracket: then more = false. */
int json_next_element(struct json_reader *reader, bool *first, bool *more,
                      struct err *err) MUST_CHECK;

int json_take_string(struct json_reader *reader, struct json_string *string,
                     struct err *err) MUST_CHECK;
int json_number(struct json_reader *reader, struct slice *text, struct err *err) MUST_CHECK;
/* Take `true`, `false` or `null` (kind as json_peek() said). */
int json_word(struct json_reader *reader, enum json_kind kind, struct err *err) MUST_CHECK;
int json_skip(struct json_reader *reader, struct err *err) MUST_CHECK; /* one value, any kind */

/* What an escaped string stands for, as UTF-8, to `out` with room for raw.size; how many bytes. */
size_t json_unescape(struct slice raw, uint8_t *out);

enum json_integer_result {
    JSON_INTEGER_OK,
    JSON_INTEGER_SYNTAX,   /* not a JSON number at all */
    JSON_INTEGER_FRACTION, /* not whole */
    JSON_INTEGER_RANGE,    /* magnitude above UINT64_MAX */
};
/* The exact whole number that `text` (all of it) writes; zero is never negative. */
enum json_integer_result json_take_integer(struct slice text, bool *negative, uint64_t *magnitude);

#endif
