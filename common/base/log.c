/*
 * log.c - see log.h.
 *
 *     {"level":"info","ts":"2026-11-22T01:07:02.058938Z","caller":"engine/apply.c:12","msg":"...",
 *      "term":2}
 *     2026-11-22T01:07:02.058938Z <tab> info <tab> engine/apply.c:12 <tab> ... <tab> {"term": 2}
 *
 * A line is made on the stack, LOG_LINE_MAX bytes at most, and goes out in one write(2), so lines
 * of several threads never mix and nothing is locked or allocated. A long text is cut; a field that
 * does not fit any more is left out, and "cut":true says so.
 */
#include "common/base/log.h"

#include "common/base/limits.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define CLOSING_BYTES 24 /* kept free for "cut":true, brackets and the newline */

struct line {
    char text[LOG_LINE_MAX];
    size_t size;
    bool full; /* the last append did not fit */
};

static const int stderr_only[] = {STDERR_FILENO};

static struct {
    _Atomic int lowest;
    _Atomic int format;
    const int *_Atomic fds;
    _Atomic size_t fd_count;
    struct log_guard *_Atomic guard;
} the_log = {LOG_INFO, LOG_JSON, stderr_only, 1, NULL};

void log_setup(enum log_level lowest, enum log_format format)
{
    the_log.lowest = (int)lowest;
    the_log.format = (int)format;
}

void log_output(const int *fds, size_t count)
{
    must(count <= LOG_OUTPUTS_MAX);
    the_log.fd_count = 0; /* never the new count with the old list */
    the_log.fds = fds;
    the_log.fd_count = count;
}

void log_guard(struct log_guard *guard)
{
    the_log.guard = guard;
}

bool log_enabled(enum log_level level)
{
    return (int)level >= the_log.lowest;
}

/* ---- appending ---- */

static void put(struct line *line, const char *text, size_t size)
{
    if (line->full || size > sizeof(line->text) - CLOSING_BYTES - line->size) {
        line->full = true;
        return;
    }
    memcpy(line->text + line->size, text, size);
    line->size += size;
}

static void put_text(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

static PRINTF_LIKE(2, 3) void put_format(struct line *line, const char *format, ...)
{
    char text[64];
    va_list args;
    int size;

    va_start(args, format);
    size = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    must(size >= 0 && (size_t)size < sizeof(text));
    put(line, text, (size_t)size);
}

/* Bytes of the valid UTF-8 character at `at` (ends in NUL), 0 when it is none. */
static size_t utf8_length(const unsigned char *at)
{
    size_t length = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;

    if (at[0] > 0xf4 || (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) ||
        (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f))
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    }
    return length;
}

/* The inside of a JSON string: at most LOG_TEXT_MAX bytes of `text`. */
static void put_escaped(struct line *line, const char *text)
{
    const unsigned char *at = (const unsigned char *)text, *start = at;

    while (*at != '\0' && (size_t)(at - start) < LOG_TEXT_MAX) {
        size_t length = utf8_length(at);

        if (length == 0)
            put_text(line, "\\ufffd");
        else if (*at == '"' || *at == '\\')
            put_format(line, "\\%c", *at);
        else if (*at == '\n')
            put_text(line, "\\n");
        else if (*at == '\t')
            put_text(line, "\\t");
        else if (*at < ' ' || *at == 0x7f)
            put_format(line, "\\u%04x", *at);
        else
            put(line, (const char *)at, length);
        at += MAX(length, 1);
    }
    if (*at != '\0')
        put_text(line, "...");
}

/* Milliseconds as Go prints a duration: 0s, 20ms, 1.5s, 1m30s, 2h0m0s. */
static void put_duration(struct line *line, uint64_t ms)
{
    uint64_t hours = ms / 3600000, minutes = ms / 60000 % 60;
    unsigned seconds = (unsigned)(ms / 1000 % 60), rest = (unsigned)(ms % 1000);
    int digits = 3;

    if (ms != 0 && ms < 1000) {
        put_format(line, "%ums", rest);
        return;
    }
    if (hours != 0)
        put_format(line, "%" PRIu64 "h", hours);
    if (ms >= 60000)
        put_format(line, "%" PRIu64 "m", minutes);
    for (; rest != 0 && rest % 10 == 0; digits--)
        rest /= 10;
    if (rest != 0)
        put_format(line, "%u.%0*us", seconds, digits, rest);
    else
        put_format(line, "%us", seconds);
}

