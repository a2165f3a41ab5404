/*
 * txn_parse.h - the lines of txn: comparisons, and the words of requests (cli.md 2.6). Pure; what
 * is made lives in the arena. Thread: main.
 */
#ifndef ETCD_CTL_TXN_PARSE_H
#define ETCD_CTL_TXN_PARSE_H

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/schema/rpc.pb-c.h"

#define TXN_WORDS_MAX 64 /* words of one request line */

/* TARGET("KEY") OP "VALUE"; ERR_FORMAT with etcdctl's words otherwise. */
int txn_parse_compare(struct slice line, struct arena *arena, Etcdserverpb__Compare *compare,
                      struct err *err) MUST_CHECK;
/* Bare, 'verbatim' and "Go-quoted" words; ERR_FORMAT for an open quote, a NUL, too many words. */
int txn_parse_words(struct slice line, struct arena *arena, const char *words[TXN_WORDS_MAX],
                    size_t *count, struct err *err) MUST_CHECK;

#endif
