/*
 * json_split.h - where one JSON value ends and the next begins, in text that comes in pieces. Looks
 * at brackets and strings only; whether a value is JSON is for its parser to say. Pure; thread:
 * any.
 */
#ifndef COMMON_BASE_JSON_SPLIT_H
#define COMMON_BASE_JSON_SPLIT_H

#include "common/base/slice.h"

/* How far the value at the front was looked at; all zero at its start. */
struct json_split {
    size_t at;
    size_t depth; /* brackets open */
    bool begun;   /* something that is not blank was seen */
    bool string, escape;
};

/*
 * Is a whole value at the front of `text`? `text` may be longer than at the last call; its bytes
 * before split->at are the same. True: `bytes` is its length with the blanks before it, and the
 * split is ready for the text behind it. A number or a word ends at a blank only: at the end of all
 * text the caller takes what is left for the last value.
 */
bool json_split_next(struct json_split *split, struct slice text, size_t *bytes);

/* Blanks (RFC 8259) at its front removed. */
struct slice json_skip_blanks(struct slice text);

#endif
