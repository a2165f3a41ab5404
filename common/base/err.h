/*
 * err.h - failures and refusals.
 *
 * A refusal is what a client is owed: a row of errors.def (gRPC code and etcd's text).
 * A failure is the world misbehaving: struct err says what was tried, on what, the offending value
 * and the next step, in one sentence. It is always the last parameter, never NULL, filled where the
 * cause is known and untouched on success. Pure; thread: any, one at a time per struct err.
 */
#ifndef COMMON_BASE_ERR_H
#define COMMON_BASE_ERR_H

#include "common/base/base.h"

/* gRPC status codes (grpc/status.h). */
enum grpc_code {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_ABORTED = 10,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_DATA_LOSS = 15,
    GRPC_UNAUTHENTICATED = 16,
};

enum err_code {
    ERR_OK = 0,
#define ERROR(name, grpc, text) name,
#include "common/base/errors.def"
#undef ERROR
    /* failures: never sent to a client as they are */
    ERR_IO,        /* the kernel refused; see err.sys */
    ERR_NO_MEMORY, /* a limit of limits.h, or malloc */
    ERR_DAMAGED,   /* a file's content fails its check */
    ERR_TORN,      /* the end of a log is what a power cut leaves */
    ERR_FORMAT,    /* not what it should be: not a snapshot, not PEM, not JSON ... */
    ERR_LOCKED,    /* somebody else holds the lock */
    ERR_EXISTS,    /* it is there already and will not be replaced */
    ERR_MISSING,   /* it is not there */
    ERR_CHECKSUM,  /* bytes and their hash differ */
    ERR_USAGE,     /* a flag, argument or setting is wrong */
    ERR_TLS,       /* handshake, certificate, key */
    ERR_NET,       /* connect, resolve, time-out */
    ERR_REMOVED,   /* this member belongs to the cluster no more */
    ERR_CODES
};

#define ERR_TEXT_MAX 1024 /* bytes of one sentence, NUL included */

struct err {
    enum err_code code;
    int sys;                 /* errno, 0 when there is none */
    char text[ERR_TEXT_MAX]; /* one sentence, no newline at the end */
};

#define ERR_INIT ((struct err){.code = ERR_OK})

/* Both cut what does not fit; err_sys() adds ": " and the words of `sys`. */
void err_set(struct err *err, enum err_code code, const char *format, ...) PRINTF_LIKE(3, 4);
void err_sys(struct err *err, int sys, const char *format, ...) PRINTF_LIKE(3, 4);
/* Put "<text>: " before what `err` already says. */
void err_prefix(struct err *err, const char *format, ...) PRINTF_LIKE(2, 3);

/* For rows of errors.def; ERR_OK is GRPC_OK and "". Failures are GRPC_UNKNOWN. */
enum grpc_code err_grpc_code(enum err_code code);
const char *err_text(enum err_code code);
/* The symbolic name of a gRPC code as metrics spell it, e.g. "OutOfRange". */
const char *grpc_code_name(enum grpc_code code);

#endif
