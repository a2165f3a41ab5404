/*
 * certs.h - a small PKI in a temporary directory for tests that need certificates. Keys are P-256,
 * so that a test makes twenty in a moment.
 */
#ifndef TESTS_LIB_CERTS_H
#define TESTS_LIB_CERTS_H

#include "common/tls/x509.h"

struct test_pair { /* a certificate with its key, in memory and as files */
    struct x509_key *key;
    struct x509_cert *cert;
    char *cert_file, *key_file;
};

struct test_leaf {
    const char *name; /* file names: NAME.crt, NAME.key */
    const char *cn;   /* NULL: none */
    const char *sans; /* "localhost,127.0.0.1"; NULL: none */
    unsigned usages;
    int64_t from_s, until_s; /* from now; 0: an hour ago, in a day */
    bool ca;
    const struct test_pair *issuer; /* NULL: itself */
};

char *test_directory(void); /* owned; ends in test_remove() */
void test_remove(char *directory);
struct test_pair test_pair_make(const char *directory, const struct test_leaf *leaf);
void test_pair_free(struct test_pair *pair);
char *test_path(const char *directory, const char *name); /* owned */
void test_write(const char *path, struct slice content);
void test_copy(const char *from, const char *to); /* by rename, as a renewal does */
/* The command line succeeds; its output is thrown away. */
void test_run(const char *format, ...) PRINTF_LIKE(1, 2);

#endif
