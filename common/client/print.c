/* print.c - see print.h; which characters are printable and how wide they are is unicode.h. */
#include "common/client/print.h"

#include "common/base/duration.h"
#include "common/client/unicode.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

bool print_format_parse(const char *text, enum print_format *format)
{
    static const char *const names[] = {"simple", "json", "fields", "table", "protobuf"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(names[i], text) == 0) {
            *format = (enum print_format)i;
            return true;
        }
    }
    return false;
}

void print_guard_descriptors(void)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            (void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY); /* gets number fd */
}

int print_out(struct buf *out, struct err *err)
{
    while (buf_used(out) > 0) {
        struct slice rest = buf_slice(out);
        ssize_t wrote = write(STDOUT_FILENO, rest.data, rest.size);

        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0) {
            err_sys(err, errno, "cannot write to standard output");
            return -1;
        }
        buf_consume(out, (size_t)wrote);
    }
    return 0;
}

static void pad(struct buf *out, size_t blanks)
{
    while (blanks-- > 0)
        buf_append_byte(out, ' ');
}

static void rule(struct buf *out, const size_t *widths, size_t columns)
{
    for (size_t c = 0; c < columns; c++) {
        buf_append_byte(out, '+');
        for (size_t i = 0; i < widths[c] + 2; i++)
            buf_append_byte(out, '-');
    }
    buf_append_text(out, "+\n");
}

void print_table(struct buf *out, const char *const *headings, size_t columns,
                 const char *const *cells, size_t rows)
{
    size_t *widths = xalloc(MAX(columns, 1) * sizeof(*widths));

    for (size_t c = 0; c < columns; c++) {
        widths[c] = unicode_columns(headings[c]);
        for (size_t r = 0; r < rows; r++)
            widths[c] = MAX(widths[c], unicode_columns(cells[r * columns + c]));
    }
    rule(out, widths, columns);
    for (size_t c = 0; c < columns; c++) {
        size_t blanks = widths[c] - unicode_columns(headings[c]);

        buf_append_text(out, "| ");
        pad(out, blanks / 2);
        buf_append_text(out, headings[c]);
        pad(out, blanks - blanks / 2 + 1);
    }
    buf_append_text(out, "|\n");
    rule(out, widths, columns);
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 0; c < columns; c++) {
            const char *cell = cells[r * columns + c];

            buf_append_text(out, "| ");
            pad(out, widths[c] - unicode_columns(cell));
            buf_append_text(out, cell);
            buf_append_byte(out, ' ');
        }
        buf_append_text(out, "|\n");
    }
    if (rows > 0)
        rule(out, widths, columns);
    free(widths);
}

void print_size_text(uint64_t bytes, char text[PRINT_SIZE_MAX])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    uint64_t unit = 1, tenths;
    size_t at = 0;

    if (bytes < 10) {
        (void)snprintf(text, PRINT_SIZE_MAX, "%u B", (unsigned)bytes);
        return;
    }
    while (at + 1 < ARRAY_LEN(units) && bytes / unit >= 1000) {
        unit *= 1000;
        at++;
    }
    /* rounded to tenths first and, from 10 on, to whole units after it: 9.96 is "10", not "10.0" */
    tenths = bytes / unit * 10 + (bytes % unit * 10 + unit / 2) / unit;
    if (at > 0 && tenths < 100)
        (void)snprintf(text, PRINT_SIZE_MAX, "%u.%u %s", (unsigned)(tenths / 10),
                       (unsigned)(tenths % 10), units[at]);
    else /* halves go to the even neighbour, as Go's %.0f */
        (void)snprintf(text, PRINT_SIZE_MAX, "%u %s",
                       (unsigned)((tenths + (tenths / 10 % 2 == 1 ? 5 : 4)) / 10), units[at]);
}

static void quote_byte(struct buf *out, uint8_t byte)
{
    static const char named[] = "a\ab\bf\fn\nr\rt\tv\v\\\\\"\"";

    for (size_t i = 0; i + 1 < sizeof(named); i += 2) {
        if ((uint8_t)named[i + 1] == byte) {
            buf_append_byte(out, '\\');
            buf_append_byte(out, (uint8_t)named[i]);
            return;
        }
    }
    if (byte < 0x20 || byte >= 0x7f)
        buf_printf(out, "\\x%02x", byte);
    else
        buf_append_byte(out, byte);
}

void print_quoted(struct buf *out, struct slice text)
{
    buf_append_byte(out, '"');
    for (size_t i = 0; i < text.size;) {
        uint32_t point;
        size_t size = unicode_decode(slice_of(text.data + i, text.size - i), &point);

        if (size <= 1)
            quote_byte(out, text.data[i]);
        else if (unicode_printable(point))
            buf_append(out, text.data + i, size);
        else
            buf_printf(out, point < 0x10000 ? "\\u%04" PRIx32 : "\\U%08" PRIx32, point);
        i += MAX(size, 1);
    }
    buf_append_byte(out, '"');
}

void print_hex(struct buf *out, struct slice bytes)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < bytes.size; i++) {
        char one[4] = {'\\', 'x', digits[bytes.data[i] >> 4], digits[bytes.data[i] & 15]};

        buf_append(out, one, sizeof(one));
    }
}

/* value / unit with all its digits after the point and no zeros at the end, then `name`. */
static void decimal(struct buf *out, uint64_t value, uint64_t unit, const char *name)
{
    uint64_t rest = value % unit;

    buf_append_uint(out, value / unit);
    if (rest != 0)
        buf_append_byte(out, '.');
    while (rest != 0) {
        unit /= 10;
        buf_append_byte(out, (uint8_t)('0' + rest / unit));
        rest %= unit;
    }
    buf_append_text(out, name);
}

void print_duration(struct buf *out, int64_t ns)
{
    uint64_t value = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;

    if (ns < 0)
        buf_append_byte(out, '-');
    if (value == 0) {
        buf_append_text(out, "0s");
    } else if (value < 1000) {
        decimal(out, value, 1, "ns");
    } else if (value < NS_PER_MS) {
        decimal(out, value, 1000, "µs");
    } else if (value < NS_PER_S) {
        decimal(out, value, NS_PER_MS, "ms");
    } else {
        uint64_t minutes = value / (60 * NS_PER_S);

        if (minutes >= 60)
            buf_printf(out, "%" PRIu64 "h", minutes / 60);
        if (minutes > 0)
            buf_printf(out, "%" PRIu64 "m", minutes % 60);
        decimal(out, value % (60 * NS_PER_S), NS_PER_S, "s");
    }
}

void print_field_text(struct buf *out, const char *name, struct slice text)
{
    buf_printf(out, "\"%s\" : ", name);
    print_quoted(out, text);
    buf_append_byte(out, '\n');
}

void print_field_u64(struct buf *out, const char *name, uint64_t number)
{
    buf_printf(out, "\"%s\" : %" PRIu64 "\n", name, number);
}

void print_field_i64(struct buf *out, const char *name, int64_t number)
{
    buf_printf(out, "\"%s\" : %" PRId64 "\n", name, number);
}

void print_field_bool(struct buf *out, const char *name, bool yes)
{
    buf_printf(out, "\"%s\" : %s\n", name, yes ? "true" : "false");
}
