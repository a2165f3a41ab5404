/*
 * options.c - see options.h. Values: text to field and back to the default. Flags and environment
 * are in options_flags.c, the file in options_yaml.c.
 */
#include "common/base/options.h"

#include "common/base/bool.h"
#include "common/base/duration.h"

#include "common/base/limits.h"

static void *field_of(const struct option *row, void *target)
{
    return (uint8_t *)target + row->offset;
}

static bool has_field(const struct option *row)
{
    return row->status != OPTION_REMOVED && row->status != OPTION_VERY_OLD;
}

/* ---- kinds ---- */

/* Go's ParseInt with base 0 also takes 0x, 0o, 0b and underscores; people write decimal. */
static bool parse_digits(const char *text, uint64_t max, uint64_t *value, struct buf *why)
{
    uint64_t number = 0;

    if (*text == '\0' || strspn(text, "0123456789") != strlen(text)) {
        buf_append_text(why, "parse error: a whole number is expected");
        return false;
    }
    for (; *text != '\0'; text++) {
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, (uint64_t)(*text - '0'), &number) || number > max) {
            buf_printf(why, "value out of range: at most %" PRIu64, max);
            return false;
        }
    }
    *value = number;
    return true;
}

static bool parse_int(const char *text, int64_t *value, struct buf *why)
{
    bool negative = *text == '-';
    uint64_t number;

    if (!parse_digits(text + negative, INT64_MAX, &number, why))
        return false;
    *value = negative ? -(int64_t)number : (int64_t)number;
    return true;
}

/* scheme http, https, unix, unixs; host:port; no path. `why` as etcd says it. */
static bool check_url(const char *text, struct buf *why)
{
    static const char *const schemes[] = {"http://", "https://", "unix://", "unixs://"};
    const char *host = NULL, *colon, *path;
    bool is_unix = false;

    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        if (strncmp(text, schemes[i], strlen(schemes[i])) == 0) {
            host = text + strlen(schemes[i]);
            is_unix = i >= 2;
        }
    }
    if (host == NULL) {
        buf_printf(why, "URL scheme must be http, https, unix, or unixs: %s", text);
        return false;
    }
    path = host + strcspn(host, "/?#");
    if (is_unix) {
        if (*host == '\0')
            buf_printf(why, "URL has no path of a socket: %s", text);
        return *host != '\0';
    }
    if (*path != '\0') {
        buf_printf(why, "URL must not contain a path: %s", text);
        return false;
    }
    colon = strrchr(host, ':');
    if (colon == NULL || (*host == '[' && colon[-1] != ']') ||
        (*host != '[' && memchr(host, ':', (size_t)(colon - host)) != NULL)) {
        buf_printf(why, "URL address does not have the form \"host:port\": %s", text);
        return false;
    }
    if (colon[1] == '\0' || strlen(colon + 1) > 5 ||
        strspn(colon + 1, "0123456789") != strlen(colon + 1) ||
        strtol(colon + 1, NULL, 10) > 65535) {
        buf_printf(why, "URL has no port between 0 and 65535: %s", text);
        return false;
    }
    return true;
}

/* ---- lists ---- */

static void list_free(struct option_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct option_list){0};
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort_urls(struct option_list *list)
{
    size_t kept = 0;

    qsort(list->items, list->count, sizeof(list->items[0]), by_text);
    for (size_t i = 0; i < list->count; i++) {
        if (kept != 0 && strcmp(list->items[kept - 1], list->items[i]) == 0)
            free(list->items[i]);
        else
            list->items[kept++] = list->items[i];
    }
    list->count = kept;
}

/* Items between commas, blanks around them dropped; an empty text is an empty list. */
static bool parse_list(const char *text, bool urls, struct option_list *list, struct buf *why)
{
    struct option_list made = {0};

    while (*text != '\0') {
        size_t length = strcspn(text, ",");
        const char *item = text, *end = text + length;

        for (; item < end && *item == ' '; item++)
            continue;
        for (; end > item && end[-1] == ' '; end--)
            continue;
        if (made.count == OPTION_LIST_MAX) {
            buf_printf(why, "more than %lu items", OPTION_LIST_MAX);
            list_free(&made);
            return false;
        }
        made.items = xrealloc(made.items, (made.count + 1) * sizeof(made.items[0]));
        made.items[made.count++] = xstrndup(item, (size_t)(end - item));
        if (urls && !check_url(made.items[made.count - 1], why)) {
            list_free(&made);
            return false;
        }
        text += length + (text[length] == ',');
    }
    if (urls && made.count != 0)
        sort_urls(&made);
    list_free(list);
    *list = made;
    return true;
}

static bool is_choice(const char *choices, const char *text)
{
    size_t length = strlen(text);

    for (const char *at = choices;; at++) {
        size_t size = strcspn(at, "|");

        if (size == length && memcmp(at, text, size) == 0)
            return true;
        at += size;
        if (*at == '\0')
            return false;
    }
}

