/*
 * txn_parse.c - see txn_parse.h.
 *
 *   comparison   TARGET("KEY") OP "VALUE"    TARGET: version, create, mod, lease, value, or short
 *                                            OP: = != < >, with blanks around it
 *   request      WORD WORD ...               WORD: bare | 'verbatim' | "as Go quotes"
 *
 * The VALUE of a value is bytes, of all other targets a number in quotes.
 */
#include "etcd-ctl/txn_parse.h"

#include "common/client/goquote.h"

#include <errno.h>

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

static struct slice skip_blanks(struct slice text)
{
    while (text.size > 0 && is_blank(text.data[0]))
        text = slice_of(text.data + 1, text.size - 1);
    return text;
}

static struct slice behind(struct slice text, size_t bytes)
{
    return slice_of(text.data + bytes, text.size - bytes);
}

/* A literal at `*text` into the arena; false when there is none. */
static bool literal(struct slice *text, struct arena *arena, ProtobufCBinaryData *bytes)
{
    struct buf out = BUF_INIT(BUF_UNLIMITED);
    size_t taken;

    *text = skip_blanks(*text);
    taken = goquote_parse(*text, &out);
    bytes->len = out.size;
    bytes->data = arena_copy(arena, out.data != NULL ? out.data : (const uint8_t *)"", out.size);
    must(bytes->data != NULL || out.size == 0);
    buf_free(&out);
    if (taken > 0)
        *text = behind(*text, taken);
    return taken > 0;
}

static bool take_operator(struct slice *text, Etcdserverpb__Compare__CompareResult *result)
{
    static const struct {
        const char *text;
        Etcdserverpb__Compare__CompareResult result;
    } operators[] = {{"!=", ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL},
                     {"=", ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL},
                     {"<", ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS},
                     {">", ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER}};

    if (text->size == 0 || !is_blank(text->data[0]))
        return false;
    *text = skip_blanks(*text);
    for (size_t i = 0; i < ARRAY_LEN(operators); i++) {
        size_t length = strlen(operators[i].text);

        if (slice_starts_with(*text, slice_text(operators[i].text)) && text->size > length &&
            is_blank(text->data[length])) {
            *result = operators[i].result;
            *text = behind(*text, length);
            return true;
        }
    }
    return false;
}

static bool whole_number(ProtobufCBinaryData text, int base, int64_t *number)
{
    char copy[32], *end;

    if (text.len == 0 || text.len >= sizeof(copy) || is_blank(text.data[0]))
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    errno = 0;
    *number = strtoll(copy, &end, base);
    return *end == '\0' && end == copy + text.len && errno == 0;
}

enum target_kind { TARGET_VERSION, TARGET_CREATE, TARGET_MOD, TARGET_VALUE, TARGET_LEASE };

static bool find_target(struct slice name, enum target_kind *kind)
{
    static const struct {
        const char *name;
        enum target_kind kind;
    } targets[] = {{"ver", TARGET_VERSION},   {"version", TARGET_VERSION}, {"c", TARGET_CREATE},
                   {"create", TARGET_CREATE}, {"m", TARGET_MOD},           {"mod", TARGET_MOD},
                   {"val", TARGET_VALUE},     {"value", TARGET_VALUE},     {"lease", TARGET_LEASE}};

    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        if (slice_equal(name, slice_text(targets[i].name))) {
            *kind = targets[i].kind;
            return true;
        }
    }
    return false;
}

/* Put the operand where its target wants it; false when it is no number but should be. */
static bool set_operand(Etcdserverpb__Compare *compare, enum target_kind kind,
                        ProtobufCBinaryData value)
{
    int64_t number = 0;

    if (kind != TARGET_VALUE && !whole_number(value, 10, &number) &&
        (kind != TARGET_LEASE || !whole_number(value, 16, &number)))
        return false;
    switch (kind) {
    case TARGET_VERSION:
        compare->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION;
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
        compare->version = number;
        break;
    case TARGET_CREATE:
        compare->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE;
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION;
        compare->create_revision = number;
        break;
    case TARGET_MOD:
        compare->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD;
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
        compare->mod_revision = number;
        break;
    case TARGET_VALUE:
        compare->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE;
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE;
        compare->value = value;
        break;
    case TARGET_LEASE:
        compare->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE;
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE;
        compare->lease = number;
        break;
    }
    return true;
}

