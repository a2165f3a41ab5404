/* err.c - see err.h. */
#include "common/base/err.h"

#include <stdarg.h>
#include <stdio.h>

static const struct {
    enum grpc_code grpc;
    const char *text;
} rows[] = {
    [ERR_OK] = {GRPC_OK, ""},
#define ERROR(name, grpc, text) [name] = {grpc, text},
#include "common/base/errors.def"
#undef ERROR
};

void err_set(struct err *err, enum err_code code, const char *format, ...)
{
    va_list args;

    err->code = code;
    err->sys = 0;
    va_start(args, format);
    (void)vsnprintf(err->text, sizeof(err->text), format, args); /* cut is fine */
    va_end(args);
}

void err_sys(struct err *err, int sys, const char *format, ...)
{
    va_list args;
    size_t length;

    err->code = ERR_IO;
    err->sys = sys;
    va_start(args, format);
    (void)vsnprintf(err->text, sizeof(err->text), format, args); /* cut is fine */
    va_end(args);
    length = strlen(err->text);
    (void)snprintf(err->text + length, sizeof(err->text) - length, ": %s", strerror(sys));
}

void err_prefix(struct err *err, const char *format, ...)
{
    char old[ERR_TEXT_MAX];
    va_list args;
    size_t length;

    memcpy(old, err->text, sizeof(old));
    va_start(args, format);
    (void)vsnprintf(err->text, sizeof(err->text), format, args); /* cut is fine */
    va_end(args);
    length = strlen(err->text);
    (void)snprintf(err->text + length, sizeof(err->text) - length, ": %s", old);
}

enum grpc_code err_grpc_code(enum err_code code)
{
    return (size_t)code < ARRAY_LEN(rows) ? rows[code].grpc : GRPC_UNKNOWN;
}

const char *err_text(enum err_code code)
{
    return (size_t)code < ARRAY_LEN(rows) ? rows[code].text : "internal failure";
}

const char *grpc_code_name(enum grpc_code code)
{
    static const char *const names[] = {
        "OK",
        "Canceled",
        "Unknown",
        "InvalidArgument",
        "DeadlineExceeded",
        "NotFound",
        "AlreadyExists",
        "PermissionDenied",
        "ResourceExhausted",
        "FailedPrecondition",
        "Aborted",
        "OutOfRange",
        "Unimplemented",
        "Internal",
        "Unavailable",
        "DataLoss",
        "Unauthenticated",
    };

    return (size_t)code < ARRAY_LEN(names) ? names[code] : "Unknown";
}
