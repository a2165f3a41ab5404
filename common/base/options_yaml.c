/*
 * options_yaml.c - see options.h: the config file, walked event by event (libyaml), no tree.
 *
 * The path of keys down to a value, joined by dots, is its file_key. As in etcd, a value must have
 * its row's type: durations are numbers of nanoseconds, lists are YAML lists, booleans are not
 * quoted. Anchors and aliases are refused: no settings need them, and they can grow without bound.
 */
#include "common/base/options.h"

#include "common/base/limits.h"

#include <yaml.h>

#define KEY_MAX 256 /* bytes of a dotted key */

struct walk {
    struct options *options;
    yaml_parser_t *parser;
    char key[KEY_MAX]; /* dotted path to what is being read */
    struct err *err;
};

/* Scalars as YAML 1.1 reads them, as far as etcd's converter tells them apart. */
enum scalar { SCALAR_STRING, SCALAR_NUMBER, SCALAR_BOOL, SCALAR_NULL };

static enum scalar scalar_of(const yaml_event_t *event)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
    static const char *const bools[] = {"true", "True", "TRUE", "yes",   "Yes",   "YES",
                                        "on",   "On",   "ON",   "false", "False", "FALSE",
                                        "no",   "No",   "NO",   "off",   "Off",   "OFF"};
    const char *text = (const char *)event->data.scalar.value;
    size_t digits = *text == '-' || *text == '+';

    if (event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return SCALAR_STRING;
    for (size_t i = 0; i < ARRAY_LEN(nulls); i++) {
        if (strcmp(text, nulls[i]) == 0)
            return SCALAR_NULL;
    }
    for (size_t i = 0; i < ARRAY_LEN(bools); i++) {
        if (strcmp(text, bools[i]) == 0)
            return SCALAR_BOOL;
    }
    if (text[digits] != '\0' && strspn(text + digits, "0123456789") == strlen(text + digits))
        return SCALAR_NUMBER;
    return SCALAR_STRING;
}

static int next_event(struct walk *walk, yaml_event_t *event)
{
    if (yaml_parser_parse(walk->parser, event))
        return 0;
    err_set(walk->err, ERR_FORMAT, "error converting YAML to JSON: yaml: line %zu: %s",
            walk->parser->problem_mark.line + 1,
            walk->parser->problem != NULL ? walk->parser->problem : "not YAML");
    return -1;
}

static int wrong_type(struct walk *walk, const char *found, const char *wanted)
{
    err_set(walk->err, ERR_FORMAT,
            "error unmarshaling JSON: cannot unmarshal %s into Go struct field .%s of type %s",
            found, walk->key, wanted);
    return -1;
}

static const struct option *find_key(struct walk *walk)
{
    const struct option_table *table = walk->options->table;

    for (size_t i = 0; i < table->count; i++) {
        const struct option *row = &table->rows[i];

        if (row->not_in_file || row->status == OPTION_REMOVED || row->status == OPTION_VERY_OLD)
            continue;
        if (strcmp(row->file_key != NULL ? row->file_key : row->name, walk->key) == 0 ||
            (row->old_name != NULL && strcmp(row->old_name, walk->key) == 0) ||
            (row->old_file_key != NULL && strcmp(row->old_file_key, walk->key) == 0))
            return row;
    }
    return NULL;
}

/* A key that nobody takes any more is told apart from one that nobody knows. */
static void note_unknown(struct walk *walk)
{
    const struct option_table *table = walk->options->table;

    for (size_t i = 0; i < table->count; i++) {
        const struct option *row = &table->rows[i];

        if (row->status != OPTION_VERY_OLD || strcmp(row->name, walk->key) != 0)
            continue;
        buf_printf(&walk->options->notes, "config file: %s is ignored: %s\n", walk->key,
                   row->advice != NULL ? row->advice : "it has no meaning any more");
        return;
    }
    buf_printf(&walk->options->notes, "config file: unknown key %s is ignored\n", walk->key);
}

