/*
 * passphrase.c - where the passphrase of a CA's key comes from: a file, a descriptor, the
 * environment. Never from the command line, which everybody on the host can read, and never asked
 * for: nothing here prompts.
 */
#include "common/base/file.h"
#include "common/base/limits.h"
#include "etcd-pki/pki.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define VARIABLE "ETCD_PKI_CA_PASSPHRASE"

/* The first line, without its end; nothing may follow it. */
static int take_line(const char *from, char *text, size_t bytes, char **passphrase, struct err *err)
{
    size_t line = strcspn(text, "\n");

    if (strlen(text) != bytes || (text[line] == '\n' && line + 1 != bytes)) {
        err_set(err, ERR_USAGE,
                "%s: more than one line, or a zero byte in it; a passphrase is one line", from);
        return -1;
    }
    if (line != 0 && text[line - 1] == '\r')
        line--;
    if (line == 0 || line > PASSPHRASE_MAX_BYTES) {
        err_set(err, ERR_USAGE, "%s: %s; a passphrase is one line of at most %lu bytes", from,
                line == 0 ? "is empty" : "is too long", PASSPHRASE_MAX_BYTES);
        return -1;
    }
    *passphrase = xstrndup(text, line);
    return 0;
}

static int take_descriptor(const char *from, int fd, char **passphrase, struct err *err)
{
    char text[PASSPHRASE_MAX_BYTES + 4]; /* the longest, the end of its line, one too many */
    size_t got = 0;
    ssize_t bytes;
    int rc;

    while (got + 1 < sizeof text) {
        bytes = read(fd, text + got, sizeof text - 1 - got);
        if (bytes < 0 && errno == EINTR)
            continue;
        if (bytes < 0) {
            err_sys(err, errno, "read the passphrase from %s", from);
            return -1;
        }
        if (bytes == 0)
            break;
        got += (size_t)bytes;
    }
    text[got] = '\0';
    rc = take_line(from, text, got, passphrase, err);
    wipe(text, sizeof text);
    return rc;
}

static int take_file(const char *path, char **passphrase, struct err *err)
{
    char *from = xasprintf("--ca-passphrase-file %s", path);
    int fd = open(path, O_RDONLY | O_CLOEXEC), rc = -1;

    if (fd < 0)
        err_sys(err, errno, "open %s", path);
    else
        rc = take_descriptor(from, fd, passphrase, err);
    file_close(&fd);
    free(from);
    return rc;
}

int passphrase_take(struct settings *settings, struct err *err)
{
    const char *given = getenv(VARIABLE), *number = settings->passphrase_fd;
    char *from, *copy;
    int rc;

    if (settings->passphrase_file != NULL && number != NULL) {
        err_set(err, ERR_USAGE, "--ca-passphrase-file and --ca-passphrase-fd: give one");
        return -1;
    }
    if (settings->passphrase_file != NULL)
        return take_file(settings->passphrase_file, &settings->passphrase, err);
    if (number != NULL) {
        if (number[strspn(number, "0123456789")] != '\0' || strlen(number) > 6) {
            err_set(err, ERR_USAGE, "--ca-passphrase-fd %.40s: the number of an open descriptor",
                    number);
            return -1;
        }
        from = xasprintf("--ca-passphrase-fd %s", number);
        rc = take_descriptor(from, (int)strtol(number, NULL, 10), &settings->passphrase, err);
        free(from);
        return rc;
    }
    if (given == NULL || given[0] == '\0')
        return 0;
    copy = xstrdup(given);
    rc = take_line(VARIABLE, copy, strlen(copy), &settings->passphrase, err);
    wipe(copy, strlen(copy));
    free(copy);
    return rc;
}

int passphrase_missing(const char *path, struct err *err)
{
    err_set(err, ERR_TLS,
            "%s is locked with a passphrase; give it with --ca-passphrase-file FILE, "
            "--ca-passphrase-fd NUMBER or " VARIABLE,
            path);
    return -1;
}

int ca_key_read(const char *path, const char *passphrase, struct x509_key **key, struct err *err)
{
    bool locked;

    if (x509_key_open(path, passphrase, key, &locked, err) < 0)
        return -1;
    return *key != NULL ? 0 : passphrase_missing(path, err);
}
