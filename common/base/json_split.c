/* json_split.c - see json_split.h: every byte is looked at once, however small the pieces are. */
#include "common/base/json_split.h"

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

struct slice json_skip_blanks(struct slice text)
{
    while (text.size != 0 && is_blank(text.data[0]))
        text = slice_of(text.data + 1, text.size - 1);
    return text;
}

static void in_string(struct json_split *split, uint8_t c)
{
    if (split->escape)
        split->escape = false;
    else if (c == '\\')
        split->escape = true;
    else if (c == '"')
        split->string = false;
}

/* Is `c`, outside of strings, the last byte of the value? */
static bool ends(struct json_split *split, uint8_t c)
{
    if (c == '"') {
        split->string = true;
    } else if (c == '{' || c == '[') {
        split->depth++;
    } else if (c == '}' || c == ']') {
        if (split->depth <= 1) /* 0: no JSON, which its parser says */
            return true;
        split->depth--;
    }
    return false;
}

bool json_split_next(struct json_split *split, struct slice text, size_t *bytes)
{
    while (split->at < text.size) {
        uint8_t c = text.data[split->at];
        bool end = false;

        if (split->string)
            in_string(split, c);
        else if (!is_blank(c))
            end = ends(split, c);
        else if (split->begun && split->depth == 0)
            end = true;
        split->begun = split->begun || split->string || !is_blank(c);
        split->at++;
        if (!end)
            continue;
        *bytes = split->at;
        *split = (struct json_split){0};
        return true;
    }
    return false;
}