static int set_row(struct walk *walk, const struct option *row, const char *text)
{
    struct buf why = BUF_INIT(ERR_TEXT_MAX);
    int rc = 0;

    if (!option_set(row, walk->options->target, text, &why)) {
        if (row->kind == OPTION_URLS)
            err_set(walk->err, ERR_USAGE, "unexpected error setting up %s: %s", row->name,
                    buf_text(&why));
        else
            err_set(walk->err, ERR_USAGE, "invalid value \"%.200s\" for %s: %s", text, walk->key,
                    buf_text(&why));
        rc = -1;
    }
    walk->options->sources[row - walk->options->table->rows] = OPTION_FILE;
    buf_free(&why);
    return rc;
}

static int read_scalar(struct walk *walk, const yaml_event_t *event)
{
    static const char *const names[] = {"string", "number", "bool", "null"};
    const struct option *row = find_key(walk);
    const char *text = (const char *)event->data.scalar.value;
    enum scalar kind = scalar_of(event);
    char duration[32];

    if (row == NULL)
        note_unknown(walk);
    if (row == NULL || kind == SCALAR_NULL)
        return 0;
    if (strlen(text) != event->data.scalar.length)
        return wrong_type(walk, "a text with a NUL byte", "string");
    switch (row->kind) {
    case OPTION_STRING:
    case OPTION_CHOICE:
    case OPTION_URLS:
    case OPTION_COMMAS:
        if (kind != SCALAR_STRING)
            return wrong_type(walk, names[kind], "string (put it in quotes)");
        break;
    case OPTION_BOOL:
        if (kind != SCALAR_BOOL)
            return wrong_type(walk, names[kind], "bool");
        if (strchr("yYnNoO", *text) != NULL) /* yes, no, on, off */
            text = strchr("yY", *text) != NULL || strcasecmp(text, "on") == 0 ? "true" : "false";
        break;
    case OPTION_LIST:
        return wrong_type(walk, names[kind], "[]string (write a YAML list)");
    case OPTION_INT:
    case OPTION_UINT:
    case OPTION_UINT32:
        if (kind != SCALAR_NUMBER)
            return wrong_type(walk, names[kind], "number");
        break;
    case OPTION_DURATION:
        if (kind != SCALAR_NUMBER || strlen(text) > 20)
            return wrong_type(walk, names[kind], "time.Duration (a number of nanoseconds)");
        (void)snprintf(duration, sizeof(duration), "%sns", text); /* 22 bytes at most */
        return set_row(walk, row, duration);
    }
    return set_row(walk, row, text);
}

/* A sequence: joined by commas for a list row, passed over for an unknown key. */
static int read_sequence(struct walk *walk)
{
    const struct option *row = find_key(walk);
    struct buf joined = BUF_INIT(CONFIG_FILE_MAX_BYTES);
    yaml_event_t event;
    unsigned depth = 1;
    int rc = -1;

    if (row == NULL)
        note_unknown(walk);
    else if (row->kind != OPTION_LIST)
        return wrong_type(walk, "array", "string");
    while (depth != 0) {
        yaml_event_type_t type;

        if (next_event(walk, &event) < 0)
            goto out;
        type = event.type;
        if (type == YAML_SEQUENCE_START_EVENT || type == YAML_MAPPING_START_EVENT)
            depth++;
        else if (type == YAML_SEQUENCE_END_EVENT || type == YAML_MAPPING_END_EVENT)
            depth--;
        if (row != NULL && type == YAML_SCALAR_EVENT && depth == 1) {
            if (buf_used(&joined) != 0)
                buf_append_byte(&joined, ',');
            buf_append(&joined, event.data.scalar.value, event.data.scalar.length);
        }
        yaml_event_delete(&event);
        if (row != NULL && depth > 1) {
            (void)wrong_type(walk, "a nested list or section", "string");
            goto out;
        }
        if (depth > CONFIG_DEPTH_MAX) {
            err_set(walk->err, ERR_FORMAT, "config file: %s is nested too deeply", walk->key);
            goto out;
        }
    }
    rc = row != NULL ? set_row(walk, row, buf_text(&joined)) : 0;
out:
    buf_free(&joined);
    return rc;
}

