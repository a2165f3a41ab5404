/*
 * accept.c - see accept.h.
 *
 *   Accept: application/json;q=0.3, text/plain;format="a,b" ...
 *           range            weight                      the most specific range of a type decides
 */
#include "etcd-server/doors/accept.h"

#define WEIGHT_ONE 1000U

enum specific { NO_MATCH, ANY_TYPE, ANY_SUBTYPE, THE_TYPE };

struct wish {
    enum specific specific;
    unsigned weight; /* in thousandths */
};

/* What stands before the next `separator` that is not quoted; *list moves behind it. */
static struct slice next_part(struct slice *list, uint8_t separator)
{
    struct slice part = *list;
    bool quoted = false;

    for (size_t i = 0; i < list->size; i++) {
        if (quoted && list->data[i] == '\\') {
            i++;
        } else if (list->data[i] == '"') {
            quoted = !quoted;
        } else if (list->data[i] == separator && !quoted) {
            part.size = i;
            *list = slice_of(list->data + i + 1, list->size - i - 1);
            return slice_trim(part);
        }
    }
    *list = SLICE_EMPTY;
    return slice_trim(part);
}

/* "0.25": 250; anything malformed is 0. */
static unsigned weight_of(struct slice text)
{
    unsigned weight, unit = WEIGHT_ONE / 10;

    if (text.size == 0 || text.size > 5 || (text.data[0] != '0' && text.data[0] != '1') ||
        (text.size > 1 && text.data[1] != '.'))
        return 0;
    weight = (unsigned)(text.data[0] - '0') * WEIGHT_ONE;
    for (size_t i = 2; i < text.size; i++, unit /= 10) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return 0;
        weight += (unsigned)(text.data[i] - '0') * unit;
    }
    return weight <= WEIGHT_ONE ? weight : 0;
}

static enum specific matches(struct slice range, const char *type)
{
    size_t kind = strcspn(type, "/") + 1; /* bytes of "application/" */

    if (exchange_name_is(range, type))
        return THE_TYPE;
    if (slice_equal(range, SLICE_LITERAL("*/*")))
        return ANY_TYPE;
    if (range.size != kind + 1 || range.data[kind] != '*')
        return NO_MATCH;
    for (size_t i = 0; i < kind; i++)
        if ((range.data[i] | 32) != ((uint8_t)type[i] | 32))
            return NO_MATCH;
    return ANY_SUBTYPE;
}

/* One media range with its parameters. */
static void look_at(struct slice range, const char *type, struct wish *wish)
{
    enum specific specific = matches(next_part(&range, ';'), type);
    unsigned weight = WEIGHT_ONE;

    if (specific == NO_MATCH)
        return;
    while (range.size != 0) {
        struct slice parameter = next_part(&range, ';');

        if (exchange_name_starts(parameter, "q="))
            weight = weight_of(slice_of(parameter.data + 2, parameter.size - 2));
    }
    if (specific > wish->specific || (specific == wish->specific && weight > wish->weight))
        *wish = (struct wish){specific, weight};
}

static struct wish wish_for(const struct exchange *exchange, const char *type)
{
    struct wish wish = {NO_MATCH, 0};

    for (size_t i = 0; i < exchange->field_count; i++) {
        struct slice list = exchange->fields[i].value;

        if (!exchange_name_is(exchange->fields[i].name, "accept"))
            continue;
        while (list.size != 0)
            look_at(next_part(&list, ','), type, &wish);
    }
    return wish;
}

bool accept_prefers(const struct exchange *exchange, const char *type, const char *other)
{
    struct wish wish = wish_for(exchange, type);

    return wish.specific == THE_TYPE && wish.weight != 0 &&
           wish.weight >= wish_for(exchange, other).weight;
}

bool accept_lists(struct slice list, const char *word)
{
    while (list.size != 0) {
        struct slice part = next_part(&list, ',');

        if (exchange_name_is(next_part(&part, ';'), word))
            return true;
    }
    return false;
}