int txn_parse_compare(struct slice line, struct arena *arena, Etcdserverpb__Compare *compare,
                      struct err *err)
{
    const uint8_t *paren = line.size > 0 ? memchr(line.data, '(', line.size) : NULL;
    int shown = (int)MIN(line.size, 400);
    struct slice name, rest;
    ProtobufCBinaryData value;
    enum target_kind kind;

    etcdserverpb__compare__init(compare);
    if (paren == NULL)
        goto malformed;
    name = slice_of(line.data, (size_t)(paren - line.data));
    rest = behind(line, name.size + 1);
    if (!literal(&rest, arena, &compare->key) || rest.size == 0 || rest.data[0] != ')')
        goto malformed;
    rest = behind(rest, 1);
    if (!take_operator(&rest, &compare->result) || !literal(&rest, arena, &value) ||
        skip_blanks(rest).size > 0)
        goto malformed;
    if (!find_target(name, &kind)) {
        err_set(err, ERR_FORMAT, "malformed comparison: %.*s (unknown target %.*s)", shown,
                (const char *)line.data, (int)MIN(name.size, 200), (const char *)name.data);
        return -1;
    }
    if (!set_operand(compare, kind, value)) {
        err_set(err, ERR_FORMAT, "invalid txn compare request: %.*s (\"%.*s\" is not a number)",
                shown, (const char *)line.data, (int)MIN(value.len, 200), (const char *)value.data);
        return -1;
    }
    return 0;
malformed:
    err_set(err, ERR_FORMAT,
            "malformed comparison: %.*s (it is TARGET(\"KEY\") OP \"VALUE\" with blanks around OP, "
            "OP one of = != < >)",
            shown, (const char *)line.data);
    return -1;
}

/* One word at the beginning of `text` into `out`; bytes taken, 0 for an open quote. */
static size_t one_word(struct slice text, struct buf *out)
{
    const uint8_t *end;
    size_t size = 0;

    if (text.data[0] == '"')
        return goquote_parse(text, out);
    if (text.data[0] == '\'') {
        end = memchr(text.data + 1, '\'', text.size - 1);
        if (end == NULL)
            return 0;
        size = (size_t)(end - text.data);
        buf_append(out, text.data + 1, size - 1);
        return size + 1;
    }
    while (size < text.size && !is_blank(text.data[size]))
        size++;
    buf_append(out, text.data, size);
    return size;
}

int txn_parse_words(struct slice line, struct arena *arena, const char *words[TXN_WORDS_MAX],
                    size_t *count, struct err *err)
{
    int shown = (int)MIN(line.size, 400);
    struct slice rest = skip_blanks(line);

    *count = 0;
    while (rest.size > 0) {
        struct buf word = BUF_INIT(BUF_UNLIMITED);
        size_t taken = one_word(rest, &word);
        bool good = taken > 0 && *count < TXN_WORDS_MAX &&
                    (word.size == 0 || memchr(word.data, 0, word.size) == NULL);

        if (good) {
            words[*count] = arena_strndup(arena, buf_text(&word), word.size);
            must(words[*count] != NULL);
            (*count)++;
            rest = skip_blanks(behind(rest, taken));
        }
        buf_free(&word);
        if (!good) {
            err_set(err, ERR_FORMAT, "invalid txn request: %.*s (%s)", shown,
                    (const char *)line.data,
                    taken == 0                ? "bad quotes"
                    : *count == TXN_WORDS_MAX ? "too many words"
                                              : "a NUL byte");
            return -1;
        }
    }
    return 0;
}