static void put_value(struct line *line, const struct log_field *field)
{
    switch (field->kind) {
    case LOG_KIND_END:
        break;
    case LOG_KIND_STR:
        put_text(line, "\"");
        put_escaped(line, field->text != NULL ? field->text : "");
        put_text(line, "\"");
        break;
    case LOG_KIND_U64:
        put_format(line, "%" PRIu64, field->number);
        break;
    case LOG_KIND_I64:
        put_format(line, "%" PRId64, (int64_t)field->number);
        break;
    case LOG_KIND_HEX:
        put_format(line, "\"%" PRIx64 "\"", field->number);
        break;
    case LOG_KIND_BOOL:
        put_text(line, field->number != 0 ? "true" : "false");
        break;
    case LOG_KIND_MS:
        put_text(line, "\"");
        put_duration(line, field->number);
        put_text(line, "\"");
        break;
    }
}

/* Append the fields that fit, each behind `comma` (not the first if `bare`); true if all did. */
static bool put_fields(struct line *line, const struct log_field *fields, const char *comma,
                       const char *colon, bool bare)
{
    bool all = true;

    for (; fields->kind != LOG_KIND_END; fields++) {
        size_t before = line->size;

        put_text(line, bare ? "\"" : comma);
        if (!bare)
            put_text(line, "\"");
        put_escaped(line, fields->key);
        put_text(line, "\"");
        put_text(line, colon);
        put_value(line, fields);
        bare = bare && line->full;
        if (line->full) {
            line->size = before;
            line->full = false;
            all = false;
        }
    }
    return all;
}

/* ---- the two forms ---- */

static const char *level_name(enum log_level level)
{
    static const char *const names[] = {"debug", "info", "warn", "error", "fatal"};

    return names[MIN((size_t)level, ARRAY_LEN(names) - 1)];
}

/* UTC with microseconds. */
static void put_time(struct line *line)
{
    struct timespec now = {0};
    struct tm utc = {0};
    char text[32];

    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock */
    (void)gmtime_r(&now.tv_sec, &utc);         /* fails only far outside our time */
    (void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
    put_format(line, "%s.%06ldZ", text, now.tv_nsec / 1000);
}

/* The file with the folder it is in: "engine/apply.c:12". */
static void put_caller(struct line *line, const char *file, int number)
{
    const char *from = file + strlen(file);

    for (int slashes = 0; from > file; from--) {
        if (from[-1] == '/' && ++slashes == 2)
            break;
    }
    put_escaped(line, from);
    put_format(line, ":%d", number);
}

static void finish(struct line *line, const char *end)
{
    size_t size = strlen(end);

    must(size <= sizeof(line->text) - line->size);
    memcpy(line->text + line->size, end, size);
    line->size += size;
}

static void format_json(struct line *line, enum log_level level, const char *file, int number,
                        const char *message, const struct log_field *fields)
{
    put_text(line, "{\"level\":\"");
    put_text(line, level_name(level));
    put_text(line, "\",\"ts\":\"");
    put_time(line);
    put_text(line, "\",\"caller\":\"");
    put_caller(line, file, number);
    put_text(line, "\",\"msg\":\"");
    put_escaped(line, message);
    put_text(line, "\"");
    finish(line, put_fields(line, fields, ",", ":", false) ? "}\n" : ",\"cut\":true}\n");
}

static void format_console(struct line *line, enum log_level level, const char *file, int number,
                           const char *message, const struct log_field *fields)
{
    size_t before;

    put_time(line);
    put_text(line, "\t");
    put_text(line, level_name(level));
    put_text(line, "\t");
    put_caller(line, file, number);
    put_text(line, "\t");
    put_escaped(line, message);
    if (fields->kind == LOG_KIND_END) {
        finish(line, "\n");
        return;
    }
    put_text(line, "\t{");
    before = line->size;
    if (put_fields(line, fields, ", ", ": ", true))
        finish(line, "}\n");
    else
        finish(line, line->size == before ? "\"cut\": true}\n" : ", \"cut\": true}\n");
}

static void write_line(int fd, const struct line *line)
{
    ssize_t written;

    do
        written = write(fd, line->text, line->size);
    while (written < 0 && errno == EINTR);
    /* A full disk or a closed pipe must not stop the server for the sake of its log. */
}

void log_write(enum log_level level, const char *file, int line_number, const char *message,
               const struct log_field *fields)
{
    size_t count = the_log.fd_count;
    const int *fds = the_log.fds;
    struct log_guard *guard = the_log.guard;
    int saved = errno;
    struct line line;

    line.size = 0;
    line.full = false;
    if (the_log.format == LOG_JSON)
        format_json(&line, level, file, line_number, message, fields);
    else
        format_console(&line, level, file, line_number, message, fields);
    if (guard != NULL)
        guard->before(guard, line.size);
    for (size_t i = 0; i < count; i++)
        write_line(fds[i], &line);
    if (guard != NULL)
        guard->after(guard);
    errno = saved;
}
