/*
 * print.h - how the tools write: ASCII tables, sizes, Go's strings and durations, `fields` lines.
 * The forms are those of etcdctl and etcdutl, which scripts parse. Pure, all output goes to a buf
 * (print_out() writes it); thread: any.
 */
#ifndef COMMON_CLIENT_PRINT_H
#define COMMON_CLIENT_PRINT_H

#include "common/base/buf.h"
#include "common/base/duration.h"
#include "common/base/err.h"

enum print_format {
    PRINT_SIMPLE,
    PRINT_JSON,
    PRINT_FIELDS,
    PRINT_TABLE,
    PRINT_PROTOBUF,
};

/* "simple", "json", "fields", "table", "protobuf"; false for anything else. */
bool print_format_parse(const char *text, enum print_format *format) MUST_CHECK;

/*
 * First in main(): descriptors 0, 1 and 2 that are closed are taken, so that no connection gets
 * their number and our output; reading or writing them still fails. Edge.
 */
void print_guard_descriptors(void);
/* Write the content of `out` to standard output and forget it; ERR_IO. Edge. */
int print_out(struct buf *out, struct err *err) MUST_CHECK;

/*
 * An ASCII table: headings centred (given in upper case), cells flush right.
 * cells  row by row, rows * columns texts; borrowed
 */
void print_table(struct buf *out, const char *const *headings, size_t columns,
                 const char *const *cells, size_t rows);

#define PRINT_SIZE_MAX 16 /* bytes of the longest text of a size, NUL included */
/* Powers of 1000, below 10 with one decimal: "999 B", "1.0 kB", "20 kB", "2.1 GB". */
void print_size_text(uint64_t bytes, char text[PRINT_SIZE_MAX]);

/* A string as Go's %q writes it, with the quotes (cli.md 2.5). */
void print_quoted(struct buf *out, struct slice text);
/* Every byte as \xNN, lower case. */
void print_hex(struct buf *out, struct slice bytes);
/* A Go duration: "1.595768ms", "896.612µs", "5.000952844s", "1m30s", "0s". */
void print_duration(struct buf *out, int64_t ns);

/* Lines of the `fields` format: "Name" : value. */
void print_field_text(struct buf *out, const char *name, struct slice text); /* quoted */
void print_field_u64(struct buf *out, const char *name, uint64_t number);
void print_field_i64(struct buf *out, const char *name, int64_t number);
void print_field_bool(struct buf *out, const char *name, bool yes);

#endif
