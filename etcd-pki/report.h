/*
 * report.h - what a verb has done, as one JSON object (-o json): rows that are filled while it
 * works. A row that is NULL, where text is wanted, takes and gives nothing. Thread: main.
 */
#ifndef ETCD_PKI_REPORT_H
#define ETCD_PKI_REPORT_H

#include "etcd-pki/pki.h"

bool says(const struct settings *settings); /* in words: neither -q nor -o json */
void report_begin(struct settings *settings);
void report_drop(struct settings *settings);
/* A new row of that list of `in`; borrowed. */
struct json_t *report_row(struct json_t *in, const char *list);
/* The same for "files": DIR/BASE and extension; dir NULL: BASE alone. */
struct json_t *report_file(const struct settings *settings, const char *dir, const char *base,
                           const char *extension, const char *action);
void report_text(struct json_t *row, const char *key, const char *text);
void report_number(struct json_t *row, const char *key, int64_t number);
void report_flag(struct json_t *row, const char *key, bool flag);
void report_cert(struct json_t *row, const struct x509_cert *cert);
void report_print(const struct settings *settings, bool ok);
/* say(), and in the report as "error". */
int fail(const struct settings *settings, const struct err *err);
/* A text of anybody's as JSON; what is not UTF-8 becomes U+FFFD. New. */
struct json_t *json_text(const char *text);
void json_put(struct json_t *json); /* taken: printed as the whole of the output */

#endif