bool option_set(const struct option *row, void *target, const char *text, struct buf *why)
{
    void *field = field_of(row, target);
    uint64_t number = 0;
    bool good = true;

    if (!has_field(row))
        return true;
    switch (row->kind) {
    case OPTION_CHOICE:
        if (!is_choice(row->choices, text)) {
            buf_printf(why, "must be one of %s", row->choices);
            return false;
        } /* fall through */
    case OPTION_STRING:
        free(*(char **)field);
        *(char **)field = xstrdup(text);
        break;
    case OPTION_BOOL:
        good = bool_parse(text, field);
        if (!good)
            buf_append_text(why, "parse error: true or false is expected");
        break;
    case OPTION_INT:
        return parse_int(text, field, why);
    case OPTION_UINT:
        return parse_digits(text, UINT64_MAX, field, why);
    case OPTION_UINT32:
        good = parse_digits(text, UINT32_MAX, &number, why);
        if (good)
            *(uint32_t *)field = (uint32_t)number;
        break;
    case OPTION_DURATION:
        good = duration_parse(text, field);
        if (!good)
            buf_append_text(why, "parse error: a duration such as 300ms, 5s or 1h30m is expected");
        break;
    case OPTION_URLS:
        return parse_list(text, true, field, why);
    case OPTION_COMMAS:
    case OPTION_LIST:
        return parse_list(text, false, field, why);
    }
    return good;
}

/* ---- the set ---- */

static void set_defaults(struct options *options)
{
    struct buf why = BUF_INIT(ERR_TEXT_MAX);

    for (size_t i = 0; i < options->table->count; i++)
        must(option_set(&options->table->rows[i], options->target,
                        options->table->rows[i].fallback != NULL ? options->table->rows[i].fallback
                                                                 : "",
                        &why));
    memset(options->sources, OPTION_DEFAULT, options->table->count);
    buf_free(&why);
}

void options_init(struct options *options, const struct option_table *table, void *target)
{
    *options = (struct options){.table = table,
                                .target = target,
                                .exit_status = 1,
                                .notes = BUF_INIT(OPTIONS_NOTES_MAX_BYTES),
                                .sources = xalloc(table->count)};
    set_defaults(options);
}

void options_reset(struct options *options)
{
    set_defaults(options);
}

void options_free(struct options *options)
{
    free(options->sources);
    options->sources = NULL;
    buf_free(&options->notes);
}

void options_free_fields(const struct option_table *table, void *target)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct option *row = &table->rows[i];

        if (!has_field(row))
            continue;
        if (row->kind == OPTION_STRING || row->kind == OPTION_CHOICE) {
            free(*(char **)field_of(row, target));
            *(char **)field_of(row, target) = NULL;
        } else if (row->kind >= OPTION_URLS) {
            list_free(field_of(row, target));
        }
    }
}

enum option_source options_source(const struct options *options, const char *name)
{
    for (size_t i = 0; i < options->table->count; i++) {
        if (strcmp(options->table->rows[i].name, name) == 0)
            return (enum option_source)options->sources[i];
    }
    must(!"a row of the table");
    return OPTION_DEFAULT;
}

static bool lists_equal(const struct option_list *a, const struct option_list *b)
{
    bool equal = a->count == b->count;

    for (size_t i = 0; equal && i < a->count; i++)
        equal = strcmp(a->items[i], b->items[i]) == 0;
    return equal;
}

bool option_is(const struct option *row, const void *target, const char *text)
{
    const void *field = (const uint8_t *)target + row->offset;
    union { /* any field */
        char *text;
        bool flag;
        uint32_t small;
        uint64_t number; /* int64_t and durations too */
        struct option_list list;
    } value = {0};
    struct buf why = BUF_INIT(ERR_TEXT_MAX);
    struct option alone = *row;
    bool same = false;

    memset(&value, 0, sizeof(value));
    alone.offset = 0;
    if (!option_set(&alone, &value, text, &why))
        goto out;
    switch (row->kind) {
    case OPTION_STRING:
    case OPTION_CHOICE:
        same = strcmp(*(char *const *)field, value.text) == 0;
        free(value.text);
        break;
    case OPTION_BOOL:
        same = *(const bool *)field == value.flag;
        break;
    case OPTION_UINT32:
        same = *(const uint32_t *)field == value.small;
        break;
    case OPTION_INT:
    case OPTION_UINT:
    case OPTION_DURATION:
        same = *(const uint64_t *)field == value.number;
        break;
    case OPTION_URLS:
    case OPTION_COMMAS:
    case OPTION_LIST:
        same = lists_equal(field, &value.list);
        list_free(&value.list);
        break;
    }
out:
    buf_free(&why);
    return same;
}

int options_check_status(struct options *options, struct err *err)
{
    for (size_t i = 0; i < options->table->count; i++) {
        const struct option *row = &options->table->rows[i];
        bool later = row->status == OPTION_LATER; /* also when another setting implies it */
        bool idle = row->status == OPTION_NO_EFFECT && options->sources[i] != OPTION_DEFAULT;

        if ((!later && !idle) ||
            option_is(row, options->target, row->fallback != NULL ? row->fallback : ""))
            continue;
        if (later) {
            err_set(err, ERR_USAGE, "--%s is not supported: %s", row->name, row->advice);
            return -1;
        }
        buf_printf(&options->notes, "--%s has no effect: %s\n", row->name, row->advice);
    }
    return 0;
}

void options_help(const struct option_table *table, struct buf *out)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct option *row = &table->rows[i];

        if (row->group != NULL)
            buf_printf(out, "\n%s:\n", row->group);
        if (!has_field(row))
            continue;
        buf_printf(out, "  --%s '%s'\n    %s%s\n", row->name,
                   row->fallback != NULL ? row->fallback : "", row->help,
                   row->status == OPTION_LATER ? " Not supported yet." : "");
    }
}
