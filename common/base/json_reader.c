/*
 * json_reader.c - see json_reader.h.
 *
 * Every function begins by skipping blanks and leaves `at` behind what it took. Inside strings
 * eight bytes are judged at once; only quotes, backslashes, controls and bytes above 0x7f stop it.
 */
#include "common/base/json_reader.h"

#include "common/base/hex.h"
#include "common/base/limits.h"

void json_reader_init(struct json_reader *reader, struct slice text)
{
    static const uint8_t nothing[1] = {0};
    const uint8_t *start = text.data != NULL ? text.data : nothing;

    *reader = (struct json_reader){.start = start, .at = start, .end = start + text.size};
}

static void skip_blanks(struct json_reader *reader)
{
    while (reader->at < reader->end && (*reader->at == ' ' || *reader->at == '\n' ||
                                        *reader->at == '\t' || *reader->at == '\r'))
        reader->at++;
}

enum json_kind json_peek(struct json_reader *reader)
{
    skip_blanks(reader);
    if (reader->at == reader->end)
        return JSON_END;
    switch (*reader->at) {
    case '{':
        return JSON_OBJECT;
    case '[':
        return JSON_LIST;
    case '"':
        return JSON_STRING;
    case 't':
        return JSON_TRUE;
    case 'f':
        return JSON_FALSE;
    case 'n':
        return JSON_NULL;
    default:
        return *reader->at == '-' || (*reader->at >= '0' && *reader->at <= '9') ? JSON_NUMBER
                                                                                : JSON_BAD;
    }
}

const char *json_kind_name(enum json_kind kind)
{
    static const char *const names[] = {
        [JSON_END] = "the end",     [JSON_OBJECT] = "an object", [JSON_LIST] = "a list",
        [JSON_STRING] = "a string", [JSON_NUMBER] = "a number",  [JSON_TRUE] = "true",
        [JSON_FALSE] = "false",     [JSON_NULL] = "null",        [JSON_BAD] = "not JSON",
    };

    return names[kind];
}

/* "syntax error at byte 12: expected X, found Y" for what stands at `reader->at`. */
static int expected(const struct json_reader *reader, const char *what, struct err *err)
{
    size_t byte = (size_t)(reader->at - reader->start) + 1;

    if (reader->at == reader->end)
        err_set(err, ERR_FORMAT, "JSON syntax error at byte %zu: expected %s, found the end", byte,
                what);
    else if (*reader->at > ' ' && *reader->at < 0x7f)
        err_set(err, ERR_FORMAT, "JSON syntax error at byte %zu: expected %s, found '%c'", byte,
                what, *reader->at);
    else
        err_set(err, ERR_FORMAT, "JSON syntax error at byte %zu: expected %s, found byte 0x%02x",
                byte, what, *reader->at);
    return -1;
}

int json_enter(struct json_reader *reader, enum json_kind kind, struct err *err)
{
    must(kind == JSON_OBJECT || kind == JSON_LIST);
    if (json_peek(reader) != kind)
        return expected(reader, json_kind_name(kind), err);
    if (reader->depth >= JSON_DEPTH_MAX) {
        err_set(err, ERR_FORMAT, "JSON nested deeper than %lu levels at byte %zu", JSON_DEPTH_MAX,
                (size_t)(reader->at - reader->start) + 1);
        return -1;
    }
    reader->depth++;
    reader->at++;
    return 0;
}

/* Handle what stands between members: nothing before the first, a comma before the others. */
static int next_member(struct json_reader *reader, uint8_t close, bool *first, bool *more,
                       struct err *err)
{
    bool was_first = *first;

    must(reader->depth != 0);
    *first = false;
    *more = true;
    skip_blanks(reader);
    if (reader->at < reader->end && *reader->at == close) {
        reader->at++;
        reader->depth--;
        *more = false;
        return 0;
    }
    if (was_first)
        return 0;
    if (reader->at == reader->end || *reader->at != ',')
        return expected(reader, close == '}' ? "',' or '}'" : "',' or ']'", err);
    reader->at++;
    return 0;
}

