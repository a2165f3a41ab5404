/* certs.c - see certs.h. */
#include "tests/lib/certs.h"
#include "common/base/file.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

char *test_directory(void)
{
    const char *base = getenv("TMPDIR");
    char *path = xasprintf("%s/certs.XXXXXX", base != NULL ? base : "/tmp");

    must(mkdtemp(path) != NULL);
    return path;
}

void test_remove(char *directory)
{
    struct err err = ERR_INIT;

    must(file_remove_tree(directory, &err) == 0);
    free(directory);
}

char *test_path(const char *directory, const char *name)
{
    return xasprintf("%s/%s", directory, name);
}

void test_write(const char *path, struct slice content)
{
    struct err err = ERR_INIT;

    must(file_write_atomic(path, content, 0600, true, &err) == 0);
}

void test_copy(const char *from, const char *to)
{
    struct buf content = BUF_INIT(BUF_UNLIMITED);
    struct err err = ERR_INIT;

    must(file_read_all(from, &content, &err) == 0);
    test_write(to, buf_slice(&content));
    buf_free(&content);
}

struct test_pair test_pair_make(const char *directory, const struct test_leaf *leaf)
{
    struct test_pair pair = {.key = x509_key_new(X509_ECDSA_P256)};
    struct x509_sans sans = {0};
    struct buf pem = BUF_INIT(BUF_UNLIMITED);
    struct err err = ERR_INIT;
    char *list = xstrdup(leaf->sans != NULL ? leaf->sans : ""), *save = NULL;
    int64_t now = (int64_t)time(NULL);
    struct x509_request request = {
        .cn = leaf->cn,
        .sans = &sans,
        .usages = leaf->usages,
        .not_before_s = now + (leaf->from_s != 0 ? leaf->from_s : -3600),
        .not_after_s = now + (leaf->until_s != 0 ? leaf->until_s : 86400),
        .ca = leaf->ca,
    };

    for (char *at = strtok_r(list, ",", &save); at != NULL; at = strtok_r(NULL, ",", &save))
        must(x509_sans_add(&sans, at, &err) == 0);
    must(x509_cert_new(&request, pair.key, leaf->issuer != NULL ? leaf->issuer->cert : NULL,
                       leaf->issuer != NULL ? leaf->issuer->key : pair.key, &pair.cert, &err) == 0);
    pair.cert_file = xasprintf("%s/%s.crt", directory, leaf->name);
    pair.key_file = xasprintf("%s/%s.key", directory, leaf->name);
    x509_cert_pem(pair.cert, &pem);
    test_write(pair.cert_file, buf_slice(&pem));
    buf_reset(&pem);
    x509_key_pem(pair.key, &pem);
    test_write(pair.key_file, buf_slice(&pem));
    buf_free(&pem);
    x509_sans_free(&sans);
    free(list);
    return pair;
}

void test_pair_free(struct test_pair *pair)
{
    x509_key_free(pair->key);
    x509_cert_free(pair->cert);
    free(pair->cert_file);
    free(pair->key_file);
}

void test_run(const char *format, ...)
{
    va_list args;
    char *command = NULL, *quiet;
    int status;

    va_start(args, format);
    must(vasprintf(&command, format, args) >= 0);
    va_end(args);
    quiet = xasprintf("{ %s\n} > /dev/null 2>&1", command);
    status = system(quiet);
    if (status != 0)
        (void)fprintf(stderr, "failed: %s\n", command);
    must(status == 0);
    free(quiet);
    free(command);
}