/* Append ".name" (or "name") to the key; false when it gets too long. */
static bool push_key(struct walk *walk, const char *name)
{
    size_t length = strlen(walk->key), more = strlen(name);

    if (length + more + 2 > sizeof(walk->key))
        return false;
    if (length != 0)
        walk->key[length++] = '.';
    memcpy(walk->key + length, name, more + 1);
    return true;
}

/*
 * The members of the mapping that has just begun, and of those inside it. `lengths` remembers how
 * long the key was at each open mapping.
 */
static int read_mapping(struct walk *walk)
{
    size_t lengths[CONFIG_DEPTH_MAX];
    size_t depth = 1;
    bool have_key = false;
    yaml_event_t event;
    int rc = 0;

    lengths[0] = 0;
    while (depth != 0 && rc == 0) {
        if (next_event(walk, &event) < 0)
            return -1;
        if (event.type == YAML_MAPPING_END_EVENT) {
            depth--;
            walk->key[depth != 0 ? lengths[depth - 1] : 0] = '\0';
            have_key = false;
        } else if (!have_key && event.type == YAML_SCALAR_EVENT) {
            if (!push_key(walk, (const char *)event.data.scalar.value)) {
                err_set(walk->err, ERR_FORMAT, "config file: the key behind %s is too long",
                        walk->key);
                rc = -1;
            }
            have_key = true;
        } else if (have_key && event.type == YAML_MAPPING_START_EVENT) {
            if (depth == CONFIG_DEPTH_MAX) {
                err_set(walk->err, ERR_FORMAT, "config file: %s is nested too deeply", walk->key);
                rc = -1;
            } else if (find_key(walk) != NULL) {
                rc = wrong_type(walk, "object", "string");
            } else {
                lengths[depth++] = strlen(walk->key);
                have_key = false;
            }
        } else if (have_key &&
                   (event.type == YAML_SCALAR_EVENT || event.type == YAML_SEQUENCE_START_EVENT)) {
            rc = event.type == YAML_SCALAR_EVENT ? read_scalar(walk, &event) : read_sequence(walk);
            walk->key[lengths[depth - 1]] = '\0';
            have_key = false;
        } else {
            err_set(walk->err, ERR_FORMAT,
                    "config file: line %zu: a plain value is expected here (no anchors, aliases or "
                    "lists as keys)",
                    event.start_mark.line + 1);
            rc = -1;
        }
        yaml_event_delete(&event);
    }
    return rc;
}

static int read_document(struct walk *walk)
{
    yaml_event_t event;
    yaml_event_type_t type;

    for (;;) {
        bool empty;

        if (next_event(walk, &event) < 0)
            return -1;
        type = event.type;
        empty = type == YAML_SCALAR_EVENT && scalar_of(&event) == SCALAR_NULL;
        yaml_event_delete(&event);
        if (type == YAML_STREAM_END_EVENT || empty)
            return 0; /* an empty file sets nothing */
        if (type == YAML_MAPPING_START_EVENT)
            return read_mapping(walk);
        if (type != YAML_STREAM_START_EVENT && type != YAML_DOCUMENT_START_EVENT)
            break;
    }
    err_set(walk->err, ERR_FORMAT,
            "error unmarshaling JSON: the config file must be a list of \"key: value\" lines");
    return -1;
}

int options_read_yaml(struct options *options, struct slice yaml, struct err *err)
{
    struct walk walk = {.options = options, .err = err};
    yaml_parser_t parser;
    int rc;

    options_reset(options);
    if (!yaml_parser_initialize(&parser)) {
        err_set(err, ERR_NO_MEMORY, "no memory to read the config file");
        return -1;
    }
    walk.parser = &parser;
    yaml_parser_set_input_string(&parser, yaml.size != 0 ? yaml.data : (const uint8_t *)"",
                                 yaml.size);
    rc = read_document(&walk);
    yaml_parser_delete(&parser);
    return rc;
}