int json_next_name(struct json_reader *reader, bool *first, struct json_string *name, bool *more,
                   struct err *err)
{
    if (next_member(reader, '}', first, more, err) < 0)
        return -1;
    if (!*more)
        return 0;
    if (json_peek(reader) != JSON_STRING)
        return expected(reader, "a name in quotes", err);
    if (json_take_string(reader, name, err) < 0)
        return -1;
    skip_blanks(reader);
    if (reader->at == reader->end || *reader->at != ':')
        return expected(reader, "':'", err);
    reader->at++;
    return 0;
}

int json_next_element(struct json_reader *reader, bool *first, bool *more, struct err *err)
{
    return next_member(reader, ']', first, more, err);
}

/* Length of the UTF-8 character at `at` (first byte above 0x7f), 0 when it is not one (RFC
 * 3629). */
static size_t utf8_length(const uint8_t *at, const uint8_t *end)
{
    static const struct {
        uint8_t first_low, first_high, second_low, second_high, length;
    } forms[] = {
        {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
        {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
        {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };

    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        if (at[0] < forms[i].first_low || at[0] > forms[i].first_high)
            continue;
        if ((size_t)(end - at) < forms[i].length || at[1] < forms[i].second_low ||
            at[1] > forms[i].second_high)
            return 0;
        for (size_t j = 2; j < forms[i].length; j++) {
            if ((at[j] & 0xc0) != 0x80)
                return 0;
        }
        return forms[i].length;
    }
    return 0;
}

/* Four hex digits at `at`; false when they are not there. */
static bool hex4(const uint8_t *at, const uint8_t *end, uint32_t *unit)
{
    *unit = 0;
    if (end - at < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(at[i]);

        if (digit < 0)
            return false;
        *unit = *unit << 4 | (uint32_t)digit;
    }
    return true;
}

/* Bytes of the escape at `at` (a backslash), 0 when it is none; *code is the character. */
static size_t escape_length(const uint8_t *at, const uint8_t *end, uint32_t *code)
{
    static const char names[] = "\"\\/bfnrt", codes[] = "\"\\/\b\f\n\r\t";
    const char *name;
    uint32_t low;

    if (end - at < 2)
        return 0;
    if (at[1] == 'u') {
        if (!hex4(at + 2, end, code))
            return 0;
        if (*code < 0xd800 || *code > 0xdfff)
            return 6;
        if (*code > 0xdbff || end - at < 12 || at[6] != '\\' || at[7] != 'u' ||
            !hex4(at + 8, end, &low) || low < 0xdc00 || low > 0xdfff)
            return 0; /* half a surrogate pair */
        *code = 0x10000 + ((*code - 0xd800) << 10) + (low - 0xdc00);
        return 12;
    }
    name = at[1] != '\0' ? strchr(names, at[1]) : NULL;
    if (name == NULL)
        return 0;
    *code = (uint32_t)codes[name - names];
    return 2;
}

/* Move over bytes that need no look, eight at a time, then singly. */
static const uint8_t *skip_plain(const uint8_t *at, const uint8_t *end)
{
    const uint64_t ones = 0x0101010101010101, highs = 0x8080808080808080;
    uint64_t word, quote, slash;

    for (; end - at >= 8; at += 8) {
        memcpy(&word, at, 8);
        quote = word ^ ones * '"';
        slash = word ^ ones * '\\';
        if (((word | (quote - ones) | (slash - ones) | (word - ones * ' ')) & highs) != 0)
            break;
    }
    while (at < end && *at >= ' ' && *at < 0x80 && *at != '"' && *at != '\\')
        at++;
    return at;
}

int json_take_string(struct json_reader *reader, struct json_string *string, struct err *err)
{
    const uint8_t *start;
    uint32_t code;
    size_t length;

    if (json_peek(reader) != JSON_STRING)
        return expected(reader, "a string", err);
    start = ++reader->at;
    string->escaped = false;
    for (;;) {
        reader->at = skip_plain(reader->at, reader->end);
        if (reader->at == reader->end)
            return expected(reader, "'\"' at the end of a string", err);
        if (*reader->at == '"')
            break;
        if (*reader->at < ' ')
            return expected(reader, "an escape for a control character", err);
        if (*reader->at == '\\') {
            length = escape_length(reader->at, reader->end, &code);
            string->escaped = true;
            if (length == 0)
                return expected(reader, "a valid escape", err);
        } else {
            length = utf8_length(reader->at, reader->end);
            if (length == 0)
                return expected(reader, "valid UTF-8 in a string", err);
        }
        reader->at += length;
    }
    string->raw = slice_of(start, (size_t)(reader->at - start));
    reader->at++;
    return 0;
}

static size_t put_utf8(uint32_t code, uint8_t *out)
{
    if (code < 0x80) {
        out[0] = (uint8_t)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (uint8_t)(0xc0 | code >> 6);
        out[1] = (uint8_t)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (uint8_t)(0xe0 | code >> 12);
        out[1] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | code >> 18);
    out[1] = (uint8_t)(0x80 | (code >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (code & 0x3f));
    return 4;
}

size_t json_unescape(struct slice raw, uint8_t *out)
{
    const uint8_t *at = raw.data, *end = raw.data + raw.size;
    uint8_t *start = out;
    uint32_t code;

    while (at < end) {
        if (*at != '\\') {
            *out++ = *at++;
            continue;
        }
        size_t length = escape_length(at, end, &code);
        must(length != 0); /* json_take_string() has looked */
        out += put_utf8(code, out);
        at += length;
    }
    return (size_t)(out - start);
}

static const uint8_t *skip_digits(const uint8_t *at, const uint8_t *end)
{
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return at;
}

/* The parts of a number; spans of digits, the exponent with its sign apart. */
struct number {
    bool negative, exponent_negative;
    struct slice whole, fraction, exponent;
};

/* Behind the number at `at`, or NULL; then *bad is where it goes wrong. */
static const uint8_t *scan_number(const uint8_t *at, const uint8_t *end, struct number *number,
                                  const uint8_t **bad)
{
    const uint8_t *start;

    *number = (struct number){.negative = at < end && *at == '-'};
    at += number->negative;
    start = at;
    at = at < end && *at == '0' ? at + 1 : skip_digits(at, end);
    number->whole = slice_of(start, (size_t)(at - start));
    *bad = at;
    if (at == start)
        return NULL;
    if (at < end && *at == '.') {
        start = ++at;
        at = skip_digits(at, end);
        number->fraction = slice_of(start, (size_t)(at - start));
        *bad = at;
        if (at == start)
            return NULL;
    }
    if (at < end && (*at | 0x20) == 'e') {
        at++;
        number->exponent_negative = at < end && *at == '-';
        at += at < end && (*at == '-' || *at == '+');
        start = at;
        at = skip_digits(at, end);
        number->exponent = slice_of(start, (size_t)(at - start));
        *bad = at;
        if (at == start)
            return NULL;
    }
    return at;
}

int json_number(struct json_reader *reader, struct slice *text, struct err *err)
{
    const uint8_t *start, *behind, *bad;
    struct number number;

    if (json_peek(reader) != JSON_NUMBER)
        return expected(reader, "a number", err);
    start = reader->at;
    behind = scan_number(start, reader->end, &number, &bad);
    reader->at = behind != NULL ? behind : bad;
    if (behind == NULL)
        return expected(reader, "a digit", err);
    *text = slice_of(start, (size_t)(behind - start));
    return 0;
}

/* The exponent, no larger than EXPONENT_MAX either way: beyond it only its sign matters. */
#define EXPONENT_MAX ((int64_t)1 << 40)
static int64_t exponent_of(const struct number *number)
{
    int64_t exponent = 0;

    for (size_t i = 0; i < number->exponent.size; i++)
        exponent = MIN(exponent * 10 + (number->exponent.data[i] - '0'), EXPONENT_MAX);
    return number->exponent_negative ? -exponent : exponent;
}

enum json_integer_result json_take_integer(struct slice text, bool *negative, uint64_t *magnitude)
{
    const uint8_t *bad, *end = text.data + text.size;
    struct number number;
    uint64_t value = 0;
    int64_t zeros, exponent; /* zeros: seen since the last other digit; exponent: of that digit */
    bool digits = false;

    if (text.size == 0 || scan_number(text.data, end, &number, &bad) != end)
        return JSON_INTEGER_SYNTAX;
    /* Value is 0.DIGITS times ten to the power of `exponent` once all digits are in. */
    zeros = 0;
    exponent = exponent_of(&number) + (int64_t)number.whole.size;
    for (size_t i = 0; i < number.whole.size + number.fraction.size; i++) {
        uint8_t c = i < number.whole.size ? number.whole.data[i]
                                          : number.fraction.data[i - number.whole.size];
        if (c == '0') { /* counts only when another digit follows */
            if (digits)
                zeros++;
            else
                exponent--;
            continue;
        }
        for (; zeros >= 0; zeros--) { /* those zeros, then this digit */
            uint64_t digit = zeros == 0 ? (uint64_t)(c - '0') : 0;

            exponent--;
            if (exponent < 0)
                return JSON_INTEGER_FRACTION;
            if (__builtin_mul_overflow(value, 10, &value) ||
                __builtin_add_overflow(value, digit, &value))
                return JSON_INTEGER_RANGE;
        }
        zeros = 0;
        digits = true;
    }
    *negative = number.negative && digits;
    for (; digits && exponent > 0; exponent--) {
        if (__builtin_mul_overflow(value, 10, &value))
            return JSON_INTEGER_RANGE;
    }
    *magnitude = value;
    return JSON_INTEGER_OK;
}

int json_word(struct json_reader *reader, enum json_kind kind, struct err *err)
{
    const char *word = kind == JSON_TRUE ? "true" : kind == JSON_FALSE ? "false" : "null";
    size_t size = strlen(word);

    if (json_peek(reader) != kind || (size_t)(reader->end - reader->at) < size ||
        memcmp(reader->at, word, size) != 0)
        return expected(reader, word, err);
    reader->at += size;
    return 0;
}

static int skip_scalar(struct json_reader *reader, enum json_kind kind, struct err *err)
{
    struct json_string string;
    struct slice text;

    if (kind == JSON_STRING)
        return json_take_string(reader, &string, err);
    if (kind == JSON_NUMBER)
        return json_number(reader, &text, err);
    if (kind == JSON_TRUE || kind == JSON_FALSE || kind == JSON_NULL)
        return json_word(reader, kind, err);
    return expected(reader, "a value", err);
}

int json_skip(struct json_reader *reader, struct err *err)
{
    bool is_object[JSON_DEPTH_MAX + 1]; /* what is open, by depth */
    unsigned base = reader->depth;
    struct json_string name;
    bool more, first = true;

    do {
        enum json_kind kind = json_peek(reader);

        if (kind == JSON_OBJECT || kind == JSON_LIST) {
            if (json_enter(reader, kind, err) < 0)
                return -1;
            is_object[reader->depth] = kind == JSON_OBJECT;
            first = true;
        } else if (skip_scalar(reader, kind, err) < 0) {
            return -1;
        }
        for (more = false; reader->depth > base && !more;) {
            int rc = is_object[reader->depth] ? json_next_name(reader, &first, &name, &more, err)
                                              : json_next_element(reader, &first, &more, err);
            if (rc < 0)
                return -1;
        }
    } while (reader->depth > base);
    return 0;
}
