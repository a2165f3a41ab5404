/*
 * log.h - one line per fact, as JSON (etcd's form) or for a console. The one mutable global of the
 * suite.
 *
 *     log_info("became leader", log_u64("term", term), log_str("name", name));
 *
 * Logged once, by the edge that acts on the fact; never a key, value, token or secret. Level error
 * means an operator must do something. Thread: any (one write(2) per line).
 */
#ifndef COMMON_BASE_LOG_H
#define COMMON_BASE_LOG_H

#include "common/base/base.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_FATAL, LOG_SILENT };
enum log_format { LOG_JSON, LOG_CONSOLE };

enum log_kind {
    LOG_KIND_END,
    LOG_KIND_STR,
    LOG_KIND_U64,
    LOG_KIND_I64,
    LOG_KIND_HEX,
    LOG_KIND_BOOL,
    LOG_KIND_MS
};
struct log_field {
    const char *key;  /* kebab-case, as etcd's fields */
    const char *text; /* LOG_KIND_STR; NULL prints as "" */
    uint64_t number;
    enum log_kind kind;
};
#define log_str(key_, value_)                                                                      \
    ((struct log_field){.key = (key_), .text = (value_), .kind = LOG_KIND_STR})
#define log_u64(key_, value_)                                                                      \
    ((struct log_field){.key = (key_), .number = (uint64_t)(value_), .kind = LOG_KIND_U64})
#define log_i64(key_, value_)                                                                      \
    ((struct log_field){.key = (key_), .number = (uint64_t)(int64_t)(value_), .kind = LOG_KIND_I64})
#define log_hex(key_, value_)                                                                      \
    ((struct log_field){.key = (key_),                                                             \
                        .number = (uint64_t)(value_),                                              \
                        .kind = LOG_KIND_HEX}) /* "8e9e05c52164694d" */
#define log_bool(key_, value_)                                                                     \
    ((struct log_field){.key = (key_), .number = (value_) ? 1 : 0, .kind = LOG_KIND_BOOL})
#define log_ms(key_, value_)                                                                       \
    ((struct log_field){                                                                           \
        .key = (key_), .number = (uint64_t)(value_), .kind = LOG_KIND_MS}) /* "1.5s", "20ms" */

/* What is written and how: default is info and above, as JSON. */
void log_setup(enum log_level lowest, enum log_format format);
/* Where lines go instead of to stderr; `fds` is borrowed for the life of the process, 0 of them
 * discard. Files are opened with O_APPEND, else lines of several threads overwrite each other. */
void log_output(const int *fds, size_t count);
/*
 * Who is told of each line, on whichever thread logs: before it is written, with its bytes, and
 * after. Setting it is for main, before other threads start or after they end. NULL: nobody.
 */
struct log_guard {
    void (*before)(struct log_guard *guard, size_t bytes);
    void (*after)(struct log_guard *guard); /* may log */
};
void log_guard(struct log_guard *guard); /* borrowed */
bool log_enabled(enum log_level level);

void log_write(enum log_level level, const char *file, int line, const char *message,
               const struct log_field *fields);
#define LOG_AT(level, message, ...)                                                                \
    do {                                                                                           \
        if (log_enabled(level))                                                                    \
            log_write(                                                                             \
                (level), __FILE__, __LINE__, (message),                                            \
                (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){.kind = LOG_KIND_END}});     \
    } while (0)
#define log_debug(message, ...) LOG_AT(LOG_DEBUG, message __VA_OPT__(, ) __VA_ARGS__)
#define log_info(message, ...) LOG_AT(LOG_INFO, message __VA_OPT__(, ) __VA_ARGS__)
#define log_warn(message, ...) LOG_AT(LOG_WARN, message __VA_OPT__(, ) __VA_ARGS__)
#define log_error(message, ...) LOG_AT(LOG_ERROR, message __VA_OPT__(, ) __VA_ARGS__)
#define log_fatal(message, ...)                                                                    \
    LOG_AT(LOG_FATAL, message __VA_OPT__(, ) __VA_ARGS__) /* does not exit by itself */

#endif
